//! The guard: a proxy for the Postgres wire protocol whose every transaction has a verified tenant.
//!
//! It guarantees that no byte of a client reaches Postgres before the client was admitted, and none on a connection whose
//! context Postgres has not accepted for this client's very token; and that a connection changes hands between
//! transactions only, and clean. No isolation rests on what a statement says: what little is read of it decides only
//! whether two sessions of one tenant need cleaning between them.
//!
//! A client is its password's tenant, or of one after the other by `token_use`; never of one that it has asked to leave.
//!
//! Like PgBouncer's transaction mode, with these differences: `SET` and other things a session keeps hold the server
//! connection until the client leaves or discards them instead of being lost; notifications are never delivered.

mod cancel;
mod endpoint;
mod exchange;
mod frame;
mod handshake;
mod local;
mod peer;
mod placement;
mod pool;
mod prologue;
mod reply;
mod server;
mod session;
mod shares;
mod startup;
mod statement;
mod statements;
mod timer;
mod token_use;

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use ringfence_context::{
    Clock, DatabaseToken, Layer, Part, Permit, Reason, Record, Reference, Refusal, TenantId, Verdict,
};
use serde::Deserialize;
use tokio::{
    net::TcpListener,
    runtime::{Builder, Runtime},
    sync::{Semaphore, watch},
    task::JoinSet,
    time::Instant,
};

use self::{
    cancel::Cancels,
    peer::{Peer, attend},
    pool::{Pool, SessionId},
    shares::{Claim, Shares},
};
pub use self::{
    endpoint::Endpoint,
    placement::{Caps, Placement, Placements, PutPassword, Together},
    server::ServerSettings,
};
#[doc(hidden)]
pub use self::{exchange::converse, handshake::open, server::log_in};
use crate::{
    admission::{Admit, Contexts},
    role::RoleName,
    tls::Identity,
};

/// How long a client may take to open its connection, and to authenticate.
const AUTHENTICATE_WITHIN: Duration = Duration::from_secs(10);

/// How long a client may take to read why it is turned away.
const LAST_WORDS_WITHIN: Duration = Duration::from_secs(2);

/// How long before it is asked again where a tenant is that is being moved.
const MOVED_PAUSE: Duration = Duration::from_millis(10);

/// Connections beyond the clients: those that only cancel, or are about to be turned away.
const SPARE_CONNECTIONS: usize = 64;

/// How the guard serves.
#[derive(Debug, Clone)]
pub struct GuardSettings {
    /// The name clients know the database by, wherever their tenant's is.
    pub database: RoleName,
    /// Who the guard is to clients that ask for TLS.
    pub identity: Option<Identity>,
    /// Whose tokens it takes in the clear.
    pub plaintext: Plaintext,
    /// Most server connections.
    pub connections: usize,
    /// Most clients.
    pub clients: usize,
    /// How long a transaction waits for a server connection.
    pub wait: Duration,
    /// What a tenant may take that [`Placements`] says nothing else of.
    pub caps: Caps,
    /// How long transactions under way may still take at shutdown.
    pub grace: Duration,
}

impl GuardSettings {
    /// No TLS, and so clients of this machine only; 20 server connections, half of them at most one tenant's, 1,000 clients, 10 s of waiting, 5 min per transaction, 5 s of grace.
    pub fn new(database: RoleName) -> Self {
        Self {
            database,
            identity: None,
            plaintext: Plaintext::Loopback,
            connections: 20,
            clients: 1000,
            wait: Duration::from_secs(10),
            caps: Caps { connections: 10, transaction: Duration::from_secs(300) },
            grace: Duration::from_secs(5),
        }
    }
}

/// Whose tokens are taken without TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Plaintext {
    /// Nobody's.
    Never,
    /// Those of clients on this machine.
    #[default]
    Loopback,
    /// Everybody's: the way here is private.
    Always,
}

impl Plaintext {
    fn is_allowed(self, loopback: bool) -> bool {
        match self {
            Self::Never => false,
            Self::Loopback => loopback,
            Self::Always => true,
        }
    }
}

