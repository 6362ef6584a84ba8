//! Tokens that are bad, and good ones where they are not taken: whoever asks for another tenant and does not get it is nobody,
//! and never the one before.

use proptest::{prelude::*, test_runner::TestRunner};
use ringfence_context::{Reason, limits};
use tokio_postgres::{Client, types::Type};

use super::{COUNT, USE, bind, bind_with, give, heard, nobodys, select, serve, token_use};
use crate::{
    fixture::{Running, World, ask, fails, sqlstate},
    raw::{Raw, execute, flush, frame, parse, query, sync},
};

#[tokio::test]
async fn x16_a_token_that_is_refused_leaves_nobody() {
    let world = World::new().await;
    let guard = world.guard().await;
    let World { acme, globex, .. } = &world;
    let (a, g) = (world.token(acme), world.token(globex));
    let (a_access, a_txn) = a.split_once('~').unwrap();
    let (g_access, g_txn) = g.split_once('~').unwrap();
    let expired = globex.access_with(300, |claims| {
        claims.iat -= 600;
        claims.exp -= 600;
    });
    let foreign = acme.access_with(300, |claims| claims.tenant_id = globex.id.clone());
    let long = format!("{}~{}", "x".repeat(limits::PG_PASSWORD_BYTES / 2), g_txn);
    let cases = [
        ("globex", a.clone(), Reason::TenantMismatch),
        ("acme", g.clone(), Reason::TenantMismatch),
        ("initech", g.clone(), Reason::TenantMismatch),
        ("Not A Tenant", g.clone(), Reason::TenantMismatch),
        ("", g.clone(), Reason::TenantMismatch),
        ("globex", format!("{g_access}~{a_txn}"), Reason::SourcesDisagree),
        ("globex", format!("{}~{g_txn}", globex.access()), Reason::SourcesDisagree),
        ("globex", format!("{a_access}~{g_txn}"), Reason::TenantMismatch),
        ("globex", format!("{foreign}~{g_txn}"), Reason::TenantMismatch),
        ("globex", format!("{expired}~{g_txn}"), Reason::TokenExpired),
        ("globex", format!("{g_txn}~{g_access}"), Reason::TokenMalformed),
        ("globex", g_access.to_owned(), Reason::TokenMalformed),
        ("globex", long, Reason::TokenMalformed),
        ("globex", "hunter2".to_owned(), Reason::TokenMalformed),
        ("globex", String::new(), Reason::TokenMalformed),
    ];
    let client = world.client(&guard, acme).await;
    for (tenant, token, reason) in &cases {
        serve(&world, &client, acme).await;
        let given: [(&(dyn tokio_postgres::types::ToSql + Sync), Type); 2] =
            [(tenant, Type::TEXT), (token, Type::TEXT)];
        let error = client.query_typed(USE, &given).await.unwrap_err();
        let db = error.as_db_error().unwrap();
        let told = (db.code().code(), db.message(), db.hint(), db.severity());
        assert_eq!(told, ("28000", reason.title(), Some(reason.advice()), "ERROR"), "{tenant} {reason:?}");
        let detail = format!("layer=guard reason={} reference=db-", reason.code());
        assert!(db.detail().unwrap().starts_with(&detail), "{db:?}");
        nobodys(&world, &client, reason.code()).await;
    }
    // None of these tokens reached Postgres, nor the record.
    let verdicts = format!("{:?}", world.verdicts.0.lock().unwrap());
    assert!(!verdicts.contains(g_access) && !verdicts.contains(a_txn));
}

#[tokio::test]
async fn reject_pg_password_bytes_in_a_statement() {
    let world = World::new().await;
    let guard = world.guard().await;
    let client = world.client(&guard, &world.acme).await;
    for len in [limits::PG_PASSWORD_BYTES + 1, 1024 * 1024] {
        assert_eq!(give(&client, "globex", &"x".repeat(len)).await, Err("28000".to_owned()));
        nobodys(&world, &client, "too long").await;
        assert_eq!(give(&client, &"x".repeat(len), "x").await, Err("28000".to_owned()));
        nobodys(&world, &client, "too long").await;
    }
}

