//! The scene: what the range says of itself in its first line, and the parts attacker and victims play in it.

use std::{net::SocketAddr, path::PathBuf};

use serde::Deserialize;

use crate::error::ProveError;

/// The attacker's tenant: all its users, clients and keys are his.
pub(crate) const ATTACKER: &str = "acme";
/// The tenant attacked.
pub(crate) const VICTIM: &str = "globex";
/// The tenant that must not be hit by what misses. Its policies are in a shared store.
pub(crate) const BYSTANDER: &str = "initech";
/// Another tenant of the attacker's, whose policies are in the same shared store as the bystander's.
pub(crate) const ALLY: &str = "hooli";

/// The range's first line.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Scene {
    /// URL of gateway and issuers.
    pub(crate) gateway: String,
    /// URL of the control and decision API.
    pub(crate) api: String,
    /// The guard.
    pub(crate) guard: SocketAddr,
    /// The backend, which nobody should reach but the gateway.
    pub(crate) backend: SocketAddr,
    /// The database behind the guard.
    pub(crate) database: String,
    /// How the judge reaches Postgres itself.
    pub(crate) judge: JudgeAccess,
    /// What is broken.
    pub(crate) broken: Vec<String>,
    /// Where contexts are written down that somebody has overheard between guard and Postgres.
    #[serde(default)]
    pub(crate) overheard: PathBuf,
    /// The operator.
    pub(crate) operator: Operator,
    /// The tenants.
    pub(crate) tenants: Vec<Tenant>,
}

/// A superuser's way into Postgres, past everything.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct JudgeAccess {
    /// Folder of the Unix socket.
    pub(crate) socket: PathBuf,
    /// Port, which is part of the socket's name.
    pub(crate) port: u16,
    /// Role.
    pub(crate) user: String,
    /// Database.
    pub(crate) database: String,
}

/// The operator's credentials: for controls, and for what an operator does on a tenant's behalf.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Operator {
    /// The bearer token.
    pub(crate) token: String,
}

/// A tenant.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Tenant {
    /// Its id.
    pub(crate) id: String,
    /// Its issuer's URL.
    pub(crate) issuer: String,
    /// The host its API is served at, with port.
    pub(crate) host: String,
    /// Its users.
    pub(crate) users: Vec<User>,
    /// Its machine client.
    pub(crate) client: MachineClient,
    /// The client that may ask for decisions and do nothing else.
    #[serde(default)]
    pub(crate) decision_client: MachineClient,
    /// What its requests to the policy service are signed with.
    pub(crate) access_key: AccessKey,
    /// The policy store its requests are decided by.
    pub(crate) policy_store_id: String,
    /// The schema its rows are in.
    #[serde(default = "public")]
    pub(crate) schema: String,
    /// The name of the shared store its policies are in, if they are.
    #[serde(default)]
    pub(crate) shared_store: Option<String>,
    /// What a victim has in the policies its requests are decided by.
    #[serde(default)]
    pub(crate) planted: Option<String>,
    /// The app its users sign in with.
    #[serde(default)]
    pub(crate) app: App,
    /// Keys, of the attacker's tenant only: we assume he has stolen his own tenant's.
    #[serde(default)]
    pub(crate) stolen: Option<Stolen>,
}

/// A user.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct User {
    /// Name.
    pub(crate) username: String,
    /// Password.
    pub(crate) password: String,
    /// Roles.
    pub(crate) roles: Vec<String>,
}

/// A machine client.
#[derive(Debug, Clone, Default, Deserialize)]
pub(crate) struct MachineClient {
    /// Its id.
    pub(crate) client_id: String,
    /// Its secret.
    pub(crate) client_secret: String,
}

/// An access key.
#[derive(Debug, Clone, Default, Deserialize)]
pub(crate) struct AccessKey {
    /// Its id.
    pub(crate) id: String,
    /// Its secret.
    pub(crate) secret: String,
}

