//! Two tenants with users and clients on a real store that can be taken down, behind the real router.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use axum::{Router, body::Body};
use http::{HeaderMap, Method, Request, StatusCode, header};
use http_body_util::BodyExt;
use ringfence_context::{
    AccessVerifier, By, Clock, DatabaseToken, Issuers, RawToken, Reason, Record, Secret, TenantContext,
    TenantId, UnixTime, Verdict, VerifyAccess,
    access::claimed_issuer,
    id::{ClientId, Role, Subject},
    key::{base64url, sha256},
};
use ringfence_identity::{
    Addresses, Directory, ExchangeCredential, ExchangeDatabaseToken, Identity, MembershipHook, NewUser,
    Passwords, Pools, PreTokenHook,
    exchange::{CredentialAnswer, DatabaseLogin, ExchangeAnswer},
    router,
};
use ringfence_store::{Draft, Kind, MasterKey, Records, Scope, SqliteStore, Store, faulty::FaultyStore};
use tower::ServiceExt;

/// A record nobody reads: its commit wakes who follows the state.
const TICK: Kind = Kind::new("tick");

pub(crate) const BASE: &str = "http://gateway.test:8080";
pub(crate) const CALLBACK: &str = "https://app.example/callback";
pub(crate) const PASSWORD: &str = "correct horse battery";
pub(crate) const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";

/// The plane itself.
pub(crate) fn by() -> By {
    By::plane(UnixTime::from_seconds(1_800_000_000))
}

/// Starts at the real time, so that a client library agrees, and moves when told to.
pub(crate) struct TestClock(AtomicU64);

impl Clock for TestClock {
    fn now(&self) -> UnixTime {
        UnixTime::from_micros(self.0.load(Ordering::SeqCst))
    }
}

/// A gateway's word that is one in form; what it says is the gateway's matter.
struct Exchange;

impl ExchangeDatabaseToken for Exchange {
    fn exchange<'a>(&'a self, context: &'a TenantContext) -> ExchangeAnswer<'a> {
        Box::pin(async move { Ok(format!("{}.for.txn", context.tenant())) })
    }
}

/// Gives a login to people and to no machine, whose password is what it was shown.
struct Credentials;

impl ExchangeCredential for Credentials {
    fn exchange<'a>(&'a self, context: &'a TenantContext, token: &'a DatabaseToken) -> CredentialAnswer<'a> {
        let login = DatabaseLogin {
            host: "db.example".to_owned(),
            port: 5432,
            dbname: "app_1".to_owned(),
            user: "vended_1".to_owned(),
            password: Secret::new(token.reveal()),
            sslmode: "verify-full",
            expires_in: 60,
        };
        Box::pin(async move { Ok((!context.is_machine()).then_some(login)) })
    }
}

/// Remembers verdicts.
#[derive(Default)]
pub(crate) struct Verdicts(pub(crate) std::sync::Mutex<Vec<String>>);

impl Record for Verdicts {
    fn record(&self, verdict: Verdict) {
        let (layer, outcome) = verdict
            .refused
            .map_or_else(|| (verdict.passed[0], "allowed"), |(layer, reason)| (layer, reason.code()));
        let (tenant, layer) = (verdict.tenant.as_ref().map_or("-", |tenant| tenant.as_str()), layer.name());
        let action = verdict.action.unwrap();
        let job = verdict.job.map(|job| format!(" job {job}")).unwrap_or_default();
        let said = format!("{} {tenant} {layer} {action} {outcome}{job}", verdict.reference);
        self.0.lock().unwrap().push(said);
    }
}

pub(crate) struct Bench {
    pub(crate) verdicts: Arc<Verdicts>,
    pub(crate) pools: Pools,
    pub(crate) records: Records,
    pub(crate) store: Arc<FaultyStore<SqliteStore>>,
    pub(crate) directory: Arc<Directory>,
    pub(crate) clock: Arc<TestClock>,
    pub(crate) app: Router,
    pub(crate) machine_secret: Secret<String>,
    pub(crate) alice: Subject,
    _dir: tempfile::TempDir,
}

pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
}

pub(crate) fn tenant(name: &str) -> TenantId {
    TenantId::new(name).unwrap()
}

pub(crate) fn client(name: &str) -> ClientId {
    ClientId::new(name).unwrap()
}

