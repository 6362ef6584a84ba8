//! Slicing agrees with Cedar's own authorizer, on policies, entities and requests nobody has thought of.
//!
//! Few types, ids and actions, so that scopes do meet requests: of the drawn policies about a third have a matching
//! scope. Conditions include ones that fail, so that skipping a policy that would have failed is seen too.

#![expect(clippy::disallowed_methods, reason = "Cedar itself is what is compared with")]

use std::collections::{BTreeSet, HashMap, HashSet};

use cedar_policy::{
    Authorizer, Context, Decision, Entities, Entity, EntityUid, Policy, PolicyId, PolicySet, Request,
    Response, RestrictedExpression, SlotId, Template,
};
use proptest::prelude::*;
use ringfence_authorization::SlicedPolicies;

const TYPES: [&str; 3] = ["A", "B", "N::A"];
const IDS: u8 = 4;
const ACTIONS: u8 = 6;

const CONDITIONS: [&str; 12] = [
    "",
    "when { false }",
    "when { context.n > 3 }",
    "when { context.absent }",
    "unless { context.absent }",
    "when { principal.level > 2 }",
    "when { principal has level && principal.level > 2 }",
    "when { resource.level == principal.level }",
    "when { principal in A::\"1\" }",
    "when { action in [Action::\"2\", Action::\"3\"] }",
    "when { 9223372036854775807 + context.n > 0 }",
    "when { resource is B || resource.owner == principal }",
];

/// An entity, as a number below `TYPES.len() * IDS`.
type Node = u8;

const NODES: Node = 12;

fn uid(node: Node) -> String {
    format!("{}::\"{}\"", TYPES[usize::from(node / IDS)], node % IDS)
}

fn action(number: u8) -> String {
    format!("Action::\"{number}\"")
}

fn entity_uid(text: &str) -> EntityUid {
    text.parse().unwrap()
}

/// The scope of a variable: `None` as entity is a template's slot.
#[derive(Debug, Clone)]
enum Scope {
    Any,
    Equal(Option<Node>),
    Within(Option<Node>),
    Is(usize),
    IsWithin(usize, Option<Node>),
}

#[derive(Debug, Clone)]
enum ActionScope {
    Any,
    Equal(u8),
    Within(u8),
    WithinAny(Vec<u8>),
}

#[derive(Debug, Clone)]
struct Drawn {
    forbid: bool,
    principal: Scope,
    action: ActionScope,
    resource: Scope,
    condition: usize,
    /// What fills the slots, if there are any.
    slots: (Node, Node),
}

#[derive(Debug, Clone)]
struct World {
    policies: Vec<Drawn>,
    /// Which nodes exist, each with its parents among the later ones, and a level or none.
    nodes: Vec<(bool, Vec<Node>, Option<i64>)>,
    actions: Vec<(bool, Vec<u8>)>,
    requests: Vec<(Node, u8, Node, Option<i64>)>,
}

impl Scope {
    fn text(&self, variable: &str) -> String {
        let target = |node: &Option<Node>| node.map_or_else(|| format!("?{variable}"), uid);
        match self {
            Self::Any => variable.to_owned(),
            Self::Equal(node) => format!("{variable} == {}", target(node)),
            Self::Within(node) => format!("{variable} in {}", target(node)),
            Self::Is(kind) => format!("{variable} is {}", TYPES[*kind]),
            Self::IsWithin(kind, node) => format!("{variable} is {} in {}", TYPES[*kind], target(node)),
        }
    }

    fn has_slot(&self) -> bool {
        matches!(self, Self::Equal(None) | Self::Within(None) | Self::IsWithin(_, None))
    }
}

impl Drawn {
    fn text(&self) -> String {
        let actions = match &self.action {
            ActionScope::Any => "action".to_owned(),
            ActionScope::Equal(number) => format!("action == {}", action(*number)),
            ActionScope::Within(number) => format!("action in {}", action(*number)),
            ActionScope::WithinAny(numbers) => {
                format!("action in [{}]", numbers.iter().map(|n| action(*n)).collect::<Vec<_>>().join(", "))
            }
        };
        let effect = if self.forbid { "forbid" } else { "permit" };
        let (principal, resource) = (self.principal.text("principal"), self.resource.text("resource"));
        format!("{effect} ({principal}, {actions}, {resource}) {};", CONDITIONS[self.condition])
    }

    fn add(&self, set: &mut PolicySet, number: usize) {
        let id = PolicyId::new(format!("p{number}"));
        let mut slots = HashMap::new();
        for (scope, slot, node) in [
            (&self.principal, SlotId::principal(), self.slots.0),
            (&self.resource, SlotId::resource(), self.slots.1),
        ] {
            if scope.has_slot() {
                slots.insert(slot, entity_uid(&uid(node)));
            }
        }
        if slots.is_empty() {
            set.add(Policy::parse(Some(id), self.text()).unwrap()).unwrap();
        } else {
            let template = PolicyId::new(format!("t{number}"));
            set.add_template(Template::parse(Some(template.clone()), self.text()).unwrap()).unwrap();
            set.link(template, id, slots).unwrap();
        }
    }
}

