//! The protocol as real clients speak it: both query protocols, pipelines, copies, errors, cancels.

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt, future::join_all, pin_mut};
use tokio_postgres::NoTls;

use crate::{
    fixture::{CANARY, World, ask, eventually, fails, sqlstate},
    raw::{Raw, bind, execute, flush, frame, parse, query, sync},
};

#[tokio::test]
async fn simple_and_extended_queries_transactions_and_errors() {
    let world = World::new().await;
    let guard = world.guard().await;
    let mut client = world.client(&guard, &world.acme).await;
    assert_eq!(ask(&client, "SELECT 1; SELECT 2").await.unwrap(), "1\n2");
    assert_eq!(ask(&client, "").await.unwrap(), "");
    assert_eq!(fails(&client, "SELECT 1/0").await, "22012");
    assert_eq!(ask(&client, "SELECT 3").await.unwrap(), "3");
    let transaction = client.transaction().await.unwrap();
    transaction.execute("UPDATE accounts SET balance = 1 WHERE id = $1", &[&1]).await.unwrap();
    let error = transaction.query("SELECT 1 / $1::int", &[&0]).await.unwrap_err();
    assert_eq!(sqlstate(&error), "22012");
    assert_eq!(sqlstate(&transaction.query("SELECT 1", &[]).await.unwrap_err()), "25P02");
    transaction.rollback().await.unwrap();
    assert_eq!(ask(&client, "SELECT balance FROM accounts WHERE id = 1").await.unwrap(), "100");
    let statement = client.prepare("SELECT owner FROM accounts WHERE id = $1").await.unwrap();
    for id in [1, 2, 3] {
        let row = client.query_one(&statement, &[&id]).await.unwrap();
        assert_eq!(row.get::<_, String>(0), format!("acme-{id}"));
    }
}

#[tokio::test]
async fn isolation_levels_are_set_before_the_context_is() {
    let world = World::new().await;
    let guard = world.guard().await;
    let mut client = world.client(&guard, &world.acme).await;
    let level = "SELECT current_setting('transaction_isolation'), count(*) FROM accounts";
    for begin in ["BEGIN ISOLATION LEVEL SERIALIZABLE", "start transaction isolation level serializable;"] {
        ask(&client, begin).await.unwrap();
        assert_eq!(ask(&client, level).await.unwrap(), "serializable|3");
        ask(&client, "COMMIT").await.unwrap();
    }
    ask(&client, "BEGIN").await.unwrap();
    ask(&client, "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ").await.unwrap();
    assert_eq!(ask(&client, level).await.unwrap(), "repeatable read|3");
    ask(&client, "ROLLBACK").await.unwrap();
    let builder = client.build_transaction().isolation_level(tokio_postgres::IsolationLevel::Serializable);
    let transaction = builder.read_only(true).start().await.unwrap();
    assert_eq!(transaction.query_one(level, &[]).await.unwrap().get::<_, i64>(1), 3);
}

#[tokio::test]
async fn statements_after_a_commit_in_one_string_are_the_same_tenants() {
    let world = World::new().await;
    let guard = world.guard().await;
    let client = world.client(&guard, &world.acme).await;
    for sql in [
        "COMMIT; SELECT count(*) FROM accounts",
        "BEGIN; COMMIT; SELECT count(*) FROM accounts",
        "BEGIN; COMMIT; BEGIN; SELECT count(*) FROM accounts",
        "ROLLBACK; SELECT count(*) FROM accounts",
        "BEGIN; COMMIT AND CHAIN; SELECT count(*) FROM accounts",
        "BEGIN; SELECT count(*) FROM accounts; COMMIT",
    ] {
        assert_eq!(ask(&client, sql).await.unwrap(), "3", "{sql}");
        ask(&client, "ROLLBACK").await.unwrap();
    }
    // What shows no tenant's rows may say so in one string with a transaction's end; then there is none.
    assert_eq!(fails(&client, "DISCARD SEQUENCES; SELECT count(*) FROM accounts").await, "55000");
    assert_eq!(ask(&client, "SELECT count(*) FROM accounts").await.unwrap(), "3");
}

