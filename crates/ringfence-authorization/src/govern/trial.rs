//! What is tried of a tenant's policies, on record: the proposal that decides for a share of its principals, and the one
//! that is asked beside what serves. Every node follows the record (`trials.rs`), so a trial outlives the node that was told
//! to begin it and is the same on all of them.
//!
//! It guarantees that a share is served while, and only while, the history names the entry of the audit that began it:
//! whatever takes effect, and a rejection, ends it in its own commit, an end is written once however many nodes see a
//! reason for it, and an older copy of the record that somebody puts back begins nothing.

use ringfence_context::{TenantId, UnixTime, limits};
use ringfence_store::{Draft, Expect, Kind, Records, Revision, Scope, StoreError, Stored};
use serde::{Deserialize, Serialize};

use super::{
    Author, GovernError, Governance, Proposal, ProposalState, Side, Step, proposal::Approved,
    publish::Pending, record::tampered,
};
use crate::{
    StoreDocument,
    canary::{Ended, Stage},
    gate::Terms,
};

/// A tenant's own records of trials, one of each kind.
pub(crate) const TRIAL: Kind = Kind::new("policy_trial");

/// The plane's rows that lead to the tenants of which something is tried. They decide nothing.
pub(crate) const TRIALS: Kind = Kind::new("policy_trials");

/// How often an end is tried to be written where other steps get in between.
const TRIES: usize = 10;

/// The two ways to try a proposal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum How {
    /// It decides for a share of principals, while this is the revision of what serves.
    Share {
        /// How much.
        stage: Stage,
        /// The serving store's revision.
        base: Revision,
    },
    /// It is asked beside what serves.
    Beside,
}

impl How {
    /// The record's id.
    const fn id(self) -> &'static str {
        match self {
            Self::Share { .. } => SHARE,
            Self::Beside => BESIDE,
        }
    }
}

const SHARE: &str = "share";
const BESIDE: &str = "beside";

/// A trial.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Trial {
    /// Whose. Compared with whose records it was found among.
    pub tenant: TenantId,
    /// How it is tried.
    pub how: How,
    /// The proposal.
    pub proposal: u64,
    /// Names its text.
    pub content: String,
    /// Who began it.
    pub by: Author,
    /// When, microseconds since the epoch.
    pub at: u64,
    /// The entry of the audit that says that a share began; zero of the other kind.
    pub entry: u64,
    /// Why it is over, if it is.
    pub ended: Option<Ended>,
}

/// A trial that goes on, with everything checked that must hold for it.
pub(crate) struct InForce {
    pub(crate) trial: Stored<Trial>,
    pub(crate) document: StoreDocument,
}

impl Governance {
    /// Lets an approved proposal that could be published now decide for a share of the tenant's principals, or goes on to
    /// its next stage. On every node, from when it has followed on.
    ///
    /// # Errors
    /// As [`Governance::publish`]; [`GovernError::OtherShare`], [`GovernError::TooManyTrials`].
    pub async fn stage(
        &self,
        tenant: &TenantId,
        number: u64,
        terms: Terms,
        by: Author,
        stage: Stage,
    ) -> Result<(), GovernError> {
        let records = &self.stores.records;
        let Approved { proposal, mut pending, revision, .. } = self.approved(tenant, number, terms).await?;
        let before = one(records, tenant, SHARE).await?;
        let now = self.stores.clock.now();
        match before.as_ref().filter(|found| pending.in_force(&found.value)) {
            Some(found) if found.value.proposal != number => {
                return Err(GovernError::OtherShare(found.value.proposal));
            }
            Some(_) => {
                let step = Step::Unstaged { proposal: number, why: Ended::Replaced.to_string() };
                pending.step(by.clone(), step, None, now)?;
            }
            None => self.room(tenant, SHARE).await?,
        }
        let Stage { percent, most_rise } = stage;
        let content = proposal.content;
        let step = Step::Staged { proposal: number, percent, most_rise, content: content.clone() };
        pending.step(by.clone(), step, None, now)?;
        let entry = pending.head.entries;
        pending.head.share = Some(entry);
        let how = How::Share { stage, base: revision };
        let (tenant, at) = (tenant.clone(), now.micros());
        let trial = Trial { tenant, how, proposal: number, content, by, at, entry, ended: None };
        drafts(&trial, before.as_ref())?.into_iter().for_each(|draft| pending.also(draft));
        records.commit(pending.drafts()?).await?;
        Ok(())
    }

