//! What this node keeps in memory of tenants that another node made or changed: each one's tier, and so its rates, and where
//! its rows are.
//!
//! A tenant without a tier is refused ([`RateLimits`]), and so is one whose rows are nowhere: a node that does not know a
//! tenant yet refuses it.

use std::sync::Arc;

use ringfence_context::TenantId;
use ringfence_gateway::limit::RateLimits;
use ringfence_store::{Answer, Apply, News, Scope, StoreError};

use crate::{
    api::avp::TierRates,
    data::Data,
    tenant::{TENANT, Tenant, TenantError, Tenants},
};

/// Tenants read at once.
const PAGE: u32 = 500;

/// The tiers of tenants, as this node counts by them.
#[derive(Debug)]
pub(crate) struct TenantTiers {
    pub(crate) tenants: Tenants,
    /// At the gateway.
    pub(crate) limits: Arc<RateLimits>,
    /// At the policy service, where a tenant's is looked up when it first asks.
    pub(crate) rates: Arc<TierRates>,
    /// Where their rows are.
    pub(crate) data: Arc<Data>,
}

impl TenantTiers {
    async fn one(&self, id: &TenantId) -> Result<(), StoreError> {
        match self.tenants.tenant_get(id).await {
            Ok(found) => self.put(&found.value),
            Err(TenantError::Store(error @ StoreError::Unavailable { .. })) => return Err(error),
            // Its tier stays what it was, and whoever reads its record is refused.
            Err(error) => tracing::error!(tenant = %id, %error, "a tenant can't be read"),
        }
        Ok(())
    }

    fn put(&self, tenant: &Tenant) {
        let Tenant { id, tier, .. } = tenant;
        if self.rates.knows(id) {
            self.rates.tier_put(id.clone(), tier);
        }
        self.limits.tier_put(id.clone(), tier);
        self.data.places().put(tenant);
    }

    async fn all(&self) -> Result<(), StoreError> {
        let mut after: Option<String> = None;
        loop {
            let page = match self.tenants.tenant_list(after.as_deref(), PAGE).await {
                Ok(page) => page,
                Err(TenantError::Store(error)) => return Err(error),
                Err(_) => return Err(StoreError::Invalid("tenants can't be listed")),
            };
            let Some(last) = page.last() else { return Ok(()) };
            after = Some(last.id.to_string());
            for tenant in page {
                self.put(&tenant);
            }
        }
    }
}

impl Apply for TenantTiers {
    fn apply<'a>(&'a self, news: &'a News) -> Answer<'a, ()> {
        Box::pin(async move {
            let News::Changed(keys) = news else { return self.all().await };
            for key in keys.iter().filter(|key| key.scope == Scope::Plane && key.kind == TENANT) {
                if let Ok(id) = TenantId::new(&key.id) {
                    self.one(&id).await?;
                }
            }
            Ok(())
        })
    }
}
