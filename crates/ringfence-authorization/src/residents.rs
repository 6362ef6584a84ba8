//! Which store each tenant was found to have, remembered until the state says that it changed.
//!
//! It guarantees that what is remembered was read after the last change anyone has told of: a change told while a store
//! is being read makes it be read again. One reader per tenant; others wait for what it finds.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use ringfence_context::{Refusal, TenantId, id::StoreId, tally::Hits};
use ringfence_store::Revision;
use tokio::sync::OnceCell;

use crate::{compile::CompiledStore, content::Digest, shared::Beside};

/// What is known of a tenant.
#[derive(Debug, Clone)]
pub(crate) enum Resident {
    /// It has this store.
    Store(Arc<Known>),
    /// It has none, or one that is not valid.
    Nothing,
}

/// A store without its content.
#[derive(Debug)]
pub(crate) struct Known {
    pub(crate) id: StoreId,
    pub(crate) owner: TenantId,
    pub(crate) revision: Revision,
    /// The revision of its document alone.
    pub(crate) policies: Revision,
    /// The revision of the tenant's entities, where it stores any.
    pub(crate) entities: Option<Revision>,
    pub(crate) digest: Digest,
    pub(crate) names_resources: bool,
    /// While the store is moved, its copy.
    pub(crate) beside: Option<Arc<Beside>>,
}

/// What reading a tenant's store came to.
pub(crate) type Found = Result<CompiledStore, Refusal>;

/// The tenants in memory; least used ones go when there are more than the budget.
#[derive(Debug)]
pub(crate) struct Residents {
    known: quick_cache::sync::Cache<TenantId, Resident, Weight>,
    flights: Mutex<HashMap<TenantId, Flight>>,
}

/// A store that is being read.
#[derive(Debug, Default)]
struct Flight {
    found: Arc<OnceCell<Found>>,
    /// The tenant has changed since it was begun.
    outdated: bool,
}

#[derive(Debug, Clone)]
struct Weight;

/// Bytes of an entry with its keys, ids and the cache's own: an estimate by counting fields.
const ENTRY: u64 = 320;

impl quick_cache::Weighter<TenantId, Resident> for Weight {
    fn weight(&self, _: &TenantId, _: &Resident) -> u64 {
        ENTRY
    }
}

impl Residents {
    /// At most `budget` bytes of them.
    pub(crate) fn new(budget: u64) -> Self {
        let expected = usize::try_from((budget / ENTRY).min(4096)).unwrap_or(4096);
        let known = quick_cache::sync::Cache::with_weighter(expected, budget, Weight);
        Self { known, flights: Mutex::default() }
    }

    /// What is remembered.
    pub(crate) fn get(&self, tenant: &TenantId) -> Option<Resident> {
        self.known.get(tenant)
    }

    /// How often a tenant's store was known.
    pub(crate) fn hits(&self) -> Hits {
        Hits { found: self.known.hits(), missed: self.known.misses() }
    }

    /// A change of the tenant's has been told: what was read before it counts no longer.
    pub(crate) fn forget(&self, tenant: &TenantId) {
        let mut flights = self.flights();
        if let Some(flight) = flights.get_mut(tenant) {
            flight.outdated = true;
        }
        self.known.remove(tenant);
    }

    /// Anything may have changed.
    pub(crate) fn forget_all(&self) {
        let mut flights = self.flights();
        flights.values_mut().for_each(|flight| flight.outdated = true);
        self.known.clear();
    }

    /// Where the result of reading a tenant's store will be: whoever finds it empty reads.
    pub(crate) fn flight(&self, tenant: &TenantId) -> Arc<OnceCell<Found>> {
        Arc::clone(&self.flights().entry(tenant.clone()).or_default().found)
    }

    /// Ends a reading, and remembers what it found, if there is anything to remember. Where the tenant has changed
    /// meanwhile it does nothing, and answers `false`: read again.
    #[must_use]
    pub(crate) fn land(&self, tenant: &TenantId, resident: Option<Resident>) -> bool {
        let mut flights = self.flights();
        if let Some(flight) = flights.get_mut(tenant)
            && std::mem::take(&mut flight.outdated)
        {
            return false;
        }
        if let Some(resident) = resident {
            self.known.insert(tenant.clone(), resident);
        }
        flights.remove(tenant);
        true
    }

    fn flights(&self) -> MutexGuard<'_, HashMap<TenantId, Flight>> {
        self.flights.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_told_during_a_reading_makes_it_be_read_again() {
        let (residents, tenant) = (Residents::new(1 << 20), TenantId::new("acme").unwrap());
        let _flight = residents.flight(&tenant);
        residents.forget(&tenant);
        assert!(!residents.land(&tenant, Some(Resident::Nothing)), "what was read may be what was before");
        assert!(residents.get(&tenant).is_none());
        assert!(residents.land(&tenant, Some(Resident::Nothing)), "and what was read after it counts");
        assert!(residents.get(&tenant).is_some());
        residents.forget(&tenant);
        assert!(residents.get(&tenant).is_none());
    }

    #[test]
    fn forgetting_all_reaches_readings_too() {
        let (residents, tenant) = (Residents::new(1 << 20), TenantId::new("acme").unwrap());
        let flight = residents.flight(&tenant);
        assert!(Arc::ptr_eq(&flight, &residents.flight(&tenant)), "one reading per tenant");
        residents.forget_all();
        assert!(!residents.land(&tenant, Some(Resident::Nothing)));
    }
}
