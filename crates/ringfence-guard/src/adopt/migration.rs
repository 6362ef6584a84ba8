//! The way of a schema from as it is to under row security, and back: stages of SQL for `psql`, each of which may be run again.
//!
//! It guarantees that nothing is written that does not lead to the end: what keeps a table from being protected is said before,
//! all of it at once. No statement rewrites a table or waits for a lock for longer than half of Postgres' `deadlock_timeout`
//! while others wait behind it; the rows are checked before anything is demanded of them; what a stage takes away, its undoing
//! brings back to the letter.

mod check;
mod columns;
mod folder;
mod keys;
mod links;
mod obstacles;
mod owned;
mod protect;
mod sql;

use std::collections::BTreeMap;

use serde::Serialize;
use tokio_postgres::{Client, IsolationLevel};

use self::owned::{Owned, Plan};
pub(super) use self::sql::ident;
use super::{
    Belonging, Catalog, Decided, DecisionError, Decisions, InferError, Inferred,
    column::{BESIDE, TENANT_ID as PLAIN, beside},
    infer::{infer_decided, root_of},
    shape::{Link, Shape},
};

/// What Ringfence takes for a tenant's id, as Postgres' regular expression.
const TENANT_ID: &str = "^[a-z][a-z0-9-]{1,39}$";

/// A migration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Migration {
    /// The table whose rows are the tenants.
    pub root: String,
    /// The SQL that names a tenant, over a row of the root.
    pub tenant_from: String,
    /// What Ringfence's column is called.
    pub column: String,
    /// Why it is not called `tenant_id`, where nobody said what it is called.
    pub column_why: Option<String>,
    /// The tables that are protected, those that are pointed at before those that point.
    pub tables: Vec<String>,
    /// Its stages, in order.
    pub stages: Vec<Stage>,
    /// What is shared by all tenants.
    pub shared: Vec<String>,
    /// A framework's or a queue's own.
    pub frameworks: Vec<String>,
    /// What stays as it is because it is not known whose it is, and why.
    pub undecided: BTreeMap<String, String>,
    /// What the application must do otherwise.
    pub changes: Vec<String>,
}

/// A part of a migration that is run as one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Stage {
    /// In a word.
    pub name: &'static str,
    /// What it does.
    pub does: String,
    /// What it locks, and for how long.
    pub locks: &'static str,
    /// What it means for the application that runs meanwhile.
    pub application: String,
    /// What is run.
    pub statements: Vec<Statement>,
    /// What undoes it; empty where it changes nothing.
    pub undo: Vec<Statement>,
}

/// A statement, or a few that belong together.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Statement {
    /// What it does.
    pub about: String,
    /// The strongest lock it takes on a table.
    pub lock: &'static str,
    /// The SQL, as `psql` takes it.
    pub sql: String,
}

/// Why there is no migration.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// The root is none.
    #[error(transparent)]
    Infer(#[from] InferError),
    /// What was decided can't be.
    #[error(transparent)]
    Decision(#[from] DecisionError),
    /// Postgres can't do it.
    #[error("{}", match .0.as_db_error() { Some(db) => db.message().to_owned(), None => .0.to_string() })]
    Postgres(#[from] tokio_postgres::Error),
    /// Nothing says what tenants are called.
    #[error(
        "the key of {table} is of type {kind}, and not every one is a tenant's id (2 to 40 of a-z, 0-9 and -, a letter first): say \
         what is, with --tenant-from, in SQL over its row: \"'t-' || id\""
    )]
    NoTenantFrom {
        /// The root.
        table: String,
        /// Its key's type.
        kind: String,
    },
    /// What should name a tenant is no SQL.
    #[error("--tenant-from {expression:?}: {message}")]
    TenantFrom {
        /// What was said.
        expression: String,
        /// What Postgres says to it.
        message: String,
    },
    /// What is in the way.
    #[error("it can't be protected as it is:\n  {}", .0.join("\n  "))]
    Obstacles(Vec<String>),
}

/// Plans the migration of what `client` is connected to.
///
/// # Errors
/// [`PlanError`].
pub async fn plan(
    client: &mut Client,
    root: &str,
    tenant_from: Option<&str>,
    decisions: &Decisions,
) -> Result<Migration, PlanError> {
    let catalog = Catalog::read(client).await?;
    let root = root_of(&catalog, root)?;
    let (mut column, mut others) = (decisions.column.as_deref().unwrap_or(BESIDE), Vec::new());
    if decisions.column.is_none() {
        // What can be protected by a column that no application has: is that of the usual name taken there?
        let decided = decide(&catalog, &Shape::read(client, column).await?, &root, decisions, column)?;
        others = beside(&catalog, &infer_decided(&catalog, &root, &decided));
        column = if others.is_empty() { PLAIN } else { BESIDE };
    }
    let shape = Shape::read(client, column).await?;
    let mut decided = decide(&catalog, &shape, &root, decisions, column)?;
    decided.beside = others;
    let inferred = infer_decided(&catalog, &root, &decided);
    let tenant_from = tenant_id_of(client, &catalog, &shape, &root, tenant_from).await?;
    written(&shape, &inferred, &decided, &tenant_from)
}

