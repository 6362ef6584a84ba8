//! Attacks on other tenants' rows, by every statement that reads or writes, through the guard.

use bytes::Bytes;
use futures_util::StreamExt;

use crate::fixture::{CANARY, World, ask, fails, sqlstate};

/// Statements that would show a row of globex's if any layer forgot. None may; most simply show acme's.
const READS: &[&str] = &[
    "SELECT * FROM accounts",
    "TABLE payments",
    "SELECT * FROM accounts WHERE tenant_id = 'globex'",
    "SELECT * FROM accounts WHERE tenant_id = 'acme' OR true",
    "SELECT * FROM accounts WHERE tenant_id <> ringfence.tenant_id()",
    "SELECT p.* FROM payments p RIGHT JOIN accounts a ON true",
    "SELECT (SELECT string_agg(owner, ',') FROM accounts)",
    "SELECT * FROM accounts a WHERE EXISTS (SELECT FROM accounts b WHERE b.tenant_id <> a.tenant_id)",
    "SELECT * FROM accounts TABLESAMPLE BERNOULLI (100)",
    "SELECT * FROM accounts WHERE ctid = ANY (ARRAY(SELECT format('(0,%s)', n)::tid FROM generate_series(1, 20) n))",
    "SELECT * FROM accounts FOR UPDATE",
    "SELECT query_to_xml('SELECT * FROM accounts', true, false, '')",
    "SELECT table_to_xml('accounts', true, false, '')",
    "WITH gone AS (DELETE FROM payments RETURNING *) SELECT * FROM gone",
    "UPDATE accounts SET balance = balance RETURNING *",
    "UPDATE accounts a SET balance = 0 FROM accounts b RETURNING b.*",
    "INSERT INTO accounts VALUES ('acme', 1, 'x', 0) ON CONFLICT (tenant_id, id) DO UPDATE SET owner = accounts.owner RETURNING *",
    "MERGE INTO accounts a USING accounts b ON true WHEN MATCHED THEN UPDATE SET owner = b.owner; SELECT * FROM accounts",
    "PREPARE p AS SELECT * FROM accounts; EXECUTE p",
    "BEGIN; DECLARE c CURSOR WITH HOLD FOR SELECT * FROM accounts; COMMIT; FETCH ALL FROM c",
    "EXPLAIN (ANALYZE, VERBOSE) SELECT * FROM accounts",
    "COPY accounts TO STDOUT",
    "COPY (SELECT * FROM payments) TO STDOUT",
    "SET ROLE postgres; SELECT * FROM accounts",
    "SET SESSION AUTHORIZATION postgres; SELECT * FROM accounts",
    "RESET ROLE; SELECT * FROM accounts",
    "SET row_security = off; SELECT * FROM accounts",
    "SELECT * FROM pg_stats",
    "SELECT * FROM pg_statistic",
    "SELECT * FROM pg_stat_activity",
    "SELECT * FROM pg_prepared_statements",
    "SELECT * FROM pg_cursors",
    "SELECT pg_read_file('postgresql.conf')",
    "SELECT * FROM pg_ls_dir('.')",
    "COPY accounts TO '/tmp/x'",
    "COPY accounts TO PROGRAM 'cat'",
    "ROLLBACK; SELECT * FROM accounts",
    "COMMIT; SELECT * FROM accounts",
    "COMMIT AND CHAIN; SELECT * FROM accounts",
    "SET TRANSACTION SNAPSHOT '00000003-0000001B-1'; SELECT * FROM accounts",
];

#[tokio::test]
async fn cv23_no_statement_shows_a_foreign_row() {
    let world = World::new().await;
    let guard = world.guard().await;
    let before = world.globex_hash().await;
    for sql in READS {
        let client = world.client(&guard, &world.acme).await;
        let simple = format!("{:?}", ask(&client, sql).await);
        assert!(!simple.contains(CANARY), "{sql}: {simple}");
        let client = world.client(&guard, &world.acme).await;
        if let Ok(rows) = client.query(*sql, &[]).await {
            assert!(!format!("{rows:?}").contains(CANARY), "{sql}");
        }
    }
    assert_eq!(world.globex_hash().await, before);
}