/// What clients that prepare do, with more of them than there are connections.
#[tokio::test]
async fn prepared_statements_are_shared_by_more_clients_than_connections() {
    let world = World::new().await;
    let guard = world.guard_with(|settings| settings.connections = 2).await;
    let mut clients = vec![];
    for n in 0..8 {
        let tenant = if n % 2 == 0 { &world.acme } else { &world.globex };
        let client = world.client(&guard, tenant).await;
        let count = client.prepare("SELECT count(*) FROM accounts WHERE id > $1").await.unwrap();
        let owner = client.prepare("SELECT owner FROM accounts WHERE id = $1").await.unwrap();
        clients.push((client, count, owner, if n % 2 == 0 { 3_i64 } else { 5 }));
    }
    for round in 0..6 {
        let all = clients.iter().map(async |(client, count, owner, rows)| {
            assert_eq!(client.query_one(count, &[&0]).await.unwrap().get::<_, i64>(0), *rows);
            let owner: String = client.query_one(owner, &[&2]).await.unwrap().get(0);
            assert_eq!(owner.starts_with("acme"), *rows == 3, "{owner}");
        });
        tokio::time::timeout(std::time::Duration::from_secs(20), join_all(all))
            .await
            .expect("they hold each other up");
        if round == 3 {
            // One that changes its session keeps its connection, and its statements.
            ask(&clients[0].0, "SET work_mem = '1MB'").await.unwrap();
        }
    }
}

#[tokio::test]
async fn statements_are_dropped_by_name_and_all_at_once() {
    let world = World::new().await;
    let guard = world.guard_with(|settings| settings.connections = 1).await;
    let client = world.client(&guard, &world.acme).await;
    let one = client.prepare("SELECT 1").await.unwrap();
    let count = "SELECT count(*) FROM pg_prepared_statements";
    assert_eq!(ask(&client, count).await.unwrap(), "1");
    assert_eq!(fails(&client, "DEALLOCATE no_such").await, "26000");
    client.query_one(&one, &[]).await.unwrap();
    ask(&client, "DEALLOCATE ALL").await.unwrap();
    assert_eq!(sqlstate(&client.query_one(&one, &[]).await.unwrap_err()), "26000");
    // As psycopg and pgx drop one, in either protocol.
    let mut raw = Raw::open(&world, &guard, &world.acme).await;
    let named = |sql: &str| frame(b'P', format!("Mine\0{sql}\0\0\0").as_bytes());
    let run = || [frame(b'B', b"\0Mine\0\0\0\0\0\0\0"), execute(), sync()].concat();
    let drops = [
        (query("DEALLOCATE \"Mine\""), "CZ"),
        ([parse("DEALLOCATE \"Mine\""), bind(), execute(), sync()].concat(), "12CZ"),
        (frame(b'C', b"SMine\0").into_iter().chain(sync()).collect(), "3Z"),
    ];
    for (drop, answer) in drops {
        raw.send(&[named("SELECT 7"), run()]).await;
        assert_eq!(raw.tags(b'Z').await, "12DCZ");
        raw.send(&[run(), named("SELECT 8"), sync()]).await;
        assert_eq!(raw.tags(b'Z').await, "2DCZ");
        assert_eq!(raw.tags(b'Z').await, "EZ", "the name is taken");
        raw.send(&[drop, run()]).await;
        assert_eq!(raw.tags(b'Z').await, answer);
        assert_eq!(raw.tags(b'Z').await, "EZ", "it is gone");
    }
    assert_eq!(ask(&client, "SELECT count(*) FROM accounts").await.unwrap(), "3");
}

/// What was prepared before a table changed is prepared anew for whoever prepares it again.
#[tokio::test]
async fn a_statement_prepared_before_a_table_changed_can_be_prepared_again() {
    let world = World::new().await;
    let guard = world.guard_with(|settings| settings.connections = 1).await;
    let client = world.client(&guard, &world.acme).await;
    let old = client.prepare("SELECT * FROM accounts WHERE id = 1").await.unwrap();
    assert_eq!(client.query_one(&old, &[]).await.unwrap().len(), 4);
    world.admin.batch_execute("ALTER TABLE accounts ADD COLUMN more int").await.unwrap();
    assert_eq!(sqlstate(&client.query_one(&old, &[]).await.unwrap_err()), "0A000");
    let new = client.prepare("SELECT * FROM accounts WHERE id = 1").await.unwrap();
    assert_eq!(client.query_one(&new, &[]).await.unwrap().len(), 5);
}

