//! The shared store against stores of their own: whatever tenants write and whatever is asked, both answer the same.
//!
//! Policies of the tier and of the tenant are drawn from the same few, so that they do meet: permits and forbids, static and
//! linked, to templates of the tier's and of the tenant's, and conditions that fail. Each drawn store is kept both ways, for
//! one and the same tenant, in two states; each question is asked of both through the seam the gateway asks at.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicUsize, Ordering},
};

use proptest::{prelude::*, test_runner::TestRunner};
use ringfence_authorization::{
    CompiledStore, Decide, Facts, Question, Resource, SharedStore, StoreDocument, TemplateLink,
    stores::store_create_unchecked,
};
use ringfence_context::{Refusal, StoreAnswer, id::StoreId};
use serde_json::json;

use crate::{
    fixture::{document, tenant},
    shared_world::World,
};

const PRINCIPALS: [&str; 6] = [
    "principal",
    "principal == Ledger::User::\"u-1\"",
    "principal in Ledger::Role::\"clerk\"",
    "principal is Ledger::User",
    "principal is Ledger::User in Ledger::Role::\"viewer\"",
    "principal == ?principal",
];
const ACTIONS: [&str; 4] = [
    "action",
    "action == Ledger::Action::\"ViewPayment\"",
    "action in [Ledger::Action::\"ViewPayment\", Ledger::Action::\"CreatePayment\"]",
    "action == Ledger::Action::\"CreatePayment\"",
];
const RESOURCES: [&str; 5] = [
    "resource",
    "resource == Ledger::Payment::\"p-1\"",
    "resource is Ledger::Payment",
    "resource is Ledger::Book",
    "resource == ?resource",
];
/// `@` is the tenant.
const CONDITIONS: [&str; 10] = [
    "",
    "when { principal.tenant == resource.tenant }",
    "unless { principal.tenant == resource.tenant }",
    "when { principal.tenant == \"@\" }",
    "when { resource.tenant != \"@\" }",
    "when { principal in Ledger::Role::\"approver\" }",
    "when { context has amount && context.amount > 10 }",
    "when { context has amount && context.amount + 9223372036854775807 > 0 }",
    "when { resource has created_by && resource.created_by == principal.subject }",
    "when { resource has amount && resource.amount + 9223372036854775807 > 0 }",
];

/// Those that overflow.
const CAN_FAIL: [usize; 2] = [7, 9];

type Drawn = (bool, usize, usize, usize, usize);
/// Role, user, action with the resource's type, its id, whether it is another tenant's, what is known of it, amount.
type Asked = (usize, usize, (usize, usize), usize, bool, bool, Option<i64>);

#[derive(Debug, Clone)]
struct Case {
    shared: Vec<Drawn>,
    own: Vec<Drawn>,
    questions: Vec<Asked>,
}

fn case() -> impl Strategy<Value = Case> {
    use proptest::collection::vec;
    let drawn = || {
        (
            prop::bool::weighted(0.35),
            0..PRINCIPALS.len(),
            0..ACTIONS.len(),
            0..RESOURCES.len(),
            prop_oneof![3 => 0..CONDITIONS.len(), 1 => prop::sample::select(CAN_FAIL.as_slice())],
        )
    };
    let amount = proptest::option::of(prop_oneof![Just(5), Just(11), Just(0)]);
    // Nearly always an action and a resource the schema knows together.
    let of = prop_oneof![
        3 => (0..1_usize, 0..1_usize),
        3 => (1..3_usize, 1..2_usize),
        1 => (0..3_usize, 0..2_usize),
    ];
    let known = prop::bool::weighted(0.75);
    let asked = (0..4_usize, 0..3_usize, of, 0..3_usize, any::<bool>(), known, amount);
    (vec(drawn(), 0..6), vec(drawn(), 0..6), vec(asked, 12)).prop_map(|(shared, own, questions)| Case {
        shared,
        own,
        questions,
    })
}

/// Adds what was drawn: a text with slots is a template, with a link to it that is the tenant's.
fn put(
    document: &mut StoreDocument,
    links: &mut BTreeMap<String, TemplateLink>,
    kind: &str,
    drawn: &[Drawn],
) {
    for (number, (forbid, principal, action, resource, condition)) in drawn.iter().enumerate() {
        let effect = if *forbid { "forbid" } else { "permit" };
        let (principal, resource) = (PRINCIPALS[*principal], RESOURCES[*resource]);
        let condition = CONDITIONS[*condition].replace('@', document.tenant.as_str());
        // The shared store speaks of no tenant.
        let condition = if kind == "shared" && condition.contains('"') && condition.contains("tenant ") {
            String::new()
        } else {
            condition
        };
        let text = format!("{effect} ({principal}, {}, {resource}) {condition};", ACTIONS[*action]);
        let name = format!("{kind}-{number}");
        if !text.contains('?') {
            document.policies.insert(name, text);
            continue;
        }
        let slot = |variable: &str, uid: &str| text.contains(&format!("?{variable}")).then(|| uid.to_owned());
        let link = TemplateLink {
            template: name.clone(),
            principal: slot("principal", "Ledger::User::\"u-1\""),
            resource: slot("resource", "Ledger::Payment::\"p-1\""),
        };
        links.insert(format!("link-{name}"), link);
        document.templates.insert(name, text);
    }
}

