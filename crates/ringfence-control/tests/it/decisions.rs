//! Where decisions are made, how often, and on what.

use http::{Method, StatusCode};
use serde_json::json;

use crate::{
    bench::{Bench, by, id, with_bench},
    counting::Call,
};

const DENIED: (&str, &str) = ("authorization", "denied");

fn denied() -> (String, String) {
    (DENIED.0.to_owned(), DENIED.1.to_owned())
}

#[test]
fn cv14_what_is_denied_at_the_gateway_never_reaches_the_application() {
    with_bench(async |bench| {
        bench.tenant("cv14").await;
        let token = bench.token("cv14", "viewer").await;
        let account = json!({ "name": "x", "currency": "USD" }).to_string();
        for _ in 0..3 {
            let answer = bench.ask("cv14", &token, Method::POST, "/accounts", &account).await;
            assert_eq!((answer.status, answer.refusal()), (StatusCode::FORBIDDEN, denied()));
        }
        let unknown = bench.get("cv14", &token, "/unknown").await;
        assert_eq!(unknown.refusal().1, "route_unknown");
        assert_eq!(bench.counts.of("cv14", Call::Application), 0);
        assert_eq!(bench.get("cv14", &token, "/payments").await.status, StatusCode::OK);
        assert_eq!(bench.counts.of("cv14", Call::Application), 1, "the count counts");
    });
}

#[test]
fn a_large_question_waits_for_its_tenants_own_and_who_was_shut_out_meanwhile_is_not_answered() {
    with_bench(async |bench| {
        let mut tokens = Vec::new();
        for tenant in ["azen-large", "azen-small"] {
            bench.tenant(tenant).await;
            tokens.push(bench.token(tenant, "decisions").await);
        }
        let question = json!({
            "subject": { "type": "user", "id": "u-1" },
            "action": { "name": "ListPayments" },
            "resource": { "type": "Book", "id": "b" },
        });
        let small = question.to_string();
        let large = format!("{small}{}", " ".repeat(200_000));
        let ask = async |tenant: &str, token: &str, body: &str| {
            let headers = [
                ("authorization", format!("Bearer {token}")),
                ("content-type", "application/json".to_owned()),
            ];
            let headers =
                headers.into_iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()));
            bench
                .api(Method::POST, &format!("/t/{tenant}/access/v1/evaluation"), headers.collect(), body)
                .await
        };
        for last in [false, true] {
            let release = bench.hold_large("azen-large").await;
            let mut waiting = Box::pin(ask("azen-large", &tokens[0], &large));
            tokio::select! {
                biased;
                answer = &mut waiting => panic!("its own is not done yet: {answer:?}"),
                answer = ask("azen-large", &tokens[0], &small) => assert_eq!(answer.json()["decision"], false),
            }
            // Nobody waits in another tenant's line: neither its own people, nor who only names it.
            let other = ask("azen-small", &tokens[1], &large).await;
            assert_eq!(other.status, StatusCode::OK, "{other:?}");
            let foreign = ask("azen-large", &tokens[1], &large).await;
            assert_eq!(foreign.refusal().0, "token", "{foreign:?}");
            if last {
                bench.workflow.suspend(&id("azen-large")).await.unwrap();
            }
            release().await;
            let answer = waiting.await;
            match last {
                false => assert_eq!(answer.json()["decision"], false, "{answer:?}"),
                true => assert_eq!(answer.refusal().1, "tenant_inactive", "{answer:?}"),
            }
        }
    });
}

#[test]
fn cv15_a_remembered_decision_asks_no_hook_no_engine_and_no_issuer() {
    with_bench(async |bench| {
        bench.tenant("cv15").await;
        let token = bench.token("cv15", "viewer").await;
        let made = || {
            [Call::Hook, Call::Verification, Call::GatewayDecision].map(|call| bench.counts.of("cv15", call))
        };
        assert_eq!(bench.get("cv15", &token, "/payments").await.status, StatusCode::OK);
        let first = made();
        assert_eq!(first[1..], [1, 1], "one verification, one decision");
        for _ in 0..20 {
            assert_eq!(bench.get("cv15", &token, "/payments").await.status, StatusCode::OK);
        }
        assert_eq!(made(), first);
        // The key is token and route: another of either is decided anew.
        assert_eq!(bench.get("cv15", &token, "/accounts").await.status, StatusCode::OK);
        assert_eq!(made()[1..], [1, 2]);
        let other = bench.token("cv15", "clerk").await;
        assert_eq!(bench.get("cv15", &other, "/accounts").await.status, StatusCode::OK);
        assert_eq!(made()[1..], [2, 3]);
    });
}

