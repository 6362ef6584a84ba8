//! Fuzzing: the targets in `fuzz/`, by libFuzzer, on the stable compiler.
//!
//! Nothing here is unsafe code, so no sanitizer is needed: what is counted are the branches taken and the values compared
//! (the flags are those that `cargo fuzz --sanitizer none` gives).

use std::process::Command;

use crate::{
    run::{Outcome, output, root, target},
    setup::setup,
};

const TARGETS: &[&str] =
    &["avp", "authzen", "entity", "foreign", "login", "pgoutput", "policy", "startup", "wire"];

const COVERAGE: &str = "--cfg fuzzing -Cpasses=sancov-module -Ccodegen-units=1 -Cllvm-args=-sanitizer-coverage-level=4 \
                        -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
                        -Cllvm-args=-sanitizer-coverage-trace-compares";

/// How long one input may take before it counts as a fault, in seconds.
const TIMEOUT: &str = "-timeout=10";

/// The longest input, in bytes.
const LONGEST: &str = "-max_len=16384";

/// Runs every target, or the one named, for some seconds each. What is found stays in `fuzz/artifacts`.
pub(crate) fn fuzz(arguments: &[String]) -> Outcome {
    let (mut chosen, mut seconds) = (TARGETS.to_vec(), 60_u32);
    let mut rest = arguments.iter().map(String::as_str);
    while let Some(argument) = rest.next() {
        match (argument, TARGETS.iter().find(|name| **name == argument)) {
            ("--seconds", _) => {
                let said = rest.next().and_then(|said| said.parse().ok()).filter(|seconds| *seconds > 0);
                seconds = said.ok_or("--seconds takes a number of seconds, at least 1")?;
            }
            (_, Some(name)) => chosen = vec![*name],
            _ => return Err(format!("a target is one of: {}", TARGETS.join(", "))),
        }
    }
    setup()?;
    let version = output("rustc", &["-vV"]).ok_or("rustc does not run")?;
    let host = version.lines().find_map(|line| line.strip_prefix("host: ")).ok_or("rustc names no host")?;
    let built = target().join("fuzz");
    for name in chosen {
        let (corpus, artifacts) = (root().join("fuzz/corpus").join(name), root().join("fuzz/artifacts"));
        for folder in [&corpus, &artifacts] {
            std::fs::create_dir_all(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
        }
        let mut command = Command::new(env!("CARGO"));
        // With a target named, the flags are for it alone, and not for what runs while building.
        command.args(["run", "--profile", "fuzz", "--package", "ringfence-fuzz", "--features", "libfuzzer"]);
        command.args(["--target", host]);
        command
            .arg("--target-dir")
            .arg(&built)
            .args(["--bin", name])
            .arg("--")
            .arg(&corpus)
            .arg(root().join("fuzz/seeds").join(name));
        command.arg(format!("-artifact_prefix={}/{name}-", artifacts.display()));
        command.arg(format!("-max_total_time={seconds}")).args([TIMEOUT, LONGEST, "-print_final_stats=1"]);
        eprintln!("\nfuzzing       {name}, {seconds} s");
        let status = command.current_dir(root()).env("RUSTFLAGS", COVERAGE).status();
        match status {
            Ok(status) if status.success() => {}
            Ok(_) => {
                return Err(format!(
                    "{name}: a fault was found; its input is in fuzz/artifacts. To see it again, give the file to the \
                     program in {}",
                    built.join(host).join("fuzz").display()
                ));
            }
            Err(error) => return Err(format!("can't run cargo: {error}")),
        }
    }
    Ok(())
}
