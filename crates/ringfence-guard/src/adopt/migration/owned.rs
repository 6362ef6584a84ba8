//! The tables of tenants in the order in which they are filled, with what each is known by and what is to carry its tenant.

use std::collections::BTreeSet;

use super::{PlanError, obstacles::obstacles, sql::ident};
use crate::adopt::{
    Belonging, Certainty, Decided, Inferred, Step,
    column::TenantColumn,
    shape::{Built, Link, Shape},
};

/// A table of tenants.
pub(super) struct Owned<'a> {
    /// As SQL names it.
    pub(super) table: &'a str,
    pub(super) built: &'a Built,
    /// What its rows are known by: the way to the tenant, and, where that may be NULL, others that can stand in for it.
    pub(super) sources: Vec<&'a Step>,
    /// Where it points by name only.
    pub(super) named: Vec<&'a Step>,
    /// The foreign keys that are to carry the tenant.
    pub(super) links: Vec<&'a Link>,
    pub(super) column: &'a TenantColumn,
}

/// What stages are written from.
pub(super) struct Plan<'a> {
    pub(super) root: &'a str,
    pub(super) tenant_from: &'a str,
    /// Ringfence's column.
    pub(super) column: &'a TenantColumn,
    pub(super) owned: Vec<Owned<'a>>,
    /// Foreign keys that go, with their tables.
    pub(super) dropped: Vec<(&'a str, &'a Link)>,
}

impl<'a> Plan<'a> {
    pub(super) fn of(
        shape: &'a Shape,
        inferred: &'a Inferred,
        decided: &'a Decided,
        tenant_from: &'a str,
    ) -> Result<Self, PlanError> {
        let (root, column) = (inferred.root.as_str(), &decided.column);
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
            let links = links.filter(|link| {
                tables.contains(link.to.as_str()) && !link.carries(&column.name) && !dropped(table, link)
            });
            let mut sources = sources(is);
            sources.retain(|step| before.contains(step.to.as_str()));
            owned.push(Owned { table, built, sources, named: named(is), links: links.collect(), column });
            before.insert(table);
        }
        let of_table = |(table, built): (&'a String, &'a Built)| {
            built.links.iter().map(move |link| (table.as_str(), link))
        };
        let all = || shape.0.iter().flat_map(of_table);
        let obstacles = obstacles(shape, inferred, decided, &owned, |table, link| !dropped(table, link));
        if !obstacles.is_empty() {
            return Err(PlanError::Obstacles(obstacles));
        }
        let dropped = all().filter(|(table, link)| dropped(table, link)).collect();
        Ok(Self { root, tenant_from, column, owned, dropped })
    }

    /// What the application must do otherwise.
    pub(super) fn changes(&self) -> Vec<String> {
        let mut changes = Vec::new();
        for owned in &self.owned {
            for key in owned.swapped().filter(|key| key.unique) {
                let columns = key.columns.join(", ");
                let whole = if key.primary { "the primary key" } else { "unique" };
                changes.push(format!(
                    "{}: {} ({columns}) is {whole} in each tenant: where statements say ON CONFLICT ({columns}), say ({}, {columns})",
                    owned.table, key.name, self.column.name
                ));
                if key.constraint.is_some_and(|deferred| !deferred.is_empty()) {
                    changes.push(format!(
                        "{}: {} is deferrable, and while the index beside it is built (stage 4) a statement that relies on that fails",
                        owned.table, key.name
                    ));
                }
            }
        }
        for (table, index) in
            self.owned.iter().flat_map(|owned| owned.built.other.iter().map(|name| (owned.table, name)))
        {
            changes.push(format!(
                "{table}: the index {index} is no btree and stays as it is: EXPLAIN ANALYZE tells by it whether another tenant has a value; \
                 drop it, or make one that begins with {}",
                self.column.name
            ));
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

impl Step {
    /// How its columns are those that are pointed at, `here` and `there` being the rows.
    pub(super) fn joins(&self, here: &str, there: &str) -> String {
        let pair =
            |(column, to): (&String, &String)| format!("{there}.{} = {here}.{}", ident(to), ident(column));
        self.columns.iter().zip(&self.references).map(pair).collect::<Vec<_>>().join(" AND ")
    }
}
