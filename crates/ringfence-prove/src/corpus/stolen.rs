//! Contexts that were good once: a tag overheard between guard and Postgres and said again, tokens of two tenants in one
//! transaction, and a context whose time is over.

use std::time::Duration;

use serde::Deserialize;
use tokio::time::sleep;

use crate::{
    attack::{Family, attack, control},
    attacker::Attacker,
    database::Session,
    leak::Leak,
    outcome::Outcome,
    scene::{ATTACKER, VICTIM},
};

const ALL: &str = "SELECT * FROM payments";

/// How long the token lives whose context is to run out, and how long after that it is tried, in seconds.
const SHORT: u64 = 3;
const LATE: Duration = Duration::from_millis(1500);

pub(super) const FAMILY: Family = Family {
    name: "stolen contexts",
    attacks: &[
        attack!(
            "stolen-tag",
            "the victim's context, overheard, said again in an own session",
            Database,
            Together,
            |a| {
                match said_again(a, VICTIM).await {
                    Ok(outcome) | Err(outcome) => outcome,
                }
            }
        ),
        attack!(
            "stolen-tag-renamed",
            "an own context, overheard, said again for the victim and for later",
            Database,
            Together,
            |a| {
                match altered(a).await {
                    Ok(outcome) | Err(outcome) => outcome,
                }
            }
        ),
        attack!(
            "stolen-second-context",
            "two tenants' genuine tokens in one transaction, one after the other",
            Guard,
            Together,
            |a| {
                match both_in_one(a).await {
                    Ok(outcome) | Err(outcome) => outcome,
                }
            }
        ),
        attack!(
            "stolen-halves",
            "half of the victim's genuine token and half of the own, under either name",
            Guard,
            Together,
            |a| {
                let theirs = a.loot().victims_database.clone().unwrap_or_default();
                let own = a.loot().database.clone().unwrap_or_default();
                let halves = |one: &str, other: &str| {
                    let (access, _) = one.split_once('~').unwrap_or_default();
                    let (_, txn) = other.split_once('~').unwrap_or_default();
                    format!("{access}~{txn}")
                };
                let mut tries = Vec::new();
                for user in [ATTACKER, VICTIM] {
                    for password in [halves(&own, &theirs), halves(&theirs, &own)] {
                        tries.push(a.query_as(user, &password, ALL).await);
                        let session = match a.session().await {
                            Ok(session) => session,
                            Err(outcome) => return outcome,
                        };
                        tries.push(session.token_use(user, &password).await);
                        tries.push(session.one(ALL).await);
                    }
                }
                Outcome::furthest(tries)
            }
        ),
        attack!(
            "stolen-expired",
            "a context whose time is over, on a connection that is warm",
            Database,
            Together,
            |a| {
                match outlived(a).await {
                    Ok(outcome) | Err(outcome) => outcome,
                }
            }
        ),
    ],
    controls: &[
        control!("a context that is overheard is taken on the connection that it was minted for", |a| {
            let session = a.session().await.map_err(|outcome| outcome.told())?;
            let _ = session.one("BEGIN; SELECT FROM payments").await;
            let pid = session.value("SELECT pg_backend_pid()").await.map_err(|outcome| outcome.told())?;
            let heard = overheard(a)
                .into_iter()
                .rfind(|heard| heard.tenant == ATTACKER && Some(heard.pid.to_string()) == pid);
            let heard = heard.ok_or("nothing of it was overheard")?;
            let taken = session.one(&heard.call(ATTACKER, heard.valid_until)).await;
            let tenant = session.value("SELECT ringfence.tenant_id()").await;
            match (taken.stopped_by, tenant) {
                (None, Ok(Some(tenant))) if tenant == ATTACKER => Ok(()),
                (_, tenant) => Err(format!("{}, {tenant:?}", taken.told())),
            }
        }),
        control!(
            "a token that lives for seconds opens a session, and a transaction in it is answered",
            |a| {
                let session = short(a).await.map_err(|outcome| outcome.told())?;
                match session.one(ALL).await {
                    Outcome { stopped_by: None, .. } => Ok(()),
                    outcome => Err(outcome.told()),
                }
            }
        ),
    ],
};

/// A context as it was sent to Postgres.
#[derive(Debug, Clone, Deserialize)]
struct Heard {
    tenant: String,
    token: String,
    token_exp: u64,
    valid_until: u64,
    tag: String,
    pid: i32,
}

impl Heard {
    /// The call that says it, for this tenant and until then.
    fn call(&self, tenant: &str, until: u64) -> String {
        let Self { token, token_exp, tag, .. } = self;
        format!("SELECT ringfence.context_set('{tenant}', '{token}', {token_exp}, {until}, '\\x{tag}')")
    }
}

