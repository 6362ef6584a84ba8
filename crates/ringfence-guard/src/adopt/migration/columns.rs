//! The first two stages: a column for the tenant, which triggers fill from then on and a procedure fills for the rows there were.

use super::{
    Owned, Plan, Stage, Statement, TENANT_ID,
    sql::{dollar, generated, ident, literal, patiently},
};

/// The names of the triggers: they are the last of their kind to be fired, after those of the application.
const TRIGGERS: [&str; 2] = ["zz_ringfence_adopt_insert", "zz_ringfence_adopt_update"];

impl Owned<'_> {
    /// The tenant of a row, as an expression over `row`.
    fn tenant(&self, row: &str, plan: &Plan<'_>) -> String {
        if self.table == plan.root {
            let alias = ident(&self.built.name);
            return format!("(SELECT (\n{}\n)::text FROM (SELECT {row}.*) AS {alias})", plan.tenant_from);
        }
        let each = self.sources.iter().map(|step| {
            format!("(SELECT p.{} FROM {} AS p WHERE {})", self.column, step.to, step.joins(row, "p"))
        });
        let each: Vec<String> = each.collect();
        match each.as_slice() {
            [one] => one.clone(),
            several => format!("coalesce({})", several.join(", ")),
        }
    }

    fn function(&self) -> String {
        format!("ringfence_adopt.{}", generated(&[&self.built.schema, &self.built.name, "fill"]))
    }

    /// What fills the column of rows that are written.
    fn filling(&self, plan: &Plan<'_>) -> String {
        let (is_root, column) = (self.table == plan.root, self.column);
        let known = if is_root {
            // What a tenant is called does not change, whatever it was made of does.
            format!("coalesce(ringfence_before, NEW.{column}, ringfence_said)")
        } else {
            format!("coalesce(ringfence_before, ringfence_said, NEW.{column})")
        };
        let differs = if is_root {
            format!("NEW.{column} <> ringfence_known OR ringfence_known !~ '{TENANT_ID}'")
        } else {
            format!("ringfence_said <> ringfence_known OR NEW.{column} <> ringfence_known")
        };
        let told = format!("a row of {} is of one tenant for good, whose id is one", self.table);
        let body = format!(
            "\n#variable_conflict use_column
DECLARE
    ringfence_before text;
    ringfence_said   text := {};
    ringfence_known  text;
BEGIN
    IF TG_OP = 'UPDATE' THEN
        ringfence_before := OLD.{column};
    END IF;
    ringfence_known := {known};
    IF {differs} THEN
        RAISE EXCEPTION USING ERRCODE = 'integrity_constraint_violation', MESSAGE = {},
            HINT = 'It is of the tenant of what it points at.';
    END IF;
    NEW.{column} := ringfence_known;
    RETURN NEW;
END\n",
            self.tenant("NEW", plan),
            literal(&told)
        );
        format!(
            "CREATE OR REPLACE FUNCTION {}() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER\n\
             SET search_path = pg_catalog, pg_temp AS {};",
            self.function(),
            dollar(&body)
        )
    }

    /// The triggers, of which the second is asked for rows whose tenant may be another.
    pub(super) fn triggers(&self) -> String {
        let [insert, update] = TRIGGERS;
        let (table, function, tenant) = (self.table, self.function(), self.column);
        let columns = self.sources.iter().flat_map(|step| &step.columns);
        let moved: String = columns
            .filter(|column| **column != tenant.name)
            .map(|column| format!(" OR OLD.{0} IS DISTINCT FROM NEW.{0}", ident(column)))
            .collect();
        format!(
            "CREATE OR REPLACE TRIGGER {insert} BEFORE INSERT ON {table} FOR EACH ROW EXECUTE FUNCTION {function}();\n\
             CREATE OR REPLACE TRIGGER {update} BEFORE UPDATE ON {table} FOR EACH ROW\n\
             WHEN (NEW.{tenant} IS NULL OR NEW.{tenant} <> OLD.{tenant}{moved}) EXECUTE FUNCTION {function}();"
        )
    }

    pub(super) fn drop_triggers(&self) -> String {
        TRIGGERS.map(|name| format!("DROP TRIGGER IF EXISTS {name} ON {};", self.table)).join("\n")
    }

    /// Whether there is such a trigger, as SQL.
    pub(super) fn has_triggers(&self) -> String {
        format!(
            "EXISTS (SELECT FROM pg_trigger WHERE tgrelid = {}::regclass AND tgname = '{}')",
            literal(self.table),
            TRIGGERS[1]
        )
    }

    /// Whether it has the column, as SQL.
    pub(super) fn column_is(&self, not_null: bool) -> String {
        format!(
            "ringfence_adopt.column_is({}, {not_null}, {})",
            literal(self.table),
            literal(&self.column.name)
        )
    }
}

