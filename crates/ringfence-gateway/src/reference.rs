//! References: one per request, told to the client, found again by `ringfence explain`.

use ringfence_context::{Reference, UnixTime, key};

/// A new reference. It is a name, not a secret: should the system give no randomness, the time alone names the request.
pub fn reference(now: UnixTime) -> Reference {
    Reference::make(now, key::random::<8>().map_or(0, u64::from_be_bytes))
}
