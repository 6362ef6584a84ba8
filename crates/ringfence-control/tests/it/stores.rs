//! Other policy stores of a tenant: what is said of them, and the way from there to what serves.

use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use ringfence_context::id::Subject;
use ringfence_control::{access_key::KeyOwner, api::avp::STANDING};
use serde_json::{Value, json};

use crate::{
    avp::Key,
    bench::{Answer, Bench, bearer, id, with_bench},
};

const FREEZE: &str = "forbid (principal, action == Ledger::Action::\"ListPayments\", resource);";

const OPEN: &str = "permit (principal, action == Ledger::Action::\"ListPayments\", resource);";

/// Every endpoint of other stores, with a body it reads, and the duty it is for. The store is not there.
pub(crate) fn endpoints(tenant: &str) -> Vec<(Method, String, Value, &'static str)> {
    let at = |path: &str| format!("/v1/tenants/{tenant}/policy-stores{path}");
    vec![
        (Method::GET, at(""), json!({}), "read"),
        (Method::POST, at("/PSnone/prove"), json!({}), "author"),
        (Method::POST, at("/PSnone/publish"), json!({ "reason": "x" }), "author"),
    ]
}

/// What an operator asks of another store of a tenant.
async fn step(bench: &Bench, tenant: &str, store: &str, step: &str, body: Value) -> Answer {
    let mut headers = bearer(&bench.operator);
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    let path = format!("/v1/tenants/{tenant}/policy-stores/{store}/{step}");
    bench.api(Method::POST, &path, headers, &body.to_string()).await
}

fn standing(answer: &Answer) -> &str {
    answer.headers[STANDING].to_str().unwrap()
}

async fn write(bench: &Bench, key: &Key, store: &str, statement: &str) -> Answer {
    let new = json!({ "policyStoreId": store, "definition": { "static": { "statement": statement } } });
    let made = key.ask(bench, "CreatePolicy", &new.to_string()).await;
    assert_eq!(made.status, StatusCode::OK, "{made:?}");
    made
}

/// Another store of a tenant that says what serves.
async fn copy(bench: &Bench, key: &Key, tenant: &str) -> String {
    let made = key.ask(bench, "CreatePolicyStore", r#"{"validationSettings":{"mode":"STRICT"}}"#).await;
    assert_eq!(standing(&made), "unproved");
    let store = made.json()["policyStoreId"].as_str().unwrap().to_owned();
    let serving = json!({ "policyStoreId": format!("ps-{tenant}") });
    let schema = key.ask(bench, "GetSchema", &serving.to_string()).await;
    assert_eq!(standing(&schema), "proved", "what serves");
    let put = json!({ "policyStoreId": store, "definition": { "cedarJson": schema.json()["schema"] } });
    key.ask(bench, "PutSchema", &put.to_string()).await;
    let (document, _) = bench.workflow.stores.document(&id(tenant)).await.unwrap();
    for statement in document.policies.values() {
        write(bench, key, &store, statement).await;
    }
    store
}

#[test]
fn what_another_store_says_decides_no_request_till_it_is_published_through_the_gate() {
    with_bench(async |bench| {
        bench.tenant("moving-in").await;
        let viewer = bench.token("moving-in", "viewer").await;
        let payments = async || bench.get("moving-in", &viewer, "/payments").await.status;
        let key = Key::new(bench, KeyOwner::Tenant(id("moving-in"))).await;
        let store = copy(bench, &key, "moving-in").await;
        assert_eq!(standing(&write(bench, &key, &store, FREEZE).await), "unproved");
        assert_eq!(payments().await, StatusCode::OK, "no request is decided by it");
        let proved = step(bench, "moving-in", &store, "prove", json!({})).await;
        assert_eq!(
            (proved.status, &proved.json()["standing"]),
            (StatusCode::OK, &json!("proved")),
            "{proved:?}"
        );
        let about = json!({ "policyStoreId": store }).to_string();
        assert_eq!(standing(&key.ask(bench, "GetPolicyStore", &about).await), "proved");
        assert_eq!(payments().await, StatusCode::OK, "nor where it is proved");
        // Whoever asks can't say so.
        let content = proved.json()["content"].clone();
        let unsafe_policy = write(bench, &key, &store, OPEN).await.json()["policyId"].clone();
        let gone = json!({ "policyStoreId": store, "policyId": unsafe_policy }).to_string();
        assert_eq!(standing(&key.ask(bench, "GetPolicy", &gone).await), "unproved");
        let why = |content: &Value| json!({ "reason": "month end", "content": content });
        let changed = step(bench, "moving-in", &store, "publish", why(&content)).await;
        assert_eq!(changed.status, StatusCode::CONFLICT, "{changed:?}");
        assert_eq!(payments().await, StatusCode::OK);
        key.ask(bench, "DeletePolicy", &gone).await;
        assert_eq!(standing(&key.ask(bench, "GetPolicyStore", &about).await), "proved", "as it was");
        let published = step(bench, "moving-in", &store, "publish", why(&content)).await;
        assert_eq!(
            (published.status, &published.json()["version"]),
            (StatusCode::OK, &json!(2)),
            "{published:?}"
        );
        assert_eq!(payments().await, StatusCode::FORBIDDEN, "from the very next request on");
        let audit =
            bench.api(Method::GET, "/v1/tenants/moving-in/audit", bearer(&bench.operator), "").await.json();
        assert!(audit.to_string().contains(&format!("month end (policy store {store})")), "{audit}");
    });
}

#[test]
fn what_is_not_safe_is_not_published_from_another_store_and_the_request_is_told() {
    with_bench(async |bench| {
        bench.tenant("unsafe").await;
        let key = Key::new(bench, KeyOwner::Tenant(id("unsafe"))).await;
        let store = copy(bench, &key, "unsafe").await;
        let (document, revision) = bench.workflow.stores.document(&id("unsafe")).await.unwrap();
        let boundary = &document.policies["own-tenant-only"];
        let listed =
            key.ask(bench, "ListPolicies", &json!({ "policyStoreId": store }).to_string()).await.json();
        for item in listed["policies"].as_array().unwrap() {
            let named = json!({ "policyStoreId": store, "policyId": item["policyId"] }).to_string();
            let shown = key.ask(bench, "GetPolicy", &named).await.json();
            if shown["definition"]["static"]["statement"] == boundary.as_str() {
                key.ask(bench, "DeletePolicy", &named).await;
            }
        }
        write(bench, &key, &store, OPEN).await;
        for (what, body) in [("prove", json!({})), ("publish", json!({ "reason": "open" }))] {
            let refused = step(bench, "unsafe", &store, what, body).await;
            let title = refused.json()["title"].as_str().unwrap().to_owned();
            assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY, "{title}");
            assert!(title.contains("allowed a resource of another"), "{title}");
            assert!(title.contains("principal  Ledger::"), "the request: {title}");
        }
        assert_eq!(bench.workflow.stores.document(&id("unsafe")).await.unwrap(), (document, revision));
    });
}

