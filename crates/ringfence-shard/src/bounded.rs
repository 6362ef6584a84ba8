//! Shards that are searched for, so that no two have more than so many workers in common, ever; beside the drawn ones, of which few
//! have.
//!
//! What is found is state, and has to be kept: it depends on who came before. How many tenants there can be is bounded by
//! [`crate::blast::most_shards`].

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::{Shuffle, Worker, Workers};

/// How many workers are tried, for one tenant, before the search gives up: a second or so.
const TRIES: usize = 2_000_000;

/// No shard was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoRoom {
    /// There is none: every one of them was tried.
    #[error("no shard is left that shares so few workers: add workers, or allow more in common")]
    None,
    /// None was found in time.
    #[error("no shard was found that shares so few workers: add workers, or allow more in common")]
    NotFound,
}

/// Shards of which no two have more than so many workers in common.
#[derive(Debug, Clone)]
pub struct Bounded {
    shuffle: Shuffle,
    common: usize,
    /// Names of workers, by tenant.
    shards: BTreeMap<String, Vec<String>>,
}

impl Bounded {
    /// None yet. `shuffle` says how many workers each has, and which it prefers.
    pub fn new(shuffle: Shuffle, common: usize) -> Self {
        Self::of(shuffle, common, BTreeMap::new())
    }

    /// With those that were found before.
    pub fn of(shuffle: Shuffle, common: usize, shards: BTreeMap<String, Vec<String>>) -> Self {
        Self { shuffle, common, shards }
    }

    /// All of them: to be kept.
    pub fn shards(&self) -> &BTreeMap<String, Vec<String>> {
        &self.shards
    }

    /// A tenant's shard; searched for where it has none.
    ///
    /// It begins with the workers that have the fewest tenants, and of these with those the tenant prefers. Each zone has at most as
    /// many as if they were shared out evenly.
    ///
    /// # Errors
    /// [`NoRoom`].
    pub fn place(&mut self, tenant: &str, workers: &Workers) -> Result<&[String], NoRoom> {
        if !self.shards.contains_key(tenant) {
            let shard = self.search(tenant, workers, &[])?;
            self.shards.insert(tenant.to_owned(), shard);
        }
        self.shards.get(tenant).map(Vec::as_slice).ok_or(NoRoom::None)
    }

    /// A tenant has none any more.
    pub fn remove(&mut self, tenant: &str) {
        self.shards.remove(tenant);
    }

    /// Workers have gone: each shard gets another for each that it had, and keeps its others. Says for whom none was found: these
    /// have fewer until [`Bounded::fill`] finds one.
    pub fn fill(&mut self, workers: &Workers) -> Vec<String> {
        let mut without = Vec::new();
        for tenant in self.shards.keys().cloned().collect::<Vec<_>>() {
            let Some(had) = self.shards.remove(&tenant) else { continue };
            let kept: Vec<String> = had.into_iter().filter(|name| workers.get(name).is_some()).collect();
            let shard = match kept.len() < self.shuffle.len(workers) {
                true => self.search(&tenant, workers, &kept),
                false => Ok(kept.clone()),
            };
            if shard.is_err() {
                without.push(tenant.clone());
            }
            self.shards.insert(tenant, shard.unwrap_or(kept));
        }
        without
    }

    fn search(&self, tenant: &str, workers: &Workers, kept: &[String]) -> Result<Vec<String>, NoRoom> {
        let mut search = Search::new(self, tenant, workers);
        for worker in kept.iter().filter_map(|name| workers.get(name)) {
            search.take(worker);
        }
        let found = search.from(0);
        match (found, search.tries) {
            (true, _) => Ok(search.taken.iter().map(|worker| worker.name.to_string()).collect()),
            (false, 0) => Err(NoRoom::NotFound),
            (false, _) => Err(NoRoom::None),
        }
    }
}

