//! The audit: every step of every change, who took it and when. Appended to, and nothing else.
//!
//! It guarantees that what is shown is whole (`ringfence_store::chain`): each entry names the one before by what it says, and
//! the history names the last.

use ringfence_context::TenantId;
use ringfence_store::{Kind, chain::Link};
use serde::{Deserialize, Serialize};

use super::{Author, Cause, ChangeReason, record::AUDIT};

/// What was done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Step {
    /// A version took effect.
    Published {
        /// Which.
        version: u64,
        /// What it came from.
        cause: Cause,
        /// Names its text.
        content: String,
    },
    /// A change was proposed.
    Proposed {
        /// Which.
        proposal: u64,
        /// Against which version.
        base: u64,
        /// Names its text.
        content: String,
    },
    /// A proposal was approved.
    Approved {
        /// Which.
        proposal: u64,
        /// Names the text that was approved.
        content: String,
    },
    /// A proposal decides for a share.
    Staged {
        /// Which.
        proposal: u64,
        /// Of a hundred principals, how many.
        percent: u8,
        /// Of a hundred questions, how many it may refuse that what serves allows.
        most_rise: u8,
        /// Names its text.
        content: String,
    },
    /// A proposal no longer decides for a share.
    Unstaged {
        /// Which.
        proposal: u64,
        /// Why, in words.
        why: String,
    },
    /// A proposal is to take effect at a time.
    Scheduled {
        /// Which.
        proposal: u64,
        /// When, microseconds since the epoch.
        at: u64,
        /// Names its text.
        content: String,
    },
    /// A proposal no longer takes effect by itself.
    Unscheduled {
        /// Which.
        proposal: u64,
        /// Why, in words.
        why: String,
    },
    /// A proposal was rejected, or taken back by its author.
    Rejected {
        /// Which.
        proposal: u64,
    },
}

/// One step, on record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AuditEntry {
    /// Numbered from 1.
    pub number: u64,
    /// Whose policies.
    pub tenant: TenantId,
    /// When, microseconds since the epoch.
    pub at: u64,
    /// Who.
    pub who: Author,
    /// What.
    pub step: Step,
    /// Why.
    pub reason: Option<ChangeReason>,
    /// Names the entry before.
    pub previous: String,
}

impl Link for AuditEntry {
    const KIND: Kind = AUDIT;
    fn place(&self) -> (&TenantId, u64) {
        (&self.tenant, self.number)
    }
    fn previous(&self) -> &str {
        &self.previous
    }
}
