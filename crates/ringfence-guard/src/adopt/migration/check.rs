//! The third stage: every row has a tenant, and whatever else leads to one leads to the same.

use super::{
    Owned, Plan, Stage, Statement, TENANT_ID,
    sql::{dollar, ident},
};

impl Owned<'_> {
    fn looks(&self, plan: &Plan<'_>) -> Vec<(String, String)> {
        let table = self.table;
        let mut looks = Vec::new();
        if table == plan.root {
            looks.push((
                format!("{table}: no tenant's id is made of it, or one that is none"),
                format!("SELECT * FROM {table} WHERE tenant_id !~ '{TENANT_ID}' OR tenant_id IS NULL"),
            ));
            looks.push((
                format!("{table}: it has the tenant's id of another row"),
                format!("SELECT tenant_id, count(*) FROM {table} GROUP BY tenant_id HAVING count(*) > 1"),
            ));
        } else {
            let columns: Vec<&str> =
                self.sources.iter().flat_map(|step| &step.columns).map(String::as_str).collect();
            looks.push((
                format!(
                    "{table}: nobody's, for {} points at nothing: let it point at something, or set its tenant_id",
                    columns.join(", ")
                ),
                format!("SELECT * FROM {table} WHERE tenant_id IS NULL"),
            ));
        }
        for link in &self.links {
            let pair = |(here, there)| format!("p.{} = t.{}", ident(there), ident(here));
            let on: Vec<String> = link.pairs().map(pair).collect();
            looks.push((
                format!("{table}: by its foreign key {} of another tenant than itself", link.name),
                disagreeing(table, &link.to, &on.join(" AND ")),
            ));
        }
        for step in &self.named {
            let on = step.joins("t", "p");
            looks.push((
                format!("{table}: by {} of another tenant than itself", step.columns.join(", ")),
                disagreeing(table, &step.to, &on),
            ));
            if self.sources.first().is_some_and(|first| first == step) {
                let points: Vec<String> =
                    step.columns.iter().map(|column| format!("t.{} IS NOT NULL", ident(column))).collect();
                looks.push((
                    format!("{table}: its {} points at no row of {}", step.columns.join(", "), step.to),
                    format!(
                        "SELECT t.* FROM {table} AS t WHERE {} AND NOT EXISTS (SELECT FROM {} AS p WHERE {on})",
                        points.join(" AND "),
                        step.to
                    ),
                ));
            }
        }
        looks
    }
}

/// The rows that are of another tenant than what they point at.
fn disagreeing(table: &str, to: &str, on: &str) -> String {
    format!(
        "SELECT t.tenant_id AS its_tenant, p.tenant_id AS other_tenant, t.* FROM {table} AS t JOIN {to} AS p ON {on} \
         WHERE t.tenant_id IS DISTINCT FROM p.tenant_id"
    )
}

/// Whether all rows fit.
pub(super) fn check(plan: &Plan<'_>) -> Stage {
    let statement = |about: String, sql: String| Statement { about, lock: "ACCESS SHARE", sql };
    let mut statements = vec![statement(
        "What was found before is forgotten".to_owned(),
        "DELETE FROM ringfence_adopt.problem;\nDELETE FROM ringfence_adopt.checked;".to_owned(),
    )];
    for owned in &plan.owned {
        for (told, query) in owned.looks(plan) {
            let sql = format!("CALL ringfence_adopt.look({}, {});", dollar(&told), dollar(&query));
            statements.push(statement(told, sql));
        }
    }
    statements.push(statement("All of it".to_owned(), "CALL ringfence_adopt.conclude();".to_owned()));
    Stage {
        name: "check",
        does: "Looks for rows that are nobody's, for ways to a tenant that do not agree, and for ids that are no tenant's; refuses \
               to go on where there are any, with how many, and a query that shows them.",
        locks: "None that holds anybody up. It reads each table some times.",
        application: "Goes on as it is.",
        statements,
        undo: Vec::new(),
    }
}
