//! The last stage: row security, on those that point before those that are pointed at, so that no trigger of the migration's ever
//! answers for what a policy hides.

use super::{
    Plan, Stage, Statement,
    sql::{literal, patiently},
};

const MOMENT: &str = "ACCESS EXCLUSIVE, for a moment";

/// Whether Ringfence is installed, and which tenants have no key.
const INSTALLED: &str = "DO $body$
BEGIN
    IF to_regclass('ringfence.installed') IS NULL THEN
        RAISE EXCEPTION 'Ringfence is not installed in this database' USING ERRCODE = 'object_not_in_prerequisite_state',
            HINT = 'Start a plane once whose [postgres] names this server and database, with no tables yet; then run this file again.';
    END IF;
    IF to_regprocedure('ringfence.protect(regclass, boolean, boolean, name, boolean)') IS NULL THEN
        RAISE EXCEPTION 'an older Ringfence is installed in this database' USING ERRCODE = 'object_not_in_prerequisite_state',
            HINT = 'Start a plane of this version once, which brings it up to date; then run this file again.';
    END IF;
END
$body$;";

/// Row security.
pub(super) fn protect(plan: &Plan<'_>) -> Stage {
    let mut statements = vec![
        Statement { about: "What protects is there".to_owned(), lock: "none", sql: INSTALLED.to_owned() },
        Statement {
            about: "Tenants that have no key are reached by nobody afterwards".to_owned(),
            lock: "ACCESS SHARE",
            sql: format!(
                "SELECT {} AS tenant_without_a_key FROM {} EXCEPT SELECT tenant_id FROM ringfence.tenant_key ORDER BY 1 LIMIT 20;",
                plan.column, plan.root
            ),
        },
    ];
    let (mut undo, column) = (Vec::new(), literal(&plan.column.name));
    for owned in plan.owned.iter().rev() {
        let (table, is_root) = (owned.table, owned.table == plan.root);
        // A new root row is another tenant's than whose session it is: it keeps being named after itself.
        let set_default = !is_root && owned.built.tenant.is_none_or(|tenant| !tenant.has_default);
        let mut sql = if is_root { String::new() } else { format!("{}\n", owned.drop_triggers()) };
        sql.push_str(&format!(
            "SELECT ringfence_adopt.protect({}, {set_default}, {column});",
            literal(table)
        ));
        let protected = format!("ringfence_adopt.protected({}::regclass)", literal(table));
        statements.push(Statement {
            about: format!("{table}: only its tenant's rows are seen"),
            lock: MOMENT,
            sql: patiently(&protected, &sql),
        });
        let mut back = format!("SELECT ringfence_adopt.unprotect({}, {column});", literal(table));
        if !is_root {
            back.push_str(&format!("\n{}", owned.triggers()));
        }
        let remembered = format!(
            "NOT EXISTS (SELECT FROM ringfence_adopt.table_before WHERE relation = {}::regclass)",
            literal(table)
        );
        undo.insert(
            0,
            Statement {
                about: format!("{table}: no row security of Ringfence's"),
                lock: MOMENT,
                sql: patiently(&remembered, &back),
            },
        );
    }
    statements.push(Statement {
        about: "What the application's role reaches that is not protected: whose rows are in it?".to_owned(),
        lock: "none",
        sql: "SELECT relation AS reached_and_not_protected FROM ringfence.shared ORDER BY 1;".to_owned(),
    });
    // protect() keeps no statistics.
    undo.extend(plan.owned.iter().map(|owned| Statement {
        about: format!("{}: what the planner knows of it", owned.table),
        lock: "SHARE UPDATE EXCLUSIVE, as long as it reads a sample: it holds up no reading and no writing",
        sql: format!("ANALYZE {};", owned.table),
    }));
    Stage {
        name: "protect",
        does: format!(
            "Puts each table under Ringfence's row security, and lets {} be the session's tenant where a statement says none.",
            plan.column.name
        ),
        locks: "Each table for a moment, in short attempts.",
        application: format!(
            "Must reach the database through the guard from here on: without a tenant's context its role sees no row. Jobs and people that \
             work for no one tenant use a role with BYPASSRLS, and say {} where they insert.",
            plan.column.name
        ),
        statements,
        undo,
    }
}
