//! Changes of the source, made at the target: in their order, and only the tenant's.
//!
//! It guarantees that a row is only ever changed whose tenant column says this tenant, before and after, whatever was sent; and that
//! each change finds its row, or nothing of its transaction stays.

use std::collections::HashMap;

use futures_util::future::join_all;
use ringfence_context::TenantId;
use tokio_postgres::{Client, Statement};

use super::{
    MoveError,
    pgoutput::{DecodeError, Value},
    plan::{Plan, Table},
    statement::{self, Change, Shape, Text},
    touched::Touched,
};

/// So many are sent before the first is answered.
const AT_A_TIME: usize = 30;

/// What happened to a row.
pub(super) enum Event<'a> {
    Insert(Vec<Value<'a>>),
    Update(Option<Vec<Value<'a>>>, Vec<Value<'a>>),
    Delete(Vec<Value<'a>>),
}

/// Makes changes, in a transaction of the target that somebody else begins and ends.
pub(super) struct Applier<'a> {
    target: &'a Client,
    tenant: &'a TenantId,
    plan: &'a Plan,
    prepared: HashMap<(usize, Shape), Statement>,
    waiting: Vec<Waiting>,
    rows: u64,
}

/// A change that was not sent yet.
struct Waiting {
    table: usize,
    /// Whether it is of one row.
    single: bool,
    statement: Statement,
    values: Vec<Text>,
}

impl<'a> Applier<'a> {
    pub(super) fn new(target: &'a Client, tenant: &'a TenantId, plan: &'a Plan) -> Self {
        Self { target, tenant, plan, prepared: HashMap::new(), waiting: Vec::new(), rows: 0 }
    }

    /// How many changes there were.
    pub(super) fn rows(&self) -> u64 {
        self.rows
    }

    fn table(&self, at: usize) -> Result<&'a Table, MoveError> {
        self.plan.tables.get(at).ok_or(MoveError::NotPrepared)
    }

    /// Makes what happened to a row happen here, where it is the tenant's.
    pub(super) async fn event(
        &mut self,
        at: usize,
        event: Event<'_>,
        touched: Option<&mut Touched>,
    ) -> Result<(), MoveError> {
        let table = self.table(at)?;
        let (keys, change) = change(table, self.tenant, event)?;
        if let Some(touched) = touched {
            keys.into_iter().for_each(|key| touched.add(&table.name, key));
        }
        match change {
            Some(change) => self.push(at, change).await,
            None => Ok(()),
        }
    }

    /// Deletes the tenant's rows of a table.
    pub(super) async fn empty(&mut self, at: usize, touched: Option<&mut Touched>) -> Result<(), MoveError> {
        if let Some(touched) = touched {
            touched.add_all(&self.table(at)?.name);
        }
        self.push(at, Change::empty(self.tenant)).await
    }

    async fn push(&mut self, table: usize, change: Change) -> Result<(), MoveError> {
        let Change { shape, values } = change;
        let (single, shape) = (shape != Shape::Empty, (table, shape));
        let statement = match self.prepared.get(&shape) {
            Some(statement) => statement.clone(),
            None => {
                let statement = self.target.prepare(&shape.1.sql(self.table(table)?)).await?;
                self.prepared.insert(shape, statement.clone());
                statement
            }
        };
        self.rows = self.rows.saturating_add(1);
        self.waiting.push(Waiting { table, single, statement, values });
        if self.waiting.len() >= AT_A_TIME { self.flush().await } else { Ok(()) }
    }

    /// Waits for all of them. They are sent in their order: each is when it is first asked for its answer.
    pub(super) async fn flush(&mut self) -> Result<(), MoveError> {
        let waiting = std::mem::take(&mut self.waiting);
        let asked: Vec<(usize, bool)> = waiting.iter().map(|one| (one.table, one.single)).collect();
        let target = self.target;
        let send = |one: Waiting| async move { target.execute_raw(&one.statement, one.values).await };
        let answers = join_all(waiting.into_iter().map(send)).await;
        for ((table, single), answer) in asked.into_iter().zip(answers) {
            if answer? != 1 && single {
                return Err(MoveError::Diverged { table: self.table(table)?.name.clone() });
            }
        }
        Ok(())
    }
}

/// A row's key: the values of its columns, as text.
type Key = Vec<Box<str>>;

/// What is to be done where a row of `table` was changed, if it is or was the tenant's; and the keys of those rows.
///
/// # Errors
/// Where a row is told with more or fewer columns than the table was, or without its key; or in part, and is new here.
pub(super) fn change(
    table: &Table,
    tenant: &TenantId,
    event: Event<'_>,
) -> Result<(Vec<Key>, Option<Change>), MoveError> {
    let ours = |row: &[Value<'_>]| row.get(table.tenant) == Some(&Value::Text(tenant.as_str()));
    let key = |row: &[Value<'_>]| statement::key(table, row);
    let whole = |row: Vec<_>| if row.len() == table.columns.len() { Ok(row) } else { Err(DecodeError) };
    let (before, after) = match event {
        Event::Insert(new) => (None, Some(whole(new)?).filter(|new| ours(new))),
        Event::Delete(old) => {
            let old = whole(old)?;
            (ours(&old).then(|| key(&old)).transpose()?, None)
        }
        Event::Update(old, new) => {
            let (old, mut new) = (old.map(whole).transpose()?, whole(new)?);
            for (value, old) in new.iter_mut().zip(old.iter().flatten()) {
                if *value == Value::Unchanged && matches!(old, Value::Text(_)) {
                    *value = *old;
                }
            }
            let identity = old.as_deref().unwrap_or(&new);
            (ours(identity).then(|| key(identity)).transpose()?, Some(new).filter(|new| ours(new)))
        }
    };
    let moved = after.as_deref().map(key).transpose()?;
    let keys = before.iter().cloned().chain(moved).collect();
    let change = match (before, after) {
        (None, None) => None,
        (Some(key), None) => Some(Change::delete(&key, tenant)),
        (Some(key), Some(new)) => Some(Change::update(&key, &new, tenant)),
        (None, Some(new)) if new.contains(&Value::Unchanged) => {
            return Err(MoveError::Incomplete { table: table.name.clone() });
        }
        (None, Some(new)) => Some(Change::insert(&new)),
    };
    Ok((keys, change))
}
