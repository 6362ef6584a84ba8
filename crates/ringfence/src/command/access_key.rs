//! `ringfence access-key`.

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

/// Manage access keys of the policy service: a tenant's, or without --tenant the operator's own
#[derive(Debug, Subcommand)]
pub(crate) enum AccessKeyCommand {
    /// Make an access key; its secret is shown this once
    Create {
        /// The tenant it is for
        #[arg(long)]
        tenant: Option<String>,
        /// The decisions-only operator it is for, if it is not for yourself
        #[arg(long, conflicts_with = "tenant")]
        operator: Option<String>,
        /// Why, for the tenant's record
        #[arg(long, requires = "tenant")]
        reason: Option<String>,
        #[command(flatten)]
        common: Common,
    },
    /// List access keys, without their secrets
    List {
        /// The tenant they are of
        #[arg(long)]
        tenant: Option<String>,
        #[command(flatten)]
        common: Common,
    },
    /// End an access key
    Delete {
        /// Its id
        id: String,
        /// The tenant it is of
        #[arg(long)]
        tenant: Option<String>,
        /// Why, for the tenant's record
        #[arg(long, requires = "tenant")]
        reason: Option<String>,
        #[command(flatten)]
        common: Common,
    },
}

impl AccessKeyCommand {
    pub(crate) async fn run(self) -> Result<ExitCode> {
        let caller = Caller::new();
        match self {
            Self::Create { tenant, operator, reason, common } => {
                let body = match (operator, reason) {
                    (Some(operator), _) => json!({ "operator": operator }),
                    (None, Some(reason)) => json!({ "reason": reason }),
                    (None, None) => json!({}),
                };
                let made = caller.api(&common, Method::POST, &path(tenant.as_deref()), Some(body)).await?;
                print(common.json, &made, card);
            }
            Self::List { tenant, common } => {
                let listed = caller.api(&common, Method::GET, &path(tenant.as_deref()), None).await?;
                print(common.json, &listed, |listed| table(listed, &["id", "owner"]));
            }
            Self::Delete { id, tenant, reason, common } => {
                let path = format!("{}/{id}", path(tenant.as_deref()));
                let body = reason.map(|reason| json!({ "reason": reason }));
                let done = caller.api(&common, Method::DELETE, &path, body).await?;
                print(common.json, &done, |_| "ended; refused from the next request on".to_owned());
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn path(tenant: Option<&str>) -> String {
    match tenant {
        Some(tenant) => format!("/v1/tenants/{tenant}/access-keys"),
        None => "/v1/access-keys".to_owned(),
    }
}
