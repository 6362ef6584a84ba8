//! `ringfence operator`.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::{Subcommand, ValueEnum};
use http::Method;
use miette::{Context, IntoDiagnostic, Result, bail, miette};
use ringfence_control::private_file;
use serde_json::{Value, json};

use super::Common;
use crate::{
    call::Caller,
    output::{card, print, table},
};

/// Manage operators: who may run the plane, write policies, approve them.
#[derive(Debug, Subcommand)]
pub(crate) enum OperatorCommand {
    /// Make an operator; its token is shown this once
    Create {
        /// Its name; a name is never used again
        #[arg(long)]
        name: String,
        /// What it is there for
        #[arg(long = "role", value_enum, required = true)]
        roles: Vec<Role>,
        /// Write the token to this file, readable by you alone, instead of showing it
        #[arg(long, value_name = "FILE")]
        save: Option<PathBuf>,
        #[command(flatten)]
        common: Common,
    },
    /// List operators
    List {
        #[command(flatten)]
        common: Common,
    },
    /// Make another token of yourself; it is the same operator
    Token {
        /// Your name
        #[arg(long)]
        name: String,
        /// Write the token to this file, readable by you alone, instead of showing it
        #[arg(long, value_name = "FILE")]
        save: Option<PathBuf>,
        #[command(flatten)]
        common: Common,
    },
    /// End an operator: its tokens and access keys are refused from the next request on
    End {
        /// Its name
        #[arg(long)]
        name: String,
        #[command(flatten)]
        common: Common,
    },
}

/// What an operator is there for.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum Role {
    /// Runs the plane: everything
    Admin,
    /// Writes and proposes policies
    PolicyAuthor,
    /// Approves what others propose
    PolicyReviewer,
    /// Sees, and changes nothing
    Auditor,
    /// An application: asks the policy service for decisions and nothing else
    DecisionsOnly,
}

impl OperatorCommand {
    pub(crate) async fn run(self) -> Result<ExitCode> {
        let caller = Caller::new();
        match self {
            Self::Create { name, roles, save, common } => {
                let named = |role: &Role| role.to_possible_value().map(|value| value.get_name().to_owned());
                let roles: Vec<String> = roles.iter().filter_map(named).collect();
                let body = json!({ "name": name, "roles": roles });
                tell(&caller, "/v1/operators", body, save, &common).await?;
            }
            Self::List { common } => {
                let listed = caller.api(&common, Method::GET, "/v1/operators", None).await?;
                print(common.json, &listed, |listed| table(listed, &["name", "roles", "tokens", "made_by"]));
            }
            Self::Token { name, save, common } => {
                let path = format!("/v1/operators/{name}/tokens");
                tell(&caller, &path, json!({}), save, &common).await?;
            }
            Self::End { name, common } => {
                let path = format!("/v1/operators/{name}");
                let done = caller.api(&common, Method::DELETE, &path, None).await?;
                print(common.json, &done, |_| "ended; refused from the next request on".to_owned());
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// Has a token made and shows it, or keeps it. It is told once: where it can't be kept, none is made.
async fn tell(
    caller: &Caller,
    path: &str,
    body: Value,
    save: Option<PathBuf>,
    common: &Common,
) -> Result<()> {
    if let Some(file) = &save {
        if file.exists() {
            bail!("{} exists: nothing was made", file.display());
        }
        keep(file, "")?;
    }
    let told = caller.api(common, Method::POST, path, Some(body)).await;
    if let (Err(_), Some(file)) = (&told, &save) {
        // Empty, and of nobody.
        let _ = std::fs::remove_file(file);
    }
    let mut told = told?;
    if let Some(file) = save {
        let token = told.get("token").and_then(Value::as_str).ok_or_else(|| miette!("no token was told"))?;
        keep(&file, token)?;
        if let Some(members) = told.as_object_mut() {
            members.remove("token");
            members.insert("token_file".to_owned(), json!(file.display().to_string()));
        }
    }
    print(common.json, &told, card);
    Ok(())
}

fn keep(file: &Path, text: &str) -> Result<()> {
    private_file::write(file, text).into_diagnostic().wrap_err_with(|| file.display().to_string())
}
