//! Moves a tenant's policies between a store of its own and a shared one while they are asked (SYSTEMS X-10).
//!
//! Three commits. The first writes a copy the other way and says in the row of the map that the tenant is being moved; from
//! then on every question is asked of both, and answered by what served before. The last either puts the copy in its place
//! and deletes what served, or deletes the copy. It guarantees that the tenant is in exactly one of the two at every
//! moment, a crash included, for one row says which; that no answer but the one from where it is reaches anybody; that
//! nothing is put in place that has answered one question otherwise; and that no change of policies is lost: they are
//! refused meanwhile, and one that got in all the same ends the move.

use std::sync::Arc;

use ringfence_context::{Author, By, TenantId};
use ringfence_store::{Draft, Expect, Kind, MapStep, Revision, Scope, StoreError, Stored};
use serde::{Deserialize, Serialize};

use super::{Held, Kept, Mode, SharedStore, StoreMapRow, Watch, held::store_map_put};
use crate::{
    StoreDocument,
    stores::{Stores, StoresError},
};

/// The latest move of each tenant, by its id.
pub(crate) const STORE_MOVE: Kind = Kind::new("policy_store_move");

/// How many open moves are read at once.
const PAGE: u32 = 500;

/// How long both are compared: until so many questions were asked, or so much time has passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Compared {
    /// Questions.
    pub questions: u64,
    /// Seconds.
    pub seconds: u64,
}

/// A move.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StoreMove {
    /// Whose store.
    pub tenant: TenantId,
    /// Whereto.
    pub to: Mode,
    /// How long both are compared.
    pub compared: Compared,
    /// When it began, microseconds since the epoch.
    pub began: u64,
    /// Questions that were asked of both.
    pub asked: u64,
    /// Questions that were answered differently.
    pub different: u64,
    /// What became of it.
    pub state: MoveState,
}

/// What became of a move.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MoveState {
    /// Who is named wants it, and somebody else has to approve it.
    Proposed(Author),
    /// Both are asked.
    Comparing,
    /// The tenant's store is where it was to be.
    Done,
    /// It is where it was, and why.
    Stopped(String),
}

impl Stores {
    /// Puts down that somebody wants a move: nothing else is done. It takes the place of what was proposed before.
    ///
    /// # Errors
    /// [`StoresError::HeldSo`], [`StoresError::Moving`]; a conflict where something changes at the same time.
    pub async fn move_propose(
        &self,
        tenant: &TenantId,
        to: Mode,
        compared: Compared,
        by: &By,
    ) -> Result<StoreMove, StoresError> {
        let latest = self.records.get::<StoreMove>(&Scope::Plane, STORE_MOVE, tenant.as_str()).await?;
        let row = self.map_row(tenant).await?.ok_or(StoresError::Missing)?.value;
        can_move(&row, to)?;
        let proposed = self.new_move(tenant, to, compared, MoveState::Proposed(by.who.clone()));
        // A move that began meanwhile has changed it.
        let expected = latest.map_or(Expect::Absent, |latest| Expect::Revision(latest.revision));
        let step = MapStep::StoreMoveProposed { to: to.place().to_owned() };
        let mut drafts = vec![put(&proposed)?.expect(expected)];
        drafts.extend(self.records.map_entry(tenant, &step, by).await?);
        self.records.commit(drafts).await?;
        Ok(proposed)
    }

    /// The move that is proposed, who proposed it, and at which revision.
    ///
    /// # Errors
    /// [`StoresError::NoMove`].
    pub async fn move_proposed(
        &self,
        tenant: &TenantId,
    ) -> Result<(StoreMove, Author, Revision), StoresError> {
        let latest = self.records.get::<StoreMove>(&Scope::Plane, STORE_MOVE, tenant.as_str()).await?;
        let latest = latest.filter(|latest| latest.value.tenant == *tenant).ok_or(StoresError::NoMove)?;
        match latest.value.state.clone() {
            MoveState::Proposed(who) => Ok((latest.value, who, latest.revision)),
            _ => Err(StoresError::NoMove),
        }
    }

    /// Takes back what is proposed.
    ///
    /// # Errors
    /// [`StoresError::NoMove`]; a conflict where something changes at the same time.
    pub async fn move_withdraw(
        &self,
        tenant: &TenantId,
        why: &str,
        by: &By,
    ) -> Result<StoreMove, StoresError> {
        let (proposed, _, revision) = self.move_proposed(tenant).await?;
        let ended = StoreMove { state: MoveState::Stopped(why.to_owned()), ..proposed };
        let step = MapStep::StoreMoveStopped { to: ended.to.place().to_owned(), why: why.to_owned() };
        let mut drafts = vec![put(&ended)?.expect(Expect::Revision(revision))];
        drafts.extend(self.records.map_entry(tenant, &step, by).await?);
        self.records.commit(drafts).await?;
        Ok(ended)
    }

