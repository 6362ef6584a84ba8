//! Hand-overs: a connection that one tenant has left in the middle of something, or with something in it, and that the next one is
//! given; and registers, looked at while others' sessions change hands.

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use crate::{
    attack::{Family, attack, control},
    attacker::Attacker,
    database::Session,
    http::{Ask, HASTE, PATIENCE},
    leak::Leak,
    outcome::Outcome,
    pg::{password, query, startup},
    scene::{ALLY, VICTIM},
};

/// How often each is tried.
const NEXT: usize = 3;

/// Transactions that each of two tenants holds, one less than it may have, so that with one more there is one connection left.
const HELD: usize = 9;

/// How often a session of the victim's comes and goes while the registers are read.
const COMINGS: usize = 24;

/// What follows a session, with values nobody has by chance.
const FOLLOWED: [(&str, &str); 6] = [
    ("TimeZone", "Pacific/Chatham"),
    ("DateStyle", "SQL, DMY"),
    ("IntervalStyle", "iso_8601"),
    ("application_name", "the attackers own"),
    ("client_encoding", "LATIN1"),
    ("extra_float_digits", "-7"),
];

/// Words that make a session another role.
const BECOME: [&str; 5] = [
    "SET ROLE ledger_app",
    "SET SESSION AUTHORIZATION ledger_app",
    "BEGIN; SET ROLE ledger_app; COMMIT",
    "SELECT set_config('role', 'ledger_app', false)",
    "SELECT set_config('session_authorization', 'ledger_app', false)",
];

/// Stored for the role that tenants share, any of these could end what another tenant says, or its login.
const SHUT_OUT: &[&str] = &[
    "ALTER ROLE CURRENT_USER SET exit_on_error = on",
    "ALTER ROLE CURRENT_USER SET statement_timeout = 1",
    "ALTER ROLE CURRENT_USER SET idle_session_timeout = 1",
    "ALTER ROLE CURRENT_USER SET idle_in_transaction_session_timeout = 1",
    "ALTER ROLE CURRENT_USER SET default_transaction_read_only = on",
    "ALTER ROLE CURRENT_USER SET local_preload_libraries = 'nothing'",
    "ALTER ROLE CURRENT_USER SET role = 'none'",
    "ALTER ROLE CURRENT_USER IN DATABASE ledger SET client_encoding = 'SJIS'",
];

pub(super) const FAMILY: Family = Family {
    name: "hand-overs",
    attacks: &[
        attack!(
            "handover-open-transaction",
            "a transaction that the victim's client left open, or failed, when it died",
            Guard,
            Alone,
            |a| {
                match inherited(a).await {
                    Ok(outcome) | Err(outcome) => outcome,
                }
            }
        ),
        attack!(
            "handover-killed-copy",
            "what was still to come when the victim's client died in the middle of a COPY or of a reply",
            Guard,
            Alone,
            |a| {
                match unread(a).await {
                    Ok(outcome) | Err(outcome) => outcome,
                }
            }
        ),
        attack!(
            "handover-role",
            "SET ROLE and SET SESSION AUTHORIZATION, for whoever comes next",
            Guard,
            Alone,
            |a| {
                match roles(a).await {
                    Ok(outcome) | Err(outcome) => outcome,
                }
            }
        ),
        attack!(
            "handover-registers",
            "the registers read, and counted on, while the victim's sessions change hands",
            Database,
            Alone,
            |a| {
                match watched(a).await {
                    Ok(outcome) | Err(outcome) => outcome,
                }
            }
        ),
        attack!(
            "handover-seed",
            "random numbers that are known beforehand, for whoever comes next",
            Guard,
            Alone,
            |a| {
                match seeded(a).await {
                    Ok(outcome) | Err(outcome) => outcome,
                }
            }
        ),
        attack!(
            "handover-followed",
            "settings that go with a session from connection to connection, for others' sessions",
            Guard,
            Alone,
            |a| {
                match followed(a).await {
                    Ok(outcome) | Err(outcome) => outcome,
                }
            }
        ),
        attack!(
            "handover-shut-out",
            "settings stored for the role all tenants share that end what is said, or the login",
            Guard,
            Last,
            |a| {
                let stored = super::residue::stored_for_role(a, SHUT_OUT).await;
                stored.unwrap_or_else(|outcome| outcome)
            }
        ),
        attack!(
            "handover-unlocked",
            "an own tenant that lets go of every lock, and goes on after it was suspended",
            Guard,
            Last,
            |a| {
                match after_suspension(a).await {
                    Ok(outcome) | Err(outcome) => outcome,
                }
            }
        ),
    ],
    controls: &[
        control!("a connection that the victim has left is given to the next", |a| {
            let _crowd = Crowd::gather(a).await.map_err(|outcome| outcome.told())?;
            let mut pids = Vec::new();
            for session in [a.victims_session().await, a.session().await, a.victims_session().await] {
                let session = session.map_err(|outcome| outcome.told())?;
                let pid = session.value("SELECT pg_backend_pid()").await.map_err(|outcome| outcome.told())?;
                pids.push(pid.unwrap_or_default());
            }
            pids.dedup();
            if pids.len() == 1 { Ok(()) } else { Err(format!("{pids:?}")) }
        }),
        control!("who sets the seed of random numbers knows them", |a| {
            let session = a.session().await.map_err(|outcome| outcome.told())?;
            let told = [session.told(SEEDED).await, session.told(SEEDED).await];
            if told[0] == told[1] { Ok(()) } else { Err(format!("{told:?}")) }
        }),
        control!("what is set at the start goes with the own session", |a| {
            let session = a.session().await.map_err(|outcome| outcome.told())?;
            set(&session).await;
            for (name, value) in FOLLOWED {
                let told = session.value(&format!("SELECT current_setting('{name}')")).await;
                if !matches!(&told, Ok(Some(told)) if told.starts_with(value)) {
                    return Err(format!("{name} is {told:?}"));
                }
            }
            Ok(())
        }),
        control!("a tenant that is suspended and resumed is served", |a| {
            for change in ["suspend", "resume"] {
                let status = operated(a, change).await;
                if status != 200 {
                    return Err(format!("{change}: {status}"));
                }
            }
            match allys(a).await.map_err(|outcome| outcome.told())?.one("SELECT FROM payments").await {
                Outcome { stopped_by: None, .. } => Ok(()),
                outcome => Err(outcome.told()),
            }
        }),
    ],
};

