//! `ringfence data lint`: what of a database lets one tenant's rows out to another.

use std::{collections::BTreeMap, process::ExitCode};

use clap::{Args, ValueEnum};
use indicatif::{ProgressBar, ProgressStyle};
use miette::{IntoDiagnostic, Result};
use ringfence_guard::lint::{Finding, Known, Level, Report, Rule, lint, rules};
use serde_json::{Value, json};

use super::Database;
use crate::output::printable;

/// As long as this a fix is shown to people, in characters; the other formats have all of it.
const SHOWN: usize = 200;

/// Look a database over for everything known to let one tenant's rows out to another. Nothing is changed
#[derive(Debug, Args)]
pub(crate) struct Lint {
    #[command(flatten)]
    database: Database,
    /// As whom the application logs in; may be given several times. Else found by what roles may do
    #[arg(long, value_name = "ROLE")]
    role: Vec<String>,
    /// The column by which tables know a tenant; may be given several times. Else found by name
    #[arg(long, value_name = "COLUMN")]
    tenant_column: Vec<String>,
    /// How to say what was found
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
    /// Fail where something at least this bad was found
    #[arg(long, value_enum, default_value = "error", value_name = "LEVEL")]
    fail_on: FailOn,
    /// Show every rule with the query that finds it, and ask no database
    #[arg(long)]
    rules: bool,
}

/// How findings are said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people
    Text,
    /// One object
    Json,
    /// Static Analysis Results Interchange Format, 2.1.0
    Sarif,
    /// The statements that mend it, to be read before they are run
    Sql,
}

/// What makes the command fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum FailOn {
    Error,
    Warning,
    Note,
    Never,
}

impl FailOn {
    fn fails(self, level: Level) -> bool {
        match self {
            Self::Error => level >= Level::Error,
            Self::Warning => level >= Level::Warning,
            Self::Note => true,
            Self::Never => false,
        }
    }
}

impl Lint {
    pub(crate) async fn run(self) -> Result<ExitCode> {
        if self.rules {
            say!("{}", of_rules(self.format));
            return Ok(ExitCode::SUCCESS);
        }
        let known = Known { roles: self.role, columns: self.tenant_column };
        let mut database = self.database.connect().await?;
        let bar = ProgressBar::new(u64::try_from(rules().count()).unwrap_or(u64::MAX));
        let style = ProgressStyle::with_template("{bar:30} {pos} of {len} rules  {msg}");
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        let asked = lint(&mut database.client, known, |rule| {
            bar.inc(1);
            bar.set_message(rule.name);
        });
        let asked = asked.await;
        bar.finish_and_clear();
        let report = asked.into_diagnostic()?;
        let text = match self.format {
            Format::Text => text(&report),
            Format::Json => pretty(&in_json(&report)),
            Format::Sarif => pretty(&sarif(&report.findings)),
            Format::Sql => sql(&report.findings),
        };
        say!("{}", text.trim_end());
        let fails = found(&report.findings).any(|(rule, _)| self.fail_on.fails(rule.level));
        Ok(if fails { ExitCode::FAILURE } else { ExitCode::SUCCESS })
    }
}

fn pretty(value: &Value) -> String {
    serde_json::to_string_pretty(value).unwrap_or_default()
}

const fn named(level: Level) -> &'static str {
    match level {
        Level::Error => "error",
        Level::Warning => "warning",
        Level::Note => "note",
    }
}

/// Each rule that found something with what it found, the worst first.
fn found(findings: &[Finding]) -> impl Iterator<Item = (&'static Rule, Vec<&Finding>)> {
    let mut by_rule: BTreeMap<&str, Vec<&Finding>> = BTreeMap::new();
    for finding in findings {
        by_rule.entry(finding.rule).or_default().push(finding);
    }
    let mut rules: Vec<_> = rules().filter_map(|rule| Some((rule, by_rule.remove(rule.id)?))).collect();
    rules.sort_by_key(|(rule, _)| std::cmp::Reverse(rule.level));
    rules.into_iter()
}

