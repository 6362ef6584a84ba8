//! Attacks on the context itself, from a connection that is already past the guard.

use std::time::Duration;

use ringfence_context::{DatabaseContext, Seal, UnixTime, database::Backend, key::MacKey, limits};

use crate::fixture::{Arguments, Tenant, World, ask, connect, eventually, fails, now};

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
    world.mint(&world.acme, backend).set(&client).await.unwrap();
    assert_eq!(ask(&client, COUNT).await.unwrap(), "3");
    // What cleaning a connection does.
    client.batch_execute("DISCARD SEQUENCES").await.unwrap();
    assert_eq!(fails(&client, COUNT).await, "55000");
    // A connection that never registered has none either.
    let stranger = connect(&world.direct_config()).await.unwrap();
    assert_eq!(fails(&stranger, COUNT).await, "55000");
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
        let result = Arguments { tenant: tenant.to_owned(), tag, ..genuine.clone() }.set(&client).await;
        let seen = ask(&client, COUNT).await;
        assert_eq!(seen.is_ok(), accepted, "{name}: {seen:?}");
        client.batch_execute("DISCARD SEQUENCES").await.unwrap();
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

/// Both sides: the guard's clock says how long it mints a context for, and Postgres' own when that is over.
#[tokio::test]
async fn reject_database_context_life_seconds() {
    let world = World::new().await;
    let (client, backend) = world.direct().await;
    let permit = world.acme.permit();
    let (life, began) = (Duration::from_secs(limits::DATABASE_CONTEXT_LIFE_SECONDS), now().micros());
    let aged = |age: Duration| {
        let minted = UnixTime::from_micros(now().micros() - u64::try_from(age.as_micros()).unwrap());
        let context = DatabaseContext::mint(&permit, &world.guard_key, backend, minted).unwrap();
        assert_eq!(context.arguments().3, minted.after(life).micros());
        Arguments::of(&context)
    };
    assert_eq!(aged(life).set(&client).await, Err("RF002".to_owned()));
    // Two seconds before its end it is good for two more, and for no third.
    aged(life - Duration::from_secs(2)).set(&client).await.unwrap();
    assert_eq!(ask(&client, COUNT).await.unwrap(), "3");
    let over = eventually(|| async { ask(&client, COUNT).await.err() }).await;
    assert_eq!(over.0, "RF002");
    let hint = format!("begin within {} seconds", limits::DATABASE_CONTEXT_LIFE_SECONDS);
    assert!(over.1.contains(&hint), "{over:?}");
    let lasted = now().micros() - began;
    assert!((2_000_000..4_000_000).contains(&lasted), "{lasted}");
}

