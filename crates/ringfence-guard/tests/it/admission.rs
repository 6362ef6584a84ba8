//! Attacks on the door: who is let in, what the others read, and what the log says.

use std::sync::Arc;

use ringfence_context::{Layer, Part, Reason, Verdict};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::fixture::{Tenant, World, ask, connect, fails, sqlstate};

/// What a client reads that is turned away: SQLSTATE, message, detail up to the reference, hint.
async fn turned_away(config: &tokio_postgres::Config) -> (String, String, String, String) {
    let error = connect(config).await.err().unwrap();
    let db = error.as_db_error().unwrap_or_else(|| panic!("{error:?}"));
    let detail = db.detail().unwrap_or_default().split(" reference=").next().unwrap().to_owned();
    (db.code().code().to_owned(), db.message().to_owned(), detail, db.hint().unwrap_or_default().to_owned())
}

#[tokio::test]
async fn x16_only_two_signatures_that_agree_open_a_session() {
    let world = World::new().await;
    let guard = world.guard().await;
    let World { acme, globex, .. } = &world;
    let (a, g) = (world.token(acme), world.token(globex));
    let split = |token: &str| token.split_once('~').map(|(x, y)| (x.to_owned(), y.to_owned())).unwrap();
    let ((a_access, a_txn), (g_access, g_txn)) = (split(&a), split(&g));
    let foreign_claim = acme.access_with(300, |claims| claims.tenant_id = globex.id.clone());
    let expired = Tenant::access_with(acme, 300, |claims| {
        claims.iat -= 600;
        claims.exp -= 600;
    });
    let cases = [
        ("acme", a.clone(), None),
        ("globex", g.clone(), None),
        ("globex", a.clone(), Some(Reason::TenantMismatch)),
        ("acme", g.clone(), Some(Reason::TenantMismatch)),
        ("initech", a.clone(), Some(Reason::TenantMismatch)),
        ("postgres", a.clone(), Some(Reason::TenantMismatch)),
        ("no_tenant_id!", a.clone(), Some(Reason::TenantMismatch)),
        ("acme", format!("{a_access}~{g_txn}"), Some(Reason::SourcesDisagree)),
        ("globex", format!("{g_access}~{a_txn}"), Some(Reason::SourcesDisagree)),
        ("acme", format!("{}~{a_txn}", acme.access()), Some(Reason::SourcesDisagree)),
        ("acme", format!("{a_txn}~{a_access}"), Some(Reason::TokenMalformed)),
        ("acme", format!("{a_access}~{a_access}"), Some(Reason::TxnTokenInvalid)),
        ("acme", a_access.clone(), Some(Reason::TokenMalformed)),
        ("acme", String::new(), Some(Reason::TokenMalformed)),
        ("acme", "hunter2".to_owned(), Some(Reason::TokenMalformed)),
        ("globex", format!("{foreign_claim}~{g_txn}"), Some(Reason::TenantMismatch)),
        ("acme", format!("{expired}~{a_txn}"), Some(Reason::TokenExpired)),
        ("acme", format!("{}x~{a_txn}", &a_access[..a_access.len() - 1]), Some(Reason::TokenInvalid)),
    ];
    for (user, password, expected) in cases {
        let mut config = world.through(&guard, acme);
        config.user(user).password(&password);
        match expected {
            None => drop(connect(&config).await.unwrap()),
            Some(reason) => {
                let detail = format!("layer=guard reason={}", reason.code());
                let told =
                    ("28000".to_owned(), reason.title().to_owned(), detail, reason.advice().to_owned());
                assert_eq!(turned_away(&config).await, told, "{user}");
            }
        }
    }
}

#[tokio::test]
async fn unknown_tenants_and_others_tenants_read_the_same() {
    let world = World::new().await;
    let guard = world.guard().await;
    let mut told = vec![];
    for user in ["globex", "initech", "postgres", "Not A Tenant"] {
        let mut config = world.through(&guard, &world.acme);
        config.user(user);
        told.push(turned_away(&config).await);
    }
    assert!(told.iter().all(|text| text == &told[0]), "{told:#?}");
    // And so do issuers nobody knows and signatures that do not verify.
    let stranger = Tenant::new("acme");
    let mut told = vec![];
    for user in ["acme", "globex", "initech"] {
        let mut config = world.through(&guard, &world.acme);
        config.user(user).password(world.token(&stranger));
        told.push(turned_away(&config).await);
        let access = stranger.access_with(300, |claims| claims.iss = "https://gw/t/none".to_owned());
        config.password(format!("{access}~{}", world.token(&world.acme).split_once('~').unwrap().1));
        told.push(turned_away(&config).await);
    }
    assert!(told.iter().all(|text| text == &told[0]), "{told:#?}");
}

#[tokio::test]
async fn cv32_each_session_is_recorded_under_the_reference_the_client_read() {
    let world = World::new().await;
    let guard = world.guard().await;
    let mut config = world.through(&guard, &world.acme);
    config.application_name("ringfence:req-17");
    drop(connect(&config).await.unwrap());
    config.user("globex");
    let error = connect(&config).await.err().unwrap();
    assert!(error.as_db_error().unwrap().detail().unwrap().ends_with("reference=req-17"));
    config.application_name("not ours");
    let error = connect(&config).await.err().unwrap();
    let detail = error.as_db_error().unwrap().detail().unwrap().to_owned();
    let verdicts = world.verdicts.0.lock().unwrap();
    let of = |n: usize| -> &Verdict { &verdicts[n] };
    assert_eq!((of(0).refused, of(0).reference.as_str(), of(0).part), (None, "req-17", Part::Guard));
    let mismatch = Some((Layer::Guard, Reason::TenantMismatch));
    assert_eq!((of(1).refused, of(1).reference.as_str()), (mismatch, "req-17"));
    assert!(detail.ends_with(of(2).reference.as_str()) && of(2).reference.as_str().starts_with("db-"));
}

