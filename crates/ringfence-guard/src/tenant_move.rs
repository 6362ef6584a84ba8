//! Moves one tenant's rows from one place to another while they are read and written: tables shared with other tenants, a schema
//! of its own, a database of its own, on one server or two.
//!
//! [`TenantMove::prepare`] makes a slot at the source, [`TenantMove::copy`] brings all rows as one snapshot has them,
//! [`TenantMove::follow`] brings what was committed since, [`TenantMove::verify`] compares all of it. Then whoever calls this
//! keeps everybody from writing at the source, and [`TenantMove::settle`] brings and compares the rest, in a moment; the tenant
//! is at the target. [`TenantMove::forget`] ends it, whatever became of it.
//!
//! It guarantees, wherever it is killed, that what the target holds is the source as of one moment, which its record names; that no
//! row of another tenant is written, changed or deleted at either place; that triggers do not fire a second time; and that nothing
//! at the source is held up for longer than a few seconds. Follows Postgres' logical decoding, without a subscription: that
//! would copy whole tables, and know no end.
//!
//! What is not carried: large objects, tables that are not protected (what rows point at there has to be at the target, and is looked
//! for once), and changes of the schema, which end the move. Rows that an UPDATE takes from another tenant come only with all
//! of their values in the WAL, else a new copy is asked for.

mod apply;
mod back;
mod catalog;
mod compare;
mod copy;
mod error;
mod follow;
mod fuzzed;
mod hindrance;
mod pgoutput;
mod plan;
mod record;
mod references;
mod sequences;
mod session;
mod slot;
mod snapshot;
mod statement;
mod touched;

use ringfence_context::TenantId;
use tokio_postgres::{Client, Config};

#[doc(hidden)]
pub use self::fuzzed::follow;
pub use self::{copy::CopiedTotal, error::MoveError, hindrance::Hindrance, pgoutput::DecodeError};
use self::{follow::Follower, plan::Plan, record::Record, touched::Touched};
use crate::{role::RoleName, tls::Authorities};

/// One copy of a tenant's rows: a database, reached as an administrator, and the schema its tables are in.
#[derive(Debug, Clone)]
pub struct Site {
    /// How it is reached. Its role is a superuser, or may replicate, bypass row security and set `session_replication_role`.
    pub config: Config,
    /// By whose word the server is who it says; without, it is reached in the clear.
    pub tls: Option<Authorities>,
    /// The schema's name.
    pub schema: String,
}

/// Which of both.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// Where the rows are.
    Source,
    /// Where they are brought.
    Target,
}

/// What the target holds when a move begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// Nothing of the tenant's: all is copied.
    Copy,
    /// What the source holds, while nobody can write at either place: the way back of a move that was made.
    Equal,
}

/// How far a move is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// The source keeps its changes, and nothing was copied.
    Prepared,
    /// The target holds all rows, as of some moment.
    Following,
}

/// How far copying is.
#[derive(Debug, Clone, Copy)]
pub struct CopyProgress<'a> {
    /// The table that is being copied.
    pub table: &'a str,
    /// What was copied, of all tables.
    pub total: CopiedTotal,
}

/// What following did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Followed {
    /// Transactions that were applied.
    pub transactions: u64,
    /// Changes of rows in them.
    pub rows: u64,
    /// Bytes of WAL, of everybody's, that the source has written meanwhile.
    pub behind: u64,
    /// Whether [`TenantMove::settle`] knows which rows to compare; if not, [`TenantMove::verify`] is to come first.
    pub verified: bool,
}

/// How many rows of the tenant a table has, at both places; of more than 200,000, how many it had when all were compared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableRows {
    /// The table's name.
    pub table: String,
    /// Rows.
    pub rows: i64,
}

/// What a process knows of a move and no record says.
#[derive(Debug, Default)]
struct Memory {
    /// What was changed since both places were compared.
    touched: Option<Touched>,
    /// Transactions that were applied and not yet seen by others at the source; none where that is not known.
    unseen: Option<Vec<u32>>,
    /// Sessions at the source and the target, for the next step: when everybody waits, none need be opened.
    open: Option<(Client, Client)>,
}

/// A move, by a name that is also its slot's and publication's.
#[derive(Debug)]
pub struct TenantMove {
    /// Its name: one of its own among the slots of the source's server, and the moves that lead to the target.
    pub name: RoleName,
    /// Whose rows.
    pub tenant: TenantId,
    /// Where they are.
    pub source: Site,
    /// Where they are brought.
    pub target: Site,
    memory: Memory,
}

