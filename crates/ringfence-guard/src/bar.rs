//! Barring a tenant from a database: its key is taken away, and what it has open there is ended.
//!
//! It guarantees that afterwards nothing of the tenant's runs there and nothing of it begins. A session that was given to a
//! tenant holds a lock by that tenant's name from before its key was read (`context_set`), so whoever takes the key away and
//! then looks at the locks finds every session that had read it. A client can let go of that lock (`pg_advisory_unlock_all()`, which
//! pools say): the guard has it taken anew with the next transaction. A session that was given to some tenant and has none is
//! one that let go of it meanwhile, unseen or in the middle of a transaction. It may be the tenant's, and is ended with its.
//! Logins of the tenant's own (`credential`) are revoked.

use std::time::Duration;

use ringfence_context::TenantId;
use tokio::time::Instant;
use tokio_postgres::Client;

use crate::{credential::tenant_revoke, install::tenant_key_remove};

/// How long before it is looked again whether transactions have ended, and sessions gone.
const PAUSE: Duration = Duration::from_millis(5);

/// How long sessions that are ended may take to go.
const GONE_WITHIN: Duration = Duration::from_secs(5);

/// The tenant's sessions, those that may be its, and whether each is in a transaction: it has a lock on itself then, also where
/// activity is not tracked. A process id may be another's since it was registered.
const SESSIONS: &str = "WITH held AS (
        SELECT l.pid, ((l.classid::bigint << 32) | l.objid::bigint) = hashtextextended($1, 0) AS its
        FROM pg_catalog.pg_locks l
        WHERE l.locktype = 'advisory' AND l.objsubid = 1
          AND l.database = (SELECT d.oid FROM pg_catalog.pg_database d WHERE d.datname = current_database()))
    SELECT s.pid, EXISTS (
        SELECT FROM pg_catalog.pg_locks v WHERE v.pid = s.pid AND v.locktype = 'virtualxid') AS busy
    FROM (SELECT h.pid FROM held h WHERE h.its
        UNION SELECT b.pid FROM ringfence.backend b JOIN pg_catalog.pg_stat_activity a ON a.pid = b.pid
            WHERE b.posture_looked <> 0 AND a.datname = current_database()
              AND extract(epoch FROM a.backend_start) * 1000000 <= b.started
              AND NOT EXISTS (SELECT FROM held h WHERE h.pid = b.pid)) AS s
    WHERE s.pid <> pg_backend_pid()";

/// What barring a tenant has ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Ended {
    /// Sessions in all.
    pub sessions: usize,
    /// Of those, in the middle of a transaction, which was rolled back.
    pub transactions: usize,
    /// Of those, that were still there five seconds after they were told to end.
    pub left: usize,
}

/// Takes a tenant's key away, revokes its credentials, and ends its sessions: those between transactions at once, the others when their transaction is
/// over, or after `grace`.
///
/// # Errors
/// What Postgres says: the administrator must be allowed to see the application's sessions and to end them
/// (`pg_read_all_stats`, `pg_signal_backend`).
pub async fn tenant_bar(
    client: &Client,
    tenant: &TenantId,
    grace: Duration,
) -> Result<Ended, tokio_postgres::Error> {
    tenant_key_remove(client, tenant).await?;
    // Whatever becomes of these, the others are ended too.
    let revoked = tenant_revoke(client, tenant).await;
    let (deadline, mut ended) = (Instant::now() + grace, Ended::default());
    loop {
        let late = Instant::now() >= deadline;
        let sessions = client.query(SESSIONS, &[&tenant.as_str()]).await?;
        let mut over = Vec::new();
        for session in &sessions {
            let (pid, busy): (i32, bool) = (session.try_get(0)?, session.try_get(1)?);
            if busy && !late {
                continue;
            }
            over.push(pid);
            ended.transactions += usize::from(busy);
        }
        ended.sessions += over.len();
        ended.left = sessions_end(client, &over).await?;
        if sessions.is_empty() || late {
            let revoked = revoked?;
            ended.sessions += revoked.sessions;
            ended.left += revoked.left;
            return Ok(ended);
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Ends sessions by their process ids, all at once, and waits until none is there; says how many still are after five seconds. One that
/// is not there any more has rolled back and let go of its locks (`ShutdownPostgres` comes before `pgstat_beshutdown_hook`).
///
/// `pg_terminate_backend` waits too, but for one after the other, and looks every 100 ms only (`storage/ipc/signalfuncs.c`).
///
/// # Errors
/// What Postgres says.
pub(crate) async fn sessions_end(client: &Client, pids: &[i32]) -> Result<usize, tokio_postgres::Error> {
    if pids.is_empty() {
        return Ok(0);
    }
    let end = "SELECT pg_terminate_backend(pid) FROM unnest($1::int[]) AS pid";
    client.execute(end, &[&pids]).await?;
    let there = "SELECT count(*) FROM pg_catalog.pg_stat_get_activity(NULL) a WHERE a.pid = ANY ($1)";
    let there = client.prepare(there).await?;
    let deadline = Instant::now() + GONE_WITHIN;
    loop {
        let left: i64 = client.query_one(&there, &[&pids]).await?.try_get(0)?;
        if left == 0 || Instant::now() >= deadline {
            return Ok(usize::try_from(left).unwrap_or_default());
        }
        tokio::time::sleep(PAUSE).await;
    }
}
