//! Cedar's authorizer over the policies whose scope matches, and no others.
//!
//! It guarantees the decision, the determining policies and the errors that `cedar_policy::Authorizer` gives for the
//! whole set: see `docs/concepts/slicing.md` for why, and `tests/it/agreement.rs` for the test. Each candidate is
//! evaluated whole by Cedar's own evaluator, scope included: the index only decides which policies are not looked at.

use std::collections::HashSet;

use cedar_policy::{Decision, Effect, Entities, Policy, PolicySet, Request, Response};
use cedar_policy_core::{
    ast::{self, PolicyID},
    authorizer::{self, AuthorizationError},
    evaluator::Evaluator,
    extensions::Extensions,
};

use crate::scope::ScopeIndex;

/// A set of policies that answers in time that depends on the policies whose scope matches, not on how many there are.
#[derive(Debug)]
pub struct SlicedPolicies {
    policies: Box<[ast::Policy]>,
    scopes: ScopeIndex,
}

impl SlicedPolicies {
    /// The static and linked policies of a set.
    pub fn new(set: &PolicySet) -> Self {
        Self::from_policies(&set.policies().collect::<Vec<_>>())
    }

    /// These policies, whose ids differ.
    pub(crate) fn from_policies(policies: &[&Policy]) -> Self {
        let scopes = ScopeIndex::new(policies);
        let policies = policies.iter().map(|policy| AsRef::<ast::Policy>::as_ref(*policy).clone()).collect();
        Self { policies, scopes }
    }

    /// Answers as [`cedar_policy::Authorizer::is_authorized`] answers for the whole set.
    pub fn is_authorized(&self, request: &Request, entities: &Entities) -> Response {
        let inside: &ast::Request = request.as_ref();
        let evaluator = Evaluator::new(inside.clone(), entities.as_ref(), Extensions::all_available());
        let [mut permits, mut forbids] = <[Vec<&PolicyID>; 2]>::default();
        let mut errors = Vec::new();
        for place in self.scopes.candidates(request, entities) {
            let Some(policy) = usize::try_from(place).ok().and_then(|place| self.policies.get(place)) else {
                continue;
            };
            match (evaluator.evaluate(policy), policy.effect()) {
                (Ok(false), _) => {}
                (Ok(true), Effect::Permit) => permits.push(policy.id()),
                (Ok(true), Effect::Forbid) => forbids.push(policy.id()),
                (Err(error), _) => {
                    let id = policy.id().clone();
                    errors.push(AuthorizationError::PolicyEvaluationError { id, error });
                }
            }
        }
        let (decision, reason) = match (permits.is_empty(), forbids.is_empty()) {
            (false, true) => (Decision::Allow, permits),
            (_, false) => (Decision::Deny, forbids),
            (true, true) => (Decision::Deny, Vec::new()),
        };
        let reason: HashSet<PolicyID> = reason.into_iter().cloned().collect();
        authorizer::Response::new(decision, reason, errors).into()
    }

    /// How many policies there are.
    pub fn len(&self) -> usize {
        self.policies.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.policies.is_empty()
    }

    /// How many policies would be evaluated for a request.
    pub fn candidates(&self, request: &Request, entities: &Entities) -> usize {
        self.scopes.candidates(request, entities).len()
    }
}
