//! Publishing at a time: an approved proposal that takes effect by itself, once, at whichever node is first.
//!
//! It guarantees that what takes effect at a time goes the way of any publishing (`proposal.rs`): still approved, made
//! against what serves, the approved bytes, past the gate. What does not, does not take effect later either: its schedule
//! ends with the reason. Exactly one node publishes, because publishing writes the proposal and the history at the
//! revisions they were read at. The plane's row only leads to the proposal: a time is what the proposal says, and a
//! schedule is in force while the history names the entry of the audit that set it.

use std::time::Duration;

use ringfence_context::{TenantId, UnixTime, limits};
use ringfence_store::{Draft, Expect, Kind, Scope, StoreError};
use serde::{Deserialize, Serialize};

use super::{
    Author, GovernError, Governance, Proposal, ProposalState, Published, Step,
    proposal::Approved,
    publish::Pending,
    record::{self, PROPOSAL, numbered},
};
use crate::{gate::Terms, stores::StoresError};

/// The plane's rows that lead to proposals with a time, in the order of their times.
const SCHEDULES: Kind = Kind::new("policy_schedules");

/// When a proposal takes effect.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Schedule {
    /// When, microseconds since the epoch.
    pub at: u64,
    /// Who says so, and publishes it.
    pub by: Author,
    /// The entry of the audit that says so.
    pub entry: u64,
    /// Why it is over, if it is.
    pub ended: Option<String>,
}

/// A proposal whose time may have come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Due {
    /// Whose.
    pub tenant: TenantId,
    /// Which.
    pub proposal: u64,
    /// When, microseconds since the epoch.
    pub at: u64,
}

impl Due {
    fn id(&self) -> String {
        let Self { tenant, proposal, at } = self;
        format!("{at:020}/{tenant}/{proposal}")
    }

    fn of(proposal: &Proposal, schedule: &Schedule) -> Self {
        Self { tenant: proposal.tenant.clone(), proposal: proposal.number, at: schedule.at }
    }
}

impl Governance {
    /// Lets an approved proposal that could be published now take effect at a time, in place of any other time.
    ///
    /// # Errors
    /// [`GovernError::Time`] where it is past or too far away; as [`Governance::publish`].
    pub async fn schedule(
        &self,
        tenant: &TenantId,
        number: u64,
        terms: Terms,
        by: Author,
        at: UnixTime,
    ) -> Result<Proposal, GovernError> {
        let now = self.stores.clock.now();
        let furthest = now.after(Duration::from_secs(limits::POLICY_SCHEDULE_SECONDS));
        if at <= now {
            return Err(GovernError::Time("that time has passed: to publish now, leave it out"));
        }
        if at > furthest {
            return Err(GovernError::Time("that is more than a year away"));
        }
        let Approved { mut proposal, mut pending, expect, .. } = self.approved(tenant, number, terms).await?;
        let step = Step::Scheduled { proposal: number, at: at.micros(), content: proposal.content.clone() };
        pending.step(by.clone(), step, None, now)?;
        let entry = pending.head.entries;
        let before = proposal.schedule.take();
        let schedule = Schedule { at: at.micros(), by, entry, ended: None };
        let due = Due::of(&proposal, &schedule);
        if let Some(before) = before.filter(|before| before.ended.is_none() && before.at != schedule.at) {
            pending.also(Draft::delete(&Scope::Plane, SCHEDULES, &Due::of(&proposal, &before).id()));
        }
        pending.also(Draft::put(&Scope::Plane, SCHEDULES, &due.id(), &due)?);
        pending.head.scheduled.insert(number, entry);
        proposal.schedule = Some(schedule);
        pending
            .also(Draft::put(&Scope::from(tenant), PROPOSAL, &numbered(number), &proposal)?.expect(expect));
        self.stores.records.commit(pending.drafts()?).await?;
        Ok(proposal)
    }

    /// Lets a proposal not take effect by itself; says whether it would have.
    ///
    /// # Errors
    /// [`GovernError::NoProposal`]; what the state refuses.
    pub async fn unschedule(
        &self,
        tenant: &TenantId,
        number: u64,
        by: Author,
        why: &str,
    ) -> Result<bool, GovernError> {
        let records = &self.stores.records;
        let mut pending = Pending::begin(records, tenant).await?;
        let found = record::one::<Proposal>(records, tenant, number).await?;
        let found = found.ok_or(GovernError::NoProposal(number))?;
        let mut proposal = found.value;
        if !pending.schedule_end(&mut proposal, why) {
            return Ok(false);
        }
        let draft = Draft::put(&Scope::from(tenant), PROPOSAL, &numbered(number), &proposal)?;
        pending.also(draft.expect(Expect::Revision(found.revision)));
        let step = Step::Unscheduled { proposal: number, why: why.to_owned() };
        pending.step(by, step, None, self.stores.clock.now())?;
        records.commit(pending.drafts()?).await?;
        Ok(true)
    }

