//! References: one per request, told to the client, found again by `ringfence explain`.

use ringfence_context::{Reference, UnixTime};

/// A new reference. It is a name, not a secret, but no one can tell the next from those before: a generator of this
/// thread gives it, quicker than the one that keys are made by.
pub fn reference(now: UnixTime) -> Reference {
    Reference::make(now, rand::random())
}
