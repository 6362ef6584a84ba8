//! Decisions by policies and by tenants, memory, and proofs: the authorization crate's own measurement.

use std::process::Command;

use super::Found;
use crate::run::{Outcome, cargo, root};

const BENCH: &[&str] = &["bench", "--quiet", "--package", "ringfence-authorization", "--bench", "decide"];

/// Runs it. It prints tables, or one JSON object.
pub(super) fn section(json: bool) -> Outcome<Found> {
    if !json {
        println!("\nDecisions, memory and proofs\n");
        cargo(BENCH)?;
        return Ok(None);
    }
    cargo(&[BENCH, &["--no-run"]].concat())?;
    let ran = Command::new(env!("CARGO")).args(BENCH).args(["--", "--json"]).current_dir(root()).output();
    let ran = ran.map_err(|error| format!("can't run cargo: {error}"))?;
    if !ran.status.success() {
        return Err(String::from_utf8_lossy(&ran.stderr).into_owned());
    }
    Ok(Some(String::from_utf8_lossy(&ran.stdout).trim().to_owned()))
}