/// A guard whose clock is ahead: what it mints is accepted while the two differ by no more than they may.
#[tokio::test]
async fn reject_database_context_skew_seconds() {
    let world = World::new().await;
    let (client, backend) = world.direct().await;
    let permit = world.acme.permit();
    let ahead = |seconds| {
        let minted = now().after(Duration::from_secs(seconds));
        Arguments::of(&DatabaseContext::mint(&permit, &world.guard_key, backend, minted).unwrap())
    };
    let skew = limits::DATABASE_CONTEXT_SKEW_SECONDS;
    ahead(skew).set(&client).await.unwrap();
    assert_eq!(ahead(skew + 1).set(&client).await, Err("RF002".to_owned()));
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

const REGISTERS: [&str; 6] = ["tenant_verified", "tenant_1", "tenant_2", "tenant_3", "tenant_4", "tenant_5"];

/// The registers that hold the context, read and written by whoever may not.
#[tokio::test]
async fn cv23_a_session_can_read_its_registers_and_nothing_else() {
    let world = World::new().await;
    let (acme, _) = world.as_acme().await;
    let (globex, backend) = world.direct().await;
    world.mint(&world.globex, backend).set(&globex).await.unwrap();
    for name in REGISTERS {
        for sql in [
            format!("SELECT setval('ringfence.{name}', 7)"),
            format!("SELECT setval('ringfence.{name}', 7, false)"),
            format!("ALTER SEQUENCE ringfence.{name} RESTART WITH 7"),
            format!("ALTER SEQUENCE ringfence.{name} OWNER TO CURRENT_USER"),
            format!("UPDATE ringfence.{name} SET last_value = 7"),
            format!("GRANT ALL ON ringfence.{name} TO PUBLIC"),
            format!("DROP SEQUENCE ringfence.{name}"),
            // What is in it for a moment while another session is given to its tenant.
            format!("SELECT last_value FROM ringfence.{name}"),
            format!("SELECT pg_sequence_last_value('ringfence.{name}')"),
            format!("SELECT last_value FROM pg_sequences WHERE sequencename = '{name}'"),
        ] {
            acme.batch_execute("SAVEPOINT s").await.unwrap();
            let answer = ask(&acme, &sql).await;
            // GRANT without the right to is a warning, and grants nothing: the next round shows it. Since Postgres 17 what
            // may not be seen of sequences is NULL.
            let is_nothing = sql.starts_with("GRANT") || answer.as_deref() == Ok("");
            assert!(
                is_nothing || ["42501", "42809", "55000"].contains(&answer.clone().unwrap_err().0.as_str()),
                "{sql}: {answer:?}"
            );
            acme.batch_execute("ROLLBACK TO s").await.unwrap();
        }
    }
    assert_eq!(ask(&acme, "SELECT ringfence.tenant_id()").await.unwrap(), "acme");
    assert_eq!(ask(&globex, "SELECT ringfence.tenant_id()").await.unwrap(), "globex");
}

/// `nextval()` goes with the right to read one's own register: whatever a sequence holds, it makes nobody of its session.
#[tokio::test]
async fn cv23_the_next_number_of_a_register_is_nobodys() {
    let world = World::new().await;
    let admin = world.superuser().await;
    let words = "('x' || encode('globex  ', 'hex'))::bit(64)::bigint";
    let moments = ["1, false", "1, true", "2, true", "1764000000000000, true", "1764000000000000000, true"];
    let moments = moments.into_iter().map(str::to_owned).chain([format!("{words}, true")]);
    for (moment, name) in
        moments.flat_map(|moment| REGISTERS[..4].iter().map(move |name| (moment.clone(), name)))
    {
        let (client, backend) = world.direct().await;
        let context = world.mint(&world.acme, backend);
        context.set(&client).await.unwrap();
        admin.batch_execute(&format!("SELECT setval('ringfence.{name}', {moment})")).await.unwrap();
        let next = ask(&client, &format!("SELECT nextval('ringfence.{name}')")).await;
        let count = ask(&client, COUNT).await;
        if moment == "1, false" {
            assert_eq!(next.unwrap(), "1");
            let code = count.unwrap_err().0;
            assert!(code == if *name == "tenant_verified" { "RF001" } else { "22021" }, "{name}: {code}");
            let own = fails(&client, "INSERT INTO accounts SELECT ringfence.tenant_id(), 77, '', 0").await;
            assert_eq!(own, code, "{name}");
        } else {
            assert_eq!(
                (next.unwrap_err().0.as_str(), count.as_deref()),
                ("2200H", Ok("3")),
                "{name} {moment}"
            );
        }
        admin.batch_execute(&format!("SELECT setval('ringfence.{name}', 1, false)")).await.unwrap();
    }
}

/// As long as an id may be, and one that fills each register.
#[tokio::test]
async fn every_tenants_id_fits_the_registers() {
    let mut world = World::new().await;
    for len in [2, 7, 8, 9, 16, 17, 24, 25, 32, 33, 39, 40] {
        let id: String = "ab-cdefghi".chars().cycle().take(len - 1).chain(['z']).collect();
        let tenant = crate::fixture::Tenant::new(&id);
        ringfence_guard::install::tenant_key_put(&world.admin, &tenant.id, &tenant.seal).await.unwrap();
        let (client, backend) = world.direct().await;
        world.acme = tenant;
        world.mint(&world.acme, backend).set(&client).await.unwrap();
        assert_eq!(ask(&client, "SELECT ringfence.tenant_id()").await.unwrap(), id);
        let own = format!("INSERT INTO accounts VALUES ('{id}', 1, '', 0)");
        ask(&client, &own).await.unwrap();
        assert_eq!(ask(&client, "SELECT DISTINCT tenant_id FROM accounts").await.unwrap(), id);
    }
}

/// The one fits the three registers that are always read, the other begins with it.
#[tokio::test]
async fn a_tenant_whose_id_begins_with_anothers_is_not_that_one() {
    let mut world = World::new().await;
    let ids =
        ["abcdefgh-abcdefgh-abcdef", "abcdefgh-abcdefgh-abcdefg", "abcdefgh-abcdefgh-abcdef-abcdefgh-abcdef"];
    for id in ids {
        let tenant = crate::fixture::Tenant::new(id);
        ringfence_guard::install::tenant_key_put(&world.admin, &tenant.id, &tenant.seal).await.unwrap();
        let (client, backend) = world.direct().await;
        world.acme = tenant;
        world.mint(&world.acme, backend).set(&client).await.unwrap();
        ask(&client, &format!("INSERT INTO accounts VALUES ('{id}', 1, '', 0)")).await.unwrap();
        for other in ids {
            let asked = Arguments { tenant: other.to_owned(), ..world.mint(&world.acme, backend) };
            let told = asked.set(&client).await;
            assert_eq!(told, if other == id { Ok(()) } else { Err("RF003".to_owned()) }, "{id}, {other}");
        }
        assert_eq!(ask(&client, "SELECT DISTINCT tenant_id FROM accounts").await.unwrap(), id);
        // Whoever has the session next, after a long name, has none of it.
        client.batch_execute("DISCARD SEQUENCES").await.unwrap();
        assert_eq!(fails(&client, COUNT).await, "55000");
    }
}

/// Row security runs with the rights and the search path of whoever asks.
#[tokio::test]
async fn cv23_no_search_path_changes_who_the_tenant_is() {
    let world = World::new().await;
    // Worse than any application's role should be allowed: functions and operators of its own, in front of all others.
    let mine = format!(
        "CREATE SCHEMA mine AUTHORIZATION {0}; SET ROLE {0};
         CREATE FUNCTION mine.currval(regclass) RETURNS bigint LANGUAGE sql AS 'SELECT 9223372036854775807';
         CREATE FUNCTION mine.int8send(bigint) RETURNS bytea LANGUAGE sql AS $$ SELECT 'globex  '::bytea $$;
         CREATE FUNCTION mine.encode(bytea, text) RETURNS text LANGUAGE sql AS $$ SELECT 'globex'::text $$;
         CREATE FUNCTION mine.rtrim(text) RETURNS text LANGUAGE sql AS $$ SELECT 'globex'::text $$;
         CREATE FUNCTION mine.date_part(text, timestamptz) RETURNS float8 LANGUAGE sql AS 'SELECT 0::float8';
         CREATE FUNCTION mine.yes(text, text) RETURNS boolean LANGUAGE sql AS 'SELECT true';
         CREATE FUNCTION mine.any(bytea, bytea) RETURNS bytea LANGUAGE sql AS $$ SELECT 'globex'::bytea $$;
         CREATE OPERATOR mine.= (LEFTARG = text, RIGHTARG = text, FUNCTION = mine.yes);
         CREATE OPERATOR mine.|| (LEFTARG = bytea, RIGHTARG = bytea, FUNCTION = mine.any);
         RESET ROLE",
        world.role
    );
    world.admin.batch_execute(&mine).await.unwrap();
    let (acme, _) = world.as_acme().await;
    for path in ["mine", "mine, pg_catalog", "mine, ringfence, pg_catalog, public", "ringfence", "''"] {
        ask(&acme, &format!("SET search_path = {path}")).await.unwrap();
        assert_eq!(ask(&acme, "SELECT ringfence.tenant_id()").await.unwrap(), "acme", "{path}");
        let seen = ask(&acme, "SELECT owner FROM public.accounts").await.unwrap();
        assert!(!seen.contains("CANARY") && seen.contains("acme-1"), "{path}: {seen}");
    }
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
        "SELECT a.* FROM accounts a, LATERAL (SELECT ringfence.context_set('globex', a.owner, 1, 1, '')) s".to_owned(),
        "SELECT ringfence.tenant_id() UNION ALL SELECT owner FROM accounts WHERE ringfence.backend_register() IS NOT NULL"
            .to_owned(),
        "DISCARD SEQUENCES; SELECT owner FROM accounts".to_owned(),
    ] {
        let (client, _) = world.as_acme().await;
        let answer = ask(&client, &sql).await;
        let seen = format!("{answer:?}");
        assert!(!seen.contains("CANARY"), "{sql}: {seen}");
    }
}

