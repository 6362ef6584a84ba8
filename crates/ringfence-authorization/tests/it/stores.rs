//! The stores against their state: real SQLite, which is also taken down, counted, and changed under readers' feet.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use ringfence_authorization::{
    CompiledStore, Decide, Facts, Gate, Memory, PolicyBundle, Question, StoreDocument, Stores, WhenUnproved,
    stores::{STALE, StoreMapRow, store_create_unchecked, store_delete, store_map_put},
};
use ringfence_context::{Permit, Reason, Refusal, StoreAnswer, TenantId, id::StoreId};
use ringfence_store::{
    Answer, Change, Draft, Expect, Kind, Listen, MasterKey, Record, RecordKey, Records, Revision, Scope,
    SqliteStore, Store, faulty::FaultyStore,
};

use crate::{
    fixture::{Contexts, StandingClock, breath, bundle, document, gate, resource, tenant},
    govern::change,
};

const FREEZE: &str = "forbid (principal, action, resource);";

/// Counts how often a policy store is read.
struct Counted<S> {
    inner: S,
    reads: AtomicUsize,
}

impl<S: Store> Store for Counted<S> {
    fn get<'a>(&'a self, key: &'a RecordKey) -> Answer<'a, Option<Record>> {
        if key.kind == "policy_store" {
            self.reads.fetch_add(1, Ordering::SeqCst);
        }
        self.inner.get(key)
    }

    fn list<'a>(
        &'a self,
        scope: &'a Scope,
        kind: &'a str,
        after: Option<&'a str>,
        limit: u32,
    ) -> Answer<'a, Vec<Record>> {
        self.inner.list(scope, kind, after, limit)
    }

    fn commit(&self, changes: Vec<Change>) -> Answer<'_, Revision> {
        self.inner.commit(changes)
    }

    fn changes(&self, after: Revision, limit: u32) -> Answer<'_, Vec<(Revision, RecordKey)>> {
        self.inner.changes(after, limit)
    }

    fn revision(&self) -> Answer<'_, Revision> {
        self.inner.revision()
    }

    fn listen(&self) -> Answer<'_, Option<Box<dyn Listen>>> {
        self.inner.listen()
    }
}

struct World {
    _dir: tempfile::TempDir,
    state: Arc<Counted<FaultyStore<SqliteStore>>>,
    records: Records,
    clock: Arc<StandingClock>,
    stores: Arc<Stores>,
    gate: Gate,
    contexts: Contexts,
}

impl World {
    async fn new() -> Self {
        Self::within(Memory::default()).await
    }

    async fn within(memory: Memory) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let sqlite = SqliteStore::open(&dir.path().join("state.sqlite")).await.unwrap();
        let state =
            Arc::new(Counted { inner: FaultyStore::new(sqlite, 1, 0), reads: AtomicUsize::default() });
        let records = Records::new(Arc::clone(&state) as _, MasterKey::open(dir.path()).unwrap());
        let clock = Arc::new(StandingClock::default());
        let stores = Stores::load_within(records.clone(), Arc::clone(&clock) as _, memory).await.unwrap();
        let gate = gate().await;
        Self { _dir: dir, state, records, clock, stores, gate, contexts: Contexts::new() }
    }

    async fn tenant(&self, name: &str) -> TenantId {
        let tenant = tenant(name);
        self.records.tenant_add(&tenant).await.unwrap();
        self.records.commit(store_create_unchecked(&document(&tenant)).unwrap()).await.unwrap();
        self.stores.refresh().await.unwrap();
        tenant
    }

    /// What the tenant's viewer is told about a list of payments: as the gateway asks, and then believes.
    fn ask(&self, tenant: &TenantId) -> Result<StoreAnswer, Reason> {
        ask(&self.stores, &self.contexts, tenant).map_err(|refusal| refusal.reason)
    }

    async fn policy_put(&self, stores: &Stores, tenant: &TenantId, text: Option<&str>) {
        let (mut document, revision) = stores.document(tenant).await.unwrap();
        match text {
            Some(text) => document.policies.insert("own".to_owned(), text.to_owned()),
            None => document.policies.remove("own"),
        };
        let publishable = self.gate.check(document, WhenUnproved::Refuse).await.unwrap();
        stores.document_put(&publishable, revision, change()).await.unwrap();
    }
}

