//! Attacks on the context itself, from a connection that is already past the guard.

use ringfence_context::{database::Backend, key::MacKey};

use crate::fixture::{Arguments, World, ask, connect, fails, now};

const COUNT: &str = "SELECT count(*) FROM accounts";

#[tokio::test]
async fn cv23_no_context_no_rows() {
    let world = World::new().await;
    let (client, backend) = world.direct().await;
    for sql in [
        "SELECT * FROM accounts",
        COUNT,
        "TABLE payments",
        "DELETE FROM accounts",
        "SELECT ringfence.tenant_id()",
    ] {
        assert_eq!(fails(&client, sql).await, "RF001", "{sql}");
    }
    let insert = "INSERT INTO accounts VALUES ('acme', 9, '', 0)";
    assert_eq!(fails(&client, insert).await, "RF001");
    client.batch_execute("BEGIN").await.unwrap();
    world.mint(&world.acme, backend).set(&client).await.unwrap();
    assert_eq!(ask(&client, COUNT).await.unwrap(), "3");
    client.batch_execute("COMMIT").await.unwrap();
    assert_eq!(fails(&client, COUNT).await, "RF001");
}

#[tokio::test]
async fn a_backend_that_has_not_registered_takes_no_context() {
    let world = World::new().await;
    let client = connect(&world.direct_config()).await.unwrap();
    let pid: i32 = client.query_one("SELECT pg_backend_pid()", &[]).await.unwrap().get(0);
    let context = world.mint(&world.acme, Backend { pid, started: 0 });
    assert_eq!(context.set(&client).await, Err("RF002".to_owned()));
}

/// A tag as the guard would make it, over a seal with any key: to sign what only the guard's key allows to sign.
fn tag(
    seal_key: &MacKey,
    guard: &MacKey,
    named: &str,
    sealed: &str,
    backend: Backend,
    context: &Arguments,
) -> Vec<u8> {
    let Arguments { token, token_exp, valid_until, .. } = context;
    let seal = seal_key.tag_plain(format!("ringfence-seal-v1|{sealed}|{token}|{token_exp}").as_bytes());
    let Backend { pid, started } = backend;
    let suffix = format!("|ringfence-context-v1|{named}|{pid}|{started}|{valid_until}");
    guard.tag_plain(&[seal.as_slice(), suffix.as_bytes()].concat()).to_vec()
}

#[tokio::test]
async fn x16_key_and_claim_must_name_one_tenant() {
    let world = World::new().await;
    let (client, backend) = world.direct().await;
    let genuine = world.mint(&world.acme, backend);
    let World { guard_key: guard, acme, globex, .. } = &world;
    let check = async |name: &str, tenant: &str, tag: Vec<u8>, accepted: bool| {
        client.batch_execute("BEGIN").await.unwrap();
        let result = Arguments { tenant: tenant.to_owned(), tag, ..genuine.clone() }.set(&client).await;
        client.batch_execute("ROLLBACK").await.unwrap();
        assert_eq!(result, if accepted { Ok(()) } else { Err("RF002".to_owned()) }, "{name}");
    };
    let forge = |key: &MacKey, guard: &MacKey, named: &str, sealed: &str| {
        tag(key, guard, named, sealed, backend, &genuine)
    };
    check("the forger is right", "acme", forge(&acme.seal, guard, "acme", "acme"), true).await;
    check("tag of acme, name of globex", "globex", genuine.tag.clone(), false).await;
    check(
        "key of acme, claim globex: issuer ≠ claim",
        "globex",
        forge(&acme.seal, guard, "globex", "globex"),
        false,
    )
    .await;
    check("seal of acme, context of globex", "globex", forge(&acme.seal, guard, "globex", "acme"), false)
        .await;
    check("seal of globex, context of acme", "acme", forge(&globex.seal, guard, "acme", "globex"), false)
        .await;
    let invented = MacKey::generate().unwrap();
    check("no guard's key", "globex", forge(&globex.seal, &invented, "globex", "globex"), false).await;
    check("no tenant's key: a stolen guard", "globex", forge(&invented, guard, "globex", "globex"), false)
        .await;
    check("unknown tenant", "initech", forge(&invented, guard, "initech", "initech"), false).await;
    check("empty tag", "acme", vec![], false).await;
    check("short tag", "acme", genuine.tag[..31].to_vec(), false).await;
    check("tenant with a separator", "acme|x", forge(&acme.seal, guard, "acme|x", "acme|x"), false).await;
}

#[tokio::test]
async fn unknown_tenant_and_wrong_tag_read_the_same() {
    let world = World::new().await;
    let (client, backend) = world.direct().await;
    let genuine = world.mint(&world.acme, backend);
    let mut texts = vec![];
    for tenant in ["globex", "initech", "", "acme' OR true"] {
        let sql = format!(
            "SELECT ringfence.context_set($${tenant}$$, '{}', {}, {}, '\\x00')",
            genuine.token, genuine.token_exp, genuine.valid_until
        );
        texts.push(ask(&client, &sql).await.unwrap_err());
    }
    assert!(texts.iter().all(|text| text == &texts[0]), "{texts:#?}");
}

