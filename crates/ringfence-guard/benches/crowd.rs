//! Many tenants at once: `cargo bench -p ringfence-guard --bench crowd`.
//!
//! As many sessions as tenants, of which sixteen ask at a time, each for another tenant than before: no connection is asked twice
//! by one tenant. Beside it the same number of sessions of a single tenant, in turns with it, and what a session takes in memory.
//! Sessions are spoken frame by frame, so that what memory there is to see is the guard's.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    clippy::print_stdout,
    dead_code,
    reason = "a benchmark measures time, prints it, and fails by panicking; it shares the tests' fixture"
)]

#[path = "../tests/it/fixture.rs"]
mod fixture;
#[path = "../tests/it/raw.rs"]
mod raw;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use fixture::{Registry, Running, Tenant, World};
use raw::{Raw, query};
use ringfence_guard::install;

/// How many tenants, and so sessions. Each is two files of this process.
const CROWDS: [usize; 3] = [16, 100, 9_000];

/// How many ask at a time.
const AT_ONCE: usize = 16;

/// How long each turn takes, and how many there are.
const TURN: Duration = Duration::from_secs(2);
const TURNS: usize = 5;

const ASK: &str = "SELECT balance FROM accounts WHERE id = 1";

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    runtime.block_on(async {
        println!("sessions  of one tenant  of as many tenants  ratio   memory of a session");
        for crowd in CROWDS {
            measure(crowd).await;
        }
    });
}

async fn measure(crowd: usize) {
    let mut world = World::new().await;
    let tenants: Vec<Tenant> = (0..crowd).map(|n| Tenant::new(&format!("t-{n}"))).collect();
    for tenant in &tenants {
        install::tenant_key_put(&world.admin, &tenant.id, &tenant.seal).await.unwrap();
    }
    let rows =
        format!("INSERT INTO accounts SELECT 't-' || n, 1, 'x', 1 FROM generate_series(0, {}) n", crowd - 1);
    world.admin.batch_execute(&rows).await.unwrap();
    world.registry = Arc::new(Registry::of(&tenants));
    let guard = world.guard_with(|settings| settings.clients = 2 * crowd + 64).await;
    // Memory that was given back may not be seen to be: it is looked at before anything was.
    let before = resident();
    let all = open(&world, &guard, tenants.iter()).await;
    let memory = (resident() - before) / crowd as f64;
    drop(all);
    // Sessions of one and of many, of which only one kind is open at a time.
    let (mut one, mut many) = (Vec::new(), Vec::new());
    for _ in 0..TURNS {
        let mut alone = open(&world, &guard, tenants.iter().take(1).cycle().take(crowd)).await;
        one.push(turn(&mut alone).await);
        drop(alone);
        let mut all = open(&world, &guard, tenants.iter()).await;
        many.push(turn(&mut all).await);
    }
    let [one, many] = [one, many].map(median);
    println!("{crowd:>8}  {one:>11.0}/s  {many:>16.0}/s  {:>5.2}  {:>8.1} KiB", many / one, memory / 1024.0);
}

async fn open(world: &World, guard: &Running, tenants: impl Iterator<Item = &Tenant>) -> Vec<Raw> {
    let mut sessions = Vec::new();
    for tenant in tenants {
        sessions.push(Raw::open(world, guard, tenant).await);
    }
    sessions
}

/// How many answers a second sixteen get who go round the sessions.
async fn turn(sessions: &mut [Raw]) -> f64 {
    let ask = query(ASK);
    let share = sessions.len().div_ceil(AT_ONCE);
    let end = Instant::now() + TURN;
    let asking = sessions.chunks_mut(share).map(|mine| {
        let ask = ask.clone();
        async move {
            let mut answers = 0_u32;
            for at in (0..mine.len()).cycle() {
                if Instant::now() >= end {
                    break;
                }
                mine[at].send(std::slice::from_ref(&ask)).await;
                assert_eq!(mine[at].tags(b'Z').await, "TDCZ");
                answers += 1;
            }
            answers
        }
    });
    let answers: u32 = futures_util::future::join_all(asking).await.into_iter().sum();
    f64::from(answers) / TURN.as_secs_f64()
}

/// Memory of this process, in bytes.
fn resident() -> f64 {
    let pages: f64 =
        std::fs::read_to_string("/proc/self/statm").unwrap().split(' ').nth(1).unwrap().parse().unwrap();
    pages * 4096.0
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
