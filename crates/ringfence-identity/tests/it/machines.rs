//! Machine clients, token exchange, and who an access token's holder is.

use axum::body::Body;
use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use http::{Request, StatusCode, header};
use ringfence_context::{DatabaseToken, Reason};
use ringfence_identity::exchange;

use crate::bench::{Answer, Bench, bench, by, client, form, tenant};

const GRANT: (&str, &str) = ("grant_type", "client_credentials");

async fn userinfo(bench: &Bench, at: &str, token: &str) -> Answer {
    let request =
        Request::get(format!("/t/{at}/userinfo")).header(header::AUTHORIZATION, format!("Bearer {token}"));
    bench.send(request.body(Body::empty()).unwrap()).await
}

#[tokio::test]
async fn a_machine_signs_in_with_its_secret_in_either_place() {
    let bench = bench().await;
    let secret = bench.machine_secret.reveal();
    let posted = form(&[GRANT, ("client_id", "acme-job"), ("client_secret", secret)]);
    let basic = format!("Basic {}", BASE64.encode(format!("acme-job:{secret}")));
    for answer in [
        bench.post("/t/acme/token", &posted).await,
        bench.post_as("/t/acme/token", &form(&[GRANT]), Some(&basic)).await,
    ] {
        let token = answer.json()["access_token"].as_str().unwrap().to_owned();
        assert_eq!(answer.header(header::CACHE_CONTROL), "no-store");
        let context = bench.prove(&token, "acme").unwrap();
        assert!(context.is_machine());
        assert_eq!(context.roles()[0].as_str(), "clerk");
        assert_eq!(answer.json()["expires_in"], 300);
        assert!(answer.json()["id_token"].is_null());
    }
}

#[tokio::test]
async fn x16_a_client_of_acme_is_nobody_at_globex_and_a_wrong_secret_is_as_no_client() {
    let bench = bench().await;
    let secret = bench.machine_secret.reveal().clone();
    let mut bodies = Vec::new();
    for (at, id, secret) in [
        ("globex", "acme-job", secret.as_str()),
        ("acme", "acme-job", "wrong"),
        ("acme", "acme-job", ""),
        ("acme", "nobody", "wrong"),
        ("acme", "globex-job", secret.as_str()),
        ("acme", "web", "wrong"),
    ] {
        let answer = bench
            .post(&format!("/t/{at}/token"), &form(&[GRANT, ("client_id", id), ("client_secret", secret)]))
            .await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{at} {id}");
        assert_eq!(answer.json()["error"], "invalid_client");
        assert!(answer.header(header::WWW_AUTHENTICATE).starts_with("Basic"));
        bodies.push(answer.body_without_names());
    }
    bodies.dedup();
    assert_eq!(bodies.len(), 1, "{bodies:?}");
    let both = format!("Basic {}", BASE64.encode(format!("acme-job:{secret}")));
    let body = form(&[GRANT, ("client_id", "acme-job"), ("client_secret", &secret)]);
    assert_eq!(bench.post_as("/t/acme/token", &body, Some(&both)).await.json()["error"], "invalid_request");
    bench.pools.client_disable(&tenant("acme"), &client("acme-job"), &by()).await.unwrap();
    assert_eq!(bench.post("/t/acme/token", &body).await.json()["error"], "invalid_client");
}

#[tokio::test]
async fn a_client_cannot_be_named_as_a_user_is() {
    let bench = bench().await;
    let id = client(bench.alice.as_str());
    assert!(
        bench.pools.client_create_machine(&tenant("acme"), &id, "Impostor", vec![], &by()).await.is_err()
    );
    let uris = vec!["https://app.example/cb".to_owned()];
    assert!(bench.pools.client_create_public(&tenant("acme"), &id, "Impostor", uris, &by()).await.is_err());
}

