//! The maps that lead to a tenant: who changed them is on record, for those who may see it (SYSTEMS X-15).

use http::{HeaderValue, Method, StatusCode, header};
use ringfence_control::access_key::KeyOwner;
use ringfence_store::{Draft, Scope, chain::numbered, maps::MAP_ENTRY};
use serde_json::{Value, json};

use crate::{
    avp::Key,
    bench::{Answer, Bench, bearer, id, with_bench},
    govern::operator,
};

async fn call(bench: &Bench, token: &str, method: Method, path: &str, body: Value) -> Answer {
    let mut headers = bearer(token);
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    let body = if body.is_null() { String::new() } else { body.to_string() };
    bench.api(method, path, headers, &body).await
}

async fn audit(bench: &Bench, token: &str, tenant: &str) -> Answer {
    call(bench, token, Method::GET, &format!("/v1/tenants/{tenant}/maps/audit"), Value::Null).await
}

async fn steps(bench: &Bench, tenant: &str) -> Vec<Value> {
    let shown = audit(bench, &bench.operator, tenant).await;
    assert_eq!(shown.status, StatusCode::OK, "{shown:?}");
    shown.json().as_array().unwrap().clone()
}

#[test]
fn x15_every_change_of_the_maps_is_on_record_with_who_and_why() {
    with_bench(async |bench| {
        let made = json!({ "id": "mapped", "tier": "pooled", "reason": "contract 12" });
        let made = call(bench, &bench.operator, Method::POST, "/v1/tenants", made).await;
        assert_eq!(made.status, StatusCode::CREATED, "{made:?}");
        let at = |path: &str| format!("/v1/tenants/mapped/{path}");
        let post = async |path: &str, body: Value| {
            let answer = call(bench, &bench.operator, Method::POST, &at(path), body).await;
            assert!(answer.status.is_success(), "{path}: {answer:?}");
            answer
        };
        let user =
            json!({ "username": "ann", "password": "correct horse", "roles": ["admin"], "reason": "hired" });
        let user = post("users", user).await.json()["id"].as_str().unwrap().to_owned();
        post(&format!("users/{user}/disable"), json!({ "reason": "left" })).await;
        post("clients", json!({ "client_id": "job", "roles": ["viewer"] })).await;
        post("clients/job/disable", Value::Null).await;
        let key = post("access-keys", json!({ "reason": "ci" })).await.json();
        let (key, secret) = (key["id"].as_str().unwrap(), key["secret"].as_str().unwrap());
        let ended =
            call(bench, &bench.operator, Method::DELETE, &at(&format!("access-keys/{key}")), Value::Null)
                .await;
        assert_eq!(ended.status, StatusCode::NO_CONTENT);
        post("store-move", json!({ "to": "own", "seconds": 60, "reason": "grown" })).await;
        let stopped =
            call(bench, &bench.operator, Method::DELETE, &at("store-move"), json!({ "reason": "too soon" }))
                .await;
        assert_eq!(stopped.status, StatusCode::OK);

        let steps = steps(bench, "mapped").await;
        let did: Vec<(String, Value)> = steps
            .iter()
            .map(|step| (step["did"].as_str().unwrap().to_owned(), step["reason"].clone()))
            .collect();
        let expected = [
            ("made public client ringfence-cli".to_owned(), json!("contract 12")),
            ("made the policy store, in a shared store".to_owned(), json!("contract 12")),
            (format!("made user ann ({user}) with role admin"), json!("hired")),
            (format!("disabled user {user}"), json!("left")),
            ("made machine client job with role viewer".to_owned(), Value::Null),
            ("disabled client job".to_owned(), Value::Null),
            (format!("made access key {key}"), json!("ci")),
            (format!("ended access key {key}"), Value::Null),
            ("began to move the policy store to a store of their own".to_owned(), json!("grown")),
            (
                "stopped moving the policy store to a store of their own: an operator stopped it".to_owned(),
                json!("too soon"),
            ),
        ];
        assert_eq!(did, expected);
        assert!(steps.iter().all(|step| step["who"] == "operator operator"), "{steps:?}");
        let text = json!(steps).to_string();
        assert!(!text.contains("correct horse") && !text.contains(secret), "no secret is on record");
    });
}

