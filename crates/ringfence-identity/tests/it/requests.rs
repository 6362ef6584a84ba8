//! Requests that are not as they should be: redirect URIs, PKCE, parameters, hosts and paths.

use axum::body::Body;
use http::{Request, StatusCode, header};
use ringfence_context::limits;

use crate::bench::{Bench, CALLBACK, bench, form, tenant};

#[tokio::test]
async fn nothing_is_sent_to_an_address_that_is_not_registered() {
    let bench = bench().await;
    for uri in [
        "https://app.example/callback/",
        "https://app.example/callback?x=1",
        "https://app.example/callback#x",
        "https://app.example/callback/../evil",
        "https://app.example/callbackx",
        "https://app.example.evil/callback",
        "https://app.example@evil/callback",
        "https://evil@app.example/callback",
        "https://APP.example/callback",
        "https://app.example/%63allback",
        "https://app.example:443/callback",
        "http://app.example/callback",
        "//app.example/callback",
        "javascript:alert(1)",
        "http://127.0.0.1:80@evil/cb",
        "http://localhost:80/cb",
    ] {
        let answer = bench.ask("acme", &[("redirect_uri", uri)]).await;
        assert_eq!((answer.status, answer.header(header::LOCATION)), (StatusCode::BAD_REQUEST, ""), "{uri}");
        assert!(!answer.body.contains("evil"), "what was sent is not quoted");
    }
    for unknown in
        [("client_id", "nobody"), ("client_id", "acme-job"), ("client_id", ""), ("redirect_uri", "")]
    {
        let answer = bench.ask("acme", &[unknown]).await;
        assert_eq!(
            (answer.status, answer.header(header::LOCATION)),
            (StatusCode::BAD_REQUEST, ""),
            "{unknown:?}"
        );
    }
    let loopback = bench.ask("acme", &[("redirect_uri", "http://127.0.0.1:49152/cb")]).await;
    assert_eq!(loopback.status, StatusCode::OK);
}

#[tokio::test]
async fn pkce_with_s256_is_not_optional_and_errors_go_to_the_app() {
    let bench = bench().await;
    let plain = "x".repeat(43);
    for (change, error) in [
        ([("code_challenge_method", "plain"), ("code_challenge", plain.as_str())], "invalid_request"),
        ([("code_challenge_method", ""), ("state", "s-1")], "invalid_request"),
        ([("code_challenge", ""), ("state", "s-1")], "invalid_request"),
        ([("code_challenge", "short"), ("state", "s-1")], "invalid_request"),
        ([("code_challenge_method", "none"), ("state", "s-1")], "invalid_request"),
        ([("response_type", "token"), ("state", "s-1")], "unsupported_response_type"),
        ([("response_type", "code id_token"), ("state", "s-1")], "unsupported_response_type"),
        ([("response_mode", "fragment"), ("state", "s-1")], "invalid_request"),
        ([("prompt", "none"), ("state", "s-1")], "login_required"),
        ([("request", "e.y.J"), ("state", "s-1")], "request_not_supported"),
        ([("request_uri", "https://evil/"), ("state", "s-1")], "request_uri_not_supported"),
    ] {
        let answer = bench.ask("acme", &change).await;
        assert_eq!(answer.status, StatusCode::SEE_OTHER, "{change:?}");
        assert!(answer.header(header::LOCATION).starts_with(CALLBACK));
        assert_eq!(answer.sent("error").as_deref(), Some(error), "{change:?}");
        assert_eq!(answer.sent("state").as_deref(), Some("s-1"));
        assert_eq!(answer.sent("iss").as_deref(), Some("http://gateway.test:8080/t/acme"));
        assert_eq!(answer.sent("code"), None);
    }
}

