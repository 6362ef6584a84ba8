//! Tenants with databases of their own beside tenants that share one: the same commands, the same statements.

use std::fs;

use crate::{
    init::{settings, upstream},
    program::{said, scratch},
    session::{Plane, up_fails},
};

pub(crate) const TIER: &str = "
[tiers.own]
rate = { per_second = 500, burst = 1000 }
namespace = \"App\"
schema = \"app.cedarschema\"
policies = \"app.cedar\"
data = \"database\"
";

/// Somebody of a tenant.
pub(crate) struct Person<'a>(&'a Plane, &'a str, String);

impl<'a> Person<'a> {
    pub(crate) fn of(plane: &'a Plane, tenant: &'a str) -> Self {
        let user = plane.json(&["user", "create", "ann", "--tenant", tenant, "--role", "admin"]);
        Self(plane, tenant, user["password"].as_str().unwrap().to_owned())
    }

    /// What a statement answers through the guard, or why not.
    pub(crate) fn ask(&self, sql: &str) -> Result<String, String> {
        let Self(plane, tenant, password) = self;
        let arguments =
            ["token", "--tenant", tenant, "--user", "ann", "--password-stdin", "--for", "database"];
        let token = plane.command_with(&arguments, password);
        if !token.status.success() {
            return Err("no token".to_owned());
        }
        let done = plane.psql(tenant, said(&token).trim(), sql);
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
        if done.status.success() { Ok(text(&done.stdout)) } else { Err(text(&done.stderr)) }
    }
}

#[test]
fn a_tier_decides_in_which_database_and_nobody_notices() {
    let folder = scratch("own-database");
    let config = settings(&folder, &upstream().0);
    let text = fs::read_to_string(&config).unwrap();
    fs::write(&config, format!("{text}{TIER}")).unwrap();
    let flags = ["--config", &config.display().to_string()];
    let mut plane = Plane::up(&folder.join("state"), &flags);
    let made = plane.json(&["tenant", "create", "a-first", "--tier", "own"]);
    assert_eq!(made["data"], "database");
    assert_eq!(plane.json(&["tenant", "create", "second"])["data"], "rows");
    let passwords = {
        let (first, second) = (Person::of(&plane, "a-first"), Person::of(&plane, "second"));
        assert!(first.ask("SELECT current_database()").unwrap().starts_with("app_"));
        assert_eq!(second.ask("SELECT current_database()").unwrap(), "app");
        for (person, tenant) in [(&first, "a-first"), (&second, "second")] {
            let insert = format!("INSERT INTO notes VALUES ('{tenant}', gen_random_uuid(), 'of {tenant}')");
            assert!(person.ask(&insert).is_ok());
            assert_eq!(person.ask("SELECT body FROM notes").unwrap(), format!("of {tenant}"));
        }
        // Nobody is anybody else there, either: the same row security is in both.
        let other = "INSERT INTO notes VALUES ('second', gen_random_uuid(), 'x')";
        assert!(first.ask(other).unwrap_err().contains("row-level security"));

        plane.json(&["tenant", "suspend", "a-first"]);
        assert!(first.ask("SELECT 1").is_err());
        plane.json(&["tenant", "resume", "a-first"]);
        assert_eq!(first.ask("SELECT body FROM notes").unwrap(), "of a-first");
        [first.2, second.2]
    };

    // Where its rows are outlives the plane.
    plane.interrupt();
    drop(plane);
    let plane = Plane::up(&folder.join("state"), &flags);
    let [first, second] = passwords;
    let (first, second) = (Person(&plane, "a-first", first), Person(&plane, "second", second));
    assert_eq!(first.ask("SELECT body FROM notes").unwrap(), "of a-first");
    assert_eq!(second.ask("SELECT body FROM notes").unwrap(), "of second");

    // Whoever may connect sees the names of all databases: they say nothing of whose they are.
    let name = first.ask("SELECT current_database()").unwrap();
    let there = format!("SELECT count(*) FROM pg_database WHERE datname = '{name}'");
    assert_eq!(second.ask(&there).unwrap(), "1");
    assert_eq!(second.ask("SELECT count(*) FROM pg_database WHERE datname ~ 'first'").unwrap(), "0");
    assert_eq!(plane.json(&["tenant", "delete", "a-first", "--confirm", "a-first"])["rows"], 1);
    assert_eq!(second.ask(&there).unwrap(), "0");
    assert_eq!(second.ask("SELECT body FROM notes").unwrap(), "of second");
}

#[test]
fn a_database_name_that_leaves_no_room_is_said_at_once() {
    let folder = scratch("own-database-name");
    let config = settings(&folder, &upstream().0);
    let text = fs::read_to_string(&config).unwrap();
    let text =
        text.replace("database = \"app\"", "database = \"a_database_name_that_is_of_just_47_bytes_in_all_\"");
    fs::write(&config, format!("{text}{TIER}")).unwrap();
    let refused = up_fails(&folder.join("state"), &["--config", &config.display().to_string()]);
    let refused = crate::program::complaint(&refused);
    assert!(refused.contains("at most 46 bytes"), "{refused}");
}
