//! Publishing: ways to make the own store, by which own requests are decided, permit what is another tenant's.

use serde_json::json;

use crate::{
    attack::{Family, attack, control},
    attacker::Attacker,
    aws::outcome_of,
    http::Answer,
    leak::Leak,
    outcome::Outcome,
    scene::{ATTACKER, VICTIM},
};

pub(super) const FAMILY: Family = Family {
    name: "policy publishing",
    attacks: &[
        attack!(
            "avp-shadowed-guardrail",
            "publishing what permits everything, with the platform's policies removed or named again",
            Authorization,
            Alone,
            |a| {
                let key = &a.acme().access_key;
                let own = &a.acme().policy_store_id;
                let removed = a
                    .avp(key, "DeletePolicy", json!({ "policyStoreId": own, "policyId": "own-tenant-only" }))
                    .await;
                let mut tries = vec![outcome_of(&removed)];
                let mut made = Vec::new();
                for statement in [
                    ANYONE.to_owned(),
                    format!("@id(\"own-tenant-only\") {ANYONE}"),
                    format!("@id(\"ringfence:guardrail\") {ANYONE}"),
                    "permit (principal, action, resource) when { principal.tenant != resource.tenant };"
                        .to_owned(),
                    "permit (principal, action, resource) unless { principal has nothing };".to_owned(),
                ] {
                    let definition = json!({ "static": { "statement": statement } });
                    let answer = a
                        .avp(key, "CreatePolicy", json!({ "policyStoreId": own, "definition": definition }))
                        .await;
                    made.extend(answer.text_member("policyId"));
                    tries.push(outcome_of(&answer));
                    tries.push(reached(a).await);
                }
                for policy in made {
                    a.avp(key, "DeletePolicy", json!({ "policyStoreId": own, "policyId": policy })).await;
                }
                if removed.status() == 200 {
                    let again = "forbid (principal, action, resource) unless { principal.tenant == resource.tenant };";
                    let definition = json!({ "static": { "statement": again } });
                    a.avp(key, "CreatePolicy", json!({ "policyStoreId": own, "definition": definition }))
                        .await;
                }
                Outcome::furthest(tries)
            }
        ),
        attack!(
            "avp-vacuous-schema",
            "a schema in which the boundary says nothing",
            Authorization,
            Alone,
            |a| {
                let key = &a.acme().access_key;
                let own = &a.acme().policy_store_id;
                let kept = a
                    .avp(key, "GetSchema", json!({ "policyStoreId": own }))
                    .await
                    .text_member("schema")
                    .unwrap_or_default();
                let mut tries = Vec::new();
                for (from, to) in [
                    // The tenant may be missing, is a number, is called otherwise, or there is nothing left to be asked.
                    ("\"tenant\":{", "\"tenant\":{\"required\":false,"),
                    ("\"tenant\":", "\"tenancy\":"),
                    ("\"appliesTo\":", "\"annotations\":{},\"unused\":"),
                    ("\"Ledger\":", "\"Other\":"),
                ] {
                    let bent = kept.replace(from, to);
                    let definition = json!({ "cedarJson": bent });
                    let answer = a
                        .avp(key, "PutSchema", json!({ "policyStoreId": own, "definition": definition }))
                        .await;
                    tries.push(outcome_of(&answer));
                    tries.push(reached(a).await);
                    if answer.status() == 200 {
                        let definition = json!({ "cedarJson": kept });
                        a.avp(key, "PutSchema", json!({ "policyStoreId": own, "definition": definition }))
                            .await;
                    }
                }
                Outcome::furthest(tries)
            }
        ),
        attack!(
            "avp-widened-template",
            "a template that is linked first and widened afterwards",
            Authorization,
            Alone,
            |a| {
                let key = &a.acme().access_key;
                let own = &a.acme().policy_store_id;
                let narrow = "permit (principal == ?principal, action == Ledger::Action::\"ViewPayment\", resource) \
                          when { principal.tenant == resource.tenant };";
                let made = a
                    .avp(key, "CreatePolicyTemplate", json!({ "policyStoreId": own, "statement": narrow }))
                    .await;
                let template = made.text_member("policyTemplateId").unwrap_or_default();
                let linked = json!({ "templateLinked": {
                "policyTemplateId": template, "principal": { "entityType": "Ledger::User", "entityId": "mallory" },
            } });
                let link =
                    a.avp(key, "CreatePolicy", json!({ "policyStoreId": own, "definition": linked })).await;
                let mut tries = vec![outcome_of(&link)];
                for wide in [
                    "permit (principal == ?principal, action == Ledger::Action::\"ViewPayment\", resource);",
                    "permit (principal == ?principal, action == Ledger::Action::\"ViewPayment\", resource) \
                 when { principal.tenant != resource.tenant };",
                ] {
                    let update =
                        json!({ "policyStoreId": own, "policyTemplateId": template, "statement": wide });
                    tries.push(outcome_of(&a.avp(key, "UpdatePolicyTemplate", update).await));
                    tries.push(reached(a).await);
                }
                for (operation, name, id) in [
                    ("DeletePolicy", "policyId", link.text_member("policyId").unwrap_or_default()),
                    ("DeletePolicyTemplate", "policyTemplateId", template),
                ] {
                    a.avp(key, operation, json!({ "policyStoreId": own, name: id })).await;
                }
                Outcome::furthest(tries)
            }
        ),
        attack!(
            "avp-policy-bomb",
            "policies that are thousands of levels deep, so that whoever reads them ends",
            Authorization,
            Alone,
            |a| {
                let (key, own) = (&a.acme().access_key, &a.acme().policy_store_id);
                let deep =
                    |open: &str, close: &str| format!("{}true{}", open.repeat(4_800), close.repeat(4_800));
                let before = victim_served(a).await;
                let mut tries = Vec::new();
                for condition in [
                    deep("(", ")"),
                    deep("[", "]"),
                    format!("{}true{}", "!(".repeat(3_200), ")".repeat(3_200)),
                    format!("{}true", "if true then false else ".repeat(400)),
                ] {
                    let statement = format!("forbid (principal, action, resource) when {{ {condition} }};");
                    let definition = json!({ "static": { "statement": statement } });
                    let create = json!({ "policyStoreId": own, "definition": definition });
                    let answer = a.avp(key, "CreatePolicy", create).await;
                    if let Some(policy) = answer.text_member("policyId") {
                        a.avp(key, "DeletePolicy", json!({ "policyStoreId": own, "policyId": policy })).await;
                    }
                    tries.push(outcome_of(&answer));
                }
                let gone = before && !victim_served(a).await;
                let leak = gone.then(|| Leak::oracle("the victim is no longer served".to_owned()));
                Outcome::furthest(tries).leaking(leak)
            }
        ),
    ],
    controls: &[control!("a policy that stays inside the own tenant is published, and decides", |a| {
        let (key, own) = (&a.acme().access_key, &a.acme().policy_store_id);
        let statement = "permit (principal, action == Ledger::Action::\"ViewPayment\", resource) \
                             when { principal.tenant == resource.tenant };";
        let create = json!({ "policyStoreId": own, "definition": { "static": { "statement": statement } } });
        let made = a.avp(key, "CreatePolicy", create).await;
        let Some(policy) = made.text_member("policyId") else { return Err(made.text()) };
        let decided = decide(a, ATTACKER).await.text_member("decision");
        a.avp(key, "DeletePolicy", json!({ "policyStoreId": own, "policyId": policy })).await;
        if decided.as_deref() == Some("ALLOW") { Ok(()) } else { Err(format!("{decided:?}")) }
    })],
};

