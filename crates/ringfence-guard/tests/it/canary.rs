//! What canaries find in databases that let rows out, and in those that don't.

use ringfence_guard::{
    canary::{Canaries, CanaryError, Outcome, Report},
    lint::Known,
};
use tokio_postgres::Client;

use crate::fixture::World;

/// Tables as applications have them, where a tenant is a row with a number and policies ask a setting.
const SETTINGS: &str = "
    DROP SCHEMA ringfence CASCADE; DROP SCHEMA public CASCADE; CREATE SCHEMA public; GRANT USAGE ON SCHEMA public TO {app};
    CREATE TYPE state AS ENUM ('open', 'paid');
    CREATE DOMAIN money_amount AS numeric(8,2) CHECK (value >= 0);
    CREATE TABLE organizations (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name text NOT NULL);
    CREATE TABLE countries (code char(2) PRIMARY KEY, label text NOT NULL);
    CREATE TABLE customers (id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
        organization_id bigint NOT NULL REFERENCES organizations, country char(2) NOT NULL REFERENCES countries,
        email varchar(30) NOT NULL, tier text NOT NULL DEFAULT 'free' CHECK (tier IN ('free', 'gold')), born date,
        UNIQUE (organization_id, email));
    CREATE TABLE orders (id uuid PRIMARY KEY, organization_id bigint NOT NULL REFERENCES organizations,
        customer_id uuid NOT NULL REFERENCES customers, parent_id uuid REFERENCES orders, stands state NOT NULL,
        total money_amount NOT NULL, doubled numeric GENERATED ALWAYS AS (total * 2) STORED, tags text[] NOT NULL,
        placed timestamptz NOT NULL DEFAULT now(), about jsonb);
    CREATE TABLE order_lines (order_id uuid NOT NULL REFERENCES orders ON DELETE CASCADE, at smallint NOT NULL,
        what text NOT NULL, PRIMARY KEY (order_id, at));
    CREATE TABLE events (organization_id bigint NOT NULL, at timestamptz NOT NULL, what text)
        PARTITION BY RANGE (at);
    CREATE TABLE events_old PARTITION OF events FOR VALUES FROM ('2020-01-01') TO ('2021-01-01');
    CREATE TABLE events_new PARTITION OF events FOR VALUES FROM ('2021-01-01') TO (MAXVALUE);
    GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {app};
    REVOKE ALL ON events_old, events_new FROM {app};";

/// Row security by a setting, which is sound but for who may say it.
const POLICIES: &str = "
    DO $$ DECLARE t text; BEGIN
        FOREACH t IN ARRAY ARRAY['customers', 'orders', 'events'] LOOP
            EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', t);
            EXECUTE format('CREATE POLICY own ON %I USING (organization_id = current_setting(''app.org'')::bigint)', t);
        END LOOP;
    END $$;
    ALTER TABLE organizations ENABLE ROW LEVEL SECURITY;
    CREATE POLICY own ON organizations USING (id = current_setting('app.org')::bigint);
    ALTER TABLE order_lines ENABLE ROW LEVEL SECURITY;
    CREATE POLICY own ON order_lines USING (EXISTS (SELECT FROM orders o WHERE o.id = order_id));";

fn canaries(world: &World) -> Canaries {
    let known = Known { roles: vec![world.role.to_string()], columns: Vec::new() };
    Canaries { known, ..Canaries::default() }
}

/// What was found, as `what object`, sorted and each once.
fn told(report: &Report, outcome: Outcome) -> Vec<String> {
    let mut told: Vec<String> =
        report.of(outcome).map(|one| format!("{} {}", one.what, one.object)).collect();
    told.sort();
    told.dedup();
    told
}

async fn rows(client: &Client, tables: &[&str]) -> Vec<i64> {
    let mut rows = Vec::new();
    for table in tables {
        rows.push(client.query_one(&format!("SELECT count(*) FROM {table}"), &[]).await.unwrap().get(0));
    }
    rows
}

