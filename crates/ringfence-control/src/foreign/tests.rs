//! Against a real provider on loopback, over TLS, with a clock that is moved.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    task::{Context, Waker},
    time::Duration,
};

use ringfence_context::{Reason, TenantId, UnixTime, limits};
use serde_json::json;
use tokio::task::JoinSet;

use self::issuer_server::{IssuerServer, Page, body, key};
use super::*;

#[path = "../../tests/it/issuer_server.rs"]
mod issuer_server;

struct Settable(AtomicU64);

impl Clock for Settable {
    fn now(&self) -> UnixTime {
        UnixTime::from_seconds(self.0.load(Ordering::SeqCst))
    }
}

impl Settable {
    fn advance(&self, seconds: u64) {
        self.0.fetch_add(seconds, Ordering::SeqCst);
    }
}

struct World {
    server: IssuerServer,
    clock: Arc<Settable>,
    issuers: Arc<ForeignIssuers>,
}

const ISSUER: &str = "https://login.example.com/t1";

fn account(name: &str) -> Account {
    Account::Tenant(TenantId::new(name).unwrap())
}

impl World {
    async fn new() -> Self {
        let server = IssuerServer::start().await;
        let address = server.address;
        let port = address.port();
        let issuers = format!(
            "issuers = [
                {{ url = \"https://login.example.com/\", address = \"{address}\" }},
                {{ url = \"https://keys.example.com/published\", address = \"{address}\" }},
                {{ url = \"https://127.0.0.1:{port}/\", private_addresses = true }},
                {{ url = \"https://unnamed.example.com/\", address = \"{address}\" }},
                {{ url = \"https://gw.example.net/\", address = \"{address}\" }},
                \"https://127.0.0.2:{port}/\",
            ]"
        );
        let authority = server.authority.clone();
        Self::with(server, &issuers, Some(authority.as_bytes()))
    }

    fn with(server: IssuerServer, issuers: &str, authority: Option<&[u8]>) -> Self {
        let clock = Arc::new(Settable(AtomicU64::new(1_800_000_000)));
        let allowed = Allowed::read(&toml::from_str(issuers).unwrap()).unwrap();
        let planes = PlaneNames::new(["https://gw.example.net"], "tenants.example.net");
        let fetch = Fetch::new(authority).unwrap();
        let issuers = Arc::new(ForeignIssuers::new(allowed, planes, fetch, Arc::clone(&clock) as _));
        Self { server, clock, issuers }
    }

    fn token(&self, key: &ringfence_context::key::SigningKey, issuer: &str) -> String {
        let now = self.clock.now().seconds();
        key.sign("JWT", &json!({ "iss": issuer, "sub": "u-1", "iat": now, "exp": now + 3600 })).unwrap()
    }

    async fn verify(&self, issuer: &str, token: &str) -> Result<ForeignClaims, ForeignFault> {
        self.issuers.verify(&account("acme"), issuer, token, TokenKind::Access).await
    }
}

fn refused(outcome: Result<ForeignClaims, ForeignFault>) -> Option<Reason> {
    match outcome.unwrap_err() {
        ForeignFault::Refused(refusal) => Some(refusal.reason),
        ForeignFault::Unavailable => None,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn an_issuers_keys_are_fetched_once_and_its_tokens_verified_by_them() {
    let world = World::new().await;
    let (own, published) = key();
    world.server.issuer(ISSUER, &[published]);
    let token = world.token(&own, ISSUER);
    for _ in 0..5 {
        assert_eq!(world.verify(ISSUER, &token).await.unwrap().into_map()["sub"], "u-1");
    }
    assert_eq!(world.server.asked("login.example.com/t1/keys"), 1);
    // By its address, where the operator has said that it is inside.
    let by_address = format!("https://{}", world.server.address);
    let (other, published) = key();
    world.server.issuer(&by_address, &[published]);
    assert!(world.verify(&by_address, &world.token(&other, &by_address)).await.is_ok());
    // And where the keys are elsewhere, at another issuer that is listed.
    let elsewhere = "https://login.example.com/t2";
    let (third, published) = key();
    let metadata = json!({ "issuer": elsewhere, "jwks_uri": "https://keys.example.com/published/t2" });
    world.server.page("login.example.com/t2/.well-known/openid-configuration", body(&metadata));
    world.server.page("keys.example.com/published/t2", body(&json!({ "keys": [published] })));
    assert!(world.verify(elsewhere, &world.token(&third, elsewhere)).await.is_ok());
    // A key is of the issuer it was fetched of, and of no other.
    for (signer, issuer) in [(&own, elsewhere), (&third, ISSUER), (&other, ISSUER)] {
        assert_eq!(
            refused(world.verify(issuer, &world.token(signer, issuer)).await),
            Some(Reason::TokenInvalid)
        );
    }
}

#[tokio::test]
async fn reject_issuer_again_seconds() {
    let world = World::new().await;
    let (first, published) = key();
    world.server.issuer(ISSUER, std::slice::from_ref(&published));
    assert!(world.verify(ISSUER, &world.token(&first, ISSUER)).await.is_ok());
    // It changes its keys: the new one is found, but nobody makes the plane ask again and again.
    let (second, new) = key();
    world.server.issuer(ISSUER, &[published, new]);
    for _ in 0..5 {
        assert_eq!(
            refused(world.verify(ISSUER, &world.token(&second, ISSUER)).await),
            Some(Reason::TokenInvalid)
        );
    }
    assert_eq!(world.server.asked("login.example.com/t1/keys"), 1);
    world.clock.advance(limits::ISSUER_AGAIN_SECONDS);
    assert!(world.verify(ISSUER, &world.token(&second, ISSUER)).await.is_ok());
    assert!(world.verify(ISSUER, &world.token(&first, ISSUER)).await.is_ok());
    assert_eq!(world.server.asked("login.example.com/t1/keys"), 2);
    // Nor after a failure.
    let gone = "https://login.example.com/gone";
    for _ in 0..5 {
        assert_eq!(refused(world.verify(gone, &world.token(&first, gone)).await), None);
    }
    assert_eq!(world.server.asked("login.example.com/gone/.well-known/openid-configuration"), 1);
}

#[tokio::test]
async fn reject_issuer_keys_seconds() {
    let world = World::new().await;
    let (first, published) = key();
    world.server.issuer(ISSUER, &[published]);
    assert!(world.verify(ISSUER, &world.token(&first, ISSUER)).await.is_ok());
    // The issuer fails: its keys are used for so long, and no longer.
    world.server.page("login.example.com/t1/keys", Page::Body("{".into()));
    world.clock.advance(limits::ISSUER_KEYS_SECONDS - 1);
    assert!(world.verify(ISSUER, &world.token(&first, ISSUER)).await.is_ok());
    world.clock.advance(1);
    assert_eq!(refused(world.verify(ISSUER, &world.token(&first, ISSUER)).await), None);
    // A key it no longer publishes is no longer believed.
    world.clock.advance(limits::ISSUER_AGAIN_SECONDS);
    let (_, other) = key();
    world.server.issuer(ISSUER, &[other]);
    assert_eq!(refused(world.verify(ISSUER, &world.token(&first, ISSUER)).await), Some(Reason::TokenInvalid));
}

#[tokio::test]
async fn x16_nobody_is_asked_who_is_not_listed_who_is_inside_or_who_is_the_plane() {
    let world = World::new().await;
    let (own, published) = key();
    let port = world.server.address.port();
    let not_allowed = |fault: ForeignFault| assert!(matches!(fault, ForeignFault::NotAllowed), "{fault:?}");
    for issuer in [
        "https://other.example.com/".to_owned(),
        "https://login.example.com.evil.example/".to_owned(),
        "https://login.example.com:8443/".to_owned(),
        "https://localhost/".to_owned(),
        "https://169.254.169.254/".to_owned(),
        "http://login.example.com/".to_owned(),
        "https://login.example.com/t1/../t2".to_owned(),
        "https://login.example.com@127.0.0.1/".to_owned(),
        format!("https://127.1:{port}/"),
        format!("https://0x7f000001:{port}/"),
    ] {
        not_allowed(world.verify(&issuer, &world.token(&own, &issuer)).await.unwrap_err());
    }
    // Listed, but inside, and the operator has not said that it may be.
    let inside = format!("https://127.0.0.2:{port}/");
    world.server.issuer(&inside, std::slice::from_ref(&published));
    assert_eq!(refused(world.verify(&inside, &world.token(&own, &inside)).await), None);
    assert_eq!(world.server.asked("connection to 127.0.0.2"), 0, "not even a connection");
    // Listed, and yet a name of the plane's.
    for issuer in
        ["https://gw.example.net/t/globex", "https://gw.example.net", "https://globex.tenants.example.net/"]
    {
        let fault = world.verify(issuer, &world.token(&own, issuer)).await.unwrap_err();
        assert!(matches!(fault, ForeignFault::Plane), "{issuer}: {fault:?}");
    }
    assert_eq!(world.server.asked("connection to 127.0.0.1"), 0, "nobody was asked");
    // Without a list, nobody at all.
    let empty = World::with(world.server.clone(), "", Some(world.server.authority.as_bytes()));
    not_allowed(empty.verify(ISSUER, &empty.token(&own, ISSUER)).await.unwrap_err());
}

#[tokio::test]
async fn an_issuer_that_answers_for_another_or_sends_elsewhere_is_not_believed() {
    let world = World::new().await;
    let (own, published) = key();
    let keys = body(&json!({ "keys": [published] }));
    let port = world.server.address.port();
    let mut number = 0;
    let mut tried = async |metadata: Page, keys: Page| {
        number += 1;
        let issuer = format!("https://login.example.com/e{number}");
        let metadata = match metadata {
            Page::Body(body) => Page::Body(String::from_utf8_lossy(&body).replace("ISSUER", &issuer).into()),
            other => other,
        };
        world.server.page(&format!("login.example.com/e{number}/.well-known/openid-configuration"), metadata);
        world.server.page(&format!("login.example.com/e{number}/keys"), keys);
        world.verify(&issuer, &world.token(&own, &issuer)).await
    };
    let said = |issuer: &str, at: &str| body(&json!({ "issuer": issuer, "jwks_uri": at }));
    assert!(tried(said("ISSUER", "ISSUER/keys"), keys.clone()).await.is_ok(), "as it should be");
    for (issuer, at) in [
        ("https://login.example.com", "ISSUER/keys"),
        ("ISSUER/", "ISSUER/keys"),
        ("ISSUER", "https://other.example.com/keys"),
        ("ISSUER", "https://keys.example.com/elsewhere"),
        ("ISSUER", "http://login.example.com/keys"),
        ("ISSUER", "https://login.example.com:8443/keys"),
        ("ISSUER", "https://gw.example.net/t/globex/jwks"),
        ("ISSUER", "https://169.254.169.254/latest/meta-data"),
        ("ISSUER", "https://user@login.example.com/keys"),
        ("ISSUER", "file:///etc/passwd"),
        ("ISSUER", ""),
    ] {
        assert_eq!(refused(tried(said(issuer, at), keys.clone()).await), None, "{issuer} {at}");
    }
    let inside = format!("https://127.0.0.2:{port}/keys");
    assert_eq!(refused(tried(said("ISSUER", &inside), keys.clone()).await), None);
    assert_eq!(world.server.asked("connection to 127.0.0.2"), 0);
    let twice = Page::Body(r#"{"issuer":"ISSUER","issuer":"ISSUER","jwks_uri":"ISSUER/keys"}"#.into());
    assert_eq!(refused(tried(twice, keys.clone()).await), None);
    // A redirect is no answer, wherever it leads.
    let good = said("ISSUER", "ISSUER/keys");
    world.server.page("login.example.com/moved", keys.clone());
    let moved = Page::Elsewhere("https://login.example.com/moved".to_owned());
    assert_eq!(refused(tried(good.clone(), moved).await), None);
    assert_eq!(world.server.asked("login.example.com/moved"), 0);
    let moved = Page::Elsewhere("https://login.example.com/e1/.well-known/openid-configuration".to_owned());
    assert_eq!(refused(tried(moved, keys).await), None);
    let shown =
        json!({ "keys": [{ "kty": "OKP", "crv": "Ed25519", "x": published["x"], "kid": "k", "d": "AA" }] });
    assert_eq!(refused(tried(good, body(&shown)).await), None, "a private key");
}

#[tokio::test]
async fn a_certificate_is_the_hosts_and_of_an_authority_the_operator_believes() {
    let world = World::new().await;
    let (own, published) = key();
    world.server.issuer(ISSUER, std::slice::from_ref(&published));
    let stranger = World::with(
        world.server.clone(),
        &format!(
            "issuers = [{{ url = \"https://login.example.com/\", address = \"{}\" }}]",
            world.server.address
        ),
        None,
    );
    assert_eq!(refused(stranger.verify(ISSUER, &stranger.token(&own, ISSUER)).await), None);
    let unnamed = "https://unnamed.example.com/t1";
    world.server.issuer(unnamed, &[published]);
    assert_eq!(refused(world.verify(unnamed, &world.token(&own, unnamed)).await), None);
    assert_eq!(world.server.asked("unnamed.example.com/t1/.well-known/openid-configuration"), 0);
    assert!(world.server.asked("connection to 127.0.0.1") >= 2, "both were tried");
    for bad in ["", "no certificate", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"] {
        assert!(Fetch::new(Some(bad.as_bytes())).is_err(), "{bad}");
    }
}

#[tokio::test]
async fn reject_issuer_document_bytes() {
    let world = World::new().await;
    let (own, published) = key();
    let filled = async |number: usize, bytes: usize| {
        let issuer = format!("https://login.example.com/b{number}");
        world.server.issuer(&issuer, &[]);
        let keys = json!({ "keys": [published], "x": "" }).to_string();
        let filling = "x".repeat(bytes - keys.len());
        let keys = keys.replace("\"x\":\"\"}", &format!("\"x\":\"{filling}\"}}"));
        assert_eq!(keys.len(), bytes);
        world.server.page(&format!("login.example.com/b{number}/keys"), Page::Body(keys.into()));
        world.verify(&issuer, &world.token(&own, &issuer)).await
    };
    assert!(filled(1, limits::ISSUER_DOCUMENT_BYTES).await.is_ok());
    assert_eq!(refused(filled(2, limits::ISSUER_DOCUMENT_BYTES + 1).await), None);
}

#[tokio::test]
async fn reject_issuer_answer_seconds() {
    let world = World::new().await;
    let (own, published) = key();
    world.server.issuer(ISSUER, &[published]);
    world.server.page("login.example.com/t1/keys", Page::Never);
    let token = world.token(&own, ISSUER);
    let waited = world.verify(ISSUER, &token);
    let longer = Duration::from_secs(limits::ISSUER_ANSWER_SECONDS * 4);
    assert_eq!(refused(tokio::time::timeout(longer, waited).await.expect("it is given up")), None);
}

/// Asks issuers that never answer: `each` for each of so many accounts. Returns when all of them are being asked.
async fn hanging(world: &World, accounts: usize, each: usize) -> JoinSet<()> {
    let mut asking = JoinSet::new();
    let (own, _) = key();
    for of in 0..accounts {
        for number in 0..each {
            let at = format!("login.example.com/h{of}-{number}");
            world.server.page(&format!("{at}/.well-known/openid-configuration"), Page::Never);
            let issuer = format!("https://{at}");
            let (issuers, token) = (Arc::clone(&world.issuers), world.token(&own, &issuer));
            asking.spawn(async move {
                let _ = issuers.verify(&account(&format!("a{of}")), &issuer, &token, TokenKind::Access).await;
            });
        }
    }
    let asked = |of: usize, number: usize| {
        world.server.asked(&format!("login.example.com/h{of}-{number}/.well-known/openid-configuration"))
    };
    let all = async {
        while !(0..accounts).all(|of| (0..each).all(|number| asked(of, number) == 1)) {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(4), all).await.expect("all are being asked");
    asking
}

#[tokio::test(flavor = "multi_thread")]
async fn reject_issuers_asked_for_one() {
    let world = World::new().await;
    let (own, published) = key();
    world.server.issuer(ISSUER, &[published]);
    let asking = hanging(&world, 1, limits::ISSUERS_ASKED_FOR_ONE).await;
    let token = world.token(&own, ISSUER);
    let ask = async |who: &str| world.issuers.verify(&account(who), ISSUER, &token, TokenKind::Access).await;
    assert!(matches!(ask("a0").await.unwrap_err(), ForeignFault::Busy));
    assert!(ask("acme").await.is_ok(), "another account waits for nobody else's issuers");
    assert!(ask("a0").await.is_ok(), "and what is known needs nobody to be asked");
    drop(asking);
}

#[tokio::test(flavor = "multi_thread")]
async fn reject_issuers_asked() {
    let world = World::new().await;
    let (own, published) = key();
    world.server.issuer(ISSUER, &[published]);
    let each = limits::ISSUERS_ASKED_FOR_ONE;
    let asking = hanging(&world, limits::ISSUERS_ASKED / each, each).await;
    let refused = world.verify(ISSUER, &world.token(&own, ISSUER)).await.unwrap_err();
    assert!(matches!(refused, ForeignFault::Busy));
    drop(asking);
}

#[tokio::test]
async fn reject_issuer_waiting() {
    let world = World::new().await;
    let (own, _) = key();
    world.server.page("login.example.com/t1/.well-known/openid-configuration", Page::Never);
    let token = world.token(&own, ISSUER);
    let mut asking: Vec<_> =
        (0..limits::ISSUER_WAITING).map(|_| Box::pin(world.verify(ISSUER, &token))).collect();
    // Each has its first turn: one asks, the others wait for it.
    let mut turn = Context::from_waker(Waker::noop());
    for one in &mut asking {
        assert!(one.as_mut().poll(&mut turn).is_pending());
    }
    assert!(matches!(world.verify(ISSUER, &token).await.unwrap_err(), ForeignFault::Busy));
}
