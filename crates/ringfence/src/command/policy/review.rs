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
    #[command(flatten)]
    common: Common,
}

/// Evaluate a proposal beside what serves.
#[derive(Debug, Subcommand)]
pub(crate) enum Shadow {
    /// Begin, on the node that is asked
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

const COLUMNS: &[&str] = &["proposal", "state", "at", "author", "base", "reason"];

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
        let Self { proposal, tenant, common } = self;
        let path = format!("/v1/tenants/{tenant}/proposals/{proposal}/publish");
        let done = caller.api(&common, Method::POST, &path, Some(json!({}))).await?;
        print(common.json, &done, |done| published(&format!("proposal {proposal} published"), done));
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
