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

use crate::{bulkhead::Breath, scope::ScopeIndex};

/// A set of policies that answers in time that depends on the policies whose scope matches, not on how many there are.
#[derive(Debug)]
pub struct SlicedPolicies {
    policies: Box<[Arc<Policy>]>,
    scopes: ScopeIndex,
    /// How many expressions each has.
    sizes: Box<[u32]>,
}

/// The policies whose scope matches a request.
#[derive(Debug)]
pub(crate) struct Slice {
    places: Vec<u32>,
    /// How many expressions are evaluated at most: a matter of 0.1 µs each.
    pub(crate) steps: u64,
}

impl SlicedPolicies {
    /// The static and linked policies of a set.
    pub fn new(set: &PolicySet) -> Self {
        Self::from_shared(set.policies().cloned().map(Arc::new).collect())
    }

    /// These policies, whose ids differ.
    pub(crate) fn from_shared(policies: Vec<Arc<Policy>>) -> Self {
        let sizes = policies.iter().map(|policy| size(policy)).collect();
        Self { scopes: ScopeIndex::new(policies.iter().map(AsRef::as_ref)), sizes, policies: policies.into() }
    }

    /// Answers as [`cedar_policy::Authorizer::is_authorized`] answers for the whole set.
    pub fn is_authorized(&self, request: &Request, entities: &Entities) -> Response {
        Self::is_authorized_by(&[(self, &self.slice(request, entities))], request, entities)
    }

    /// What has to be evaluated for a request.
    pub(crate) fn slice(&self, request: &Request, entities: &Entities) -> Slice {
        let places = self.scopes.candidates(request, entities);
        let sizes = places.iter().filter_map(|place| self.sizes.get(usize::try_from(*place).ok()?));
        Slice { steps: sizes.copied().map(u64::from).sum(), places }
    }

    /// The same, for one set made of the policies of several, whose ids differ, each with its slice of this very request.
    pub(crate) fn is_authorized_by(
        sets: &[(&Self, &Slice)],
        request: &Request,
        entities: &Entities,
    ) -> Response {
        let inside: &ast::Request = request.as_ref();
        let evaluator = Evaluator::new(inside.clone(), entities.as_ref(), Extensions::all_available());
        let [mut permits, mut forbids] = <[Vec<&PolicyID>; 2]>::default();
        let (mut errors, mut breath) = (Vec::new(), Breath::default());
        let slices = sets.iter().flat_map(|(set, slice)| slice.places.iter().map(move |place| (set, place)));
        for (policy, size) in slices.filter_map(|(set, place)| set.at(*place)) {
            // What is short takes none.
            breath.after(size.into());
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
        let places = self.scopes.candidates(request, entities).into_iter();
        places.filter_map(|place| self.at(place)).map(|(policy, _)| policy)
    }

    /// A policy, and how many expressions it has. Every place is one of those the index was made from.
    fn at(&self, place: u32) -> Option<(&Policy, u32)> {
        let place = usize::try_from(place).ok()?;
        Some((self.policies.get(place)?.as_ref(), *self.sizes.get(place)?))
    }
}

/// The expressions of a policy, with those of its scope.
fn size(policy: &Policy) -> u32 {
    const SCOPE: usize = 6;
    let policy: &ast::Policy = policy.as_ref();
    let own = policy.non_scope_constraints().map_or(0, |expression| expression.subexpressions().count());
    u32::try_from(own.saturating_add(SCOPE)).unwrap_or(u32::MAX)
}
