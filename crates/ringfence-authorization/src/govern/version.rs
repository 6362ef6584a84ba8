//! One version of a tenant's policies: who, who else, why, when, and what.

use ringfence_context::{TenantId, UnixTime};
use serde::{Deserialize, Serialize};

use super::{Author, ChangeReason};
use crate::{Standing, gate::Publishable};

/// What a version came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Cause {
    /// The tenant's tier.
    Onboarding,
    /// It was there before its history was.
    Found,
    /// A change that was made at once.
    Change,
    /// An earlier version.
    Rollback(u64),
    /// A proposal that was approved.
    Proposal(u64),
}

/// Who changes a store, and why.
#[derive(Debug, Clone)]
pub struct Change {
    /// Who.
    pub author: Author,
    /// Who has approved it, if somebody had to.
    pub reviewer: Option<Author>,
    /// Who puts it into effect, where that is not the author.
    pub publisher: Option<Author>,
    /// Why.
    pub reason: ChangeReason,
    /// What it comes from.
    pub cause: Cause,
}

impl Change {
    /// What a tenant's tier begins with.
    pub fn onboarding() -> Self {
        let reason = ChangeReason::of_plane("onboarding");
        Self { cause: Cause::Onboarding, ..Self::now(Author::Plane, reason) }
    }

    /// One that is made at once.
    pub fn now(author: Author, reason: ChangeReason) -> Self {
        Self { author, reviewer: None, publisher: None, reason, cause: Cause::Change }
    }
}

/// One version. Its text is kept apart from it, once for all versions that say the same.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Version {
    /// Numbered from 1.
    pub number: u64,
    /// Whose. Compared with whose records it was found among.
    pub tenant: TenantId,
    /// Who made it.
    pub author: Author,
    /// Who approved it.
    pub reviewer: Option<Author>,
    /// Who put it into effect, where that was not the author.
    pub publisher: Option<Author>,
    /// Why.
    pub reason: ChangeReason,
    /// When, microseconds since the epoch.
    pub at: u64,
    /// What it came from.
    pub cause: Cause,
    /// What was known of it when it was published.
    pub standing: Standing,
    /// Names its text: SHA-256 of all of it, in hexadecimal.
    pub content: String,
}

impl Version {
    pub(super) fn of(publishable: &Publishable, number: u64, change: Change, now: UnixTime) -> Self {
        let Change { author, reviewer, publisher, reason, cause } = change;
        let document = publishable.document();
        Self {
            number,
            tenant: document.tenant.clone(),
            author,
            reviewer,
            publisher,
            reason,
            at: now.micros(),
            cause,
            standing: publishable.standing().clone(),
            content: document.digest().hex(),
        }
    }
}
