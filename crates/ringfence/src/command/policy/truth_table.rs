//! `ringfence policy test`: a truth table in YAML.

use std::{path::PathBuf, process::ExitCode};

use clap::Args;
use http::Method;
use miette::{IntoDiagnostic, Result, WrapErr};
use serde_json::{Value, json};

use super::{
    super::Common,
    text::{read, side},
};
use crate::{
    call::Caller,
    output::{print, table},
};

/// Check a truth table. Fails where a row does not come out as it says.
#[derive(Debug, Args)]
pub(crate) struct Test {
    /// A YAML file: a list of rows, each with principal, action, resource and expect
    file: PathBuf,
    /// The tenant
    #[arg(long)]
    tenant: String,
    /// What to ask: serving, a version's number, or p and a proposal's number
    #[arg(long, default_value = "serving")]
    of: String,
    #[command(flatten)]
    common: Common,
}

impl Test {
    pub(crate) async fn run(self, caller: &Caller) -> Result<ExitCode> {
        let Self { file, tenant, of, common } = self;
        let rows: Vec<Value> = serde_saphyr::from_str(&read(&file)?)
            .into_diagnostic()
            .wrap_err_with(|| format!("{} is not a list of rows in YAML", file.display()))?;
        let path = format!("/v1/tenants/{tenant}/truth-table");
        let body = json!({ "of": side(&of)?, "rows": rows });
        let report = caller.api(&common, Method::POST, &path, Some(body)).await?;
        print(common.json, &report, text);
        let failed = report.get("failed").and_then(Value::as_u64);
        Ok(if failed == Some(0) { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

fn text(report: &Value) -> String {
    let number = |name: &str| report.get(name).and_then(Value::as_u64).unwrap_or_default();
    let rows = report.get("rows").and_then(Value::as_array).into_iter().flatten();
    let failed: Vec<Value> = rows.filter(|row| row.get("passed") != Some(&json!(true))).cloned().collect();
    let mut text = format!("{} passed, {} failed\n", number("passed"), number("failed"));
    if !failed.is_empty() {
        text.push('\n');
        text.push_str(&table(&json!(failed), &["row", "name", "expected", "got", "by", "problem"]));
    }
    text
}
