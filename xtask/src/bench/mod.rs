//! Benchmarks: what the chain costs, as ratios against a baseline of the same run.
//!
//! On a shared machine only ratios within one run travel, so that nothing is compared with a number written down
//! elsewhere. A missed target is said and fails nothing: benchmarks are not tests. A wrong answer does.

mod avp;
mod bomb;
mod decide;
mod gateway;
mod guard;
mod lint;
mod load;
mod measure;
mod nginx;
mod plane;
mod process;
mod scratch;
mod table;
mod txn;

use crate::{
    run::Outcome,
    setup::{install, setup},
};

/// What one section found, as a JSON object; nothing where it prints for people only.
type Found = Option<String>;

/// A section with its name.
type Section = (&'static str, fn(bool) -> Outcome<Found>);

const SECTIONS: &[Section] = &[
    ("gateway", gateway::section),
    ("txn", txn::section),
    ("avp", avp::section),
    ("bomb", bomb::section),
    ("decide", decide::section),
    ("guard", guard::section),
    ("crowd", guard::crowd),
    ("move", guard::tenant_move),
    ("lint", lint::section),
];

/// What load generation and the baselines need, beside what everything needs.
const NEEDED: &[crate::setup::Need] =
    &[("nginx, the baseline", nginx::there, "nginx-light"), ("wrk, the load generator", load::there, "wrk")];

/// What the guard is compared with.
const POOLER: &[crate::setup::Need] = &[("PgBouncer, the other pooler", guard::there, "pgbouncer")];

/// Runs every section, or those named. With `--json` standard output is one JSON object.
pub(crate) fn bench(arguments: &[String]) -> Outcome {
    let json = arguments.iter().any(|argument| argument == "--json");
    let named: Vec<&str> = arguments.iter().map(String::as_str).filter(|name| *name != "--json").collect();
    if named.iter().any(|name| SECTIONS.iter().all(|(section, _)| section != name)) {
        return Err(crate::USAGE.to_owned());
    }
    setup()?;
    let mut found = Vec::new();
    for (name, section) in SECTIONS {
        if !named.is_empty() && !named.contains(name) {
            continue;
        }
        if ["gateway", "avp", "bomb"].contains(name) {
            install(NEEDED)?;
        }
        if *name == "guard" {
            install(POOLER)?;
        }
        if let Some(object) = section(json).map_err(|message| format!("{name}: {message}"))? {
            found.push(format!("\"{name}\":{object}"));
        }
    }
    if json {
        println!("{{{}}}", found.join(","));
    }
    Ok(())
}
