//! The third stage: every row has a tenant, and whatever else leads to one leads to the same.

use super::{
    Owned, Plan, Stage, Statement, TENANT_ID,
    sql::{dollar, ident},
};

impl Owned<'_> {
    fn looks(&self, plan: &Plan<'_>) -> Vec<(String, String)> {
        let (table, column) = (self.table, self.column);
        let mut looks = Vec::new();
        if table == plan.root {
            looks.push((
                format!("{table}: no tenant's id is made of it, or one that is none"),
                format!("SELECT * FROM {table} WHERE {column} !~ '{TENANT_ID}' OR {column} IS NULL"),
            ));
            looks.push((
                format!("{table}: it has the tenant's id of another row"),
                format!("SELECT {column}, count(*) FROM {table} GROUP BY {column} HAVING count(*) > 1"),
            ));
        } else {
            let columns: Vec<&str> =
                self.sources.iter().flat_map(|step| &step.columns).map(String::as_str).collect();
            looks.push((
                format!(
                    "{table}: nobody's, for {} points at nothing: let it point at something, or set its {}",
                    columns.join(", "),
                    column.name
                ),
                format!("SELECT * FROM {table} WHERE {column} IS NULL"),
            ));
        }
        for link in &self.links {
            let pair = |(here, there)| format!("p.{} = t.{}", ident(there), ident(here));
            let on: Vec<String> = link.pairs().map(pair).collect();
            looks.push((
                format!("{table}: by its foreign key {} of another tenant than itself", link.name),
                self.disagreeing(&link.to, &on.join(" AND ")),
            ));
        }
        for step in &self.named {
            let on = step.joins("t", "p");
            looks.push((
                format!("{table}: by {} of another tenant than itself", step.columns.join(", ")),
                self.disagreeing(&step.to, &on),
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

    /// The rows that are of another tenant than what they point at.
    fn disagreeing(&self, to: &str, on: &str) -> String {
        let (table, column) = (self.table, self.column);
        format!(
            "SELECT t.{column} AS its_tenant, p.{column} AS other_tenant, t.* FROM {table} AS t JOIN {to} AS p ON {on} \
             WHERE t.{column} IS DISTINCT FROM p.{column}"
        )
    }
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
               to go on where there are any, with how many, and a query that shows them.".to_owned(),
        locks: "None that holds anybody up. It reads each table some times.",
        application: "Goes on as it is.".to_owned(),
        statements,
        undo: Vec::new(),
    }
}
