//! Which policies of a set have a scope that matches a request, without looking at the others.
//!
//! It guarantees that every policy whose scope Cedar would find true is among the candidates; `docs/concepts/slicing.md`
//! says why that is enough. Constraints are numbered once per set, and policies are rows sorted by the numbers of their
//! action, principal and resource constraint, so that a request's few numbers find their rows by binary search
//! (a trie kept as a sorted array, walked as in Veldhuizen's leapfrog join, 2014).

use std::{cmp::Ordering, collections::HashMap};

use cedar_policy::{
    ActionConstraint, Entities, EntityTypeName, EntityUid, Policy, PrincipalConstraint, Request,
    ResourceConstraint,
};

/// The number of a constraint within its dimension.
type Term = u32;

/// The constraint that matches everything.
const ANY: Term = 0;

/// The scopes of a set of policies. A policy is named by its place in the list the index was made from.
#[derive(Debug)]
pub(crate) struct ScopeIndex {
    actions: Dimension,
    principals: Dimension,
    resources: Dimension,
    rows: Box<[Row]>,
    policies: u32,
}

/// One policy, or one of the actions of one: it is a candidate where the request has all three numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Row {
    action: Term,
    principal: Term,
    resource: Term,
    policy: u32,
}

/// The constraints on one variable of the request.
#[derive(Debug, Default)]
struct Dimension {
    by_uid: HashMap<EntityUid, UidTerms>,
    by_type: HashMap<EntityTypeName, Term>,
    terms: Term,
}

/// The constraints that name one entity.
#[derive(Debug, Default)]
struct UidTerms {
    equal: Option<Term>,
    within: Option<Term>,
    is_within: Vec<(EntityTypeName, Term)>,
}

/// A constraint, whichever variable it is on.
enum Constraint {
    Any,
    Equal(EntityUid),
    Within(EntityUid),
    Is(EntityTypeName),
    IsWithin(EntityTypeName, EntityUid),
}

impl ScopeIndex {
    /// The index of these policies, static or linked.
    pub(crate) fn new<'a>(policies: impl Iterator<Item = &'a Policy>) -> Self {
        let [mut actions, mut principals, mut resources] = <[Dimension; 3]>::default();
        let mut rows = Vec::new();
        let mut count = 0;
        for (place, policy) in (0_u32..).zip(policies) {
            let principal = principals.number(policy.principal_constraint().into());
            let resource = resources.number(policy.resource_constraint().into());
            let row = |action| Row { action, principal, resource, policy: place };
            match policy.action_constraint() {
                ActionConstraint::Any => rows.push(row(ANY)),
                ActionConstraint::Eq(uid) => rows.push(row(actions.number(Constraint::Equal(uid)))),
                // Within any of them; within none of an empty list, so such a policy has no row.
                ActionConstraint::In(uids) => {
                    rows.extend(uids.into_iter().map(|uid| row(actions.number(Constraint::Within(uid)))));
                }
            }
            count = place + 1;
        }
        rows.sort_unstable();
        Self { actions, principals, resources, rows: rows.into(), policies: count }
    }

    /// The places of the policies whose scope matches, ascending, each once.
    pub(crate) fn candidates(&self, request: &Request, entities: &Entities) -> Vec<u32> {
        let (Some(action), Some(principal), Some(resource)) =
            (request.action(), request.principal(), request.resource())
        else {
            // A variable is unknown, which only partial evaluation makes possible: nothing can be left out.
            return (0..self.policies).collect();
        };
        let actions = self.actions.matching(action, entities);
        let principals = self.principals.matching(principal, entities);
        let resources = self.resources.matching(resource, entities);
        let steps: [Step<'_>; 3] = [
            (|row| row.action, &actions),
            (|row| row.principal, &principals),
            (|row| row.resource, &resources),
        ];
        let mut found = Vec::new();
        walk(&self.rows, &steps, &mut found);
        found.sort_unstable();
        found.dedup();
        found
    }
}

/// How to read a row's number, and the request's numbers, ascending.
type Step<'a> = (fn(&Row) -> Term, &'a [Term]);

