//! Canaries: a row of each tenant's in every table whose rows are tenants', and what those rows point at.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    CanaryError,
    schema::{Column, Reference, Relation, Schema},
    session::{Pair, Seat, Session, Who},
    values::{Values, name, text},
};

/// Ways to make up a row, the fullest first, and last the likeness of a row that is there.
const ATTEMPTS: usize = 12;

/// The attempt that leaves everything out that may be.
const LEAN: usize = ATTEMPTS - 2;

/// The attempt that takes a row that is there, with other keys.
const LIKENESS: usize = ATTEMPTS - 1;

/// A row's columns and their values as text; what is left to its default is missing.
pub(super) type Row = BTreeMap<String, Option<String>>;

/// A row that was planted.
#[derive(Debug, Clone)]
pub(super) struct Canary {
    /// The very table it is in: of a partitioned one, the partition.
    pub(super) table: u32,
    /// Where in it.
    pub(super) ctid: String,
    /// All of it that can be given again.
    pub(super) row: Row,
}

/// What was planted, and what was not.
#[derive(Debug, Default)]
pub(super) struct Planted {
    /// Each tenant's rows, by the relation they were put into.
    pub(super) of: Pair<BTreeMap<u32, Canary>>,
    /// Rows that are nobody's, which tenants' rows point at.
    pub(super) shared: BTreeMap<u32, Canary>,
    /// The relations that have rows, each after those its row points at.
    pub(super) order: Vec<u32>,
    /// Why a table has none.
    pub(super) barren: BTreeMap<u32, String>,
}

impl Planted {
    /// A tenant's row in a relation, or the one it shares.
    pub(super) fn find(&self, relation: u32, who: Who) -> Option<&Canary> {
        self.of.of(who).get(&relation).or_else(|| self.shared.get(&relation))
    }
}

impl Canary {
    /// What finds this row and no other, in its table or the partitioned one above it.
    pub(super) fn place(&self) -> String {
        format!("ctid = '{}' AND tableoid = {}", self.ctid, self.table)
    }
}

pub(super) struct Planter<'a> {
    pub(super) session: &'a Session<'a>,
    pub(super) schema: &'a Schema,
    pub(super) owned: &'a BTreeSet<u32>,
    pub(super) values: Pair<Values>,
    planted: Planted,
}

impl<'a> Planter<'a> {
    pub(super) fn new(
        session: &'a Session<'a>,
        schema: &'a Schema,
        owned: &'a BTreeSet<u32>,
        values: Pair<Values>,
    ) -> Self {
        Self { session, schema, owned, values, planted: Planted::default() }
    }

    /// Plants in every table that is owned, parents first. `tell` is told each.
    pub(super) async fn plant(
        mut self,
        mut tell: impl FnMut(&str),
    ) -> Result<(Planted, Pair<Values>), CanaryError> {
        for relation in self.order() {
            tell(&relation.name);
            let sown = if self.owned.contains(&relation.oid) {
                let mut sown = self.sow(relation, Who::One).await?;
                if sown.is_ok() {
                    sown = self.sow(relation, Who::Other).await?;
                }
                sown
            } else {
                self.sow_shared(relation).await?
            };
            if sown.is_ok() {
                self.planted.order.push(relation.oid);
            } else if let Err(why) = sown {
                for who in Who::BOTH {
                    self.planted.of.of_mut(who).remove(&relation.oid);
                }
                self.planted.barren.insert(relation.oid, why);
            }
        }
        Ok((self.planted, self.values))
    }

