//! A staged publish: an approved proposal decides for a share of a tenant's principals first, and stops by itself where
//! it refuses them more than what serves would.
//!
//! Who is in the share is a matter of the principal alone, so that nobody flips, and who is in a small share is in a
//! larger one. What serves is asked on every question, of everybody: so a rise in refusals is measured on the same
//! questions, and the one that goes too far is answered by what serves already.
//!
//! It guarantees that an answer of the proposal is never remembered past its share: it carries the revision zero, which
//! no store ever has, and while a share is served nothing the gateway remembers of the tenant is used. Where no share
//! is served, it costs reading one flag. A share is served by the node that was told to, until it is stopped, goes
//! too far, the serving store changes, or the node does.

use std::{
    collections::HashMap,
    hash::{BuildHasher, BuildHasherDefault, DefaultHasher},
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use arc_swap::ArcSwap;
use ringfence_context::{Clock, Refusal, StoreAnswer, TenantId, UnixTime, limits};
use ringfence_store::Revision;
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;

use crate::{CompiledStore, Decide, Question, StoreDocument, Warming, entities::ROUNDS};

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
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Ended {
    /// It was told to stop.
    Stopped,
    /// The proposal's next stage began.
    Replaced,
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

/// What has become of a stage so far.
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
    clock: Arc<dyn Clock>,
}

/// One stage.
#[derive(Debug)]
pub struct Canary {
    proposal: u64,
    stage: Stage,
    store: CompiledStore,
    /// The serving store's revision it was begun at.
    base: Revision,
    counts: Mutex<Counts>,
    ended: OnceLock<Ended>,
    over: Notify,
}

#[derive(Debug)]
struct Counts {
    began: UnixTime,
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
        Self { in_use: AtomicBool::new(false), of: ArcSwap::default(), changing: Mutex::default(), clock }
    }

    /// Begins a stage, or goes on to the next of the same proposal, while `base` is the serving store's revision.
    ///
    /// # Errors
    /// In words.
    pub fn start(
        &self,
        proposal: u64,
        document: &StoreDocument,
        base: Revision,
        stage: Stage,
    ) -> Result<Arc<Canary>, String> {
        stage.check()?;
        let store = CompiledStore::compile(document, NONE).map_err(|fault| fault.to_string())?;
        // It takes the processor for long where policies are many: here, and not in the first request's time.
        store.content.within_reach(ROUNDS);
        let _one_at_a_time = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut next = self.of.load().as_ref().clone();
        next.retain(|_, canary| canary.ended.get().is_none());
        match next.get(&document.tenant) {
            Some(there) if there.proposal != proposal => {
                return Err(format!("proposal {} decides for a share: stop it first", there.proposal));
            }
            None if next.len() >= limits::POLICY_SHADOWS => {
                return Err(format!("{} proposals decide for shares already: stop one", next.len()));
            }
            _ => {}
        }
        let began = self.clock.now();
        let counts =
            Counts { began, asked: 0, lost: 0, failed: 0, asked_in_all: 0, gained_in_all: 0, lost_in_all: 0 };
        let canary = Arc::new(Canary {
            proposal,
            stage,
            store,
            base,
            counts: Mutex::new(counts),
            ended: OnceLock::new(),
            over: Notify::new(),
        });
        if let Some(before) = next.insert(document.tenant.clone(), Arc::clone(&canary)) {
            before.end(Ended::Replaced);
        }
        self.of.store(Arc::new(next));
        self.in_use.store(true, Ordering::Release);
        Ok(canary)
    }

    /// Stops the tenant's stage, if there is one; says what has become of it.
    pub fn stop(&self, tenant: &TenantId) -> Option<CanaryReport> {
        let _one_at_a_time = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut next = self.of.load().as_ref().clone();
        let found = next.remove(tenant)?;
        found.end(Ended::Stopped);
        self.in_use.store(!next.is_empty(), Ordering::Release);
        self.of.store(Arc::new(next));
        Some(found.report())
    }

    /// What has become of the tenant's stage so far; also of one that is over, until the next.
    pub fn report(&self, tenant: &TenantId) -> Option<CanaryReport> {
        self.of.load().get(tenant).map(|canary| canary.report())
    }

    fn serving(&self, tenant: &TenantId) -> Option<Arc<Canary>> {
        if !self.in_use.load(Ordering::Acquire) {
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

    fn end(&self, why: Ended) {
        if self.ended.set(why).is_ok() {
            self.over.notify_waiters();
        }
    }

    /// Whether a principal is in the share: a matter of its name and its tenant's.
    fn includes(&self, tenant: &TenantId, subject: &str) -> bool {
        let name = (tenant.as_str(), subject);
        BuildHasherDefault::<DefaultHasher>::default().hash_one(name) % 100 < u64::from(self.stage.percent)
    }

    fn answer(
        &self,
        serving: &dyn Decide,
        question: &Question<'_>,
        served: StoreAnswer,
        now: UnixTime,
    ) -> Result<StoreAnswer, Refusal> {
        if serving.policies_revision(question.context.tenant())? != self.base {
            self.end(Ended::BaseChanged);
            return Ok(served);
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
        if now.since(counts.began) >= WINDOW {
            (counts.began, counts.asked, counts.lost, counts.failed) = (now, 0, 0, 0);
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
            && lost.saturating_mul(100) > asked.saturating_mul(u64::from(self.stage.most_rise));
        if too_far {
            self.end(Ended::Rise { asked, lost, failed });
        }
        too_far
    }

    /// What has become of it so far.
    pub fn report(&self) -> CanaryReport {
        let counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        CanaryReport {
            proposal: self.proposal,
            stage: self.stage,
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
