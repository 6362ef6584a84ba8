//! The directory: follows the state, refuses what is gone, and fails closed.

use std::sync::Arc;

use http::StatusCode;
use ringfence_context::{Clock, Issuers, Reason};
use ringfence_identity::{Directory, pool::POOL};
use ringfence_store::{Change, Expect, RecordKey, Scope, Store};

use crate::bench::{PASSWORD, bench, form, tenant};

#[tokio::test]
async fn cv07_a_suspended_tenants_tokens_die_at_once_and_live_again() {
    let bench = bench().await;
    let token = bench.access_token().await;
    bench.pools.pool_suspend(&tenant("acme")).await.unwrap();
    bench.settle().await;
    assert_eq!(bench.prove(&token, "acme").unwrap_err(), Reason::TenantInactive);
    assert_eq!(bench.directory.tenant_of_host("acme.gateway.test").unwrap_err().reason, Reason::NotServed);
    bench.pools.pool_resume(&tenant("acme")).await.unwrap();
    bench.settle().await;
    assert!(bench.prove(&token, "acme").is_ok());
}

#[tokio::test]
async fn cv30_an_off_boarded_tenants_tokens_are_refused() {
    let bench = bench().await;
    let token = bench.access_token().await;
    bench.records.tenant_shred(&tenant("acme")).await.unwrap();
    bench.settle().await;
    assert_eq!(bench.prove(&token, "acme").unwrap_err(), Reason::TokenInvalid);
    assert_eq!(bench.get("/t/acme/jwks").await.status, StatusCode::NOT_FOUND);
    bench.pools.pool_delete(&tenant("acme")).await.unwrap();
    assert_eq!(bench.pools.pool_list(None, 10).await.unwrap(), [tenant("globex")]);
    assert!(bench.directory.pool(&tenant("globex")).is_ok());
}

#[tokio::test]
async fn a_rotated_key_is_believed_until_its_tokens_have_expired() {
    let bench = bench().await;
    let token = bench.access_token().await;
    bench.pools.key_rotate(&tenant("acme"), bench.clock.now()).await.unwrap();
    bench.settle().await;
    assert!(bench.prove(&token, "acme").is_ok());
    let kids = |bench: &crate::bench::Bench| bench.directory.pool(&tenant("acme")).unwrap().keys.len();
    assert_eq!(kids(&bench), 2);
    assert!(bench.prove(&bench.access_token().await, "acme").is_ok());
    bench.pass(3601).await;
    assert_eq!(kids(&bench), 1);
    assert!(bench.prove(&bench.access_token().await, "acme").is_ok());
}

#[tokio::test]
async fn a_tenants_revision_changes_with_its_own_keys_and_with_nobody_elses() {
    let bench = bench().await;
    let revisions = || {
        let issuers: &dyn Issuers = &*bench.directory;
        ["acme", "globex", "initech"].map(|name| issuers.revision(&tenant(name)))
    };
    let [acme, globex, nobody] = revisions();
    assert_ne!(acme, globex);
    bench.records.tenant_add(&tenant("initech")).await.unwrap();
    bench.pools.pool_create(&tenant("initech"), "Initech").await.unwrap();
    bench.settle().await;
    assert_eq!(revisions()[..2], [acme, globex], "another tenant's coming concerns nobody");
    assert_ne!(revisions()[2], nobody);
    bench.pools.key_rotate(&tenant("globex"), bench.clock.now()).await.unwrap();
    bench.settle().await;
    let rotated = revisions()[1];
    assert!(rotated > globex && revisions()[0] == acme);
    // The replaced key comes to its end by time alone: nothing in the state changes, and yet it is believed no more.
    bench.pass(3601).await;
    assert!(revisions()[1] > rotated && revisions()[0] == acme);
}

