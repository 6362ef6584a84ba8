//! `ringfence entity`.

mod import;

use std::{path::PathBuf, process::ExitCode};

use clap::Subcommand;
use http::Method;
use miette::{Context, IntoDiagnostic, Result, bail, miette};
use serde_json::{Value, json};

use super::Common;
use crate::{
    call::Caller,
    output::{print, table},
};

/// Manage a tenant's stored entities: what is above and around its principals and resources
#[derive(Debug, Subcommand)]
pub(crate) enum EntityCommand {
    /// Write entities from a file; each fits the schema, or it is not written
    Put {
        /// A file with one entity, or a list of them, in Cedar's JSON: {"uid":{"type","id"},"attrs":{},"parents":[]}
        file: PathBuf,
        /// The tenant
        #[arg(long)]
        tenant: String,
        #[command(flatten)]
        common: Common,
    },
    Import(import::Import),
    /// List stored entities
    List {
        /// Only of this type, with its namespace
        #[arg(long = "type", value_name = "TYPE")]
        kind: Option<String>,
        /// The tenant
        #[arg(long)]
        tenant: String,
        #[command(flatten)]
        common: Common,
    },
    /// Show an entity with all that is above it
    Show {
        /// The entity: Namespace::Type::"id"
        entity: String,
        /// The tenant
        #[arg(long)]
        tenant: String,
        #[command(flatten)]
        common: Common,
    },
    /// Delete an entity that nothing is below and nothing refers to
    Delete {
        /// The entity: Namespace::Type::"id"
        entity: String,
        /// The tenant
        #[arg(long)]
        tenant: String,
        #[command(flatten)]
        common: Common,
    },
    /// Say why a check passes or fails: policies, stored entities with the way to what is above them, and what is missing
    Explain {
        /// Who: Type::"id", without namespace
        principal: String,
        /// What: the action's name
        action: String,
        /// On which: Type::"id", without namespace
        resource: String,
        /// What else is known of the request, as a JSON object
        #[arg(long, default_value = "{}", value_name = "JSON")]
        context: String,
        /// The tenant
        #[arg(long)]
        tenant: String,
        #[command(flatten)]
        common: Common,
    },
}

