//! `ringfence status`: how current the running plane's policies are, how long changes take to be enforced, how often what a
//! decision needs was in memory, how often somebody was turned away, and where each tier's policy stores are kept.

use std::process::ExitCode;

use clap::Args;
use http::Method;
use miette::Result;
use serde_json::Value;

use super::Common;
use crate::{
    call::Caller,
    output::{print, printable},
};

/// Show how current the policies are, how long changes take to be enforced, and what was found in memory.
#[derive(Debug, Args)]
pub(crate) struct Status {
    #[command(flatten)]
    common: Common,
}

impl Status {
    pub(crate) async fn run(self) -> Result<ExitCode> {
        let found = Caller::new().api(&self.common, Method::GET, "/v1/status", None).await?;
        print(self.common.json, &found, text);
        Ok(ExitCode::SUCCESS)
    }
}

/// What is looked for in memory, and how it is called here.
const MEMORY: [(&str, &str); 7] = [
    ("tokens", "verified tokens"),
    ("permits", "permits"),
    ("stores", "tenants' stores"),
    ("policies", "policies"),
    ("entities", "entities"),
    ("proofs", "proofs"),
    ("policy_service", "policy service"),
];

/// A share with one digit, rounded down: 100 % is all of it.
fn percent(part: u64, whole: u64) -> String {
    let tenths = u128::from(part).saturating_mul(1000).checked_div(u128::from(whole)).unwrap_or_default();
    format!("{}.{} %", tenths / 10, tenths % 10)
}

fn text(found: &Value) -> String {
    let number = |pointer: &str| found.pointer(pointer).and_then(Value::as_u64).unwrap_or_default();
    let after = |name: &str| {
        let [changes, last, longest] =
            ["changes", "last_us", "longest_us"].map(|member| number(&format!("/policies/{name}/{member}")));
        let in_ms = |micros: u64| format!("{}.{} ms", micros / 1000, micros % 1000 / 100);
        match changes {
            0 => "none yet".to_owned(),
            _ => format!("last {}, longest {}", in_ms(last), in_ms(longest)),
        }
    };
    let mut text = format!(
        "policies            revision {}, confirmed {} ms ago\nchanges made here   {}\nchanges found       at most: {}",
        number("/policies/revision"),
        number("/policies/confirmed_us_ago") / 1000,
        after("made_here"),
        after("at_most")
    );
    for (name, what) in MEMORY {
        let [found, missed] = ["found", "missed"].map(|member| number(&format!("/memory/{name}/{member}")));
        let share = match found.saturating_add(missed) {
            0 => "not asked yet".to_owned(),
            all => format!("{} of {all} in memory ({})", found, percent(found, all)),
        };
        text.push_str(&format!("\n{what:<19} {share}"));
    }
    let [gateway, decisions, queue] =
        ["gateway_rate", "decision_rate", "queue"].map(|member| number(&format!("/turned_away/{member}")));
    text.push_str(&format!(
        "\nturned away         {gateway} over the rate at the gateway, {decisions} over the rate of decisions, {queue} with \
         too much of their own waiting"
    ));
    for (tier, stores) in found.get("stores").and_then(Value::as_object).into_iter().flatten() {
        let count = |name: &str| stores.get(name).and_then(Value::as_u64);
        let most = count("own_stores").map(|most| format!(" of at most {most}")).unwrap_or_default();
        let used_up = stores.get("exhausted").and_then(Value::as_bool).unwrap_or_default();
        let alert = if used_up { " (used up: new tenants are put in the shared store)" } else { "" };
        text.push_str(&format!(
            "\npolicy stores       {}: {} own{most}{alert}, {} shared",
            printable(tier),
            count("own").unwrap_or_default(),
            count("shared").unwrap_or_default()
        ));
    }
    text
}
