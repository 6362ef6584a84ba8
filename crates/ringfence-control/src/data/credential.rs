//! Logins of tenants to their own databases: made there, and removed when their time is over.
//!
//! What is to be removed is read from Postgres itself: there is no list beside it that could be wrong, and none that ends with a node.

use std::sync::Arc;

use ringfence_context::UnixTime;
use ringfence_guard::{
    RoleName,
    credential::{Credential, Revoked, expired_revoke, open_to_everybody, overdue},
    install::is_current,
    proxy::Endpoint,
};
use ringfence_identity::exchange::DatabaseLogin;
use tokio_postgres::Client;

use super::{Data, DataError, place::Place, server::Server};
use crate::tenant::Tenant;

impl Data {
    /// A login to a tenant's database, until `expires`; none where the tenant shares a database, or has one that nobody reaches
    /// over the network.
    ///
    /// # Errors
    /// [`DataError::Credential`], what Postgres says.
    pub(crate) async fn credential_put(
        &self,
        tenant: &Tenant,
        expires: UnixTime,
        now: UnixTime,
    ) -> Result<Option<DatabaseLogin>, DataError> {
        match &tenant.place {
            Place::Rows | Place::Role { .. } | Place::Schema { .. } | Place::Server { server: None, .. } => {
                return Ok(None);
            }
            Place::Database { .. } | Place::Server { server: Some(_), .. } => {}
        }
        let site = self.sites.site(&tenant.place)?;
        let Endpoint::Tcp { host, port, tls } = &site.server.endpoint else { return Ok(None) };
        let mut client = site.connect().await?;
        if !is_current(&client).await? {
            // An earlier Ringfence has made it.
            self.prepare(&site, &mut client).await?;
        }
        let credential = Credential::draw(expires)?;
        credential.put(&mut client, &tenant.id).await?;
        let Credential { login, password, expires } = credential;
        let expires_in = expires.since(now).as_secs();
        tracing::info!(tenant = %tenant.id, %login, seconds = expires_in, "a credential was given");
        Ok(Some(DatabaseLogin {
            host: host.clone(),
            port: *port,
            dbname: site.database.to_string(),
            user: login.to_string(),
            password,
            sslmode: if tls.is_some() { "verify-full" } else { "disable" },
            expires_in,
        }))
    }

    /// Says which databases of the server that tenants share are open to whoever has a login there: no tenant's rows are in
    /// them, but they are none of a tenant's business.
    ///
    /// # Errors
    /// What Postgres says.
    pub(crate) async fn credentials_look(&self) -> Result<(), DataError> {
        let open = open_to_everybody(&self.connect().await?).await?;
        if !open.is_empty() {
            let databases = open.join(", ");
            tracing::warn!(%databases, "credentials could connect to these too: REVOKE CONNECT ON DATABASE ... FROM PUBLIC");
        }
        Ok(())
    }
}

/// Removes what is overdue on one server, over one connection that is kept.
pub(crate) struct Sweep {
    name: String,
    server: Arc<Server>,
    client: Option<Client>,
    /// Whether that it fails was said.
    told: bool,
}

impl Data {
    /// One for each server that is not ours to start, so that none waits for another.
    pub(crate) fn sweeps(&self) -> Vec<Sweep> {
        let sweep = |(name, server)| Sweep { name, server, client: None, told: false };
        self.sites.servers.listed().into_iter().map(sweep).collect()
    }
}

impl Sweep {
    /// Removes the logins whose time is over at `now`; says how many were there, or nothing where the server did not answer.
    pub(crate) async fn run(&mut self, now: UnixTime) -> Option<usize> {
        match self.remove(now).await {
            Ok(found) => {
                self.told = false;
                Some(found)
            }
            Err(error) => {
                self.client = None;
                if !std::mem::replace(&mut self.told, true) {
                    tracing::warn!(server = self.name, %error, "credentials can't be removed when their time is over; they open nothing then");
                }
                None
            }
        }
    }

    async fn remove(&mut self, now: UnixTime) -> Result<usize, DataError> {
        let client = match self.client.take().filter(|client| !client.is_closed()) {
            Some(client) => client,
            None => self.server.root().await?,
        };
        let found = overdue(self.client.insert(client), now).await?;
        let mut outcome = Ok(found.logins);
        // What fails in one tenant's database holds up no other's.
        for database in &found.databases {
            match self.remove_in(database, now).await {
                Ok(Revoked { logins, sessions, .. }) => {
                    tracing::info!(%database, logins, sessions, "credentials were over")
                }
                Err(error) => outcome = Err(error),
            }
        }
        outcome
    }

    async fn remove_in(&self, database: &RoleName, now: UnixTime) -> Result<Revoked, DataError> {
        Ok(expired_revoke(&self.server.connect(database).await?, now).await?)
    }
}
