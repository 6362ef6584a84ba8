//! Where each tenant's rows are: its shape, and the database that follows from it.

use std::{
    collections::HashMap,
    sync::{Arc, PoisonError, RwLock},
};

use ringfence_context::{
    Layer, Reason, Refusal, TenantId,
    key::{KeyError, random},
};
use ringfence_guard::{
    RoleName,
    proxy::{Placement, Placements, ServerSettings},
    role::RoleNameError,
};
use serde::{Deserialize, Serialize};

use crate::tenant::{Tenant, TenantStatus};

/// Bytes of a place.
pub(super) const PLACE_BYTES: usize = 16;

/// How a tenant's rows are kept from others'.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Shape {
    /// By row security, in tables that tenants share.
    #[default]
    Rows,
    /// In a database of its own, by row security as well.
    Database,
}

/// Where tenants' rows are, as this node leads them. A tenant that is not in it is led nowhere.
#[derive(Debug)]
pub struct TenantPlaces {
    shared: Arc<Placement>,
    server: ServerSettings,
    of: RwLock<HashMap<TenantId, (Shape, Arc<Placement>)>>,
}

impl TenantPlaces {
    /// Nobody's yet. `server` is where the database is that tenants share.
    pub(super) fn new(server: ServerSettings) -> Self {
        Self { shared: Placement::new(server.clone()), server, of: RwLock::default() }
    }

    /// Leads a tenant to where its record says.
    pub fn put(&self, tenant: &Tenant) {
        let mut of = self.of.write().unwrap_or_else(PoisonError::into_inner);
        if tenant.status == TenantStatus::Gone {
            of.remove(&tenant.id);
            return;
        }
        if of.get(&tenant.id).is_some_and(|(shape, _)| *shape == tenant.data) {
            return;
        }
        let placement = match tenant.data {
            Shape::Rows => Arc::clone(&self.shared),
            Shape::Database => match own_database(&self.server.database, tenant) {
                Ok(database) => Placement::new(ServerSettings { database, ..self.server.clone() }),
                Err(error) => {
                    tracing::error!(tenant = %tenant.id, %error, "its database has no name");
                    of.remove(&tenant.id);
                    return;
                }
            },
        };
        of.insert(tenant.id.clone(), (tenant.data, placement));
    }
}

impl Placements for TenantPlaces {
    fn placement(&self, tenant: &TenantId) -> Result<Arc<Placement>, Refusal> {
        let of = self.of.read().unwrap_or_else(PoisonError::into_inner);
        let unknown =
            || Refusal::new(Layer::Guard, Reason::DependencyUnavailable, "where its rows are is not known");
        of.get(tenant).map(|(_, placement)| Arc::clone(placement)).ok_or_else(unknown)
    }
}

/// Draws what the name of a tenant's own database ends in.
///
/// # Errors
/// Where the system gives no randomness.
pub fn place_new() -> Result<String, KeyError> {
    Ok(format!("{:0PLACE_BYTES$x}", u64::from_be_bytes(random::<8>()?)))
}

/// The name of a tenant's own database.
///
/// # Errors
/// Where it has no place, or both names together are longer than 63 bytes.
pub(super) fn own_database(shared: &RoleName, tenant: &Tenant) -> Result<RoleName, RoleNameError> {
    let place = tenant.place.as_ref().ok_or(RoleNameError)?;
    RoleName::new(&format!("{shared}_{place}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_a_database_does_not_tell_whose_it_is() {
        let shared = RoleName::new("ledger").unwrap();
        let tenant = |place: Option<String>| Tenant {
            id: TenantId::new("acme").unwrap(),
            display_name: "Acme".to_owned(),
            tier: "own".to_owned(),
            data: Shape::Database,
            place,
            status: TenantStatus::Active,
        };
        let [one, other] = [(), ()]
            .map(|()| own_database(&shared, &tenant(Some(place_new().unwrap()))).unwrap().to_string());
        assert!(one != other && one.len() == "ledger_".len() + PLACE_BYTES, "{one} {other}");
        assert!(one.starts_with("ledger_") && !one.contains("acme"), "{one}");
        // Nobody is given a name that was not drawn.
        assert!(own_database(&shared, &tenant(None)).is_err());
    }
}
