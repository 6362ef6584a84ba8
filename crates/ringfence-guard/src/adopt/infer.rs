//! From the root along what points at it.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::{
    Catalog, Table,
    column::TENANT_ID,
    decide::Decided,
    names::{bare, many, of_a_framework, pointed_at},
};

/// What is inferred of a schema.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Inferred {
    /// The table whose rows are the tenants.
    pub root: String,
    /// Every table, by name.
    pub tables: BTreeMap<String, Belonging>,
}

/// How a table's rows are tenants'.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "is")]
pub enum Belonging {
    /// Each row is a tenant.
    Root,
    /// A column names the tenant.
    Direct {
        /// How it leads to the root.
        step: Step,
        /// Other ways to a tenant, which must agree with this one.
        also: Vec<Vec<Step>>,
    },
    /// A row is of the tenant of the row it points at.
    Through {
        /// From this table to the root.
        path: Vec<Step>,
        /// Other ways to a tenant, which must agree with this one.
        also: Vec<Vec<Step>>,
    },
    /// The same for all tenants: it leads to none, and others point at it.
    Shared {
        /// Which tables point at it.
        by: Vec<String>,
    },
    /// A framework's or a queue's own.
    Framework,
    /// Not known.
    Undecided {
        /// Why not, and what would decide it.
        why: String,
    },
}

/// From one table to another.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Step {
    /// From where.
    pub table: String,
    /// By which columns.
    pub columns: Vec<String>,
    /// To where.
    pub to: String,
    /// To which columns.
    pub references: Vec<String>,
    /// What says so.
    pub by: Certainty,
    /// Whether rows may point at nothing.
    pub nullable: bool,
}

/// What says that one table points at another, the surest first.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Certainty {
    /// A foreign key, by name.
    ForeignKey(String),
    /// A column that is named after the table and has its key's type.
    Name,
}

/// Why nothing is inferred.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InferError {
    /// There is no such table.
    #[error(
        "there is no table {0:?}: name the one whose rows are the tenants, with its schema where there are several"
    )]
    NoRoot(String),
    /// There are several.
    #[error("several tables are called so: name one of {}", .0.join(", "))]
    Several(Vec<String>),
    /// Its rows can't be pointed at.
    #[error("{0} has no primary key of one column: nothing can point at a tenant")]
    NoKey(String),
}

impl Step {
    /// What a step costs: a way that is certain is taken before a shorter one that is not.
    fn cost(&self) -> u32 {
        let by = if matches!(self.by, Certainty::ForeignKey(_)) { 1 } else { 8 };
        if self.nullable { by + 32 } else { by }
    }
}

/// Infers which tables belong to the tenants that are `root`'s rows.
///
/// # Errors
/// [`InferError`].
pub fn infer(catalog: &Catalog, root: &str) -> Result<Inferred, InferError> {
    Ok(infer_decided(catalog, &root_of(catalog, root)?, &Decided::default()))
}

/// The same, where something is decided already.
pub(super) fn infer_decided(catalog: &Catalog, root: &str, decided: &Decided) -> Inferred {
    let steps: BTreeMap<&str, Vec<Step>> =
        catalog.tables.iter().map(|(name, table)| (name.as_str(), steps(catalog, name, table))).collect();
    // Nothing leads to a tenant through a table of which it is not known whose its rows are.
    let closed: BTreeMap<&str, String> = steps
        .iter()
        .filter_map(|(name, own)| {
            let why = decided.left.get(*name).cloned();
            Some((*name, why.or_else(|| several(name, own, root, decided))?))
        })
        .collect();
    let open = |name: &&str| {
        let framework = of_a_framework(bare(name)) && !decided.belongs.contains_key(*name);
        !framework && !decided.shared.contains(*name) && !closed.contains_key(*name)
    };
    let leading = |name: &str| match decided.belongs.get(name) {
        Some(step) => vec![step],
        None => steps.get(name).into_iter().flatten().collect(),
    };
    let ways = ways(steps.keys().copied().filter(open).flat_map(leading), root);
    let is_open = |to: &str| to == root || ways.contains_key(to);
    let belonging = |(name, table): (&String, &Table)| {
        let leads = || steps.get(name.as_str()).is_some_and(|own| own.iter().any(|step| is_open(&step.to)));
        let is = match ways.get(name.as_str()) {
            _ if name == root => Belonging::Root,
            _ if decided.shared.contains(name) => Belonging::Shared { by: by(name, &steps) },
            _ if of_a_framework(bare(name)) && !decided.belongs.contains_key(name) => Belonging::Framework,
            Some(path) => along(name, path, &steps, &ways, root, decided),
            None => match closed.get(name.as_str()).filter(|_| leads()) {
                Some(why) => Belonging::Undecided { why: why.clone() },
                None => alone(name, table, catalog, &steps, &ways, root, decided),
            },
        };
        (name.clone(), is)
    };
    Inferred { tables: catalog.tables.iter().map(belonging).collect(), root: root.to_owned() }
}

