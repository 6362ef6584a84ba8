//! Where this node leads each tenant.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, PoisonError, RwLock},
};

use futures_util::future::BoxFuture;
use ringfence_context::{Layer, Reason, Refusal, Secret, TenantId};
use ringfence_guard::{
    RoleName,
    install::password_put,
    proxy::{Caps, Placement, Placements, PutPassword},
};

use super::{
    place::Place,
    server::Server,
    site::{Site, Sites},
};
use crate::tenant::{Tenant, TenantStatus};

/// Where tenants' rows are, as this node leads them, and what each may take. A tenant that is not in it is led nowhere.
#[derive(Debug)]
pub struct TenantPlaces {
    sites: Arc<Sites>,
    shared: Arc<Placement>,
    tiers: BTreeMap<String, Caps>,
    of: RwLock<HashMap<TenantId, Home>>,
}

/// Where a tenant's rows are.
#[derive(Debug)]
struct Home {
    place: Place,
    /// None while they are being moved, in the last moment of that.
    led: Option<Arc<Placement>>,
    /// None of a tier that is no longer in the settings: then the usual ones.
    caps: Option<Caps>,
}

impl TenantPlaces {
    /// Nobody's yet.
    pub(super) fn new(sites: Arc<Sites>, tiers: BTreeMap<String, Caps>) -> Self {
        Self { shared: led(&sites, sites.shared()), sites, tiers, of: RwLock::default() }
    }

    /// Leads a tenant to where its record says.
    pub fn put(&self, tenant: &Tenant) {
        let mut of = self.of.write().unwrap_or_else(PoisonError::into_inner);
        if tenant.status == TenantStatus::Gone {
            of.remove(&tenant.id);
            return;
        }
        let place = tenant.place.clone();
        let had = of.remove(&tenant.id).filter(|home| home.place == place).and_then(|home| home.led);
        let led = match had {
            _ if tenant.held => None,
            Some(placement) => Some(placement),
            None if place == Place::Rows => Some(Arc::clone(&self.shared)),
            None => match self.sites.site(&place) {
                Ok(site) => Some(led(&self.sites, site)),
                Err(error) => {
                    tracing::error!(tenant = %tenant.id, %error, "its rows can't be reached");
                    return;
                }
            },
        };
        let caps = self.tiers.get(&tenant.tier).copied();
        of.insert(tenant.id.clone(), Home { place, led, caps });
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
        of.get(tenant).map(|home| home.led.clone()).ok_or_else(unknown)
    }

    fn caps(&self, tenant: &TenantId) -> Option<Caps> {
        self.of.read().unwrap_or_else(PoisonError::into_inner).get(tenant)?.caps
    }
}
