//! Places: tenants whose role or schema is their own, found out, named, and reached by a map that is wrong.

use tokio_postgres::Config;

use crate::{
    attack::{Family, attack, control},
    attacker::Attacker,
    database::Session,
    leak::Leak,
    outcome::Outcome,
    scene::{ALLY, ATTACKER, BYSTANDER, VICTIM},
};

/// What is asked for to connect without the guard.
const CREDENTIAL: &str = "urn:ringfence:params:oauth:token-type:database-credential";

/// What only a role of a tenant's own may do, where there is one.
const OTHER_ROLE: &str = "SELECT rolname FROM pg_roles WHERE rolname ~ '^ringfence_[0-9a-f]{16}$' AND rolname <> session_user LIMIT 1";

pub(super) const FAMILY: Family = Family {
    name: "places of their own",
    attacks: &[
        attack!("place-schema", "the bystander's tables by the name of its schema", Database, Alone, |a| {
            let there = &a.tenant(BYSTANDER).schema;
            let tries = [
                format!("SELECT * FROM {there}.payments"),
                format!("SET search_path = {there}; SELECT * FROM payments; RESET search_path"),
                format!("COPY {there}.payments TO STDOUT"),
                format!("INSERT INTO {there}.accounts SELECT * FROM accounts"),
                format!("UPDATE {there}.payments SET memo = 'x'"),
                format!("DELETE FROM {there}.payments"),
                format!("LOCK TABLE {there}.payments"),
                format!("SELECT most_common_vals FROM pg_stats WHERE schemaname = '{there}'"),
                format!("DECLARE c CURSOR WITH HOLD FOR SELECT * FROM {there}.payments"),
                format!("SELECT setval('{there}.x', 1)"),
            ];
            a.sql_any(&tries.each_ref().map(String::as_str)).await
        }),
        attack!(
            "place-schema-at-start",
            "the bystander's schema first on the path from the start",
            Database,
            Together,
            |a| {
                let there = &a.tenant(BYSTANDER).schema;
                let (token, mut tries) = (a.loot().database.clone().unwrap_or_default(), Vec::new());
                for options in [format!("-c search_path={there}"), format!("-c search_path={there}\\,public")]
                {
                    let mut config = Config::new();
                    config.user(ATTACKER).password(&token).dbname(&a.scene().database).options(&options);
                    tries.push(match a.open_with(&config).await {
                        Ok(session) => session.one("SELECT * FROM payments").await,
                        Err(outcome) => outcome,
                    });
                }
                Outcome::furthest(tries)
            }
        ),
        attack!(
            "place-role",
            "the role of another tenant, by every word that changes roles",
            Database,
            Alone,
            |a| { with_role(a, ATTACKER).await }
        ),
        attack!("place-role-to-role", "so too from a role of one's own", Database, Alone, |a| {
            with_role(a, ALLY).await
        }),
        attack!(
            "place-led",
            "what an own tenant reads where it is led, whether that is its place or not",
            Database,
            Together,
            |a| {
                led(
                    a,
                    &[
                        "SELECT * FROM payments",
                        "COPY accounts TO STDOUT",
                        "SELECT count(*) FROM beneficiaries",
                        "BEGIN; SELECT * FROM payments; COMMIT",
                    ],
                )
                .await
            }
        ),
        attack!("place-led-writes", "what an own tenant changes where it is led", Database, Alone, |a| {
            led(
                a,
                &[
                    "UPDATE payments SET memo = 'x' WHERE tenant_id NOT IN ('acme', 'hooli')",
                    "DELETE FROM payments WHERE tenant_id NOT IN ('acme', 'hooli')",
                    "INSERT INTO accounts SELECT 'initech', gen_random_uuid(), name, currency, created_by FROM accounts",
                ],
            )
            .await
        }),
        attack!(
            "place-names",
            "names of roles, schemas and databases that tell whose they are",
            Database,
            Together,
            |a| {
                let session = match a.session().await {
                    Ok(session) => session,
                    Err(outcome) => return outcome,
                };
                let names = "SELECT string_agg(n, ' ') FROM (SELECT rolname::text FROM pg_roles UNION ALL SELECT datname::text
                FROM pg_database UNION ALL SELECT nspname::text FROM pg_namespace UNION ALL SELECT coalesce(description, '')
                FROM pg_description UNION ALL SELECT description FROM pg_shdescription) x (n) WHERE n ~* 'globex|initech|hooli'";
                match session.value(names).await {
                    Ok(told) => {
                        let leak = told.filter(|told| !told.is_empty());
                        Outcome::answered("names")
                            .leaking(leak.map(|told| Leak::oracle(format!("the catalog says {told}"))))
                    }
                    Err(outcome) => outcome,
                }
            }
        ),
        attack!("place-settings", "settings at start-up, for whoever comes next", Guard, Together, |a| {
            let look = "SELECT current_setting('DateStyle') || current_setting('IntervalStyle') || current_setting('app.residue', true)";
            let before = match a.victims_session().await {
                Ok(session) => session.told(look).await,
                Err(outcome) => return outcome,
            };
            let token = a.loot().database.clone().unwrap_or_default();
            let mut config = Config::new();
            config.user(ATTACKER).password(&token).dbname(&a.scene().database);
            config.options("-c DateStyle=German -c IntervalStyle=iso_8601 -c app.residue=mine");
            let outcome = match a.open_with(&config).await {
                Ok(session) => session.one("SELECT 1").await,
                Err(outcome) => outcome,
            };
            let after = match a.victims_session().await {
                Ok(session) => session.told(look).await,
                Err(outcome) => return outcome,
            };
            outcome.leaking(Attacker::texts_differ(&before, &after))
        }),
        attack!(
            "place-credential",
            "a login to Postgres itself, where tenants share a database, and one of the victims'",
            Identity,
            Together,
            |a| {
                let mut tries = Vec::new();
                let ally = a.loot().ally.clone().unwrap_or_default();
                for (at, token) in [
                    (ATTACKER, a.token("admin")),
                    (ALLY, ally),
                    (BYSTANDER, a.token("admin")),
                    (VICTIM, a.token("admin")),
                    (VICTIM, a.made(&a.claims(VICTIM, "admin"))),
                ] {
                    let answer = a.exchange_token_for(at, &token, CREDENTIAL).await;
                    let given = answer.text_member("access_token").is_some();
                    let leak = given.then(|| Leak::oracle(format!("{at} gives a login")));
                    tries.push(Outcome::of(&answer).leaking(leak));
                }
                Outcome::furthest(tries)
            }
        ),
        attack!(
            "place-renamed",
            "another name for the own backend, for whoever comes next",
            Guard,
            Together,
            |a| {
                // A context is bound to the backend's name: whoever changes it may hope that another's is taken for this one.
                a.sql_any(&[
                "SELECT * FROM ringfence.backend_register(); SELECT * FROM payments",
                "SELECT count(*) FROM (SELECT ringfence.backend_register() FROM generate_series(1, 9)) x; SELECT * FROM payments",
                "SELECT * FROM ringfence.backend",
                "SELECT * FROM ringfence.tenant_place",
            ])
            .await
            }
        ),
    ],
    controls: &[
        control!("an own tenant with a schema of its own reads there, as its own role", |a| {
            let session = session(a, ALLY).await.map_err(|outcome| outcome.told())?;
            let seen = session.value("SELECT count(*) || session_user FROM payments").await;
            match seen.map_err(|outcome| outcome.told())? {
                Some(seen) if seen.contains("ringfence_") => Ok(()),
                seen => Err(format!("{seen:?}")),
            }
        }),
        control!("the bystander's schema is its own", |a| {
            let schema = &a.tenant(BYSTANDER).schema;
            if schema.starts_with("ringfence_") { Ok(()) } else { Err(schema.clone()) }
        }),
    ],
};

