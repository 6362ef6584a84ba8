//! Who is in a share, what is remembered of it, and when it ends by itself.

use std::sync::atomic::AtomicU64;

use super::*;
use crate::{Facts, Resource, StoreDocument, tests};

const FREEZE: &str = "forbid (principal, action == Ledger::Action::\"ListPayments\", resource);";

/// A store that serves, at a revision that can be moved; a clock too.
struct Serving {
    store: CompiledStore,
    revision: AtomicU64,
}

impl Decide for Serving {
    fn decide(&self, question: &Question<'_>) -> Result<StoreAnswer, Refusal> {
        let revision = self.revision.load(Ordering::SeqCst);
        self.store.answer(question).map(|answer| StoreAnswer { revision, ..answer })
    }

    fn revision(&self, _: &TenantId) -> Result<Option<(Revision, bool)>, Refusal> {
        Ok(Some((self.revision.load(Ordering::SeqCst), false)))
    }

    fn decide_by(&self, policies: &CompiledStore, question: &Question<'_>) -> Result<StoreAnswer, Refusal> {
        policies.answer(question)
    }

    fn policies_revision(&self, _: &TenantId) -> Result<Revision, Refusal> {
        Ok(self.revision.load(Ordering::SeqCst))
    }

    fn warm<'a>(&'a self, _: &'a TenantId) -> Warming<'a> {
        Box::pin(std::future::ready(Ok(())))
    }
}

#[derive(Default)]
struct Hands(AtomicU64);

impl Clock for Hands {
    fn now(&self) -> UnixTime {
        UnixTime::from_seconds(self.0.load(Ordering::SeqCst))
    }
}

struct World {
    serving: Arc<Serving>,
    clock: Arc<Hands>,
    canaries: Arc<Canaries>,
    staged: Staged,
    proposal: StoreDocument,
    acme: TenantId,
}

impl World {
    /// A proposal that forbids what is allowed to everybody who asks here.
    fn new() -> Self {
        let mut proposal = tests::document("acme");
        let store = CompiledStore::compile(&proposal, 7).unwrap();
        proposal.policies.insert("freeze".to_owned(), FREEZE.to_owned());
        let serving = Arc::new(Serving { store, revision: AtomicU64::new(7) });
        let clock = Arc::new(Hands::default());
        let canaries = Arc::new(Canaries::new(Arc::clone(&clock) as _));
        let staged = Staged::new(Arc::clone(&serving) as _, Arc::clone(&canaries));
        let acme = proposal.tenant.clone();
        Self { serving, clock, canaries, staged, proposal, acme }
    }

    fn start(&self, percent: u8, most_rise: u8) -> Arc<Canary> {
        let store = CompiledStore::compile(&self.proposal, NONE).unwrap();
        let stage = Stage { percent, most_rise };
        self.canaries.confirmed();
        self.canaries.begin(store, Began { record: 9, entry: 3, proposal: 1, base: 7, stage })
    }

    fn ask(&self, subject: &str) -> StoreAnswer {
        let context = tests::asker("acme", subject, "viewer");
        let (tenant, facts) = (self.acme.clone(), Facts::new());
        let resource =
            Resource { kind: "Book".to_owned(), id: "b".to_owned(), tenant, attributes: Facts::new() };
        let action = "ListPayments";
        self.staged
            .decide(&Question {
                context: &context,
                principal: None,
                action,
                resource: &resource,
                facts: &facts,
            })
            .unwrap()
    }

    /// Who of these is decided for by the proposal.
    fn included(&self, subjects: &[String]) -> Vec<String> {
        subjects.iter().filter(|subject| !self.ask(subject).allow).cloned().collect()
    }
}

fn subjects(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("user-{number}")).collect()
}

#[test]
fn a_share_is_of_principals_nobody_flips_and_a_larger_one_includes_a_smaller() {
    let world = World::new();
    let all = subjects(300);
    assert_eq!(world.included(&all), [""; 0]);
    world.start(10, 100);
    let tenth = world.included(&all);
    assert!((15..=50).contains(&tenth.len()), "{}", tenth.len());
    assert_eq!(world.included(&all), tenth, "asked again");
    world.start(50, 100);
    let half = world.included(&all);
    assert!((115..=185).contains(&half.len()), "{}", half.len());
    assert!(tenth.iter().all(|subject| half.contains(subject)));
    world.canaries.end(&world.acme, Ended::Stopped);
    assert_eq!(world.included(&all), [""; 0]);
    assert!(!world.canaries.in_use.load(Ordering::SeqCst));
}

