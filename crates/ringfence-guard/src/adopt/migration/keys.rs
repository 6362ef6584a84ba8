//! The fourth stage, and its part of the sixth: each index without the tenant gets a twin that begins with it, and in the end the
//! twin takes its place and its name. So a constraint that an application knows by name stays known. Of those that are not unique
//! too: row security would take away what such an index gives, and EXPLAIN ANALYZE tells how much that was.
//!
//! What follows the first parenthesis of Postgres' own definition is taken as it is: predicates, expressions, operator classes,
//! what is included and whether NULLs are distinct stay what they were.

use super::{
    Owned, Plan, Stage, Statement,
    sql::{demand, generated, ident, index_name, literal, patiently, where_true},
};
use crate::adopt::shape::Key;

/// Nobody waits for an index that is built while rows are written; who builds it waits for who was there before.
const BUILT: &str = "SHARE UPDATE EXCLUSIVE, as long as it is built: it holds up no reading and no writing";

/// A moment, in which the old goes and the new takes its place.
const MOMENT: &str = "ACCESS EXCLUSIVE, for a moment";

impl Owned<'_> {
    pub(super) fn swapped(&self) -> impl Iterator<Item = &Key> {
        self.built.keys.iter().filter(|key| !key.carries)
    }

    /// An index of this table, as SQL names it.
    fn index(&self, name: &str) -> String {
        format!("{}.{}", self.built.schema, ident(name))
    }

    fn twin(&self, key: &Key) -> String {
        generated(&[&self.built.schema, &self.built.name, &key.name, "with tenant_id"])
    }

    fn former(&self, key: &Key) -> String {
        generated(&[&self.built.schema, &self.built.name, &key.name, "without tenant_id"])
    }

    /// Whether the key of this name is the new one, as SQL.
    fn key_carries(&self, key: &Key) -> String {
        format!(
            "ringfence_adopt.key_carries({}, {})",
            literal(&self.index(&key.name)),
            literal(&self.column.name)
        )
    }

    /// Builds an index of `keys` where `when` is true, after what is left of one that was not finished.
    fn build(&self, name: &str, when: &str, unique: bool, keys: &str, tablespace: Option<&str>) -> String {
        let index = self.index(name);
        let there = literal(&index);
        let broken = format!(
            "EXISTS (SELECT FROM pg_index WHERE indexrelid = to_regclass({there}) AND NOT indisvalid)"
        );
        let drop = where_true(&broken, &format!("DROP INDEX CONCURRENTLY {index}"));
        let unique = if unique { "UNIQUE " } else { "" };
        let create = format!(
            "CREATE {unique}INDEX CONCURRENTLY {} ON {} USING btree ({keys}",
            ident(name),
            self.table
        );
        let create = where_true(&format!("{when} AND to_regclass({there}) IS NULL"), &create);
        match tablespace {
            Some(space) => {
                format!(
                    "{drop}\nSET default_tablespace = {};\n{create}\nRESET default_tablespace;",
                    literal(space)
                )
            }
            None => format!("{drop}\n{create}"),
        }
    }

    /// Makes a constraint that is looked at in the end of a transaction of an index at once: until then it is stricter.
    fn defer(&self, key: &Key, by: &str, unless: &str) -> Option<Statement> {
        let deferred = key.constraint.filter(|_| key.deferrable())?;
        let (table, quoted) = (self.table, ident(by));
        let there =
            format!("{unless} OR ringfence_adopt.constrained({}, {}, false)", literal(table), literal(by));
        let sql =
            format!("ALTER TABLE {table} ADD CONSTRAINT {quoted} UNIQUE USING INDEX {quoted}{deferred}");
        let about = format!("{table}: what stands beside {} is deferred as it is", key.name);
        Some(Statement { about, lock: MOMENT, sql: patiently(&there, &sql) })
    }

    /// Lets the index `by` take the place and name of a key.
    fn replace(&self, key: &Key, by: &str, shift: i32) -> String {
        let (table, name, index) = (self.table, ident(&key.name), self.index(&key.name));
        let told = format!(
            "{table}: the index for {} is not there: run this migration from 4-indexes.sql on",
            key.name
        );
        let mut sql = demand(&format!("ringfence_adopt.built({})", literal(&self.index(by))), &told);
        sql.push_str(&match key.constraint {
            Some(_) if key.deferrable() => format!(
                "ALTER TABLE {table} DROP CONSTRAINT {name};\nALTER TABLE {table} RENAME CONSTRAINT {} TO {name};",
                ident(by)
            ),
            Some(deferred) => {
                let kind = if key.primary { "PRIMARY KEY" } else { "UNIQUE" };
                format!(
                    "ALTER TABLE {table} DROP CONSTRAINT {name}, ADD CONSTRAINT {name} {kind} USING INDEX {}{deferred};",
                    ident(by)
                )
            }
            None => format!("DROP INDEX {index};\nALTER INDEX {} RENAME TO {name};", self.index(by)),
        });
        if let Some(comment) = &key.comment {
            sql.push_str(&format!("\nCOMMENT ON INDEX {index} IS {};", literal(comment)));
        }
        if let Some(comment) = &key.constraint_comment {
            sql.push_str(&format!("\nCOMMENT ON CONSTRAINT {name} ON {table} IS {};", literal(comment)));
        }
        if key.clustered {
            sql.push_str(&format!("\nALTER TABLE {table} CLUSTER ON {name};"));
        }
        if key.replica_identity {
            sql.push_str(&format!("\nALTER TABLE {table} REPLICA IDENTITY USING INDEX {name};"));
        }
        for (column, sampled) in &key.statistics {
            let column = column.saturating_add(shift);
            sql.push_str(&format!("\nALTER INDEX {index} ALTER COLUMN {column} SET STATISTICS {sampled};"));
        }
        sql
    }

    /// The indexes that stay beside the twins: by which a tenant is found, and of the root, that no two are called the same.
    fn leading(&self, plan: &Plan<'_>) -> Option<bool> {
        let led = self.built.led || self.swapped().any(|key| !key.partial);
        match self.table == plan.root {
            true => Some(true),
            false => (!led).then_some(false),
        }
    }

    /// The former keys, built again beside the new ones.
    pub(super) fn rebuild(&self) -> Vec<Statement> {
        let build = |key: &Key| {
            let (name, carries) = (self.former(key), self.key_carries(key));
            let built = Statement {
                about: format!("{}: {} as it was", self.table, key.name),
                lock: BUILT,
                sql: self.build(&name, &carries, key.unique, &key.rest, key.tablespace.as_deref()),
            };
            std::iter::once(built).chain(self.defer(key, &name, &format!("NOT {carries}")))
        };
        self.swapped().flat_map(build).collect()
    }

    /// The new keys in the place of the former, or the other way around.
    pub(super) fn exchange(&self, back: bool) -> Vec<Statement> {
        let exchange = |key: &Key| {
            let (by, unless, shift) = match back {
                true => (self.former(key), format!("NOT {}", self.key_carries(key)), 0),
                false => (self.twin(key), self.key_carries(key), 1),
            };
            Statement {
                about: format!(
                    "{}: {} {}",
                    self.table,
                    key.name,
                    if back { "is what it was" } else { "is of each tenant" }
                ),
                lock: MOMENT,
                sql: patiently(&unless, &self.replace(key, &by, shift)),
            }
        };
        self.swapped().map(exchange).collect()
    }

    /// No index of this name, nor the constraint it has become.
    fn without(&self, name: &str, beside: &str, constraint: bool) -> Vec<Statement> {
        let table = self.table;
        let about = || format!("{table}: no index beside {beside}");
        let there = format!("NOT ringfence_adopt.constrained({}, {}, false)", literal(table), literal(name));
        let drop = format!("ALTER TABLE {table} DROP CONSTRAINT {}", ident(name));
        let constraint =
            constraint.then(|| Statement { about: about(), lock: MOMENT, sql: patiently(&there, &drop) });
        let index = format!("DROP INDEX CONCURRENTLY IF EXISTS {};", self.index(name));
        constraint.into_iter().chain([Statement { about: about(), lock: BUILT, sql: index }]).collect()
    }

    /// What is left of an undoing that was not finished.
    pub(super) fn forget_former(&self) -> Vec<Statement> {
        self.swapped().flat_map(|key| self.without(&self.former(key), &key.name, key.deferrable())).collect()
    }
}

