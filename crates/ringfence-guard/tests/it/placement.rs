//! Tenants whose rows are in databases of their own, and maps that lead them to another's.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use ringfence_context::{Layer, Reason, Refusal, TenantId};
use ringfence_guard::{
    RoleName,
    install::{self, Install},
    proxy::{Caps, GuardSettings, Placement, Placements, ServerSettings},
};

use crate::fixture::{Tenant, World, ask, connect, eventually, fails, sqlstate};

/// A map that a test may change.
#[derive(Default)]
struct Map(Mutex<HashMap<TenantId, Arc<Placement>>>, Mutex<HashMap<TenantId, Caps>>);

impl Map {
    fn lead(&self, tenant: &Tenant, to: &Arc<Placement>) {
        self.0.lock().unwrap().insert(tenant.id.clone(), Arc::clone(to));
    }

    fn cap(&self, tenant: &Tenant, connections: usize, milliseconds: u64) {
        let caps = Caps { connections, transaction: Duration::from_millis(milliseconds) };
        self.1.lock().unwrap().insert(tenant.id.clone(), caps);
    }
}

impl Placements for Map {
    fn placement(&self, tenant: &TenantId) -> Result<Option<Arc<Placement>>, Refusal> {
        let unknown = || Refusal::new(Layer::Guard, Reason::DependencyUnavailable, "no placement");
        self.0.lock().unwrap().get(tenant).cloned().map(Some).ok_or_else(unknown)
    }

    fn caps(&self, tenant: &TenantId) -> Option<Caps> {
        self.1.lock().unwrap().get(tenant).copied()
    }
}

/// Makes a database that is one tenant's alone, with the same tables and one account.
async fn own(world: &World, tenant: &Tenant, owner: &str) -> Arc<Placement> {
    let database =
        RoleName::new(&format!("{}_{}", world.database, tenant.id.as_str().replace('-', "_"))).unwrap();
    let superuser = world.superuser().await;
    superuser.batch_execute(&format!("CREATE DATABASE {database} TEMPLATE template0")).await.unwrap();
    let mut config = world.direct_config();
    config.user(ringfence_guard::cluster::SUPERUSER).dbname(database.as_str());
    let mut admin = connect(&config).await.unwrap();
    let names = [world.role.as_str(), "owner_of_own"].map(|name| RoleName::new(name).unwrap());
    let [app, made] = names;
    Install::new(app, made).run(&mut admin).await.unwrap();
    install::guard_key_put(&admin, &world.guard_key).await.unwrap();
    install::tenant_key_put(&admin, &tenant.id, &tenant.seal).await.unwrap();
    let tables = format!(
        "CREATE TABLE accounts (tenant_id text NOT NULL, id int NOT NULL, owner text NOT NULL, balance bigint NOT NULL,
            PRIMARY KEY (tenant_id, id));
         SELECT ringfence.protect('accounts');
         INSERT INTO accounts VALUES ('{}', 1, '{owner}', 1)",
        tenant.id
    );
    admin.batch_execute(&tables).await.unwrap();
    Placement::new(ServerSettings { database, ..world.server() })
}

const OWNERS: &str = "SELECT string_agg(owner, ',' ORDER BY id) FROM accounts";

#[tokio::test]
async fn a_tenant_led_to_anothers_database_reaches_nothing_there() {
    let world = World::new().await;
    let (shared, own) = (Placement::new(world.server()), own(&world, &world.globex, "CANARY-own").await);
    let map = Arc::new(Map::default());
    map.lead(&world.acme, &shared);
    map.lead(&world.globex, &own);
    // One connection for both databases: it goes from one to the other by being closed.
    let guard = world.guard_at(Arc::clone(&map) as _, |settings| settings.connections = 1).await;
    let (acme, globex) = (world.client(&guard, &world.acme).await, world.client(&guard, &world.globex).await);
    for _ in 0..3 {
        assert_eq!(ask(&acme, OWNERS).await.unwrap(), "acme-1,acme-2,acme-3");
        assert_eq!(ask(&globex, OWNERS).await.unwrap(), "CANARY-own");
    }

    // The map is wrong, for a session that is open and for one that opens.
    map.lead(&world.acme, &own);
    assert_eq!(fails(&acme, OWNERS).await, "RF002");
    assert_eq!(fails(&acme, "SELECT 1").await, "RF002", "nothing is sent without a context");
    let again = world.client(&guard, &world.acme).await;
    assert_eq!(fails(&again, "COPY accounts TO STDOUT").await, "RF002");
    assert_eq!(ask(&globex, OWNERS).await.unwrap(), "CANARY-own");
    // And right again: the session goes on.
    map.lead(&world.acme, &shared);
    assert_eq!(ask(&acme, OWNERS).await.unwrap(), "acme-1,acme-2,acme-3");
}