/// The same text, prepared where dates are read another way, is another statement.
#[tokio::test]
async fn what_is_prepared_under_local_settings_is_nobody_elses() {
    let world = World::new().await;
    let guard = world.guard_with(|settings| settings.connections = 1).await;
    let (mut one, other) = (world.client(&guard, &world.acme).await, world.client(&guard, &world.acme).await);
    let text = "SELECT extract(month FROM date '01/02/2001')::int";
    for set in ["SET LOCAL DateStyle = 'ISO, DMY'", "SELECT set_config('DateStyle', 'ISO, DMY', true)"] {
        let transaction = one.transaction().await.unwrap();
        transaction.batch_execute(set).await.unwrap();
        let february = transaction.prepare(text).await.unwrap();
        assert_eq!(transaction.query_one(&february, &[]).await.unwrap().get::<_, i32>(0), 2);
        transaction.commit().await.unwrap();
        let january = other.prepare(text).await.unwrap();
        assert_eq!(other.query_one(&january, &[]).await.unwrap().get::<_, i32>(0), 1, "{set}");
    }
}

#[tokio::test]
async fn a_context_is_renewed_where_transactions_may_only_read() {
    let world = World::new().await;
    let guard = world.guard().await;
    let client = world.client(&guard, &world.acme).await;
    ask(&client, "SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY").await.unwrap();
    for _ in 0..2 {
        assert_eq!(ask(&client, "SELECT count(*) FROM accounts").await.unwrap(), "3");
        assert_eq!(fails(&client, "DELETE FROM payments").await, "25006");
        tokio::time::sleep(std::time::Duration::from_millis(1100)).await;
    }
}

#[tokio::test]
async fn reset_and_deallocate_do_not_leave_a_session_without_context() {
    let world = World::new().await;
    let guard = world.guard().await;
    let client = world.client(&guard, &world.acme).await;
    for sql in ["DISCARD ALL", "DEALLOCATE ALL", "RESET ALL", "SET work_mem = '1MB'"] {
        let _ = ask(&client, sql).await;
        assert_eq!(ask(&client, "SELECT count(*) FROM accounts").await.unwrap(), "3", "{sql}");
    }
}

#[tokio::test]
async fn pipelines_run_in_order() {
    let world = World::new().await;
    let guard = world.guard().await;
    let client = world.client(&guard, &world.acme).await;
    let answers = join_all((0..200).map(|n| {
        let client = &client;
        async move {
            client.query_one("SELECT $1::int, count(*) FROM accounts", &[&n]).await.unwrap().get::<_, i32>(0)
        }
    }))
    .await;
    assert_eq!(answers, (0..200).collect::<Vec<_>>());
}

#[tokio::test]
async fn large_results_and_large_values_stream() {
    let world = World::new().await;
    let guard = world.guard().await;
    let client = world.client(&guard, &world.acme).await;
    let rows =
        client.query("SELECT n, repeat('x', 200) FROM generate_series(1, 50000) n", &[]).await.unwrap();
    assert_eq!(rows.len(), 50_000);
    let value = "y".repeat(8 * 1024 * 1024);
    let row = client.query_one("SELECT length($1::text), $1::text", &[&value]).await.unwrap();
    assert_eq!((row.get::<_, i32>(0), row.get::<_, String>(1).len()), (8 * 1024 * 1024, 8 * 1024 * 1024));
}

#[tokio::test]
async fn reject_pg_message_bytes() {
    let world = World::new().await;
    let guard = world.guard().await;
    let client = world.client(&guard, &world.acme).await;
    let value = "y".repeat(ringfence_context::limits::PG_MESSAGE_BYTES + 1);
    assert_eq!(sqlstate(&client.query("SELECT $1::text", &[&value]).await.unwrap_err()), "08P01");
    assert!(client.query("SELECT 1", &[]).await.is_err());
}

