//! Tenants of every shape beside each other: the same commands, the same statements.

use std::fs;

use crate::{
    init::{settings, upstream},
    program::{said, scratch},
    session::{Plane, up_fails},
};

/// Tiers, each called like the shape it gives.
pub(crate) fn tiers(shapes: &[&str]) -> String {
    let tier = |shape: &&str| {
        format!(
            "
[tiers.{shape}]
rate = {{ per_second = 500, burst = 1000 }}
namespace = \"App\"
schema = \"app.cedarschema\"
policies = \"app.cedar\"
data = \"{shape}\"
"
        )
    };
    shapes.iter().map(tier).collect()
}

/// Somebody of a tenant.
pub(crate) struct Person<'a>(&'a Plane, &'a str, String);

impl<'a> Person<'a> {
    pub(crate) fn of(plane: &'a Plane, tenant: &'a str) -> Self {
        let user = plane.json(&["user", "create", "ann", "--tenant", tenant, "--role", "admin"]);
        Self(plane, tenant, user["password"].as_str().unwrap().to_owned())
    }

    /// Whose.
    pub(crate) fn tenant(&self) -> &'a str {
        self.1
    }

    /// What it signs in with.
    pub(crate) fn password(&self) -> String {
        self.2.clone()
    }

    /// The same person, of a plane that was started again.
    pub(crate) fn again(plane: &'a Plane, tenant: &'a str, password: &str) -> Self {
        Self(plane, tenant, password.to_owned())
    }

    /// What a statement answers through the guard, or why not.
    pub(crate) fn ask(&self, sql: &str) -> Result<String, String> {
        self.ask_with(&self.token()?, sql)
    }

    /// A database token; sign-ins are counted, so who asks often keeps one.
    pub(crate) fn token(&self) -> Result<String, String> {
        let Self(plane, tenant, password) = self;
        let arguments =
            ["token", "--tenant", tenant, "--user", "ann", "--password-stdin", "--for", "database"];
        let token = plane.command_with(&arguments, password);
        if token.status.success() { Ok(said(&token).trim().to_owned()) } else { Err("no token".to_owned()) }
    }

    /// What a statement answers whoever has this token, or why not.
    pub(crate) fn ask_with(&self, token: &str, sql: &str) -> Result<String, String> {
        let done = self.0.try_psql(self.1, token, sql).map_err(|error| error.to_string())?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
        if done.status.success() { Ok(text(&done.stdout)) } else { Err(text(&done.stderr)) }
    }
}

const SHAPES: [&str; 5] = ["rows", "role", "schema", "database", "server"];
const TENANTS: [&str; 5] = ["a-rows", "a-role", "a-schema", "a-database", "a-server"];

/// Where a session is and as whom.
const WHERE: &str = "SELECT current_database(), session_user, current_schema(), (SELECT system_identifier FROM pg_control_system())";