impl World {
    fn policies(&self) -> PolicySet {
        let mut set = PolicySet::new();
        for (number, policy) in self.policies.iter().enumerate() {
            policy.add(&mut set, number);
        }
        set
    }

    fn entities(&self) -> Entities {
        let mut entities = Vec::new();
        for (node, (exists, parents, level)) in (0..).zip(&self.nodes) {
            if !exists {
                continue;
            }
            let mut attributes = HashMap::new();
            if let Some(level) = level {
                attributes.insert("level".to_owned(), RestrictedExpression::new_long(*level));
                let owner = RestrictedExpression::new_entity_uid(entity_uid(&uid(node / 2)));
                attributes.insert("owner".to_owned(), owner);
            }
            let parents = parents.iter().filter(|p| **p > node).map(|p| entity_uid(&uid(*p))).collect();
            entities.push(Entity::new(entity_uid(&uid(node)), attributes, parents).unwrap());
        }
        for (number, (exists, groups)) in (0..).zip(&self.actions) {
            if *exists {
                let groups = groups.iter().filter(|g| **g > number).map(|g| entity_uid(&action(*g)));
                let groups: HashSet<_> = groups.collect();
                entities.push(Entity::new_no_attrs(entity_uid(&action(number)), groups));
            }
        }
        Entities::from_entities(entities, None).unwrap()
    }
}

fn scope() -> impl Strategy<Value = Scope> {
    let node = || prop_oneof![4 => (0..NODES).prop_map(Some), 1 => Just(None)];
    prop_oneof![
        2 => Just(Scope::Any),
        1 => node().prop_map(Scope::Equal),
        2 => node().prop_map(Scope::Within),
        1 => (0..TYPES.len()).prop_map(Scope::Is),
        2 => (0..TYPES.len(), node()).prop_map(|(kind, node)| Scope::IsWithin(kind, node)),
    ]
}

fn action_scope() -> impl Strategy<Value = ActionScope> {
    prop_oneof![
        1 => Just(ActionScope::Any),
        1 => (0..ACTIONS).prop_map(ActionScope::Equal),
        1 => (0..ACTIONS).prop_map(ActionScope::Within),
        2 => proptest::collection::vec(0..ACTIONS, 0..4).prop_map(ActionScope::WithinAny),
    ]
}

fn drawn() -> impl Strategy<Value = Drawn> {
    let slots = (0..NODES, 0..NODES);
    (any::<bool>(), scope(), action_scope(), scope(), 0..CONDITIONS.len(), slots).prop_map(
        |(forbid, principal, action, resource, condition, slots)| Drawn {
            forbid,
            principal,
            action,
            resource,
            condition,
            slots,
        },
    )
}

fn world() -> impl Strategy<Value = World> {
    use proptest::collection::vec;
    let level = || proptest::option::of(0..5_i64);
    let node = (prop::bool::weighted(0.8), vec(0..NODES, 0..3), level());
    let actions = (prop::bool::weighted(0.8), vec(0..ACTIONS, 0..3));
    let request = (0..NODES, 0..ACTIONS, 0..NODES, level());
    let (nodes, actions) = (vec(node, usize::from(NODES)), vec(actions, usize::from(ACTIONS)));
    (vec(drawn(), 0..24), nodes, actions, vec(request, 1..8))
        .prop_map(|(policies, nodes, actions, requests)| World { policies, nodes, actions, requests })
}

fn outcome(response: &Response) -> (Decision, BTreeSet<String>, BTreeSet<String>) {
    let diagnostics = response.diagnostics();
    let reason = diagnostics.reason().map(ToString::to_string).collect();
    (response.decision(), reason, diagnostics.errors().map(ToString::to_string).collect())
}

/// A policy's whole scope, as Cedar evaluates it: the policy without its condition, alone.
fn scope_matches(drawn: &Drawn, request: &Request, entities: &Entities) -> bool {
    let mut alone = PolicySet::new();
    Drawn { forbid: false, condition: 0, ..drawn.clone() }.add(&mut alone, 0);
    Authorizer::new().is_authorized(request, &alone, entities).decision() == Decision::Allow
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    #[test]
    fn a_slice_answers_as_the_whole_set(world in world()) {
        let (set, entities) = (world.policies(), world.entities());
        let sliced = SlicedPolicies::new(&set);
        for (principal, act, resource, level) in &world.requests {
            let level = level.map(|level| ("n".to_owned(), RestrictedExpression::new_long(level)));
            let [principal, act, resource] =
                [uid(*principal), action(*act), uid(*resource)].map(|text| entity_uid(&text));
            let context = Context::from_pairs(level).unwrap();
            let request = Request::new(principal, act, resource, context, None).unwrap();
            let whole = Authorizer::new().is_authorized(&request, &set, &entities);
            prop_assert_eq!(outcome(&sliced.is_authorized(&request, &entities)), outcome(&whole), "{}", request);
            let matching = world.policies.iter().filter(|drawn| scope_matches(drawn, &request, &entities));
            prop_assert_eq!(sliced.candidates(&request, &entities).count(), matching.count(), "no policy too many");
        }
    }
}
