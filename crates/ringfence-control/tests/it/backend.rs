//! Around the gateway: what reaches the application's own port, and statements of the tenant that disagree.

use std::slice::from_ref;

use http::{HeaderMap, HeaderValue, Method, StatusCode};
use ringfence_context::{Layer, Reason, Reference, limits};
use serde_json::{Value, json};

use crate::{
    bench::{Bench, bearer, with_bench},
    counting::Call,
};

/// Two tenants; for each the headers of a request that the application was sent by the gateway.
async fn sent(bench: &Bench, one: &str, other: &str) -> (HeaderMap, HeaderMap) {
    let mut heads = Vec::new();
    for tenant in [one, other] {
        bench.tenant(tenant).await;
        let token = bench.token(tenant, "admin").await;
        assert_eq!(bench.get(tenant, &token, "/payments").await.status, StatusCode::OK);
        heads.push(bench.counts.head(tenant));
    }
    let other = heads.pop().unwrap();
    (heads.pop().unwrap(), other)
}

fn with(headers: &HeaderMap, name: &'static str, value: &HeaderValue) -> HeaderMap {
    let mut headers = headers.clone();
    headers.insert(name, value.clone());
    headers
}

#[test]
fn cv21_a_direct_call_with_invented_or_copied_headers_is_denied() {
    with_bench(async |bench| {
        let (own, _) = sent(bench, "cv21", "cv21-other").await;
        let token = own["authorization"].to_str().unwrap().trim_start_matches("Bearer ").to_owned();
        let mut believed = bearer(&token);
        believed.insert("x-tenant-id", "cv21".parse().unwrap());
        let mut invented = believed.clone();
        for name in ["txn-token", "txn-binding", "ringfence-reference"] {
            invented.insert(name, "invented".parse().unwrap());
        }
        let mut doubled = own.clone();
        doubled.append("x-tenant-id", "cv21-other".parse().unwrap());
        for (what, headers, method, path) in [
            ("nothing", HeaderMap::new(), Method::GET, "/payments"),
            ("a token", bearer(&token), Method::GET, "/payments"),
            ("a tenant header", believed, Method::GET, "/payments"),
            ("invented", invented, Method::GET, "/payments"),
            ("copied, for another path", own.clone(), Method::GET, "/accounts"),
            ("copied, with a query", own.clone(), Method::GET, "/payments?all=1"),
            ("copied, for another method", own.clone(), Method::POST, "/payments"),
            ("a header twice", doubled, Method::GET, "/payments"),
            ("an exact copy", own.clone(), Method::GET, "/payments"),
        ] {
            let answer = bench.send(&bench.backend, method, path, headers, "").await;
            assert_eq!(answer.refusal().0, "backend", "{what}");
            assert!([401, 403].contains(&answer.status.as_u16()), "{what}: {answer:?}");
        }
    });
}

#[test]
fn cv22_statements_that_disagree_are_refused_at_the_backend() {
    with_bench(async |bench| {
        let (own, other) = sent(bench, "cv22", "cv22-other").await;
        let asked = bench.counts.of("cv22", Call::BackendDecision);
        let mut refused = 0;
        for name in ["x-tenant-id", "txn-token", "authorization", "txn-binding", "ringfence-reference"] {
            let headers = with(&own, name, &other[name]);
            let answer = bench.send(&bench.backend, Method::GET, "/payments", headers.clone(), "").await;
            assert_eq!(answer.refusal().0, "backend", "{name}: {answer:?}");
            refused = if name == "ringfence-reference" { 1 } else { refused + 1 };
            let reference = Reference::new(headers["ringfence-reference"].to_str().unwrap()).unwrap();
            let verdicts = bench.told_by_backend(&reference, refused).await;
            // A backend's word, of no tenant: only operators see it.
            assert!(verdicts.iter().all(|verdict| verdict.tenant.is_none()), "{name}: {verdicts:?}");
            assert_eq!(verdicts[refused - 1].refused.unwrap().0, Layer::Backend, "{name}");
        }
        assert_eq!(bench.counts.of("cv22", Call::BackendDecision), asked, "nothing further was asked");
    });
}

/// A refusal as a backend tells it.
fn refused(reference: &str, detail: &str) -> Value {
    json!({ "reference": reference, "layer": "backend", "reason": "txn_token_invalid", "detail": detail })
}

