//! `ringfence tenant move-data`: moves a tenant's rows to another shape, and waits for what comes of it.

use std::{process::ExitCode, time::Duration};

use clap::Args;
use http::Method;
use indicatif::{HumanBytes, HumanCount, ProgressBar};
use miette::{Result, bail};
use serde_json::{Value, json};

use super::Common;
use crate::{
    call::Caller,
    output::{print, printable},
};

/// How often a move is looked after.
const LOOK: Duration = Duration::from_millis(100);

/// Move a tenant's rows while it is served. Until it is confirmed it can be undone.
#[derive(Debug, Args)]
pub(crate) struct MoveData {
    /// The tenant's id
    id: String,
    /// The shape its rows are to have
    #[arg(long, value_parser = ["rows", "role", "schema", "database", "server"], required_unless_present_any = ["stop", "show", "confirm", "undo"])]
    to: Option<String>,
    /// Remove where it was: there is no way back then
    #[arg(long, conflicts_with_all = ["to", "show", "stop", "undo"])]
    confirm: bool,
    /// Bring it back to where it was, with what was written since
    #[arg(long, conflicts_with_all = ["to", "show", "stop"])]
    undo: bool,
    /// End a move that is not made yet: the tenant stays where it is
    #[arg(long, conflicts_with_all = ["to", "show"])]
    stop: bool,
    /// Show the latest move
    #[arg(long, conflicts_with = "to")]
    show: bool,
    /// Why, for the record
    #[arg(long, requires = "to")]
    reason: Option<String>,
    #[command(flatten)]
    common: Common,
}

impl MoveData {
    pub(crate) async fn run(self, caller: &Caller) -> Result<ExitCode> {
        let path = format!("/v1/tenants/{}/data-move", self.id);
        let call = async |method, path: &str, body| caller.api(&self.common, method, path, body).await;
        let mut found = match &self {
            Self { show: true, .. } => call(Method::GET, &path, None).await?,
            Self { stop: true, .. } => call(Method::DELETE, &path, None).await?,
            Self { confirm: true, .. } => call(Method::POST, &format!("{path}/confirm"), None).await?,
            Self { undo: true, .. } => call(Method::POST, &format!("{path}/undo"), None).await?,
            Self { to, reason, .. } => {
                call(Method::POST, &path, Some(json!({ "to": to, "reason": reason }))).await?
            }
        };
        let bar =
            if self.common.json || self.show { ProgressBar::hidden() } else { ProgressBar::new_spinner() };
        while !self.show && goes_on(&found) {
            bar.set_message(progress(&found));
            bar.tick();
            tokio::time::sleep(LOOK).await;
            found = call(Method::GET, &path, None).await?;
        }
        bar.finish_and_clear();
        if let (Some(why), false) =
            (found.pointer("/state/stopped").and_then(Value::as_str), self.stop || self.show)
        {
            bail!("the move was stopped, and the tenant is served where it was: {}", printable(why));
        }
        print(self.common.json, &found, text);
        Ok(ExitCode::SUCCESS)
    }
}

/// Whether the plane is at it.
fn goes_on(found: &Value) -> bool {
    let state = found.get("state");
    let words = ["bringing", "arrived", "undoing", "returned", "confirming"];
    let word = state.and_then(Value::as_str).is_some_and(|state| words.contains(&state));
    word || state.is_some_and(|state| state.get("stopping").is_some())
}

fn progress(found: &Value) -> String {
    let number = |name: &str| found.pointer(name).and_then(Value::as_u64).unwrap_or_default();
    let doing = found.pointer("/progress/doing").and_then(Value::as_str).unwrap_or("begins");
    let (rows, bytes) = (HumanCount(number("/progress/rows")), HumanBytes(number("/progress/bytes")));
    format!(
        "{} ({rows} rows, {bytes} copied, {} behind)",
        printable(doing),
        HumanBytes(number("/progress/behind"))
    )
}

fn text(found: &Value) -> String {
    let shape = |name: &str| {
        found.pointer(&format!("/{name}/shape")).and_then(Value::as_str).unwrap_or_default().to_owned()
    };
    let (from, to) = (shape("from"), shape("to"));
    let state = match found.get("state").and_then(Value::as_str) {
        Some("moved") => "moved; it can be undone until it is confirmed (--undo, --confirm)".to_owned(),
        Some("confirmed") => "moved and confirmed".to_owned(),
        Some("undone") => "undone: the tenant is where it was".to_owned(),
        Some(_) => progress(found),
        None => {
            let why = found.pointer("/state/stopped").or_else(|| found.pointer("/state/stopping"));
            let why = why.and_then(Value::as_str).unwrap_or_default();
            format!("stopped, and served where it was: {}", printable(why))
        }
    };
    let mut text = format!("{from} to {to}: {state}");
    if let Some(fault) = found.get("fault").and_then(Value::as_str) {
        text.push_str(&format!("\n  it could not be undone: {}", printable(fault)));
    }
    for (table, rows) in found.get("rows").and_then(Value::as_object).into_iter().flatten() {
        text.push_str(&format!("\n  {}: {rows} rows, compared", printable(table)));
    }
    if let Some(held) = found.get("held_ms").and_then(Value::as_u64) {
        text.push_str(&format!("\n  its transactions waited {held} ms"));
    }
    text
}