#[tokio::test]
async fn a_suspended_tenants_sessions_end_at_the_next_transaction() {
    let world = World::new().await;
    let guard = world.guard().await;
    let client = world.client(&guard, &world.acme).await;
    ask(&client, "BEGIN; SELECT 1").await.unwrap();
    world.registry.suspended.lock().unwrap().push(world.acme.id.clone());
    ask(&client, "SELECT count(*) FROM accounts; COMMIT").await.unwrap();
    assert_eq!(fails(&client, "SELECT 1").await, "28000");
    assert!(fails(&client, "SELECT 1").await.starts_with("closed"));
    assert_eq!(turned_away(&world.through(&guard, &world.acme)).await.1, Reason::TenantInactive.title());
    world.client(&guard, &world.globex).await;
}

#[tokio::test]
async fn an_expired_token_ends_the_session_at_the_next_transaction() {
    let world = World::new().await;
    let guard = world.guard().await;
    let access = world.acme.access_with(2, |_| ());
    let mut config = world.through(&guard, &world.acme);
    config.password(world.token_of(&world.acme, &access));
    let client = connect(&config).await.unwrap();
    ask(&client, "SELECT 1").await.unwrap();
    let code =
        crate::fixture::eventually(|| async { ask(&client, "SELECT pg_sleep(0.1)").await.err() }).await.0;
    assert_eq!(code, "28000");
}

#[tokio::test]
async fn the_database_and_parameters_are_checked_after_the_token() {
    let world = World::new().await;
    let guard = world.guard().await;
    let mut config = world.through(&guard, &world.acme);
    config.dbname("postgres");
    assert_eq!(turned_away(&config).await.0, "3D000");
    config.password("wrong~wrong");
    assert_eq!(turned_away(&config).await.0, "28000");
    let mut config = world.through(&guard, &world.acme);
    config.options("-c row_security=off");
    assert_eq!(turned_away(&config).await.0, "0A000");
}

async fn talk(port: u16, bytes: &[u8]) -> Vec<u8> {
    let mut stream = tokio::net::TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    let mut answer = vec![];
    // A reset is as good as an end.
    let _ = stream.read_to_end(&mut answer).await;
    answer
}

fn start_up(pairs: &str) -> Vec<u8> {
    let body = [&[0, 3, 0, 0], pairs.as_bytes(), &[0]].concat();
    [&i32::try_from(body.len() + 4).unwrap().to_be_bytes()[..], &body].concat()
}

#[tokio::test]
async fn reject_pg_password_bytes() {
    let world = World::new().await;
    let guard = world.guard().await;
    let long = ringfence_context::limits::PG_PASSWORD_BYTES + 1;
    let mut message = start_up("user\0acme\0");
    message.push(b'p');
    message.extend(i32::try_from(long).unwrap().to_be_bytes());
    let answer = String::from_utf8_lossy(&talk(guard.port, &message).await).into_owned();
    assert!(answer.contains("08P01"), "{answer}");
}

#[tokio::test]
async fn nothing_but_a_password_is_read_before_admission() {
    let world = World::new().await;
    let guard = world.guard().await;
    let query = b"Q\0\0\0\x0dSELECT 1\0";
    let answer = String::from_utf8_lossy(
        &talk(guard.port, &[start_up("user\0acme\0"), query.to_vec()].concat()).await,
    )
    .into_owned();
    assert!(answer.contains("08P01") && !answer.contains("SELECT"), "{answer}");
    for garbage in [&b"GET / HTTP/1.1\r\n\r\n"[..], &[0; 64], &[0xff; 64]] {
        let answer = String::from_utf8_lossy(&talk(guard.port, garbage).await).into_owned();
        assert!(answer.contains("08P01"), "{answer}");
    }
}

#[tokio::test]
async fn what_follows_an_encryption_request_is_not_taken_for_encrypted() {
    let world = World::new().await;
    let guard = world.guard().await;
    let ssl = [0, 0, 0, 8, 4, 210, 22, 47];
    let answer = talk(guard.port, &[&ssl[..], &start_up("user\0acme\0")].concat()).await;
    assert!(String::from_utf8_lossy(&answer).contains("08P01"), "{answer:?}");
    let mut stream = tokio::net::TcpStream::connect(("127.0.0.1", guard.port)).await.unwrap();
    stream.write_all(&ssl).await.unwrap();
    assert_eq!(stream.read_u8().await.unwrap(), b'N');
}

#[tokio::test]
async fn too_many_clients_are_told_so() {
    let world = World::new().await;
    let guard = world.guard_with(|settings| settings.clients = 1).await;
    let first = world.client(&guard, &world.acme).await;
    let refused = connect(&world.through(&guard, &world.globex)).await.err().unwrap();
    assert_eq!(sqlstate(&refused), "53300");
    drop(first);
    let config = Arc::new(world.through(&guard, &world.globex));
    crate::fixture::eventually(|| async { connect(&config).await.ok() }).await;
}