/// Indexes that begin with the tenant.
pub(super) fn indexes(plan: &Plan<'_>) -> Stage {
    let mut statements = vec![Statement {
        about: "Not without a check".to_owned(),
        lock: "none",
        sql: "CALL ringfence_adopt.demand_checked();".to_owned(),
    }];
    let mut undo = Vec::new();
    for owned in &plan.owned {
        for key in owned.swapped() {
            let (twin, carries) = (owned.twin(key), owned.key_carries(key));
            let keys = format!("{}, {}", plan.column, key.rest);
            statements.push(Statement {
                about: format!("{}: {} with {} in front", owned.table, key.name, plan.column.name),
                lock: BUILT,
                sql: owned.build(
                    &twin,
                    &format!("NOT {carries}"),
                    key.unique,
                    &keys,
                    key.tablespace.as_deref(),
                ),
            });
            statements.extend(owned.defer(key, &twin, &carries));
            undo.extend(owned.without(&twin, &key.name, key.deferrable()));
        }
        if let Some(unique) = owned.leading(plan) {
            let name = index_name(&owned.built.schema, &owned.built.name, &plan.column.name);
            statements.push(Statement {
                about: format!("{}: an index by tenant", owned.table),
                lock: BUILT,
                sql: owned.build(&name, "true", unique, &format!("{})", plan.column), None),
            });
            undo.extend(owned.without(&name, "its keys", false));
        }
    }
    let tenant = &plan.column.name;
    Stage {
        name: "indexes",
        does: format!(
            "Builds, beside each index without {tenant}, one that begins with it, and an index by tenant where none is."
        ),
        locks: "None that holds anybody up. Each index waits for the transactions that were there before it: no long ones, please.",
        application: format!(
            "Goes on as it is. From here until stage 6, both ON CONFLICT (column) and ON CONFLICT ({tenant}, column) work: change the \
             application now."
        ),
        statements,
        undo,
    }
}