pub(crate) fn form(fields: &[(&str, &str)]) -> String {
    url::form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish()
}

impl Answer {
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("{} {}", self.status, self.body))
    }

    pub(crate) fn header(&self, name: header::HeaderName) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// A parameter of the address redirected to.
    pub(crate) fn sent(&self, name: &str) -> Option<String> {
        let location = url::Url::parse(self.header(header::LOCATION)).ok()?;
        location.query_pairs().find(|(key, _)| key == name).map(|(_, value)| value.into_owned())
    }

    /// The ticket in the sign-in page.
    pub(crate) fn ticket(&self) -> String {
        let (_, rest) =
            self.body.split_once("name=\"ticket\" value=\"").unwrap_or_else(|| panic!("{}", self.body));
        rest.split_once('"').unwrap().0.to_owned()
    }

    /// The body without what names the request or the moment.
    pub(crate) fn body_without_names(&self) -> String {
        let cut = |text: &str, from: &str, to: char| match text.split_once(from) {
            Some((head, rest)) => format!("{head}{}", rest.split_once(to).unwrap().1),
            None => text.to_owned(),
        };
        let body = cut(&self.body, "name=\"ticket\" value=\"", '"');
        cut(&body, "\"reference\":\"", '"')
    }
}

pub(crate) async fn bench() -> Bench {
    bench_with(BASE, |pools| Arc::new(MembershipHook::new(pools))).await
}

pub(crate) async fn bench_with(base: &str, hook: impl FnOnce(Pools) -> Arc<dyn PreTokenHook>) -> Bench {
    #[allow(clippy::disallowed_methods, reason = "the one place where this test reads the time")]
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let clock = Arc::new(TestClock(AtomicU64::new(u64::try_from(now.as_micros()).unwrap())));
    let dir = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(&dir.path().join("state")).await.unwrap();
    let store = Arc::new(FaultyStore::new(store, 1, 0));
    let records = Records::new(store.clone(), MasterKey::from_bytes(Secret::new(vec![3; 32])).unwrap());
    let (pools, passwords) = (Pools::new(records.clone()), Passwords::new().unwrap());
    let mut alice = None;
    let mut machine_secret = None;
    for (name, display, username) in [("globex", "Globex", "gina"), ("acme", "Acme Corporation", "alice")] {
        let id = tenant(name);
        records.tenant_add(&id).await.unwrap();
        pools.pool_create(&id, display).await.unwrap();
        let password = Secret::new(PASSWORD.to_owned());
        let roles = vec![Role::new("clerk").unwrap()];
        let new = NewUser { username, display_name: username, password, roles: roles.clone() };
        alice = Some(pools.user_create(&id, new, &passwords, &by()).await.unwrap());
        let uris = vec![CALLBACK.to_owned(), "http://127.0.0.1/cb".to_owned()];
        pools.client_create_public(&id, &client("web"), "Ledger", uris.clone(), &by()).await.unwrap();
        pools.client_create_public(&id, &client("other"), "Other", uris, &by()).await.unwrap();
        machine_secret = Some(
            pools
                .client_create_machine(&id, &client(&format!("{name}-job")), "Job", roles, &by())
                .await
                .unwrap(),
        );
    }
    let addresses = Addresses {
        base_url: base.to_owned(),
        audience: base.to_owned(),
        host_suffix: "gateway.test".to_owned(),
    };
    let directory = Directory::open(records.clone(), addresses, clock.clone()).await.unwrap();
    let identity =
        Identity::new(pools.clone(), directory.clone(), hook(pools.clone()), passwords, clock.clone());
    let verdicts = Arc::new(Verdicts::default());
    let identity = identity
        .with_exchange(Arc::new(Exchange))
        .with_credentials(Arc::new(Credentials))
        .with_record(verdicts.clone());
    Bench {
        verdicts,
        app: router(Arc::new(identity)),
        pools,
        records,
        store,
        directory,
        clock,
        machine_secret: machine_secret.unwrap(),
        alice: alice.unwrap(),
        _dir: dir,
    }
}

impl Bench {
    pub(crate) async fn send(&self, request: Request<Body>) -> Answer {
        let response = self.app.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        Answer {
            status: parts.status,
            headers: parts.headers,
            body: String::from_utf8(body.to_vec()).unwrap(),
        }
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send(Request::get(path).body(Body::empty()).unwrap()).await
    }

