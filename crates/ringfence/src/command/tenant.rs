//! `ringfence tenant`.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use http::Method;
use miette::{Result, bail};
use serde_json::json;

use super::{Common, move_data::MoveData, move_store::MoveStore};
use crate::{
    call::Caller,
    output::{card, print, table},
};

/// Manage tenants.
#[derive(Debug, Subcommand)]
pub(crate) enum TenantCommand {
    /// Make a tenant: pool, policy store, database key
    Create {
        /// Its id: a DNS label, never used again
        id: String,
        /// Shown to people
        #[arg(long)]
        name: Option<String>,
        /// Its tier in ringfence.toml
        #[arg(long, default_value = "standard")]
        tier: String,
        /// Why, for the record
        #[arg(long)]
        reason: Option<String>,
        #[command(flatten)]
        common: Common,
    },
    /// List tenants
    List(Common),
    /// Show one tenant
    Show(One),
    /// Refuse a tenant everywhere, keeping its data
    Suspend(One),
    /// Serve a suspended tenant again
    Resume(One),
    /// Move a tenant's policies between a store of its own and the one its tier shares, while it is served
    MoveStore(MoveStore),
    /// Move a tenant's rows to another shape (role, schema, database, server) while it is served
    MoveData(MoveData),
    /// Remove a tenant with its users, policies and rows, for good
    Delete {
        #[command(flatten)]
        one: One,
        /// The tenant's id again, because this can't be undone
        #[arg(long, value_name = "ID")]
        confirm: String,
    },
}

/// One tenant.
#[derive(Debug, Args)]
pub(crate) struct One {
    /// Its id
    id: String,
    #[command(flatten)]
    common: Common,
}

impl TenantCommand {
    pub(crate) async fn run(self) -> Result<ExitCode> {
        let caller = Caller::new();
        match self {
            Self::Create { id, name, tier, reason, common } => {
                let name = name.as_deref().unwrap_or(&id);
                let body = json!({ "id": id, "display_name": name, "tier": tier, "reason": reason });
                let made = caller.api(&common, Method::POST, "/v1/tenants", Some(body)).await?;
                print(common.json, &made, card);
            }
            Self::List(common) => {
                let listed = caller.api(&common, Method::GET, "/v1/tenants", None).await?;
                print(common.json, &listed, |listed| {
                    table(listed, &["id", "display_name", "tier", "status", "data", "policy_store", "host"])
                });
            }
            Self::Show(one) => one.call(&caller, Method::GET, "").await?,
            Self::Suspend(one) => one.call(&caller, Method::POST, "/suspend").await?,
            Self::Resume(one) => one.call(&caller, Method::POST, "/resume").await?,
            Self::MoveStore(command) => return command.run(&caller).await,
            Self::MoveData(command) => return command.run(&caller).await,
            Self::Delete { one, confirm } => {
                if confirm != one.id {
                    bail!("--confirm {confirm} is not {}: nothing was deleted", one.id);
                }
                one.call(&caller, Method::DELETE, "").await?;
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

impl One {
    async fn call(&self, caller: &Caller, method: Method, step: &str) -> Result<()> {
        let path = format!("/v1/tenants/{}{step}", self.id);
        let shown = caller.api(&self.common, method, &path, None).await?;
        print(self.common.json, &shown, card);
        Ok(())
    }
}
