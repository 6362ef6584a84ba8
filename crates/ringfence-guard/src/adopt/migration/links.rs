//! The fifth and the sixth stage: no row without a tenant, no foreign key that points across, and then nothing that answers for
//! another tenant's rows.
//!
//! What a foreign key does when the row it points at goes or changes stays; `SET NULL` is said of its own columns, for
//! the tenant stays.

use super::{
    Owned, Plan, Stage, Statement,
    sql::{demand, generated, ident, idents, literal, patiently},
};
use crate::adopt::shape::Link;

/// The name of a constraint that is there for as long as a column is made NOT NULL.
const FILLED: &str = "ringfence_adopt_tenant_id";

const SHORT: &str = "SHARE ROW EXCLUSIVE on both tables, for a moment";
const READING: &str = "SHARE UPDATE EXCLUSIVE, as long as it reads: it holds up no reading and no writing";
const MOMENT: &str = "ACCESS EXCLUSIVE, for a moment";

impl Link {
    /// With the tenant.
    fn with_tenant(&self, tenant: &str) -> String {
        let pairs: Vec<(&str, &str)> = self.pairs().filter(|(here, _)| *here != tenant).collect();
        let columns = idents(std::iter::once(tenant).chain(pairs.iter().map(|(here, _)| *here)));
        let references = idents(std::iter::once(tenant).chain(pairs.iter().map(|(_, there)| *there)));
        let own: Vec<&str> = match self.sets.is_empty() {
            true => pairs.iter().map(|(here, _)| *here).collect(),
            false => self.sets.iter().map(String::as_str).collect(),
        };
        let on_update = match self.on_update {
            'r' => " ON UPDATE RESTRICT",
            'c' => " ON UPDATE CASCADE",
            _ => "",
        };
        let on_delete = match self.on_delete {
            'r' => " ON DELETE RESTRICT".to_owned(),
            'c' => " ON DELETE CASCADE".to_owned(),
            'n' => format!(" ON DELETE SET NULL ({})", idents(own)),
            'd' => format!(" ON DELETE SET DEFAULT ({})", idents(own)),
            _ => String::new(),
        };
        format!(
            "FOREIGN KEY ({columns}) REFERENCES {} ({references}){on_update}{on_delete}{}",
            self.to, self.deferred
        )
    }

    fn beside(&self, table: &str, what: &str) -> String {
        generated(&[table, &self.name, what])
    }

    /// Adds a foreign key and looks whether all rows keep it; each where `unless` is not true.
    fn add(&self, table: &str, name: &str, definition: &str, unless: &str) -> Vec<Statement> {
        let definition = definition.strip_suffix(" NOT VALID").unwrap_or(definition);
        let is = |valid: bool| {
            format!("{unless} OR ringfence_adopt.constrained({}, {}, {valid})", literal(table), literal(name))
        };
        let (quoted, about) = (ident(name), format!("{table}: {}", self.name));
        let mut statements = vec![Statement {
            about: format!("{about} for rows that are written"),
            lock: SHORT,
            sql: patiently(
                &is(false),
                &format!("ALTER TABLE {table} ADD CONSTRAINT {quoted} {definition} NOT VALID"),
            ),
        }];
        if self.validated {
            statements.push(Statement {
                about: format!("{about} for the rows there are"),
                lock: READING,
                sql: patiently(&is(true), &format!("ALTER TABLE {table} VALIDATE CONSTRAINT {quoted}")),
            });
        }
        statements
    }

    /// Lets the foreign key `by` take its place and name.
    fn replace(&self, table: &str, by: &str) -> String {
        let (name, by) = (ident(&self.name), ident(by));
        let mut sql = format!(
            "ALTER TABLE {table} DROP CONSTRAINT {name};\nALTER TABLE {table} RENAME CONSTRAINT {by} TO {name};"
        );
        if let Some(comment) = &self.comment {
            sql.push_str(&format!("\nCOMMENT ON CONSTRAINT {name} ON {table} IS {};", literal(comment)));
        }
        sql
    }

    /// Whether the foreign key of this name is the new one, as SQL.
    fn is_new(&self, table: &str, tenant: &str) -> String {
        let (table, name, tenant) = (literal(table), literal(&self.name), literal(tenant));
        format!("ringfence_adopt.link_carries({table}, {name}, {tenant})")
    }

    fn drop(&self, table: &str, name: &str) -> Statement {
        let there = format!("NOT ringfence_adopt.constrained({}, {}, false)", literal(table), literal(name));
        Statement {
            about: format!("{table}: no second {}", self.name),
            lock: "ACCESS EXCLUSIVE on both tables, for a moment",
            sql: patiently(&there, &format!("ALTER TABLE {table} DROP CONSTRAINT {}", ident(name))),
        }
    }
}

