//! `ringfence client`.

use std::process::ExitCode;

use clap::Subcommand;
use http::Method;
use miette::Result;
use serde_json::json;

use super::Common;
use crate::{
    call::Caller,
    output::{card, print, table},
};

/// Manage a tenant's clients.
#[derive(Debug, Subcommand)]
pub(crate) enum ClientCommand {
    /// Make a client: a machine (its secret is shown this once), or with --redirect-uri one that people sign in with
    Create {
        /// Its id
        id: String,
        /// Its tenant
        #[arg(long)]
        tenant: String,
        /// A role of a machine; may be repeated
        #[arg(long = "role")]
        roles: Vec<String>,
        /// Where codes may be sent; may be repeated
        #[arg(long = "redirect-uri")]
        redirect_uris: Vec<String>,
        /// Why, for the record
        #[arg(long)]
        reason: Option<String>,
        #[command(flatten)]
        common: Common,
    },
    /// List a tenant's clients
    List {
        /// Their tenant
        #[arg(long)]
        tenant: String,
        #[command(flatten)]
        common: Common,
    },
    /// Give a client no more tokens, and end those it has
    Disable {
        /// Its id
        id: String,
        /// Its tenant
        #[arg(long)]
        tenant: String,
        /// Why, for the record
        #[arg(long)]
        reason: Option<String>,
        #[command(flatten)]
        common: Common,
    },
}

impl ClientCommand {
    pub(crate) async fn run(self) -> Result<ExitCode> {
        let caller = Caller::new();
        match self {
            Self::Create { id, tenant, roles, redirect_uris, reason, common } => {
                let body = json!({ "client_id": id, "roles": roles, "redirect_uris": redirect_uris, "reason": reason });
                let path = format!("/v1/tenants/{tenant}/clients");
                let made = caller.api(&common, Method::POST, &path, Some(body)).await?;
                print(common.json, &made, card);
            }
            Self::List { tenant, common } => {
                let path = format!("/v1/tenants/{tenant}/clients");
                let listed = caller.api(&common, Method::GET, &path, None).await?;
                print(common.json, &listed, |listed| table(listed, &["client_id", "kind", "disabled"]));
            }
            Self::Disable { id, tenant, reason, common } => {
                let path = format!("/v1/tenants/{tenant}/clients/{id}/disable");
                let body = json!({ "reason": reason });
                let done = caller.api(&common, Method::POST, &path, Some(body)).await?;
                print(common.json, &done, |_| "disabled".to_owned());
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}
