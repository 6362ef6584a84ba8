//! Proposals: a change that waits until another operator has approved it, and then takes effect as it was approved.

use ringfence_context::{TenantId, limits};
use ringfence_store::{Draft, Expect, Revision, Scope};
use serde::{Deserialize, Serialize};

use super::{
    Author, Cause, Change, ChangeReason, GovernError, Governance, Published, Schedule, Side, Step,
    publish::Pending,
    record::{self, PROPOSAL, TEXT, numbered, tampered},
};
use crate::{
    Standing, StoreDocument,
    gate::{Publishable, Terms},
};

/// A proposed change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Proposal {
    /// Numbered from 1.
    pub number: u64,
    /// Whose. Compared with whose records it was found among.
    pub tenant: TenantId,
    /// Who proposes it.
    pub author: Author,
    /// Why.
    pub reason: ChangeReason,
    /// When, microseconds since the epoch.
    pub at: u64,
    /// The version it was made against.
    pub base: u64,
    /// What was known of it when it was proposed.
    pub standing: Standing,
    /// Names its text.
    pub content: String,
    /// What became of it.
    pub state: ProposalState,
    /// When it takes effect by itself, if it does or was to.
    #[serde(default)]
    pub schedule: Option<Schedule>,
}

/// What became of a proposal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ProposalState {
    /// Nothing yet.
    Open,
    /// It may be published.
    Approved {
        /// Who approved it.
        by: Author,
        /// When, microseconds since the epoch.
        at: u64,
        /// Names the text that was approved.
        content: String,
    },
    /// It never takes effect.
    Rejected {
        /// Who rejected it.
        by: Author,
        /// When, microseconds since the epoch.
        at: u64,
        /// Why.
        reason: ChangeReason,
    },
    /// It took effect.
    Published {
        /// Who approved it.
        approved: Option<Author>,
        /// Who published it.
        by: Author,
        /// When, microseconds since the epoch.
        at: u64,
        /// As which version.
        version: u64,
    },
}

impl ProposalState {
    /// Its name.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Approved { .. } => "approved",
            Self::Rejected { .. } => "rejected",
            Self::Published { .. } => "published",
        }
    }
}

/// What is published, once everything about it has been checked.
pub(super) struct Approved {
    pub(super) proposal: Proposal,
    reviewer: Author,
    publishable: Publishable,
    pub(super) pending: Pending,
    pub(super) revision: Revision,
    pub(super) expect: Expect,
}

impl Governance {
    /// Proposes that this text serve. It passes the gate now, and again when it is published.
    ///
    /// # Errors
    /// What is wrong with it; [`GovernError::Same`], [`GovernError::TooMany`].
    pub async fn propose(
        &self,
        tenant: &TenantId,
        side: Side,
        terms: Terms,
        author: Author,
        reason: ChangeReason,
    ) -> Result<Proposal, GovernError> {
        let document = self.side(tenant, side).await?;
        self.propose_text(document, terms, author, reason).await
    }

    /// Proposes that this very text serve its tenant. It passes the gate now, and again when it is published.
    ///
    /// # Errors
    /// As [`Governance::propose`].
    pub(crate) async fn propose_text(
        &self,
        document: StoreDocument,
        terms: Terms,
        author: Author,
        reason: ChangeReason,
    ) -> Result<Proposal, GovernError> {
        let (records, tenant) = (&self.stores.records, &document.tenant.clone());
        let (serving, _) = self.stores.document(tenant).await?;
        if document == serving {
            return Err(GovernError::Same);
        }
        let publishable = self.gate.check(document, terms).await?;
        self.stores.check_confined(publishable.document()).await?;
        let mut pending = Pending::begin(records, tenant).await?;
        let open = u64::try_from(pending.head.open.len()).unwrap_or(u64::MAX);
        if open >= limits::POLICY_PROPOSALS {
            return Err(GovernError::TooMany(open));
        }
        let (document, now) = (publishable.document(), self.stores.clock.now());
        pending.found(&serving, now)?;
        let proposal = Proposal {
            number: pending.head.proposals.saturating_add(1),
            tenant: tenant.clone(),
            author: author.clone(),
            reason: reason.clone(),
            at: now.micros(),
            base: pending.head.versions,
            standing: publishable.standing().clone(),
            content: document.digest().hex(),
            state: ProposalState::Open,
            schedule: None,
        };
        let Proposal { number, base, content, .. } = &proposal;
        let draft = Draft::put(&Scope::from(tenant), PROPOSAL, &numbered(*number), &proposal)?;
        pending.also(draft.expect(Expect::Absent));
        pending.head.proposals = *number;
        pending.head.open.insert(*number);
        pending.text_keep(content, document);
        let step = Step::Proposed { proposal: *number, base: *base, content: content.clone() };
        pending.step(author, step, Some(reason), now)?;
        records.commit(pending.drafts()?).await?;
        Ok(proposal)
    }

