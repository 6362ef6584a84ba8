//! The guard's own protocol: who it lets in, under what name, and what it lets through out of turn.

use ringfence_context::Layer;
use tokio_postgres::Config;

use crate::{
    attack::{Family, attack, control},
    attacker::Attacker,
    outcome::Outcome,
    pg::{cancel, extended, message, password, query, ssl_request, startup, sync},
    scene::{ATTACKER, BYSTANDER, VICTIM},
};

const ALL: &str = "SELECT * FROM payments";

pub(super) const FAMILY: Family = Family {
    name: "guard protocol",
    attacks: &[
        attack!("guard-their-name", "the victim's name with the own database token", Guard, Together, |a| {
            let token = own(a);
            Outcome::furthest([
                a.query_as(VICTIM, &token, ALL).await,
                a.query_as(BYSTANDER, &token, ALL).await,
            ])
        }),
        attack!(
            "guard-no-password",
            "no password, an empty one, and the words people choose",
            Guard,
            Together,
            |a| {
                let mut tries = Vec::new();
                for (user, word) in [
                    (VICTIM, ""),
                    (VICTIM, "globex"),
                    (VICTIM, "~"),
                    (VICTIM, "a~b"),
                    ("postgres", ""),
                    ("postgres", "postgres"),
                    ("ledger_app", ""),
                    ("ringfence", ""),
                ] {
                    tries.push(a.query_as(user, word, ALL).await);
                }
                Outcome::furthest(tries)
            }
        ),
        attack!(
            "guard-mixed-tokens",
            "an own access token with another token's Txn-Token, and the halves exchanged",
            Guard,
            Together,
            |a| {
                let token = own(a);
                let (access, txn) = token.split_once('~').unwrap_or_default();
                let other = a.made(&a.claims(ATTACKER, "admin"));
                let mut tries = Vec::new();
                for (user, word) in [
                    (ATTACKER, format!("{other}~{txn}")),
                    (ATTACKER, format!("{txn}~{access}")),
                    (ATTACKER, access.to_owned()),
                    (ATTACKER, format!("{access}~{access}")),
                    (ATTACKER, format!("{token}~{txn}")),
                    (VICTIM, format!("{}~{txn}", a.made(&a.claims(VICTIM, "admin")))),
                ] {
                    tries.push(a.query_as(user, &word, ALL).await);
                }
                Outcome::furthest(tries)
            }
        ),
        attack!(
            "guard-forged-tokens",
            "both tokens forged for the victim, with the stolen and with an unknown key",
            Guard,
            Together,
            |a| {
                let mut tries = Vec::new();
                for key in [&a.camp().keys.signing, &a.camp().stranger] {
                    let access = a.made(&a.claims(VICTIM, "admin"));
                    let txn = super::direct::forged_txn(a, &access, key);
                    tries.push(a.query_as(VICTIM, &format!("{access}~{txn}"), ALL).await);
                }
                Outcome::furthest(tries)
            }
        ),
        attack!(
            "guard-startup-options",
            "start-up parameters that change role, settings or path",
            Guard,
            Together,
            |a| {
                let token = own(a);
                let mut tries = Vec::new();
                for options in [
                    "-c role=postgres",
                    "-c row_security=off",
                    "-c search_path=pg_temp",
                    "-c ringfence.context=globex",
                    "-c session_replication_role=replica",
                ] {
                    let mut config = Config::new();
                    config.user(ATTACKER).password(&token).dbname(&a.scene().database).options(options);
                    tries.push(match a.open_with(&config).await {
                        Ok(session) => session.one(ALL).await,
                        Err(outcome) => outcome,
                    });
                }
                for (name, value) in [
                    ("role", "postgres"),
                    ("session_authorization", "postgres"),
                    ("replication", "true"),
                    ("replication", "database"),
                    ("row_security", "off"),
                    ("user", VICTIM),
                ] {
                    let parameters =
                        [("user", ATTACKER), ("database", a.scene().database.as_str()), (name, value)];
                    tries.push(
                        a.frames(&[startup(&parameters), password(&token), query(ALL)]).await.outcome(),
                    );
                }
                Outcome::furthest(tries)
            }
        ),
        attack!("guard-other-database", "other databases of the cluster", Guard, Together, |a| {
            let token = own(a);
            let mut tries = Vec::new();
            for name in ["postgres", "template1", "globex", ""] {
                let mut config = Config::new();
                config.user(ATTACKER).password(&token).dbname(name);
                tries.push(match a.open_with(&config).await {
                    Ok(session) => session.one(ALL).await,
                    Err(outcome) => outcome,
                });
            }
            Outcome::furthest(tries)
        }),
        attack!(
            "guard-before-password",
            "statements before the password, behind it, and with encryption asked for",
            Guard,
            Together,
            |a| {
                let start = || startup(&[("user", VICTIM), ("database", a.scene().database.as_str())]);
                let tries = [
                    a.frames(&[[start(), query(ALL)].concat()]).await,
                    a.frames(&[[start(), password("x~y"), query(ALL)].concat()]).await,
                    a.frames(&[start(), query(ALL)]).await,
                    a.frames(&[[ssl_request(), start(), password(&own(a)), query(ALL)].concat()]).await,
                    a.frames(&[start(), message(b'p', b""), query(ALL)]).await,
                ];
                Outcome::furthest(tries.iter().map(crate::pg::Said::outcome))
            }
        ),
        attack!("guard-cancel", "cancel requests with guessed keys", Guard, Together, |a| {
            let mut tries = Vec::new();
            for (pid, secret) in [(1, 1), (0, 0), (u32::MAX, u32::MAX), (12345, 0)] {
                tries.push(a.frames(&[cancel(pid, secret)]).await.outcome());
            }
            Outcome::furthest(tries)
        }),
        attack!(
            "guard-after-commit",
            "statements after COMMIT in one string: whose is the next transaction",
            Database,
            Together,
            |a| {
                a.sql_any(&[
                    "SELECT 1; COMMIT; SELECT * FROM payments",
                    "BEGIN; COMMIT; BEGIN; SELECT * FROM payments",
                    "COMMIT; SELECT set_config('ringfence.context', 'globex', false); SELECT * FROM \
                     payments",
                    "ROLLBACK; SELECT * FROM payments",
                    "BEGIN; SELECT 1; COMMIT AND CHAIN; SELECT * FROM payments",
                ])
                .await
            }
        ),
        attack!(
            "guard-pipelined",
            "statements pipelined behind COMMIT, with and without Sync between",
            Database,
            Together,
            |a| {
                let parts = [
                    [query("BEGIN"), query("COMMIT"), query(ALL)].concat(),
                    [extended("COMMIT"), extended(ALL), sync()].concat(),
                    [
                        extended("SELECT 1"),
                        extended("COMMIT"),
                        extended("SELECT set_config('ringfence.context', 'globex', false)"),
                        extended(ALL),
                        sync(),
                    ]
                    .concat(),
                ];
                let mut tries = Vec::new();
                for part in parts {
                    tries.push(match a.frames_signed_in(&[part]).await {
                        Ok(said) => said.outcome(),
                        Err(outcome) => outcome,
                    });
                }
                Outcome::furthest(tries)
            }
        ),
        attack!(
            "guard-function-call",
            "the fast path, replication commands and messages nobody sends",
            Guard,
            Together,
            |a| {
                let call = message(b'F', &[0, 0, 4, 210, 0, 0, 0, 0, 0, 0]);
                let mut tries = Vec::new();
                for part in [
                    call,
                    query("IDENTIFY_SYSTEM"),
                    message(b'z', b"x"),
                    message(b'Q', b"SELECT 1"),
                    message(b'd', b"x"),
                    vec![b'Q', 0xff, 0xff, 0xff, 0xff],
                    vec![b'Q', 0, 0, 0, 1],
                ] {
                    let part = [part, sync()].concat();
                    tries.push(match a.frames_signed_in(&[part]).await {
                        Ok(said) => said.outcome(),
                        Err(outcome) => outcome,
                    });
                }
                Outcome::furthest(tries)
            }
        ),
        attack!(
            "guard-access-token",
            "an access token as a password, and a database token at the API",
            Guard,
            Together,
            |a| {
                let token = own(a);
                let at_api = Outcome::of(&super::tokens::own_list(a, &token).await);
                Outcome::furthest([a.query_as(ATTACKER, &a.token("admin"), ALL).await, at_api])
            }
        ),
        attack!(
            "guard-token-use",
            "a token per transaction: the victim's name, forged and mixed tokens, and statements behind them",
            Guard,
            Together,
            |a| {
                let token = own(a);
                let (access, txn) = token.split_once('~').unwrap_or_default();
                let forged = a.made(&a.claims(VICTIM, "admin"));
                let forged_txn = super::direct::forged_txn(a, &forged, &a.camp().keys.signing);
                let mut tries = Vec::new();
                for (tenant, token) in [
                    (VICTIM, token.clone()),
                    (BYSTANDER, token.clone()),
                    (VICTIM, format!("{forged}~{txn}")),
                    (VICTIM, format!("{forged}~{forged_txn}")),
                    (VICTIM, format!("{access}~{forged_txn}")),
                    (VICTIM, String::new()),
                ] {
                    for before in ["SELECT 1", "BEGIN", "SET work_mem = 128"] {
                        let session = match a.session().await {
                            Ok(session) => session,
                            Err(outcome) => return outcome,
                        };
                        let _ = session.one(before).await;
                        tries.push(session.token_use(tenant, &token).await);
                        tries.push(session.one(ALL).await);
                    }
                }
                Outcome::furthest(tries)
            }
        ),
        attack!(
            "guard-token-use-before",
            "a session that served the victim, asked for the own tenant with a bad token: whom it serves then",
            Guard,
            Together,
            |a| {
                let mut tries = Vec::new();
                for (tenant, token) in [(ATTACKER, "a~b"), (ATTACKER, ""), ("no tenant", "a~b")] {
                    for before in ["SELECT 1", "BEGIN", "BEGIN; SELECT 1 / 0", "SET work_mem = 128"] {
                        let session = match a.session().await {
                            Ok(session) => session,
                            Err(outcome) => return outcome,
                        };
                        // The backend, between two requests of one pooled connection.
                        let victims = a.loot().victims_database.clone().unwrap_or_default();
                        let _ = session.token_use(VICTIM, &victims).await;
                        let _ = session.one(before).await;
                        tries.push(session.token_use(tenant, token).await);
                        for statement in [ALL, "ROLLBACK; SELECT * FROM payments"] {
                            tries.push(session.one(statement).await);
                        }
                    }
                }
                Outcome::furthest(tries)
            }
        ),
        attack!(
            "guard-viewer",
            "a database token for a role that may not have one",
            Authorization,
            Together,
            |a| {
                let exchanged = a.exchange_token(ATTACKER, &a.token("viewer")).await;
                match exchanged.text_member("access_token") {
                    Some(token) => a.query_as(ATTACKER, &token, "SELECT 1").await,
                    None => match Outcome::of(&exchanged) {
                        // OAuth's error says access_denied: the policy store did.
                        stopped if exchanged.text_member("error").as_deref() == Some("access_denied") => {
                            Outcome { stopped_by: Some(Layer::Authorization), ..stopped }
                        }
                        stopped => stopped,
                    },
                }
            }
        ),
    ],
    controls: &[
        control!("a session by hand: start-up, password, query", |a| {
            let said = a
                .frames_signed_in(&[query("SELECT id FROM payments")])
                .await
                .map_err(|outcome| outcome.told())?;
            if said.count(b'D') > 0 {
                Ok(())
            } else {
                Err(format!("{} messages, {:?}", said.messages.len(), said.sqlstate()))
            }
        }),
        control!("a session that is given a token before a transaction", |a| {
            let session = a.session().await.map_err(|outcome| outcome.told())?;
            let served = session.token_use(ATTACKER, &own(a)).await;
            let tenant = session.value("SELECT ringfence.tenant_id()").await;
            match tenant {
                Ok(Some(tenant)) if tenant == ATTACKER => Ok(()),
                other => Err(format!("{}, {other:?}", served.told())),
            }
        }),
        control!("the extended protocol by hand", |a| {
            let said = a
                .frames_signed_in(&[[extended("SELECT id FROM payments"), sync()].concat()])
                .await
                .map_err(|outcome| outcome.told())?;
            if said.count(b'D') > 0 {
                Ok(())
            } else {
                Err(format!("{} messages, {:?}", said.messages.len(), said.sqlstate()))
            }
        }),
    ],
};

fn own(a: &Attacker) -> String {
    a.loot().database.clone().unwrap_or_default()
}