#[tokio::test]
async fn each_tenant_takes_what_its_own_caps_say() {
    let world = World::new().await;
    let (map, all) = (Arc::new(Map::default()), Placement::new(world.server()));
    for tenant in [&world.acme, &world.globex] {
        map.lead(tenant, &all);
    }
    map.cap(&world.acme, 1, 400);
    let narrow = |settings: &mut GuardSettings| {
        settings.connections = 3;
        settings.caps = Caps { connections: 2, transaction: Duration::from_secs(60) };
        settings.wait = Duration::from_millis(100);
    };
    let guard = world.guard_at(Arc::clone(&map) as _, narrow).await;
    let clients = async |tenant| {
        [
            world.client(&guard, tenant).await,
            world.client(&guard, tenant).await,
            world.client(&guard, tenant).await,
        ]
    };
    let (acme, globex) = (clients(&world.acme).await, clients(&world.globex).await);
    // Connections: one, and who has no caps of its own the guard's two.
    for client in [&globex[0], &globex[1], &acme[0]] {
        ask(client, "BEGIN; SELECT count(*) FROM accounts").await.unwrap();
    }
    for client in [&globex[2], &acme[1]] {
        let error = client.query("SELECT 1", &[]).await.unwrap_err();
        assert!(error.as_db_error().unwrap().message().contains("own transactions"), "{error:?}");
    }
    // Time: what is open and does nothing is ended as well, and gives its connection back.
    let served = eventually(|| async { ask(&acme[1], "SELECT count(*) FROM accounts").await.ok() }).await;
    assert_eq!(served, "3");
    assert_eq!(fails(&acme[1], "SELECT pg_sleep(30)").await, "25P04");
    assert_eq!(ask(&globex[0], "SELECT count(*) FROM accounts").await.as_deref(), Ok("5"));
    for client in &globex[..2] {
        ask(client, "COMMIT").await.unwrap();
    }
    // Another tier: from the next transaction on, for who is connected already.
    map.cap(&world.acme, 2, 60_000);
    map.cap(&world.globex, 2, 300);
    ask(&acme[2], "BEGIN; SELECT pg_sleep(0.6)").await.unwrap();
    assert_eq!(fails(&globex[0], "SELECT pg_sleep(30)").await, "25P04");
    // And where a session keeps its connection between its transactions.
    ask(&globex[1], "SET work_mem = '7MB'").await.unwrap();
    map.cap(&world.globex, 2, 60_000);
    ask(&globex[1], "SELECT pg_sleep(0.6)").await.unwrap();
    ask(&acme[2], "COMMIT").await.unwrap();
}

#[tokio::test]
async fn the_next_transaction_is_where_the_tenant_is_then() {
    let world = World::new().await;
    let own = own(&world, &world.globex, "moved").await;
    let (shared, map) = (Placement::new(world.server()), Arc::new(Map::default()));
    map.lead(&world.globex, &shared);
    let guard = world.guard_at(Arc::clone(&map) as _, |_| ()).await;
    let client = world.client(&guard, &world.globex).await;
    let statement = client.prepare("SELECT count(*) FROM accounts").await.unwrap();
    let count = async || client.query_one(&statement, &[]).await.unwrap().get::<_, i64>(0);
    assert_eq!(count().await, 5);
    client.batch_execute("BEGIN").await.unwrap();
    map.lead(&world.globex, &own);
    assert_eq!(count().await, 5, "a transaction ends where it began");
    client.batch_execute("COMMIT").await.unwrap();
    // What is prepared follows: it was read there, and is prepared here.
    assert_eq!(count().await, 1);
    assert_eq!(
        ask(&client, "SELECT current_database() = 'x', owner FROM accounts").await.unwrap(),
        "f|moved"
    );
}

#[tokio::test]
async fn nobody_is_led_anywhere_by_default() {
    let world = World::new().await;
    let map = Arc::new(Map::default());
    let guard = world.guard_at(Arc::clone(&map) as _, |_| ()).await;
    let refused =
        connect(&world.through(&guard, &world.acme)).await.map(drop).map_err(|error| sqlstate(&error));
    assert_eq!(refused, Err("57P03".to_owned()));
    map.lead(&world.acme, &Placement::new(world.server()));
    let client = world.client(&guard, &world.acme).await;
    assert_eq!(ask(&client, "SELECT count(*) FROM accounts").await.unwrap(), "3");
    map.0.lock().unwrap().clear();
    assert_eq!(fails(&client, "SELECT 1").await, "57P03");
}
