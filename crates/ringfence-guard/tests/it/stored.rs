//! Attacks by what a role may store for itself: every tenant shares it, and each new connection begins with it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures_util::future::BoxFuture;
use ringfence_context::Secret;
use ringfence_guard::{
    Cluster, RoleName, install,
    proxy::{Placement, PutPassword, ServerSettings, Together},
};

use crate::fixture::{World, ask, cluster_settings, connect, eventually, fails, scratch};

/// Everything a role can be made to begin with: of each setting the values that are furthest from what is usual.
const CANDIDATES: &str = "SELECT s.name, v.value FROM pg_settings s, LATERAL unnest(CASE s.vartype
        WHEN 'bool' THEN ARRAY[CASE s.setting WHEN 'on' THEN 'off' ELSE 'on' END]
        WHEN 'enum' THEN s.enumvals
        WHEN 'string' THEN ARRAY['', 'x', 'none']
        ELSE ARRAY[s.min_val, '1', s.max_val] END) AS v (value)
    WHERE s.context <> 'internal' AND v.value IS DISTINCT FROM s.setting";

/// Writes and reads, in transactions as they are without anything stored.
const AS_USUAL: &str = "UPDATE accounts SET balance = balance;
    SELECT count(*), current_setting('transaction_isolation'), current_setting('transaction_deferrable') FROM accounts";

/// Ends every connection of the application's role but one, so that the guard must make new ones.
async fn disconnect(world: &World, but: i32) {
    let kill = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = $1 AND pid <> $2";
    eventually(|| async {
        let left = world.admin.query(kill, &[&world.role.as_str(), &but]).await.unwrap().len();
        (left == 0).then_some(())
    })
    .await;
}

async fn stored(world: &World) -> i64 {
    // What each transaction sets anew may stay: since Postgres 16 it can't be taken out.
    let stored =
        "SELECT count(*) FROM pg_db_role_setting d JOIN pg_roles r ON r.oid = setrole, unnest(setconfig) c
        WHERE rolname = $1 AND c !~ '^transaction_(read_only|isolation|deferrable)='";
    world.admin.query_one(stored, &[&world.role.as_str()]).await.unwrap().get(0)
}

#[tokio::test]
async fn cv23_settings_stored_for_the_shared_role_harm_no_one() {
    let world = World::new().await;
    let guard = world.guard_with(|settings| settings.connections = 1).await;
    let acme = world.client(&guard, &world.acme).await;
    let poison = format!(
        "ALTER ROLE CURRENT_USER SET standard_conforming_strings = off;
         ALTER ROLE CURRENT_USER IN DATABASE {} SET statement_timeout = '1min';
         ALTER ROLE CURRENT_USER SET enable_seqscan = off",
        world.database
    );
    ask(&acme, &poison).await.unwrap();
    // A database that is asked directly refuses the poisoned connection a name.
    let direct = connect(&world.direct_config()).await.unwrap();
    assert_eq!(fails(&direct, "SELECT ringfence.backend_register()").await, "RF004");
    // A new server connection is made; the guard finds the settings, removes them, and serves as if nothing were.
    disconnect(&world, 0).await;
    let globex = world.client(&guard, &world.globex).await;
    let sql = "SELECT current_setting('standard_conforming_strings'), current_setting('statement_timeout'),
        current_setting('enable_seqscan'), count(*) FROM accounts";
    assert_eq!(ask(&globex, sql).await.unwrap(), "on|0|on|5");
    assert_eq!(stored(&world).await, 0);
}

#[tokio::test]
async fn cv23_a_password_for_the_shared_role_opens_and_shuts_nothing() {
    let world = World::new().await;
    let guard = world.guard_with(|settings| settings.connections = 1).await;
    let acme = world.client(&guard, &world.acme).await;
    ask(&acme, "ALTER ROLE CURRENT_USER PASSWORD 'mine'").await.unwrap();
    disconnect(&world, 0).await;
    let globex = world.client(&guard, &world.globex).await;
    assert_eq!(ask(&globex, "SELECT count(*) FROM accounts").await.unwrap(), "5");
}

/// The administrator of a server, who knows the password.
struct Administrator {
    admin: tokio_postgres::Client,
    role: RoleName,
    put: AtomicUsize,
}

