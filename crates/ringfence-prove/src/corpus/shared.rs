//! The shared store: a tenant whose policies are in one store with the bystander's, and the attacker's other tenant.

use std::time::Duration;

use serde_json::{Value, json};

use crate::{
    attack::{Family, attack, control},
    attacker::Attacker,
    authzen::question,
    aws::outcome_of,
    http::{Answer, Ask},
    leak::Leak,
    outcome::Outcome,
    scene::{ALLY, BYSTANDER, Tenant},
};

pub(super) const FAMILY: Family = Family {
    name: "shared policy store",
    attacks: &[
        attack!(
            "shared-speaks-of-others",
            "policies in the own part that speak of another tenant, or are called as shared ones",
            Authorization,
            Alone,
            |a| {
                let before = others_view(a).await;
                let mut tries = Vec::new();
                for statement in [
                    "permit (principal, action, resource) when { resource.tenant == \"initech\" };",
                    "permit (principal, action, resource) when { resource.tenant like \"init*\" };",
                    "@id(\"own-tenant-only\") permit (principal, action, resource);",
                ] {
                    let made = created(a, statement).await;
                    tries.push(outcome_of(&made));
                    tries.push(reached(a).await);
                    removed(a, &made).await;
                }
                let changed = Attacker::changed(&before, &others_view(a).await, "another tenant's policies");
                Outcome::furthest(tries).leaking(changed)
            }
        ),
        attack!(
            "shared-other-part",
            "everything there is to ask about another tenant's part, and about the shared store itself",
            Authorization,
            Together,
            |a| {
                let (shelf, key) = (&a.loot().shelf, &a.hooli().access_key);
                let store = &bystander(a).policy_store_id;
                let shared = bystander(a).shared_store.clone().unwrap_or_default();
                let mut tries = Vec::new();
                for exists in [store, &shared, &format!("ps-{shared}")] {
                    for (at, (operation, _)) in shelf.questions(exists).into_iter().enumerate() {
                        let input = |id: &str| {
                            shelf
                                .questions(id)
                                .into_iter()
                                .nth(at)
                                .map(|(_, input)| input)
                                .unwrap_or_default()
                        };
                        tries.push(a.avp_compare_with(key, operation, exists, input).await);
                    }
                    let planted = |id: &str| json!({ "policyStoreId": id, "policyId": "planted" });
                    tries.push(a.avp_compare_with(key, "GetPolicy", exists, planted).await);
                }
                Outcome::furthest(tries)
            }
        ),
        attack!(
            "shared-base-edit",
            "what all tenants of the shared store have in common, changed from one of them",
            Authorization,
            Alone,
            |a| {
                let before = others_view(a).await;
                let (key, own) = (&a.hooli().access_key, &a.hooli().policy_store_id);
                let schema = json!({ "cedarJson": "{\"Ledger\":{\"entityTypes\":{},\"actions\":{}}}" });
                let statement = "permit (principal, action, resource);";
                let update = json!({ "static": { "statement": statement } });
                let mut tries = Vec::new();
                for (operation, input) in [
                    ("DeletePolicy", json!({ "policyStoreId": own, "policyId": "own-tenant-only" })),
                    (
                        "UpdatePolicy",
                        json!({ "policyStoreId": own, "policyId": "everyone-reads", "definition": update }),
                    ),
                    ("PutSchema", json!({ "policyStoreId": own, "definition": schema })),
                    (
                        "UpdatePolicyStore",
                        json!({ "policyStoreId": own, "validationSettings": { "mode": "OFF" } }),
                    ),
                    ("DeletePolicyStore", json!({ "policyStoreId": own })),
                ] {
                    tries.push(outcome_of(&a.avp(key, operation, input).await));
                    tries.push(reached(a).await);
                }
                let changed = Attacker::changed(&before, &others_view(a).await, "another tenant's policies");
                Outcome::furthest(tries).leaking(changed)
            }
        ),
        attack!(
            "shared-alias",
            "an alias of the own that leads to another tenant's part",
            Authorization,
            Alone,
            |a| {
                let key = &a.hooli().access_key;
                let shared = bystander(a).shared_store.clone().unwrap_or_default();
                let alias = format!("policy-store-alias/a-{}", a.nonce());
                let mut tries = Vec::new();
                for exists in [&bystander(a).policy_store_id, &shared] {
                    let create = |id: &str| json!({ "aliasName": alias, "policyStoreId": id });
                    tries.push(a.avp_compare_with(key, "CreatePolicyStoreAlias", exists, create).await);
                    for operation in ["GetPolicyStore", "ListPolicies", "GetSchema"] {
                        let input = json!({ "policyStoreId": alias });
                        tries.push(outcome_of(&a.avp(key, operation, input).await));
                    }
                    a.avp(key, "DeletePolicyStoreAlias", json!({ "aliasName": alias })).await;
                }
                Outcome::furthest(tries)
            }
        ),
        attack!(
            "shared-move",
            "moves of own and others' stores begun without being an operator, and words carried back from an own store",
            Identity,
            Alone,
            |a| {
                let before = others_view(a).await;
                let mut tries = Vec::new();
                for token in
                    [a.loot().ally.clone().unwrap_or_default(), a.token("admin"), "rfo_AAAA".to_owned()]
                {
                    for (method, tenant) in [
                        ("POST", BYSTANDER),
                        ("DELETE", BYSTANDER),
                        ("GET", BYSTANDER),
                        ("POST", ALLY),
                        ("POST", "hooli/../initech"),
                    ] {
                        let answer = moving(a, method, tenant, &token, "own").await;
                        let done = (200..300).contains(&answer.status());
                        let leak = done.then(|| Leak::oracle(format!("{method} {tenant} was answered")));
                        tries.push(Outcome::of(&answer).leaking(leak));
                    }
                }
                tries.push(carried(a).await);
                let changed = Attacker::changed(&before, &others_view(a).await, "another tenant's policies");
                Outcome::furthest(tries).leaking(changed)
            }
        ),
        attack!(
            "shared-decisions",
            "decisions of the own part about another tenant's people and things, at either address",
            Authorization,
            Together,
            |a| {
                let token = a.loot().ally_decisions.clone().unwrap_or_default();
                let exists = &a.loot().stock.bystander;
                let mut tries = vec![reached(a).await];
                for at in [ALLY, BYSTANDER] {
                    tries.push(a.authzen_compare(at, &token, exists, |id| question(id, "p-1")).await);
                    tries.push(a.authzen_compare(at, &token, exists, |id| question("anyone", id)).await);
                }
                Outcome::furthest(tries)
            }
        ),
    ],
    controls: &[
        control!("a policy in the own part is published, and decides", |a| {
            let statement = "permit (principal, action == Ledger::Action::\"ViewPayment\", resource);";
            let made = created(a, statement).await;
            let decided = decide(a, ALLY, ALLY).await.text_member("decision");
            removed(a, &made).await;
            let after = decide(a, ALLY, ALLY).await.text_member("decision");
            if (decided.as_deref(), after.as_deref()) == (Some("ALLOW"), Some("DENY")) {
                return Ok(());
            }
            Err(format!("{} {decided:?} {after:?}", made.text()))
        }),
        control!("the other tenant's own key reads its part, and both are in one store", |a| {
            let view = others_view(a).await;
            let (one, other) = (&a.hooli().shared_store, &bystander(a).shared_store);
            let planted = bystander(a).planted.clone().unwrap_or_default();
            let seen = view.contains(&planted) && !planted.is_empty();
            if seen && one.is_some() && one == other { Ok(()) } else { Err(view) }
        }),
        control!("an operator moves a tenant's policies, and back", |a| {
            let there = moved(a, "own").await;
            let back = moved(a, "shared").await;
            if there && back { Ok(()) } else { Err(format!("there {there}, back {back}")) }
        }),
    ],
};

