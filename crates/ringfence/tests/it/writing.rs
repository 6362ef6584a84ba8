//! A tenant that writes without end, and knows what it was told of each row.

use std::{
    collections::BTreeSet,
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use crate::{process::now, shapes::Person};

/// How many rows were there before it wrote.
pub(crate) const BALLAST: u64 = 500;

/// A token is taken anew after so long: it lives for 300 s.
const TOKEN: Duration = Duration::from_secs(100);

/// How many and which rows of before, what the counter says, and the numbers that were written.
const FOUND: &str = "SELECT count(*) FILTER (WHERE body ~ '^b'), md5(string_agg(body, ',' ORDER BY id) FILTER (WHERE body ~ '^b')),
    max(substr(body, 2)) FILTER (WHERE body ~ '^c'), string_agg(body, ' ' ORDER BY body::int) FILTER (WHERE body ~ '^[0-9]') FROM notes";

/// What it has written, as it was told.
#[derive(Default)]
struct Told {
    begun: u64,
    done: BTreeSet<u64>,
    /// May have been done or not.
    broken: Vec<(u64, String)>,
}

/// A tenant that writes numbers, one after the other, and counts them in a row, each in one transaction.
pub(crate) struct Writing<'a> {
    person: Person<'a>,
    token: Mutex<(String, Instant)>,
    told: Mutex<Told>,
    before: String,
}

/// Tells writers to stop, also where a test fails.
pub(crate) struct Stop<'a>(pub(crate) &'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl<'a> Writing<'a> {
    pub(crate) fn of(person: Person<'a>) -> Self {
        let tenant = person.tenant();
        let rows = format!(
            "INSERT INTO notes SELECT '{tenant}', gen_random_uuid(), 'b' || md5(n::text) FROM generate_series(1, {BALLAST}) n;
            INSERT INTO notes VALUES ('{tenant}', gen_random_uuid(), 'c0')"
        );
        let token = person.token().unwrap();
        person.ask_with(&token, &rows).unwrap();
        let found = person.ask_with(&token, FOUND).unwrap();
        let before = found.split('|').nth(1).unwrap().to_owned();
        Self { person, token: Mutex::new((token, now())), told: Mutex::default(), before }
    }

    fn told<T>(&self, change: impl FnOnce(&mut Told) -> T) -> T {
        change(&mut self.told.lock().unwrap())
    }

    /// Signs in again: a plane that was started again believes no token of before.
    pub(crate) fn sign_in(&self) -> Result<(), String> {
        let token = self.person.token()?;
        *self.token.lock().unwrap() = (token, now());
        Ok(())
    }

    /// What a statement answers, or why not.
    pub(crate) fn ask(&self, sql: &str) -> Result<String, String> {
        if self.token.lock().unwrap().1.elapsed() > TOKEN {
            // Where no plane runs, that is what it is told below.
            let _ = self.sign_in();
        }
        let token = self.token.lock().unwrap().0.clone();
        self.person.ask_with(&token, sql)
    }

    /// Writes until it is told to stop.
    pub(crate) fn write(&self, stop: &AtomicBool) {
        while !stop.load(Ordering::Relaxed) {
            let number = self.told(|told| {
                told.begun += 1;
                told.begun
            });
            let outcome = self.ask(&format!(
                "INSERT INTO notes VALUES ('{}', gen_random_uuid(), '{number}');
                UPDATE notes SET body = 'c' || substr(body, 2)::int + 1 WHERE body ~ '^c'",
                self.person.tenant()
            ));
            self.told(|told| match outcome {
                Ok(_) => drop(told.done.insert(number)),
                Err(why) => told.broken.push((number, why)),
            });
        }
    }

    /// How many it was told are done.
    pub(crate) fn done(&self) -> usize {
        self.told(|told| told.done.len())
    }

    /// What it was refused, with its number.
    pub(crate) fn broken(&self) -> Vec<(u64, String)> {
        self.told(|told| told.broken.clone())
    }

    /// It sees every row once: those of before, and each that it was told is done; the counter knows of all of them, and nobody
    /// else's is there.
    pub(crate) fn whole(&self, when: &str) {
        let done = self.told(|told| told.done.clone());
        let found = self.ask(FOUND).unwrap();
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
