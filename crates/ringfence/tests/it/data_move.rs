//! Tenants whose rows are moved between shapes while they write, confirmed, undone, stopped, and gone on with after a crash.

use std::{
    fs,
    path::Path,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    thread,
    time::Duration,
};

use serde_json::Value;

use crate::{
    at_place::AtPlace,
    init::{settings, upstream},
    process::until,
    program::{complaint, run, scratch},
    session::Plane,
    shapes::{Person, tiers},
};

pub(crate) const SHAPES: [&str; 5] = ["rows", "role", "schema", "database", "server"];

/// A plane with a tenant of shape `rows`, and another that shares its tables.
pub(crate) fn plane(name: &str) -> (Plane, [String; 2]) {
    let folder = scratch(name);
    let config = settings(&folder, &upstream().0);
    let text = fs::read_to_string(&config).unwrap();
    fs::write(&config, format!("{text}{}", tiers(&SHAPES))).unwrap();
    let config = config.display().to_string();
    let plane = Plane::up(&folder.join("state"), &["--config", &config]);
    for tenant in ["mover", "other"] {
        plane.json(&["tenant", "create", tenant, "--tier", "rows"]);
    }
    (plane, [folder.display().to_string(), config])
}

pub(crate) fn moved(plane: &Plane, arguments: &[&str]) -> Value {
    plane.json(&[&["tenant", "move-data", "mover"], arguments].concat())
}

fn insert(tenant: &str, body: &str) -> String {
    format!("INSERT INTO notes VALUES ('{tenant}', gen_random_uuid(), '{body}')")
}

const COUNT: &str = "SELECT count(*) FROM notes";
const BODIES: &str = "SELECT string_agg(body, ',' ORDER BY body) FROM notes";

#[test]
fn a_tenant_goes_through_every_shape_while_it_writes_and_back() {
    let (plane, _) = plane("data-move");
    let (mover, other) = (Person::of(&plane, "mover"), Person::of(&plane, "other"));
    assert!(other.ask(&insert("other", "CANARY")).is_ok());
    let (stop, written, token) = (AtomicBool::new(false), AtomicU64::new(0), mover.token().unwrap());
    thread::scope(|scope| {
        // It writes one row after the other, and counts those it was told are there.
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                if mover.ask_with(&token, &insert("mover", "x")).is_ok() {
                    written.fetch_add(1, Ordering::Relaxed);
                }
            }
        });
        for shape in ["schema", "role", "database", "server", "rows"] {
            let there = moved(&plane, &["--to", shape]);
            assert_eq!(there["state"], "moved", "{there}");
            assert_eq!(plane.json(&["tenant", "show", "mover"])["data"], shape);
            let done = moved(&plane, &["--confirm"]);
            assert_eq!(done["state"], "confirmed", "{done}");
        }
        stop.store(true, Ordering::Relaxed);
    });
    let written = written.load(Ordering::Relaxed);
    assert!(written > 0);
    assert_eq!(mover.ask(COUNT).unwrap(), written.to_string(), "none is lost, and none is there twice");
    assert_eq!(other.ask(BODIES).unwrap(), "CANARY");
    // Nothing of the ways is left.
    let left = "SELECT (SELECT count(*) FROM pg_publication)
        + (SELECT count(*) FROM pg_namespace WHERE nspname ~ '^ringfence_') + (SELECT count(*) FROM pg_roles WHERE rolname ~ '^ringfence_[0-9a-f]')
        + (SELECT count(*) FROM pg_database WHERE datname ~ '^app_')";
    assert_eq!(mover.ask(left).unwrap(), "0");
    let audit = plane.json(&["audit", "--tenant", "mover"]);
    assert!(audit.to_string().contains("shape rows"), "{audit}");
}

#[test]
fn what_was_written_where_it_was_moved_to_comes_back_when_that_is_undone() {
    let (plane, _) = plane("data-move-undo");
    let mover = Person::of(&plane, "mover");
    let kept = "INSERT INTO notes VALUES ('mover', '00000000-0000-0000-0000-000000000001', 'before')";
    assert!(mover.ask(kept).is_ok());
    for shape in ["database", "role", "schema"] {
        let there = moved(&plane, &["--to", shape]);
        assert_eq!(there["state"], "moved");
        // The old copy is refused, whoever asks: nobody is told of a second move, or of an end, before it is decided.
        for refused in [&["--to", "rows"][..], &["--stop"]] {
            let refused = [&["tenant", "move-data", "mover"], refused].concat();
            assert!(complaint(&plane.command(&refused)).contains("neither confirmed nor undone"));
        }
        let gone = plane.command(&["tenant", "delete", "mover", "--confirm", "mover"]);
        assert!(complaint(&gone).contains("neither confirmed nor undone"));
        assert!(mover.ask(&insert("mover", shape)).is_ok());
        assert!(
            mover
                .ask("UPDATE notes SET body = body || '+' WHERE id = '00000000-0000-0000-0000-000000000001'")
                .is_ok()
        );
        assert_eq!(moved(&plane, &["--undo"])["state"], "undone");
        assert_eq!(plane.json(&["tenant", "show", "mover"])["data"], "rows");
    }
    assert_eq!(mover.ask(BODIES).unwrap(), "before+++,database,role,schema");
}