fn ask(stores: &Stores, contexts: &Contexts, tenant: &TenantId) -> Result<StoreAnswer, Refusal> {
    let context = contexts.context(tenant, "u-1", "viewer");
    let (resource, facts) = (resource(tenant, "Book", tenant.as_str()), Facts::new());
    let question = Question {
        context: &context,
        principal: None,
        action: "ListPayments",
        resource: &resource,
        facts: &facts,
    };
    stores.revision(tenant)?;
    let answer = stores.decide(&question)?;
    Permit::decide(&context, "ListPayments", &answer)?;
    Ok(answer)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_tier_begins_with_is_parsed_before_anyone_asks() {
    let missed = async |keeps: bool| {
        let world = World::new().await;
        if keeps {
            world.stores.keep(&bundle()).unwrap();
        }
        let tenant = world.tenant("acme").await;
        let before = world.stores.hits().policies;
        assert!(world.ask(&tenant).unwrap().allow);
        let after = world.stores.hits().policies;
        assert!(after.found > before.found, "in the end it is in memory");
        after.missed - before.missed
    };
    assert_eq!(missed(true).await, 0);
    assert!(missed(false).await > 0);
    let unfit = PolicyBundle { policies: "permit (principal, action, resource);".to_owned(), ..bundle() };
    assert!(World::new().await.stores.keep(&unfit).is_err(), "a policy without a name");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_nobody_asked_about_is_read_by_its_first_question_and_only_then() {
    let world = World::new().await;
    let acme = world.tenant("acme").await;
    world.tenant("globex").await;
    let reads = || world.state.reads.load(Ordering::SeqCst);
    assert_eq!(reads(), 0, "registering reads nothing");
    for _ in 0..3 {
        assert_eq!(world.ask(&acme).unwrap().store.as_str(), "ps-acme");
    }
    assert_eq!(reads(), 1);
    world.tenant("initech").await;
    world.ask(&acme).unwrap();
    assert_eq!(reads(), 1, "another tenant's coming is no reason to read this one again");
    let nobody = tenant("nobody");
    assert_eq!(world.ask(&nobody), Err(Reason::StoreUnavailable));
    assert_eq!(world.ask(&nobody), Err(Reason::StoreUnavailable));
    world.tenant("nobody").await;
    world.ask(&nobody).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn one_reads_while_the_others_wait() {
    let world = Arc::new(World::new().await);
    let acme = world.tenant("acme").await;
    let asking: Vec<_> = (0..64)
        .map(|_| {
            let (world, acme) = (Arc::clone(&world), acme.clone());
            tokio::spawn(async move { world.ask(&acme).map(|answer| answer.allow) })
        })
        .collect();
    for asked in asking {
        assert_eq!(asked.await.unwrap(), Ok(true));
    }
    assert_eq!(world.state.reads.load(Ordering::SeqCst), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_is_enforced_by_the_next_question_here_and_after_a_refresh_elsewhere() {
    let world = World::new().await;
    let acme = world.tenant("acme").await;
    let elsewhere = Stores::load(world.records.clone(), Arc::clone(&world.clock) as _).await.unwrap();
    for _ in 0..10 {
        let before = world.ask(&acme).unwrap();
        world.policy_put(&elsewhere, &acme, Some(FREEZE)).await;
        assert!(ask(&elsewhere, &world.contexts, &acme).is_err(), "where it was changed");
        world.stores.refresh().await.unwrap();
        assert_eq!(world.ask(&acme), Err(Reason::Denied));
        world.policy_put(&world.stores, &acme, None).await;
        let after = world.ask(&acme).unwrap();
        assert!(after.revision > before.revision, "what is remembered under the revision counts no longer");
        elsewhere.refresh().await.unwrap();
        ask(&elsewhere, &world.contexts, &acme).unwrap();
    }
}

/// With no memory every question reads the state; with some, readers fill it again behind every change.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_change_is_enforced_by_the_next_question_while_others_read() {
    for memory in [Memory { tenants: 0, contents: 0, entities: 0 }, Memory::default()] {
        let world = Arc::new(World::within(memory).await);
        let acme = world.tenant("acme").await;
        let done = Arc::new(AtomicBool::new(false));
        let readers: Vec<_> = (0..3)
            .map(|_| {
                let (world, acme, done) = (Arc::clone(&world), acme.clone(), Arc::clone(&done));
                tokio::spawn(async move {
                    let mut asked = 0;
                    while !done.load(Ordering::SeqCst) {
                        let refused = world.ask(&acme).err();
                        assert!(refused.is_none_or(|reason| reason == Reason::Denied), "{refused:?}");
                        asked += 1;
                        breath().await;
                    }
                    asked
                })
            })
            .collect();
        for number in 0..30 {
            world.policy_put(&world.stores, &acme, Some(FREEZE)).await;
            assert_eq!(world.ask(&acme), Err(Reason::Denied), "change {number}");
            world.policy_put(&world.stores, &acme, None).await;
            world.ask(&acme).unwrap_or_else(|reason| panic!("change {number}: {reason:?}"));
        }
        done.store(true, Ordering::SeqCst);
        for reader in readers {
            assert!(reader.await.unwrap() > 0);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_state_nothing_is_answered_from_what_once_was_true() {
    let world = World::new().await;
    let (asked, cold) = (world.tenant("asked").await, world.tenant("cold").await);
    world.ask(&asked).unwrap();
    world.state.inner.set_down(true);
    assert_eq!(world.ask(&cold), Err(Reason::DependencyUnavailable), "it can't be read");
    world.ask(&asked).expect("what is known to be current for seconds still is");
    world.stores.refresh().await.unwrap_err();
    world.clock.advance(STALE + Duration::from_secs(1));
    assert_eq!(world.ask(&asked), Err(Reason::DependencyUnavailable));
    world.state.inner.set_down(false);
    assert_eq!(world.ask(&asked), Err(Reason::DependencyUnavailable), "not before it is confirmed");
    world.stores.refresh().await.unwrap();
    world.ask(&asked).unwrap();
    world.ask(&cold).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_left_is_refused_by_the_next_question() {
    let world = World::new().await;
    let (deleted, shredded) = (world.tenant("deleted").await, world.tenant("shredded").await);
    for tenant in [&deleted, &shredded] {
        world.ask(tenant).unwrap();
    }
    world.records.commit(store_delete(&document(&deleted))).await.unwrap();
    world.records.tenant_shred(&shredded).await.unwrap();
    world.stores.refresh().await.unwrap();
    for tenant in [&deleted, &shredded] {
        assert_eq!(world.ask(tenant), Err(Reason::StoreUnavailable), "{tenant}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_map_row_that_leads_to_anothers_store_leads_to_a_refusal() {
    let world = World::new().await;
    let (acme, globex) = (world.tenant("acme").await, world.tenant("globex").await);
    world.policy_put(&world.stores, &globex, Some("permit (principal, action, resource);")).await;
    let row = StoreMapRow::own(acme.clone(), StoreId::new("ps-globex").unwrap());
    world.records.commit(vec![store_map_put(&row).unwrap()]).await.unwrap();
    world.stores.refresh().await.unwrap();
    assert_eq!(world.ask(&acme), Err(Reason::StoreUnavailable), "the store says whose it is");
    world.ask(&globex).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn tenants_that_share_what_their_stores_say_share_nothing_else() {
    let world = World::new().await;
    let (acme, globex) = (world.tenant("acme").await, world.tenant("globex").await);
    for tenant in [&acme, &globex] {
        let answer = world.ask(tenant).unwrap();
        assert_eq!((answer.store_tenant, answer.store.to_string()), (tenant.clone(), format!("ps-{tenant}")));
    }
    world.policy_put(&world.stores, &acme, Some(FREEZE)).await;
    assert_eq!(world.ask(&acme), Err(Reason::Denied));
    world.ask(&globex).expect("a change of one tenant's is its own");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_is_not_valid_refuses_its_tenant_alone_until_it_is_changed() {
    let world = World::new().await;
    let (acme, globex) = (world.tenant("acme").await, tenant("globex"));
    let broken = StoreDocument { schema: "namespace Ledger {".to_owned(), ..document(&globex) };
    world.records.tenant_add(&globex).await.unwrap();
    world.records.commit(store_create_unchecked(&broken).unwrap()).await.unwrap();
    world.stores.refresh().await.unwrap();
    for _ in 0..3 {
        assert_eq!(world.ask(&globex), Err(Reason::StoreUnavailable));
    }
    assert_eq!(world.state.reads.load(Ordering::SeqCst), 1, "it is not compiled again for every question");
    world.ask(&acme).unwrap();
    let (_, revision) = world.stores.document(&globex).await.unwrap();
    let publishable = world.gate.check(document(&globex), WhenUnproved::Refuse).await.unwrap();
    world.stores.document_put(&publishable, revision, change()).await.unwrap();
    world.ask(&globex).unwrap();
}

/// Thousands of policies that are all asked about every request.
#[tokio::test(flavor = "multi_thread")]
async fn a_long_answer_is_worked_out_on_no_thread_that_serves() {
    let world = World::new().await;
    let [acme, globex] = [world.tenant("acme").await, world.tenant("globex").await];
    let (mut bomb, revision) = world.stores.document(&acme).await.unwrap();
    for number in 0..1_500 {
        let text = format!(
            "forbid (principal, action, resource) when {{ principal.subject == \"nobody-{number}\" }};"
        );
        bomb.policies.insert(format!("own-{number}"), text);
    }
    let publishable = world.gate.check(bomb.clone(), WhenUnproved::Accept).await.unwrap();
    world.stores.document_put(&publishable, revision, change()).await.unwrap();
    let answer = world.ask(&acme).unwrap();
    let alone = CompiledStore::compile(&bomb, answer.revision).unwrap();
    let context = world.contexts.context(&acme, "u-1", "viewer");
    let (resource, facts) = (resource(&acme, "Book", acme.as_str()), Facts::new());
    let question = Question {
        context: &context,
        principal: None,
        action: "ListPayments",
        resource: &resource,
        facts: &facts,
    };
    assert_eq!(answer, alone.answer(&question).unwrap(), "it is the same answer");
    // Where nobody else could work it out, it is refused rather than worked out here; others are answered.
    world.ask(&globex).unwrap();
    let asked = std::thread::scope(|threads| {
        let here = threads.spawn(|| {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            runtime.block_on(async { [&acme, &globex].map(|tenant| world.ask(tenant).map(drop)) })
        });
        here.join().unwrap()
    });
    assert_eq!(asked, [Err(Reason::DependencyUnavailable), Ok(())]);
}

#[tokio::test(flavor = "multi_thread")]
async fn cv26_a_change_that_cant_be_applied_for_one_tenant_holds_up_no_other() {
    const POLICY_STORE: Kind = Kind::new("policy_store");
    let world = World::new().await;
    let (invalid, unreadable) = (world.tenant("invalid").await, world.tenant("unreadable").await);
    let (forged, fine) = (world.tenant("forged").await, world.tenant("fine").await);
    let elsewhere = Stores::load(world.records.clone(), Arc::clone(&world.clock) as _).await.unwrap();
    for tenant in [&invalid, &unreadable, &forged, &fine] {
        world.ask(tenant).unwrap();
    }
    let put = |tenant: &TenantId, value: &dyn Fn() -> serde_json::Value| {
        Draft::put(&Scope::from(tenant), POLICY_STORE, &format!("ps-{tenant}"), &value()).unwrap()
    };
    // What does not parse, what is no document, and what nobody has sealed; then a change like any other.
    let broken = StoreDocument { schema: "namespace Ledger {".to_owned(), ..document(&invalid) };
    let value = || serde_json::to_value(&broken).unwrap();
    world.records.commit(vec![put(&invalid, &value)]).await.unwrap();
    world.records.commit(vec![put(&unreadable, &|| serde_json::json!(7))]).await.unwrap();
    let key = RecordKey::new(Scope::from(&forged), POLICY_STORE, "ps-forged");
    let raw = Change { key, expect: Expect::Any, value: Some(b"sealed by nobody".to_vec()) };
    world.state.commit(vec![raw]).await.unwrap();
    world.policy_put(&elsewhere, &fine, Some(FREEZE)).await;
    world.stores.refresh().await.unwrap();
    assert_eq!(world.ask(&fine), Err(Reason::Denied), "enforced");
    for tenant in [&invalid, &unreadable, &forged] {
        assert_eq!(world.ask(tenant), Err(Reason::StoreUnavailable), "{tenant} is refused alone");
    }
    world.policy_put(&elsewhere, &fine, None).await;
    world.stores.refresh().await.unwrap();
    world.ask(&fine).unwrap();
}

#[test]
fn a_runtime_of_one_thread_is_refused_rather_than_stopped() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let world = World::new().await;
        let acme = world.tenant("acme").await;
        assert_eq!(world.ask(&acme), Err(Reason::DependencyUnavailable));
        world.stores.warm(&acme).await.unwrap();
        world.ask(&acme).unwrap();
    });
}