/// How long a move may take, in steps of a tenth of a second.
const MOVING: usize = 50;

fn bystander(a: &Attacker) -> &Tenant {
    a.tenant(BYSTANDER)
}

async fn created(a: &Attacker, statement: &str) -> Answer {
    let definition = json!({ "static": { "statement": statement } });
    let create = json!({ "policyStoreId": a.hooli().policy_store_id, "definition": definition });
    a.avp(&a.hooli().access_key, "CreatePolicy", create).await
}

async fn removed(a: &Attacker, made: &Answer) {
    if let Some(policy) = made.text_member("policyId") {
        let delete = json!({ "policyStoreId": a.hooli().policy_store_id, "policyId": policy });
        a.avp(&a.hooli().access_key, "DeletePolicy", delete).await;
    }
}

/// The own part, asked whether somebody of `from` may view a payment of `tenant`.
async fn decide(a: &Attacker, from: &str, tenant: &str) -> Answer {
    let (person, payment) = (("Ledger::User", "mallory"), ("Ledger::Payment", "p-1"));
    let named = |(kind, id): (&str, &str)| json!({ "entityType": kind, "entityId": id });
    let text = |value: &str| json!({ "string": value });
    let entities = json!([
        { "identifier": named(person), "attributes": { "tenant": text(from), "subject": text("mallory") } },
        { "identifier": named(payment), "attributes": { "tenant": text(tenant) } },
    ]);
    let asked = json!({
        "policyStoreId": a.hooli().policy_store_id,
        "principal": named(person),
        "action": { "actionType": "Ledger::Action", "actionId": "ViewPayment" },
        "resource": named(payment),
        "entities": { "entityList": entities },
    });
    a.avp(&a.hooli().access_key, "IsAuthorized", asked).await
}

