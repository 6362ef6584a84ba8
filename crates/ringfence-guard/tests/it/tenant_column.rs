//! A schema whose tables have a `tenant_id` of their own, of another type, is migrated beside it.

use ringfence_guard::{
    adopt::{Decisions, Migration, PlanError, plan},
    lint::{Known, Level, lint, rules},
};
use tokio_postgres::Client;

use crate::{
    adopted::{Adopted, STAGES, UNDO, assert_same, count},
    fixture::{ask, fails},
};

const SCHEMA: &str = "
DROP TABLE payments, accounts, staging;
DELETE FROM ringfence.protected;
CREATE TABLE tenants (id bigserial PRIMARY KEY, name text NOT NULL UNIQUE);
CREATE TABLE clients (id bigserial PRIMARY KEY, tenant_id bigint NOT NULL REFERENCES tenants ON DELETE CASCADE, email text,
    UNIQUE (tenant_id, email));
CREATE TABLE orders (id bigserial PRIMARY KEY, tenant_id bigint NOT NULL REFERENCES tenants, number int,
    client_id bigint REFERENCES clients ON DELETE SET NULL);
CREATE INDEX ON orders (tenant_id);
CREATE UNIQUE INDEX ON orders (tenant_id, number) WHERE number > 0;
CREATE TABLE lines (id bigserial PRIMARY KEY, order_id bigint NOT NULL REFERENCES orders, what text);
CREATE TABLE tags (id bigserial PRIMARY KEY, tenant_id bigint NOT NULL REFERENCES tenants, name text);
CREATE TABLE orders_tags (order_id bigint REFERENCES orders, tag_id bigint REFERENCES tags, PRIMARY KEY (order_id, tag_id));
CREATE TABLE notes (id int PRIMARY KEY, tenant_id text NOT NULL);
INSERT INTO tenants (name) VALUES ('acme'), ('globex');
INSERT INTO clients (tenant_id, email) SELECT 1 + n % 2, 'a' || n FROM generate_series(1, 8) n;
INSERT INTO orders (tenant_id, client_id, number) SELECT tenant_id, id, id FROM clients;
INSERT INTO lines (order_id, what) SELECT id, 'x' || n FROM orders, generate_series(1, 3) n;
INSERT INTO tags (tenant_id, name) VALUES (1, 'red'), (2, 'red');
INSERT INTO orders_tags SELECT o.id, t.id FROM orders o JOIN tags t USING (tenant_id);
INSERT INTO notes VALUES (1, 'acme'), (2, 'globex'), (3, 'globex');";

/// Each table of a tenant, and how many rows acme and globex have in it.
const ROWS: [(&str, [i64; 2]); 7] = [
    ("tenants", [1, 1]),
    ("clients", [4, 4]),
    ("orders", [4, 4]),
    ("lines", [12, 12]),
    ("tags", [1, 1]),
    ("orders_tags", [4, 4]),
    ("notes", [1, 2]),
];

async fn planned(adopted: &Adopted, column: Option<&str>) -> Result<Migration, PlanError> {
    let decisions = Decisions {
        belongs: vec!["notes.tenant_id".to_owned()],
        column: column.map(str::to_owned),
        ..Decisions::default()
    };
    plan(&mut adopted.world.superuser().await, "tenants", Some("name"), &decisions).await
}

/// Sessions of both tenants, in a transaction each.
async fn sessions(adopted: &Adopted) -> [Client; 2] {
    let (acme, _) = adopted.world.as_acme().await;
    let (globex, backend) = adopted.world.direct().await;
    globex.batch_execute("BEGIN").await.unwrap();
    adopted.world.mint(&adopted.world.globex, backend).set(&globex).await.unwrap();
    [acme, globex]
}

/// Each tenant sees its rows and no others.
async fn assert_apart(adopted: &Adopted, quoted: &str) {
    let sessions = sessions(adopted).await;
    for (table, rows) in ROWS {
        for ((session, name), own) in sessions.iter().zip(["acme", "globex"]).zip(rows) {
            assert_eq!(count(session, table).await, own, "{table} of {name}");
            let others = format!("{table} WHERE {quoted} <> '{name}'");
            assert_eq!(count(session, &others).await, 0, "{table} of {name}");
        }
    }
}

