//! Settings that name the tenant, as most systems keep it. Nothing in Postgres reads them here; so that the attacks are known to
//! be good ones, each is first a control, on tables whose policy does.

use crate::{
    attack::{Family, attack, control},
    attacker::Attacker,
    judge::{PLAIN_OTHERS, PLAIN_SCHEMA},
    scene::VICTIM,
};

/// A context for the victim as anyone would guess it: the tenant, a time far away, and a tag of zeros.
macro_rules! guess {
    () => {
        "globex|9999999999999999|0000000000000000000000000000000000000000000000000000000000000000"
    };
}

/// Sets it for the transaction.
macro_rules! set {
    () => {
        concat!("set_config('ringfence.context', '", guess!(), "', true)")
    };
}

const SET_CONFIG: &[&str] = &[
    concat!("BEGIN; SELECT ", set!(), "; SELECT * FROM payments"),
    "BEGIN; SELECT set_config('ringfence.context', 'globex', false); SELECT * FROM payments",
    concat!("SET ringfence.context = '", guess!(), "'; SELECT * FROM payments"),
    concat!("BEGIN; SET LOCAL ringfence.context TO '", guess!(), "'; SELECT * FROM payments"),
];

const OTHER_NAMES: &[&str] = &[
    "BEGIN; SET LOCAL app.tenant_id = 'globex'; SELECT * FROM payments",
    "BEGIN; SET LOCAL ringfence.tenant_id = 'globex'; SET LOCAL ringfence.tenant = 'globex'; SELECT * FROM payments",
    "BEGIN; SET LOCAL app.current_tenant = 'globex'; SET LOCAL rls.tenant_id = 'globex'; SELECT * FROM payments",
];

const MID_STATEMENT: &[&str] = &[
    concat!("SELECT * FROM payments WHERE ", set!(), " IS NOT NULL"),
    concat!("SELECT ", set!(), ", * FROM payments"),
    concat!("SELECT * FROM payments ORDER BY set_config('ringfence.context', '", guess!(), "', false)"),
];

const UNION: &[&str] = &[
    concat!("SELECT ", set!(), " UNION ALL SELECT memo FROM payments"),
    concat!(
        "SELECT * FROM (SELECT ",
        set!(),
        " OFFSET 0) s, LATERAL (SELECT memo FROM payments WHERE s.set_config IS NOT NULL) p"
    ),
    concat!(
        "WITH s AS MATERIALIZED (SELECT ",
        set!(),
        " AS x) SELECT p.* FROM s, payments p WHERE s.x IS NOT NULL"
    ),
];

const WRITES: &[&str] = &[
    concat!("BEGIN; SELECT ", set!(), "; UPDATE payments SET memo = 'x'; COMMIT"),
    concat!(
        "WITH s AS (SELECT ",
        set!(),
        " AS x) UPDATE payments SET memo = 'x' FROM s WHERE s.x IS NOT NULL"
    ),
    concat!("BEGIN; SELECT ", set!(), "; DELETE FROM payments; COMMIT"),
];

pub(super) const FAMILY: Family = Family {
    name: "SQL settings",
    attacks: &[
        attack!(
            "context-set-config",
            "the context set by set_config, for the transaction and for the session",
            Database,
            Together,
            |a| { a.sql_any(SET_CONFIG).await }
        ),
        attack!("context-other-names", "settings by which others name the tenant", Database, Together, |a| {
            a.sql_any(OTHER_NAMES).await
        }),
        attack!(
            "context-mid-statement",
            "the setting changed while a scan is under way",
            Database,
            Together,
            |a| { a.sql_any(MID_STATEMENT).await }
        ),
        attack!(
            "context-union",
            "the setting changed in one branch and used in the next",
            Database,
            Together,
            |a| { a.sql_any(UNION).await }
        ),
        attack!(
            "write-after-set-config",
            "writes after the context was scribbled over",
            Database,
            Alone,
            |a| {
                let cleared =
                    "BEGIN; SELECT set_config('ringfence.context', '', true); DELETE FROM payments; COMMIT";
                a.sql_any(&[WRITES, &[cleared]].concat()).await
            }
        ),
    ],
    controls: &[
        control!("set_config reaches others' rows where the policy reads a plain setting", |a| {
            every_one_reads(a, SET_CONFIG).await
        }),
        control!("so do the names that others give it", |a| every_one_reads(a, OTHER_NAMES).await),
        control!("so does a setting changed in the middle of a scan", |a| {
            every_one_reads(a, MID_STATEMENT).await
        }),
        control!("so does one changed in one branch of a query and used in the next", |a| {
            every_one_reads(a, UNION).await
        }),
        control!("so do writes", |a| every_one_writes(a).await),
    ],
};

/// What the rows of others say there.
const THEIRS: &str = "another tenant's";

/// Every one of these statements, as it stands, receives another tenant's row where a plain setting is believed, and none did
/// before.
async fn every_one_reads(a: &Attacker, statements: &[&str]) -> Result<(), String> {
    for statement in statements {
        let hands = a.victim();
        let session = hands.session().await.map_err(|outcome| outcome.told())?;
        let ready = session.one(&plain()).await;
        let before = session.told("SELECT string_agg(memo, ',') FROM payments").await;
        if ready.stopped_by.is_some() || before.contains(THEIRS) {
            return Err(format!("{}, {before}: {statement}", ready.told()));
        }
        let outcome = session.one(statement).await;
        let seen = |bytes: &Vec<u8>| bytes.windows(THEIRS.len()).any(|window| window == THEIRS.as_bytes());
        if !hands.transcript.received().iter().any(seen) {
            return Err(format!("{}, and nothing of another tenant's: {statement}", outcome.told()));
        }
    }
    Ok(())
}

/// Every one of the writes changes, or deletes, another tenant's row there.
async fn every_one_writes(a: &Attacker) -> Result<(), String> {
    for statement in WRITES {
        let session = a.session().await.map_err(|outcome| outcome.told())?;
        let there = format!("SELECT string_agg(memo, ',') FROM payments WHERE tenant_id = '{VICTIM}'");
        let _ = session.one(&plain()).await;
        let outcome = session.one(statement).await;
        let _ = session.one(&format!("SET ringfence.context = '{VICTIM}'")).await;
        let left = session.told(&there).await;
        if left.contains(THEIRS) {
            return Err(format!("{}, and nothing was changed: {statement}", outcome.told()));
        }
        // As it was, for the next.
        let again = format!(
            "DELETE FROM payments; INSERT INTO payments VALUES ('{VICTIM}', '{}')",
            THEIRS.replace('\'', "''")
        );
        let restored = session.one(&again).await;
        if restored.stopped_by.is_some() {
            return Err(restored.told());
        }
    }
    Ok(())
}

/// Where a plain setting is believed, as the own tenant: as an application would set it before each request.
fn plain() -> String {
    let others: Vec<String> = PLAIN_OTHERS.iter().map(|name| format!("SET {name} = 'acme'")).collect();
    format!("SET search_path = {PLAIN_SCHEMA}; SET ringfence.context = 'acme|1|00'; {}", others.join("; "))
}
