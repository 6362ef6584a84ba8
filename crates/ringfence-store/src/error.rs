//! What can go wrong with the plane's state, each with a message that says what to do.

use ringfence_context::{Layer, Reason, Refusal};

/// Why the state could not be read or changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// A record is not as the change expected; nothing was changed.
    #[error("a record of kind '{kind}' was changed or exists already; read it again and retry")]
    Conflict {
        /// The record's kind.
        kind: String,
    },
    /// The store does not answer, or not in time.
    #[error("the state store does not answer ({cause}); requests are refused until it does")]
    Unavailable {
        /// What the driver said; for the operator only.
        cause: String,
    },
    /// No room to write; nothing was changed.
    #[error("no space left for the state; free disk space: nothing was changed, and no restart is needed")]
    Full,
    /// The database is not, or no longer, one of ours.
    #[error(
        "the state is damaged ({what}); stop ringfence and restore the last backup, and keep this copy for analysis"
    )]
    Corrupt {
        /// What was found.
        what: String,
    },
    /// The database was written by a later version.
    #[error(
        "the state has schema {found}, this version knows {known}; start the later version it was written by"
    )]
    Newer {
        /// The schema number found.
        found: i64,
        /// The latest this version knows.
        known: i64,
    },
    /// A record does not open under the key of whose it says it is: it was altered or moved, or the master key is not
    /// the one it was sealed under.
    #[error(
        "a record of kind '{kind}' does not authenticate: it was altered or moved, or keys/master.key is another one; restore both from one backup"
    )]
    Tampered {
        /// The record's kind.
        kind: String,
    },
    /// A record opens and is not of the form this version writes.
    #[error("a record of kind '{kind}' is not in a form this version reads; start the version that wrote it")]
    Unreadable {
        /// The record's kind.
        kind: String,
    },
    /// The tenant has no record key: it was never added, or it was shredded.
    #[error("the tenant is not known here")]
    TenantUnknown,
    /// The tenant's id has been in use; ids are never used again.
    #[error("the tenant exists or has existed; choose another id, ids are never used again")]
    TenantExists,
    /// The master key can't be used.
    #[error("{0}")]
    MasterKey(String),
    /// The caller asked for something no store takes.
    #[error("{0}")]
    Invalid(&'static str),
}

impl StoreError {
    pub(crate) fn corrupt(what: &str) -> Self {
        Self::Corrupt { what: what.to_owned() }
    }

    /// What a client is told where its request can't be served because of this: never what or whose.
    ///
    /// A caller that has a better answer (a membership that does not authenticate, a tenant that is not known) gives
    /// it before it asks for this one.
    pub fn refusal(&self, layer: Layer) -> Refusal {
        let (reason, detail) = match self {
            Self::Conflict { .. } => (Reason::DependencyUnavailable, "the record was changed meanwhile"),
            Self::Unavailable { .. } => (Reason::DependencyUnavailable, "the state store does not answer"),
            Self::Full => (Reason::DependencyUnavailable, "no space left for the state"),
            Self::Corrupt { .. } => (Reason::DependencyUnavailable, "the state is damaged"),
            Self::Newer { .. } => (Reason::DependencyUnavailable, "the state is a later version's"),
            Self::Tampered { .. } => (Reason::Internal, "a record does not authenticate"),
            Self::Unreadable { .. } => (Reason::Internal, "a record is not in a readable form"),
            Self::TenantUnknown => (Reason::NotServed, "the tenant has no record key"),
            Self::TenantExists => (Reason::Internal, "the tenant exists or has existed"),
            Self::MasterKey(_) => (Reason::Internal, "the master key can't be used"),
            Self::Invalid(detail) => (Reason::Internal, *detail),
        };
        Refusal::new(layer, reason, detail)
    }
}
