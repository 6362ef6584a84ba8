//! What a decision costs, by policies, by tenants and by what is stored:
//! `cargo bench -p ringfence-authorization [-- --json] [-- --quick] [-- --entities]`.
//!
//! Medians of interleaved rounds, and ratios within one run: on a shared machine only those travel. `--quick` leaves the
//! million tenants out; `--entities` measures what stored entities cost, and nothing else; `--json` prints one object instead of tables.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    clippy::print_stdout,
    clippy::cast_precision_loss,
    dead_code,
    reason = "a benchmark measures time, prints it, and fails by panicking; it shares the tests' fixture"
)]

mod entities;
#[path = "../../tests/it/fixture.rs"]
mod fixture;
mod policies;
mod proofs;
mod targets;
mod tenants;

use std::time::Instant;

use serde_json::json;

/// Median microseconds of `body`, of `rounds` rounds of `times` calls.
fn micros(rounds: usize, times: usize, mut body: impl FnMut()) -> f64 {
    median(
        (0..rounds)
            .map(|_| {
                let start = Instant::now();
                (0..times).for_each(|_| body());
                start.elapsed().as_secs_f64() * 1e6 / times as f64
            })
            .collect(),
    )
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Resident memory of this process in bytes (proc(5), statm).
fn resident() -> f64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm.split(' ').nth(1).unwrap().parse::<f64>().unwrap() * 4096.0
}

/// Makes this program measure the memory of contents, and nothing else.
const CONTENTS: &str = "--contents";

fn contents_apart() -> Vec<tenants::Content> {
    let program = std::env::current_exe().unwrap();
    let output = std::process::Command::new(program).arg(CONTENTS).output().unwrap();
    serde_json::from_slice(&output.stdout).unwrap()
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    if std::env::args().any(|argument| argument == CONTENTS) {
        println!("{}", json!(tenants::contents().await));
        return;
    }
    let has = |flag: &str| std::env::args().any(|argument| argument == flag);
    let (json, quick) = (has("--json"), has("--quick"));
    let profile = if cfg!(debug_assertions) { "debug" } else { "release" };
    let entities = entities::run().await;
    if has("--entities") {
        println!("profile: {profile}");
        return entities::print(&entities);
    }
    let tenants = tenants::run(if quick { 100_000 } else { 1_000_000 }).await;
    let policies = policies::run();
    let contents = contents_apart();
    let proofs = proofs::run().await;
    let targets = targets::of(&policies, &tenants);
    if json {
        println!(
            "{}",
            json!({
                "profile": profile, "policies": policies, "tenants": tenants, "contents": contents,
                "entities": entities, "proofs": proofs, "targets": targets,
            })
        );
    } else {
        println!("profile: {profile}");
        policies::print(&policies);
        tenants::print(&tenants);
        tenants::print_contents(&contents);
        proofs::print(&proofs);
        entities::print(&entities);
        targets::print(&targets);
    }
}
