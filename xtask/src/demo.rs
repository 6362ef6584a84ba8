//! The demo: from nothing to three tenants on one app.

use std::{fs, os::unix::fs::MetadataExt, path::Path};

use crate::{
    run::{Outcome, cargo, root, run, target},
    setup::setup,
};

/// The demo's state where nobody but root may enter the repository: Postgres never runs as root.
const ELSEWHERE: &str = "/var/lib/ringfence-demo";

/// Sets up, builds, and runs the demo until Ctrl-C.
pub(crate) fn demo(flags: &[String]) -> Outcome {
    setup()?;
    cargo(&["build", "--package", "ringfence", "--package", "ledger"])?;
    let program = target().join("debug/ringfence").display().to_string();
    let mut arguments = vec!["up", "--demo"];
    arguments.extend(flags.iter().map(String::as_str));
    let named = flags.iter().any(|flag| flag == "--dir" || flag.starts_with("--dir="));
    if let Some(closed) = closed_to_others(&root()).filter(|_| !named) {
        eprintln!("\nPostgres, which never runs as root, may not enter {closed}: state goes to {ELSEWHERE}");
        arguments.extend(["--dir", ELSEWHERE]);
    }
    run(&program, &arguments)
}

/// For root: the folder on the way to `folder` that other users may not enter.
fn closed_to_others(folder: &Path) -> Option<String> {
    let as_root = fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0);
    let open = |folder: &Path| fs::metadata(folder).is_ok_and(|found| found.mode() & 1 == 1);
    let closed = folder.ancestors().find(|ancestor| !open(ancestor));
    closed.filter(|_| as_root).map(|closed| closed.display().to_string())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_repository_below_a_folder_of_roots_own_is_found_out() {
        let folder = std::env::temp_dir().join(format!("rf-demo-{}", std::process::id()));
        let inside = folder.join("ringfence");
        fs::create_dir_all(&inside).unwrap();
        let mode = |mode| fs::set_permissions(&folder, fs::Permissions::from_mode(mode)).unwrap();
        mode(0o755);
        let open = closed_to_others(&inside);
        mode(0o700);
        let closed = closed_to_others(&inside);
        fs::remove_dir_all(&folder).unwrap();
        assert_eq!(open, None);
        let as_root = fs::metadata("/proc/self").unwrap().uid() == 0;
        assert_eq!(closed, as_root.then(|| folder.display().to_string()));
    }
}
