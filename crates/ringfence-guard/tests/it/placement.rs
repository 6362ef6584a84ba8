//! Tenants whose rows are in databases of their own, and maps that lead them to another's.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};

use ringfence_context::{Layer, Reason, Refusal, TenantId};
use ringfence_guard::{
    RoleName,
    install::{self, Install},
    proxy::{Placement, Placements, ServerSettings},
};

use crate::fixture::{Tenant, World, ask, connect, fails, sqlstate};

/// A map that a test may change.
#[derive(Default)]
struct Map(Mutex<HashMap<TenantId, Arc<Placement>>>);

impl Map {
    fn lead(&self, tenant: &Tenant, to: &Arc<Placement>) {
        self.0.lock().unwrap().insert(tenant.id.clone(), Arc::clone(to));
    }
}

impl Placements for Map {
    fn placement(&self, tenant: &TenantId) -> Result<Option<Arc<Placement>>, Refusal> {
        let unknown = || Refusal::new(Layer::Guard, Reason::DependencyUnavailable, "no placement");
        self.0.lock().unwrap().get(tenant).cloned().map(Some).ok_or_else(unknown)
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
