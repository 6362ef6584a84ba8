//! A tenant that is moved from every shape to every other, undone and confirmed, while it and another tenant write.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    sync::atomic::AtomicBool,
    thread,
    time::Duration,
};

use serde_json::Value;

use crate::{
    at_place::AtPlace,
    data_move::{SHAPES, moved, plane, start_of},
    process::{self, now, until},
    session::Plane,
    shapes::Person,
    writing::{BALLAST, Stop, Writing},
};

/// A plane on which the mover and another write.
struct Ground<'a> {
    plane: &'a Plane,
    config: String,
    state: PathBuf,
    mover: Writing<'a>,
    other: Writing<'a>,
}

/// Both write as long as `walk` does. In the end, while what it gives is there, each of their rows is there once; and then no process
/// is left. What they were refused.
fn while_both_write<T>(name: &str, walk: impl FnOnce(&Ground<'_>) -> T) -> Vec<(u64, String)> {
    let (plane, [folder, config]) = plane(name);
    let [mover, other] = ["mover", "other"].map(|tenant| Writing::of(Person::of(&plane, tenant)));
    let state = Path::new(&folder).join("state");
    let ground = Ground { plane: &plane, config, state, mover, other };
    let stop = AtomicBool::new(false);
    let last = thread::scope(|scope| {
        let _stop = Stop(&stop);
        for writing in [&ground.mover, &ground.other] {
            scope.spawn(|| writing.write(&stop));
        }
        walk(&ground)
    });
    ground.whole("in the end");
    drop(last);
    let refused = [ground.mover.broken(), ground.other.broken()].concat();
    let state = ground.state.clone();
    drop(ground);
    drop(plane);
    assert_eq!(process::of(&state), [], "left running");
    refused
}

impl Ground<'_> {
    fn whole(&self, when: &str) {
        self.mover.whole(when);
        self.other.whole(when);
    }

    /// Moves the mover; the move.
    fn step(&self, shape: &str) -> Value {
        let there = moved(self.plane, &["--to", shape]);
        assert_eq!(there["state"], "moved", "{there}");
        assert_eq!(self.plane.json(&["tenant", "show", "mover"])["data"], shape);
        self.held(&there);
        there
    }

    fn undo(&self, there: &Value) {
        let back = moved(self.plane, &["--undo"]);
        assert_eq!(back["state"], "undone", "{back}");
        self.held(&back);
        self.is_at(&there["from"]);
    }

    fn confirm(&self, there: &Value) {
        let done = moved(self.plane, &["--confirm"]);
        assert_eq!(done["state"], "confirmed", "{done}");
        self.is_at(&there["to"]);
    }

    fn held(&self, step: &Value) {
        let held = step["held_ms"].as_u64().unwrap();
        let ways = ["from", "to"].map(|side| step[side]["shape"].as_str().unwrap());
        eprintln!("{} {ways:?}: held {held} ms", step["state"]);
        assert!(held < 1000, "{step}");
    }

    /// Both go on.
    fn write_more(&self) {
        let before = [&self.mover, &self.other].map(Writing::done);
        until("both write", 30, || {
            let now = [&self.mover, &self.other].map(Writing::done);
            (now[0] > before[0] + 3 && now[1] > before[1] + 3).then_some(())
        });
    }

    /// Where the mover is served it is given its rows, and those of nobody else are there; at the other place it is refused, with
    /// whatever key and login.
    fn one_place_serves(&self, here: &Value, other: &Value) {
        let when = format!("at {here}, and not at {other}");
        let (at, old) = (AtPlace::of(&self.state, here), AtPlace::of(&self.state, other));
        assert!(at.given("mover", &at).unwrap() > BALLAST, "{when}");
        let refused = old.given("mover", &at).unwrap_err();
        assert!(refused.contains("RF002"), "{when}: {refused}");
        if !matches!(here["shape"].as_str(), Some("rows" | "role")) {
            assert_eq!(at.ask("SELECT count(*) FROM notes WHERE tenant_id <> 'mover'"), "0", "{when}");
        }
    }

    /// The mover's rows are here alone, and what each shape has of its own is there, and nothing else: roles, schemas and databases;
    /// what is made for moves; keys and rows of the mover in the database that tenants share; servers.
    fn is_at(&self, place: &Value) {
        let shape = place["shape"].as_str().unwrap();
        let sql = "SELECT (SELECT count(*) FROM pg_roles WHERE rolname ~ '^ringfence_[0-9a-f]{16}$'),
            (SELECT count(*) FROM pg_namespace WHERE nspname ~ '^ringfence_'), (SELECT count(*) FROM pg_database WHERE datname ~ '^app_'),
            (SELECT count(*) FROM pg_publication), (SELECT count(*) FROM pg_replication_slots), (SELECT count(*) FROM ringfence.tenant_move),
            (SELECT count(*) FROM ringfence.tenant_key WHERE tenant_id = 'mover'), EXISTS (SELECT FROM public.notes WHERE tenant_id = 'mover')";
        let wanted = match shape {
            "rows" => "0|0|0|0|0|0|1|t",
            "role" => "1|0|0|0|0|0|1|t",
            "schema" => "1|1|0|0|0|0|1|f",
            "database" => "0|0|1|0|0|0|0|f",
            _ => "0|0|0|0|0|0|0|f",
        };
        assert_eq!(AtPlace::shared(&self.state).ask(sql), wanted, "{shape}");
        let entries = fs::read_dir(&self.state).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let servers = names.filter(|name| name.starts_with("postgres-")).count();
        assert_eq!(servers, usize::from(shape == "server"));
        let at = AtPlace::of(&self.state, place);
        assert!(at.given("mover", &at).unwrap() > BALLAST, "{shape}");
        let made =
            "SELECT (SELECT count(*) FROM pg_publication), (SELECT count(*) FROM pg_replication_slots),
            (SELECT count(*) FROM ringfence.tenant_move)";
        assert_eq!(at.ask(made), "0|0|0", "{shape}");
    }

    /// Tells the plane to undo or confirm a move, kills it when it has begun to, and starts it again: it goes on. `held`: a place at
    /// whose table it can't go on before it is killed. The plane that runs then.
    fn killed(&self, running: &mut Option<Plane>, turn: (&str, &str), held: Option<&Value>, millis: u64) {
        let (flag, end) = turn;
        let held = held.map(|place| AtPlace::of(&self.state, place)).map(|at| (at.hold(), at));
        let dir = self.plane.dir.display().to_string();
        let begun = start_of(&["tenant", "move-data", "mover", flag, "--dir", &dir]);
        until("it has begun", 20, || (moved(self.plane, &["--show"])["state"] != "moved").then_some(()));
        if let Some((_, at)) = &held {
            let waits = "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'notes'::regclass";
            until("it can't go on", 20, || (at.ask(waits) != "0").then_some(()));
        }
        thread::park_timeout(Duration::from_millis(millis));
        process::kill(running.as_ref().unwrap_or(self.plane).pid());
        begun.join().unwrap();
        drop(held);
        *running = Some(self.again(end));
    }

    /// The plane, started again after it was killed, when its move has come to this.
    fn again(&self, end: &str) -> Plane {
        let plane = Plane::up(&self.state, &["--config", &self.config]);
        self.mover.sign_in().unwrap();
        self.other.sign_in().unwrap();
        until(&format!("{end} after all"), 60, || {
            (moved(self.plane, &["--show"])["state"] == end).then_some(())
        });
        plane
    }
}

