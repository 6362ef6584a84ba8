//! A client's connection to Postgres, which goes on by itself.

use tokio_postgres::{
    Client, Config, NoTls, Socket,
    config::SslMode,
    error::SqlState,
    tls::{MakeTlsConnect, TlsConnect},
};

use crate::tls::Authorities;

/// Connects, and drives the connection on the runtime this is called on until the client is dropped. With `tls` it is TLS
/// with the very host, by the word of one of these, or nothing; without, it is in the clear.
///
/// # Errors
/// What `tokio_postgres` says.
pub async fn connect(config: &Config, tls: Option<&Authorities>) -> Result<Client, tokio_postgres::Error> {
    match tls {
        Some(tls) => drive(config.clone().ssl_mode(SslMode::Require), tls.connector()).await,
        None => drive(config, NoTls).await,
    }
}

/// Whether what Postgres refused may go through when it is tried again: somebody held a lock, or the connection is gone.
pub(crate) fn is_passing(error: &tokio_postgres::Error) -> bool {
    let passing = [
        SqlState::LOCK_NOT_AVAILABLE,
        SqlState::OBJECT_IN_USE,
        SqlState::T_R_DEADLOCK_DETECTED,
        SqlState::T_R_SERIALIZATION_FAILURE,
        SqlState::TOO_MANY_CONNECTIONS,
        SqlState::ADMIN_SHUTDOWN,
        SqlState::CRASH_SHUTDOWN,
        SqlState::CANNOT_CONNECT_NOW,
    ];
    error.code().is_none_or(|code| passing.contains(code))
}

async fn drive<T>(config: &Config, tls: T) -> Result<Client, tokio_postgres::Error>
where
    T: MakeTlsConnect<Socket>,
    T::TlsConnect: Send,
    T::Stream: Send + 'static,
    <T::TlsConnect as TlsConnect<Socket>>::Future: Send,
{
    let (client, connection) = config.connect(tls).await?;
    tokio::spawn(async move {
        // It ends with the client, whose calls say what went wrong.
        let _ = connection.await;
    });
    Ok(client)
}