#[tokio::test]
async fn copies_in_both_directions_fail_and_recover() {
    let world = World::new().await;
    let guard = world.guard_with(|settings| settings.connections = 1).await;
    let client = world.client(&guard, &world.acme).await;
    let block = Bytes::from((0..20_000).map(|n| format!("acme\t{}\tn\t1\n", n + 1000)).collect::<String>());
    let sink = client.copy_in("COPY staging FROM STDIN").await.unwrap();
    pin_mut!(sink);
    sink.send(block.clone()).await.unwrap();
    assert_eq!(sink.finish().await.unwrap(), 20_000);
    let out = client.copy_out("COPY staging TO STDOUT").await.unwrap();
    let bytes: usize = out.map(|part| part.unwrap().len()).fold(0, |sum, len| async move { sum + len }).await;
    assert_eq!(bytes, block.len());
    // A copy that fails at its first row, while the client goes on sending.
    let sink = client.copy_in("COPY staging FROM STDIN").await.unwrap();
    pin_mut!(sink);
    let mut failed = false;
    for _ in 0..50 {
        failed |= sink.feed(Bytes::from_static(b"acme\tnot a number\t\t\n")).await.is_err();
    }
    assert!(sink.finish().await.is_err() || failed);
    assert_eq!(ask(&client, "SELECT count(*) FROM staging").await.unwrap(), "20000");
    drop(client);
    let globex = world.client(&guard, &world.globex).await;
    assert_eq!(ask(&globex, "SELECT count(*) FROM accounts").await.unwrap(), "5");
}

#[tokio::test]
async fn cancels_reach_the_own_query_and_no_other() {
    let world = World::new().await;
    let guard = world.guard().await;
    let (acme, globex) = (world.client(&guard, &world.acme).await, world.client(&guard, &world.globex).await);
    let slow = "SELECT pg_sleep(60)";
    let cancel = acme.cancel_token();
    let running = async { sqlstate(&acme.query(slow, &[]).await.unwrap_err()) };
    let canceller = async {
        // Until it takes effect: the first may come before the query is running, and then does nothing.
        loop {
            cancel.cancel_query(NoTls).await.unwrap();
            tokio::task::yield_now().await;
        }
    };
    let code = tokio::select! { code = running => code, () = canceller => unreachable!() };
    assert_eq!(code, "57014");
    // A cancel of its own may still be on its way.
    assert_eq!(eventually(|| async { ask(&acme, "SELECT 1").await.ok() }).await, "1");
    // Acme's key while only globex runs something: nothing happens to it.
    let running = globex.query_one("SELECT pg_sleep(0.3), 7", &[]);
    let canceller = async {
        for _ in 0..20 {
            cancel.cancel_query(NoTls).await.unwrap();
        }
    };
    let (row, ()) = tokio::join!(running, canceller);
    assert_eq!(row.unwrap().get::<_, i32>(1), 7);
}

#[tokio::test]
async fn frames_by_hand() {
    let world = World::new().await;
    let guard = world.guard_with(|settings| settings.connections = 1).await;
    let mut raw = Raw::open(&world, &guard, &world.acme).await;
    // Nothing of our own shows.
    raw.send(&[query("SELECT 1")]).await;
    assert_eq!(raw.tags(b'Z').await, "TDCZ");
    raw.send(&[sync(), flush(), sync()]).await;
    assert_eq!(raw.tags(b'Z').await + &raw.tags(b'Z').await, "ZZ");
    // A describe in one batch and the execution in the next keep their unnamed statement.
    raw.send(&[parse("SELECT count(*) FROM accounts"), frame(b'D', b"S\0"), sync()]).await;
    assert_eq!(raw.tags(b'Z').await, "1tTZ");
    raw.send(&[bind(), execute(), sync()]).await;
    assert_eq!(raw.tags(b'Z').await, "2DCZ");
    // Flush brings answers without a Sync.
    raw.send(&[parse("SELECT 1"), flush()]).await;
    assert_eq!(raw.tags(b'1').await, "1");
    raw.send(&[bind(), execute(), flush()]).await;
    assert_eq!(raw.tags(b'C').await, "2DC");
    raw.send(&[sync()]).await;
    assert_eq!(raw.tags(b'Z').await, "Z");
    // An error skips to the Sync.
    raw.send(&[parse("SELECT nothing"), bind(), execute(), parse("SELECT 1"), sync(), query("SELECT 2")])
        .await;
    assert_eq!(raw.tags(b'Z').await, "EZ");
    assert_eq!(raw.tags(b'Z').await, "TDCZ");
    // Several batches at once; each is a transaction with a context of its own.
    let batch = [parse("SELECT count(*) FROM accounts"), bind(), execute(), sync()].concat();
    raw.send(&[batch.clone(), batch.clone(), query("SELECT count(*) FROM accounts"), batch]).await;
    for expected in ["12DCZ", "12DCZ", "TDCZ", "12DCZ"] {
        assert_eq!(raw.tags(b'Z').await, expected);
    }
    // COPY in the extended protocol with the Sync libpq sends at once, and the one it sends after the data.
    raw.send(&[parse("COPY staging FROM STDIN"), bind(), execute(), sync()]).await;
    assert_eq!(raw.tags(b'G').await, "12G");
    raw.send(&[frame(b'd', b"acme\t50\tx\t1\n"), frame(b'c', &[]), sync()]).await;
    assert_eq!(raw.tags(b'Z').await, "CZ");
    // The same, failing; what comes late is ignored.
    raw.send(&[query("COPY staging FROM STDIN")]).await;
    assert_eq!(raw.tags(b'G').await, "G");
    raw.send(&[
        frame(b'd', b"acme\tx\n"),
        frame(b'd', b"acme\t51\tx\t1\n"),
        frame(b'c', &[]),
        query("SELECT 3"),
    ])
    .await;
    assert_eq!(raw.tags(b'Z').await, "EZ");
    assert_eq!(raw.tags(b'Z').await, "TDCZ");
    // Given up by the client.
    raw.send(&[query("COPY staging FROM STDIN"), frame(b'f', b"no\0")]).await;
    assert_eq!(raw.tags(b'Z').await, "GEZ");
    // A message nobody knows ends it.
    raw.send(&[frame(b'!', b"")]).await;
    let (_, error) = raw.until(b'E').await.pop().unwrap();
    assert!(String::from_utf8_lossy(&error).contains("08P01"));
}