    /// Approves a proposal.
    ///
    /// # Errors
    /// [`GovernError::OwnProposal`]; [`GovernError::Decided`], [`GovernError::Stale`].
    pub async fn approve(
        &self,
        tenant: &TenantId,
        number: u64,
        reviewer: Author,
        reason: Option<ChangeReason>,
    ) -> Result<Proposal, GovernError> {
        let (mut proposal, mut pending, expect) = self.open(tenant, number).await?;
        if proposal.author == reviewer {
            return Err(GovernError::OwnProposal);
        }
        self.current(&proposal, &pending)?;
        let (now, content) = (self.stores.clock.now(), proposal.content.clone());
        // What is approved is there, and is what its name says.
        self.side(tenant, Side::Proposal(number)).await?;
        let step = Step::Approved { proposal: number, content: content.clone() };
        proposal.state = ProposalState::Approved { by: reviewer.clone(), at: now.micros(), content };
        pending
            .also(Draft::put(&Scope::from(tenant), PROPOSAL, &numbered(number), &proposal)?.expect(expect));
        pending.step(reviewer, step, reason, now)?;
        self.stores.records.commit(pending.drafts()?).await?;
        Ok(proposal)
    }

    /// Rejects a proposal, approved or not; its author takes it back so. Its text goes, the record of it stays.
    ///
    /// # Errors
    /// [`GovernError::Decided`].
    pub async fn reject(
        &self,
        tenant: &TenantId,
        number: u64,
        by: Author,
        reason: ChangeReason,
    ) -> Result<Proposal, GovernError> {
        let mut pending = Pending::begin(&self.stores.records, tenant).await?;
        let found = record::one::<Proposal>(&self.stores.records, tenant, number).await?;
        let found = found.ok_or(GovernError::NoProposal(number))?;
        let mut proposal = found.value;
        if !matches!(proposal.state, ProposalState::Open | ProposalState::Approved { .. }) {
            return Err(GovernError::Decided(number, proposal.state.name()));
        }
        let now = self.stores.clock.now();
        pending.schedule_end(&mut proposal, "it was rejected");
        proposal.state = ProposalState::Rejected { by: by.clone(), at: now.micros(), reason: reason.clone() };
        let draft = Draft::put(&Scope::from(tenant), PROPOSAL, &numbered(number), &proposal)?;
        pending.also(draft.expect(Expect::Revision(found.revision)));
        pending.head.open.remove(&number);
        pending.text_drop(&self.stores.records, &proposal.content).await?;
        pending.trials_end(&self.stores.records, number, by.clone(), now).await?;
        pending.step(by, Step::Rejected { proposal: number }, Some(reason), now)?;
        self.stores.records.commit(pending.drafts()?).await?;
        Ok(proposal)
    }

