//! Authorization codes, and the tokens they give.

use http::StatusCode;
use ringfence_context::{RawToken, Reason, access::claimed_issuer};

use crate::bench::{bench, by, form, tenant};

#[tokio::test]
async fn a_code_presented_twice_ends_the_token_it_gave() {
    let bench = bench().await;
    let code = bench.code().await;
    let first = bench.redeem("acme", &code, &[]).await;
    let token = first.json()["access_token"].as_str().unwrap().to_owned();
    assert!(bench.prove(&token, "acme").is_ok());
    let again = bench.redeem("acme", &code, &[]).await;
    assert_eq!(
        (again.status, again.json()["error"].as_str()),
        (StatusCode::BAD_REQUEST, Some("invalid_grant"))
    );
    bench.settle().await;
    assert_eq!(bench.prove(&token, "acme").unwrap_err(), Reason::TokenRevoked);
}

#[tokio::test]
async fn a_code_is_spent_once_by_many_at_once() {
    let bench = bench().await;
    let code = bench.code().await;
    let redeem = || bench.redeem("acme", &code, &[]);
    let answers = tokio::join!(redeem(), redeem(), redeem(), redeem());
    let statuses = [answers.0.status, answers.1.status, answers.2.status, answers.3.status];
    assert_eq!(statuses.iter().filter(|status| **status == StatusCode::OK).count(), 1, "{statuses:?}");
    // Whoever won the race, one of them was not meant to have the code: nobody keeps a token.
    let won = [answers.0, answers.1, answers.2, answers.3]
        .into_iter()
        .find(|answer| answer.status == StatusCode::OK);
    let token = won.unwrap().json()["access_token"].as_str().unwrap().to_owned();
    bench.settle().await;
    assert_eq!(bench.prove(&token, "acme").unwrap_err(), Reason::TokenRevoked);
}

#[tokio::test]
async fn x16_a_code_is_bound_to_tenant_client_redirect_and_verifier() {
    let bench = bench().await;
    let code = bench.code().await;
    let other = "x".repeat(43);
    for (at, change, error) in [
        ("globex", ("client_id", "web"), "invalid_grant"),
        ("acme", ("client_id", "other"), "invalid_grant"),
        ("acme", ("client_id", "nobody"), "invalid_client"),
        ("acme", ("client_id", ""), "invalid_client"),
        ("acme", ("redirect_uri", "http://127.0.0.1/cb"), "invalid_grant"),
        ("acme", ("redirect_uri", ""), "invalid_request"),
        ("acme", ("code_verifier", other.as_str()), "invalid_grant"),
        ("acme", ("code_verifier", "short"), "invalid_grant"),
        ("acme", ("code_verifier", ""), "invalid_request"),
        ("acme", ("code", "guessed"), "invalid_grant"),
        ("acme", ("code", ""), "invalid_request"),
        ("acme", ("grant_type", "password"), "unsupported_grant_type"),
        ("acme", ("grant_type", "client_credentials"), "unauthorized_client"),
        ("acme", ("client_secret", "x"), "invalid_client"),
    ] {
        let answer = bench.redeem(at, &code, &[change]).await;
        assert_eq!(answer.json()["error"], error, "{at} {change:?}");
        assert!(answer.json()["reference"].as_str().is_some_and(|name| name.starts_with("r-")));
        assert!(!answer.body.contains("access_token"));
    }
    let good = bench.redeem("acme", &code, &[]).await;
    assert_eq!(good.status, StatusCode::OK, "none of the others used it up: {}", good.body);
}

#[tokio::test]
async fn a_code_lasts_a_minute() {
    let bench = bench().await;
    let (early, late) = (bench.code().await, bench.code().await);
    bench.pass(59).await;
    assert_eq!(bench.redeem("acme", &early, &[]).await.status, StatusCode::OK);
    bench.pass(1).await;
    assert_eq!(bench.redeem("acme", &late, &[]).await.json()["error"], "invalid_grant");
}