#[test]
fn cv18_a_machines_token_serves_many_requests_and_says_how_long() {
    with_bench(async |bench| {
        bench.tenant("cv18").await;
        let token = bench.token("cv18", "service").await;
        for _ in 0..20 {
            assert_eq!(bench.get("cv18", &token, "/payments").await.status, StatusCode::OK);
        }
        assert_eq!(bench.counts.of("cv18", Call::Verification), 1);
        let client = ringfence_context::id::ClientId::new("another").unwrap();
        let (pools, tenant) = (&bench.workflow.pools, id("cv18"));
        let secret = pools.client_create_machine(&tenant, &client, "x", vec![], &by()).await.unwrap();
        let granted = bench.grant("cv18", "another", secret.reveal()).await;
        assert!(granted.json()["expires_in"].as_u64().unwrap() >= 60, "worth keeping: {granted:?}");
        assert!(
            granted.headers["cache-control"].to_str().unwrap().contains("no-store"),
            "by the client alone"
        );
    });
}

/// An account and a beneficiary; gives the body of a payment of this amount.
async fn payment(bench: &Bench, tenant: &str, token: &str, amount: i64) -> String {
    let account = bench.book(tenant, token, "/accounts", json!({ "name": "x", "currency": "USD" })).await;
    let to = json!({ "name": "y", "country": "DE", "iban": "DE00" });
    let to = bench.book(tenant, token, "/beneficiaries", to).await;
    json!({ "account_id": account, "beneficiary_id": to, "amount": amount, "currency": "USD" }).to_string()
}

#[test]
fn cv19_role_and_amount_of_the_request_reach_the_policies() {
    with_bench(async |bench| {
        bench.tenant("cv19").await;
        let (clerk, approver) = (bench.token("cv19", "clerk").await, bench.token("cv19", "approver").await);
        let small = payment(bench, "cv19", &clerk, 1_000_000).await;
        let large = payment(bench, "cv19", &clerk, 1_000_001).await;
        let pay =
            async |token: &str, body: &str| bench.ask("cv19", token, Method::POST, "/payments", body).await;
        assert_eq!(pay(&clerk, &small).await.status, StatusCode::CREATED);
        let before = bench.counts.of("cv19", Call::Application);
        let refused = pay(&clerk, &large).await;
        assert_eq!(refused.refusal(), denied());
        assert_eq!(bench.counts.of("cv19", Call::Application), before, "the gateway itself knew the amount");
        let verdicts = bench.log.find(&refused.reference()).unwrap();
        assert_eq!(verdicts[0].policies[..], ["large-payments-need-an-approver"]);
        assert_eq!(pay(&approver, &large).await.status, StatusCode::CREATED);
    });
}

#[test]
fn cv20_the_application_asks_again_on_every_request() {
    with_bench(async |bench| {
        bench.tenant("cv20").await;
        let token = bench.token("cv20", "clerk").await;
        let asked = || bench.counts.of("cv20", Call::BackendDecision);
        for number in 1..=5 {
            assert_eq!(bench.get("cv20", &token, "/payments").await.status, StatusCode::OK);
            assert_eq!(asked(), number, "though the gateway remembers its own");
        }
        assert_eq!(bench.counts.of("cv20", Call::GatewayDecision), 1);
        // What only the row tells is decided there: who entered a payment may not refund it.
        let approver = bench.token("cv20", "approver").await;
        let body = payment(bench, "cv20", &approver, 5).await;
        let booked = bench.ask("cv20", &approver, Method::POST, "/payments", &body).await.json();
        let path = format!("/payments/{}/refund", booked["id"].as_str().unwrap());
        let (before, arrived) = (asked(), bench.counts.of("cv20", Call::Application));
        let refused = bench.ask("cv20", &approver, Method::POST, &path, "").await;
        assert_eq!(refused.refusal(), denied());
        assert_eq!(asked() - before, 2, "before and after the row is loaded");
        assert_eq!(bench.counts.of("cv20", Call::Application), arrived + 1);
    });
}
