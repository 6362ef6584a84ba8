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

/// What EXPLAIN ANALYZE says of each step: how many rows it gave, and how many were taken away.
#[tokio::test]
async fn cv23_explain_analyze_tells_nothing_of_foreign_rows_in_an_index() {
    let world = World::new().await;
    let guard = world.guard().await;
    let client = world.client(&guard, &world.acme).await;
    let asked = async || {
        let sql = "EXPLAIN (ANALYZE, TIMING OFF, SUMMARY OFF, COSTS OFF) SELECT 1 FROM accounts WHERE owner = 'zero'";
        ask(&client, &format!("SET enable_seqscan = off; {sql}")).await.unwrap()
    };
    // Protected as it is, it would tell.
    world.admin.batch_execute("CREATE INDEX by_owner ON accounts (owner)").await.unwrap();
    assert!(!asked().await.contains("Removed"));
    world.admin.batch_execute(NEW_ROW).await.unwrap();
    let told = asked().await;
    assert!(told.contains("by_owner") && told.contains("Rows Removed by Filter: 1"), "{told}");
    // So it is not protected so, and with what the hint says it does not.
    let protect = "SELECT ringfence.protect('accounts')";
    assert_eq!(crate::fixture::fails(&world.admin, protect).await, "42P16");
    let mend = "DROP INDEX by_owner; CREATE INDEX by_owner ON accounts (tenant_id, owner)";
    world.admin.batch_execute(mend).await.unwrap();
    world.admin.batch_execute(protect).await.unwrap();
    let told = asked().await;
    assert!(told.contains("by_owner") && !told.contains("Removed"), "{told}");
}

/// Samples are kept of what indexes and extended statistics are made of, and of partitions, apart from columns.
#[tokio::test]
async fn cv23_statistics_hold_no_values() {
    let world = World::new().await;
    let made = "CREATE TABLE parted (tenant_id text NOT NULL, mail text) PARTITION BY HASH (tenant_id);
        CREATE TABLE parted_0 PARTITION OF parted FOR VALUES WITH (MODULUS 1, REMAINDER 0);
        CREATE INDEX ON parted (tenant_id, upper(mail));
        INSERT INTO parted SELECT 'globex', 'mail ' || n FROM generate_series(1, 50) n;
        CREATE INDEX ON accounts (tenant_id, lower(owner));
        CREATE STATISTICS of_two ON owner, balance FROM accounts;
        CREATE STATISTICS of_what_is_made ON (lower(owner)) FROM accounts;
        ANALYZE;
        SELECT ringfence.protect('accounts'), ringfence.protect('parted');";
    world.superuser().await.batch_execute(made).await.unwrap();
    world.superuser().await.batch_execute("ANALYZE").await.unwrap();
    let sql = "SELECT format('%s.%s', s.starelid::regclass, s.staattnum) FROM pg_statistic s JOIN pg_class c ON c.oid = s.starelid
            WHERE c.relnamespace = 'public'::regnamespace AND c.relname <> 'staging'
        UNION ALL SELECT x.stxname FROM pg_statistic_ext_data d JOIN pg_statistic_ext x ON x.oid = d.stxoid";
    assert_eq!(ask(&world.admin, sql).await.unwrap(), "");
}
