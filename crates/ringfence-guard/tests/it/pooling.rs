//! Server connections that change hands: nothing of one tenant is there when another comes.

use std::time::Duration;

use proptest::{prelude::*, test_runner::TestRunner};
use ringfence_context::Secret;
use std::sync::Arc;

use ringfence_guard::{
    Cluster,
    proxy::{Placement, ServerSettings, Together},
};
use tokio_postgres::Client;

use crate::fixture::{CANARY, World, ask, cluster_settings, connect, eventually, fails, scratch, sqlstate};

#[tokio::test]
async fn cv23_nothing_stays_for_the_next_tenant() {
    let world = World::new().await;
    let guard = world.guard_with(|settings| settings.connections = 1).await;
    let traces = [
        ("SET work_mem = '7MB'", "SELECT current_setting('work_mem')", "4MB"),
        (
            "SELECT set_config('my.secret', 'CANARY', false)",
            "SELECT coalesce(current_setting('my.secret', true), '')",
            "",
        ),
        ("PREPARE p AS SELECT 'CANARY'", "SELECT count(*) FROM pg_prepared_statements", "0"),
        ("/**/ LISTEN canary", "SELECT count(*) FROM pg_listening_channels()", "0"),
        ("SET ROLE none", "SELECT current_user = session_user", "t"),
        ("SET ringfence.context = 'globex|1|x'", "SELECT count(*) FROM accounts", "3"),
        ("SET search_path = pg_temp", "SELECT current_setting('search_path')", "public"),
    ];
    for (leave, look, expected) in traces {
        let globex = world.client(&guard, &world.globex).await;
        ask(&globex, leave).await.unwrap();
        drop(globex);
        let acme = world.client(&guard, &world.acme).await;
        assert_eq!(ask(&acme, look).await.unwrap(), expected, "{leave}");
    }
}

#[tokio::test]
async fn cv23_nobody_chooses_where_anothers_random_goes_on() {
    let world = World::new().await;
    let guard = world.guard_with(|settings| settings.connections = 1).await;
    let (acme, globex) = (world.client(&guard, &world.acme).await, world.client(&guard, &world.globex).await);
    let chosen = ask(&world.admin, "SELECT setseed(0.5); SELECT random() FROM generate_series(1, 8)").await;
    let chosen = chosen.unwrap();
    let mut others = vec![];
    for _ in 0..3 {
        ask(&acme, "SELECT setseed(0.5)").await.unwrap();
        let random = ask(&globex, "SELECT random()").await.unwrap();
        assert!(!chosen.contains(&random) && !others.contains(&random), "{random}: {others:?}, {chosen}");
        others.push(random);
    }
    // Whoever is not seen to choose goes on from there: it would have been found.
    ask(&acme, "SELECT setseed(0.5)").await.unwrap();
    assert!(chosen.contains(&ask(&acme, "SELECT random()").await.unwrap()));
}

#[tokio::test]
async fn cv23_who_makes_cleaning_slow_and_short_of_time_pays_for_it_alone() {
    let world = World::new().await;
    let guard = world.guard_with(|settings| settings.connections = 1).await;
    let (acme, globex) = (world.client(&guard, &world.acme).await, world.client(&guard, &world.globex).await);
    let many = "SELECT count(set_config('my.x' || n, 'y', false)) FROM generate_series(1, 10000) n";
    ask(&acme, many).await.unwrap();
    ask(&acme, "SELECT set_config('statement_timeout', '1', false)").await.unwrap();
    assert_eq!(ask(&globex, "SELECT count(*) FROM accounts").await.as_deref(), Ok("5"));
}

#[tokio::test]
async fn cv23_what_cleaning_does_not_reach_goes_with_its_connection() {
    let world = World::new().await;
    let guard = world.guard_with(|settings| settings.connections = 1).await;
    let backend = async |tenant| {
        let client = world.client(&guard, tenant).await;
        ask(&client, "SELECT pg_backend_pid()").await.unwrap()
    };
    let first = backend(&world.acme).await;
    assert_eq!(backend(&world.globex).await, first, "cleaned");
    // Its connections elsewhere have names, which whoever comes next would find.
    world.superuser().await.batch_execute("CREATE EXTENSION dblink").await.unwrap();
    let terminate = format!("SELECT pg_terminate_backend({first})");
    eventually(|| async { (ask(&world.admin, &terminate).await.unwrap() == "f").then_some(()) }).await;
    let second = backend(&world.acme).await;
    assert_ne!(backend(&world.globex).await, second, "closed");
}

