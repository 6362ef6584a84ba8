//! Access keys: what scripts and SDKs sign their requests to the policy service with (AWS Signature Version 4).
//!
//! A key belongs to an operator or to one tenant. Two records say so and must agree: a row of the plane that leads from
//! the key's id to its owner, and the key itself, sealed under its owner's record key, so that a tenant that is removed
//! takes its keys along. The signature is symmetric, so the secret is kept, sealed; it is shown once.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use quick_cache::sync::Cache;
use ringfence_context::{
    By, OperatorRole, Secret, TenantId, UnixTime,
    id::Subject,
    key::{base64url, random},
};
use ringfence_store::{Draft, Expect, Kind, MapStep, Records, Revision, Scope, StoreError};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use crate::operator::Operators;

const ACCESS_KEY: Kind = Kind::new("access_key");
const ACCESS_KEY_OWNER: Kind = Kind::new("access_key_owner");

/// Most keys of one owner.
const KEYS: u32 = 100;

/// How many keys are kept in memory.
const KEPT: usize = 10_000;

/// How long a key in memory is used without asking the state, where the state is not known to have changed.
const CONFIRM_SECONDS: u64 = 1;

/// Whose a key is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum KeyOwner {
    /// An operator's.
    Operator(Subject),
    /// A tenant's.
    Tenant(TenantId),
}

/// A key as it is shown, without its secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ShownKey {
    /// Its id.
    pub id: String,
    /// Whose it is.
    pub owner: KeyOwner,
    /// When it was made, in seconds since the epoch.
    pub created: u64,
}

/// A key that was found.
#[derive(Debug, Clone)]
pub struct FoundKey {
    /// Whose it is.
    pub owner: KeyOwner,
    /// An operator's roles; a tenant has none of them.
    pub roles: BTreeSet<OperatorRole>,
    /// Its secret.
    pub secret: Secret<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct KeyRecord {
    owner: KeyOwner,
    secret: String,
    created: u64,
}

/// Every access key. Clones share what is in memory.
#[derive(Clone)]
pub struct AccessKeys {
    records: Records,
    known: Arc<Cache<String, Arc<Known>>>,
    seen: watch::Receiver<Revision>,
}

struct Known {
    found: Option<FoundKey>,
    seen: AtomicU64,
    at: AtomicU64,
}

impl KeyOwner {
    fn scope(&self) -> Scope {
        match self {
            Self::Operator(_) => Scope::Plane,
            Self::Tenant(tenant) => Scope::Tenant(tenant.clone()),
        }
    }
}

impl AccessKeys {
    /// The keys of this state.
    pub fn new(records: Records) -> Self {
        Self { known: Arc::new(Cache::new(KEPT)), seen: records.subscribe(), records }
    }

    /// Makes a key; its secret is told this once.
    ///
    /// # Errors
    /// [`StoreError::Invalid`] where the owner has too many; what the state refuses.
    pub async fn key_create(
        &self,
        owner: KeyOwner,
        by: &By,
    ) -> Result<(ShownKey, Secret<String>), StoreError> {
        let scope = owner.scope();
        let there = self.records.list::<KeyRecord>(&scope, ACCESS_KEY, None, KEYS).await?;
        if there.len() >= usize::try_from(KEYS).unwrap_or(usize::MAX) {
            return Err(StoreError::Invalid("there are 100 access keys already: delete some"));
        }
        let no_randomness = |_| StoreError::Invalid("the system's random source failed");
        let id = format!("RFAK{}", letters(&random::<16>().map_err(no_randomness)?));
        let secret = Secret::new(base64url(&random::<30>().map_err(no_randomness)?));
        let record = KeyRecord { owner, secret: secret.reveal().clone(), created: by.at.seconds() };
        let drafts = vec![
            Draft::put(&Scope::Plane, ACCESS_KEY_OWNER, &id, &record.owner)?.expect(Expect::Absent),
            Draft::put(&scope, ACCESS_KEY, &id, &record)?.expect(Expect::Absent),
        ];
        self.write(&scope, drafts, MapStep::KeyMade { key: id.clone() }, by).await?;
        Ok((ShownKey { id, owner: record.owner, created: record.created }, secret))
    }

    /// The keys of a tenant; without one, those of all operators.
    ///
    /// # Errors
    /// What the state refuses.
    pub async fn key_list(&self, tenant: Option<&TenantId>) -> Result<Vec<ShownKey>, StoreError> {
        let scope = tenant.map_or(Scope::Plane, Scope::from);
        let listed = self.records.list::<KeyRecord>(&scope, ACCESS_KEY, None, KEYS).await?;
        let shown = |(id, key): (String, ringfence_store::Stored<KeyRecord>)| ShownKey {
            id,
            owner: key.value.owner,
            created: key.value.created,
        };
        Ok(listed.into_iter().map(shown).collect())
    }

