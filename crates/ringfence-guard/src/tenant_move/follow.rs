//! The slot's transactions, made at the target one after the other, each once.
//!
//! It guarantees that a transaction is there with the record that says so, or not at all; that none is made that the copy's snapshot
//! saw; and, where a snapshot is to be reached, that all it saw are made and no others. Those it did not see may have been committed
//! before some it saw: a transaction is in the WAL before others see it. What the two wrote can't meet, because the locks of the
//! first are held until it is seen; so they may be made out of order, in one transaction, which then records that snapshot.
//! Follows `src/backend/replication/logical/` and `access/transam/xact.c` (`RecordTransactionCommit`).

use std::{collections::HashMap, pin::pin};

use futures_util::TryStreamExt as _;
use ringfence_context::TenantId;
use tokio_postgres::{
    Client,
    types::{PgLsn, ToSql},
};

use super::{
    Memory, MoveError, Phase,
    apply::{Applier, Event},
    pgoutput::{self, DecodeError, Message},
    plan::Plan,
    record::Record,
    slot,
    snapshot::Snapshot,
};
use crate::role::RoleName;

/// After so many changes the target's transaction ends with the source's.
const CHANGES_AT_A_TIME: u64 = 1_000;

/// After so many messages the slot is asked anew: it writes all of one answer to disk first.
const MESSAGES_AT_A_TIME: i32 = 200_000;

/// So many bytes of WAL are read at once, in one answer, to reach a snapshot.
const FAR: u64 = 64 << 20;

/// Both ends of a move, and what is known of it.
pub(super) struct Follower<'a> {
    name: &'a RoleName,
    tenant: &'a TenantId,
    source: &'a Client,
    target: &'a Client,
    plan: &'a Plan,
    /// What the target's record is to be, and what it is.
    record: Record,
    stored: Record,
    memory: &'a mut Memory,
    /// Whether everybody waits: the slot need not let go of what it is about to be removed with.
    pub(super) hurried: bool,
    pub(super) transactions: u64,
    pub(super) rows: u64,
}

/// What is done about the transaction that is being read.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Turn {
    /// It is there already.
    Past,
    /// It is made.
    Now { commit: u64, xid: u32 },
    /// The snapshot to be reached did not see it.
    Later,
}

/// One answer of the slot, as far as it was read.
struct Pass<'a> {
    applier: Applier<'a>,
    /// Tables by what the answer calls them; those that are not as planned, by their name.
    relations: HashMap<u32, Result<usize, String>>,
    turn: Turn,
    /// Whether the target's transaction is open, and how many changes had been made when it began.
    open: Option<u64>,
    /// Whether something was left for later: the record's LSN stays before it.
    left: bool,
    /// Up to where the slot may let go.
    taken: u64,
    /// The xids that were made, to be remembered once they stay.
    made: Vec<u32>,
    messages: i32,
}

impl<'a> Follower<'a> {
    pub(super) async fn new(
        (name, tenant): (&'a RoleName, &'a TenantId),
        (source, target): (&'a Client, &'a Client),
        plan: &'a Plan,
        memory: &'a mut Memory,
    ) -> Result<Self, MoveError> {
        let record = Record::find(target, name).await?.ok_or(MoveError::NotPrepared)?;
        if record.phase != Phase::Following {
            return Err(MoveError::NotCopied);
        }
        let stored = record.clone();
        let (hurried, transactions, rows) = (false, 0, 0);
        Ok(Self { name, tenant, source, target, plan, record, stored, memory, hurried, transactions, rows })
    }

    /// Makes all there is up to now; says where that was.
    pub(super) async fn catch_up(&mut self) -> Result<u64, MoveError> {
        let end = slot::mark(self.source).await?;
        while self.pass(end, Some(MESSAGES_AT_A_TIME), None).await? {}
        let seen = slot::snapshot(self.source).await?;
        if let Some(unseen) = &mut self.memory.unseen {
            unseen.retain(|xid| !seen.saw(*xid));
        }
        Ok(end)
    }

    /// Brings the target to what a snapshot saw that is no older than what was made.
    pub(super) async fn reach(&mut self, snapshot: &Snapshot) -> Result<(), MoveError> {
        let end = slot::mark(self.source).await?;
        self.pass(end, None, Some(snapshot)).await?;
        Ok(())
    }

