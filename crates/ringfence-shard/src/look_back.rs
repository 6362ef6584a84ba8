//! Where a tenant was lately. Who reads what a tenant has left at its workers asks those it has lost too, for as long as they hold
//! something of it.

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use crate::Worker;

/// What tenants' shards were. Times are since any one moment, the same for all.
#[derive(Debug, Clone)]
pub struct LookBack {
    window: Duration,
    /// Until when a worker is asked that a tenant has lost.
    lost: HashMap<String, Vec<(Worker, Duration)>>,
}

impl LookBack {
    /// For so long a worker holds what a tenant has left there.
    pub fn new(window: Duration) -> Self {
        Self { window, lost: HashMap::new() }
    }

    /// A tenant's shard is another one from now on, whatever the reason.
    pub fn moved(&mut self, tenant: &str, before: &[&Worker], after: &[&Worker], now: Duration) {
        let until = now.saturating_add(self.window);
        let lost = self.lost.entry(tenant.to_owned()).or_default();
        lost.retain(|(worker, over)| *over > now && !after.contains(&worker));
        for worker in before.iter().filter(|worker| !after.contains(worker)) {
            lost.push(((*worker).clone(), until));
        }
        if lost.is_empty() {
            self.lost.remove(tenant);
        }
    }

    /// Who is asked for a tenant's: its shard, and those it has lost, the latest first.
    pub fn readers<'a>(&'a self, tenant: &str, shard: &[&'a Worker], now: Duration) -> Vec<&'a Worker> {
        let mut all = shard.to_vec();
        let mut seen: HashSet<&str> = shard.iter().map(|worker| &*worker.name).collect();
        let lost = self.lost.get(tenant).into_iter().flatten().rev();
        all.extend(lost.filter(|(worker, until)| *until > now && seen.insert(&worker.name)).map(|(w, _)| w));
        all
    }

    /// Forgets what is over: memory is for the moves of one window.
    pub fn tidy(&mut self, now: Duration) {
        self.lost.retain(|_, lost| {
            lost.retain(|(_, until)| *until > now);
            !lost.is_empty()
        });
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroUsize;

    use proptest::prelude::*;

    use super::*;
    use crate::{Seed, Shuffle, Size, Workers};

    const WINDOW: Duration = Duration::from_secs(60);

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn who_was_lost_is_asked_for_as_long_as_it_holds_something() {
        let workers = Workers::numbered(4, 1);
        let all: Vec<&Worker> = workers.iter().collect();
        let mut look_back = LookBack::new(WINDOW);
        look_back.moved("acme", &all[..2], &all[1..3], at(100));
        let names = |look_back: &LookBack, tenant: &str, now| {
            let readers = look_back.readers(tenant, &all[1..3], at(now));
            readers.iter().map(|worker| worker.name.to_string()).collect::<Vec<_>>()
        };
        assert_eq!(names(&look_back, "acme", 159), ["worker-1", "worker-2", "worker-0"]);
        assert_eq!(names(&look_back, "acme", 160), ["worker-1", "worker-2"]);
        assert_eq!(names(&look_back, "globex", 100), ["worker-1", "worker-2"]);
        // Who comes back is no lost one any more.
        look_back.moved("acme", &all[1..3], &all[..2], at(110));
        look_back.moved("acme", &all[..2], &all[1..3], at(130));
        assert_eq!(names(&look_back, "acme", 165), ["worker-1", "worker-2", "worker-0"]);
        look_back.tidy(at(190));
        assert!(look_back.lost.is_empty());
    }

    proptest! {
        /// A worker that had something of the tenant's within the window is asked; one that had not is not.
        #[test]
        fn whatever_was_left_is_found(gone in proptest::collection::vec(0_usize..12, 0..8), step in 1_u64..40) {
            let shuffle = Shuffle::new(Seed([3; 16]), Size::Of(NonZeroUsize::new(3).unwrap()));
            let (mut workers, mut look_back) = (Workers::numbered(12, 3), LookBack::new(WINDOW));
            let mut had: Vec<(Worker, u64)> = Vec::new();
            let mut now = 0;
            for gone in gone {
                let before = workers.clone();
                workers = workers.without(&format!("worker-{gone:02}"));
                now += step;
                let (was, is) = (shuffle.shard("acme", &before), shuffle.shard("acme", &workers));
                had.extend(was.iter().filter(|w| !is.contains(w)).map(|w| ((*w).clone(), now)));
                look_back.moved("acme", &was, &is, at(now));
                let shard = shuffle.shard("acme", &workers);
                let readers = look_back.readers("acme", &shard, at(now));
                for worker in Workers::numbered(12, 3).iter() {
                    let left = had.iter().any(|(one, then)| one == worker && now < then + WINDOW.as_secs());
                    prop_assert_eq!(readers.contains(&worker), left || shard.contains(&worker));
                }
                prop_assert!(readers.starts_with(&shard));
            }
        }
    }
}
