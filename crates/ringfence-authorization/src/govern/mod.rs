//! Policies are data, and their changes are governed: every change of a serving store is a version with an author, and
//! where the tier demands it, nothing takes effect that another operator has not approved.
//!
//! It guarantees that the store, its version, the audit entry and whatever proposal led to it are one commit; that the
//! only function that changes a serving store ([`crate::Stores::document_put`]) refuses what is to be reviewed and was
//! not; that what is published is, byte for byte, what was approved; and that the record of who did what is only ever
//! appended to.

mod audit;
mod edit;
mod history;
mod proposal;
mod publish;
mod record;
mod schedule;
mod trial;
mod version;

pub use audit::{AuditEntry, Step};
pub use edit::StoreEdit;
pub use history::Side;
pub use proposal::{Proposal, ProposalState};
pub use publish::{Published, first};
pub(crate) use record::is_of_history;
pub use ringfence_context::{Author, ChangeReason, ReasonFault};
pub use schedule::{Due, Schedule};
pub use trial::{How, Trial};
pub(crate) use trial::{InForce, TRIAL};
pub use version::{Cause, Change, Version};

use std::sync::Arc;

use crate::{
    Gate,
    stores::{Stores, StoresError},
};

/// How many versions of a tenant's policies are kept with their full text; of older ones, who did what and why.
pub const TEXTS_KEPT: u64 = 100;

/// Governs the policies of all tenants. Clones share what they stand on.
#[derive(Debug, Clone)]
pub struct Governance {
    pub(crate) stores: Arc<Stores>,
    pub(crate) gate: Arc<Gate>,
}

impl Governance {
    /// Of these stores, by this gate.
    pub fn new(stores: Arc<Stores>, gate: Arc<Gate>) -> Self {
        Self { stores, gate }
    }
}

/// Why a step of governing policies was refused.
#[derive(Debug, thiserror::Error)]
pub enum GovernError {
    /// The store, the gate or the state refused.
    #[error(transparent)]
    Stores(#[from] StoresError),
    /// No such version.
    #[error("there is no version {0}")]
    NoVersion(u64),
    /// The version is there, its text no longer is.
    #[error("the text of version {0} is no longer kept: the latest {kept} versions have theirs", kept = TEXTS_KEPT)]
    TextGone(u64),
    /// No such proposal.
    #[error("there is no proposal {0}")]
    NoProposal(u64),
    /// Author and reviewer are one.
    #[error("who has proposed a change can't approve it: ask another operator who may review")]
    OwnProposal,
    /// It is decided already.
    #[error("proposal {0} is {1}")]
    Decided(u64, &'static str),
    /// It is not approved.
    #[error("proposal {0} is {1}, not approved: nothing was published")]
    NotApproved(u64, &'static str),
    /// Another version serves by now.
    #[error(
        "proposal {number} was made against version {base}, and version {serving} serves now: propose it again"
    )]
    Stale {
        /// The proposal.
        number: u64,
        /// What it was made against.
        base: u64,
        /// What serves.
        serving: u64,
    },
    /// Another proposal of the tenant decides for a share.
    #[error("proposal {0} decides for a share: stop it first")]
    OtherShare(u64),
    /// Too many proposals are tried at once.
    #[error("{0} proposals of other tenants are tried so already: stop one")]
    TooManyTrials(usize),
    /// It can't take effect at that time.
    #[error("{0}")]
    Time(&'static str),
    /// Too many proposals wait.
    #[error("{0} proposals are open already: publish or reject some")]
    TooMany(u64),
    /// It would change nothing.
    #[error("nothing would change: what serves already says this")]
    Same,
    /// What is to be changed is not there.
    #[error("there is no {0} \"{1}\"")]
    Nothing(&'static str, String),
}

impl From<ringfence_store::StoreError> for GovernError {
    fn from(error: ringfence_store::StoreError) -> Self {
        Self::Stores(error.into())
    }
}

impl From<crate::PolicyFault> for GovernError {
    fn from(fault: crate::PolicyFault) -> Self {
        Self::Stores(fault.into())
    }
}
