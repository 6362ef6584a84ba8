//! Why a plane does not start, each with what to do.

use std::{
    io,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use ringfence_identity::IdentityError;
use ringfence_store::StoreError;

use crate::{data::DataError, keys::PlaneKeysError, settings::SettingsError, tenant::TenantError};

/// Why a plane does not start.
#[derive(Debug, thiserror::Error)]
pub enum PlaneError {
    /// A port can't be had.
    #[error("can't listen on {address}: {error}. Change listen.{key} in ringfence.toml, or pass --{key}")]
    Listen {
        /// Which listener.
        key: &'static str,
        /// Where.
        address: SocketAddr,
        /// Why.
        error: io::Error,
    },
    /// A file or folder.
    #[error("{}: {error}", path.display())]
    Folder {
        /// Which.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// The settings.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// The upstream's address.
    #[error("upstream: address = \"{0}\" is not host:port")]
    Upstream(String),
    /// The application can't be started.
    #[error("the application ({program}): {what}")]
    Application {
        /// Its program.
        program: String,
        /// What is wrong.
        what: String,
    },
    /// The state.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The plane's keys.
    #[error(transparent)]
    Keys(#[from] PlaneKeysError),
    /// The pools.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The database.
    #[error(transparent)]
    Data(#[from] DataError),
    /// A tenant.
    #[error(transparent)]
    Tenant(#[from] TenantError),
    /// What should not happen.
    #[error("something failed inside: {0}")]
    Inside(&'static str),
}

impl PlaneError {
    /// A file or folder that can't be used.
    pub fn folder(path: &Path, error: io::Error) -> Self {
        Self::Folder { path: path.to_owned(), error }
    }
}
