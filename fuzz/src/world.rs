//! The plane's API in this process, with two tenants, for inputs nobody would write.
//!
//! Every input goes the way a request goes: through the router, admitted by what a real caller shows, to the real state
//! on SQLite and the tenants' real stores. What is held against every answer: the process lives, the plane did not fail
//! (no 5xx), and nothing of the other tenant is in it.

use std::{fs, path::Path, sync::Arc};

use axum::{Router, body::Body};
use bytes::Bytes;
use chrono::DateTime;
use http::{Method, Request, header};
use http_body_util::{BodyExt, Full};
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use ringfence_context::{
    By, Clock, Secret, TenantId,
    id::{ClientId, Role},
    key::{MacKey, sha256},
};
use ringfence_control::{
    Parts, Plane, Running, Settings, SystemClock, access_key::KeyOwner, serve, serve::api_router,
};
use ringfence_guard::cluster::Durability;
use serde_json::{Value, json};
use tokio::runtime::Runtime;
use tower::ServiceExt;

/// Who asks.
const OWN: &str = "acme";
/// Of whom nothing may be told.
const OTHER: &str = "globex";
/// Stands in everything that is the other tenant's.
const CANARY: &str = "canary-5c1e7f";

const FILES: &[(&str, &str)] = &[
    ("ringfence.toml", include_str!("../../crates/ringfence-range/ringfence.toml")),
    ("routes.toml", include_str!("../../examples/ledger/routes.toml")),
    ("schema.sql", include_str!("../../examples/ledger/schema.sql")),
    ("ledger.cedarschema", include_str!("../../examples/ledger/policies/ledger.cedarschema")),
    ("ledger.cedar", include_str!("../../examples/ledger/policies/ledger.cedar")),
    ("documents.cedarschema", include_str!("../../examples/documents/documents.cedarschema")),
    ("documents.cedar", include_str!("../../examples/documents/documents.cedar")),
];

const TIER: &str = r#"
[tiers.documents]
rate = { per_second = 1000000, burst = 1000000 }
namespace = "Docs"
schema = "documents.cedarschema"
policies = "documents.cedar"
avp = { requests_per_second = 1000000, changes_per_second = 1000000 }
"#;

/// The plane, and what its callers show.
pub struct World {
    runtime: Runtime,
    router: Router,
    running: Running,
    operator: String,
    decider: String,
    key: (String, Secret<String>),
    /// The asking tenant's serving store at the policy service.
    pub store: String,
    _dir: tempfile::TempDir,
}

impl World {
    /// Two tenants with stored entities and a policy store each; the other's carry the canary.
    pub fn start() -> Self {
        let runtime = Runtime::new().expect("a runtime");
        let dir = tempfile::tempdir().expect("a folder");
        let (router, running, operator, workflow) = runtime.block_on(Self::plane(dir.path()));
        let ids = [OWN, OTHER].map(|name| TenantId::new(name).expect("an id"));
        let [own, other] = &ids;
        let by = By::plane(SystemClock.now());
        let (decider, keys) = runtime.block_on(async {
            for tenant in &ids {
                workflow.onboard(tenant.clone(), tenant.as_str(), "documents", &by).await.expect("a tenant");
            }
            let client = ClientId::new("pdp").expect("an id");
            let roles = vec![Role::new("decisions").expect("a role")];
            let secret = workflow.pools.client_create_machine(own, &client, "pdp", roles, &by).await;
            let mut keys = Vec::new();
            for tenant in [own, other] {
                let owner = KeyOwner::Tenant(tenant.clone());
                let key = workflow.access_keys.key_create(owner, &by).await.expect("a key");
                keys.push((key.0.id, key.1));
            }
            (grant(&running, secret.expect("a client").reveal()).await, keys)
        });
        let [key, others]: [_; 2] = keys.try_into().unwrap_or_else(|_| panic!("two keys"));
        let mut world = Self {
            runtime,
            router,
            running,
            operator,
            decider,
            key: others,
            store: String::new(),
            _dir: dir,
        };
        world.furnish_other();
        world.key = key;
        let listed = world.signed("ListPolicyStores", b"{}");
        world.store = listed["policyStores"][0]["policyStoreId"].as_str().expect("a store").to_owned();
        for (kind, id) in [("Group", "all"), ("Folder", "public")] {
            world.entity_put(
                json!({ "uid": { "type": format!("Docs::{kind}"), "id": id } }).to_string().as_bytes(),
            );
        }
        world
    }

    async fn plane(dir: &Path) -> (Router, Running, String, ringfence_control::workflow::Workflow) {
        for (name, text) in FILES {
            fs::write(dir.join(name), text).expect("a file");
        }
        let settings = format!("{}{TIER}", FILES[0].1);
        fs::write(dir.join("ringfence.toml"), settings).expect("a file");
        let settings = Settings::load(&dir.join("ringfence.toml")).expect("settings");
        let state = dir.join("state");
        let plane =
            Plane::open(settings, &state, Arc::new(SystemClock), Durability::Test).await.expect("a plane");
        let parts = Parts::serving(&plane);
        let router = api_router(&plane, &parts);
        let operator = Plane::operator_token(&state).expect("an operator").reveal().clone();
        let workflow = plane.workflow.clone();
        let running = serve(plane, &parts, "127.0.0.1:1").expect("the plane runs");
        (router, running, operator, workflow)
    }

