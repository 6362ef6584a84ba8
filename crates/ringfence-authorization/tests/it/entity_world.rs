//! Tenants with the example's store, on real SQLite, and what their users and decision clients are told.

use std::sync::Arc;

use ringfence_authorization::{
    CompiledStore, Decide, EntityFault, Facts, Memory, PolicyBundle, Principal, Question, Resource,
    StoreDocument, Stores,
    entities::{EntityForm, Uid},
    stores::store_create_unchecked,
};
use ringfence_context::{Permit, Reason, TenantContext, TenantId, id::StoreId};
use ringfence_store::{MasterKey, Records, SqliteStore};
use serde_json::{Value, json};

use crate::fixture::{Contexts, StandingClock, resource, tenant};

pub(crate) fn bundle() -> PolicyBundle {
    PolicyBundle {
        namespace: "Docs".to_owned(),
        schema: include_str!("../../../../examples/documents/documents.cedarschema").to_owned(),
        policies: include_str!("../../../../examples/documents/documents.cedar").to_owned(),
    }
}

pub(crate) fn document(tenant: &TenantId) -> StoreDocument {
    bundle().seed(StoreId::new(&format!("ps-{tenant}")).unwrap(), tenant.clone()).unwrap()
}

pub(crate) struct World {
    _dir: tempfile::TempDir,
    pub(crate) state: Arc<SqliteStore>,
    pub(crate) records: Records,
    pub(crate) stores: Arc<Stores>,
    pub(crate) contexts: Contexts,
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
        let stores = Stores::load_within(records.clone(), clock, memory).await.unwrap();
        Self { _dir: dir, state, records, stores, contexts: Contexts::new() }
    }

    pub(crate) async fn tenant(&self, name: &str) -> TenantId {
        let tenant = tenant(name);
        self.records.tenant_add(&tenant).await.unwrap();
        self.records.commit(store_create_unchecked(&document(&tenant)).unwrap()).await.unwrap();
        self.stores.refresh().await.unwrap();
        tenant
    }

    /// Another node on the same state.
    pub(crate) async fn elsewhere(&self) -> Arc<Stores> {
        Stores::load(self.records.clone(), Arc::new(StandingClock::default())).await.unwrap()
    }

    /// What the gateway or a backend is told about one of the tenant's users.
    pub(crate) fn ask(
        &self,
        tenant: &TenantId,
        user: &str,
        action: &str,
        what: &Resource,
    ) -> Result<(), Reason> {
        self.ask_as(&self.contexts.context(tenant, user, "viewer"), action, what)
    }

    /// What whoever acts in this context is told.
    pub(crate) fn ask_as(
        &self,
        context: &TenantContext,
        action: &str,
        what: &Resource,
    ) -> Result<(), Reason> {
        let facts = Facts::new();
        let question = Question { context, principal: None, action, resource: what, facts: &facts };
        let answer = self.stores.decide(&question).map_err(|refusal| refusal.reason)?;
        Permit::decide(context, action, &answer).map(drop).map_err(|refusal| refusal.reason)
    }

    pub(crate) fn view(&self, tenant: &TenantId, user: &str, action: &str, id: &str) -> Result<(), Reason> {
        self.ask(tenant, user, action, &resource(tenant, "Document", id))
    }

    /// What a user would be told if the tenant's policies were these.
    pub(crate) fn view_by(
        &self,
        policies: &CompiledStore,
        tenant: &TenantId,
        user: &str,
        action: &str,
        id: &str,
    ) -> Result<(), Reason> {
        let context = self.contexts.context(tenant, user, "viewer");
        let (facts, what) = (Facts::new(), resource(tenant, "Document", id));
        let question =
            Question { context: &context, principal: None, action, resource: &what, facts: &facts };
        let answer = self.stores.decide_by(policies, &question).map_err(|refusal| refusal.reason)?;
        Permit::decide(&context, action, &answer).map(drop).map_err(|refusal| refusal.reason)
    }

    /// What a decision client is told.
    pub(crate) fn about(
        &self,
        tenant: &TenantId,
        principal: &Principal,
        what: &Resource,
    ) -> Result<(), Reason> {
        let context = self.contexts.context(tenant, "pdp", "decisions");
        let facts = Facts::new();
        let question = Question {
            context: &context,
            principal: Some(principal),
            action: "ViewSummary",
            resource: what,
            facts: &facts,
        };
        let answer = self.stores.decide(&question).map_err(|refusal| refusal.reason)?;
        Permit::decide(&context, "ViewSummary", &answer).map(drop).map_err(|refusal| refusal.reason)
    }
}

pub(crate) fn uid(kind: &str, id: &str) -> Uid {
    Uid { kind: format!("Docs::{kind}"), id: id.to_owned() }
}

pub(crate) fn form(of: Uid, attrs: Value, parents: &[Uid]) -> EntityForm {
    let Value::Object(attrs) = attrs else { panic!("{attrs}") };
    EntityForm { uid: of, attrs, parents: parents.to_vec() }
}

pub(crate) fn refers(kind: &str, id: &str) -> Value {
    json!({ "__entity": { "type": format!("Docs::{kind}"), "id": id } })
}

impl World {
    pub(crate) async fn put(&self, tenant: &TenantId, of: Uid, attrs: Value, parents: &[Uid]) {
        self.stores.entity_put(tenant, form(of, attrs, parents)).await.unwrap();
    }

    pub(crate) async fn refused(
        &self,
        tenant: &TenantId,
        of: Uid,
        attrs: Value,
        parents: &[Uid],
    ) -> EntityFault {
        let before = self.records.revision().await.unwrap();
        let fault = self.stores.entity_put(tenant, form(of, attrs, parents)).await.unwrap_err();
        assert_eq!(self.records.revision().await.unwrap(), before, "nothing has changed");
        fault
    }
}
