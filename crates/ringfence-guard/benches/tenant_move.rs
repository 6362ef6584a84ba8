//! Moving a tenant's rows to a database of its own: `cargo bench -p ringfence-guard --bench tenant_move -- 1024` (MiB; 64 without).
//!
//! Beside it, in the same run, what copies the same rows and nothing more: `psql` writing them into `psql`. First nobody writes, then
//! one session does, in small transactions, as fast as it can.
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
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Instant,
};

use figures::{Bound, Figures};
use fixture::{World, ask, connect};
use ringfence_guard::{
    RoleName,
    cluster::SUPERUSER,
    install::Install,
    tenant_move::{Side, Site, Start, TenantMove},
};
use tokio_postgres::{Client, Config};

/// A row's bytes, about.
const ROW: u64 = 512;

const TABLE: &str = "CREATE TABLE entries (tenant_id text NOT NULL, id bigint NOT NULL, code text NOT NULL, amount numeric(12,2),
        at timestamptz NOT NULL, body text, PRIMARY KEY (tenant_id, id), UNIQUE (tenant_id, code));
    SELECT ringfence.protect('entries')";

fn main() {
    let mebibytes = std::env::args().filter_map(|argument| argument.parse().ok()).next().unwrap_or(64);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    runtime.block_on(measure(mebibytes));
}

struct Place {
    config: Config,
    client: Client,
}

async fn place(world: &World, name: &str) -> Place {
    let mut config = world.direct_config();
    config.user(SUPERUSER).dbname(name);
    Place { client: connect(&config).await.unwrap(), config }
}

async fn own(world: &World, suffix: &str) -> Place {
    let name = format!("{}_{suffix}", world.database);
    let make = format!("CREATE DATABASE {name} TEMPLATE template0");
    world.superuser().await.batch_execute(&make).await.unwrap();
    let mut place = place(world, &name).await;
    let owner = RoleName::new(&format!("owner_of_{name}")).unwrap();
    Install::new(world.role.clone(), owner).run(&mut place.client).await.unwrap();
    place.client.batch_execute(TABLE).await.unwrap();
    place
}

async fn measure(mebibytes: u64) {
    let world = World::new().await;
    let shared = place(&world, world.database.as_str()).await;
    shared.client.batch_execute("DROP TABLE payments, accounts").await.unwrap();
    shared.client.batch_execute(TABLE).await.unwrap();
    let rows = mebibytes * 1024 * 1024 / ROW;
    for (tenant, rows) in [("globex", rows / 4), ("acme", rows), ("initech", rows / 4)] {
        let fill = format!(
            "INSERT INTO entries SELECT '{tenant}', n, 'c' || n, n / 7.0, now(), repeat(md5(n::text), 13)
               FROM generate_series(1, {rows}) n"
        );
        shared.client.batch_execute(&fill).await.unwrap();
    }
    rest(&shared).await;
    println!("{mebibytes} MiB, {rows} rows of one tenant, among half as many of others");

    let plain = own(&world, "plain").await;
    let began = Instant::now();
    pipe(&world, shared.config.get_dbname().unwrap(), plain.config.get_dbname().unwrap());
    let baseline = began.elapsed().as_secs_f64();
    println!("{:<34}{baseline:>8.2} s", "psql COPY | psql COPY");
    drop(plain);

    let own = own(&world, "own").await;
    rest(&own).await;
    let mut figures = Figures::new();
    for writes in [false, true] {
        run(&world, &shared, &own, writes, baseline, &mut figures).await;
    }
    figures.end();
}

/// Ends what Postgres would else do while others are measured.
async fn rest(place: &Place) {
    place.client.batch_execute("VACUUM entries").await.unwrap();
    place.client.batch_execute("CHECKPOINT").await.unwrap();
}