#[tokio::test]
async fn what_a_session_keeps_keeps_its_connection() {
    let world = World::new().await;
    let guard = world.guard_with(|settings| settings.connections = 2).await;
    let (acme, globex) = (world.client(&guard, &world.acme).await, world.client(&guard, &world.globex).await);
    ask(&acme, "SET work_mem = '7MB'").await.unwrap();
    let statement = acme.prepare("SELECT count(*) FROM accounts").await.unwrap();
    for _ in 0..3 {
        assert_eq!(
            ask(&globex, "SELECT current_setting('work_mem'), count(*) FROM accounts").await.unwrap(),
            "4MB|5"
        );
        assert_eq!(ask(&acme, "SELECT current_setting('work_mem')").await.unwrap(), "7MB");
        assert_eq!(acme.query_one(&statement, &[]).await.unwrap().get::<_, i64>(0), 3);
    }
}

/// A client may register its backend anew, which makes the guard's contexts for it worthless: its own trouble, and nobody's
/// who gets the connection after it.
#[tokio::test]
async fn a_backend_that_was_renamed_is_no_other_tenants_trouble() {
    let world = World::new().await;
    let guard = world.guard_with(|settings| settings.connections = 2).await;
    for _ in 0..3 {
        let poisoners = [world.client(&guard, &world.acme).await, world.client(&guard, &world.acme).await];
        for poisoner in &poisoners {
            ask(poisoner, "BEGIN").await.unwrap();
        }
        for poisoner in &poisoners {
            ask(poisoner, "SELECT ringfence.backend_register()").await.unwrap();
            ask(poisoner, "COMMIT").await.unwrap();
        }
        let globex = world.client(&guard, &world.globex).await;
        assert_eq!(ask(&globex, "SELECT count(*) FROM accounts").await.unwrap(), "5");
        // Both connections, also where the first had been cleaned after its client left.
        drop(poisoners);
        let acme = world.client(&guard, &world.acme).await;
        ask(&globex, "BEGIN; SELECT 1").await.unwrap();
        assert_eq!(ask(&acme, "SELECT count(*) FROM accounts").await.unwrap(), "3");
        ask(&globex, "COMMIT").await.unwrap();
    }
}

#[tokio::test]
async fn a_full_pool_is_an_error_that_says_so_and_passes() {
    let world = World::new().await;
    let guard = world
        .guard_with(|settings| {
            settings.connections = 1;
            settings.wait = Duration::from_millis(100);
        })
        .await;
    let (acme, globex) = (world.client(&guard, &world.acme).await, world.client(&guard, &world.globex).await);
    ask(&acme, "BEGIN; SELECT 1").await.unwrap();
    assert_eq!(fails(&globex, "SELECT 1").await, "53300");
    let error = globex.query("SELECT 1", &[]).await.unwrap_err();
    assert_eq!(sqlstate(&error), "53300");
    assert!(error.as_db_error().unwrap().hint().unwrap().contains("Try again"));
    ask(&acme, "COMMIT").await.unwrap();
    assert_eq!(ask(&globex, "SELECT count(*) FROM accounts").await.unwrap(), "5");
}