#[test]
fn where_a_review_is_required_another_store_becomes_a_proposal() {
    with_bench(async |bench| {
        bench.tenant_reviewed("reviewed-store").await;
        let viewer = bench.token("reviewed-store", "viewer").await;
        let payments = async || bench.get("reviewed-store", &viewer, "/payments").await.status;
        let key = Key::new(bench, KeyOwner::Tenant(id("reviewed-store"))).await;
        let store = copy(bench, &key, "reviewed-store").await;
        write(bench, &key, &store, FREEZE).await;
        let proposed =
            step(bench, "reviewed-store", &store, "publish", json!({ "reason": "month end" })).await;
        assert_eq!(
            (proposed.status, &proposed.json()["proposal"]),
            (StatusCode::ACCEPTED, &json!(1)),
            "{proposed:?}"
        );
        assert_eq!(payments().await, StatusCode::OK, "nobody has approved it");
        let path = "/v1/tenants/reviewed-store/proposals/1/publish";
        let early = bench.api(Method::POST, path, bearer(&bench.operator), "").await;
        assert_eq!(early.status, StatusCode::CONFLICT);
        assert_eq!(payments().await, StatusCode::OK);
    });
}

#[test]
fn x08_another_tenants_policy_store_answers_as_one_that_never_was() {
    with_bench(async |bench| {
        bench.tenant("store-own").await;
        bench.tenant("store-other").await;
        let key = Key::new(bench, KeyOwner::Tenant(id("store-own"))).await;
        let store = copy(bench, &key, "store-own").await;
        let never = "PS00000000000000000000000000000000";
        for (what, body) in [("prove", json!({})), ("publish", json!({ "reason": "mine now" }))] {
            let foreign = step(bench, "store-other", &store, what, body.clone()).await;
            let absent = step(bench, "store-other", never, what, body).await;
            assert_eq!(foreign.status, StatusCode::NOT_FOUND);
            assert_eq!((foreign.status, &foreign.body), (absent.status, &absent.body));
        }
        let other = Key::new(bench, KeyOwner::Tenant(id("store-other"))).await;
        let mut answers = Vec::new();
        for id in [store.as_str(), never] {
            let answer =
                other.ask(bench, "GetPolicyStore", &json!({ "policyStoreId": id }).to_string()).await;
            assert!(!answer.headers.contains_key(STANDING), "{answer:?}");
            answers.push(String::from_utf8_lossy(&answer.body).replace(id, "ID"));
        }
        assert_eq!(answers[0], answers[1]);
        // An operator's key sees what is known of it; the plane's own stores are nobody's to prove.
        let operator = Key::new(bench, KeyOwner::Operator(Subject::new("operator").unwrap())).await;
        let about = json!({ "policyStoreId": store }).to_string();
        assert_eq!(standing(&operator.ask(bench, "GetPolicyStore", &about).await), "unproved");
        let made = operator.ask(bench, "CreatePolicyStore", r#"{"validationSettings":{"mode":"OFF"}}"#).await;
        let planes = made.json()["policyStoreId"].as_str().unwrap().to_owned();
        let refused = step(bench, "store-own", &planes, "publish", json!({ "reason": "x" })).await;
        assert_eq!(refused.status, StatusCode::NOT_FOUND);
        let list = "/v1/tenants/store-other/policy-stores";
        let listed = bench.api(Method::GET, list, bearer(&bench.operator), "").await;
        assert!(listed.json()[0]["serving"] == json!(true) && !listed.json().to_string().contains(&store));
        let nobody = bench.api(Method::GET, list, HeaderMap::new(), "").await;
        assert_eq!(nobody.status, StatusCode::UNAUTHORIZED);
    });
}
