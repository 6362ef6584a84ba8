//! Credentials: logins to a tenant's own database that no guard stands before. What the database alone lets them do.

use std::time::Duration;

use ringfence_context::{DatabaseContext, TenantId, UnixTime, database::Backend, limits};
use ringfence_guard::{
    RoleName,
    bar::{Ended, tenant_bar},
    credential::{
        Credential, CredentialError, Overdue, Revoked, expired_revoke, open_to_everybody, overdue,
        tenant_revoke,
    },
    install::{self, Install},
};
use tokio_postgres::Client;

use crate::fixture::{Arguments, World, ask, connect, fails, now, sqlstate};

const OWNERS: &str = "SELECT string_agg(owner, ',' ORDER BY id) FROM accounts";
const ACMES: &str = "acme-1,acme-2,acme-3";

/// A database that knows acme alone; globex has left its rows there.
async fn alone() -> World {
    let world = World::new().await;
    install::tenant_key_remove(&world.admin, &world.globex.id).await.unwrap();
    world
}

/// A login of acme's, for a minute.
async fn vend(world: &World) -> Credential {
    vend_until(world, now().after(Duration::from_secs(60))).await.unwrap()
}

async fn vend_until(world: &World, expires: UnixTime) -> Result<Credential, CredentialError> {
    let credential = Credential::draw(expires)?;
    credential.put(&mut world.superuser().await, &world.acme.id).await?;
    Ok(credential)
}

/// A session of it, in the database of `world`.
async fn log_in(world: &World, credential: &Credential) -> Result<Client, String> {
    let mut config = world.direct_config();
    config.user(credential.login.as_str()).password(credential.password.reveal());
    connect(&config).await.map_err(|error| sqlstate(&error))
}

/// A login of acme's, and a session of it.
async fn session(world: &World) -> (Credential, Client) {
    let credential = vend(world).await;
    let client = log_in(world, &credential).await.unwrap();
    (credential, client)
}

async fn logins(world: &World, credential: &Credential) -> String {
    let left = format!(
        "SELECT count(*) FROM pg_roles WHERE rolname = '{0}' UNION ALL SELECT count(*) FROM ringfence.credential WHERE role = '{0}'",
        credential.login
    );
    ask(&world.admin, &left).await.unwrap()
}

#[tokio::test]
async fn a_credential_reads_and_writes_its_tenants_rows_and_no_others() {
    let world = alone().await;
    let (before, (credential, client)) = (world.globex_hash().await, session(&world).await);
    assert_eq!(ask(&client, "SELECT ringfence.tenant_id()").await.unwrap(), "acme");
    assert_eq!(ask(&client, OWNERS).await.unwrap(), ACMES);
    assert_eq!(ask(&client, "SELECT count(*) FROM payments").await.unwrap(), "3");
    let insert = "INSERT INTO accounts VALUES ('acme', 4, 'acme-4', 0) RETURNING owner";
    assert_eq!(ask(&client, insert).await.unwrap(), "acme-4");
    for (statement, rows) in [
        ("UPDATE accounts SET balance = balance + 1", 4),
        ("UPDATE accounts SET balance = 0 WHERE tenant_id = 'globex'", 0),
        ("DELETE FROM payments WHERE tenant_id <> 'acme'", 0),
        ("DELETE FROM accounts WHERE id = 4", 1),
    ] {
        assert_eq!(client.execute(statement, &[]).await.unwrap(), rows, "{statement}");
    }
    for foreign in [
        "INSERT INTO accounts VALUES ('globex', 9, 'x', 0)",
        "UPDATE accounts SET tenant_id = 'globex' WHERE id = 3",
    ] {
        assert_eq!(fails(&client, foreign).await, "42501", "{foreign}");
    }
    // Nothing that a session may say changes whose it is.
    for said in [
        "SET search_path = pg_temp, public",
        "SET ringfence.tenant = 'globex'",
        "SELECT set_config('role', 'none', false)",
        "RESET SESSION AUTHORIZATION",
        "DISCARD ALL",
        "PREPARE mine AS SELECT string_agg(owner, ',' ORDER BY id) FROM accounts",
        "SET plan_cache_mode = force_generic_plan",
    ] {
        ask(&client, said).await.unwrap();
        assert_eq!(
            ask(&client, "SELECT string_agg(owner, ',' ORDER BY id) FROM public.accounts").await.unwrap(),
            ACMES
        );
    }
    assert_eq!(ask(&client, "EXECUTE mine").await.unwrap(), ACMES);
    // Nor what it may store for the sessions after it.
    let stored = format!("ALTER ROLE {} SET row_security = off", credential.login);
    ask(&client, &stored).await.unwrap();
    let again = log_in(&world, &credential).await.unwrap();
    assert_eq!(fails(&again, OWNERS).await, "42501", "Postgres refuses a query that policies would narrow");
    assert_eq!(world.globex_hash().await, before);
}

