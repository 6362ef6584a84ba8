//! The pre-token hook: what a token will say of its tenant is read here, once per login, and nowhere else.

use std::pin::Pin;

use ringfence_context::{
    Reason, Refusal, TenantId,
    id::{Role, Subject},
};
use ringfence_store::StoreError;

use crate::{
    error::{IdentityError, refuse},
    pool::Pools,
};

/// What the hook puts into a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HookClaims {
    /// The tenant.
    pub tenant_id: TenantId,
    /// The roles.
    pub roles: Vec<Role>,
}

/// The hook's answer, in a while.
pub type HookAnswer<'a> = Pin<Box<dyn Future<Output = Result<HookClaims, Refusal>> + Send + 'a>>;

/// The seam at which memberships stand in the chain.
pub trait PreTokenHook: Send + Sync {
    /// What a token for `subject`, who signed in to the pool of `pool`, says.
    ///
    /// # Errors
    /// [`Reason::MembershipInvalid`], [`Reason::DependencyUnavailable`]: then there is no token.
    fn claims<'a>(&'a self, pool: &'a TenantId, subject: &'a Subject) -> HookAnswer<'a>;
}

/// Reads the membership record.
#[derive(Debug, Clone)]
pub struct MembershipHook {
    pools: Pools,
}

impl MembershipHook {
    /// Over the memberships of these pools.
    pub fn new(pools: Pools) -> Self {
        Self { pools }
    }

    async fn read(&self, pool: &TenantId, subject: &Subject) -> Result<HookClaims, Refusal> {
        let invalid = |detail| refuse(Reason::MembershipInvalid, detail);
        let membership = match self.pools.membership_get(pool, subject).await {
            Ok(found) => found.ok_or(invalid("there is no membership"))?,
            Err(StoreError::Tampered { .. } | StoreError::Unreadable { .. } | StoreError::TenantUnknown) => {
                return Err(invalid("the membership does not authenticate under the tenant's key"));
            }
            Err(error) => return Err(IdentityError::from(error).refusal()),
        };
        // Two sources: the pool that was signed in to, and the record. The record's place already says both; that it
        // must say so inside too means that a fault in either does not carry through.
        if membership.tenant != *pool {
            return Err(invalid("the membership is of another tenant than the pool"));
        }
        if membership.user != *subject {
            return Err(invalid("the membership is another user's"));
        }
        Ok(HookClaims { tenant_id: membership.tenant, roles: membership.roles })
    }
}

impl PreTokenHook for MembershipHook {
    fn claims<'a>(&'a self, pool: &'a TenantId, subject: &'a Subject) -> HookAnswer<'a> {
        Box::pin(self.read(pool, subject))
    }
}