fn text(Report { subject, findings, refused }: &Report) -> String {
    let mut text = String::new();
    let mut count: BTreeMap<Level, usize> = BTreeMap::new();
    for (rule, findings) in found(findings) {
        *count.entry(rule.level).or_default() += findings.len();
        text.push_str(&format!("{} {} {}: {}\n", named(rule.level), rule.id, rule.name, rule.why));
        for Finding { object, detail, fix, .. } in findings {
            let mut shown: String = printable(fix).chars().take(SHOWN).collect();
            if shown.len() < printable(fix).len() {
                shown.push_str(" … (--format sql has all of it)");
            }
            text.push_str(&format!("    {}: {}\n        {shown}\n", printable(object), printable(detail)));
        }
        text.push('\n');
    }
    let [errors, warnings, notes] = [Level::Error, Level::Warning, Level::Note]
        .map(|level| count.get(&level).copied().unwrap_or_default());
    let roles = match subject.roles.as_slice() {
        [] => "no role that the application could log in as was found: name it by --role".to_owned(),
        roles => format!("the application logs in as {}", printable(&roles.join(", "))),
    };
    text.push_str(&format!(
        "{errors} errors, {warnings} warnings, {notes} notes. {} tables know a tenant by {}; {roles}.",
        subject.tables,
        printable(&subject.columns.join(" or ")),
    ));
    if !refused.is_empty() {
        text.push_str(&format!("\nNot asked, for it takes more privileges: {}.", refused.join(", ")));
    }
    text
}

fn in_json(Report { subject, findings, refused }: &Report) -> Value {
    let one =
        |(rule, findings): (&'static Rule, Vec<&Finding>)| json!({ "rule": rule, "findings": findings });
    json!({ "subject": subject, "found": found(findings).map(one).collect::<Vec<_>>(), "refused": refused })
}

/// SARIF 2.1.0, sections 3.13 to 3.58. A database has no files: what is found has a logical location (3.33).
fn sarif(findings: &[Finding]) -> Value {
    let described = |rule: &Rule| {
        json!({
            "id": rule.id,
            "name": rule.name,
            "shortDescription": { "text": rule.name.replace('-', " ") },
            "fullDescription": { "text": rule.why },
            "defaultConfiguration": { "level": named(rule.level) },
        })
    };
    let result = |(rule, findings): (&'static Rule, Vec<&Finding>)| {
        let one = move |finding: &Finding| {
            json!({
                "ruleId": rule.id,
                "level": named(rule.level),
                "message": { "text": format!("{}: {}", finding.object, finding.detail) },
                "locations": [{ "logicalLocations": [{ "fullyQualifiedName": finding.object }] }],
                "properties": { "fix": finding.fix },
            })
        };
        findings.into_iter().map(one).collect::<Vec<_>>()
    };
    json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": { "driver": {
                "name": "ringfence data lint",
                "version": env!("CARGO_PKG_VERSION"),
                "rules": rules().map(described).collect::<Vec<_>>(),
            } },
            "results": found(findings).flat_map(result).collect::<Vec<_>>(),
        }],
    })
}

fn sql(findings: &[Finding]) -> String {
    let mut text = String::new();
    for (rule, findings) in found(findings) {
        for Finding { object, detail, fix, .. } in findings {
            // A name may hold anything: a comment stays one.
            let told = format!("{} {}: {object}: {detail}", rule.id, rule.name);
            text.push_str(&format!("-- {}\n{fix}\n\n", printable(&told)));
        }
    }
    text
}

fn of_rules(format: Format) -> String {
    let described = |rule: &Rule| json!({ "rule": rule, "query": rule.sql() });
    match format {
        Format::Text | Format::Sql => rules()
            .map(|rule| {
                let Rule { id, name, level, why, .. } = rule;
                format!("-- {id} {name} ({}): {why}\n{};\n\n", named(*level), rule.sql().trim_end())
            })
            .collect(),
        Format::Json | Format::Sarif => pretty(&rules().map(described).collect()),
    }
}
