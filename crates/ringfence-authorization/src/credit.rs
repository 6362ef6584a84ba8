//! What a tenant's long work has taken of the processor, and whether more of it may be done before others'.
//!
//! Long work has a low priority, and that is a smaller share, not a later turn: a kernel that preempts nothing lets it finish
//! some milliseconds before a thread that serves gets on. So who has had more than a share is served when nobody else wants
//! the processor (`SCHED_IDLE`, `sched(7)`). Only such a tenant is, and only till its debt is paid: on a machine that is busy
//! without end, work under that policy may wait without end, and a change is what one may need there.

use std::{
    collections::HashMap,
    hash::Hash,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use rustix::time::{ClockId, clock_gettime};
use tokio::time::Instant;

/// A tenant's long work may take one in so many seconds of a processor.
const ONE_IN: u32 = 10;

/// How much it may take at once where it lets others go first by itself, or is done by another process.
pub(crate) const TIME_AT_ONCE: Duration = Duration::from_secs(1);

/// What each one has taken.
#[derive(Debug)]
pub(crate) struct Credit<K> {
    /// How far ahead one may be.
    ahead: Duration,
    /// When each one's work till now is paid; who has paid is not in it.
    paid: Mutex<HashMap<K, Instant>>,
}

/// Work that goes on. However it ends, by a panic or because nobody waits for it any more, it is paid for.
#[derive(Debug)]
pub(crate) struct Meter<K: Eq + Hash + Clone> {
    credit: Arc<Credit<K>>,
    key: K,
    clock: ClockId,
    began: Duration,
}

impl<K: Eq + Hash + Clone> Credit<K> {
    /// Nobody has taken anything yet; each may take this much of a processor's time at once.
    pub(crate) fn new(at_once: Duration) -> Self {
        Self { ahead: at_once.saturating_mul(ONE_IN), paid: Mutex::default() }
    }

    /// Whether more may be done now.
    pub(crate) fn left(&self, key: &K, now: Instant) -> bool {
        let paid = self.paid.lock().unwrap_or_else(PoisonError::into_inner);
        paid.get(key).is_none_or(|paid| *paid <= now + self.ahead)
    }

    /// Begins work that costs what `clock` shows till it ends, on this thread where it is the thread's.
    pub(crate) fn meter(self: &Arc<Self>, key: K, clock: ClockId) -> Meter<K> {
        Meter { credit: Arc::clone(self), key, clock, began: shown(clock) }
    }

    /// So much was done.
    fn spend(&self, key: &K, took: Duration, now: Instant) {
        let mut paid = self.paid.lock().unwrap_or_else(PoisonError::into_inner);
        if !paid.contains_key(key) {
            paid.retain(|_, paid| *paid > now);
        }
        let from = paid.get(key).map_or(now, |paid| now.max(*paid));
        paid.insert(key.clone(), from + took.saturating_mul(ONE_IN));
    }
}

impl<K: Eq + Hash + Clone> Drop for Meter<K> {
    fn drop(&mut self) {
        self.credit.spend(&self.key, shown(self.clock).saturating_sub(self.began), Instant::now());
    }
}

/// What a clock shows (`clock_gettime(2)`).
pub(crate) fn shown(clock: ClockId) -> Duration {
    Duration::try_from(clock_gettime(clock)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_at_once_and_a_tenth_of_the_time_and_nobody_pays_for_another() {
        let (credit, start) = (Credit::new(TIME_AT_ONCE), Instant::now());
        let after = |millis| start + Duration::from_millis(millis);
        let spend = |millis, now| credit.spend(&"acme", Duration::from_millis(millis), now);
        assert!(credit.left(&"acme", start));
        spend(1_000, start);
        assert!(credit.left(&"acme", start), "a second at once");
        spend(100, start);
        assert!(!credit.left(&"acme", start));
        assert!(credit.left(&"globex", start), "another's is its own");
        assert!(!credit.left(&"acme", after(999)));
        assert!(credit.left(&"acme", after(1_000)), "a tenth of a second is paid in one");
        spend(5_000, after(20_000));
        assert!(!credit.left(&"acme", after(59_999)), "what was saved up is at most a second");
        assert!(credit.left(&"acme", after(60_000)));
    }

    #[test]
    fn who_has_paid_takes_no_memory() {
        let (credit, start) = (Credit::new(TIME_AT_ONCE), Instant::now());
        credit.spend(&1, Duration::from_secs(1), start);
        credit.spend(&2, Duration::from_secs(10), start);
        credit.spend(&3, Duration::from_secs(1), start + Duration::from_secs(11));
        let mut left: Vec<_> = credit.paid.lock().unwrap().keys().copied().collect();
        left.sort_unstable();
        assert_eq!(left, [2, 3]);
    }
}
