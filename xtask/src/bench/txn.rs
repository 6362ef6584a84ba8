//! What of a `Txn-Token` is signed per request and what is reused: see
//! `docs/decisions/2026-11-23-txn-token-binding.md`.

use std::process::Command;

use super::Found;
use crate::run::{Outcome, cargo, root};

/// Runs the gateway's own measurement and shows it.
pub(super) fn section(json: bool) -> Outcome<Found> {
    let bench = ["bench", "--quiet", "--package", "ringfence-gateway", "--bench", "txn"];
    cargo(&[bench.as_slice(), &["--no-run"]].concat())?;
    let ran = Command::new(env!("CARGO")).args(bench).current_dir(root()).output();
    let ran = ran.map_err(|error| format!("can't run cargo: {error}"))?;
    let told = String::from_utf8_lossy(&ran.stdout).into_owned();
    if !ran.status.success() {
        return Err(format!("{told}{}", String::from_utf8_lossy(&ran.stderr)));
    }
    let figures: Vec<(&str, f64)> = told.lines().filter_map(figure).collect();
    if json {
        let members: Vec<String> =
            figures.iter().map(|(what, micros)| format!("\"{what}\":{micros:.2}")).collect();
        return Ok(Some(format!("{{{}}}", members.join(","))));
    }
    println!("\nTxn-Token: microseconds on one thread, median of rounds\n");
    for (what, micros) in figures {
        println!("{what:<62} {micros:>8.2}");
    }
    Ok(None)
}

/// `what<TAB>microseconds`.
fn figure(line: &str) -> Option<(&str, f64)> {
    let (what, micros) = line.split_once('\t')?;
    Some((what, micros.parse().ok()?))
}
