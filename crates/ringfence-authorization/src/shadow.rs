//! A proposal evaluated beside what serves, on the questions that are really asked.
//!
//! It guarantees that no answer is affected: the serving store's answer is there before the proposal is looked at, and is
//! what is given. Where no proposal is evaluated, it costs reading one flag. Which proposals are evaluated is on record and
//! every node follows it (`trials.rs`). What is counted is each node's own, kept in memory, and gone when it stops; an
//! answer the gateway remembers is not asked again, so it is counted once.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use arc_swap::ArcSwap;
use ringfence_context::{Refusal, StoreAnswer, TenantId};
use ringfence_store::Revision;
use serde::Serialize;

use crate::{CompiledStore, Decide, Question, Warming};

/// How many differing questions are shown.
const SAMPLES: usize = 20;

/// What has become of an evaluation so far, as one node has seen it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ShadowReport {
    /// The proposal.
    pub proposal: u64,
    /// Questions asked of both.
    pub asked: u64,
    /// Allowed by the proposal, and not by what serves.
    pub gained: u64,
    /// Allowed by what serves, and not by the proposal.
    pub lost: u64,
    /// Questions a policy of the proposal fails on.
    pub failed: u64,
    /// The first questions that were answered differently.
    pub samples: Vec<Sample>,
}

/// A question that was answered differently.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Sample {
    /// Who asked.
    pub principal: String,
    /// Its roles.
    pub roles: Vec<String>,
    /// What for.
    pub action: String,
    /// What about.
    pub resource: String,
    /// Whether the proposal allows it; what serves does otherwise.
    pub allowed_by_proposal: bool,
    /// The policies of the proposal that determined it.
    pub by: Vec<String>,
}

/// The proposals that are evaluated, at most one for each tenant.
#[derive(Debug, Default)]
pub struct Shadows {
    in_use: AtomicBool,
    of: ArcSwap<HashMap<TenantId, Arc<Shadow>>>,
    changing: Mutex<()>,
}

#[derive(Debug)]
struct Shadow {
    /// The revision of the record that says so.
    record: Revision,
    proposal: u64,
    store: CompiledStore,
    asked: AtomicU64,
    gained: AtomicU64,
    lost: AtomicU64,
    failed: AtomicU64,
    samples: Mutex<Vec<Sample>>,
}

impl Shadows {
    /// Begins to evaluate a proposal by its compiled text, from zero, in place of any other of the tenant.
    pub(crate) fn begin(&self, store: CompiledStore, record: Revision, proposal: u64) {
        let tenant = store.tenant.clone();
        let shadow = Shadow {
            record,
            proposal,
            store,
            asked: AtomicU64::new(0),
            gained: AtomicU64::new(0),
            lost: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            samples: Mutex::default(),
        };
        let _one_at_a_time = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut next = self.of.load().as_ref().clone();
        next.insert(tenant, Arc::new(shadow));
        self.of.store(Arc::new(next));
        self.in_use.store(true, Ordering::Release);
    }

    /// Stops evaluating for a tenant.
    pub(crate) fn end(&self, tenant: &TenantId) {
        let _one_at_a_time = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut next = self.of.load().as_ref().clone();
        next.remove(tenant);
        self.in_use.store(!next.is_empty(), Ordering::Release);
        self.of.store(Arc::new(next));
    }

    /// The revision of the record that the tenant's evaluation was begun by.
    pub(crate) fn record(&self, tenant: &TenantId) -> Option<Revision> {
        self.of.load().get(tenant).map(|shadow| shadow.record)
    }

    /// For whom something is evaluated.
    pub(crate) fn tenants(&self) -> impl Iterator<Item = TenantId> + use<> {
        self.of.load().keys().cloned().collect::<Vec<_>>().into_iter()
    }

    /// What was counted so far.
    pub fn report(&self, tenant: &TenantId) -> Option<ShadowReport> {
        self.of.load().get(tenant).map(|shadow| shadow.report())
    }
}

impl Shadow {
    fn compare(&self, serving: &dyn Decide, question: &Question<'_>, served: &StoreAnswer) {
        let believed = |answer: &StoreAnswer| answer.allow && answer.errors.is_empty();
        let answer = serving.decide_by(&self.store, question).ok();
        let count = |counter: &AtomicU64| counter.fetch_add(1, Ordering::Relaxed);
        count(&self.asked);
        if answer.as_ref().is_none_or(|answer| !answer.errors.is_empty()) {
            count(&self.failed);
        }
        let allowed = answer.as_ref().is_some_and(believed);
        if allowed == believed(served) {
            return;
        }
        count(if allowed { &self.gained } else { &self.lost });
        let mut samples = self.samples.lock().unwrap_or_else(PoisonError::into_inner);
        if samples.len() < SAMPLES {
            samples.push(Sample {
                principal: question.subject().to_owned(),
                roles: question.context.roles().iter().map(ToString::to_string).collect(),
                action: question.action.to_owned(),
                resource: format!("{}::\"{}\"", question.resource.kind, question.resource.id),
                allowed_by_proposal: allowed,
                by: answer.map(|answer| answer.determining).unwrap_or_default(),
            });
        }
    }