/// What all sessions share.
struct Shared {
    settings: GuardSettings,
    placements: Arc<dyn Placements>,
    pool: Pool,
    cancels: Arc<Cancels>,
    sessions: Semaphore,
    next_session: AtomicU64,
    admit: Arc<dyn Admit>,
    contexts: Arc<dyn Contexts>,
    clock: Arc<dyn Clock>,
    record: Arc<dyn Record>,
}

impl Shared {
    fn session_id(&self) -> SessionId {
        SessionId(self.next_session.fetch_add(1, Ordering::Relaxed))
    }

    /// Decides on a client that says it is `user` and gives this token. Whoever is admitted is a tenant.
    fn admit(&self, user: Option<&TenantId>, token: &[u8]) -> Result<Option<Permit>, Refusal> {
        let token = std::str::from_utf8(token)
            .map_err(|_| Refusal::new(Layer::Guard, Reason::TokenMalformed, "not text"))
            .and_then(|text| DatabaseToken::new(text).map_err(|refusal| refusal.at(Layer::Guard)))?;
        // A user that is no tenant id looks as a tenant that does not exist.
        let unknown = Refusal::new(Layer::Guard, Reason::TenantMismatch, "the user is no tenant id");
        self.admit.admit(user.ok_or(unknown)?, &token, self.clock.now())
    }

    /// Where a tenant's rows are; waits for the end of a move as long as for a connection.
    ///
    /// # Errors
    /// A refusal where it is not known, or the move takes longer.
    async fn placed(&self, tenant: &TenantId) -> Result<Arc<Placement>, Refusal> {
        let mut deadline = None;
        loop {
            match self.placements.placement(tenant)? {
                Some(placement) => return Ok(placement),
                None if Instant::now()
                    < *deadline.get_or_insert_with(|| Instant::now() + self.settings.wait) =>
                {
                    tokio::time::sleep(MOVED_PAUSE).await;
                }
                None => {
                    let what = "its rows are being moved";
                    return Err(Refusal::new(Layer::Guard, Reason::DependencyUnavailable, what));
                }
            }
        }
    }

    /// What a tenant may take.
    fn caps(&self, tenant: &TenantId) -> Caps {
        self.placements.caps(tenant).unwrap_or(self.settings.caps)
    }

    /// What a session of `user` asks for: a connection of the share of whom the permit is for.
    fn claim(&self, user: &TenantId, permit: Option<&Permit>) -> Claim {
        let holder = permit.map(|permit| permit.context().tenant().clone());
        Claim { holder, most: self.caps(user).connections }
    }

    fn record(&self, permit: Option<&Permit>, reference: &Reference, refusal: Option<&Refusal>) {
        self.record_for(permit.map(|permit| permit.context().tenant()), reference, refusal);
    }

    /// `addressed`: the tenant the client connects as, proved only where there is no refusal.
    fn record_for(&self, addressed: Option<&TenantId>, reference: &Reference, refusal: Option<&Refusal>) {
        let passed: &[Layer] = if refusal.is_none() { &[Layer::Token, Layer::Guard] } else { &[] };
        let verdict = Verdict::passed(reference.clone(), self.clock.now(), Part::Guard, passed);
        let verdict = match refusal {
            None => Verdict { detail: "session opened".into(), ..verdict },
            Some(refusal) => verdict.refused(refusal),
        };
        trace(addressed, reference, refusal);
        self.record.record(Verdict { tenant: addressed.cloned(), ..verdict });
    }
}

/// Writes the event every deployment has, whatever else records it.
fn trace(addressed: Option<&TenantId>, reference: &Reference, refusal: Option<&Refusal>) {
    let tenant = addressed.map_or("-", TenantId::as_str);
    match refusal {
        None => tracing::info!(%reference, tenant, "database session opened"),
        Some(Refusal { layer, reason, detail }) => tracing::warn!(
            %reference, tenant, layer = layer.name(), reason = reason.code(), detail, "database session refused"
        ),
    }
}

