//! What is remembered of a decision, and for which questions it is good.

use std::{collections::BTreeSet, sync::atomic::Ordering};

use http::StatusCode;
use ringfence_context::key::base64url_decode;

use crate::{
    application::{Application, echo, echo_verbatim},
    world::{World, get, read},
};

#[tokio::test]
async fn a_decision_about_one_of_many_is_remembered_only_where_it_holds_for_all() {
    let world = World::start(Application::start(echo).await.address).await;
    let mut http2 = world.http2().await;
    let token = world.token("acme", "u-1");
    let mut status =
        async |path: &str| read(http2.send_request(get("acme", path, &token)).await.unwrap()).await.0;
    for note in 0..3 {
        assert_eq!(status(&format!("/notes/{note}")).await, StatusCode::OK);
    }
    assert_eq!(world.asked.load(Ordering::SeqCst), 1, "no policy can tell one bare note from another");
    // Users are named by policies as those who ask, and here one is what is asked about.
    assert_eq!(status("/users/u-2").await, StatusCode::OK);
    assert_eq!(status("/users/owner").await, StatusCode::FORBIDDEN);
    assert_eq!(status("/users/u-1").await, StatusCode::OK, "oneself");
    assert_eq!(world.asked.load(Ordering::SeqCst), 4);
}

/// The value of a header as the application got it.
fn header<'a>(echoed: &'a str, name: &str) -> &'a str {
    echoed.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": ")).unwrap()
}

/// The second a token says it was signed in.
fn signed_at(token: &str) -> u64 {
    let claims = base64url_decode(token.split('.').nth(1).unwrap()).unwrap();
    serde_json::from_slice::<serde_json::Value>(&claims).unwrap()["iat"].as_u64().unwrap()
}

#[tokio::test]
async fn one_signature_a_second_serves_one_token_and_route_though_every_decision_is_asked_anew() {
    let world = World::start(Application::start(echo_verbatim).await.address).await;
    let mut http2 = world.http2().await;
    let askers = ["u-1", "u-2"].map(|user| world.token("acme", user));
    let (mut tokens, mut bindings) = (BTreeSet::new(), BTreeSet::new());
    for turn in 0..20 {
        for (asker, token) in askers.iter().enumerate() {
            let path = format!("/users/u-{turn}");
            let (status, echoed) = read(http2.send_request(get("acme", &path, token)).await.unwrap()).await;
            assert_eq!(status, StatusCode::OK);
            let txn = header(&echoed, "txn-token").to_owned();
            tokens.insert((asker, signed_at(&txn), txn));
            bindings.insert(header(&echoed, "txn-binding").to_owned());
        }
    }
    assert_eq!(world.asked.load(Ordering::SeqCst), 40);
    assert_eq!(bindings.len(), 40, "a signature is bound to each request anew");
    let seconds: BTreeSet<_> = tokens.iter().map(|(asker, second, _)| (asker, second)).collect();
    assert_eq!(tokens.len(), seconds.len(), "one signature for one asker and second");
}