    /// Ends the tenant's share, if there is one; if an entry is named, only the one that it began. Says what it was.
    ///
    /// # Errors
    /// What the state refuses.
    pub async fn unstage(
        &self,
        tenant: &TenantId,
        entry: Option<u64>,
        by: Author,
        why: Ended,
    ) -> Result<Option<Trial>, GovernError> {
        let records = &self.stores.records;
        for _ in 0..TRIES {
            let mut pending = Pending::begin(records, tenant).await?;
            let now = self.stores.clock.now();
            let meant = |trial: &Trial| entry.is_none_or(|entry| entry == trial.entry);
            let ended = pending.share_end(records, meant, by.clone(), why.clone(), now).await?;
            let Some(ended) = ended else { return Ok(None) };
            match records.commit(pending.drafts()?).await {
                // Another step got in between, or another node has ended it.
                Err(StoreError::Conflict { .. }) => {}
                outcome => return outcome.map(|_| Some(ended)).map_err(Into::into),
            }
        }
        Err(StoreError::Conflict { kind: TRIAL.as_str().to_owned() }.into())
    }

    /// Asks a proposal that is not decided yet beside what serves, in place of any other of the tenant.
    ///
    /// # Errors
    /// [`GovernError::Decided`], [`GovernError::TooManyTrials`].
    pub async fn beside(&self, tenant: &TenantId, number: u64, by: Author) -> Result<(), GovernError> {
        let records = &self.stores.records;
        let Proposal { state, content, .. } = self.proposal_get(tenant, number).await?;
        if matches!(state, ProposalState::Rejected { .. } | ProposalState::Published { .. }) {
            return Err(GovernError::Decided(number, state.name()));
        }
        let before = one(records, tenant, BESIDE).await?;
        if before.as_ref().is_none_or(|found| found.value.ended.is_some()) {
            self.room(tenant, BESIDE).await?;
        }
        let (tenant, at) = (tenant.clone(), self.stores.clock.now().micros());
        let how = How::Beside;
        let trial = Trial { tenant, how, proposal: number, content, by, at, entry: 0, ended: None };
        records.commit(drafts(&trial, before.as_ref())?).await?;
        Ok(())
    }

    /// Stops asking a proposal beside what serves; says whether there was one.
    ///
    /// # Errors
    /// What the state refuses.
    pub async fn beside_end(&self, tenant: &TenantId) -> Result<bool, GovernError> {
        let records = &self.stores.records;
        let found = one(records, tenant, BESIDE).await?.filter(|found| found.value.ended.is_none());
        let Some(found) = found else { return Ok(false) };
        let trial = Trial { ended: Some(Ended::Stopped), ..found.value.clone() };
        records.commit(drafts(&trial, Some(&found))?).await?;
        Ok(true)
    }

    /// The latest share of the tenant, also one that is over.
    ///
    /// # Errors
    /// What the state refuses.
    pub async fn share_get(&self, tenant: &TenantId) -> Result<Option<Trial>, GovernError> {
        Ok(one(&self.stores.records, tenant, SHARE).await?.map(|found| found.value))
    }

    /// The plane's rows that lead to a tenant's trials, to be removed with the tenant.
    ///
    /// # Errors
    /// What the state refuses.
    pub async fn trial_rows(&self, tenant: &TenantId) -> Result<Vec<Draft>, StoreError> {
        let mut rows = Vec::new();
        for kind in [SHARE, BESIDE] {
            let id = row(kind, tenant);
            if self.stores.records.get::<TenantId>(&Scope::Plane, TRIALS, &id).await?.is_some() {
                rows.push(Draft::delete(&Scope::Plane, TRIALS, &id));
            }
        }
        Ok(rows)
    }

    /// Every tenant of which something may be tried.
    pub(crate) async fn trial_tenants(&self) -> Result<Vec<TenantId>, StoreError> {
        let most = u32::try_from(limits::POLICY_SHADOWS.saturating_mul(4)).unwrap_or(u32::MAX);
        let rows = self.stores.records.list::<TenantId>(&Scope::Plane, TRIALS, None, most).await?;
        Ok(rows.into_iter().map(|(_, row)| row.value).collect())
    }

    /// The share that is to be served, if there is one and all that must hold for it does.
    ///
    /// # Errors
    /// [`StoreError::Tampered`] where a record is not what its place says; what the state refuses.
    pub(crate) async fn share_in_force(&self, tenant: &TenantId) -> Result<Option<InForce>, GovernError> {
        let records = &self.stores.records;
        let Some(trial) = one(records, tenant, SHARE).await? else { return Ok(None) };
        let pending = Pending::begin(records, tenant).await?;
        let How::Share { base, .. } = trial.value.how else { return Err(tampered(TRIAL).into()) };
        if !pending.in_force(&trial.value) {
            return Ok(None);
        }
        let proposal = self.proposal_get(tenant, trial.value.proposal).await?;
        let approved = matches!(&proposal.state, ProposalState::Approved { by, content, .. }
            if *by != proposal.author && *content == proposal.content && *content == trial.value.content);
        let (_, serving) = self.stores.document(tenant).await?;
        if !approved || !pending.head.open.contains(&proposal.number) || serving != base {
            return Ok(None);
        }
        let document = self.side(tenant, Side::Proposal(proposal.number)).await?;
        Ok(Some(InForce { trial, document }))
    }