#[tokio::test]
async fn the_store_down_means_no_token_then_nothing_then_all_again() {
    let bench = bench().await;
    let (token, code) = (bench.access_token().await, bench.code().await);
    let ticket = bench.ask("acme", &[]).await.ticket();
    let before = bench.directory.revision();
    bench.store.set_down(true);
    let answer = bench.redeem("acme", &code, &[]).await;
    assert_eq!(
        (answer.status, answer.json()["error"].as_str()),
        (StatusCode::SERVICE_UNAVAILABLE, Some("temporarily_unavailable"))
    );
    let fields = [("ticket", ticket.as_str()), ("username", "alice"), ("password", PASSWORD)];
    assert_eq!(bench.post("/t/acme/sign-in", &form(&fields)).await.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(bench.ask("acme", &[]).await.status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(bench.prove(&token, "acme").is_ok(), "verification goes on from memory for a while");
    bench.pass_silently(6);
    assert_eq!(bench.prove(&token, "acme").unwrap_err(), Reason::DependencyUnavailable);
    assert_eq!(
        bench.directory.issuer("http://gateway.test:8080/t/acme").unwrap_err().reason,
        Reason::DependencyUnavailable
    );
    assert_eq!(
        bench.directory.tenant_of_host("acme.gateway.test").unwrap_err().reason,
        Reason::DependencyUnavailable
    );
    assert_eq!(bench.get("/t/acme/jwks").await.status, StatusCode::SERVICE_UNAVAILABLE);
    bench.store.set_down(false);
    bench.pass(0).await;
    assert!(bench.directory.revision() > before);
    assert!(bench.prove(&token, "acme").is_ok());
    assert_eq!(bench.redeem("acme", &code, &[]).await.status, StatusCode::OK);
}

#[tokio::test]
async fn x16_a_pool_that_does_not_authenticate_is_refused_alone() {
    let bench = bench().await;
    let token = bench.access_token().await;
    let at = |name: &str| RecordKey::new(Scope::from(&tenant(name)), POOL, "pool");
    let of_globex = bench.store.get(&at("globex")).await.unwrap().unwrap().value;
    let change = Change { key: at("acme"), expect: Expect::Any, value: Some(of_globex) };
    bench.store.commit(vec![change]).await.unwrap();
    bench.settle().await;
    assert_eq!(bench.prove(&token, "acme").unwrap_err(), Reason::DependencyUnavailable);
    assert!(bench.directory.pool(&tenant("globex")).is_ok());
}

#[tokio::test]
async fn a_directory_opened_later_knows_the_same() {
    let bench = bench().await;
    let token = bench.access_token().await;
    let code = bench.code().await;
    bench.redeem("acme", &code, &[]).await;
    bench.redeem("acme", &code, &[]).await;
    let later =
        Directory::open(bench.records.clone(), bench.directory.addresses().clone(), bench.clock.clone())
            .await
            .unwrap();
    assert_eq!(later.revision(), bench.store.revision().await.unwrap());
    let context = bench.prove(&token, "acme").unwrap();
    let issuers: Arc<dyn Issuers> = later;
    assert!(issuers.check_live(&context).is_ok());
    assert_eq!(issuers.issuer("http://gateway.test:8080/t/nobody").unwrap_err().reason, Reason::TokenInvalid);
}

#[tokio::test]
async fn hosts_name_a_tenant_or_nothing() {
    let bench = bench().await;
    for good in ["acme.gateway.test", "acme.gateway.test:8080", "ACME.Gateway.Test"] {
        assert_eq!(bench.directory.tenant_of_host(good).unwrap(), tenant("acme"), "{good}");
    }
    for bad in [
        "",
        "gateway.test",
        ".gateway.test",
        "acme",
        "acme.gateway.test.",
        "acmegateway.test",
        "x.acme.gateway.test",
        "acme.gateway.test.evil",
        "acme.gateway.test:",
        "acme.gateway.test:80:80",
        "acme.gateway.test:8o",
        "nobody.gateway.test",
        "acme@gateway.test",
        "acme.gateway.test/",
        "acme.gateway.test:80@evil",
        "127.0.0.1",
        "[::1]:80",
    ] {
        assert_eq!(bench.directory.tenant_of_host(bad).unwrap_err().reason, Reason::NotServed, "{bad}");
    }
}