/// The thread a guard serves on; it ends with this value, and with it what still runs there.
struct Thread(Option<Runtime>);

impl Thread {
    fn start() -> std::io::Result<Self> {
        Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("guard")
            .enable_all()
            .build()
            .map(Some)
            .map(Self)
    }

    fn runtime(&self) -> std::io::Result<&Runtime> {
        self.0.as_ref().ok_or_else(|| std::io::Error::other("the guard's thread has ended"))
    }
}

impl Drop for Thread {
    fn drop(&mut self) {
        // It may be dropped by a task, which must not wait for threads.
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

/// The Postgres proxy.
pub struct Guard {
    shared: Arc<Shared>,
}

impl Guard {
    /// A guard for an application's database. `admit` and `contexts` are its two seams: see [`crate::admission`].
    pub fn new(
        settings: GuardSettings,
        placements: Arc<dyn Placements>,
        admit: Arc<dyn Admit>,
        contexts: Arc<dyn Contexts>,
        clock: Arc<dyn Clock>,
        record: Arc<dyn Record>,
    ) -> Self {
        let pool = Pool::new(Shares::new(settings.connections), settings.connections);
        let sessions = Semaphore::new(settings.clients);
        let (cancels, next_session) = (Arc::default(), AtomicU64::new(0));
        let shared = Shared {
            settings,
            placements,
            pool,
            cancels,
            sessions,
            next_session,
            admit,
            contexts,
            clock,
            record,
        };
        Self { shared: Arc::new(shared) }
    }

    /// Serves `listener` until `shutdown` completes: idle sessions end at once, transactions under way within the grace
    /// time.
    ///
    /// On a thread of its own, one for all: a transaction is short, and what it costs is to wake a thread for each of its
    /// messages. The thread's runtime is one for many: admission may wait for state that is not in memory.
    ///
    /// # Errors
    /// Where the system gives no thread.
    pub async fn serve(
        self,
        listener: TcpListener,
        shutdown: impl Future<Output = ()> + Send + 'static,
    ) -> std::io::Result<()> {
        let thread = Thread::start()?;
        let listener = listener.into_std()?;
        let serving = async move {
            self.serve_here(TcpListener::from_std(listener)?, shutdown).await;
            Ok(())
        };
        // It ends otherwise only with the runtime, which this keeps.
        thread.runtime()?.spawn(serving).await.map_err(std::io::Error::other)?
    }

    async fn serve_here(&self, listener: TcpListener, shutdown: impl Future<Output = ()> + Send) {
        let places = Arc::new(Semaphore::new(self.shared.settings.clients + SPARE_CONNECTIONS));
        let (down, down_seen) = watch::channel(false);
        let mut connections = JoinSet::new();
        let mut shutdown = std::pin::pin!(shutdown);
        loop {
            // Where all places are taken, further clients wait in the listener's queue.
            let accepted = async {
                let place = Arc::clone(&places).acquire_owned().await;
                (listener.accept().await, place)
            };
            tokio::select! {
                () = &mut shutdown => break,
                Some(_) = connections.join_next() => {}
                (accepted, place) = accepted => match accepted {
                    Ok((stream, from)) => {
                        if let Err(error) = attend(&stream) {
                            tracing::debug!(%error, "client went at once");
                        }
                        let (shared, down_seen) = (Arc::clone(&self.shared), down_seen.clone());
                        connections.spawn(async move {
                            let private = from.ip().to_canonical().is_loopback();
                            handshake::serve(shared, Peer::new(stream), private, down_seen).await;
                            drop(place);
                        });
                    }
                    // Out of file descriptors, most likely: some will be free soon.
                    Err(error) => {
                        tracing::error!(%error, "accepting a client");
                        tokio::time::sleep(Duration::from_millis(100)).await;
                    }
                },
            }
        }
        drop(listener);
        let _ = down.send(true);
        let all = async { while connections.join_next().await.is_some() {} };
        if tokio::time::timeout(self.shared.settings.grace, all).await.is_err() {
            connections.shutdown().await;
        }
    }
}
