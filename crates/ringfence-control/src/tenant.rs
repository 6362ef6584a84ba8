//! Tenants as the plane knows them. An id that was ever used stays as a tombstone.

use ringfence_context::{TenantId, id::IdError};
use ringfence_store::{Draft, Expect, Kind, Records, Revision, Scope, StoreError, Stored};
use serde::{Deserialize, Serialize};

use crate::data::Place;

pub(crate) const TENANT: Kind = Kind::new("tenant");

/// Whose each of the listed servers is, by its name.
const SERVER: Kind = Kind::new("server");

/// A tenant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tenant {
    /// Its id.
    pub id: TenantId,
    /// Shown to people.
    pub display_name: String,
    /// Its tier.
    pub tier: String,
    /// Where its rows are.
    #[serde(default)]
    pub place: Place,
    /// Whether its transactions wait, for the last moment of a move.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub held: bool,
    /// Where it is in its life.
    pub status: TenantStatus,
}

impl Tenant {
    /// Whether making it was begun with these words.
    pub(crate) fn is_begun_as(&self, other: &Self) -> bool {
        let Self { id, display_name, tier, place, held: _, status } = self;
        *id == other.id
            && *display_name == other.display_name
            && *tier == other.tier
            && place.shape() == other.place.shape()
            && (*status, other.status) == (TenantStatus::Onboarding, TenantStatus::Onboarding)
    }

    /// Whether it has rows somewhere, or may.
    pub fn has_rows(&self) -> bool {
        !matches!(self.status, TenantStatus::Onboarding | TenantStatus::Gone)
    }
}

/// Where a tenant is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TenantStatus {
    /// Being made; creating it again resumes.
    Onboarding,
    /// Served.
    Active,
    /// Refused everywhere, with its data kept.
    Suspended,
    /// Being removed; deleting it again resumes.
    Offboarding,
    /// Removed. The id is never used again.
    Gone,
}

/// Why a tenant could not be read or changed.
#[derive(Debug, thiserror::Error)]
pub enum TenantError {
    /// There is none.
    #[error("there is no tenant of this id")]
    Missing,
    /// There is or was one.
    #[error("the id is or was in use; ids are never used again: choose another")]
    Exists,
    /// It is not in a state that allows this.
    #[error("the tenant is {0:?}; this needs it to be {1}")]
    Status(TenantStatus, &'static str),
    /// No such tier.
    #[error("there is no tier \"{0}\" in ringfence.toml")]
    Tier(String),
    /// Its rows are being moved, or were, and nobody has said whether that is to stay.
    #[error("a move of the tenant's rows is {0}: see `ringfence tenant move-data {{ID}} --show`")]
    Move(&'static str),
    /// There is no such move.
    #[error("there is no move of the tenant's rows, or another has decided about it meanwhile")]
    NoMove,
    /// It is there already.
    #[error("the tenant's rows have the shape {0} already")]
    There(crate::data::Shape),
    /// Something has to be seen to first.
    #[error("{0}")]
    Hindered(String),
    /// The tier may have no further policy store of its own.
    #[error(
        "all policy stores of their own in the tier \"{0}\" are used up: raise `own_stores` in [tiers.{0}] of ringfence.toml"
    )]
    OwnStores(String),
    /// Not an id.
    #[error(transparent)]
    Id(#[from] IdError),
    /// The state refused.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The pool refused.
    #[error(transparent)]
    Identity(#[from] ringfence_identity::IdentityError),
    /// The policy store refused.
    #[error(transparent)]
    Policy(#[from] ringfence_authorization::StoresError),
    /// A step of governing its policies was refused.
    #[error(transparent)]
    Govern(#[from] ringfence_authorization::govern::GovernError),
    /// The tier's policies are wrong.
    #[error(transparent)]
    Bundle(#[from] ringfence_authorization::PolicyFault),
    /// The database refused.
    #[error(transparent)]
    Data(#[from] crate::data::DataError),
}

/// All tenants.
#[derive(Debug, Clone)]
pub struct Tenants {
    records: Records,
}

impl Tenants {
    /// The tenants of this state.
    pub fn new(records: Records) -> Self {
        Self { records }
    }

    /// The tenant of this id, with the revision of its record.
    ///
    /// # Errors
    /// [`TenantError::Missing`].
    pub async fn tenant_get(&self, id: &TenantId) -> Result<Stored<Tenant>, TenantError> {
        self.records.get(&Scope::Plane, TENANT, id.as_str()).await?.ok_or(TenantError::Missing)
    }

    /// Tenants by ascending id, those after `after`, at most `limit`.
    ///
    /// # Errors
    /// What the state refuses.
    pub async fn tenant_list(&self, after: Option<&str>, limit: u32) -> Result<Vec<Tenant>, TenantError> {
        let listed = self.records.list::<Tenant>(&Scope::Plane, TENANT, after, limit).await?;
        Ok(listed.into_iter().map(|(_, stored)| stored.value).collect())
    }

    /// Writes a new tenant; where its place is one of the listed servers, that is nobody else's from then on, not even when the
    /// tenant is gone.
    ///
    /// # Errors
    /// [`TenantError::Exists`], also where somebody else was given the server.
    pub(crate) async fn tenant_create(&self, tenant: &Tenant) -> Result<(), TenantError> {
        let mut drafts = vec![self.draft(tenant, Expect::Absent)?];
        drafts.extend(server_taken(&tenant.place, &tenant.id)?);
        match self.records.commit(drafts).await {
            Err(StoreError::Conflict { .. }) => Err(TenantError::Exists),
            outcome => Ok(outcome.map(drop)?),
        }
    }

    /// The names of the listed servers that are or were some tenant's.
    pub(crate) async fn server_list(&self) -> Result<Vec<String>, TenantError> {
        let mut names: Vec<String> = Vec::new();
        loop {
            let after = names.last().map(String::as_str);
            let page = self.records.list::<TenantId>(&Scope::Plane, SERVER, after, 500).await?;
            if page.is_empty() {
                return Ok(names);
            }
            names.extend(page.into_iter().map(|(name, _)| name));
        }
    }

    pub(crate) fn draft(&self, tenant: &Tenant, expect: Expect) -> Result<Draft, StoreError> {
        Ok(Draft::put(&Scope::Plane, TENANT, tenant.id.as_str(), tenant)?.expect(expect))
    }

    /// Writes a tenant at the revision it was read at.
    ///
    /// # Errors
    /// A conflict with another change.
    pub async fn tenant_put(&self, tenant: &Tenant, read: Revision) -> Result<Revision, TenantError> {
        Ok(self.records.commit(vec![self.draft(tenant, Expect::Revision(read))?]).await?)
    }
}

/// That a listed server is a tenant's.
pub(crate) fn server_taken(place: &Place, tenant: &TenantId) -> Result<Option<Draft>, StoreError> {
    let Place::Server { server: Some(name), .. } = place else { return Ok(None) };
    Ok(Some(Draft::put(&Scope::Plane, SERVER, name, tenant)?.expect(Expect::Absent)))
}
