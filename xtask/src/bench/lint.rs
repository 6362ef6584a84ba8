//! What a database lets out, by `ringfence data lint` and by others: the guard crate's own comparison.

use std::{path::Path, process::Command};

use super::Found;
use crate::run::{Outcome, cargo, root, run, target};

/// The versions compared with.
const PGRLS: &str = "pgrls==0.57.1";
const SPLINTER: &str = "https://raw.githubusercontent.com/supabase/splinter/55db5b1f28e58d816f7d9136eed87eabcd95868d/splinter.sql";

/// Runs it, after getting the others into the target folder. Who can't be got is not asked.
pub(super) fn section(json: bool) -> Outcome<Found> {
    let folder = target().join("lint");
    std::fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let venv = folder.join("pgrls").display().to_string();
    let splinter = folder.join("splinter.sql").display().to_string();
    let mut more: Vec<String> = Vec::new();
    let installed = run("python3", &["-m", "venv", &venv])
        .and_then(|()| run(&format!("{venv}/bin/pip"), &["install", "--quiet", PGRLS]));
    match installed {
        Ok(()) => more.extend(["--pgrls".to_owned(), format!("{venv}/bin/pgrls")]),
        Err(error) => eprintln!("pgrls is not asked: {error}"),
    }
    let got = match Path::new(&splinter).exists() {
        true => Ok(()),
        false => run("curl", &["--fail", "--silent", "--show-error", "--output", &splinter, SPLINTER]),
    };
    match got {
        Ok(()) => more.extend(["--splinter".to_owned(), splinter]),
        Err(error) => eprintln!("splinter is not asked: {error}"),
    }
    let mut arguments = vec!["bench", "--quiet", "--package", "ringfence-guard", "--bench", "lint", "--"];
    arguments.extend(more.iter().map(String::as_str));
    if !json {
        println!("\nHoles, each in a database that has no other\n");
        cargo(&arguments)?;
        return Ok(None);
    }
    arguments.push("--json");
    let ran = Command::new(env!("CARGO")).args(&arguments).current_dir(root()).output();
    let ran = ran.map_err(|error| format!("can't run cargo: {error}"))?;
    if !ran.status.success() {
        return Err(String::from_utf8_lossy(&ran.stderr).into_owned());
    }
    Ok(Some(String::from_utf8_lossy(&ran.stdout).trim().to_owned()))
}