    /// With the other tenant's key: a store, a policy and an entity that carry the canary.
    fn furnish_other(&self) {
        let made = json!({ "validationSettings": { "mode": "OFF" }, "description": CANARY });
        let store = self.signed_whoever("CreatePolicyStore", made.to_string().as_bytes());
        let statement =
            format!("permit (principal, action, resource) when {{ \"{CANARY}\" == \"{CANARY}\" }};");
        let definition = json!({ "static": { "description": CANARY, "statement": statement } });
        let policy = json!({ "policyStoreId": store["policyStoreId"], "definition": definition });
        let made = self.signed_whoever("CreatePolicy", policy.to_string().as_bytes());
        assert!(made["policyId"].is_string(), "{made}");
        let uid = json!({ "type": "Docs::Document", "id": CANARY });
        let entity = json!({ "uid": uid, "attrs": { "status": CANARY } }).to_string();
        let path = format!("/v1/tenants/{OTHER}/entities");
        self.send(self.operator(Method::PUT, &path, entity.as_bytes()), false);
    }

    /// An operation of the policy service, called with the asking tenant's key; its answer.
    pub fn signed(&self, operation: &str, body: &[u8]) -> Value {
        self.send(self.sign(operation, body), true)
    }

    fn signed_whoever(&self, operation: &str, body: &[u8]) -> Value {
        self.send(self.sign(operation, body), false)
    }

    /// A question to the decision API, asked by the tenant's decision client.
    pub fn ask(&self, path: &str, body: &[u8]) -> Value {
        let request = Request::post(format!("/t/{OWN}/access/v1/{path}"))
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::AUTHORIZATION, format!("Bearer {}", self.decider));
        self.send(request.body(Body::from(body.to_vec())).expect("a request"), true)
    }

    /// Stores an entity of the asking tenant, as an operator.
    pub fn entity_put(&self, body: &[u8]) -> Value {
        let path = format!("/v1/tenants/{OWN}/entities");
        self.send(self.operator(Method::PUT, &path, body), true)
    }

    fn operator(&self, method: Method, path: &str, body: &[u8]) -> Request<Body> {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::AUTHORIZATION, format!("Bearer {}", self.operator));
        request.body(Body::from(body.to_vec())).expect("a request")
    }

    /// Signed as the IAM user guide describes it (AWS Signature Version 4).
    fn sign(&self, operation: &str, body: &[u8]) -> Request<Body> {
        const KIND: &str = "application/x-amz-json-1.0";
        const SIGNED: &str = "content-type;host;x-amz-date;x-amz-target";
        let (host, now) = (self.running.api.to_string(), SystemClock.now().seconds());
        let now = i64::try_from(now).ok().and_then(|now| DateTime::from_timestamp(now, 0)).expect("a time");
        let (date, time) = (now.format("%Y%m%d").to_string(), now.format("%Y%m%dT%H%M%SZ").to_string());
        let target = format!("VerifiedPermissions.{operation}");
        let canonical = format!(
            "POST\n/\n\ncontent-type:{KIND}\nhost:{host}\nx-amz-date:{time}\nx-amz-target:{target}\n\n{SIGNED}\n{}",
            hex(&sha256(body))
        );
        let scope = format!("{date}/local/verifiedpermissions/aws4_request");
        let words = format!("AWS4-HMAC-SHA256\n{time}\n{scope}\n{}", hex(&sha256(canonical.as_bytes())));
        let mut key = format!("AWS4{}", self.key.1.reveal()).into_bytes();
        for part in scope.split('/').chain([words.as_str()]) {
            key = MacKey::from_bytes(&Secret::new(key)).tag_plain(part.as_bytes()).to_vec();
        }
        let credential = format!("Credential={}/{scope}", self.key.0);
        let authorization =
            format!("AWS4-HMAC-SHA256 {credential}, SignedHeaders={SIGNED}, Signature={}", hex(&key));
        let request = Request::post("/")
            .header(header::CONTENT_TYPE, KIND)
            .header(header::HOST, host)
            .header("x-amz-date", time)
            .header("x-amz-target", target)
            .header(header::AUTHORIZATION, authorization);
        request.body(Body::from(body.to_vec())).expect("a request")
    }

    fn send(&self, request: Request<Body>, own: bool) -> Value {
        let shown = format!("{} {}", request.method(), request.uri());
        let (head, body) = self.runtime.block_on(async {
            let answer = self.router.clone().oneshot(request).await.unwrap_or_else(|never| match never {});
            let (head, body) = answer.into_parts();
            (head, body.collect().await.expect("an answer's body").to_bytes())
        });
        let text = String::from_utf8_lossy(&body);
        assert!(!head.status.is_server_error(), "{shown}: {} {text}", head.status);
        assert!(!(own && text.contains(CANARY)), "{shown}: the other tenant's is told: {text}");
        serde_json::from_slice(&body).unwrap_or(Value::Null)
    }
}

/// The access token of the asking tenant's decision client.
async fn grant(running: &Running, secret: &str) -> String {
    let form = format!("grant_type=client_credentials&client_id=pdp&client_secret={secret}");
    let request = Request::post(format!("http://{}/t/{OWN}/token", running.gateway))
        .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
        .body(Full::new(Bytes::from(form)))
        .expect("a request");
    let client = Client::builder(TokioExecutor::new()).build_http();
    let answer = client.request(request).await.expect("an answer").into_body();
    let body = answer.collect().await.expect("a body").to_bytes();
    let token: Value = serde_json::from_slice(&body).expect("JSON");
    token["access_token"].as_str().expect("a token").to_owned()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
