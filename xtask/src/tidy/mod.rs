//! House rules that no compiler checks: sizes of files and functions, arrows between crates, invariants and bounds that
//! have real tests.

mod arrows;
mod invariants;
mod limits;
mod size;

use std::path::{Path, PathBuf};

use crate::run::{Outcome, root};

/// One thing that is not as it should be: where, and what to do.
pub(crate) type Fault = String;

/// Checks every rule, and says all faults at once.
pub(crate) fn tidy() -> Outcome {
    let root = root();
    let sources = sources(&root);
    if sources.is_empty() {
        return Err("no source files found: run it inside the repository".to_owned());
    }
    let mut faults: Vec<Fault> = Vec::new();
    faults.extend(size::check(&root, &sources));
    faults.extend(arrows::check(&root));
    faults.extend(invariants::check(&root, &sources));
    faults.extend(limits::check(&root, &sources));
    if faults.is_empty() {
        eprintln!("tidy: {} files", sources.len());
        return Ok(());
    }
    Err(faults.join("\n"))
}

/// Every Rust file with its text, but for what is built.
fn sources(root: &Path) -> Vec<(PathBuf, String)> {
    let mut files = Vec::new();
    for folder in ["crates", "examples", "xtask"] {
        collect(&root.join(folder), &mut files);
    }
    files.sort();
    files
}

fn collect(folder: &Path, files: &mut Vec<(PathBuf, String)>) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            if path.file_name().is_none_or(|name| name != "target") {
                collect(&path, files);
            }
        } else if path.extension().is_some_and(|extension| extension == "rs")
            && let Ok(text) = std::fs::read_to_string(&path)
        {
            files.push((path, text));
        }
    }
}