/// What the plane answers to who tells it these refusals and shows this.
async fn tell(bench: &Bench, shown: &str, refusals: &[Value]) -> StatusCode {
    let mut headers = bearer(shown);
    headers.insert("content-type", "application/json".parse().unwrap());
    let batch = json!({ "lost": 0, "refusals": refusals }).to_string();
    bench.api(Method::POST, "/v1/refusals", headers, &batch).await.status
}

#[test]
fn reject_refusals_told() {
    with_bench(async |bench| {
        let told =
            async |count| tell(bench, &bench.reporter, &vec![refused("told-many", "many"); count]).await;
        assert_eq!(told(limits::REFUSALS_TOLD).await, StatusCode::NO_CONTENT);
        assert_eq!(told(limits::REFUSALS_TOLD + 1).await, StatusCode::UNPROCESSABLE_ENTITY);
        let reference = Reference::new("told-many").unwrap();
        assert_eq!(
            bench.told_by_backend(&reference, limits::REFUSALS_TOLD).await.len(),
            limits::REFUSALS_TOLD
        );
    });
}

#[test]
fn reject_refusal_detail_bytes() {
    with_bench(async |bench| {
        let told = async |len| tell(bench, &bench.reporter, &[refused("told-long", &"x".repeat(len))]).await;
        assert_eq!(told(limits::REFUSAL_DETAIL_BYTES).await, StatusCode::NO_CONTENT);
        assert_eq!(told(limits::REFUSAL_DETAIL_BYTES + 1).await, StatusCode::UNPROCESSABLE_ENTITY);
    });
}

#[test]
fn only_a_backend_tells_what_it_refused() {
    with_bench(async |bench| {
        bench.tenant("told").await;
        let token = bench.token("told", "admin").await;
        let one = refused("told-1", "as told");
        for shown in ["", "rfb_", "rfb_AAAA", "rfo_AAAA", &token, &bench.reporter.replace("rfb_", "")] {
            assert_eq!(tell(bench, shown, from_ref(&one)).await, StatusCode::UNAUTHORIZED, "{shown}");
        }
        let told = &bench.reporter;
        assert_eq!(tell(bench, told, from_ref(&one)).await, StatusCode::NO_CONTENT);
        let reference = Reference::new("told-1").unwrap();
        assert_eq!(bench.told_by_backend(&reference, 1).await[0].detail, "as told");
        let mut claiming = one.clone();
        claiming["tenant"] = "told".into();
        assert_eq!(tell(bench, told, &[claiming]).await, StatusCode::UNPROCESSABLE_ENTITY);
    });
}

#[test]
fn cv22_a_mismatch_at_the_decision_api_is_refused_and_on_record() {
    with_bench(async |bench| {
        let (own, other) = sent(bench, "cv22-api", "cv22-api-other").await;
        let question = json!({
            "subject": { "type": "client", "id": "admin-job" },
            "action": { "name": "ListPayments" },
            "resource": { "type": "Book", "id": "cv22-api", "properties": { "tenant": "cv22-api" } },
        })
        .to_string();
        let strip = |headers: &HeaderMap| {
            let mut kept = HeaderMap::new();
            for name in ["authorization", "txn-token", "ringfence-reference"] {
                kept.insert(name, headers[name].clone());
            }
            kept.insert("content-type", "application/json".parse().unwrap());
            kept
        };
        let whole = strip(&own);
        let ask = async |tenant: &str, headers: HeaderMap| {
            let path = format!("/t/{tenant}/access/v1/evaluation");
            bench.api(Method::POST, &path, headers, &question).await
        };
        assert_eq!(ask("cv22-api", whole.clone()).await.json()["decision"], true);
        for (what, at, headers) in [
            ("another tenant's address", "cv22-api-other", whole.clone()),
            ("another tenant's Txn-Token", "cv22-api", with(&whole, "txn-token", &other["txn-token"])),
            (
                "another tenant's access token",
                "cv22-api",
                with(&whole, "authorization", &other["authorization"]),
            ),
        ] {
            let reference = Reference::new(&format!("r-{}", what.len())).unwrap();
            let named = with(&headers, "ringfence-reference", &reference.as_str().parse().unwrap());
            let answer = ask(at, named).await;
            assert!([401, 403].contains(&answer.status.as_u16()), "{what}: {answer:?}");
            let verdicts = bench.log.find(&reference).unwrap();
            let refused = verdicts.last().and_then(|verdict| verdict.refused);
            assert!(
                matches!(
                    refused,
                    Some((
                        Layer::Token | Layer::Authorization | Layer::Backend,
                        Reason::TenantMismatch | Reason::SourcesDisagree
                    ))
                ),
                "{what}: {refused:?}"
            );
        }
    });
}