#[tokio::test]
async fn cv23_one_tenant_per_session() {
    let world = World::new().await;
    let (client, backend) = world.as_acme().await;
    let other = world.mint(&world.globex, backend);
    // Neither in the transaction that has a tenant, nor in a later one, whether or not the tenant exists.
    for sql in ["SAVEPOINT s", "ROLLBACK", "BEGIN"] {
        client.batch_execute(sql).await.unwrap();
        assert_eq!(other.set(&client).await, Err("RF003".to_owned()), "{sql}");
        let unknown = Arguments { tenant: "initech".to_owned(), ..other.clone() };
        if sql == "ROLLBACK" {
            assert_eq!(unknown.set(&client).await, Err("RF003".to_owned()));
            assert_eq!(ask(&client, COUNT).await.unwrap(), "3");
        }
    }
    client.batch_execute("ROLLBACK").await.unwrap();
    // Its own is renewed; one that does not verify leaves nobody.
    world.mint(&world.acme, backend).set(&client).await.unwrap();
    let bad = Arguments { tag: vec![0; 32], ..world.mint(&world.acme, backend) };
    assert_eq!(bad.set(&client).await, Err("RF002".to_owned()));
    assert_eq!(fails(&client, COUNT).await, "RF001");
}

#[tokio::test]
async fn cv23_a_context_expires_on_a_warm_backend() {
    let world = World::new().await;
    let long = crate::fixture::Tenant::new("a-tenant-whose-id-takes-all-registers");
    ringfence_guard::install::tenant_key_put(&world.admin, &long.id, &long.seal).await.unwrap();
    for (tenant, rows) in [(&world.acme, "3"), (&long, "0")] {
        let (client, backend) = world.direct().await;
        let micros = i64::try_from(now().micros()).unwrap();
        let mut context = Arguments {
            tenant: tenant.id.to_string(),
            token: "t-1".to_owned(),
            token_exp: micros / 1_000_000 + 100,
            valid_until: micros + 300_000,
            tag: vec![],
        };
        let id = tenant.id.as_str();
        context.tag = tag(&tenant.seal, &world.guard_key, id, id, backend, &context);
        context.set(&client).await.unwrap();
        assert_eq!(ask(&client, COUNT).await.unwrap(), rows);
        let until = format!(
            "SELECT pg_sleep(greatest(0, ({} / 1e6) - extract(epoch FROM clock_timestamp()))::float8)",
            context.valid_until
        );
        ask(&client, &until).await.unwrap();
        assert_eq!(fails(&client, COUNT).await, "RF002", "{id}");
    }
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

/// What was written into registers that meant something else is nobody's name.
#[tokio::test]
async fn a_session_that_is_open_while_the_registers_change_has_no_tenant() {
    let mut world = World::new().await;
    let old = "DROP SEQUENCE ringfence.tenant_verified; CREATE SEQUENCE ringfence.tenant_verified MINVALUE -9223372036854775807;";
    let app = world.role.clone();
    let owner = ringfence_guard::RoleName::new(&app.as_str().replace("app", "owner")).unwrap();
    let grant = format!(
        "{old} ALTER SEQUENCE ringfence.tenant_verified OWNER TO {owner};
        GRANT SELECT, UPDATE ON SEQUENCE ringfence.tenant_verified TO {app};"
    );
    world.admin.batch_execute(&grant).await.unwrap();
    let (client, backend) = world.as_acme().await;
    ask(&client, "SELECT setval('ringfence.tenant_verified', 2000000000000000000)").await.unwrap();
    assert_eq!(ask(&client, COUNT).await.unwrap(), "3");
    client.batch_execute("COMMIT").await.unwrap();
    let install = ringfence_guard::install::Install::new(app, owner);
    install.run(&mut world.admin).await.unwrap();
    assert_eq!(fails(&client, COUNT).await, "55000");
    world.mint(&world.acme, backend).set(&client).await.unwrap();
    assert_eq!(ask(&client, COUNT).await.unwrap(), "3");
}

#[tokio::test]
async fn a_removed_tenant_reaches_nothing() {
    let world = World::new().await;
    let (client, backend) = world.direct().await;
    let context = world.mint(&world.acme, backend);
    ringfence_guard::install::tenant_key_remove(&world.admin, &world.acme.id).await.unwrap();
    assert_eq!(context.set(&client).await, Err("RF002".to_owned()));
}

/// What a backend has accepted stands for the token it was minted from, for a second, and for no other.
#[test]
fn a_context_covers_its_very_token_and_no_other() {
    let (acme, globex) = (Tenant::new("acme"), Tenant::new("globex"));
    let key = MacKey::generate().unwrap();
    let (mut jti, mut exp) = (None, 0);
    let access = acme.access_with(300, |claims| (jti, exp) = (Some(claims.jti.clone()), claims.exp));
    let (permit, minted) = (acme.permit_of(&access), now());
    let backend = Backend { pid: 7, started: 7 };
    let context = DatabaseContext::mint(&permit, &key, backend, minted).unwrap();
    let later = |millis: u64| minted.after(std::time::Duration::from_millis(millis));
    assert!(context.covers(&permit, minted) && context.covers(&permit, later(999)));
    assert!(!context.covers(&permit, later(1000)), "renewed each second");
    assert!(
        !context.covers(&permit, UnixTime::from_micros(minted.micros() - 1)),
        "a clock that was set back"
    );
    assert!(!context.covers(&acme.permit(), minted), "another token of the tenant");
    assert!(!context.covers(&globex.permit(), minted), "another tenant");
    // Signed by the tenant's issuer, under the same token id, but sealed by whoever has no database key.
    let forged = acme.access_with(300, |claims| {
        claims.jti = jti.clone().unwrap();
        claims.exp = exp;
        claims.seal = Seal::issue(&MacKey::generate().unwrap(), &acme.id, &claims.jti, exp);
    });
    assert!(!context.covers(&acme.permit_of(&forged), minted), "another seal");
}
