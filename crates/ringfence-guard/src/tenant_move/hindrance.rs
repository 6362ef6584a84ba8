//! What stands in the way of a move, looked for before anything is made.

use std::fmt;

use tokio_postgres::Client;

use super::{MoveError, Side, Start, TenantMove, plan::Plan, record::Record, references, session};
use crate::tenant_move::Phase;

/// One thing that stands in the way. Says what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Hindrance {
    /// The source's WAL can't be decoded.
    #[error("the source's wal_level is {found}: set it to logical, and start that Postgres again")]
    WalLevel {
        /// What it is.
        found: String,
    },
    /// Every slot is in use.
    #[error(
        "all {slots} replication slots of the source are in use: drop one, or set max_replication_slots higher and start that Postgres again"
    )]
    NoSlot {
        /// How many there are.
        slots: i64,
    },
    /// The name is another slot's.
    #[error("the source has a slot {name} that is not this move's: give the move another name")]
    NameTaken {
        /// The name.
        name: String,
    },
    /// The administrator may not do it.
    #[error("the administrator of the {side} may not bypass row security{}: ALTER ROLE ... BYPASSRLS REPLICATION, or use a superuser", if *side == Side::Source { " and replicate" } else { "" })]
    Role {
        /// Where.
        side: Side,
    },
    /// Nor this.
    #[error(
        "the administrator of the {side} may not set session_replication_role: GRANT SET ON PARAMETER session_replication_role TO it"
    )]
    ReplicationRole {
        /// Where.
        side: Side,
    },
    /// Ringfence is not there, or an old one.
    #[error("the {side} has no schema of this Ringfence: install it there first")]
    NotInstalled {
        /// Where.
        side: Side,
    },
    /// From one place to the same.
    #[error("source and target are one schema of one database: nothing is to be moved")]
    SamePlace,
    /// Texts are kept in different ways.
    #[error(
        "the source's encoding is {source_encoding} and the target's {target_encoding}: make the target with the source's"
    )]
    Encoding {
        /// At the source.
        source_encoding: String,
        /// At the target.
        target_encoding: String,
    },
    /// There are no tables to be moved.
    #[error("no table of the source's schema {schema} is protected: protect those whose rows are tenants'")]
    NothingProtected {
        /// The schema.
        schema: String,
    },
    /// Rows can't be told apart.
    #[error("{table} has no primary key: give it one that begins with the tenant's column")]
    NoPrimaryKey {
        /// The table's name.
        table: String,
    },
    /// The WAL does not say whose a changed row was.
    #[error(
        "the replica identity of {table} does not hold {column}: put that into its primary key, or ALTER TABLE ... REPLICA IDENTITY FULL"
    )]
    Identity {
        /// The table's name.
        table: String,
        /// The tenant's column.
        column: String,
    },
    /// The WAL says nothing of the table.
    #[error("{table} is not logged: ALTER TABLE ... SET LOGGED")]
    Unlogged {
        /// The table's name.
        table: String,
    },
    /// Rows of one are another's as well.
    #[error(
        "{table} is partitioned, a partition, or inherits: a tenant can't be moved out of or into such a table"
    )]
    Partitioned {
        /// The table's name.
        table: String,
    },
    /// Nowhere to put rows.
    #[error("{table} is not at the target: bring both places to the same schema")]
    TableMissing {
        /// The table's name.
        table: String,
    },
    /// Nowhere to put values.
    #[error("{table} has no column {column} at the target: bring both places to the same schema")]
    ColumnMissing {
        /// The table's name.
        table: String,
        /// The column's.
        column: String,
    },
    /// Nothing to put there.
    #[error(
        "{table} has a column {column} at the target that may not be empty and is not at the source: bring both places to the same schema"
    )]
    ColumnExtra {
        /// The table's name.
        table: String,
        /// The column's.
        column: String,
    },
    /// Values are other values.
    #[error(
        "{table}.{column} is {source_type} at the source and {target_type} at the target: bring both places to the same schema"
    )]
    TypeDiffers {
        /// The table's name.
        table: String,
        /// The column's.
        column: String,
        /// At the source.
        source_type: String,
        /// At the target.
        target_type: String,
    },
    /// Values are computed at one place only.
    #[error(
        "{table}.{column} is generated at one place and not at the other: bring both places to the same schema"
    )]
    Generated {
        /// The table's name.
        table: String,
        /// The column's.
        column: String,
    },
    /// What rows point at is not there.
    #[error(
        "rows of {table} point at rows of {referenced} that are not at the target ({constraint}): copy that table there first"
    )]
    ReferenceMissing {
        /// The table's name.
        table: String,
        /// The other's, with its schema.
        referenced: String,
        /// The foreign key's.
        constraint: String,
    },
    /// Rows are there already.
    #[error(
        "{table} holds rows of the tenant at the target that this move did not bring: erase them there, if they are of no use"
    )]
    RowsAtTarget {
        /// The table's name.
        table: String,
    },
}