/// Each is where its shape says, under names that were drawn.
fn where_they_are(people: &[Person<'_>]) {
    let at: Vec<_> = people.iter().map(|person| person.ask(WHERE).unwrap()).collect();
    let parts = |at: &str| at.split('|').map(str::to_owned).collect::<Vec<_>>();
    let [rows, role, schema, database, server] = [0, 1, 2, 3, 4].map(|place| parts(&at[place]));
    let drawn = |text: &str, prefix: &str| text.starts_with(prefix) && text.len() == prefix.len() + 16;
    assert_eq!(rows[..3], ["app", "app", "public"]);
    assert!(role[0] == "app" && drawn(&role[1], "ringfence_") && role[2] == "public", "{role:?}");
    assert!(schema[0] == "app" && drawn(&schema[1], "ringfence_") && schema[2] == schema[1], "{schema:?}");
    assert!(drawn(&database[0], "app_") && database[1..3] == ["app", "public"], "{database:?}");
    assert_eq!(server[..3], ["app", "app", "public"]);
    // One server, and another.
    assert!(rows[3] == database[3] && rows[3] == schema[3] && rows[3] != server[3], "{at:?}");
}

#[test]
fn a_tier_decides_where_rows_are_and_nobody_notices() {
    let folder = scratch("shapes");
    let config = settings(&folder, &upstream().0);
    let text = fs::read_to_string(&config).unwrap();
    fs::write(&config, format!("{text}{}", tiers(&SHAPES))).unwrap();
    let flags = ["--config", &config.display().to_string()];
    let mut plane = Plane::up(&folder.join("state"), &flags);
    for (tenant, shape) in TENANTS.into_iter().zip(SHAPES) {
        assert_eq!(plane.json(&["tenant", "create", tenant, "--tier", shape])["data"], shape);
    }
    let passwords: Vec<String> = {
        let people = TENANTS.map(|tenant| Person::of(&plane, tenant));
        for (person, tenant) in people.iter().zip(TENANTS) {
            let insert = format!("INSERT INTO notes VALUES ('{tenant}', gen_random_uuid(), 'of {tenant}')");
            assert_eq!(person.ask(&insert).map(drop), Ok(()));
            assert_eq!(person.ask("SELECT body FROM notes").unwrap(), format!("of {tenant}"));
            // Nobody is anybody else anywhere: the same row security is in all of them.
            let other = "INSERT INTO notes VALUES ('second', gen_random_uuid(), 'x')";
            assert!(person.ask(other).unwrap_err().contains("row-level security"));
        }
        where_they_are(&people);
        for (person, tenant) in people.iter().zip(TENANTS) {
            plane.json(&["tenant", "suspend", tenant]);
            assert!(person.ask("SELECT 1").is_err());
            plane.json(&["tenant", "resume", tenant]);
            assert_eq!(person.ask("SELECT body FROM notes").unwrap(), format!("of {tenant}"));
        }
        people.iter().map(Person::password).collect()
    };

    // Where its rows are outlives the plane.
    plane.interrupt();
    drop(plane);
    let plane = Plane::up(&folder.join("state"), &flags);
    let again = |(tenant, password): (&'static str, &String)| Person::again(&plane, tenant, password);
    let people: Vec<_> = TENANTS.into_iter().zip(&passwords).map(again).collect();
    for (person, tenant) in people.iter().zip(TENANTS) {
        assert_eq!(person.ask("SELECT body FROM notes").unwrap(), format!("of {tenant}"));
    }

    // Whoever may connect sees the names of all roles, schemas and databases: they say nothing of whose they are.
    let named =
        "SELECT count(*) FROM (SELECT datname AS n FROM pg_database UNION ALL SELECT rolname FROM pg_roles
        UNION ALL SELECT nspname FROM pg_namespace) x WHERE n ~ 'a.(rows|role|schema|database|server)$'";
    let own =
        "SELECT count(*) FROM (SELECT datname AS n FROM pg_database UNION ALL SELECT rolname FROM pg_roles
        UNION ALL SELECT nspname FROM pg_namespace) x WHERE n ~ '^(ringfence|app)_[0-9a-f]{16}$'";
    assert_eq!(people[0].ask(named).unwrap(), "0");
    assert_eq!(people[0].ask(own).unwrap(), "4", "two roles, a schema and a database");
    let servers = || {
        let name = |entry: fs::DirEntry| entry.file_name().into_string().unwrap();
        let all = fs::read_dir(folder.join("state")).unwrap().map(|entry| name(entry.unwrap()));
        all.filter(|name| name.starts_with("postgres-")).count()
    };
    assert_eq!(servers(), 1);
    for tenant in &TENANTS[1..] {
        assert_eq!(plane.json(&["tenant", "delete", tenant, "--confirm", tenant])["rows"], 1, "{tenant}");
    }
    assert_eq!(servers(), 0);
    assert_eq!(people[0].ask(own).unwrap(), "0");
    assert_eq!(people[0].ask("SELECT body FROM notes").unwrap(), "of a-rows");
}

/// What starting says to settings of a tier of `shape`, with a change.
fn refused(name: &str, shape: &str, change: (&str, &str)) -> String {
    let folder = scratch(name);
    let config = settings(&folder, &upstream().0);
    let text = fs::read_to_string(&config).unwrap();
    assert!(text.contains(change.0), "{change:?}");
    fs::write(&config, format!("{}{}", text.replacen(change.0, change.1, 1), tiers(&[shape]))).unwrap();
    let refused = up_fails(&folder.join("state"), &["--config", &config.display().to_string()]);
    crate::program::complaint(&refused)
}

#[test]
fn what_a_shape_needs_and_does_not_have_is_said_at_once() {
    let long = "database = \"a_database_name_that_is_of_just_47_bytes_in_all_\"";
    let server = "
[postgres.server]
host = \"127.0.0.1\"
port = 1
admin_role = \"postgres\"
admin_password_file = \"none\"
app_password_file = \"none\"

[listen]";
    for (shape, change, said) in [
        ("database", ("database = \"app\"", long), "at most 46 bytes"),
        (
            "schema",
            ("tables = [\"notes\"]", "tables = [\"public.notes\"]"),
            "\"public.notes\" names a schema",
        ),
        ("server", ("[listen]", server), "add a [postgres.servers.NAME]"),
    ] {
        let told = refused(&format!("shape-{shape}"), shape, change);
        assert!(told.contains(said), "{shape}: {told}");
    }
}

#[test]
fn tables_that_are_not_made_in_a_tenants_own_schema_are_refused_by_name() {
    let folder = scratch("shapes-elsewhere");
    let config = settings(&folder, &upstream().0);
    let text = fs::read_to_string(&config).unwrap();
    fs::write(&config, format!("{text}{}", tiers(&["schema"]))).unwrap();
    let notes = fs::read_to_string(folder.join("notes.sql")).unwrap();
    let elsewhere = notes.replace("CREATE TABLE notes", "CREATE TABLE IF NOT EXISTS public.notes");
    fs::write(folder.join("notes.sql"), elsewhere).unwrap();
    let plane = Plane::up(&folder.join("state"), &["--config", &config.display().to_string()]);
    let refused = plane.command(&["tenant", "create", "one", "--tier", "schema"]);
    let told = crate::program::complaint(&refused);
    assert!(told.contains("no table \"notes\" in a tenant's own schema"), "{told}");
}