/// A seed, and the number after it.
const SEEDED: &str = "SELECT setseed(0.25); SELECT random()";

/// So many transactions that one connection is left, which whoever comes is given, whatever tenant had it last.
pub(super) struct Crowd {
    own: Vec<Session>,
    _others: Vec<Session>,
}

impl Crowd {
    /// Gathers it.
    ///
    /// # Errors
    /// What refused one of them.
    pub(super) async fn gather(a: &Attacker) -> Result<Self, Outcome> {
        let (mut own, mut others) = (Vec::new(), vec![allys(a).await?]);
        for _ in 0..HELD {
            own.push(a.session().await?);
            others.push(a.victims_session().await?);
        }
        for session in own.iter().chain(&others) {
            let _ = session.one("BEGIN; SELECT 1").await;
        }
        Ok(Self { own, _others: others })
    }
}

/// Runs statements in the session that follows, which is given the connection that was left.
async fn next(a: &Attacker, statements: &[&str]) -> Result<Outcome, Outcome> {
    let session = a.session().await?;
    let mut tries = Vec::new();
    for statement in statements {
        tries.push(session.one(statement).await);
    }
    Ok(Outcome::furthest(tries))
}

/// The victim's clients die in a transaction, one that is open and one that has failed, with rows read, a cursor and a savepoint in it.
async fn inherited(a: &Attacker) -> Result<Outcome, Outcome> {
    let _crowd = Crowd::gather(a).await?;
    let tag = &a.camp().ground.tag;
    let mut tries = Vec::new();
    for left in [
        "SELECT 1",
        "SELECT 1 / 0",
        "INSERT INTO accounts (tenant_id, id, name, currency, created_by) SELECT tenant_id, gen_random_uuid(), name, \
         currency, created_by FROM accounts LIMIT 1",
    ] {
        let theirs = a.victims_session().await?;
        let begun = format!(
            "BEGIN; SELECT * FROM payments; SET LOCAL victims.word = '{tag}'; SAVEPOINT victims; \
             DECLARE victims CURSOR FOR SELECT * FROM payments"
        );
        let _ = theirs.one(&begun).await;
        let _ = theirs.one(left).await;
        drop(theirs);
        let looks = [
            "FETCH ALL FROM victims",
            "ROLLBACK TO victims",
            "SELECT current_setting('victims.word', true)",
            "SELECT * FROM accounts",
            "COMMIT",
            "SELECT * FROM payments",
        ];
        tries.push(next(a, &looks).await?);
    }
    Ok(Outcome::furthest(tries))
}