const ANYONE: &str = "permit (principal, action, resource);";

/// Whether the victim is served what is its own.
async fn victim_served(a: &Attacker) -> bool {
    let (victim, token) = (a.victim(), a.loot().victims.clone().unwrap_or_default());
    victim.send(victim.theirs("GET", "/accounts").bearer(&token)).await.status() == 200
}

/// Whether the own serving store permits what is the victim's; and the victim's payment, asked for at the own address.
async fn reached(a: &Attacker) -> Outcome {
    let answer = decide(a, VICTIM).await;
    let permitted = answer.text_member("decision").is_some_and(|decision| decision == "ALLOW");
    let leak = permitted.then(|| Leak::oracle("the own store permits what is the victim's".to_owned()));
    let payment = a.target.payment.to_string();
    let asked = a.compare(&payment, |id| a.send(a.mine("GET", &format!("/payments/{id}")))).await;
    Outcome::furthest([
        Outcome::stopped(ringfence_context::Layer::Authorization, "DENY").leaking(leak),
        asked,
    ])
}

/// The own serving store, asked whether somebody of the own tenant may view a payment of `tenant`.
async fn decide(a: &Attacker, tenant: &str) -> Answer {
    let (person, payment) = (("Ledger::User", "mallory"), ("Ledger::Payment", "p-1"));
    let named = |(kind, id): (&str, &str)| json!({ "entityType": kind, "entityId": id });
    let text = |value: &str| json!({ "string": value });
    let entities = json!([
        { "identifier": named(person), "attributes": { "tenant": text(ATTACKER), "subject": text("mallory") } },
        { "identifier": named(payment), "attributes": { "tenant": text(tenant) } },
    ]);
    let asked = json!({
        "policyStoreId": a.acme().policy_store_id,
        "principal": named(person),
        "action": { "actionType": "Ledger::Action", "actionId": "ViewPayment" },
        "resource": named(payment),
        "entities": { "entityList": entities },
    });
    a.avp(&a.acme().access_key, "IsAuthorized", asked).await
}
