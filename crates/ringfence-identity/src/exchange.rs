//! Token exchange (RFC 8693): an access token for a database token, which carries the gateway's signature too.

use std::pin::Pin;

use ringfence_context::{Refusal, TenantContext};

/// The grant.
pub const GRANT: &str = "urn:ietf:params:oauth:grant-type:token-exchange";

/// What is exchanged.
pub const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";

/// What is given for it.
pub const DATABASE_TOKEN: &str = "urn:ringfence:params:oauth:token-type:database-token";

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