/// What only others may, or nobody.
const ATTACKS: &[&str] = &[
    "SET ROLE {app}",
    "SET ROLE owner_{n}",
    "SET ROLE postgres",
    "SET SESSION AUTHORIZATION {app}",
    "SET SESSION AUTHORIZATION postgres",
    "GRANT {app} TO {login}",
    "GRANT {login} TO {app}",
    "ALTER ROLE {login} VALID UNTIL 'infinity'",
    "ALTER ROLE {login} PASSWORD 'x' VALID UNTIL 'infinity'",
    "ALTER ROLE {login} CONNECTION LIMIT -1",
    "ALTER ROLE {login} INHERIT",
    "ALTER ROLE {login} BYPASSRLS",
    "ALTER ROLE {app} PASSWORD 'x'",
    "CREATE ROLE vended_0123456789abcdef",
    "SELECT * FROM ringfence.credential",
    "UPDATE ringfence.credential SET expires = 'infinity'",
    "INSERT INTO ringfence.credential VALUES ('{login}', 'globex', 'infinity')",
    "SELECT * FROM ringfence.tenant_key",
    "SELECT * FROM ringfence.plane_key",
    "SELECT * FROM ringfence.protected",
    "SELECT currval('ringfence.tenant_verified')",
    "SELECT setval('ringfence.tenant_verified', 1)",
    "SELECT ringfence.backend_register()",
    "SELECT ringfence.context_set('globex', 't', 1, 1, '')",
    "SELECT ringfence.credential_make('vended_0123456789abcdef', '', 'acme', 0, 9)",
    "SELECT ringfence.credential_close('globex', 0)",
    "SELECT ringfence.credential_drop()",
    "SELECT ringfence.protect('accounts')",
    "CREATE TABLE mine (id int)",
    "CREATE TEMPORARY TABLE accounts (id int)",
    "CREATE VIEW mine AS SELECT 1",
    "CREATE SCHEMA mine",
    "CREATE FUNCTION tenant_id() RETURNS text LANGUAGE sql AS $$ SELECT 'globex' $$",
    "CREATE OPERATOR = (LEFTARG = text, RIGHTARG = text, FUNCTION = texteq)",
    "DO $$ BEGIN END $$",
    "ALTER TABLE accounts DISABLE ROW LEVEL SECURITY",
    "DROP POLICY ringfence_tenant ON accounts",
    "CREATE POLICY mine ON accounts USING (true)",
    "TRUNCATE accounts",
    "SELECT pg_notify('x', 'y')",
    "SELECT pg_stat_get_activity(NULL)",
    "SELECT pg_terminate_backend(1)",
    "SELECT pg_advisory_lock(1)",
    "SELECT lo_create(0)",
    "SELECT pg_export_snapshot()",
];

#[tokio::test]
async fn a_credential_becomes_nobody_makes_nothing_and_reads_nothing_of_ringfences() {
    let world = alone().await;
    let (credential, client) = session(&world).await;
    let number = world.role.as_str().trim_start_matches("app_");
    for attack in ATTACKS {
        let attack = attack
            .replace("{app}", world.role.as_str())
            .replace("{n}", number)
            .replace("{login}", credential.login.as_str());
        assert_eq!(fails(&client, &attack).await, "42501", "{attack}");
    }
    // What may be said of oneself stays with oneself.
    let own = format!("ALTER ROLE {} PASSWORD 'another'", credential.login);
    ask(&client, &own).await.unwrap();
    assert_eq!(log_in(&world, &credential).await.unwrap_err(), "28P01");
    // Nor do the application's sessions get hold of it, or make it one of theirs.
    let (app, _) = world.direct().await;
    for attack in [
        "GRANT {app} TO {login}",
        "GRANT {login} TO {app}",
        "SET ROLE {login}",
        "ALTER ROLE {login} PASSWORD 'x'",
    ] {
        let attack =
            attack.replace("{app}", world.role.as_str()).replace("{login}", credential.login.as_str());
        assert_eq!(fails(&app, &attack).await, "42501", "{attack}");
    }
}