/// A client that does not wait to hear that its token is bad: not one of its next words runs as anybody.
#[tokio::test]
async fn not_one_word_behind_a_bad_token_runs() {
    let world = World::new().await;
    let guard = world.guard_with(|settings| settings.connections = 1).await;
    let (before, hash) = ("UPDATE accounts SET owner = 'written'", world.globex_hash().await);
    let bad = [
        token_use("globex", &world.token(&world.acme)),
        token_use("acme", "no token"),
        [parse(USE), bind_with("", 0, &[Some("acme"), None]), execute(), sync()].concat(),
        [parse(USE), bind_with("", 0, &[Some("acme")]), execute(), sync()].concat(),
        [parse(USE), bind_with("", 0, &[]), execute(), sync()].concat(),
        // Bound, and not executed.
        [parse(USE), bind("acme", &world.token(&world.acme)), sync()].concat(),
    ];
    for bad in bad {
        let mut raw = Raw::open(&world, &guard, &world.acme).await;
        raw.send(&[
            bad,
            select(before),
            query(before),
            query(&format!("BEGIN; {before}; COMMIT")),
            query("COMMIT"),
            frame(b'F', &[0; 14]),
            select(COUNT),
        ])
        .await;
        let first = heard(&mut raw).await;
        assert!(first == "12E(28000)ZI" || first == "12ZI", "{first}");
        for _ in 0..6 {
            assert_eq!(heard(&mut raw).await, "E(28000)ZI");
        }
        raw.send(&[token_use("globex", &world.token(&world.globex)), query(COUNT)]).await;
        assert_eq!(heard(&mut raw).await, "12D(globex)CZI");
        assert_eq!(heard(&mut raw).await, "TD(5)CZI");
    }
    let written = "SELECT count(*) FROM accounts WHERE owner = 'written'";
    assert_eq!(world.admin.query_one(written, &[]).await.unwrap().get::<_, i64>(0), 0);
    assert_eq!(world.globex_hash().await, hash);
}

/// A good token where it is not taken: what was done in the transaction is undone, and nothing is done after.
#[tokio::test]
async fn a_token_in_a_transaction_ends_it_and_leaves_nobody() {
    let world = World::new().await;
    let guard = world.guard_with(|settings| settings.connections = 1).await;
    let hash = world.globex_hash().await;
    let write = "UPDATE accounts SET owner = 'written'";
    let begun: [&[Vec<u8>]; 5] = [
        &[query("BEGIN"), query(write)],
        &[query("BEGIN"), query(write), query("SELECT 1/0")],
        &[query("BEGIN"), query(write), query("SAVEPOINT s")],
        &[select("BEGIN"), select(write)],
        &[query("BEGIN"), query(write), query("DECLARE c CURSOR FOR SELECT 1")],
    ];
    let given = |token: &str| {
        [
            token_use("globex", token),
            [parse(USE), frame(b'D', b"S\0"), sync()].concat(),
            [frame(b'P', format!("s\0{USE}\0\0\0").as_bytes()), sync()].concat(),
            query("SELECT ringfence.token_use('globex', 'a~b')"),
        ]
    };
    for batches in begun {
        for given in given(&world.token(&world.globex)) {
            let mut raw = Raw::open(&world, &guard, &world.acme).await;
            raw.send(batches).await;
            for _ in batches {
                heard(&mut raw).await;
            }
            let in_sql = given[0] == b'Q';
            raw.send(&[
                given,
                query("ROLLBACK TO s"),
                query(&format!("ROLLBACK; {write}")),
                select(write),
                query("COMMIT"),
                query(COUNT),
            ])
            .await;
            let first = heard(&mut raw).await;
            let failed = batches.len() == 3 && batches[2] == query("SELECT 1/0");
            let expected = match (in_sql, failed) {
                (false, _) => "E(25001)ZI",
                (true, false) => "TE(RF005)ZI",
                // Postgres has not looked at it.
                (true, true) => "E(25P02)ZI",
            };
            assert_eq!(first, expected);
            for _ in 0..5 {
                assert_eq!(heard(&mut raw).await, "E(28000)ZI");
            }
            raw.send(&[token_use("globex", &world.token(&world.globex)), query(COUNT)]).await;
            assert_eq!(heard(&mut raw).await, "12D(globex)CZI");
            assert_eq!(heard(&mut raw).await, "TD(5)CZI");
        }
    }
    let written = "SELECT count(*) FROM accounts WHERE owner = 'written'";
    assert_eq!(world.admin.query_one(written, &[]).await.unwrap().get::<_, i64>(0), 0);
    assert_eq!(world.globex_hash().await, hash);
}