    /// Begins a move: `base` is what the tenant's tier has in common, where it is moved to a shared store; `proposed` the
    /// revision of what was proposed and approved, which has to be the latest still.
    ///
    /// # Errors
    /// [`StoresError::HeldSo`], [`StoresError::Moving`]; [`StoresError::Confined`] where its policies do not fit there.
    pub async fn move_begin(
        &self,
        tenant: &TenantId,
        to: Mode,
        base: &SharedStore,
        compared: Compared,
        by: &By,
        proposed: Option<Revision>,
    ) -> Result<StoreMove, StoresError> {
        let Kept { row: Stored { value: mut row, revision }, body, owner } = self.kept(tenant).await?;
        can_move(&row, to)?;
        let document = own(tenant, &owner, self.whole(body.value).await?)?;
        let mut drafts = Vec::new();
        let (held, copy) = match to {
            Mode::Own => (Held::Own, self.body_of(&document, &Held::Own).await?),
            Mode::Shared => {
                drafts.extend(self.shared_put(base).await?);
                (Held::Shared(base.id()), self.cut(&document, base).await?)
            }
        };
        let began = self.new_move(tenant, to, compared, MoveState::Comparing);
        let expected = proposed.map_or(Expect::Any, Expect::Revision);
        row.moving = Some(held);
        drafts.extend([
            copy.put(tenant)?,
            store_map_put(&row)?.expect(Expect::Revision(revision)),
            put(&began)?.expect(expected),
        ]);
        let step = MapStep::StoreMoveBegun { to: to.place().to_owned() };
        drafts.extend(self.records.map_entry(tenant, &step, by).await?);
        self.commit_and_enforce(drafts).await?;
        Ok(began)
    }

    fn new_move(&self, tenant: &TenantId, to: Mode, compared: Compared, state: MoveState) -> StoreMove {
        let (tenant, began) = (tenant.clone(), self.clock.now().micros());
        StoreMove { tenant, to, compared, began, asked: 0, different: 0, state }
    }

    /// What is being compared of the tenant's move, on this node.
    ///
    /// # Errors
    /// [`StoresError::NoMove`].
    pub async fn move_watch(&self, tenant: &TenantId) -> Result<Arc<Watch>, StoresError> {
        let row = self.map_row(tenant).await?.filter(|row| row.value.moving.is_some());
        Ok(self.watches.of(tenant, row.ok_or(StoresError::NoMove)?.revision))
    }

    /// Ends a move: puts the copy in its place, with these records in the same commit, unless it has answered anything
    /// otherwise or something has changed meanwhile. Says which.
    ///
    /// # Errors
    /// [`StoresError::NoMove`]; a conflict where something changes at the same time: then nothing has happened.
    pub async fn move_finish(&self, tenant: &TenantId, also: Vec<Draft>) -> Result<StoreMove, StoresError> {
        let kept = self.kept(tenant).await?;
        let to = kept.row.value.moving.clone().ok_or(StoresError::NoMove)?;
        let watch = self.watches.of(tenant, kept.row.revision);
        let by = By::plane(self.clock.now());
        if let Some(first) = watch.first() {
            return self.move_end(kept, to, &watch, Some(first.to_owned()), Vec::new(), &by).await;
        }
        let stopped = match self.unchanged(&kept, &to).await {
            Ok(()) => None,
            Err(StoresError::Store(
                error @ (StoreError::Unavailable { .. } | StoreError::Conflict { .. }),
            )) => {
                return Err(error.into());
            }
            Err(error) => Some(error.to_string()),
        };
        self.move_end(kept, to, &watch, stopped, also, &by).await
    }

    /// Stops a move: the tenant's store stays where it is.
    ///
    /// # Errors
    /// [`StoresError::NoMove`]; a conflict where something changes at the same time.
    pub async fn move_stop(&self, tenant: &TenantId, why: &str, by: &By) -> Result<StoreMove, StoresError> {
        let kept = self.kept(tenant).await?;
        let to = kept.row.value.moving.clone().ok_or(StoresError::NoMove)?;
        let watch = self.watches.of(tenant, kept.row.revision);
        let why = watch.first().unwrap_or(why).to_owned();
        self.move_end(kept, to, &watch, Some(why), Vec::new(), by).await
    }

    /// The tenant's latest move; while it lasts, with what this node has compared.
    ///
    /// # Errors
    /// What the state refuses.
    pub async fn move_get(&self, tenant: &TenantId) -> Result<Option<StoreMove>, StoresError> {
        let found = self.records.get::<StoreMove>(&Scope::Plane, STORE_MOVE, tenant.as_str()).await?;
        let Some(mut found) = found.map(|found| found.value).filter(|found| found.tenant == *tenant) else {
            return Ok(None);
        };
        if let Some(watch) = self.watches.get(tenant).filter(|_| found.state == MoveState::Comparing) {
            (found.asked, found.different) = (watch.asked(), watch.different());
        }
        Ok(Some(found))
    }

