//! Which cores a thread may run on, and when that matters.
//!
//! While work goes on that has the lowest priority (`SCHED_IDLE`), the core it is on is not idle, and the kernel would leave two
//! threads that serve waiting for each other on the next one. So they stay on a core each for as long, and go wherever
//! the system likes when there is no such work: docs/decisions/2026-11-28-a-core-per-thread.md.

use std::{
    cell::Cell,
    sync::atomic::{AtomicU64, AtomicUsize, Ordering},
    time::Duration,
};

use rustix::{
    process::getpid,
    thread::{CpuSet, sched_getaffinity, sched_setaffinity},
    time::ClockId,
};

use crate::credit::shown;

/// How long threads still stay when such work is over: mostly there is more of it soon.
const LINGER: Duration = Duration::from_secs(1);

/// The work of this process that has the lowest priority: the scheduler it gets in the way of is the machine's.
static LAST: Last = Last::none();

/// How much such work goes on, and till when some did.
#[derive(Debug)]
struct Last {
    going: AtomicUsize,
    /// In milliseconds of [`ClockId::MonotonicCoarse`]; 0 where it is long ago.
    ended: AtomicU64,
}

/// A piece of it that goes on.
#[derive(Debug)]
pub struct LastWork(&'static Last);

thread_local! {
    /// Whether this thread is on a core of its own.
    static STAYS: Cell<bool> = const { Cell::new(false) };
}

impl Last {
    const fn none() -> Self {
        Self { going: AtomicUsize::new(0), ended: AtomicU64::new(0) }
    }

    /// Whether some goes on at `now`, or did until lately.
    fn matters(&self, now: impl Fn() -> u64) -> bool {
        if self.going.load(Ordering::Relaxed) > 0 {
            return true;
        }
        let ended = self.ended.load(Ordering::Relaxed);
        if ended == 0 {
            return false;
        }
        let lately = u128::from(now().saturating_sub(ended)) < LINGER.as_millis();
        if !lately {
            // What ended meanwhile is not forgotten.
            let _ = self.ended.compare_exchange(ended, 0, Ordering::Relaxed, Ordering::Relaxed);
        }
        lately
    }
}

impl LastWork {
    /// It begins.
    pub fn begin() -> Self {
        Self::of(&LAST)
    }

    fn of(last: &'static Last) -> Self {
        last.going.fetch_add(1, Ordering::Relaxed);
        Self(last)
    }
}

impl Drop for LastWork {
    fn drop(&mut self) {
        self.0.ended.store(now(), Ordering::Relaxed);
        self.0.going.fetch_sub(1, Ordering::Relaxed);
    }
}

fn now() -> u64 {
    u64::try_from(shown(ClockId::MonotonicCoarse).as_millis()).unwrap_or(u64::MAX)
}

/// The cores this thread may use; none where the system does not say.
pub fn cores() -> Vec<usize> {
    let allowed = sched_getaffinity(None).unwrap_or_default();
    (0..CpuSet::MAX_CPU).filter(|core| allowed.is_set(*core)).collect()
}

/// Keeps this thread on a core while there is work of the lowest priority, and lets it go when there is none: for one that
/// serves, whenever it waits. Where the system refuses it, it is put where the system likes.
pub fn settle(core: usize) {
    match (STAYS.get(), LAST.matters(now)) {
        (false, true) => stay(core),
        (true, false) => anywhere(),
        _ => {}
    }
}

fn stay(core: usize) {
    STAYS.set(true);
    let mut only = CpuSet::new();
    only.set(core);
    if let Err(error) = sched_setaffinity(None, &only) {
        tracing::warn!(core, %error, "a thread that serves has no core of its own");
    }
}

/// Lets this thread go wherever the process may. A thread begins bound to what the one that begins it is bound to, and one
/// that serves may be bound to a core.
pub fn anywhere() {
    STAYS.set(false);
    let let_go = sched_getaffinity(Some(getpid())).and_then(|cores| sched_setaffinity(None, &cores));
    if let Err(error) = let_go {
        tracing::warn!(%error, "a thread stays on the core where it was begun");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_matters_while_some_goes_on_and_a_second_longer() {
        static OWN: Last = Last::none();
        let at = |time| OWN.matters(|| time);
        assert!(!at(0));
        let (one, other) = (LastWork::of(&OWN), LastWork::of(&OWN));
        assert!(at(0));
        drop(one);
        assert!(at(u64::MAX), "the other goes on, however long");
        drop(other);
        let ended = OWN.ended.load(Ordering::Relaxed);
        assert!(ended > 0);
        assert!(at(ended) && at(ended + 999));
        assert!(!at(ended + 1_000));
        assert!(!at(ended), "it is over");
        let _again = LastWork::of(&OWN);
        assert!(at(ended));
    }

    #[test]
    fn a_thread_that_serves_stays_while_it_matters_and_is_let_go() {
        std::thread::spawn(|| {
            let all = cores();
            let work = LastWork::begin();
            for core in &all {
                settle(*core);
                assert_eq!(cores(), [*core]);
                settle(*core + 1);
                assert_eq!(cores(), [*core], "where it is");
                anywhere();
                assert_eq!(cores(), all);
            }
            settle(all[0]);
            drop(work);
            while cores() != all {
                std::thread::sleep(Duration::from_millis(10));
                settle(all[0]);
            }
        })
        .join()
        .unwrap();
    }
}
