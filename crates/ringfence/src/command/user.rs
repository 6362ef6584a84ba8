//! `ringfence user`.

use std::process::ExitCode;

use clap::Subcommand;
use http::Method;
use miette::{IntoDiagnostic, Result, miette};
use ringfence_context::key::{base64url, random};
use serde_json::{Value, json};

use super::Common;
use crate::{
    call::Caller,
    output::{card, print, table},
};

/// Manage a tenant's users.
#[derive(Debug, Subcommand)]
pub(crate) enum UserCommand {
    /// Make a user; prints the password that was made for them
    Create {
        /// What they sign in with
        username: String,
        /// Their tenant
        #[arg(long)]
        tenant: String,
        /// A role; may be repeated
        #[arg(long = "role")]
        roles: Vec<String>,
        /// Read the password from standard input instead of making one
        #[arg(long)]
        password_stdin: bool,
        /// Why, for the record
        #[arg(long)]
        reason: Option<String>,
        #[command(flatten)]
        common: Common,
    },
    /// List a tenant's users
    List {
        /// Their tenant
        #[arg(long)]
        tenant: String,
        #[command(flatten)]
        common: Common,
    },
    /// Let a user sign in no more, and end their tokens
    Disable {
        /// The user's id, as `user list` shows it
        id: String,
        /// Their tenant
        #[arg(long)]
        tenant: String,
        /// Why, for the record
        #[arg(long)]
        reason: Option<String>,
        #[command(flatten)]
        common: Common,
    },
}

impl UserCommand {
    pub(crate) async fn run(self) -> Result<ExitCode> {
        let caller = Caller::new();
        match self {
            Self::Create { username, tenant, roles, password_stdin, reason, common } => {
                let made =
                    if password_stdin { None } else { Some(base64url(&random::<15>().into_diagnostic()?)) };
                let password = match &made {
                    Some(password) => password.clone(),
                    None => read_password()?,
                };
                let body =
                    json!({ "username": username, "password": password, "roles": roles, "reason": reason });
                let path = format!("/v1/tenants/{tenant}/users");
                let mut shown = caller.api(&common, Method::POST, &path, Some(body)).await?;
                if let (Some(password), Some(members)) = (made, shown.as_object_mut()) {
                    members.insert("password".to_owned(), Value::String(password));
                }
                print(common.json, &shown, card);
            }
            Self::List { tenant, common } => {
                let path = format!("/v1/tenants/{tenant}/users");
                let listed = caller.api(&common, Method::GET, &path, None).await?;
                print(common.json, &listed, |listed| table(listed, &["id", "username", "roles", "disabled"]));
            }
            Self::Disable { id, tenant, reason, common } => {
                let path = format!("/v1/tenants/{tenant}/users/{id}/disable");
                let body = json!({ "reason": reason });
                let done = caller.api(&common, Method::POST, &path, Some(body)).await?;
                print(common.json, &done, |_| "disabled".to_owned());
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// The password on standard input, without its line end.
pub(super) fn read_password() -> Result<String> {
    let mut line = String::new();
    std::io::stdin().read_line(&mut line).into_diagnostic()?;
    let password = line.trim_end_matches(['\r', '\n']);
    if password.is_empty() { Err(miette!("no password on standard input")) } else { Ok(password.to_owned()) }
}