#[tokio::test]
async fn a_credential_connects_to_no_other_database_that_is_prepared() {
    let (world, shared, another) = (alone().await, World::new().await, alone().await);
    let credential = vend(&world).await;
    for other in [&shared, &another] {
        assert_eq!(log_in(other, &credential).await.unwrap_err(), "42501");
        // Being a member of the application's role would not open it either: nothing is inherited.
        let member = format!("GRANT {} TO {}", other.role, credential.login);
        other.admin.batch_execute(&member).await.unwrap();
        assert_eq!(log_in(other, &credential).await.unwrap_err(), "42501");
        // And if the way and all rights were open, row security knows nobody of this name there.
        let open = format!(
            "GRANT CONNECT ON DATABASE {} TO {login}; GRANT USAGE ON SCHEMA ringfence TO {login};
             GRANT SELECT ON accounts TO {login}; GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA ringfence TO {login}",
            other.database,
            login = credential.login
        );
        other.admin.batch_execute(&open).await.unwrap();
        let stray = log_in(other, &credential).await.unwrap();
        assert_eq!(fails(&stray, OWNERS).await, "RF001");
        let become_app = format!("SET ROLE {}; {OWNERS}", other.role);
        assert_eq!(fails(&stray, &become_app).await, "42501");
        drop(stray);
        let close = format!("DROP OWNED BY {}", credential.login);
        other.admin.batch_execute(&close).await.unwrap();
    }
    let everybody = open_to_everybody(&world.admin).await.unwrap();
    assert!(!everybody.contains(&shared.database.to_string()), "{everybody:?}");
    assert!(everybody.contains(&"template1".to_owned()), "who installed Postgres left it so: {everybody:?}");
}

#[tokio::test]
async fn a_context_is_refused_to_a_credential_whatever_it_may_call() {
    let world = alone().await;
    let (credential, client) = session(&world).await;
    let open = format!("GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA ringfence TO {}", credential.login);
    world.admin.batch_execute(&open).await.unwrap();
    let row = client.query_one("SELECT pid, started FROM ringfence.backend_register()", &[]).await.unwrap();
    let backend = Backend { pid: row.get(0), started: u64::try_from(row.get::<_, i64>(1)).unwrap() };
    for tenant in [&world.acme, &world.globex] {
        let context = DatabaseContext::mint(&tenant.permit(), &world.guard_key, backend, now()).unwrap();
        assert_eq!(Arguments::of(&context).set(&client).await, Err("RF002".to_owned()));
    }
    assert_eq!(ask(&client, OWNERS).await.unwrap(), ACMES);
}

#[tokio::test]
async fn what_the_application_may_a_credential_may_and_no_more() {
    let world = alone().await;
    let more = format!(
        "CREATE SCHEMA extra; GRANT USAGE, CREATE ON SCHEMA extra TO {app};
         CREATE TABLE extra.wide (a int, b int); GRANT SELECT (a) ON extra.wide TO {app};
         CREATE TABLE extra.hidden (a int); CREATE SEQUENCE extra.numbers; GRANT USAGE ON SEQUENCE extra.numbers TO {app};
         CREATE FUNCTION extra.of_app() RETURNS int LANGUAGE sql AS 'SELECT 1';
         CREATE FUNCTION extra.of_nobody() RETURNS int LANGUAGE sql AS 'SELECT 1';
         REVOKE ALL ON ALL FUNCTIONS IN SCHEMA extra FROM PUBLIC; GRANT EXECUTE ON FUNCTION extra.of_app() TO {app};
         CREATE VIEW extra.names WITH (security_invoker) AS SELECT owner FROM accounts;
         GRANT SELECT, TRUNCATE, TRIGGER ON extra.names, accounts TO {app}",
        app = world.role
    );
    world.admin.batch_execute(&more).await.unwrap();
    let (_, client) = session(&world).await;
    assert_eq!(ask(&client, "SELECT count(*) FROM extra.names").await.unwrap(), "3");
    assert_eq!(
        ask(&client, "SELECT count(a), nextval('extra.numbers'), extra.of_app() FROM extra.wide")
            .await
            .unwrap(),
        "0|1|1"
    );
    for closed in [
        "SELECT b FROM extra.wide",
        "SELECT * FROM extra.hidden",
        "SELECT setval('extra.numbers', 7)",
        "SELECT extra.of_nobody()",
        "CREATE TABLE extra.mine (a int)",
        "TRUNCATE accounts",
        "SELECT * FROM ringfence.shared",
    ] {
        assert_eq!(fails(&client, closed).await, "42501", "{closed}");
    }
}