/// What is inferred, with what was decided.
///
/// # Errors
/// [`PlanError`].
pub async fn report(client: &mut Client, root: &str, decisions: &Decisions) -> Result<Inferred, PlanError> {
    let catalog = Catalog::read(client).await?;
    let root = root_of(&catalog, root)?;
    let inferred = |column: &str| {
        decisions.resolve(&catalog, &root, column).map(|decided| infer_decided(&catalog, &root, &decided))
    };
    let found = inferred(decisions.column.as_deref().unwrap_or(BESIDE))?;
    if decisions.column.is_none() && beside(&catalog, &found).is_empty() {
        return Ok(inferred(PLAIN)?);
    }
    Ok(found)
}

fn decide(
    catalog: &Catalog,
    shape: &Shape,
    root: &str,
    decisions: &Decisions,
    column: &str,
) -> Result<Decided, DecisionError> {
    let mut decided = decisions.resolve(catalog, root, column)?;
    for (table, built) in shape.0.iter().filter(|(table, _)| *table != root) {
        let of_links = || {
            let kept = |link: &&Link| !decided.dropped.contains(&(table.clone(), link.name.clone()));
            built.links.iter().filter(kept).find_map(|link| link.refused(root, column))
        };
        if let Some(why) = built.refused.clone().or_else(of_links) {
            decided.left.insert(table.clone(), why);
        }
    }
    Ok(decided)
}

/// The SQL that names a tenant.
async fn tenant_id_of(
    client: &mut Client,
    catalog: &Catalog,
    shape: &Shape,
    root: &str,
    said: Option<&str>,
) -> Result<String, PlanError> {
    let table = catalog.tables.get(root).ok_or_else(|| InferError::NoRoot(root.to_owned()))?;
    let [key] = table.primary_key.as_slice() else {
        return Err(InferError::NoKey(root.to_owned()).into());
    };
    let kind = table.column(key).map(|column| column.kind.clone()).unwrap_or_default();
    let reading = client.build_transaction().read_only(true).isolation_level(IsolationLevel::RepeatableRead);
    let transaction = reading.start().await?;
    transaction.batch_execute("SET LOCAL search_path = pg_catalog").await?;
    let alias = ident(shape.0.get(root).map(|built| built.name.as_str()).unwrap_or_default());
    if let Some(said) = said {
        // As it is used: one value of one row.
        let sql = format!("SELECT (SELECT (\n{said}\n)::text FROM (SELECT t.*) AS {alias}) FROM {root} AS t");
        let wrong = |error: tokio_postgres::Error| {
            let message = error.as_db_error().map_or_else(|| error.to_string(), |db| db.message().to_owned());
            PlanError::TenantFrom { expression: said.to_owned(), message }
        };
        transaction.prepare(&sql).await.map_err(wrong)?;
        return Ok(said.to_owned());
    }
    let key = ident(key);
    if matches!(kind.as_str(), "uuid" | "bigint" | "integer" | "smallint") {
        return Ok(format!("'t-' || {key}"));
    }
    let fit = format!("SELECT coalesce(bool_and({key}::text ~ '{TENANT_ID}'), false) FROM {root}");
    if transaction.query_one(&fit, &[]).await?.try_get(0)? {
        return Ok(format!("{key}::text"));
    }
    Err(PlanError::NoTenantFrom { table: root.to_owned(), kind })
}

/// Writes the migration of what was read.
fn written(
    shape: &Shape,
    inferred: &Inferred,
    decided: &Decided,
    tenant_from: &str,
) -> Result<Migration, PlanError> {
    let plan = Plan::of(shape, inferred, decided, tenant_from)?;
    let mut migration = Migration {
        root: plan.root.to_owned(),
        tenant_from: tenant_from.to_owned(),
        column: plan.column.name.clone(),
        column_why: column_why(decided),
        tables: plan.owned.iter().map(|owned| owned.table.to_owned()).collect(),
        stages: vec![
            columns::expand(&plan),
            columns::backfill(&plan),
            check::check(&plan),
            keys::indexes(&plan),
            links::constraints(&plan),
            links::swap(&plan),
            protect::protect(&plan),
        ],
        shared: Vec::new(),
        frameworks: Vec::new(),
        undecided: BTreeMap::new(),
        changes: plan.changes(),
    };
    for (table, is) in &inferred.tables {
        match is {
            Belonging::Shared { .. } => migration.shared.push(table.clone()),
            Belonging::Framework => migration.frameworks.push(table.clone()),
            Belonging::Undecided { why } => {
                migration.undecided.insert(table.clone(), why.clone());
            }
            Belonging::Root | Belonging::Direct { .. } | Belonging::Through { .. } => {}
        }
    }
    Ok(migration)
}

/// Why the column is called otherwise.
fn column_why(decided: &Decided) -> Option<String> {
    let shown: Vec<&str> = decided.beside.iter().take(3).map(String::as_str).collect();
    let more = match decided.beside.len().saturating_sub(shown.len()) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    (!shown.is_empty()).then(|| {
        format!(
            "Ringfence's column is called {} in all tables, for the tenant_id of {}{more} is not of type text. That one stays what it \
             is; --column says another name",
            decided.column.name,
            shown.join(", ")
        )
    })
}

#[cfg(test)]
mod tests;
