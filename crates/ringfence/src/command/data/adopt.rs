//! `ringfence data adopt`: which tables of a schema belong to tenants, by what evidence, and the migration that protects them.

use std::{path::PathBuf, process::ExitCode};

use clap::Args;
use miette::{Context, IntoDiagnostic, Result};
use ringfence_guard::adopt::{Belonging, Certainty, Decisions, Inferred, Migration, Step, plan, report};
use serde_json::json;

use super::Database;
use crate::output::{print, printable};

/// Find out which tables of a database belong to tenants, and write the migration that puts them under row security. The
/// database itself is only read
#[derive(Debug, Args)]
pub(crate) struct Adopt {
    #[command(flatten)]
    database: Database,
    /// The table whose rows are the tenants: `organizations`
    #[arg(long, value_name = "TABLE")]
    root: String,
    /// Show what is inferred, and by what evidence
    #[arg(long, conflicts_with_all = ["out", "tenant_from"])]
    report: bool,
    /// Write the migration into this folder, which is empty or not there
    #[arg(long, value_name = "FOLDER")]
    out: Option<PathBuf>,
    /// What a tenant's id is, in SQL over its row: `slug`. Else 't-' and the key, where that is a number or a uuid
    #[arg(long, value_name = "SQL")]
    tenant_from: Option<String>,
    /// This table's rows are the same for all tenants
    #[arg(long, value_name = "TABLE")]
    shared: Vec<String>,
    /// This column names the row that a row's tenant is known by: `orders.placed_by`, or `orders.placed_by=users`
    #[arg(long, value_name = "TABLE.COLUMN")]
    belongs: Vec<String>,
    /// Drop the foreign key of this column: it can't stand beside row security
    #[arg(long, value_name = "TABLE.COLUMN")]
    drop_key: Vec<String>,
    /// What Ringfence's column is called. Else `tenant_id`, or `ringfence_tenant` where a table of tenants has a `tenant_id` of
    /// another type than text
    #[arg(long, value_name = "NAME")]
    column: Option<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Adopt {
    pub(crate) async fn run(self) -> Result<ExitCode> {
        let mut database = self.database.connect().await?;
        let client = &mut database.client;
        let decisions = Decisions {
            shared: self.shared,
            belongs: self.belongs,
            dropped: self.drop_key,
            column: self.column,
        };
        if self.report {
            let inferred = report(client, &self.root, &decisions).await.into_diagnostic()?;
            print(self.json, &json!(inferred), |_| text(&inferred));
            return Ok(ExitCode::SUCCESS);
        }
        let tenant_from = self.tenant_from.as_deref();
        let migration = plan(client, &self.root, tenant_from, &decisions).await.into_diagnostic()?;
        if let Some(folder) = &self.out {
            migration.write(folder).into_diagnostic().wrap_err_with(|| folder.display().to_string())?;
        }
        let written = self.out.map_or_else(
            || "Nothing is written: name a folder for the migration with --out.".to_owned(),
            |folder| format!("The migration is in {}: begin with README.md.", folder.display()),
        );
        print(self.json, &json!(migration), |_| format!("{}{written}", summary(&migration)));
        Ok(ExitCode::SUCCESS)
    }
}

/// What a migration would do, in short.
fn summary(migration: &Migration) -> String {
    let mut text = format!(
        "The rows of {} are the tenants, each called by {}.\n\n{} tables are protected, in {} stages:\n",
        printable(&migration.root),
        printable(&migration.tenant_from),
        migration.tables.len(),
        migration.stages.len()
    );
    for (at, stage) in (1..).zip(&migration.stages) {
        text.push_str(&format!("  {at}. {}: {}\n", stage.name, stage.does));
    }
    if let Some(why) = &migration.column_why {
        text.push_str(&format!("\n{}.\n", printable(why)));
    }
    if !migration.undecided.is_empty() {
        text.push_str(
            "\nNot decided, and left UNPROTECTED. The application's role must not reach these; decide with --belongs or --shared:\n",
        );
        for (table, why) in &migration.undecided {
            text.push_str(&format!("  {}: {}\n", printable(table), printable(why)));
        }
    }
    if !migration.changes.is_empty() {
        text.push_str("\nWhat changes for the application:\n");
        for change in &migration.changes {
            text.push_str(&format!("  {}\n", printable(change)));
        }
    }
    text.push('\n');
    text
}

fn text(Inferred { root, tables }: &Inferred) -> String {
    let mut of_tenants = String::new();
    let mut others = String::new();
    let mut undecided = String::new();
    let mut count = (0, 0, 0);
    for (table, is) in tables {
        let table = printable(table);
        match is {
            Belonging::Root => {}
            Belonging::Direct { step, also } => {
                count.0 += 1;
                of_tenants.push_str(&format!("  {table}\n{}", way(std::slice::from_ref(step), also)));
            }
            Belonging::Through { path, also } => {
                count.0 += 1;
                of_tenants.push_str(&format!("  {table}\n{}", way(path, also)));
            }
            Belonging::Shared { by } => {
                count.1 += 1;
                others.push_str(&format!(
                    "  {table}: {} {} at it\n",
                    printable(&by.join(", ")),
                    if by.len() == 1 { "points" } else { "point" }
                ));
            }
            Belonging::Framework => {
                count.1 += 1;
                others.push_str(&format!("  {table}: a framework's or a queue's own\n"));
            }
            Belonging::Undecided { why } => {
                count.2 += 1;
                undecided.push_str(&format!("  {table}: {}\n", printable(why)));
            }
        }
    }
    let mut text = format!("The rows of {} are the tenants.\n", printable(root));
    for (title, lines) in
        [("Of a tenant each, by", of_tenants), ("The same for all tenants", others), ("Not known", undecided)]
    {
        if !lines.is_empty() {
            text.push_str(&format!("\n{title}:\n{lines}"));
        }
    }
    let (tenants, shared, unknown) = count;
    text.push_str(&format!("\n{tenants} tables of tenants, {shared} shared, {unknown} to be decided."));
    text
}

/// How a row leads to its tenant, and what else leads to one.
fn way(path: &[Step], also: &[Vec<Step>]) -> String {
    let mut text = format!("      {}\n", steps(path));
    if path.iter().any(|step| step.nullable) {
        text.push_str("      a row that points at nothing is nobody's: say whose it is\n");
    }
    for other in also {
        text.push_str(&format!("      must agree with: {}\n", steps(other)));
    }
    text
}

fn steps(path: &[Step]) -> String {
    let step = |step: &Step| {
        let by = match &step.by {
            Certainty::ForeignKey(name) => format!("foreign key {name}"),
            Certainty::Name => "by its name only".to_owned(),
        };
        let null = if step.nullable { ", may be NULL" } else { "" };
        format!("{}.{} -> {} ({by}{null})", step.table, step.columns.join(", "), step.to)
    };
    printable(&path.iter().map(step).collect::<Vec<_>>().join(", then "))
}
