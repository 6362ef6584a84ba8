//! Moves of tenants' rows between places: begun, brought, switched, and then confirmed or undone; taken up again after a crash.
//!
//! It guarantees that a tenant is served at one place at any moment, which is the one in its record; that it is served at another
//! only when every row was compared there; that this is one commit, with the entry that says who; and that until it is
//! confirmed it can be brought back with all that was written meanwhile. Killed anywhere, it goes on from what is on record: up to
//! the switch the tenant is where it was, and from then on where it was moved to.

use std::{collections::BTreeMap, time::Duration};

use ringfence_context::{Author, By, ChangeReason, TenantId, UnixTime};
use ringfence_guard::tenant_move::{MoveError, Side};
use ringfence_store::{Draft, Expect, Kind, MapStep, Revision, Scope, StoreError, Stored};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;
use tokio_postgres::Client;

use crate::{
    data::{DataError, Drawn, MoveProgress, Place, Shape, Ways},
    tenant::{Tenant, TenantError, TenantStatus, server_taken},
    workflow::{TRIES, Workflow},
};

const DATA_MOVE: Kind = Kind::new("data_move");

/// How long before a node that stands by looks again whether the one that drives a move is there.
const STAND_BY: Duration = Duration::from_secs(1);

/// How often a step is made again that failed for something that passes.
const AGAIN: u32 = 8;

/// How long before the first of these; twice as long each time.
const PAUSE: Duration = Duration::from_millis(100);

/// A move of a tenant's rows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DataMove {
    /// Whose.
    pub tenant: TenantId,
    /// Where they were.
    pub from: Place,
    /// Where they are to be.
    pub to: Place,
    /// What is made for it is called by this.
    name: Drawn,
    /// How far it is.
    pub state: DataMoveState,
    /// Who began it.
    pub who: Author,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<ChangeReason>,
    /// Why it could not be undone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fault: Option<String>,
    /// How many rows were compared, by table, when the tenant was switched.
    #[serde(default)]
    pub rows: BTreeMap<String, i64>,
    /// For how long the tenant's transactions waited then, or when it was brought back, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held_ms: Option<u64>,
}

/// How far a move is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DataMoveState {
    /// The rows are being brought; the tenant is where it was.
    Bringing,
    /// The tenant is where it was moved to, and waits to be served there.
    Arrived,
    /// The tenant is where it was moved to, and can be brought back.
    Moved,
    /// It is being brought back; it is where it was moved to.
    Undoing,
    /// Where it was is being removed.
    Confirming,
    /// Where it was is gone.
    Confirmed,
    /// It is where it was; what was made for the move is being removed.
    Returned,
    /// It is where it was.
    Undone,
    /// It is where it was, because of this; what was made for the move is being removed.
    Stopping(String),
    /// It is where it was, because of this.
    Stopped(String),
}

impl DataMoveState {
    /// Whether there is still something to be done about it.
    fn is_open(&self) -> bool {
        !matches!(self, Self::Confirmed | Self::Undone | Self::Stopped(_))
    }

    /// Whether some node is to go on with it by itself.
    fn is_driven(&self) -> bool {
        self.is_open() && *self != Self::Moved
    }

    fn name(&self) -> &'static str {
        match self {
            Self::Bringing | Self::Arrived => "being made",
            Self::Moved => "made, and neither confirmed nor undone",
            Self::Undoing => "being undone",
            Self::Confirming => "being confirmed",
            Self::Confirmed => "confirmed",
            Self::Returned => "being cleared away",
            Self::Undone => "undone",
            Self::Stopping(_) => "being stopped",
            Self::Stopped(_) => "stopped",
        }
    }
}

/// A move, and how far the node that drives it is.
#[derive(Debug, Serialize)]
pub struct DataMoveShown {
    #[serde(flatten)]
    record: DataMove,
    progress: Option<MoveProgress>,
}

impl DataMove {
    fn by(&self, at: UnixTime) -> By {
        By { who: self.who.clone(), why: self.why.clone(), at }
    }

    fn draft(&self, expect: Expect) -> Result<Draft, StoreError> {
        Ok(Draft::put(&Scope::Plane, DATA_MOVE, self.tenant.as_str(), self)?.expect(expect))
    }
}

/// Which way a tenant is switched.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    There,
    Back,
}

impl Workflow {
    async fn data_move_get(&self, id: &TenantId) -> Result<Option<Stored<DataMove>>, TenantError> {
        Ok(self.records.get(&Scope::Plane, DATA_MOVE, id.as_str()).await?)
    }

