//! Residue and side doors: what a session leaves behind for the next, and what row security does not govern.

use ringfence_context::Layer;

use super::hand_over::Crowd;
use crate::{
    attack::{Family, attack, control},
    attacker::Attacker,
    leak::Leak,
    outcome::Outcome,
};

/// Transactions each of two tenants holds at once: together more than a guard keeps connections for idle, each fewer than
/// one tenant gets.
const HELD: usize = 9;

/// What any role may store for itself.
const STORED: &[&str] = &[
    "ALTER ROLE CURRENT_USER SET search_path = pg_temp",
    "ALTER ROLE CURRENT_USER IN DATABASE ledger SET default_transaction_read_only = on",
    "ALTER ROLE CURRENT_USER PASSWORD 'x'",
    "ALTER ROLE CURRENT_USER SUPERUSER",
];

pub(super) const FAMILY: Family = Family {
    name: "SQL residue and side doors",
    attacks: &[
        attack!("residue-hold-cursor", "a cursor held past its transaction", Database, Together, |a| {
            a.sql_any(&[
                "BEGIN; DECLARE c CURSOR WITH HOLD FOR SELECT * FROM payments; COMMIT",
                "FETCH ALL FROM c",
                "SELECT * FROM pg_cursors",
            ])
            .await
        }),
        attack!(
            "residue-temp-table",
            "temporary tables that shadow the real, for whoever comes next",
            Database,
            Together,
            |a| {
                left_behind(
                    a,
                    "CREATE TEMP TABLE payments AS SELECT 'residue'::text AS memo",
                    "SELECT count(*)::text FROM pg_class WHERE relpersistence = 't' AND relname = \
                     'payments'",
                    "0",
                )
                .await
            }
        ),
        attack!("residue-settings", "settings of a session, for whoever comes next", Guard, Together, |a| {
            left_behind(
                a,
                "SET search_path = pg_temp; SET application_name = 'residue'; SET work_mem = '65kB'",
                "SELECT current_setting('work_mem') = '65kB' OR current_setting('search_path') = 'pg_temp'",
                "f",
            )
            .await
        }),
        attack!("residue-prepared", "statements prepared, for whoever comes next", Guard, Together, |a| {
            left_behind(
                a,
                "PREPARE residue AS SELECT * FROM payments",
                "SELECT count(*)::text FROM pg_prepared_statements WHERE name = 'residue'",
                "0",
            )
            .await
        }),
        attack!("residue-plan", "a plan made before the context changed", Database, Together, |a| {
            a.sql_any(&[
                "PREPARE p AS SELECT * FROM payments; EXECUTE p",
                "BEGIN; SET LOCAL plan_cache_mode = force_generic_plan; EXECUTE p; SELECT \
                 set_config('ringfence.context', 'globex|9999999999999999|00', true); EXECUTE p",
                "BEGIN; PREPARE q AS SELECT * FROM payments; SELECT set_config('ringfence.context', '', \
                 true); EXECUTE q",
            ])
            .await
        }),
        attack!("residue-context", "the context itself, for whoever comes next", Database, Together, |a| {
            left_behind(
                a,
                "BEGIN; SELECT set_config('ringfence.context', 'globex', false); DISCARD SEQUENCES; COMMIT",
                "SELECT ringfence.tenant_id()",
                "acme",
            )
            .await
        }),
        attack!(
            "residue-registers",
            "what the sequences behind the context tell of the session that wrote them last",
            Database,
            Together,
            |a| {
                left_behind(
                    a,
                    "SELECT ringfence.tenant_id()",
                    "SELECT greatest((SELECT last_value FROM ringfence.tenant_verified), (SELECT last_value FROM \
                     ringfence.tenant_1), (SELECT last_value FROM ringfence.tenant_2))",
                    "1",
                )
                .await
            }
        ),
        attack!(
            "residue-advisory-locks",
            "advisory locks: one space of numbers for all tenants",
            Database,
            Together,
            |a| {
                a.sql_any(&[
                    "SELECT pg_advisory_lock(1)",
                    "SELECT pg_try_advisory_xact_lock(1)",
                    "SELECT * FROM pg_locks WHERE locktype = 'advisory'",
                ])
                .await
            }
        ),
        attack!("residue-notify", "notifications: a channel between tenants", Database, Together, |a| {
            a.sql_any(&[
                "LISTEN globex",
                "NOTIFY globex, 'x'",
                "SELECT pg_notify('globex', 'x')",
                "SELECT pg_listening_channels()",
            ])
            .await
        }),
        attack!(
            "residue-activity",
            "what other sessions do: statements, locks, progress",
            Database,
            Together,
            |a| {
                a.sql_any(&[
                    "SELECT * FROM pg_stat_activity",
                    "SELECT pg_stat_get_backend_activity(s) FROM generate_series(1, 50) s",
                    "SELECT * FROM pg_locks",
                    "SELECT * FROM pg_stat_statements",
                    "SELECT * FROM pg_prepared_xacts",
                    "SELECT * FROM pg_stat_get_activity(NULL)",
                ])
                .await
            }
        ),
        attack!(
            "residue-large-objects",
            "large objects, which all tenants would own",
            Database,
            Alone,
            |a| {
                a.sql_any(&[
                    "SELECT lo_create(0)",
                    "SELECT lo_from_bytea(0, 'x')",
                    "SELECT * FROM pg_largeobject",
                    "SELECT lo_import('/etc/passwd')",
                    "SELECT lo_get(oid) FROM pg_largeobject_metadata",
                ])
                .await
            }
        ),
        attack!("residue-files", "files and programs of the server", Database, Together, |a| {
            a.sql_any(&[
                "COPY payments TO PROGRAM 'cat'",
                "COPY accounts FROM PROGRAM 'echo'",
                "SELECT pg_read_file('postgresql.conf')",
                "SELECT pg_ls_dir('.')",
                "COPY payments TO '/tmp/residue'",
                "SELECT pg_read_binary_file(pg_relation_filepath('payments'))",
                "LOAD 'plpgsql'",
            ])
            .await
        }),
        attack!("residue-functions", "functions, blocks and languages of one's own", Database, Alone, |a| {
            a.sql_any(&[
                "CREATE FUNCTION public.f() RETURNS SETOF payments LANGUAGE sql SECURITY DEFINER AS \
                 'SELECT * FROM payments'; SELECT * FROM public.f()",
                "DO 'BEGIN PERFORM 1; END'",
                "CREATE LANGUAGE plperlu",
                "CREATE EXTENSION dblink",
                "CREATE EXTENSION postgres_fdw",
                "CREATE VIEW public.v AS SELECT * FROM payments",
                "CREATE TABLE public.t AS SELECT * FROM payments",
                "CREATE SCHEMA s",
                "CREATE AGGREGATE public.leak(text) (SFUNC = textcat, STYPE = text)",
            ])
            .await
        }),
        attack!("residue-dblink", "a way round the guard, from inside", Database, Together, |a| {
            a.sql_any(&[
                "SELECT * FROM dblink('dbname=ledger', 'SELECT memo FROM payments') AS t(memo text)",
                "CREATE SUBSCRIPTION s CONNECTION 'dbname=ledger' PUBLICATION p",
                "SELECT pg_create_logical_replication_slot('s', 'test_decoding')",
                "CREATE PUBLICATION p FOR ALL TABLES",
                "CREATE SERVER s FOREIGN DATA WRAPPER postgres_fdw",
            ])
            .await
        }),
        attack!("residue-signals", "other sessions ended or held up", Database, Together, |a| {
            a.sql_any(&[
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()",
                "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()",
                "SELECT pg_reload_conf()",
                "SELECT pg_rotate_logfile()",
                "CHECKPOINT",
                "ALTER SYSTEM SET row_security = off",
                "VACUUM FULL payments",
            ])
            .await
        }),
        attack!(
            "residue-listen-deferred",
            "work left for commit: deferred constraints, two-phase commit, snapshots",
            Database,
            Alone,
            |a| {
                a.sql_any(&[
                    "BEGIN; SET CONSTRAINTS ALL DEFERRED; UPDATE payments SET memo = 'x' WHERE tenant_id \
                     = 'globex'; COMMIT",
                    "BEGIN; PREPARE TRANSACTION 'x'",
                    "BEGIN; SELECT pg_export_snapshot()",
                ])
                .await
            }
        ),
        attack!(
            "residue-of-the-victim",
            "what a session of the victim's leaves: settings, cursors, statements, temporary tables",
            Guard,
            Alone,
            |a| {
                match victims_residue(a).await {
                    Ok(outcome) | Err(outcome) => outcome,
                }
            }
        ),
        attack!("residue-overheard", "the victim's notifications, listened to", Guard, Together, |a| {
            match overheard(a).await {
                Ok(outcome) | Err(outcome) => outcome,
            }
        }),
        attack!(
            "residue-alter-role",
            "settings and a password stored for the role all tenants share",
            Database,
            Last,
            |a| {
                match stored_for_role(a, STORED).await {
                    Ok(outcome) | Err(outcome) => outcome,
                }
            }
        ),
    ],
    controls: &[
        control!("what a session sets is seen in it", |a| {
            let session = a.session().await.map_err(|outcome| outcome.told())?;
            let _ = session.one("BEGIN; SET LOCAL work_mem = '65kB'").await;
            match session.value("SELECT current_setting('work_mem')").await {
                Ok(Some(value)) if value == "65kB" => Ok(()),
                other => Err(format!("{other:?}")),
            }
        }),
        control!("a cursor is read in its transaction", |a| {
            let session = a.session().await.map_err(|outcome| outcome.told())?;
            let _ = session.one("BEGIN; DECLARE c CURSOR FOR SELECT id FROM payments").await;
            match session.value("FETCH 1 FROM c").await {
                Ok(Some(_)) => Ok(()),
                other => Err(format!("{other:?}")),
            }
        }),
    ],
};

