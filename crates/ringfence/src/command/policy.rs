//! `ringfence policy`.

use std::{path::PathBuf, process::ExitCode};

use clap::Subcommand;
use http::{HeaderValue, Method, header};
use miette::{Context, IntoDiagnostic, Result};
use ringfence_control::Plane;
use serde_json::Value;

use super::Common;
use crate::{
    call::{Caller, Running, bearer},
    output::print,
};

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
        #[command(flatten)]
        common: Common,
    },
}

impl PolicyCommand {
    pub(crate) async fn run(self) -> Result<ExitCode> {
        let caller = Caller::new();
        match self {
            Self::List { tenant, common } => {
                let path = format!("/v1/tenants/{tenant}/policies");
                let listed = caller.api(&common.dir, Method::GET, &path, None).await?;
                print(common.json, &listed, text);
            }
            Self::Put { name, file, tenant, common } => {
                let policy = std::fs::read_to_string(&file).into_diagnostic();
                let policy = policy.wrap_err_with(|| file.display().to_string())?;
                let running = Running::load(&common.dir)?;
                let token = Plane::operator_token(&common.dir).into_diagnostic()?;
                let mut headers = bearer(token.reveal())?;
                headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
                let path = format!("/v1/tenants/{tenant}/policies/{name}");
                let answer = caller.send(&running.api, Method::PUT, &path, headers, policy).await?;
                print(common.json, &answer.json()?, |standing| published("written", standing));
            }
            Self::Delete { name, tenant, common } => {
                let path = format!("/v1/tenants/{tenant}/policies/{name}");
                let done = caller.api(&common.dir, Method::DELETE, &path, None).await?;
                print(common.json, &done, |standing| published("deleted", standing));
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// What is known of a change.
fn published(done: &str, standing: &Value) -> String {
    let told = |what: &str| standing.get(what).and_then(Value::as_str);
    match (told("proved"), told("unproved")) {
        (Some(solver), _) => format!("{done}, proved safe by {solver}; enforced from the next request on"),
        (None, why) => {
            let why = why.unwrap_or_default();
            format!("{done}, NOT proved safe; enforced from the next request on\n{why}")
        }
    }
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
