//! Tables whose shape would answer for other tenants' rows are not protected, they are refused.

use crate::fixture::{World, fails};

#[tokio::test]
async fn protect_refuses_shapes_that_tell() {
    let world = World::new().await;
    let check = async |ddl: &str, expected: Option<&str>| {
        world.admin.batch_execute(&format!("DROP TABLE IF EXISTS u, t CASCADE; {ddl}")).await.unwrap();
        let result = ringfence_guard::install::table_protect(&world.admin, "t").await;
        match (result, expected) {
            (Ok(()), None) => {}
            (Err(error), Some(part)) if error.to_string().contains(part) => {}
            (other, _) => panic!("{ddl}: {other:?}"),
        }
    };
    check("CREATE TABLE t (tenant_id text NOT NULL, id int)", None).await;
    check("CREATE TABLE t (tenant_id text NOT NULL, id int, PRIMARY KEY (tenant_id, id))", None).await;
    check("CREATE TABLE t (tenant_id text NOT NULL, id int) PARTITION BY LIST (tenant_id)", None).await;
    check("CREATE TABLE t (id int)", Some("tenant_id text NOT NULL")).await;
    check("CREATE TABLE t (tenant_id text)", Some("tenant_id text NOT NULL")).await;
    check("CREATE TABLE t (tenant_id varchar NOT NULL)", Some("tenant_id text NOT NULL")).await;
    check(
        "CREATE TABLE t (tenant_id text NOT NULL, id int PRIMARY KEY)",
        Some("unique index without tenant_id"),
    )
    .await;
    check("CREATE TABLE t (tenant_id text NOT NULL, mail text UNIQUE)", Some("unique index without")).await;
    let include =
        "CREATE TABLE t (tenant_id text NOT NULL, id int); CREATE UNIQUE INDEX ON t (id) INCLUDE (tenant_id)";
    check(include, Some("unique index without")).await;
    let expression = "CREATE TABLE t (tenant_id text NOT NULL, m text); CREATE UNIQUE INDEX ON t (lower(m))";
    check(expression, Some("unique index without")).await;
    let exclusion = "CREATE TABLE t (tenant_id text NOT NULL, r int4range, EXCLUDE USING gist (r WITH &&))";
    check(exclusion, Some("unique index without")).await;
    let pointed_at = "CREATE TABLE t (tenant_id text NOT NULL, id int, UNIQUE (tenant_id, id));
        CREATE TABLE u (x text, id int, FOREIGN KEY (x, id) REFERENCES t (tenant_id, id))";
    check(pointed_at, Some("foreign key without tenant_id")).await;
    let crossed = "CREATE TABLE t (tenant_id text NOT NULL, other text, account int,
        FOREIGN KEY (other, account) REFERENCES accounts (tenant_id, id))";
    check(crossed, Some("foreign key without tenant_id")).await;
    let carried = "CREATE TABLE t (tenant_id text NOT NULL, account int,
        FOREIGN KEY (account, tenant_id) REFERENCES accounts (id, tenant_id))";
    check(carried, None).await;
    let shared = "CREATE TABLE u (code text PRIMARY KEY); CREATE TABLE t (tenant_id text NOT NULL, c text REFERENCES u)";
    check(shared, None).await;
    check("CREATE VIEW t AS SELECT 'x'::text AS tenant_id", Some("not a table")).await;
    world.admin.batch_execute("DROP VIEW t").await.unwrap();
    let owned = format!("CREATE TABLE t (tenant_id text NOT NULL); ALTER TABLE t OWNER TO {}", world.role);
    check(&owned, Some("belongs to the application's role")).await;
}

#[tokio::test]
async fn tables_shared_by_all_tenants_are_listed() {
    let world = World::new().await;
    let sql = format!(
        "CREATE TABLE currencies (code text); GRANT SELECT ON currencies TO {};
         CREATE TABLE hidden (x int); SELECT 1",
        world.role
    );
    world.admin.batch_execute(&sql).await.unwrap();
    let rows =
        world.admin.query("SELECT relation::text FROM ringfence.shared ORDER BY 1", &[]).await.unwrap();
    assert_eq!(rows.iter().map(|row| row.get::<_, String>(0)).collect::<Vec<_>>(), ["currencies", "staging"]);
}

#[tokio::test]
async fn a_default_of_tenant_id_is_set_where_asked() {
    let world = World::new().await;
    world.admin.batch_execute("SELECT ringfence.protect('payments', set_default => true)").await.unwrap();
    let (client, _) = world.as_acme().await;
    client.batch_execute("INSERT INTO payments (id, account, amount) VALUES (70, 1, 1)").await.unwrap();
    assert_eq!(
        crate::fixture::ask(&client, "SELECT tenant_id FROM payments WHERE id = 70").await.unwrap(),
        "acme"
    );
    assert_eq!(fails(&client, "INSERT INTO accounts (id, owner, balance) VALUES (70, '', 1)").await, "42501");
}
