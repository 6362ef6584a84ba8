//! Clients that die, stall, flood and say half of what they should: nothing hangs, nothing leaks, nothing is kept for them.

use std::{sync::Arc, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
    task::JoinSet,
};

use crate::{
    fixture::{CANARY, World, ask, eventually, now},
    raw::{Raw, bind, execute, frame, parse, query, sync},
};

/// How many backends of the application's role are in this state (what they run is hidden: see `cluster::settings`).
async fn backends(world: &World, state: &str) -> i64 {
    let count = format!("SELECT count(*) FROM pg_stat_activity WHERE usename = $1 AND {state}");
    world.admin.query_one(&count, &[&world.role.as_str()]).await.unwrap().get(0)
}

#[tokio::test]
async fn a_client_killed_in_the_middle_of_a_copy_leaves_nothing() {
    let world = World::new().await;
    let guard = world.guard_with(|settings| settings.connections = 1).await;
    let row = b"globex\t1\tCANARY-7c2f\t1\n";
    let half_a_message = &frame(b'd', &[row.as_slice(); 50].concat())[..200];
    for (start, expected) in [
        (query("COPY staging FROM STDIN"), "G"),
        ([parse("COPY staging FROM STDIN"), bind(), execute(), sync()].concat(), "12G"),
        (query("BEGIN; COPY staging FROM STDIN"), "CG"),
    ] {
        let mut raw = Raw::open(&world, &guard, &world.globex).await;
        raw.send(&[start]).await;
        assert_eq!(raw.tags(b'G').await, expected);
        raw.send(&[frame(b'd', row), half_a_message.to_vec()]).await;
        // Postgres has as much of it as there is.
        eventually(|| async { (backends(&world, "wait_event = 'ClientRead'").await > 0).then_some(()) })
            .await;
        drop(raw);
        let acme = world.client(&guard, &world.acme).await;
        let seen = eventually(|| async {
            ask(&acme, "SELECT (SELECT count(*) FROM accounts), count(*) FROM staging").await.ok()
        });
        assert_eq!(seen.await, "3|0");
    }
    // Out of it: killed while it reads.
    let mut raw = Raw::open(&world, &guard, &world.globex).await;
    raw.send(&[query(
        "COPY (SELECT owner, repeat('x', 1000) FROM accounts, generate_series(1, 100000)) TO STDOUT",
    )])
    .await;
    raw.until(b'd').await;
    drop(raw);
    let acme = world.client(&guard, &world.acme).await;
    let seen = eventually(|| async {
        ask(&acme, "SELECT string_agg(owner, ',' ORDER BY id) FROM accounts").await.ok()
    });
    assert_eq!(seen.await, "acme-1,acme-2,acme-3");
}

/// Rows a client does not read stay where they come from: Postgres waits for it, and the guard keeps no more than a buffer.
#[tokio::test]
async fn a_slow_reader_is_waited_for_and_hears_all() {
    const ROWS: usize = 100_000;
    let world = World::new().await;
    let guard = world.guard_with(|settings| settings.connections = 2).await;
    let mut raw = Raw::open(&world, &guard, &world.globex).await;
    raw.send(&[query(&format!(
        "SELECT owner, repeat('x', 1000) FROM accounts, generate_series(1, {})",
        ROWS / 5
    ))])
    .await;
    eventually(|| async { (backends(&world, "wait_event = 'ClientWrite'").await == 1).then_some(()) }).await;
    let acme = world.client(&guard, &world.acme).await;
    assert_eq!(ask(&acme, "SELECT count(*) FROM accounts").await.unwrap(), "3");
    let heard = raw.until(b'Z').await;
    assert_eq!(heard.iter().filter(|(tag, _)| *tag == b'D').count(), ROWS);
    assert!(
        heard
            .iter()
            .all(|(tag, body)| *tag != b'D'
                || body.windows(CANARY.len()).any(|part| part == CANARY.as_bytes()))
    );
    // One that never reads holds its connection for as long as a transaction may take.
    let guard = world.guard_with(|settings| settings.caps.transaction = Duration::from_millis(500)).await;
    let mut raw = Raw::open(&world, &guard, &world.globex).await;
    raw.send(&[query("SELECT repeat('x', 1000) FROM generate_series(1, 100000)")]).await;
    eventually(|| async { (backends(&world, "wait_event = 'ClientWrite'").await == 1).then_some(()) }).await;
    eventually(|| async { (backends(&world, "wait_event = 'ClientWrite'").await == 0).then_some(()) }).await;
}

