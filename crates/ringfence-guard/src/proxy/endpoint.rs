//! Where Postgres is.

use std::{io, path::PathBuf};

use tokio::net::{TcpStream, UnixStream};

use super::peer::{Duplex, attend};

/// The address of a Postgres server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Endpoint {
    /// The path of a Unix socket.
    Unix(PathBuf),
    /// A host and port; the way there must be private: it is not encrypted.
    Tcp(String, u16),
}

impl Endpoint {
    pub(super) async fn connect(&self) -> io::Result<Box<dyn Duplex>> {
        match self {
            Self::Unix(path) => Ok(Box::new(UnixStream::connect(path).await?)),
            Self::Tcp(host, port) => {
                let stream = TcpStream::connect((host.as_str(), *port)).await?;
                attend(&stream)?;
                Ok(Box::new(stream))
            }
        }
    }
}
