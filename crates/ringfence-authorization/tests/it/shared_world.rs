//! Tenants in the shared store beside tenants with stores of their own, on one state.

use std::sync::Arc;

use ringfence_authorization::{
    Decide, Facts, Gate, Governance, Memory, Question, Resource, SharedStore, SolverSettings, StoreDocument,
    Stores, Terms, WhenUnproved,
    govern::{GovernError, StoreEdit, first},
    shared::{SharedId, StoreMapRow},
    stores::{shared_create_unchecked, store_create_unchecked, store_map_put},
};
use ringfence_context::{Permit, Reason, StoreAnswer, TenantId, UnixTime, id::StoreId};
use ringfence_store::{Draft, Kind, MasterKey, Records, Scope, SqliteStore};
use serde::Serialize;

use crate::{
    fixture::{Contexts, StandingClock, document, resource, tenant},
    govern::change,
};

pub(crate) const SLICE: Kind = Kind::new("policy_slice");
pub(crate) const SHARED: Kind = Kind::new("shared_policy_store");

pub(crate) const FREEZE: &str = "forbid (principal, action == Ledger::Action::\"ListPayments\", resource);";
pub(crate) const ALL: &str = "permit (principal, action, resource);";

pub(crate) struct World {
    _dir: tempfile::TempDir,
    pub(crate) state: Arc<SqliteStore>,
    pub(crate) records: Records,
    pub(crate) clock: Arc<StandingClock>,
    pub(crate) stores: Arc<Stores>,
    pub(crate) gate: Arc<Gate>,
    pub(crate) governance: Governance,
    pub(crate) contexts: Contexts,
}

/// What all tenants of these tests have in common.
pub(crate) fn base() -> SharedStore {
    SharedStore::of(&document(&tenant("any-tenant"))).unwrap()
}

impl World {
    pub(crate) async fn new() -> Self {
        Self::within(Memory::default()).await
    }

    pub(crate) async fn within(memory: Memory) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let state = Arc::new(SqliteStore::open(&dir.path().join("state.sqlite")).await.unwrap());
        let records = Records::new(Arc::clone(&state) as _, MasterKey::open(dir.path()).unwrap());
        let clock = Arc::new(StandingClock::default());
        let stores = Stores::load_within(records.clone(), Arc::clone(&clock) as _, memory).await.unwrap();
        let gate = Arc::new(Gate::new(SolverSettings::default()).await);
        let governance = Governance::new(Arc::clone(&stores), Arc::clone(&gate));
        Self { _dir: dir, state, records, clock, stores, gate, governance, contexts: Contexts::new() }
    }

    /// Another node on the same state.
    pub(crate) async fn elsewhere(&self) -> Arc<Stores> {
        Stores::load(self.records.clone(), Arc::clone(&self.clock) as _).await.unwrap()
    }

    /// A tenant in the shared store, as onboarding makes it.
    pub(crate) async fn shared(&self, name: &str) -> TenantId {
        let tenant = tenant(name);
        self.records.tenant_add(&tenant).await.unwrap();
        let publishable = self.gate.check(document(&tenant), WhenUnproved::Refuse).await.unwrap();
        let mut drafts = self.stores.shared_create(&publishable).await.unwrap();
        let onboarding = ringfence_authorization::govern::Change::onboarding();
        drafts.extend(first(&publishable, onboarding, UnixTime::from_seconds(1)).unwrap());
        self.records.commit(drafts).await.unwrap();
        self.stores.refresh().await.unwrap();
        tenant
    }

    /// A tenant with a store of its own.
    pub(crate) async fn own(&self, name: &str) -> TenantId {
        let tenant = tenant(name);
        self.records.tenant_add(&tenant).await.unwrap();
        self.records.commit(store_create_unchecked(&document(&tenant)).unwrap()).await.unwrap();
        self.stores.refresh().await.unwrap();
        tenant
    }

    /// A tenant whose store says this, upon a shared store that says that; nothing of it was looked at.
    pub(crate) async fn unchecked(&self, document: &StoreDocument, base: &SharedStore) {
        let mut drafts = shared_create_unchecked(document, base).unwrap();
        drafts.push(Draft::put(&Scope::Plane, SHARED, base.id().as_str(), base).unwrap());
        self.records.commit(drafts).await.unwrap();
        self.stores.refresh().await.unwrap();
    }

    /// What the tenant's viewer is told about its list of payments: as the gateway asks, and then believes.
    pub(crate) fn ask(&self, tenant: &TenantId) -> Result<StoreAnswer, Reason> {
        self.ask_at(&self.stores, tenant)
    }

    pub(crate) fn ask_at(&self, stores: &Stores, tenant: &TenantId) -> Result<StoreAnswer, Reason> {
        let what = resource(tenant, "Book", tenant.as_str());
        self.asked(stores, tenant, "u-1", "ListPayments", &what)
    }

    pub(crate) fn asked(
        &self,
        stores: &Stores,
        tenant: &TenantId,
        user: &str,
        action: &str,
        what: &Resource,
    ) -> Result<StoreAnswer, Reason> {
        let context = self.contexts.context(tenant, user, "viewer");
        let facts = Facts::new();
        let question = Question { context: &context, principal: None, action, resource: what, facts: &facts };
        let answer = stores.decide(&question).map_err(|refusal| refusal.reason)?;
        Permit::decide(&context, action, &answer).map_err(|refusal| refusal.reason)?;
        Ok(answer)
    }

    /// Changes a tenant's policies, as the API does.
    pub(crate) async fn edit(&self, tenant: &TenantId, edit: StoreEdit) -> Result<u64, GovernError> {
        self.edit_within(tenant, edit, WhenUnproved::Refuse.into()).await
    }

    pub(crate) async fn edit_within(
        &self,
        tenant: &TenantId,
        edit: StoreEdit,
        terms: Terms,
    ) -> Result<u64, GovernError> {
        let apply = |document: &mut StoreDocument| edit.apply(document);
        Ok(self.governance.change(tenant, apply, terms, change()).await?.version)
    }

    pub(crate) async fn put(&self, tenant: &TenantId, name: &str, text: &str) -> Result<u64, GovernError> {
        self.edit(tenant, StoreEdit::put(name.to_owned(), text.to_owned())).await
    }

    /// What an attacker does who can write sealed records anywhere.
    pub(crate) async fn forge<T: Serialize>(&self, scope: &Scope, kind: Kind, id: &str, value: &T) {
        self.records.commit(vec![Draft::put(scope, kind, id, value).unwrap()]).await.unwrap();
        self.stores.refresh().await.unwrap();
    }

    /// The map says so from now on.
    pub(crate) async fn map(&self, row: StoreMapRow) {
        self.records.commit(vec![store_map_put(&row).unwrap()]).await.unwrap();
        self.stores.refresh().await.unwrap();
    }

    /// Ids of the records of this kind that are a tenant's.
    pub(crate) async fn ids(&self, tenant: &TenantId, kind: Kind) -> Vec<String> {
        let listed = self.records.list::<serde_json::Value>(&Scope::from(tenant), kind, None, 100).await;
        listed.unwrap().into_iter().map(|(id, _)| id).collect()
    }
}

/// The row that leads a tenant to its slice.
pub(crate) fn row(tenant: &TenantId, store: &str, base: &SharedId) -> StoreMapRow {
    let store = StoreId::new(store).unwrap();
    let held = ringfence_authorization::shared::Held::Shared(base.clone());
    StoreMapRow { held, ..StoreMapRow::own(tenant.clone(), store) }
}
