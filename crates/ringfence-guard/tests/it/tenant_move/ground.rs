//! A tenant's rows in tables that it shares, places to move them to, and who writes meanwhile.

use ringfence_guard::{
    RoleName,
    cluster::SUPERUSER,
    install::Install,
    tenant_move::{Site, TenantMove},
};
use tokio::{sync::watch, task::JoinHandle};
use tokio_postgres::{Client, Config};

use crate::fixture::{World, ask, connect};

/// What an application has: a type of its own, large values, generated and identity columns, keys that cascade.
const SHARED: &str = "CREATE TYPE mood AS ENUM ('sad', 'glad');
    CREATE SEQUENCE codes;
    CREATE TABLE items (tenant_id text NOT NULL, id int NOT NULL, code text NOT NULL, big text, amount numeric(12,2),
        tags text[], at timestamptz, ratio float8, raw bytea, mood mood, twice int GENERATED ALWAYS AS (id * 2) STORED,
        PRIMARY KEY (tenant_id, id), UNIQUE (tenant_id, code));
    CREATE TABLE notes (tenant_id text NOT NULL, n bigint GENERATED ALWAYS AS IDENTITY, item int, body text,
        PRIMARY KEY (tenant_id, n),
        FOREIGN KEY (tenant_id, item) REFERENCES items (tenant_id, id) ON DELETE CASCADE ON UPDATE CASCADE);
    SELECT ringfence.protect('items'), ringfence.protect('notes')";

/// The same in another order of columns.
const OWN: &str = "CREATE TYPE mood AS ENUM ('sad', 'glad');
    CREATE TABLE items (code text NOT NULL, raw bytea, ratio float8, twice int GENERATED ALWAYS AS (id * 2) STORED, mood mood,
        big text, amount numeric(12,2), tags text[], at timestamptz, id int NOT NULL, tenant_id text NOT NULL,
        PRIMARY KEY (tenant_id, id), UNIQUE (tenant_id, code));
    CREATE TABLE notes (body text, tenant_id text NOT NULL, item int, n bigint GENERATED ALWAYS AS IDENTITY,
        PRIMARY KEY (tenant_id, n),
        FOREIGN KEY (tenant_id, item) REFERENCES items (tenant_id, id) ON DELETE CASCADE ON UPDATE CASCADE);
    SELECT ringfence.protect('items'), ringfence.protect('notes')";

/// A large value that does not compress to a small one.
const LARGE: &str = "(SELECT string_agg(md5(random()::text), '') FROM generate_series(1, 160))";

pub(super) struct Ground {
    pub(super) world: World,
    /// The database that tenants share.
    pub(super) shared: Client,
    /// Acme's.
    pub(super) own: Client,
}

impl Ground {
    pub(super) async fn new() -> Self {
        Self::on(World::new().await).await
    }

    pub(super) async fn on(world: World) -> Self {
        let shared = world.superuser().await;
        shared.batch_execute("DROP TABLE payments, accounts CASCADE").await.unwrap();
        shared.batch_execute(SHARED).await.unwrap();
        for tenant in ["acme", "globex"] {
            let items = format!(
                "INSERT INTO items (tenant_id, id, code, big, amount, tags, at, ratio, raw, mood)
                 SELECT '{tenant}', n, 'c' || nextval('codes'), CASE WHEN n % 9 = 0 THEN {LARGE} || n END, n / 3.0,
                    ARRAY['a\\b', NULL, 'c\"d'], to_timestamp(n * 1e6), n / 3.0::float8, '\\x00ff27', 'glad'
                   FROM generate_series(1, 120) n;
                 INSERT INTO notes (tenant_id, item, body) SELECT tenant_id, id, E'tab\\tline\\n\\\\' FROM items
                    WHERE tenant_id = '{tenant}'"
            );
            shared.batch_execute(&items).await.unwrap();
        }
        let own_name = format!("{}_acme", world.database);
        // Values are written in other ways by default.
        let database = format!("CREATE DATABASE {own_name} TEMPLATE template0");
        shared.batch_execute(&database).await.unwrap();
        for setting in ["datestyle = 'German'", "bytea_output = 'escape'", "timezone = 'Asia/Tokyo'"] {
            shared.batch_execute(&format!("ALTER DATABASE {own_name} SET {setting}")).await.unwrap();
        }
        shared
            .batch_execute(&format!("ALTER DATABASE {} SET extra_float_digits = -5", world.database))
            .await
            .unwrap();
        let mut own = connect(world.direct_config().user(SUPERUSER).dbname(&own_name)).await.unwrap();
        let owner = RoleName::new(&format!("owner_of_{own_name}")).unwrap();
        Install::new(world.role.clone(), owner).run(&mut own).await.unwrap();
        own.batch_execute(OWN).await.unwrap();
        Self { world, shared, own }
    }