#[test]
fn what_stands_in_the_way_is_said_and_the_tenant_stays() {
    let folder = scratch("data-move-hindered");
    let config = settings(&folder, &upstream().0);
    let text = fs::read_to_string(&config).unwrap().replace("[\"notes\"]", "[\"notes\", \"loose\"]");
    fs::write(&config, format!("{text}{}", tiers(&SHAPES))).unwrap();
    let notes = fs::read_to_string(folder.join("notes.sql")).unwrap();
    let loose = "CREATE TABLE loose (tenant_id text NOT NULL, n int);";
    fs::write(folder.join("notes.sql"), format!("{notes}{loose}")).unwrap();
    let plane = Plane::up(&folder.join("state"), &["--config", &config.display().to_string()]);
    plane.json(&["tenant", "create", "mover", "--tier", "rows"]);
    let mover = Person::of(&plane, "mover");
    assert!(mover.ask(&insert("mover", "x")).is_ok());
    let refused = complaint(&plane.command(&["tenant", "move-data", "mover", "--to", "database"]));
    assert!(refused.contains("loose") && refused.contains("served where it was"), "{refused}");
    assert!(moved(&plane, &["--show"])["state"]["stopped"].as_str().unwrap().contains("loose"));
    assert_eq!(mover.ask(BODIES).unwrap(), "x");
    // Where nothing has to be brought, nothing is in the way.
    assert_eq!(moved(&plane, &["--to", "role"])["state"], "moved");
    assert!(complaint(&plane.command(&["tenant", "move-data", "mover", "--to", "rows"])).contains("neither"));
    assert_eq!(moved(&plane, &["--confirm"])["state"], "confirmed");
    assert!(complaint(&plane.command(&["tenant", "move-data", "mover", "--to", "role"])).contains("already"));
    assert_eq!(mover.ask(BODIES).unwrap(), "x");
    assert_eq!(plane.json(&["tenant", "delete", "mover", "--confirm", "mover"])["rows"], 1);
}

/// Postgres lets nobody connect to such a database any more, and remembers no way back.
#[test]
fn a_database_whose_removal_was_cut_off_is_removed_all_the_same() {
    let (plane, [folder, _]) = plane("data-move-cut-off");
    let shared = AtPlace::shared(&Path::new(&folder).join("state"));
    let cut_off = || {
        let cut = "UPDATE pg_database SET datconnlimit = -2 WHERE datname ~ '^app_' RETURNING 1";
        assert_eq!(shared.ask(cut), "1");
    };
    let databases = || shared.ask("SELECT count(*) FROM pg_database WHERE datname ~ '^app_'");
    let mover = Person::of(&plane, "mover");
    assert!(mover.ask(&insert("mover", "x")).is_ok());
    for shape in ["database", "rows"] {
        assert_eq!(moved(&plane, &["--to", shape])["state"], "moved");
        if shape == "rows" {
            cut_off();
        }
        assert_eq!(moved(&plane, &["--confirm"])["state"], "confirmed");
    }
    assert_eq!((databases(), mover.ask(BODIES).unwrap()), ("0".to_owned(), "x".to_owned()));
    plane.json(&["tenant", "create", "gone", "--tier", "database"]);
    cut_off();
    assert_eq!(plane.json(&["tenant", "delete", "gone", "--confirm", "gone"])["rows"], 0);
    assert_eq!(databases(), "0");
}

#[test]
fn a_plane_that_is_killed_at_any_moment_of_a_move_goes_on_with_it() {
    let (plane, [folder, config]) = plane("data-move-killed");
    let state = Path::new(&folder).join("state");
    let password = {
        let mover = Person::of(&plane, "mover");
        let many = "INSERT INTO notes SELECT 'mover', gen_random_uuid(), repeat('x', 200) FROM generate_series(1, 20000)";
        assert_eq!(mover.ask(many).map(drop), Ok(()));
        mover.password()
    };
    let mut plane = Some(plane);
    for (shape, millis) in [("database", 60), ("schema", 200), ("rows", 400), ("schema", 700), ("role", 150)]
    {
        let running = plane.take().unwrap();
        let dir = running.dir.display().to_string();
        // It is killed while this waits for the move's end, or a moment after that.
        let begun = start_of(&["tenant", "move-data", "mover", "--to", shape, "--dir", &dir]);
        until("the move is on record", 20, || {
            let shown = running.command(&["tenant", "move-data", "mover", "--show", "--json"]);
            let shown: Value = serde_json::from_slice(&shown.stdout).ok()?;
            (shown["to"]["shape"] == shape).then_some(())
        });
        thread::park_timeout(Duration::from_millis(millis));
        let mut running = running;
        running.kill();
        drop(running);
        begun.join().unwrap();
        let again = Plane::up(&state, &["--config", &config]);
        let mover = Person::again(&again, "mover", &password);
        // It is served all the time, wherever it is.
        assert_eq!(mover.ask(COUNT).unwrap(), "20000", "{shape} {millis}");
        let ended = until("the move ends", 60, || {
            let state = moved(&again, &["--show"])["state"].clone();
            (state != "bringing" && state != "arrived").then_some(state)
        });
        assert_eq!(ended, "moved", "{shape} {millis}");
        assert_eq!(mover.ask(COUNT).unwrap(), "20000", "{shape} {millis}");
        assert_eq!(moved(&again, &["--confirm"])["state"], "confirmed");
        assert_eq!(again.json(&["tenant", "show", "mover"])["data"], shape);
        plane = Some(again);
    }
}

pub(crate) fn start_of(arguments: &[&str]) -> thread::JoinHandle<()> {
    let arguments: Vec<String> = arguments.iter().map(|&argument| argument.to_owned()).collect();
    thread::spawn(move || {
        // What it says of a plane that is killed is not the question.
        let _ = run(&arguments.iter().map(String::as_str).collect::<Vec<_>>());
    })
}
