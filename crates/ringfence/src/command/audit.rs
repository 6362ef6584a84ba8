//! `ringfence audit`: who changed the maps that lead to a tenant.

use std::process::ExitCode;

use clap::Args;
use http::Method;
use miette::Result;

use super::Common;
use crate::{
    call::Caller,
    output::{print, table},
};

/// Show who changed a tenant's users, clients, access keys and the place of its policies
#[derive(Debug, Args)]
pub(crate) struct Audit {
    /// The tenant
    #[arg(long)]
    tenant: String,
    /// Those after this one, 500 at most
    #[arg(long, default_value = "0")]
    after: u64,
    #[command(flatten)]
    common: Common,
}

impl Audit {
    pub(crate) async fn run(self) -> Result<ExitCode> {
        let Self { tenant, after, common } = self;
        let path = format!("/v1/tenants/{tenant}/maps/audit?after={after}");
        let listed = Caller::new().api(&common, Method::GET, &path, None).await?;
        print(common.json, &listed, |listed| table(listed, &["number", "at", "who", "did", "reason"]));
        Ok(ExitCode::SUCCESS)
    }
}