#[test]
fn an_answer_of_a_share_is_remembered_under_no_revision_there_ever_is() {
    let world = World::new();
    let revision = || world.staged.revision(&world.acme).unwrap().unwrap().0;
    assert_eq!((revision(), world.ask("user-1").revision), (7, 7));
    world.start(50, 100);
    let mut seen = [0, 0];
    for subject in subjects(50) {
        let answer = world.ask(&subject);
        // What is allowed by what serves is of its revision; what the proposal says, of none.
        assert_eq!(answer.revision, if answer.allow { 7 } else { NONE });
        assert_ne!(answer.revision, revision(), "nothing remembered is used meanwhile");
        seen[usize::from(answer.allow)] += 1;
    }
    assert!(seen.iter().all(|count| *count > 0), "{seen:?}");
    world.canaries.end(&world.acme, Ended::Stopped);
    assert_eq!((revision(), world.ask("user-1").revision), (7, 7));
}

#[tokio::test]
async fn a_rise_in_refusals_ends_a_share_with_the_question_that_goes_too_far() {
    let world = World::new();
    let canary = world.start(50, 10);
    let all = subjects(200);
    let refused = world.included(&all);
    assert_eq!(refused.len() as u64, ENOUGH - 1, "the twentieth is answered by what serves");
    let lost = ENOUGH;
    assert_eq!(canary.over().await, Ended::Rise { asked: ENOUGH, lost, failed: 0 });
    let report = world.canaries.report(&world.acme).unwrap();
    assert_eq!((report.asked, report.lost, report.gained), (ENOUGH, ENOUGH, 0));
    assert_eq!(world.included(&all), [""; 0]);
    assert_eq!(world.staged.revision(&world.acme).unwrap().unwrap().0, 7);
}

#[test]
fn a_rise_is_measured_in_a_window() {
    let world = World::new();
    world.start(50, 10);
    for subject in subjects(200) {
        world.ask(&subject);
        // A question every ten seconds or so: never enough of them at once to say anything.
        world.clock.0.fetch_add(10, Ordering::SeqCst);
        world.canaries.confirmed();
    }
    let report = world.canaries.report(&world.acme).unwrap();
    assert!(report.asked > ENOUGH && report.ended.is_none(), "{report:?}");
}

#[tokio::test]
async fn a_share_ends_with_the_version_it_was_begun_on() {
    let world = World::new();
    let canary = world.start(50, 100);
    let all = subjects(50);
    assert!(!world.included(&all).is_empty());
    world.serving.revision.store(8, Ordering::SeqCst);
    assert_eq!(world.included(&all), [""; 0]);
    assert_eq!(canary.over().await, Ended::BaseChanged);
    // Also where it comes back to what it was.
    world.serving.revision.store(7, Ordering::SeqCst);
    assert_eq!(world.included(&all), [""; 0]);
}

#[test]
fn reject_what_is_no_share() {
    for (percent, most_rise) in [(0, 2), (100, 2), (255, 2), (10, 101)] {
        assert!(Stage { percent, most_rise }.check().is_err(), "{percent} {most_rise}");
    }
    assert!(Stage { percent: 1, most_rise: 100 }.check().is_ok());
}

#[test]
fn a_share_that_may_be_over_is_not_served() {
    let world = World::new();
    world.start(50, 100);
    let all = subjects(50);
    let included = world.included(&all);
    assert!(!included.is_empty());
    world.clock.0.fetch_add(STALE.as_secs() + 1, Ordering::SeqCst);
    assert_eq!(world.included(&all), [""; 0], "nobody has confirmed that it goes on");
    world.canaries.confirmed();
    assert_eq!(world.included(&all), included, "and it was not over");
}

#[test]
fn a_node_that_does_not_know_the_base_yet_serves_what_it_knows_and_ends_nothing() {
    let world = World::new();
    world.serving.revision.store(6, Ordering::SeqCst);
    let canary = world.start(50, 100);
    let all = subjects(50);
    assert_eq!(world.included(&all), [""; 0]);
    assert_eq!(canary.report().ended, None);
    world.serving.revision.store(7, Ordering::SeqCst);
    assert!(!world.included(&all).is_empty());
}
