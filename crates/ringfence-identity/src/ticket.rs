//! Tickets: an authorization request carried through the sign-in page, sealed by the pool it was made at.
//!
//! What comes back with the password is what was checked when the page was asked for: an HMAC under a key of this pool
//! covers tenant and contents, for ten minutes. Nothing is stored for a page that nobody completes.

use ringfence_context::{
    Clock, Reason, Refusal, TenantId,
    id::ClientId,
    key::{base64url, base64url_decode},
};
use serde::{Deserialize, Serialize};

use crate::{error::refuse, pool::Pool};

/// How long a sign-in page stays good, in seconds.
const LIFE_SECONDS: u64 = 600;

/// A checked authorization request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ticket {
    /// The app.
    pub client: ClientId,
    /// Where its code goes.
    pub redirect_uri: String,
    /// Given back to the app unchanged.
    pub state: Option<String>,
    /// Put into the ID token.
    pub nonce: Option<String>,
    /// PKCE: the SHA-256 of a secret only the app knows (RFC 7636 section 4.2).
    pub challenge: String,
    /// Whether an ID token is wanted.
    pub openid: bool,
    /// Whether names are wanted in it.
    pub profile: bool,
}

#[derive(Serialize, Deserialize)]
struct Sealed {
    until: u64,
    ticket: Ticket,
}

impl Ticket {
    /// Seals it at a pool.
    ///
    /// # Errors
    /// [`Reason::Internal`] never, for what has a JSON form.
    pub fn seal(&self, pool: &Pool, clock: &dyn Clock) -> Result<String, Refusal> {
        let until = clock.now().seconds().saturating_add(LIFE_SECONDS);
        let text = serde_json::to_vec(&Sealed { until, ticket: self.clone() })
            .map_err(|_| refuse(Reason::Internal, "a ticket without a JSON form"))?;
        Ok(format!("{}.{}", base64url(&text), base64url(&tag(pool, &pool.tenant, &text))))
    }

    /// Opens one that was sealed at this pool.
    ///
    /// # Errors
    /// [`Reason::RequestMalformed`] where it was not, was altered, or is too old.
    pub fn open(text: &str, pool: &Pool, clock: &dyn Clock) -> Result<Self, Refusal> {
        let refused = |detail| refuse(Reason::RequestMalformed, detail);
        let (text, tag) = text.split_once('.').ok_or(refused("not a ticket"))?;
        let text = base64url_decode(text).map_err(|_| refused("not a ticket"))?;
        let tag = base64url_decode(tag).map_err(|_| refused("not a ticket"))?;
        if !pool.key_for("ticket").verifies(&[pool.tenant.as_str().as_bytes(), &text], &tag) {
            return Err(refused("the ticket was not sealed by this pool"));
        }
        let sealed: Sealed = serde_json::from_slice(&text).map_err(|_| refused("not a ticket"))?;
        if sealed.until <= clock.now().seconds() {
            return Err(refused("the ticket is too old"));
        }
        Ok(sealed.ticket)
    }
}

fn tag(pool: &Pool, tenant: &TenantId, text: &[u8]) -> [u8; 32] {
    pool.key_for("ticket").tag(&[tenant.as_str().as_bytes(), text])
}
