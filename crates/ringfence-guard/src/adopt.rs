//! Finds out which tables of a schema belong to tenants, and how each row's tenant is known.
//!
//! [`Catalog::read`] reads the shape of a database; [`infer`] follows it from one table, the *root*, whose rows are the tenants.
//! What is inferred is never more than its evidence, which each [`Belonging`] carries: a foreign key is one, a column that
//! is named like one is less. What can't be decided is said, with what would decide it. [`plan`] writes the migration that
//! puts the tables of tenants under row security.

mod column;
mod decide;
mod infer;
mod migration;
mod names;
mod shape;

use std::collections::BTreeMap;

use serde::Serialize;
use tokio_postgres::{Client, IsolationLevel};

use self::decide::Decided;
pub use self::{
    decide::{DecisionError, Decisions},
    infer::{Belonging, Certainty, InferError, Inferred, Step, infer},
    migration::{Migration, PlanError, Stage, Statement, plan, report},
};

/// The tables of a database, by their qualified names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Catalog {
    /// Each table by its name, with its schema.
    pub tables: BTreeMap<String, Table>,
}

/// One table.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Table {
    /// Its columns, in order.
    pub columns: Vec<Column>,
    /// The columns of its primary key.
    pub primary_key: Vec<String>,
    /// Its foreign keys.
    pub foreign_keys: Vec<ForeignKey>,
}

/// One column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// Its type, as SQL names it.
    pub kind: String,
    /// Whether it may be NULL.
    pub nullable: bool,
}

/// One foreign key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ForeignKey {
    /// The constraint's name.
    pub name: String,
    /// Its columns.
    pub columns: Vec<String>,
    /// The table it references.
    pub table: String,
    /// The columns it references.
    pub references: Vec<String>,
}

const TABLES: &str = "SELECT c.oid::regclass::text, a.attname::text, format_type(a.atttypid, NULL), NOT a.attnotnull,
        coalesce(a.attnum = ANY (i.indkey::smallint[]), false)
   FROM pg_class c
   JOIN pg_namespace n ON n.oid = c.relnamespace
   JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
   LEFT JOIN pg_index i ON i.indrelid = c.oid AND i.indisprimary
  WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition AND c.relpersistence <> 't'
    AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'ringfence')
    AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')
  ORDER BY 1, a.attnum";

const FOREIGN_KEYS: &str = "SELECT f.conrelid::regclass::text, f.conname::text, f.confrelid::regclass::text,
        array_agg(h.attname::text ORDER BY k.at), array_agg(t.attname::text ORDER BY k.at)
   FROM pg_constraint f
  CROSS JOIN LATERAL unnest(f.conkey, f.confkey) WITH ORDINALITY k (here, there, at)
   JOIN pg_attribute h ON h.attrelid = f.conrelid AND h.attnum = k.here
   JOIN pg_attribute t ON t.attrelid = f.confrelid AND t.attnum = k.there
  WHERE f.contype = 'f' AND f.conparentid = 0
  GROUP BY f.oid, f.conrelid, f.conname, f.confrelid
  ORDER BY 1, 2";

impl Catalog {
    /// Reads the tables that are no system's, no extension's and no part of another.
    ///
    /// # Errors
    /// What Postgres says.
    pub async fn read(client: &mut Client) -> Result<Self, tokio_postgres::Error> {
        let snapshot =
            client.build_transaction().read_only(true).isolation_level(IsolationLevel::RepeatableRead);
        let transaction = snapshot.start().await?;
        // Names come out whole.
        transaction.batch_execute("SET LOCAL search_path = pg_catalog").await?;
        let mut catalog = Self::default();
        for row in transaction.query(TABLES, &[]).await? {
            let table = catalog.tables.entry(row.try_get(0)?).or_default();
            let column = Column { name: row.try_get(1)?, kind: row.try_get(2)?, nullable: row.try_get(3)? };
            if row.try_get(4)? {
                table.primary_key.push(column.name.clone());
            }
            table.columns.push(column);
        }
        for row in transaction.query(FOREIGN_KEYS, &[]).await? {
            if let Some(table) = catalog.tables.get_mut(&row.try_get::<_, String>(0)?) {
                let [name, to] = [row.try_get(1)?, row.try_get(2)?];
                let [columns, references] = [row.try_get(3)?, row.try_get(4)?];
                table.foreign_keys.push(ForeignKey { name, columns, table: to, references });
            }
        }
        transaction.rollback().await?;
        Ok(catalog)
    }
}

impl Table {
    pub(crate) fn column(&self, name: &str) -> Option<&Column> {
        self.columns.iter().find(|column| column.name == name)
    }
}
