//! `ringfence data prove`: one made-up tenant tries to reach another's rows in a database of yours.

use std::{
    collections::{BTreeMap, BTreeSet},
    process::ExitCode,
    time::Duration,
};

use clap::{Args, ValueEnum};
use indicatif::ProgressBar;
use miette::{IntoDiagnostic, Result};
use ringfence_guard::{
    canary::{Canaries, Outcome, Report, Try},
    lint::Known,
};
use serde_json::json;

use super::Address;
use crate::output::{print, printable};

/// Every kind of try, in the order they are shown, and what it is.
const KINDS: [(&str, &str); 14] = [
    ("read", "everything is read, which must not depend on the other's rows"),
    ("find", "the other's very row is read"),
    ("update", "the other's very row is changed"),
    ("update-all", "a column of all rows is changed"),
    ("give", "a row is made the other's"),
    ("delete", "the other's very row is deleted"),
    ("delete-all", "all rows are deleted"),
    ("truncate", "the table is emptied past its policies"),
    ("insert", "a row of the other's is inserted"),
    ("unique", "a row with the other's key is inserted"),
    ("reference", "a row that points at the other's is inserted"),
    ("call", "a function is called with the other's keys"),
    ("effect", "and may have changed the other's rows"),
    ("claim", "the session says that it is the other's"),
];

/// Plant rows of two made-up tenants in a database, try to reach one's as the other, and roll all of it back
#[derive(Debug, Args)]
pub(crate) struct Prove {
    #[command(flatten)]
    address: Address,
    /// As whom the application logs in. Else found by what roles may do
    #[arg(long, value_name = "ROLE")]
    role: Option<String>,
    /// The column by which tables know a tenant; may be given several times. Else found by name
    #[arg(long, value_name = "COLUMN")]
    tenant_column: Vec<String>,
    /// What a session says to become a tenant's, `{tenant}` standing for the tenant. Else Ringfence's context, or the setting
    /// that policies ask
    #[arg(long, value_name = "SQL")]
    r#as: Option<String>,
    /// A table that leads to tenants and is everybody's on purpose; may be given several times
    #[arg(long, value_name = "TABLE")]
    shared: Vec<String>,
    /// Fail where something at least this bad was found
    #[arg(long, value_enum, default_value = "tells", value_name = "OUTCOME")]
    fail_on: FailOn,
    /// Print JSON, with every try and its statement
    #[arg(long)]
    json: bool,
}

/// What makes the command fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum FailOn {
    /// A row was reached
    Leak,
    /// Or it was told that one is there
    Tells,
    /// Nothing does
    Never,
}

impl Prove {
    pub(crate) async fn run(self) -> Result<ExitCode> {
        let Self { address, role, tenant_column, r#as, shared, fail_on, json } = self;
        let mut client = address.connect().await?;
        let known = Known { roles: role.into_iter().collect(), columns: tenant_column };
        let bar = ProgressBar::new_spinner();
        bar.enable_steady_tick(Duration::from_millis(100));
        let canaries = Canaries { known, becomes: r#as, shared };
        let proved = canaries.prove(&mut client, |told| bar.set_message(printable(told))).await;
        bar.finish_and_clear();
        let report = proved.into_diagnostic()?;
        print(json, &json!(report), |_| text(&report));
        let fails = |one: &Try| match fail_on {
            FailOn::Leak => one.outcome >= Outcome::Leak,
            FailOn::Tells => one.outcome >= Outcome::Tells,
            FailOn::Never => false,
        };
        Ok(if report.tries.iter().any(fails) { ExitCode::FAILURE } else { ExitCode::SUCCESS })
    }
}

fn text(report: &Report) -> String {
    let mut text = matrix(report);
    for (outcome, told) in [
        (Outcome::Leak, "Leaks: the other tenant's row was reached"),
        (Outcome::Tells, "Tells: that the other tenant has something, and not what"),
    ] {
        let found = once(report.of(outcome));
        if !found.is_empty() {
            text.push_str(&format!("\n{told}\n"));
        }
        for one in found {
            let shown: String = printable(&one.sql).chars().take(300).collect();
            text.push_str(&format!(
                "    {} {}: {}\n        {shown}\n",
                one.what,
                printable(&one.object),
                printable(&one.detail)
            ));
        }
    }
    let untried = once(report.of(Outcome::Untried).chain(report.of(Outcome::Blind)));
    if !untried.is_empty() || !report.barren.is_empty() {
        text.push_str("\nNot shown\n");
    }
    for one in untried {
        text.push_str(&format!("    {} {}: {}\n", one.what, printable(&one.object), printable(&one.detail)));
    }
    for barren in &report.barren {
        text.push_str(&format!(
            "    {}: no row could be planted: {}\n",
            printable(&barren.table),
            printable(&barren.why)
        ));
    }
    let count = |outcome| report.of(outcome).count();
    let [leaks, tells] = [count(Outcome::Leak), count(Outcome::Tells)];
    let found = match (leaks, tells) {
        (0, 0) => "nothing of one tenant's was reached by the other".to_owned(),
        _ => format!("{leaks} leaked, {tells} told of something"),
    };
    text.push_str(&format!(
        "\n{} tries in both directions, as {}, on rows in {} tables that know a tenant by {}: {found}.\n\
         A session became a tenant's by {}. All of it was rolled back.",
        report.tries.len(),
        printable(&report.role),
        report.planted.len(),
        printable(&report.columns.join(" or ")),
        printable(&report.becomes),
    ));
    text
}

/// A line for each object, a column for each kind of try, the worst of both directions in it.
fn matrix(report: &Report) -> String {
    let mut worst: BTreeMap<&str, BTreeMap<&str, Outcome>> = BTreeMap::new();
    for Try { what, object, outcome, .. } in &report.tries {
        let cell = worst.entry(object).or_default().entry(what).or_insert(*outcome);
        *cell = (*cell).max(*outcome);
    }
    let tried: BTreeSet<&str> = report.tries.iter().map(|one| one.what).collect();
    let kinds: Vec<_> = KINDS.iter().filter(|(kind, _)| tried.contains(kind)).collect();
    let width = worst.keys().map(|object| printable(object).chars().count()).max().unwrap_or_default();
    let mut text = String::new();
    for (at, (kind, told)) in kinds.iter().enumerate() {
        text.push_str(&format!("{:width$}  {}┌ {kind}: {told}\n", "", "│ ".repeat(at)));
    }
    for (object, cells) in worst {
        let signs = kinds
            .iter()
            .map(|(kind, _)| format!("{} ", cells.get(kind).map_or(' ', |outcome| sign(*outcome))));
        text.push_str(&format!("{:width$}  {}\n", printable(object), signs.collect::<String>().trim_end()));
    }
    text.push_str(
        "\n· held   L leak   t tells   b shows nothing of one's own either   ? could not be tried\n",
    );
    text
}

const fn sign(outcome: Outcome) -> char {
    match outcome {
        Outcome::Held => '·',
        Outcome::Blind => 'b',
        Outcome::Untried => '?',
        Outcome::Tells => 't',
        Outcome::Leak => 'L',
    }
}

/// One of each that differ in more than in who tried.
fn once<'a>(tries: impl Iterator<Item = &'a Try>) -> Vec<&'a Try> {
    let mut seen = BTreeSet::new();
    tries.filter(|one| seen.insert((one.what, &one.object, &one.detail))).collect()
}
