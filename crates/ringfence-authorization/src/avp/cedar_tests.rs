//! Decisions, determining policies and errors, against Cedar's own authorizer on the same texts: every combination of
//! some principals, actions, resources and contexts, with entities in both spellings.

use cedar_policy::{Authorizer, Context, Entities, PolicySet, Request, Schema};
use serde_json::{Value, json};

use super::{Bench, PERMIT, SCHEMA};

const TEXTS: &[&str] = &[
    PERMIT,
    "permit (principal in P::Group::\"staff\", action, resource);",
    "permit (principal, action in [P::Action::\"view\", P::Action::\"edit\"], resource == P::Photo::\"p2\");",
    "forbid (principal, action, resource) when { resource has hidden && resource.hidden };",
    "forbid (principal, action, resource) when { principal.age < 18 };",
    "permit (principal, action, resource) when { context.ip.isInRange(ip(\"10.0.0.0/8\")) };",
    "permit (principal, action, resource) when { context.tags.contains(\"a\") && context.nested.deep == 1 };",
    "forbid (principal, action, resource) when { principal.hasTag(\"x\") && principal.getTag(\"x\") == \"y\" };",
    "permit (principal is P::User in P::Group::\"all\", action, resource) unless { resource == principal.owns };",
    "forbid (principal, action, resource) when { context.limit + 9223372036854775807 > 0 };",
];

/// The same entities as the API's structures and as Cedar's JSON.
fn entities() -> (Value, Value) {
    let list = json!([
        { "identifier": { "entityType": "P::User", "entityId": "u1" },
          "attributes": { "age": { "long": 17 },
                          "owns": { "entityIdentifier": { "entityType": "P::Photo", "entityId": "p1" } } },
          "parents": [{ "entityType": "P::Group", "entityId": "staff" }], "tags": { "x": { "string": "y" } } },
        { "identifier": { "entityType": "P::User", "entityId": "u2" },
          "attributes": { "age": { "long": 18 } }, "parents": [{ "entityType": "P::Group", "entityId": "staff" }] },
        { "identifier": { "entityType": "P::Group", "entityId": "staff" },
          "parents": [{ "entityType": "P::Group", "entityId": "all" }] },
        { "identifier": { "entityType": "P::Photo", "entityId": "p1" }, "attributes": { "hidden": { "boolean": true } } },
    ]);
    let cedar = json!([
        { "uid": { "type": "P::User", "id": "u1" },
          "attrs": { "age": 17, "owns": { "__entity": { "type": "P::Photo", "id": "p1" } } },
          "parents": [{ "type": "P::Group", "id": "staff" }], "tags": { "x": "y" } },
        { "uid": { "type": "P::User", "id": "u2" }, "attrs": { "age": 18 },
          "parents": [{ "type": "P::Group", "id": "staff" }] },
        { "uid": { "type": "P::Group", "id": "staff" }, "attrs": {}, "parents": [{ "type": "P::Group", "id": "all" }] },
        { "uid": { "type": "P::Photo", "id": "p1" }, "attrs": { "hidden": true }, "parents": [] },
    ]);
    (json!({ "entityList": list }), cedar)
}

/// Contexts in both spellings.
fn contexts() -> [(Value, Value); 3] {
    [
        (json!({ "contextMap": {} }), json!({})),
        (
            json!({ "contextMap": { "ip": { "ipaddr": "10.1.2.3" }, "limit": { "long": 1 } } }),
            json!({ "ip": { "__extn": { "fn": "ip", "arg": "10.1.2.3" } }, "limit": 1 }),
        ),
        (
            json!({ "contextMap": { "tags": { "set": [{ "string": "a" }, { "string": "b" }] },
                                    "nested": { "record": { "deep": { "long": 1 } } } } }),
            json!({ "tags": ["a", "b"], "nested": { "deep": 1 } }),
        ),
    ]
}

#[tokio::test]
async fn decisions_reasons_and_errors_are_cedars_on_every_combination() {
    let bench = Bench::new().await;
    let store = bench.store("OFF").await;
    let mut set = PolicySet::new();
    for text in TEXTS {
        let id = bench.policy(&store, text).await;
        set.add(crate::text::policy(&id, text).unwrap()).unwrap();
    }
    let schema = Schema::from_json_str(SCHEMA).unwrap();
    let (listed, cedar) = entities();
    let plain = Entities::from_json_value(cedar.clone(), None).unwrap();
    let plain = plain.add_entities(schema.action_entities().unwrap().iter().cloned(), None).unwrap();
    let (mut compared, mut allowed, mut failed) = (0, 0, 0);
    for (user, action, photo) in [
        ("u1", "view", "p1"),
        ("u1", "edit", "p2"),
        ("u2", "view", "p1"),
        ("u2", "edit", "p2"),
        ("u3", "other", "p2"),
    ] {
        for (map, context) in contexts() {
            let uid = |kind: &str, id: &str| format!("P::{kind}::\"{id}\"").parse().unwrap();
            let given = Context::from_json_value(context.clone(), None).unwrap();
            let request =
                Request::new(uid("User", user), uid("Action", action), uid("Photo", photo), given, None)
                    .unwrap();
            let wanted = answer(&Authorizer::new().is_authorized(&request, &set, &plain));
            let spelled = [
                (map, listed.clone()),
                (json!({ "cedarJson": context.to_string() }), json!({ "cedarJson": cedar.to_string() })),
            ];
            for (context, entities) in spelled {
                let asked = json!({
                    "policyStoreId": store,
                    "principal": { "entityType": "P::User", "entityId": user },
                    "action": { "actionType": "P::Action", "actionId": action },
                    "resource": { "entityType": "P::Photo", "entityId": photo },
                    "context": context,
                    "entities": entities,
                });
                assert_eq!(bench.ok("IsAuthorized", asked.clone()).await, wanted, "{asked}");
                compared += 1;
            }
            allowed += usize::from(wanted["decision"] == "ALLOW");
            failed += usize::from(wanted["errors"] != json!([]));
        }
    }
    println!("{compared} decisions");
    assert!(allowed > 0 && failed > 0 && allowed < compared / 2, "{allowed} allowed, {failed} with errors");
}

fn answer(response: &cedar_policy::Response) -> Value {
    let mut reasons: Vec<String> = response.diagnostics().reason().map(ToString::to_string).collect();
    let mut errors: Vec<String> = response.diagnostics().errors().map(ToString::to_string).collect();
    reasons.sort();
    errors.sort();
    json!({
        "decision": if response.decision() == cedar_policy::Decision::Allow { "ALLOW" } else { "DENY" },
        "determiningPolicies": reasons.into_iter().map(|id| json!({ "policyId": id })).collect::<Value>(),
        "errors": errors.into_iter().map(|error| json!({ "errorDescription": error })).collect::<Value>(),
    })
}