/// Everything that was overheard so far, in its order.
fn overheard(a: &Attacker) -> Vec<Heard> {
    let text = std::fs::read_to_string(&a.scene().overheard).unwrap_or_default();
    text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

/// Makes the tenant's context be minted, and says it in own sessions: as it is, after the own context is given up, and for every
/// connection that the victim was ever given.
async fn said_again(a: &Attacker, whose: &str) -> Result<Outcome, Outcome> {
    let theirs = a.victims_session().await?;
    let _ = theirs.one("BEGIN; SELECT FROM payments").await;
    // The newest, and the newest for each other connection: as good as any, for they differ in nothing else.
    let mut heard = overheard(a);
    heard.retain(|heard| heard.tenant == whose);
    heard.reverse();
    heard.dedup_by_key(|heard| heard.pid);
    let session = a.session().await?;
    let _ = session.one("BEGIN; SELECT FROM payments").await;
    let pid = session.value("SELECT pg_backend_pid()").await?.unwrap_or_default();
    let _ = session.one("ROLLBACK").await;
    let mut tries = Vec::new();
    for heard in heard.iter().filter(|heard| heard.pid.to_string() != pid).take(3) {
        let call = heard.call(whose, heard.valid_until);
        for words in [
            format!("{call}; {ALL}"),
            format!("DISCARD SEQUENCES; {call}; {ALL}"),
            format!("BEGIN; DISCARD SEQUENCES; SELECT * FROM ringfence.backend_register(); {call}; {ALL}"),
        ] {
            tries.push(session.one(&words).await);
            let _ = session.one("ROLLBACK").await;
        }
        tries.push(Outcome::of(&a.pasted(&super::injection::Way::Past, &format!("{call}; {ALL}")).await));
        let registered = format!("SELECT * FROM ringfence.backend_register(); {call}; {ALL}");
        tries.push(Outcome::of(&a.pasted(&super::injection::Way::Past, &registered).await));
    }
    let _ = theirs.one("ROLLBACK").await;
    Ok(Outcome::furthest(tries))
}

/// Says the own context, on its own connection, with words in it changed.
async fn altered(a: &Attacker) -> Result<Outcome, Outcome> {
    let session = a.session().await?;
    let _ = session.one("BEGIN; SELECT FROM payments").await;
    let pid = session.value("SELECT pg_backend_pid()").await?.unwrap_or_default();
    let heard = overheard(a).into_iter().rfind(|heard| heard.pid.to_string() == pid);
    let Some(heard) = heard.filter(|heard| heard.tenant == ATTACKER) else {
        return Ok(Outcome::stopped(ringfence_context::Layer::Guard, "unheard"));
    };
    let _ = session.one("ROLLBACK").await;
    let later = heard.valid_until.saturating_add(10_000_000);
    let mut tries = Vec::new();
    for call in
        [heard.call(VICTIM, heard.valid_until), heard.call(ATTACKER, later), heard.call(VICTIM, later)]
    {
        for before in ["", "DISCARD SEQUENCES; "] {
            tries.push(session.one(&format!("BEGIN; {before}{call}; {ALL}")).await);
            let _ = session.one("ROLLBACK").await;
        }
    }
    Ok(Outcome::furthest(tries))
}

/// A backend that has the tokens of two requests gives one transaction to both tenants, or tries to. Between transactions it may:
/// so one must have begun.
async fn both_in_one(a: &Attacker) -> Result<Outcome, Outcome> {
    let theirs = a.loot().victims_database.clone().unwrap_or_default();
    let mut tries = Vec::new();
    for then in ["SELECT 1", "SAVEPOINT s", "SAVEPOINT s; SELECT 1 / 0"] {
        let session = a.session().await?;
        let begun = session.one("BEGIN; SELECT FROM payments").await;
        if begun.stopped_by.is_some() {
            return Ok(begun);
        }
        let _ = session.one(then).await;
        tries.push(session.token_use(VICTIM, &theirs).await);
        for statement in [ALL, "ROLLBACK TO s; SELECT * FROM payments", "COMMIT; SELECT * FROM payments"] {
            tries.push(session.one(statement).await);
        }
    }
    // In the text of one string, where the guard reads none: it is Postgres' to refuse.
    let session = a.session().await?;
    let said = format!("BEGIN; {ALL}; SELECT ringfence.token_use('{VICTIM}', '{theirs}'); {ALL}; COMMIT");
    tries.push(session.one(&said).await);
    tries.push(session.one(ALL).await);
    Ok(Outcome::furthest(tries))
}

/// A session of the own tenant's with a token that lives for seconds, made with the keys that were stolen from it.
async fn short(a: &Attacker) -> Result<Session, Outcome> {
    let mut claims = a.claims(ATTACKER, "admin");
    let (jti, exp) = (a.nonce(), a.now().saturating_add(SHORT));
    if let Some(members) = claims.as_object_mut() {
        members.insert("seal".to_owned(), a.camp().keys.seal(ATTACKER, &jti, exp).into());
        members.insert("jti".to_owned(), jti.into());
        members.insert("exp".to_owned(), exp.into());
    }
    let exchanged = a.exchange_token(ATTACKER, &a.made(&claims)).await;
    let token = exchanged.text_member("access_token").ok_or_else(|| Outcome::of(&exchanged))?;
    a.open(ATTACKER, &token).await
}

/// Begins in time and asks when it is over; what is answered then was answered without a context that is good.
async fn outlived(a: &Attacker) -> Result<Outcome, Outcome> {
    let session = short(a).await?;
    let _ = session.one("BEGIN; DECLARE c CURSOR FOR SELECT * FROM payments").await;
    sleep(Duration::from_secs(SHORT) + LATE).await;
    let mut tries = Vec::new();
    for statement in [ALL, "SELECT ringfence.tenant_id()"] {
        let outcome = session.one(statement).await;
        let answered = outcome.stopped_by.is_none();
        let told = || Leak::oracle(format!("a context that is over is good for {statement}"));
        tries.push(outcome.leaking(answered.then(told)));
        let _ = session.one("ROLLBACK").await;
    }
    Ok(Outcome::furthest(tries))
}
