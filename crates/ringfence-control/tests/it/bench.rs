//! One chain for the whole run; each test has tenants of its own.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::{Arc, LazyLock},
    time::Duration,
};

use axum::{extract::Request as Incoming, middleware};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use ledger::Ledger;
use ringfence_authorization::{
    StoreDocument,
    avp::Avp,
    govern::{Author, Change, ChangeReason},
};
use ringfence_context::{
    By, Clock, Part, Reference, TenantId, Verdict,
    id::{ClientId, Role},
};
use ringfence_control::{
    DecisionLog, Parts, Plane, Running, Settings, SystemClock, serve, trust::trust, workflow::Workflow,
};
use ringfence_gateway::admission::GatewayHits;
use ringfence_guard::cluster::Durability;
use serde_json::Value;
use tokio::{
    net::TcpListener,
    runtime::Runtime,
    sync::{Mutex, OnceCell},
};

use crate::{
    counting::{Call, Counted, Counts},
    issuer_server::IssuerServer,
};

static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| Runtime::new().unwrap());
static BENCH: OnceCell<Bench> = OnceCell::const_new();
static ONE: Mutex<()> = Mutex::const_new(());

pub(crate) const FILES: &[(&str, &str)] = &[
    ("ringfence.toml", include_str!("../../../ringfence-range/ringfence.toml")),
    ("routes.toml", include_str!("../../../../examples/ledger/routes.toml")),
    ("schema.sql", include_str!("../../../../examples/ledger/schema.sql")),
    ("ledger.cedarschema", include_str!("../../../../examples/ledger/policies/ledger.cedarschema")),
    ("ledger.cedar", include_str!("../../../../examples/ledger/policies/ledger.cedar")),
];