    /// Ends a key of a tenant, or without one of an operator; says whether there was one.
    ///
    /// # Errors
    /// What the state refuses.
    pub async fn key_delete(&self, tenant: Option<&TenantId>, id: &str, by: &By) -> Result<bool, StoreError> {
        let scope = tenant.map_or(Scope::Plane, Scope::from);
        let Some(found) = self.records.get::<KeyRecord>(&scope, ACCESS_KEY, id).await? else {
            return Ok(false);
        };
        let drafts = vec![
            Draft::delete(&scope, ACCESS_KEY, id).expect(Expect::Revision(found.revision)),
            Draft::delete(&Scope::Plane, ACCESS_KEY_OWNER, id),
        ];
        self.write(&scope, drafts, MapStep::KeyEnded { key: id.to_owned() }, by).await?;
        Ok(true)
    }

    /// A change of a tenant's keys is on record; the operators' have no tenant whose record it could be in.
    async fn write(
        &self,
        scope: &Scope,
        drafts: Vec<Draft>,
        step: MapStep,
        by: &By,
    ) -> Result<(), StoreError> {
        match scope {
            Scope::Plane => self.records.commit(drafts).await.map(drop),
            Scope::Tenant(tenant) => self.records.map_commit(tenant, drafts, &step, by).await.map(drop),
        }
    }

    /// The rows of the plane that lead to a tenant's keys, to be removed with the tenant.
    ///
    /// # Errors
    /// What the state refuses.
    pub async fn tenant_rows(&self, tenant: &TenantId) -> Result<Vec<Draft>, StoreError> {
        let keys = self.key_list(Some(tenant)).await?;
        Ok(keys.iter().map(|key| Draft::delete(&Scope::Plane, ACCESS_KEY_OWNER, &key.id)).collect())
    }

    /// The key of this id, if there is one and whoever it is of is still there.
    ///
    /// # Errors
    /// What the state refuses.
    pub async fn key_find(&self, id: &str, now: UnixTime) -> Result<Option<FoundKey>, StoreError> {
        let seen = *self.seen.borrow();
        if let Some(known) = self.known.get(id)
            && known.seen.load(Ordering::Acquire) == seen
            && now.seconds().saturating_sub(known.at.load(Ordering::Acquire)) < CONFIRM_SECONDS
        {
            return Ok(known.found.clone());
        }
        let found = self.read(id).await?;
        // Ids that are not there are not remembered: anyone can make them up.
        if found.is_some() {
            let known = Known { found: found.clone(), seen: seen.into(), at: now.seconds().into() };
            self.known.insert(id.to_owned(), Arc::new(known));
        } else {
            self.known.remove(id);
        }
        Ok(found)
    }

    async fn read(&self, id: &str) -> Result<Option<FoundKey>, StoreError> {
        let well_formed = id.len() <= 64 && id.bytes().all(|byte| byte.is_ascii_alphanumeric());
        if id.is_empty() || !well_formed {
            return Ok(None);
        }
        let Some(row) = self.records.get::<KeyOwner>(&Scope::Plane, ACCESS_KEY_OWNER, id).await? else {
            return Ok(None);
        };
        let record = match self.records.get::<KeyRecord>(&row.value.scope(), ACCESS_KEY, id).await {
            Err(StoreError::TenantUnknown) => return Ok(None),
            record => record?,
        };
        // Row and key must name one owner.
        let Some(KeyRecord { owner, secret, .. }) =
            record.map(|stored| stored.value).filter(|record| record.owner == row.value)
        else {
            return Ok(None);
        };
        let mut roles = BTreeSet::new();
        if let KeyOwner::Operator(operator) = &owner {
            let operators = Operators::new(self.records.clone()).operator_records().await?;
            let Some(known) = operators.into_iter().find(|known| known.operator == *operator) else {
                return Ok(None);
            };
            roles = known.roles;
        }
        Ok(Some(FoundKey { owner, roles, secret: Secret::new(secret) }))
    }
}

impl std::fmt::Debug for AccessKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("AccessKeys")
    }
}

/// Sixteen capital letters and digits (RFC 4648 section 6), 80 random bits.
fn letters(random: &[u8; 16]) -> String {
    let alphabet: Vec<char> = ('A'..='Z').chain('2'..='7').collect();
    random.iter().filter_map(|byte| alphabet.get(usize::from(byte % 32))).collect()
}
