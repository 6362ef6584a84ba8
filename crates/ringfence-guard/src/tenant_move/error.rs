//! Why a step of a move was not made.

use super::{Hindrance, pgoutput::DecodeError};
use crate::connect::is_passing;

/// Why a step of a move was not made. What the target holds is what it held before, or what its record says.
#[derive(Debug, thiserror::Error)]
pub enum MoveError {
    /// Something has to be seen to first.
    #[error("{0}")]
    Hindered(Hindrance),
    /// There is no slot, or no record.
    #[error("the move is not prepared, or was forgotten: prepare it")]
    NotPrepared,
    /// There is nothing to be brought up to date.
    #[error("nothing was copied yet: copy first")]
    NotCopied,
    /// It is not known which rows changed since the copies were equal.
    #[error("it is not known what changed since both copies were compared: verify, then settle")]
    Unverified,
    /// An UPDATE gave the tenant a row without saying all of it.
    #[error("the tenant was given a row of {table} whose large values the WAL does not repeat: copy again")]
    Incomplete {
        /// The table's name.
        table: String,
    },
    /// The table is another than when its rows were written.
    #[error("{table} was changed since it was copied: bring both places to the same schema, and copy again")]
    Changed {
        /// The table's name.
        table: String,
    },
    /// The table is not among those whose changes are kept.
    #[error("{table} was protected after the move was prepared: forget the move, and prepare it anew")]
    NotFollowed {
        /// The table's name.
        table: String,
    },
    /// A row that changed at the source is not at the target.
    #[error(
        "a row of {table} that changed at the source is not at the target: find out who else writes there, and copy again"
    )]
    Diverged {
        /// The table's name.
        table: String,
    },
    /// The copies are not equal.
    #[error(
        "{table} has {source_rows} rows of the tenant at the source and {target_rows} at the target, or some that differ: find out who else writes there, and copy again"
    )]
    Differs {
        /// The table's name.
        table: String,
        /// Rows of the tenant, of those that were compared.
        source_rows: i64,
        /// Rows of the tenant, of those that were compared.
        target_rows: i64,
    },
    /// What is written is more than can be brought.
    #[error("the tenant writes faster than that can be brought: move it when it writes less")]
    Outpaced,
    /// Another process is at it.
    #[error("another process goes on with this move: leave it to that one, or end it and try again")]
    Elsewhere,
    /// A transaction that was open before the slot was still is.
    #[error("a transaction that was already open at the source has not ended: end it, or try again later")]
    OpenTransaction,
    /// What would be deleted would be deleted at the target too.
    #[error("the move still follows what is deleted at the source: forget it first, then erase")]
    Followed,
    /// The slot speaks something else.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// Postgres refused.
    #[error("{}", match .0.as_db_error() { Some(db) => format!("{} ({})", db.message(), db.code().code()), None => .0.to_string() })]
    Postgres(#[from] tokio_postgres::Error),
}

impl MoveError {
    /// Whether it may go through when it is tried again: somebody held a lock or the slot, or the connection is gone.
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Elsewhere | Self::OpenTransaction => true,
            Self::Postgres(error) => is_passing(error),
            _ => false,
        }
    }
}
