//! Tenants with a login role, and with a schema, of their own; and tenants that are barred.

use std::{sync::Arc, time::Duration};

use ringfence_context::TenantId;
use ringfence_guard::{
    RoleName,
    bar::{Ended, tenant_bar},
    install,
    own::Own,
    proxy::{Placement, ServerSettings, Together},
};
use tokio_postgres::Client;

use crate::fixture::{Tenant, World, ask, connect, eventually, fails};

/// Makes what is a tenant's own; the guard's way to it.
async fn own(world: &World, tenant: &Tenant, with_schema: bool) -> (Own, ServerSettings) {
    let login = RoleName::new(&format!("own_{}_{}", world.database, tenant.id)).unwrap();
    let own = Own { schema: with_schema.then(|| login.clone().into()), login };
    let password = own.password(&world.guard_key);
    own.put(&world.admin, &world.role, &tenant.id, &password).await.unwrap();
    install::tenant_admit(&world.admin, &tenant.id, &tenant.seal, Some(&own.login)).await.unwrap();
    let search_path = own.schema.as_ref().map_or("public".to_owned(), |schema| schema.search_path());
    let server =
        ServerSettings { role: own.login.clone(), password: Some(password), search_path, ..world.server() };
    (own, server)
}

/// A client of a tenant whom the map leads there.
async fn led(world: &World, tenant: &Tenant, server: &ServerSettings) -> (crate::fixture::Running, Client) {
    let guard = world.guard_at(Arc::new(Together(Placement::new(server.clone()))), |_| ()).await;
    let client = world.client(&guard, tenant).await;
    (guard, client)
}

const OWNERS: &str = "SELECT string_agg(owner, ',' ORDER BY id) FROM accounts";

#[tokio::test]
async fn a_login_role_is_given_to_its_tenant_and_to_nobody_else() {
    let world = World::new().await;
    let (_, acme) = own(&world, &world.acme, false).await;
    let (_guard, client) = led(&world, &world.acme, &acme).await;
    assert_eq!(ask(&client, OWNERS).await.unwrap(), "acme-1,acme-2,acme-3");
    let who = ask(&client, "SELECT session_user, current_user").await.unwrap();
    assert_eq!(who, format!("{0}|{0}", acme.role));
    // Its right to be the application's role gives it nothing: who it is does not change.
    let become_app = format!("SET ROLE {}; {OWNERS}", world.role);
    assert_eq!(ask(&client, &become_app).await.unwrap(), "acme-1,acme-2,acme-3");
    assert_eq!(fails(&client, &format!("SET SESSION AUTHORIZATION {}", world.role)).await, "42501");

    // A map that is wrong, either way: genuine tokens, genuine contexts, another's role.
    let (_guard, globex) = led(&world, &world.globex, &acme).await;
    assert_eq!(fails(&globex, OWNERS).await, "RF002");
    assert_eq!(fails(&globex, "SELECT 1").await, "RF002", "nothing is sent without a context");
    let (_guard, stray) = led(&world, &world.acme, &world.server()).await;
    assert_eq!(fails(&stray, OWNERS).await, "RF002");
    // Who has none of its own is served as before.
    let (_guard, globex) = led(&world, &world.globex, &world.server()).await;
    assert_eq!(ask(&globex, "SELECT count(*) FROM accounts").await.unwrap(), "5");
}

