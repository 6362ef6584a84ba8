//! `ringfence policy versions`, `show`, `rollback`, `audit`.

use clap::Args;
use http::Method;
use miette::Result;
use serde_json::{Value, json};

use super::{
    super::Common,
    text::{published, standing},
};
use crate::{
    call::Caller,
    output::{card, print, table},
};

/// List the versions.
#[derive(Debug, Args)]
pub(crate) struct Versions {
    /// The tenant
    #[arg(long)]
    tenant: String,
    /// Those after this one, 500 at most
    #[arg(long, default_value = "0")]
    after: u64,
    #[command(flatten)]
    common: Common,
}

/// Show one version.
#[derive(Debug, Args)]
pub(crate) struct Show {
    /// The tenant
    #[arg(long)]
    tenant: String,
    /// Its number
    #[arg(long)]
    version: u64,
    #[command(flatten)]
    common: Common,
}

/// Put an earlier version into effect.
#[derive(Debug, Args)]
pub(crate) struct Rollback {
    /// The tenant
    #[arg(long)]
    tenant: String,
    /// The version whose text is to serve again
    #[arg(long)]
    to: u64,
    /// Why, for the record
    #[arg(long)]
    reason: String,
    #[command(flatten)]
    common: Common,
}

/// List every step.
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

impl Versions {
    pub(crate) async fn run(self, caller: &Caller) -> Result<()> {
        let Self { tenant, after, common } = self;
        let path = format!("/v1/tenants/{tenant}/versions?after={after}");
        let listed = caller.api(&common, Method::GET, &path, None).await?;
        print(common.json, &listed, |listed| {
            let mut rows = listed.clone();
            for row in rows.as_array_mut().into_iter().flatten() {
                if let Some(members) = row.as_object_mut() {
                    let word = standing(members.get("standing"));
                    members.insert("standing".to_owned(), json!(word));
                }
            }
            table(&rows, &["version", "at", "author", "reviewer", "cause", "standing", "reason"])
        });
        Ok(())
    }
}

impl Show {
    pub(crate) async fn run(self, caller: &Caller) -> Result<()> {
        let Self { tenant, version, common } = self;
        let path = format!("/v1/tenants/{tenant}/versions/{version}");
        let shown = caller.api(&common, Method::GET, &path, None).await?;
        print(common.json, &shown, whole);
        Ok(())
    }
}

impl Rollback {
    pub(crate) async fn run(self, caller: &Caller) -> Result<()> {
        let Self { tenant, to, reason, common } = self;
        let path = format!("/v1/tenants/{tenant}/versions/{to}/rollback");
        let done = caller.api(&common, Method::POST, &path, Some(json!({ "reason": reason }))).await?;
        print(common.json, &done, |done| published(&format!("rolled back to {to}"), done));
        Ok(())
    }
}

impl Audit {
    pub(crate) async fn run(self, caller: &Caller) -> Result<()> {
        let Self { tenant, after, common } = self;
        let path = format!("/v1/tenants/{tenant}/audit?after={after}");
        let listed = caller.api(&common, Method::GET, &path, None).await?;
        print(common.json, &listed, |listed| table(listed, &["number", "at", "who", "did", "reason"]));
        Ok(())
    }
}

/// What is known of a text, and the text: schema, then policies and templates by name.
pub(crate) fn whole(shown: &Value) -> String {
    let mut head = shown.clone();
    let document = head.as_object_mut().and_then(|members| members.remove("document")).unwrap_or_default();
    let mut text = card(&head);
    if let Some(schema) = document.get("schema").and_then(Value::as_str) {
        text.push_str(&format!("\n// schema\n{}\n", schema.trim_end()));
    }
    for section in ["policies", "templates"] {
        for (name, policy) in document.get(section).and_then(Value::as_object).into_iter().flatten() {
            text.push_str(&format!("\n// {name}\n{}\n", policy.as_str().unwrap_or_default()));
        }
    }
    for (name, link) in document.get("links").and_then(Value::as_object).into_iter().flatten() {
        text.push_str(&format!("\n// {name}: {link}\n"));
    }
    text
}