    /// The proposal that is to be asked beside what serves, if there is one that is not decided.
    ///
    /// # Errors
    /// As [`Governance::share_in_force`].
    pub(crate) async fn beside_in_force(&self, tenant: &TenantId) -> Result<Option<InForce>, GovernError> {
        let Some(trial) = one(&self.stores.records, tenant, BESIDE).await? else { return Ok(None) };
        let proposal = self.proposal_get(tenant, trial.value.proposal).await?;
        let undecided = matches!(proposal.state, ProposalState::Open | ProposalState::Approved { .. });
        if trial.value.ended.is_some() || !undecided || proposal.content != trial.value.content {
            return Ok(None);
        }
        let document = self.side(tenant, Side::Proposal(proposal.number)).await?;
        Ok(Some(InForce { trial, document }))
    }

    /// Refuses one trial more than there may be.
    async fn room(&self, tenant: &TenantId, kind: &str) -> Result<(), GovernError> {
        let most = u32::try_from(limits::POLICY_SHADOWS).unwrap_or(u32::MAX);
        let prefix = format!("{kind}/");
        let rows = self.stores.records.list::<TenantId>(&Scope::Plane, TRIALS, Some(&prefix), most).await?;
        let others = rows.iter().filter(|(id, row)| id.starts_with(&prefix) && row.value != *tenant).count();
        if others >= limits::POLICY_SHADOWS { Err(GovernError::TooManyTrials(others)) } else { Ok(()) }
    }
}

impl Pending {
    /// Whether this is the share that goes on.
    fn in_force(&self, trial: &Trial) -> bool {
        trial.ended.is_none() && self.head.share == Some(trial.entry)
    }

    /// Ends the share that goes on, if there is one and it is the one that is meant.
    pub(super) async fn share_end(
        &mut self,
        records: &Records,
        meant: impl FnOnce(&Trial) -> bool,
        by: Author,
        why: Ended,
        now: UnixTime,
    ) -> Result<Option<Trial>, StoreError> {
        let tenant = self.head.tenant.clone();
        if self.head.share.is_none() {
            return Ok(None);
        }
        let found = one(records, &tenant, SHARE).await?;
        let Some(found) = found.filter(|found| self.in_force(&found.value) && meant(&found.value)) else {
            return Ok(None);
        };
        let step = Step::Unstaged { proposal: found.value.proposal, why: why.to_string() };
        let trial = Trial { ended: Some(why), ..found.value.clone() };
        drafts(&trial, Some(&found))?.into_iter().for_each(|draft| self.also(draft));
        self.head.share = None;
        self.step(by, step, None, now)?;
        Ok(Some(trial))
    }

    /// Ends whatever is tried of a proposal: it is decided.
    pub(super) async fn trials_end(
        &mut self,
        records: &Records,
        proposal: u64,
        by: Author,
        now: UnixTime,
    ) -> Result<(), StoreError> {
        self.share_end(records, |trial| trial.proposal == proposal, by, Ended::Decided, now).await?;
        let tenant = self.head.tenant.clone();
        let found = one(records, &tenant, BESIDE).await?;
        let asked = |trial: &Trial| trial.ended.is_none() && trial.proposal == proposal;
        if let Some(found) = found.filter(|found| asked(&found.value)) {
            let trial = Trial { ended: Some(Ended::Decided), ..found.value.clone() };
            drafts(&trial, Some(&found))?.into_iter().for_each(|draft| self.also(draft));
        }
        Ok(())
    }
}

/// A tenant's trial of a kind. It says itself whose it is, and of which kind.
async fn one(records: &Records, tenant: &TenantId, kind: &str) -> Result<Option<Stored<Trial>>, StoreError> {
    let found = records.get::<Trial>(&Scope::from(tenant), TRIAL, kind).await?;
    match found {
        Some(found) if found.value.tenant != *tenant || found.value.how.id() != kind => Err(tampered(TRIAL)),
        found => Ok(found),
    }
}

/// A trial and the row that leads to it, written in place of what was found; the row is there while it goes on.
fn drafts(trial: &Trial, found: Option<&Stored<Trial>>) -> Result<Vec<Draft>, StoreError> {
    let (kind, tenant) = (trial.how.id(), &trial.tenant);
    let expect = found.map_or(Expect::Absent, |found| Expect::Revision(found.revision));
    let id = row(kind, tenant);
    Ok(vec![
        Draft::put(&Scope::from(tenant), TRIAL, kind, trial)?.expect(expect),
        match trial.ended {
            None => Draft::put(&Scope::Plane, TRIALS, &id, tenant)?,
            Some(_) => Draft::delete(&Scope::Plane, TRIALS, &id),
        },
    ])
}

fn row(kind: &str, tenant: &TenantId) -> String {
    format!("{kind}/{tenant}")
}