    /// The tables rows are put into, each after those it points at, as far as they don't point at each other.
    fn order(&self) -> Vec<&'a Relation> {
        let mut order = Vec::new();
        let mut seen = BTreeSet::new();
        for relation in self.schema.relations.iter().filter(|relation| self.owned.contains(&relation.oid)) {
            self.visit(relation, &mut seen, &mut order);
        }
        order
    }

    fn visit(&self, relation: &'a Relation, seen: &mut BTreeSet<u32>, order: &mut Vec<&'a Relation>) {
        // Not by recursion: how long a chain of foreign keys may be is nobody's promise.
        let mut stack = vec![(relation, false)];
        while let Some((relation, left)) = stack.pop() {
            if left {
                order.push(relation);
            } else if seen.insert(relation.oid) {
                stack.push((relation, true));
                let to = relation.references.iter().filter_map(|to| self.schema.relation(to.to));
                stack.extend(to.filter(|to| !seen.contains(&to.oid)).map(|to| (to, false)));
            }
        }
    }

    async fn sow_shared(&mut self, relation: &Relation) -> Result<Result<(), String>, CanaryError> {
        let sown = self.sow(relation, Who::One).await?;
        if let Some(canary) = self.planted.of.one.remove(&relation.oid) {
            self.planted.shared.insert(relation.oid, canary);
        }
        Ok(sown)
    }

    /// Puts one tenant's row into a relation.
    async fn sow(&mut self, relation: &Relation, who: Who) -> Result<Result<(), String>, CanaryError> {
        let mut why = None;
        for attempt in 0..ATTEMPTS {
            let like = match attempt {
                LIKENESS => match self.likeness(relation, who).await? {
                    Some(like) => like,
                    None => continue,
                },
                _ => Row::new(),
            };
            let row = match self.row(relation, who, attempt, like) {
                Ok(row) => row,
                Err(missing) => {
                    why.get_or_insert(missing);
                    continue;
                }
            };
            let seat = self.session.seat(Seat::Administrator(who));
            let sql = format!("{}{seat}{}", self.session.bare(true), insert(relation, &row, true));
            match self.session.keep(&sql).await? {
                Ok(answer) => {
                    let Some(canary) = reaped(relation, answer.rows.last()) else { continue };
                    self.planted.of.of_mut(who).insert(relation.oid, canary);
                    return Ok(Ok(()));
                }
                Err(refused) => _ = why.get_or_insert(refused.message),
            }
        }
        Ok(Err(why.unwrap_or_else(|| "no row can be made up".to_owned())))
    }

    /// Any row of a relation.
    async fn likeness(&self, relation: &Relation, who: Who) -> Result<Option<Row>, CanaryError> {
        let given: Vec<&Column> = relation.columns.iter().filter(|column| !column.generated).collect();
        let all: Vec<String> = given.iter().map(|column| format!("{}::text", name(&column.name))).collect();
        let seat = self.session.seat(Seat::Administrator(who));
        let sql = format!("{seat}SELECT {} FROM {} LIMIT 1", all.join(", "), relation.name);
        let found = self.session.keep(&sql).await?.ok().and_then(|mut answer| answer.rows.pop());
        let names = given.iter().map(|column| column.name.clone());
        Ok(found.filter(|row| row.len() == all.len()).map(|row| names.zip(row).collect()))
    }

    /// Makes up a row, or what is not `like` another.
    fn row(&mut self, relation: &Relation, who: Who, attempt: usize, like: Row) -> Result<Row, String> {
        let mut row = like;
        let pointing = self.pointing(relation, who)?;
        let roots = self.schema.tenant_keys(relation.oid);
        for column in relation.columns.iter().filter(|column| !column.generated) {
            let is_tenant = relation.is_tenant(&column.name) || roots.contains(column.name.as_str());
            if is_tenant && self.owned.contains(&relation.oid) {
                row.insert(column.name.clone(), Some(self.session.tenants.of(who).clone()));
            } else if let Some(value) = pointing.get(&column.name) {
                row.insert(column.name.clone(), value.clone());
            } else if attempt == LIKENESS {
                if column.key && !column.partitions && row.get(&column.name).is_some_and(Option::is_some) {
                    let value = self.values.of_mut(who).of(&column.base, column.category, column.typmod);
                    row.extend(value.map(|value| (column.name.clone(), Some(value))));
                }
            } else if attempt == LEAN && !column.not_null && !column.key {
                row.insert(column.name.clone(), None);
            } else if column.key || !column.defaulted {
                let value = self.values.of_mut(who).value(relation, column, attempt);
                if value.is_some() || !column.defaulted {
                    row.insert(column.name.clone(), value);
                }
            }
        }
        // What points at its own table points at itself, where it must point at something.
        for own in relation.references.iter().filter(|to| to.to == relation.oid) {
            for (column, key) in
                own.columns.iter().zip(&own.keys).filter(|(column, _)| !relation.is_tenant(column))
            {
                let must = relation.column(column).is_some_and(|column| column.not_null);
                let value = if must { row.get(key).cloned().flatten() } else { None };
                row.insert(column.clone(), value);
            }
        }
        Ok(row)
    }

    /// The values of columns that point at other rows.
    fn pointing(&self, relation: &Relation, who: Who) -> Result<Row, String> {
        let mut row = Row::new();
        let others = |to: &&Reference| to.to != relation.oid;
        for to in relation.references.iter().filter(others) {
            if let Some(canary) = self.planted.find(to.to, who) {
                let values = to.keys.iter().map(|key| canary.row.get(key).cloned().flatten());
                row.extend(to.columns.iter().cloned().zip(values));
                continue;
            }
            let free = to.columns.iter().filter(|column| !relation.is_tenant(column));
            let nullable = |column: &&String| relation.column(column).is_some_and(|column| !column.not_null);
            let nullable: Vec<&String> = free.filter(nullable).collect();
            if let Some(column) = nullable.first() {
                row.entry((*column).clone()).or_insert(None);
            } else if !self.session.superuser {
                let to = self.schema.relation(to.to).map_or("a table", |to| to.name.as_str());
                return Err(format!("it must point at a row of {to}, which has no canary"));
            }
        }
        Ok(row)
    }
}

/// The statement that puts a row into a relation; `told` where and all of it, if asked.
pub(super) fn insert(relation: &Relation, row: &Row, told: bool) -> String {
    let (mut names, mut values) = (Vec::new(), Vec::new());
    for column in &relation.columns {
        if let Some(value) = row.get(&column.name) {
            names.push(name(&column.name));
            values.push(match value {
                Some(value) => format!("{}::{}", text(value), column.r#type),
                None => "NULL".to_owned(),
            });
        }
    }
    let returning = if told {
        let all: Vec<String> =
            relation.columns.iter().map(|column| format!("{}::text", name(&column.name))).collect();
        format!(" RETURNING tableoid::bigint, ctid, {}", all.join(", "))
    } else {
        String::new()
    };
    if names.is_empty() {
        return format!("INSERT INTO {} DEFAULT VALUES{returning}", relation.name);
    }
    format!(
        "INSERT INTO {} ({}) OVERRIDING SYSTEM VALUE VALUES ({}){returning}",
        relation.name,
        names.join(", "),
        values.join(", ")
    )
}

/// The row as it came back.
fn reaped(relation: &Relation, told: Option<&Vec<Option<String>>>) -> Option<Canary> {
    let [table, ctid, values @ ..] = told?.as_slice() else { return None };
    let given = relation.columns.iter().zip(values).filter(|(column, _)| !column.generated);
    let row = given.map(|(column, value)| (column.name.clone(), value.clone())).collect();
    Some(Canary { table: table.as_ref()?.parse().ok()?, ctid: ctid.clone()?, row })
}
