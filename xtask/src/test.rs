//! Every check, in the order in which a fault shows cheapest.

use std::time::Instant;

use crate::{
    postgres,
    run::{Outcome, cargo, output, run, target},
    setup::setup,
    tidy::tidy,
};

/// A step with its name.
type Step = (&'static str, fn() -> Outcome);

const STEPS: &[Step] = &[
    ("format", format),
    ("tidy", tidy),
    ("clippy", clippy),
    ("sdk", sdk),
    ("unit", unit),
    ("postgres", postgres::newest),
    ("range", range),
    ("prove", prove),
];

/// Sets up and runs every step, or the one named.
#[expect(clippy::disallowed_methods, reason = "says how long each step took")]
pub(crate) fn test(arguments: &[String]) -> Outcome {
    let only = match arguments {
        [] => None,
        [flag, step] if flag == "--only" && STEPS.iter().any(|(name, _)| name == step) => Some(step.as_str()),
        _ => return Err(crate::USAGE.to_owned()),
    };
    setup()?;
    let mut times = Vec::new();
    for (name, step) in STEPS.iter().filter(|(name, _)| only.is_none_or(|only| only == *name)) {
        let began = Instant::now();
        step().map_err(|message| format!("{name}: {message}"))?;
        times.push(format!("{name} {} s", began.elapsed().as_secs()));
    }
    eprintln!("\nevery check passed: {}", times.join(", "));
    Ok(())
}

fn format() -> Outcome {
    cargo(&["fmt", "--all", "--check"])?;
    CLIENTS.iter().try_for_each(|(manifest, _)| cargo(&["fmt", "--manifest-path", manifest, "--check"]))
}

/// Clients that tests run, each a workspace of its own, and where they are built: the AWS SDK for Rust, for the policy
/// service, and sqlx, for the guard.
const CLIENTS: &[(&str, &str)] =
    &[("tests/avp/sdk-rust/Cargo.toml", "avp-sdk"), ("tests/guard/sqlx/Cargo.toml", "guard-sqlx")];

/// Builds them, so that what it takes is told apart from the tests that use them.
fn sdk() -> Outcome {
    CLIENTS.iter().try_for_each(|(manifest, folder)| {
        let folder = target().join(folder).display().to_string();
        cargo(&["build", "--quiet", "--locked", "--manifest-path", manifest, "--target-dir", &folder])
    })
}

/// The workspace without the range: with it, cargo would build the kernel with the range's doors for everyone. Every step
/// names the whole workspace, also where it wants one program, so that dependencies have the same features in each and
/// are compiled once.
pub(crate) const WITHOUT_RANGE: &[&str] = &["--workspace", "--exclude", "ringfence-range"];

/// The range's program, and nothing of what the others are tested with.
const RANGE: &[&str] = &["--workspace", "--bin", "ringfence-range"];

fn clippy() -> Outcome {
    let deny = ["--", "--deny", "warnings"];
    cargo(&[&["clippy"], WITHOUT_RANGE, &["--all-targets"], &deny].concat())?;
    cargo(&[&["clippy"], RANGE, &["--profile", "test"], &deny].concat())
}

/// Unit, property, compile-fail and integration tests, against the real Postgres.
fn unit() -> Outcome {
    // The sample app stands beside the binary whose tests run it.
    cargo(&[&["build"], WITHOUT_RANGE, &["--bins", "--tests"]].concat())?;
    cargo(&[&["test"], WITHOUT_RANGE].concat())
}

/// The range's own tests, and that the serving binary has none of its doors.
fn range() -> Outcome {
    cargo(&[&["test"], RANGE].concat())?;
    let tree = ["tree", "--package", "ringfence", "--edges", "normal,features", "--prefix", "none"];
    let tree = output(env!("CARGO"), &tree).ok_or("cargo tree failed")?;
    let doors = [
        "ringfence-context feature \"range\"",
        "ringfence-authorization feature \"range\"",
        "ringfence-range",
    ];
    if tree.lines().any(|line| doors.iter().any(|door| line.starts_with(door))) {
        return Err("the serving binary is built with the range's doors".to_owned());
    }
    Ok(())
}

/// The intact chain and each single knock-out, attacked.
fn prove() -> Outcome {
    cargo(&[&["build"], WITHOUT_RANGE, &["--bins", "--tests"]].concat())?;
    // An example, for then it is built with the features that tests bring; there is none of that name in the range.
    cargo(&[&["build"], RANGE, &["--example", "bare"]].concat())?;
    let program = target().join("debug/ringfence").display().to_string();
    run(&program, &["prove", "--only", "intact"])?;
    run(&program, &["prove", "--only", "single"])
}
