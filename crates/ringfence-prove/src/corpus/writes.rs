//! Writing rows of other tenants through the guard, with a legitimate session of one's own.

use crate::{
    attack::{Family, attack, control},
    attacker::Attacker,
    outcome::Outcome,
};

pub(super) const FAMILY: Family = Family {
    name: "SQL writes",
    attacks: &[
        attack!("write-insert", "a row with the victim's tenant_id", Database, Alone, |a| {
            a.sql_any(&[
                &format!(
                    "INSERT INTO accounts (tenant_id, id, name, currency, created_by) VALUES ('globex', \
                     '{}', 'x', 'EUR', 'x')",
                    a.nobody()
                ),
                &format!("INSERT INTO accounts SELECT 'globex', '{}', 'x', 'EUR', 'x', now()", a.nobody()),
                &format!(
                    "MERGE INTO accounts a USING (VALUES (1)) v ON false WHEN NOT MATCHED THEN INSERT \
                     (tenant_id, id, name, currency, created_by) VALUES ('globex', '{}', 'x', 'EUR', 'x')",
                    a.nobody()
                ),
            ])
            .await
        }),
        attack!("write-update-away", "the own rows given to the victim", Database, Alone, |a| {
            a.sql_any(&[
                &format!("UPDATE payments SET tenant_id = 'globex' WHERE id = '{}'", a.own.payment),
                "UPDATE accounts SET tenant_id = 'globex'",
            ])
            .await
        }),
        attack!("write-update", "everybody's rows changed", Database, Alone, |a| {
            a.sql_any(&[
                "UPDATE payments SET memo = memo || ' '",
                &format!("UPDATE payments SET status = 'refunded' WHERE id = '{}'", a.target.payment),
                "UPDATE accounts SET name = 'x' WHERE tenant_id = 'globex' RETURNING *",
                "UPDATE payments p SET memo = 'x' FROM accounts a WHERE a.tenant_id <> p.tenant_id OR true",
            ])
            .await
        }),
        attack!("write-delete", "everybody's rows deleted", Database, Alone, |a| {
            a.sql_any(&[
                &format!("DELETE FROM payments WHERE id = '{}'", a.target.payment),
                "DELETE FROM payments WHERE tenant_id <> 'acme' RETURNING *",
                "DELETE FROM payments USING accounts WHERE payments.tenant_id = 'globex'",
            ])
            .await
        }),
        attack!(
            "write-on-conflict",
            "the victim's rows changed by a conflict with them",
            Database,
            Alone,
            |a| {
                a.sql_any(&[
                    &format!(
                        "INSERT INTO accounts (tenant_id, id, name, currency, created_by) VALUES \
                         ('globex', '{}', 'x', 'EUR', 'x') ON CONFLICT (tenant_id, id) DO UPDATE SET name \
                         = 'x'",
                        a.target.account
                    ),
                    &format!(
                        "INSERT INTO accounts (tenant_id, id, name, currency, created_by) VALUES ('acme', \
                         '{}', 'x', 'EUR', 'x') ON CONFLICT (tenant_id, id) DO UPDATE SET tenant_id = \
                         'globex'",
                        a.own.account
                    ),
                ])
                .await
            }
        ),
        attack!("write-copy-from", "rows of the victim's copied in", Database, Alone, |a| {
            // Postgres takes no COPY into a table with row security, not even of one's own rows.
            match copy_in(a, "globex").await {
                Ok(rows) => Outcome::answered(format!("{rows} rows")),
                Err(outcome) => outcome,
            }
        }),
        attack!(
            "write-truncate",
            "tables emptied, with and without what refers to them",
            Database,
            Alone,
            |a| {
                a.sql_any(&[
                    "TRUNCATE payments",
                    "TRUNCATE accounts CASCADE",
                    "DROP TABLE payments",
                    "ALTER TABLE payments RENAME TO p",
                    "LOCK TABLE payments IN ACCESS EXCLUSIVE MODE NOWAIT",
                ])
                .await
            }
        ),
        attack!("write-foreign-key", "a row of one's own that hangs on the victim's", Database, Alone, |a| {
            a.sql_any(&[
                &format!(
                    "INSERT INTO payments (tenant_id, id, account_id, beneficiary_id, amount, currency, \
                     created_by) VALUES ('acme', '{}', '{}', '{}', 1, 'EUR', 'x')",
                    a.nobody(),
                    a.target.account,
                    a.own.beneficiary
                ),
                &format!(
                    "UPDATE payments SET account_id = '{}' WHERE id = '{}'",
                    a.target.account, a.own.payment
                ),
                &format!(
                    "INSERT INTO payments (tenant_id, id, account_id, beneficiary_id, amount, currency, \
                     created_by) VALUES ('globex', '{}', '{}', '{}', 1, 'EUR', 'x')",
                    a.nobody(),
                    a.target.account,
                    a.target.beneficiary
                ),
            ])
            .await
        }),
        attack!("write-policy", "policies, triggers, rules and rights changed", Database, Alone, |a| {
            a.sql_any(&[
                "ALTER TABLE payments DISABLE ROW LEVEL SECURITY",
                "ALTER TABLE payments NO FORCE ROW LEVEL SECURITY",
                "DROP POLICY ringfence_tenant ON payments",
                "CREATE POLICY mine ON payments USING (true)",
                "ALTER POLICY ringfence_tenant ON payments USING (true)",
                "GRANT ALL ON payments TO PUBLIC",
                "ALTER TABLE payments OWNER TO CURRENT_USER",
                "CREATE RULE r AS ON SELECT TO accounts DO INSTEAD SELECT * FROM payments",
                "CREATE TRIGGER t BEFORE INSERT ON payments FOR EACH ROW EXECUTE FUNCTION \
                 suppress_redundant_updates_trigger()",
                "UPDATE pg_class SET relrowsecurity = false",
                "DELETE FROM ringfence.protected",
            ])
            .await
        }),
    ],
    controls: &[control!("an own row is inserted, changed and deleted", |a| {
        let session = a.session().await.map_err(|outcome| outcome.told())?;
        let id = a.nobody();
        for statement in [
            format!(
                "INSERT INTO accounts (tenant_id, id, name, currency, created_by) VALUES ('acme', '{id}', \
                 'x', 'EUR', 'x')"
            ),
            format!("UPDATE accounts SET name = 'y' WHERE id = '{id}'"),
            format!("DELETE FROM accounts WHERE id = '{id}'"),
        ] {
            let told = session.told(&statement).await;
            if told != "1 rows" {
                return Err(format!("{told}: {statement}"));
            }
        }
        Ok(())
    })],
};

async fn copy_in(a: &Attacker, tenant: &str) -> Result<u64, Outcome> {
    use futures_util::SinkExt;
    let session = a.session().await?;
    let copy = "COPY accounts (tenant_id, id, name, currency, created_by) FROM STDIN";
    let refused = |error| Outcome::of_database(&error);
    let sink = session.client().copy_in::<_, bytes::Bytes>(copy).await.map_err(refused)?;
    let mut sink = Box::pin(sink);
    let row = format!("{tenant}\t{}\tx\tEUR\tx\n", a.nobody());
    sink.send(bytes::Bytes::from(row)).await.map_err(refused)?;
    sink.as_mut().finish().await.map_err(refused)
}
