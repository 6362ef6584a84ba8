//! Two tenants behind one gateway, each with its own issuer, keys and policy store.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http2::SendRequest;
use hyper_util::rt::{TokioExecutor, TokioIo};
use ringfence_authorization::{
    CompiledStore, Decide, Gate, PolicyBundle, Question, SolverSettings, Stores, Warming, WhenUnproved,
    stores::store_create,
};
use ringfence_context::{
    AccessClaims, AccessVerifier, Clock, IssuerKeys, Issuers, Layer, Reason, Record, Refusal, Seal,
    StoreAnswer, TenantContext, TenantId, TokenId, UnixTime, Verdict, access,
    id::{ClientId, Role, StoreId, Subject},
    key::{MacKey, SigningKey},
    txn::{RequestBinding, TxnSigner},
};
use ringfence_gateway::{
    Gateway, GatewayParts, HeaderStrip, RouteTable,
    consistency::Consistency,
    forward::Upstream,
    host::{Address, Hosts},
    limit::{Rate, RateLimits},
    refuse::refuse,
    serve::serve,
    txn::Mint,
    workers::Workers,
};
use ringfence_store::Records;
use tokio::net::{TcpListener, TcpStream};

const ROUTES: &str = r#"
    [[route]]
    method = "GET"
    path = "/notes"
    action = "ListNotes"
    resource = "Organization"
    [[route]]
    method = "POST"
    path = "/notes"
    action = "ListNotes"
    resource = "Organization"
    [[route]]
    method = "GET"
    path = "/notes/{id}"
    action = "ViewNote"
    resource = "Note"
    [[route]]
    method = "GET"
    path = "/users/{id}"
    action = "ViewUser"
    resource = "User"
"#;

const SCHEMA: &str = r#"
namespace App {
  entity Role;
  entity User in [Role] = { tenant: String, subject?: String };
  entity Client in [Role] = { tenant: String, subject?: String };
  entity Organization = { tenant: String };
  entity Note = { tenant: String };
  action ListNotes appliesTo { principal: [User], resource: [Organization] };
  action ViewNote appliesTo { principal: [User], resource: [Note] };
  action ViewUser appliesTo { principal: [User], resource: [User] };
}
"#;

const POLICIES: &str = r#"
@id("members-read")
permit (principal, action in [App::Action::"ListNotes", App::Action::"ViewNote"], resource)
when { principal in App::Role::"member" };

@id("members-see-users")
permit (principal, action == App::Action::"ViewUser", resource)
when { principal in App::Role::"member" };

@id("but-not-the-owner")
forbid (principal, action == App::Action::"ViewUser", resource)
when { resource == App::User::"owner" };

@id("own-tenant-only")
forbid (principal, action, resource)
unless { principal.tenant == resource.tenant };
"#;

/// The gateway and what stands around it.
pub(crate) struct World {
    pub(crate) gateway: SocketAddr,
    /// How often a policy store was asked.
    pub(crate) asked: Arc<AtomicUsize>,
    keys: HashMap<TenantId, SigningKey>,
    _state: tempfile::TempDir,
}

struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> UnixTime {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        UnixTime::from_micros(u64::try_from(since.as_micros()).unwrap())
    }
}

struct Registry(HashMap<String, Arc<IssuerKeys>>);

impl Issuers for Registry {
    fn issuer(&self, url: &str) -> Result<Arc<IssuerKeys>, Refusal> {
        let unknown = Refusal::new(Layer::Token, Reason::TokenInvalid, "no such issuer");
        self.0.get(url).cloned().ok_or(unknown)
    }

    fn check_live(&self, _context: &TenantContext) -> Result<(), Refusal> {
        Ok(())
    }

    fn revision(&self, _tenant: &TenantId) -> u64 {
        1
    }
}

/// Counts what the stores are asked.
struct Counted(Arc<Stores>, Arc<AtomicUsize>);

impl Decide for Counted {
    fn decide(&self, question: &Question<'_>) -> Result<StoreAnswer, Refusal> {
        self.1.fetch_add(1, Ordering::SeqCst);
        self.0.decide(question)
    }

    fn revision(&self, tenant: &TenantId) -> Result<Option<(u64, bool)>, Refusal> {
        self.0.revision(tenant)
    }

    fn decide_by(&self, policies: &CompiledStore, question: &Question<'_>) -> Result<StoreAnswer, Refusal> {
        self.0.decide_by(policies, question)
    }

    fn policies_revision(&self, tenant: &TenantId) -> Result<u64, Refusal> {
        self.0.policies_revision(tenant)
    }

    fn warm<'a>(&'a self, tenant: &'a TenantId) -> Warming<'a> {
        self.0.warm(tenant)
    }
}

struct Unrecorded;

impl Record for Unrecorded {
    fn record(&self, _verdict: Verdict) {}
}