    fn config(&self, database: &str) -> Config {
        let mut config = self.world.direct_config();
        config.user(SUPERUSER).dbname(database);
        config
    }

    pub(super) fn shared_site(&self) -> Site {
        Site { config: self.config(self.world.database.as_str()), tls: None, schema: "public".to_owned() }
    }

    pub(super) fn own_site(&self) -> Site {
        let config = self.config(&format!("{}_acme", self.world.database));
        Site { config, tls: None, schema: "public".to_owned() }
    }

    /// Tables in a schema of the shared database.
    pub(super) async fn schema_site(&self, schema: &str) -> Site {
        let make = format!(
            "CREATE SCHEMA {schema};
             CREATE TABLE {schema}.items (LIKE public.items INCLUDING ALL);
             CREATE TABLE {schema}.notes (LIKE public.notes INCLUDING ALL);
             SELECT ringfence.protect('{schema}.items'), ringfence.protect('{schema}.notes')"
        );
        self.shared.batch_execute(&make).await.unwrap();
        Site { schema: schema.to_owned(), ..self.shared_site() }
    }

    pub(super) fn route(&self, name: &str, source: Site, target: Site) -> TenantMove {
        let name = RoleName::new(&format!("{}_{name}", self.world.database)).unwrap();
        TenantMove::new(name, self.world.acme.id.clone(), source, target)
    }

    /// Acme's move to its own database.
    pub(super) fn out(&self) -> TenantMove {
        self.route("out", self.shared_site(), self.own_site())
    }

    /// Acme's way back from there.
    pub(super) fn back(&self) -> TenantMove {
        self.route("back", self.own_site(), self.shared_site())
    }

    /// Writes as a tenant until it is stopped: every kind of change, in transactions, some of which are taken back.
    pub(super) async fn writer(&self, tenant: &'static str, seed: u64) -> Writer {
        let client = connect(&self.config(self.world.database.as_str())).await.unwrap();
        let ((count, written), (stop, stopped)) = (watch::channel(0), watch::channel(false));
        let task = tokio::spawn(async move {
            let mut seed = seed;
            let mut random = move |below: u64| {
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                (seed >> 33) % below
            };
            while !*stopped.borrow() {
                let (kind, a, b) = (random(9), random(150) + 1, random(150) + 1);
                let end = if random(6) == 0 { "ROLLBACK" } else { "COMMIT" };
                let sql = format!("BEGIN; {}; {end}", change(tenant, kind, a, b));
                // Two writers may hold what the other wants: one of both is told so.
                if client.batch_execute(&sql).await.is_err() {
                    client.batch_execute("ROLLBACK").await.unwrap();
                }
                count.send_modify(|count| *count += 1);
            }
        });
        Writer { stop, written, task }
    }
}

