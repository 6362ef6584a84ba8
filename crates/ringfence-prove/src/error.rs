//! What keeps a proof from being made. A leak is not an error: it is the finding.

use std::path::PathBuf;

/// Why there is no report.
#[derive(Debug, thiserror::Error)]
pub enum ProveError {
    /// The range's program can't be started.
    #[error("can't start the range {}: {error}; build it with `cargo build -p ringfence-range`", path.display())]
    Start {
        /// The program.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// The range ended, or said something else, before it was ready.
    #[error("the range with [{broken}] broken did not become ready: {what}")]
    NotReady {
        /// What was to be broken in it.
        broken: String,
        /// What it said or did instead.
        what: String,
    },
    /// The judge can't reach or use the range's database.
    #[error("the judge's database: {}", told(.0))]
    Judge(#[from] tokio_postgres::Error),
    /// The range's first line does not hold together.
    #[error("the range's first line: {0}")]
    Scene(&'static str),
    /// A folder or stream of our own.
    #[error(transparent)]
    Io(#[from] std::io::Error),
}

fn told(error: &tokio_postgres::Error) -> String {
    error.as_db_error().map_or_else(|| error.to_string(), |told| format!("{told:?}"))
}
