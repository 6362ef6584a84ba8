//! What is tried of policies, on two nodes of one state: begun at one, served and ended at both, and attacked by somebody
//! who can write records.

use std::sync::Arc;

use ringfence_authorization::{
    Decide, Facts, Governance, Question, Stores, Trials,
    canary::{Canaries, Ended, Stage, Staged},
    govern::{AuditEntry, Author, GovernError, How, Step, Trial},
    shadow::{Shadowed, Shadows},
};
use ringfence_context::{TenantId, limits};
use ringfence_store::{
    Change as Write, Draft, Expect, Follower, Kind, MasterKey, RecordKey, Records, Scope, Store,
};

use crate::{
    fixture::{Contexts, StandingClock, breath, gate, resource},
    govern::{FREEZE, NO_REVIEW, REVIEWED, THAW, World, author, why},
};

const TRIAL: Kind = Kind::new("policy_trial");
const TRIALS: Kind = Kind::new("policy_trials");
const HALF: Stage = Stage { percent: 50, most_rise: 100 };

/// One node: everything it keeps in memory.
struct Node {
    stores: Arc<Stores>,
    governance: Governance,
    canaries: Arc<Canaries>,
    shadows: Arc<Shadows>,
    trials: Arc<Follower<Trials>>,
    decide: Shadowed,
    contexts: Contexts,
}

impl Node {
    async fn start(world: &World) -> Self {
        let records = Records::new(Arc::clone(&world.state) as _, MasterKey::open(world.dir.path()).unwrap());
        let clock = Arc::new(StandingClock::default());
        let stores = Stores::load(records.clone(), Arc::clone(&clock) as _).await.unwrap();
        let governance = Governance::new(Arc::clone(&stores), Arc::clone(&world.gate));
        let canaries = Arc::new(Canaries::new(clock as _));
        let shadows = Arc::<Shadows>::default();
        let trials = Trials::new(governance.clone(), Arc::clone(&canaries), Arc::clone(&shadows));
        let trials = Follower::begin(records.clone(), trials).await.unwrap();
        let staged = Arc::new(Staged::new(Arc::clone(&stores) as _, Arc::clone(&canaries)));
        let decide = Shadowed::new(staged, Arc::clone(&shadows));
        Self { stores, governance, canaries, shadows, trials, decide, contexts: Contexts::new() }
    }

    /// What the feed would do.
    async fn follow(&self) {
        self.stores.refresh().await.unwrap();
        self.trials.refresh().await.unwrap();
    }

    fn allows(&self, tenant: &TenantId, subject: &str) -> bool {
        let context = self.contexts.context(tenant, subject, "viewer");
        let (resource, facts) = (resource(tenant, "Book", tenant.as_str()), Facts::new());
        let question = Question {
            context: &context,
            principal: None,
            action: "ListPayments",
            resource: &resource,
            facts: &facts,
        };
        self.decide.decide(&question).unwrap().allow
    }

    /// Who of forty is decided for by the proposal, which forbids what is allowed to all of them.
    fn share(&self, tenant: &TenantId) -> Vec<String> {
        let all = (0..40).map(|number| format!("user-{number}"));
        all.filter(|subject| !self.allows(tenant, subject)).collect()
    }

    async fn stage(&self, tenant: &TenantId, proposal: u64, stage: Stage) -> Result<(), GovernError> {
        self.governance.stage(tenant, proposal, REVIEWED, author("carol"), stage).await?;
        self.follow().await;
        Ok(())
    }
}

/// Two nodes, and a tenant with an approved proposal.
struct Bench {
    world: World,
    a: Node,
    b: Node,
    acme: TenantId,
}

async fn bench() -> Bench {
    let world = World::new().await;
    let acme = world.tenant("acme").await;
    approved(&world, &acme).await;
    let (a, b) = (Node::start(&world).await, Node::start(&world).await);
    Bench { world, a, b, acme }
}

/// A proposal that forbids, approved.
async fn approved(world: &World, tenant: &TenantId) -> u64 {
    let number = world.propose(tenant, "alice", FREEZE).await.unwrap().number;
    world.governance.approve(tenant, number, author("bob"), None).await.unwrap();
    number
}

impl Bench {
    async fn audit(&self) -> Vec<AuditEntry> {
        self.world.governance.audit_list(&self.acme, 0).await.unwrap()
    }