/// A public client.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct App {
    /// Its id.
    pub(crate) client_id: String,
    /// Where its codes go.
    pub(crate) redirect_uri: String,
}

impl Default for App {
    /// The client every tenant is onboarded with.
    fn default() -> Self {
        Self { client_id: "ringfence-cli".to_owned(), redirect_uri: "http://127.0.0.1/callback".to_owned() }
    }
}

/// Keys of the attacker's own tenant.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Stolen {
    /// The issuer's signing key, PKCS#8, base64url.
    pub(crate) signing_key: String,
    /// The database key, 32 bytes, base64url.
    pub(crate) database_key: String,
    /// What the keys are derived from that its own records are authenticated with, 32 bytes, base64url.
    pub(crate) inner_key: String,
}

impl Scene {
    /// Reads the line.
    ///
    /// # Errors
    /// [`ProveError::Scene`] where a part is missing.
    pub(crate) fn read(line: &str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(line)
    }

    /// The tenant of this id.
    ///
    /// # Errors
    /// [`ProveError::Scene`].
    pub(crate) fn tenant(&self, id: &str) -> Result<&Tenant, ProveError> {
        self.tenants.iter().find(|tenant| tenant.id == id).ok_or(ProveError::Scene("a tenant is missing"))
    }

    /// Host and port of the gateway.
    pub(crate) fn base_host(&self) -> &str {
        authority(&self.gateway)
    }

    /// Host and port of the API.
    pub(crate) fn api_host(&self) -> &str {
        authority(&self.api)
    }
}

impl Tenant {
    /// No tenant at all.
    pub(crate) fn nobody() -> Self {
        let (client, decision_client) = (MachineClient::default(), MachineClient::default());
        let (id, issuer, host) = (String::new(), String::new(), String::new());
        let (access_key, policy_store_id) = (AccessKey::default(), String::new());
        Self {
            id,
            issuer,
            host,
            users: Vec::new(),
            client,
            decision_client,
            access_key,
            policy_store_id,
            schema: public(),
            shared_store: None,
            planted: None,
            app: App::default(),
            stolen: None,
        }
    }

    /// The first user with this role.
    ///
    /// # Errors
    /// [`ProveError::Scene`].
    pub(crate) fn user(&self, role: &str) -> Result<&User, ProveError> {
        let has = |user: &&User| user.roles.iter().any(|held| held == role);
        self.users.iter().find(has).ok_or(ProveError::Scene("a tenant has no user of a needed role"))
    }
}

fn public() -> String {
    "public".to_owned()
}

fn authority(url: &str) -> &str {
    url.trim_start_matches("http://").trim_end_matches('/')
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) const LINE: &str = r#"{"gateway":"http://127.0.0.1:1","api":"http://127.0.0.1:2","guard":"127.0.0.1:3",
        "backend":"127.0.0.1:4","database":"ledger","judge":{"socket":"/s","port":6431,"user":"postgres","database":"ledger"},
        "broken":[],"operator":{"token":"t"},"tenants":[{"id":"acme","issuer":"http://127.0.0.1:1/t/acme",
        "host":"acme.localhost:1","users":[{"username":"a","password":"p","roles":["admin"]}],
        "client":{"client_id":"c","client_secret":"s"},"access_key":{"id":"k","secret":"s"},
        "policy_store_id":"ps-acme","stolen":{"signing_key":"AA","database_key":"AA","inner_key":"AA"}}]}"#;

    #[test]
    fn the_first_line_is_read_with_an_app_by_default() {
        let scene = Scene::read(LINE).unwrap();
        let acme = scene.tenant("acme").unwrap();
        assert_eq!((scene.base_host(), acme.app.client_id.as_str()), ("127.0.0.1:1", "ringfence-cli"));
        assert!(
            acme.user("admin").is_ok() && acme.user("viewer").is_err() && scene.tenant("globex").is_err()
        );
    }
}
