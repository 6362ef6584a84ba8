//! Bounds on guessing: attempts to sign in per user name and per tenant, by governor's GCRA.
//!
//! Counted whether or not the user exists, so that being slowed down says nothing; a tenant that is guessed at does not
//! slow another.

use std::{
    num::NonZeroU32,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use governor::{Quota, RateLimiter, clock, middleware::NoOpMiddleware, state::keyed::DashMapStateStore};
use ringfence_context::{Clock, Reason, Refusal, TenantId, key};

use crate::error::refuse;

/// Attempts on one user name: so many at once, then one every six seconds.
const PER_NAME: NonZeroU32 = NonZeroU32::new(10).unwrap();
const PER_NAME_EVERY: Duration = Duration::from_secs(6);

/// Attempts on one tenant: so many at once, then twenty a second.
const PER_TENANT: NonZeroU32 = NonZeroU32::new(100).unwrap();
const PER_TENANT_EVERY: Duration = Duration::from_millis(50);

/// Forgets what is idle once in so many attempts.
const SWEEP: u32 = 1024;

type Limiter<K> = RateLimiter<K, DashMapStateStore<K>, Ticks, NoOpMiddleware<Duration>>;

/// Counts attempts.
pub struct Attempts {
    names: Limiter<(TenantId, [u8; 32])>,
    tenants: Limiter<TenantId>,
    made: AtomicU32,
}

/// Our clock as governor reads one.
#[derive(Clone)]
struct Ticks(Arc<dyn Clock>);

impl clock::Clock for Ticks {
    type Instant = Duration;

    fn now(&self) -> Duration {
        Duration::from_micros(self.0.now().micros())
    }
}

impl Attempts {
    /// None made yet.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        let quota = |every, burst| {
            Quota::with_period(every).unwrap_or(Quota::per_minute(NonZeroU32::MIN)).allow_burst(burst)
        };
        Self {
            names: RateLimiter::dashmap_with_clock(quota(PER_NAME_EVERY, PER_NAME), Ticks(clock.clone())),
            tenants: RateLimiter::dashmap_with_clock(quota(PER_TENANT_EVERY, PER_TENANT), Ticks(clock)),
            made: AtomicU32::new(0),
        }
    }

    /// Counts one attempt on a name of a tenant.
    ///
    /// # Errors
    /// [`Reason::RateLimited`].
    pub fn count(&self, tenant: &TenantId, username: &str) -> Result<(), Refusal> {
        if self.made.fetch_add(1, Ordering::Relaxed) % SWEEP == SWEEP - 1 {
            self.names.retain_recent();
            self.tenants.retain_recent();
        }
        // The name's hash, not the name: whatever is typed takes the same room.
        let name = key::sha256(username.to_lowercase().as_bytes());
        self.names
            .check_key(&(tenant.clone(), name))
            .map_err(|_| refuse(Reason::RateLimited, "too many attempts on one user name"))?;
        self.tenants
            .check_key(tenant)
            .map_err(|_| refuse(Reason::RateLimited, "too many attempts on one tenant"))
    }
}

impl std::fmt::Debug for Attempts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Attempts({} names)", self.names.len())
    }
}
