//! Tables whose shape would answer for other tenants' rows are not protected, they are refused.

use ringfence_guard::{install::Install, role::RoleName};

use crate::fixture::{World, ask, fails};

/// Makes a table `t` and has it protected, or refused with a message that says this.
async fn protected(world: &World, ddl: &str, expected: Option<&str>) {
    world.admin.batch_execute(&format!("DROP TABLE IF EXISTS u, t CASCADE; {ddl}")).await.unwrap();
    let result = ringfence_guard::install::table_protect(&world.admin, "t").await;
    match (result, expected) {
        (Ok(()), None) => {}
        (Err(error), Some(part)) if error.to_string().contains(part) => {}
        (other, _) => panic!("{ddl}: {other:?}"),
    }
}

#[tokio::test]
async fn protect_refuses_indexes_that_tell_and_ids_that_are_equal() {
    let world = World::new().await;
    let check = async |ddl: &str, expected| protected(&world, ddl, expected).await;
    world.superuser().await.batch_execute("CREATE EXTENSION btree_gist").await.unwrap();
    let of_two = |with: &str| {
        format!(
            "CREATE TABLE t (tenant_id text NOT NULL, r int4range, EXCLUDE USING gist (tenant_id WITH {with}, r WITH &&))"
        )
    };
    check(&of_two("<>"), Some("unique index without")).await;
    check(&of_two("="), None).await;
    for (index, expected) in [
        ("(m)", Some("index without tenant_id")),
        ("USING hash (m)", Some("index without tenant_id")),
        ("USING brin (at)", Some("index without tenant_id")),
        ("(m) INCLUDE (tenant_id)", Some("index without tenant_id")),
        ("(m) WHERE at IS NULL", Some("index without tenant_id")),
        ("(m, tenant_id)", None),
        ("(tenant_id, m)", None),
        // Asked for what is in it after row security only.
        ("USING gin (to_tsvector('simple', m))", None),
    ] {
        let ddl = format!(
            "CREATE TABLE t (tenant_id text NOT NULL, m text, at timestamptz); CREATE INDEX ON t {index}"
        );
        check(&ddl, expected).await;
    }
    let keep = "SELECT ringfence.protect('t', keep_indexes => true)";
    world.admin.batch_execute(&format!("CREATE INDEX ON t (m); {keep}")).await.unwrap();
    let loose = "CREATE COLLATION IF NOT EXISTS loose (provider = icu, locale = 'und-u-ka-shifted', deterministic = false);
        CREATE TABLE t (tenant_id text COLLATE loose NOT NULL)";
    check(loose, Some("different ids are equal")).await;
}