#[test]
fn x15_where_policies_are_reviewed_one_proposes_to_move_them_and_another_approves() {
    with_bench(async |bench| {
        bench.tenant_reviewed("mapped-two").await;
        let other = operator(bench, "mapped-two-reviewer", &["policy-reviewer"]).await;
        let path = "/v1/tenants/mapped-two/store-move";
        let approve = async |who: &str| {
            let path = format!("{path}/approve");
            call(bench, who, Method::POST, &path, json!({ "reason": "seen" })).await
        };
        let propose = async || {
            let new =
                json!({ "to": "shared", "questions": 1_000_000, "seconds": 86_400, "reason": "cheaper" });
            call(bench, &bench.operator, Method::POST, path, new).await
        };
        let held = async || bench.workflow.stores.held(&id("mapped-two")).await.unwrap();
        assert_eq!(approve(&other).await.status, StatusCode::NOT_FOUND, "nothing is proposed");
        let proposed = propose().await;
        assert_eq!(proposed.json()["state"], json!({ "proposed": { "operator": "operator" } }));
        assert_eq!(held().await.1, None, "nothing is moved by it");
        assert_eq!(approve(&bench.operator).await.status, StatusCode::FORBIDDEN, "one's own");
        let withdrawn = call(bench, &bench.operator, Method::DELETE, path, json!({})).await;
        assert!(withdrawn.json()["state"]["stopped"].is_string(), "{withdrawn:?}");
        assert_eq!(approve(&other).await.status, StatusCode::NOT_FOUND, "it was taken back");
        assert_eq!(propose().await.status, StatusCode::ACCEPTED);
        let begun = approve(&other).await;
        assert_eq!((begun.status, &begun.json()["state"]), (StatusCode::ACCEPTED, &json!("comparing")));
        assert!(held().await.1.is_some());
        assert_eq!(propose().await.status, StatusCode::CONFLICT, "it is under way");
        assert_eq!(approve(&other).await.status, StatusCode::NOT_FOUND);
        let stopped = call(bench, &bench.operator, Method::DELETE, path, json!({})).await;
        assert_eq!(stopped.status, StatusCode::OK);
        let steps = steps(bench, "mapped-two").await;
        let did: Vec<_> = steps
            .iter()
            .skip(2)
            .map(|step| (step["did"].as_str().unwrap(), step["who"].as_str().unwrap()))
            .collect();
        let (one, two) = ("operator operator", "operator mapped-two-reviewer");
        let expected = [
            ("proposed to move the policy store to a shared store", one),
            ("stopped moving the policy store to a shared store: an operator withdrew it", one),
            ("proposed to move the policy store to a shared store", one),
            ("began to move the policy store to a shared store", two),
            ("stopped moving the policy store to a shared store: an operator stopped it", one),
        ];
        assert_eq!(did, expected);
    });
}

#[test]
fn x15_what_was_refused_is_not_on_record_and_a_reason_is_one_line() {
    with_bench(async |bench| {
        bench.tenant("unmapped").await;
        let before = steps(bench, "unmapped").await.len();
        for (path, body) in [
            ("users", json!({ "username": "ann", "password": "short", "roles": [] })),
            ("users", json!({ "username": "ann", "password": "correct horse", "reason": "a\nb" })),
            ("users/u-nobody/disable", json!({})),
            ("clients", json!({ "client_id": "ringfence-cli" })),
            ("clients/none/disable", json!({ "reason": "" })),
            ("access-keys", json!({ "reason": "x", "owner": "globex" })),
        ] {
            let path = format!("/v1/tenants/unmapped/{path}");
            let answer = call(bench, &bench.operator, Method::POST, &path, body).await;
            assert!(answer.status.is_client_error(), "{path}: {answer:?}");
        }
        assert_eq!(steps(bench, "unmapped").await.len(), before);
    });
}

#[test]
fn x15_the_record_is_for_administrators_and_auditors_and_nobody_else() {
    with_bench(async |bench| {
        bench.tenant("mapped-a").await;
        bench.tenant("mapped-b").await;
        let operator = async |name: &str, role: &str| {
            let body = json!({ "name": name, "roles": [role] });
            let made = call(bench, &bench.operator, Method::POST, "/v1/operators", body).await;
            made.json()["token"].as_str().unwrap().to_owned()
        };
        let auditor = operator("maps-auditor", "auditor").await;
        assert_eq!(audit(bench, &auditor, "mapped-a").await.status, StatusCode::OK);
        let mut refused =
            vec![bench.token("mapped-a", "admin").await, bench.token("mapped-b", "admin").await];
        for role in ["policy-author", "policy-reviewer", "decisions-only"] {
            refused.push(operator(&format!("maps-{role}"), role).await);
        }
        for token in &refused {
            let answers = [audit(bench, token, "mapped-a").await, audit(bench, token, "mapped-none").await];
            for answer in &answers {
                assert!(matches!(answer.status.as_u16(), 401 | 403), "{answer:?}");
                assert!(!String::from_utf8_lossy(&answer.body).contains("made "), "{answer:?}");
            }
            assert_eq!(answers[0].body, answers[1].body, "whether the tenant is there is not told");
        }
        // A tenant's access key signs for the policy service, which has no such operation; elsewhere it is nobody's token.
        let key = Key::new(bench, KeyOwner::Tenant(id("mapped-a"))).await;
        assert_ne!(key.ask(bench, "ListMapAudit", "{}").await.status, StatusCode::OK);
        assert_eq!(
            audit(bench, &key.secret().reveal().clone(), "mapped-a").await.status,
            StatusCode::UNAUTHORIZED
        );
        // One's own record only.
        for step in steps(bench, "mapped-a").await {
            assert!(!step.to_string().contains("mapped-b"));
        }
        assert_eq!(audit(bench, &auditor, "mapped-none").await.status, StatusCode::NOT_FOUND);
    });
}

#[test]
fn x15_a_record_that_was_cut_is_refused_at_the_api() {
    with_bench(async |bench| {
        bench.tenant("mapped-cut").await;
        bench.token("mapped-cut", "viewer").await;
        let last = u64::try_from(steps(bench, "mapped-cut").await.len()).unwrap();
        let gone = Draft::delete(&Scope::from(&id("mapped-cut")), MAP_ENTRY, &numbered(last));
        bench.workflow.records.commit(vec![gone]).await.unwrap();
        let shown = audit(bench, &bench.operator, "mapped-cut").await;
        assert_eq!(shown.status, StatusCode::SERVICE_UNAVAILABLE);
        assert!(shown.json()["title"].as_str().unwrap().contains("does not authenticate"), "{shown:?}");
    });
}
