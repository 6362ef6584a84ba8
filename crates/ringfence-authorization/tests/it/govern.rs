//! Governing policies, attacked: by authors, by reviewers, and by somebody who can write records.

use std::sync::Arc;

use ringfence_authorization::{
    Gate, Governance, Review, SolverSettings, Standing, StoreDocument, Stores, Terms, WhenUnproved,
    avp::Quotas,
    govern::{
        Author, Cause, Change, ChangeReason, GovernError, Proposal, ProposalState, Side, Step, StoreEdit,
        TEXTS_KEPT, first,
    },
    stores::{StoresError, store_create},
};
use ringfence_context::{TenantId, id::Subject, limits};
use ringfence_store::{
    Change as Write, Draft, Expect, Kind, MasterKey, RecordKey, Records, Scope, SqliteStore, Store,
    StoreError,
};

use crate::fixture::{StandingClock, document, gate, tenant};

pub(crate) const FREEZE: &str = "forbid (principal, action == Ledger::Action::\"ListPayments\", resource);";
pub(crate) const THAW: &str = "forbid (principal, action == Ledger::Action::\"ConnectDatabase\", resource);";

const VERSION: Kind = Kind::new("policy_version");
const TEXT: Kind = Kind::new("policy_text");
const AUDIT: Kind = Kind::new("policy_audit");
const PROPOSAL: Kind = Kind::new("policy_proposal");

pub(crate) fn author(name: &str) -> Author {
    Author::Operator(Subject::new(name).unwrap())
}

pub(crate) fn why(text: &str) -> ChangeReason {
    ChangeReason::new(text).unwrap()
}

/// A change by an operator.
pub(crate) fn change() -> Change {
    Change::now(author("alice"), why("a test"))
}

fn put(name: &str, text: &str) -> Side {
    Side::Edit(StoreEdit::put(name.to_owned(), text.to_owned()))
}

fn id(number: u64) -> String {
    format!("{number:020}")
}

pub(crate) const NO_REVIEW: Terms =
    Terms { unproved: WhenUnproved::Refuse, review: Review::None, quotas: QUOTAS };
pub(crate) const REVIEWED: Terms = Terms { review: Review::Required, ..NO_REVIEW };
pub(crate) const QUOTAS: Quotas = Quotas {
    policy_stores: 10,
    policy_store_aliases: 10,
    policies_per_store: 100,
    templates_per_store: 10,
    identity_sources_per_store: 1,
    policy_bytes: 10_000,
    schema_bytes: 100_000,
    store_bytes: 200_000,
    policy_bytes_per_resource: 200_000,
    tags_per_store: 50,
    requests_per_second: 100,
    changes_per_second: 100,
};

pub(crate) struct World {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) state: Arc<SqliteStore>,
    pub(crate) records: Records,
    pub(crate) stores: Arc<Stores>,
    pub(crate) gate: Arc<Gate>,
    pub(crate) governance: Governance,
    pub(crate) clock: Arc<StandingClock>,
}

impl World {
    pub(crate) async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let state = Arc::new(SqliteStore::open(&dir.path().join("state.sqlite")).await.unwrap());
        let records = Records::new(Arc::clone(&state) as _, MasterKey::open(dir.path()).unwrap());
        let clock = Arc::new(StandingClock::default());
        let stores = Stores::load(records.clone(), Arc::clone(&clock) as _).await.unwrap();
        let gate = Arc::new(gate().await);
        let governance = Governance::new(Arc::clone(&stores), Arc::clone(&gate));
        Self { dir, state, records, stores, gate, governance, clock }
    }

    /// A tenant as onboarding makes it.
    pub(crate) async fn tenant(&self, name: &str) -> TenantId {
        let tenant = tenant(name);
        self.records.tenant_add(&tenant).await.unwrap();
        let publishable = self.gate.check(document(&tenant), NO_REVIEW).await.unwrap();
        let mut drafts = store_create(&publishable).unwrap();
        drafts.extend(
            first(&publishable, Change::onboarding(), ringfence_context::UnixTime::from_seconds(1)).unwrap(),
        );
        self.records.commit(drafts).await.unwrap();
        tenant
    }

    pub(crate) async fn put(&self, tenant: &TenantId, by: &str, text: &str) -> Result<u64, GovernError> {
        let edit = StoreEdit::put("own".to_owned(), text.to_owned());
        let change = Change::now(author(by), why("a change"));
        let apply = |document: &mut StoreDocument| edit.apply(document);
        Ok(self.governance.change(tenant, apply, NO_REVIEW, change).await?.version)
    }

    pub(crate) async fn propose(
        &self,
        tenant: &TenantId,
        by: &str,
        text: &str,
    ) -> Result<Proposal, GovernError> {
        self.governance.propose(tenant, put("own", text), REVIEWED, author(by), why("a proposal")).await
    }

    async fn serving(&self, tenant: &TenantId) -> StoreDocument {
        self.stores.document(tenant).await.unwrap().0
    }

    async fn texts(&self, tenant: &TenantId) -> usize {
        let scope = Scope::from(tenant);
        self.records.list::<StoreDocument>(&scope, TEXT, None, 1000).await.unwrap().len()
    }

    /// What an attacker does who can seal records of this tenant.
    pub(crate) async fn forge<T: serde::Serialize>(
        &self,
        tenant: &TenantId,
        kind: Kind,
        id: &str,
        value: &T,
    ) {
        let draft = Draft::put(&Scope::from(tenant), kind, id, value).unwrap();
        self.records.commit(vec![draft]).await.unwrap();
    }
}

