//! Which tables are moved, and which column of the one place is which of the other.
//!
//! It guarantees that every column of the source that holds something has one of the same name and type at the target, in whatever
//! order; and that what follows changes follows all of the tables, or says which is not followed.

use tokio_postgres::Client;

use super::{
    Hindrance, MoveError, Site,
    catalog::{self, CatalogColumn, CatalogTable},
    pgoutput::Relation,
};
use crate::role::RoleName;

/// A table at both places.
#[derive(Debug)]
pub(super) struct Table {
    pub(super) name: String,
    /// At the source, as SQL writes it.
    pub(super) source: String,
    /// At the target, as SQL writes it.
    pub(super) target: String,
    /// Its oid at either place.
    pub(super) oids: (u32, u32),
    /// Which column says whose a row is.
    pub(super) tenant: usize,
    /// That column, as SQL writes it.
    pub(super) tenant_sql: String,
    /// What is moved, in the source's order: all columns but generated ones.
    pub(super) columns: Vec<Column>,
}

/// A column at both places.
#[derive(Debug)]
pub(super) struct Column {
    pub(super) source: CatalogColumn,
    pub(super) target: CatalogColumn,
}

/// All of them.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) tables: Vec<Table>,
    pub(super) source_schema: String,
}

impl Table {
    /// The columns, as SQL writes them.
    pub(super) fn list(&self) -> String {
        let names: Vec<&str> = self.columns.iter().map(|column| column.source.sql.as_str()).collect();
        names.join(", ")
    }

    /// The columns that identify a row, by their place among all.
    pub(super) fn keys(&self) -> impl Iterator<Item = (usize, &Column)> {
        self.columns.iter().enumerate().filter(|(_, column)| column.source.key)
    }

    fn fits(&self, relation: &Relation<'_>) -> bool {
        self.columns.len() == relation.columns.len()
            && self.columns.iter().zip(&relation.columns).all(|(ours, theirs)| {
                let source = &ours.source;
                source.name == theirs.name && source.kind == theirs.kind && source.modifier == theirs.modifier
            })
    }
}

impl Plan {
    /// Reads both catalogues; says what does not fit.
    pub(super) async fn read(
        source: &Client,
        target: &Client,
        sites: (&Site, &Site),
    ) -> Result<(Self, Vec<Hindrance>), MoveError> {
        let here = catalog::tables(source, &sites.0.schema, None).await?;
        let names: Vec<String> = here.iter().map(|table| table.name.clone()).collect();
        let there = catalog::tables(target, &sites.1.schema, Some(&names)).await?;
        let (mut tables, mut hindrances) = (Vec::new(), Vec::new());
        if here.is_empty() {
            hindrances.push(Hindrance::NothingProtected { schema: sites.0.schema.clone() });
        }
        for table in here {
            let name = table.name.clone();
            hindrances.extend(unfollowable(&table));
            match there.iter().find(|other| other.name == name) {
                Some(other) if other.related => hindrances.push(Hindrance::Partitioned { table: name }),
                Some(other) => tables.extend(pair(table, other, &mut hindrances)),
                None => hindrances.push(Hindrance::TableMissing { table: name }),
            }
        }
        Ok((Self { tables, source_schema: sites.0.schema.clone() }, hindrances))
    }

    /// Reads both catalogues of a move that is under way.
    ///
    /// # Errors
    /// [`MoveError`], where they no longer fit each other or what is followed.
    pub(super) async fn under_way(
        source: &Client,
        target: &Client,
        sites: (&Site, &Site),
        name: &RoleName,
    ) -> Result<Self, MoveError> {
        let (plan, hindrances) = Self::read(source, target, sites).await?;
        if let Some(hindrance) = hindrances.into_iter().next() {
            return Err(MoveError::Hindered(hindrance));
        }
        let sql = "SELECT r.prrelid FROM pg_publication_rel r JOIN pg_publication p ON p.oid = r.prpubid WHERE p.pubname = $1";
        let followed = source.query(sql, &[&name.as_str()]).await?;
        let followed = followed.iter().map(|row| row.try_get(0)).collect::<Result<Vec<u32>, _>>()?;
        if followed.is_empty() {
            return Err(MoveError::NotPrepared);
        }
        match plan.tables.iter().find(|table| !followed.contains(&table.oids.0)) {
            Some(table) => Err(MoveError::NotFollowed { table: table.name.clone() }),
            None => Ok(plan),
        }
    }

    /// The table a transaction's rows are of, by its place among all; none where it is another than was planned for.
    pub(super) fn find(&self, relation: &Relation<'_>) -> Option<usize> {
        let named = |table: &Table| table.name == relation.name && self.source_schema == relation.schema;
        self.tables.iter().position(|table| named(table) && table.fits(relation))
    }
}

/// Why changes of a table's rows can't be followed.
fn unfollowable(table: &CatalogTable) -> Option<Hindrance> {
    let name = || table.name.clone();
    let told = |column: &CatalogColumn| column.name == table.tenant_column && column.key;
    if table.related {
        return Some(Hindrance::Partitioned { table: name() });
    }
    if table.unlogged {
        return Some(Hindrance::Unlogged { table: name() });
    }
    if !table.primary_key {
        return Some(Hindrance::NoPrimaryKey { table: name() });
    }
    let untold = !table.whole && !table.columns.iter().any(told);
    untold.then(|| Hindrance::Identity { table: name(), column: table.tenant_column.clone() })
}

fn pair(table: CatalogTable, other: &CatalogTable, hindrances: &mut Vec<Hindrance>) -> Option<Table> {
    let (name, mut columns) = (table.name, Vec::new());
    for source in table.columns {
        let column = source.name.clone();
        let Some(target) = other.columns.iter().find(|column| column.name == source.name) else {
            hindrances.push(Hindrance::ColumnMissing { table: name.clone(), column });
            continue;
        };
        if source.generated != target.generated {
            hindrances.push(Hindrance::Generated { table: name.clone(), column });
        } else if source.type_sql != target.type_sql {
            let types = (source.type_sql, target.type_sql.clone());
            hindrances.push(Hindrance::TypeDiffers {
                table: name.clone(),
                column,
                source_type: types.0,
                target_type: types.1,
            });
        } else if !source.generated {
            columns.push(Column { source, target: target.clone() });
        }
    }
    let known = |column: &CatalogColumn| columns.iter().any(|ours: &Column| ours.source.name == column.name);
    for column in other.columns.iter().filter(|column| column.required && !column.generated && !known(column))
    {
        hindrances.push(Hindrance::ColumnExtra { table: name.clone(), column: column.name.clone() });
    }
    let tenant = columns.iter().position(|column| column.source.name == table.tenant_column)?;
    let tenant_sql = columns.get(tenant)?.source.sql.clone();
    let oids = (table.oid, other.oid);
    Some(Table { name, source: table.sql, target: other.sql.clone(), oids, tenant, tenant_sql, columns })
}
