//! A client's connection to Postgres, which goes on by itself.

use tokio_postgres::{Client, Config, NoTls};

/// Connects without TLS, and drives the connection on the runtime this is called on until the client is dropped.
///
/// # Errors
/// What `tokio_postgres` says.
pub async fn connect(config: &Config) -> Result<Client, tokio_postgres::Error> {
    let (client, connection) = config.connect(NoTls).await?;
    tokio::spawn(async move {
        // It ends with the client, whose calls say what went wrong.
        let _ = connection.await;
    });
    Ok(client)
}