impl fmt::Display for Side {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Source => "source",
            Self::Target => "target",
        })
    }
}

/// Looks for all of them.
pub(super) async fn find(of: &TenantMove, start: Start) -> Result<Vec<Hindrance>, MoveError> {
    let source = session::open(&of.source).await?;
    let target = match session::open_replica(&of.target, Side::Target).await {
        Err(MoveError::Hindered(hindrance)) => return Ok(vec![hindrance]),
        other => other?,
    };
    let mut found = server(of, &source).await?;
    for (side, client) in [(Side::Source, &source), (Side::Target, &target)] {
        found.extend(place(side, client).await?);
    }
    let unreadable =
        |found: &Hindrance| matches!(found, Hindrance::NotInstalled { .. } | Hindrance::Role { .. });
    if found.iter().any(unreadable) {
        return Ok(found);
    }
    found.extend(together(of, &source, &target).await?);
    let (plan, unfit) = Plan::read(&source, &target, (&of.source, &of.target)).await?;
    let fits = unfit.is_empty() && !found.contains(&Hindrance::SamePlace);
    found.extend(unfit);
    if fits {
        found.extend(references::find(&source, &target, &plan, &of.tenant).await?);
        let ours = Record::find(&target, &of.name).await?;
        if start == Start::Copy && ours.is_none_or(|record| record.phase == Phase::Prepared) {
            found.extend(rows(of, &target, &plan).await?);
        }
    }
    Ok(found)
}

/// What the source's server lacks.
async fn server(of: &TenantMove, source: &Client) -> Result<Vec<Hindrance>, MoveError> {
    let sql = "SELECT current_setting('wal_level'), current_setting('max_replication_slots')::bigint, count(*),
            count(*) FILTER (WHERE slot_name = $1::text::name),
            count(*) FILTER (WHERE slot_name = $1::text::name AND plugin = 'pgoutput' AND database = current_database())
        FROM pg_replication_slots";
    let row = source.query_one(sql, &[&of.name.as_str()]).await?;
    let (level, slots, used): (String, i64, i64) = (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
    let (named, ours): (i64, i64) = (row.try_get(3)?, row.try_get(4)?);
    let mut found = Vec::new();
    if level != "logical" {
        found.push(Hindrance::WalLevel { found: level });
    }
    if named > ours {
        found.push(Hindrance::NameTaken { name: of.name.to_string() });
    } else if named == 0 && used >= slots {
        found.push(Hindrance::NoSlot { slots });
    }
    Ok(found)
}

/// What one of both lacks.
async fn place(side: Side, client: &Client) -> Result<Vec<Hindrance>, MoveError> {
    let sql = "SELECT r.rolsuper OR r.rolbypassrls AND (r.rolreplication OR $1),
            to_regclass('ringfence.tenant_move') IS NOT NULL FROM pg_roles r WHERE r.rolname = current_user";
    let row = client.query_one(sql, &[&(side == Side::Target)]).await?;
    let (able, installed): (bool, bool) = (row.try_get(0)?, row.try_get(1)?);
    let mut found = Vec::new();
    if !able {
        found.push(Hindrance::Role { side });
    }
    if !installed {
        found.push(Hindrance::NotInstalled { side });
    }
    Ok(found)
}

/// What does not go together.
async fn together(of: &TenantMove, source: &Client, target: &Client) -> Result<Vec<Hindrance>, MoveError> {
    let sql = "SELECT current_setting('server_encoding'), current_database()::text,
        (SELECT system_identifier FROM pg_control_system())";
    let (here, there) = (source.query_one(sql, &[]).await?, target.query_one(sql, &[]).await?);
    let (source_encoding, target_encoding): (String, String) = (here.try_get(0)?, there.try_get(0)?);
    let place =
        |row: &tokio_postgres::Row| Ok::<(String, i64), MoveError>((row.try_get(1)?, row.try_get(2)?));
    let mut found = Vec::new();
    if place(&here)? == place(&there)? && of.source.schema == of.target.schema {
        found.push(Hindrance::SamePlace);
    }
    if source_encoding != target_encoding {
        found.push(Hindrance::Encoding { source_encoding, target_encoding });
    }
    Ok(found)
}

/// Rows of the tenant that are at the target.
async fn rows(of: &TenantMove, target: &Client, plan: &Plan) -> Result<Vec<Hindrance>, MoveError> {
    let mut found = Vec::new();
    for table in &plan.tables {
        let sql = format!("SELECT FROM {} WHERE {} = $1 LIMIT 1", table.target, table.tenant_sql);
        if target.query_opt(&sql, &[&of.tenant.as_str()]).await?.is_some() {
            found.push(Hindrance::RowsAtTarget { table: table.name.clone() });
        }
    }
    Ok(found)
}
