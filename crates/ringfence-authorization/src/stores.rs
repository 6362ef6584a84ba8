//! All tenants' stores in memory, kept current with the plane's state.
//!
//! Tenant to store is looked up in an authenticated map, and a store is read from its owner's own records: so a wrong
//! row of the map leads to a store that says it is another tenant's, and its answers are refused (SYSTEMS X-17).
//! Where the state can't be read for [`STALE`], questions are refused rather than answered from what once was true.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use arc_swap::ArcSwap;
use ringfence_context::{Clock, Layer, Reason, Refusal, StoreAnswer, TenantId, UnixTime, id::StoreId};
use ringfence_store::{Draft, Expect, Kind, Records, Revision, Scope, StoreError};
use serde::{Deserialize, Serialize};

use crate::{
    compile::{CompiledStore, PolicyFault},
    document::StoreDocument,
    gate::Publishable,
    proof::{Counterexample, Unproved},
    question::Question,
};

/// How long answers are given without having confirmed that they are current.
pub const STALE: Duration = Duration::from_secs(5);

/// How often currency is confirmed where nothing wakes it.
const CONFIRM: Duration = Duration::from_secs(1);

const STORE_MAP: Kind = Kind::new("store_map");
pub(crate) const STORE_OWNER: Kind = Kind::new("store_owner");
const POLICY_STORE: Kind = Kind::new("policy_store");
const PAGE: u32 = 500;

/// The seam at which decisions stand in the chain.
pub trait Decide: Send + Sync {
    /// Asks the store of the question's tenant.
    ///
    /// # Errors
    /// [`Reason::StoreUnavailable`], [`Reason::PolicyError`] or [`Reason::DependencyUnavailable`].
    fn decide(&self, question: &Question<'_>) -> Result<StoreAnswer, Refusal>;

    /// The revision of the tenant's store, part of any cache key; and whether an answer about a bare resource holds
    /// for every bare resource of its type (see [`CompiledStore::names_resources`]).
    ///
    /// # Errors
    /// As [`Decide::decide`].
    fn revision(&self, tenant: &TenantId) -> Result<(Revision, bool), Refusal>;
}

/// A row of the map that leads from a tenant to its store.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct StoreMapRow {
    /// The tenant.
    pub tenant: TenantId,
    /// Its store.
    pub store: StoreId,
}

/// What can go wrong with a change to a store.
#[derive(Debug, thiserror::Error)]
pub enum StoresError {
    /// The text is not a valid store.
    #[error(transparent)]
    Policy(#[from] PolicyFault),
    /// It is not safe: here is a request.
    #[error("refused, because {0}")]
    Refuted(Arc<Counterexample>),
    /// Whether it is safe is not known.
    #[error("refused, because it is not proved to be safe: {0}")]
    Unproved(Unproved),
    /// The state refused.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The tenant has no store.
    #[error("the tenant has no policy store")]
    Missing,
}

/// The stores of all tenants.
pub struct Stores {
    records: Records,
    clock: Arc<dyn Clock>,
    current: ArcSwap<Snapshot>,
    refreshing: tokio::sync::Mutex<()>,
}

struct Snapshot {
    revision: Revision,
    confirmed: UnixTime,
    stores: HashMap<TenantId, Arc<CompiledStore>>,
}

impl Stores {
    /// Loads every store.
    ///
    /// # Errors
    /// Where the state can't be read. A single store that can't be is left out, and its tenant's questions refused.
    pub async fn load(records: Records, clock: Arc<dyn Clock>) -> Result<Arc<Self>, StoreError> {
        let empty = Snapshot { revision: 0, confirmed: UnixTime::from_micros(0), stores: HashMap::new() };
        let stores =
            Self { records, clock, current: ArcSwap::from_pointee(empty), refreshing: <_>::default() };
        stores.refresh().await?;
        Ok(Arc::new(stores))
    }