/// One search: depth first, in the order of preference.
struct Search<'a> {
    candidates: Vec<&'a Worker>,
    /// Which shards, by number, have a worker.
    holders: HashMap<&'a str, Vec<usize>>,
    /// How many workers each shard has in common with what is taken.
    common: Vec<usize>,
    most_common: usize,
    of_zone: HashMap<&'a str, usize>,
    most_of_zone: usize,
    size: usize,
    taken: Vec<&'a Worker>,
    tries: usize,
}

impl<'a> Search<'a> {
    fn new(bounded: &'a Bounded, tenant: &str, workers: &'a Workers) -> Self {
        let mut holders: HashMap<&str, Vec<usize>> = HashMap::new();
        for (number, shard) in bounded.shards.values().enumerate() {
            for name in shard {
                holders.entry(name).or_default().push(number);
            }
        }
        let mut candidates = bounded.shuffle.preferred(tenant, workers);
        candidates.sort_by_key(|worker| holders.get(&*worker.name).map_or(0, Vec::len));
        let size = bounded.shuffle.len(workers);
        Self {
            candidates,
            holders,
            common: vec![0; bounded.shards.len()],
            most_common: bounded.common,
            of_zone: HashMap::new(),
            most_of_zone: share(workers, size),
            size,
            taken: Vec::with_capacity(size),
            tries: TRIES,
        }
    }

    /// Whether the rest can be taken from the candidates from here on; then they are.
    fn from(&mut self, at: usize) -> bool {
        if self.taken.len() == self.size {
            return true;
        }
        for next in at..self.candidates.len() {
            let left = self.candidates.len() - next;
            let Some(worker) = self.candidates.get(next).copied() else { return false };
            if self.taken.len() + left < self.size || self.tries == 0 {
                return false;
            }
            self.tries -= 1;
            if !self.fits(worker) {
                continue;
            }
            self.take(worker);
            if self.from(next + 1) {
                return true;
            }
            self.put_back(worker);
        }
        false
    }

    fn fits(&self, worker: &Worker) -> bool {
        let common = |shard: &usize| self.common.get(*shard).is_some_and(|common| *common < self.most_common);
        !self.taken.contains(&worker)
            && self.of_zone.get(&*worker.zone).copied().unwrap_or(0) < self.most_of_zone
            && self.holders.get(&*worker.name).is_none_or(|shards| shards.iter().all(common))
    }

    fn take(&mut self, worker: &'a Worker) {
        *self.of_zone.entry(&worker.zone).or_default() += 1;
        self.count(worker, |common| *common += 1);
        self.taken.push(worker);
    }

    fn put_back(&mut self, worker: &'a Worker) {
        *self.of_zone.entry(&worker.zone).or_default() -= 1;
        self.count(worker, |common| *common -= 1);
        self.taken.pop();
    }

    fn count(&mut self, worker: &Worker, change: impl Fn(&mut usize)) {
        for shard in self.holders.get(&*worker.name).into_iter().flatten() {
            self.common.get_mut(*shard).into_iter().for_each(&change);
        }
    }
}