    /// The latest move of a tenant's rows.
    ///
    /// # Errors
    /// [`TenantError::NoMove`].
    pub async fn data_move_show(&self, id: &TenantId) -> Result<DataMoveShown, TenantError> {
        let record = self.data_move_get(id).await?.ok_or(TenantError::NoMove)?.value;
        let progress = self.data.moves().progress(id).filter(|_| record.state.is_driven());
        Ok(DataMoveShown { record, progress })
    }

    /// Refuses where a move of the tenant's rows is open.
    pub(crate) async fn data_move_none(&self, id: &TenantId) -> Result<(), TenantError> {
        match self.data_move_get(id).await? {
            Some(found) if found.value.state.is_open() => Err(TenantError::Move(found.value.state.name())),
            _ => Ok(()),
        }
    }

    /// Begins to move a tenant's rows to a place of this shape. Returns at once; it is driven by itself.
    ///
    /// # Errors
    /// [`TenantError::Move`] where one is open, [`TenantError::Status`], [`TenantError::There`].
    pub async fn data_move_begin(
        &self,
        id: &TenantId,
        to: Shape,
        by: &By,
    ) -> Result<DataMoveShown, TenantError> {
        let Stored { value: tenant, revision: read } = self.tenants.tenant_get(id).await?;
        movable(&tenant)?;
        let latest = self.data_move_get(id).await?;
        if let Some(found) = latest.as_ref().filter(|found| found.value.state.is_open()) {
            return Err(TenantError::Move(found.value.state.name()));
        }
        if to == tenant.place.shape() {
            return Err(TenantError::There(to));
        }
        let taken = if to == Shape::Server { self.tenants.server_list().await? } else { Vec::new() };
        let begun = DataMove {
            tenant: id.clone(),
            from: tenant.place.clone(),
            to: self.data.draw(to, &taken)?,
            name: Drawn::new().map_err(DataError::from)?,
            state: DataMoveState::Bringing,
            who: by.who.clone(),
            why: by.why.clone(),
            fault: None,
            rows: BTreeMap::new(),
            held_ms: None,
        };
        let expect = latest.map_or(Expect::Absent, |found| Expect::Revision(found.revision));
        // Or it is being removed by now.
        let stands = self.tenants.draft(&tenant, Expect::Revision(read))?;
        let mut drafts = vec![begun.draft(expect)?, stands];
        drafts.extend(server_taken(&begun.to, id)?);
        drafts.extend(self.records.map_entry(id, &MapStep::DataMoveBegun { to: to.to_string() }, by).await?);
        self.records.commit(drafts).await?;
        self.data_move_spawn(id);
        Ok(DataMoveShown { record: begun, progress: None })
    }

    /// Ends a move that is being made: the tenant stays where it is.
    ///
    /// # Errors
    /// [`TenantError::NoMove`]; [`TenantError::Move`] where it is made already.
    pub async fn data_move_stop(&self, id: &TenantId) -> Result<DataMoveShown, TenantError> {
        self.data_move_turn(id, |state| match state {
            DataMoveState::Bringing => Some(DataMoveState::Stopping("an operator stopped it".to_owned())),
            _ => None,
        })
        .await
    }

    /// Removes where the tenant was: there is no way back then.
    ///
    /// # Errors
    /// [`TenantError::NoMove`]; [`TenantError::Move`] where it is not made.
    pub async fn data_move_confirm(&self, id: &TenantId) -> Result<DataMoveShown, TenantError> {
        self.data_move_turn(id, |state| match state {
            DataMoveState::Moved => Some(DataMoveState::Confirming),
            _ => None,
        })
        .await
    }

    /// Brings the tenant back to where it was, with what was written since.
    ///
    /// # Errors
    /// [`TenantError::NoMove`]; [`TenantError::Move`] where it is not made.
    pub async fn data_move_undo(&self, id: &TenantId) -> Result<DataMoveShown, TenantError> {
        self.data_move_turn(id, |state| match state {
            DataMoveState::Moved => Some(DataMoveState::Undoing),
            _ => None,
        })
        .await
    }

    async fn data_move_turn(
        &self,
        id: &TenantId,
        turn: impl Fn(&DataMoveState) -> Option<DataMoveState>,
    ) -> Result<DataMoveShown, TenantError> {
        let found = self.data_move_get(id).await?.ok_or(TenantError::NoMove)?;
        let state = turn(&found.value.state).ok_or(TenantError::Move(found.value.state.name()))?;
        let record = DataMove { state, ..found.value };
        self.records.commit(vec![record.draft(Expect::Revision(found.revision))?]).await?;
        self.data_move_spawn(id);
        Ok(DataMoveShown { record, progress: None })
    }

