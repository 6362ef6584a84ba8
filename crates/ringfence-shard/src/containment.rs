//! How slowly workers that die are made up for: a query of death kills whoever is asked, and each worker that is put in a dead one's
//! place is the next. So a tenant whose workers die gets another only after a while, and with each that dies too after twice as long:
//! what it can kill in a time grows with the time's logarithm, and its others have what it has not reached.

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use crate::{Shuffle, Worker, Workers};

/// Most doublings: further ones would be later than anybody waits.
const DOUBLINGS: u32 = 16;

/// Which tenants' workers have died. Times are since any one moment, the same for all.
#[derive(Debug, Clone)]
pub struct Containment {
    hold: Duration,
    cases: HashMap<String, Case>,
}

/// A tenant whose workers die.
#[derive(Debug, Clone, Copy)]
struct Case {
    /// How many workers it has been given beyond its shard.
    given: u32,
    /// When it may be given the next.
    next: Duration,
    /// Since when its own shard is whole.
    whole: Option<Duration>,
}

impl Containment {
    /// For so long the first that dies is not made up for; after twice as long with its shard whole a tenant's case is closed.
    pub fn new(hold: Duration) -> Self {
        Self { hold, cases: HashMap::new() }
    }

    /// The workers that serve a tenant now: those of its shard that live, and what it has been given for the others.
    ///
    /// `workers` are all there are, the `dead` among them: who has died keeps its place until it is started again or taken out of
    /// them by somebody who knows why.
    pub fn serving<'a>(
        &mut self,
        (shuffle, tenant): (&Shuffle, &str),
        workers: &'a Workers,
        dead: &HashSet<&str>,
        now: Duration,
    ) -> Vec<&'a Worker> {
        let size = shuffle.len(workers);
        let preferred = shuffle.preferred(tenant, workers);
        let lives = |worker: &&&Worker| !dead.contains(&*worker.name);
        let whole = preferred.iter().take(size).all(|worker| lives(&worker));
        let given = self.given(tenant, whole, now, |given| {
            preferred.iter().take(size.saturating_add(given)).filter(lives).count() < size
        });
        preferred.iter().take(size.saturating_add(given)).filter(lives).take(size).copied().collect()
    }

    /// How many a tenant has beyond its shard; one more where it still has `too_few` and the time has come.
    fn given(&mut self, tenant: &str, whole: bool, now: Duration, too_few: impl Fn(usize) -> bool) -> usize {
        let given = |case: &Case| usize::try_from(case.given).unwrap_or(usize::MAX);
        let Some(case) = self.cases.get_mut(tenant) else {
            if !whole {
                let next = now.saturating_add(self.hold);
                self.cases.insert(tenant.to_owned(), Case { given: 0, next, whole: None });
            }
            return 0;
        };
        case.whole = if whole { case.whole.or(Some(now)) } else { None };
        let calm = self.hold.saturating_mul(2);
        if case.whole.is_some_and(|since| now.saturating_sub(since) >= calm) {
            self.cases.remove(tenant);
            return 0;
        }
        if now >= case.next && too_few(given(case)) {
            case.given = case.given.saturating_add(1);
            let wait = self.hold.saturating_mul(1 << case.given.min(DOUBLINGS));
            case.next = now.saturating_add(wait);
        }
        given(case)
    }

    /// Most workers that a tenant can have killed after a time, with shards of so many.
    pub fn most_killed(&self, size: usize, after: Duration) -> usize {
        let mut killed = size;
        let (mut next, mut given) = (self.hold, 0_u32);
        while next <= after && !self.hold.is_zero() {
            killed = killed.saturating_add(1);
            given = given.saturating_add(1);
            next = next.saturating_add(self.hold.saturating_mul(1 << given.min(DOUBLINGS)));
        }
        killed
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroUsize;

    use super::*;
    use crate::{Seed, Size};

    const HOLD: Duration = Duration::from_secs(30);

    fn shuffle(size: usize) -> Shuffle {
        Shuffle::new(Seed([5; 16]), Size::Of(NonZeroUsize::new(size).unwrap()))
    }

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    /// Who is dead after so many seconds, where one tenant kills whoever serves it.
    fn poisoned(seconds: u64, restart: Option<u64>) -> (HashSet<String>, Containment) {
        let (shuffle, workers) = (shuffle(4), Workers::numbered(100, 3));
        let mut containment = Containment::new(HOLD);
        let (mut dead, mut ever): (HashMap<String, u64>, HashSet<String>) = Default::default();
        for second in (0..=seconds).step_by(if seconds > 3600 { 30 } else { 1 }) {
            dead.retain(|_, since| restart.is_none_or(|after| second < *since + after));
            let names: HashSet<&str> = dead.keys().map(String::as_str).collect();
            let serving = containment.serving((&shuffle, "poison"), &workers, &names, at(second));
            for worker in serving {
                ever.insert(worker.name.to_string());
                dead.insert(worker.name.to_string(), second);
            }
        }
        (ever, containment)
    }

    #[test]
    fn a_query_of_death_kills_its_shard_and_then_ever_more_slowly() {
        for (seconds, expected) in [(1, 4), (29, 4), (40, 5), (120, 6), (3600, 10), (86_400, 15)] {
            let (killed, containment) = poisoned(seconds, None);
            assert!(killed.len() <= expected, "{seconds} s: {}", killed.len());
            assert!(killed.len() <= containment.most_killed(4, at(seconds)), "{seconds} s");
        }
    }

    #[test]
    fn workers_that_are_started_again_and_die_again_make_no_difference() {
        for restart in [1, 5, 100] {
            let (killed, containment) = poisoned(900, Some(restart));
            assert!(killed.len() <= containment.most_killed(4, at(900)), "{restart}: {}", killed.len());
        }
    }

    #[test]
    fn others_lose_at_most_what_they_share_and_have_all_again_after_a_while() {
        let (shuffle, workers) = (shuffle(4), Workers::numbered(100, 3));
        let mut containment = Containment::new(HOLD);
        let poison: HashSet<&str> =
            shuffle.shard("poison", &workers).iter().map(|worker| &*worker.name).collect();
        let mut hit = 0;
        for n in 0..500 {
            let tenant = format!("t-{n}");
            let shard = shuffle.shard(&tenant, &workers);
            let shared = shard.iter().filter(|worker| poison.contains(&*worker.name)).count();
            let mut serving =
                |second| containment.serving((&shuffle, &tenant), &workers, &poison, at(second)).len();
            assert_eq!(serving(0), 4 - shared);
            assert_eq!(serving(29), 4 - shared);
            for second in (30..4000).step_by(30) {
                let now = serving(second);
                assert!(now >= 4 - shared);
            }
            assert_eq!(serving(4000), 4);
            hit += usize::from(shared > 0);
        }
        assert!((50..250).contains(&hit), "{hit} of 500 share one or more of 4 of 100");
    }

    #[test]
    fn a_shard_that_is_whole_again_serves_alone_and_its_case_is_closed() {
        let (shuffle, workers) = (shuffle(2), Workers::numbered(10, 1));
        let mut containment = Containment::new(HOLD);
        let shard = shuffle.shard("acme", &workers);
        let dead = HashSet::from([&*shard[0].name]);
        let mut serving = |dead: &HashSet<&str>, second| {
            containment
                .serving((&shuffle, "acme"), &workers, dead, at(second))
                .iter()
                .map(|w| w.name.to_string())
                .collect::<Vec<_>>()
        };
        let own: Vec<String> = shard.iter().map(|worker| worker.name.to_string()).collect();
        assert_eq!(serving(&HashSet::new(), 0), own);
        assert_eq!(serving(&dead, 1), own[1..]);
        assert_eq!(serving(&dead, 31).len(), 2);
        assert_eq!(serving(&HashSet::new(), 40), own);
        // Not long enough: the next that dies is not the first.
        assert_eq!(serving(&dead, 50).len(), 2);
        assert_eq!(serving(&HashSet::new(), 60), own);
        assert_eq!(serving(&HashSet::new(), 120), own);
        assert_eq!(serving(&dead, 121), own[1..]);
        assert!(containment.cases.len() == 1);
    }
}
