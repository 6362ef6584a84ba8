//! Cedar's authorizer over the policies whose scope matches, and no others.
//!
//! It guarantees the decision, the determining policies and the errors that `cedar_policy::Authorizer` gives for the
//! whole set: see `docs/concepts/slicing.md` for why, and `tests/it/agreement.rs` for the test. Each candidate is
//! evaluated whole by Cedar's own evaluator, scope included: the index only decides which policies are not looked at.

use std::{collections::HashSet, sync::Arc};

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
    policies: Box<[Arc<Policy>]>,
    scopes: ScopeIndex,
}

impl SlicedPolicies {
    /// The static and linked policies of a set.
    pub fn new(set: &PolicySet) -> Self {
        Self::from_shared(set.policies().cloned().map(Arc::new).collect())
    }

    /// These policies, whose ids differ.
    pub(crate) fn from_shared(policies: Vec<Arc<Policy>>) -> Self {
        Self { scopes: ScopeIndex::new(policies.iter().map(AsRef::as_ref)), policies: policies.into() }
    }

    /// Answers as [`cedar_policy::Authorizer::is_authorized`] answers for the whole set.
    pub fn is_authorized(&self, request: &Request, entities: &Entities) -> Response {
        Self::is_authorized_by(&[self], request, entities)
    }

    /// The same, for one set made of the policies of several, whose ids differ.
    pub(crate) fn is_authorized_by(sets: &[&Self], request: &Request, entities: &Entities) -> Response {
        let inside: &ast::Request = request.as_ref();
        let evaluator = Evaluator::new(inside.clone(), entities.as_ref(), Extensions::all_available());
        let [mut permits, mut forbids] = <[Vec<&PolicyID>; 2]>::default();
        let mut errors = Vec::new();
        for policy in sets.iter().flat_map(|set| set.candidates(request, entities)) {
            let policy: &ast::Policy = policy.as_ref();
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

    /// The policies as they are shared.
    pub(crate) fn shared(&self) -> impl Iterator<Item = &Arc<Policy>> {
        self.policies.iter()
    }

    /// How many policies there are.
    pub fn len(&self) -> usize {
        self.policies.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.policies.is_empty()
    }

    /// The policies that are evaluated for a request: those whose scope matches.
    pub fn candidates(&self, request: &Request, entities: &Entities) -> impl Iterator<Item = &Policy> {
        // Every place is one of the policies the index was made from.
        let places = self.scopes.candidates(request, entities).into_iter();
        places.filter_map(|place| self.policies.get(usize::try_from(place).ok()?).map(AsRef::as_ref))
    }
}
