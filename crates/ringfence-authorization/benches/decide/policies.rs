//! Decision time by the number of policies, beside Cedar's own authorizer on the same set, request and entities.

use cedar_policy::{
    Authorizer, Context, Entities, Entity, EntityUid, PolicySet, Request, RestrictedExpression,
};
use ringfence_authorization::{CompiledStore, Facts, Question, SlicedPolicies, StoreDocument};
use serde::Serialize;

use crate::{
    fixture::{Contexts, document, resource, tenant},
    median, micros,
};

#[derive(Debug, Serialize)]
pub(crate) struct Row {
    pub(crate) policies: usize,
    shape: &'static str,
    candidates: usize,
    /// `is_authorized` alone, µs.
    pub(crate) cedar: f64,
    pub(crate) ringfence: f64,
    /// From question to answer, µs: entities and request are made, checked against the schema, and decided on.
    whole: f64,
}

/// Policies as stores have them: by role, by user, by payment, by type, and forbids among them.
pub(crate) fn scoped(number: usize) -> String {
    match number % 5 {
        0 => format!(
            "permit (principal in Ledger::Role::\"role-{number}\", action == Ledger::Action::\"ViewPayment\", \
             resource is Ledger::Payment) when {{ principal.tenant == resource.tenant }};"
        ),
        1 => format!(
            "permit (principal == Ledger::User::\"user-{number}\", action in [Ledger::Action::\"ListPayments\", \
             Ledger::Action::\"ViewPayment\"], resource);"
        ),
        2 => format!(
            "permit (principal, action == Ledger::Action::\"ViewPayment\", resource == \
             Ledger::Payment::\"payment-{number}\") when {{ principal.tenant == resource.tenant }};"
        ),
        3 => format!(
            "forbid (principal == Ledger::User::\"user-{number}\", action == Ledger::Action::\"RefundPayment\", \
             resource) when {{ resource has created_by && resource.created_by == principal.subject }};"
        ),
        _ => format!(
            "permit (principal is Ledger::Client in Ledger::Role::\"role-{number}\", action in \
             [Ledger::Action::\"ListAccounts\", Ledger::Action::\"ListPayments\"], resource is Ledger::Book);"
        ),
    }
}

/// Policies an index can do nothing about.
fn unscoped(number: usize) -> String {
    format!("permit (principal, action, resource) when {{ principal in Ledger::Role::\"role-{number}\" }};")
}

fn store(policies: usize, policy: fn(usize) -> String) -> StoreDocument {
    let mut document = document(&tenant("acme"));
    document.policies = (0..policies).map(|number| (format!("p{number:05}"), policy(number))).collect();
    document
}

fn asked() -> (Request, Entities) {
    let uid = |text: &str| text.parse().unwrap();
    let text = |text: &str| RestrictedExpression::new_string(text.to_owned());
    let [user, payment, role]: [EntityUid; 3] =
        ["Ledger::User::\"u-1\"", "Ledger::Payment::\"payment-2\"", "Ledger::Role::\"role-0\""].map(uid);
    let entities = [
        Entity::new_no_attrs(role.clone(), [].into()),
        Entity::new(
            user.clone(),
            [("tenant".to_owned(), text("acme")), ("subject".to_owned(), text("u-1"))].into(),
            [role].into(),
        )
        .unwrap(),
        Entity::new(payment.clone(), [("tenant".to_owned(), text("acme"))].into(), [].into()).unwrap(),
    ];
    let action = uid("Ledger::Action::\"ViewPayment\"");
    let request = Request::new(user, action, payment, Context::empty(), None).unwrap();
    (request, Entities::from_entities(entities, None).unwrap())
}

pub(crate) fn run() -> Vec<Row> {
    let mut rows = Vec::new();
    for (policies, shape, policy) in [
        (20, "scoped", scoped as fn(usize) -> String),
        (1_000, "scoped", scoped),
        (10_000, "scoped", scoped),
        (20, "unscoped", unscoped),
    ] {
        eprintln!("{policies} policies, {shape}");
        let document = store(policies, policy);
        let set: PolicySet = PolicySet::from_policies(document.policies.iter().map(|(name, text)| {
            cedar_policy::Policy::parse(Some(cedar_policy::PolicyId::new(name)), text).unwrap()
        }))
        .unwrap();
        let sliced = SlicedPolicies::new(&set);
        let (request, entities) = asked();
        let compiled = CompiledStore::compile(&document, 1).unwrap();
        let acme = tenant("acme");
        let context = Contexts::new().context(&acme, "u-1", "role-0");
        let (resource, facts) = (resource(&acme, "Payment", "payment-2"), Facts::new());
        let question = Question {
            context: &context,
            principal: None,
            action: "ViewPayment",
            resource: &resource,
            facts: &facts,
        };
        assert!(compiled.answer(&question).unwrap().allow);
        let authorizer = Authorizer::new();
        let (mut cedar, mut ours, mut whole) = (vec![], vec![], vec![]);
        for _ in 0..15 {
            let times = 20_000 / policies.max(20);
            cedar.push(micros(1, times, || {
                std::hint::black_box(authorizer.is_authorized(&request, &set, &entities));
            }));
            ours.push(micros(1, 2_000, || {
                std::hint::black_box(sliced.is_authorized(&request, &entities));
            }));
            whole.push(micros(1, 2_000, || {
                std::hint::black_box(compiled.answer(&question).unwrap());
            }));
        }
        rows.push(Row {
            policies,
            shape,
            candidates: sliced.candidates(&request, &entities).count(),
            cedar: median(cedar),
            ringfence: median(ours),
            whole: median(whole),
        });
    }
    rows
}

pub(crate) fn print(rows: &[Row]) {
    println!("\ndecision by policies, µs (median of 15 interleaved rounds)");
    println!(
        "  policies  shape     candidates      cedar  ringfence  ratio to cedar  to its 20   whole question"
    );
    for row in rows {
        let Row { policies, shape, candidates, cedar, ringfence, whole } = row;
        let (ratio, to_20) = (ringfence / cedar, ringfence / rows[0].ringfence);
        println!(
            "  {policies:>8}  {shape:<8}  {candidates:>10}  {cedar:>9.1}  {ringfence:>9.2}  {ratio:>14.4}  {to_20:>9.2}  {whole:>8.2} ({:.2})",
            whole / rows[0].whole
        );
    }
}
