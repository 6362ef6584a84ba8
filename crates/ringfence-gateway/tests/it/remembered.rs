//! What is remembered of a decision, and for which questions it is good.

use std::sync::atomic::Ordering;

use http::StatusCode;

use crate::{
    application::{Application, echo},
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
