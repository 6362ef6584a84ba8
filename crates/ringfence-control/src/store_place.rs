//! Where tenants' policy stores are kept: what each tier asks for, and how many stores of its own it may have (SYSTEMS X-11).
//!
//! It guarantees that a tier never has more stores of its own than its limit, whoever makes them at the same time: their
//! number is a record that is written, at the revision it was read at, in the commit that makes or removes one. Where they
//! are used up new tenants are put in the shared store, which is said in the answer, in the status, and once in the log.

use std::{
    collections::{BTreeMap, HashSet},
    sync::{Mutex, PoisonError},
};

use ringfence_authorization::Mode;
use ringfence_store::{Draft, Expect, Kind, Records, Scope, StoreError};
use serde::{Deserialize, Serialize};

const STORE_COUNT: Kind = Kind::new("policy_store_count");

/// What a tier asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Place {
    /// Where new tenants' stores are kept.
    pub mode: Mode,
    /// How many tenants may have a store of their own; nothing where there is no limit.
    pub own_stores: Option<u64>,
}

/// How many stores of a tier are kept where.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Count {
    /// In records of their own.
    pub own: u64,
    /// In a shared store.
    pub shared: u64,
}

/// A count as it is in the state.
#[derive(Debug, Clone, Copy)]
pub struct Counted {
    /// How many.
    pub count: Count,
    expect: Expect,
}

/// How a tier's stores are kept, for whoever runs the plane.
#[derive(Debug, Clone, Serialize)]
pub struct Use {
    /// How many are kept where.
    #[serde(flatten)]
    pub count: Count,
    /// How many may be kept in records of their own, if there is a limit.
    pub own_stores: Option<u64>,
    /// Whether new tenants are put in the shared store because of it.
    pub exhausted: bool,
}

/// Where the stores of all tiers are kept.
#[derive(Debug)]
pub struct StorePlaces {
    records: Records,
    tiers: BTreeMap<String, Place>,
    /// The tiers whose exhaustion was told.
    told: Mutex<HashSet<String>>,
}

impl Place {
    /// Where the next new tenant's store is kept, and whether it were elsewhere but for the limit.
    pub fn next(&self, count: Count) -> (Mode, bool) {
        let used_up = self.used_up(count);
        match self.mode {
            Mode::Own if used_up => (Mode::Shared, true),
            mode => (mode, false),
        }
    }

    /// Whether there may be no further store of its own.
    pub fn used_up(&self, count: Count) -> bool {
        self.own_stores.is_some_and(|most| count.own >= most)
    }
}

impl StorePlaces {
    /// Of these tiers.
    pub fn new(records: Records, tiers: BTreeMap<String, Place>) -> Self {
        Self { records, tiers, told: Mutex::default() }
    }

    /// What a tier asks for.
    pub fn place(&self, tier: &str) -> Place {
        self.tiers.get(tier).copied().unwrap_or_default()
    }

    /// The tiers whose stores nobody has counted yet.
    ///
    /// # Errors
    /// What the state refuses.
    pub async fn uncounted(&self) -> Result<BTreeMap<String, Count>, StoreError> {
        let mut uncounted = BTreeMap::new();
        for tier in self.tiers.keys() {
            if self.count(tier).await?.expect == Expect::Absent {
                uncounted.insert(tier.clone(), Count::default());
            }
        }
        Ok(uncounted)
    }

    /// Writes down how many there were found to be.
    ///
    /// # Errors
    /// What the state refuses.
    pub async fn counted(&self, found: BTreeMap<String, Count>) -> Result<(), StoreError> {
        let draft = |(tier, count): (String, Count)| {
            Ok(Draft::put(&Scope::Plane, STORE_COUNT, &tier, &count)?.expect(Expect::Absent))
        };
        let drafts = found.into_iter().map(draft).collect::<Result<Vec<_>, StoreError>>()?;
        if drafts.is_empty() {
            return Ok(());
        }
        match self.records.commit(drafts).await {
            // Another node has counted them.
            Ok(_) | Err(StoreError::Conflict { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// How many stores a tier has.
    ///
    /// # Errors
    /// What the state refuses.
    pub async fn count(&self, tier: &str) -> Result<Counted, StoreError> {
        let found = self.records.get::<Count>(&Scope::Plane, STORE_COUNT, tier).await?;
        Ok(found.map_or(Counted { count: Count::default(), expect: Expect::Absent }, |found| Counted {
            count: found.value,
            expect: Expect::Revision(found.revision),
        }))
    }

    /// How each tier's stores are kept.
    ///
    /// # Errors
    /// What the state refuses.
    pub async fn uses(&self) -> Result<BTreeMap<String, Use>, StoreError> {
        let mut uses = BTreeMap::new();
        for (tier, place) in &self.tiers {
            let count = self.count(tier).await?.count;
            let (_, exhausted) = place.next(count);
            uses.insert(tier.clone(), Use { count, own_stores: place.own_stores, exhausted });
        }
        Ok(uses)
    }

    /// A tier's stores are used up, or are no longer: told once each time they are.
    pub fn tell(&self, tier: &str, exhausted: bool) {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if !exhausted {
            told.remove(tier);
        } else if told.insert(tier.to_owned()) {
            let most = self.place(tier).own_stores;
            tracing::warn!(
                tier,
                own_stores = most,
                "ALERT: all policy stores of their own are used up; new tenants are put in the shared store: raise `own_stores` in [tiers.{tier}], or move tenants with `ringfence tenant move-store`"
            );
        }
    }
}

impl Counted {
    /// The record, with one store more here and one less there. Nothing where nobody has counted and one goes.
    ///
    /// # Errors
    /// [`StoreError::Invalid`].
    pub fn change(
        self,
        tier: &str,
        from: Option<Mode>,
        to: Option<Mode>,
    ) -> Result<Option<Draft>, StoreError> {
        let Self { mut count, expect } = self;
        if expect == Expect::Absent && from.is_some() {
            return Ok(None);
        }
        let at = |count: &mut Count, mode: Mode, by: fn(u64, u64) -> u64| match mode {
            Mode::Own => count.own = by(count.own, 1),
            Mode::Shared => count.shared = by(count.shared, 1),
        };
        from.into_iter().for_each(|mode| at(&mut count, mode, u64::saturating_sub));
        to.into_iter().for_each(|mode| at(&mut count, mode, u64::saturating_add));
        Ok(Some(Draft::put(&Scope::Plane, STORE_COUNT, tier, &count)?.expect(expect)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn x11_who_comes_when_all_are_used_up_is_put_in_the_shared_store() {
        let check = |mode, own_stores, own, expected| {
            assert_eq!(
                Place { mode, own_stores }.next(Count { own, shared: 7 }),
                expected,
                "{mode:?} {own_stores:?} {own}"
            );
        };
        check(Mode::Own, None, u64::MAX, (Mode::Own, false));
        check(Mode::Own, Some(2), 1, (Mode::Own, false));
        check(Mode::Own, Some(2), 2, (Mode::Shared, true));
        check(Mode::Own, Some(2), 3, (Mode::Shared, true));
        check(Mode::Own, Some(0), 0, (Mode::Shared, true));
        check(Mode::Shared, None, 0, (Mode::Shared, false));
        check(Mode::Shared, Some(0), 0, (Mode::Shared, false));
    }
}