/// Why it is not known which of several columns owns a row, where it is not.
fn several(name: &str, own: &[Step], root: &str, decided: &Decided) -> Option<String> {
    let to_root: Vec<&Step> = own.iter().filter(|step| step.to == root).collect();
    let known = decided.belongs.contains_key(name) || to_root.iter().any(|step| after_root(step, root));
    if to_root.len() < 2 || known {
        return None;
    }
    let columns: Vec<_> = to_root.iter().map(|step| step.columns.join(", ")).collect();
    Some(format!("several columns name a tenant ({}): say which of them owns the row", columns.join("; ")))
}

/// Whether a step is by a column that is named for the tenant.
fn after_root(step: &Step, root: &str) -> bool {
    let named =
        |column: &String| pointed_at(column).is_some_and(|one| one == "tenant" || many(bare(root), one));
    matches!(step.columns.as_slice(), [column] if named(column))
}

/// Which tables point at one.
fn by(name: &str, steps: &BTreeMap<&str, Vec<Step>>) -> Vec<String> {
    let pointing = |(_, own): &(&&str, &Vec<Step>)| own.iter().any(|step| step.to == name);
    steps.iter().filter(pointing).map(|(other, _)| (*other).to_owned()).collect()
}

pub(super) fn root_of(catalog: &Catalog, root: &str) -> Result<String, InferError> {
    let named = |name: &&String| **name == root || bare(name) == root;
    let found: Vec<String> = catalog.tables.keys().filter(named).cloned().collect();
    let [name] = found.as_slice() else {
        return Err(if found.is_empty() {
            InferError::NoRoot(root.to_owned())
        } else {
            InferError::Several(found)
        });
    };
    let keyed = catalog.tables.get(name).is_some_and(|table| table.primary_key.len() == 1);
    if keyed { Ok(name.clone()) } else { Err(InferError::NoKey(name.clone())) }
}

/// What a table points at.
fn steps(catalog: &Catalog, name: &str, table: &Table) -> Vec<Step> {
    let nullable = |columns: &[String]| {
        columns.iter().any(|column| table.column(column).is_none_or(|column| column.nullable))
    };
    let mut steps: Vec<Step> = Vec::new();
    for key in table.foreign_keys.iter().filter(|key| key.table != name) {
        steps.push(Step {
            table: name.to_owned(),
            columns: key.columns.clone(),
            to: key.table.clone(),
            references: key.references.clone(),
            by: Certainty::ForeignKey(key.name.clone()),
            nullable: nullable(&key.columns),
        });
    }
    let bound: BTreeSet<&String> = table.foreign_keys.iter().flat_map(|key| &key.columns).collect();
    for column in table.columns.iter().filter(|column| !bound.contains(&column.name)) {
        let Some(one) = pointed_at(&column.name) else { continue };
        if polymorphic(table).any(|(_, id)| id == column.name) {
            continue;
        }
        let fits = |(to, there): &(&String, &Table)| {
            let key = there.primary_key.as_slice();
            let same = matches!(key, [key] if there.column(key).is_some_and(|key| key.kind == column.kind));
            *to != name && same && many(bare(to), one)
        };
        let mut fitting = catalog.tables.iter().filter(fits);
        // Of several schemas' none is the likelier.
        if let (Some((to, there)), None) = (fitting.next(), fitting.next()) {
            steps.push(Step {
                table: name.to_owned(),
                columns: vec![column.name.clone()],
                to: to.clone(),
                references: there.primary_key.clone(),
                by: Certainty::Name,
                nullable: column.nullable,
            });
        }
    }
    steps
}

/// Columns that name a row of some table, and which: `record_type` and `record_id`.
fn polymorphic(table: &Table) -> impl Iterator<Item = (&str, &str)> {
    table.columns.iter().filter_map(|column| {
        let what = column.name.strip_suffix("_type")?;
        let id = table.column(&format!("{what}_id"))?;
        let free = !table.foreign_keys.iter().any(|key| key.columns.contains(&id.name));
        let words = matches!(column.kind.as_str(), "text" | "character varying" | "character");
        (free && words).then_some((column.name.as_str(), id.name.as_str()))
    })
}