/// The baseline.
fn pipe(world: &World, from: &str, to: &str) {
    let psql =
        format!("psql -X -q -v ON_ERROR_STOP=1 -h {} -p {} -U {SUPERUSER}", world.host.display(), world.port);
    let script = format!(
        "{psql} -d {from} -c \"COPY (SELECT * FROM entries WHERE tenant_id = 'acme') TO STDOUT\" \
         | {psql} -d {to} -c 'COPY entries FROM STDIN'"
    );
    assert!(Command::new("sh").args(["-c", &script]).status().unwrap().success());
}

async fn run(world: &World, shared: &Place, own: &Place, writes: bool, baseline: f64, figures: &mut Figures) {
    let site = |place: &Place| Site { config: place.config.clone(), tls: None, schema: "public".to_owned() };
    let name = RoleName::new("measured").unwrap();
    let mut moved = TenantMove::new(name, world.acme.id.clone(), site(shared), site(own));
    let stop = Arc::new(AtomicBool::new(false));
    let began = Instant::now();
    let writer = writes.then(|| tokio::spawn(write(shared.config.clone(), Arc::clone(&stop))));
    let when = if writes { "while one session writes" } else { "nobody writes" };
    println!("{when}");
    let mut at = Instant::now();
    let mut tell = |what: &str, note: String| {
        let seconds = at.elapsed().as_secs_f64();
        println!("  {what:<32}{seconds:>8.2} s  {:>5.2}  {note}", seconds / baseline);
        at = Instant::now();
        seconds
    };
    moved.prepare(Start::Copy).await.unwrap();
    tell("prepare", String::new());
    let copied = moved.copy(|_| ()).await.unwrap();
    let copy = tell("copy", format!("{} rows", copied.rows));
    figures.put(format!("copy to psql, {when}"), copy / baseline);
    let followed = moved.follow().await.unwrap();
    tell("follow", format!("{} transactions, {} KiB behind", followed.transactions, followed.behind / 1024));
    moved.verify().await.unwrap();
    tell("verify", String::new());
    let followed = moved.follow().await.unwrap();
    tell("follow", format!("{} transactions, {} KiB behind", followed.transactions, followed.behind / 1024));
    stop.store(true, Ordering::SeqCst);
    if let Some(writer) = writer {
        let transactions = f64::from(writer.await.unwrap());
        tell(
            "(the writer ends)",
            format!("{:.0} transactions/s", transactions / began.elapsed().as_secs_f64()),
        );
    }
    let settled = moved.settle().await.unwrap();
    let settle = tell("settle", format!("{} rows", settled[0].rows));
    figures.put(format!("the whole move to psql, {when}"), began.elapsed().as_secs_f64() / baseline);
    figures.target(format!("seconds without writes, {when}"), settle, Bound::AtMost(1.0));
    let same = "SELECT md5(string_agg(md5(e::text), '' ORDER BY id)) FROM entries e WHERE tenant_id = 'acme'";
    assert_eq!(ask(&shared.client, same).await, ask(&own.client, same).await);
    moved.forget().await.unwrap();
    moved.erase(Side::Target).await.unwrap();
    rest(own).await;
}

/// Small transactions: a new row, a changed one, and one that goes.
async fn write(config: Config, stop: Arc<AtomicBool>) -> u32 {
    let client = connect(&config).await.unwrap();
    let sql = "WITH new AS (INSERT INTO entries VALUES ('acme', 100000000 + $1, 'new' || $1, 1, now(), 'x')),
            old AS (DELETE FROM entries WHERE tenant_id = 'acme' AND id = 100000000 + $1 - 100)
        UPDATE entries SET amount = amount + 1 WHERE tenant_id = 'acme' AND id = $1 * 7 % 100000 + 1";
    let statement = client.prepare_typed(sql, &[tokio_postgres::types::Type::INT8]).await.unwrap();
    let mut transactions: u32 = 0;
    while !stop.load(Ordering::SeqCst) {
        transactions += 1;
        client.execute(&statement, &[&i64::from(transactions)]).await.unwrap();
    }
    transactions
}
