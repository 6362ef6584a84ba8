//! Forging the tenant context inside Postgres: the registers that hold it, the function that makes it, and the role.

use crate::{
    attack::{Family, attack, control},
    attacker::Attacker,
    outcome::Outcome,
    scene::{ATTACKER, VICTIM},
};

/// The victim's name in the first register, blanks in the two after it, and a time far away in the one that says until when.
const GLOBEX: &str = "setval('ringfence.tenant_1', ('x' || encode('globex  ', 'hex'))::bit(64)::bigint), \
                      setval('ringfence.tenant_2', x'2020202020202020'::bigint), \
                      setval('ringfence.tenant_3', x'2020202020202020'::bigint), \
                      setval('ringfence.tenant_verified', 9000000000000000000)";

pub(super) const FAMILY: Family = Family {
    name: "SQL context forging",
    attacks: &[
        attack!(
            "context-own-altered",
            "the registers of the own context written over with the victim's name",
            Database,
            Together,
            |a| {
                a.sql_any(&[
                    &format!("SELECT {GLOBEX}; SELECT * FROM payments"),
                    &format!("BEGIN; DISCARD SEQUENCES; SELECT {GLOBEX}; SELECT * FROM payments"),
                    &format!("SELECT p.* FROM payments p WHERE ROW({GLOBEX}) IS NOT NULL"),
                    "SELECT nextval('ringfence.tenant_1'); SELECT * FROM payments",
                    "SELECT nextval('ringfence.tenant_verified'); SELECT * FROM payments",
                    "ALTER SEQUENCE ringfence.tenant_1 START 7449354444534473760 RESTART; SELECT * FROM payments",
                    "UPDATE ringfence.tenant_1 SET last_value = 7449354444534473760; SELECT * FROM payments",
                    "ALTER TABLE payments ALTER COLUMN memo SET DEFAULT nextval('ringfence.tenant_1')::text",
                    "CREATE TEMP TABLE t (n bigint DEFAULT nextval('ringfence.tenant_1')); INSERT INTO t DEFAULT VALUES",
                ])
                .await
            }
        ),
        attack!(
            "context-replay-transaction",
            "the own context kept for a later transaction",
            Database,
            Together,
            |a| {
                match replayed(a, false).await {
                    Ok(outcome) | Err(outcome) => outcome,
                }
            }
        ),
        attack!(
            "context-replay-connection",
            "the own context used on another connection",
            Database,
            Together,
            |a| {
                match replayed(a, true).await {
                    Ok(outcome) | Err(outcome) => outcome,
                }
            }
        ),
        attack!(
            "context-function-guess",
            "ringfence.context_set called with guesses",
            Database,
            Together,
            |a| {
                a.sql_any(&[
                    "BEGIN; SELECT set_config('ringfence.context', '', true); SELECT \
                     ringfence.context_set('globex', 't-1', 9999999999, 9999999999999999, '\\x00'); \
                     SELECT * FROM payments",
                    "BEGIN; SELECT set_config('ringfence.context', '', true); SELECT \
                     ringfence.context_set('globex', 't-1', 9999999999, (extract(epoch FROM \
                     clock_timestamp()) * 1000000)::bigint + 1000000, sha256('x')); SELECT * FROM payments",
                    "SELECT ringfence.context_set('globex', NULL, NULL, NULL, NULL)",
                    "SELECT ringfence.context_set(NULL, 't', 1, 1, NULL)",
                    "SELECT ringfence.context_set('', '', 0, 0, '')",
                ])
                .await
            }
        ),
        attack!(
            "context-function-own-seal",
            "ringfence.context_set called with the own, genuine seal as a tag, for both tenants",
            Database,
            Together,
            |a| { a.sql_any(&[&sealed(a, VICTIM), &sealed(a, ATTACKER)]).await }
        ),
        attack!(
            "context-none",
            "no context at all: cleared, and asked in odd states of a transaction",
            Database,
            Together,
            |a| {
                a.sql_any(&[
                    "BEGIN; SELECT set_config('ringfence.context', '', true); SELECT * FROM payments",
                    "BEGIN; RESET ringfence.context; SELECT * FROM payments",
                    "BEGIN; RESET ALL; SELECT * FROM payments",
                    "BEGIN; SAVEPOINT s; SELECT set_config('ringfence.context', 'globex', true); ROLLBACK \
                     TO s; SELECT * FROM payments",
                ])
                .await
            }
        ),
        attack!(
            "context-role",
            "other roles: SET ROLE, RESET ROLE, SET SESSION AUTHORIZATION",
            Database,
            Together,
            |a| {
                a.sql_any(&[
                    "BEGIN; SET LOCAL ROLE postgres; SELECT * FROM payments",
                    "BEGIN; RESET ROLE; SELECT * FROM payments",
                    "BEGIN; SET SESSION AUTHORIZATION DEFAULT; SELECT * FROM payments",
                    "BEGIN; SET SESSION AUTHORIZATION postgres; SELECT * FROM payments",
                    "BEGIN; SET ROLE NONE; SELECT * FROM payments",
                    "BEGIN; SET LOCAL ROLE ringfence; SELECT * FROM ringfence.tenant_key",
                    "BEGIN; SET LOCAL ROLE pg_read_all_data; SELECT * FROM payments",
                ])
                .await
            }
        ),
        attack!(
            "context-row-security",
            "row_security off, and other settings that change what a policy does",
            Database,
            Together,
            |a| {
                a.sql_any(&[
                    "BEGIN; SET LOCAL row_security = off; SELECT * FROM payments",
                    "BEGIN; SET LOCAL search_path = pg_temp, public; SELECT * FROM payments",
                    "BEGIN; SET LOCAL session_replication_role = replica; SELECT * FROM payments",
                    "BEGIN; SET LOCAL transform_null_equals = on; SELECT * FROM payments WHERE tenant_id \
                     = NULL",
                    "BEGIN; SET LOCAL debug_parallel_query = on; SET LOCAL parallel_setup_cost = 0; SET \
                     LOCAL min_parallel_table_scan_size = 0; SELECT * FROM payments",
                ])
                .await
            }
        ),
        attack!(
            "context-register",
            "the backend's own key renewed, and the functions behind the context called",
            Database,
            Together,
            |a| {
                a.sql_any(&[
                    "BEGIN; SELECT * FROM ringfence.backend_register(); SELECT * FROM payments",
                    "SELECT * FROM payments WHERE (ringfence.backend_register()).pid > 0",
                    "SELECT ringfence.protect('payments')",
                    "SELECT ringfence.statistics_forget('payments')",
                    "SELECT prosrc FROM pg_proc WHERE proname = 'context_set'",
                ])
                .await
            }
        ),
        attack!(
            "context-shadow",
            "functions and tables of the same names put in front",
            Database,
            Together,
            |a| {
                a.sql_any(&[
                    "BEGIN; CREATE FUNCTION pg_temp.tenant_id() RETURNS text LANGUAGE sql AS 'SELECT \
                     ''globex''::text'; SET LOCAL search_path = pg_temp, ringfence, public; SELECT * FROM \
                     payments",
                    "BEGIN; CREATE SCHEMA ringfence2; SET LOCAL search_path = ringfence2; SELECT * FROM \
                     public.payments",
                    "BEGIN; CREATE TEMP TABLE backend (pid int, started bigint, inner_pad bytea, \
                     outer_pad bytea); SELECT * FROM payments",
                    "BEGIN; CREATE OPERATOR pg_temp.= (LEFTARG = text, RIGHTARG = text, FUNCTION = \
                     textne); SET LOCAL search_path = pg_temp, pg_catalog, public; SELECT * FROM payments",
                ])
                .await
            }
        ),
    ],
    controls: &[control!("a transaction of several statements keeps the own tenant", |a| {
        let session = a.session().await.map_err(|outcome| outcome.told())?;
        let _ = session.one("BEGIN").await;
        let tenant = session.value("SELECT ringfence.tenant_id()").await;
        let _ = session.one("COMMIT").await;
        match tenant {
            Ok(Some(tenant)) if tenant == ATTACKER => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })],
};

/// A context for a tenant, with the own token's genuine seal as its tag.
pub(super) fn sealed(a: &Attacker, tenant: &str) -> String {
    let said = a.loot().database.as_deref().and_then(crate::forge::claims).unwrap_or_default();
    let text = |name: &str| said.get(name).and_then(serde_json::Value::as_str).unwrap_or_default().to_owned();
    let exp = said.get("exp").and_then(serde_json::Value::as_u64).unwrap_or(0);
    let (jti, seal) = (text("jti"), text("seal").replace('-', "+").replace('_', "/"));
    format!(
        "BEGIN; SELECT set_config('ringfence.context', '', true);
         SELECT ringfence.context_set('{tenant}', '{jti}', {exp},
             (extract(epoch FROM clock_timestamp()) * 1000000)::bigint + 5000000, decode('{seal}=', 'base64'));
         SELECT * FROM payments"
    )
}

/// Takes what the registers say in one transaction, and says it, tenant exchanged and as it was, in another.
async fn replayed(a: &Attacker, elsewhere: bool) -> Result<Outcome, Outcome> {
    let session = a.session().await?;
    let until = session.value("SELECT currval('ringfence.tenant_verified')").await?.unwrap_or_default();
    let name = session.value("SELECT currval('ringfence.tenant_1')").await?.unwrap_or_default();
    let other = if elsewhere { Some(a.session().await?) } else { None };
    let session = other.as_ref().unwrap_or(&session);
    let victims = "('x' || encode('globex  ', 'hex'))::bit(64)::bigint";
    let mut tries = Vec::new();
    for name in [name.as_str(), victims] {
        let statement = format!(
            "BEGIN; SELECT setval('ringfence.tenant_1', {name}), setval('ringfence.tenant_verified', {until}); \
             SELECT * FROM payments"
        );
        tries.push(session.one(&statement).await);
        let _ = session.one("ROLLBACK").await;
    }
    Ok(Outcome::furthest(tries))
}