/// A batch is somebody's, all of it.
#[tokio::test]
async fn a_batch_of_two_tenants_is_nobodys() {
    let world = World::new().await;
    let guard = world.guard_with(|settings| settings.connections = 1).await;
    let hash = world.globex_hash().await;
    let token = world.token(&world.globex);
    let write = [parse("UPDATE accounts SET owner = 'written'"), frame(b'B', &[0; 8]), execute()].concat();
    let given = [parse(USE), bind("globex", &token), execute()].concat();
    let fails = [parse("SELECT nothing"), frame(b'B', &[0; 8]), execute()].concat();
    for batch in [
        [&given[..], &write, &sync()].concat(),
        [&write[..], &given, &sync()].concat(),
        [&write[..], &given, &write, &sync()].concat(),
        [&given[..], &write, &given, &sync()].concat(),
        // Of these Postgres says that they fail, and the token behind is not looked at.
        [&fails[..], &given, &sync()].concat(),
        [&fails[..], &flush(), &given, &write, &sync()].concat(),
        // What comes behind a Query without a Sync is as before it.
        [&given[..], &query("SELECT 1")].concat(),
    ] {
        let mut raw = Raw::open(&world, &guard, &world.acme).await;
        raw.send(&[batch, select("UPDATE accounts SET owner = 'written'"), query(COUNT)]).await;
        let first = heard(&mut raw).await;
        assert!(first.ends_with("E(25001)ZI") || first.ends_with("E(42703)ZI"), "{first}");
        assert_eq!(heard(&mut raw).await, "E(28000)ZI", "{first}");
        assert_eq!(heard(&mut raw).await, "E(28000)ZI", "{first}");
        raw.send(&[token_use("globex", &token), query(COUNT)]).await;
        assert_eq!(heard(&mut raw).await, "12D(globex)CZI");
        assert_eq!(heard(&mut raw).await, "TD(5)CZI");
    }
    let written = "SELECT count(*) FROM accounts WHERE owner = 'written'";
    assert_eq!(world.admin.query_one(written, &[]).await.unwrap().get::<_, i64>(0), 0);
    assert_eq!(world.globex_hash().await, hash);
}

/// Where a batch fails before there is a server connection too.
#[tokio::test]
async fn a_token_in_a_batch_that_found_no_connection_leaves_nobody() {
    let world = World::new().await;
    let guard = world
        .guard_with(|settings| {
            settings.connections = 1;
            settings.wait = std::time::Duration::from_millis(50);
        })
        .await;
    let holds = world.client(&guard, &world.globex).await;
    let mut raw = Raw::open(&world, &guard, &world.acme).await;
    let given = [parse(USE), bind("globex", &world.token(&world.globex)), execute(), sync()].concat();
    let closed = [frame(b'P', format!("s\0{USE}\0\0\0").as_bytes()), frame(b'C', b"Ss\0"), sync()].concat();
    let of_closed = [bind_with("s", 0, &[Some("globex"), Some("a~b")]), execute(), sync()].concat();
    for batch in [[parse("SELECT 1"), given].concat(), of_closed] {
        ask(&holds, "BEGIN; SELECT 1").await.unwrap();
        raw.send(&[token_use("acme", &world.token(&world.acme)), closed.clone(), batch]).await;
        assert_eq!(heard(&mut raw).await, "12D(acme)CZI");
        assert_eq!(heard(&mut raw).await, "13ZI");
        assert_eq!(heard(&mut raw).await, "E(53300)ZI");
        ask(&holds, "COMMIT").await.unwrap();
        raw.send(&[query(COUNT)]).await;
        assert_eq!(heard(&mut raw).await, "E(28000)ZI");
    }
}

