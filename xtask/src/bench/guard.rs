//! The guard's own benchmark: what a database context costs a transaction, and PgBouncer beside it.

use super::Found;
use crate::run::{Outcome, cargo, output};

/// Debian has it where only root looks.
const PGBOUNCER: &str = "/usr/sbin/pgbouncer";

/// Whether PgBouncer is installed.
pub(super) fn there() -> bool {
    output(PGBOUNCER, &["--version"]).is_some()
}

/// Runs it; it prints for people only.
pub(super) fn section(json: bool) -> Outcome<Found> {
    if json {
        eprintln!("guard: prints for people only, run it without --json");
        return Ok(None);
    }
    println!("\nDatabase context: what it costs a transaction\n");
    let bench =
        ["bench", "--quiet", "--profile", "dist", "--package", "ringfence-guard", "--bench", "context", "--"];
    cargo(&[&bench[..], &["--pgbouncer", PGBOUNCER]].concat())?;
    Ok(None)
}
