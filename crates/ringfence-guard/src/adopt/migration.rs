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
mod protect;
mod sql;

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use tokio_postgres::{Client, IsolationLevel};

use self::sql::ident;
use super::{
    Belonging, Catalog, Certainty, Decided, DecisionError, Decisions, InferError, Inferred, Step,
    infer::{infer_decided, root_of},
    shape::{Built, Link, Shape},
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
    pub does: &'static str,
    /// What it locks, and for how long.
    pub locks: &'static str,
    /// What it means for the application that runs meanwhile.
    pub application: &'static str,
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

/// A table of tenants.
struct Owned<'a> {
    /// As SQL names it.
    table: &'a str,
    built: &'a Built,
    /// What its rows are known by: the way to the tenant, and, where that may be NULL, others that can stand in for it.
    sources: Vec<&'a Step>,
    /// Where it points by name only.
    named: Vec<&'a Step>,
    /// The foreign keys that are to carry the tenant.
    links: Vec<&'a Link>,
}

/// What stages are written from.
struct Plan<'a> {
    root: &'a str,
    tenant_from: &'a str,
    owned: Vec<Owned<'a>>,
    /// Foreign keys that go, with their tables.
    dropped: Vec<(&'a str, &'a Link)>,
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
    let shape = Shape::read(client).await?;
    let root = root_of(&catalog, root)?;
    let decided = decide(&catalog, &shape, &root, decisions)?;
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
    let shape = Shape::read(client).await?;
    let root = root_of(&catalog, root)?;
    Ok(infer_decided(&catalog, &root, &decide(&catalog, &shape, &root, decisions)?))
}

