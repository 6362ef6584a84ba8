//! `ringfence policy diff`.

use clap::Args;
use http::Method;
use miette::{Result, bail};
use serde_json::{Value, json};

use super::{
    super::Common,
    text::{EditArguments, side},
};
use crate::{
    call::Caller,
    output::{print, printable},
};

/// Show who gains and who loses what. A version is named by its number, a proposal by p and its number.
#[derive(Debug, Args)]
pub(crate) struct Diff {
    /// What to compare with
    from: String,
    /// What to compare; by default what serves, changed by --put and --delete
    to: Option<String>,
    /// The tenant
    #[arg(long)]
    tenant: String,
    #[command(flatten)]
    edit: EditArguments,
    #[command(flatten)]
    common: Common,
}

impl Diff {
    pub(crate) async fn run(self, caller: &Caller) -> Result<()> {
        let Self { from, to, tenant, edit, common } = self;
        let to = match (to, edit.json()?) {
            (Some(to), None) => side(&to)?,
            (None, Some(edit)) => json!({ "edit": edit }),
            (None, None) => json!("serving"),
            (Some(_), Some(_)) => bail!("name a second version, or a change, not both"),
        };
        let body = json!({ "from": side(&from)?, "to": to });
        let path = format!("/v1/tenants/{tenant}/difference");
        let found = caller.api(&common, Method::POST, &path, Some(body)).await?;
        print(common.json, &found, text);
        Ok(())
    }
}

fn text(found: &Value) -> String {
    let compared = found.get("compared").and_then(Value::as_u64).unwrap_or_default();
    let list = |name: &str| found.get(name).and_then(Value::as_array).cloned().unwrap_or_default();
    let differing = list("differing");
    let mut text = match found.get("verdict").and_then(Value::as_str) {
        Some("equivalent") => {
            format!("equivalent: proved for each of {compared} kinds of requests\n")
        }
        Some("different") => format!("different: {} of {compared} kinds of requests\n", differing.len()),
        _ => format!(
            "unknown: no difference was found in {compared} kinds of requests, and none is not proved\n"
        ),
    };
    for note in list("notes") {
        for (at, line) in note.as_str().unwrap_or_default().lines().enumerate() {
            let label = if at == 0 { "note:" } else { "     " };
            text.push_str(&format!("{label} {}\n", printable(line)));
        }
    }
    for kind in &differing {
        let told = |name: &str| kind.get(name).and_then(Value::as_str).unwrap_or_default();
        text.push_str(&format!("\n{}  {}  {}\n", told("principal"), told("action"), told("resource")));
        finding(&mut text, "+ gained", kind.get("gains"));
        finding(&mut text, "- lost", kind.get("loses"));
    }
    recorded(&mut text, found.get("recorded").unwrap_or(&Value::Null));
    text
}

fn finding(text: &mut String, what: &str, found: Option<&Value>) {
    let Some(found) = found else { return };
    if let Some(why) = found.get("unknown").and_then(Value::as_str) {
        text.push_str(&format!("  {what}: unknown: {why}\n"));
    }
    let Some(example) = found.get("example") else { return };
    let told = |value: Option<&Value>| printable(value.and_then(Value::as_str).unwrap_or_default());
    let names = |value: Option<&Value>| -> String {
        let names = value.and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
        names.map(printable).collect::<Vec<_>>().join(", ")
    };
    let differs = example.pointer("/wrong/differs");
    let denied = names(differs.and_then(|differs| differs.get("denied")));
    text.push_str(&format!("  {what}, for example\n"));
    for (label, value) in [
        ("principal", told(example.get("principal"))),
        ("action", told(example.get("action"))),
        ("resource", told(example.get("resource"))),
        ("context", told(example.get("context"))),
        ("allowed by", names(differs.and_then(|differs| differs.get("allowed")))),
        ("denied by", if denied.is_empty() { "nothing permits it".to_owned() } else { denied }),
    ] {
        if !value.is_empty() {
            text.push_str(&format!("      {label:<11} {value}\n"));
        }
    }
    for (at, entity) in example.get("entities").and_then(Value::as_array).into_iter().flatten().enumerate() {
        let label = if at == 0 { "where" } else { "" };
        text.push_str(&format!("      {label:<11} {}\n", told(Some(entity))));
    }
}

fn recorded(text: &mut String, recorded: &Value) {
    let number = |name: &str| recorded.get(name).and_then(Value::as_u64).unwrap_or_default();
    text.push_str(&format!(
        "\nrecorded decisions: {} looked at, {} replayed, {} decided differently\n",
        number("looked_at"),
        number("replayable"),
        number("differing")
    ));
    let lacking = number("with_more").saturating_add(number("unreadable"));
    if lacking > 0 {
        text.push_str(&format!(
            "not replayed: {} whose request or row had values that are not on record, {} without roles or not of this schema\n",
            number("with_more"),
            number("unreadable")
        ));
    }
    for example in recorded.get("examples").and_then(Value::as_array).into_iter().flatten() {
        let told = |name: &str| printable(example.get(name).and_then(Value::as_str).unwrap_or_default());
        let sign = if example.get("allowed").and_then(Value::as_bool) == Some(true) { "+" } else { "-" };
        text.push_str(&format!(
            "{sign} {} {} {} ({})\n",
            told("principal"),
            told("action"),
            told("resource"),
            told("reference")
        ));
    }
}
