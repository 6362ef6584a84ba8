//! Where Postgres is.

use std::{io, path::PathBuf};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::{
    local::Local,
    peer::{Duplex, attend},
    startup::SSL_REQUEST,
};
use crate::tls::Authorities;

/// The address of a Postgres server.
#[derive(Debug, Clone)]
pub enum Endpoint {
    /// The path of a Unix socket.
    Unix(PathBuf),
    /// A host and port.
    Tcp {
        /// The name its certificate must bear, or an address.
        host: String,
        /// The port.
        port: u16,
        /// By whose word it is that host (libpq's `verify-full`); without, the way there must be private, for nothing is
        /// encrypted.
        tls: Option<Authorities>,
    },
}

impl Endpoint {
    /// Whether whoever answers there has shown by that who it is: by the folder the socket is in, or in TLS.
    pub(super) fn proves_itself(&self) -> bool {
        match self {
            Self::Unix(_) => true,
            Self::Tcp { tls, .. } => tls.is_some(),
        }
    }

    pub(super) async fn connect(&self) -> io::Result<Box<dyn Duplex>> {
        match self {
            Self::Unix(path) => Ok(Box::new(Local::connect(path).await?)),
            Self::Tcp { host, port, tls } => {
                let mut stream = TcpStream::connect((host.as_str(), *port)).await?;
                attend(&stream)?;
                let Some(authorities) = tls else { return Ok(Box::new(stream)) };
                let [length, request] = [8, SSL_REQUEST].map(i32::to_be_bytes);
                stream.write_all(&[length, request].concat()).await?;
                // One byte and no more: what somebody in between adds in the clear must not be taken for Postgres' words.
                if stream.read_u8().await? != b'S' {
                    return Err(io::Error::other("it does not offer TLS, which is asked for"));
                }
                Ok(Box::new(authorities.connect(host, stream).await?))
            }
        }
    }
}
