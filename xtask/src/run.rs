//! Running programs.

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// What a task ends in.
pub(crate) type Outcome<T = ()> = Result<T, String>;

/// The root of the repository.
#[expect(
    clippy::disallowed_methods,
    reason = "cargo says where the crate it runs is; a target directory may be shared"
)]
pub(crate) fn root() -> PathBuf {
    let xtask = std::env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
    Path::new(&xtask).parent().map(Path::to_owned).unwrap_or_default()
}

/// Where cargo puts what it builds.
#[expect(clippy::disallowed_methods, reason = "cargo is configured by its environment")]
pub(crate) fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from)
}

/// Runs a program in the repository; it must succeed.
pub(crate) fn run(program: &str, arguments: &[&str]) -> Outcome {
    let shown = format!("{program} {}", arguments.join(" "));
    eprintln!("\n$ {shown}");
    let status = Command::new(program).args(arguments).current_dir(root()).status();
    match status {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("failed ({status}): {shown}")),
        Err(error) => Err(format!("can't run {program}: {error}")),
    }
}

/// Runs cargo.
pub(crate) fn cargo(arguments: &[&str]) -> Outcome {
    run(env!("CARGO"), arguments)
}

/// What a program prints, if it succeeds.
pub(crate) fn output(program: &str, arguments: &[&str]) -> Option<String> {
    let output =
        Command::new(program).args(arguments).current_dir(root()).stderr(Stdio::null()).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