#[test]
fn a_tenant_goes_from_every_shape_to_every_other_while_it_and_another_write() {
    // Steps of one width go round all five, for five is prime; the four widths are all 20 ways.
    let tour: Vec<_> = (1..5).flat_map(|width| (1..=5).map(move |step| SHAPES[width * step % 5])).collect();
    let ways: BTreeSet<_> = ["rows"].iter().chain(&tour).zip(&tour).collect();
    assert_eq!(ways.len(), 20, "{ways:?}");
    let refused = while_both_write("data-tour", |ground| {
        for shape in tour {
            let began = now();
            let there = ground.step(shape);
            ground.one_place_serves(&there["to"], &there["from"]);
            ground.whole(shape);
            ground.confirm(&there);
            eprintln!("all {:?}", began.elapsed());
        }
    });
    assert_eq!(refused, [], "nobody was refused");
}

#[test]
fn a_move_from_every_shape_and_to_every_shape_is_undone_with_what_was_written_since() {
    let refused = while_both_write("data-undo", |ground| {
        for shape in (1..=5).map(|step| SHAPES[step % 5]) {
            for undone in [true, false] {
                let there = ground.step(shape);
                ground.write_more();
                if undone {
                    ground.undo(&there);
                } else {
                    ground.confirm(&there);
                }
                ground.whole(&format!("{there}, undone: {undone}"));
            }
        }
    });
    assert_eq!(refused, [], "nobody was refused");
}

#[test]
fn a_plane_that_is_killed_while_a_move_is_undone_or_confirmed_goes_on_with_it() {
    const UNDO: (&str, &str) = ("--undo", "undone");
    const CONFIRM: (&str, &str) = ("--confirm", "confirmed");
    while_both_write("data-undo-killed", |ground| {
        let mut running = None;
        // `true`: it is held up where the tenant was, and so is killed in the middle of bringing rows back, or of removing them.
        for (shape, turn, held, millis) in [
            ("server", UNDO, false, 30),
            ("database", UNDO, false, 150),
            ("server", CONFIRM, false, 20),
            ("schema", UNDO, true, 0),
            ("role", UNDO, false, 300),
            ("database", CONFIRM, true, 0),
            ("schema", CONFIRM, false, 60),
            ("rows", CONFIRM, true, 0),
        ] {
            let there = ground.step(shape);
            ground.write_more();
            ground.killed(&mut running, turn, held.then_some(&there["from"]), millis);
            ground.is_at(&there[if turn == UNDO { "from" } else { "to" }]);
            ground.write_more();
            ground.whole(&format!("{there}, {turn:?} killed"));
        }
        running
    });
}

#[test]
fn a_plane_that_is_killed_while_a_tenant_waits_serves_it_and_moves_it() {
    while_both_write("data-held-killed", |ground| {
        let dir = ground.plane.dir.display().to_string();
        let again = thread::scope(|scope| {
            // It keeps the tenant waiting for as long as a transaction is let come to its end.
            scope.spawn(|| ground.mover.ask("SELECT pg_sleep(60)").unwrap_err());
            let begun = start_of(&["tenant", "move-data", "mover", "--to", "server", "--dir", &dir]);
            until("it switches", 30, || {
                let shown = ground.plane.command(&["tenant", "move-data", "mover", "--show", "--json"]);
                let shown: Value = serde_json::from_slice(&shown.stdout).ok()?;
                (shown["progress"]["doing"] == "switches").then_some(())
            });
            process::kill(ground.plane.pid());
            begun.join().unwrap();
            ground.again("moved")
        });
        let there = moved(ground.plane, &["--show"]);
        ground.one_place_serves(&there["to"], &there["from"]);
        ground.write_more();
        ground.whole("killed while it waited");
        ground.confirm(&there);
        again
    });
}