#[tokio::test]
async fn a_credential_that_is_over_opens_nothing_and_reads_nothing() {
    let world = alone().await;
    let credential = vend_until(&world, now().after(Duration::from_secs(2))).await.unwrap();
    let (client, strict) =
        (log_in(&world, &credential).await.unwrap(), log_in(&world, &credential).await.unwrap());
    ask(&client, &format!("PREPARE mine AS {OWNERS}")).await.unwrap();
    assert_eq!(ask(&client, "EXECUTE mine").await.unwrap(), ACMES);
    // A transaction that sees the database as it was when it began.
    ask(&strict, "BEGIN ISOLATION LEVEL REPEATABLE READ").await.unwrap();
    assert_eq!(ask(&strict, OWNERS).await.unwrap(), ACMES);
    // To the very moment: Postgres' own clock decides.
    let until = format!(
        "SELECT pg_sleep_until((SELECT rolvaliduntil FROM pg_roles WHERE rolname = '{}'))",
        credential.login
    );
    ask(&client, &until).await.unwrap();
    assert_eq!(fails(&client, OWNERS).await, "RF002");
    assert_eq!(fails(&client, "EXECUTE mine").await, "RF002");
    assert_eq!(fails(&client, "INSERT INTO accounts VALUES ('acme', 7, 'x', 0)").await, "RF002");
    assert_eq!(fails(&strict, OWNERS).await, "RF002");
    assert_eq!(log_in(&world, &credential).await.unwrap_err(), "28P01");
    // Removed, whoever is still there.
    let found = overdue(&world.admin, now()).await.unwrap();
    assert!(found.databases.contains(&world.database), "{found:?}");
    let revoked = expired_revoke(&world.superuser().await, now()).await.unwrap();
    assert_eq!(revoked, Revoked { logins: 1, sessions: 2, left: 0 });
    assert_eq!(logins(&world, &credential).await, "0\n0");
    assert!(client.simple_query("SELECT 1").await.is_err());
}

#[tokio::test]
async fn a_credential_is_refused_where_the_database_knows_another_tenant_or_not_its_own() {
    let world = alone().await;
    let (_, client) = session(&world).await;
    assert_eq!(ask(&client, OWNERS).await.unwrap(), ACMES);
    install::tenant_key_put(&world.admin, &world.globex.id, &world.globex.seal).await.unwrap();
    assert_eq!(fails(&client, OWNERS).await, "RF002");
    assert!(matches!(
        vend_until(&world, now().after(Duration::from_secs(60))).await,
        Err(CredentialError::NotAlone)
    ));
    install::tenant_key_remove(&world.admin, &world.acme.id).await.unwrap();
    assert_eq!(fails(&client, OWNERS).await, "RF002", "the only key is another's");
    install::tenant_key_remove(&world.admin, &world.globex.id).await.unwrap();
    assert_eq!(fails(&client, OWNERS).await, "RF002");
    assert!(matches!(
        vend_until(&world, now().after(Duration::from_secs(60))).await,
        Err(CredentialError::NotAlone)
    ));
}

#[tokio::test]
async fn the_credentials_of_a_barred_tenant_are_ended_and_do_not_come_back() {
    let world = alone().await;
    let (credential, busy) = session(&world).await;
    let idle = log_in(&world, &credential).await.unwrap();
    // What it leaves to stand in the way of its own end, committed and not.
    idle.batch_execute("ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO PUBLIC").await.unwrap();
    busy.batch_execute(
        "BEGIN; ALTER DEFAULT PRIVILEGES GRANT ALL ON SEQUENCES TO PUBLIC; UPDATE accounts SET balance = 0",
    )
    .await
    .unwrap();
    let root = world.superuser().await;
    let ended = tenant_bar(&root, &world.acme.id, Duration::ZERO).await.unwrap();
    assert_eq!(ended, Ended { sessions: 2, transactions: 0, left: 0 });
    assert!(busy.batch_execute("COMMIT").await.is_err() && idle.batch_execute("SELECT 1").await.is_err());
    assert_eq!(logins(&world, &credential).await, "0\n0");
    assert_eq!(
        ask(&root, "SELECT sum(balance) FROM accounts WHERE tenant_id = 'acme'").await.unwrap(),
        "600"
    );
    assert_eq!(log_in(&world, &credential).await.unwrap_err(), "28P01");
    assert_eq!(tenant_revoke(&root, &world.acme.id).await.unwrap(), Revoked::default(), "once is enough");
    // Served again: with another one.
    install::tenant_key_put(&world.admin, &world.acme.id, &world.acme.seal).await.unwrap();
    assert_eq!(log_in(&world, &credential).await.unwrap_err(), "28P01");
    let (_, client) = session(&world).await;
    assert_eq!(ask(&client, OWNERS).await.unwrap(), ACMES);
}

