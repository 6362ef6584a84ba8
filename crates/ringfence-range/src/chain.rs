//! The chain, put together and broken.

use std::{path::Path, sync::Arc};

use ringfence_authorization::stores::{StoreMapRow, store_map_put};
use ringfence_context::TenantId;
use ringfence_control::{Plane, Running, Settings, SystemClock, serve};
use ringfence_guard::cluster::Durability;
use ringfence_identity::Membership;
use ringfence_store::{Draft, Kind, Scope};

use crate::{
    backend, broken,
    layer::{ALLY, ATTACKER, BYSTANDER, Layer, VICTIM},
    scene,
};

const MEMBERSHIP: Kind = Kind::new("membership");

/// A chain that runs.
pub(crate) struct Chain {
    running: Running,
    /// What is said of it.
    pub(crate) scene: String,
}

impl Chain {
    /// Stops everything, leaving no process.
    pub(crate) async fn stop(self) -> Result<(), String> {
        self.running.stop().await.map_err(|error| error.to_string())
    }
}

const FILES: &[(&str, &str)] = &[
    ("ringfence.toml", concat!(include_str!("../ringfence.toml"), include_str!("../shared.toml"))),
    ("routes.toml", include_str!("../../../examples/ledger/routes.toml")),
    ("schema.sql", include_str!("../../../examples/ledger/schema.sql")),
    ("ledger.cedarschema", include_str!("../../../examples/ledger/policies/ledger.cedarschema")),
    ("ledger.cedar", include_str!("../../../examples/ledger/policies/ledger.cedar")),
];

/// Puts the chain together below `dir`, with these parts broken.
pub(crate) async fn start(dir: &Path, breaks: &[Layer]) -> Result<Chain, String> {
    let folder = dir.join("settings");
    std::fs::create_dir_all(&folder).map_err(|error| error.to_string())?;
    for (name, text) in FILES {
        std::fs::write(folder.join(name), text).map_err(|error| error.to_string())?;
    }
    let mut settings = Settings::load(&folder.join("ringfence.toml")).map_err(|error| error.to_string())?;
    settings.solver.prover = Some(std::env::current_exe().map_err(|error| error.to_string())?);
    take_out(breaks);
    let plane = Plane::open(settings, dir, Arc::new(SystemClock), Durability::Test).await;
    let plane = plane.map_err(|error| error.to_string())?;
    let scene = scene::Scene::make(&plane).await?;
    break_state(&plane, breaks).await?;
    let backend = backend::start(&plane, breaks).await?;
    let parts = broken::parts(&plane, breaks);
    let scene = scene.tell(&plane, &backend, breaks)?;
    let running = serve(plane, &parts, &backend).map_err(|error| error.to_string())?;
    Ok(Chain { running, scene: scene.to_string() })
}

/// Breaks what no part can be put in place of.
fn take_out(breaks: &[Layer]) {
    if breaks.contains(&Layer::Gate) {
        ringfence_authorization::broken::gate_take_out();
    }
    if breaks.contains(&Layer::Guardrail) {
        ringfence_authorization::broken::guardrail_take_out();
    }
}

/// Breaks what is state, not code: records that are authentic and wrong, and tables without row security.
async fn break_state(plane: &Plane, breaks: &[Layer]) -> Result<(), String> {
    let tenant = |id| TenantId::new(id).map_err(|error| error.to_string());
    let (attacker, victim) = (tenant(ATTACKER)?, tenant(VICTIM)?);
    let records = &plane.workflow.records;
    if breaks.contains(&Layer::Membership) {
        let scope = Scope::Tenant(attacker.clone());
        let members = records.list::<Membership>(&scope, MEMBERSHIP, None, 500).await;
        let mut drafts = Vec::new();
        for (id, member) in members.map_err(|error| error.to_string())? {
            let wrong = Membership { tenant: victim.clone(), ..member.value };
            drafts.push(Draft::put(&scope, MEMBERSHIP, &id, &wrong).map_err(|error| error.to_string())?);
        }
        records.commit(drafts).await.map_err(|error| error.to_string())?;
    }
    if breaks.contains(&Layer::StoreMap) {
        let mut drafts = Vec::new();
        for (from, to) in [(attacker, victim), (tenant(ALLY)?, tenant(BYSTANDER)?)] {
            let row = StoreMapRow { tenant: from, ..scene::map_row(plane, &to).await? };
            drafts.push(store_map_put(&row).map_err(|error| error.to_string())?);
        }
        records.commit(drafts).await.map_err(|error| error.to_string())?;
        plane.workflow.stores.refresh().await.map_err(|error| error.to_string())?;
    }
    let client = plane.workflow.data.connect().await.map_err(|error| error.to_string())?;
    let word = if breaks.contains(&Layer::Rls) { "DISABLE" } else { "ENABLE" };
    let tables = client.query("SELECT relation::regclass::text FROM ringfence.protected", &[]).await;
    for table in tables.map_err(|error| error.to_string())? {
        let table: String = table.try_get(0).map_err(|error| error.to_string())?;
        let sql = format!("ALTER TABLE {table} {word} ROW LEVEL SECURITY");
        client.batch_execute(&sql).await.map_err(|error| error.to_string())?;
    }
    Ok(())
}
