//! Memberships: the one record that says which tenant a user belongs to, and with which roles.
//!
//! It stands under the tenant's own record key, so it can't be made, altered or moved by whoever writes to the database;
//! and it names user and tenant once more inside, for the hook to compare with the pool that was signed in to.

use ringfence_context::{
    By, TenantId,
    id::{Role, Subject},
    limits,
};
use ringfence_store::{Draft, Kind, MapStep, StoreError};
use serde::{Deserialize, Serialize};

use crate::{error::IdentityError, pool::Pools, user};

/// The membership records, by subject.
pub const MEMBERSHIP: Kind = Kind::new("membership");

/// The role of a machine that may ask the tenant's policy store about anybody of its tenant, and is nothing else: it stands
/// alone, and no user has it.
pub const DECISIONS: &str = "decisions";

/// Who belongs to which tenant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Membership {
    /// Who: a user, or a machine client.
    pub user: Subject,
    /// To which tenant.
    pub tenant: TenantId,
    /// As what.
    pub roles: Vec<Role>,
}

impl Membership {
    /// The record, under its own tenant's key.
    pub(crate) fn draft(&self) -> Result<Draft, IdentityError> {
        if self.roles.len() > limits::TOKEN_ROLES {
            return Err(IdentityError::Invalid("a member has at most 64 roles"));
        }
        let decides = self.roles.iter().any(|role| role.as_str() == DECISIONS);
        if decides && (self.roles.len() > 1 || self.user.as_str().starts_with(user::PREFIX)) {
            return Err(IdentityError::Invalid("the role 'decisions' is a machine client's only one"));
        }
        Ok(Draft::put(&(&self.tenant).into(), MEMBERSHIP, self.user.as_str(), self)?)
    }
}

impl Pools {
    /// Writes a membership. It is in force with the next token.
    ///
    /// # Errors
    /// [`IdentityError::Invalid`] where there are too many roles.
    pub async fn membership_put(&self, membership: &Membership, by: &By) -> Result<(), IdentityError> {
        let Membership { user, tenant, roles } = membership.clone();
        let step = MapStep::MemberPut { member: user, roles };
        self.records.map_commit(&tenant, vec![membership.draft()?], &step, by).await?;
        Ok(())
    }

    /// The membership of a subject, as its record says.
    ///
    /// # Errors
    /// [`StoreError::Tampered`] where it does not authenticate under the tenant's key.
    pub async fn membership_get(
        &self,
        tenant: &TenantId,
        user: &Subject,
    ) -> Result<Option<Membership>, StoreError> {
        let stored = self.records.get::<Membership>(&tenant.into(), MEMBERSHIP, user.as_str()).await?;
        Ok(stored.map(|stored| stored.value))
    }

    /// Ends a membership: no further token.
    ///
    /// # Errors
    /// What the store answers.
    pub async fn membership_delete(
        &self,
        tenant: &TenantId,
        user: &Subject,
        by: &By,
    ) -> Result<(), IdentityError> {
        let gone = vec![Draft::delete(&tenant.into(), MEMBERSHIP, user.as_str())];
        let step = MapStep::MemberEnded { member: user.clone() };
        self.records.map_commit(tenant, gone, &step, by).await?;
        Ok(())
    }
}
