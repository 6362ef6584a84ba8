//! SQL through a backend that runs what a request asks for: at the guard with the request's own tokens, under another tenant's
//! name, and past the guard, at Postgres itself. A backend that is whole takes no notice.

use crate::{
    attack::{Family, attack, control},
    attacker::Attacker,
    http::Answer,
    outcome::Outcome,
    scene::{ATTACKER, BYSTANDER, VICTIM},
};

/// How the backend is asked to run a statement.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Way<'a> {
    /// At the guard, in the request's own session.
    Own,
    /// At the guard, as another tenant, with the request's own tokens.
    As(&'a str),
    /// At Postgres itself, as the role that the guard logs in as.
    Past,
}

/// Rows of everybody's, in several words.
const READS: &[&str] = &[
    "SELECT * FROM payments",
    "SELECT memo FROM payments WHERE tenant_id = 'globex' UNION ALL SELECT name FROM accounts",
    "BEGIN; SELECT * FROM payments; COMMIT",
    "SELECT string_agg(memo, ',') FROM payments",
    "SET row_security = off; SELECT * FROM payments",
    "SET ROLE postgres; SELECT * FROM payments",
    "SET SESSION AUTHORIZATION postgres; SELECT * FROM payments",
    "SELECT query_to_xml('SELECT * FROM payments', true, false, '')",
    "SELECT * FROM ringfence.tenant_key",
];

/// Contexts out of nothing, and what stands in for one elsewhere.
const CONTEXTS: &[&str] = &[
    "SELECT set_config('ringfence.context', 'globex', false); SELECT * FROM payments",
    "SET app.tenant_id = 'globex'; SET ringfence.tenant_id = 'globex'; SELECT * FROM payments",
    "SELECT nextval('ringfence.tenant_verified'); SELECT * FROM payments",
    "SELECT nextval('ringfence.tenant_1'), nextval('ringfence.tenant_2'); SELECT * FROM payments",
    "SELECT setval('ringfence.tenant_1', ('x' || encode('globex  ', 'hex'))::bit(64)::bigint), \
     setval('ringfence.tenant_verified', 9000000000000000000); SELECT * FROM payments",
    "DISCARD SEQUENCES; SELECT * FROM payments",
    "RESET ALL; SELECT * FROM payments",
    "SELECT ringfence.context_set('globex', 't-1', 9999999999, (extract(epoch FROM clock_timestamp()) * \
     1000000)::bigint + 1000000, sha256('x')); SELECT * FROM payments",
    "SELECT * FROM ringfence.backend_register(); SELECT ringfence.context_set('globex', 't-1', 9999999999, \
     9999999999999999, '\\x00'); SELECT * FROM payments",
    "SELECT ringfence.token_use('globex', 'a~b'); SELECT * FROM payments",
];

const WRITES: &[&str] = &[
    "UPDATE payments SET memo = 'x' WHERE tenant_id <> 'acme'",
    "DELETE FROM payments WHERE tenant_id = 'globex'",
    "INSERT INTO accounts (tenant_id, id, name, currency, created_by) VALUES ('globex', gen_random_uuid(), 'x', \
     'EUR', 'x')",
    "UPDATE accounts SET tenant_id = 'globex'",
    "TRUNCATE payments",
    "ALTER TABLE payments DISABLE ROW LEVEL SECURITY",
];

pub(super) const FAMILY: Family = Family {
    name: "SQL through the backend",
    attacks: &[
        attack!(
            "injection-rows",
            "everybody's rows, by a backend that asks for them",
            Database,
            Together,
            |a| { a.pasted_any(Way::Own, READS).await }
        ),
        attack!(
            "injection-context",
            "contexts out of nothing, by a backend that makes them up",
            Database,
            Together,
            |a| { a.pasted_any(Way::Own, CONTEXTS).await }
        ),
        attack!(
            "injection-their-name",
            "a session under the victims' names, by a backend with the own tokens",
            Guard,
            Together,
            |a| {
                Outcome::furthest([
                    a.pasted_any(Way::As(VICTIM), READS).await,
                    a.pasted_any(Way::As(BYSTANDER), READS).await,
                    a.pasted_any(Way::As("postgres"), READS).await,
                ])
            }
        ),
        attack!(
            "injection-own-seal",
            "the own token's genuine seal as a tag, for both tenants, by a backend that has the token",
            Database,
            Together,
            |a| {
                let calls = [super::context::sealed(a, VICTIM), super::context::sealed(a, ATTACKER)];
                let calls = calls.each_ref().map(String::as_str);
                Outcome::furthest([
                    a.pasted_any(Way::Own, &calls).await,
                    a.pasted_any(Way::Past, &calls).await,
                ])
            }
        ),
        attack!(
            "injection-oracle",
            "a payment of the victim's and none, by a backend that asks for each",
            Database,
            Together,
            |a| {
                let told = |id: &str| {
                    let sql = format!(
                        "SELECT count(*) FROM payments WHERE id = '{id}'; INSERT INTO payments (tenant_id, id, account_id, \
                         beneficiary_id, amount, currency, created_by) VALUES ('globex', '{id}', '{id}', '{id}', 1, 'EUR', 'x')"
                    );
                    async move { a.pasted(&Way::Own, &sql).await }
                };
                a.compare(&a.target.payment.to_string(), told).await
            }
        ),
        attack!("injection-writes", "everybody's rows changed, by a backend", Database, Alone, |a| {
            a.pasted_any(Way::Own, WRITES).await
        }),
        attack!(
            "past-guard-rows",
            "everybody's rows, by a backend that goes round the guard: a session that nobody gave to a tenant",
            Database,
            Together,
            |a| { a.pasted_any(Way::Past, READS).await }
        ),
        attack!(
            "past-guard-context",
            "contexts out of nothing, by a backend that goes round the guard",
            Database,
            Together,
            |a| { a.pasted_any(Way::Past, CONTEXTS).await }
        ),
        attack!(
            "past-guard-writes",
            "everybody's rows changed, by a backend that goes round the guard",
            Database,
            Alone,
            |a| { a.pasted_any(Way::Past, WRITES).await }
        ),
    ],
    controls: &[control!("a list with a query behind it is served, and is the own", |a| {
        let answer = a.pasted(&Way::Own, "SELECT 1").await;
        match answer.status() {
            200 if answer.text().contains("the attacker's own") => Ok(()),
            status => Err(format!("{status} {}", answer.text())),
        }
    })],
};

impl Attacker {
    /// Asks the backend, through the gateway and with the own token, to run a statement.
    pub(crate) async fn pasted(&self, way: &Way<'_>, sql: &str) -> Answer {
        let how = match way {
            Way::Own => None,
            Way::As(whose) => Some(("as", *whose)),
            Way::Past => Some(("past", "yes")),
        };
        let pairs = std::iter::once(("sql", sql)).chain(how);
        let query = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish();
        self.send(self.mine("GET", &format!("/payments?{query}"))).await
    }

    /// Asks for each of several; the attack ends as the one that came furthest.
    async fn pasted_any(&self, way: Way<'_>, tries: &[&str]) -> Outcome {
        let mut outcomes = Vec::new();
        for sql in tries {
            outcomes.push(Outcome::of(&self.pasted(&way, sql).await));
        }
        Outcome::furthest(outcomes)
    }
}
