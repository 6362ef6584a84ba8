//! The administrator's connections to both places, on which values look alike.
//!
//! It guarantees that no setting of a server, database or role changes how a value is written or read, that nothing waits long
//! for a lock, and that row security is not applied in silence: where it would be, Postgres refuses.

use tokio_postgres::{Client, error::SqlState};

use super::{Hindrance, MoveError, Side, Site};
use crate::connect;

/// Says the same at both places. Three seconds is how long the moved tenant's and all others' statements may have to queue
/// behind one of ours.
const PINNED: &str = "SET application_name = 'ringfence tenant move'; SET client_encoding = 'UTF8'; SET datestyle = 'ISO, YMD'; SET intervalstyle = 'postgres';
    SET timezone = 'UTC'; SET extra_float_digits = 3; SET bytea_output = 'hex'; SET lc_monetary = 'C';
    SET xmloption = 'content'; SET search_path = pg_catalog; SET row_security = off; SET quote_all_identifiers = off;
    SET lock_timeout = '3s'; SET statement_timeout = 0; SET idle_in_transaction_session_timeout = 0;
    SET default_transaction_read_only = off; SET default_transaction_isolation = 'read committed'";

/// Connects to read.
pub(super) async fn open(site: &Site) -> Result<Client, MoveError> {
    let client = connect(&site.config, site.tls.as_ref()).await?;
    client.batch_execute(PINNED).await?;
    Ok(client)
}

/// Connects to a database that may be gone.
pub(super) async fn open_if_there(site: &Site) -> Result<Option<Client>, MoveError> {
    match open(site).await {
        Err(MoveError::Postgres(error)) if error.code() == Some(&SqlState::INVALID_CATALOG_NAME) => Ok(None),
        other => other.map(Some),
    }
}

/// Connects to write what was written elsewhere already: no trigger fires twice, and parents need not come first.
pub(super) async fn open_replica(site: &Site, side: Side) -> Result<Client, MoveError> {
    let client = open(site).await?;
    match client.batch_execute("SET session_replication_role = replica").await {
        Ok(()) => Ok(client),
        Err(error) if error.code() == Some(&SqlState::INSUFFICIENT_PRIVILEGE) => {
            Err(MoveError::Hindered(Hindrance::ReplicationRole { side }))
        }
        Err(error) => Err(error.into()),
    }
}
