//! Issuers that are none of the plane's: asked for their keys where the operator allows it, so that their tokens can be
//! verified for identity sources of the policy service.
//!
//! It guarantees that nobody is asked whom the operator has not listed, and that no such issuer speaks for a tenant of the
//! plane: a name under which the plane itself answers is none of theirs.

mod address;
mod allowed;
mod fetch;
mod keys;
mod url;

use std::sync::Arc;

use ringfence_authorization::avp::{Account, ForeignFault};
use ringfence_context::{
    Clock,
    foreign::{ForeignClaims, ForeignToken, TokenKind},
};

pub(crate) use allowed::{Allowed, PlaneNames};
pub use allowed::{IssuerSetting, IssuerSettings};
pub(crate) use fetch::Fetch;

use self::{keys::IssuerKeys, url::IssuerUrl};

/// The issuers that may be asked, and their keys.
pub(crate) struct ForeignIssuers {
    allowed: Allowed,
    planes: PlaneNames,
    keys: IssuerKeys,
    clock: Arc<dyn Clock>,
}

impl ForeignIssuers {
    /// Those of this list, whatever names the plane has.
    pub(crate) fn new(allowed: Allowed, planes: PlaneNames, fetch: Fetch, clock: Arc<dyn Clock>) -> Self {
        Self { allowed, planes, keys: IssuerKeys::new(fetch, Arc::clone(&clock)), clock }
    }

    /// Verifies a token of this kind, of the issuer an identity source of this account names.
    ///
    /// # Errors
    /// [`ForeignFault`].
    pub(crate) async fn verify(
        &self,
        account: &Account,
        issuer: &str,
        token: &str,
        kind: TokenKind,
    ) -> Result<ForeignClaims, ForeignFault> {
        let url = IssuerUrl::read(issuer).ok_or(ForeignFault::NotAllowed)?;
        if self.planes.has(&url) {
            return Err(ForeignFault::Plane);
        }
        self.allowed.find(&url).ok_or(ForeignFault::NotAllowed)?;
        let token = ForeignToken::read(token)?;
        let among = (&self.allowed, &self.planes);
        let keys = self.keys.keys(account, (issuer, &url), token.kid(), among).await?;
        Ok(token.verify(issuer, &keys, kind, self.clock.now())?)
    }
}

#[cfg(test)]
mod tests;
