//! Where this node leads each tenant.

use std::{
    collections::HashMap,
    sync::{Arc, PoisonError, RwLock},
};

use futures_util::future::BoxFuture;
use ringfence_context::{Layer, Reason, Refusal, Secret, TenantId};
use ringfence_guard::{
    RoleName,
    install::password_put,
    proxy::{Placement, Placements, PutPassword},
};

use super::{
    place::Place,
    server::Server,
    site::{Site, Sites},
};
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
        Self { shared: led(&sites, sites.shared()), sites, of: RwLock::default() }
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
            (_, Ok(site)) => led(&self.sites, site),
            (_, Err(error)) => {
                tracing::error!(tenant = %tenant.id, %error, "its rows can't be reached");
                of.remove(&tenant.id);
                return;
            }
        };
        of.insert(tenant.id.clone(), (tenant.place.clone(), Some(placement)));
    }
}

fn led(sites: &Sites, site: Site) -> Arc<Placement> {
    let guarded = sites.guarded(&site);
    match guarded.password.clone() {
        Some(password) => {
            let passwords = Passwords { role: guarded.role.clone(), password, server: site.server };
            Placement::with_passwords(guarded, Arc::new(passwords))
        }
        None => Placement::new(guarded),
    }
}

/// A role's password, which the server's administrator puts back.
struct Passwords {
    server: Arc<Server>,
    role: RoleName,
    password: Secret<String>,
}

impl PutPassword for Passwords {
    fn put_password(&self) -> BoxFuture<'_, bool> {
        Box::pin(async {
            let put = async {
                let root = self.server.root().await?;
                password_put(&root, &self.role, &self.password).await
            };
            put.await
                .inspect_err(|error| tracing::error!(role = %self.role, %error, "no password is put back"))
                .is_ok()
        })
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
