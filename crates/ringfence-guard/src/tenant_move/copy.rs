//! All of the tenant's rows at once, as one snapshot of the source has them.
//!
//! It guarantees that the target has all of them with the snapshot's record, or what it had; and that memory holds some rows of
//! one table at a time, whatever their number. Triggers do not fire and foreign keys are not checked: both were when the rows
//! were written first.

use std::pin::pin;

use bytes::Bytes;
use futures_util::{SinkExt as _, TryStreamExt as _};
use tokio_postgres::{Client, CopyInSink};

use super::{
    CopyProgress, MoveError, Phase, TenantMove,
    plan::{Plan, Table},
    record::Record,
    slot,
};

/// How many bytes are copied from one call of who is told to the next.
const TELL_EVERY: u64 = 4 << 20;

/// Copies.
pub(super) async fn copy(
    of: &TenantMove,
    (source, target): (&Client, &Client),
    plan: &Plan,
    tell: &mut (dyn FnMut(CopyProgress<'_>) + Send),
) -> Result<CopiedTotal, MoveError> {
    let record = Record::find(target, &of.name).await?.ok_or(MoveError::NotPrepared)?;
    slot::outwait(source).await?;
    source.batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await?;
    let snapshot = slot::snapshot(source).await?;
    target.batch_execute("BEGIN").await?;
    record.hold(target, &of.name).await?;
    for table in &plan.tables {
        let sql = format!("DELETE FROM {} WHERE {} = $1", table.target, table.tenant_sql);
        target.execute(&sql, &[&of.tenant.as_str()]).await?;
    }
    let mut total = CopiedTotal::default();
    for table in &plan.tables {
        one(of, (source, target), table, &mut total, tell).await?;
    }
    // Whatever was applied before, this snapshot saw it.
    let copied = Record { phase: Phase::Following, snapshot: Some(snapshot), applied: 0 };
    copied.set(target, &of.name).await?;
    target.batch_execute("COMMIT").await?;
    source.batch_execute("COMMIT").await?;
    Ok(total)
}

/// How much was copied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CopiedTotal {
    /// Rows.
    pub rows: u64,
    /// Bytes, as `COPY` writes them.
    pub bytes: u64,
}

async fn one(
    of: &TenantMove,
    (source, target): (&Client, &Client),
    table: &Table,
    total: &mut CopiedTotal,
    tell: &mut (dyn FnMut(CopyProgress<'_>) + Send),
) -> Result<(), MoveError> {
    let list = table.list();
    // COPY takes no parameters, and a tenant's id has no quotes.
    let out = format!(
        "COPY (SELECT {list} FROM ONLY {} WHERE {} = '{}') TO STDOUT",
        table.source, table.tenant_sql, of.tenant
    );
    let mut rows = pin!(source.copy_out(&out).await?);
    let into: CopyInSink<Bytes> =
        target.copy_in(&format!("COPY {} ({list}) FROM STDIN", table.target)).await?;
    let mut into = pin!(into);
    let mut told = total.bytes;
    while let Some(row) = rows.try_next().await? {
        total.rows = total.rows.saturating_add(1);
        total.bytes = total.bytes.saturating_add(u64::try_from(row.len()).unwrap_or_default());
        into.feed(row).await?;
        if total.bytes.saturating_sub(told) >= TELL_EVERY {
            told = total.bytes;
            tell(CopyProgress { table: &table.name, total: *total });
        }
    }
    into.finish().await?;
    tell(CopyProgress { table: &table.name, total: *total });
    Ok(())
}