impl TenantMove {
    /// A move that begins, or one of the same values that another process began.
    pub fn new(name: RoleName, tenant: TenantId, source: Site, target: Site) -> Self {
        Self { name, tenant, source, target, memory: Memory::default() }
    }

    /// What stands in its way. Changes nothing.
    ///
    /// # Errors
    /// [`MoveError::Postgres`].
    pub async fn hindrances(&self, start: Start) -> Result<Vec<Hindrance>, MoveError> {
        hindrance::find(self, start).await
    }

    /// How far it is; none where it is not prepared.
    ///
    /// # Errors
    /// [`MoveError::Postgres`].
    pub async fn phase(&self) -> Result<Option<Phase>, MoveError> {
        let (source, target) = (session::open(&self.source).await?, session::open(&self.target).await?);
        let record = Record::find(&target, &self.name).await?;
        Ok(if slot::exists(&source, &self.name).await? { record.map(|record| record.phase) } else { None })
    }

    /// Makes the slot, from when on the source keeps its changes, and the record. What is there stays. Waits for a minute at most
    /// until every transaction that is open at the source has ended.
    ///
    /// # Errors
    /// [`MoveError::Hindered`], and whatever Postgres says.
    pub async fn prepare(&mut self, start: Start) -> Result<(), MoveError> {
        let source = session::open(&self.source).await?;
        let target = session::open_replica(&self.target, Side::Target).await?;
        let there = slot::exists(&source, &self.name).await?;
        let record = match there {
            true => Record::find(&target, &self.name).await?,
            false => None,
        };
        if record.is_none() {
            if let Some(hindrance) = self.hindrances(start).await?.into_iter().next() {
                return Err(MoveError::Hindered(hindrance));
            }
            if !there {
                // A record that speaks of a slot that is gone would be believed of the next one.
                self.record_remove(&target).await?;
                slot::make(&source, &self.name, &self.source.schema, &self.tenant).await?;
            }
            let phase = match start {
                Start::Copy => Phase::Prepared,
                Start::Equal => Phase::Following,
            };
            Record::put(&target, &self.name, &self.tenant, phase).await?;
            self.memory = Memory::default();
        }
        let now = Record::find(&target, &self.name).await?.ok_or(MoveError::NotPrepared)?;
        if now.phase == Phase::Following && now.snapshot.is_none() && now.applied == 0 {
            // Equal when the slot was made, and nothing was brought since.
            self.memory.touched.get_or_insert_default();
        }
        Ok(())
    }

