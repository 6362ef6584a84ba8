//! Tiers whose tenants share a policy store, and tiers whose own are used up; moves while the tenant is served.

use http::{HeaderValue, Method, StatusCode, header};
use ringfence_authorization::{Mode, shared::MoveState};
use serde_json::{Value, json};

use crate::bench::{Answer, Bench, bearer, id, with_bench};

const FREEZE: &str = "forbid (principal, action == Ledger::Action::\"ListPayments\", resource);";

async fn call(bench: &Bench, method: Method, path: &str, body: Value) -> Answer {
    let mut headers = bearer(&bench.operator);
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    bench.api(method, path, headers, &body.to_string()).await
}

async fn made(bench: &Bench, tenant: &str, tier: &str) -> Value {
    let made = call(bench, Method::POST, "/v1/tenants", json!({ "id": tenant, "tier": tier })).await;
    assert_eq!(made.status, StatusCode::CREATED, "{made:?}");
    made.json()
}

async fn used(bench: &Bench, tier: &str) -> (u64, u64, bool) {
    let status = call(bench, Method::GET, "/v1/status", json!({})).await.json();
    let of = |name: &str| status["stores"][tier][name].clone();
    (of("own").as_u64().unwrap(), of("shared").as_u64().unwrap(), of("exhausted").as_bool().unwrap())
}

#[test]
fn x08_a_tier_with_a_shared_store_serves_its_tenants_through_the_whole_chain() {
    with_bench(async |bench| {
        for tenant in ["pooled-a", "pooled-b"] {
            assert_eq!(made(bench, tenant, "pooled").await["policy_store"], "shared");
        }
        let (a, b) = (bench.token("pooled-a", "viewer").await, bench.token("pooled-b", "viewer").await);
        let get = async |tenant: &str, token: &str| bench.get(tenant, token, "/payments").await.status;
        assert_eq!(get("pooled-a", &a).await, StatusCode::OK);
        assert!(get("pooled-b", &a).await.is_client_error(), "another's token");
        bench.policy_put("pooled-a", "freeze", FREEZE).await.unwrap();
        assert_eq!(get("pooled-a", &a).await, StatusCode::FORBIDDEN);
        assert_eq!(get("pooled-b", &b).await, StatusCode::OK, "a change of one tenant's is its own");
        let other = "forbid (principal, action, resource) when { resource.tenant == \"pooled-b\" };";
        let refused = bench.policy_put("pooled-a", "other", other).await.unwrap_err();
        assert!(refused.contains("names the tenant \"pooled-b\""), "{refused}");
        bench.workflow.offboard(&id("pooled-a")).await.unwrap();
        assert_eq!(get("pooled-b", &b).await, StatusCode::OK);
        assert!(bench.workflow.stores.document(&id("pooled-a")).await.is_err());
    });
}

#[test]
fn x11_when_own_stores_are_used_up_new_tenants_go_to_the_shared_store_and_it_is_said() {
    with_bench(async |bench| {
        let before = used(bench, "few").await;
        assert_eq!(before, (0, 0, false));
        let first = made(bench, "few-a", "few").await;
        assert_eq!((&first["policy_store"], first.get("alert")), (&json!("own"), None));
        assert_eq!(used(bench, "few").await, (1, 0, true), "the limit is one");
        let second = made(bench, "few-b", "few").await;
        assert_eq!(second["policy_store"], "shared");
        assert!(second["alert"].as_str().unwrap().contains("used up"), "{second}");
        assert_eq!(used(bench, "few").await, (1, 1, true));
        let listed = call(bench, Method::GET, "/v1/tenants", json!({})).await.json();
        let of = |id: &str| {
            let found = listed.as_array().unwrap().iter().find(|tenant| tenant["id"] == id).unwrap();
            found["policy_store"].clone()
        };
        assert_eq!((of("few-a"), of("few-b")), (json!("own"), json!("shared")));
        let token = bench.token("few-b", "viewer").await;
        assert_eq!(bench.get("few-b", &token, "/payments").await.status, StatusCode::OK);
        let to_own = json!({ "to": "own" });
        let refused = call(bench, Method::POST, "/v1/tenants/few-b/store-move", to_own).await;
        assert_eq!(refused.status, StatusCode::CONFLICT, "{refused:?}");
        // One that goes makes room for one that comes.
        bench.workflow.offboard(&id("few-a")).await.unwrap();
        assert_eq!(used(bench, "few").await, (0, 1, false));
        assert_eq!(made(bench, "few-c", "few").await["policy_store"], "own");
    });
}

#[test]
fn x10_a_tenant_moves_to_the_shared_store_and_back_while_it_is_served() {
    with_bench(async |bench| {
        bench.tenant("moved").await;
        let token = bench.token("moved", "viewer").await;
        for (to, mode) in [("shared", Mode::Shared), ("own", Mode::Own)] {
            let new = json!({ "to": to, "questions": 5, "seconds": 60 });
            let begun = call(bench, Method::POST, "/v1/tenants/moved/store-move", new).await;
            assert_eq!((begun.status, &begun.json()["state"]), (StatusCode::ACCEPTED, &json!("comparing")));
            // Questions until it has been compared enough; the gateway remembers, and the application asks again each time.
            let ended = loop {
                assert_eq!(bench.get("moved", &token, "/payments").await.status, StatusCode::OK);
                let found = bench.workflow.stores.move_get(&id("moved")).await.unwrap().unwrap();
                if found.state != MoveState::Comparing {
                    break found;
                }
            };
            assert_eq!((&ended.state, ended.different), (&MoveState::Done, 0));
            assert!(ended.asked >= 5);
            assert_eq!(bench.workflow.stores.held(&id("moved")).await.unwrap(), (mode, None));
            assert_eq!(bench.get("moved", &token, "/payments").await.status, StatusCode::OK);
        }
        let long = json!({ "to": "shared", "questions": 1_000_000, "seconds": 86_400 });
        let path = "/v1/tenants/moved/store-move";
        assert_eq!(call(bench, Method::POST, path, long.clone()).await.status, StatusCode::ACCEPTED);
        assert_eq!(call(bench, Method::POST, path, long).await.status, StatusCode::CONFLICT);
        let refused = bench.policy_put("moved", "freeze", FREEZE).await.unwrap_err();
        assert!(refused.contains("is being moved"), "{refused}");
        let stopped = call(bench, Method::DELETE, path, json!({})).await;
        assert!(stopped.json()["state"]["stopped"].as_str().is_some(), "{stopped:?}");
        assert_eq!(call(bench, Method::DELETE, path, json!({})).await.status, StatusCode::NOT_FOUND);
        bench.policy_put("moved", "freeze", FREEZE).await.unwrap();
        assert_eq!(bench.get("moved", &token, "/payments").await.status, StatusCode::FORBIDDEN);
    });
}