/// Whether the own part permits the attacker's people what is another tenant's. Of somebody who is described as that other
/// tenant's own, its answer is the attacker's word about the attacker's word: it is asked, and tells nothing of anybody.
async fn reached(a: &Attacker) -> Outcome {
    let mut tries = Vec::new();
    for from in [ALLY, BYSTANDER] {
        let answer = decide(a, from, BYSTANDER).await;
        let permitted = answer.text_member("decision").is_some_and(|decision| decision == "ALLOW");
        tries.push(match (permitted, from) {
            (false, _) => Outcome::stopped(ringfence_context::Layer::Authorization, "DENY"),
            (true, ALLY) => Outcome::answered("ALLOW")
                .leaking(Some(Leak::oracle(format!("the own part permits {from} what is another tenant's")))),
            (true, _) => Outcome::answered("ALLOW"),
        });
    }
    Outcome::furthest(tries)
}

/// What the other tenant sees of its policies, and what is decided by them: through its own hands.
async fn others_view(a: &Attacker) -> String {
    let other = a.victim();
    let (key, store) = (&bystander(a).access_key, &bystander(a).policy_store_id);
    let mut seen = String::new();
    for (operation, input) in [
        ("GetPolicyStore", json!({ "policyStoreId": store })),
        ("ListPolicies", json!({ "policyStoreId": store })),
        ("GetSchema", json!({ "policyStoreId": store })),
    ] {
        seen.push_str(&other.avp(key, operation, input).await.text());
    }
    seen
}

async fn moving(a: &Attacker, method: &str, tenant: &str, token: &str, to: &str) -> Answer {
    let path = format!("/v1/tenants/{tenant}/store-move");
    let ask = Ask::new(method, &path, a.scene().api_host()).bearer(token);
    let wanted = json!({ "to": to, "questions": 1, "seconds": 1 });
    a.api(if method == "POST" { ask.json(&wanted) } else { ask }).await
}

/// An operator moves the own policies; says whether they were moved.
async fn moved(a: &Attacker, to: &str) -> bool {
    let operator = &a.scene().operator.token;
    if moving(a, "POST", ALLY, operator, to).await.status() != 202 {
        return false;
    }
    for _ in 0..MOVING {
        // A question is compared, and a move that has compared one is over.
        let decisions = a.loot().ally_decisions.clone().unwrap_or_default();
        a.authzen(ALLY, &decisions, "evaluation", &question("anyone", "p-1")).await;
        let state = moving(a, "GET", ALLY, operator, to).await.member("state");
        match state {
            Some(Value::String(state)) if state == "comparing" => {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            state => return state == Some("done".into()),
        }
    }
    false
}

/// Moved to a store of its own, where a tenant may say more, and back with what it has said there.
async fn carried(a: &Attacker) -> Outcome {
    let words = "permit (principal, action == Ledger::Action::\"ViewPayment\", resource) \
                 when { resource.tenant == \"initech\" && principal.tenant == resource.tenant };";
    moved(a, "own").await;
    let made = created(a, words).await;
    let before = reached(a).await;
    let carried = moved(a, "shared").await && made.text_member("policyId").is_some();
    let leak = carried.then(|| Leak::oracle("words about another tenant are in the shared store".to_owned()));
    let after = reached(a).await.leaking(leak);
    removed(a, &made).await;
    moved(a, "shared").await;
    Outcome::furthest([before, after])
}
