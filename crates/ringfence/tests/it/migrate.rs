//! `ringfence data migrate`: the shared database and tenants' own, once for all of them.

use std::fs;

use ringfence_context::limits;
use serde_json::Value;

use crate::{
    init::{settings, upstream},
    program::{complaint, said, scratch},
    session::Plane,
    shapes::{Person, tiers},
};

const INVOICES: &str = "CREATE TABLE invoices (tenant_id text NOT NULL, id int, PRIMARY KEY (tenant_id, id));
    SELECT ringfence.protect('invoices');
    CREATE TABLE lines (ringfence_tenant text NOT NULL, tenant_id bigint, invoice int,
        FOREIGN KEY (ringfence_tenant, invoice) REFERENCES invoices (tenant_id, id));
    SELECT ringfence.protect('lines', tenant_column => 'ringfence_tenant');";

/// Fails where somebody wrote that it should.
const WANTED: &str = "DO $$ BEGIN
        IF EXISTS (SELECT FROM notes WHERE body = 'stop') THEN RAISE EXCEPTION 'somebody said stop'; END IF;
    END $$;
    ALTER TABLE invoices ADD COLUMN note text;";

fn standing(plane: &Plane) -> Vec<(String, Value, Value)> {
    let found = plane.json(&["data", "migrate", "--status"]);
    let one = |standing: &Value| {
        (
            standing["tenant"].as_str().unwrap_or("-").to_owned(),
            standing["version"].clone(),
            standing["pending"].clone(),
        )
    };
    found["databases"].as_array().unwrap().iter().map(one).collect()
}

const TENANTS: [(&str, &str); 5] =
    [("one", "database"), ("two", "schema"), ("three", "server"), ("four", "role"), ("shared", "standard")];

/// What the first migration made is there for a tenant, and its alone.
fn writes_invoices(person: &Person<'_>) {
    let tenant = person.tenant();
    assert!(person.ask(&format!("INSERT INTO invoices VALUES ('{tenant}', 1)")).is_ok());
    assert_eq!(person.ask("SELECT tenant_id FROM invoices").unwrap(), tenant);
    assert!(person.ask(&format!("INSERT INTO lines VALUES ('{tenant}', 7, 1)")).is_ok());
}

#[test]
fn reject_migrations_at_once() {
    let plane = Plane::shared();
    let migrate = |at_once: usize| plane.command(&["data", "migrate", "--concurrency", &at_once.to_string()]);
    for refused in [0, limits::MIGRATIONS_AT_ONCE + 1] {
        let told = complaint(&migrate(refused));
        assert!(told.contains(&format!("from 1 to {}", limits::MIGRATIONS_AT_ONCE)), "{told}");
    }
    said(&migrate(limits::MIGRATIONS_AT_ONCE));
}

#[test]
fn every_database_is_brought_to_the_last_migration_and_who_is_where_is_told() {
    let folder = scratch("migrate");
    let config = settings(&folder, &upstream().0);
    let text = fs::read_to_string(&config).unwrap();
    let schema = "schema = [\"notes.sql\"]";
    let text = text.replace(schema, &format!("{schema}\nmigrations = \"migrations\""));
    fs::write(&config, format!("{text}{}", tiers(&["database", "schema", "server", "role"]))).unwrap();
    let migrations = folder.join("migrations");
    fs::create_dir(&migrations).unwrap();
    let plane = Plane::up(&folder.join("state"), &["--config", &config.display().to_string()]);
    let people = TENANTS.map(|(tenant, tier)| {
        plane.json(&["tenant", "create", tenant, "--tier", tier]);
        Person::of(&plane, tenant)
    });
    let all = |version: Value, pending: u64| {
        // Who has a role of its own has no tables of its own: the shared ones are its.
        ["-", "one", "three", "two"].map(|name| (name.to_owned(), version.clone(), pending.into())).to_vec()
    };
    assert_eq!(standing(&plane), all(Value::Null, 0));

    fs::write(migrations.join("0001_invoices.sql"), INVOICES).unwrap();
    assert_eq!(standing(&plane), all(Value::Null, 1));
    let told = said(&plane.command(&["data", "migrate"]));
    assert!(told.contains("4 databases: 4 have had every migration, 0 have not"), "{told}");
    assert_eq!(standing(&plane), all(1.into(), 0));
    people.iter().for_each(writes_invoices);

    // One tenant's database says no: the others are not held up by more than is tolerated, and it can be gone on from there.
    let two = &people[1];
    assert!(two.ask("INSERT INTO notes VALUES ('two', gen_random_uuid(), 'stop')").is_ok());
    fs::write(migrations.join("0002_note.sql"), WANTED).unwrap();
    let stopped = plane.command(&["data", "migrate", "--tolerate", "1"]);
    assert_eq!(stopped.status.code(), Some(1));
    let stopped = String::from_utf8(stopped.stdout).unwrap();
    assert!(stopped.contains(": somebody said stop"), "{stopped}");
    let versions = || standing(&plane).into_iter().map(|(_, version, _)| version).collect::<Vec<_>>();
    assert_eq!(versions(), [2, 2, 2, 1].map(Value::from));
    assert!(two.ask("DELETE FROM notes").is_ok());
    said(&plane.command(&["data", "migrate"]));
    assert_eq!(versions(), [2, 2, 2, 2].map(Value::from));

    for person in &people {
        let (tenant, noted) = (person.tenant(), "UPDATE invoices SET note = 'x'");
        assert!(person.ask(noted).is_ok());
        assert_eq!(person.ask("SELECT tenant_id, note FROM invoices").unwrap(), format!("{tenant}|x"));
    }

    // A tenant that comes later begins where the others are, and goes with all its rows.
    plane.json(&["tenant", "create", "later", "--tier", "schema"]);
    let later = Person::of(&plane, "later");
    assert!(later.ask("INSERT INTO invoices VALUES ('later', 1, 'x')").is_ok());
    assert_eq!(standing(&plane)[1], ("later".to_owned(), 2.into(), 0.into()));
    assert_eq!(plane.json(&["tenant", "delete", "shared", "--confirm", "shared"])["rows"], 2);

    // What was run is not rewritten.
    fs::write(migrations.join("0001_invoices.sql"), "SELECT 1").unwrap();
    let found = plane.json(&["data", "migrate", "--status"]);
    assert!(
        found["databases"][0]["fault"].as_str().unwrap().contains("0001_invoices.sql is not what"),
        "{found}"
    );
    assert_eq!(plane.command(&["data", "migrate"]).status.code(), Some(1));
}