/// In every spelling but the one that is the guard's, it reaches Postgres, which knows of no token and repeats none.
#[tokio::test]
async fn a_literal_or_another_spelling_is_an_error_without_the_secret_and_leaves_nobody() {
    let world = World::new().await;
    let guard = world.guard().await;
    let client = world.client(&guard, &world.acme).await;
    let token = world.token(&world.globex);
    for sql in [
        format!("SELECT ringfence.token_use('globex', '{token}')"),
        format!("SELECT 1; SELECT ringfence.token_use('globex', '{token}'); SELECT owner FROM accounts"),
        format!("SELECT ringfence.token_use('globex', '{token}', 'r-1')"),
    ] {
        let (code, told) = ask(&client, &sql).await.unwrap_err();
        assert!(code == "RF005" && told.contains("bind tenant and token"), "{code} {told}");
        assert!(!told.contains(&token) && !told.contains(&token[..40]), "{told}");
        nobodys(&world, &client, "a literal").await;
    }
    for sql in [
        "select ringfence.token_use($1, $2)",
        "/* request */ SELECT ringfence.token_use($1, $2)",
        "SELECT ringfence.token_use($1::text, $2::text)",
        "SELECT ringfence.token_use($2, $1) FROM accounts",
    ] {
        let given: [(&(dyn tokio_postgres::types::ToSql + Sync), Type); 2] =
            [(&"globex", Type::TEXT), (&token, Type::TEXT)];
        let error = client.query_typed(sql, &given).await.unwrap_err();
        assert!(sqlstate(&error) == "RF005" && !format!("{error:?}").contains(&token), "{sql}: {error:?}");
        nobodys(&world, &client, sql).await;
    }
    // Where it is in its place, it shows to nobody, in what Postgres says of its sessions or has in its plans.
    serve(&world, &client, &world.globex).await;
    let shown =
        "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%token_use(%' AND pid <> pg_backend_pid()
        AND state = 'active'";
    assert_eq!(world.admin.query_one(shown, &[]).await.unwrap().get::<_, i64>(0), 0);
}

#[tokio::test]
async fn a_name_that_was_closed_is_no_token() {
    let world = World::new().await;
    let guard = world.guard_with(|settings| settings.connections = 1).await;
    let token = world.token(&world.globex);
    let forget = [
        [frame(b'C', b"Ss\0"), sync()].concat(),
        query("DEALLOCATE s"),
        query("DEALLOCATE ALL"),
        query("DISCARD ALL"),
        select("DEALLOCATE s"),
    ];
    for forget in forget {
        let mut raw = Raw::open(&world, &guard, &world.acme).await;
        raw.send(&[frame(b'P', format!("s\0{USE}\0\0\0").as_bytes()), sync(), forget]).await;
        assert_eq!(heard(&mut raw).await, "1ZI");
        let forgotten = heard(&mut raw).await;
        assert!(!forgotten.contains('E'), "{forgotten}");
        raw.send(&[bind_with("s", 0, &[Some("globex"), Some(&token)]), execute(), sync(), query(COUNT)])
            .await;
        assert_eq!(heard(&mut raw).await, "E(26000)ZI");
        assert_eq!(heard(&mut raw).await, "E(28000)ZI");
        // The same where it is not that which fails: at once with the batch, or after its error was read.
        for wait in [false, true] {
            raw.send(&[token_use("acme", &world.token(&world.acme)), parse("SELECT nothing"), flush()]).await;
            assert_eq!(heard(&mut raw).await, "12D(acme)CZI");
            if wait {
                raw.until(b'E').await;
            }
            let given = bind_with("s", 0, &[Some("globex"), Some(&token)]);
            raw.send(&[given, execute(), sync(), query(COUNT)]).await;
            assert!(heard(&mut raw).await.ends_with("ZI"));
            assert_eq!(heard(&mut raw).await, "E(28000)ZI");
        }
    }
}

#[tokio::test]
async fn a_suspended_tenant_is_not_served_and_others_on_the_session_are() {
    let world = World::new().await;
    let guard = world.guard().await;
    let client = world.client(&guard, &world.globex).await;
    serve(&world, &client, &world.acme).await;
    let token = world.token(&world.acme);
    ask(&client, "BEGIN; SELECT 1").await.unwrap();
    world.registry.suspended.lock().unwrap().push(world.acme.id.clone());
    ask(&client, "COMMIT").await.unwrap();
    assert_eq!(fails(&client, COUNT).await, "28000");
    assert_eq!(give(&client, "acme", &token).await, Err("28000".to_owned()));
    assert_eq!(fails(&client, COUNT).await, "28000");
    serve(&world, &client, &world.globex).await;
    assert_eq!(ask(&client, COUNT).await.unwrap(), "5");
}

