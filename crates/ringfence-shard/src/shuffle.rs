//! A shard from a seed: the same wherever it is asked, and nothing to remember.

use std::{cmp::Reverse, collections::HashMap, fmt, hash::Hasher, num::NonZeroUsize};

use siphasher::sip::SipHasher24;

use crate::{Worker, Workers};

/// What shards are drawn with. Whoever knows it can find a name whose shard is another tenant's: so it is a secret where tenants
/// choose their names. One seed for those who write and another for those who read gives each its own shards.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Seed(pub [u8; 16]);

impl fmt::Debug for Seed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Seed")
    }
}

/// How many workers a shard has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Size {
    /// All there are: nobody is kept from anybody. It is said, and never what nothing means.
    All,
    /// So many, or all where there are fewer.
    Of(NonZeroUsize),
}

/// Draws shards.
#[derive(Debug, Clone, Copy)]
pub struct Shuffle {
    seed: Seed,
    size: Size,
}

impl Shuffle {
    /// Shards of so many workers.
    pub fn new(seed: Seed, size: Size) -> Self {
        Self { seed, size }
    }

    /// The same draw, of so many workers. What is larger begins with what is smaller.
    #[must_use]
    pub fn sized(self, size: Size) -> Self {
        Self { size, ..self }
    }

    /// How many workers a shard of these has.
    pub fn len(&self, workers: &Workers) -> usize {
        match self.size {
            Size::All => workers.len(),
            Size::Of(size) => size.get().min(workers.len()),
        }
    }

