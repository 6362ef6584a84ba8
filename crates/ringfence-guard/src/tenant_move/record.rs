//! What the target knows of a move: a row of `ringfence.tenant_move`, written together with the rows it speaks of.
//!
//! It guarantees that two processes never carry out one move at once: whoever writes the row has seen it as the one before left it.

use ringfence_context::TenantId;
use tokio_postgres::{Client, types::PgLsn};

use super::{MoveError, Phase, snapshot::Snapshot};
use crate::role::RoleName;

/// That row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) phase: Phase,
    /// What the target had at once; none where it began as the slot did.
    pub(super) snapshot: Option<Snapshot>,
    /// The commit of the last transaction that was applied, in the source's WAL: none before it is to be applied again.
    pub(super) applied: u64,
}

impl Phase {
    fn as_str(self) -> &'static str {
        match self {
            Self::Prepared => "prepared",
            Self::Following => "following",
        }
    }
}

impl Record {
    /// Reads it.
    pub(super) async fn find(target: &Client, name: &RoleName) -> Result<Option<Self>, MoveError> {
        let sql = "SELECT phase, snapshot::text, applied FROM ringfence.tenant_move WHERE name = $1";
        let Some(row) = target.query_opt(sql, &[&name.as_str()]).await? else { return Ok(None) };
        let (phase, snapshot): (&str, Option<&str>) = (row.try_get(0)?, row.try_get(1)?);
        let phase = if phase == Phase::Following.as_str() { Phase::Following } else { Phase::Prepared };
        let applied = u64::from(row.try_get::<_, PgLsn>(2)?);
        Ok(Some(Self { phase, snapshot: snapshot.and_then(Snapshot::read), applied }))
    }

    /// Writes it anew.
    pub(super) async fn put(
        target: &Client,
        name: &RoleName,
        tenant: &TenantId,
        phase: Phase,
    ) -> Result<(), MoveError> {
        let sql = "INSERT INTO ringfence.tenant_move (name, tenant_id, phase) VALUES ($1, $2, $3)
            ON CONFLICT (name) DO UPDATE SET tenant_id = excluded.tenant_id, phase = excluded.phase,
                snapshot = NULL, applied = '0/0'";
        target.execute(sql, &[&name.as_str(), &tenant.as_str(), &phase.as_str()]).await?;
        Ok(())
    }

    /// Holds it until the transaction ends.
    ///
    /// # Errors
    /// [`MoveError::Elsewhere`] where it is not as it was read.
    pub(super) async fn hold(&self, target: &Client, name: &RoleName) -> Result<(), MoveError> {
        let sql = "SELECT FROM ringfence.tenant_move WHERE name = $1 AND phase = $2 AND applied = $3
            AND snapshot::text IS NOT DISTINCT FROM $4 FOR UPDATE";
        let snapshot = self.snapshot.as_ref().map(Snapshot::to_string);
        let applied = PgLsn::from(self.applied);
        let held =
            target.query_opt(sql, &[&name.as_str(), &self.phase.as_str(), &applied, &snapshot]).await?;
        held.map(drop).ok_or(MoveError::Elsewhere)
    }

    /// Writes it over the one that is held.
    pub(super) async fn set(&self, target: &Client, name: &RoleName) -> Result<(), MoveError> {
        let sql = "UPDATE ringfence.tenant_move SET phase = $2, applied = $3, snapshot = $4::text::pg_snapshot WHERE name = $1";
        let snapshot = self.snapshot.as_ref().map(Snapshot::to_string);
        let applied = PgLsn::from(self.applied);
        target.execute(sql, &[&name.as_str(), &self.phase.as_str(), &applied, &snapshot]).await?;
        Ok(())
    }
}