/// Collects the policies of the rows that have, at every step, one of the step's numbers. Skips rows and numbers in
/// turn, so that its cost is bounded by the shorter of the two, times a logarithm.
fn walk(rows: &[Row], steps: &[Step<'_>], found: &mut Vec<u32>) {
    let Some((&(read, terms), deeper)) = steps.split_first() else {
        found.extend(rows.iter().map(|row| row.policy));
        return;
    };
    let (mut rows, mut terms) = (rows, terms);
    while let (Some(row), Some(&term)) = (rows.first(), terms.first()) {
        match read(row).cmp(&term) {
            Ordering::Less => rows = rows.split_at(rows.partition_point(|row| read(row) < term)).1,
            Ordering::Greater => {
                let next = read(row);
                terms = terms.split_at(terms.partition_point(|term| *term < next)).1;
            }
            Ordering::Equal => {
                let (same, later) = rows.split_at(rows.partition_point(|row| read(row) == term));
                walk(same, deeper, found);
                (rows, terms) = (later, terms.split_at(1).1);
            }
        }
    }
}

impl Dimension {
    fn number(&mut self, constraint: Constraint) -> Term {
        let next = self.terms + 1;
        let term = match constraint {
            Constraint::Any => ANY,
            Constraint::Equal(uid) => *self.by_uid.entry(uid).or_default().equal.get_or_insert(next),
            Constraint::Within(uid) => *self.by_uid.entry(uid).or_default().within.get_or_insert(next),
            Constraint::Is(kind) => *self.by_type.entry(kind).or_insert(next),
            Constraint::IsWithin(kind, uid) => self.by_uid.entry(uid).or_default().is_within(kind, next),
        };
        self.terms = self.terms.max(term);
        term
    }

    /// The numbers of the constraints that hold for `uid` among these entities, ascending. Cedar's rules: an entity is
    /// within itself, known or not, and within the ancestors that `entities` records for it.
    fn matching(&self, uid: &EntityUid, entities: &Entities) -> Vec<Term> {
        let mut terms = vec![ANY];
        if self.terms == ANY {
            return terms;
        }
        let kind = uid.type_name();
        terms.extend(self.by_type.get(kind));
        if let Some(own) = self.by_uid.get(uid) {
            terms.extend(own.equal);
            own.hold_within(kind, &mut terms);
        }
        for ancestor in entities.ancestors(uid).into_iter().flatten() {
            if let Some(above) = self.by_uid.get(ancestor) {
                above.hold_within(kind, &mut terms);
            }
        }
        terms.sort_unstable();
        terms
    }
}

impl UidTerms {
    fn is_within(&mut self, kind: EntityTypeName, next: Term) -> Term {
        if let Some((_, term)) = self.is_within.iter().find(|(known, _)| *known == kind) {
            return *term;
        }
        self.is_within.push((kind, next));
        next
    }

    /// Adds what holds for an entity of type `kind` that is within this one.
    fn hold_within(&self, kind: &EntityTypeName, terms: &mut Vec<Term>) {
        terms.extend(self.within);
        terms.extend(self.is_within.iter().filter(|(of, _)| of == kind).map(|(_, term)| *term));
    }
}

impl From<PrincipalConstraint> for Constraint {
    fn from(constraint: PrincipalConstraint) -> Self {
        match constraint {
            PrincipalConstraint::Any => Self::Any,
            PrincipalConstraint::Eq(uid) => Self::Equal(uid),
            PrincipalConstraint::In(uid) => Self::Within(uid),
            PrincipalConstraint::Is(kind) => Self::Is(kind),
            PrincipalConstraint::IsIn(kind, uid) => Self::IsWithin(kind, uid),
        }
    }
}

impl From<ResourceConstraint> for Constraint {
    fn from(constraint: ResourceConstraint) -> Self {
        match constraint {
            ResourceConstraint::Any => Self::Any,
            ResourceConstraint::Eq(uid) => Self::Equal(uid),
            ResourceConstraint::In(uid) => Self::Within(uid),
            ResourceConstraint::Is(kind) => Self::Is(kind),
            ResourceConstraint::IsIn(kind, uid) => Self::IsWithin(kind, uid),
        }
    }
}