    /// Goes on with the moves that an earlier run has left open.
    ///
    /// # Errors
    /// Where the state can't be read.
    pub(crate) async fn data_moves_take_up(&self) -> Result<(), TenantError> {
        let mut after: Option<String> = None;
        loop {
            let page = self.records.list::<DataMove>(&Scope::Plane, DATA_MOVE, after.as_deref(), 500).await?;
            let Some((last, _)) = page.last() else { return Ok(()) };
            after = Some(last.clone());
            for (_, found) in page.into_iter().filter(|(_, found)| found.value.state.is_open()) {
                tracing::info!(tenant = %found.value.tenant, state = found.value.state.name(), "a move of rows goes on");
                self.data_move_spawn(&found.value.tenant);
            }
        }
    }

    /// Drives a move until somebody has to decide. One task at a time does, on whichever node: another stands by, and goes on where
    /// the first was ended.
    fn data_move_spawn(&self, id: &TenantId) {
        let (workflow, id) = (self.clone(), id.clone());
        tokio::spawn(async move {
            let turn = workflow.data.moves().turn(&id);
            let _at_it = turn.lock().await;
            loop {
                match workflow.data.move_lock(&id).await {
                    Ok(Some(_held)) => return workflow.data_move_drive(&id).await,
                    Ok(None) => {}
                    Err(error) => {
                        tracing::warn!(tenant = %id, %error, "whether a move of rows is driven is not known")
                    }
                }
                match workflow.data_move_get(&id).await {
                    Ok(Some(found)) if found.value.state.is_driven() => tokio::time::sleep(STAND_BY).await,
                    Ok(_) => return,
                    Err(_) => tokio::time::sleep(STAND_BY).await,
                }
            }
        });
    }

    async fn data_move_drive(&self, id: &TenantId) {
        let mut failed: u32 = 0;
        loop {
            let step = match self.data_move_get(id).await {
                Ok(Some(found)) => self.data_move_step(found).await,
                Ok(None) => return,
                Err(error) => Err(error),
            };
            match step {
                Ok(true) => failed = 0,
                Ok(false) => return,
                Err(error) if failed < AGAIN && !matches!(error, TenantError::Hindered(_)) => {
                    tracing::warn!(tenant = %id, %error, failed, "a step of a move of rows is made again");
                    tokio::time::sleep(PAUSE.saturating_mul(1 << failed)).await;
                    failed += 1;
                }
                Err(error) => match self.data_move_give_up(id, &error).await {
                    Ok(true) => failed = 0,
                    Ok(false) => return,
                    Err(error) => {
                        tracing::error!(tenant = %id, %error, "a move of rows can't be given up");
                        return;
                    }
                },
            }
        }
    }

    /// Ends what does not go on where that leaves the tenant where it is; says whether there is something to be done then.
    async fn data_move_give_up(&self, id: &TenantId, why: &TenantError) -> Result<bool, TenantError> {
        let Some(Stored { value: record, revision }) = self.data_move_get(id).await? else {
            return Ok(false);
        };
        let (state, fault) = match &record.state {
            DataMoveState::Bringing => (DataMoveState::Stopping(why.to_string()), None),
            DataMoveState::Undoing => (DataMoveState::Moved, Some(why.to_string())),
            state => {
                tracing::error!(tenant = %id, state = state.name(), error = %why, "a move of rows does not go on: see to it, and restart the plane");
                self.data
                    .moves()
                    .tell(id, MoveProgress { doing: why.to_string(), ..MoveProgress::default() });
                return Ok(false);
            }
        };
        tracing::warn!(tenant = %id, %why, "a move of rows is given up: the tenant is served where it is");
        let record = DataMove { state, fault, ..record };
        self.records.commit(vec![record.draft(Expect::Revision(revision))?]).await?;
        Ok(true)
    }