#[tokio::test]
async fn a_refused_context_answers_as_an_error_in_either_protocol() {
    let world = World::new().await;
    let guard = world.guard_with(|settings| settings.connections = 1).await;
    let mut raw = Raw::open(&world, &guard, &world.acme).await;
    world.admin.batch_execute("ALTER TABLE accounts DISABLE ROW LEVEL SECURITY").await.unwrap();
    let batch = [parse("SELECT * FROM accounts"), bind(), execute(), sync()].concat();
    raw.send(&[
        query("SELECT * FROM accounts"),
        batch.clone(),
        query("BEGIN"),
        query("SELECT * FROM accounts"),
    ])
    .await;
    for _ in 0..4 {
        // No transaction begins.
        let refused = raw.until(b'Z').await;
        assert_eq!(refused.iter().map(|(tag, _)| char::from(*tag)).collect::<String>(), "EZ");
        assert!(String::from_utf8_lossy(&refused[0].1).contains("RF004"));
        assert_eq!(refused[1].1, b"I");
    }
    world.admin.batch_execute("ALTER TABLE accounts ENABLE ROW LEVEL SECURITY").await.unwrap();
    raw.send(&[batch]).await;
    assert_eq!(raw.tags(b'Z').await, "12DDDCZ");
}

#[tokio::test]
async fn a_client_that_vanishes_in_a_transaction_leaves_nothing() {
    let world = World::new().await;
    let guard = world.guard_with(|settings| settings.connections = 1).await;
    let mut raw = Raw::open(&world, &guard, &world.globex).await;
    raw.send(&[query("BEGIN; UPDATE accounts SET owner = 'gone'; SELECT owner FROM accounts")]).await;
    raw.tags(b'Z').await;
    drop(raw);
    let acme = world.client(&guard, &world.acme).await;
    assert_eq!(ask(&acme, "SELECT count(*) FROM accounts").await.unwrap(), "3");
    let globex = world.client(&guard, &world.globex).await;
    assert!(ask(&globex, "SELECT owner FROM accounts").await.unwrap().contains(CANARY));
    // In the middle of a query: it is cancelled, and its connection is free again long before it would have ended.
    let mut raw = Raw::open(&world, &guard, &world.globex).await;
    raw.send(&[query("SELECT pg_sleep(600)")]).await;
    let sleeping = "SELECT count(*) FROM pg_stat_activity WHERE usename = $1 AND wait_event = 'PgSleep'";
    let sleepers = async |expected: i64| {
        eventually(|| async {
            let count: i64 = world.admin.query_one(sleeping, &[&world.role.as_str()]).await.unwrap().get(0);
            (count == expected).then_some(())
        })
        .await;
    };
    sleepers(1).await;
    drop(raw);
    sleepers(0).await;
    assert_eq!(ask(&acme, "SELECT count(*) FROM accounts").await.unwrap(), "3");
}
