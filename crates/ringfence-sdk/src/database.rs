//! Database sessions that can't leave the tenant: opened at the guard with both tokens, and only with a permit.

use std::{net::SocketAddr, sync::Arc};

use ringfence_context::{Layer, Permit, Reason, Refusal};
use tokio_postgres::{
    Client, Config, NoTls, Socket,
    config::SslMode,
    error::SqlState,
    tls::{MakeTlsConnect, TlsConnect},
    types::{ToSql, Type},
};
use tokio_postgres_rustls::MakeRustlsConnect;
use tokio_rustls::rustls::{
    self, ClientConfig, RootCertStore,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, pem::PemObject},
};

use crate::{session::TenantSession, trust::GuardTls};

/// The guard, as a backend reaches it.
#[derive(Clone)]
pub struct Database {
    guard: SocketAddr,
    name: String,
    tls: Option<(String, MakeRustlsConnect)>,
}

/// A session pinned to one tenant; it ends when dropped.
pub struct TenantDatabase {
    client: Client,
}

/// What a statement can end in.
#[derive(Debug, thiserror::Error)]
pub enum DatabaseError {
    /// A layer refused.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// Postgres says the statement is wrong or breaks a rule of the schema.
    #[error("the database refused the statement")]
    Statement(#[source] tokio_postgres::Error),
}

impl Database {
    /// A database behind a guard.
    pub fn new(guard: SocketAddr, name: String) -> Self {
        Self { guard, name, tls: None }
    }

    /// The same, in TLS with nobody but the guard (libpq's `verify-full`).
    ///
    /// # Errors
    /// Where an authority is not one.
    pub fn in_tls(self, tls: &GuardTls) -> Result<Self, rustls::Error> {
        let mut roots = RootCertStore::empty();
        match &tls.authorities {
            Some(pem) => {
                for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
                    let certificate =
                        certificate.map_err(|error| rustls::Error::General(error.to_string()))?;
                    roots.add(certificate)?;
                }
            }
            None => roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned()),
        }
        let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Self { tls: Some((tls.name.clone(), MakeRustlsConnect::new(config))), ..self })
    }

    /// Opens a session for what `permit` permits.
    ///
    /// # Errors
    /// [`DatabaseError::Refused`] by the guard, or where it does not answer.
    pub async fn open(
        &self,
        session: &TenantSession,
        permit: &Permit,
    ) -> Result<TenantDatabase, DatabaseError> {
        check(session, permit)?;
        let mut config = Config::new();
        config
            .hostaddr(self.guard.ip())
            .port(self.guard.port())
            .user(session.tenant().as_str())
            .password(session.tokens().reveal())
            .dbname(&self.name)
            .application_name(format!("ringfence:{}", session.reference()));
        let client = match &self.tls {
            Some((name, tls)) => connect(config.host(name).ssl_mode(SslMode::Require), tls.clone()).await,
            None => connect(&config, NoTls).await,
        };
        Ok(TenantDatabase { client: client.map_err(classify)? })
    }
}

/// Gives a connection of a pool, opened at the guard with any request's tokens, to this request's tenant: what is said on it
/// from here on is said as that tenant, up to the next time. Between transactions only. Where it fails the connection is
/// nobody's, and refuses everything until it is given to somebody.
///
/// # Errors
/// [`DatabaseError::Refused`] by the guard, or where it does not answer.
pub async fn token_use(
    client: &Client,
    session: &TenantSession,
    permit: &Permit,
) -> Result<(), DatabaseError> {
    check(session, permit)?;
    let (tenant, tokens) = (session.tenant().as_str(), session.tokens().reveal());
    let reference = session.reference().as_str();
    // Bound, never literals: other sessions can read the text of statements.
    let given =
        [(&tenant as &(dyn ToSql + Sync), Type::TEXT), (&tokens, Type::TEXT), (&reference, Type::TEXT)];
    let rows =
        client.query_typed("SELECT ringfence.token_use($1, $2, $3)", &given).await.map_err(classify)?;
    match rows.first().map(|row| row.try_get::<_, &str>(0)) {
        Some(Ok(served)) if served == tenant => Ok(()),
        _ => Err(Refusal::new(Layer::Backend, Reason::SourcesDisagree, "another tenant is served").into()),
    }
}

fn check(session: &TenantSession, permit: &Permit) -> Result<(), Refusal> {
    if permit.context().tenant() == session.tenant() {
        return Ok(());
    }
    Err(Refusal::new(Layer::Backend, Reason::SourcesDisagree, "the permit is another tenant's"))
}

async fn connect<T>(config: &Config, tls: T) -> Result<Client, tokio_postgres::Error>
where
    T: MakeTlsConnect<Socket>,
    T::TlsConnect: Send,
    T::Stream: Send + 'static,
    <T::TlsConnect as TlsConnect<Socket>>::Future: Send,
{
    let (client, connection) = config.connect(tls).await?;
    tokio::spawn(async move {
        // Ends with the client; what went wrong shows in the client's calls.
        let _ = connection.await;
    });
    Ok(client)
}

impl TenantDatabase {
    /// The connection, for statements.
    pub fn client(&mut self) -> &mut Client {
        &mut self.client
    }
}

/// What a database error means in the chain's terms.
pub fn classify(error: tokio_postgres::Error) -> DatabaseError {
    let Some(told) = error.as_db_error() else {
        return Refusal::new(Layer::Guard, Reason::DependencyUnavailable, "the guard does not answer").into();
    };
    let refusal = match told.code().code() {
        "RF001" => Refusal::new(Layer::Database, Reason::ContextMissing, "no tenant context"),
        "RF005" => Refusal::new(Layer::Database, Reason::ContextMissing, "no guard has taken the token"),
        "RF002" | "RF003" => Refusal::new(Layer::Database, Reason::ContextRefused, "tenant context refused"),
        "RF004" => Refusal::new(Layer::Database, Reason::PostureChanged, "row security is not as installed"),
        _ if *told.code() == SqlState::INVALID_AUTHORIZATION_SPECIFICATION => Refusal::new(
            Layer::Guard,
            told.detail().and_then(reason).unwrap_or(Reason::TokenInvalid),
            "at the guard",
        ),
        _ if *told.code() == SqlState::INSUFFICIENT_PRIVILEGE => {
            Refusal::new(Layer::Database, Reason::Denied, "row security or a privilege")
        }
        // Connection exceptions, insufficient resources, operator intervention, system and internal errors: no fault of
        // the statement's, and it may work later.
        code if ["08", "53", "57", "58", "XX"].iter().any(|class| code.starts_with(class)) => {
            Refusal::new(Layer::Guard, Reason::DependencyUnavailable, "the database can't be reached")
        }
        _ => return DatabaseError::Statement(error),
    };
    refusal.into()
}

/// The reason the guard names in an error's detail: `layer=guard reason=<code> reference=<ref>`.
fn reason(detail: &str) -> Option<Reason> {
    let code = detail.split_whitespace().find_map(|word| word.strip_prefix("reason="))?;
    Reason::ALL.iter().find(|reason| reason.code() == code).copied()
}

#[cfg(test)]
mod tests;