/// The victim's clients ask for more than they read, and die.
async fn unread(a: &Attacker) -> Result<Outcome, Outcome> {
    let _crowd = Crowd::gather(a).await?;
    let tag = &a.camp().ground.tag;
    let mut tries = Vec::new();
    for asked in [
        format!("COPY (SELECT '{tag}' || repeat('.', 900) FROM generate_series(1, 50000)) TO STDOUT"),
        format!("SELECT '{tag}' || repeat('.', 900) FROM generate_series(1, 50000)"),
        format!("BEGIN; DECLARE c CURSOR FOR SELECT '{tag}'; FETCH 1 FROM c; SELECT pg_sleep(0.2), '{tag}'"),
    ] {
        if !died_reading(a, &asked).await {
            return Ok(Outcome::stopped(ringfence_context::Layer::Guard, "never begun"));
        }
        tries.push(next(a, &["SELECT 1", "SELECT * FROM payments", "FETCH ALL FROM c"]).await?);
    }
    Ok(Outcome::furthest(tries))
}

/// A client of the victim's that hangs up as soon as it has the first bytes of its answer; says whether it had.
async fn died_reading(a: &Attacker, asked: &str) -> bool {
    let token = a.loot().victims_database.clone().unwrap_or_default();
    let begun = async {
        let mut stream = TcpStream::connect(a.scene().guard).await?;
        let (mut buffer, mut seen) = (vec![0; 4096], Vec::new());
        let database = a.scene().database.as_str();
        for part in [startup(&[("user", VICTIM), ("database", database)]), password(&token), query(asked)] {
            stream.write_all(&part).await?;
            let count = stream.read(&mut buffer).await?;
            seen.extend_from_slice(buffer.get(..count).unwrap_or_default());
        }
        std::io::Result::Ok(!seen.is_empty())
    };
    matches!(timeout(HASTE, begun).await, Ok(Ok(true)))
}

/// A session of the own other tenant's, which has a role of its own.
async fn allys(a: &Attacker) -> Result<Session, Outcome> {
    a.open(ALLY, a.loot().ally_database.as_deref().unwrap_or_default()).await
}

/// Whoever comes next is asked who it is: on what tenants share, and on what is a tenant's own that lets on to be the shared role.
async fn roles(a: &Attacker) -> Result<Outcome, Outcome> {
    let look = "SELECT current_user = session_user AND current_setting('role') = 'none'";
    let crowd = Crowd::gather(a).await?;
    let mut tries = Vec::new();
    for leave in BECOME {
        tries.push(a.session().await?.one(leave).await);
        tries.push(as_itself(&a.victims_session().await?, look, leave).await?);
    }
    drop(crowd);
    for leave in BECOME {
        tries.push(allys(a).await?.one(leave).await);
        tries.push(as_itself(&allys(a).await?, look, leave).await?);
    }
    Ok(Outcome::furthest(tries))
}

/// Whether a new session is the role that it logged in as.
async fn as_itself(session: &Session, look: &str, left: &str) -> Result<Outcome, Outcome> {
    let told = session.value(look).await?;
    let leak = (told.as_deref() != Some("t"))
        .then(|| Leak::oracle(format!("after {left} the next session is another role: {told:?}")));
    Ok(Outcome::answered("own role").leaking(leak))
}

/// Reads the registers, in every way there is, while the victim's contexts are set. They are written and put back between two calls.
async fn watched(a: &Attacker) -> Result<Outcome, Outcome> {
    let looks = [
        "SELECT last_value FROM ringfence.tenant_1",
        "SELECT last_value FROM pg_sequences WHERE sequencename = 'tenant_1'",
        "SELECT pg_sequence_last_value('ringfence.tenant_1')",
        "SELECT nextval('ringfence.tenant_1')",
        "SELECT nextval('ringfence.tenant_2')",
        "SELECT nextval('ringfence.tenant_verified')",
    ];
    let crowd = Crowd::gather(a).await?;
    let Some(watcher) = crowd.own.first() else { return Ok(Outcome::default()) };
    let comings = async {
        // One connection for the two: each time it is cleaned and given to the other.
        for _ in 0..COMINGS {
            for session in [a.victims_session().await, a.session().await].into_iter().flatten() {
                let _ = session.one("SELECT FROM payments").await;
            }
        }
    };
    let mut seen = Vec::new();
    let watching = async {
        for look in looks.iter().cycle() {
            let _ = watcher.one("SAVEPOINT s").await;
            let told = watcher.value(look).await;
            let _ = watcher.one("ROLLBACK TO s").await;
            let other = told.as_ref().ok().cloned().flatten().filter(|told| !told.is_empty() && told != "1");
            let leak = other.map(|told| Leak::oracle(format!("{look} says {told}")));
            seen.push(told.map_or_else(|outcome| outcome, |_| Outcome::answered("1")).leaking(leak));
        }
    };
    tokio::select! {
        () = comings => {}
        () = watching => {}
    }
    Ok(Outcome::furthest(seen))
}

