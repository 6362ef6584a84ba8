//! What can go wrong when pools, users and clients are managed, for the operator or the tenant's administrator.

use ringfence_context::{Layer, Reason, Refusal, key::KeyError};
use ringfence_store::StoreError;

/// Why a pool, user or client could not be read or changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdentityError {
    /// The state could not be read or changed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// There is one of this name already.
    #[error("there is a {0} of this name already; choose another")]
    Exists(&'static str),
    /// There is none of this name.
    #[error("there is no such {0} in this tenant")]
    Missing(&'static str),
    /// The input is not of the form it must have.
    #[error("{0}")]
    Invalid(&'static str),
    /// A key could not be made or read.
    #[error("{0}")]
    Key(#[from] KeyError),
    /// Too much to hash at once.
    #[error("too many passwords are being checked at once; try again shortly")]
    Busy,
}

impl IdentityError {
    /// What a client is told where a request fails because of this.
    pub fn refusal(&self) -> Refusal {
        match self {
            Self::Store(error) => error.refusal(Layer::Identity),
            Self::Busy => refuse(Reason::DependencyUnavailable, "too many passwords at once"),
            Self::Exists(_) | Self::Missing(_) => refuse(Reason::Internal, "not there, or there already"),
            Self::Invalid(detail) => refuse(Reason::RequestMalformed, detail),
            Self::Key(_) => refuse(Reason::Internal, "a key of the pool can't be used"),
        }
    }
}

/// A refusal of this layer.
pub(crate) const fn refuse(reason: Reason, detail: &'static str) -> Refusal {
    Refusal::new(Layer::Identity, reason, detail)
}
