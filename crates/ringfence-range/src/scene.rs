//! Tenants of the range, and what the attacker is told: where everything is, his own people's passwords, and the keys
//! of his own tenant, which we assume he has stolen.

use ringfence_authorization::{
    govern::{Author, Change, ChangeReason, StoreEdit},
    shared::Held,
    stores::StoreMapRow,
};
use ringfence_context::{
    By, Secret, TenantId,
    id::{ClientId, Role},
    key::base64url,
};
use ringfence_control::{Plane, access_key::KeyOwner};
use ringfence_identity::{NewUser, membership::DECISIONS};
use ringfence_store::{Kind, Scope};
use serde_json::{Value, json};

use crate::{
    layer::{ALLY, ATTACKER, BYSTANDER, Layer, VICTIM},
    overheard,
};

const POOL: Kind = Kind::new("pool");
const PEOPLE: &[(&str, &str)] =
    &[("admin", "admin"), ("approver", "approver"), ("clerk", "clerk"), ("viewer", "viewer")];
const MACHINE: &str = "billing-service";
const DECISION_CLIENT: &str = "pdp";
const STORE_MAP: Kind = Kind::new("store_map");
const SCENE: &str = "scene.json";

/// The tenants, as their people know them.
pub(crate) struct Scene {
    tenants: Vec<Value>,
}

impl Scene {
    /// Makes the tenants, or finds those of an earlier range in the same folder.
    pub(crate) async fn make(plane: &Plane) -> Result<Self, String> {
        let path = plane.dir.join(SCENE);
        if let Ok(text) = std::fs::read_to_string(&path) {
            return Ok(Self { tenants: serde_json::from_str(&text).map_err(|error| error.to_string())? });
        }
        let mut tenants = Vec::new();
        for (id, tier) in
            [(ATTACKER, "standard"), (VICTIM, "standard"), (BYSTANDER, "shared"), (ALLY, "shared")]
        {
            tenants.push(tenant(plane, id, tier).await.map_err(|error| format!("{id}: {error}"))?);
        }
        let text = Value::Array(tenants.clone()).to_string();
        std::fs::write(&path, text).map_err(|error| error.to_string())?;
        Ok(Self { tenants })
    }

    /// The one line that is said, at the addresses of this run.
    pub(crate) fn tell(mut self, plane: &Plane, backend: &str, breaks: &[Layer]) -> Result<Value, String> {
        let at =
            |listener: &tokio::net::TcpListener| listener.local_addr().map_err(|error| error.to_string());
        let (api, guard) = (at(&plane.listeners.api)?, at(&plane.listeners.guard)?);
        let addresses = plane.addresses();
        for tenant in &mut self.tenants {
            let id = tenant.get("id").and_then(Value::as_str).unwrap_or_default().to_owned();
            if let Some(tenant) = tenant.as_object_mut() {
                tenant.insert("issuer".to_owned(), format!("{}/t/{id}", addresses.base_url).into());
                tenant.insert("host".to_owned(), format!("{id}.{}", addresses.host_suffix).into());
            }
        }
        let operator = Plane::operator_token(&plane.dir).map_err(|error| error.to_string())?;
        let broken: Vec<String> = breaks.iter().map(name).collect();
        let (socket, port) = plane.workflow.data.socket().ok_or("the cluster is not managed")?;
        Ok(json!({
            "gateway": addresses.base_url,
            "api": format!("http://{api}"),
            "guard": guard.to_string(),
            "backend": backend,
            "database": plane.workflow.data.database().as_str(),
            "judge": { "socket": socket, "port": port, "user": "postgres", "database": plane.workflow.data.database().as_str() },
            "broken": broken,
            "overheard": overheard::file(&plane.dir),
            "operator": { "token": operator.reveal() },
            "tenants": self.tenants,
        }))
    }
}

fn name(layer: &Layer) -> String {
    use clap::ValueEnum;
    layer.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
}

