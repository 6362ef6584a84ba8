//! A cluster for the whole run, a database and a role of its own for each test, tenants with real keys and tokens.

use std::{
    collections::HashMap,
    fs,
    path::PathBuf,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use ringfence_context::{
    AccessClaims, AccessVerifier, Clock, DatabaseContext, IssuerKeys, Issuers, Layer, Permit, RawToken,
    Reason, Record, Reference, Refusal, Seal, StoreAnswer, TenantContext, TenantId, TokenId, UnixTime,
    Verdict, VerifyAccess,
    database::Backend,
    id::{ClientId, Role, StoreId, Subject},
    key::{MacKey, SigningKey},
    txn::{Purpose, TxnSigner, TxnVerifier},
};
use ringfence_guard::{
    Admission, Binaries, Cluster, Guard, MintContexts, RoleName,
    cluster::{ClusterSettings, Durability, SUPERUSER},
    install::{self, Install},
    proxy::{Endpoint, GuardSettings, Placement, Placements, ServerSettings, Together},
};
use tokio::sync::{OnceCell, oneshot};
use tokio_postgres::{Client, Config, NoTls, SimpleQueryMessage};

/// What no one but globex may ever see.
pub(crate) const CANARY: &str = "CANARY-7c2f";

const ROLES: usize = 256;

static CLUSTER: OnceCell<Cluster> = OnceCell::const_new();
static NEXT: AtomicUsize = AtomicUsize::new(0);

pub(crate) struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "the tests are a program: here time comes in")]
    fn now(&self) -> UnixTime {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        UnixTime::from_micros(u64::try_from(since.as_micros()).unwrap())
    }
}

pub(crate) fn now() -> UnixTime {
    SystemClock.now()
}