fn asked(world: &World, of: &StoreDocument, asked: &Asked) -> Result<StoreAnswer, Refusal> {
    let (role, user, (action, kind), id, foreign, known, amount) = *asked;
    let context = world.contexts.context(
        &of.tenant,
        ["u-1", "u-2", "u-3"][user],
        ["clerk", "viewer", "approver", "nobody"][role],
    );
    let whose = if foreign { tenant("globex") } else { of.tenant.clone() };
    let attributes = json!({ "created_by": "u-1", "amount": 7 }).as_object().cloned().unwrap_or_default();
    let kind = ["Payment", "Book"][kind];
    let attributes = if known && kind == "Payment" { attributes } else { Facts::new() };
    let resource = Resource {
        kind: kind.to_owned(),
        id: ["p-1", "p-2", "any"][id].to_owned(),
        tenant: whose,
        attributes,
    };
    let action = ["ViewPayment", "CreatePayment", "ListPayments"][action];
    let facts = match amount {
        Some(amount) if action == "CreatePayment" => Facts::from_iter([("amount".to_owned(), json!(amount))]),
        _ => Facts::new(),
    };
    let question =
        Question { context: &context, principal: None, action, resource: &resource, facts: &facts };
    world.stores.decide(&question)
}

/// Everything of an answer but the revision, which counts commits of different states.
fn whole(outcome: Result<StoreAnswer, Refusal>) -> Result<StoreAnswer, String> {
    outcome.map(|answer| StoreAnswer { revision: 0, ..answer }).map_err(|refusal| format!("{refusal:?}"))
}

#[test]
fn x09_shared_and_own_stores_give_the_same_answers() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let (one, other) = runtime.block_on(async { (World::new().await, World::new().await) });
    let next = AtomicUsize::new(0);
    let [allowed, denied, failed, unfit, skipped] = [const { AtomicUsize::new(0) }; 5];
    let count = |counter: &AtomicUsize| counter.fetch_add(1, Ordering::Relaxed);
    let mut runner = TestRunner::new(ProptestConfig { cases: 400, ..ProptestConfig::default() });
    let ran = runner.run(&case(), |case| {
        let of = tenant(&format!("t{}", count(&next)));
        let mut drawn = document(&of);
        drawn.id = StoreId::new(&format!("ps-{of}")).unwrap();
        drawn.policies.clear();
        let mut links = BTreeMap::new();
        put(&mut drawn, &mut links, "shared", &case.shared);
        let base = SharedStore::of(&drawn).unwrap();
        put(&mut drawn, &mut links, "own", &case.own);
        drawn.links = links;
        if CompiledStore::compile(&drawn, 1).is_err() {
            count(&skipped);
            return Ok(());
        }
        runtime.block_on(async {
            for world in [&one, &other] {
                world.records.tenant_add(&of).await.unwrap();
            }
            one.records.commit(store_create_unchecked(&drawn).unwrap()).await.unwrap();
            one.stores.refresh().await.unwrap();
            other.unchecked(&drawn, &base).await;
            assert_eq!(other.stores.document(&of).await.unwrap().0, drawn);
        });
        for question in &case.questions {
            let (own, shared) =
                (whole(asked(&one, &drawn, question)), whole(asked(&other, &drawn, question)));
            count(match &own {
                Ok(answer) if !answer.errors.is_empty() => &failed,
                Ok(answer) if answer.allow => &allowed,
                Ok(_) => &denied,
                Err(_) => &unfit,
            });
            prop_assert_eq!(own, shared, "{:?}", question);
        }
        Ok(())
    });
    ran.unwrap();
    let [allowed, denied, failed, unfit, skipped] =
        [allowed, denied, failed, unfit, skipped].map(AtomicUsize::into_inner);
    println!(
        "{allowed} allowed, {denied} denied, {failed} with errors, {unfit} that fit no schema; {skipped} stores were not valid"
    );
    assert!(allowed > 100 && denied > 100 && failed > 50 && skipped < 40, "the drawn cases say something");
}
