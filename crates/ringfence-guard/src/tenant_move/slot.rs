//! The publication and the slot at the source: from when on its changes are kept, and up to where they were taken.
//!
//! It guarantees that the slot is never without the publication it began with (changes from before that could not be read), and that
//! whatever half is there can be removed. Follows `src/backend/replication/slotfuncs.c` and `logical/logicalfuncs.c`.

use std::time::Duration;

use ringfence_context::TenantId;
use tokio_postgres::{Client, types::PgLsn};

use super::{MoveError, snapshot::Snapshot};
use crate::role::RoleName;

/// How long transactions that were open before are waited for.
const OPEN_TRANSACTIONS: Duration = Duration::from_secs(60);

/// They are looked at so often, with that in between.
pub(super) const LOOKS: u32 = 6_000;
pub(super) const LOOK: Duration = Duration::from_millis(10);

/// So many bytes of WAL are read again each time without harm: some hundredths of a second.
const CLOSE: i64 = 16 << 20;

/// So many steps are made at once to have no more.
const MOST_STEPS: u32 = 16;

/// Whether both are there.
pub(super) async fn exists(source: &Client, name: &RoleName) -> Result<bool, MoveError> {
    let (slot, publication) = halves(source, name).await?;
    Ok(slot && publication)
}

async fn halves(source: &Client, name: &RoleName) -> Result<(bool, bool), MoveError> {
    let sql = "SELECT EXISTS (SELECT FROM pg_replication_slots s WHERE s.slot_name = $1 AND s.database = current_database()),
        EXISTS (SELECT FROM pg_publication p WHERE p.pubname = $1)";
    let row = source.query_one(sql, &[&name.as_str()]).await?;
    Ok((row.try_get(0)?, row.try_get(1)?))
}

/// Makes both, of the protected tables of a schema and the rows of a tenant.
pub(super) async fn make(
    source: &Client,
    name: &RoleName,
    schema: &str,
    tenant: &TenantId,
) -> Result<(), MoveError> {
    forget(source, name).await?;
    // What makes a publication takes no parameters: the server quotes what is in it.
    let sql = "SELECT format('CREATE PUBLICATION %I FOR TABLE %s', $1::text, string_agg(
            format('ONLY %s WHERE (%I = %L)', c.oid::regclass, p.tenant_column, $3::text), ', '))
        FROM ringfence.protected p JOIN pg_class c ON c.oid = p.relation JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE n.nspname = $2::text::name";
    let make: String =
        source.query_one(sql, &[&name.as_str(), &schema, &tenant.as_str()]).await?.try_get(0)?;
    source.batch_execute(&make).await?;
    // It begins when every transaction that is open has ended: a wait that holds up nobody else.
    let wait = format!("SET lock_timeout = '{}s'", OPEN_TRANSACTIONS.as_secs());
    source.batch_execute(&wait).await?;
    let sql = "SELECT FROM pg_create_logical_replication_slot($1::text::name, 'pgoutput')";
    source.execute(sql, &[&name.as_str()]).await?;
    source.batch_execute("SET lock_timeout = '3s'").await?;
    Ok(())
}

/// Removes both, as far as they are there.
pub(super) async fn forget(source: &Client, name: &RoleName) -> Result<(), MoveError> {
    // A process that was killed may have left its backend reading.
    let end = "SELECT pg_terminate_backend(active_pid, 5000) FROM pg_replication_slots
        WHERE slot_name = $1 AND database = current_database() AND active_pid IS NOT NULL";
    source.execute(end, &[&name.as_str()]).await?;
    let drop = "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots
        WHERE slot_name = $1 AND database = current_database() AND plugin = 'pgoutput'";
    source.execute(drop, &[&name.as_str()]).await?;
    source.batch_execute(&format!("DROP PUBLICATION IF EXISTS {name}")).await?;
    Ok(())
}