async fn tenant(plane: &Plane, id: &str, tier: &str) -> Result<Value, String> {
    let fail = |error: &dyn std::fmt::Display| error.to_string();
    let tenant = TenantId::new(id).map_err(|error| fail(&error))?;
    let by = By::plane(plane.clock.now());
    plane.workflow.onboard(tenant.clone(), id, tier, &by).await.map_err(|error| fail(&error))?;
    let pools = &plane.workflow.pools;
    let mut users = Vec::new();
    for (username, role) in PEOPLE {
        let username = format!("{username}-{id}");
        let password = base64url(&ringfence_context::key::random::<12>().map_err(|error| fail(&error))?);
        let new = NewUser {
            username: &username,
            display_name: &username,
            password: Secret::new(password.clone()),
            roles: vec![Role::new(role).map_err(|error| fail(&error))?],
        };
        pools.user_create(&tenant, new, &plane.passwords, &by).await.map_err(|error| fail(&error))?;
        users.push(json!({ "username": username, "password": password, "roles": [role] }));
    }
    let machine = ClientId::new(MACHINE).map_err(|error| fail(&error))?;
    let roles = vec![Role::new("service").map_err(|error| fail(&error))?];
    let secret = pools
        .client_create_machine(&tenant, &machine, MACHINE, roles, &by)
        .await
        .map_err(|error| fail(&error))?;
    let asks = ClientId::new(DECISION_CLIENT).map_err(|error| fail(&error))?;
    let roles = vec![Role::new(DECISIONS).map_err(|error| fail(&error))?];
    let asking = pools.client_create_machine(&tenant, &asks, DECISION_CLIENT, roles, &by).await;
    let asking = asking.map_err(|error| fail(&error))?;
    let made = plane.workflow.tenants.tenant_get(&tenant).await.map_err(|error| fail(&error))?.value;
    let schema = plane.workflow.data.schema(&made).map_err(|error| fail(&error))?.to_string();
    let owner = KeyOwner::Tenant(tenant.clone());
    let key = plane.workflow.access_keys.key_create(owner, &by).await;
    let (key, signing) = key.map_err(|error| fail(&error))?;
    let store = plane.workflow.stores.document(&tenant).await.map_err(|error| fail(&error))?.0.id;
    let mut told = json!({
        "id": id,
        "access_key": { "id": key.id, "secret": signing.reveal() },
        "policy_store_id": store,
        "schema": schema,
        "users": users,
        "client": { "client_id": MACHINE, "client_secret": secret.reveal() },
        "decision_client": { "client_id": DECISION_CLIENT, "client_secret": asking.reveal() },
        "shared_store": shared_store(&map_row(plane, &tenant).await?),
    });
    if let Some(members) = told.as_object_mut() {
        match id {
            ATTACKER => members.insert("stolen".to_owned(), stolen(plane, &tenant).await?),
            ALLY => None,
            _ => members.insert("planted".to_owned(), planted(plane, &tenant).await?.into()),
        };
    }
    Ok(told)
}

/// Where the tenant's policies are.
pub(crate) async fn map_row(plane: &Plane, tenant: &TenantId) -> Result<StoreMapRow, String> {
    let found = plane.workflow.records.get::<StoreMapRow>(&Scope::Plane, STORE_MAP, tenant.as_str()).await;
    let found = found.map_err(|error| error.to_string())?;
    found.map(|found| found.value).ok_or_else(|| format!("{tenant} has no policy store"))
}

/// The name of the shared store they are in, if they are.
fn shared_store(row: &StoreMapRow) -> Option<String> {
    match &row.held {
        Held::Shared(id) => Some(id.to_string()),
        Held::Own => None,
    }
}

/// A policy of a victim's own, in the store its requests are decided by, with what nobody else may read in it. It changes
/// no decision, for it is about nobody there is.
async fn planted(plane: &Plane, tenant: &TenantId) -> Result<String, String> {
    let random = ringfence_context::key::random::<12>().map_err(|error| error.to_string())?;
    let canary = format!("canary-{tenant}-policy-{}", base64url(&random));
    let policy = format!("forbid (principal == Ledger::User::\"{canary}\", action, resource);");
    let reason = ChangeReason::new("planted").map_err(|error| error.to_string())?;
    let edit = StoreEdit::put("planted".to_owned(), policy);
    let change = Change::now(Author::Plane, reason);
    let changed = plane.workflow.policies_change(tenant, |document| edit.apply(document), change).await;
    changed.map(|_| canary).map_err(|error| error.to_string())
}

/// The keys of one tenant, as they are in its own records.
async fn stolen(plane: &Plane, tenant: &TenantId) -> Result<Value, String> {
    let scope = Scope::Tenant(tenant.clone());
    let pools = plane
        .workflow
        .records
        .list::<Value>(&scope, POOL, None, 1)
        .await
        .map_err(|error| error.to_string())?;
    let pool = pools.into_iter().next().ok_or("no pool")?.1.value;
    let text = |pointer| pool.pointer(pointer).cloned().ok_or(format!("the pool has no {pointer}"));
    Ok(json!({
        "signing_key": text("/keys/0/pkcs8")?,
        "database_key": text("/database_key")?,
        "inner_key": text("/inner_key")?,
    }))
}
