//! The database context: what the guard hands to Postgres and only Postgres can check.
//!
//! Two keys must agree. The tenant's database key, which its issuer uses to [`Seal`] every access token it signs and
//! which the guard does not have; and the guard's key, which no issuer, backend or database client has. Postgres holds
//! both, looks the tenant's key up by the tenant the rows are wanted of, and recomputes the tag. So the key is chosen by
//! the issuer and the rows by the claim: where they differ, nothing verifies, even if every check above was skipped.

use std::{fmt, time::Duration};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::{
    id::{TenantId, TokenId},
    key::{MAC_LEN, MacKey, base64url, base64url_decode},
    limits,
    permit::Permit,
    refusal::{Layer, Reason, Refusal},
    time::UnixTime,
    token::RawToken,
};

/// After how long a context is renewed, and with it what Postgres has to say about tenant and posture, where its connection is
/// still used.
const RENEWED_AFTER: Duration = Duration::from_secs(1);

/// A tag the tenant's issuer puts into each access token: `HMAC(tenant's database key, tenant, token id, expiry)`.
/// Whoever holds the token holds it too; it is worth no more than the token.
#[derive(Clone, PartialEq, Eq)]
pub struct Seal([u8; MAC_LEN]);

impl Seal {
    /// Seals a token of `tenant`. `exp` is the token's expiry in seconds since the epoch.
    pub fn issue(key: &MacKey, tenant: &TenantId, token: &TokenId, exp: u64) -> Self {
        Self::over(key, &Self::message(tenant, token, exp))
    }

    /// Seals a text. Whoever seals one of another kind begins it otherwise, and has another key.
    pub(crate) fn over(key: &MacKey, text: &str) -> Self {
        Self(key.tag_plain(text.as_bytes()))
    }

    /// Whether this is the seal of such a text. Compared in constant time.
    pub(crate) fn is_over(&self, key: &MacKey, text: &str) -> bool {
        key.verifies_plain(text.as_bytes(), &self.0)
    }

    /// Whether this is the seal of such a token. Compared in constant time.
    pub(crate) fn is_of(&self, key: &MacKey, tenant: &TenantId, token: &TokenId, exp: u64) -> bool {
        self.is_over(key, &Self::message(tenant, token, exp))
    }

    /// What is authenticated; the SQL in `ringfence-guard` builds the same text. `|` occurs in no identifier.
    fn message(tenant: &TenantId, token: &TokenId, exp: u64) -> String {
        format!("ringfence-seal-v1|{tenant}|{token}|{exp}")
    }
}

impl fmt::Debug for Seal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Seal(redacted)")
    }
}

impl Serialize for Seal {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&base64url(&self.0))
    }
}

impl<'de> Deserialize<'de> for Seal {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let bytes = base64url_decode(&text).map_err(|_| de::Error::custom("not a seal"))?;
        bytes.try_into().map(Self).map_err(|_| de::Error::custom("not a seal"))
    }
}

/// One server connection of Postgres, as both sides know it: its process id and start time, so that a reused process
/// id is another backend.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backend {
    /// `pg_backend_pid()`.
    pub pid: i32,
    /// Start of the backend, microseconds since the epoch.
    pub started: u64,
}

/// The arguments of `ringfence.context_set`: good for one tenant, on one backend, for seconds.
pub struct DatabaseContext {
    tenant: TenantId,
    token: TokenId,
    token_exp: u64,
    valid_until: UnixTime,
    tag: [u8; MAC_LEN],
    /// What it was minted from, and when.
    seal: Seal,
    minted: UnixTime,
}

impl DatabaseContext {
    /// Mints the context for `backend`.
    ///
    /// # Errors
    /// [`Reason::TokenExpired`] where the permit's token has expired.
    pub fn mint(permit: &Permit, guard: &MacKey, backend: Backend, now: UnixTime) -> Result<Self, Refusal> {
        let context = permit.context();
        if context.expires() <= now {
            return Err(Refusal::new(Layer::Guard, Reason::TokenExpired, "token expired during the session"));
        }
        let life = Duration::from_secs(limits::DATABASE_CONTEXT_LIFE_SECONDS);
        let valid_until = now.after(life).min(context.expires());
        let Backend { pid, started } = backend;
        let tenant = context.tenant();
        let suffix = format!("|ringfence-context-v1|{tenant}|{pid}|{started}|{}", valid_until.micros());
        let tag = guard.tag_plain(&[context.seal().0.as_slice(), suffix.as_bytes()].concat());
        Ok(Self {
            tenant: tenant.clone(),
            token: context.token_id().clone(),
            token_exp: context.expires().seconds(),
            valid_until,
            tag,
            seal: context.seal().clone(),
            minted: now,
        })
    }

    /// Whether a backend that has accepted this context need not be asked again for a transaction of `permit`: it was
    /// minted from the very same access token, a moment ago. Another token of the tenant's is not enough: what Postgres
    /// has verified is the seal in this one. Seals are compared as tags are, in constant time.
    pub fn covers(&self, permit: &Permit, now: UnixTime) -> bool {
        let context = permit.context();
        let fresh = self.minted.after(RENEWED_AFTER);
        self.tenant == *context.tenant()
            && self.token == *context.token_id()
            && self.token_exp == context.expires().seconds()
            && crate::key::same(&self.seal.0, &context.seal().0)
            && self.minted <= now
            && now < fresh.min(self.valid_until)
    }

    /// The tenant.
    pub fn tenant(&self) -> &TenantId {
        &self.tenant
    }

    /// The five arguments of `ringfence.context_set(tenant text, token text, token_exp bigint, valid_until bigint,
    /// tag bytea)`; `valid_until` in microseconds since the epoch.
    pub fn arguments(&self) -> (&str, &str, u64, u64, &[u8]) {
        (self.tenant.as_str(), self.token.as_str(), self.token_exp, self.valid_until.micros(), &self.tag)
    }
}

impl fmt::Debug for DatabaseContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DatabaseContext({}, redacted)", self.tenant)
    }
}

/// What a database client sends as its password: an access token and a `Txn-Token`, joined by `~`.
pub struct DatabaseToken {
    /// The tenant issuer's signature.
    pub access: RawToken,
    /// The gateway's signature.
    pub txn: RawToken,
}

impl DatabaseToken {
    /// Reads a database token.
    ///
    /// # Errors
    /// [`Reason::TokenMalformed`].
    pub fn new(text: &str) -> Result<Self, Refusal> {
        let (access, txn) = text.split_once('~').ok_or(Refusal::new(
            Layer::Guard,
            Reason::TokenMalformed,
            "a database token is two tokens",
        ))?;
        Ok(Self { access: RawToken::new(access)?, txn: RawToken::new(txn)? })
    }

    /// Its text form.
    pub fn reveal(&self) -> String {
        format!("{}~{}", self.access.reveal(), self.txn.reveal())
    }
}
