//! The tables of one place, as its catalogue has them.

use tokio_postgres::{Client, Row};

use super::MoveError;

/// A table.
#[derive(Debug, Clone)]
pub(super) struct CatalogTable {
    pub(super) oid: u32,
    pub(super) name: String,
    /// With its schema, as SQL writes it.
    pub(super) sql: String,
    /// The column that says whose a row is; empty where it is not protected.
    pub(super) tenant_column: String,
    /// Whether its rows are in other tables too.
    pub(super) related: bool,
    pub(super) unlogged: bool,
    /// Whether the WAL tells all of an old row.
    pub(super) whole: bool,
    pub(super) primary_key: bool,
    pub(super) columns: Vec<CatalogColumn>,
}

/// A column.
#[derive(Debug, Clone)]
pub(super) struct CatalogColumn {
    pub(super) name: String,
    /// As SQL writes it.
    pub(super) sql: String,
    pub(super) kind: u32,
    pub(super) modifier: i32,
    /// Its type as SQL writes it.
    pub(super) type_sql: String,
    pub(super) generated: bool,
    /// `GENERATED ALWAYS AS IDENTITY`.
    pub(super) always: bool,
    /// Whether a row can't be inserted without it.
    pub(super) required: bool,
    /// Whether the WAL tells it of an old row.
    pub(super) key: bool,
    /// The operator that compares it.
    pub(super) equals: String,
}

/// The tables of a schema: those called `names`, or the protected ones.
pub(super) async fn tables(
    client: &Client,
    schema: &str,
    names: Option<&[String]>,
) -> Result<Vec<CatalogTable>, MoveError> {
    let rows = client.query(include_str!("tables.sql"), &[&schema, &names]).await?;
    let mut tables = rows.iter().map(table).collect::<Result<Vec<_>, _>>()?;
    let oids: Vec<u32> = tables.iter().map(|table| table.oid).collect();
    for row in client.query(include_str!("columns.sql"), &[&oids]).await? {
        let (oid, column): (u32, _) = (row.try_get(0)?, column(&row)?);
        tables
            .iter_mut()
            .filter(|table| table.oid == oid)
            .for_each(|table| table.columns.push(column.clone()));
    }
    Ok(tables)
}

fn table(row: &Row) -> Result<CatalogTable, tokio_postgres::Error> {
    Ok(CatalogTable {
        oid: row.try_get(0)?,
        name: row.try_get(1)?,
        sql: row.try_get(2)?,
        tenant_column: row.try_get(3)?,
        related: row.try_get(4)?,
        unlogged: row.try_get(5)?,
        whole: row.try_get(6)?,
        primary_key: row.try_get(7)?,
        columns: Vec::new(),
    })
}

fn column(row: &Row) -> Result<CatalogColumn, tokio_postgres::Error> {
    Ok(CatalogColumn {
        name: row.try_get(1)?,
        sql: row.try_get(2)?,
        kind: row.try_get(3)?,
        modifier: row.try_get(4)?,
        type_sql: row.try_get(5)?,
        generated: row.try_get(6)?,
        always: row.try_get(7)?,
        required: row.try_get(8)?,
        key: row.try_get(9)?,
        equals: row.try_get(10)?,
    })
}