    /// Makes one step; says whether there is another to be made.
    async fn data_move_step(&self, found: Stored<DataMove>) -> Result<bool, TenantError> {
        let Stored { value: record, revision } = found;
        let id = record.tenant.clone();
        if record.state.is_open() {
            self.data.place_start(&record.from).await?;
            self.data.place_start(&record.to).await?;
        }
        match &record.state {
            DataMoveState::Confirmed | DataMoveState::Undone | DataMoveState::Stopped(_) => Ok(false),
            DataMoveState::Moved => Ok(false),
            DataMoveState::Arrived => self.data_move_served(&id, None).await.map(|()| false),
            DataMoveState::Bringing => self.data_move_bring(&record, revision).await.map(|()| true),
            DataMoveState::Undoing => self.data_move_return(&record, revision).await.map(|()| true),
            DataMoveState::Returned => {
                self.data_move_serve(&id).await?;
                self.data_move_end(record, revision, DataMoveState::Undone, None).await.map(|()| true)
            }
            DataMoveState::Confirming => {
                let step = MapStep::DataMoveConfirmed { to: record.to.shape().to_string() };
                self.data_move_end(record, revision, DataMoveState::Confirmed, Some(step))
                    .await
                    .map(|()| true)
            }
            DataMoveState::Stopping(why) => {
                self.data_move_serve(&id).await?;
                let (to, why) = (record.to.shape().to_string(), why.clone());
                let state = DataMoveState::Stopped(why.clone());
                let step = MapStep::DataMoveStopped { to, why };
                self.data_move_end(record, revision, state, Some(step)).await.map(|()| true)
            }
        }
    }

    /// Makes the place, brings all rows to it, and switches the tenant.
    async fn data_move_bring(&self, record: &DataMove, revision: Revision) -> Result<(), TenantError> {
        let DataMove { tenant: id, from, to, name, .. } = record;
        // Left held by a run that was killed in the middle of the switch.
        self.data_move_serve(id).await?;
        movable(&self.tenants.tenant_get(id).await?.value)
            .map_err(|error| TenantError::Hindered(error.to_string()))?;
        let tell = |doing: &str| {
            self.data.moves().tell(id, MoveProgress { doing: doing.to_owned(), ..MoveProgress::default() });
        };
        tell("makes the place");
        self.data.place_make(id, to).await?;
        let mut ways = self.data.ways(id, name, from, to)?;
        if let Some(ways) = &mut ways {
            ways.bring(|progress| self.data.moves().tell(id, progress)).await.map_err(hindered)?;
        }
        tell("switches");
        self.data_move_switch(record, revision, ways, Way::There).await
    }

    /// Brings what was written since back, and switches the tenant.
    async fn data_move_return(&self, record: &DataMove, revision: Revision) -> Result<(), TenantError> {
        let DataMove { tenant: id, from, to, name, .. } = record;
        self.data_move_serve(id).await?;
        let mut ways = self.data.ways(id, name, from, to)?;
        if let Some(ways) = &mut ways {
            ways.return_bring().await.map_err(hindered)?;
        }
        self.data_move_switch(record, revision, ways, Way::Back).await
    }

    /// Has the tenant's transactions wait, brings the rest, and writes down where it is from now on. Where that fails it is served
    /// where it was.
    async fn data_move_switch(
        &self,
        record: &DataMove,
        revision: Revision,
        ways: Option<Ways>,
        way: Way,
    ) -> Result<(), TenantError> {
        let id = &record.tenant;
        let leave = match way {
            Way::There => &record.from,
            Way::Back => &record.to,
        };
        let leave = self.data.place_connect(leave).await?;
        let begun = tokio::time::Instant::now();
        let held = self.tenant_change(id, |tenant| tenant.held = true).await?;
        let switched = self.data_move_switched((record, revision), (ways, way), &leave, &held).await;
        // Whatever became of it, the tenant is served where its record says.
        self.data_move_served(id, Some(begun)).await?;
        switched
    }

    /// Has the tenant served where its record says; where that is another place than before, writes down that it is, and how long
    /// it waited.
    async fn data_move_served(&self, id: &TenantId, begun: Option<Instant>) -> Result<(), TenantError> {
        self.data_move_serve(id).await?;
        let held_ms = begun.and_then(|begun| u64::try_from(begun.elapsed().as_millis()).ok());
        let Some(Stored { value: record, revision }) = self.data_move_get(id).await? else { return Ok(()) };
        let state = match record.state {
            DataMoveState::Arrived => DataMoveState::Moved,
            DataMoveState::Returned => DataMoveState::Returned,
            _ => return Ok(()),
        };
        let record = DataMove { state, held_ms, ..record };
        Ok(self.records.commit(vec![record.draft(Expect::Revision(revision))?]).await.map(drop)?)
    }

