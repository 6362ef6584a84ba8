//! How much a tenant may ask: requests per second with a burst (GCRA), per tenant by its tier. A tenant without a tier
//! is refused, never unlimited.

use std::{
    collections::HashMap,
    num::NonZeroU32,
    sync::{
        PoisonError, RwLock,
        atomic::{AtomicU64, Ordering},
    },
};

use governor::{
    Quota, RateLimiter,
    clock::{Clock as _, DefaultClock},
    state::keyed::DashMapStateStore,
};
use ringfence_context::{Layer, Reason, Refusal, TenantId};

/// A rate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rate {
    /// Requests per second, sustained.
    pub per_second: NonZeroU32,
    /// Requests at once.
    pub burst: NonZeroU32,
}

/// The rates of all tiers, and each tenant's tier.
#[derive(Debug, Default)]
pub struct RateLimits {
    tiers: HashMap<String, RateLimiter<TenantId, DashMapStateStore<TenantId>, DefaultClock>>,
    tier_of: RwLock<HashMap<TenantId, String>>,
    refused: AtomicU64,
}

impl RateLimits {
    /// A rate for each tier.
    pub fn new(tiers: impl IntoIterator<Item = (String, Rate)>) -> Self {
        let limiter =
            |rate: Rate| RateLimiter::dashmap(Quota::per_second(rate.per_second).allow_burst(rate.burst));
        let tiers = tiers.into_iter().map(|(name, rate)| (name, limiter(rate))).collect();
        Self { tiers, tier_of: <_>::default(), refused: AtomicU64::new(0) }
    }

    /// Puts a tenant into a tier.
    pub fn tier_put(&self, tenant: TenantId, tier: &str) {
        self.tier_of.write().unwrap_or_else(PoisonError::into_inner).insert(tenant, tier.to_owned());
    }

    /// The tier a tenant was put into.
    pub fn tier(&self, tenant: &TenantId) -> Option<String> {
        self.tier_of.read().unwrap_or_else(PoisonError::into_inner).get(tenant).cloned()
    }

    /// How many requests were over their tenant's rate since the node started.
    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    /// Counts one request of a tenant.
    ///
    /// # Errors
    /// [`Reason::RateLimited`] with the seconds to wait, rounded up.
    pub fn take(&self, tenant: &TenantId) -> Result<(), (Refusal, u64)> {
        let refuse = |detail| Refusal::new(Layer::Routing, Reason::RateLimited, detail);
        let tier_of = self.tier_of.read().unwrap_or_else(PoisonError::into_inner);
        let limiter = tier_of.get(tenant).and_then(|tier| self.tiers.get(tier));
        let limiter = limiter.ok_or((refuse("the tenant has no tier"), 1))?;
        limiter.check_key(tenant).map_err(|denied| {
            self.refused.fetch_add(1, Ordering::Relaxed);
            let wait = denied.wait_time_from(DefaultClock::default().now());
            (refuse("the tenant's rate is used up"), wait.as_secs().saturating_add(1))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_tenants_rate_is_not_anothers() {
        let rate = Rate { per_second: NonZeroU32::MIN, burst: NonZeroU32::new(3).unwrap() };
        let limits = RateLimits::new([("standard".to_owned(), rate)]);
        let tenants = ["acme", "globex", "stranger"].map(|id| TenantId::new(id).unwrap());
        limits.tier_put(tenants[0].clone(), "standard");
        limits.tier_put(tenants[1].clone(), "standard");
        let taken = (0..10).filter(|_| limits.take(&tenants[0]).is_ok()).count();
        assert_eq!(taken, 3);
        let (refusal, wait) = limits.take(&tenants[0]).unwrap_err();
        assert_eq!((refusal.reason, wait), (Reason::RateLimited, 1));
        assert!(limits.take(&tenants[1]).is_ok());
        assert!(limits.take(&tenants[2]).is_err(), "no tier is no allowance");
        assert_eq!(limits.refused(), 8, "seven of ten and one more: who has no tier is no tenant");
    }
}