fn decide(
    catalog: &Catalog,
    shape: &Shape,
    root: &str,
    decisions: &Decisions,
) -> Result<Decided, DecisionError> {
    let mut decided = decisions.resolve(catalog, root)?;
    for (table, built) in shape.0.iter().filter(|(table, _)| *table != root) {
        let of_links = || {
            let kept = |link: &&Link| !decided.dropped.contains(&(table.clone(), link.name.clone()));
            built.links.iter().filter(kept).find_map(|link| link.refused(root))
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
        let sql = format!("SELECT (\n{said}\n)::text FROM {root} AS {alias}");
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

impl<'a> Plan<'a> {
    fn of(
        shape: &'a Shape,
        inferred: &'a Inferred,
        decided: &Decided,
        tenant_from: &'a str,
    ) -> Result<Self, PlanError> {
        let root = inferred.root.as_str();
        let mut ordered: Vec<(usize, &str, &Built, &Belonging)> = Vec::new();
        for (table, is) in &inferred.tables {
            let far = match is {
                Belonging::Root => 0,
                Belonging::Direct { .. } => 1,
                Belonging::Through { path, .. } => path.len(),
                _ => continue,
            };
            if let Some(built) = shape.0.get(table) {
                ordered.push((far, table, built, is));
            }
        }
        ordered.sort_by_key(|(far, table, ..)| (*far, *table));
        let tables: BTreeSet<&str> = ordered.iter().map(|(_, table, ..)| *table).collect();
        let dropped =
            |table: &str, link: &Link| decided.dropped.contains(&(table.to_owned(), link.name.clone()));
        let (mut owned, mut before) = (Vec::new(), BTreeSet::new());
        while !ordered.is_empty() {
            // What can stand in for a way that may be NULL is filled before, unless it waits for this one in turn.
            let ready = |(_, _, _, is): &(usize, &str, &Built, &Belonging)| {
                sources(is).iter().all(|step| before.contains(step.to.as_str()))
            };
            let next = ordered.iter().position(ready).unwrap_or_default();
            let (_, table, built, is) = ordered.remove(next);
            let links = built.links.iter();
            let links = links
                .filter(|link| tables.contains(link.to.as_str()) && !link.carries() && !dropped(table, link));
            let mut sources = sources(is);
            sources.retain(|step| before.contains(step.to.as_str()));
            owned.push(Owned { table, built, sources, named: named(is), links: links.collect() });
            before.insert(table);
        }
        let of_table = |(table, built): (&'a String, &'a Built)| {
            built.links.iter().map(move |link| (table.as_str(), link))
        };
        let all = || shape.0.iter().flat_map(of_table);
        let obstacles = obstacles(shape, inferred, &owned, |table, link| !dropped(table, link));
        if !obstacles.is_empty() {
            return Err(PlanError::Obstacles(obstacles));
        }
        let dropped = all().filter(|(table, link)| dropped(table, link)).collect();
        Ok(Self { root, tenant_from, owned, dropped })
    }

    /// What the application must do otherwise.
    fn changes(&self) -> Vec<String> {
        let mut changes = Vec::new();
        for owned in &self.owned {
            for key in owned.built.keys.iter().filter(|key| !key.carries) {
                let columns = key.columns.join(", ");
                let whole = if key.primary { "the primary key" } else { "unique" };
                changes.push(format!(
                    "{}: {} ({columns}) is {whole} in each tenant: where statements say ON CONFLICT ({columns}), say (tenant_id, {columns})",
                    owned.table, key.name
                ));
            }
        }
        for (table, link) in &self.dropped {
            changes.push(format!(
                "{table}: the foreign key {} goes, and the application checks it itself",
                link.name
            ));
        }
        changes
    }
}

/// What a table's rows are known by: beside a way that may be NULL there are others.
fn sources(is: &Belonging) -> Vec<&Step> {
    let (first, also) = match is {
        Belonging::Direct { step, also } => (step, also),
        Belonging::Through { path, also } => match path.first() {
            Some(first) => (first, also),
            None => return Vec::new(),
        },
        _ => return Vec::new(),
    };
    let sure = |step: &&Step| matches!(step.by, Certainty::ForeignKey(_));
    let others = also.iter().filter_map(|way| way.first()).filter(sure).filter(|_| first.nullable);
    std::iter::once(first).chain(others).collect()
}

/// Where a table points by name only.
fn named(is: &Belonging) -> Vec<&Step> {
    let (first, also) = match is {
        Belonging::Direct { step, also } => (Some(step), also),
        Belonging::Through { path, also } => (path.first(), also),
        _ => return Vec::new(),
    };
    let also = also.iter().filter_map(|way| way.first());
    first.into_iter().chain(also).filter(|step| step.by == Certainty::Name).collect()
}

/// What keeps tables from being protected, with what would help.
fn obstacles(
    shape: &Shape,
    inferred: &Inferred,
    owned: &[Owned<'_>],
    stays: impl Fn(&str, &Link) -> bool,
) -> Vec<String> {
    let mut found = Vec::new();
    let tables: BTreeMap<&str, &Owned<'_>> = owned.iter().map(|owned| (owned.table, owned)).collect();
    let root = inferred.root.as_str();
    if let Some(built) = shape.0.get(root) {
        let of_links =
            || built.links.iter().filter(|link| stays(root, link)).find_map(|link| link.refused(root));
        if let Some(why) = built.refused.clone().or_else(of_links) {
            found.push(format!("{root}: {why}"));
        }
    }
    for (table, built) in &shape.0 {
        for link in built.links.iter().filter(|link| stays(table, link) && !link.carries()) {
            if !tables.contains_key(link.to.as_str()) {
                continue;
            }
            let why = match tables.get(table.as_str()).zip(inferred.tables.get(table)) {
                None => match inferred.tables.get(table) {
                    Some(Belonging::Undecided { why }) => why.clone(),
                    Some(Belonging::Framework) => "it is a framework's own".to_owned(),
                    _ => "it is of no tenant".to_owned(),
                },
                Some((_, Belonging::Root)) if link.to == root => "it names another tenant".to_owned(),
                Some((_, Belonging::Direct { step, .. }))
                    if link.to == root && link.columns != step.columns =>
                {
                    "it names another tenant than the one that owns the row".to_owned()
                }
                Some(_) => continue,
            };
            let column = link.columns.first().map(String::as_str).unwrap_or_default();
            found.push(format!(
                "{table}: its foreign key {} points at {}, which tells every tenant what rows there are: {why}; decide (--belongs, \
                 --shared), or let the migration drop the key: --drop-key '{table}.{column}'",
                link.name, link.to
            ));
        }
    }
    found
}

impl Step {
    /// How its columns are those that are pointed at, `here` and `there` being the rows.
    fn joins(&self, here: &str, there: &str) -> String {
        let pair =
            |(column, to): (&String, &String)| format!("{there}.{} = {here}.{}", ident(to), ident(column));
        self.columns.iter().zip(&self.references).map(pair).collect::<Vec<_>>().join(" AND ")
    }
}

#[cfg(test)]
mod tests;