#[tokio::test]
async fn one_tenants_open_transactions_leave_room_for_others() {
    let world = World::new().await;
    let guard = world
        .guard_with(|settings| {
            settings.connections = 4;
            settings.caps.connections = 3;
            settings.wait = Duration::from_millis(200);
        })
        .await;
    let mut held = vec![];
    for _ in 0..3 {
        let acme = world.client(&guard, &world.acme).await;
        ask(&acme, "BEGIN; SELECT 1").await.unwrap();
        held.push(acme);
    }
    let one_more = world.client(&guard, &world.acme).await;
    let error = one_more.query("SELECT 1", &[]).await.unwrap_err();
    assert!(error.as_db_error().unwrap().message().contains("own transactions"), "{error:?}");
    let globex = world.client(&guard, &world.globex).await;
    assert_eq!(ask(&globex, "SELECT count(*) FROM accounts").await.unwrap(), "5");
    held.pop();
    let served = eventually(|| async { ask(&one_more, "SELECT count(*) FROM accounts").await.ok() }).await;
    assert_eq!(served, "3");
}

#[tokio::test]
async fn a_transaction_that_takes_too_long_is_ended() {
    let world = World::new().await;
    let guard = world
        .guard_with(|settings| {
            settings.connections = 1;
            settings.caps.transaction = Duration::from_millis(300);
        })
        .await;
    let (acme, globex) = (world.client(&guard, &world.acme).await, world.client(&guard, &world.globex).await);
    ask(&acme, "BEGIN; LOCK TABLE accounts").await.unwrap();
    assert_eq!(ask(&globex, "SELECT count(*) FROM accounts").await.unwrap(), "5");
    assert!(ask(&acme, "SELECT 1").await.is_err());
    let mut fresh = world.client(&guard, &world.acme).await;
    for _ in 0..4 {
        // Each transaction has its own time.
        let transaction = fresh.transaction().await.unwrap();
        transaction.query("SELECT pg_sleep(0.1)", &[]).await.unwrap();
        transaction.commit().await.unwrap();
    }
}