    async fn data_move_switched(
        &self,
        (record, revision): (&DataMove, Revision),
        (ways, way): (Option<Ways>, Way),
        leave: &Client,
        (tenant, read): &(Tenant, Revision),
    ) -> Result<(), TenantError> {
        self.data.place_bar(&record.tenant, leave).await?;
        let rows = match (ways, way) {
            (Some(mut ways), Way::There) => ways.settle().await.map_err(hindered)?,
            (Some(mut ways), Way::Back) => ways.return_settle().await.map_err(hindered)?,
            (None, _) => record.rows.clone(),
        };
        let (state, reach) = match way {
            Way::There => (DataMoveState::Arrived, &record.to),
            Way::Back => (DataMoveState::Returned, &record.from),
        };
        let record = DataMove { state, rows, ..record.clone() };
        // Held until it is admitted there: another node would lead it to where it is refused.
        let tenant = Tenant { place: reach.clone(), ..tenant.clone() };
        let step = MapStep::DataMoved { to: reach.shape().to_string() };
        let mut tries = 0;
        loop {
            tries += 1;
            let mut drafts = vec![
                self.tenants.draft(&tenant, Expect::Revision(*read))?,
                record.draft(Expect::Revision(revision))?,
            ];
            drafts.extend(self.records.map_entry(&tenant.id, &step, &record.by(self.clock.now())).await?);
            match self.records.commit(drafts).await {
                // Somebody else's entry may have been first; where it was about this tenant or this move, all is looked at anew.
                Err(conflict @ StoreError::Conflict { .. }) if tries < TRIES => {
                    let now = self.data_move_get(&tenant.id).await?.map(|now| now.revision);
                    if now != Some(revision) || self.tenants.tenant_get(&tenant.id).await?.revision != *read {
                        return Err(conflict.into());
                    }
                }
                outcome => return Ok(outcome.map(drop)?),
            }
        }
    }

    /// Has the tenant served where its record says, if it is to be served, and lets its transactions go on.
    async fn data_move_serve(&self, id: &TenantId) -> Result<(), TenantError> {
        let tenant = self.tenants.tenant_get(id).await?.value;
        if tenant.status == TenantStatus::Active {
            let key = self.pools.pool_get(id).await?.database_key();
            self.data.place_admit(id, &tenant.place, &key).await?;
            // Who was suspended meanwhile was barred before its key was given back.
            if self.tenants.tenant_get(id).await?.value.status != TenantStatus::Active {
                self.data.place_bar(id, &self.data.place_connect(&tenant.place).await?).await?;
            }
        }
        if tenant.held {
            self.tenant_change(id, |tenant| tenant.held = false).await?;
        } else {
            self.data.places().put(&tenant);
        }
        Ok(())
    }

    /// Removes the place that the tenant is not at, and what was made for the move.
    async fn data_move_remove(&self, record: &DataMove) -> Result<(), TenantError> {
        let DataMove { tenant: id, from, to, name, .. } = record;
        let at = self.tenants.tenant_get(id).await?.value.place;
        let (gone, stays) = if at == *from { (to, from) } else { (from, to) };
        if !self.data.place_exists(gone).await? {
            // The way is not known without it; where the tenant is, its slot has a name.
            self.data.place_forget(id, name, stays).await?;
            // Its removal may have been cut off.
            self.data.place_remove(id, gone, false).await?;
            return Ok(());
        }
        let ways = self.data.ways(id, name, from, to)?;
        let rows = ways.is_some();
        if let Some(mut ways) = ways {
            ways.forget_at(Side::Source).await.map_err(DataError::Move)?;
            ways.forget_at(Side::Target).await.map_err(DataError::Move)?;
        }
        self.data.place_remove(id, gone, rows).await?;
        Ok(())
    }

    async fn data_move_end(
        &self,
        record: DataMove,
        revision: Revision,
        state: DataMoveState,
        step: Option<MapStep>,
    ) -> Result<(), TenantError> {
        self.data_move_remove(&record).await?;
        let record = DataMove { state, ..record };
        let mut drafts = vec![record.draft(Expect::Revision(revision))?];
        let by = record.by(self.clock.now());
        if let Some(step) = step {
            drafts.extend(self.records.map_entry(&record.tenant, &step, &by).await?);
        }
        Ok(self.records.commit(drafts).await.map(drop)?)
    }
}

/// Whether a tenant is in a state in which its rows may be moved.
fn movable(tenant: &Tenant) -> Result<(), TenantError> {
    match tenant.status {
        TenantStatus::Active | TenantStatus::Suspended => Ok(()),
        status => Err(TenantError::Status(status, "active or suspended")),
    }
}

/// What somebody has to see to, or what passes: more may have been written since both places were compared than is remembered, and
/// nobody is kept waiting while all is compared once more.
fn hindered(error: MoveError) -> TenantError {
    if error.is_passing() || matches!(error, MoveError::Unverified) {
        TenantError::Data(DataError::Move(error))
    } else {
        TenantError::Hindered(error.to_string())
    }
}
