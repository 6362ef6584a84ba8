//! The demo: the sample app's settings, three tenants with people and rows, made by the same calls anyone makes.

mod seed;
mod tell;

use std::path::{Path, PathBuf};

use miette::{IntoDiagnostic, Result, miette};
use serde::{Deserialize, Serialize};

use crate::command::write_new;

/// File name, below the state folder.
pub(crate) const DEMO: &str = "demo.json";

/// Everything a script needs.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Demo {
    gateway: String,
    api: String,
    guard: String,
    operator: Operator,
    tenants: Vec<DemoTenant>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Operator {
    token: String,
    /// Made where it is missing: by an earlier version there was none.
    #[serde(default)]
    access_key: Option<AccessKey>,
}

/// What a script signs requests to the policy service with.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct AccessKey {
    id: String,
    secret: String,
}

#[derive(Debug, Serialize, Deserialize)]
struct DemoTenant {
    id: String,
    issuer: String,
    host: String,
    users: Vec<DemoUser>,
    client: DemoClient,
    /// One payment of this tenant, to try reaching for.
    payment: String,
    #[serde(default)]
    access_key: Option<AccessKey>,
    /// The store this tenant's requests are decided by.
    #[serde(default)]
    policy_store_id: String,
    /// The base URL of its AuthZEN endpoints.
    #[serde(default)]
    authzen: String,
    /// Asks them about anybody of the tenant.
    #[serde(default)]
    decision_client: Option<DemoClient>,
}

#[derive(Debug, Serialize, Deserialize)]
struct DemoUser {
    username: String,
    password: String,
    roles: Vec<String>,
}

#[derive(Debug, Serialize, Deserialize)]
struct DemoClient {
    client_id: String,
    client_secret: String,
}

const FILES: &[(&str, &str)] = &[
    ("routes.toml", include_str!("../../../../examples/ledger/routes.toml")),
    ("schema.sql", include_str!("../../../../examples/ledger/schema.sql")),
    ("ledger.cedarschema", include_str!("../../../../examples/ledger/policies/ledger.cedarschema")),
    ("ledger.cedar", include_str!("../../../../examples/ledger/policies/ledger.cedar")),
];

/// Writes the demo's settings below the state folder, where they are not there yet; says where they are.
pub(crate) fn settings(dir: &Path) -> Result<PathBuf> {
    let folder = dir.join("demo");
    let settings = folder.join("ringfence.toml");
    if !settings.exists() {
        let text = include_str!("../../../../examples/ledger/ringfence.toml").replace("{ledger}", &ledger()?);
        // The settings last: where they are there, all is.
        for (name, text) in FILES {
            std::fs::create_dir_all(&folder)
                .and_then(|()| std::fs::write(folder.join(name), text))
                .into_diagnostic()?;
        }
        write_new(&folder, &[("ringfence.toml", &text)])?;
    }
    Ok(settings)
}

/// The sample app's program: built beside ours.
fn ledger() -> Result<String> {
    let ours = std::env::current_exe().into_diagnostic()?;
    let ledger = ours.with_file_name("ledger");
    if ledger.exists() {
        Ok(ledger.display().to_string())
    } else {
        Err(miette!(
            help = "build it with `cargo build --package ledger`, with the same --release if that was used",
            "the sample app is not there: {}",
            ledger.display()
        ))
    }
}

/// The password of a demo user, where this is a demo.
pub(crate) fn password(dir: &Path, tenant: &str, username: &str) -> Option<String> {
    let demo = Demo::load(dir)?;
    let tenant = demo.tenants.into_iter().find(|found| found.id == tenant)?;
    tenant.users.into_iter().find(|user| user.username == username).map(|user| user.password)
}

impl Demo {
    fn load(dir: &Path) -> Option<Self> {
        serde_json::from_str(&std::fs::read_to_string(dir.join(DEMO)).ok()?).ok()
    }
}