#[tokio::test]
async fn a_guard_that_stops_ends_idle_sessions_and_waits_for_transactions() {
    let world = World::new().await;
    let guard = world.guard().await;
    let (idle, busy) = (world.client(&guard, &world.acme).await, world.client(&guard, &world.globex).await);
    ask(&busy, "BEGIN; UPDATE accounts SET owner = 'kept'").await.unwrap();
    let port = guard.port;
    let stopping = tokio::spawn(guard.stop());
    let end = eventually(|| async { ask(&idle, "SELECT 1").await.err() }).await.0;
    assert!(end == "57P01" || end.starts_with("closed"), "{end}");
    assert!(tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_err());
    ask(&busy, "COMMIT").await.unwrap();
    stopping.await.unwrap();
    let kept = "SELECT count(*) FROM accounts WHERE owner = 'kept'";
    assert_eq!(world.admin.query_one(kept, &[]).await.unwrap().get::<_, i64>(0), 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn postgres_that_wants_a_password_gets_it_by_scram() {
    let folder = scratch("scram");
    let cluster = Cluster::start(cluster_settings(folder.clone())).await.unwrap();
    let world = World::on(&cluster).await;
    let set = format!("ALTER ROLE {} PASSWORD 'a long one'", world.role);
    world.admin.batch_execute(&set).await.unwrap();
    let hba = format!("local all {} scram-sha-256\nlocal all all peer map=ringfence\n", world.role);
    std::fs::write(folder.join("data/pg_hba.conf"), hba).unwrap();
    world.admin.batch_execute("SELECT pg_reload_conf()").await.unwrap();
    let with = async |password: Option<&str>| {
        let password = password.map(|text| Secret::new(text.to_owned()));
        let server = ServerSettings { password, ..world.server() };
        let guard = world.guard_at(Arc::new(Together(Placement::new(server))), |_| ()).await;
        let client = connect(&world.through(&guard, &world.acme)).await.map_err(|error| sqlstate(&error))?;
        Ok::<_, String>(ask(&client, "SELECT count(*) FROM accounts").await.unwrap())
    };
    eventually(|| async { with(None).await.err() }).await;
    assert_eq!(with(None).await, Err("57P03".to_owned()));
    assert_eq!(with(Some("wrong")).await, Err("57P03".to_owned()));
    assert_eq!(with(Some("a long one")).await, Ok("3".to_owned()));
    cluster.stop().await.unwrap();
}

/// What a tenant does next.
#[derive(Debug, Clone, Copy)]
enum Act {
    Read,
    ReadPrepared,
    Begin,
    Commit,
    Rollback,
    Write,
    Fail,
    Set,
    SetFollowed,
    Reconnect,
}

const ACTS: [Act; 10] = [
    Act::Read,
    Act::ReadPrepared,
    Act::Begin,
    Act::Commit,
    Act::Rollback,
    Act::Write,
    Act::Fail,
    Act::Set,
    Act::SetFollowed,
    Act::Reconnect,
];

/// One tenant's client in the property test.
struct Player<'a> {
    world: &'a World,
    guard: &'a crate::fixture::Running,
    acme: bool,
    client: Client,
}

impl<'a> Player<'a> {
    async fn new(world: &'a World, guard: &'a crate::fixture::Running, acme: bool) -> Self {
        let client = world.client(guard, if acme { &world.acme } else { &world.globex }).await;
        Self { world, guard, acme, client }
    }

    /// Does it, and gives everything it saw. Whoever else holds the one connection may make this fail with 53300.
    async fn act(&mut self, act: Act) -> String {
        let sql = match act {
            Act::Read => {
                "SELECT tenant_id, owner FROM accounts;
                SELECT current_setting('my.mark', true), current_setting('application_name')"
            }
            Act::ReadPrepared => {
                return match self
                    .client
                    .query("SELECT tenant_id, owner, current_setting('my.mark', true) FROM accounts", &[])
                    .await
                {
                    Ok(rows) => rows
                        .iter()
                        .map(|row| {
                            format!(
                                "{:?}",
                                (row.get::<_, &str>(0), row.get::<_, &str>(1), row.get::<_, Option<&str>>(2))
                            )
                        })
                        .collect(),
                    Err(error) => format!("{error:?}"),
                };
            }
            Act::Begin => "BEGIN",
            Act::Commit => "COMMIT",
            Act::Rollback => "ROLLBACK",
            Act::Write => "UPDATE accounts SET balance = balance + 1 RETURNING tenant_id, owner",
            Act::Fail => "SELECT owner::int FROM accounts",
            Act::Set if self.acme => "SET my.mark = 'mark-of-acme'",
            Act::Set => "SET my.mark = 'mark-of-CANARY'",
            Act::SetFollowed if self.acme => "SET application_name = 'mark-of-acme'",
            Act::SetFollowed => "SET application_name = 'mark-of-CANARY'",
            Act::Reconnect => {
                *self = Self::new(self.world, self.guard, self.acme).await;
                return String::new();
            }
        };
        format!("{:?}", ask(&self.client, sql).await)
    }
}

#[test]
fn cv23_two_tenants_on_one_connection_never_meet() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let (world, guard) = runtime.block_on(async {
        let world = World::new().await;
        let guard = world
            .guard_with(|settings| {
                settings.connections = 1;
                settings.wait = Duration::from_millis(20);
            })
            .await;
        (world, guard)
    });
    let script = proptest::collection::vec((any::<bool>(), proptest::sample::select(&ACTS[..])), 1..40);
    let mut runner =
        TestRunner::new(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() });
    let result = runner.run(&script, |script| {
        let seen = runtime.block_on(async {
            let mut players =
                [Player::new(&world, &guard, false).await, Player::new(&world, &guard, true).await];
            let mut seen = vec![];
            for (acme, act) in script {
                seen.push((acme, act, players[usize::from(acme)].act(act).await));
            }
            seen
        });
        for (acme, act, text) in seen {
            let foreign = if acme { CANARY.split('-').next().unwrap() } else { "acme" };
            prop_assert!(!text.contains(foreign), "acme={acme} {act:?}: {text}");
        }
        Ok(())
    });
    result.unwrap();
    runtime.block_on(async {
        let globex = world.client(&guard, &world.globex).await;
        assert!(ask(&globex, "SELECT owner FROM accounts").await.unwrap().contains(CANARY));
        let acme = connect(&world.through(&guard, &world.acme)).await.unwrap();
        drop(globex);
        assert_eq!(ask(&acme, "SELECT count(*) FROM accounts").await.unwrap(), "3");
        guard.stop().await;
    });
}