/// Columns and what fills them.
pub(super) fn expand(plan: &Plan<'_>) -> Stage {
    let helpers = || Statement {
        about: "What the migration works with".to_owned(),
        lock: "none",
        sql: include_str!("helpers.sql").to_owned(),
    };
    let mut statements = vec![helpers()];
    let mut undo = vec![helpers()];
    let statement =
        |about: String, sql: String| Statement { about, lock: "ACCESS EXCLUSIVE, for a moment", sql };
    for owned in plan.owned.iter().filter(|owned| owned.built.tenant.is_none()) {
        let add = format!("ALTER TABLE {} ADD COLUMN {} text", owned.table, plan.column);
        statements.push(statement(
            format!("{}: a column for the tenant, empty", owned.table),
            patiently(&owned.column_is(false), &add),
        ));
    }
    for owned in &plan.owned {
        statements.push(Statement {
            about: format!("{}: what its rows are known by", owned.table),
            lock: "none",
            sql: owned.filling(plan),
        });
        let made = format!(
            "{} OR ringfence_adopt.protected({}::regclass)",
            owned.has_triggers(),
            literal(owned.table)
        );
        statements.push(Statement {
            about: format!("{}: rows that are written get their tenant", owned.table),
            lock: "SHARE ROW EXCLUSIVE, for a moment",
            sql: patiently(&made, &owned.triggers()),
        });
    }
    for owned in plan.owned.iter().rev() {
        undo.push(statement(
            format!("{}: nothing fills the column", owned.table),
            patiently(&format!("NOT {}", owned.has_triggers()), &owned.drop_triggers()),
        ));
        if owned.built.tenant.is_none() {
            let drop = format!("ALTER TABLE {} DROP COLUMN {}", owned.table, plan.column);
            undo.push(statement(
                format!("{}: no column for the tenant", owned.table),
                patiently(&format!("NOT {}", owned.column_is(false)), &drop),
            ));
        }
    }
    let sql = "DROP SCHEMA ringfence_adopt CASCADE;".to_owned();
    undo.push(Statement { about: "What the migration worked with".to_owned(), lock: "none", sql });
    Stage {
        name: "expand",
        does: format!(
            "Adds a column {} that may be empty, and triggers that fill it in rows that are written from now on.",
            plan.column.name
        ),
        locks: "Each table for a moment, which it waits for in short attempts.",
        application:
            "Goes on as it is. A row that would go over to another tenant by what it points at is refused."
                .to_owned(),
        statements,
        undo,
    }
}

/// The tenants of the rows there are.
pub(super) fn backfill(plan: &Plan<'_>) -> Stage {
    let statements = plan.owned.iter().map(|owned| Statement {
        about: format!("{}: each row gets its tenant", owned.table),
        lock: "ROW EXCLUSIVE; rows, some thousands at once",
        sql: format!(
            "CALL ringfence_adopt.fill({}, {}, {});",
            literal(owned.table),
            dollar(&owned.tenant("t", plan)),
            literal(&plan.column.name)
        ),
    });
    Stage {
        name: "backfill",
        does: "Gives each row its tenant, that of the row it points at; tables that are pointed at first.".to_owned(),
        locks: "Some thousands of rows at once, and none that somebody else has locked.",
        application: "Goes on as it is. Each row is written once: make room for as much again, and let autovacuum follow.".to_owned(),
        statements: statements.collect(),
        // What is filled goes with the column.
        undo: Vec::new(),
    }
}