/// The best way from each table to the root (Dijkstra, over the steps turned around).
fn ways<'a>(steps: impl Iterator<Item = &'a Step>, root: &str) -> BTreeMap<String, Vec<Step>> {
    let mut into: BTreeMap<&str, Vec<&Step>> = BTreeMap::new();
    for step in steps {
        into.entry(&step.to).or_default().push(step);
    }
    let mut known: BTreeMap<String, Vec<Step>> = BTreeMap::new();
    let mut next: BTreeSet<(u32, Vec<Step>, &str)> = [(0, Vec::new(), root)].into();
    while let Some((cost, path, table)) = next.pop_first() {
        if known.contains_key(table) {
            continue;
        }
        known.insert(table.to_owned(), path.clone());
        for step in into.get(table).into_iter().flatten().copied() {
            let path = std::iter::once(step).chain(&path).cloned().collect();
            next.insert((cost.saturating_add(step.cost()), path, &step.table));
        }
    }
    known
}

fn along(
    name: &str,
    path: &[Step],
    steps: &BTreeMap<&str, Vec<Step>>,
    ways: &BTreeMap<String, Vec<Step>>,
    root: &str,
    decided: &Decided,
) -> Belonging {
    let Some(first) = path.first() else { return Belonging::Root };
    let own = steps.get(name).map(Vec::as_slice).unwrap_or_default();
    // Of several columns that name a tenant, the one that is named for it.
    let to_root = || own.iter().filter(|step| step.to == root);
    let first = match to_root().find(|step| after_root(step, root)) {
        Some(named) if to_root().count() > 1 && !decided.belongs.contains_key(name) => named,
        _ => first,
    };
    // Whoever else a row names, beside the tenant that owns it, is no other way to its owner.
    let direct = first.to == root;
    let other = |step: &&Step| *step != first && !(direct && step.to == root);
    let also = own.iter().filter(other).filter_map(|step| {
        let rest = ways.get(&step.to)?;
        Some(std::iter::once(step).chain(rest).cloned().collect())
    });
    let also = also.collect();
    if direct {
        Belonging::Direct { step: first.clone(), also }
    } else {
        Belonging::Through { path: path.to_vec(), also }
    }
}

/// A table that leads to no tenant.
fn alone(
    name: &str,
    table: &Table,
    catalog: &Catalog,
    steps: &BTreeMap<&str, Vec<Step>>,
    ways: &BTreeMap<String, Vec<Step>>,
    root: &str,
    decided: &Decided,
) -> Belonging {
    let says = |column: &&&str| table.column(column).is_some_and(|column| column.kind == "text");
    if let Some(column) = [decided.column.name.as_str(), TENANT_ID].iter().find(says) {
        let why = format!(
            "its {column} may name the tenant itself, and no constraint says so: --belongs '{name}.{column}' does"
        );
        return Belonging::Undecided { why };
    }
    if let Some((kind, id)) = polymorphic(table).next() {
        let why = format!(
            "{kind} and {id} name a row of any table: say which there are (SELECT DISTINCT {kind}), and a column for the tenant \
             is filled from each"
        );
        return Belonging::Undecided { why };
    }
    let by = by(name, steps);
    let joins = |other: &&String| {
        let own = steps.get(other.as_str()).map(Vec::as_slice).unwrap_or_default();
        let said: BTreeSet<&String> = own.iter().flat_map(|step| &step.columns).collect();
        let more = catalog.tables.get(*other).into_iter().flat_map(|table| &table.columns);
        // A join table says little but what it joins.
        let more =
            more.filter(|column| !said.contains(&column.name) && !is_bookkeeping(&column.name)).count();
        own.iter().any(|step| step.to == root || ways.contains_key(&step.to)) && more <= 2
    };
    if let Some(join) = by.iter().find(joins) {
        let why = format!(
            "{join} joins its rows to tenants, and one row may be joined to several: say whether it is shared by them (its rows \
             are seen by whoever is joined) or each tenant gets its own"
        );
        return Belonging::Undecided { why };
    }
    if by.iter().any(|other| ways.contains_key(other)) {
        return Belonging::Shared { by };
    }
    if let Some(step) = steps.get(name).and_then(|own| own.first()) {
        let why = format!(
            "it points at {}, and nothing leads from there to a tenant: decide about that first",
            step.to
        );
        return Belonging::Undecided { why };
    }
    let why = "nothing leads from it to a tenant, and nothing of a tenant's points at it: say whether all tenants share it".to_owned();
    Belonging::Undecided { why }
}

/// Columns nearly every table has.
fn is_bookkeeping(column: &str) -> bool {
    matches!(
        column,
        "id" | "uuid"
            | "created_at"
            | "updated_at"
            | "deleted_at"
            | "inserted_at"
            | "created_on"
            | "updated_on"
            | "position"
            | "lock_version"
    )
}

#[cfg(test)]
mod tests;