#[tokio::test]
async fn a_user_disabled_after_signing_in_gets_no_token() {
    let bench = bench().await;
    let token = bench.access_token().await;
    let code = bench.code().await;
    bench.pools.user_disable(&tenant("acme"), &bench.alice, &by()).await.unwrap();
    assert_eq!(bench.redeem("acme", &code, &[]).await.json()["error"], "invalid_grant");
    bench.settle().await;
    assert_eq!(bench.prove(&token, "acme").unwrap_err(), Reason::TokenRevoked);
}

#[tokio::test]
async fn cv05_an_id_token_is_not_an_access_token() {
    let bench = bench().await;
    let answer = bench.redeem("acme", &bench.code().await, &[]).await.json();
    let id_token = answer["id_token"].as_str().unwrap();
    assert_eq!(bench.prove(id_token, "acme").unwrap_err(), Reason::TokenMalformed);
    assert_eq!(claimed_issuer(&RawToken::new(id_token).unwrap()).unwrap_err().reason, Reason::TokenMalformed);
    let header = |token: &str| {
        let bytes = ringfence_context::key::base64url_decode(token.split('.').next().unwrap()).unwrap();
        String::from_utf8(bytes).unwrap()
    };
    assert!(header(id_token).contains("\"JWT\""));
    assert!(header(answer["access_token"].as_str().unwrap()).contains("\"at+jwt\""));
    let claims = String::from_utf8(
        ringfence_context::key::base64url_decode(id_token.split('.').nth(1).unwrap()).unwrap(),
    )
    .unwrap();
    assert!(!claims.contains("tenant_id") && !claims.contains("roles"), "{claims}");
}

#[tokio::test]
async fn cv02_a_client_cannot_choose_its_tenant_or_roles() {
    let bench = bench().await;
    let code = bench.code().await;
    let extra = [("tenant_id", "globex"), ("tenant", "globex"), ("roles", "admin"), ("scope", "admin")];
    let answer = bench.redeem("acme", &code, &extra).await;
    let token = answer.json()["access_token"].as_str().unwrap().to_owned();
    let context = bench.prove(&token, "acme").unwrap();
    assert_eq!(context.tenant().as_str(), "acme");
    assert_eq!(context.roles().iter().map(|role| role.as_str()).collect::<Vec<_>>(), ["clerk"]);
    assert_eq!(bench.prove(&token, "globex").unwrap_err(), Reason::TenantMismatch);
}

#[tokio::test]
async fn a_revoked_token_is_refused_at_once_and_only_by_its_own_client() {
    let bench = bench().await;
    let token = bench.access_token().await;
    let revoke = |client: &'static str, at: &'static str| {
        let body = form(&[("token", token.as_str()), ("client_id", client)]);
        let bench = &bench;
        async move { bench.post(&format!("/t/{at}/revoke"), &body).await }
    };
    assert_eq!(revoke("other", "acme").await.json()["error"], "invalid_grant");
    assert_eq!(revoke("nobody", "acme").await.status, StatusCode::UNAUTHORIZED);
    assert_eq!(
        revoke("web", "globex").await.status,
        StatusCode::OK,
        "says nothing of another tenant's token"
    );
    assert!(bench.prove(&token, "acme").is_ok());
    assert_eq!(revoke("web", "acme").await.status, StatusCode::OK);
    assert_eq!(bench.prove(&token, "acme").unwrap_err(), Reason::TokenRevoked);
    assert_eq!(revoke("web", "acme").await.status, StatusCode::OK, "twice is once");
}

#[tokio::test]
async fn cv32_every_decision_is_recorded_with_tenant_layer_and_reference() {
    let bench = bench().await;
    bench.sign_in("acme", "alice", "wrong password").await;
    let refused = bench.redeem("acme", "guessed", &[]).await.json();
    bench.access_token().await;
    bench.get("/t/nobody/jwks").await;
    let verdicts = bench.verdicts.0.lock().unwrap().clone();
    let told: Vec<_> = verdicts.iter().map(|verdict| verdict.split_once(' ').unwrap().1).collect();
    let expected = [
        "acme identity sign_in sign_in_failed",
        "acme identity token request_malformed",
        "acme identity sign_in allowed",
        "acme identity token allowed",
        "nobody routing address not_served",
    ];
    assert_eq!(told, expected);
    assert!(verdicts[1].starts_with(refused["reference"].as_str().unwrap()));
    assert!(!verdicts.concat().contains("wrong password"));
}
