//! `ringfence data migrate`: the migrations of `[postgres] migrations`, in every database that tenants' rows are in.

use std::{process::ExitCode, time::Duration};

use clap::Args;
use http::Method;
use indicatif::{ProgressBar, ProgressStyle};
use miette::Result;
use serde_json::{Value, json};

use crate::{
    call::Caller,
    command::Common,
    output::{print, printable, table},
};

/// How often a run is asked what it has come to.
const EVERY: Duration = Duration::from_millis(100);

/// Bring every database that tenants' rows are in to the last migration: the first alone, then several at a time. What fails is
/// as it was; the same command goes on from there
#[derive(Debug, Args)]
pub(crate) struct Migrate {
    #[command(flatten)]
    common: Common,
    /// Show who is where, and change nothing
    #[arg(long)]
    status: bool,
    /// How many databases at a time
    #[arg(long, default_value_t = 4, value_name = "N")]
    concurrency: usize,
    /// How many may fail before none is begun any more
    #[arg(long, default_value_t = 0, value_name = "N")]
    tolerate: usize,
    /// How often each is tried again where somebody holds a lock, or the connection breaks
    #[arg(long, default_value_t = 5, value_name = "N")]
    retry: u32,
}

impl Migrate {
    pub(crate) async fn run(self) -> Result<ExitCode> {
        let Self { common, status, concurrency, tolerate, retry } = self;
        let caller = Caller::new();
        let path = "/v1/migrations";
        if !status {
            let pace = json!({ "concurrency": concurrency, "tolerate": tolerate, "retry": retry });
            let begun = caller.api(&common, Method::POST, path, Some(pace)).await?;
            let bar = ProgressBar::new(number(&begun, "databases"));
            let style = ProgressStyle::with_template("{bar:30} {pos} of {len} databases  {msg}");
            bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
            loop {
                let found = caller.api(&common, Method::GET, path, None).await?;
                let progress = found.get("progress").cloned().unwrap_or_default();
                bar.set_position(number(&progress, "done") + number(&progress, "failed"));
                bar.set_message(printable(progress.get("doing").and_then(Value::as_str).unwrap_or_default()));
                if progress.get("running") != Some(&Value::Bool(true)) {
                    break;
                }
                tokio::time::sleep(EVERY).await;
            }
            bar.finish_and_clear();
        }
        let found = caller.api(&common, Method::GET, path, None).await?;
        print(common.json, &found, text);
        let databases = found.get("databases").and_then(Value::as_array).cloned().unwrap_or_default();
        let behind = |standing: &Value| number(standing, "pending") > 0 || !standing["fault"].is_null();
        let failed = !status && databases.iter().any(behind);
        Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
    }
}

fn number(value: &Value, member: &str) -> u64 {
    value.get(member).and_then(Value::as_u64).unwrap_or_default()
}

fn text(found: &Value) -> String {
    let databases = found.get("databases").cloned().unwrap_or_default();
    let mut text = table(&databases, &["database", "tenant", "version", "pending", "fault"]);
    let all = databases.as_array().map(Vec::as_slice).unwrap_or_default();
    let pending = all.iter().filter(|standing| number(standing, "pending") > 0).count();
    let faults = all.iter().filter(|standing| !standing["fault"].is_null()).count();
    text.push_str(&format!(
        "\n{} databases: {} have had every migration, {pending} have not, {faults} can't be migrated.",
        all.len(),
        all.len() - pending - faults,
    ));
    let left = found.pointer("/progress/left").and_then(Value::as_u64).unwrap_or_default();
    let failed = found.pointer("/progress/failed").and_then(Value::as_u64).unwrap_or_default();
    if failed > 0 {
        text.push_str(&format!("\nIn the last run {failed} failed and {left} were not begun:"));
        let faults = found.pointer("/progress/faults").and_then(Value::as_object);
        for (database, fault) in faults.into_iter().flatten() {
            let fault = fault.as_str().unwrap_or_default();
            text.push_str(&format!("\n  {}: {}", printable(database), printable(fault)));
        }
        text.push_str("\nNothing of what failed has stayed. The same command goes on from there.");
    }
    text
}