/// A folder for one run, after removing those whose run is over.
pub(crate) fn scratch(name: &str) -> PathBuf {
    let parent = std::env::temp_dir();
    for entry in fs::read_dir(&parent).unwrap().filter_map(Result::ok) {
        let file_name = entry.file_name().to_string_lossy().into_owned();
        let Some(pid) = file_name.strip_prefix("rf-test-").and_then(|rest| rest.split('-').next()) else {
            continue;
        };
        if !PathBuf::from(format!("/proc/{pid}")).exists() {
            // Another run may be removing it too.
            let _ = fs::remove_dir_all(entry.path());
        }
    }
    let folder = parent.join(format!("rf-test-{}-{name}", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    folder
}

pub(crate) fn cluster_settings(folder: PathBuf) -> ClusterSettings {
    let roles = (0..ROLES).map(|n| RoleName::new(&format!("app_{n}")).unwrap()).collect();
    ClusterSettings { folder, binaries: Binaries::find(None).unwrap(), roles, durability: Durability::Test }
}

/// A tenant as its issuer knows it.
pub(crate) struct Tenant {
    pub(crate) id: TenantId,
    pub(crate) signing: SigningKey,
    pub(crate) seal: MacKey,
    pub(crate) issuer: Arc<IssuerKeys>,
}

impl Tenant {
    pub(crate) fn new(id: &str) -> Self {
        let (signing, _) = SigningKey::generate().unwrap();
        let id = TenantId::new(id).unwrap();
        let issuer = Arc::new(IssuerKeys {
            tenant: id.clone(),
            issuer: format!("https://gw/t/{id}"),
            audience: "https://gw".to_owned(),
            keys: vec![signing.public().clone()],
        });
        Self { id, signing, seal: MacKey::generate().unwrap(), issuer }
    }

    /// An access token with `life` seconds left; `change` is what a forger would change.
    pub(crate) fn access_with(&self, life: u64, change: impl FnOnce(&mut AccessClaims)) -> String {
        static TOKENS: AtomicUsize = AtomicUsize::new(0);
        let jti = TokenId::new(&format!("t-{}", TOKENS.fetch_add(1, Ordering::Relaxed))).unwrap();
        let iat = now().seconds();
        let exp = iat + life;
        let mut claims = AccessClaims {
            iss: self.issuer.issuer.clone(),
            sub: Subject::new("u-1").unwrap(),
            aud: self.issuer.audience.clone(),
            exp,
            iat,
            client_id: ClientId::new("web").unwrap(),
            tenant_id: self.id.clone(),
            roles: [Role::new("clerk").unwrap()].into(),
            seal: Seal::issue(&self.seal, &self.id, &jti, exp),
            jti,
            job: None,
        };
        change(&mut claims);
        self.signing.sign(ringfence_context::access::TYP, &claims).unwrap()
    }

    pub(crate) fn access(&self) -> String {
        self.access_with(300, |_| ())
    }

    pub(crate) fn context(&self, access: &str) -> TenantContext {
        let raw = RawToken::new(access).unwrap();
        let verified = AccessVerifier.verify(&raw, &self.issuer, now()).unwrap();
        AccessVerifier.bind(verified, &self.id).unwrap()
    }

    pub(crate) fn permit(&self) -> Permit {
        self.permit_of(&self.access())
    }

    pub(crate) fn permit_of(&self, access: &str) -> Permit {
        let answer = StoreAnswer {
            store: StoreId::new("s-1").unwrap(),
            store_tenant: self.id.clone(),
            allow: true,
            determining: vec![],
            errors: vec![],
            revision: 1,
        };
        Permit::decide(&self.context(access), "database", &answer).unwrap()
    }
}

/// Issuers and what became of their tenants.
pub(crate) struct Registry {
    issuers: HashMap<String, Arc<IssuerKeys>>,
    pub(crate) suspended: Mutex<Vec<TenantId>>,
}

impl Registry {
    pub(crate) fn of<'a>(tenants: impl IntoIterator<Item = &'a Tenant>) -> Self {
        let issuer = |tenant: &Tenant| (tenant.issuer.issuer.clone(), Arc::clone(&tenant.issuer));
        Self { issuers: tenants.into_iter().map(issuer).collect(), suspended: Mutex::default() }
    }
}

impl Issuers for Registry {
    fn revision(&self, _tenant: &TenantId) -> u64 {
        0
    }

    fn issuer(&self, url: &str) -> Result<Arc<IssuerKeys>, Refusal> {
        let unknown = Refusal::new(Layer::Token, Reason::TokenInvalid, "no such issuer");
        self.issuers.get(url).cloned().ok_or(unknown)
    }

    fn check_live(&self, context: &TenantContext) -> Result<(), Refusal> {
        if self.suspended.lock().unwrap().contains(context.tenant()) {
            return Err(Refusal::new(Layer::Token, Reason::TenantInactive, "suspended"));
        }
        Ok(())
    }
}

#[derive(Default)]
pub(crate) struct Verdicts(pub(crate) Mutex<Vec<Verdict>>);

impl Record for Verdicts {
    fn record(&self, verdict: Verdict) {
        self.0.lock().unwrap().push(verdict);
    }
}

/// A database with two tenants' rows, protected.
pub(crate) struct World {
    pub(crate) database: RoleName,
    pub(crate) role: RoleName,
    pub(crate) guard_key: MacKey,
    pub(crate) acme: Tenant,
    pub(crate) globex: Tenant,
    pub(crate) registry: Arc<Registry>,
    pub(crate) signer: TxnSigner,
    pub(crate) verdicts: Arc<Verdicts>,
    pub(crate) admin: Client,
    socket: PathBuf,
    pub(crate) host: PathBuf,
    pub(crate) port: u16,
}

const TABLES: &str = "
    CREATE TABLE accounts (tenant_id text NOT NULL, id int NOT NULL, owner text NOT NULL, balance bigint NOT NULL,
        PRIMARY KEY (tenant_id, id));
    CREATE TABLE payments (tenant_id text NOT NULL, id int NOT NULL, account int NOT NULL, amount bigint NOT NULL,
        note text, PRIMARY KEY (tenant_id, id),
        FOREIGN KEY (tenant_id, account) REFERENCES accounts (tenant_id, id));
    INSERT INTO accounts SELECT 'acme', n, 'acme-' || n, n * 100 FROM generate_series(1, 3) n;
    INSERT INTO accounts SELECT 'globex', n, 'CANARY-7c2f-' || n, 666 FROM generate_series(1, 5) n;
    INSERT INTO payments SELECT tenant_id, id, id, balance, owner FROM accounts;
    SELECT ringfence.protect('accounts'), ringfence.protect('payments');
    CREATE TABLE staging (tenant_id text, id int, owner text, balance bigint);";

impl World {
    pub(crate) async fn new() -> Self {
        let start = || async { Cluster::start(cluster_settings(scratch("shared"))).await.unwrap() };
        Self::on(CLUSTER.get_or_init(start).await).await
    }

    pub(crate) async fn on(cluster: &Cluster) -> Self {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let database = RoleName::new(&format!("world_{number}")).unwrap();
        let role = RoleName::new(&format!("app_{number}")).unwrap();
        let root = connect(&cluster.admin("postgres")).await.unwrap();
        root.batch_execute(&format!("CREATE DATABASE {database} TEMPLATE template0")).await.unwrap();
        let mut admin = connect(&cluster.admin(database.as_str())).await.unwrap();
        // Roles belong to the whole cluster: a run that makes the same one twice at once would fail, not wait.
        let owner = RoleName::new(&format!("owner_{number}")).unwrap();
        Install::new(role.clone(), owner).run(&mut admin).await.unwrap();
        let (guard_key, acme, globex) =
            (MacKey::generate().unwrap(), Tenant::new("acme"), Tenant::new("globex"));
        install::guard_key_put(&admin, &guard_key).await.unwrap();
        for tenant in [&acme, &globex] {
            install::tenant_key_put(&admin, &tenant.id, &tenant.seal).await.unwrap();
        }
        admin.batch_execute(TABLES).await.unwrap();
        // Shared by all tenants on purpose, for what row security does not allow: COPY FROM.
        admin.batch_execute(&format!("GRANT SELECT, INSERT ON staging TO {role}")).await.unwrap();
        let registry = Arc::new(Registry::of([&acme, &globex]));
        let (key, _) = SigningKey::generate().unwrap();
        let signer = TxnSigner::new(key, "https://gw".to_owned(), "plane".to_owned());
        let (host, port) = cluster.host_and_port();
        let (socket, host) = (cluster.socket(), host.to_owned());
        let verdicts = Arc::default();
        Self {
            database,
            role,
            guard_key,
            acme,
            globex,
            registry,
            signer,
            verdicts,
            admin,
            socket,
            host,
            port,
        }
    }

    pub(crate) fn server(&self) -> ServerSettings {
        ServerSettings {
            endpoint: Endpoint::Unix(self.socket.clone()),
            database: self.database.clone(),
            role: self.role.clone(),
            password: None,
            search_path: "public".to_owned(),
        }
    }

    pub(crate) fn direct_config(&self) -> Config {
        let mut config = Config::new();
        config.host_path(&self.host).port(self.port).user(self.role.as_str()).dbname(self.database.as_str());
        config
    }

    /// A connection as the one who may do everything.
    pub(crate) async fn superuser(&self) -> Client {
        connect(self.direct_config().user(SUPERUSER)).await.unwrap()
    }

    /// A connection straight to Postgres as the application's role, registered: what an attacker past the guard has.
    pub(crate) async fn direct(&self) -> (Client, Backend) {
        let client = connect(&self.direct_config()).await.unwrap();
        let row =
            client.query_one("SELECT pid, started FROM ringfence.backend_register()", &[]).await.unwrap();
        let backend = Backend { pid: row.get(0), started: u64::try_from(row.get::<_, i64>(1)).unwrap() };
        (client, backend)
    }

    /// The genuine context of a tenant.
    pub(crate) fn mint(&self, tenant: &Tenant, backend: Backend) -> Arguments {
        Arguments::of(&DatabaseContext::mint(&tenant.permit(), &self.guard_key, backend, now()).unwrap())
    }

    /// A connection straight to Postgres, in a transaction of acme's.
    pub(crate) async fn as_acme(&self) -> (Client, Backend) {
        let (client, backend) = self.direct().await;
        client.batch_execute("BEGIN").await.unwrap();
        self.mint(&self.acme, backend).set(&client).await.unwrap();
        (client, backend)
    }

    /// A hash over everything globex has.
    pub(crate) async fn globex_hash(&self) -> String {
        let sql = "SELECT md5(string_agg(r, '|' ORDER BY r)) FROM (
            SELECT a::text r FROM accounts a WHERE tenant_id = 'globex'
            UNION ALL SELECT p::text FROM payments p WHERE tenant_id = 'globex') x";
        self.admin.query_one(sql, &[]).await.unwrap().get(0)
    }

    /// The password of a database session.
    pub(crate) fn token(&self, tenant: &Tenant) -> String {
        self.token_of(tenant, &tenant.access())
    }

    pub(crate) fn token_of(&self, tenant: &Tenant, access: &str) -> String {
        let txn = Reference::new("txn-1").unwrap();
        let permit = tenant.permit_of(access);
        format!("{access}~{}", self.signer.mint(&permit, Purpose::Database, "-", txn, now()).unwrap())
    }

    pub(crate) async fn guard(&self) -> Running {
        self.guard_with(|_| ()).await
    }

    pub(crate) async fn guard_with(&self, change: impl FnOnce(&mut GuardSettings)) -> Running {
        self.guard_at(Arc::new(Together(Placement::new(self.server()))), change).await
    }

    /// A guard that leads each tenant where `placements` says.
    pub(crate) async fn guard_at(
        &self,
        placements: Arc<dyn Placements>,
        change: impl FnOnce(&mut GuardSettings),
    ) -> Running {
        let mut settings = GuardSettings::new(self.database.clone());
        change(&mut settings);
        let admission = Admission {
            issuers: Arc::clone(&self.registry) as Arc<dyn Issuers>,
            access: Arc::new(AccessVerifier),
            txn: Arc::new(TxnVerifier {
                keys: vec![self.signer.public().clone()],
                issuer: "https://gw".to_owned(),
                audience: "plane".to_owned(),
            }),
        };
        let contexts = MintContexts::new(self.guard_key.clone());
        let verdicts = Arc::clone(&self.verdicts) as Arc<dyn Record>;
        Running::start(Guard::new(
            settings,
            placements,
            Arc::new(admission),
            Arc::new(contexts),
            Arc::new(SystemClock),
            verdicts,
        ))
        .await
    }

    pub(crate) fn through(&self, running: &Running, tenant: &Tenant) -> Config {
        let mut config = Config::new();
        config.host("127.0.0.1").port(running.port).dbname(self.database.as_str());
        config.user(tenant.id.as_str()).password(self.token(tenant));
        config
    }

    pub(crate) async fn client(&self, running: &Running, tenant: &Tenant) -> Client {
        connect(&self.through(running, tenant)).await.unwrap()
    }
}