impl EntityCommand {
    pub(crate) async fn run(self) -> Result<ExitCode> {
        let caller = Caller::new();
        match self {
            Self::Put { file, tenant, common } => {
                let text = std::fs::read_to_string(&file).into_diagnostic();
                let text = text.wrap_err_with(|| file.display().to_string())?;
                let value: Value = serde_json::from_str(&text)
                    .into_diagnostic()
                    .wrap_err_with(|| file.display().to_string())?;
                let entities = match value {
                    Value::Array(entities) => entities,
                    one => vec![one],
                };
                let (mut written, path) = (Vec::new(), path(&tenant));
                for entity in entities {
                    let named = entity.get("uid").map(Value::to_string).unwrap_or_default();
                    let told = caller.api(&common, Method::PUT, &path, Some(entity)).await;
                    written.push(told.wrap_err_with(|| {
                        format!("{named} is not written; written before it: {}", written.len())
                    })?);
                }
                let count = written.len();
                print(common.json, &written.into(), |_| {
                    format!("{count} written; seen by the next decision on")
                });
            }
            Self::Import(import) => return import.run().await,
            Self::List { kind, tenant, common } => {
                let listed = list(&caller, &common, &tenant, kind.as_deref()).await?;
                print(common.json, &listed, |listed| table(&rows(listed), &["entity", "parents"]));
            }
            Self::Show { entity, tenant, common } => {
                let shown = caller.api(&common, Method::GET, &path_of(&tenant, &entity)?, None).await?;
                print(common.json, &shown, |shown| serde_json::to_string_pretty(shown).unwrap_or_default());
            }
            Self::Delete { entity, tenant, common } => {
                let done = caller.api(&common, Method::DELETE, &path_of(&tenant, &entity)?, None).await?;
                print(common.json, &done, |_| "deleted; gone for the next decision on".to_owned());
            }
            Self::Explain { principal, action, resource, context, tenant, common } => {
                let context: Value =
                    serde_json::from_str(&context).into_diagnostic().wrap_err("--context")?;
                let check = json!({
                    "subject": named(&principal)?, "action": { "name": action }, "resource": named(&resource)?,
                    "context": context,
                });
                let path = format!("{}/explain", path(&tenant));
                let explained = caller.api(&common, Method::POST, &path, Some(check)).await?;
                print(common.json, &explained, explanation);
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// All pages.
async fn list(caller: &Caller, common: &Common, tenant: &str, kind: Option<&str>) -> Result<Value> {
    let (mut all, mut after) = (Vec::new(), None::<String>);
    loop {
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        kind.map(|kind| query.append_pair("type", kind));
        after.as_ref().map(|after| query.append_pair("after", after));
        let path = format!("{}?{}", path(tenant), query.finish());
        let page = caller.api(common, Method::GET, &path, None).await?;
        let entities = page.get("entities").and_then(Value::as_array).cloned().unwrap_or_default();
        all.extend(entities);
        after = page.get("next").and_then(Value::as_str).map(str::to_owned);
        if after.is_none() {
            return Ok(all.into());
        }
    }
}

fn path(tenant: &str) -> String {
    format!("/v1/tenants/{tenant}/entities")
}

/// The path of `Type::"id"`.
fn path_of(tenant: &str, entity: &str) -> Result<String> {
    let (kind, id) = parts(entity)?;
    let encoded = |text: &str| -> String {
        text.bytes()
            .map(|byte| match byte {
                b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' => char::from(byte).to_string(),
                _ => format!("%{byte:02X}"),
            })
            .collect()
    };
    Ok(format!("{}/{}/{}", path(tenant), encoded(&kind), encoded(&id)))
}

fn named(entity: &str) -> Result<Value> {
    let (kind, id) = parts(entity)?;
    Ok(json!({ "type": kind, "id": id }))
}

/// Type and id of `Type::"id"`; the quotes may be left out, which a shell takes away anyway.
fn parts(entity: &str) -> Result<(String, String)> {
    let wrong = || miette!(help = "write Type::\"id\"", "not the name of an entity: {entity}");
    let (kind, id) = match entity.split_once("::\"") {
        Some((kind, id)) => (kind, id.strip_suffix('"').ok_or_else(wrong)?),
        None => entity.rsplit_once("::").ok_or_else(wrong)?,
    };
    if kind.is_empty() || id.is_empty() {
        bail!(wrong());
    }
    // As in Cedar's own spelling of the two that need it.
    Ok((kind.to_owned(), id.replace("\\\"", "\"").replace("\\\\", "\\")))
}

fn uid(value: &Value) -> String {
    let text = |name: &str| value.get(name).and_then(Value::as_str).unwrap_or_default();
    format!("{}::\"{}\"", text("type"), text("id"))
}

fn rows(listed: &Value) -> Value {
    let row = |entity: &Value| {
        let parents = entity.get("parents").and_then(Value::as_array).into_iter().flatten();
        let parents: Vec<String> = parents.map(uid).collect();
        json!({ "entity": entity.get("uid").map(uid), "parents": parents })
    };
    listed.as_array().into_iter().flatten().map(row).collect()
}

/// An explanation for a person.
fn explanation(told: &Value) -> String {
    let texts = |name: &str| -> Vec<&str> {
        told.get(name).and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect()
    };
    let permitted = told.get("decision").and_then(Value::as_bool).unwrap_or_default();
    let mut text = format!("{}\n", if permitted { "permitted" } else { "denied" });
    let determining = texts("determining");
    text.push_str(&match (determining.as_slice(), permitted) {
        ([], _) => "  no policy permits it\n".to_owned(),
        (ids, true) => format!("  by {}\n", ids.join(", ")),
        (ids, false) => format!("  determined by {}\n", ids.join(", ")),
    });
    for error in texts("errors") {
        text.push_str(&format!("  could not be evaluated: {error}\n"));
    }
    for used in told.get("used").and_then(Value::as_array).into_iter().flatten() {
        let name = used.get("uid").and_then(Value::as_str).unwrap_or_default();
        let attrs = used.get("attrs").map(Value::to_string).unwrap_or_default();
        text.push_str(&format!("stored {name} {attrs}\n"));
        for way in used.get("ancestors").and_then(Value::as_object).into_iter().flat_map(|all| all.values()) {
            let way: Vec<&str> = way.as_array().into_iter().flatten().filter_map(Value::as_str).collect();
            text.push_str(&format!("  in {}\n", way.join(" in ")));
        }
    }
    for missing in texts("missing") {
        text.push_str(&format!("not stored {missing}\n"));
    }
    text
}
