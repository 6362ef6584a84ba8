//! A staged publish: an approved proposal decides for a share of a tenant's principals first, and stops by itself where
//! it refuses them more than what serves would.
//!
//! Who is in the share is a matter of the principal alone, so that nobody flips, and who is in a small share is in a
//! larger one. What serves is asked on every question, of everybody: so a rise in refusals is measured on the same
//! questions, and the one that goes too far is answered by what serves already.
//!
//! It guarantees that an answer of the proposal is never remembered past its share: it carries the revision zero, which
//! no store ever has, and while a share is served nothing the gateway remembers of the tenant is used. Where no share
//! is served, it costs reading one flag. Which shares there are is on record and every node follows it (`trials.rs`); one
//! that can't serves none. What a rise is measured on is each node's own.

use std::{
    cmp::Ordering::{Equal, Greater, Less},
    collections::HashMap,
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use arc_swap::ArcSwap;
use ringfence_context::{Clock, Refusal, StoreAnswer, TenantId, UnixTime, key::sha256};
use ringfence_store::Revision;
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;

use crate::{CompiledStore, Decide, Question, Warming, stores::STALE};

/// What no store's revision is: the empty state has it.
const NONE: Revision = 0;

/// What no answer is remembered under.
const NEVER: Revision = Revision::MAX;

/// How long questions are counted together.
const WINDOW: Duration = Duration::from_secs(60);

/// How many questions a rise is measured on, at least.
const ENOUGH: u64 = 20;

/// How much of a tenant's requests a proposal decides, and when it must not go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stage {
    /// Of a hundred principals, how many: 1 to 99.
    pub percent: u8,
    /// Of a hundred of their questions, how many at most the proposal may refuse that what serves allows.
    pub most_rise: u8,
}

impl Stage {
    /// Whether it is a share and a rise.
    ///
    /// # Errors
    /// In words.
    pub fn check(self) -> Result<(), &'static str> {
        let right = (1..=99).contains(&self.percent) && self.most_rise <= 100;
        right.then_some(()).ok_or("a share is 1% to 99%, a rise 0% to 100%; for everybody, publish")
    }
}

/// Why a share is no longer served.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ended {
    /// It was told to stop.
    Stopped,
    /// The proposal's next stage began.
    Replaced,
    /// The proposal was published or rejected.
    Decided,
    /// More was refused, or failed, than was allowed for: questions asked, refused that what serves allows, failed.
    Rise {
        /// Asked in the window.
        asked: u64,
        /// Refused that what serves allows.
        lost: u64,
        /// Of those, on which a policy failed.
        failed: u64,
    },
    /// Another version serves.
    BaseChanged,
}

impl std::fmt::Display for Ended {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Stopped => f.write_str("it was stopped"),
            Self::Replaced => f.write_str("its next stage began"),
            Self::Decided => f.write_str("it was decided"),
            Self::Rise { asked, lost, failed } => write!(
                f,
                "rolled back: of {asked} questions {lost} were refused that what serves allows, {failed} by an error"
            ),
            Self::BaseChanged => f.write_str("another version serves"),
        }
    }
}

/// What has become of a stage so far, as one node has seen it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CanaryReport {
    /// The proposal.
    pub proposal: u64,
    /// How much of what it decides.
    #[serde(flatten)]
    pub stage: Stage,
    /// Questions the proposal has answered.
    pub asked: u64,
    /// Allowed by it, and not by what serves.
    pub gained: u64,
    /// Refused by it, and allowed by what serves.
    pub lost: u64,
    /// Why it is over, if it is.
    pub ended: Option<Ended>,
}

/// The proposals that decide for a share, at most one for each tenant.
pub struct Canaries {
    in_use: AtomicBool,
    of: ArcSwap<HashMap<TenantId, Arc<Canary>>>,
    changing: Mutex<()>,
    /// When they were last known to be what is on record, in microseconds since the epoch.
    confirmed: AtomicU64,
    clock: Arc<dyn Clock>,
}

/// What a stage's record says.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Began {
    /// The record's own revision.
    pub(crate) record: Revision,
    /// The entry of the audit that says so.
    pub(crate) entry: u64,
    pub(crate) proposal: u64,
    /// The serving store's revision it was begun at.
    pub(crate) base: Revision,
    pub(crate) stage: Stage,
}

