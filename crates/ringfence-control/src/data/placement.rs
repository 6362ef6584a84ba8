//! Where this node leads each tenant.

use std::{
    collections::HashMap,
    sync::{Arc, PoisonError, RwLock},
};

use ringfence_context::{Layer, Reason, Refusal, TenantId};
use ringfence_guard::proxy::{Placement, Placements};

use super::{place::Place, site::Sites};
use crate::tenant::{Tenant, TenantStatus};

/// Where tenants' rows are, as this node leads them. A tenant that is not in it is led nowhere.
#[derive(Debug)]
pub struct TenantPlaces {
    sites: Arc<Sites>,
    shared: Arc<Placement>,
    of: RwLock<HashMap<TenantId, (Place, Led)>>,
}

/// Where a tenant is led; none while it is being moved, in the last moment of that.
type Led = Option<Arc<Placement>>;

impl TenantPlaces {
    /// Nobody's yet.
    pub(super) fn new(sites: Arc<Sites>) -> Self {
        Self { shared: Placement::new(sites.guarded(&sites.shared())), sites, of: RwLock::default() }
    }

    /// Leads a tenant to where its record says.
    pub fn put(&self, tenant: &Tenant) {
        let mut of = self.of.write().unwrap_or_else(PoisonError::into_inner);
        if tenant.status == TenantStatus::Gone {
            of.remove(&tenant.id);
            return;
        }
        if tenant.held {
            of.insert(tenant.id.clone(), (tenant.place.clone(), None));
            return;
        }
        if of.get(&tenant.id).is_some_and(|(place, led)| *place == tenant.place && led.is_some()) {
            return;
        }
        let placement = match (&tenant.place, self.sites.site(&tenant.place)) {
            (Place::Rows, _) => Arc::clone(&self.shared),
            (_, Ok(site)) => Placement::new(self.sites.guarded(&site)),
            (_, Err(error)) => {
                tracing::error!(tenant = %tenant.id, %error, "its rows can't be reached");
                of.remove(&tenant.id);
                return;
            }
        };
        of.insert(tenant.id.clone(), (tenant.place.clone(), Some(placement)));
    }
}

impl Placements for TenantPlaces {
    fn placement(&self, tenant: &TenantId) -> Result<Option<Arc<Placement>>, Refusal> {
        let of = self.of.read().unwrap_or_else(PoisonError::into_inner);
        let unknown =
            || Refusal::new(Layer::Guard, Reason::DependencyUnavailable, "where its rows are is not known");
        of.get(tenant).map(|(_, placement)| placement.clone()).ok_or_else(unknown)
    }
}
