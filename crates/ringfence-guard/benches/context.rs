//! What the database context costs: `cargo bench -p ringfence-guard --bench context`.
//!
//! Medians of interleaved rounds, and ratios within one run: on a shared machine only those travel. `--pgbouncer PROGRAM` has
//! the other pooler measured beside the guard; `cargo xtask bench guard` gets it.
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

use std::{
    cell::Cell,
    net::TcpListener,
    os::unix::fs::{MetadataExt, chown},
    process::{Child, Command},
    time::Instant,
};

use figures::{Bound, Figures};
use fixture::{Running, World, connect, now};
use ringfence_context::{DatabaseContext, Permit, database::Backend};
use ringfence_guard::{Binaries, cluster::SUPERUSER};
use tokio_postgres::{Client, Statement};

const ROUNDS: usize = 9;
const TRANSACTIONS: u32 = 400;

/// How many connections to Postgres the guard has for the one tenant, and PgBouncer for its one user.
const CONNECTIONS: usize = 10;

/// In which modes pgbench asks, and with how many clients.
const MODES: [&str; 3] = ["simple", "extended", "prepared"];
const CLIENTS: [&str; 3] = ["1", "16", "64"];

/// The superuser, whom row security does not bind: the baseline.
fn superuser(world: &World) -> tokio_postgres::Config {
    let mut config = world.direct_config();
    config.user(SUPERUSER);
    config
}

/// The same, for libpq.
fn superuser_uri(world: &World) -> String {
    let World { host, port, database, .. } = world;
    format!("host={} port={port} user={SUPERUSER} dbname={database}", host.display())
}

