//! Attacks through what one database role shares beside rows.

use std::sync::{Arc, Mutex};

use tokio_postgres::{AsyncMessage, NoTls};

use crate::fixture::{World, ask, eventually, fails, sqlstate};

/// Each is closed to the application's role.
const CLOSED: &[&str] = &[
    "SELECT * FROM pg_stat_activity",
    "SELECT * FROM pg_stat_get_activity(NULL)",
    "SELECT * FROM pg_stat_all_tables",
    "SELECT * FROM pg_stat_user_tables",
    "SELECT * FROM pg_statio_all_tables",
    "SELECT * FROM pg_stat_database",
    "SELECT * FROM pg_stat_xact_all_tables",
    "SELECT * FROM pg_stat_get_backend_idset()",
    "SELECT pg_stat_get_live_tuples('accounts'::regclass)",
    "SELECT pg_stat_reset()",
    "SELECT pg_stat_get_backend_activity(1)",
    "SELECT * FROM pg_locks",
    "SELECT * FROM pg_prepared_xacts",
    "SELECT pg_blocking_pids(1)",
    "SELECT pg_cancel_backend(1)",
    "SELECT pg_terminate_backend(1)",
    "SELECT pg_log_backend_memory_contexts(1)",
    "SELECT pg_export_snapshot()",
    "SELECT pg_notify('c', 'x')",
    "SELECT pg_notification_queue_usage()",
    "SELECT pg_advisory_lock(1)",
    "SELECT pg_xact_status(pg_current_xact_id())",
    "SELECT pg_get_multixact_members('1')",
    "SELECT pg_try_advisory_lock(1)",
    "SELECT pg_advisory_xact_lock(1)",
    "SELECT pg_try_advisory_lock_shared(1, 2)",
    "SELECT lo_create(0)",
    "SELECT lo_creat(-1)",
    "SELECT lo_from_bytea(0, 'x')",
    "SELECT lo_open(1, 262144)",
    "SELECT lo_get(1)",
    "SELECT lo_put(1, 0, 'x')",
    "SELECT lo_unlink(1)",
    "SELECT loread(0, 1)",
    "SELECT lowrite(0, 'x')",
    "SELECT pg_relation_size('accounts')",
    "SELECT pg_total_relation_size('accounts')",
    "SELECT pg_table_size('accounts')",
    "SELECT pg_database_size(current_database())",
    "SELECT pg_current_wal_lsn()",
    "SELECT pg_logical_emit_message(false, 'x', 'y')",
    "SELECT pg_read_file('PG_VERSION')",
    "SELECT pg_reload_conf()",
    "CREATE TEMP TABLE accounts (id int)",
    "CREATE TEMP VIEW v AS SELECT 1",
    "DO 'BEGIN NULL; END'",
];

#[tokio::test]
async fn cv23_what_one_role_shares_is_closed() {
    let world = World::new().await;
    let (client, _) = world.as_acme().await;
    let mut open = vec![];
    for sql in CLOSED {
        client.batch_execute("SAVEPOINT s").await.unwrap();
        let answer = ask(&client, sql).await;
        if !matches!(&answer, Err((code, _)) if code == "42501") {
            open.push(format!("{sql}: {answer:?}"));
        }
        client.batch_execute("ROLLBACK TO s").await.unwrap();
    }
    assert!(open.is_empty(), "{open:#?}");
}

#[tokio::test]
async fn cv23_notifications_reach_nobody() {
    let world = World::new().await;
    let guard = world.guard().await;
    let config = world.through(&guard, &world.acme);
    let (acme, mut connection) = config.connect(NoTls).await.unwrap();
    let heard = Arc::new(Mutex::new(vec![]));
    let log = Arc::clone(&heard);
    tokio::spawn(async move {
        while let Some(Ok(message)) = std::future::poll_fn(|cx| connection.poll_message(cx)).await {
            if let AsyncMessage::Notification(notification) = message {
                log.lock().unwrap().push(notification.payload().to_owned());
            }
        }
    });
    // Whoever says so is told. Whoever says so otherwise hears nothing.
    for listen in ["LISTEN c", "BEGIN; SAVEPOINT s", "listen \"c\";", "ROLLBACK TO s; COMMIT"] {
        let said = ask(&acme, listen).await;
        assert_eq!(said.is_err(), listen.contains("c\"") || listen == "LISTEN c", "{said:?}");
        if let Err((code, message)) = said {
            assert!(code == "0A000" && message.contains("reach no tenant"), "{message}");
        }
    }
    assert_eq!(sqlstate(&acme.prepare("LISTEN c").await.unwrap_err()), "0A000");
    assert_eq!(ask(&acme, "SELECT count(*) FROM pg_listening_channels()").await.unwrap(), "0");
    ask(&acme, "/**/ LISTEN c").await.unwrap();
    assert_eq!(ask(&acme, "SELECT count(*) FROM pg_listening_channels()").await.unwrap(), "1");
    let globex = world.client(&guard, &world.globex).await;
    ask(&globex, "NOTIFY c, 'CANARY'").await.unwrap();
    // Even one's own, on the connection that would have had to deliver it before this answer.
    ask(&acme, "NOTIFY c, 'own'; SELECT 1").await.unwrap();
    ask(&acme, "SELECT 1").await.unwrap();
    assert_eq!(*heard.lock().unwrap(), Vec::<String>::new());
}

#[tokio::test]
async fn cv23_the_log_holds_no_literal() {
    let folder = crate::fixture::scratch("log");
    let cluster =
        ringfence_guard::Cluster::start(crate::fixture::cluster_settings(folder.clone())).await.unwrap();
    let world = World::on(&cluster).await;
    let guard = world.guard().await;
    let client = world.client(&guard, &world.acme).await;
    for sql in
        ["SELECT 'SECRET-LITERAL'::int", "SELECT 'SECRET-LITERAL' FROM nowhere", "SYNTAX 'SECRET-LITERAL'"]
    {
        fails(&client, sql).await;
    }
    client.query("SELECT $1::text::int", &[&"SECRET-LITERAL"]).await.unwrap_err();
    cluster.stop().await.unwrap();
    let log = eventually(|| async { std::fs::read_to_string(folder.join("postgres.log")).ok() }).await;
    assert!(log.contains("ready to accept connections"), "{log}");
    assert!(!log.contains("SECRET-LITERAL"), "{log}");
}