#[tokio::test]
async fn cv23_the_tenants_own_rows_are_all_there() {
    let world = World::new().await;
    let guard = world.guard().await;
    let (acme, globex) = (world.client(&guard, &world.acme).await, world.client(&guard, &world.globex).await);
    assert_eq!(ask(&acme, "SELECT count(*) FROM accounts").await.unwrap(), "3");
    assert_eq!(
        ask(&globex, "SELECT count(*), min(owner) FROM accounts").await.unwrap(),
        format!("5|{CANARY}-1")
    );
    let rows = acme.query("SELECT owner FROM accounts WHERE id = $1", &[&2]).await.unwrap();
    assert_eq!(rows.iter().map(|row| row.get::<_, String>(0)).collect::<Vec<_>>(), ["acme-2"]);
    assert_eq!(ask(&acme, "SELECT ringfence.tenant_id()").await.unwrap(), "acme");
}

/// Statements that would change what is globex's, or the protection itself, and how each is refused.
const WRITES: &[(&str, &str)] = &[
    ("UPDATE accounts SET tenant_id = 'globex'", "42501"),
    ("UPDATE accounts SET tenant_id = 'globex', id = 99 WHERE id = 1", "42501"),
    ("INSERT INTO accounts VALUES ('globex', 77, 'x', 0)", "42501"),
    ("INSERT INTO accounts VALUES ('globex', 1, 'x', 0) ON CONFLICT DO NOTHING", "42501"),
    (
        "INSERT INTO accounts VALUES ('globex', 1, 'x', 0) ON CONFLICT (tenant_id, id) DO UPDATE SET owner = 'x'",
        "42501",
    ),
    ("TRUNCATE accounts", "42501"),
    ("TRUNCATE accounts CASCADE", "42501"),
    ("ALTER TABLE accounts DISABLE ROW LEVEL SECURITY", "42501"),
    ("ALTER TABLE accounts NO FORCE ROW LEVEL SECURITY", "42501"),
    ("ALTER TABLE accounts OWNER TO CURRENT_USER", "42501"),
    ("ALTER TABLE accounts ADD COLUMN x int", "42501"),
    ("DROP POLICY ringfence_tenant ON accounts", "42501"),
    ("ALTER POLICY ringfence_tenant ON accounts USING (true)", "42501"),
    ("CREATE POLICY mine ON accounts USING (true)", "42501"),
    (
        "CREATE TRIGGER t AFTER INSERT ON accounts EXECUTE FUNCTION suppress_redundant_updates_trigger()",
        "42501",
    ),
    ("CREATE RULE r AS ON SELECT TO accounts DO INSTEAD NOTHING", "42501"),
    ("CREATE INDEX ON accounts (owner)", "42501"),
    ("CREATE TABLE mine (x int)", "42501"),
    ("CREATE TABLE mine (t text, id int, FOREIGN KEY (t, id) REFERENCES accounts)", "42501"),
    ("CREATE VIEW mine AS SELECT * FROM accounts", "42501"),
    ("CREATE MATERIALIZED VIEW mine AS SELECT 1", "42501"),
    ("CREATE FUNCTION mine() RETURNS int LANGUAGE sql AS 'SELECT 1'", "42501"),
    ("CREATE SCHEMA mine", "42501"),
    ("CREATE EXTENSION pgcrypto", "42501"),
    ("DROP TABLE accounts", "42501"),
    ("COMMENT ON TABLE accounts IS 'x'", "42501"),
    ("ANALYZE accounts; SELECT 1/0", "22012"),
    ("SELECT lo_create(0)", "42501"),
    ("GRANT SELECT ON accounts TO PUBLIC; SELECT 1/0", "22012"),
    ("ALTER ROLE CURRENT_USER BYPASSRLS", "42501"),
    ("ALTER ROLE CURRENT_USER SUPERUSER", "42501"),
    ("CREATE ROLE mine", "42501"),
    ("CREATE DATABASE mine", "42501"),
    ("ALTER SYSTEM SET fsync = off", "42501"),
    ("SET session_replication_role = replica", "42501"),
    ("DO 'BEGIN NULL; END'", "42501"),
];

