//! Where each tenant's rows are: the map from a tenant to the database its sessions are led to.
//!
//! The map is not believed alone. Whatever it says, the database that is reached asks for a context under the tenant's own key,
//! which only the tenant's own database knows: a tenant led to another's database is refused there.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures_util::future::BoxFuture;
use ringfence_context::{Refusal, TenantId};

use super::{
    server::{Parameters, ServerSettings},
    startup::Settings,
};

/// For how many settings it is kept what Postgres reports: as many as clients there are of different kinds, and some.
const KNOWN: usize = 64;

/// A database, and how it is reached.
pub struct Placement {
    pub(super) server: ServerSettings,
    pub(super) passwords: Option<Arc<dyn PutPassword>>,
    parameters: Mutex<HashMap<Settings, Parameters>>,
}

impl fmt::Debug for Placement {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("Placement").field(&self.server).finish()
    }
}

impl Placement {
    /// Sessions led to one `Arc` of a placement share its connections; those led to another never do, be it the same
    /// database: who moves a tenant gives it a new one.
    pub fn new(server: ServerSettings) -> Arc<Self> {
        Arc::new(Self { server, passwords: None, parameters: Mutex::default() })
    }

    /// The same, of a role whose password is put back where Postgres does not take it any more.
    pub fn with_passwords(server: ServerSettings, passwords: Arc<dyn PutPassword>) -> Arc<Self> {
        Arc::new(Self { server, passwords: Some(passwords), parameters: Mutex::default() })
    }

    /// What Postgres reports at start-up to who opens with these settings, once it was asked.
    pub(super) fn parameters(&self, settings: &Settings) -> Option<Parameters> {
        self.parameters.lock().unwrap_or_else(PoisonError::into_inner).get(settings).cloned()
    }

    pub(super) fn parameters_put(&self, settings: &Settings, parameters: &Parameters) {
        let mut known = self.parameters.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= KNOWN && !known.contains_key(settings) {
            known.clear();
        }
        known.insert(settings.clone(), Arc::clone(parameters));
    }
}

/// Puts back the password of a role: any role may change its own (`ALTER ROLE CURRENT_USER PASSWORD`), and one is all tenants'.
pub trait PutPassword: Send + Sync {
    /// Does it, by an administrator; whether it is done.
    fn put_password(&self) -> BoxFuture<'_, bool>;
}

/// What one tenant may take of what all share.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Caps {
    /// Most server connections it holds at a time.
    pub connections: usize,
    /// How long each of its transactions may take: it holds locks that others wait for.
    pub transaction: Duration,
}

/// Where tenants' rows are, and what each may take.
pub trait Placements: Send + Sync {
    /// Asked before every transaction. None while they are in the last moment of a move: the transaction waits.
    ///
    /// # Errors
    /// A refusal of the guard where it is not known: nobody is led anywhere by default.
    fn placement(&self, tenant: &TenantId) -> Result<Option<Arc<Placement>>, Refusal>;

    /// What a tenant may take, asked before every transaction; none where it is what the guard's settings say.
    fn caps(&self, _tenant: &TenantId) -> Option<Caps> {
        None
    }
}

/// All tenants' rows are in one database.
#[derive(Debug)]
pub struct Together(pub Arc<Placement>);

impl Placements for Together {
    fn placement(&self, _tenant: &TenantId) -> Result<Option<Arc<Placement>>, Refusal> {
        Ok(Some(Arc::clone(&self.0)))
    }
}