/// The most of one zone, where so many are shared out evenly as far as each zone has them.
fn share(workers: &Workers, size: usize) -> usize {
    let mut of_zone: BTreeMap<&str, usize> = BTreeMap::new();
    for worker in workers {
        *of_zone.entry(&worker.zone).or_default() += 1;
    }
    let filled = |most: &usize| of_zone.values().map(|has| has.min(most)).sum::<usize>() >= size;
    let sizes: BTreeSet<usize> = of_zone.values().copied().collect();
    (0..=sizes.last().copied().unwrap_or(0)).find(filled).unwrap_or(size)
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroUsize;

    use proptest::prelude::*;

    use super::*;
    use crate::{Seed, Size, blast::most_shards};

    fn bounded(size: usize, common: usize) -> Bounded {
        Bounded::new(Shuffle::new(Seed([1; 16]), Size::Of(NonZeroUsize::new(size).unwrap())), common)
    }

    /// As many as find room, at most so many.
    fn filled(bounded: &mut Bounded, workers: &Workers, most: usize) -> (usize, Option<NoRoom>) {
        for n in 0..most {
            if let Err(no_room) = bounded.place(&format!("t-{n}"), workers) {
                return (n, Some(no_room));
            }
        }
        (most, None)
    }

    fn most_in_common(bounded: &Bounded) -> usize {
        let all: Vec<BTreeSet<&String>> =
            bounded.shards().values().map(|shard| shard.iter().collect()).collect();
        let pairs = all
            .iter()
            .enumerate()
            .flat_map(|(at, one)| all.iter().skip(at + 1).map(move |other| (one, other)));
        pairs.map(|(one, other)| one.intersection(other).count()).max().unwrap_or(0)
    }

    #[test]
    fn every_pair_of_workers_is_one_tenants_and_the_next_has_none() {
        let mut shards = bounded(2, 1);
        assert_eq!(filled(&mut shards, &Workers::numbered(8, 1), 100), (28, Some(NoRoom::None)));
        assert_eq!(most_shards(8, 2, 1), 28.0);
        assert_eq!(most_in_common(&shards), 1);
    }

    #[test]
    fn a_hundred_workers_are_room_for_many_of_whom_no_two_share_three() {
        let mut shards = bounded(5, 2);
        assert_eq!(filled(&mut shards, &Workers::numbered(100, 3), 1_000), (1_000, None));
        assert_eq!(most_in_common(&shards), 2);
        let again = Bounded::of(shards.shuffle, 2, shards.shards().clone());
        assert_eq!(again.shards(), shards.shards());
    }

    #[test]
    fn a_worker_that_goes_is_made_up_for_and_the_bound_stays() {
        let (workers, mut shards) = (Workers::numbered(30, 3), bounded(4, 1));
        filled(&mut shards, &workers, 30);
        let before = shards.shards().clone();
        let fewer = workers.without("worker-07");
        assert_eq!(shards.fill(&fewer), Vec::<String>::new());
        assert_eq!(most_in_common(&shards), 1);
        for (tenant, shard) in shards.shards() {
            let had: BTreeSet<&String> = before[tenant].iter().collect();
            let changed = shard.iter().filter(|name| !had.contains(name)).count();
            assert_eq!(changed, usize::from(had.contains(&"worker-07".to_owned())), "{tenant}");
            assert_eq!(shard.len(), 4);
        }
        // Too few are left: who has too few is said, and gets more when there are more.
        let few = Workers::new(workers.iter().take(8).cloned()).unwrap();
        let without = shards.fill(&few);
        assert!(!without.is_empty() && most_in_common(&shards) <= 1, "{without:?}");
        assert_eq!(shards.fill(&workers), Vec::<String>::new());
        assert!(shards.shards().values().all(|shard| shard.len() == 4));
    }

    #[test]
    fn who_has_a_shard_keeps_it() {
        let (workers, mut shards) = (Workers::numbered(10, 2), bounded(3, 1));
        let first = shards.place("acme", &workers).unwrap().to_vec();
        shards.place("globex", &workers).unwrap();
        assert_eq!(shards.place("acme", &workers).unwrap(), first);
        shards.remove("acme");
        assert_eq!(shards.shards().len(), 1);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn no_two_have_more_in_common_and_no_zone_has_more_than_its_share(
            count in 4_usize..24, zones in 1_usize..4, size in 1_usize..5, common in 0_usize..3,
        ) {
            let (workers, mut shards) = (Workers::numbered(count, zones), bounded(size, common));
            let (placed, _) = filled(&mut shards, &workers, 12);
            prop_assert!(most_in_common(&shards) <= common);
            prop_assert!(placed as f64 <= most_shards(count, size, common));
            for shard in shards.shards().values() {
                prop_assert_eq!(shard.len(), size);
                let of = |zone: usize| {
                    let zone = format!("zone-{zone}");
                    shard.iter().filter(|name| *workers.get(name).unwrap().zone == *zone).count()
                };
                prop_assert!((0..zones).all(|zone| of(zone) <= size.div_ceil(zones).max(share(&workers, size))));
            }
        }
    }
}