#[tokio::test]
async fn x16_userinfo_answers_a_token_of_its_own_tenant_only() {
    let bench = bench().await;
    let token = bench.access_token().await;
    let own = userinfo(&bench, "acme", &token).await.json();
    assert_eq!(
        (own["sub"].as_str(), own["preferred_username"].as_str()),
        (Some(bench.alice.as_str()), Some("alice"))
    );
    let foreign = userinfo(&bench, "globex", &token).await;
    assert_eq!(foreign.status, StatusCode::UNAUTHORIZED);
    assert_eq!(foreign.json()["type"], "tenant_mismatch");
    assert!(foreign.header(header::WWW_AUTHENTICATE).contains("invalid_token"));
    assert_eq!(bench.get("/t/acme/userinfo").await.header(header::WWW_AUTHENTICATE), "Bearer");
    let twice = Request::get("/t/acme/userinfo")
        .header(header::AUTHORIZATION, format!("Bearer {token}"))
        .header(header::AUTHORIZATION, "Bearer other");
    assert_eq!(bench.send(twice.body(Body::empty()).unwrap()).await.status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn x16_token_exchange_gives_a_database_token_for_a_live_token_of_this_tenant_only() {
    let bench = bench().await;
    let token = bench.access_token().await;
    let exchange = |at: &'static str, changes: Vec<(&'static str, String)>| {
        let mut fields = vec![
            ("grant_type", exchange::GRANT.to_owned()),
            ("subject_token", token.clone()),
            ("subject_token_type", exchange::ACCESS_TOKEN.to_owned()),
            ("requested_token_type", exchange::DATABASE_TOKEN.to_owned()),
        ];
        for change in changes {
            fields.retain(|(name, _)| *name != change.0);
            fields.push(change);
        }
        let fields: Vec<_> = fields.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let body = form(&fields);
        let bench = &bench;
        async move { bench.post(&format!("/t/{at}/token"), &body).await }
    };
    let answer = exchange("acme", vec![]).await;
    assert_eq!(answer.json()["issued_token_type"], exchange::DATABASE_TOKEN, "{}", answer.body);
    assert_eq!(answer.json()["token_type"], "N_A");
    let given = DatabaseToken::new(answer.json()["access_token"].as_str().unwrap()).unwrap();
    assert_eq!((given.access.reveal(), given.txn.reveal()), (token.as_str(), "acme.for.txn"));
    let id_token =
        bench.redeem("acme", &bench.code().await, &[]).await.json()["id_token"].as_str().unwrap().to_owned();
    for (at, change, error) in [
        ("globex", ("subject_token", token.clone()), "invalid_grant"),
        ("acme", ("subject_token", "a.b.c".to_owned()), "invalid_grant"),
        ("acme", ("subject_token", id_token), "invalid_grant"),
        ("acme", ("client_id", "other".to_owned()), "invalid_grant"),
        (
            "acme",
            ("subject_token_type", "urn:ietf:params:oauth:token-type:id_token".to_owned()),
            "invalid_request",
        ),
        ("acme", ("requested_token_type", exchange::ACCESS_TOKEN.to_owned()), "invalid_request"),
        ("acme", ("actor_token", token.clone()), "invalid_request"),
    ] {
        let answer = exchange(at, vec![change.clone()]).await;
        assert_eq!(answer.json()["error"], error, "{at} {change:?}");
    }
    bench.pools.user_disable(&tenant("acme"), &bench.alice, &by()).await.unwrap();
    bench.settle().await;
    assert_eq!(exchange("acme", vec![]).await.json()["error"], "invalid_grant");
    assert_eq!(bench.prove(&token, "acme").unwrap_err(), Reason::TokenRevoked);
}

#[tokio::test]
async fn x16_a_credential_is_exchanged_for_what_a_database_token_is_and_else_one_thing_is_said() {
    let bench = bench().await;
    let token = bench.access_token().await;
    let exchange = async |at: &str, token: &str| {
        let fields = [
            ("grant_type", exchange::GRANT),
            ("subject_token", token),
            ("subject_token_type", exchange::ACCESS_TOKEN),
            ("requested_token_type", exchange::DATABASE_CREDENTIAL),
        ];
        bench.post(&format!("/t/{at}/token"), &form(&fields)).await
    };
    let answer = exchange("acme", &token).await;
    assert_eq!(answer.header(header::CACHE_CONTROL), "no-store");
    let given = answer.json();
    assert_eq!(given["issued_token_type"], exchange::DATABASE_CREDENTIAL, "{given}");
    assert_eq!((given["token_type"].as_str(), given["expires_in"].as_u64()), (Some("N_A"), Some(60)));
    let shown = DatabaseToken::new(given["access_token"].as_str().unwrap()).unwrap();
    assert_eq!((shown.access.reveal(), shown.txn.reveal()), (token.as_str(), "acme.for.txn"));
    let database = serde_json::json!({
        "host": "db.example", "port": 5432, "dbname": "app_1", "user": "vended_1", "sslmode": "verify-full",
    });
    assert_eq!(given["database"], database);
    assert_eq!(exchange("globex", &token).await.json()["error"], "invalid_grant");
    let machine = [GRANT, ("client_id", "acme-job"), ("client_secret", bench.machine_secret.reveal())];
    let machine = bench.post("/t/acme/token", &form(&machine)).await.json();
    let none = exchange("acme", machine["access_token"].as_str().unwrap()).await;
    assert_eq!(
        (none.status, none.json()["error"].as_str()),
        (StatusCode::BAD_REQUEST, Some("invalid_target"))
    );
}
