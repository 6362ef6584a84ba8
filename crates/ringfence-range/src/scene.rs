//! Tenants of the range, and what the attacker is told: where everything is, his own people's passwords, and the keys
//! of his own tenant, which we assume he has stolen.

use ringfence_context::{
    By, Secret, TenantId,
    id::{ClientId, Role},
    key::base64url,
};
use ringfence_control::{Plane, access_key::KeyOwner};
use ringfence_identity::NewUser;
use ringfence_store::{Kind, Scope};
use serde_json::{Value, json};

use crate::layer::{ATTACKER, Layer};

const POOL: Kind = Kind::new("pool");
const PEOPLE: &[(&str, &str)] =
    &[("admin", "admin"), ("approver", "approver"), ("clerk", "clerk"), ("viewer", "viewer")];
const MACHINE: &str = "billing-service";
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
        for id in [ATTACKER, "globex", "initech"] {
            tenants.push(tenant(plane, id).await.map_err(|error| format!("{id}: {error}"))?);
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
            "operator": { "token": operator.reveal() },
            "tenants": self.tenants,
        }))
    }
}

fn name(layer: &Layer) -> String {
    use clap::ValueEnum;
    layer.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
}

async fn tenant(plane: &Plane, id: &str) -> Result<Value, String> {
    let fail = |error: &dyn std::fmt::Display| error.to_string();
    let tenant = TenantId::new(id).map_err(|error| fail(&error))?;
    let by = By::plane(plane.clock.now());
    plane.workflow.onboard(tenant.clone(), id, "standard", &by).await.map_err(|error| fail(&error))?;
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
    let owner = KeyOwner::Tenant(tenant.clone());
    let key = plane.workflow.access_keys.key_create(owner, &by).await;
    let (key, signing) = key.map_err(|error| fail(&error))?;
    let store = plane.workflow.stores.document(&tenant).await.map_err(|error| fail(&error))?.0.id;
    let mut told = json!({
        "id": id,
        "access_key": { "id": key.id, "secret": signing.reveal() },
        "policy_store_id": store,
        "users": users,
        "client": { "client_id": MACHINE, "client_secret": secret.reveal() },
    });
    if id == ATTACKER
        && let Some(members) = told.as_object_mut()
    {
        members.insert("stolen".to_owned(), stolen(plane, &tenant).await?);
    }
    Ok(told)
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
    Ok(json!({ "signing_key": text("/keys/0/pkcs8")?, "database_key": text("/database_key")? }))
}