#[tokio::test]
async fn what_the_guard_installs_lets_no_canary_through() {
    let world = World::new().await;
    let mut client = world.superuser().await;
    let tables = ["accounts", "payments", "staging", "ringfence.backend"];
    let before = (rows(&client, &tables).await, world.globex_hash().await);
    let shared = vec!["public.staging".to_owned()];
    let report = Canaries { shared, ..canaries(&world) }.prove(&mut client, |_| ()).await.unwrap();
    assert_eq!(report.planted, ["public.accounts", "public.payments"]);
    assert_eq!(
        (told(&report, Outcome::Leak), told(&report, Outcome::Tells)),
        (vec![], vec![]),
        "{report:#?}"
    );
    assert_eq!(told(&report, Outcome::Untried), Vec::<String>::new(), "{report:#?}");
    for what in [
        "read",
        "find",
        "update",
        "update-all",
        "give",
        "delete",
        "delete-all",
        "insert",
        "unique",
        "reference",
    ] {
        assert_eq!(
            report.tries.iter().filter(|one| one.what == what && one.object == "public.payments").count(),
            2,
            "{what}"
        );
    }
    assert_eq!(report.tries.iter().filter(|one| one.what == "claim").count(), 2);
    assert_eq!((rows(&client, &tables).await, world.globex_hash().await), before, "all is as it was");
}

#[tokio::test]
async fn a_way_out_is_found_by_what_it_lets_out() {
    let world = World::new().await;
    let mut client = world.superuser().await;
    client.batch_execute("DROP TABLE staging").await.unwrap();
    for (ddl, what, object, outcome) in HOLES {
        let transaction = client.transaction().await.unwrap();
        let ddl = ddl.replace("{app}", world.role.as_str());
        transaction.batch_execute(&ddl).await.unwrap_or_else(|error| panic!("{ddl}: {error:?}"));
        let report = canaries(&world).within(&transaction, |_| ()).await.unwrap();
        let found = report.of(*outcome).filter(|one| one.what == *what && one.object == *object);
        let of_it = report.tries.iter().filter(|one| one.object == *object || one.outcome > Outcome::Blind);
        let of_it =
            || of_it.map(|one| format!("{} {}: {:?} {}", one.what, one.object, one.outcome, one.detail));
        assert_eq!(found.count(), 2, "{ddl}: {what} {object}: {:#?}", of_it().collect::<Vec<_>>());
        transaction.rollback().await.unwrap();
    }
}