    fn report(&self) -> ShadowReport {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        ShadowReport {
            proposal: self.proposal,
            asked: read(&self.asked),
            gained: read(&self.gained),
            lost: read(&self.lost),
            failed: read(&self.failed),
            samples: self.samples.lock().unwrap_or_else(PoisonError::into_inner).clone(),
        }
    }
}

/// Decides as the serving stores do, and looks what proposals would have said.
pub struct Shadowed {
    serving: Arc<dyn Decide>,
    shadows: Arc<Shadows>,
}

impl Shadowed {
    /// Decides as `serving` does.
    pub fn new(serving: Arc<dyn Decide>, shadows: Arc<Shadows>) -> Self {
        Self { serving, shadows }
    }
}

impl Decide for Shadowed {
    fn decide(&self, question: &Question<'_>) -> Result<StoreAnswer, Refusal> {
        let answer = self.serving.decide(question)?;
        if self.shadows.in_use.load(Ordering::Acquire)
            && let Some(shadow) = self.shadows.of.load().get(question.context.tenant())
        {
            shadow.compare(self.serving.as_ref(), question, &answer);
        }
        Ok(answer)
    }

    fn revision(&self, tenant: &TenantId) -> Result<Option<(Revision, bool)>, Refusal> {
        self.serving.revision(tenant)
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

impl std::fmt::Debug for Shadowed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Shadowed({:?})", self.shadows)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Facts, Resource, tests};

    /// Answers as a compiled store does.
    struct Fixed(CompiledStore);

    impl Decide for Fixed {
        fn decide(&self, question: &Question<'_>) -> Result<StoreAnswer, Refusal> {
            self.0.answer(question)
        }

        fn revision(&self, _: &TenantId) -> Result<Option<(Revision, bool)>, Refusal> {
            Ok(Some((self.0.revision(), self.0.names_resources())))
        }

        fn decide_by(&self, policies: &CompiledStore, asked: &Question<'_>) -> Result<StoreAnswer, Refusal> {
            policies.answer(asked)
        }

        fn policies_revision(&self, _: &TenantId) -> Result<Revision, Refusal> {
            Ok(self.0.revision())
        }

        fn warm<'a>(&'a self, _: &'a TenantId) -> Warming<'a> {
            Box::pin(std::future::ready(Ok(())))
        }
    }

    #[test]
    fn a_proposal_beside_what_serves_is_counted_and_answers_nobody() {
        let document = tests::document("acme");
        let serving: Arc<dyn Decide> = Arc::new(Fixed(CompiledStore::compile(&document, 7).unwrap()));
        let shadows = Arc::new(Shadows::default());
        let shadowed = Shadowed::new(Arc::clone(&serving), Arc::clone(&shadows));
        let acme = document.tenant.clone();
        let mut proposal = document;
        let freeze = "forbid (principal, action == Ledger::Action::\"ListPayments\", resource);";
        proposal.policies.insert("freeze".to_owned(), freeze.to_owned());
        let wider = "permit (principal, action == Ledger::Action::\"ConnectDatabase\", resource)
            when { principal.tenant == resource.tenant };";
        proposal.policies.insert("wider".to_owned(), wider.to_owned());
        let context = tests::context("acme", "viewer");
        let (tenant, facts) = (acme.clone(), Facts::new());
        let resource =
            Resource { kind: "Book".to_owned(), id: "b".to_owned(), tenant, attributes: Facts::new() };
        let ask = || {
            for action in ["ListPayments", "ConnectDatabase", "CreatePayment"] {
                let question = Question {
                    context: &context,
                    principal: None,
                    action,
                    resource: &resource,
                    facts: &facts,
                };
                assert_eq!(shadowed.decide(&question), serving.decide(&question), "{action}");
            }
            assert_eq!(shadowed.revision(&acme), serving.revision(&acme));
        };
        ask();
        assert_eq!(shadows.report(&acme), None);
        shadows.begin(CompiledStore::compile(&proposal, 0).unwrap(), 9, 3);
        ask();
        let report = shadows.report(&acme).unwrap();
        assert_eq!(
            (report.proposal, report.asked, report.gained, report.lost, report.failed),
            (3, 3, 1, 1, 0)
        );
        let sampled: Vec<_> =
            report.samples.iter().map(|s| (s.action.as_str(), s.allowed_by_proposal, s.by.clone())).collect();
        let (freeze, wider) = (vec!["freeze".to_owned()], vec!["wider".to_owned()]);
        assert_eq!(sampled, [("ListPayments", false, freeze), ("ConnectDatabase", true, wider)]);
        // Another tenant's questions are not asked of it.
        let globex = TenantId::new("globex").unwrap();
        assert_eq!(shadows.report(&globex), None);
        assert_eq!(shadows.record(&acme), Some(9));
        shadows.end(&acme);
        ask();
        assert_eq!(shadows.report(&acme), None);
    }
}
