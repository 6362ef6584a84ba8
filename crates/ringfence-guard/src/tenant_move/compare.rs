//! Whether a table's rows of the tenant are the same at both places: how many, and the sum of a hash over each.
//!
//! It finds what went wrong, not who forges: each row's text, of named columns and with every setting pinned, is hashed to 64 bits
//! by the server (`hashtextextended`, whose values hash partitions rest on and so stay what they are), and sums do not depend on an order.

use futures_util::future::try_join;
use ringfence_context::TenantId;
use tokio_postgres::{Client, types::ToSql};

use super::{
    MoveError, TableRows,
    plan::{Column, Table},
    touched::Touched,
};

/// So many keys are looked for at a time.
const AT_A_TIME: usize = 5_000;

/// Rows, and the sum of their hashes.
type Sum = (i64, String);

fn hash(table: &Table) -> String {
    format!("hashtextextended(ROW({})::text COLLATE \"C\", 0)", table.list())
}

async fn sum(client: &Client, sql: &str, parameters: &[&(dyn ToSql + Sync)]) -> Result<Sum, MoveError> {
    let row = client.query_one(sql, parameters).await?;
    Ok((row.try_get(0)?, row.try_get(1)?))
}

fn same(table: &Table, (source, target): (Sum, Sum)) -> Result<i64, MoveError> {
    if source == target {
        return Ok(source.0);
    }
    let table = table.name.clone();
    Err(MoveError::Differs { table, source_rows: source.0, target_rows: target.0 })
}

/// All of the tenant's rows of a table.
pub(super) async fn all(
    table: &Table,
    (source, target): (&Client, &Client),
    tenant: &TenantId,
) -> Result<TableRows, MoveError> {
    let sql = |name: &str| {
        let (hash, column) = (hash(table), &table.tenant_sql);
        format!("SELECT count(*), coalesce(sum({hash}), 0)::text FROM {name} WHERE {column} = $1")
    };
    let (here, there) = (sql(&table.source), sql(&table.target));
    let tenant = tenant.as_str();
    let both = try_join(sum(source, &here, &[&tenant]), sum(target, &there, &[&tenant])).await?;
    Ok(TableRows { table: table.name.clone(), rows: same(table, both)? })
}

/// Those that were touched, and how many there are of all, unless those are many: then it is known how many there were.
pub(super) async fn some(
    table: &Table,
    (source, target): (&Client, &Client),
    tenant: &TenantId,
    all_touched: &Touched,
) -> Result<TableRows, MoveError> {
    let touched = all_touched.of(&table.name);
    if touched.is_some_and(|touched| touched.whole) {
        return all(table, (source, target), tenant).await;
    }
    let (here, there) = (by_key(table, true), by_key(table, false));
    let keys: Vec<&Vec<Box<str>>> = touched.iter().flat_map(|touched| &touched.keys).collect();
    for chunk in keys.chunks(AT_A_TIME) {
        let columns: Vec<Vec<&str>> = table
            .keys()
            .enumerate()
            .map(|(part, _)| chunk.iter().filter_map(|key| key.get(part).map(AsRef::as_ref)).collect())
            .collect();
        let tenant = tenant.as_str();
        let mut parameters: Vec<&(dyn ToSql + Sync)> = vec![&tenant];
        parameters.extend(columns.iter().map(|column| column as &(dyn ToSql + Sync)));
        same(table, try_join(sum(source, &here, &parameters), sum(target, &there, &parameters)).await?)?;
    }
    if let Some(rows) = all_touched.many(&table.name) {
        return Ok(TableRows { table: table.name.clone(), rows });
    }
    let count = |name: &str| format!("SELECT count(*), '' FROM {name} WHERE {} = $1", table.tenant_sql);
    let (here, there) = (count(&table.source), count(&table.target));
    let tenant = tenant.as_str();
    let both = try_join(sum(source, &here, &[&tenant]), sum(target, &there, &[&tenant])).await?;
    Ok(TableRows { table: table.name.clone(), rows: same(table, both)? })
}

/// `OFFSET 0` keeps the planner, which has no statistics of protected tables, from reading all of the tenant's rows to find a few.
fn by_key(table: &Table, at_source: bool) -> String {
    let (mut arrays, mut names, mut equal) = (Vec::new(), Vec::new(), Vec::new());
    for (part, (_, Column { source, target })) in table.keys().enumerate() {
        let column = if at_source { source } else { target };
        arrays.push(format!("${}::text[]", part.saturating_add(2)));
        names.push(format!("k{part}"));
        equal.push(format!("r.{} {} u.k{part}::{}", column.sql, column.equals, column.type_sql));
    }
    let (hash, name) = (hash(table), if at_source { &table.source } else { &table.target });
    format!(
        "SELECT count(*), coalesce(sum(f.hash), 0)::text FROM unnest({}) AS u ({}) CROSS JOIN LATERAL (
            SELECT {hash} AS hash FROM {name} r WHERE r.{} = $1 AND {} OFFSET 0) AS f",
        arrays.join(", "),
        names.join(", "),
        table.tenant_sql,
        equal.join(" AND ")
    )
}