#[tokio::test]
async fn to_a_schema_of_its_own_no_other_tenant_has_the_way() {
    let world = World::new().await;
    let (acme, at) = own(&world, &world.acme, true).await;
    let schema = acme.schema.clone().unwrap();
    let (theirs, their_place) = own(&world, &world.globex, true).await;
    let other = theirs.schema.clone().unwrap();
    for (schema, tenant) in [(&schema, "acme"), (&other, "globex")] {
        let made = format!(
            "CREATE TABLE {schema}.accounts (tenant_id text NOT NULL, id int, owner text, PRIMARY KEY (tenant_id, id));
             INSERT INTO {schema}.accounts VALUES ('{tenant}', 1, 'CANARY-of-{tenant}');
             SELECT ringfence.protect('{schema}.accounts');"
        );
        world.admin.batch_execute(&made).await.unwrap();
    }
    let (_guard, client) = led(&world, &world.acme, &at).await;
    assert_eq!(ask(&client, OWNERS).await.unwrap(), "CANARY-of-acme");
    for reach in [
        format!("SELECT owner FROM {other}.accounts"),
        format!("SET search_path = {other}; SELECT owner FROM {other}.accounts"),
        format!("INSERT INTO {other}.accounts VALUES ('acme', 2, 'x')"),
        format!("SET ROLE {}; SELECT owner FROM {other}.accounts", world.role),
    ] {
        assert_eq!(fails(&client, &reach).await, "42501", "{reach}");
    }
    // Nor has who shares the application's role, and what tenants share answers by row security still.
    let (direct, backend) = world.direct().await;
    direct.batch_execute("BEGIN").await.unwrap();
    assert!(world.mint(&world.globex, backend).set(&direct).await.is_err(), "globex has a role of its own");
    direct.batch_execute("ROLLBACK").await.unwrap();
    assert_eq!(fails(&direct, &format!("SELECT * FROM {schema}.accounts")).await, "42501");
    assert_eq!(ask(&client, "SELECT count(*) FROM public.accounts").await.unwrap(), "3");

    // Row security holds there too, if the way were open: a second one, and it is looked at that it is as installed.
    world
        .admin
        .batch_execute(&format!(
            "GRANT USAGE ON SCHEMA {other} TO {}; GRANT SELECT ON {other}.accounts TO {}",
            at.role, at.role
        ))
        .await
        .unwrap();
    assert_eq!(ask(&client, &format!("SELECT count(*) FROM {other}.accounts")).await.unwrap(), "0");
    let (_guard, globex) = led(&world, &world.globex, &their_place).await;
    world
        .admin
        .batch_execute(&format!("ALTER TABLE {other}.accounts NO FORCE ROW LEVEL SECURITY"))
        .await
        .unwrap();
    assert_eq!(fails(&globex, OWNERS).await, "RF004");
    let (_guard, client) = led(&world, &world.acme, &at).await;
    assert_eq!(ask(&client, OWNERS).await.unwrap(), "CANARY-of-acme", "another's posture is another's");

    acme.remove(&world.admin, &world.acme.id).await.unwrap();
    acme.remove(&world.admin, &world.acme.id).await.unwrap();
    let left = format!(
        "SELECT count(*) FROM pg_roles WHERE rolname = '{0}' UNION ALL SELECT count(*) FROM pg_namespace WHERE nspname = '{0}'
         UNION ALL SELECT count(*) FROM ringfence.tenant_place WHERE tenant_id = 'acme'",
        acme.login
    );
    assert_eq!(ask(&world.admin, &left).await.unwrap(), "0\n0\n0");
}

async fn bar(world: &World, tenant: &TenantId, grace: Duration) -> Ended {
    tenant_bar(&world.superuser().await, tenant, grace).await.unwrap()
}

#[tokio::test]
async fn what_a_barred_tenant_has_open_is_ended_and_nobody_elses() {
    let world = World::new().await;
    let guard = world.guard().await;
    let (idle, busy, other) = (
        world.client(&guard, &world.acme).await,
        world.client(&guard, &world.acme).await,
        world.client(&guard, &world.globex).await,
    );
    other.batch_execute("BEGIN; UPDATE accounts SET balance = 1").await.unwrap();
    busy.batch_execute("BEGIN; UPDATE accounts SET balance = 0; SAVEPOINT s").await.unwrap();
    assert_eq!(fails(&busy, "DISCARD ALL").await, "25001");
    busy.batch_execute("ROLLBACK TO s").await.unwrap();
    assert_eq!(ask(&idle, "SELECT count(*) FROM accounts").await.unwrap(), "3");
    let ended = bar(&world, &world.acme.id, Duration::ZERO).await;
    assert_eq!(ended, Ended { sessions: 2, transactions: 1, left: 0 });
    // At once, and not when the context runs out.
    assert!(busy.batch_execute("COMMIT").await.is_err());
    assert_eq!(fails(&idle, OWNERS).await, "RF002");
    assert_eq!(
        ask(&world.admin, "SELECT sum(balance) FROM accounts WHERE tenant_id = 'acme'").await.unwrap(),
        "600"
    );
    other.batch_execute("COMMIT").await.unwrap();
    assert_eq!(ask(&other, "SELECT sum(balance) FROM accounts").await.unwrap(), "5");
    // Nothing of it is left, when Postgres has let go of what it has just refused; and it is admitted again by its key.
    let barred_again = async || bar(&world, &world.acme.id, Duration::ZERO).await;
    eventually(|| async { (barred_again().await == Ended::default()).then_some(()) }).await;
    install::tenant_key_put(&world.admin, &world.acme.id, &world.acme.seal).await.unwrap();
    assert_eq!(ask(&idle, "SELECT count(*) FROM accounts").await.unwrap(), "3");
}