    /// Follows the state until the records are dropped.
    pub async fn follow(self: Arc<Self>) {
        let mut seen = self.records.subscribe();
        loop {
            if let Err(error) = self.refresh().await {
                tracing::warn!(%error, "policy stores can't be refreshed");
            }
            if let Ok(Err(_)) = tokio::time::timeout(CONFIRM, seen.changed()).await {
                return;
            }
        }
    }

    /// Brings the stores up to the state's latest revision: after it, the next question sees every earlier change.
    ///
    /// # Errors
    /// Where the state can't be read.
    pub async fn refresh(&self) -> Result<(), StoreError> {
        let _one_at_a_time = self.refreshing.lock().await;
        let before = self.current.load_full();
        let confirmed = self.clock.now();
        let revision = self.records.revision().await?;
        let mut stores = before.stores.clone();
        if revision != before.revision {
            for tenant in self.changed_since(&before).await? {
                match self.load_one(&tenant).await {
                    Ok(Some(store)) => stores.insert(tenant, Arc::new(store)),
                    Ok(None) => stores.remove(&tenant),
                    Err(StoresError::Store(error @ StoreError::Unavailable { .. })) => return Err(error),
                    Err(error) => {
                        tracing::error!(%tenant, %error, "a policy store can't be loaded; its tenant is refused");
                        stores.remove(&tenant)
                    }
                };
            }
        }
        self.current.store(Arc::new(Snapshot { revision, confirmed, stores }));
        Ok(())
    }

    /// The tenant's store as it is kept, with its revision.
    ///
    /// # Errors
    /// [`StoresError::Missing`], or what the state refuses.
    pub async fn document(&self, tenant: &TenantId) -> Result<(StoreDocument, Revision), StoresError> {
        let row = self.map_row(tenant).await?.ok_or(StoresError::Missing)?;
        let owner = self.owner(&row.store).await?.ok_or(StoresError::Missing)?;
        let found = self.records.get(&Scope::Tenant(owner), POLICY_STORE, row.store.as_str()).await?;
        found.map(|stored| (stored.value, stored.revision)).ok_or(StoresError::Missing)
    }

    /// Replaces the tenant's store if it is still at `revision`. Enforced from the next question on.
    ///
    /// # Errors
    /// A conflict where the store has changed since.
    pub async fn document_put(
        &self,
        publishable: &Publishable,
        revision: Revision,
    ) -> Result<(), StoresError> {
        self.document_put_with(publishable, revision, Vec::new()).await.map(drop)
    }

    /// As [`Stores::document_put`], with other records in the same commit; says at which revision it was made.
    ///
    /// # Errors
    /// As [`Stores::document_put`].
    pub async fn document_put_with(
        &self,
        publishable: &Publishable,
        revision: Revision,
        also: Vec<Draft>,
    ) -> Result<Revision, StoresError> {
        let document = publishable.document();
        let scope = Scope::Tenant(document.tenant.clone());
        let draft = Draft::put(&scope, POLICY_STORE, document.id.as_str(), document)?;
        let mut drafts = vec![draft.expect(Expect::Revision(revision))];
        drafts.extend(also);
        let revision = self.records.commit(drafts).await?;
        self.refresh().await?;
        Ok(revision)
    }

    async fn changed_since(&self, before: &Snapshot) -> Result<HashSet<TenantId>, StoreError> {
        let mut tenants = HashSet::new();
        if before.revision == 0 {
            let mut after: Option<String> = None;
            loop {
                let rows = self
                    .records
                    .list::<StoreMapRow>(&Scope::Plane, STORE_MAP, after.as_deref(), PAGE)
                    .await?;
                tenants.extend(rows.iter().filter_map(|(id, _)| TenantId::new(id).ok()));
                match rows.into_iter().next_back() {
                    Some((last, _)) => after = Some(last),
                    None => return Ok(tenants),
                }
            }
        }
        let mut after = before.revision;
        loop {
            let page = self.records.changes(after, PAGE).await?;
            for (_, key) in &page {
                match &key.scope {
                    Scope::Tenant(tenant) if key.kind == POLICY_STORE.as_str() => {
                        tenants.insert(tenant.clone());
                    }
                    Scope::Plane if key.kind == STORE_MAP.as_str() => {
                        tenants.extend(TenantId::new(&key.id).ok())
                    }
                    _ => {}
                }
            }
            match page.last() {
                Some((revision, _)) => after = *revision,
                None => return Ok(tenants),
            }
        }
    }