#[tokio::test]
async fn any_other_token_expiry_or_moment_is_refused() {
    let world = World::new().await;
    let (client, backend) = world.direct().await;
    let genuine = world.mint(&world.acme, backend);
    let (guard, seal) = (&world.guard_key, &world.acme.seal);
    let resigned = |mut context: Arguments| {
        context.tag = tag(seal, guard, "acme", "acme", backend, &context);
        context
    };
    let micros = i64::try_from(now().micros()).unwrap();
    let cases = [
        ("another token", Arguments { token: "t-other".to_owned(), ..genuine.clone() }),
        ("a longer life of the token", Arguments { token_exp: genuine.token_exp + 1, ..genuine.clone() }),
        (
            "a longer life of the context",
            Arguments { valid_until: genuine.valid_until + 1, ..genuine.clone() },
        ),
        ("past, rightly signed", resigned(Arguments { valid_until: micros - 1, ..genuine.clone() })),
        (
            "far ahead, rightly signed",
            resigned(Arguments { valid_until: micros + 120_000_000, ..genuine.clone() }),
        ),
        (
            "beyond the token, rightly signed",
            resigned(Arguments { token_exp: micros / 1_000_000 + 5, ..genuine.clone() }),
        ),
    ];
    for (name, context) in cases {
        assert_eq!(context.set(&client).await, Err("RF002".to_owned()), "{name}");
    }
}

#[tokio::test]
async fn cv23_a_context_is_for_one_backend() {
    let world = World::new().await;
    let ((mine, backend), (other, _)) = (world.direct().await, world.direct().await);
    let context = world.mint(&world.acme, backend);
    assert_eq!(context.set(&other).await, Err("RF002".to_owned()));
    // The same process id under a later name is another backend.
    mine.query_one("SELECT ringfence.backend_register()", &[]).await.unwrap();
    assert_eq!(context.set(&mine).await, Err("RF002".to_owned()));
}

#[tokio::test]
async fn cv23_the_setting_can_be_copied_nowhere() {
    let world = World::new().await;
    let (acme, acme_backend) = world.as_acme().await;
    let (other, other_backend) = world.direct().await;
    let stolen = ask(&acme, "SELECT current_setting('ringfence.context')").await.unwrap();
    other.batch_execute("BEGIN").await.unwrap();
    world.mint(&world.globex, other_backend).set(&other).await.unwrap();
    let globex = ask(&other, "SELECT current_setting('ringfence.context')").await.unwrap();
    // From another backend, in this transaction.
    for value in [&globex, &format!("{globex}|"), &stolen.replace("acme", "globex"), &format!("{stolen}|x")] {
        acme.batch_execute("SAVEPOINT s").await.unwrap();
        ask(&acme, &format!("SELECT set_config('ringfence.context', '{value}', true)")).await.unwrap();
        assert_eq!(fails(&acme, COUNT).await, "RF002", "{value}");
        acme.batch_execute("ROLLBACK TO s").await.unwrap();
    }
    // Another transaction of the same backend: even a tenant's own.
    acme.batch_execute("COMMIT; BEGIN").await.unwrap();
    ask(&acme, &format!("SELECT set_config('ringfence.context', '{stolen}', true)")).await.unwrap();
    assert_eq!(fails(&acme, COUNT).await, "RF002");
    acme.batch_execute("ROLLBACK; BEGIN").await.unwrap();
    // A session-level value of another transaction does not keep a new context from being set.
    ask(&acme, &format!("SELECT set_config('ringfence.context', '{stolen}', false)")).await.unwrap();
    world.mint(&world.acme, acme_backend).set(&acme).await.unwrap();
    assert_eq!(ask(&acme, COUNT).await.unwrap(), "3");
}

#[tokio::test]
async fn cv23_set_config_forges_nothing_in_any_place_of_a_query() {
    let world = World::new().await;
    let far = now().micros() + 20_000_000;
    let forged = format!("set_config('ringfence.context', 'globex|{far}|{}', true)", "00".repeat(32));
    for sql in [
        format!("SELECT * FROM accounts WHERE {forged} IS NOT NULL"),
        format!("SELECT {forged}; SELECT * FROM accounts"),
        format!("SELECT {forged} UNION ALL SELECT owner FROM accounts"),
        format!(
            "SELECT a.* FROM (SELECT {forged} OFFSET 0) s, LATERAL (SELECT * FROM accounts WHERE s IS NOT NULL) a"
        ),
        format!("WITH s AS MATERIALIZED (SELECT {forged}) SELECT a.* FROM s, accounts a"),
        format!(
            "SELECT (SELECT owner FROM accounts LIMIT 1), {forged}, (SELECT owner FROM accounts OFFSET 1 LIMIT 1)"
        ),
        format!("SELECT owner FROM accounts ORDER BY {forged}"),
        format!("SET LOCAL ringfence.context = 'globex|{far}|{}'; SELECT * FROM accounts", "00".repeat(32)),
        "SET LOCAL ringfence.context = ''; SELECT * FROM accounts".to_owned(),
        "RESET ringfence.context; SELECT * FROM accounts".to_owned(),
        "RESET ALL; SELECT owner FROM accounts".to_owned(),
    ] {
        let (client, _) = world.as_acme().await;
        let answer = ask(&client, &sql).await;
        let seen = format!("{answer:?}");
        assert!(!seen.contains("CANARY"), "{sql}: {seen}");
    }
}

