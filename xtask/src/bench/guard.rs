//! The guard's own benchmarks: what a database context costs a transaction, with PgBouncer beside it; many tenants at once; and
//! how long it takes to move one.

use std::{
    fs,
    process::{Command, Stdio},
};

use super::Found;
use crate::run::{Outcome, output, root, target};

/// Debian has it where only root looks.
const PGBOUNCER: &str = "/usr/sbin/pgbouncer";

/// How much a tenant has that is moved, in MiB.
const MOVED: &str = "1024";

/// Whether PgBouncer is installed.
pub(super) fn there() -> bool {
    output(PGBOUNCER, &["--version"]).is_some()
}

/// What a context costs.
pub(super) fn section(json: bool) -> Outcome<Found> {
    let title = "Database context: what it costs a transaction";
    found("context", title, &["--pgbouncer", PGBOUNCER], json)
}

/// As many tenants as sessions, each transaction another's.
pub(super) fn crowd(json: bool) -> Outcome<Found> {
    found("crowd", "Many tenants at once", &[], json)
}

/// Moving a tenant.
pub(super) fn tenant_move(json: bool) -> Outcome<Found> {
    found("tenant_move", "Moving a tenant", &[MOVED], json)
}

/// Runs one of them; what it says to people goes where it is not in the way.
fn found(bench: &str, title: &str, more: &[&str], json: bool) -> Outcome<Found> {
    let file = target().join(format!("{bench}.json"));
    let path = file.display().to_string();
    let stdout = if json { Stdio::from(std::io::stderr()) } else { Stdio::inherit() };
    if !json {
        println!("\n{title}\n");
    }
    let status = Command::new(env!("CARGO"))
        .args([
            "bench",
            "--quiet",
            "--profile",
            "dist",
            "--package",
            "ringfence-guard",
            "--bench",
            bench,
            "--",
        ])
        .args(more)
        .args(["--figures", &path])
        .current_dir(root())
        .stdout(stdout)
        .status()
        .map_err(|error| format!("can't run cargo: {error}"))?;
    if !status.success() {
        return Err(format!("the benchmark {bench} ended with {status}"));
    }
    json.then(|| fs::read_to_string(&file).map_err(|error| format!("{path}: {error}"))).transpose()
}
