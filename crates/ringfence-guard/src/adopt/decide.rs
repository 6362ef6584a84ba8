//! What an operator decides where a schema does not say it, in the words of a command line.
//!
//! Nothing is decided of a table or a column that is not there, and nothing twice.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    Catalog, Certainty, Step, Table,
    column::{TENANT_ID, TenantColumn},
    names::{bare, many, pointed_at},
};

/// What is decided, as it was said.
#[derive(Debug, Clone, Default)]
pub struct Decisions {
    /// Tables that all tenants share.
    pub shared: Vec<String>,
    /// `TABLE.column`, or `TABLE.column=TABLE`: the column names the row that a row's tenant is known by.
    pub belongs: Vec<String>,
    /// `TABLE.column`: a foreign key that can't stand beside row security, and goes.
    pub dropped: Vec<String>,
    /// What Ringfence's column is called; else `tenant_id`, or `ringfence_tenant` where a table of tenants has a `tenant_id` of
    /// another type.
    pub column: Option<String>,
}

/// What is decided, as the schema has it.
#[derive(Debug, Clone, Default)]
pub(super) struct Decided {
    pub(super) shared: BTreeSet<String>,
    pub(super) belongs: BTreeMap<String, Step>,
    /// Foreign keys by table and name.
    pub(super) dropped: BTreeSet<(String, String)>,
    /// What is left as it is, and why.
    pub(super) left: BTreeMap<String, String>,
    pub(super) column: TenantColumn,
    /// The tables whose `tenant_id` is the application's, where the column is called otherwise for them.
    pub(super) beside: Vec<String>,
}

/// Why a decision is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecisionError {
    /// There is no such table.
    #[error("there is no table {0:?}: name it as the report does")]
    NoTable(String),
    /// There are several.
    #[error("several tables are called {0}: name one of {list}", list = .1.join(", "))]
    Several(String, Vec<String>),
    /// It does not name a column.
    #[error("{0:?} names no column: say TABLE.column, with a column that is there")]
    NoColumn(String),
    /// The column points at nothing.
    #[error("{0} names no row of another table: add =TABLE, one with a key of the column's type")]
    PointsNowhere(String),
    /// There is no foreign key of this column.
    #[error("{0} is in no foreign key: there is none to drop")]
    NoKey(String),
    /// Two decisions about one table.
    #[error("{0} is decided twice: say --shared or --belongs, once")]
    Twice(String),
    /// Ringfence's column can't be called so.
    #[error(
        "--column {0:?}: a column can't be called so: say a name of 1 to 63 bytes that is none of Postgres' own columns'"
    )]
    Column(String),
    /// The root is every tenant's.
    #[error("{0} is the root: there is nothing to decide about it")]
    Root(String),
}

/// The table that is called so.
fn table(catalog: &Catalog, said: &str) -> Result<String, DecisionError> {
    let named = |name: &&String| **name == said || bare(name) == said;
    let found: Vec<String> = catalog.tables.keys().filter(named).cloned().collect();
    match found.as_slice() {
        [name] => Ok(name.clone()),
        [] => Err(DecisionError::NoTable(said.to_owned())),
        _ => Err(DecisionError::Several(said.to_owned(), found)),
    }
}

/// The table and the column that `TABLE.column` names.
fn column<'a>(catalog: &'a Catalog, said: &str) -> Result<(String, &'a Table, String), DecisionError> {
    let no_column = || DecisionError::NoColumn(said.to_owned());
    let (of, column) = said.rsplit_once('.').ok_or_else(no_column)?;
    let name = table(catalog, of)?;
    let table = catalog.tables.get(&name).ok_or_else(no_column)?;
    // As SQL quotes it, too.
    let unquoted = column.trim_matches('"');
    let found = table.column(column).or_else(|| table.column(unquoted)).ok_or_else(no_column)?;
    Ok((name, table, found.name.clone()))
}

impl Decisions {
    /// Finds what is meant, where Ringfence's column is called `tenant_column`.
    ///
    /// # Errors
    /// [`DecisionError`].
    pub(super) fn resolve(
        &self,
        catalog: &Catalog,
        root: &str,
        tenant_column: &str,
    ) -> Result<Decided, DecisionError> {
        let mut decided = Decided { column: TenantColumn::new(tenant_column)?, ..Decided::default() };
        for said in &self.shared {
            let name = table(catalog, said)?;
            if name == root {
                return Err(DecisionError::Root(name));
            }
            if !decided.shared.insert(name.clone()) {
                return Err(DecisionError::Twice(name));
            }
        }
        for said in &self.belongs {
            let step = belongs(catalog, root, said, tenant_column)?;
            if step.table == root {
                return Err(DecisionError::Root(step.table));
            }
            let name = step.table.clone();
            if decided.shared.contains(&name) || decided.belongs.insert(name.clone(), step).is_some() {
                return Err(DecisionError::Twice(name));
            }
        }
        for said in &self.dropped {
            let (name, table, column) = column(catalog, said)?;
            let of_it = table.foreign_keys.iter().filter(|key| key.columns.contains(&column));
            let found: Vec<_> = of_it.map(|key| (name.clone(), key.name.clone())).collect();
            if found.is_empty() {
                return Err(DecisionError::NoKey(said.clone()));
            }
            decided.dropped.extend(found);
        }
        Ok(decided)
    }
}

/// The step that `TABLE.column` or `TABLE.column=TABLE` says.
fn belongs(catalog: &Catalog, root: &str, said: &str, tenant_column: &str) -> Result<Step, DecisionError> {
    let (from, to) = said.split_once('=').map_or((said, None), |(from, to)| (from, Some(to)));
    let (name, of, column) = column(catalog, from)?;
    let to = to.map(|to| table(catalog, to)).transpose()?;
    let nowhere = || DecisionError::PointsNowhere(from.to_owned());
    let kind = of.column(&column).ok_or_else(nowhere)?;
    let step = |to: &str, references: &[String], by| Step {
        table: name.clone(),
        columns: vec![column.clone()],
        to: to.to_owned(),
        references: references.to_vec(),
        by,
        nullable: kind.nullable,
    };
    let wanted = |table: &String| to.as_ref().is_none_or(|to| to == table);
    let key = of.foreign_keys.iter().find(|key| key.columns == [column.clone()] && wanted(&key.table));
    if let Some(key) = key.filter(|key| key.table != name) {
        return Ok(step(&key.table, &key.references, Certainty::ForeignKey(key.name.clone())));
    }
    // It says the tenant itself.
    let says = column == TENANT_ID || column == tenant_column;
    if says && kind.kind == "text" && to.as_ref().is_none_or(|to| to == root) {
        return Ok(step(root, &[tenant_column.to_owned()], Certainty::Name));
    }
    let fits = |to: &str| {
        let there = catalog.tables.get(to)?;
        let [key] = there.primary_key.as_slice() else { return None };
        (to != name && there.column(key)?.kind == kind.kind)
            .then(|| step(to, &there.primary_key, Certainty::Name))
    };
    if let Some(to) = &to {
        return fits(to).ok_or_else(nowhere);
    }
    let after = |to: &&String| pointed_at(&column).is_some_and(|one| many(bare(to), one));
    let mut named = catalog.tables.keys().filter(after).filter_map(|to| fits(to));
    match (named.next(), named.next()) {
        (Some(step), None) => Ok(step),
        (None, _) => fits(root).ok_or_else(nowhere),
        _ => Err(nowhere()),
    }
}