    /// The moves that nobody has ended, for whoever takes them up again.
    ///
    /// # Errors
    /// What the state refuses.
    pub async fn move_list_open(&self) -> Result<Vec<StoreMove>, StoreError> {
        let (mut open, mut after) = (Vec::new(), None::<String>);
        loop {
            let page =
                self.records.list::<StoreMove>(&Scope::Plane, STORE_MOVE, after.as_deref(), PAGE).await?;
            let Some((last, _)) = page.last() else { return Ok(open) };
            after = Some(last.clone());
            let moves = page.into_iter().map(|(_, found)| found.value);
            open.extend(moves.filter(|found| found.state == MoveState::Comparing));
        }
    }

    /// Stops the moves whose copies have answered otherwise on this node, whichever node began them.
    pub(crate) async fn move_stop_different(&self) {
        for tenant in self.watches.different() {
            let by = By::plane(self.clock.now());
            match self.move_stop(&tenant, "the copy has answered otherwise", &by).await {
                Ok(stopped) => {
                    tracing::warn!(%tenant, state = ?stopped.state, "a move of a policy store was stopped")
                }
                Err(StoresError::NoMove | StoresError::Missing) => self.watches.end(&tenant, Revision::MAX),
                Err(error) => tracing::warn!(%tenant, %error, "a move of a policy store can't be stopped"),
            }
        }
    }

    /// The copy says what serves says, now.
    async fn unchanged(&self, kept: &Kept, to: &Held) -> Result<(), StoresError> {
        let copy = self.body(&kept.owner, &kept.row.value.store, to).await?.ok_or(StoresError::Missing)?;
        let (serving, copy) = (self.whole(kept.body.value.clone()).await?, self.whole(copy.value).await?);
        if serving == copy { Ok(()) } else { Err(StoresError::Changed) }
    }

    /// Puts the copy in its place, or deletes it where the move was `stopped`, and why.
    async fn move_end(
        &self,
        kept: Kept,
        to: Held,
        watch: &Watch,
        stopped: Option<String>,
        also: Vec<Draft>,
        by: &By,
    ) -> Result<StoreMove, StoresError> {
        let Kept { row: Stored { value: row, revision }, body, owner } = kept;
        let found = self.move_get(&row.tenant).await?;
        let ended = StoreMove {
            tenant: row.tenant.clone(),
            to: to.mode(),
            compared: found.as_ref().map_or(Compared { questions: 0, seconds: 0 }, |found| found.compared),
            began: found.map_or(0, |found| found.began),
            asked: watch.asked(),
            different: watch.different(),
            state: stopped.clone().map_or(MoveState::Done, MoveState::Stopped),
        };
        let (scope, store) = (Scope::from(&owner), row.store.clone());
        let (held, gone) = match &stopped {
            None => {
                let gone = Draft::delete(&scope, row.held.kind(), store.as_str());
                (to, gone.expect(Expect::Revision(body.revision)))
            }
            Some(_) => (row.held.clone(), Draft::delete(&scope, to.kind(), store.as_str())),
        };
        let row = StoreMapRow { held, moving: None, ..row };
        let mut drafts = vec![store_map_put(&row)?.expect(Expect::Revision(revision)), gone, put(&ended)?];
        drafts.extend(also);
        let to = ended.to.place().to_owned();
        let step = match stopped {
            Some(why) => MapStep::StoreMoveStopped { to, why },
            None => MapStep::StoreMoved { to },
        };
        drafts.extend(self.records.map_entry(&row.tenant, &step, by).await?);
        self.commit_and_enforce(drafts).await?;
        self.watches.end(&row.tenant, Revision::MAX);
        Ok(ended)
    }
}

/// Whether a store that is where `row` says may be moved.
fn can_move(row: &StoreMapRow, to: Mode) -> Result<(), StoresError> {
    if row.moving.is_some() {
        return Err(StoresError::Moving);
    }
    if row.held.mode() == to { Err(StoresError::HeldSo(to)) } else { Ok(()) }
}

/// A store that is moved is the tenant's.
fn own(tenant: &TenantId, owner: &TenantId, document: StoreDocument) -> Result<StoreDocument, StoresError> {
    if document.tenant != *tenant || owner != tenant {
        return Err(StoreError::Tampered { kind: super::STORE_MAP.as_str().to_owned() }.into());
    }
    Ok(document)
}

fn put(moved: &StoreMove) -> Result<Draft, StoreError> {
    Draft::put(&Scope::Plane, STORE_MOVE, moved.tenant.as_str(), moved)
}