#[tokio::test]
async fn cv23_one_context_per_transaction() {
    let world = World::new().await;
    let (client, backend) = world.as_acme().await;
    let second = world.mint(&world.globex, backend);
    client.batch_execute("SAVEPOINT s").await.unwrap();
    assert_eq!(second.set(&client).await, Err("RF003".to_owned()));
    client.batch_execute("ROLLBACK TO s").await.unwrap();
    // Clearing the setting does not help a client: only the guard's key mints a second one, and the guard sends none in
    // a transaction that has begun.
    ask(&client, "SELECT set_config('ringfence.context', '', true)").await.unwrap();
    assert_eq!(fails(&client, COUNT).await, "RF001");
    client.batch_execute("ROLLBACK TO s").await.unwrap();
    assert_eq!(ask(&client, COUNT).await.unwrap(), "3");
}

#[tokio::test]
async fn cv23_a_context_expires_on_a_warm_backend() {
    let world = World::new().await;
    let (client, backend) = world.direct().await;
    let seal = &world.acme.seal;
    let micros = i64::try_from(now().micros()).unwrap();
    let mut context = Arguments {
        tenant: "acme".to_owned(),
        token: "t-1".to_owned(),
        token_exp: micros / 1_000_000 + 100,
        valid_until: micros + 300_000,
        tag: vec![],
    };
    context.tag = tag(seal, &world.guard_key, "acme", "acme", backend, &context);
    client.batch_execute("BEGIN").await.unwrap();
    context.set(&client).await.unwrap();
    let until = format!(
        "SELECT pg_sleep(greatest(0, ({} / 1e6) - extract(epoch FROM clock_timestamp()))::float8)",
        context.valid_until
    );
    ask(&client, &until).await.unwrap();
    assert_eq!(fails(&client, COUNT).await, "RF002");
}

#[tokio::test]
async fn keys_and_functions_are_out_of_reach() {
    let world = World::new().await;
    let (client, _) = world.as_acme().await;
    for sql in [
        "SELECT * FROM ringfence.tenant_key",
        "SELECT * FROM ringfence.plane_key",
        "SELECT * FROM ringfence.backend",
        "SELECT * FROM ringfence.protected",
        "SELECT * FROM ringfence.installed",
        "SELECT * FROM ringfence.unsound",
        "SELECT * FROM ringfence.shared",
        "DELETE FROM ringfence.backend",
        "INSERT INTO ringfence.tenant_key VALUES ('x', '', '')",
        "SELECT ringfence.protect('accounts')",
        "SELECT ringfence.statistics_forget('accounts')",
        "CREATE OR REPLACE FUNCTION ringfence.tenant_id() RETURNS text LANGUAGE sql AS $$ SELECT 'globex' $$",
        "ALTER FUNCTION ringfence.tenant_id() SET search_path = public",
        "DROP FUNCTION ringfence.tenant_id()",
        "CREATE TABLE ringfence.x ()",
    ] {
        client.batch_execute("SAVEPOINT s").await.unwrap();
        assert_eq!(fails(&client, sql).await, "42501", "{sql}");
        client.batch_execute("ROLLBACK TO s").await.unwrap();
    }
}

#[tokio::test]
async fn an_install_is_idempotent_and_keeps_keys_and_tables() {
    let mut world = World::new().await;
    let owner = ringfence_guard::RoleName::new(&world.role.as_str().replace("app", "owner")).unwrap();
    let install = ringfence_guard::install::Install::new(world.role.clone(), owner);
    install.run(&mut world.admin).await.unwrap();
    install.run(&mut world.admin).await.unwrap();
    let (client, _) = world.as_acme().await;
    assert_eq!(ask(&client, COUNT).await.unwrap(), "3");
    world.admin.batch_execute("UPDATE ringfence.installed SET version = 99").await.unwrap();
    let newer = install.run(&mut world.admin).await.unwrap_err().to_string();
    assert!(newer.contains("99"), "{newer}");
}

#[tokio::test]
async fn a_removed_tenant_reaches_nothing() {
    let world = World::new().await;
    let (client, backend) = world.direct().await;
    let context = world.mint(&world.acme, backend);
    ringfence_guard::install::tenant_key_remove(&world.admin, &world.acme.id).await.unwrap();
    assert_eq!(context.set(&client).await, Err("RF002".to_owned()));
}
