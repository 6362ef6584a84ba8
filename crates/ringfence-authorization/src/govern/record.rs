//! The records of governing: where they are, and what is checked when one is read.
//!
//! All are a tenant's own, sealed under its key at their place. What is read says again whose it is and which, and a text
//! is what its name says: a record that was moved or rewritten by somebody who can seal does not get past here either.

use std::collections::{BTreeMap, BTreeSet};

use ringfence_context::TenantId;
pub(super) use ringfence_store::chain::numbered;
use ringfence_store::{Expect, Kind, Records, Scope, StoreError, Stored};
use serde::{Deserialize, Serialize};

use super::{Proposal, Version};
use crate::StoreDocument;

pub(super) const HEAD: Kind = Kind::new("policy_history");
pub(super) const VERSION: Kind = Kind::new("policy_version");
pub(super) const TEXT: Kind = Kind::new("policy_text");
pub(super) const AUDIT: Kind = Kind::new("policy_audit");
pub(super) const PROPOSAL: Kind = Kind::new("policy_proposal");

/// The head's id: a tenant has one history.
pub(super) const HEAD_ID: &str = "current";

/// How far a tenant's history has come. Written by every step, at the revision it was read at: so steps never cross.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Head {
    pub(super) tenant: TenantId,
    /// The latest version.
    pub(super) versions: u64,
    /// Names the text of the latest version.
    pub(super) content: String,
    /// The latest proposal.
    pub(super) proposals: u64,
    /// Proposals that are neither rejected nor published.
    pub(super) open: BTreeSet<u64>,
    /// The latest audit entry.
    pub(super) entries: u64,
    /// Names the latest audit entry.
    pub(super) last: String,
    /// The entry of the audit that began the share that goes on, if one does.
    #[serde(default)]
    pub(super) share: Option<u64>,
    /// The proposals that take effect at a time, each with the entry of the audit that says so.
    #[serde(default)]
    pub(super) scheduled: BTreeMap<u64, u64>,
}

impl Head {
    pub(super) fn new(tenant: TenantId) -> Self {
        Self {
            tenant,
            versions: 0,
            content: String::new(),
            proposals: 0,
            open: BTreeSet::new(),
            entries: 0,
            last: String::new(),
            share: None,
            scheduled: BTreeMap::new(),
        }
    }
}

/// Whether what is tried of a tenant's policies may depend on records of this kind.
pub(crate) fn is_of_history(kind: &str) -> bool {
    [HEAD, PROPOSAL].iter().any(|known| known.as_str() == kind)
}

pub(super) fn tampered(kind: Kind) -> StoreError {
    StoreError::Tampered { kind: kind.as_str().to_owned() }
}

/// The head, and what must be there when it is written.
pub(super) async fn head(records: &Records, tenant: &TenantId) -> Result<(Head, Expect), StoreError> {
    match records.get::<Head>(&Scope::from(tenant), HEAD, HEAD_ID).await? {
        None => Ok((Head::new(tenant.clone()), Expect::Absent)),
        Some(found) if found.value.tenant == *tenant => Ok((found.value, Expect::Revision(found.revision))),
        Some(_) => Err(tampered(HEAD)),
    }
}

/// What a numbered record says of itself.
pub(super) trait Numbered: Serialize + for<'de> Deserialize<'de> {
    const KIND: Kind;
    fn place(&self) -> (&TenantId, u64);
}

impl Numbered for Version {
    const KIND: Kind = VERSION;
    fn place(&self) -> (&TenantId, u64) {
        (&self.tenant, self.number)
    }
}

impl Numbered for Proposal {
    const KIND: Kind = PROPOSAL;
    fn place(&self) -> (&TenantId, u64) {
        (&self.tenant, self.number)
    }
}

/// One numbered record.
pub(super) async fn one<T: Numbered>(
    records: &Records,
    tenant: &TenantId,
    number: u64,
) -> Result<Option<Stored<T>>, StoreError> {
    let found = records.get::<T>(&Scope::from(tenant), T::KIND, &numbered(number)).await?;
    match found {
        Some(found) if found.value.place() != (tenant, number) => Err(tampered(T::KIND)),
        found => Ok(found),
    }
}

/// Numbered records by ascending number, those after `after`, at most `limit`.
pub(super) async fn several<T: Numbered>(
    records: &Records,
    tenant: &TenantId,
    after: u64,
    limit: u32,
) -> Result<Vec<T>, StoreError> {
    let listed = records.list::<T>(&Scope::from(tenant), T::KIND, Some(&numbered(after)), limit).await?;
    let mut all = Vec::with_capacity(listed.len());
    for (id, stored) in listed {
        let (of, number) = stored.value.place();
        if of != tenant || numbered(number) != id {
            return Err(tampered(T::KIND));
        }
        all.push(stored.value);
    }
    Ok(all)
}

/// The text of this name: it is of this tenant, and says what its name says.
pub(super) async fn text(
    records: &Records,
    tenant: &TenantId,
    content: &str,
) -> Result<Option<StoreDocument>, StoreError> {
    let found = records.get::<StoreDocument>(&Scope::from(tenant), TEXT, content).await?;
    match found.map(|found| found.value) {
        Some(document) if document.tenant != *tenant || document.digest().hex() != content => {
            Err(tampered(TEXT))
        }
        found => Ok(found),
    }
}
