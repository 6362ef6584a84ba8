//! Every check, in the order in which a fault shows cheapest.

use std::time::Instant;

use crate::{
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
    ("unit", unit),
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
    cargo(&["fmt", "--all", "--check"])
}

/// The range is checked by itself: with it, cargo would build the kernel with the range's doors for everyone.
fn clippy() -> Outcome {
    cargo(&[
        "clippy",
        "--workspace",
        "--exclude",
        "ringfence-range",
        "--all-targets",
        "--",
        "--deny",
        "warnings",
    ])?;
    cargo(&["clippy", "--package", "ringfence-range", "--all-targets", "--", "--deny", "warnings"])
}

/// Unit, property, compile-fail and integration tests, against the real Postgres.
fn unit() -> Outcome {
    // The sample app stands beside the binary whose tests run it.
    cargo(&["build", "--package", "ledger"])?;
    cargo(&["test", "--workspace", "--exclude", "ringfence-range"])
}

/// The range's own tests, and that the serving binary has none of its doors.
fn range() -> Outcome {
    cargo(&["test", "--package", "ringfence-range"])?;
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
    cargo(&["build", "--package", "ringfence"])?;
    cargo(&["build", "--package", "ringfence-range"])?;
    let program = target().join("debug/ringfence").display().to_string();
    run(&program, &["prove", "--only", "intact"])?;
    run(&program, &["prove", "--only", "single"])
}
