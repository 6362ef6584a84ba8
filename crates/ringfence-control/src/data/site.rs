//! What a tenant's place comes to: a server, a database, and the login role and schema that are its own, if any are.

use std::sync::Arc;

use ringfence_context::{TenantId, key::MacKey};
use ringfence_guard::{
    RoleName, SchemaName, own::Own, proxy::ServerSettings as GuardedServer, role::RoleNameError,
};
use tokio_postgres::Client;

use super::{
    DataError,
    place::{Drawn, Place},
    server::{Server, Servers},
};

/// Where rows are, and as whom they are reached.
#[derive(Debug, Clone)]
pub(super) struct Site {
    pub(super) server: Arc<Server>,
    pub(super) database: RoleName,
    pub(super) own: Option<Own>,
}

impl Site {
    /// The schema the tables are in.
    pub(super) fn schema(&self) -> SchemaName {
        self.own.as_ref().and_then(|own| own.schema.clone()).unwrap_or_else(SchemaName::public)
    }

    /// The login role that is the tenant's own.
    pub(super) fn login(&self) -> Option<&RoleName> {
        self.own.as_ref().map(|own| &own.login)
    }

    /// A connection of the administrator, which finds the tables by their name alone.
    pub(super) async fn connect(&self) -> Result<Client, tokio_postgres::Error> {
        let client = self.server.connect(&self.database).await?;
        client.batch_execute(&format!("SET search_path = {}", self.schema().search_path())).await?;
        Ok(client)
    }

    /// How it is called among others, without whose it is.
    pub(super) fn label(&self, place: &Place) -> String {
        let Self { database, .. } = self;
        match place {
            Place::Schema { .. } => format!("{database}, schema {}", self.schema()),
            Place::Server { drawn, server } => {
                format!("{database} on {}", server.as_deref().unwrap_or_else(|| drawn.as_str()))
            }
            Place::Rows | Place::Role { .. } | Place::Database { .. } => database.to_string(),
        }
    }
}

/// How places become sites.
#[derive(Debug)]
pub(super) struct Sites {
    pub(super) servers: Servers,
    pub(super) database: RoleName,
    pub(super) role: RoleName,
    pub(super) guard_key: MacKey,
}

impl Sites {
    /// The one that tenants share.
    pub(super) fn shared(&self) -> Site {
        Site { server: Arc::clone(&self.servers.shared), database: self.database.clone(), own: None }
    }

    /// What a place comes to.
    ///
    /// # Errors
    /// [`DataError::Server`] where a server of its own is not listed, or does not run.
    pub(super) fn site(&self, place: &Place) -> Result<Site, DataError> {
        let shared = self.shared();
        let named = |drawn: &Drawn| RoleName::new(&format!("ringfence_{}", drawn.as_str()));
        let name = |error: RoleNameError| DataError::Name {
            key: "database",
            value: self.database.to_string(),
            error,
        };
        Ok(match place {
            Place::Rows => shared,
            Place::Role { drawn } => {
                let login = named(drawn).map_err(name)?;
                Site { own: Some(Own { login, schema: None }), ..shared }
            }
            Place::Schema { drawn } => {
                let login = named(drawn).map_err(name)?;
                let schema = Some(login.clone().into());
                Site { own: Some(Own { login, schema }), ..shared }
            }
            Place::Database { drawn } => {
                let database =
                    RoleName::new(&format!("{}_{}", self.database, drawn.as_str())).map_err(name)?;
                Site { database, ..shared }
            }
            Place::Server { drawn, server } => {
                Site { server: self.servers.own(drawn, server.as_deref())?, ..shared }
            }
        })
    }

    /// How the guard reaches it.
    pub(super) fn guarded(&self, site: &Site) -> GuardedServer {
        let Site { server, database, own } = site;
        let (role, password) = match own {
            Some(own) => (own.login.clone(), Some(own.password(&self.guard_key))),
            None => (self.role.clone(), server.password.clone()),
        };
        GuardedServer {
            endpoint: server.endpoint.clone(),
            database: database.clone(),
            role,
            password,
            search_path: site.schema().search_path(),
        }
    }

    /// Makes the role and the schema that are a tenant's own.
    pub(super) async fn own_put(
        &self,
        own: &Own,
        client: &Client,
        tenant: &TenantId,
    ) -> Result<(), DataError> {
        Ok(own.put(client, &self.role, tenant, &own.password(&self.guard_key)).await?)
    }
}
