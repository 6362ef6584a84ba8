//! `ringfence tenant move-store`: begins a move of a tenant's policies, and waits for its end.

use std::{process::ExitCode, time::Duration};

use clap::Args;
use http::Method;
use miette::{Result, bail};
use serde_json::{Value, json};

use super::Common;
use crate::{
    call::Caller,
    output::{print, printable},
};

/// How often a move is looked after.
const LOOK: Duration = Duration::from_millis(200);

/// Move a tenant's policies while it is served: both stores are asked, and compared, before the new one serves.
#[derive(Debug, Args)]
pub(crate) struct MoveStore {
    /// The tenant's id
    id: String,
    /// Where its policies are kept from then on
    #[arg(long, value_parser = ["shared", "own"], required_unless_present_any = ["stop", "show", "approve"])]
    to: Option<String>,
    /// How many questions are asked of both before the new store serves
    #[arg(long, default_value_t = 1_000)]
    questions: u64,
    /// How long at most both are asked, in seconds
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// Approve the move another operator has proposed, where the tier's policies are reviewed: it begins
    #[arg(long, conflicts_with_all = ["to", "show", "stop"])]
    approve: bool,
    /// Stop the move, or take it back where it is proposed: the tenant's policies stay where they are
    #[arg(long, conflicts_with_all = ["to", "show"])]
    stop: bool,
    /// Show the latest move
    #[arg(long, conflicts_with = "to")]
    show: bool,
    /// Why, for the record
    #[arg(long, conflicts_with = "show")]
    reason: Option<String>,
    #[command(flatten)]
    common: Common,
}

impl MoveStore {
    pub(crate) async fn run(self, caller: &Caller) -> Result<ExitCode> {
        let path = format!("/v1/tenants/{}/store-move", self.id);
        let call = async |method, body| caller.api(&self.common, method, &path, body).await;
        if self.stop || self.show {
            let found = if self.stop {
                call(Method::DELETE, Some(json!({ "reason": self.reason }))).await?
            } else {
                call(Method::GET, None).await?
            };
            print(self.common.json, &found, text);
            return Ok(ExitCode::SUCCESS);
        }
        let Self { to, questions, seconds, reason, .. } = &self;
        let mut found = if self.approve {
            let path = format!("{path}/approve");
            caller.api(&self.common, Method::POST, &path, Some(json!({ "reason": reason }))).await?
        } else {
            let body = json!({ "to": to, "questions": questions, "seconds": seconds, "reason": reason });
            call(Method::POST, Some(body)).await?
        };
        while found.get("state").is_some_and(|state| state == "comparing") {
            tokio::time::sleep(LOOK).await;
            found = call(Method::GET, None).await?;
        }
        if let Some(why) = found.pointer("/state/stopped").and_then(Value::as_str) {
            bail!("the move was stopped, and the tenant is served as before: {}", printable(why));
        }
        print(self.common.json, &found, text);
        Ok(ExitCode::SUCCESS)
    }
}

fn text(found: &Value) -> String {
    let number = |name: &str| found.get(name).and_then(Value::as_u64).unwrap_or_default();
    let to =
        if found.get("to").is_some_and(|to| to == "own") { "a store of its own" } else { "the shared store" };
    if let Some(who) = found.pointer("/state/proposed") {
        let who = who.get("operator").and_then(Value::as_str).unwrap_or("the plane");
        return format!(
            "to {to}: proposed by {}; it begins when another operator approves it, with --approve",
            printable(who)
        );
    }
    let state = match found.pointer("/state/stopped").and_then(Value::as_str) {
        Some(why) => format!("stopped, and served as before: {}", printable(why)),
        None if found.get("state").is_some_and(|state| state == "done") => "done".to_owned(),
        None => "both are asked".to_owned(),
    };
    format!(
        "to {to}: {state}\n{} questions asked of both, {} answered differently",
        number("asked"),
        number("different")
    )
}