#[tokio::test]
async fn duplicate_parameters_are_refused_everywhere() {
    let bench = bench().await;
    for extra in [
        "client_id=web",
        "redirect_uri=https%3A%2F%2Fevil%2F",
        "state=other",
        "%73tate=other",
        "scope=openid",
    ] {
        let answer = bench.get(&format!("/t/acme/authorize?{}&{extra}", Bench::asking(&[]))).await;
        assert_eq!(
            (answer.status, answer.header(header::LOCATION)),
            (StatusCode::BAD_REQUEST, ""),
            "{extra}"
        );
    }
    let code = bench.code().await;
    let fields = [("grant_type", "authorization_code"), ("client_id", "web"), ("code", &code)];
    let answer = bench.post("/t/acme/token", &format!("{}&client_id=web", form(&fields))).await;
    assert_eq!(answer.json()["error"], "invalid_request");
    let with_query = bench.post("/t/acme/token?client_id=web", &form(&fields)).await;
    assert_eq!(with_query.json()["error"], "invalid_request");
}

#[tokio::test]
async fn reject_form_bytes() {
    let bench = bench().await;
    let large = format!("grant_type=client_credentials&x={}", "x".repeat(limits::FORM_BYTES));
    for path in ["/t/acme/token", "/t/acme/revoke"] {
        let answer = bench.post(path, &large).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{path}");
        assert_eq!(answer.json()["error"], "invalid_request");
    }
    assert_eq!(bench.post("/t/acme/sign-in", &large).await.status, StatusCode::BAD_REQUEST);
    let json = Request::post("/t/acme/token").header(header::CONTENT_TYPE, "application/json");
    let answer = bench.send(json.body(Body::from("{}")).unwrap()).await;
    assert_eq!(answer.json()["error"], "invalid_request");
}

#[tokio::test]
async fn an_unknown_and_a_suspended_tenant_are_the_same_bytes() {
    let bench = bench().await;
    bench.pools.pool_suspend(&tenant("globex")).await.unwrap();
    bench.settle().await;
    let paths = |tenant: &str| {
        [
            format!("/t/{tenant}/.well-known/openid-configuration"),
            format!("/.well-known/oauth-authorization-server/t/{tenant}"),
            format!("/t/{tenant}/jwks"),
            format!("/t/{tenant}/authorize?{}", Bench::asking(&[])),
            format!("/t/{tenant}/userinfo"),
        ]
    };
    for (suspended, unknown) in paths("globex").iter().zip(paths("nobody")) {
        let (suspended, unknown) = (bench.get(suspended).await, bench.get(&unknown).await);
        assert_eq!(suspended.status, StatusCode::NOT_FOUND);
        assert_eq!(suspended.status, unknown.status);
        assert_eq!(suspended.body_without_names(), unknown.body_without_names());
        assert_eq!(suspended.headers, unknown.headers);
    }
    for path in ["token", "revoke", "sign-in"] {
        let suspended = bench.post(&format!("/t/globex/{path}"), "a=b").await;
        let unknown = bench.post(&format!("/t/nobody/{path}"), "a=b").await;
        assert_eq!((suspended.status, unknown.status), (StatusCode::NOT_FOUND, StatusCode::NOT_FOUND));
        assert_eq!(suspended.body_without_names(), unknown.body_without_names());
    }
    for odd in ["/t/%61cme/jwks", "/t/ACME/jwks", "/t/acme%2f/jwks", "/t/a/jwks", "/t/acme./jwks"] {
        assert_eq!(bench.get(odd).await.status, StatusCode::NOT_FOUND, "{odd}");
    }
}

#[tokio::test]
async fn a_host_header_changes_no_issuer() {
    let bench = bench().await;
    let plain = bench.get("/t/acme/.well-known/openid-configuration").await;
    for (name, value) in [
        ("host", "evil.example"),
        ("x-forwarded-host", "evil.example"),
        ("forwarded", "host=evil.example"),
        ("x-forwarded-proto", "gopher"),
        ("x-original-url", "/t/globex/.well-known/openid-configuration"),
    ] {
        let request = Request::get("/t/acme/.well-known/openid-configuration").header(name, value);
        let answer = bench.send(request.body(Body::empty()).unwrap()).await;
        assert_eq!(answer.body, plain.body, "{name}");
    }
    let document = plain.json();
    assert_eq!(document["issuer"], "http://gateway.test:8080/t/acme");
    assert_eq!(document["code_challenge_methods_supported"], serde_json::json!(["S256"]));
    let other = bench.get("/.well-known/oauth-authorization-server/t/acme").await;
    assert_eq!(other.body, plain.body);
}
