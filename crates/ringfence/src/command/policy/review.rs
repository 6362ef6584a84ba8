//! `ringfence policy propose`, `proposals`, `review`, `publish`, `shadow`.

use clap::{Args, Subcommand};
use http::Method;
use miette::{Result, bail};
use serde_json::{Value, json};

use super::{
    super::Common,
    history::whole,
    text::{EditArguments, published},
};
use crate::{
    call::Caller,
    output::{card, print, printable, table},
};

/// Propose a change.
#[derive(Debug, Args)]
pub(crate) struct Propose {
    /// The tenant
    #[arg(long)]
    tenant: String,
    /// Why, for the record
    #[arg(long)]
    reason: String,
    #[command(flatten)]
    edit: EditArguments,
    /// Propose that this earlier version serve again
    #[arg(long, value_name = "VERSION")]
    version: Option<u64>,
    #[command(flatten)]
    common: Common,
}

/// List proposals.
#[derive(Debug, Args)]
pub(crate) struct Proposals {
    /// The tenant
    #[arg(long)]
    tenant: String,
    /// Show this one, with its text
    #[arg(long, value_name = "NUMBER")]
    show: Option<u64>,
    /// Those after this one, 500 at most
    #[arg(long, default_value = "0")]
    after: u64,
    #[command(flatten)]
    common: Common,
}

/// Approve or reject a proposal.
#[derive(Debug, Args)]
pub(crate) struct Review {
    /// The proposal's number
    proposal: u64,
    /// The tenant
    #[arg(long)]
    tenant: String,
    /// It may be published
    #[arg(long, required_unless_present = "reject", conflicts_with = "reject")]
    approve: bool,
    /// It never takes effect; its author takes it back so
    #[arg(long)]
    reject: bool,
    /// Why, for the record
    #[arg(long)]
    reason: Option<String>,
    #[command(flatten)]
    common: Common,
}

/// Put an approved proposal into effect.
#[derive(Debug, Args)]
pub(crate) struct Publish {
    /// The proposal's number
    proposal: u64,
    /// The tenant
    #[arg(long)]
    tenant: String,
    /// Not now: at this time, as RFC 3339 writes it (2030-01-31T08:00:00Z)
    #[arg(long, value_name = "TIME", conflicts_with = "canary")]
    at: Option<String>,
    /// Not for everybody yet: for this share of the tenant's principals
    #[arg(long, value_name = "PERCENT", value_parser = percent)]
    canary: Option<u8>,
    /// End the share by itself where the proposal refuses more of their questions that what serves allows
    #[arg(long, value_name = "PERCENT", value_parser = percent, default_value = "2%", requires = "canary")]
    max_rise: u8,
    #[command(flatten)]
    common: Common,
}

/// Let a proposal not take effect by itself.
#[derive(Debug, Args)]
pub(crate) struct Unschedule {
    /// The proposal's number
    proposal: u64,
    /// The tenant
    #[arg(long)]
    tenant: String,
    #[command(flatten)]
    common: Common,
}

/// A share of a tenant's principals that a proposal decides for.
#[derive(Debug, Subcommand)]
pub(crate) enum Canary {
    /// Show what has become of it so far
    Status {
        /// The tenant
        #[arg(long)]
        tenant: String,
        #[command(flatten)]
        common: Common,
    },
    /// Stop: what serves decides for everybody from the next request on
    Stop {
        /// The tenant
        #[arg(long)]
        tenant: String,
        #[command(flatten)]
        common: Common,
    },
}

/// Evaluate a proposal beside what serves.
#[derive(Debug, Subcommand)]
pub(crate) enum Shadow {
    /// Begin
    Start {
        /// The proposal's number
        proposal: u64,
        /// The tenant
        #[arg(long)]
        tenant: String,
        #[command(flatten)]
        common: Common,
    },
    /// Show what was answered differently so far
    Status {
        /// The tenant
        #[arg(long)]
        tenant: String,
        #[command(flatten)]
        common: Common,
    },
    /// Stop
    Stop {
        /// The tenant
        #[arg(long)]
        tenant: String,
        #[command(flatten)]
        common: Common,
    },
}

const COLUMNS: &[&str] = &["proposal", "state", "at", "author", "base", "reason", "scheduled"];

impl Propose {
    pub(crate) async fn run(self, caller: &Caller) -> Result<()> {
        let Self { tenant, reason, edit, version, common } = self;
        let body = match (edit.json()?, version) {
            (Some(edit), None) => json!({ "reason": reason, "edit": edit }),
            (None, Some(version)) => json!({ "reason": reason, "version": version }),
            _ => bail!("propose a change (--put, --delete, ...), or an earlier version (--version)"),
        };
        let path = format!("/v1/tenants/{tenant}/proposals");
        let made = caller.api(&common, Method::POST, &path, Some(body)).await?;
        print(common.json, &made, card);
        Ok(())
    }
}

impl Proposals {
    pub(crate) async fn run(self, caller: &Caller) -> Result<()> {
        let Self { tenant, show, after, common } = self;
        let path = format!("/v1/tenants/{tenant}/proposals");
        if let Some(number) = show {
            let shown = caller.api(&common, Method::GET, &format!("{path}/{number}"), None).await?;
            print(common.json, &shown, whole);
            return Ok(());
        }
        let listed = caller.api(&common, Method::GET, &format!("{path}?after={after}"), None).await?;
        print(common.json, &listed, |listed| table(listed, COLUMNS));
        Ok(())
    }
}

