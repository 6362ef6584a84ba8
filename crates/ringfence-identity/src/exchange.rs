//! Token exchange (RFC 8693): an access token for a database token, which carries the gateway's signature too, or for a login to
//! the tenant's own database, which both signatures are asked for as well; or for a job token, which its worker exchanges for
//! any of the three later.

use std::pin::Pin;

use ringfence_context::{DatabaseToken, Refusal, Secret, TenantContext};

/// The grant.
pub const GRANT: &str = "urn:ietf:params:oauth:grant-type:token-exchange";

/// What is exchanged, and what a job token is exchanged for.
pub const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";

/// What is given for it.
pub const DATABASE_TOKEN: &str = "urn:ringfence:params:oauth:token-type:database-token";

/// Or this: a login to the tenant's own database.
pub const DATABASE_CREDENTIAL: &str = "urn:ringfence:params:oauth:token-type:database-credential";

/// What a queue carries: exchanged by its worker, later.
pub const JOB_TOKEN: &str = "urn:ringfence:params:oauth:token-type:job-token";

/// What the scope begins with that names a job.
pub const JOB_SCOPE: &str = "job:";

/// The answer, in a while: a `Txn-Token`.
pub type ExchangeAnswer<'a> = Pin<Box<dyn Future<Output = Result<String, Refusal>> + Send + 'a>>;

/// Where the gateway's word comes from: it asks the tenant's policy store, and signs.
pub trait ExchangeDatabaseToken: Send + Sync {
    /// A `Txn-Token` with purpose `database` for the holder of a proved access token.
    ///
    /// # Errors
    /// The gateway's or the policy store's refusal.
    fn exchange<'a>(&'a self, context: &'a TenantContext) -> ExchangeAnswer<'a>;
}

/// A login to a tenant's own database, by the names libpq has for its parts.
#[derive(Debug, Clone)]
pub struct DatabaseLogin {
    /// Host name or address of the server.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// The database.
    pub dbname: String,
    /// The role to log in as.
    pub user: String,
    /// Its password.
    pub password: Secret<String>,
    /// How the connection is to be protected: `verify-full` or `disable`.
    pub sslmode: &'static str,
    /// For how long it is good, in seconds.
    pub expires_in: u64,
}

/// The answer, in a while: a login, or none where the tenant is given none.
pub type CredentialAnswer<'a> =
    Pin<Box<dyn Future<Output = Result<Option<DatabaseLogin>, Refusal>> + Send + 'a>>;

/// Where logins come from.
pub trait ExchangeCredential: Send + Sync {
    /// A login for the holder of a proved access token, with the gateway's word beside it. That is to be verified: here it is
    /// only what the gateway is said to have signed.
    ///
    /// # Errors
    /// Where the two do not agree, the tenant has too many, or its database can't be reached.
    fn exchange<'a>(&'a self, context: &'a TenantContext, token: &'a DatabaseToken) -> CredentialAnswer<'a>;
}
