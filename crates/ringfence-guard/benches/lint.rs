//! Which holes `lint` finds, and which others do: `cargo bench -p ringfence-guard --bench lint`.
//!
//! Each hole of the tests is made in a database of its own that has none, and whoever says more after than before has found
//! something, be it called what it may. `--pgrls PROGRAM` and `--splinter FILE` name the others; `cargo xtask bench lint` gets
//! them. `--json` prints one object.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    clippy::print_stdout,
    dead_code,
    reason = "a benchmark prints, and fails by panicking; it shares the tests' fixture"
)]

#[path = "../tests/it/fixture.rs"]
mod fixture;
#[path = "../tests/it/holes.rs"]
mod holes;

use std::{collections::BTreeSet, process::Command};

use fixture::World;
use holes::{HOLES, Hole};
use ringfence_guard::{
    cluster::SUPERUSER,
    lint::{Known, lint, rules},
};
use serde_json::{Value, json};
use tokio_postgres::{Client, SimpleQueryMessage};

/// Whom a linter of Supabase's databases looks at.
const ITS_ROLES: &str = "DO $$ BEGIN
    IF to_regrole('anon') IS NULL THEN CREATE ROLE anon; CREATE ROLE authenticated; END IF; END $$";

/// What each linter says of a database: rules and objects.
type Said = BTreeSet<String>;

struct Others {
    pgrls: Option<String>,
    splinter: Option<String>,
}

async fn ours(client: &mut Client, world: &World) -> Said {
    let known = Known { roles: vec![world.role.to_string()], columns: vec!["tenant_id".to_owned()] };
    let report = lint(client, known, |_| ()).await.unwrap();
    report
        .findings
        .into_iter()
        .map(|found| format!("{} {} {}", found.rule, found.object, found.detail))
        .collect()
}

fn by_pgrls(program: &str, world: &World) -> Said {
    let World { host, port, database, .. } = world;
    let url = format!("postgresql://{SUPERUSER}@/{database}?host={}&port={port}", host.display());
    let ran =
        Command::new(program).args(["lint", "--database-url", &url, "--format", "json"]).output().unwrap();
    let said: Value = serde_json::from_slice(&ran.stdout).unwrap_or_else(|error| {
        panic!(
            "pgrls: {error}: {}{}",
            String::from_utf8_lossy(&ran.stdout),
            String::from_utf8_lossy(&ran.stderr)
        )
    });
    let violations = said["violations"].as_array().unwrap();
    violations
        .iter()
        .map(|found| format!("{} {} {}", found["rule_id"], found["location"], found["message"]))
        .collect()
}

async fn by_splinter(sql: &str, client: &Client) -> Said {
    let rows = client.simple_query(&format!("BEGIN; {sql}; ROLLBACK")).await.unwrap();
    let said = |message| match message {
        SimpleQueryMessage::Row(row) => Some(format!("{:?} {:?}", row.get("name"), row.get("cache_key"))),
        _ => None,
    };
    rows.into_iter().filter_map(said).collect()
}

impl Others {
    fn named() -> Self {
        let arguments: Vec<String> = std::env::args().collect();
        let after = |name: &str| {
            let at = arguments.iter().position(|argument| argument == name)?;
            arguments.get(at + 1).cloned()
        };
        let splinter = after("--splinter").map(|file| std::fs::read_to_string(file).unwrap());
        Self { pgrls: after("--pgrls"), splinter }
    }

    async fn say(&self, client: &mut Client, world: &World) -> [Option<Said>; 3] {
        let splinter = match &self.splinter {
            Some(sql) => Some(by_splinter(sql, client).await),
            None => None,
        };
        [
            Some(ours(client, world).await),
            self.pgrls.as_deref().map(|program| by_pgrls(program, world)),
            splinter,
        ]
    }
}

/// Who finds a hole: each linter where it was asked.
async fn found(hole: &Hole, others: &Others) -> [Option<bool>; 3] {
    let world = World::new().await;
    let mut client = world.superuser().await;
    let grant = format!("DROP TABLE staging; {ITS_ROLES}; GRANT {0} TO anon, authenticated", world.role);
    client.batch_execute(&grant).await.unwrap();
    let before = others.say(&mut client, &world).await;
    let (ddl, _) = hole.of(world.role.as_str());
    client.batch_execute(&ddl).await.unwrap();
    let after = others.say(&mut client, &world).await;
    // What belongs to the whole cluster would be found in the next database, too.
    let clean = "DO $$ DECLARE name text; BEGIN FOR name IN SELECT rolname FROM pg_roles WHERE rolname LIKE 'lint\\_%' LOOP
        EXECUTE format('DROP OWNED BY %I; DROP ROLE %1$I', name); END LOOP; END $$";
    client.batch_execute(&format!("ALTER ROLE {} NOBYPASSRLS; {clean}", world.role)).await.unwrap();
    let more =
        |(before, after): (Option<Said>, Option<Said>)| Some(after?.difference(&before?).next().is_some());
    let mut pairs = before.into_iter().zip(after).map(more);
    std::array::from_fn(|_| pairs.next().unwrap_or_default())
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let others = Others::named();
    let in_json = std::env::args().any(|argument| argument == "--json");
    let mut lines = Vec::new();
    for (at, hole) in HOLES.iter().enumerate() {
        eprint!("\rhole {} of {} ", at + 1, HOLES.len());
        let rule = rules().find(|rule| rule.id == hole.1).unwrap();
        lines.push((rule, found(hole, &others).await));
    }
    eprintln!();
    let count = |which: usize| lines.iter().filter(|(_, found)| found[which] == Some(true)).count();
    let counts = [count(0), count(1), count(2)];
    if in_json {
        let line = |(rule, [ringfence, pgrls, splinter]): &(
            &ringfence_guard::lint::Rule,
            [Option<bool>; 3],
        )| {
            json!({ "rule": rule.id, "name": rule.name, "ringfence": ringfence, "pgrls": pgrls, "splinter": splinter })
        };
        println!("{}", json!({ "holes": lines.iter().map(line).collect::<Vec<_>>(), "found": counts }));
        return;
    }
    println!("{:<48}{:>10}{:>10}{:>10}", "hole", "ringfence", "pgrls", "splinter");
    for (rule, found) in &lines {
        let said = found.map(|found| found.map_or("not asked", |found| if found { "found" } else { "-" }));
        println!("{:<48}{:>10}{:>10}{:>10}", format!("{} {}", rule.id, rule.name), said[0], said[1], said[2]);
    }
    let [ringfence, pgrls, splinter] = counts;
    println!("{:<48}{ringfence:>10}{pgrls:>10}{splinter:>10}", format!("of {}", lines.len()));
}
