//! How long after it was committed a change of policies is enforced by this node (SYSTEMS CV-17).
//!
//! There is nothing to wait for that would have to run out: a change is enforced once this node has been told of it. A
//! change made here is measured from its commit. One made elsewhere is not older than the last time this node found
//! nothing new, so what is told of it is the most it can have been.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use serde::Serialize;

/// What has been measured since this node started.
#[derive(Debug, Default)]
pub(crate) struct Lag {
    here: Measured,
    anywhere: Measured,
}

#[derive(Debug, Default)]
struct Measured {
    changes: AtomicU64,
    last: AtomicU64,
    longest: AtomicU64,
}

/// Delays from commit to enforcement, in microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Delays {
    /// How many times.
    pub changes: u64,
    /// The latest.
    pub last_us: u64,
    /// The longest since this node started.
    pub longest_us: u64,
}

/// How current this node's policies are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Currency {
    /// The revision of the state they are of.
    pub revision: u64,
    /// How long ago that was confirmed to be the latest, in microseconds.
    pub confirmed_us_ago: u64,
    /// Changes made by this node: from commit to enforcement.
    pub made_here: Delays,
    /// Changes this node was told of, its own among them: the most it can have taken.
    pub at_most: Delays,
}

impl Lag {
    /// A change made here is enforced.
    pub(crate) fn made_here(&self, after: Duration) {
        self.here.add(after);
    }

    /// Something new was found, this long after there had been nothing new.
    pub(crate) fn found(&self, after: Duration) {
        self.anywhere.add(after);
    }

    /// With what is known besides.
    pub(crate) fn currency(&self, revision: u64, confirmed: Duration) -> Currency {
        let (made_here, at_most) = (self.here.delays(), self.anywhere.delays());
        Currency { revision, confirmed_us_ago: micros(confirmed), made_here, at_most }
    }
}

impl Measured {
    fn add(&self, delay: Duration) {
        let delay = micros(delay);
        self.last.store(delay, Ordering::Relaxed);
        self.longest.fetch_max(delay, Ordering::Relaxed);
        self.changes.fetch_add(1, Ordering::Relaxed);
    }

    fn delays(&self) -> Delays {
        let read = |number: &AtomicU64| number.load(Ordering::Relaxed);
        Delays { changes: read(&self.changes), last_us: read(&self.last), longest_us: read(&self.longest) }
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_is_kept_and_the_last_is_the_last() {
        let lag = Lag::default();
        for delay in [3, 9, 5] {
            lag.made_here(Duration::from_micros(delay));
        }
        lag.found(Duration::from_millis(1));
        let currency = lag.currency(7, Duration::from_micros(2));
        assert_eq!(currency.made_here, Delays { changes: 3, last_us: 5, longest_us: 9 });
        assert_eq!(currency.at_most, Delays { changes: 1, last_us: 1_000, longest_us: 1_000 });
        assert_eq!((currency.revision, currency.confirmed_us_ago), (7, 2));
    }
}
