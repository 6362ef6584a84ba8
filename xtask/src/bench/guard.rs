//! The guard's own benchmark: what a database context costs a transaction.

use super::Found;
use crate::run::{Outcome, cargo};

/// Runs it; it prints for people only.
pub(super) fn section(json: bool) -> Outcome<Found> {
    if json {
        eprintln!("guard: prints for people only, run it without --json");
        return Ok(None);
    }
    println!("\nDatabase context: what it costs a transaction\n");
    cargo(&["bench", "--quiet", "--package", "ringfence-guard", "--bench", "context"])?;
    Ok(None)
}