    /// A tenant's shard, the one it prefers first.
    ///
    /// As many of each zone as of any other, or one more, as far as a zone has them. If a worker comes or goes, at most one of a shard
    /// changes, and none of those that do not have it and do not get it.
    pub fn shard<'a>(&self, tenant: &str, workers: &'a Workers) -> Vec<&'a Worker> {
        let mut all = self.preferred(tenant, workers);
        all.truncate(self.len(workers));
        all
    }

    /// All workers, as a tenant prefers them: first the best of each zone, then the second of each, and so on. So a worker that
    /// goes makes room for the next of its zone, or where there is none, of another.
    pub(crate) fn preferred<'a>(&self, tenant: &str, workers: &'a Workers) -> Vec<&'a Worker> {
        let mut all: Vec<(Reverse<u64>, &Worker)> =
            workers.iter().map(|worker| (Reverse(self.weight(tenant, &worker.name)), worker)).collect();
        all.sort_unstable();
        let mut of_zone: HashMap<&str, usize> = HashMap::new();
        let mut rounds: Vec<(usize, Reverse<u64>, &Worker)> = Vec::with_capacity(all.len());
        for (weight, worker) in all {
            let round = of_zone.entry(&worker.zone).or_default();
            rounds.push((*round, weight, worker));
            *round += 1;
        }
        rounds.sort_unstable();
        rounds.into_iter().map(|(_, _, worker)| worker).collect()
    }

    /// How much a tenant prefers a worker: SipHash-2-4 under the seed (J.-P. Aumasson and D. J. Bernstein, "SipHash", 2012), of the
    /// tenant's length and name, and the worker's.
    fn weight(&self, tenant: &str, worker: &str) -> u64 {
        let mut hasher = SipHasher24::new_with_key(&self.seed.0);
        hasher.write(&(tenant.len() as u64).to_le_bytes());
        hasher.write(tenant.as_bytes());
        hasher.write(worker.as_bytes());
        hasher.finish()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    pub(crate) fn shuffle(size: usize) -> Shuffle {
        Shuffle::new(Seed([7; 16]), Size::Of(NonZeroUsize::new(size).unwrap()))
    }

    fn names<'a>(shard: &[&'a Worker]) -> BTreeSet<&'a str> {
        shard.iter().map(|worker| &*worker.name).collect()
    }

    #[test]
    fn a_shard_is_what_it_was_in_every_version() {
        let workers = Workers::numbered(9, 3);
        let shard = |tenant| shuffle(4).shard(tenant, &workers).iter().map(|w| &*w.name).collect::<Vec<_>>();
        assert_eq!(shard("acme"), ["worker-2", "worker-4", "worker-3", "worker-5"]);
        assert_eq!(shard("globex"), ["worker-6", "worker-1", "worker-2", "worker-8"]);
    }

    #[test]
    fn all_is_said_and_too_few_are_all() {
        let workers = Workers::numbered(5, 1);
        assert_eq!(Shuffle::new(Seed([0; 16]), Size::All).shard("acme", &workers).len(), 5);
        assert_eq!(shuffle(9).shard("acme", &workers).len(), 5);
        assert!(shuffle(9).shard("acme", &Workers::default()).is_empty());
    }

    #[test]
    fn another_seed_draws_others() {
        let workers = Workers::numbered(50, 1);
        let other = Shuffle::new(Seed([8; 16]), shuffle(4).size);
        let differ = (0..100).filter(|n| {
            let tenant = format!("t-{n}");
            names(&shuffle(4).shard(&tenant, &workers)) != names(&other.shard(&tenant, &workers))
        });
        assert_eq!(differ.count(), 100);
    }

    #[test]
    fn workers_have_as_many_tenants_as_others() {
        let workers = Workers::numbered(20, 4);
        let mut of: HashMap<&str, u32> = HashMap::new();
        for n in 0..20_000 {
            for worker in shuffle(4).shard(&format!("t-{n}"), &workers) {
                *of.entry(&worker.name).or_default() += 1;
            }
        }
        // Binomial: 4,000 expected of each, with a deviation of 57.
        assert!(of.len() == 20 && of.values().all(|tenants| tenants.abs_diff(4_000) < 300), "{of:?}");
    }

    fn some_workers() -> impl Strategy<Value = Workers> {
        proptest::collection::btree_map(0_u16..500, 0_u8..4, 0..40).prop_map(|all| {
            let one = |(name, zone): (u16, u8)| Worker::new(&format!("w-{name}"), &format!("z-{zone}"));
            Workers::new(all.into_iter().map(one)).unwrap()
        })
    }

    proptest! {
        #[test]
        fn one_that_comes_or_goes_changes_one_at_most(
            workers in some_workers(), size in 1_usize..8, tenant in "[a-z]{1,8}", at in any::<prop::sample::Index>(),
        ) {
            prop_assume!(!workers.is_empty());
            let all: Vec<&Worker> = workers.iter().collect();
            let gone = &at.get(&all).name;
            let fewer = workers.without(gone);
            let (many, few) = (shuffle(size).shard(&tenant, &workers), shuffle(size).shard(&tenant, &fewer));
            let (many, few) = (names(&many), names(&few));
            if many.contains(&**gone) {
                let left: Vec<_> = many.difference(&few).copied().collect();
                prop_assert_eq!(left, vec![&**gone]);
                prop_assert!(few.difference(&many).count() <= 1);
            } else {
                prop_assert_eq!(many, few);
            }
        }

        #[test]
        fn zones_have_as_many_or_one_more_as_far_as_they_go(
            workers in some_workers(), size in 1_usize..12, tenant in "[a-z]{1,8}",
        ) {
            let shard = shuffle(size).shard(&tenant, &workers);
            prop_assert_eq!(shard.len(), size.min(workers.len()));
            prop_assert_eq!(names(&shard).len(), shard.len());
            let count = |all: &[&Worker], zone: &str| all.iter().filter(|worker| &*worker.zone == zone).count();
            let zones: BTreeSet<&str> = workers.iter().map(|worker| &*worker.zone).collect();
            let most = zones.iter().map(|zone| count(&shard, zone)).max().unwrap_or(0);
            let all: Vec<&Worker> = workers.iter().collect();
            for zone in zones {
                let has = count(&shard, zone);
                prop_assert!(has + 1 >= most || has == count(&all, zone), "{zone}: {has} of {most}");
            }
        }

        #[test]
        fn a_larger_shard_begins_with_the_smaller(workers in some_workers(), size in 1_usize..8, tenant in "[a-z]{1,8}") {
            let (small, large) = (shuffle(size).shard(&tenant, &workers), shuffle(size + 1).shard(&tenant, &workers));
            prop_assert!(large.starts_with(&small));
        }

        #[test]
        fn the_order_they_are_told_in_is_nothing(workers in some_workers(), tenant in "[a-z]{1,8}") {
            let turned = Workers::new(workers.iter().rev().cloned()).unwrap();
            prop_assert_eq!(shuffle(3).shard(&tenant, &turned), shuffle(3).shard(&tenant, &workers));
        }
    }
}
