//! What a failure reaches: as the hypergeometric distribution predicts it for shards that are drawn without regard to zones, and as
//! it is for those that are there.

use std::collections::HashSet;

use crate::Worker;

/// How many ways there are to choose `k` of `n`.
pub fn choose(n: usize, k: usize) -> f64 {
    if k > n {
        return 0.0;
    }
    (0..k.min(n - k)).map(|at| (n - at) as f64 / (at + 1) as f64).product::<f64>().round()
}

/// How likely it is that a shard of `size` workers, of `workers`, has `shared` of `lost` in it: the hypergeometric distribution.
pub fn likelihood(workers: usize, lost: usize, size: usize, shared: usize) -> f64 {
    if shared > lost
        || size > workers
        || lost > workers
        || size.saturating_sub(shared) > workers - lost
        || shared > size
    {
        return 0.0;
    }
    choose(lost, shared) * choose(workers - lost, size - shared) / choose(workers, size)
}

/// Most shards of `size` workers, of `workers`, of which no two have more than `common` in common: S. M. Johnson, "A new upper bound for
/// error-correcting codes" (IRE Transactions on Information Theory 8(3), 1962).
pub fn most_shards(workers: usize, size: usize, common: usize) -> f64 {
    if common >= size {
        return f64::INFINITY;
    }
    if size > workers {
        return 0.0;
    }
    (0..=common).rev().fold(1.0, |most, at| (most * (workers - at) as f64 / (size - at) as f64).floor())
}

/// Of how many tenants so many workers are lost: at 0 those that lose none, and so on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Radius(pub Vec<u64>);

impl Radius {
    /// Of nobody yet; shards have so many workers.
    pub fn new(size: usize) -> Self {
        Self(vec![0; size.saturating_add(1)])
    }

    /// One tenant more, with this shard, where these workers are lost.
    pub fn add(&mut self, shard: &[&Worker], lost: &HashSet<&str>) {
        let shared = shard.iter().filter(|worker| lost.contains(&*worker.name)).count();
        self.0.get_mut(shared).into_iter().for_each(|tenants| *tenants += 1);
    }

    /// How many tenants there are.
    pub fn tenants(&self) -> u64 {
        self.0.iter().sum()
    }

    /// Which share of all loses so many.
    pub fn share(&self, shared: usize) -> f64 {
        self.0.get(shared).map_or(0.0, |tenants| *tenants as f64 / (self.tenants() as f64).max(1.0))
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroUsize;

    use super::*;
    use crate::{Seed, Shuffle, Size, Workers};

    #[test]
    fn the_distribution_is_the_one_of_the_books() {
        assert_eq!((choose(8, 2), choose(50, 4), choose(100, 5)), (28.0, 230_300.0, 75_287_520.0));
        assert_eq!((choose(3, 4), choose(0, 0)), (0.0, 1.0));
        let near = |value: f64, expected: f64| assert!((value - expected).abs() < 5e-4, "{value}");
        for ((workers, size), expected) in [
            ((8, 2), [0.536, 0.429, 0.036]),
            ((50, 4), [0.709, 0.264, 0.027]),
            ((100, 5), [0.770, 0.211, 0.018]),
        ] {
            for (shared, expected) in expected.into_iter().enumerate() {
                near(likelihood(workers, size, size, shared), expected);
            }
        }
        for (workers, lost, size) in [(20, 7, 5), (5, 5, 3), (9, 0, 4), (6, 2, 6)] {
            near((0..=size).map(|shared| likelihood(workers, lost, size, shared)).sum(), 1.0);
        }
        assert_eq!((most_shards(8, 2, 1), most_shards(12, 3, 1), most_shards(3, 4, 1)), (28.0, 20.0, 0.0));
    }

    #[test]
    fn am03_what_is_lost_is_as_predicted() {
        let size = 4;
        let shuffle = Shuffle::new(Seed([9; 16]), Size::Of(NonZeroUsize::new(size).unwrap()));
        let workers = Workers::numbered(50, 1);
        let lost: HashSet<&str> =
            shuffle.shard("poison", &workers).iter().map(|worker| &*worker.name).collect();
        let mut radius = Radius::new(size);
        for n in 0..20_000 {
            radius.add(&shuffle.shard(&format!("t-{n}"), &workers), &lost);
        }
        assert_eq!(radius.tenants(), 20_000);
        for shared in 0..=size {
            let (is, predicted) = (radius.share(shared), likelihood(50, size, size, shared));
            // Four deviations of a binomial, and one tenant.
            let most = 4.0 * (predicted * (1.0 - predicted) / 20_000.0).sqrt() + 1.0 / 20_000.0;
            assert!((is - predicted).abs() <= most, "{shared}: {is}, predicted {predicted}");
        }
    }
}