#[tokio::test]
async fn cv23_no_statement_writes_a_foreign_row_or_loosens_the_protection() {
    let world = World::new().await;
    let guard = world.guard().await;
    let before = world.globex_hash().await;
    let client = world.client(&guard, &world.acme).await;
    let mut wrong = vec![];
    for (sql, expected) in WRITES {
        match ask(&client, sql).await {
            Err((code, _)) if code == *expected => {}
            other => wrong.push(format!("{sql}: {other:?}")),
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    // Rows that are not there are not changed, and not missed.
    for sql in [
        "DELETE FROM payments WHERE tenant_id = 'globex'",
        "UPDATE accounts SET owner = 'x' WHERE tenant_id = 'globex'",
        "UPDATE accounts SET balance = -1",
        "DELETE FROM payments",
        "DELETE FROM accounts",
    ] {
        ask(&client, sql).await.unwrap();
    }
    assert_eq!(world.globex_hash().await, before);
    assert_eq!(ask(&client, "SELECT count(*) FROM accounts").await.unwrap(), "0");
}

#[tokio::test]
async fn cv23_copy_into_a_protected_table_is_refused_and_out_of_it_gives_own_rows() {
    let world = World::new().await;
    let guard = world.guard().await;
    let client = world.client(&guard, &world.acme).await;
    let before = world.globex_hash().await;
    // Postgres itself has no COPY FROM under row security.
    let refused = client.copy_in::<_, Bytes>("COPY accounts FROM STDIN").await.err().unwrap();
    assert_eq!(sqlstate(&refused), "0A000");
    // A copy that is refused leaves this library's client out of step, whoever serves it.
    let client = world.client(&guard, &world.acme).await;
    let out = client.copy_out("COPY accounts TO STDOUT").await.unwrap();
    let out: Vec<Bytes> = out.map(Result::unwrap).collect().await;
    let text = String::from_utf8(out.concat()).unwrap();
    assert!(text.contains("acme\t2\tacme-2\t200\n") && !text.contains(CANARY), "{text}");
    assert_eq!(world.globex_hash().await, before);
}

#[tokio::test]
async fn cv23_a_plan_made_for_one_tenant_shows_another_its_own_rows() {
    let world = World::new().await;
    // On one server connection straight to Postgres, so that the plan is certainly the same one.
    let (client, backend) = world.direct().await;
    client.batch_execute("PREPARE p AS SELECT count(*), min(owner) FROM accounts").await.unwrap();
    for _ in 0..8 {
        for (tenant, expected) in
            [(&world.acme, "3|acme-1".to_owned()), (&world.globex, format!("5|{CANARY}-1"))]
        {
            // What the guard does between two tenants, but for the statements.
            client.batch_execute("DISCARD SEQUENCES").await.unwrap();
            assert_eq!(fails(&client, "EXECUTE p").await, "55000");
            world.mint(tenant, backend).set(&client).await.unwrap();
            assert_eq!(ask(&client, "EXECUTE p").await.unwrap(), expected);
        }
    }
}

#[tokio::test]
async fn a_held_cursor_does_not_outlive_its_client() {
    let world = World::new().await;
    let guard = world.guard_with(|settings| settings.connections = 1).await;
    let globex = world.client(&guard, &world.globex).await;
    let declare = "BEGIN; DECLARE c CURSOR WITH HOLD FOR SELECT owner FROM accounts; COMMIT";
    ask(&globex, declare).await.unwrap();
    assert!(ask(&globex, "FETCH ALL FROM c").await.unwrap().contains(CANARY));
    drop(globex);
    let acme = world.client(&guard, &world.acme).await;
    assert_eq!(fails(&acme, "FETCH ALL FROM c").await, "34000");
    assert_eq!(ask(&acme, "SELECT count(*) FROM pg_cursors").await.unwrap(), "0");
}