/// The lock by which a tenant's sessions are found is its client's to let go of: pools do.
#[tokio::test]
async fn who_lets_go_of_its_lock_is_ended_all_the_same() {
    let world = World::new().await;
    let guard = world.guard().await;
    let (hidden, idle, pooled) = (
        world.client(&guard, &world.acme).await,
        world.client(&guard, &world.acme).await,
        world.client(&guard, &world.globex).await,
    );
    hidden.batch_execute("BEGIN; UPDATE accounts SET balance = 0").await.unwrap();
    hidden.batch_execute("SELECT pg_advisory_unlock_all()").await.unwrap();
    idle.batch_execute("SELECT 1; SELECT pg_advisory_unlock_all()").await.unwrap();
    // As a pool resets a connection before it is used again: that one is given its lock with the next transaction.
    pooled.batch_execute("SELECT pg_advisory_unlock_all(); CLOSE ALL; UNLISTEN *; RESET ALL").await.unwrap();
    let unlock = pooled.prepare("SELECT pg_advisory_unlock_all()").await.unwrap();
    pooled.query(&unlock, &[]).await.unwrap();
    pooled.batch_execute("BEGIN; UPDATE accounts SET balance = 1").await.unwrap();
    let ended = bar(&world, &world.acme.id, Duration::ZERO).await;
    assert_eq!(ended, Ended { sessions: 2, transactions: 1, left: 0 });
    assert!(hidden.batch_execute("COMMIT").await.is_err());
    pooled.batch_execute("COMMIT").await.unwrap();
    let sums = "SELECT tenant_id, sum(balance) FROM accounts GROUP BY 1 ORDER BY 1";
    assert_eq!(ask(&world.admin, sums).await.unwrap(), "acme|600\nglobex|5");
    assert_eq!(fails(&idle, "SELECT 1").await, "RF002");
}

#[tokio::test]
async fn a_connection_that_changed_hands_is_found_by_its_last_tenant() {
    let world = World::new().await;
    let guard = world.guard_with(|settings| settings.connections = 1).await;
    let (acme, globex) = (world.client(&guard, &world.acme).await, world.client(&guard, &world.globex).await);
    assert_eq!(ask(&acme, "SELECT count(*) FROM accounts").await.unwrap(), "3");
    let pid = ask(&globex, "SELECT pg_backend_pid()").await.unwrap();
    assert_eq!(bar(&world, &world.acme.id, Duration::ZERO).await, Ended::default());
    assert_eq!(ask(&globex, "SELECT pg_backend_pid()").await.unwrap(), pid);
    // One session may give its tenant up and take it again, by what it can say.
    globex.batch_execute("DISCARD ALL").await.unwrap();
    globex.batch_execute("BEGIN; UPDATE accounts SET balance = 9").await.unwrap();
    assert_eq!(
        bar(&world, &world.globex.id, Duration::ZERO).await,
        Ended { sessions: 1, transactions: 1, left: 0 }
    );
}

#[tokio::test]
async fn a_transaction_is_given_the_time_to_end_and_no_new_one_begins() {
    let world = World::new().await;
    let guard = world.guard().await;
    let busy = world.client(&guard, &world.acme).await;
    busy.batch_execute("BEGIN; UPDATE accounts SET balance = 7 WHERE id = 1").await.unwrap();
    let (ended, committed) = tokio::join!(bar(&world, &world.acme.id, Duration::from_secs(20)), async {
        // The key is gone when others see that it is.
        while ask(&world.admin, "SELECT count(*) FROM ringfence.tenant_key WHERE tenant_id = 'acme'")
            .await
            .unwrap()
            != "0"
        {}
        busy.batch_execute("UPDATE accounts SET balance = 8 WHERE id = 1; COMMIT").await
    });
    committed.unwrap();
    assert_eq!(ended.transactions, 0);
    assert_eq!(fails(&busy, OWNERS).await, "RF002");
    let balance = "SELECT balance FROM accounts WHERE tenant_id = 'acme' AND id = 1";
    assert_eq!(ask(&world.admin, balance).await.unwrap(), "8");
}