/// The guard, for libpq.
fn uri(world: &World, guard: &Running) -> String {
    let (token, tenant, database) = (world.token(&world.acme), &world.acme.id, &world.database);
    format!("host=127.0.0.1 port={} user={tenant} password={token} dbname={database}", guard.port)
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// A connection with the statement everyone runs.
struct Subject {
    client: Client,
    select: Statement,
    context: Option<(Statement, Backend, Permit)>,
    held: Cell<Option<DatabaseContext>>,
}

impl Subject {
    async fn new(client: Client) -> Self {
        let select =
            client.prepare("SELECT owner FROM accounts WHERE tenant_id = 'acme' AND id = $1").await.unwrap();
        Self { client, select, context: None, held: Cell::default() }
    }

    /// Renews the context as the guard does.
    async fn renew(&self, world: &World) {
        let Some((statement, backend, permit)) = &self.context else { return };
        let held = self.held.take().filter(|held| held.covers(permit, now()));
        if held.is_none() {
            let minted = DatabaseContext::mint(permit, &world.guard_key, *backend, now()).unwrap();
            let a = fixture::Arguments::of(&minted);
            let values: [&(dyn tokio_postgres::types::ToSql + Sync); 5] =
                [&a.tenant, &a.token, &a.token_exp, &a.valid_until, &a.tag];
            self.client.execute(statement, &values).await.unwrap();
            self.held.set(Some(minted));
        } else {
            self.held.set(held);
        }
    }

    /// Microseconds for one `BEGIN; SELECT; COMMIT`, all in one flush, the context before them where it is time for one.
    async fn transactions(&self, world: &World) -> f64 {
        let start = Instant::now();
        for _ in 0..TRANSACTIONS {
            self.renew(world).await;
            let begin = self.client.batch_execute("BEGIN");
            let select = self.client.query_one(&self.select, &[&1_i32]);
            let commit = self.client.batch_execute("COMMIT");
            let (begun, row, done) = tokio::join!(begin, select, commit);
            begun.unwrap();
            assert_eq!(row.unwrap().get::<_, &str>(0), "acme-1");
            done.unwrap();
        }
        start.elapsed().as_secs_f64() * 1e6 / f64::from(TRANSACTIONS)
    }
}

async fn latency(world: &World, guard: &Running, figures: &mut Figures, tables: usize) {
    let direct = Subject::new(connect(&superuser(world)).await.unwrap()).await;
    let (client, backend) = world.direct().await;
    let mut pinned = Subject::new(client).await;
    let statement = pinned.client.prepare("SELECT ringfence.context_set($1, $2, $3, $4, $5)").await.unwrap();
    pinned.context = Some((statement, backend, world.acme.permit()));
    let guarded = Subject::new(world.client(guard, &world.acme).await).await;
    let subjects = [
        ("direct, no row security", direct),
        ("direct, context and row security", pinned),
        ("through the guard", guarded),
    ];
    let mut times = [vec![], vec![], vec![]];
    for _ in 0..ROUNDS {
        for ((_, subject), times) in subjects.iter().zip(&mut times) {
            times.push(subject.transactions(world).await);
        }
    }
    let medians = times.map(median);
    let isolated =
        format!("a transaction with context and row security, {tables} tables, to one with neither");
    figures.target(isolated, medians[0] / medians[1], Bound::AtLeast(0.85));
    figures.put(
        format!("a transaction through the guard, {tables} tables, to one with neither"),
        medians[0] / medians[2],
    );
    println!(
        "\nBEGIN; SELECT by key; COMMIT in one flush, one client: µs per transaction (median of {ROUNDS} rounds)"
    );
    for ((name, _), value) in subjects.iter().zip(medians) {
        println!(
            "  {name:<34} {value:7.1} µs   {:+6.1} µs   ratio {:.2}",
            value - medians[0],
            medians[0] / value
        );
    }
}

/// One server connection that two tenants use in turns: it is cleaned, and given away, before each transaction.
async fn hand_over(world: &World, figures: &mut Figures) {
    let guard = world.guard_with(|settings| settings.connections = 1).await;
    let pair = [&world.acme, &world.globex].map(async |tenant| world.client(&guard, tenant).await);
    let [one, other] = pair;
    let (one, other) = (one.await, other.await);
    let mut times = [vec![], vec![]];
    for _ in 0..ROUNDS {
        for (times, next) in times.iter_mut().zip([&one, &other]) {
            let start = Instant::now();
            for _ in 0..TRANSACTIONS / 10 {
                for client in [&one, next] {
                    client.simple_query("SELECT owner FROM accounts WHERE id = 1").await.unwrap();
                }
            }
            times.push(start.elapsed().as_secs_f64() * 1e6 / f64::from(TRANSACTIONS / 5));
        }
    }
    let [stays, changes] = times.map(median);
    figures.put("a connection that stays with its tenant, µs", stays);
    figures.put("a connection that changes hands each time, µs", changes);
    println!("\none select through the guard on one server connection: µs each");
    println!("  it stays with its tenant           {stays:7.1} µs");
    println!("  it changes hands each time         {changes:7.1} µs");
}

async fn bench(arguments: Vec<String>) -> f64 {
    let run = move || {
        let program = Binaries::find(None).unwrap().program("pgbench");
        let output = Command::new(program).args(arguments).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        let line =
            text.lines().find(|line| line.starts_with("tps")).unwrap_or_else(|| panic!("{text}{error}"));
        line.split_whitespace().nth(2).unwrap().parse().unwrap()
    };
    tokio::task::spawn_blocking(run).await.unwrap()
}

/// Processor time of this process, which is the guard's: seconds (proc(5), clock ticks of 10 ms).
fn processor_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<f64> =
        stat.rsplit(") ").next().unwrap().split(' ').map(|field| field.parse().unwrap_or_default()).collect();
    (fields[11] + fields[12]) / 100.0
}

/// PgBouncer in transaction mode before the same cluster, as the superuser: no context, no row security.
struct PgBouncer {
    process: Child,
    port: u16,
}