/// One stage.
#[derive(Debug)]
pub struct Canary {
    began: Began,
    store: CompiledStore,
    counts: Mutex<Counts>,
    ended: OnceLock<Ended>,
    over: Notify,
}

#[derive(Debug)]
struct Counts {
    since: UnixTime,
    asked: u64,
    lost: u64,
    failed: u64,
    asked_in_all: u64,
    gained_in_all: u64,
    lost_in_all: u64,
}

impl Canaries {
    /// None yet.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        let (in_use, confirmed) = (AtomicBool::new(false), AtomicU64::new(0));
        Self { in_use, of: ArcSwap::default(), changing: Mutex::default(), confirmed, clock }
    }

    /// Begins a stage, with its store's compiled text, in place of whatever the tenant has.
    pub(crate) fn begin(&self, store: CompiledStore, began: Began) -> Arc<Canary> {
        let _one_at_a_time = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut next = self.of.load().as_ref().clone();
        next.retain(|tenant, canary| canary.ended.get().is_none() || *tenant == store.tenant);
        let since = self.clock.now();
        let counts =
            Counts { since, asked: 0, lost: 0, failed: 0, asked_in_all: 0, gained_in_all: 0, lost_in_all: 0 };
        let (counts, ended, over) = (Mutex::new(counts), OnceLock::new(), Notify::new());
        let tenant = store.tenant.clone();
        let canary = Arc::new(Canary { began, store, counts, ended, over });
        if let Some(before) = next.insert(tenant, Arc::clone(&canary)) {
            before.end(Ended::Replaced);
        }
        self.of.store(Arc::new(next));
        self.in_use.store(true, Ordering::Release);
        canary
    }

    /// Ends the tenant's stage, if there is one; what has become of it is told until the next.
    pub(crate) fn end(&self, tenant: &TenantId, why: Ended) {
        let _one_at_a_time = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let of = self.of.load();
        if let Some(found) = of.get(tenant) {
            found.end(why);
        }
        self.in_use.store(of.values().any(|canary| canary.ended.get().is_none()), Ordering::Release);
    }

    /// They are what is on record now.
    pub(crate) fn confirmed(&self) {
        self.confirmed.store(self.clock.now().micros(), Ordering::Release);
    }

    /// The revision of the record that the tenant's stage was begun by; also of one that is over.
    pub(crate) fn record(&self, tenant: &TenantId) -> Option<Revision> {
        self.of.load().get(tenant).map(|canary| canary.began.record)
    }

    /// Whose stages are here.
    pub(crate) fn tenants(&self) -> impl Iterator<Item = TenantId> + use<> {
        self.of.load().keys().cloned().collect::<Vec<_>>().into_iter()
    }

    /// What has become of the tenant's stage so far, on this node; also of one that is over, until the next.
    pub fn report(&self, tenant: &TenantId) -> Option<CanaryReport> {
        self.of.load().get(tenant).map(|canary| canary.report())
    }

    fn serving(&self, tenant: &TenantId) -> Option<Arc<Canary>> {
        if !self.in_use.load(Ordering::Acquire) {
            return None;
        }
        let confirmed = UnixTime::from_micros(self.confirmed.load(Ordering::Acquire));
        if self.clock.now().since(confirmed) > STALE {
            // It may be over.
            return None;
        }
        self.of.load().get(tenant).filter(|canary| canary.ended.get().is_none()).cloned()
    }
}

impl Canary {
    /// Waits until it is over.
    pub async fn over(&self) -> Ended {
        loop {
            let told = self.over.notified();
            if let Some(ended) = self.ended.get() {
                return ended.clone();
            }
            told.await;
        }
    }

    /// The entry of the audit that began it.
    pub(crate) fn entry(&self) -> u64 {
        self.began.entry
    }

    fn end(&self, why: Ended) {
        if self.ended.set(why).is_ok() {
            self.over.notify_waiters();
        }
    }

    /// Whether a principal is in the share: a matter of its name and its tenant's, and the same on every node, whichever
    /// version it runs.
    fn includes(&self, tenant: &TenantId, subject: &str) -> bool {
        let digest = sha256(&[tenant.as_str().as_bytes(), b"\0", subject.as_bytes()].concat());
        let [a, b, c, d, e, f, g, h, ..] = digest;
        u64::from_be_bytes([a, b, c, d, e, f, g, h]) % 100 < u64::from(self.began.stage.percent)
    }