/// The victim leaves what a session can leave, with a canary in each; the attacker looks for it in sessions that may
/// be given the same server connection, of which there is only one left.
async fn victims_residue(a: &Attacker) -> Result<Outcome, Outcome> {
    let _crowd = Crowd::gather(a).await?;
    let tag = &a.camp().ground.tag;
    let theirs = a.victims_session().await?;
    for leave in [
        format!("SET victims.word = '{tag}'"),
        format!("SELECT set_config('victims.word', '{tag}', false)"),
        format!("PREPARE victims AS SELECT '{tag}'::text"),
        format!("BEGIN; DECLARE victims CURSOR WITH HOLD FOR SELECT '{tag}'::text; COMMIT"),
        format!("CREATE TEMP TABLE victims AS SELECT '{tag}'::text AS word"),
    ] {
        let _ = theirs.one(&leave).await;
    }
    drop(theirs);
    let mut tries = Vec::new();
    for _ in 0..3 {
        tries.push(
            a.sql_any(&[
                "SELECT current_setting('victims.word', true)",
                "SELECT * FROM pg_prepared_statements",
                "EXECUTE victims",
                "SELECT * FROM pg_cursors",
                "FETCH ALL FROM victims",
                "SELECT * FROM pg_temp.victims",
            ])
            .await,
        );
    }
    Ok(Outcome::furthest(tries))
}

