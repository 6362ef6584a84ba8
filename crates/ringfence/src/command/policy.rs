//! `ringfence policy`.

mod difference;
mod history;
mod review;
mod stores;
mod text;
mod truth_table;
mod types;

use std::{path::PathBuf, process::ExitCode};

use clap::Subcommand;
use http::Method;
use miette::Result;
use serde_json::Value;

use self::text::{published, read};
use super::Common;
use crate::{call::Caller, output::print};

/// Manage a tenant's policies.
#[derive(Debug, Subcommand)]
pub(crate) enum PolicyCommand {
    /// Show a tenant's schema, policies and templates
    List {
        /// The tenant
        #[arg(long)]
        tenant: String,
        #[command(flatten)]
        common: Common,
    },
    /// Write a policy from a file; it fits the schema and is proved safe, or nothing changes
    Put {
        /// The policy's name
        name: String,
        /// A file with the policy in Cedar's syntax
        file: PathBuf,
        /// The tenant
        #[arg(long)]
        tenant: String,
        /// Why, for the record
        #[arg(long)]
        reason: Option<String>,
        #[command(flatten)]
        common: Common,
    },
    /// Delete a policy
    Delete {
        /// The policy's name
        name: String,
        /// The tenant
        #[arg(long)]
        tenant: String,
        /// Why, for the record
        #[arg(long)]
        reason: Option<String>,
        #[command(flatten)]
        common: Common,
    },
    /// List the versions: who, why, when
    Versions(history::Versions),
    /// Show one version with its text
    Show(history::Show),
    /// Put an earlier version into effect, as a new version
    Rollback(history::Rollback),
    /// List every step of every change
    Audit(history::Audit),
    /// Show who gains and who loses what between two versions, proposals or edits
    Diff(difference::Diff),
    /// Propose a change, for another operator to approve
    Propose(review::Propose),
    /// List proposals, or show one with its text
    Proposals(review::Proposals),
    /// Approve or reject a proposal
    Review(review::Review),
    /// Put an approved proposal into effect
    Publish(review::Publish),
    /// Let a proposal not take effect at the time that was set
    Unschedule(review::Unschedule),
    /// Evaluate a proposal beside what serves, on real requests, without affecting them
    #[command(subcommand)]
    Shadow(review::Shadow),
    /// Look after a share of principals that `publish --canary` has begun
    #[command(subcommand)]
    Canary(review::Canary),
    /// List a tenant's policy stores: which one serves, and which are proved safe
    Stores(stores::Stores),
    /// Prove another policy store of a tenant safe, as it is now
    ProveStore(stores::ProveStore),
    /// Make what another policy store of a tenant says decide the tenant's requests: proved, and as a new version
    PublishStore(stores::PublishStore),
    /// Check a truth table: who may do what
    Test(truth_table::Test),
    /// Write types for a backend from the tenant's schema
    Types(types::Types),
}

impl PolicyCommand {
    pub(crate) async fn run(self) -> Result<ExitCode> {
        let caller = Caller::new();
        match self {
            Self::List { tenant, common } => {
                let path = format!("/v1/tenants/{tenant}/policies");
                let listed = caller.api(&common, Method::GET, &path, None).await?;
                print(common.json, &listed, text);
            }
            Self::Put { name, file, tenant, reason, common } => {
                let path = change(&tenant, &name, reason.as_deref());
                let policy = read(&file)?;
                let done =
                    caller.api_text(&common, Method::PUT, &path, "text/plain; charset=utf-8", policy).await?;
                print(common.json, &done, |done| published("written", done));
            }
            Self::Delete { name, tenant, reason, common } => {
                let path = change(&tenant, &name, reason.as_deref());
                let done = caller.api(&common, Method::DELETE, &path, None).await?;
                print(common.json, &done, |done| published("deleted", done));
            }
            Self::Versions(command) => command.run(&caller).await?,
            Self::Show(command) => command.run(&caller).await?,
            Self::Rollback(command) => command.run(&caller).await?,
            Self::Audit(command) => command.run(&caller).await?,
            Self::Diff(command) => command.run(&caller).await?,
            Self::Propose(command) => command.run(&caller).await?,
            Self::Proposals(command) => command.run(&caller).await?,
            Self::Review(command) => command.run(&caller).await?,
            Self::Publish(command) => command.run(&caller).await?,
            Self::Unschedule(command) => command.run(&caller).await?,
            Self::Shadow(command) => command.run(&caller).await?,
            Self::Canary(command) => command.run(&caller).await?,
            Self::Stores(command) => command.run(&caller).await?,
            Self::ProveStore(command) => command.run(&caller).await?,
            Self::PublishStore(command) => command.run(&caller).await?,
            Self::Types(command) => command.run(&caller).await?,
            Self::Test(command) => return command.run(&caller).await,
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn change(tenant: &str, name: &str, reason: Option<&str>) -> String {
    let mut path = format!("/v1/tenants/{tenant}/policies/{name}");
    if let Some(reason) = reason {
        path.push_str("?reason=");
        path.extend(url::form_urlencoded::byte_serialize(reason.as_bytes()));
    }
    path
}

fn text(listed: &Value) -> String {
    let mut text = String::new();
    for section in ["policies", "templates"] {
        for (name, policy) in listed.get(section).and_then(Value::as_object).into_iter().flatten() {
            text.push_str(&format!("// {name}\n{}\n\n", policy.as_str().unwrap_or_default()));
        }
    }
    text
}