    /// Proposals whose time has come, by their times, at most `limit`.
    ///
    /// # Errors
    /// What the state refuses.
    pub async fn due(&self, limit: u32) -> Result<Vec<Due>, StoreError> {
        let now = self.stores.clock.now().micros();
        let rows = self.stores.records.list::<Due>(&Scope::Plane, SCHEDULES, None, limit).await?;
        // One that is not where it says it is leads nowhere.
        let due = rows.into_iter().filter(|(id, row)| row.value.at <= now && *id == row.value.id());
        Ok(due.map(|(_, row)| row.value).collect())
    }

    /// Who has scheduled a proposal whose time has come. Nobody, where it has not, or where it is over: then the row that
    /// led here is removed.
    ///
    /// # Errors
    /// What the state refuses.
    pub async fn due_by(&self, due: &Due) -> Result<Option<Author>, GovernError> {
        let Due { tenant, proposal: number, at } = due;
        let records = &self.stores.records;
        let read = async {
            let pending = Pending::begin(records, tenant).await?;
            let found = record::one::<Proposal>(records, tenant, *number).await?;
            let schedule = found.and_then(|found| pending.schedule_of(&found.value).cloned());
            Ok::<_, StoreError>(schedule.filter(|schedule| schedule.at == *at))
        };
        match read.await {
            Ok(Some(schedule)) if schedule.at <= self.stores.clock.now().micros() => Ok(Some(schedule.by)),
            Ok(Some(_)) => Ok(None),
            Ok(None) | Err(StoreError::TenantUnknown) => {
                records.commit(vec![Draft::delete(&Scope::Plane, SCHEDULES, &due.id())]).await?;
                Ok(None)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Publishes a proposal whose time has come; or ends its schedule with the reason why it can't be.
    ///
    /// # Errors
    /// Where the state can't be read or written, or another step got in between: try again.
    pub async fn publish_due(
        &self,
        due: &Due,
        terms: Terms,
        by: Author,
    ) -> Result<Option<Published>, GovernError> {
        let Due { tenant, proposal, .. } = due;
        let refused = match self.publish(tenant, *proposal, terms, by).await {
            Ok(published) => return Ok(Some(published)),
            Err(GovernError::Stores(StoresError::Store(
                error @ (StoreError::Unavailable { .. }
                | StoreError::Conflict { .. }
                | StoreError::Full
                | StoreError::Newer { .. }),
            ))) => return Err(error.into()),
            Err(refused) => refused,
        };
        self.unschedule(tenant, *proposal, Author::Plane, &format!("not published: {refused}")).await?;
        Ok(None)
    }

    /// The plane's rows that lead to a tenant's schedules, to be removed with the tenant.
    ///
    /// # Errors
    /// What the state refuses.
    pub async fn schedule_rows(&self, tenant: &TenantId) -> Result<Vec<Draft>, StoreError> {
        let records = &self.stores.records;
        let (head, _) = record::head(records, tenant).await?;
        let mut rows = Vec::new();
        for number in head.scheduled.keys() {
            let found = record::one::<Proposal>(records, tenant, *number).await?.map(|found| found.value);
            let due = found.as_ref().and_then(|found| Some(Due::of(found, found.schedule.as_ref()?)));
            rows.extend(due.map(|due| Draft::delete(&Scope::Plane, SCHEDULES, &due.id())));
        }
        Ok(rows)
    }
}

impl Pending {
    /// The schedule of a proposal, if it is in force.
    fn schedule_of<'a>(&self, proposal: &'a Proposal) -> Option<&'a Schedule> {
        let named = self.head.scheduled.get(&proposal.number);
        let in_force = |schedule: &&Schedule| schedule.ended.is_none() && named == Some(&schedule.entry);
        let approved = matches!(proposal.state, ProposalState::Approved { .. });
        proposal.schedule.as_ref().filter(in_force).filter(|_| approved)
    }

    /// Ends a proposal's schedule, if it is in force; says whether it was. The proposal is still to be written.
    pub(super) fn schedule_end(&mut self, proposal: &mut Proposal, why: &str) -> bool {
        let Some(schedule) = self.schedule_of(proposal).cloned() else { return false };
        self.also(Draft::delete(&Scope::Plane, SCHEDULES, &Due::of(proposal, &schedule).id()));
        self.head.scheduled.remove(&proposal.number);
        proposal.schedule = Some(Schedule { ended: Some(why.to_owned()), ..schedule });
        true
    }
}
