//! What a tenant may have and how much it may ask at the policy service, by its tier.

use std::{
    collections::{BTreeMap, HashSet},
    num::NonZeroU32,
    sync::{Arc, PoisonError, RwLock},
};

use ringfence_authorization::{
    Review, Terms,
    avp::{Later, Quotas, Tiers},
};
use ringfence_context::{Refusal, TenantId};
use ringfence_gateway::limit::{Rate, RateLimits};

use crate::{settings::TierPolicies, tenant::Tenants};

/// Quotas of tiers.
#[derive(Debug)]
pub(crate) struct TierQuotas {
    pub(crate) tenants: Tenants,
    pub(crate) tiers: BTreeMap<String, Quotas>,
    pub(crate) policies: Arc<BTreeMap<String, TierPolicies>>,
}

impl Tiers for TierQuotas {
    fn quotas<'a>(&'a self, tenant: &'a TenantId) -> Later<'a, Quotas> {
        Box::pin(async move {
            let found = self.tenants.tenant_get(tenant).await.ok();
            // A tier that is no longer in the settings leaves the documented quotas.
            found.and_then(|tenant| self.tiers.get(&tenant.value.tier).copied()).unwrap_or_default()
        })
    }

    fn terms<'a>(&'a self, tenant: &'a TenantId) -> Later<'a, Terms> {
        Box::pin(async move {
            let found = self.tenants.tenant_get(tenant).await.ok();
            let tier = found.and_then(|tenant| self.policies.get(&tenant.value.tier));
            // Of a tier that is no longer in the settings nobody knows what it asked: so it asks for everything.
            let strict = Terms { review: Review::Required, ..Terms::default() };
            tier.map_or(strict, |tier| tier.terms)
        })
    }
}

/// Rates of tiers at the policy service, apart from those at the gateway.
#[derive(Debug)]
pub struct TierRates {
    limits: RateLimits,
    changes: RateLimits,
    known: RwLock<HashSet<TenantId>>,
}

impl TierRates {
    /// How many requests were over their tenant's rate since the node started.
    pub fn refused(&self) -> u64 {
        self.limits.refused().saturating_add(self.changes.refused())
    }

    /// A rate for each tier.
    pub fn new(tiers: &BTreeMap<String, Quotas>) -> Self {
        let limits = |of: fn(&Quotas) -> u32| {
            RateLimits::new(tiers.iter().map(|(name, quotas)| {
                let per_second = NonZeroU32::new(of(quotas)).unwrap_or(NonZeroU32::MIN);
                (name.clone(), Rate { per_second, burst: per_second })
            }))
        };
        Self {
            limits: limits(|quotas| quotas.requests_per_second),
            changes: limits(|quotas| quotas.changes_per_second),
            known: RwLock::default(),
        }
    }

    pub(crate) fn knows(&self, tenant: &TenantId) -> bool {
        self.known.read().unwrap_or_else(PoisonError::into_inner).contains(tenant)
    }

    pub(crate) fn tier_put(&self, tenant: TenantId, tier: &str) {
        self.limits.tier_put(tenant.clone(), tier);
        self.changes.tier_put(tenant.clone(), tier);
        self.known.write().unwrap_or_else(PoisonError::into_inner).insert(tenant);
    }

    pub(crate) fn take(&self, tenant: &TenantId) -> Result<(), Refusal> {
        self.limits.take(tenant).map_err(|(refusal, _)| refusal)
    }

    /// Takes one of the tenant's changes, which is one of its requests, too.
    pub(crate) fn take_change(&self, tenant: &TenantId) -> Result<(), Refusal> {
        self.take(tenant)?;
        self.changes.take(tenant).map_err(|(refusal, _)| refusal)
    }
}