    fn answer(
        &self,
        serving: &dyn Decide,
        question: &Question<'_>,
        served: StoreAnswer,
        now: UnixTime,
    ) -> Result<StoreAnswer, Refusal> {
        match serving.policies_revision(question.context.tenant())?.cmp(&self.began.base) {
            // What serves is not known here yet as it was when the stage was begun.
            Less => return Ok(served),
            Greater => {
                self.end(Ended::BaseChanged);
                return Ok(served);
            }
            Equal => {}
        }
        if !self.includes(question.context.tenant(), question.subject()) {
            return Ok(served);
        }
        let believed = |answer: &StoreAnswer| answer.allow && answer.errors.is_empty();
        let answer = serving.decide_by(&self.store, question);
        let allowed = answer.as_ref().is_ok_and(believed);
        let failed = answer.as_ref().map_or(true, |answer| !answer.errors.is_empty());
        if self.count(believed(&served), allowed, failed, now) {
            return Ok(served);
        }
        answer.map(|answer| StoreAnswer { revision: NONE, ..answer })
    }

    /// Counts an answer; says whether it goes too far, which ends the stage.
    fn count(&self, served: bool, allowed: bool, failed: bool, now: UnixTime) -> bool {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        if now.since(counts.since) >= WINDOW {
            (counts.since, counts.asked, counts.lost, counts.failed) = (now, 0, 0, 0);
        }
        let add = |counter: &mut u64, what: bool| *counter = counter.saturating_add(u64::from(what));
        let lost = served && !allowed;
        add(&mut counts.asked, true);
        add(&mut counts.asked_in_all, true);
        add(&mut counts.lost, lost);
        add(&mut counts.lost_in_all, lost);
        add(&mut counts.gained_in_all, allowed && !served);
        add(&mut counts.failed, lost && failed);
        let Counts { asked, lost, failed, .. } = *counts;
        let too_far = asked >= ENOUGH
            && lost.saturating_mul(100) > asked.saturating_mul(u64::from(self.began.stage.most_rise));
        if too_far {
            self.end(Ended::Rise { asked, lost, failed });
        }
        too_far
    }

    /// What has become of it so far.
    pub fn report(&self) -> CanaryReport {
        let counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        CanaryReport {
            proposal: self.began.proposal,
            stage: self.began.stage,
            asked: counts.asked_in_all,
            gained: counts.gained_in_all,
            lost: counts.lost_in_all,
            ended: self.ended.get().cloned(),
        }
    }
}

/// Decides as the serving stores do, and for a share as a proposal does.
pub struct Staged {
    serving: Arc<dyn Decide>,
    canaries: Arc<Canaries>,
}

impl Staged {
    /// Decides as `serving` does where no share is served.
    pub fn new(serving: Arc<dyn Decide>, canaries: Arc<Canaries>) -> Self {
        Self { serving, canaries }
    }
}

impl Decide for Staged {
    fn decide(&self, question: &Question<'_>) -> Result<StoreAnswer, Refusal> {
        let served = self.serving.decide(question)?;
        match self.canaries.serving(question.context.tenant()) {
            Some(canary) => canary.answer(self.serving.as_ref(), question, served, self.canaries.clock.now()),
            None => Ok(served),
        }
    }

    fn revision(&self, tenant: &TenantId) -> Result<Option<(Revision, bool)>, Refusal> {
        let Some((revision, names_resources)) = self.serving.revision(tenant)? else { return Ok(None) };
        let revision = if self.canaries.serving(tenant).is_some() { NEVER } else { revision };
        Ok(Some((revision, names_resources)))
    }

    fn decide_by(&self, policies: &CompiledStore, question: &Question<'_>) -> Result<StoreAnswer, Refusal> {
        self.serving.decide_by(policies, question)
    }

    fn policies_revision(&self, tenant: &TenantId) -> Result<Revision, Refusal> {
        self.serving.policies_revision(tenant)
    }

    fn warm<'a>(&'a self, tenant: &'a TenantId) -> Warming<'a> {
        self.serving.warm(tenant)
    }
}

impl std::fmt::Debug for Canaries {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Canaries({} tenants)", self.of.load().len())
    }
}

impl std::fmt::Debug for Staged {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Staged({:?})", self.canaries)
    }
}

#[cfg(test)]
#[path = "canary_tests.rs"]
mod tests;