/// A session of one of the attacker's own tenants.
async fn session(a: &Attacker, whose: &str) -> Result<Session, Outcome> {
    let token = if whose == ALLY { &a.loot().ally_database } else { &a.loot().database };
    a.open(whose, token.as_deref().unwrap_or_default()).await
}

/// Runs statements in a session of each of the attacker's own tenants.
async fn led(a: &Attacker, statements: &[&str]) -> Outcome {
    let mut tries = Vec::new();
    for whose in [ATTACKER, ALLY] {
        let session = match session(a, whose).await {
            Ok(session) => session,
            Err(outcome) => return outcome,
        };
        for statement in statements {
            tries.push(session.one(statement).await);
        }
    }
    Outcome::furthest(tries)
}

/// Tries to be the role of another tenant, from a session of an own one.
async fn with_role(a: &Attacker, whose: &str) -> Outcome {
    let session = match session(a, whose).await {
        Ok(session) => session,
        Err(outcome) => return outcome,
    };
    let role = match session.value(OTHER_ROLE).await {
        Ok(role) => role.unwrap_or_default(),
        Err(outcome) => return outcome,
    };
    let there = &a.tenant(BYSTANDER).schema;
    let mut tries = Vec::new();
    for words in [
        format!("SET ROLE {role}; SELECT * FROM {there}.payments"),
        format!("SET SESSION AUTHORIZATION {role}; SELECT * FROM {there}.payments"),
        format!("GRANT {role} TO CURRENT_USER; SELECT * FROM {there}.payments"),
        format!("ALTER ROLE {role} PASSWORD 'x'"),
        format!("ALTER ROLE {role} SET search_path = pg_temp"),
        format!("ALTER ROLE {role} RENAME TO x"),
        format!("REASSIGN OWNED BY {role} TO CURRENT_USER"),
        format!("DROP ROLE {role}"),
        format!("GRANT USAGE ON SCHEMA {there} TO CURRENT_USER"),
        format!("SELECT rolpassword FROM pg_authid WHERE rolname = '{role}'"),
        format!("SET ROLE ledger_app; SELECT * FROM {there}.payments; RESET ROLE"),
    ] {
        tries.push(session.one(&words).await);
    }
    Outcome::furthest(tries)
}
