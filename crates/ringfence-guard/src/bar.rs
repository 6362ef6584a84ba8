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

/// How long before it is looked again whether transactions have ended.
const PAUSE: Duration = Duration::from_millis(5);

/// How long a session that is ended may take to go.
const GONE_WITHIN_MS: i64 = 5_000;

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
        for session in &sessions {
            let (pid, busy): (i32, bool) = (session.try_get(0)?, session.try_get(1)?);
            if busy && !late {
                continue;
            }
            client.execute("SELECT pg_terminate_backend($1, $2)", &[&pid, &GONE_WITHIN_MS]).await?;
            ended.sessions += 1;
            ended.transactions += usize::from(busy);
        }
        if sessions.is_empty() || late {
            ended.sessions += revoked?.sessions;
            return Ok(ended);
        }
        tokio::time::sleep(PAUSE).await;
    }
}