    /// Brings all of the tenant's rows, in place of those the target has, and tells how far that is. May be done again.
    ///
    /// # Errors
    /// [`MoveError`]; the target holds what it held.
    pub async fn copy(
        &mut self,
        mut tell: impl FnMut(CopyProgress<'_>) + Send,
    ) -> Result<CopiedTotal, MoveError> {
        let (source, target, plan) = self.under_way().await?;
        self.memory = Memory::default();
        let copied = copy::copy(self, (&source, &target), &plan, &mut tell).await?;
        self.memory.unseen = Some(Vec::new());
        Ok(copied)
    }

    /// Brings what was committed at the source until now.
    ///
    /// # Errors
    /// [`MoveError`]; what was brought stays, and it can be gone on with unless the error says otherwise.
    pub async fn follow(&mut self) -> Result<Followed, MoveError> {
        let (source, target, plan) = self.under_way().await?;
        let names = (&self.name, &self.tenant);
        let mut follower = Follower::new(names, (&source, &target), &plan, &mut self.memory).await?;
        let reached = follower.catch_up().await?;
        let (transactions, rows) = (follower.transactions, follower.rows);
        let behind = slot::behind(&source, reached).await?;
        self.memory.open = Some((source, target));
        Ok(Followed { transactions, rows, behind, verified: self.memory.touched.is_some() })
    }

    /// Compares every row of the tenant, at one moment of the source, to which the target is brought; and remembers what is changed
    /// from then on, in this process, as far as memory for it goes.
    ///
    /// # Errors
    /// [`MoveError::Differs`], naming the first table that does; else [`MoveError`].
    pub async fn verify(&mut self) -> Result<Vec<TableRows>, MoveError> {
        let (source, target, plan) = self.under_way().await?;
        let reader = session::open(&self.source).await?;
        self.memory.touched = None;
        let names = (&self.name, &self.tenant);
        let mut follower = Follower::new(names, (&source, &target), &plan, &mut self.memory).await?;
        let snapshot = follower.snapshot_of_all(&reader).await?;
        follower.reach(&snapshot).await?;
        let mut tables = Vec::new();
        for table in &plan.tables {
            tables.push(compare::all(table, (&reader, &target), &self.tenant).await?);
        }
        reader.batch_execute("COMMIT").await?;
        self.memory.touched = Some(Touched::since(&tables));
        Ok(tables)
    }

    /// Brings and compares the rest, when nobody can write at the source any more, and brings the sequences of the tables at the
    /// target to where the source's are. In a moment, where little was changed since [`TenantMove::verify`].
    ///
    /// # Errors
    /// [`MoveError::Unverified`] where it is not known what was changed: verify, which may be done now as well;
    /// [`MoveError::Differs`], naming the first table that does; else [`MoveError`].
    pub async fn settle(&mut self) -> Result<Vec<TableRows>, MoveError> {
        let (source, target, plan) = self.under_way().await?;
        let names = (&self.name, &self.tenant);
        let mut follower = Follower::new(names, (&source, &target), &plan, &mut self.memory).await?;
        follower.hurried = true;
        follower.catch_up().await?;
        let touched = self.memory.touched.as_ref().ok_or(MoveError::Unverified)?;
        let mut tables = Vec::new();
        for table in &plan.tables {
            tables.push(compare::some(table, (&source, &target), &self.tenant, touched).await?);
        }
        sequences::bring(&source, &target, &plan).await?;
        Ok(tables)
    }

    /// Removes slot, publication and record, as far as they are there. Rows stay where they are.
    ///
    /// # Errors
    /// [`MoveError::Postgres`]; the source comes first, so that its WAL is let go of even if the target can't be reached.
    pub async fn forget(&mut self) -> Result<(), MoveError> {
        // A database that is gone has taken all that was in it along.
        if let Some(source) = session::open_if_there(&self.source).await? {
            slot::forget(&source, &self.name).await?;
        }
        if let Some(target) = session::open_if_there(&self.target).await? {
            self.record_remove(&target).await?;
        }
        self.memory = Memory::default();
        Ok(())
    }

    /// Deletes the tenant's rows at one of both places, in all protected tables or in none; says how many. Triggers do not fire. At
    /// the target, what was copied is to be copied again.
    ///
    /// # Errors
    /// [`MoveError::Followed`] at the source while the slot is there; what Postgres says.
    pub async fn erase(&mut self, side: Side) -> Result<u64, MoveError> {
        let site = match side {
            Side::Source => &self.source,
            Side::Target => &self.target,
        };
        let client = session::open_replica(site, side).await?;
        if side == Side::Source && slot::exists(&client, &self.name).await? {
            return Err(MoveError::Followed);
        }
        let mut rows: u64 = 0;
        client.batch_execute("BEGIN").await?;
        for table in catalog::tables(&client, &site.schema, None).await? {
            let column = table.columns.iter().find(|column| column.name == table.tenant_column);
            let Some(column) = column else { return Err(MoveError::NotFollowed { table: table.name }) };
            let sql = format!("DELETE FROM {} WHERE {} = $1", table.sql, column.sql);
            rows = rows.saturating_add(client.execute(&sql, &[&self.tenant.as_str()]).await?);
        }
        if side == Side::Target && Record::find(&client, &self.name).await?.is_some() {
            Record::put(&client, &self.name, &self.tenant, Phase::Prepared).await?;
            self.memory = Memory::default();
        }
        client.batch_execute("COMMIT").await?;
        Ok(rows)
    }

    /// Both ends of a move that is prepared.
    async fn ends(&mut self) -> Result<(Client, Client), MoveError> {
        let open =
            self.memory.open.take().filter(|(source, target)| !source.is_closed() && !target.is_closed());
        let (source, target) = match open {
            Some(open) => open,
            None => {
                (session::open(&self.source).await?, session::open_replica(&self.target, Side::Target).await?)
            }
        };
        if !slot::exists(&source, &self.name).await? {
            return Err(MoveError::NotPrepared);
        }
        Ok((source, target))
    }

    async fn under_way(&mut self) -> Result<(Client, Client, Plan), MoveError> {
        let (source, target) = self.ends().await?;
        let plan = Plan::under_way(&source, &target, (&self.source, &self.target), &self.name).await?;
        Ok((source, target, plan))
    }

    async fn record_remove(&self, target: &Client) -> Result<(), MoveError> {
        let there = "SELECT to_regclass('ringfence.tenant_move') IS NOT NULL";
        if target.query_one(there, &[]).await?.try_get(0)? {
            let sql = "DELETE FROM ringfence.tenant_move WHERE name = $1";
            target.execute(sql, &[&self.name.as_str()]).await?;
        }
        Ok(())
    }
}