fn tampered<T: std::fmt::Debug>(outcome: Result<T, GovernError>, kind: Kind) {
    match outcome {
        Err(GovernError::Stores(StoresError::Store(StoreError::Tampered { kind: of }))) if of == kind => {}
        other => panic!("{kind}: {other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_change_is_a_version_and_equal_texts_are_kept_once() {
    let world = World::new().await;
    let acme = world.tenant("acme").await;
    let before = world.serving(&acme).await;
    assert_eq!(world.put(&acme, "alice", FREEZE).await.unwrap(), 2);
    assert_eq!(world.put(&acme, "bob", THAW).await.unwrap(), 3);
    assert_eq!(world.put(&acme, "alice", FREEZE).await.unwrap(), 4);
    let versions = world.governance.version_list(&acme, 0).await.unwrap();
    let told: Vec<_> = versions.iter().map(|v| (v.number, v.author.to_string(), v.cause)).collect();
    assert_eq!(
        told,
        [
            (1, "ringfence".to_owned(), Cause::Onboarding),
            (2, "operator alice".to_owned(), Cause::Change),
            (3, "operator bob".to_owned(), Cause::Change),
            (4, "operator alice".to_owned(), Cause::Change),
        ]
    );
    assert!(
        versions
            .iter()
            .all(|version| matches!(&version.standing, Standing::Proved(by) if by.contains("cvc5")))
    );
    assert_eq!(world.texts(&acme).await, 3, "versions 2 and 4 share theirs");
    assert_eq!(world.governance.version_text(&acme, 1).await.unwrap(), before);
    let back =
        world.governance.rollback(&acme, 1, NO_REVIEW, author("carol"), why("it broke")).await.unwrap();
    assert_eq!((back.version, world.serving(&acme).await), (5, before));
    let latest = world.governance.version_get(&acme, 5).await.unwrap();
    assert_eq!((latest.cause, latest.reason), (Cause::Rollback(1), why("it broke")));
    let again = world.governance.rollback(&acme, 1, NO_REVIEW, author("carol"), why("twice")).await;
    assert!(matches!(again, Err(GovernError::Same)));
    let entries = world.governance.audit_list(&acme, 0).await.unwrap();
    assert_eq!(entries.len(), 5);
    assert_eq!(entries[4].who, author("carol"));
    assert_eq!(world.governance.audit_list(&acme, 3).await.unwrap(), entries[3..]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_served_before_there_was_a_history_is_its_first_version() {
    let world = World::new().await;
    let acme = tenant("acme");
    world.records.tenant_add(&acme).await.unwrap();
    let publishable = world.gate.check(document(&acme), NO_REVIEW).await.unwrap();
    world.records.commit(store_create(&publishable).unwrap()).await.unwrap();
    let before = world.serving(&acme).await;
    assert_eq!(world.governance.version_list(&acme, 0).await.unwrap(), []);
    assert_eq!(world.put(&acme, "alice", FREEZE).await.unwrap(), 2);
    let found = world.governance.version_get(&acme, 1).await.unwrap();
    assert_eq!((found.cause, found.author), (Cause::Found, Author::Plane));
    assert_eq!(world.governance.version_text(&acme, 1).await.unwrap(), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_roll_back_to_what_the_gate_refuses_today_changes_nothing() {
    let world = World::new().await;
    let acme = world.tenant("acme").await;
    // Published while there was no solver, by a tier that accepts that: it opens a way across tenants.
    let blind = SolverSettings { program: "no-such-solver".into(), ..SolverSettings::default() };
    let blind = Governance::new(Arc::clone(&world.stores), Arc::new(Gate::new(blind).await));
    let accept = Terms { unproved: WhenUnproved::Accept, ..NO_REVIEW };
    let open = |document: &mut StoreDocument| {
        document.policies.remove("own-tenant-only");
        Ok(())
    };
    assert_eq!(blind.change(&acme, open, accept, change()).await.unwrap().version, 2);
    world.governance.rollback(&acme, 1, NO_REVIEW, author("alice"), why("closed again")).await.unwrap();
    let serving = world.serving(&acme).await;
    let refused = world.governance.rollback(&acme, 2, NO_REVIEW, author("alice"), why("open")).await;
    assert!(matches!(refused, Err(GovernError::Stores(StoresError::Refuted(_)))), "{refused:?}");
    // And by what the tier allows by now.
    let smaller = Terms { quotas: Quotas { policies_per_store: 1, ..QUOTAS }, ..NO_REVIEW };
    world.put(&acme, "alice", FREEZE).await.unwrap();
    let refused = world.governance.rollback(&acme, 1, smaller, author("alice"), why("large")).await;
    assert!(
        matches!(&refused, Err(GovernError::Stores(StoresError::Quota(told))) if told.contains("policies_per_store"))
    );
    assert_eq!(world.governance.version_latest(&acme).await.unwrap(), 4);
    assert_ne!(world.serving(&acme).await, serving);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_that_was_moved_or_rewritten_is_not_believed() {
    let world = World::new().await;
    let (acme, globex) = (world.tenant("acme").await, world.tenant("globex").await);
    world.put(&acme, "alice", FREEZE).await.unwrap();
    world.put(&globex, "mallory", THAW).await.unwrap();
    // The row of one tenant in the other's place: by somebody with the database alone.
    let key = |tenant: &TenantId| RecordKey::new(Scope::from(tenant), VERSION, &id(2));
    let row = world.state.get(&key(&acme)).await.unwrap().unwrap();
    let write = Write { key: key(&globex), expect: Expect::Any, value: Some(row.value) };
    world.state.commit(vec![write]).await.unwrap();
    tampered(world.governance.version_get(&globex, 2).await, VERSION);
    tampered(world.governance.rollback(&globex, 2, NO_REVIEW, author("x"), why("x")).await, VERSION);
    // By somebody who can seal: one tenant's version as another's, and one version as another.
    let of_acme = world.governance.version_get(&acme, 2).await.unwrap();
    world.forge(&globex, VERSION, &id(2), &of_acme).await;
    tampered(world.governance.version_get(&globex, 2).await, VERSION);
    world.forge(&acme, VERSION, &id(1), &of_acme).await;
    tampered(world.governance.version_get(&acme, 1).await, VERSION);
    tampered(world.governance.version_list(&acme, 0).await, VERSION);
    // A text under another's name.
    let mut other = world.serving(&acme).await;
    other.policies.insert("all".to_owned(), "permit (principal, action, resource);".to_owned());
    world.forge(&acme, TEXT, &of_acme.content, &other).await;
    tampered(world.governance.version_text(&acme, 2).await, TEXT);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_audit_that_was_rewritten_or_cut_is_not_shown() {
    let world = World::new().await;
    for (attack, name) in ["rewritten", "cut", "gap", "swapped"].into_iter().zip(["ta", "tb", "tc", "td"]) {
        let acme = world.tenant(name).await;
        for text in [FREEZE, THAW, FREEZE] {
            world.put(&acme, "alice", text).await.unwrap();
        }
        let entries = world.governance.audit_list(&acme, 0).await.unwrap();
        let scope = Scope::from(&acme);
        match attack {
            "rewritten" => {
                let mut entry = entries[1].clone();
                entry.who = author("bob");
                world.forge(&acme, AUDIT, &id(2), &entry).await;
            }
            "cut" => drop(world.records.commit(vec![Draft::delete(&scope, AUDIT, &id(4))]).await.unwrap()),
            "gap" => drop(world.records.commit(vec![Draft::delete(&scope, AUDIT, &id(2))]).await.unwrap()),
            _ => {
                let mut last = entries[3].clone();
                last.reason = None;
                world.forge(&acme, AUDIT, &id(4), &last).await;
            }
        }
        tampered(world.governance.audit_list(&acme, 0).await, AUDIT);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_oldest_texts_go_and_the_record_of_who_did_what_stays() {
    let world = World::new().await;
    let acme = world.tenant("acme").await;
    world
        .put(&acme, "alice", "forbid (principal == Ledger::User::\"once\", action, resource);")
        .await
        .unwrap();
    let waiting =
        world.propose(&acme, "alice", "forbid (principal == Ledger::User::\"p\", action, resource);").await;
    let waiting = waiting.unwrap().number;
    for number in 0..=TEXTS_KEPT {
        let text = if number.is_multiple_of(2) { FREEZE } else { THAW };
        world.put(&acme, "bob", text).await.unwrap();
    }
    let latest = world.governance.version_latest(&acme).await.unwrap();
    assert_eq!(latest, TEXTS_KEPT + 3);
    for gone in [1, 2] {
        let text = world.governance.version_text(&acme, gone).await;
        assert!(matches!(text, Err(GovernError::TextGone(number)) if number == gone), "{text:?}");
        world.governance.version_get(&acme, gone).await.unwrap();
    }
    for kept in [3, 4, latest] {
        world.governance.version_text(&acme, kept).await.unwrap();
    }
    world.governance.side(&acme, Side::Proposal(waiting)).await.expect("what is proposed is kept");
    assert_eq!(world.texts(&acme).await, 3);
    assert_eq!(world.governance.audit_list(&acme, 0).await.unwrap().len() as u64, latest + 1);
    world.governance.reject(&acme, waiting, author("bob"), why("old")).await.unwrap();
    assert_eq!(world.texts(&acme).await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn where_a_review_is_required_nothing_else_changes_what_serves() {
    let world = World::new().await;
    let acme = world.tenant("acme").await;
    world.put(&acme, "alice", FREEZE).await.unwrap();
    let (before, revision) = world.stores.document(&acme).await.unwrap();
    let unreviewed = |outcome: Result<_, GovernError>| {
        assert!(matches!(outcome, Err(GovernError::Stores(StoresError::Unreviewed))), "{outcome:?}");
    };
    let edit = StoreEdit::delete("own".to_owned());
    let apply = |document: &mut StoreDocument| edit.clone().apply(document);
    unreviewed(world.governance.change(&acme, apply, REVIEWED, change()).await);
    unreviewed(world.governance.rollback(&acme, 1, REVIEWED, author("alice"), why("x")).await);
    // Nor a change that names its author as its reviewer, whatever the tier asks.
    let mut document = before.clone();
    document.policies.remove("own");
    for terms in [NO_REVIEW, REVIEWED] {
        let publishable = world.gate.check(document.clone(), terms).await.unwrap();
        let own = Change { reviewer: Some(author("alice")), ..change() };
        let refused = world.stores.document_put(&publishable, revision, own).await;
        assert!(matches!(refused, Err(StoresError::Unreviewed)));
    }
    assert_eq!(world.stores.document(&acme).await.unwrap(), (before, revision));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_proposes_another_approves_and_it_serves_as_it_was_approved() {
    let world = World::new().await;
    let acme = world.tenant("acme").await;
    let proposal = world.propose(&acme, "alice", FREEZE).await.unwrap();
    assert_eq!((proposal.number, proposal.base, &proposal.state), (1, 1, &ProposalState::Open));
    let publish = || world.governance.publish(&acme, 1, REVIEWED, author("carol"));
    assert!(matches!(publish().await, Err(GovernError::NotApproved(1, "open"))));
    let own = world.governance.approve(&acme, 1, author("alice"), None).await;
    assert!(matches!(own, Err(GovernError::OwnProposal)));
    assert!(matches!(publish().await, Err(GovernError::NotApproved(1, "open"))));
    world.governance.approve(&acme, 1, author("bob"), Some(why("looks right"))).await.unwrap();
    let twice = world.governance.approve(&acme, 1, author("dave"), None).await;
    assert!(matches!(twice, Err(GovernError::Decided(1, "approved"))));
    let proposed = world.governance.side(&acme, Side::Proposal(1)).await.unwrap();
    assert_eq!(publish().await.unwrap().version, 2);
    assert_eq!(world.serving(&acme).await, proposed);
    assert!(matches!(publish().await, Err(GovernError::NotApproved(1, "published"))));
    let version = world.governance.version_get(&acme, 2).await.unwrap();
    assert_eq!(version.content, proposal.content);
    assert_eq!(
        (version.author, version.reviewer, version.publisher, version.cause),
        (author("alice"), Some(author("bob")), Some(author("carol")), Cause::Proposal(1))
    );
    let entries = world.governance.audit_list(&acme, 1).await.unwrap();
    let steps: Vec<_> = entries.iter().map(|entry| (entry.who.clone(), entry.step.clone())).collect();
    let content = proposal.content;
    assert_eq!(
        steps,
        [
            (author("alice"), Step::Proposed { proposal: 1, base: 1, content: content.clone() }),
            (author("bob"), Step::Approved { proposal: 1, content: content.clone() }),
            (author("carol"), Step::Published { version: 2, cause: Cause::Proposal(1), content }),
        ]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proposal_whose_base_no_longer_serves_is_neither_approved_nor_published() {
    let world = World::new().await;
    let acme = world.tenant("acme").await;
    for text in [FREEZE, THAW] {
        world.propose(&acme, "alice", text).await.unwrap();
    }
    world.governance.approve(&acme, 1, author("bob"), None).await.unwrap();
    world.put(&acme, "dave", "forbid (principal == Ledger::User::\"u\", action, resource);").await.unwrap();
    let serving = world.serving(&acme).await;
    let stale = |outcome: Result<(), GovernError>, proposal: u64| {
        let told = outcome.unwrap_err();
        assert!(
            matches!(told, GovernError::Stale { number, base: 1, serving: 2 } if number == proposal),
            "{told:?}"
        );
    };
    stale(world.governance.publish(&acme, 1, REVIEWED, author("bob")).await.map(drop), 1);
    stale(world.governance.approve(&acme, 2, author("bob"), None).await.map(drop), 2);
    assert_eq!(world.serving(&acme).await, serving);
    world.governance.reject(&acme, 1, author("alice"), why("made anew")).await.unwrap();
    let rejected = world.governance.publish(&acme, 1, REVIEWED, author("bob")).await;
    assert!(matches!(rejected, Err(GovernError::NotApproved(1, "rejected"))));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_text_other_than_the_approved_one_is_not_published() {
    let world = World::new().await;
    let acme = world.tenant("acme").await;
    let proposal = world.propose(&acme, "alice", FREEZE).await.unwrap();
    let approved = world.governance.approve(&acme, 1, author("bob"), None).await.unwrap();
    let before = world.serving(&acme).await;
    // The text behind its name is exchanged.
    let mut other = world.governance.side(&acme, Side::Proposal(1)).await.unwrap();
    let good = other.clone();
    other.policies.insert("own".to_owned(), THAW.to_owned());
    world.forge(&acme, TEXT, &proposal.content, &other).await;
    tampered(world.governance.publish(&acme, 1, REVIEWED, author("bob")).await, TEXT);
    world.forge(&acme, TEXT, &proposal.content, &good).await;
    // The proposal is pointed at another text that is there.
    let second = world.propose(&acme, "alice", THAW).await.unwrap();
    world
        .forge(&acme, PROPOSAL, &id(1), &Proposal { content: second.content.clone(), ..approved.clone() })
        .await;
    tampered(world.governance.publish(&acme, 1, REVIEWED, author("bob")).await, PROPOSAL);
    // The text is gone.
    world.forge(&acme, PROPOSAL, &id(1), &approved).await;
    let gone = Draft::delete(&Scope::from(&acme), TEXT, &proposal.content);
    world.records.commit(vec![gone]).await.unwrap();
    tampered(world.governance.publish(&acme, 1, REVIEWED, author("bob")).await, TEXT);
    assert_eq!(world.serving(&acme).await, before);
    // The store was changed past its history.
    world.forge(&acme, TEXT, &proposal.content, &good).await;
    let mut past = before.clone();
    past.policies.insert("past".to_owned(), THAW.to_owned());
    world.forge(&acme, Kind::new("policy_store"), past.id.as_str(), &past).await;
    let refused = world.governance.publish(&acme, 1, REVIEWED, author("bob")).await;
    assert!(matches!(refused, Err(GovernError::Stale { .. })), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_copy_of_a_decided_proposal_decides_nothing() {
    let world = World::new().await;
    let acme = world.tenant("acme").await;
    let key = RecordKey::new(Scope::from(&acme), PROPOSAL, &id(1));
    let copy = async || world.state.get(&key).await.unwrap().unwrap().value;
    // Text kept by a second proposal of the same: only the record is missing an approval.
    world.propose(&acme, "alice", FREEZE).await.unwrap();
    world.propose(&acme, "alice", FREEZE).await.unwrap();
    let open = copy().await;
    world.governance.approve(&acme, 1, author("bob"), None).await.unwrap();
    let approved = copy().await;
    world.governance.reject(&acme, 1, author("bob"), why("no, after all")).await.unwrap();
    let before = world.serving(&acme).await;
    // By somebody with the database alone.
    let put_back = async |value: &[u8]| {
        let write = Write { key: key.clone(), expect: Expect::Any, value: Some(value.to_vec()) };
        world.state.commit(vec![write]).await.unwrap();
    };
    put_back(&approved).await;
    tampered(world.governance.publish(&acme, 1, REVIEWED, author("mallory")).await, PROPOSAL);
    put_back(&open).await;
    tampered(world.governance.approve(&acme, 1, author("bob"), None).await, PROPOSAL);
    assert_eq!(world.serving(&acme).await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_tenants_proposal_and_one_that_never_was_answer_alike() {
    let world = World::new().await;
    let (acme, globex) = (world.tenant("acme").await, world.tenant("globex").await);
    world.propose(&acme, "alice", FREEZE).await.unwrap();
    let approved = world.governance.approve(&acme, 1, author("bob"), None).await.unwrap();
    let before = world.serving(&globex).await;
    for number in [1, 77] {
        let told = [
            world.governance.proposal_get(&globex, number).await.map(drop),
            world.governance.side(&globex, Side::Proposal(number)).await.map(drop),
            world.governance.approve(&globex, number, author("bob"), None).await.map(drop),
            world.governance.reject(&globex, number, author("bob"), why("x")).await.map(drop),
            world.governance.publish(&globex, number, REVIEWED, author("bob")).await.map(drop),
        ];
        for outcome in told {
            assert_eq!(outcome.unwrap_err().to_string(), format!("there is no proposal {number}"));
        }
    }
    // And where somebody who can seal has put it there.
    world.forge(&globex, PROPOSAL, &id(1), &approved).await;
    tampered(world.governance.publish(&globex, 1, REVIEWED, author("bob")).await, PROPOSAL);
    assert_eq!(world.serving(&globex).await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn reject_policy_proposals() {
    let world = World::new().await;
    let acme = world.tenant("acme").await;
    for number in 0..limits::POLICY_PROPOSALS {
        let text = format!("forbid (principal == Ledger::User::\"u-{number}\", action, resource);");
        let edit = put("own", &text);
        // Without a solver: fifty proofs are not what is tried here.
        let accept = Terms { unproved: WhenUnproved::Accept, ..REVIEWED };
        let blind = SolverSettings { program: "no-such-solver".into(), ..SolverSettings::default() };
        let blind = Governance::new(Arc::clone(&world.stores), Arc::new(Gate::new(blind).await));
        blind.propose(&acme, edit, accept, author("alice"), why("one of many")).await.unwrap();
    }
    let one_more = world.propose(&acme, "alice", FREEZE).await;
    assert!(matches!(one_more, Err(GovernError::TooMany(limits::POLICY_PROPOSALS))));
    world.governance.reject(&acme, 7, author("bob"), why("room")).await.unwrap();
    world.propose(&acme, "alice", FREEZE).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_changes_at_once_one_is_made() {
    let world = World::new().await;
    let acme = world.tenant("acme").await;
    world.propose(&acme, "alice", FREEZE).await.unwrap();
    world.governance.approve(&acme, 1, author("bob"), None).await.unwrap();
    let publish = || world.governance.publish(&acme, 1, REVIEWED, author("bob"));
    let (one, two, other) = tokio::join!(publish(), publish(), world.put(&acme, "dave", THAW));
    let made = [one.is_ok(), two.is_ok(), other.is_ok()].iter().filter(|made| **made).count();
    assert!(made >= 1, "{one:?} {two:?} {other:?}");
    let versions = world.governance.version_list(&acme, 0).await.unwrap();
    assert_eq!(versions.len(), 1 + made, "{versions:?}");
    assert!(!(one.is_ok() && two.is_ok()), "a proposal is published once");
    assert_eq!(world.governance.audit_list(&acme, 0).await.unwrap().len(), 3 + made);
}
