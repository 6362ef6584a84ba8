//! Existence oracles: the same question about an object of the victim's and about one that nobody has, word for word.

use serde_json::json;

use crate::{
    attack::{Family, attack, control},
    attacker::Attacker,
    http::Ask,
    leak::differing,
    outcome::Outcome,
    scene::VICTIM,
};

pub(super) const FAMILY: Family = Family {
    name: "existence oracles",
    attacks: &[
        attack!("oracle-view", "viewing a payment", Backend, Together, |a| {
            a.compare(&a.target.payment.to_string(), |id| a.send(a.mine("GET", &format!("/payments/{id}"))))
                .await
        }),
        attack!("oracle-refund", "refunding a payment", Backend, Alone, |a| {
            a.compare(&a.target.payment.to_string(), |id| {
                a.send(a.mine("POST", &format!("/payments/{id}/refund")))
            })
            .await
        }),
        attack!("oracle-account", "paying from an account", Database, Alone, |a| {
            a.compare(&a.target.account.to_string(), |id| pay(a, id, &a.own.beneficiary.to_string())).await
        }),
        attack!("oracle-beneficiary", "paying to a beneficiary", Database, Alone, |a| {
            a.compare(&a.target.beneficiary.to_string(), |id| pay(a, &a.own.account.to_string(), id)).await
        }),
        attack!(
            "oracle-by-role",
            "viewing a payment with a role that may not, and with no token",
            Authorization,
            Together,
            |a| {
                let id = a.target.payment.to_string();
                let nobody =
                    a.compare(&id, |id| a.send(Ask::get(&format!("/payments/{id}"), &a.acme().host))).await;
                let viewer = a.token("viewer");
                let refund = |id: &str| {
                    a.mine("POST", &format!("/payments/{id}/refund")).without("authorization").bearer(&viewer)
                };
                Outcome::furthest([a.compare(&id, |id| a.send(refund(id))).await, nobody])
            }
        ),
        attack!(
            "oracle-at-their-host",
            "viewing a payment at the victim's own address with a foreign token",
            Token,
            Together,
            |a| {
                let token = a.token("admin");
                a.compare(&a.target.payment.to_string(), |id| {
                    a.send(a.theirs("GET", &format!("/payments/{id}")).bearer(&token))
                })
                .await
            }
        ),
        attack!(
            "oracle-tenant-host",
            "whether a tenant of a name exists, at the API",
            Token,
            Together,
            |a| {
                let host = |tenant: &str| a.globex().host.replacen(VICTIM, tenant, 1);
                let absent = format!("t{}", a.nonce());
                let token = a.token("admin");
                let mut tries = Vec::new();
                for bearer in [Some(&token), None] {
                    let ask = |tenant: &str| {
                        let ask = Ask::get("/payments", &host(tenant));
                        bearer.map_or(ask.clone(), |token| ask.bearer(token))
                    };
                    let (found, missing) = (a.send(ask(VICTIM)).await, a.send(ask(&absent)).await);
                    tries.push(Outcome::of(&found).leaking(differing(
                        &found,
                        &missing,
                        (&[VICTIM], &[&absent]),
                    )));
                }
                Outcome::furthest(tries)
            }
        ),
        attack!(
            "oracle-exchange",
            "exchanging a foreign token at a tenant's and at nobody's issuer",
            Token,
            Together,
            |a| {
                // That a tenant exists is no secret at its issuer, which serves its keys to anyone: what may not differ is
                // what a foreign token learns beyond that.
                let mut claims = a.claims(crate::scene::ATTACKER, "admin");
                let known = a.exchange_token(VICTIM, &a.made(&claims)).await;
                if let Some(members) = claims.as_object_mut() {
                    members.insert("sub".to_owned(), a.globex().client.client_id.as_str().into());
                }
                let named = a.exchange_token(VICTIM, &a.made(&claims)).await;
                // Where a token is given, it is another each time, and its use is another attack's.
                let given = [&named, &known].iter().all(|answer| answer.status() == 200);
                Outcome::of(&known).leaking(differing(&named, &known, (&[], &[])).filter(|_| !given))
            }
        ),
        attack!(
            "oracle-unique",
            "inserting a row with an id that is taken elsewhere",
            Database,
            Alone,
            |a| {
                let tries = [
                    a.sql_compare(
                        &a.target.account.to_string(),
                        &format!(
                            "INSERT INTO accounts (tenant_id, id, name, currency, created_by) VALUES \
                             ('{VICTIM}', '{{}}', 'x', 'EUR', 'x')"
                        ),
                    )
                    .await,
                    a.sql_compare(
                        &a.target.account.to_string(),
                        "INSERT INTO accounts (tenant_id, id, name, currency, created_by) VALUES ('acme', \
                         '{}', 'x', 'EUR', 'x') RETURNING name",
                    )
                    .await,
                    a.sql_compare(
                        &a.target.account.to_string(),
                        &format!(
                            "INSERT INTO accounts (tenant_id, id, name, currency, created_by) VALUES \
                             ('{VICTIM}', '{{}}', 'x', 'EUR', 'x') ON CONFLICT DO NOTHING"
                        ),
                    )
                    .await,
                ];
                Outcome::furthest(tries)
            }
        ),
        attack!("oracle-foreign-key", "a row that refers to one of the victim's", Database, Alone, |a| {
            let insert = |tenant: &str| {
                format!(
                    "INSERT INTO payments
                        (tenant_id, id, account_id, beneficiary_id, amount, currency, created_by)
                     VALUES ('{tenant}', '{}', '{{}}', '{}', 1, 'EUR', 'x')",
                    a.nobody(),
                    a.own.beneficiary
                )
            };
            let tries = [
                a.sql_compare(&a.target.account.to_string(), &insert("acme")).await,
                a.sql_compare(&a.target.account.to_string(), &insert(VICTIM)).await,
            ];
            Outcome::furthest(tries)
        }),
        attack!(
            "oracle-explain",
            "the planner's estimates and actual counts for the victim's values",
            Database,
            Together,
            |a| {
                let tries = [
                    a.sql_compare(
                        &a.target.payment.to_string(),
                        "EXPLAIN SELECT * FROM payments WHERE id = '{}'",
                    )
                    .await,
                    a.sql_compare(VICTIM, "EXPLAIN SELECT * FROM payments WHERE tenant_id = '{}'").await,
                    a.sql_compare(
                        &a.target.payment.to_string(),
                        "EXPLAIN (ANALYZE, TIMING OFF, SUMMARY OFF, BUFFERS OFF) SELECT * FROM payments \
                         WHERE id = '{}'",
                    )
                    .await,
                ];
                Outcome::furthest(tries)
            }
        ),
        attack!(
            "oracle-leaky-function",
            "errors thrown by an expression over rows that should not be reached",
            Database,
            Together,
            |a| {
                let tries = [
                    a.sql_compare(
                        &a.target.payment.to_string(),
                        "SELECT 1 / (CASE WHEN id = '{}' THEN 0 ELSE 1 END) FROM payments",
                    )
                    .await,
                    a.sql_compare(
                        &a.target.payment.to_string(),
                        "SELECT count(*) FROM payments WHERE CASE WHEN id = '{}' THEN ('x' || memo)::int \
                         ELSE 1 END = 1",
                    )
                    .await,
                    a.sql_compare(
                        &a.target.payment.to_string(),
                        "SELECT * FROM payments WHERE id = '{}' FOR UPDATE NOWAIT",
                    )
                    .await,
                ];
                Outcome::furthest(tries)
            }
        ),
    ],
    controls: &[
        control!("an own payment and none at all are told apart: the comparison sees a difference", |a| {
            let outcome = a
                .compare(&a.own.payment.to_string(), |id| a.send(a.mine("GET", &format!("/payments/{id}"))))
                .await;
            outcome.leak.map(drop).ok_or("no difference seen".to_owned())
        }),
        control!("so are an own row and none, in SQL", |a| {
            let outcome = a
                .sql_compare(&a.own.payment.to_string(), "SELECT amount FROM payments WHERE id = '{}'")
                .await;
            outcome.leak.as_ref().map(drop).ok_or(format!("no difference seen: {}", outcome.told()))
        }),
    ],
};

fn pay<'a>(
    a: &'a Attacker,
    account: &str,
    beneficiary: &str,
) -> impl Future<Output = crate::http::Answer> + use<'a> {
    let payment =
        json!({ "account_id": account, "beneficiary_id": beneficiary, "amount": 1, "currency": "EUR" });
    a.send(a.mine("POST", "/payments").json(&payment))
}
