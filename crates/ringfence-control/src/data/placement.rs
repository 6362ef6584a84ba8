//! Where each tenant's rows are: its shape, and the database that follows from it.

use std::{
    collections::HashMap,
    sync::{Arc, PoisonError, RwLock},
};

use ringfence_context::{Layer, Reason, Refusal, TenantId};
use ringfence_guard::{
    RoleName,
    proxy::{Placement, Placements, ServerSettings},
    role::RoleNameError,
};
use serde::{Deserialize, Serialize};

use crate::tenant::{Tenant, TenantStatus};

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
            Shape::Database => match own_database(&self.server.database, &tenant.id) {
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

/// The name of a tenant's own database. No two tenants' are the same: an id has no `_`.
///
/// # Errors
/// Where both names together are longer than 63 bytes.
pub(super) fn own_database(shared: &RoleName, tenant: &TenantId) -> Result<RoleName, RoleNameError> {
    RoleName::new(&format!("{shared}_{}", tenant.as_str().replace('-', "_")))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn no_two_tenants_have_one_database(a in "[a-z][a-z0-9-]{1,39}", b in "[a-z][a-z0-9-]{1,39}") {
            let shared = RoleName::new("ledger").unwrap();
            let [one, other] = [&a, &b].map(|id| TenantId::new(id).map(|id| own_database(&shared, &id).unwrap()));
            if let (Ok(one), Ok(other)) = (one, other) {
                prop_assert_eq!(a == b, one == other);
            }
        }
    }
}