/// A guard that serves until it is dropped.
pub(crate) struct Running {
    pub(crate) port: u16,
    stop: Option<oneshot::Sender<()>>,
    task: tokio::task::JoinHandle<()>,
}

impl Running {
    pub(crate) async fn start(guard: Guard) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (stop, stopped) = oneshot::channel::<()>();
        let task = tokio::spawn(async move {
            guard
                .serve(listener, async {
                    // A dropped sender says the same.
                    let _ = stopped.await;
                })
                .await
                .unwrap();
        });
        Self { port, stop: Some(stop), task }
    }

    pub(crate) async fn stop(mut self) {
        drop(self.stop.take());
        self.task.await.unwrap();
    }
}

/// The arguments of `context_set`, open to tampering.
#[derive(Clone)]
pub(crate) struct Arguments {
    pub(crate) tenant: String,
    pub(crate) token: String,
    pub(crate) token_exp: i64,
    pub(crate) valid_until: i64,
    pub(crate) tag: Vec<u8>,
}

impl Arguments {
    pub(crate) fn of(context: &DatabaseContext) -> Self {
        let (tenant, token, token_exp, valid_until, tag) = context.arguments();
        Self {
            tenant: tenant.to_owned(),
            token: token.to_owned(),
            token_exp: i64::try_from(token_exp).unwrap(),
            valid_until: i64::try_from(valid_until).unwrap(),
            tag: tag.to_vec(),
        }
    }