/// What a pooled session is asked next.
#[derive(Debug, Clone, Copy)]
enum Act {
    Use(bool),
    /// Another's token.
    Bad(bool),
    Read,
    ReadPrepared,
    Write,
    Begin,
    Commit,
    Rollback,
    Fail,
    Mark,
    Keep,
    Discard,
}

const ACTS: [Act; 14] = [
    Act::Use(true),
    Act::Use(false),
    Act::Bad(true),
    Act::Bad(false),
    Act::Read,
    Act::Read,
    Act::ReadPrepared,
    Act::Write,
    Act::Begin,
    Act::Commit,
    Act::Rollback,
    Act::Fail,
    Act::Mark,
    Act::Discard,
];

/// Does it, and gives whatever it has seen; `whose` is the tenant that was asked for last, and given.
async fn act(world: &World, client: &Client, whose: &mut Option<bool>, act: Act) -> String {
    let of = |acme: bool| if acme { &world.acme } else { &world.globex };
    let sql = match act {
        Act::Use(acme) | Act::Bad(acme) => {
            let token = world.token(of(acme == matches!(act, Act::Use(_))));
            let given = give(client, of(acme).id.as_str(), &token).await;
            *whose = given.is_ok().then_some(acme);
            assert!(given.is_err() || matches!(act, Act::Use(_)), "a token of another tenant was taken");
            return String::new();
        }
        Act::ReadPrepared => {
            return match client
                .query("SELECT owner, current_setting('my.mark', true) FROM accounts", &[])
                .await
            {
                Ok(rows) => rows
                    .iter()
                    .map(|row| format!("{} {:?} ", row.get::<_, &str>(0), row.get::<_, Option<&str>>(1)))
                    .collect(),
                Err(error) => format!("refused {}", sqlstate(&error)),
            };
        }
        Act::Read => "SELECT owner, current_setting('my.mark', true) FROM accounts",
        Act::Write => "UPDATE accounts SET balance = balance + 1 RETURNING owner",
        Act::Begin => "BEGIN",
        Act::Commit => "COMMIT",
        Act::Rollback => "ROLLBACK",
        Act::Fail => "SELECT owner::int FROM accounts",
        Act::Mark if *whose == Some(true) => "SELECT set_config('my.mark', 'mark-of-acme', false)",
        Act::Mark => "SELECT set_config('my.mark', 'mark-of-CANARY', false)",
        Act::Keep => "SET my.mark = 'kept'",
        Act::Discard => "DISCARD ALL",
    };
    match ask(client, sql).await {
        Ok(rows) => rows,
        Err((code, text)) => format!("refused {code} {text}"),
    }
}

async fn scenario(world: &World, guard: &Running, script: &[Act]) -> Result<(), TestCaseError> {
    let client = world.client(guard, &world.acme).await;
    let mut whose = Some(true);
    for next in script {
        let seen = act(world, &client, &mut whose, *next).await;
        let foreign: &[&str] = match whose {
            Some(true) => &["CANARY"],
            Some(false) => &["acme-", "mark-of-acme"],
            None => {
                let nothing = seen.is_empty() || seen.starts_with("refused 28000");
                prop_assert!(nothing, "nobody, {next:?}: {seen}");
                &[]
            }
        };
        prop_assert!(!foreign.iter().any(|text| seen.contains(text)), "{whose:?} {next:?}: {seen}");
    }
    Ok(())
}

#[test]
fn cv23_a_session_is_never_two_tenants() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let (world, guard) = runtime.block_on(async {
        let world = World::new().await;
        let guard = world.guard_with(|settings| settings.connections = 2).await;
        (world, guard)
    });
    let acts = prop_oneof![14 => proptest::sample::select(&ACTS[..]), 1 => Just(Act::Keep)];
    let script = proptest::collection::vec(acts, 1..40);
    let mut runner =
        TestRunner::new(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() });
    runner.run(&script, |script| runtime.block_on(scenario(&world, &guard, &script))).unwrap();
    runtime.block_on(guard.stop());
}