    async fn ends(&self) -> Vec<String> {
        let of = |entry: AuditEntry| match entry.step {
            Step::Unstaged { why, .. } => Some(why),
            _ => None,
        };
        self.audit().await.into_iter().filter_map(of).collect()
    }

    /// What is on record of the share.
    async fn record(&self) -> Trial {
        self.world.governance.share_get(&self.acme).await.unwrap().unwrap()
    }

    async fn both_follow(&self) {
        self.a.follow().await;
        self.b.follow().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stage_is_served_by_every_node_after_a_restart_too_and_ended_at_any() {
    let bench = bench().await;
    let (a, b, acme) = (&bench.a, &bench.b, &bench.acme);
    a.stage(acme, 1, HALF).await.unwrap();
    let half = a.share(acme);
    assert!((5..35).contains(&half.len()), "{half:?}");
    assert_eq!(b.share(acme), [""; 0], "it has not been told yet");
    b.follow().await;
    assert_eq!(b.share(acme), half, "the same principals at both");
    let restarted = Node::start(&bench.world).await;
    assert_eq!(restarted.share(acme), half, "it goes on");
    b.stage(acme, 1, Stage { percent: 80, ..HALF }).await.unwrap();
    a.follow().await;
    let more = a.share(acme);
    assert!(more.len() > half.len() && half.iter().all(|subject| more.contains(subject)));
    assert_eq!(b.share(acme), more);
    let ended = a.governance.unstage(acme, None, author("dave"), Ended::Stopped).await.unwrap().unwrap();
    assert_eq!((ended.proposal, ended.by), (1, author("carol")));
    assert_eq!(a.governance.unstage(acme, None, author("dave"), Ended::Stopped).await.unwrap(), None);
    bench.both_follow().await;
    for node in [a, b, &Node::start(&bench.world).await] {
        assert_eq!(node.share(acme), [""; 0]);
    }
    assert_eq!(b.canaries.report(acme).unwrap().ended, Some(Ended::Stopped), "the other node says why");
    assert_eq!(bench.ends().await, ["its next stage began", "it was stopped"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_rise_that_nodes_see_ends_the_share_at_all_of_them_and_is_on_record_once() {
    let bench = bench().await;
    let (a, b, acme) = (&bench.a, &bench.b, &bench.acme);
    a.stage(acme, 1, Stage { percent: 90, most_rise: 5 }).await.unwrap();
    b.follow().await;
    // Both see it, at the same time.
    assert!(a.share(acme).len() < 40 && b.share(acme).len() < 40);
    for node in [a, b] {
        assert!(matches!(node.canaries.report(acme).unwrap().ended, Some(Ended::Rise { .. })));
        assert_eq!(node.share(acme), [""; 0], "at once, whatever is on record");
    }
    while bench.record().await.ended.is_none() {
        breath().await;
    }
    assert!(matches!(bench.record().await.ended, Some(Ended::Rise { .. })));
    bench.both_follow().await;
    assert_eq!(Node::start(&bench.world).await.share(acme), [""; 0]);
    let ends = bench.ends().await;
    assert!(matches!(&*ends, [one] if one.starts_with("rolled back: of ")), "{ends:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_saw_nothing_stops_with_the_one_that_did() {
    let bench = bench().await;
    let (a, b, acme) = (&bench.a, &bench.b, &bench.acme);
    a.stage(acme, 1, Stage { percent: 90, most_rise: 5 }).await.unwrap();
    b.follow().await;
    a.share(acme);
    while bench.record().await.ended.is_none() {
        breath().await;
    }
    b.follow().await;
    assert_eq!(b.share(acme), [""; 0]);
    assert!(matches!(b.canaries.report(acme).unwrap().ended, Some(Ended::Rise { .. })));
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_takes_effect_and_a_rejection_end_a_share_in_their_own_commit() {
    let world = World::new().await;
    let node = Node::start(&world).await;
    for (name, ended) in
        [("published", Ended::Decided), ("rejected", Ended::Decided), ("changed", Ended::BaseChanged)]
    {
        let tenant = world.tenant(name).await;
        let number = approved(&world, &tenant).await;
        node.stage(&tenant, number, HALF).await.unwrap();
        assert!(!node.share(&tenant).is_empty());
        let governance = &world.governance;
        match name {
            "published" => {
                governance.publish(&tenant, number, REVIEWED, author("carol")).await.map(drop).unwrap();
            }
            "rejected" => {
                governance.reject(&tenant, number, author("bob"), why("no")).await.map(drop).unwrap();
            }
            _ => world.put(&tenant, "alice", THAW).await.map(drop).unwrap(),
        }
        let record = governance.share_get(&tenant).await.unwrap().unwrap();
        assert_eq!(record.ended, Some(ended), "{name}: on record with it");
        node.follow().await;
        let shares = node.share(&tenant);
        assert_eq!(shares.len(), if name == "published" { 40 } else { 0 }, "{name}");
        let rows = world.records.list::<TenantId>(&Scope::Plane, TRIALS, None, 10).await.unwrap();
        assert!(rows.is_empty(), "{name}: nothing leads there any more");
        governance.audit_list(&tenant, 0).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn only_an_approved_proposal_decides_for_anybody_and_one_at_a_time() {
    let bench = bench().await;
    let (a, acme) = (&bench.a, &bench.acme);
    let open = bench.world.propose(acme, "alice", THAW).await.unwrap().number;
    let refused = a.stage(acme, open, HALF).await.unwrap_err();
    assert!(matches!(refused, GovernError::NotApproved(2, "open")), "{refused}");
    bench.world.governance.approve(acme, open, author("bob"), None).await.unwrap();
    a.stage(acme, 1, HALF).await.unwrap();
    let refused = bench.b.stage(acme, open, HALF).await.unwrap_err();
    assert!(matches!(refused, GovernError::OtherShare(1)), "{refused}");
    a.governance.unstage(acme, None, author("carol"), Ended::Stopped).await.unwrap().unwrap();
    bench.b.stage(acme, open, HALF).await.unwrap();
}

/// By somebody who can write to the database, and by somebody who can seal as well.
#[tokio::test(flavor = "multi_thread")]
async fn x16_a_trial_that_was_moved_forged_or_put_back_is_served_by_no_node() {
    let bench = bench().await;
    let (a, world, acme) = (&bench.a, &bench.world, &bench.acme);
    let globex = world.tenant("globex").await;
    let number = approved(world, &globex).await;
    a.stage(acme, 1, HALF).await.unwrap();
    let share = a.share(acme);
    let genuine = bench.record().await;
    let key = |tenant: &TenantId| RecordKey::new(Scope::from(tenant), TRIAL, "share");
    // Moved: acme's record at globex's place, with a row that leads there.
    let raw = world.state.get(&key(acme)).await.unwrap().unwrap().value;
    let row = Draft::put(&Scope::Plane, TRIALS, "share/globex", &globex).unwrap();
    world.records.commit(vec![row]).await.unwrap();
    let moved = Write { key: key(&globex), expect: Expect::Any, value: Some(raw) };
    world.state.commit(vec![moved]).await.unwrap();
    a.follow().await;
    for node in [a, &Node::start(world).await] {
        assert_eq!(node.share(&globex), [""; 0]);
        assert_eq!(node.share(acme), share, "another tenant's goes on");
    }
    // Sealed for globex, though no audit entry began it, or saying that it is another's.
    let how = How::Share { stage: HALF, base: world.stores.document(&globex).await.unwrap().1 };
    let of_globex = Trial { tenant: globex.clone(), proposal: number, how, ..genuine.clone() };
    for forged in [of_globex, genuine.clone()] {
        world.forge(&globex, TRIAL, "share", &forged).await;
        a.follow().await;
        assert_eq!(a.share(&globex), [""; 0], "{forged:?}");
    }
    // Of acme's own, with what was not approved in it.
    let open = world.propose(acme, "alice", THAW).await.unwrap();
    let other_base = How::Share { stage: HALF, base: 1 };
    for forged in [
        Trial { proposal: open.number, content: open.content.clone(), ..genuine.clone() },
        Trial { content: open.content.clone(), ..genuine.clone() },
        Trial { proposal: 77, ..genuine.clone() },
        Trial { how: other_base, ..genuine.clone() },
        Trial { how: How::Beside, ..genuine.clone() },
        Trial { entry: genuine.entry + 1, ..genuine.clone() },
    ] {
        world.forge(acme, TRIAL, "share", &forged).await;
        a.follow().await;
        for node in [a, &Node::start(world).await] {
            assert_eq!(node.share(acme), [""; 0], "{forged:?}");
        }
    }
    // Put back after it has ended.
    world.forge(acme, TRIAL, "share", &genuine).await;
    a.follow().await;
    assert_eq!(a.share(acme), share, "what is genuine is served");
    a.governance.unstage(acme, None, author("carol"), Ended::Stopped).await.unwrap().unwrap();
    world.forge(acme, TRIAL, "share", &genuine).await;
    a.follow().await;
    for node in [a, &Node::start(world).await] {
        assert_eq!(node.share(acme), [""; 0], "the history knows that it is over");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn cv26_a_tenant_that_is_gone_ends_its_own_trials_and_nobody_elses() {
    let bench = bench().await;
    let (a, world, acme) = (&bench.a, &bench.world, &bench.acme);
    let globex = world.tenant("globex").await;
    let number = approved(world, &globex).await;
    a.stage(acme, 1, HALF).await.unwrap();
    a.stage(&globex, number, HALF).await.unwrap();
    a.governance.beside(&globex, number, author("carol")).await.unwrap();
    a.follow().await;
    let share = a.share(acme);
    assert!(a.shadows.report(&globex).is_some());
    // Before its rows are removed: those lead to nothing.
    world.records.tenant_shred(&globex).await.unwrap();
    a.follow().await;
    assert!(a.shadows.report(&globex).is_none());
    assert!(a.canaries.report(&globex).unwrap().ended.is_some());
    assert_eq!((a.share(acme), Node::start(world).await.share(acme)), (share.clone(), share));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proposal_beside_what_serves_is_asked_on_every_node_and_counted_on_each() {
    let bench = bench().await;
    let (a, b, acme) = (&bench.a, &bench.b, &bench.acme);
    a.governance.beside(acme, 1, author("carol")).await.unwrap();
    bench.both_follow().await;
    assert!(a.allows(acme, "u") && b.allows(acme, "u") && b.allows(acme, "v"), "it answers nobody");
    let asked = |node: &Node| node.shadows.report(acme).map(|report| (report.proposal, report.lost));
    assert_eq!((asked(a), asked(b)), (Some((1, 1)), Some((1, 2))));
    assert_eq!(asked(&Node::start(&bench.world).await), Some((1, 0)), "it goes on after a restart");
    assert!(b.governance.beside_end(acme).await.unwrap());
    assert!(!b.governance.beside_end(acme).await.unwrap());
    bench.both_follow().await;
    assert_eq!((asked(a), asked(b)), (None, None));
    // One that is decided is asked no longer, and not begun.
    a.governance.beside(acme, 1, author("carol")).await.unwrap();
    bench.both_follow().await;
    a.governance.publish(acme, 1, NO_REVIEW, author("carol")).await.unwrap();
    bench.both_follow().await;
    assert_eq!((asked(a), asked(b)), (None, None));
    let refused = a.governance.beside(acme, 1, author("carol")).await.unwrap_err();
    assert!(matches!(refused, GovernError::Decided(1, "published")), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn reject_policy_shadows() {
    let world = World::new().await;
    let governance = Governance::new(Arc::clone(&world.stores), Arc::new(gate().await));
    let mut tenants = Vec::new();
    for number in 0..=limits::POLICY_SHADOWS {
        let tenant = world.tenant(&format!("tenant-{number}")).await;
        approved(&world, &tenant).await;
        tenants.push(tenant);
    }
    let begin = async |tenant: &TenantId| {
        governance.beside(tenant, 1, Author::Plane).await?;
        governance.stage(tenant, 1, REVIEWED, Author::Plane, HALF).await
    };
    let (last, first) = tenants.split_last().unwrap();
    for tenant in first {
        begin(tenant).await.unwrap();
    }
    let refused = begin(last).await.unwrap_err();
    assert!(matches!(refused, GovernError::TooManyTrials(limits::POLICY_SHADOWS)), "{refused}");
    let refused = governance.stage(last, 1, REVIEWED, Author::Plane, HALF).await.unwrap_err();
    assert!(matches!(refused, GovernError::TooManyTrials(limits::POLICY_SHADOWS)), "{refused}");
    begin(&first[0]).await.expect("its own is no other tenant's");
    governance.unstage(&first[1], None, Author::Plane, Ended::Stopped).await.unwrap().unwrap();
    assert!(governance.beside_end(&first[1]).await.unwrap());
    begin(last).await.unwrap();
}