/// A hole, and the try that shows it.
const HOLES: &[(&str, &str, &str, Outcome)] = &[
    ("ALTER TABLE accounts DISABLE ROW LEVEL SECURITY", "read", "public.accounts", Outcome::Leak),
    ("ALTER TABLE accounts DISABLE ROW LEVEL SECURITY", "find", "public.accounts", Outcome::Leak),
    ("ALTER TABLE accounts DISABLE ROW LEVEL SECURITY", "insert", "public.accounts", Outcome::Leak),
    ("DROP POLICY ringfence_tenant ON payments", "delete", "public.payments", Outcome::Leak),
    ("DROP POLICY ringfence_tenant ON payments", "update", "public.payments", Outcome::Leak),
    (
        "DROP POLICY ringfence_tenant ON payments; CREATE POLICY reads ON payments AS RESTRICTIVE FOR SELECT
            USING (tenant_id = (SELECT ringfence.tenant_id()))",
        "update-all",
        "public.payments",
        Outcome::Leak,
    ),
    (
        "DROP POLICY ringfence_tenant ON payments; CREATE POLICY reads ON payments AS RESTRICTIVE FOR SELECT
            USING (tenant_id = (SELECT ringfence.tenant_id()))",
        "delete-all",
        "public.payments",
        Outcome::Leak,
    ),
    (
        "CREATE TABLE notes (tenant_id text NOT NULL, note text); SELECT ringfence.protect('notes');
         DROP POLICY ringfence_tenant ON notes; CREATE POLICY p ON notes AS RESTRICTIVE
            USING (tenant_id = (SELECT ringfence.tenant_id())) WITH CHECK (true)",
        "give",
        "public.notes",
        Outcome::Leak,
    ),
    ("GRANT TRUNCATE ON accounts TO {app}", "truncate", "public.accounts", Outcome::Leak),
    ("CREATE UNIQUE INDEX one ON accounts (owner)", "unique", "public.accounts", Outcome::Tells),
    ("CREATE UNIQUE INDEX one ON accounts (lower(owner))", "unique", "public.accounts", Outcome::Tells),
    (
        "CREATE TABLE t (tenant_id text NOT NULL, id uuid PRIMARY KEY); GRANT SELECT, INSERT ON t TO {app};
         ALTER TABLE t ENABLE ROW LEVEL SECURITY; CREATE POLICY p ON t USING (tenant_id = (SELECT ringfence.tenant_id()));
         CREATE TABLE u (tenant_id text NOT NULL, t uuid REFERENCES t); SELECT ringfence.protect('u')",
        "reference",
        "public.u",
        Outcome::Leak,
    ),
    ("CREATE VIEW v AS SELECT * FROM accounts; GRANT SELECT, DELETE ON v TO {app}", "read", "public.v", Outcome::Leak),
    ("CREATE VIEW v AS SELECT * FROM payments; GRANT SELECT, DELETE ON v TO {app}", "delete", "public.v", Outcome::Leak),
    ("CREATE VIEW v AS SELECT count(*) FROM accounts; GRANT SELECT ON v TO {app}", "read", "public.v", Outcome::Tells),
    (
        "CREATE MATERIALIZED VIEW m AS SELECT owner FROM accounts; GRANT SELECT ON m TO {app}",
        "read",
        "public.m",
        Outcome::Leak,
    ),
    (
        "CREATE TABLE lines (payment int, payer text, words text NOT NULL,
            FOREIGN KEY (payer, payment) REFERENCES payments (tenant_id, id)); GRANT SELECT ON lines TO {app}",
        "read",
        "public.lines",
        Outcome::Leak,
    ),
    (
        "CREATE TABLE t (tenant_id text NOT NULL, id int) PARTITION BY HASH (tenant_id);
         CREATE TABLE t_0 PARTITION OF t FOR VALUES WITH (MODULUS 2, REMAINDER 0);
         CREATE TABLE t_1 PARTITION OF t FOR VALUES WITH (MODULUS 2, REMAINDER 1);
         SELECT ringfence.protect('t'); GRANT SELECT ON t_0, t_1 TO {app};
         CREATE VIEW both_of_t WITH (security_invoker = true) AS SELECT * FROM t_0 UNION ALL SELECT * FROM t_1;
         GRANT SELECT ON both_of_t TO {app}",
        "read",
        "public.both_of_t",
        Outcome::Leak,
    ),
    (
        "CREATE FUNCTION f() RETURNS SETOF accounts SECURITY DEFINER LANGUAGE sql AS $$ SELECT * FROM public.accounts $$",
        "call",
        "public.f()",
        Outcome::Leak,
    ),
    (
        "CREATE FUNCTION f(account_id int) RETURNS bool SECURITY DEFINER LANGUAGE sql AS
            $$ SELECT EXISTS (SELECT FROM public.accounts WHERE id = account_id) $$",
        "call",
        "public.f(integer)",
        Outcome::Tells,
    ),
    (
        "CREATE FUNCTION f(which int) RETURNS void SECURITY DEFINER LANGUAGE sql AS
            $$ UPDATE public.payments SET note = 'f' WHERE id = which $$",
        "effect",
        "public.f(integer)",
        Outcome::Leak,
    ),
    (
        "CREATE PROCEDURE f(tenant text) SECURITY DEFINER LANGUAGE sql AS
            $$ DELETE FROM public.payments WHERE tenant_id = tenant $$",
        "effect",
        "public.f(text)",
        Outcome::Leak,
    ),
];

