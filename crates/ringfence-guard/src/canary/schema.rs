//! What there is to be tried: relations and routines as the application's role finds them.

use std::collections::BTreeSet;

use serde::Deserialize;
use tokio_postgres::Transaction;

use super::CanaryError;

/// Everything of a database that may hold, show or change tenants' rows.
#[derive(Debug, Deserialize)]
pub(super) struct Schema {
    pub(super) relations: Vec<Relation>,
    pub(super) routines: Vec<Routine>,
}

/// A table, view, materialized view or foreign table.
#[derive(Debug, Deserialize)]
pub(super) struct Relation {
    pub(super) oid: u32,
    /// As SQL names it, with its schema.
    pub(super) name: String,
    /// As `pg_class.relkind` says it.
    pub(super) kind: char,
    pub(super) bound: Option<String>,
    pub(super) pages: i64,
    pub(super) reached: bool,
    /// Its tenant column.
    pub(super) tenant: Option<String>,
    pub(super) may: BTreeSet<String>,
    /// Whether it is a view through which rows are deleted.
    pub(super) deletes: bool,
    pub(super) columns: Vec<Column>,
    pub(super) uniques: Vec<Unique>,
    pub(super) references: Vec<Reference>,
    pub(super) checks: Vec<Check>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Column {
    pub(super) name: String,
    pub(super) r#type: String,
    /// The type's own name, of a domain's what it is made of.
    pub(super) base: String,
    pub(super) category: char,
    pub(super) typmod: i32,
    pub(super) not_null: bool,
    pub(super) defaulted: bool,
    pub(super) generated: bool,
    /// The first label of an enum.
    pub(super) label: Option<String>,
    /// Whether a unique index looks at it.
    pub(super) key: bool,
    /// Whether partitions are told apart by it.
    pub(super) partitions: bool,
    pub(super) read: bool,
    pub(super) written: bool,
}

#[derive(Debug, Deserialize)]
pub(super) struct Unique {
    pub(super) name: String,
    pub(super) columns: BTreeSet<String>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Reference {
    pub(super) name: String,
    pub(super) to: u32,
    pub(super) columns: Vec<String>,
    pub(super) keys: Vec<String>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Check {
    pub(super) says: String,
    pub(super) columns: BTreeSet<String>,
}

/// A function or procedure the role may call.
#[derive(Debug, Deserialize)]
pub(super) struct Routine {
    pub(super) name: String,
    pub(super) signature: String,
    pub(super) procedure: bool,
    pub(super) volatile: bool,
    pub(super) arguments: Vec<Argument>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Argument {
    pub(super) name: String,
    pub(super) r#type: String,
    pub(super) base: String,
}

impl Schema {
    pub(super) async fn read(
        transaction: &Transaction<'_>,
        role: &str,
        tenant_columns: &[String],
    ) -> Result<Self, CanaryError> {
        let row = transaction.query_one(include_str!("schema.sql"), &[&role, &tenant_columns]).await?;
        let document: String = row.try_get(0)?;
        serde_json::from_str(&document).map_err(|error| CanaryError::Catalog(error.to_string()))
    }

    pub(super) fn relation(&self, oid: u32) -> Option<&Relation> {
        self.relations.iter().find(|relation| relation.oid == oid)
    }

    /// Whose rows are tenants': those with a tenant column, the tenants' own table, and what leads to either; `shared` are
    /// not, whatever they lead to.
    pub(super) fn owned(&self, shared: &[String]) -> BTreeSet<u32> {
        let own = |relation: &&Relation| !shared.contains(&relation.name);
        let roots: BTreeSet<u32> = self.relations.iter().filter_map(|relation| relation.root()).collect();
        let mut owned: BTreeSet<u32> = self
            .relations
            .iter()
            .filter(own)
            .filter(|relation| {
                relation.is_table() && (relation.tenant.is_some() || roots.contains(&relation.oid))
            })
            .map(|relation| relation.oid)
            .collect();
        loop {
            let leads = |relation: &&Relation| {
                !owned.contains(&relation.oid) && relation.references.iter().any(|to| owned.contains(&to.to))
            };
            let more: Vec<u32> =
                self.relations.iter().filter(own).filter(leads).map(|relation| relation.oid).collect();
            if more.is_empty() {
                return owned;
            }
            owned.extend(more);
        }
    }

    /// The columns of the tenants' own table that tenant columns name.
    pub(super) fn tenant_keys(&self, oid: u32) -> BTreeSet<&str> {
        let names = self.relations.iter().filter(|relation| relation.root() == Some(oid));
        names
            .flat_map(|relation| {
                relation.references.iter().filter(|to| to.to == oid && relation.is_by_tenant(to))
            })
            .flat_map(|to| to.keys.iter().map(String::as_str))
            .collect()
    }
}

impl Relation {
    pub(super) fn is_table(&self) -> bool {
        matches!(self.kind, 'r' | 'p')
    }

    pub(super) fn column(&self, name: &str) -> Option<&Column> {
        self.columns.iter().find(|column| column.name == name)
    }

    pub(super) fn is_tenant(&self, column: &str) -> bool {
        self.tenant.as_deref() == Some(column)
    }

    /// Whether a foreign key is the tenant column and nothing else.
    pub(super) fn is_by_tenant(&self, reference: &Reference) -> bool {
        matches!(reference.columns.as_slice(), [column] if self.is_tenant(column))
    }

    /// The table its tenant column points at.
    fn root(&self) -> Option<u32> {
        self.references.iter().find(|to| self.is_by_tenant(to)).map(|to| to.to)
    }
}