/// What each of a flood of connections says before it goes.
fn half_said(world: &World, n: usize) -> Vec<u8> {
    let startup = |body: &[u8]| [&i32::try_from(body.len() + 4).unwrap().to_be_bytes()[..], body].concat();
    let own = startup(
        &[&[0, 3, 0, 0], format!("user\0acme\0database\0{}\0\0", world.database).as_bytes()].concat(),
    );
    match n % 6 {
        0 => vec![],
        1 => own[..own.len() / 2].to_vec(),
        2 => startup(&80_877_103_i32.to_be_bytes()),
        3 => own,
        4 => [own, frame(b'p', b"wrong\0")].concat(),
        _ => startup(&[80_877_102_i32.to_be_bytes(), 7_i32.to_be_bytes(), 7_i32.to_be_bytes()].concat()),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_connects_that_come_to_nothing_keep_nobody_out() {
    const CONNECTS: usize = 10_000;
    let world = World::new().await;
    let guard = world.guard_with(|settings| settings.clients = 20).await;
    let (port, mut flood) = (guard.port, JoinSet::new());
    for n in 0..CONNECTS {
        if flood.len() >= 200 {
            flood.join_next().await.unwrap().unwrap();
        }
        let said = half_said(&world, n);
        flood.spawn(async move {
            let mut stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
            // It may be turned away while it speaks.
            let _ = stream.write_all(&said).await;
            if n % 2 == 0 {
                let _ = tokio::time::timeout(Duration::from_millis(20), stream.read_u8()).await;
            }
        });
        if n % 1000 == 999 {
            // A client of its own gets in meanwhile, as soon as there is a place.
            let asks = eventually(|| async {
                let client = crate::fixture::connect(&world.through(&guard, &world.acme)).await.ok()?;
                ask(&client, "SELECT count(*) FROM accounts").await.ok()
            });
            assert_eq!(asks.await, "3");
        }
    }
    while let Some(ended) = flood.join_next().await {
        ended.unwrap();
    }
    // Every place is free again.
    eventually(|| async {
        let mut clients = vec![];
        for _ in 0..20 {
            clients.push(crate::fixture::connect(&world.through(&guard, &world.globex)).await.ok()?);
        }
        Some(())
    })
    .await;
    assert!(backends(&world, "true").await <= 20);
    guard.stop().await;
}

/// A client that is gone without a word, in a transaction: its locks are not held longer than a transaction may take.
#[tokio::test]
async fn a_half_open_client_holds_nothing_for_ever() {
    let world = World::new().await;
    let guard = world.guard_with(|settings| settings.caps.transaction = Duration::from_millis(700)).await;
    let mut raw = Raw::open(&world, &guard, &world.acme).await;
    raw.send(&[query("BEGIN; LOCK TABLE accounts")]).await;
    raw.tags(b'Z').await;
    // Half a message, and then silence on a connection that stays open.
    raw.send(&[query("SELECT 1")[..4].to_vec()]).await;
    // Who waits for the lock has a guard that gives it the time.
    let patient = world.guard().await;
    let globex = world.client(&patient, &world.globex).await;
    assert_eq!(ask(&globex, "SELECT count(*) FROM accounts").await.unwrap(), "5");
    assert!(String::from_utf8_lossy(&raw.until(b'E').await.pop().unwrap().1).contains("25P04"));
    // And one that says half a start-up message: it is let go.
    let mut half = TcpStream::connect(("127.0.0.1", guard.port)).await.unwrap();
    half.write_all(&[0, 0, 0, 99, 0, 3]).await.unwrap();
    let end = tokio::time::timeout(Duration::from_secs(15), half.read_u8()).await.expect("it is let go");
    assert!(end.is_err());
}

/// Who keeps a connection between transactions, was answered, and takes nothing of it any more, as one that vanished: the connection
/// is given back by when a transaction would have had to end (here; by default after a minute and a half).
#[tokio::test]
async fn a_client_that_takes_nothing_gives_back_what_it_keeps() {
    let world = World::new().await;
    let guard = world
        .guard_with(|settings| {
            settings.connections = 1;
            settings.caps.transaction = Duration::from_secs(1);
            settings.wait = Duration::from_millis(200);
        })
        .await;
    let socket = TcpSocket::new_v4().unwrap();
    // Less than the answer: what it has no room for stays with the guard's system.
    socket.set_recv_buffer_size(4096).unwrap();
    let stream = socket.connect(([127, 0, 0, 1], guard.port).into()).await.unwrap();
    let (database, token) = (world.database.to_string(), world.token(&world.globex));
    let mut raw = Raw::over(stream, "globex", &database, &token).await;
    raw.send(&[query("SET statement_timeout = 0")]).await;
    raw.until(b'Z').await;
    let mut acme = world.client(&guard, &world.acme).await;
    assert_eq!(ask(&acme, "SELECT 1").await.unwrap_err().0, "53300", "it is kept");
    raw.send(&[query("SELECT repeat('x', 60000)")]).await;
    let began = now();
    eventually(|| async { ask(&acme, "SELECT count(*) FROM accounts").await.ok() }).await;
    let waited = now().since(began);
    assert!(waited < Duration::from_secs(5), "after {waited:?}");
    // And who takes its answers keeps it for as long as it likes.
    drop(raw);
    let mut raw = Raw::open(&world, &guard, &world.globex).await;
    raw.send(&[query("SET statement_timeout = 0")]).await;
    raw.until(b'Z').await;
    tokio::time::sleep(Duration::from_millis(2500)).await;
    acme = world.client(&guard, &world.acme).await;
    assert!(ask(&acme, "SELECT 1").await.is_err(), "it is still kept");
    raw.send(&[query("SHOW statement_timeout")]).await;
    assert_eq!(raw.tags(b'Z').await, "TDCZ");
}

/// How much memory this process has, in bytes (proc(5): the second number, in pages of 4 KiB).
fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096
}

/// Runs a test's body in a process of its own, where nothing else takes memory: this program again, with this one test.
fn alone(test: &str, body: impl Future<Output = ()>) {
    const ALONE: &str = "RINGFENCE_TEST_ALONE";
    #[expect(clippy::disallowed_methods, reason = "how the test tells itself that it is the one")]
    let is_alone = std::env::var_os(ALONE).is_some();
    if is_alone {
        return tokio::runtime::Runtime::new().unwrap().block_on(body);
    }
    let mut again = std::process::Command::new(std::env::current_exe().unwrap());
    let output = again.args(["--exact", test, "--nocapture"]).env(ALONE, "1").output().unwrap();
    let told = String::from_utf8_lossy(&output.stdout);
    println!("{told}{}", String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && told.contains("1 passed"));
}

/// Twenty results of 100 MB each, none of them read: what the guard has of each is two buffers, which are bounded.
#[test]
fn readers_that_do_not_read_cost_a_buffer_each() {
    const READERS: usize = 20;
    alone("robustness::readers_that_do_not_read_cost_a_buffer_each", async {
        let world = World::new().await;
        let guard = world.guard_with(|settings| settings.caps.connections = READERS).await;
        let mut readers = Vec::new();
        for _ in 0..READERS {
            readers.push(Raw::open(&world, &guard, &world.globex).await);
        }
        let before = resident();
        for raw in &mut readers {
            raw.send(&[query("SELECT repeat('x', 1000) FROM generate_series(1, 100000)")]).await;
        }
        let waits = || async {
            let waiting = backends(&world, "wait_event = 'ClientWrite'").await;
            (waiting == i64::try_from(READERS).unwrap()).then_some(())
        };
        eventually(waits).await;
        let each = |now: usize| now.saturating_sub(before) / READERS;
        let idle = each(resident());
        // Each takes some megabytes, in pieces: it is refilled as it goes, and no further.
        let mut piece = vec![0; 64 * 1024];
        for _ in 0..64 {
            for raw in &mut readers {
                raw.0.read_exact(&mut piece).await.unwrap();
            }
        }
        eventually(waits).await;
        let read = each(resident());
        println!("{} KiB each unread, {} KiB when 4 MiB were read", idle / 1024, read / 1024);
        assert!(idle.max(read) < 512 * 1024, "{idle} and {read} bytes each");
    });
}

/// Ten thousand that come and go, one in six of which asks something as a tenant: nothing is kept of any.
#[test]
fn ten_thousand_that_came_and_went_cost_nothing() {
    const CONNECTS: usize = 10_000;
    alone("robustness::ten_thousand_that_came_and_went_cost_nothing", async {
        let world = Arc::new(World::new().await);
        let guard = world.guard().await;
        let token = world.token(&world.acme);
        let come_and_go = async |from: usize, to: usize| {
            let mut flood = JoinSet::new();
            for n in from..to {
                if flood.len() >= 100 {
                    flood.join_next().await.unwrap().unwrap();
                }
                let (port, said) = (guard.port, half_said(&world, n));
                let (database, token) = (world.database.to_string(), token.clone());
                flood.spawn(async move {
                    if n % 6 == 0 {
                        let mut raw = Raw::connect(port, "acme", &database, &token).await;
                        raw.send(&[query("SELECT owner FROM accounts")]).await;
                        assert_eq!(raw.tags(b'Z').await, "TDDDCZ");
                    } else {
                        let mut stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
                        // It may be turned away while it speaks.
                        let _ = stream.write_all(&said).await;
                    }
                });
            }
            while let Some(gone) = flood.join_next().await {
                gone.unwrap();
            }
        };
        // What is there once, for however many.
        come_and_go(0, CONNECTS / 5).await;
        let before = resident();
        come_and_go(CONNECTS / 5, CONNECTS).await;
        let grown = resident().saturating_sub(before);
        println!("{} KiB more after {CONNECTS} connections", grown / 1024);
        assert!(grown < CONNECTS * 512, "{grown} bytes");
    });
}
