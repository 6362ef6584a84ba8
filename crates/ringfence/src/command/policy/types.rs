//! `ringfence policy types`: types for a backend, from a tenant's schema.

use std::path::PathBuf;

use clap::Args;
use http::Method;
use miette::{Context, IntoDiagnostic, Result};
use serde_json::Value;

use super::super::Common;
use crate::{call::Caller, output::print};

/// Write types for a backend from the tenant's schema: ids, actions, attributes, contexts.
#[derive(Debug, Args)]
pub(crate) struct Types {
    /// The tenant
    #[arg(long)]
    tenant: String,
    /// What they are written in
    #[arg(long, value_parser = ["rust", "typescript", "python"])]
    language: String,
    /// A file to write them to, over what it says, instead of printing them
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    #[command(flatten)]
    common: Common,
}

impl Types {
    pub(crate) async fn run(self, caller: &Caller) -> Result<()> {
        let Self { tenant, language, out, common } = self;
        let path = format!("/v1/tenants/{tenant}/types?language={language}");
        let written = caller.api(&common, Method::GET, &path, None).await?;
        let text =
            |written: &Value| written.get("text").and_then(Value::as_str).unwrap_or_default().to_owned();
        match out {
            Some(file) => {
                std::fs::write(&file, text(&written))
                    .into_diagnostic()
                    .wrap_err_with(|| file.display().to_string())?;
                say!("wrote {}", file.display());
            }
            None => print(common.json, &written, text),
        }
        Ok(())
    }
}
