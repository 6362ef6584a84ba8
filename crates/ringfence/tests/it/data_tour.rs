//! A tenant that is moved from every shape to every other, undone and confirmed, while it and another tenant write.

use std::{
    collections::BTreeSet,
    fs,
    path::Path,
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use serde_json::Value;

use crate::{
    at_place::AtPlace,
    data_move::{SHAPES, moved, plane, start_of},
    process::{now, signal, until},
    session::Plane,
    shapes::Person,
};

/// What was there before anybody wrote.
const BALLAST: u64 = 500;

/// How many and which rows of before, what the counter says, and the numbers that were written.
const FOUND: &str = "SELECT count(*) FILTER (WHERE body ~ '^b'), md5(string_agg(body, ',' ORDER BY id) FILTER (WHERE body ~ '^b')),
    max(substr(body, 2)) FILTER (WHERE body ~ '^c'), string_agg(body, ' ' ORDER BY body::int) FILTER (WHERE body ~ '^[0-9]') FROM notes";

/// What a tenant has written, as it was told.
#[derive(Default)]
struct Told {
    begun: u64,
    done: BTreeSet<u64>,
    /// May have been done or not.
    broken: Vec<(u64, String)>,
    slowest: Duration,
}

/// A tenant that writes numbers, one after the other, and counts them in a row, each in one transaction.
struct Writing {
    tenant: &'static str,
    /// One for all that is asked: sign-ins are counted.
    token: String,
    told: Mutex<Told>,
    before: String,
}

impl Writing {
    fn of(tenant: &'static str, person: &Person<'_>) -> Self {
        let rows = format!(
            "INSERT INTO notes SELECT '{tenant}', gen_random_uuid(), 'b' || md5(n::text) FROM generate_series(1, {BALLAST}) n;
            INSERT INTO notes VALUES ('{tenant}', gen_random_uuid(), 'c0')"
        );
        let token = person.token().unwrap();
        person.ask_with(&token, &rows).unwrap();
        let found = person.ask_with(&token, FOUND).unwrap();
        let before = found.split('|').nth(1).unwrap().to_owned();
        Self { tenant, token, told: Mutex::default(), before }
    }

    fn told<T>(&self, change: impl FnOnce(&mut Told) -> T) -> T {
        change(&mut self.told.lock().unwrap())
    }

    /// Writes until it is told to stop.
    fn write(&self, person: &Person<'_>, stop: &AtomicBool) {
        while !stop.load(Ordering::Relaxed) {
            let number = self.told(|told| {
                told.begun += 1;
                told.begun
            });
            let sql = format!(
                "INSERT INTO notes VALUES ('{}', gen_random_uuid(), '{number}');
                UPDATE notes SET body = 'c' || substr(body, 2)::int + 1 WHERE body ~ '^c'",
                self.tenant
            );
            let began = now();
            let outcome = person.ask_with(&self.token, &sql);
            self.told(|told| {
                told.slowest = told.slowest.max(began.elapsed());
                match outcome {
                    Ok(_) => drop(told.done.insert(number)),
                    Err(why) => told.broken.push((number, why)),
                }
            });
        }
    }

    /// Every row is there once: those of before, and each that was told to be done; the counter knows of all of them.
    fn whole(&self, person: &Person<'_>, when: &str) {
        let done = self.told(|told| told.done.clone());
        let found = person.ask_with(&self.token, FOUND).unwrap();
        let [count, hash, counter, numbers] = found.split('|').collect::<Vec<_>>().try_into().unwrap();
        assert_eq!((count, hash), (BALLAST.to_string().as_str(), self.before.as_str()), "{when}");
        let numbers: Vec<u64> = numbers.split_whitespace().map(|number| number.parse().unwrap()).collect();
        let once: BTreeSet<u64> = numbers.iter().copied().collect();
        assert_eq!(once.len(), numbers.len(), "{when}: one is there twice");
        let lost: Vec<_> = done.difference(&once).collect();
        assert!(lost.is_empty(), "{when}: {lost:?} are lost");
        assert_eq!(counter, numbers.len().to_string(), "{when}: half a transaction is there");
        let unknown = self.told(|told| once.last().is_some_and(|&last| last > told.begun));
        assert!(!unknown, "{when}: nobody wrote that");
    }
}

/// What each shape has of its own, and nothing else is there: roles, schemas and databases; what is made for moves; keys and
/// rows of the mover in the database that tenants share; servers.
fn nothing_is_left(state: &Path, shape: &str) {
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
    assert_eq!(AtPlace::shared(state).ask(sql), wanted, "{shape}");
    let names = fs::read_dir(state).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let servers = names.filter(|name| name.starts_with("postgres-")).count();
    assert_eq!(servers, usize::from(shape == "server"));
}

/// Where the tenant is served it is given its rows, and those of nobody else are there; at the other place it is refused, with
/// whatever key and login.
fn one_place_serves(state: &Path, (here, other): (&Value, &Value), when: &str) {
    let (at, old) = (AtPlace::of(state, here), AtPlace::of(state, other));
    assert!(at.given("mover", &at).unwrap() > BALLAST, "{when}");
    let refused = old.given("mover", &at).unwrap_err();
    assert!(refused.contains("RF002"), "{when}: {refused}");
    if !matches!(here["shape"].as_str(), Some("rows" | "role")) {
        assert_eq!(at.ask("SELECT count(*) FROM notes WHERE tenant_id <> 'mover'"), "0", "{when}");
    }
}

/// Moves the mover, and says how long it was held.
fn step(plane: &Plane, shape: &str, mover: &Writing) -> (Value, u64) {
    mover.told(|told| told.slowest = Duration::ZERO);
    let there = moved(plane, &["--to", shape]);
    assert_eq!(there["state"], "moved", "{there}");
    assert_eq!(plane.json(&["tenant", "show", "mover"])["data"], shape);
    let held = there["held_ms"].as_u64().unwrap();
    (there, held)
}

#[test]
fn a_tenant_goes_from_every_shape_to_every_other_while_it_and_another_write() {
    let (plane, [folder, _]) = plane("data-tour");
    let state = Path::new(&folder).join("state");
    let people = ["mover", "other"].map(|tenant| Person::of(&plane, tenant));
    let [mover, other] = ["mover", "other"].map(|tenant| {
        let person = people.iter().find(|person| person.tenant() == tenant).unwrap();
        Writing::of(tenant, person)
    });
    // Steps of one width go round all five, for five is prime; the four widths are all 20 ways.
    let tour: Vec<_> = (1..5).flat_map(|width| (1..=5).map(move |step| SHAPES[width * step % 5])).collect();
    let ways: BTreeSet<_> = ["rows"].iter().chain(&tour).zip(&tour).collect();
    assert_eq!(ways.len(), 20, "{ways:?}");
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        for (writing, person) in [&mover, &other].into_iter().zip(&people) {
            let stop = &stop;
            scope.spawn(move || writing.write(person, stop));
        }
        let walked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            for shape in tour {
                let began = now();
                let (there, held) = step(&plane, shape, &mover);
                let when = format!("{} to {shape}", there["from"]["shape"]);
                one_place_serves(&state, (&there["to"], &there["from"]), &when);
                for (writing, person) in [&mover, &other].into_iter().zip(&people) {
                    writing.whole(person, &when);
                }
                assert_eq!(moved(&plane, &["--confirm"])["state"], "confirmed");
                nothing_is_left(&state, shape);
                let slowest = mover.told(|told| told.slowest);
                eprintln!("{when}: held {held} ms, slowest write {slowest:?}, all {:?}", began.elapsed());
                assert!(held < 1000, "{when}: {held} ms");
            }
        }));
        stop.store(true, Ordering::Relaxed);
        if let Err(why) = walked {
            std::panic::resume_unwind(why);
        }
    });
    for (writing, person) in [&mover, &other].into_iter().zip(&people) {
        writing.whole(person, "in the end");
        assert_eq!(writing.told(|told| std::mem::take(&mut told.broken)), [], "nobody was refused");
    }
}
