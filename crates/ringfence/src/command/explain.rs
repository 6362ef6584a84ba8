//! `ringfence explain`: every layer's verdict on one request.

use std::process::ExitCode;

use clap::Args;
use http::Method;
use miette::Result;
use serde_json::Value;

use super::Common;
use crate::{call::Caller, output::print};

/// Show every layer's verdict on one request.
#[derive(Debug, Args)]
pub(crate) struct Explain {
    /// The reference of an answer: its `ringfence-reference` header, or `reference` in a refusal
    reference: String,
    #[command(flatten)]
    common: Common,
}

impl Explain {
    pub(crate) async fn run(self) -> Result<ExitCode> {
        let path = format!("/v1/explain/{}", self.reference);
        let found = Caller::new().api(&self.common, Method::GET, &path, None).await?;
        print(self.common.json, &found, |found| found.as_array().into_iter().flatten().map(text).collect());
        Ok(ExitCode::SUCCESS)
    }
}

fn text(verdict: &Value) -> String {
    let get = |name: &str| verdict.get(name).and_then(Value::as_str).unwrap_or("-");
    let mut text = format!("{}\n", get("part"));
    for layer in verdict.get("passed").and_then(Value::as_array).into_iter().flatten() {
        text.push_str(&format!("  passed   {}\n", layer.as_str().unwrap_or_default()));
    }
    if let Some(refused) = verdict.get("refused").and_then(Value::as_array) {
        let mut said = refused.iter().filter_map(Value::as_str);
        let (layer, reason) = (said.next().unwrap_or("-"), said.next().unwrap_or("-"));
        text.push_str(&format!("  REFUSED  {layer}: {reason} ({})\n", get("detail")));
    }
    let members = [("tenant", "tenant"), ("subject", "subject"), ("job", "job"), ("principal", "about")];
    for (name, title) in members.into_iter().chain([("action", "action"), ("resource", "resource")]) {
        if verdict.get(name).is_some() {
            text.push_str(&format!("  {title:<8} {}\n", get(name)));
        }
    }
    let policies: Vec<_> = verdict
        .get("policies")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    if !policies.is_empty() {
        text.push_str(&format!("  policies {}\n", policies.join(", ")));
    }
    text
}
