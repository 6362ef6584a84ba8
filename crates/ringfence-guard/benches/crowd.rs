//! Many tenants at once: `cargo bench -p ringfence-guard --bench crowd`.
//!
//! As many sessions as tenants, of which sixteen ask at a time, each for another tenant than before: no connection is asked twice
//! by one tenant. Beside it the same number of sessions of a single tenant, in turns with it, and what a session takes in memory.
//! The clients are another process, so that what memory there is to see is the guard's, and each has as many files as it may.
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

mod figures;
#[path = "../tests/it/fixture.rs"]
mod fixture;
#[path = "../tests/it/raw.rs"]
mod raw;

use std::{
    io::{BufRead, BufReader, Write},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use figures::{Bound, Figures};
use fixture::{Registry, Running, Tenant, World};
use raw::{Raw, query};
use ringfence_guard::install;

/// How many tenants, and so sessions.
const CROWDS: [usize; 4] = [16, 100, 1_000, 10_000];

/// How many ask at a time.
const AT_ONCE: usize = 16;

/// How long each turn takes, and how many there are.
const TURN: Duration = Duration::from_secs(2);
const TURNS: usize = 5;

const ASK: &str = "SELECT balance FROM accounts WHERE id = 1";

/// What makes of this program the clients.
const CLIENTS: &str = "--clients";

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    if std::env::args().any(|argument| argument == CLIENTS) {
        return runtime.block_on(clients());
    }
    runtime.block_on(async {
        println!("sessions  of one tenant  of as many tenants  ratio   memory of a session");
        let mut figures = Figures::new();
        let mut rates = Vec::new();
        for crowd in CROWDS {
            rates.push(measure(crowd, &mut figures).await);
        }
        // Sixteen are so few that each finds a connection of its own.
        figures.target("10,000 tenants to 100", rates[3] / rates[1], Bound::AtLeast(0.9));
        figures.end();
    });
}

/// How many answers a second as many tenants get.
async fn measure(crowd: usize, figures: &mut Figures) -> f64 {
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
    let all = Crowd::open(&world, &guard, tenants.iter());
    let memory = (resident() - before) / crowd as f64;
    drop(all);
    // Sessions of one and of many, of which only one kind is open at a time.
    let (mut one, mut many) = (Vec::new(), Vec::new());
    for _ in 0..TURNS {
        one.push(Crowd::open(&world, &guard, tenants.iter().take(1).cycle().take(crowd)).turn());
        many.push(Crowd::open(&world, &guard, tenants.iter()).turn());
    }
    let [one, many] = [one, many].map(median);
    figures.put(format!("{crowd} tenants to one with as many sessions"), many / one);
    figures.put(format!("memory of a session, {crowd} tenants, KiB"), memory / 1024.0);
    println!("{crowd:>8}  {one:>11.0}/s  {many:>16.0}/s  {:>5.2}  {:>8.1} KiB", many / one, memory / 1024.0);
    many
}

/// The process whose sessions they are. The guard has a thread of its own: it may be waited for here.
struct Crowd {
    process: Child,
    orders: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Crowd {
    fn open<'a>(world: &World, guard: &Running, tenants: impl Iterator<Item = &'a Tenant>) -> Self {
        let program = std::env::current_exe().unwrap();
        let (orders, answers) = (Stdio::piped(), Stdio::piped());
        let mut process = Command::new(program).arg(CLIENTS).stdin(orders).stdout(answers).spawn().unwrap();
        let (orders, answers) = (process.stdin.take().unwrap(), process.stdout.take().unwrap());
        let mut crowd = Self { process, orders, answers: BufReader::new(answers) };
        for tenant in tenants {
            let Tenant { id, .. } = tenant;
            writeln!(crowd.orders, "{} {id} {} {}", guard.port, world.database, world.token(tenant)).unwrap();
            assert_eq!(crowd.answer(), "open");
        }
        crowd
    }

    fn answer(&mut self) -> String {
        let mut line = String::new();
        self.answers.read_line(&mut line).unwrap();
        line.trim().to_owned()
    }

    /// How many answers a second they get.
    fn turn(mut self) -> f64 {
        writeln!(self.orders, "ask").unwrap();
        self.answer().parse().unwrap()
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Opens a session for each line, and asks when it is told to.
async fn clients() {
    let mut sessions = Vec::new();
    for line in std::io::stdin().lines() {
        let line = line.unwrap();
        match line.split(' ').collect::<Vec<_>>()[..] {
            [port, tenant, database, token] => {
                sessions.push(Raw::connect(port.parse().unwrap(), tenant, database, token).await);
                println!("open");
            }
            _ => println!("{}", turn(&mut sessions).await),
        }
    }
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