/// Where the WAL is now, all before which can be read. A transaction of one's own sees to that, where others do not wait for their
/// WAL to be written (`synchronous_commit = off`).
pub(super) async fn mark(source: &Client) -> Result<u64, MoveError> {
    let sql = "BEGIN; SET LOCAL synchronous_commit = local;
        SELECT pg_logical_emit_message(true, 'ringfence', ''); COMMIT";
    source.batch_execute(sql).await?;
    let lsn: PgLsn = source.query_one("SELECT pg_current_wal_flush_lsn()", &[]).await?.try_get(0)?;
    Ok(lsn.into())
}

/// How many bytes of WAL there are after that.
pub(super) async fn behind(source: &Client, lsn: u64) -> Result<u64, MoveError> {
    let sql = "SELECT greatest(pg_wal_lsn_diff(pg_current_wal_lsn(), $1), 0)::bigint";
    let bytes: i64 = source.query_one(sql, &[&PgLsn::from(lsn)]).await?.try_get(0)?;
    Ok(u64::try_from(bytes).unwrap_or_default())
}

/// Moves up to where the slot is read from, which each reading begins with. Postgres moves that by one step whenever the slot lets
/// go, to where it last wrote down what was running (every fifteen seconds): after a copy there are many steps to be made.
pub(super) async fn tighten(source: &Client, name: &RoleName) -> Result<(), MoveError> {
    let far = "SELECT restart_lsn, confirmed_flush_lsn FROM pg_replication_slots
        WHERE slot_name = $1 AND pg_wal_lsn_diff(confirmed_flush_lsn, restart_lsn) > $2::bigint";
    let mut before = None;
    for _ in 0..MOST_STEPS {
        let Some(row) = source.query_opt(far, &[&name.as_str(), &CLOSE]).await? else { return Ok(()) };
        let (restart, taken): (PgLsn, PgLsn) = (row.try_get(0)?, row.try_get(1)?);
        if before.replace(restart) == Some(restart) {
            return Ok(());
        }
        let step = "SELECT pg_replication_slot_advance($1::text::name, $2)";
        source.execute(step, &[&name.as_str(), &taken]).await?;
    }
    Ok(())
}

/// How many bytes of WAL there are after what was taken.
pub(super) async fn backlog(source: &Client, name: &RoleName) -> Result<u64, MoveError> {
    let sql = "SELECT confirmed_flush_lsn FROM pg_replication_slots WHERE slot_name = $1";
    let taken: PgLsn = source.query_one(sql, &[&name.as_str()]).await?.try_get(0)?;
    behind(source, taken.into()).await
}

/// Lets go of the WAL up to there.
pub(super) async fn advance(source: &Client, name: &RoleName, lsn: u64) -> Result<(), MoveError> {
    let sql = "SELECT pg_replication_slot_advance(s.slot_name, $2) FROM pg_replication_slots s
        WHERE s.slot_name = $1 AND s.confirmed_flush_lsn < $2";
    source.execute(sql, &[&name.as_str(), &PgLsn::from(lsn)]).await?;
    Ok(())
}

/// The snapshot of a session's transaction, or of a moment.
pub(super) async fn snapshot(source: &Client) -> Result<Snapshot, MoveError> {
    let text: String = source.query_one("SELECT pg_current_snapshot()::text", &[]).await?.try_get(0)?;
    Snapshot::read(&text).ok_or(MoveError::OpenTransaction)
}

/// Waits until no transaction is running that is now. One that the WAL says was committed may still be, for a moment or while it
/// waits for a standby: a snapshot would not see it, and a slot that began after its commit would not tell of it.
pub(super) async fn outwait(source: &Client) -> Result<(), MoveError> {
    let sql =
        "SELECT NOT EXISTS (SELECT FROM unnest($1::text[]) x WHERE pg_xact_status(x::xid8) = 'in progress')";
    let running: Vec<String> = snapshot(source).await?.running().iter().map(u64::to_string).collect();
    for _ in 0..LOOKS {
        if running.is_empty() || source.query_one(sql, &[&running]).await?.try_get(0)? {
            return Ok(());
        }
        tokio::time::sleep(LOOK).await;
    }
    Err(MoveError::OpenTransaction)
}