impl Owned<'_> {
    /// Makes the column NOT NULL without reading the table under a lock.
    fn fill(&self) -> Vec<Statement> {
        let (table, column) = (self.table, self.column);
        let filled = self.column_is(true);
        let constrained = |valid: bool| {
            format!("{filled} OR ringfence_adopt.constrained({}, '{FILLED}', {valid})", literal(table))
        };
        let check =
            format!("ALTER TABLE {table} ADD CONSTRAINT {FILLED} CHECK ({column} IS NOT NULL) NOT VALID");
        let validate = format!("ALTER TABLE {table} VALIDATE CONSTRAINT {FILLED}");
        let not_null = format!(
            "ALTER TABLE {table} ALTER COLUMN {column} SET NOT NULL;\nALTER TABLE {table} DROP CONSTRAINT {FILLED};"
        );
        let statement = |what: &str, lock, sql| Statement { about: format!("{table}: {what}"), lock, sql };
        vec![
            statement("no row that is written is nobody's", MOMENT, patiently(&constrained(false), &check)),
            statement("no row that is there is", READING, patiently(&constrained(true), &validate)),
            statement(
                &format!("{} is NOT NULL, which is known without reading", column.name),
                MOMENT,
                patiently(&filled, &not_null),
            ),
        ]
    }

    fn unfill(&self) -> Vec<Statement> {
        let (table, column) = (self.table, self.column);
        let there = format!("ringfence_adopt.constrained({}, '{FILLED}', false)", literal(table));
        let drop = format!("ALTER TABLE {table} DROP CONSTRAINT {FILLED}");
        let nullable = format!("ALTER TABLE {table} ALTER COLUMN {column} DROP NOT NULL");
        let statement = |what: &str, sql| Statement { about: format!("{table}: {what}"), lock: MOMENT, sql };
        vec![
            statement("no constraint of the migration's", patiently(&format!("NOT {there}"), &drop)),
            statement(
                &format!("{} may be NULL", column.name),
                patiently(&format!("NOT {}", self.column_is(true)), &nullable),
            ),
        ]
    }
}

/// What is demanded of the rows.
pub(super) fn constraints(plan: &Plan<'_>) -> Stage {
    let mut statements = vec![Statement {
        about: "Not without a check".to_owned(),
        lock: "none",
        sql: "CALL ringfence_adopt.demand_checked();".to_owned(),
    }];
    let (mut undo, tenant) = (Vec::new(), plan.column.name.as_str());
    for owned in &plan.owned {
        if owned.built.tenant.is_none_or(|tenant| !tenant.not_null) {
            statements.extend(owned.fill());
        }
    }
    for owned in &plan.owned {
        for link in &owned.links {
            let name = link.beside(owned.table, "with tenant_id");
            statements.extend(link.add(
                owned.table,
                &name,
                &link.with_tenant(tenant),
                &link.is_new(owned.table, tenant),
            ));
            undo.push(link.drop(owned.table, &name));
        }
    }
    for owned in &plan.owned {
        if owned.built.tenant.is_none_or(|tenant| !tenant.not_null) {
            undo.extend(owned.unfill());
        }
    }
    Stage {
        name: "constraints",
        does: format!("Makes {tenant} NOT NULL, and adds foreign keys that carry it beside those there are."),
        locks: "Each table for a moment, in short attempts; what is read for long is read without holding anybody up.",
        application:
            "A row that would be nobody's, or would point at another tenant's, is refused from here on."
                .to_owned(),
        statements,
        undo,
    }
}

/// The new in the place of the old.
pub(super) fn swap(plan: &Plan<'_>) -> Stage {
    let (mut statements, mut undo) = (Vec::new(), Vec::new());
    let tenant = plan.column.name.as_str();
    for owned in &plan.owned {
        let told = format!("{}: {tenant} may be NULL: run 5-constraints.sql first", owned.table);
        statements.push(Statement {
            about: format!("{}: no row is nobody's", owned.table),
            lock: "none",
            sql: demand(&owned.column_is(true), &told).trim_end().to_owned(),
        });
    }
    let of_links =
        || plan.owned.iter().flat_map(|owned| owned.links.iter().map(move |link| (owned.table, *link)));
    for (table, link) in of_links() {
        statements.push(Statement {
            about: format!("{table}: {} carries the tenant", link.name),
            lock: "ACCESS EXCLUSIVE on both tables, for a moment",
            sql: patiently(
                &link.is_new(table, tenant),
                &link.replace(table, &link.beside(table, "with tenant_id")),
            ),
        });
    }
    statements.extend(plan.dropped.iter().map(|(table, link)| link.drop(table, &link.name)));
    statements.extend(plan.owned.iter().flat_map(|owned| owned.exchange(false)));
    // What an undoing that was cut off has built.
    statements
        .extend(of_links().map(|(table, link)| link.drop(table, &link.beside(table, "without tenant_id"))));
    statements.extend(plan.owned.iter().flat_map(Owned::forget_former));

    undo.extend(plan.owned.iter().flat_map(Owned::rebuild));
    for (table, link) in of_links() {
        let is_old = format!("NOT {}", link.is_new(table, tenant));
        undo.extend(link.add(table, &link.beside(table, "without tenant_id"), &link.definition, &is_old));
    }
    for (table, link) in of_links() {
        undo.push(Statement {
            about: format!("{table}: {} is what it was", link.name),
            lock: "ACCESS EXCLUSIVE on both tables, for a moment",
            sql: patiently(
                &format!("NOT {}", link.is_new(table, tenant)),
                &link.replace(table, &link.beside(table, "without tenant_id")),
            ),
        });
    }
    // Where stage 5 was run again in between, its foreign keys hold the new keys.
    undo.extend(of_links().map(|(table, link)| link.drop(table, &link.beside(table, "with tenant_id"))));
    undo.extend(plan.owned.iter().flat_map(|owned| owned.exchange(true)));
    for (table, link) in &plan.dropped {
        undo.extend(link.add(table, &link.name, &link.definition, "false"));
        if let Some(comment) = &link.comment {
            let sql =
                format!("COMMENT ON CONSTRAINT {} ON {table} IS {};", ident(&link.name), literal(comment));
            undo.push(Statement {
                about: format!("{table}: what is said of {}", link.name),
                lock: SHORT,
                sql,
            });
        }
    }
    Stage {
        name: "swap",
        does: "Puts the new keys and foreign keys in the place of the old, under the same names.".to_owned(),
        locks: "Each table for a moment, in short attempts; nothing is read or built in it.",
        application: format!(
            "What was unique is unique in each tenant from here on: ON CONFLICT must name {tenant}. It can be undone for as long as no two \
             tenants have the same of what was unique over all."
        ),
        statements,
        undo,
    }
}
