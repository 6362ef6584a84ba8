//! `ringfence status`: how current the running plane's policies are, how long changes take to be enforced, and where each
//! tier's policy stores are kept.

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

/// Show how current the policies are and how long changes take to be enforced.
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