    pub(crate) async fn post(&self, path: &str, body: &str) -> Answer {
        self.post_as(path, body, None).await
    }

    pub(crate) async fn post_as(&self, path: &str, body: &str, authorization: Option<&str>) -> Answer {
        let mut request = Request::builder()
            .method(Method::POST)
            .uri(path)
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
        if let Some(value) = authorization {
            request = request.header(header::AUTHORIZATION, value);
        }
        self.send(request.body(Body::from(body.to_owned())).unwrap()).await
    }

    /// The query of a good authorization request, with some parameters changed, added or (empty) left out.
    pub(crate) fn asking(changes: &[(&str, &str)]) -> String {
        let challenge = base64url(&sha256(VERIFIER.as_bytes()));
        let mut fields = vec![
            ("response_type", "code"),
            ("client_id", "web"),
            ("redirect_uri", CALLBACK),
            ("scope", "openid profile"),
            ("state", "s-1"),
            ("nonce", "n-1"),
            ("code_challenge", challenge.as_str()),
            ("code_challenge_method", "S256"),
        ];
        for change in changes {
            fields.retain(|(name, _)| *name != change.0);
            fields.push(*change);
        }
        fields.retain(|(_, value)| !value.is_empty());
        form(&fields)
    }

    pub(crate) async fn ask(&self, tenant: &str, changes: &[(&str, &str)]) -> Answer {
        self.get(&format!("/t/{tenant}/authorize?{}", Self::asking(changes))).await
    }

    pub(crate) async fn sign_in(&self, at: &str, username: &str, password: &str) -> Answer {
        let ticket = self.ask(at, &[]).await.ticket();
        let fields = [("ticket", ticket.as_str()), ("username", username), ("password", password)];
        self.post(&format!("/t/{at}/sign-in"), &form(&fields)).await
    }

    pub(crate) async fn code(&self) -> String {
        let answer = self.sign_in("acme", "alice", PASSWORD).await;
        answer.sent("code").unwrap_or_else(|| panic!("{} {}", answer.status, answer.body))
    }

    /// Presents a code, with some parameters changed.
    pub(crate) async fn redeem(&self, at: &str, code: &str, changes: &[(&str, &str)]) -> Answer {
        let mut fields = vec![
            ("grant_type", "authorization_code"),
            ("client_id", "web"),
            ("redirect_uri", CALLBACK),
            ("code_verifier", VERIFIER),
            ("code", code),
        ];
        for change in changes {
            fields.retain(|(name, _)| *name != change.0);
            fields.push(*change);
        }
        fields.retain(|(_, value)| !value.is_empty());
        self.post(&format!("/t/{at}/token"), &form(&fields)).await
    }

    pub(crate) async fn access_token(&self) -> String {
        let answer = self.redeem("acme", &self.code().await, &[]).await;
        answer.json()["access_token"].as_str().unwrap_or_else(|| panic!("{}", answer.body)).to_owned()
    }

    /// Proves the tenant of a token as the gateway does.
    pub(crate) fn prove(&self, token: &str, at: &str) -> Result<TenantContext, Reason> {
        let prove = || {
            let raw = RawToken::new(token)?;
            let issuer = self.directory.issuer(&claimed_issuer(&raw)?)?;
            let verified = AccessVerifier.verify(&raw, &issuer, self.clock.now())?;
            let context = AccessVerifier.bind(verified, &tenant(at))?;
            self.directory.check_live(&context)?;
            Ok(context)
        };
        prove().map_err(|refusal: ringfence_context::Refusal| refusal.reason)
    }

    /// Lets time pass, and the directory see that the state is still there.
    pub(crate) async fn pass(&self, seconds: u64) {
        self.clock.0.fetch_add(seconds * 1_000_000, Ordering::SeqCst);
        let tick = Draft::put(&Scope::Plane, TICK, "tick", &seconds).unwrap();
        self.records.commit(vec![tick]).await.unwrap();
        self.settle().await;
    }

    /// Lets time pass, and nothing else.
    pub(crate) fn pass_silently(&self, seconds: u64) {
        self.clock.0.fetch_add(seconds * 1_000_000, Ordering::SeqCst);
    }

    /// Waits until the directory has seen everything that was committed.
    pub(crate) async fn settle(&self) {
        self.directory.reach(self.store.revision().await.unwrap()).await;
    }
}