impl PgBouncer {
    fn start(program: &str, world: &World) -> Self {
        let folder = fixture::scratch("pgbouncer");
        // Whoever the cluster belongs to: PgBouncer refuses to run as root, and changes to this user by itself.
        let owner = world.host.metadata().unwrap().uid();
        let named = Command::new("id").args(["-nu", &owner.to_string()]).output().unwrap().stdout;
        let user = String::from_utf8(named).unwrap();
        chown(&folder, Some(owner), None).unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let World { host, port: server, database, .. } = world;
        let change =
            if rustix::process::getuid().is_root() { format!("user = {user}") } else { String::new() };
        let settings = format!(
            "[databases]\nbench = host={} port={server} user={SUPERUSER} dbname={database}\n[pgbouncer]\nlisten_addr = 127.0.0.1\n\
             listen_port = {port}\nunix_socket_dir =\nauth_type = any\npool_mode = transaction\ndefault_pool_size = {CONNECTIONS}\n\
             max_client_conn = 200\nlog_connections = 0\nlog_disconnections = 0\n{change}\n",
            host.display()
        );
        let file = folder.join("pgbouncer.ini");
        std::fs::write(&file, settings).unwrap();
        let process = Command::new(program).arg("--quiet").arg(&file).spawn().unwrap();
        let started = Instant::now();
        while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(started.elapsed().as_secs() < 10, "PgBouncer does not answer");
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        Self { process, port }
    }

    fn uri(&self) -> String {
        format!("host=127.0.0.1 port={} user={SUPERUSER} dbname=bench", self.port)
    }
}