impl World {
    /// A gateway for `acme` and `globex` in front of an application.
    pub(crate) async fn start(application: SocketAddr) -> Self {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let state = tempfile::tempdir().unwrap();
        let records = Records::open_sqlite(state.path()).await.unwrap();
        let limits = RateLimits::new([(
            "standard".to_owned(),
            Rate { per_second: 1000.try_into().unwrap(), burst: 1000.try_into().unwrap() },
        )]);
        let (mut keys, mut issuers) = (HashMap::new(), HashMap::new());
        let bundle = PolicyBundle {
            namespace: "App".to_owned(),
            schema: SCHEMA.to_owned(),
            policies: POLICIES.to_owned(),
        };
        let gate = Gate::new(SolverSettings { time: Duration::from_secs(120), ..<_>::default() }).await;
        for tenant in ["acme", "globex"].map(|id| TenantId::new(id).unwrap()) {
            let (key, _) = SigningKey::generate().unwrap();
            let url = issuer(&tenant);
            let issuer = IssuerKeys {
                tenant: tenant.clone(),
                issuer: url.clone(),
                audience: "http://gw".to_owned(),
                keys: vec![key.public().clone()],
            };
            issuers.insert(url, Arc::new(issuer));
            records.tenant_add(&tenant).await.unwrap();
            let store = StoreId::new(&format!("ps-{tenant}")).unwrap();
            let document = bundle.seed(store, tenant.clone()).unwrap();
            let publishable = gate.check(document, WhenUnproved::Refuse).await.unwrap();
            records.commit(store_create(&publishable).unwrap()).await.unwrap();
            limits.tier_put(tenant.clone(), "standard");
            keys.insert(tenant, key);
        }
        let stores = Stores::load(records.clone(), Arc::clone(&clock)).await.unwrap();
        tokio::spawn(Arc::clone(&stores).follow());
        let asked = Arc::new(AtomicUsize::new(0));
        let signer =
            TxnSigner::new(SigningKey::generate().unwrap().0, "http://gw".to_owned(), "trust".to_owned());
        let parts = GatewayParts {
            issuers: Arc::new(Registry(issuers)),
            access: Arc::new(AccessVerifier),
            decide: Arc::new(Counted(Arc::clone(&stores), Arc::clone(&asked))),
            consistency: Arc::new(Consistency::new(records, vec![Arc::clone(&stores) as _])),
            strip: Arc::new(HeaderStrip),
            mint: Mint {
                signer: Arc::new(signer),
                binding: RequestBinding::new(MacKey::generate().unwrap()),
            },
            routes: RouteTable::parse(ROUTES).unwrap(),
            limit: Arc::new(limits),
            upstream: Upstream::new(application.to_string().parse().unwrap()),
            clock,
            record: Arc::new(Unrecorded),
            hits: <_>::default(),
        };
        Self { gateway: listen(Gateway::new(parts)).await, asked, keys, _state: state }
    }

    /// A token of a user with this id and the role `member`.
    pub(crate) fn token(&self, tenant: &str, user: &str) -> String {
        let tenant = TenantId::new(tenant).unwrap();
        let (iat, jti) = (SystemClock.now().seconds(), TokenId::new(&format!("t-{user}")).unwrap());
        let claims = AccessClaims {
            iss: issuer(&tenant),
            sub: Subject::new(user).unwrap(),
            aud: "http://gw".to_owned(),
            exp: iat + 300,
            iat,
            client_id: ClientId::new("web").unwrap(),
            tenant_id: tenant.clone(),
            roles: [Role::new("member").unwrap()].into(),
            seal: Seal::issue(&MacKey::generate().unwrap(), &tenant, &jti, iat + 300),
            jti,
            job: None,
        };
        self.keys[&tenant].sign(access::TYP, &claims).unwrap()
    }

    /// A connection that speaks HTTP/2 from its first byte (RFC 9113 section 3.3).
    pub(crate) async fn http2(&self) -> SendRequest<Full<Bytes>> {
        let stream = TokioIo::new(TcpStream::connect(self.gateway).await.unwrap());
        let (sender, connection) =
            hyper::client::conn::http2::handshake(TokioExecutor::new(), stream).await.unwrap();
        tokio::spawn(connection);
        sender
    }
}

/// A request to a tenant's host.
pub(crate) fn get(tenant: &str, path: &str, token: &str) -> Request<Full<Bytes>> {
    let request = Request::get(format!("http://{tenant}.gw{path}"));
    request.header("authorization", format!("Bearer {token}")).body(Full::default()).unwrap()
}

/// Status and body of an answer.
pub(crate) async fn read<B>(answer: Response<B>) -> (StatusCode, String)
where
    B: hyper::body::Body,
    B::Error: std::fmt::Debug,
{
    let status = answer.status();
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    (status, String::from_utf8(body.to_vec()).unwrap())
}

fn issuer(tenant: &TenantId) -> String {
    format!("http://gw/t/{tenant}")
}

async fn listen(gateway: Gateway) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let front = Arc::new((gateway, Hosts { base: "gw".to_owned(), suffix: "gw".to_owned() }));
    let answer = move |request: Request<hyper::body::Incoming>| {
        let front = Arc::clone(&front);
        async move {
            let (gateway, hosts) = &*front;
            match hosts.address(request.uri(), request.headers()) {
                Ok(Address::Tenant(tenant)) => gateway.handle(tenant, request).await,
                Ok(Address::Base) => panic!("no test asks the issuers"),
                Err(refusal) => refuse(&refusal, &gateway.reference()),
            }
        }
    };
    tokio::spawn(serve(listener, Some(Workers::per_core().unwrap()), answer, std::future::pending()));
    address
}