    async fn load_one(&self, tenant: &TenantId) -> Result<Option<CompiledStore>, StoresError> {
        match self.document(tenant).await {
            Ok((document, revision)) => Ok(Some(CompiledStore::compile(&document, revision)?)),
            Err(StoresError::Missing | StoresError::Store(StoreError::TenantUnknown)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn map_row(&self, tenant: &TenantId) -> Result<Option<StoreMapRow>, StoreError> {
        let found = self.records.get::<StoreMapRow>(&Scope::Plane, STORE_MAP, tenant.as_str()).await?;
        Ok(found.map(|stored| stored.value).filter(|row| row.tenant == *tenant))
    }

    async fn owner(&self, store: &StoreId) -> Result<Option<TenantId>, StoreError> {
        let found = self.records.get::<TenantId>(&Scope::Plane, STORE_OWNER, store.as_str()).await?;
        Ok(found.map(|stored| stored.value))
    }
}

/// The records of a new store: its document, its owner, and the map's row that leads to it.
///
/// # Errors
/// [`StoreError::Invalid`].
pub fn store_create(publishable: &Publishable) -> Result<Vec<Draft>, StoreError> {
    let document = publishable.document();
    let StoreDocument { id, tenant, .. } = document;
    let row = StoreMapRow { tenant: tenant.clone(), store: id.clone() };
    Ok(vec![
        Draft::put(&Scope::Tenant(tenant.clone()), POLICY_STORE, id.as_str(), document)?
            .expect(Expect::Absent),
        Draft::put(&Scope::Plane, STORE_OWNER, id.as_str(), tenant)?.expect(Expect::Absent),
        store_map_put(&row)?,
    ])
}

/// The record that leads a tenant to a store. Whoever writes it decides nothing alone: the store itself says whose it
/// is.
///
/// # Errors
/// [`StoreError::Invalid`].
pub fn store_map_put(row: &StoreMapRow) -> Result<Draft, StoreError> {
    Draft::put(&Scope::Plane, STORE_MAP, row.tenant.as_str(), row)
}

/// The records to remove with a tenant's store.
pub fn store_delete(document: &StoreDocument) -> Vec<Draft> {
    vec![
        Draft::delete(&Scope::Plane, STORE_MAP, document.tenant.as_str()),
        Draft::delete(&Scope::Plane, STORE_OWNER, document.id.as_str()),
        Draft::delete(&Scope::Tenant(document.tenant.clone()), POLICY_STORE, document.id.as_str()),
    ]
}

impl Decide for Stores {
    fn decide(&self, question: &Question<'_>) -> Result<StoreAnswer, Refusal> {
        self.store(question.context.tenant())?.answer(question)
    }

    fn revision(&self, tenant: &TenantId) -> Result<(Revision, bool), Refusal> {
        let store = self.store(tenant)?;
        Ok((store.revision(), store.names_resources()))
    }
}

impl Stores {
    fn store(&self, tenant: &TenantId) -> Result<Arc<CompiledStore>, Refusal> {
        let refuse = |reason, detail| Refusal::new(Layer::Authorization, reason, detail);
        let snapshot = self.current.load();
        if self.clock.now().since(snapshot.confirmed) > STALE {
            return Err(refuse(
                Reason::DependencyUnavailable,
                "policy stores can't be confirmed to be current",
            ));
        }
        let store = snapshot.stores.get(tenant).cloned();
        store.ok_or(refuse(Reason::StoreUnavailable, "the tenant has no policy store"))
    }
}

impl std::fmt::Debug for Stores {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Stores(revision {})", self.current.load().revision)
    }
}