/// The attacker listens, the victim notifies.
async fn overheard(a: &Attacker) -> Result<Outcome, Outcome> {
    let listening = a.session().await?;
    let outcome = listening.one("/**/ LISTEN victims").await;
    let theirs = a.victims_session().await?;
    let _ = theirs.one(&format!("NOTIFY victims, '{}'", a.camp().ground.tag)).await;
    for _ in 0..3 {
        let _ = listening.one("SELECT 1").await;
    }
    Ok(outcome)
}

/// Any role may store settings for itself: what counts is that no session takes them over, and that none of the
/// victim's is refused for them.
pub(super) async fn stored_for_role(a: &Attacker, statements: &[&str]) -> Result<Outcome, Outcome> {
    let before = a.victims_session().await?.one("SELECT 1").await;
    let stored = a.sql_any(statements).await;
    // Many transactions at once, of both, so that the guard has to open new connections, and some for the victim.
    let mut held = Vec::new();
    for _ in 0..HELD {
        let session = a.session().await?;
        let _ = session.one("BEGIN; SELECT 1").await;
        held.push(session);
    }
    for _ in 0..HELD {
        let session = a.victims_session().await?;
        let taken = "SELECT current_setting('search_path') = 'pg_temp'
            OR current_setting('default_transaction_read_only') = 'on'";
        let _ = session.one("BEGIN").await;
        match session.value(taken).await {
            Ok(Some(value)) if value == "t" => {
                let told = "a setting stored by one tenant is in force in another's session";
                return Ok(stored.leaking(Some(Leak::oracle(told.to_owned()))));
            }
            Err(refused) if before.stopped_by.is_none() => {
                let told = format!("the victim is refused for what was stored: {}", refused.told());
                return Ok(stored.leaking(Some(Leak::oracle(told))));
            }
            _ => held.push(session),
        }
    }
    Ok(stored)
}

/// Leaves something behind in one session, ends it, and looks for it in sessions that follow, which the guard may give
/// the same server connection: what they find, another tenant would.
async fn left_behind(a: &Attacker, leave: &str, look: &str, clean: &str) -> Outcome {
    let outcome = match a.session().await {
        Ok(session) => session.one(leave).await,
        Err(outcome) => return outcome,
    };
    let mut found = None;
    for _ in 0..3 {
        match a.session().await {
            Err(refused) => return refused,
            Ok(session) => match session.value(look).await {
                Ok(Some(value)) if !value.is_empty() && value != clean => found = Some(value),
                Ok(_) | Err(_) => {}
            },
        }
    }
    let leak = found.map(|value| Leak::oracle(format!("a new session finds {value} instead of {clean}")));
    match outcome {
        // Let through, and cleaned up after: that is the guard's work.
        Outcome { stopped_by: None, .. } if leak.is_none() => Outcome::stopped(Layer::Guard, "clean"),
        outcome => outcome.leaking(leak),
    }
}
