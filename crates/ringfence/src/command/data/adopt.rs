//! `ringfence data adopt`: which tables of a schema belong to tenants, and by what evidence.

use std::process::ExitCode;

use clap::Args;
use miette::{IntoDiagnostic, Result, bail};
use ringfence_guard::adopt::{Belonging, Catalog, Certainty, Inferred, Step, infer};
use serde_json::json;

use super::Database;
use crate::output::{print, printable};

/// Find out which tables of a database belong to tenants, and by what evidence. Nothing is changed
#[derive(Debug, Args)]
pub(crate) struct Adopt {
    #[command(flatten)]
    database: Database,
    /// The table whose rows are the tenants: `organizations`
    #[arg(long, value_name = "TABLE")]
    root: String,
    /// Show what is inferred. A migration is not written yet, so nothing else is done
    #[arg(long)]
    report: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Adopt {
    pub(crate) async fn run(self) -> Result<ExitCode> {
        if !self.report {
            bail!(
                "a migration is not written yet: --report shows which tables belong to tenants, and by what evidence"
            );
        }
        let mut database = self.database.connect().await?;
        let catalog = Catalog::read(&mut database.client).await.into_diagnostic()?;
        let inferred = infer(&catalog, &self.root).into_diagnostic()?;
        print(self.json, &json!(inferred), |_| text(&inferred));
        Ok(ExitCode::SUCCESS)
    }
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
