//! Attacks that read no row and still ask whether one exists: answers must be the same whether it does or not.

use crate::fixture::{CANARY, World, ask};

/// Asks the same of a database where globex has a row and of one where it has not; the answers must be equal.
async fn same(setup: &str, question: &str) {
    let world = World::new().await;
    let guard = world.guard().await;
    let client = world.client(&guard, &world.acme).await;
    // Twice, so that nothing differs by being the first.
    let without = ask(&client, question).await;
    assert_eq!(without, ask(&client, question).await, "{question}");
    world.admin.batch_execute(setup).await.unwrap();
    let with = ask(&client, question).await;
    assert_eq!(without, with, "{question}");
    assert!(!format!("{with:?}").contains(CANARY), "{question}");
}

const NEW_ROW: &str = "INSERT INTO accounts VALUES ('globex', 42, 'zero', 4242)";

#[tokio::test]
async fn cv23_duplicate_keys_tell_nothing() {
    let insert = "BEGIN; INSERT INTO accounts VALUES ('acme', 42, 'x', 0); ROLLBACK";
    same(NEW_ROW, insert).await;
    same(NEW_ROW, "INSERT INTO accounts VALUES ('globex', 42, 'x', 0)").await;
}

#[tokio::test]
async fn cv23_foreign_keys_tell_nothing() {
    same(NEW_ROW, "INSERT INTO payments VALUES ('acme', 42, 42, 0)").await;
    same(NEW_ROW, "INSERT INTO payments VALUES ('globex', 42, 42, 0)").await;
}

#[tokio::test]
async fn cv23_errors_while_scanning_tell_nothing() {
    same(NEW_ROW, "SELECT count(*) FROM accounts WHERE 1 / (balance - 4242) > 0").await;
    same(NEW_ROW, "SELECT count(*) FROM accounts WHERE owner = 'zero' AND owner::int > 0").await;
    same(NEW_ROW, "SELECT 1 / (SELECT count(*) FROM accounts WHERE id = 42)").await;
    same(NEW_ROW, "SELECT count(*) FROM accounts WHERE CASE WHEN owner = 'zero' THEN pg_sleep(60) IS NULL ELSE true END").await;
}

#[tokio::test]
async fn cv23_explain_tells_nothing_of_foreign_values() {
    let many = "INSERT INTO accounts SELECT 'globex', n, 'popular', 7 FROM generate_series(100, 160) n;
        ANALYZE accounts";
    // Estimates follow the size of the whole table, which is a known residue, so the same number goes in before too.
    let world = World::new().await;
    let filler = "INSERT INTO accounts SELECT 'globex', n, 'other', 8 FROM generate_series(100, 160) n; ANALYZE accounts";
    let guard = world.guard().await;
    let client = world.client(&guard, &world.acme).await;
    let questions = [
        "EXPLAIN SELECT * FROM accounts WHERE owner = 'popular'",
        "EXPLAIN SELECT * FROM accounts WHERE balance < 8",
        "EXPLAIN SELECT * FROM accounts WHERE tenant_id = 'globex'",
        "EXPLAIN SELECT DISTINCT owner FROM accounts",
    ];
    let mut without = vec![];
    world.admin.batch_execute(filler).await.unwrap();
    for question in questions {
        without.push(ask(&client, question).await.unwrap());
    }
    world
        .admin
        .batch_execute("DELETE FROM accounts WHERE id >= 100; VACUUM FULL accounts")
        .await
        .unwrap_err();
    world.admin.batch_execute("DELETE FROM accounts WHERE id >= 100").await.unwrap();
    world.admin.batch_execute("VACUUM FULL accounts").await.unwrap();
    world.admin.batch_execute(many).await.unwrap();
    for (question, without) in questions.into_iter().zip(without) {
        assert_eq!(ask(&client, question).await.unwrap(), without, "{question}");
    }
}

#[tokio::test]
async fn cv23_statistics_hold_no_values() {
    let world = World::new().await;
    world.admin.batch_execute("ANALYZE").await.unwrap();
    let sql =
        "SELECT count(*) FROM pg_statistic WHERE starelid IN ('accounts'::regclass, 'payments'::regclass)";
    let rows: i64 = world.admin.query_one(sql, &[]).await.unwrap().get(0);
    assert_eq!(rows, 0);
}