#[tokio::test]
async fn a_session_whose_login_is_gone_has_no_right_left() {
    let world = alone().await;
    let (credential, client) = session(&world).await;
    // It sees the database as it was before: its tenant's key, and itself.
    ask(&client, "BEGIN ISOLATION LEVEL REPEATABLE READ").await.unwrap();
    assert_eq!(ask(&client, OWNERS).await.unwrap(), ACMES);
    // As for an administrator who may not end sessions.
    ask(&world.admin, "SELECT ringfence.credential_close('acme', 0)").await.unwrap();
    ask(&world.admin, "SELECT ringfence.credential_drop()").await.unwrap();
    assert_eq!(logins(&world, &credential).await, "0\n0");
    assert_eq!(fails(&client, OWNERS).await, "42501");
    drop(client);
    // Whoever was just logging in is found by having no role.
    let (_, stray) = session(&world).await;
    ask(&world.admin, "SELECT ringfence.credential_close('acme', 0)").await.unwrap();
    ask(&world.admin, "SELECT ringfence.credential_drop()").await.unwrap();
    tenant_revoke(&world.admin, &world.acme.id).await.unwrap();
    assert!(stray.simple_query("SELECT 1").await.is_err());
}

#[tokio::test]
async fn what_is_over_is_found_on_the_whole_server_and_the_rest_is_left() {
    let world = alone().await;
    let (minute, hour) = (Duration::from_secs(60), Duration::from_secs(3600));
    let short = vend(&world).await;
    let long = vend_until(&world, now().after(hour)).await.unwrap();
    let client = log_in(&world, &long).await.unwrap();
    let root = world.superuser().await;
    let at = async |moment| overdue(&root, moment).await.unwrap();
    assert!(!at(now()).await.databases.contains(&world.database));
    let Overdue { logins: all, databases } = at(now().after(minute * 2)).await;
    assert!(all >= 2 && databases.contains(&world.database));
    let revoked = expired_revoke(&root, now().after(minute * 2)).await.unwrap();
    assert_eq!(revoked, Revoked { logins: 1, sessions: 0, left: 0 });
    assert_eq!(logins(&world, &short).await, "0\n0");
    assert_eq!(ask(&client, OWNERS).await.unwrap(), ACMES, "its time is not over");
    // A removal that was cut off is found by what it has done.
    ask(&root, "SELECT ringfence.credential_close('acme', 0)").await.unwrap();
    assert!(at(now()).await.databases.contains(&world.database));
    expired_revoke(&root, now()).await.unwrap();
    assert_eq!(logins(&world, &long).await, "0\n0");
    // One whose database is gone.
    root.batch_execute("CREATE ROLE vended_00000000000000aa LOGIN").await.unwrap();
    at(now()).await;
    let left = "SELECT count(*) FROM pg_roles WHERE rolname = 'vended_00000000000000aa'";
    assert_eq!(ask(&root, left).await.unwrap(), "0");
}

#[tokio::test]
async fn reject_credentials() {
    let world = alone().await;
    for _ in 0..limits::CREDENTIALS {
        vend(&world).await;
    }
    let more = vend_until(&world, now().after(Duration::from_secs(60))).await;
    assert!(matches!(more, Err(CredentialError::TooMany)), "{more:?}");
    tenant_revoke(&world.admin, &TenantId::new("globex").unwrap()).await.unwrap();
    assert!(vend_until(&world, now()).await.is_err(), "another's are another's");
    tenant_revoke(&world.admin, &world.acme.id).await.unwrap();
    vend(&world).await;
}

#[tokio::test]
async fn reject_credential_connections() {
    let world = alone().await;
    let credential = vend(&world).await;
    let mut held = Vec::new();
    for _ in 0..limits::CREDENTIAL_CONNECTIONS {
        held.push(log_in(&world, &credential).await.unwrap());
    }
    assert_eq!(log_in(&world, &credential).await.unwrap_err(), "53300");
}

#[tokio::test]
async fn no_role_of_the_applications_is_called_as_credentials_are() {
    let world = World::new().await;
    let install = Install::new(RoleName::new("vended_app").unwrap(), RoleName::new("owner_x").unwrap());
    let refused = install.run(&mut world.superuser().await).await.unwrap_err().to_string();
    assert!(refused.contains("called as credentials are"), "{refused}");
}
