//! Reading rows through the guard with a legitimate session of one's own: an application with no filter, or an attacker
//! who writes its SQL.

use crate::{
    attack::{Family, attack, control},
    attacker::Attacker,
    outcome::Outcome,
};

pub(super) const FAMILY: Family = Family {
    name: "SQL reads",
    attacks: &[
        attack!("rows-no-where", "every table without a filter", Database, Together, |a| {
            a.sql_any(&[
                "SELECT * FROM accounts",
                "SELECT * FROM beneficiaries",
                "SELECT * FROM payments",
                "TABLE payments",
            ])
            .await
        }),
        attack!("rows-their-where", "a filter for the victim", Database, Together, |a| {
            a.sql_any(&[
                "SELECT * FROM payments WHERE tenant_id = 'globex'",
                "SELECT * FROM payments WHERE tenant_id <> 'acme'",
                "SELECT * FROM accounts WHERE tenant_id ~ '.*' OR true",
            ])
            .await
        }),
        attack!("rows-by-id", "the victim's rows by their ids", Database, Together, |a| {
            a.sql_any(&[
                &format!("SELECT * FROM payments WHERE id = '{}'", a.target.payment),
                &format!("SELECT * FROM accounts WHERE id IN ('{}', '{}')", a.target.account, a.own.account),
            ])
            .await
        }),
        attack!("rows-joins", "joins, unions, laterals and subqueries", Database, Together, |a| {
            a.sql_any(&[
                "SELECT p.memo, a.name FROM payments p FULL JOIN accounts a ON true",
                "SELECT name FROM accounts UNION ALL SELECT memo FROM payments EXCEPT SELECT NULL",
                "SELECT l.* FROM accounts a, LATERAL (SELECT * FROM payments p WHERE p.tenant_id <> \
                 a.tenant_id) l",
                "SELECT (SELECT string_agg(memo, ',') FROM payments), (SELECT max(amount) FROM payments)",
                "WITH RECURSIVE r AS (SELECT memo, 1 AS n FROM payments UNION SELECT r.memo, n + 1 FROM r \
                 WHERE n < 2) SELECT * FROM r",
            ])
            .await
        }),
        attack!(
            "rows-aggregates",
            "sums, counts, windows and samples over everything",
            Database,
            Together,
            |a| {
                a.sql_any(&[
                    "SELECT currency, sum(amount)::text, max(amount), json_agg(p) FROM payments p GROUP \
                     BY currency",
                    "SELECT *, first_value(memo) OVER (ORDER BY tenant_id DESC) FROM payments",
                    "SELECT * FROM payments TABLESAMPLE BERNOULLI (100)",
                    "SELECT min(amount), max(amount) FROM payments",
                ])
                .await
            }
        ),
        attack!("rows-ctid", "rows by their place, with system columns", Database, Together, |a| {
            a.sql_any(&[
                "SELECT ctid, xmin, xmax, tableoid::regclass, * FROM payments",
                "SELECT * FROM payments WHERE ctid = ANY (ARRAY(SELECT format('(%s,%s)', p, i)::tid FROM \
                 generate_series(0, 3) p, generate_series(1, 120) i))",
            ])
            .await
        }),
        attack!(
            "rows-row-types",
            "whole rows, JSON, XML and functions over a query",
            Database,
            Together,
            |a| {
                a.sql_any(&[
                    "SELECT to_jsonb(p) FROM payments p",
                    "SELECT payments FROM payments",
                    "SELECT query_to_xml('SELECT * FROM payments', true, false, '')",
                    "SELECT table_to_xml('payments', true, false, '')",
                    "SELECT database_to_xml(true, false, '')",
                    "SELECT * FROM ts_stat('SELECT to_tsvector(memo) FROM payments')",
                    "SELECT cursor_to_xml('c', 10, true, false, '')",
                ])
                .await
            }
        ),
        attack!("rows-copy-to", "COPY to the client, of tables and queries", Database, Together, |a| {
            match a.session().await {
                Err(outcome) => outcome,
                Ok(session) => {
                    let mut tries = Vec::new();
                    for copy in [
                        "COPY payments TO STDOUT",
                        "COPY (SELECT * FROM payments) TO STDOUT (FORMAT binary)",
                        "COPY accounts TO STDOUT (FORMAT csv)",
                    ] {
                        tries.push(match session.client().copy_out(copy).await {
                            Ok(stream) => {
                                use futures_util::TryStreamExt;
                                // To the first error: a stream that has failed goes on failing for ever.
                                match stream.try_collect::<Vec<_>>().await {
                                    Ok(parts) => Outcome::answered(format!("{} parts", parts.len())),
                                    Err(error) => Outcome::of_database(&error),
                                }
                            }
                            Err(error) => Outcome::of_database(&error),
                        });
                    }
                    Outcome::furthest(tries)
                }
            }
        }),
        attack!("rows-prepared-binary", "prepared statements with binary results", Database, Together, |a| {
            match a.session().await {
                Err(outcome) => outcome,
                Ok(session) => match session
                    .client()
                    .query("SELECT tenant_id, id, amount, memo FROM payments", &[])
                    .await
                {
                    Ok(rows) => Outcome::answered(format!("{} rows", rows.len())),
                    Err(error) => Outcome::of_database(&error),
                },
            }
        }),
        attack!(
            "rows-statistics",
            "what the planner knows of the values: pg_stats, statistics, histograms",
            Database,
            Together,
            |a| {
                a.sql_any(&[
                    "SELECT * FROM pg_stats WHERE tablename IN ('accounts', 'beneficiaries', 'payments')",
                    "SELECT * FROM pg_statistic",
                    "SELECT * FROM pg_stats_ext",
                    "SELECT * FROM pg_stat_user_tables",
                ])
                .await
            }
        ),
        attack!(
            "rows-judge",
            "what others keep: schemas, catalogs and the plane's own tables",
            Database,
            Together,
            |a| {
                a.sql_any(&[
                    "SELECT * FROM judge.public_payments",
                    "SELECT * FROM ringfence.tenant_key",
                    "SELECT * FROM ringfence.plane_key",
                    "SELECT * FROM ringfence.backend",
                    "SELECT * FROM pg_authid",
                    "SELECT * FROM pg_shadow",
                    "SELECT * FROM pg_user_mappings",
                ])
                .await
            }
        ),
    ],
    controls: &[
        control!("the own row is read, as text and binary", |a| {
            let session = a.session().await.map_err(|outcome| outcome.told())?;
            let text =
                session.value(&format!("SELECT memo FROM payments WHERE id = '{}'", a.own.payment)).await;
            match text {
                Ok(Some(memo)) if memo == "the attacker's own" => {}
                other => return Err(format!("{other:?}")),
            }
            let rows = session
                .client()
                .query("SELECT id FROM payments", &[])
                .await
                .map_err(|error| error.to_string())?;
            if rows.is_empty() { Err("no rows".to_owned()) } else { Ok(()) }
        }),
        control!("the own rows are copied out", |a| copied(a).await),
    ],
};

async fn copied(a: &Attacker) -> Result<(), String> {
    use futures_util::TryStreamExt;
    let session = a.session().await.map_err(|outcome| outcome.told())?;
    let stream = session.client().copy_out("COPY (SELECT * FROM payments) TO STDOUT").await;
    let parts = stream.map_err(|error| error.to_string())?.try_collect::<Vec<_>>().await;
    let parts = parts.map_err(|error| error.to_string())?;
    if parts.is_empty() { Err("nothing came".to_owned()) } else { Ok(()) }
}