    /// Puts an approved proposal into effect, byte for byte what was approved. It passes the gate again.
    ///
    /// # Errors
    /// [`GovernError::NotApproved`], [`GovernError::Stale`]; what is wrong with it by now.
    pub async fn publish(
        &self,
        tenant: &TenantId,
        number: u64,
        terms: Terms,
        by: Author,
    ) -> Result<Published, GovernError> {
        let Approved { mut proposal, reviewer, publishable, mut pending, revision, expect } =
            self.approved(tenant, number, terms).await?;
        let change = Change {
            author: proposal.author.clone(),
            reviewer: Some(reviewer.clone()),
            publisher: Some(by.clone()),
            reason: proposal.reason.clone(),
            cause: Cause::Proposal(number),
        };
        let now = self.stores.clock.now();
        pending.trials_end(&self.stores.records, number, by.clone(), now).await?;
        pending.schedule_end(&mut proposal, "it was published");
        proposal.state = ProposalState::Published {
            approved: Some(reviewer),
            by,
            at: now.micros(),
            version: pending.head.versions.saturating_add(1),
        };
        let draft = Draft::put(&Scope::from(tenant), PROPOSAL, &numbered(number), &proposal)?;
        pending.also(draft.expect(expect));
        pending.head.open.remove(&number);
        Ok(self.stores.publish(&publishable, revision, change, pending, Vec::new()).await?)
    }

    /// An approved proposal, with everything checked that must hold when it takes effect.
    pub(super) async fn approved(
        &self,
        tenant: &TenantId,
        number: u64,
        terms: Terms,
    ) -> Result<Approved, GovernError> {
        let records = &self.stores.records;
        let (serving, revision) = self.stores.document(tenant).await?;
        let pending = Pending::begin(records, tenant).await?;
        let found = record::one::<Proposal>(records, tenant, number).await?;
        let found = found.ok_or(GovernError::NoProposal(number))?;
        let proposal = found.value;
        let ProposalState::Approved { by: reviewer, content: approved, .. } = &proposal.state else {
            return Err(GovernError::NotApproved(number, proposal.state.name()));
        };
        self.current(&proposal, &pending)?;
        // Of one that was rejected or published, an older copy may have been put back: the history knows.
        if proposal.content != *approved || !pending.head.open.contains(&number) {
            return Err(tampered(PROPOSAL).into());
        }
        if *reviewer == proposal.author {
            return Err(GovernError::OwnProposal);
        }
        if serving.digest().hex() != pending.head.content {
            // Somebody changed the store past its history.
            let (base, serving) = (proposal.base, pending.head.versions.saturating_add(1));
            return Err(GovernError::Stale { number, base, serving });
        }
        let document = record::text(records, tenant, approved).await?.ok_or_else(|| tampered(TEXT))?;
        let publishable = self.gate.check(document, terms).await?;
        self.stores.check_confined(publishable.document()).await?;
        let (reviewer, expect) = (reviewer.clone(), Expect::Revision(found.revision));
        Ok(Approved { proposal, reviewer, publishable, pending, revision, expect })
    }

    /// Proposals by ascending number, those after `after`.
    ///
    /// # Errors
    /// What the state refuses.
    pub async fn proposal_list(&self, tenant: &TenantId, after: u64) -> Result<Vec<Proposal>, GovernError> {
        self.stores.document(tenant).await?;
        Ok(record::several(&self.stores.records, tenant, after, limits::POLICY_PAGE).await?)
    }

    /// One proposal.
    ///
    /// # Errors
    /// [`GovernError::NoProposal`].
    pub async fn proposal_get(&self, tenant: &TenantId, number: u64) -> Result<Proposal, GovernError> {
        let found = record::one::<Proposal>(&self.stores.records, tenant, number).await?;
        Ok(found.ok_or(GovernError::NoProposal(number))?.value)
    }

    /// An undecided proposal, to be decided.
    async fn open(&self, tenant: &TenantId, number: u64) -> Result<(Proposal, Pending, Expect), GovernError> {
        let pending = Pending::begin(&self.stores.records, tenant).await?;
        let found = record::one::<Proposal>(&self.stores.records, tenant, number).await?;
        let found = found.ok_or(GovernError::NoProposal(number))?;
        match found.value.state {
            ProposalState::Open if !pending.head.open.contains(&number) => Err(tampered(PROPOSAL).into()),
            ProposalState::Open => Ok((found.value, pending, Expect::Revision(found.revision))),
            state => Err(GovernError::Decided(number, state.name())),
        }
    }

    /// What it was made against is what serves.
    fn current(&self, proposal: &Proposal, pending: &Pending) -> Result<(), GovernError> {
        let Proposal { number, base, .. } = *proposal;
        let serving = pending.head.versions;
        if base == serving { Ok(()) } else { Err(GovernError::Stale { number, base, serving }) }
    }
}
