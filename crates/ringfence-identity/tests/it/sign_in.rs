//! Who signs in where, and what a failed sign-in tells.

use http::{StatusCode, header};
use ringfence_context::limits;

use crate::bench::{PASSWORD, bench, by, form, tenant};

#[tokio::test]
async fn a_user_signs_in_to_its_own_pool() {
    let bench = bench().await;
    let answer = bench.sign_in("acme", "Alice", PASSWORD).await;
    assert_eq!(answer.status, StatusCode::SEE_OTHER, "{}", answer.body);
    assert!(answer.header(header::LOCATION).starts_with("https://app.example/callback?"));
    assert_eq!(answer.sent("state").as_deref(), Some("s-1"));
    assert_eq!(answer.sent("iss").as_deref(), Some("http://gateway.test:8080/t/acme"));
    let token = bench.access_token().await;
    let context = bench.prove(&token, "acme").unwrap();
    assert_eq!((context.tenant().as_str(), context.subject()), ("acme", &bench.alice));
    assert_eq!(context.roles()[0].as_str(), "clerk");
}

#[tokio::test]
async fn cv01_a_user_of_acme_cannot_sign_in_at_globex() {
    let bench = bench().await;
    let foreign = bench.sign_in("globex", "alice", PASSWORD).await;
    assert_eq!(foreign.status, StatusCode::UNAUTHORIZED);
    assert_eq!(foreign.header(header::LOCATION), "");
    let nobody = bench.sign_in("globex", "zelda", PASSWORD).await;
    assert_eq!(foreign.body_without_names(), nobody.body_without_names(), "another tenant's user is nobody");
    // Nor is a user of acme anyone globex could take in.
    assert!(bench.pools.user_get(&tenant("globex"), &bench.alice).await.is_err());
}

#[tokio::test]
async fn wrong_user_wrong_password_and_disabled_look_the_same() {
    let bench = bench().await;
    let wrong_password = bench.sign_in("acme", "alice", "wrong password").await;
    let wrong_user = bench.sign_in("acme", "nobody", PASSWORD).await;
    let no_password = bench.sign_in("acme", "alice", "").await;
    let odd_name = bench.sign_in("acme", " alice ", PASSWORD).await;
    let too_long = bench.sign_in("acme", "alice", &"x".repeat(limits::PASSWORD_BYTES + 1)).await;
    bench.pools.user_disable(&tenant("acme"), &bench.alice, &by()).await.unwrap();
    let disabled = bench.sign_in("acme", "alice", PASSWORD).await;
    for other in [&wrong_user, &no_password, &odd_name, &too_long, &disabled] {
        assert_eq!(other.status, StatusCode::UNAUTHORIZED);
        assert_eq!(other.body_without_names(), wrong_password.body_without_names());
        let names = |answer: &crate::bench::Answer| answer.headers.keys().cloned().collect::<Vec<_>>();
        assert_eq!(names(other), names(&wrong_password));
        assert_eq!(other.body.len(), wrong_password.body.len());
    }
    bench.pools.user_enable(&tenant("acme"), &bench.alice, &by()).await.unwrap();
    assert_eq!(bench.sign_in("acme", "alice", PASSWORD).await.status, StatusCode::SEE_OTHER);
}

#[tokio::test]
async fn guessing_is_slowed_per_name_whether_or_not_it_exists() {
    let bench = bench().await;
    let ticket = bench.ask("acme", &[]).await.ticket();
    for name in ["alice", "nobody"] {
        let mut statuses = Vec::new();
        for _ in 0..12 {
            let fields = [("ticket", ticket.as_str()), ("username", name), ("password", "")];
            statuses.push(bench.post("/t/acme/sign-in", &form(&fields)).await.status);
        }
        let expected = [vec![StatusCode::UNAUTHORIZED; 10], vec![StatusCode::TOO_MANY_REQUESTS; 2]].concat();
        assert_eq!(statuses, expected, "{name}");
    }
    let same_name_elsewhere = bench.sign_in("globex", "alice", "x").await;
    assert_eq!(same_name_elsewhere.status, StatusCode::UNAUTHORIZED, "another tenant is not slowed");
    bench.pass(10).await;
    assert_eq!(bench.sign_in("acme", "ALICE", PASSWORD).await.status, StatusCode::SEE_OTHER);
    assert_eq!(bench.sign_in("acme", "alice", PASSWORD).await.status, StatusCode::TOO_MANY_REQUESTS);
}

#[tokio::test]
async fn x16_a_ticket_of_one_pool_is_worth_nothing_at_another_and_none_is_altered() {
    let bench = bench().await;
    let ticket = bench.ask("globex", &[]).await.ticket();
    let bench = &bench;
    let post = |ticket: String| async move {
        let fields = [("ticket", ticket.as_str()), ("username", "alice"), ("password", PASSWORD)];
        let answer = bench.post("/t/acme/sign-in", &form(&fields)).await;
        (answer.status, answer.header(header::LOCATION).is_empty())
    };
    let refused = (StatusCode::BAD_REQUEST, true);
    assert_eq!(post(ticket).await, refused);
    let own = bench.ask("acme", &[]).await.ticket();
    let (text, tag) = own.split_once('.').unwrap();
    let other = bench.ask("acme", &[("redirect_uri", "http://127.0.0.1:1/cb")]).await.ticket();
    for altered in [
        format!("{text}."),
        format!("{text}x.{tag}"),
        text.to_owned(),
        format!("{}.{tag}", other.split_once('.').unwrap().0),
        String::new(),
    ] {
        assert_eq!(post(altered.clone()).await, refused, "{altered}");
    }
    bench.pass(601).await;
    assert_eq!(post(own).await, refused, "a ticket lasts ten minutes");
}

#[tokio::test]
async fn the_page_lets_nothing_in_and_cannot_be_framed_or_stored() {
    let bench = bench().await;
    bench.pools.pool_delete(&tenant("globex")).await.unwrap();
    bench.pools.pool_create(&tenant("globex"), "<script>alert(1)</script> & \"Sons\"").await.unwrap();
    bench.settle().await;
    let page = bench.ask("globex", &[]).await;
    assert_eq!(page.status, StatusCode::OK);
    assert!(!page.body.contains("<script"), "{}", page.body);
    let policy = page.header(header::CONTENT_SECURITY_POLICY);
    for part in [
        "default-src 'none'",
        "frame-ancestors 'none'",
        "base-uri 'none'",
        "form-action 'self' https://app.example;",
    ] {
        assert!(policy.contains(part), "{policy}");
    }
    assert!(!policy.contains("unsafe"));
    assert_eq!(page.header(header::CACHE_CONTROL), "no-store");
    assert_eq!(page.header(header::X_FRAME_OPTIONS), "DENY");
    assert_eq!(page.header(header::REFERRER_POLICY), "no-referrer");
    // The style's hash is of the very bytes in the page.
    let (_, rest) = page.body.split_once("<style>").unwrap();
    let style = rest.split_once("</style>").unwrap().0;
    use base64::Engine;
    let hash =
        base64::engine::general_purpose::STANDARD.encode(ringfence_context::key::sha256(style.as_bytes()));
    assert!(policy.contains(&hash));
}