    pub(crate) async fn set(&self, client: &Client) -> Result<(), String> {
        let Self { tenant, token, token_exp, valid_until, tag } = self;
        client
            .execute(
                "SELECT ringfence.context_set($1, $2, $3, $4, $5)",
                &[tenant, token, token_exp, valid_until, tag],
            )
            .await
            .map(|_| ())
            .map_err(|error| sqlstate(&error))
    }
}

pub(crate) async fn connect(config: &Config) -> Result<Client, tokio_postgres::Error> {
    let (client, connection) = config.connect(NoTls).await?;
    tokio::spawn(async move {
        // The client sees the same error.
        let _ = connection.await;
    });
    Ok(client)
}

pub(crate) fn sqlstate(error: &tokio_postgres::Error) -> String {
    error.code().map_or_else(|| format!("closed: {error}"), |code| code.code().to_owned())
}

/// All a simple query answers, values joined by `|`, rows by newlines; or the SQLSTATE and message.
pub(crate) async fn ask(client: &Client, sql: &str) -> Result<String, (String, String)> {
    let messages = client.simple_query(sql).await.map_err(|error| {
        (sqlstate(&error), error.as_db_error().map_or(String::new(), |db| format!("{db:?}")))
    })?;
    let rows = messages.iter().filter_map(|message| match message {
        SimpleQueryMessage::Row(row) => {
            Some((0..row.len()).map(|n| row.get(n).unwrap_or("NULL")).collect::<Vec<_>>().join("|"))
        }
        _ => None,
    });
    Ok(rows.collect::<Vec<_>>().join("\n"))
}

/// The SQLSTATE of a query that must fail.
pub(crate) async fn fails(client: &Client, sql: &str) -> String {
    match ask(client, sql).await {
        Ok(rows) => panic!("{sql}: answered {rows:?}"),
        Err((code, _)) => code,
    }
}

/// Waits for something that happens outside, for at most ten seconds.
pub(crate) async fn eventually<T, F: Future<Output = Option<T>>>(mut check: impl FnMut() -> F) -> T {
    let attempts = async {
        loop {
            if let Some(value) = check().await {
                return value;
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), attempts).await.expect("it never happened")
}