/// Sets a seed and leaves; whoever has the connection next would draw the numbers that follow it.
async fn seeded(a: &Attacker) -> Result<Outcome, Outcome> {
    let _crowd = Crowd::gather(a).await?;
    let drawn = "SELECT string_agg(random()::text, ' ') FROM generate_series(1, 50)";
    let session = a.session().await?;
    let _ = session.one("SELECT setseed(0.25)").await;
    let known = session.value(drawn).await?.unwrap_or_default();
    drop(session);
    let mut tries = Vec::new();
    for _ in 0..NEXT {
        let session = a.session().await?;
        tries.push(session.one("SELECT setseed(0.25)").await);
        drop(session);
        let theirs = a.victims_session().await?;
        let drawn = theirs.value("SELECT random()::text").await.ok().flatten().unwrap_or_default();
        let guessed = !drawn.is_empty() && known.contains(&drawn);
        let told = || Leak::oracle(format!("the victim drew {drawn}, as was known beforehand"));
        tries.push(Outcome::answered("unknown").leaking(guessed.then(told)));
    }
    Ok(Outcome::furthest(tries))
}

/// Sets everything that follows a session.
async fn set(session: &Session) {
    for (name, value) in FOLLOWED {
        let _ = session.one(&format!("SET {name} = '{value}'")).await;
    }
}

/// Sets what follows a session, keeps the session, and looks at the victim's; then the other way round.
async fn followed(a: &Attacker) -> Result<Outcome, Outcome> {
    let _crowd = Crowd::gather(a).await?;
    let tag = &a.camp().ground.tag;
    let (own, theirs) = (a.session().await?, a.victims_session().await?);
    set(&own).await;
    let _ = theirs.one(&format!("SET application_name = '{tag}'")).await;
    let mut tries = Vec::new();
    for _ in 0..NEXT {
        // Each transaction may have the connection that the other's had.
        tries.push(own.one("SELECT current_setting('application_name')").await);
        let (late, new) = (a.session().await?, a.victims_session().await?);
        tries.push(late.one("SELECT current_setting('application_name')").await);
        for session in [&theirs, &new] {
            for (name, value) in FOLLOWED {
                let told = session.value(&format!("SELECT current_setting('{name}')")).await?;
                let leak = told
                    .filter(|told| told.starts_with(value))
                    .map(|told| Leak::oracle(format!("the victim's {name} is {told}")));
                tries.push(Outcome::answered("own settings").leaking(leak));
            }
        }
    }
    Ok(Outcome::furthest(tries))
}

/// Suspends the own other tenant, or lets it go on.
async fn operated(a: &Attacker, change: &str) -> u16 {
    let path = format!("/v1/tenants/{ALLY}/{change}");
    let ask = Ask::new("POST", &path, a.scene().api_host()).bearer(&a.scene().operator.token);
    a.api(ask).await.status()
}

/// Its sessions let go of every lock, in a transaction and before one, and go on when it is suspended.
async fn after_suspension(a: &Attacker) -> Result<Outcome, Outcome> {
    let (idle, busy) = (allys(a).await?, allys(a).await?);
    let _ = idle.one("SELECT pg_advisory_unlock_all(); SELECT FROM payments").await;
    let _ = busy.one("BEGIN; SELECT FROM payments; SELECT pg_advisory_unlock_all()").await;
    let suspended = operated(a, "suspend").await;
    let mut tries = Vec::new();
    for session in [&busy, &idle] {
        for statement in ["SELECT * FROM payments", "COMMIT; SELECT * FROM payments"] {
            let outcome = session.one(statement).await;
            let goes_on = suspended == 200 && outcome.stopped_by.is_none();
            let told = || Leak::oracle(format!("a tenant that is suspended is answered {statement}"));
            tries.push(outcome.leaking(goes_on.then(told)));
        }
    }
    drop((idle, busy));
    let _ = timeout(PATIENCE, operated(a, "resume")).await;
    Ok(Outcome::furthest(tries))
}