#[tokio::test]
async fn who_guesses_tenants_fills_no_memory_for_locks() {
    let world = World::new().await;
    let guard = world.guard().await;
    let acme = world.client(&guard, &world.acme).await;
    // A session that has given its tenant up, and says others' names by the hundred, in one transaction and in many.
    acme.batch_execute("BEGIN; DISCARD SEQUENCES; SAVEPOINT s").await.unwrap();
    for n in 0..100 {
        let forged = format!("SELECT ringfence.context_set('t{n}', 't', 1, 1, '\\x00')");
        assert_eq!(fails(&acme, &forged).await, "RF002");
        acme.batch_execute("ROLLBACK TO s").await.unwrap();
    }
    let overflow = "SELECT ringfence.context_set('t1', 't', 9223372036854775807, 1, '\\x00')";
    assert!(ask(&acme, overflow).await.is_err());
    // Postgres says that it failed before it lets go of what it had locked: it is asked when it has.
    acme.batch_execute("ROLLBACK TO s").await.unwrap();
    let locks = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND database = (SELECT oid FROM pg_database
        WHERE datname = current_database())";
    assert_eq!(ask(&world.admin, locks).await.unwrap(), "1", "its own");
    acme.batch_execute("ROLLBACK").await.unwrap();
    for n in 0..20 {
        let forged = format!("DISCARD SEQUENCES; SELECT ringfence.context_set('u{n}', 't', 1, 1, '\\x00')");
        assert_eq!(fails(&acme, &forged).await, "RF002");
    }
    assert_eq!(ask(&acme, "SELECT count(*) FROM accounts").await.unwrap(), "3");
    assert_eq!(ask(&world.admin, locks).await.unwrap(), "1");
}

#[tokio::test]
async fn a_key_that_is_taken_away_meanwhile_is_gone_whatever_a_session_reads_by() {
    let world = World::new().await;
    let guard = world.guard().await;
    let acme = world.client(&guard, &world.acme).await;
    acme.batch_execute("SET default_transaction_isolation = 'repeatable read'").await.unwrap();
    assert_eq!(ask(&acme, "SHOW transaction_isolation").await.unwrap(), "repeatable read");
    // It is to be given a context anew, and has to wait in the middle of that.
    acme.batch_execute("DISCARD SEQUENCES").await.unwrap();
    let (gate, other) = (world.superuser().await, world.superuser().await);
    gate.batch_execute("BEGIN; LOCK TABLE ringfence.backend").await.unwrap();
    let (answer, ()) = tokio::join!(ask(&acme, OWNERS), async {
        let waits =
            "SELECT count(*) FROM pg_locks WHERE relation = 'ringfence.backend'::regclass AND NOT granted";
        eventually(|| async { (ask(&other, waits).await.unwrap() == "1").then_some(()) }).await;
        install::tenant_key_remove(&other, &world.acme.id).await.unwrap();
        gate.batch_execute("COMMIT").await.unwrap();
    });
    assert_eq!(answer.unwrap_err().0, "RF002");
}

#[tokio::test]
async fn whoever_only_says_that_it_is_a_tenant_ends_nothing_of_it() {
    let world = World::new().await;
    let guard = world.guard().await;
    let acme = world.client(&guard, &world.acme).await;
    assert_eq!(ask(&acme, "SELECT count(*) FROM accounts").await.unwrap(), "3");
    // A session that named another tenant, in vain, and has its own: ended with that other's, it begins anew.
    let direct = connect(&world.direct_config()).await.unwrap();
    let forged = "SELECT ringfence.context_set('acme', 't', 1, 1, '\\x00')";
    assert_eq!(fails(&direct, forged).await, "RF002");
    assert_eq!(bar(&world, &world.globex.id, Duration::ZERO).await, Ended::default());
    assert_eq!(ask(&acme, "SELECT count(*) FROM accounts").await.unwrap(), "3");
}