#[tokio::test]
async fn protect_refuses_shapes_that_tell() {
    let world = World::new().await;
    let check = async |ddl: &str, expected| protected(&world, ddl, expected).await;
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
async fn a_table_is_protected_by_a_column_of_another_name() {
    let world = World::new().await;
    let check = async |ddl: &str, expected: Option<&str>| {
        let sql = format!("DROP TABLE IF EXISTS u, t CASCADE; {ddl}");
        world.admin.batch_execute(&sql).await.unwrap();
        let protect = "SELECT ringfence.protect('t', tenant_column => 'Who''s \"it\"')";
        match (world.admin.batch_execute(protect).await, expected) {
            (Ok(()), None) => {}
            (Err(error), Some(part)) if error.as_db_error().unwrap().message().contains(part) => {}
            (other, _) => panic!("{ddl}: {other:?}"),
        }
    };
    let own = r#""Who's ""it""" text NOT NULL"#;
    let name = r#""Who's ""it""""#;
    check("CREATE TABLE t (tenant_id text NOT NULL)", Some("no column \"Who's \"it\" text NOT NULL\"")).await;
    check(&format!("CREATE TABLE t (tenant_id text NOT NULL, {name} text)"), Some("no column")).await;
    check(&format!("CREATE TABLE t (tenant_id bigint, {own}, UNIQUE ({name}, tenant_id))"), None).await;
    let alone = format!("CREATE TABLE t (tenant_id text, {own}, UNIQUE (tenant_id))");
    check(&alone, Some("unique index without Who's \"it\": public.t_tenant_id_key")).await;
    // Each table's own: those of `accounts` are called tenant_id.
    let pairs = |pairs: &str| {
        format!(
            "CREATE TABLE t (tenant_id text, account int, {own}, FOREIGN KEY ({pairs}) REFERENCES accounts (tenant_id, id))"
        )
    };
    check(&pairs(&format!("{name}, account")), None).await;
    check(&pairs("tenant_id, account"), Some("foreign key without Who's \"it\": t_tenant_id_account_fkey"))
        .await;
    // And the other way around, when what is pointed at is protected again.
    let pointed_at = |pairs: &str| {
        format!(
            "CREATE TABLE t (tenant_id text, id int, {own}, UNIQUE ({name}, id), UNIQUE (tenant_id, {name}, id));
             CREATE TABLE u (tenant_id text NOT NULL, {own}, t int, {pairs}); SELECT ringfence.protect('u')"
        )
    };
    check(&pointed_at(&format!("FOREIGN KEY (tenant_id, t) REFERENCES t ({name}, id)")), None).await;
    let by_other = format!("FOREIGN KEY ({name}, t) REFERENCES t ({name}, id)");
    check(&pointed_at(&by_other), Some("foreign key without")).await;

    check(&format!("CREATE TABLE t ({own}, tenant_id bigint, id int)"), None).await;
    let rows = "SELECT ringfence.protect('t', set_default => true, tenant_column => 'Who''s \"it\"');
        INSERT INTO t VALUES ('acme', 1, 1), ('globex', 2, 2)";
    world.admin.batch_execute(rows).await.unwrap();
    let (client, _) = world.as_acme().await;
    assert_eq!(ask(&client, "SELECT id FROM t").await.unwrap(), "1");
    client
        .batch_execute("INSERT INTO t (tenant_id, id) VALUES (2, 3); UPDATE t SET id = id + 10")
        .await
        .unwrap();
    assert_eq!(ask(&client, "SELECT string_agg(id::text, ' ' ORDER BY id) FROM t").await.unwrap(), "11 13");
    assert_eq!(fails(&client, &format!("UPDATE t SET {name} = 'globex'")).await, "42501");
    // What protects it again at a plane's start goes by what is recorded.
    ringfence_guard::install::table_protect(&world.admin, "t").await.unwrap();
    let recorded = "SELECT tenant_column FROM ringfence.protected WHERE relation = 't'::regclass";
    assert_eq!(ask(&world.admin, recorded).await.unwrap(), "Who's \"it\"");
    assert_eq!(ask(&world.admin, "SELECT count(*) FROM ringfence.unsound").await.unwrap(), "0");
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
    assert_eq!(ask(&client, "SELECT tenant_id FROM payments WHERE id = 70").await.unwrap(), "acme");
    assert_eq!(fails(&client, "INSERT INTO accounts (id, owner, balance) VALUES (70, '', 1)").await, "42501");
}

#[tokio::test]
async fn what_an_older_edition_protects_is_known_by_tenant_id() {
    let mut world = World::new().await;
    let older = "DROP FUNCTION ringfence.protect(regclass, boolean, boolean, name, boolean);
        CREATE FUNCTION ringfence.protect(relation regclass, set_default boolean DEFAULT false, keep_statistics boolean DEFAULT false)
            RETURNS void LANGUAGE sql AS '';
        ALTER TABLE ringfence.protected DROP COLUMN tenant_column; UPDATE ringfence.installed SET version = 2";
    world.admin.batch_execute(older).await.unwrap();
    let owner = ask(&world.admin, "SELECT tableowner FROM pg_tables WHERE tablename = 'installed'").await;
    let install = Install::new(world.role.clone(), RoleName::new(&owner.unwrap()).unwrap());
    for _ in 0..2 {
        install.run(&mut world.admin).await.unwrap();
        let by = "SELECT string_agg(DISTINCT tenant_column, ' ') FROM ringfence.protected";
        assert_eq!(ask(&world.admin, by).await.unwrap(), "tenant_id");
        // Which of two it is would not be known.
        world.admin.batch_execute("SELECT ringfence.protect('accounts')").await.unwrap();
    }
}
