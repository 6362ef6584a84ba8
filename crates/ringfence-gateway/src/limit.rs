//! How much a tenant may ask: requests per second with a burst (GCRA), per tenant, never unlimited.

use std::num::NonZeroU32;

use governor::{
    Quota, RateLimiter,
    clock::{Clock as _, DefaultClock},
    state::keyed::DashMapStateStore,
};
use ringfence_context::{Layer, Reason, Refusal, TenantId};

/// A rate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Rate {
    /// Requests per second, sustained.
    pub per_second: NonZeroU32,
    /// Requests at once.
    pub burst: NonZeroU32,
}

/// The rate of every tenant of a tier.
#[derive(Debug)]
pub struct RateLimit {
    limiter: RateLimiter<TenantId, DashMapStateStore<TenantId>, DefaultClock>,
}

impl RateLimit {
    /// A limit for each tenant by itself.
    pub fn new(rate: Rate) -> Self {
        Self { limiter: RateLimiter::dashmap(Quota::per_second(rate.per_second).allow_burst(rate.burst)) }
    }

    /// Counts one request of a tenant.
    ///
    /// # Errors
    /// [`Reason::RateLimited`] with the seconds to wait, rounded up.
    pub fn take(&self, tenant: &TenantId) -> Result<(), (Refusal, u64)> {
        self.limiter.check_key(tenant).map_err(|denied| {
            let wait = denied.wait_time_from(DefaultClock::default().now());
            let refusal = Refusal::new(Layer::Routing, Reason::RateLimited, "the tenant's rate is used up");
            (refusal, wait.as_secs().saturating_add(1))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_tenants_rate_is_not_anothers() {
        let one = NonZeroU32::new(1).unwrap();
        let limit = RateLimit::new(Rate { per_second: one, burst: NonZeroU32::new(3).unwrap() });
        let (acme, globex) = (TenantId::new("acme").unwrap(), TenantId::new("globex").unwrap());
        let taken = (0..10).filter(|_| limit.take(&acme).is_ok()).count();
        assert_eq!(taken, 3);
        let (refusal, wait) = limit.take(&acme).unwrap_err();
        assert_eq!((refusal.reason, wait), (Reason::RateLimited, 1));
        assert!(limit.take(&globex).is_ok());
    }
}