#[tokio::test]
async fn a_tenant_id_of_the_applications_own_stays_beside_ringfences_column() {
    let mut adopted = Adopted::new(SCHEMA).await;
    let before = adopted.dump();
    let migration = planned(&adopted, None).await.unwrap();
    assert_eq!((migration.column.as_str(), migration.tables.len()), ("ringfence_tenant", ROWS.len()));
    let why = migration.column_why.clone().unwrap();
    assert!(why.contains("the tenant_id of public.clients, public.orders, public.tags is not"), "{why}");
    let readme = migration.files()[0].1.clone();
    assert!(readme.contains("get a column `ringfence_tenant`") && readme.contains(&why), "{readme}");
    migration.write(&adopted.folder).unwrap();
    for stage in STAGES {
        adopted.run(stage).await;
    }
    assert_apart(&adopted, "ringfence_tenant").await;

    // What the application says as before goes on, and does not reach across.
    let [acme, globex] = sessions(&adopted).await;
    let others = ask(&globex, "SELECT min(id) FROM clients").await.unwrap();
    globex.batch_execute("COMMIT").await.unwrap();
    acme.batch_execute(
        "INSERT INTO orders (tenant_id, client_id, number) SELECT 1, min(id), 77 FROM clients; COMMIT",
    )
    .await
    .unwrap();
    for (sql, state) in [
        (format!("INSERT INTO orders (tenant_id, client_id) VALUES (1, {others})"), "23503"),
        ("INSERT INTO orders (tenant_id, number) VALUES (2, 1)".to_owned(), "23503"),
        ("UPDATE orders SET tenant_id = 2".to_owned(), "23503"),
        ("UPDATE orders SET ringfence_tenant = 'globex'".to_owned(), "42501"),
        ("INSERT INTO orders (tenant_id, number) VALUES (1, 77)".to_owned(), "23505"),
    ] {
        let [acme, _] = sessions(&adopted).await;
        assert_eq!(fails(&acme, &sql).await, state, "{sql}");
    }
    let admin = &adopted.world.admin;
    admin.batch_execute("DELETE FROM orders WHERE number = 77").await.unwrap();
    let by = "SELECT string_agg(DISTINCT tenant_column, ' ') || count(*) FROM ringfence.protected";
    assert_eq!(ask(admin, by).await.unwrap(), format!("ringfence_tenant{}", ROWS.len()));
    assert_no_error(&adopted).await;

    for undo in UNDO {
        adopted.run(undo).await;
    }
    assert_same(&adopted.dump(), &before);

    // The same by a name that has to be quoted.
    let migration = planned(&adopted, Some(r#"Who's "it""#)).await.unwrap();
    assert_eq!(migration.column_why, None);
    adopted.folder.push("quoted");
    migration.write(&adopted.folder).unwrap();
    for stage in STAGES {
        adopted.run(stage).await;
    }
    assert_apart(&adopted, r#""Who's ""it""""#).await;
    for undo in UNDO {
        adopted.run(undo).await;
    }
    assert_same(&adopted.dump(), &before);
}

/// Told the column or not, lint finds no error in these tables.
async fn assert_no_error(adopted: &Adopted) {
    let mut client = adopted.world.superuser().await;
    for columns in [vec!["ringfence_tenant".to_owned()], Vec::new()] {
        let report = lint(&mut client, Known { columns, ..Known::default() }, |_| ()).await.unwrap();
        assert_eq!(report.subject.columns, ["ringfence_tenant"]);
        let is_error = |id: &str| rules().any(|rule| rule.id == id && rule.level == Level::Error);
        let of_them = |object: &str| ROWS.iter().any(|(table, _)| object.ends_with(table));
        let errors: Vec<_> =
            report.findings.iter().filter(|found| is_error(found.rule) && of_them(&found.object)).collect();
        assert!(errors.is_empty(), "{errors:#?}");
    }
}

#[tokio::test]
async fn reject_a_column_that_is_taken_or_can_not_be() {
    let adopted = Adopted::new(SCHEMA).await;
    let told = async |column: &str| planned(&adopted, Some(column)).await.unwrap_err().to_string();
    let taken = told("tenant_id").await;
    assert!(taken.contains("it has a tenant_id of type bigint") && taken.contains("--column"), "{taken}");
    assert!(taken.contains("public.clients") && taken.contains("public.orders"), "{taken}");
    for strange in ["", "ctid", &"a".repeat(64)] {
        assert!(told(strange).await.starts_with(&format!("--column {strange:?}")), "{strange}");
    }
}