impl Drop for PgBouncer {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// What pgbench had, with so many clients in one mode, in transactions per second.
struct Rates {
    name: String,
    guard: f64,
    other: f64,
    to_direct: f64,
    to_other: f64,
}

/// pgbench with one select a transaction: direct, through PgBouncer, through the guard.
async fn throughput(
    world: &World,
    guard: &Running,
    other: Option<&PgBouncer>,
    table: &str,
    modes: &[&str],
    clients: &[&str],
) -> Vec<Rates> {
    let mut all = Vec::new();
    let script = fixture::scratch("script").join("select.sql");
    let select =
        format!("\\set id random(1, 3)\nSELECT owner FROM {table} WHERE tenant_id = 'acme' AND id = :id;\n");
    std::fs::write(&script, select).unwrap();
    let script = script.display().to_string();
    println!(
        "\npgbench, one select of {table} a transaction: transactions per second (median of 3 rounds, ratios within a round)"
    );
    for (mode, clients) in modes.iter().flat_map(|mode| clients.iter().map(move |clients| (mode, clients))) {
        let threads = if *clients == "1" { "1" } else { "2" };
        let common =
            ["-n", "-M", mode, "-c", clients, "-j", threads, "-T", "3", "-f", &script].map(str::to_owned);
        // PgBouncer 1.18 keeps no prepared statements in transaction mode.
        let other = other.filter(|_| *mode != "prepared");
        let (mut direct, mut others, mut guarded, mut processor) = (vec![], vec![], vec![], vec![]);
        for _ in 0..3 {
            direct.push(bench([&common[..], &[superuser_uri(world)]].concat()).await);
            if let Some(other) = other {
                others.push(bench([&common[..], &[other.uri()]].concat()).await);
            }
            let before = processor_seconds();
            let rate = bench([&common[..], &[uri(world, guard)]].concat()).await;
            processor.push((processor_seconds() - before) * 1e6 / (rate * 3.0));
            guarded.push(rate);
        }
        let ratio = |to: &[f64]| match to {
            [] => f64::NAN,
            to => median(guarded.iter().zip(to).map(|(guarded, to)| guarded / to).collect()),
        };
        let (to_direct, to_other) = (ratio(&direct), ratio(&others));
        let other = if others.is_empty() { f64::NAN } else { median(others) };
        let (direct, guarded, processor) = (median(direct), median(guarded), median(processor));
        println!(
            "  {mode:<9}{clients:>3} clients  direct {direct:7.0}  PgBouncer {other:7.0}  guard {guarded:7.0}  to direct \
             {to_direct:4.2}  to PgBouncer {to_other:4.2}  guard's processor time {processor:.0} µs each"
        );
        all.push(Rates {
            name: format!("{mode}, {clients} clients"),
            guard: guarded,
            other,
            to_direct,
            to_other,
        });
    }
    all
}

/// The poolers alone. Where PgBouncer has no prepared statements, they are compared with its simple mode, which is what its
/// clients then use.
fn poolers(figures: &mut Figures, all: &[Rates]) {
    for (at, rates) in all.iter().enumerate() {
        figures.put(format!("guard to direct, {}", rates.name), rates.to_direct);
        let simple = all.get(at % CLIENTS.len()).map_or(f64::NAN, |simple| simple.other);
        let (ratio, than) = match rates.to_other {
            none if none.is_nan() => (rates.guard / simple, "PgBouncer's simple"),
            ratio => (ratio, "PgBouncer"),
        };
        if !ratio.is_nan() {
            figures.target(format!("guard to {than}, {}", rates.name), ratio, Bound::AtLeast(1.0));
        }
    }
}

async fn parts(world: &World) {
    let (client, _) = world.as_acme().await;
    println!(
        "\nparts, µs each (median of {ROUNDS} rounds, one query a round trip; the first line is the round trip)"
    );
    for (name, sql) in [("SELECT 1", "SELECT 1"), ("tenant_id()", "SELECT ringfence.tenant_id()")] {
        let statement = client.prepare(sql).await.unwrap();
        let mut times = vec![];
        for _ in 0..ROUNDS {
            let start = Instant::now();
            for _ in 0..TRANSACTIONS {
                client.query(&statement, &[]).await.unwrap();
            }
            times.push(start.elapsed().as_secs_f64() * 1e6 / f64::from(TRANSACTIONS));
        }
        println!("  {name:<34} {:7.1} µs", median(times));
    }
}

/// Only serves, for who wants to look at the guard with tools of their own.
async fn serve(world: &World, guard: &Running, other: Option<&PgBouncer>) {
    plain(world).await;
    println!("direct:    {}", superuser_uri(world));
    println!("guard:     {}", uri(world, guard));
    if let Some(other) = other {
        println!("PgBouncer: {}", other.uri());
    }
    println!("table: plain, without row security; the token is good for five minutes");
    std::future::pending().await
}

/// A table without row security: the same work for Postgres whoever asks.
async fn plain(world: &World) {
    let plain = format!(
        "CREATE TABLE plain AS TABLE accounts; ALTER TABLE plain ADD PRIMARY KEY (tenant_id, id); GRANT SELECT ON plain TO {}",
        world.role
    );
    world.admin.batch_execute(&plain).await.unwrap();
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let world = World::new().await;
    let guard = world
        .guard_with(|settings| {
            (settings.connections, settings.caps.connections) = (CONNECTIONS, CONNECTIONS);
        })
        .await;
    let arguments: Vec<String> = std::env::args().collect();
    let program =
        arguments.iter().position(|argument| argument == "--pgbouncer").and_then(|at| arguments.get(at + 1));
    let other = program.map(|program| PgBouncer::start(program, &world));
    if arguments.iter().any(|argument| argument == "--serve") {
        return serve(&world, &guard, other.as_ref()).await;
    }
    let mut figures = Figures::new();
    latency(&world, &guard, &mut figures, 2).await;
    parts(&world).await;
    hand_over(&world, &mut figures).await;
    // The poolers alone: the same work for Postgres, as nobody's rows are told apart.
    plain(&world).await;
    let plain = throughput(&world, &guard, other.as_ref(), "plain", &MODES, &CLIENTS).await;
    poolers(&mut figures, &plain);
    // And with row security, which only the guard's clients have: what isolation costs in all.
    for rates in throughput(&world, &guard, other.as_ref(), "accounts", &MODES, &CLIENTS).await {
        figures.put(format!("guard with row security to direct without, {}", rates.name), rates.to_direct);
    }
    let pooled = world.guard_with(|settings| settings.connections = 4).await;
    println!("\nthe same with 4 server connections: they change hands");
    throughput(&world, &pooled, None, "accounts", &["simple"], &["16"]).await;
    let tables: String = (0..100)
        .map(|n| format!("CREATE TABLE t{n} (tenant_id text NOT NULL); SELECT ringfence.protect('t{n}');"))
        .collect();
    world.admin.batch_execute(&tables).await.unwrap();
    println!("\nthe same with 102 protected tables: the posture is checked in each transaction");
    latency(&world, &guard, &mut figures, 102).await;
    figures.end();
}