impl PutPassword for Administrator {
    fn put_password(&self) -> BoxFuture<'_, bool> {
        Box::pin(async {
            self.put.fetch_add(1, Ordering::Relaxed);
            let password = Secret::new("a long one".to_owned());
            install::password_put(&self.admin, &self.role, &password).await.is_ok()
        })
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn cv23_a_password_of_ones_own_shuts_nobody_out_where_postgres_asks_for_one() {
    let folder = scratch("password");
    let cluster = Cluster::start(cluster_settings(folder.clone())).await.unwrap();
    let world = World::on(&cluster).await;
    let hba = format!("local all {} scram-sha-256\nlocal all all peer map=ringfence\n", world.role);
    std::fs::write(folder.join("data/pg_hba.conf"), hba).unwrap();
    world.admin.batch_execute("SELECT pg_reload_conf()").await.unwrap();
    let administrator = Arc::new(Administrator {
        admin: world.superuser().await,
        role: world.role.clone(),
        put: AtomicUsize::new(0),
    });
    let password = Some(Secret::new("a long one".to_owned()));
    let server = ServerSettings { password, ..world.server() };
    let passwords: Arc<dyn PutPassword> = Arc::<Administrator>::clone(&administrator);
    let placement = Placement::with_passwords(server, passwords);
    let guard = world.guard_at(Arc::new(Together(placement)), |settings| settings.connections = 1).await;
    // It has none yet, which is as if it had another.
    let acme = world.client(&guard, &world.acme).await;
    assert_eq!(ask(&acme, "SELECT count(*) FROM accounts").await.unwrap(), "3");
    for own in ["PASSWORD 'mine'", "PASSWORD NULL"] {
        ask(&acme, &format!("ALTER ROLE CURRENT_USER {own}")).await.unwrap();
        disconnect(&world, 0).await;
        let globex = world.client(&guard, &world.globex).await;
        assert_eq!(ask(&globex, "SELECT count(*) FROM accounts").await.unwrap(), "5", "{own}");
    }
    assert_eq!(administrator.put.load(Ordering::Relaxed), 3);
    cluster.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn cv23_nothing_a_role_stores_for_itself_shuts_others_out() {
    let world = World::new().await;
    let guard = world.guard_with(|settings| settings.connections = 1).await;
    let globex = world.client(&guard, &world.globex).await;
    // Past the guard, which would only be in the way.
    let attacker = connect(&world.direct_config()).await.unwrap();
    let own: i32 = attacker.query_one("SELECT pg_backend_pid()", &[]).await.unwrap().get(0);
    let (mut tried, mut shut) = (0, vec![]);
    for candidate in world.admin.query(CANDIDATES, &[]).await.unwrap() {
        let (name, value): (&str, &str) = (candidate.get(0), candidate.get(1));
        let store = format!("ALTER ROLE CURRENT_USER SET {name} = '{}'", value.replace('\'', "''"));
        if attacker.batch_execute(&store).await.is_err() {
            continue;
        }
        tried += 1;
        disconnect(&world, own).await;
        let answer = ask(&globex, AS_USUAL).await;
        let left = stored(&world).await;
        if answer.as_deref() != Ok("5|read committed|off") || left != 0 {
            shut.push(format!("{store}: {answer:?}, {left} left"));
            world.admin.batch_execute(&format!("ALTER ROLE {} RESET ALL", world.role)).await.unwrap();
        }
    }
    assert!(shut.is_empty(), "{shut:#?}");
    assert!(tried > 200, "{tried}");
}

#[tokio::test(flavor = "multi_thread")]
async fn cv23_what_is_stored_again_and_again_shuts_nobody_out() {
    let world = World::new().await;
    let guard = world.guard_with(|settings| settings.connections = 1).await;
    let globex = world.client(&guard, &world.globex).await;
    let attacker = Arc::new(connect(&world.direct_config()).await.unwrap());
    let own: i32 = attacker.query_one("SELECT pg_backend_pid()", &[]).await.unwrap().get(0);
    let stored = "SELECT FROM pg_db_role_setting s JOIN pg_roles r ON r.oid = s.setrole WHERE r.rolname = current_user";
    let store = "ALTER ROLE CURRENT_USER SET work_mem = '1GB'";
    for _ in 0..8 {
        disconnect(&world, own).await;
        attacker.batch_execute(store).await.unwrap();
        // As soon as it is removed, half as often as the guard removes it for one connection.
        let attacker = Arc::clone(&attacker);
        let again = tokio::spawn(async move {
            for _ in 0..8 {
                while !attacker.query(stored, &[]).await.unwrap().is_empty() {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
                // Where both are at it at once, Postgres lets one.
                let _ = attacker.batch_execute(store).await;
            }
        });
        assert_eq!(
            ask(&globex, "SELECT count(*), current_setting('work_mem') FROM accounts").await.unwrap(),
            "5|4MB"
        );
        again.abort();
    }
}
