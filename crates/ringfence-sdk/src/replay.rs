//! Each request of the gateway is believed once.
//!
//! The MAC binds a request to its reference, which the gateway never gives twice; a reference seen before is a copy. It
//! is remembered as long as a `Txn-Token` can live, in this process: another instance of the same backend has a memory of
//! its own.

use std::{
    collections::HashSet,
    sync::{Mutex, PoisonError},
};

use ringfence_context::{Layer, Reason, Reference, Refusal, UnixTime, limits};

/// References seen, in two generations: the younger takes new ones, the older is dropped when the younger is as old as a
/// `Txn-Token` can be.
#[derive(Debug, Default)]
pub struct Seen(Mutex<Generations>);

#[derive(Debug, Default)]
struct Generations {
    younger: HashSet<Reference>,
    older: HashSet<Reference>,
    /// When the younger began, in seconds since the epoch.
    since: u64,
}

/// How long a request's `Txn-Token` may be believed, with what clocks may differ.
const LIFE_SECONDS: u64 = limits::TXN_TOKEN_LIFE_SECONDS + limits::CLOCK_SKEW_SECONDS;

impl Seen {
    /// Takes note of a request that is authentic.
    ///
    /// # Errors
    /// [`Reason::TxnTokenInvalid`] where it was seen before; [`Reason::DependencyUnavailable`] where
    /// [`limits::REQUESTS_REMEMBERED`] are remembered already.
    pub fn first(&self, reference: &Reference, now: UnixTime) -> Result<(), Refusal> {
        let refuse = |reason, detail| Err(Refusal::new(Layer::Backend, reason, detail));
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let now = now.seconds();
        // A clock that was set back keeps a generation for longer, never shorter.
        if now.saturating_sub(seen.since) > LIFE_SECONDS {
            seen.older = std::mem::take(&mut seen.younger);
            seen.since = now;
        }
        if seen.older.contains(reference) {
            return refuse(Reason::TxnTokenInvalid, "a copy of a request");
        }
        if seen.younger.len() >= limits::REQUESTS_REMEMBERED {
            return refuse(Reason::DependencyUnavailable, "more requests than can be told from copies");
        }
        if seen.younger.insert(reference.clone()) {
            Ok(())
        } else {
            refuse(Reason::TxnTokenInvalid, "a copy of a request")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> UnixTime {
        UnixTime::from_seconds(1_800_000_000 + seconds)
    }

    #[test]
    fn a_copy_is_refused_for_as_long_as_its_token_lives() {
        for begun in [0, 1, LIFE_SECONDS, LIFE_SECONDS + 1] {
            let seen = Seen::default();
            seen.first(&Reference::make(at(0), 0), at(0)).unwrap();
            let reference = Reference::make(at(0), 7);
            seen.first(&reference, at(begun)).unwrap();
            for later in 0..=LIFE_SECONDS {
                let other = Reference::make(at(0), 1000 + later);
                seen.first(&other, at(begun + later)).unwrap();
                let refusal = seen.first(&reference, at(begun + later)).unwrap_err();
                assert_eq!(refusal.reason, Reason::TxnTokenInvalid, "{begun} {later}");
            }
        }
    }

    #[test]
    fn reject_requests_remembered() {
        let seen = Seen::default();
        for number in 0..u64::try_from(limits::REQUESTS_REMEMBERED).unwrap() {
            seen.first(&Reference::make(at(0), number), at(0)).unwrap();
        }
        let one_more = Reference::make(at(0), u64::MAX);
        assert_eq!(seen.first(&one_more, at(0)).unwrap_err().reason, Reason::DependencyUnavailable);
        // What is forgotten makes room.
        assert!(seen.first(&one_more, at(LIFE_SECONDS + 1)).is_ok());
    }
}