/// Runs a test on the one runtime, with the one bench: what the chain has spawned outlives each test. One at a time,
/// because some of them measure time.
pub(crate) fn with_bench(test: impl AsyncFnOnce(&'static Bench)) {
    RUNTIME.block_on(async {
        let _one = ONE.lock().await;
        test(BENCH.get_or_init(Bench::start).await).await;
    });
}

/// The chain.
pub(crate) struct Bench {
    pub(crate) counts: Arc<Counts>,
    pub(crate) workflow: Workflow,
    pub(crate) log: DecisionLog,
    pub(crate) avp: Arc<Avp>,
    pub(crate) gateway_hits: Arc<GatewayHits>,
    pub(crate) backend: String,
    /// What the backend shows when it tells the plane something.
    pub(crate) reporter: String,
    /// The first operator's token.
    pub(crate) operator: String,
    /// Other issuers.
    pub(crate) issuers: IssuerServer,
    client: Client<HttpConnector, Full<Bytes>>,
    running: Running,
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// Layer and reason of a refusal.
    pub(crate) fn refusal(&self) -> (String, String) {
        let problem = self.json();
        let text = |name: &str| problem[name].as_str().unwrap_or_else(|| panic!("{self:?}")).to_owned();
        (text("layer"), text("type"))
    }

    pub(crate) fn reference(&self) -> Reference {
        Reference::new(self.headers["ringfence-reference"].to_str().unwrap()).unwrap()
    }
}

pub(crate) fn id(tenant: &str) -> TenantId {
    TenantId::new(tenant).unwrap()
}

/// The plane itself, now.
pub(crate) fn by() -> By {
    By::plane(SystemClock.now())
}

/// A folder for one run, after removing those whose run is over.
pub(crate) fn scratch(name: &str) -> PathBuf {
    let parent = std::env::temp_dir();
    for entry in fs::read_dir(&parent).unwrap().filter_map(Result::ok) {
        let file_name = entry.file_name().to_string_lossy().into_owned();
        let Some(rest) = file_name.strip_prefix("rf-chain-") else { continue };
        if !rest.split('-').next().is_some_and(|pid| Path::new("/proc").join(pid).exists()) {
            // Another run may be removing it too.
            let _ = fs::remove_dir_all(entry.path());
        }
    }
    let folder = parent.join(format!("rf-chain-{}-{name}", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o755)).unwrap();
    folder
}

impl Bench {
    async fn start() -> Self {
        let dir = scratch("bench");
        for (name, text) in FILES {
            fs::write(dir.join(name), text).unwrap();
        }
        // And a tier whose policies are reviewed, which is otherwise the same.
        let (_, standard) = FILES[0].1.split_once("[tiers.standard]").unwrap();
        let reviewed = format!("{}\n[tiers.reviewed]\nreview = \"required\"{standard}", FILES[0].1);
        // One whose tenants share a policy store, one with one store of its own, and one whose tenants change little.
        let pooled = format!("\n[tiers.pooled]\npolicy_store = \"shared\"{standard}");
        let few = format!("\n[tiers.few]\nown_stores = 1{standard}");
        let still = format!("\n[tiers.still]\navp = {{ changes_per_second = 1 }}{standard}");
        // And other issuers, all of them on loopback, which the operator says.
        let issuers = IssuerServer::start().await;
        fs::write(dir.join("issuers.pem"), &issuers.authority).unwrap();
        let at = issuers.address;
        let others = format!(
            "\n[avp]\nca_file = \"issuers.pem\"\nissuers = [
                {{ url = \"https://login.example.com/\", address = \"{at}\" }},
                {{ url = \"https://cognito-idp.*.amazonaws.com/\", address = \"{at}\" }},
                {{ url = \"https://{at}/\", private_addresses = true }},
                \"https://127.0.0.2:{}/\",
            ]\n",
            at.port()
        );
        fs::write(dir.join("ringfence.toml"), format!("{reviewed}{pooled}{few}{still}{others}")).unwrap();
        let mut settings = Settings::load(&dir.join("ringfence.toml")).unwrap();
        // Where the tests beside this one leave it little of the processor, a proof takes long.
        settings.solver.seconds = 120;
        let state = dir.join("state");
        let plane = Plane::open(settings, &state, Arc::new(SystemClock), Durability::Test).await.unwrap();
        let counts = Arc::new(Counts::default());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let backend = listener.local_addr().unwrap().to_string();
        let trust = trust(&plane).unwrap();
        let reporter = trust.binding().unwrap().reporter().reveal().clone();
        let ledger = Ledger::new(&trust, Arc::new(SystemClock)).unwrap();
        let arrived = Arc::clone(&counts);
        let count = middleware::from_fn(move |request: Incoming, next: middleware::Next| {
            arrived.arrived(request.headers());
            next.run(request)
        });
        tokio::spawn(async move { axum::serve(listener, ledger.router().layer(count)).await });
        let (workflow, log, avp) = (plane.workflow.clone(), plane.log.clone(), Arc::clone(&plane.avp));
        let gateway_hits = Arc::clone(&plane.gateway_hits);
        let parts = counted(Parts::serving(&plane), &counts);
        let running = serve(plane, &parts, &backend).unwrap();
        let client = Client::builder(TokioExecutor::new()).build(HttpConnector::new());
        let operator = Plane::operator_token(&state).unwrap().reveal().clone();
        Self {
            counts,
            workflow,
            log,
            avp,
            gateway_hits,
            backend,
            reporter,
            operator,
            issuers,
            client,
            running,
        }
    }

    /// Takes a tenant's turn at its large requests, and gives it back when what is returned is called.
    pub(crate) async fn hold_large(&'static self, tenant: &'static str) -> impl AsyncFnOnce() {
        let (go, wait) = std::sync::mpsc::channel::<()>();
        let (begun, began) = tokio::sync::oneshot::channel();
        let held = tokio::spawn(async move {
            let work = move || {
                begun.send(()).unwrap();
                wait.recv().unwrap();
            };
            self.avp.large().run(Some(&id(tenant)), work).await
        });
        began.await.unwrap();
        async move || {
            go.send(()).unwrap();
            held.await.unwrap().unwrap();
        }
    }

    /// A new tenant.
    pub(crate) async fn tenant(&self, name: &str) {
        self.workflow.onboard(id(name), name, "standard", &by()).await.unwrap();
    }

    /// A new tenant of the tier whose policies are reviewed.
    pub(crate) async fn tenant_reviewed(&self, name: &str) {
        self.workflow.onboard(id(name), name, "reviewed", &by()).await.unwrap();
    }

    /// A token of a new machine client of this role.
    pub(crate) async fn token(&self, tenant: &str, role: &str) -> String {
        let client = ClientId::new(&format!("{role}-job")).unwrap();
        let roles = vec![Role::new(role).unwrap()];
        let secret = self
            .workflow
            .pools
            .client_create_machine(&id(tenant), &client, role, roles, &by())
            .await
            .unwrap();
        self.grant(tenant, client.as_str(), secret.reveal()).await.json()["access_token"]
            .as_str()
            .unwrap()
            .to_owned()
    }

    /// The answer to a client credentials grant.
    pub(crate) async fn grant(&self, tenant: &str, client: &str, secret: &str) -> Answer {
        let form = format!("grant_type=client_credentials&client_id={client}&client_secret={secret}");
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, "application/x-www-form-urlencoded".parse().unwrap());
        let gateway = self.running.gateway.to_string();
        self.send(&gateway, Method::POST, &format!("/t/{tenant}/token"), headers, &form).await
    }

    /// A request at a tenant's address.
    pub(crate) async fn ask(
        &self,
        tenant: &str,
        token: &str,
        method: Method,
        path: &str,
        body: &str,
    ) -> Answer {
        let gateway = self.running.gateway;
        let mut headers = bearer(token);
        headers.insert(header::HOST, format!("{tenant}.localhost:{}", gateway.port()).parse().unwrap());
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        self.send(&gateway.to_string(), method, path, headers, body).await
    }

    /// A GET at a tenant's address.
    pub(crate) async fn get(&self, tenant: &str, token: &str, path: &str) -> Answer {
        self.ask(tenant, token, Method::GET, path, "").await
    }

    /// Books something; gives its id.
    pub(crate) async fn book(&self, tenant: &str, token: &str, path: &str, body: Value) -> String {
        let answer = self.ask(tenant, token, Method::POST, path, &body.to_string()).await;
        assert_eq!(answer.status, StatusCode::CREATED, "{answer:?}");
        answer.json()["id"].as_str().unwrap().to_owned()
    }

    /// `host:port` of the API.
    pub(crate) fn api_address(&self) -> String {
        self.running.api.to_string()
    }

    /// A call of the API.
    pub(crate) async fn api(&self, method: Method, path: &str, headers: HeaderMap, body: &str) -> Answer {
        self.send(&self.running.api.to_string(), method, path, headers, body).await
    }

    /// A request to `authority`, whatever its `Host` says.
    pub(crate) async fn send(
        &self,
        authority: &str,
        method: Method,
        path: &str,
        headers: HeaderMap,
        body: &str,
    ) -> Answer {
        let uri = format!("http://{authority}{path}");
        let body = Full::new(Bytes::copy_from_slice(body.as_bytes()));
        let mut request = Request::builder().method(method).uri(uri).body(body).unwrap();
        *request.headers_mut() = headers;
        let (head, body) = self.client.request(request).await.unwrap().into_parts();
        Answer { status: head.status, headers: head.headers, body: body.collect().await.unwrap().to_bytes() }
    }

    /// What the backend has told it refused under this reference, as soon as it is so much.
    pub(crate) async fn told_by_backend(&self, reference: &Reference, count: usize) -> Vec<Verdict> {
        tokio::time::timeout(Duration::from_secs(10), async {
            loop {
                let mut verdicts = self.log.find(reference).unwrap();
                verdicts.retain(|verdict| verdict.part == Part::Backend);
                if verdicts.len() >= count {
                    return verdicts;
                }
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        })
        .await
        .unwrap_or_else(|_| panic!("nothing told of {reference}"))
    }

    /// Writes one policy of a tenant, as the API does.
    pub(crate) async fn policy_put(&self, tenant: &str, name: &str, text: &str) -> Result<(), String> {
        self.policies_change(tenant, |document| {
            document.policies.insert(name.to_owned(), text.to_owned());
        })
        .await
    }

    /// Changes a tenant's policy store, as the API does.
    pub(crate) async fn policies_change(
        &self,
        tenant: &str,
        change: impl FnOnce(&mut StoreDocument),
    ) -> Result<(), String> {
        let change = |document: &mut StoreDocument| {
            change(document);
            Ok(())
        };
        let by = Change::now(Author::Plane, ChangeReason::new("a test").unwrap());
        let changed = self.workflow.policies_change(&id(tenant), change, by).await;
        changed.map(drop).map_err(|error| error.to_string())
    }
}

pub(crate) fn bearer(token: &str) -> HeaderMap {
    HeaderMap::from_iter([(header::AUTHORIZATION, format!("Bearer {token}").parse().unwrap())])
}

fn counted(parts: Parts, counts: &Arc<Counts>) -> Parts {
    let counts = || Arc::clone(counts);
    Parts {
        hook: Arc::new(Counted { inner: parts.hook, counts: counts(), call: Call::Hook }),
        gateway_access: Arc::new(Counted {
            inner: parts.gateway_access,
            counts: counts(),
            call: Call::Verification,
        }),
        gateway_decide: Arc::new(Counted {
            inner: parts.gateway_decide,
            counts: counts(),
            call: Call::GatewayDecision,
        }),
        decide: Arc::new(Counted { inner: parts.decide, counts: counts(), call: Call::BackendDecision }),
        ..parts
    }
}
