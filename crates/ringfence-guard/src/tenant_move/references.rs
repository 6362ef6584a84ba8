//! Whether what moved rows point at by a foreign key is at the target, where it is no table that is moved with them.
//!
//! Foreign keys are not checked while rows are brought, so they are before: those the target has, by the values the source has.

use std::pin::pin;

use futures_util::TryStreamExt as _;
use ringfence_context::TenantId;
use tokio_postgres::Client;

use super::{
    Hindrance, MoveError,
    plan::{Plan, Table},
};

/// So many values are looked for at a time.
const AT_A_TIME: usize = 5_000;

/// Foreign keys of a table at the target that lead out of what is moved.
const LEADING_OUT: &str = "SELECT f.conname::text, f.confrelid::regclass::text,
        array_agg(quote_ident(h.attname) ORDER BY k.at), array_agg(quote_ident(t.attname) ORDER BY k.at),
        array_agg(format_type(t.atttypid, t.atttypmod) ORDER BY k.at)
    FROM pg_constraint f CROSS JOIN unnest(f.conkey, f.confkey) WITH ORDINALITY AS k (here, there, at)
    JOIN pg_attribute h ON h.attrelid = f.conrelid AND h.attnum = k.here
    JOIN pg_attribute t ON t.attrelid = f.confrelid AND t.attnum = k.there
    WHERE f.contype = 'f' AND f.conrelid = $1 AND f.confrelid <> ALL ($2) GROUP BY f.oid ORDER BY f.conname";

struct Key {
    constraint: String,
    referenced: String,
    here: Vec<String>,
    there: Vec<String>,
    types: Vec<String>,
}

/// Looks for values that lead nowhere.
pub(super) async fn find(
    source: &Client,
    target: &Client,
    plan: &Plan,
    tenant: &TenantId,
) -> Result<Vec<Hindrance>, MoveError> {
    let moved: Vec<u32> = plan.tables.iter().map(|table| table.oids.1).collect();
    let mut found = Vec::new();
    for table in &plan.tables {
        for row in target.query(LEADING_OUT, &[&table.oids.1, &moved]).await? {
            let key = Key {
                constraint: row.try_get(0)?,
                referenced: row.try_get(1)?,
                here: row.try_get(2)?,
                there: row.try_get(3)?,
                types: row.try_get(4)?,
            };
            if leads_nowhere(source, target, table, &key, tenant).await? {
                let Key { referenced, constraint, .. } = key;
                found.push(Hindrance::ReferenceMissing { table: table.name.clone(), referenced, constraint });
            }
        }
    }
    Ok(found)
}

async fn leads_nowhere(
    source: &Client,
    target: &Client,
    table: &Table,
    key: &Key,
    tenant: &TenantId,
) -> Result<bool, MoveError> {
    let each = |part: &dyn Fn(&String) -> String| key.here.iter().map(part).collect::<Vec<_>>();
    let texts = each(&|column| format!("{column}::text")).join(", ");
    let whole = each(&|column| format!("{column} IS NOT NULL")).join(" AND ");
    let distinct = format!(
        "SELECT DISTINCT ARRAY[{texts}] FROM {} WHERE {} = $1 AND {whole}",
        table.source, table.tenant_sql
    );
    // Parts of a key as an array in an array are hard to take apart in SQL: they are told one column after the other.
    let numbered = || key.there.iter().zip(&key.types).enumerate();
    let arrays: Vec<String> = numbered().map(|(n, _)| format!("${}::text[]", n.saturating_add(1))).collect();
    let names: Vec<String> = numbered().map(|(n, _)| format!("k{n}")).collect();
    let equal: Vec<String> =
        numbered().map(|(n, (column, kind))| format!("r.{column} = u.k{n}::{kind}")).collect();
    let missing = format!(
        "SELECT EXISTS (SELECT FROM unnest({}) AS u ({}) WHERE NOT EXISTS (SELECT FROM {} r WHERE {}))",
        arrays.join(", "),
        names.join(", "),
        key.referenced,
        equal.join(" AND ")
    );
    let mut values = pin!(source.query_raw(&distinct, [tenant.as_str()]).await?);
    let mut columns: Vec<Vec<String>> = vec![Vec::new(); key.there.len()];
    let mut more = true;
    while more {
        let row = values.try_next().await?;
        more = row.is_some();
        if let Some(row) = row {
            let parts: Vec<String> = row.try_get(0)?;
            columns.iter_mut().zip(parts).for_each(|(column, part)| column.push(part));
        }
        if !more || columns.first().is_some_and(|column| column.len() >= AT_A_TIME) {
            let parameters: Vec<&(dyn tokio_postgres::types::ToSql + Sync)> =
                columns.iter().map(|column| column as _).collect();
            if target.query_one(&missing, &parameters).await?.try_get(0)? {
                return Ok(true);
            }
            columns.iter_mut().for_each(Vec::clear);
        }
    }
    Ok(false)
}
