//! Revocation (RFC 7009): what was signed and is not to be believed any more, remembered until it would have expired.

use ringfence_context::{
    TenantId, UnixTime,
    id::{Subject, TokenId},
};
use ringfence_store::{Draft, Kind, Revision};
use serde::{Deserialize, Serialize};

use crate::{error::IdentityError, pool::Pools};

/// Revoked tokens, by `jti`.
pub const REVOKED_TOKEN: Kind = Kind::new("revoked_token");

/// Subjects none of whose tokens is believed: disabled users and clients.
pub const REVOKED_SUBJECT: Kind = Kind::new("revoked_subject");

/// Expired revocations forgotten with each new one, so that they do not add up.
const FORGET: u32 = 32;

/// Until when a revocation matters.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RevokedToken {
    /// When the token would have expired, in seconds since the epoch.
    pub exp: u64,
}

/// Since when a subject is shut out.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RevokedSubject {
    /// In seconds since the epoch.
    pub since: u64,
}

impl Pools {
    /// Revokes a token until its expiry; says from which revision on it is so.
    ///
    /// # Errors
    /// What the store answers.
    pub async fn token_revoke(
        &self,
        tenant: &TenantId,
        token: &TokenId,
        exp: UnixTime,
        now: UnixTime,
    ) -> Result<Revision, IdentityError> {
        let scope = tenant.into();
        let listed =
            self.records.list::<RevokedToken>(&scope, REVOKED_TOKEN, Some(token.as_str()), FORGET).await?;
        let expired = listed.iter().filter(|(_, revoked)| revoked.value.exp <= now.seconds());
        let mut drafts: Vec<_> = expired.map(|(id, _)| Draft::delete(&scope, REVOKED_TOKEN, id)).collect();
        let revoked = RevokedToken { exp: exp.seconds() };
        drafts.push(Draft::put(&scope, REVOKED_TOKEN, token.as_str(), &revoked)?);
        Ok(self.records.commit(drafts).await?)
    }
}

/// Shuts a subject out: part of the commit that disables it.
pub(crate) fn of_subject(tenant: &TenantId, id: &Subject, now: UnixTime) -> Result<Draft, IdentityError> {
    let revoked = RevokedSubject { since: now.seconds() };
    Ok(Draft::put(&tenant.into(), REVOKED_SUBJECT, id.as_str(), &revoked)?)
}

/// Lets a subject in again.
pub(crate) fn end_of_subject(tenant: &TenantId, id: &Subject) -> Draft {
    Draft::delete(&tenant.into(), REVOKED_SUBJECT, id.as_str())
}