    /// Begins a transaction at the source whose snapshot saw all that was made; that snapshot. It is not far from the target then.
    pub(super) async fn snapshot_of_all(&mut self, reader: &Client) -> Result<Snapshot, MoveError> {
        if slot::backlog(self.source, self.name).await? > FAR {
            self.catch_up().await?;
        }
        let unseen = match self.memory.unseen.take() {
            Some(unseen) => unseen,
            // Another process made it: it is seen when all have ended that run now.
            None => slot::outwait(self.source).await.map(|()| Vec::new())?,
        };
        for _ in 0..slot::LOOKS {
            reader.batch_execute("ROLLBACK; BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await?;
            let snapshot = slot::snapshot(reader).await?;
            if unseen.iter().all(|xid| snapshot.saw(*xid)) {
                self.memory.unseen = Some(Vec::new());
                return Ok(snapshot);
            }
            tokio::time::sleep(slot::LOOK).await;
        }
        Err(MoveError::OpenTransaction)
    }

    /// Reads one answer of the slot and makes what is in it; says whether there may be more.
    async fn pass(
        &mut self,
        end: u64,
        limit: Option<i32>,
        until: Option<&Snapshot>,
    ) -> Result<bool, MoveError> {
        let sql = format!(
            "SELECT data FROM pg_logical_slot_peek_binary_changes('{0}', $1, $2, 'proto_version', '1',
                'publication_names', '{0}')",
            self.name
        );
        let upto = PgLsn::from(end);
        let parameters: [&(dyn ToSql + Sync); 2] = [&upto, &limit];
        let mut answer = pin!(self.source.query_raw(&sql, parameters).await?);
        let mut pass = Pass {
            applier: Applier::new(self.target, self.tenant, self.plan),
            relations: HashMap::new(),
            turn: Turn::Past,
            open: None,
            left: false,
            taken: 0,
            made: Vec::new(),
            messages: 0,
        };
        while let Some(row) = answer.try_next().await? {
            pass.messages = pass.messages.saturating_add(1);
            self.message(&mut pass, pgoutput::read(row.try_get(0)?)?, until).await?;
        }
        if let Some(snapshot) = until {
            self.begin(&mut pass).await?;
            self.record.snapshot = Some(snapshot.clone());
        }
        self.commit(&mut pass).await?;
        self.rows = self.rows.saturating_add(pass.applier.rows());
        let more = limit.is_some_and(|limit| pass.messages >= limit);
        let taken = if more || pass.left { pass.taken } else { end };
        if more || !self.hurried {
            slot::advance(self.source, self.name, taken).await?;
            slot::tighten(self.source, self.name).await?;
        }
        Ok(more)
    }

    async fn message(
        &mut self,
        pass: &mut Pass<'a>,
        message: Message<'_>,
        until: Option<&Snapshot>,
    ) -> Result<(), MoveError> {
        match message {
            Message::Begin { commit, xid } => pass.turn = self.turn(commit, xid, until),
            Message::Commit { end } => return self.committed(pass, end).await,
            Message::Relation(relation) => {
                let found = self.plan.find(&relation).ok_or_else(|| relation.name.to_owned());
                pass.relations.insert(relation.id, found);
            }
            Message::Other => {}
            Message::Insert { relation, new } => {
                self.event(pass, relation, Event::Insert(new)).await?;
            }
            Message::Update { relation, old, new } => {
                self.event(pass, relation, Event::Update(old, new)).await?;
            }
            Message::Delete { relation, old } => self.event(pass, relation, Event::Delete(old)).await?,
            Message::Truncate { relations } => {
                for relation in relations {
                    if let Some(table) = self.table(pass, relation).await? {
                        pass.applier.empty(table, self.memory.touched.as_mut()).await?;
                    }
                }
            }
        }
        Ok(())
    }

    fn turn(&self, commit: u64, xid: u32, until: Option<&Snapshot>) -> Turn {
        let saw = |snapshot: &Snapshot| snapshot.saw(xid);
        if commit <= self.record.applied || self.record.snapshot.as_ref().is_some_and(saw) {
            Turn::Past
        } else if until.is_none_or(saw) {
            Turn::Now { commit, xid }
        } else {
            Turn::Later
        }
    }

    async fn event(&mut self, pass: &mut Pass<'a>, relation: u32, event: Event<'_>) -> Result<(), MoveError> {
        match self.table(pass, relation).await? {
            Some(table) => pass.applier.event(table, event, self.memory.touched.as_mut()).await,
            None => Ok(()),
        }
    }

    /// The table of a change that is to be made now.
    async fn table(&self, pass: &mut Pass<'a>, relation: u32) -> Result<Option<usize>, MoveError> {
        let found = pass.relations.get(&relation).ok_or(DecodeError)?.clone();
        if !matches!(pass.turn, Turn::Now { .. }) {
            // What was written before a change of the schema may be there already, in a copy that was made after it.
            return Ok(None);
        }
        let table = found.map_err(|table| MoveError::Changed { table })?;
        self.begin(pass).await?;
        Ok(Some(table))
    }

    async fn begin(&self, pass: &mut Pass<'a>) -> Result<(), MoveError> {
        if pass.open.is_none() {
            self.target.batch_execute("BEGIN").await?;
            self.stored.hold(self.target, self.name).await?;
            pass.open = Some(pass.applier.rows());
        }
        Ok(())
    }

    async fn committed(&mut self, pass: &mut Pass<'a>, end: u64) -> Result<(), MoveError> {
        let turn = std::mem::replace(&mut pass.turn, Turn::Past);
        pass.left |= turn == Turn::Later;
        if let Turn::Now { commit, xid } = turn {
            self.transactions = self.transactions.saturating_add(1);
            pass.made.push(xid);
            if !pass.left {
                // Written to the target with the changes, which opened its transaction; or with the next.
                self.record.applied = commit;
            }
        }
        if !pass.left {
            pass.taken = end;
            let began = pass.open.unwrap_or(u64::MAX);
            if pass.applier.rows().saturating_sub(began) >= CHANGES_AT_A_TIME {
                self.commit(pass).await?;
            }
        }
        Ok(())
    }

    /// Ends the target's transaction, with the record.
    async fn commit(&mut self, pass: &mut Pass<'a>) -> Result<(), MoveError> {
        // Remembered first: whoever is cut off here has remembered too much.
        if let Some(unseen) = &mut self.memory.unseen {
            unseen.append(&mut pass.made);
        }
        if pass.open.take().is_some() {
            pass.applier.flush().await?;
            self.record.set(self.target, self.name).await?;
            self.target.batch_execute("COMMIT").await?;
            self.stored = self.record.clone();
        }
        if self.memory.touched.as_ref().is_some_and(super::touched::Touched::is_full) {
            self.memory.touched = None;
        }
        Ok(())
    }
}