fn change(tenant: &str, kind: u64, a: u64, b: u64) -> String {
    let of = format!("tenant_id = '{tenant}'");
    match kind {
        0 => format!(
            "INSERT INTO items (tenant_id, id, code, mood) VALUES ('{tenant}', {a}, 'c' || nextval('codes'), 'sad')
                ON CONFLICT (tenant_id, id) DO NOTHING;
             INSERT INTO notes (tenant_id, item, body) SELECT tenant_id, id, 'new' FROM items WHERE {of} AND id = {a}"
        ),
        // Keys change, and with them those that point at them.
        1 => format!(
            "UPDATE items SET id = {b} WHERE {of} AND id = {a}
                AND NOT EXISTS (SELECT FROM items WHERE {of} AND id = {b})"
        ),
        2 if a < 50 => format!("DELETE FROM items WHERE {of} AND id = {a}"),
        3 => format!("UPDATE items SET big = {LARGE} || id WHERE {of} AND id IN ({a}, {b})"),
        // Values of a unique index go round.
        4 => format!(
            "UPDATE items SET code = 'swap' || nextval('codes') WHERE {of} AND id = {a};
             UPDATE items i SET code = 'of{a}-' || nextval('codes') WHERE {of} AND id = {b};
             CREATE TEMP TABLE IF NOT EXISTS held (c text, d text); TRUNCATE held;
             INSERT INTO held SELECT x.code, y.code FROM items x, items y
                WHERE x.{of} AND x.id = {a} AND y.{of} AND y.id = {b} AND {a} <> {b};
             UPDATE items SET code = 'free' WHERE {of} AND id = {a} AND EXISTS (SELECT FROM held);
             UPDATE items SET code = c FROM held WHERE {of} AND id = {b};
             UPDATE items SET code = d FROM held WHERE {of} AND id = {a}"
        ),
        5 => format!("UPDATE items SET amount = amount + 1, mood = NULL WHERE {of} AND id IN ({a}, {b})"),
        6 => format!("UPDATE items SET ratio = ratio / 3 WHERE {of} AND id % 7 = {a} % 7"),
        7 => format!("DELETE FROM notes WHERE {of} AND item = {a}; INSERT INTO notes (tenant_id, body) VALUES ('{tenant}', 'x')"),
        _ => format!("SAVEPOINT s; UPDATE notes SET body = body || '+' WHERE {of} AND item = {a}; RELEASE s;
             SAVEPOINT s; DELETE FROM notes WHERE {of}; ROLLBACK TO s"),
    }
}

pub(super) struct Writer {
    stop: watch::Sender<bool>,
    written: watch::Receiver<usize>,
    task: JoinHandle<()>,
}

impl Writer {
    /// Waits until so many more transactions were written.
    pub(super) async fn goes_on(&self, transactions: usize) {
        let mut written = self.written.clone();
        let goal = *written.borrow() + transactions;
        written.wait_for(|count| *count >= goal).await.unwrap();
    }

    pub(super) async fn stop(self) -> usize {
        self.stop.send(true).unwrap();
        self.task.await.unwrap();
        *self.written.borrow()
    }
}

/// Every row of a tenant, in a schema, as text: by other means than those that are tested.
pub(super) async fn rows(client: &Client, schema: &str, tenant: &str) -> Vec<String> {
    let pinned =
        "SET datestyle = 'ISO'; SET timezone = 'UTC'; SET bytea_output = 'hex'; SET extra_float_digits = 1";
    client.batch_execute(pinned).await.unwrap();
    let sql = format!(
        "SELECT concat_ws('|', 'items', tenant_id, id, code, coalesce(big, 'NULL'), amount, tags, at, ratio, raw,
            coalesce(mood::text, 'NULL'), twice) FROM {schema}.items WHERE tenant_id = '{tenant}'
         UNION ALL SELECT concat_ws('|', 'notes', tenant_id, n, item, body) FROM {schema}.notes WHERE tenant_id = '{tenant}'"
    );
    let mut rows: Vec<String> = client.query(&sql, &[]).await.unwrap().iter().map(|row| row.get(0)).collect();
    rows.sort();
    rows
}

pub(super) async fn count(client: &Client, sql: &str) -> i64 {
    ask(client, sql).await.unwrap().parse().unwrap()
}