impl Review {
    pub(crate) async fn run(self, caller: &Caller) -> Result<()> {
        let Self { proposal, tenant, approve, reject: _, reason, common } = self;
        let path = format!("/v1/tenants/{tenant}/proposals/{proposal}");
        let (path, body) = match (approve, reason) {
            (true, Some(reason)) => (format!("{path}/approve"), json!({ "reason": reason })),
            (true, None) => (format!("{path}/approve"), json!({})),
            (false, Some(reason)) => (format!("{path}/reject"), json!({ "reason": reason })),
            (false, None) => bail!("say why with --reason"),
        };
        let decided = caller.api(&common, Method::POST, &path, Some(body)).await?;
        print(common.json, &decided, card);
        Ok(())
    }
}

impl Publish {
    pub(crate) async fn run(self, caller: &Caller) -> Result<()> {
        let Self { proposal, tenant, at, canary, max_rise, common } = self;
        let path = format!("/v1/tenants/{tenant}/proposals/{proposal}");
        if let Some(percent) = canary {
            let body = json!({ "percent": percent, "most_rise": max_rise });
            let begun = caller.api(&common, Method::POST, &format!("{path}/canary"), Some(body)).await?;
            print(common.json, &begun, staged);
            return Ok(());
        }
        let path = format!("{path}/publish");
        if let Some(at) = at {
            let set = caller.api(&common, Method::POST, &path, Some(json!({ "at": at }))).await?;
            print(common.json, &set, card);
            return Ok(());
        }
        let done = caller.api(&common, Method::POST, &path, Some(json!({}))).await?;
        print(common.json, &done, |done| published(&format!("proposal {proposal} published"), done));
        Ok(())
    }
}

impl Unschedule {
    pub(crate) async fn run(self, caller: &Caller) -> Result<()> {
        let Self { proposal, tenant, common } = self;
        let path = format!("/v1/tenants/{tenant}/proposals/{proposal}/schedule");
        let ended = caller.api(&common, Method::DELETE, &path, None).await?;
        print(common.json, &ended, card);
        Ok(())
    }
}

impl Shadow {
    pub(crate) async fn run(self, caller: &Caller) -> Result<()> {
        let (method, path, common) = match self {
            Self::Start { proposal, tenant, common } => {
                (Method::POST, format!("/v1/tenants/{tenant}/proposals/{proposal}/shadow"), common)
            }
            Self::Status { tenant, common } => (Method::GET, format!("/v1/tenants/{tenant}/shadow"), common),
            Self::Stop { tenant, common } => (Method::DELETE, format!("/v1/tenants/{tenant}/shadow"), common),
        };
        let report = caller.api(&common, method, &path, None).await?;
        print(common.json, &report, shadowed);
        Ok(())
    }
}

impl Canary {
    pub(crate) async fn run(self, caller: &Caller) -> Result<()> {
        let (method, tenant, common) = match self {
            Self::Status { tenant, common } => (Method::GET, tenant, common),
            Self::Stop { tenant, common } => (Method::DELETE, tenant, common),
        };
        let report = caller.api(&common, method, &format!("/v1/tenants/{tenant}/canary"), None).await?;
        print(common.json, &report, staged);
        Ok(())
    }
}

/// `10` or `10%`.
fn percent(text: &str) -> Result<u8, String> {
    let number = text.strip_suffix('%').unwrap_or(text).parse().ok().filter(|number| *number <= 100);
    number.ok_or_else(|| "write a percentage, as 10%".to_owned())
}

fn staged(report: &Value) -> String {
    let number = |name: &str| report.get(name).and_then(Value::as_u64).unwrap_or_default();
    let mut text = format!(
        "proposal {} decides for {}% of the tenant's principals: {} questions, {} gained, {} lost\n",
        number("proposal"),
        number("percent"),
        number("asked"),
        number("gained"),
        number("lost")
    );
    match report.get("ended") {
        None | Some(Value::Null) => {
            text.push_str(&format!("ends by itself where it refuses over {}% more\n", number("most_rise")));
        }
        Some(Value::String(why)) => text.push_str(&format!("over: {}\n", why.replace('_', " "))),
        Some(ended) => {
            let told = |name: &str| {
                ended.pointer(&format!("/rise/{name}")).and_then(Value::as_u64).unwrap_or_default()
            };
            text.push_str(&format!(
                "rolled back: of {} questions {} were refused that what serves allows, {} by an error\n",
                told("asked"),
                told("lost"),
                told("failed")
            ));
        }
    }
    text
}

fn shadowed(report: &Value) -> String {
    let number = |name: &str| report.get(name).and_then(Value::as_u64).unwrap_or_default();
    let mut text = format!(
        "proposal {}: {} questions asked of both; {} would be gained, {} lost; a policy of it fails on {}\n",
        number("proposal"),
        number("asked"),
        number("gained"),
        number("lost"),
        number("failed")
    );
    for sample in report.get("samples").and_then(Value::as_array).into_iter().flatten() {
        let told = |name: &str| printable(sample.get(name).and_then(Value::as_str).unwrap_or_default());
        let gained = sample.get("allowed_by_proposal").and_then(Value::as_bool).unwrap_or_default();
        let sign = if gained { "+" } else { "-" };
        text.push_str(&format!("{sign} {} {} {}\n", told("principal"), told("action"), told("resource")));
    }
    text
}
