//! Arrows between crates point one way: each crate may depend on those before it in its row, and on no other of ours.

use std::path::Path;

use super::Fault;

/// A crate, and which of ours it may depend on (outside of tests).
const ALLOWED: &[(&str, &[&str])] = &[
    ("ringfence-context", &[]),
    ("ringfence-shard", &[]),
    ("ringfence-store", &["ringfence-context"]),
    ("ringfence-sdk", &["ringfence-context"]),
    ("ringfence-prove", &["ringfence-context"]),
    ("ringfence-identity", &["ringfence-context", "ringfence-store"]),
    ("ringfence-authorization", &["ringfence-context", "ringfence-store"]),
    ("ringfence-guard", &["ringfence-context"]),
    (
        "ringfence-gateway",
        &["ringfence-context", "ringfence-store", "ringfence-identity", "ringfence-authorization"],
    ),
    (
        "ringfence-control",
        &[
            "ringfence-context",
            "ringfence-store",
            "ringfence-identity",
            "ringfence-authorization",
            "ringfence-gateway",
            "ringfence-guard",
            "ringfence-sdk",
        ],
    ),
    (
        "ringfence",
        &[
            "ringfence-context",
            "ringfence-control",
            "ringfence-guard",
            "ringfence-prove",
            "ringfence-sdk",
            "ringfence-shard",
        ],
    ),
];

/// Checks every crate's manifest.
pub(super) fn check(root: &Path) -> Vec<Fault> {
    let mut faults = Vec::new();
    for (name, allowed) in ALLOWED {
        let path = root.join("crates").join(name).join("Cargo.toml");
        let Ok(manifest) = std::fs::read_to_string(&path) else {
            faults.push(format!("crates/{name}/Cargo.toml can't be read"));
            continue;
        };
        for dependency in dependencies(&manifest) {
            if !allowed.contains(&dependency.as_str()) {
                faults.push(format!("crates/{name} depends on {dependency}: arrows point the other way"));
            }
        }
    }
    faults
}

/// Crates of ours under `[dependencies]`.
fn dependencies(manifest: &str) -> Vec<String> {
    let mut inside = false;
    let mut found = Vec::new();
    for line in manifest.lines() {
        if line.starts_with('[') {
            inside = line.trim() == "[dependencies]";
        }
        let name = line.split(['.', ' ', '=']).next().unwrap_or_default();
        if inside && (name.starts_with("ringfence") || name == "ledger") {
            found.push(name.to_owned());
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_dependencies_count_and_not_those_of_tests() {
        let manifest = "[dependencies]\nringfence-context.workspace = true\nserde = \"1\"\n[dev-dependencies]\nringfence-guard.workspace = true\n";
        assert_eq!(dependencies(manifest), ["ringfence-context"]);
    }
}