#[tokio::test]
async fn a_setting_holds_until_somebody_says_it() {
    let world = World::new().await;
    let mut client = world.superuser().await;
    client
        .batch_execute(&format!("{SETTINGS}{POLICIES}").replace("{app}", world.role.as_str()))
        .await
        .unwrap();
    let report = canaries(&world).prove(&mut client, |_| ()).await.unwrap();
    assert_eq!(report.columns, ["organization_id"]);
    assert_eq!(
        report.becomes, "SELECT pg_catalog.set_config('app.org', {tenant}, true)",
        "as the policies ask"
    );
    let tables =
        ["customers", "events", "events_new", "events_old", "order_lines", "orders", "organizations"];
    assert_eq!(report.planted, tables.map(|table| format!("public.{table}")));
    assert_eq!(report.barren, []);
    assert_eq!(told(&report, Outcome::Leak), ["claim the session", "reference public.orders"]);
    // The policies of the others refuse a row with another's key before its index is asked.
    assert_eq!(told(&report, Outcome::Tells), ["unique public.customers", "unique public.orders"]);
    assert_eq!(rows(&client, &["customers", "events", "orders", "countries"]).await, [0, 0, 0, 0]);
}

#[tokio::test]
async fn what_can_t_be_shown_is_said() {
    let world = World::new().await;
    let mut client = world.superuser().await;
    let known = |role: &str| Known { roles: vec![role.to_owned()], columns: Vec::new() };
    let nobody = Canaries { known: known("nobody-here"), ..Canaries::default() };
    assert!(matches!(nobody.prove(&mut client, |_| ()).await, Err(CanaryError::Subject(_))));
    let shared = Canaries { shared: vec!["nothing".to_owned()], ..canaries(&world) };
    assert!(
        matches!(shared.prove(&mut client, |_| ()).await, Err(CanaryError::NoTable(name)) if name == "nothing")
    );
    client.batch_execute(&SETTINGS.replace("{app}", world.role.as_str())).await.unwrap();
    assert!(matches!(canaries(&world).prove(&mut client, |_| ()).await, Err(CanaryError::Becomes)));
    let says = |sql: &str| Canaries { becomes: Some(sql.to_owned()), ..canaries(&world) };
    assert!(matches!(says("SELEKT").prove(&mut client, |_| ()).await, Err(CanaryError::Seat(_))));
    // No row security at all: everything is open, in both directions.
    let report = says("SELECT {tenant}").prove(&mut client, |_| ()).await.unwrap();
    assert!(
        report.of(Outcome::Leak).filter(|one| one.what == "find").count() == 10,
        "{:#?}",
        told(&report, Outcome::Leak)
    );
    // Sessions that are nobody's see nothing, and so nothing would be shown.
    client.batch_execute(&POLICIES.replace("{app}", world.role.as_str())).await.unwrap();
    let nobody = says("SELECT set_config('app.org', '0', true), {tenant}").prove(&mut client, |_| ()).await;
    assert!(matches!(nobody, Err(CanaryError::Blind(_))), "{nobody:?}");
    // A table whose rows nobody can make up is named.
    let odd = "CREATE FUNCTION never(text) RETURNS bool LANGUAGE sql AS $$ SELECT length($1) = 3 $$;
        CREATE TABLE odd (organization_id bigint NOT NULL, code text NOT NULL CHECK (never(code)))";
    client.batch_execute(odd).await.unwrap();
    let report = canaries(&world).prove(&mut client, |_| ()).await.unwrap();
    assert_eq!(report.barren.iter().map(|barren| barren.table.as_str()).collect::<Vec<_>>(), ["public.odd"]);
    assert!(report.barren[0].why.contains("odd_code_check"), "{:?}", report.barren);
    // Where there is a row, its likeness does.
    client.batch_execute("INSERT INTO odd VALUES (1, 'abc')").await.unwrap();
    let report = canaries(&world).prove(&mut client, |_| ()).await.unwrap();
    assert_eq!(report.barren, []);
}
