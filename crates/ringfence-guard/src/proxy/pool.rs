//! Server connections, handed from client to client.
//!
//! A connection stays with its tenant while there are others: to the session that had it last it goes as it is, to others of
//! the tenant if nothing is left on it but planned statements. To another tenant it goes only after a reset, whose replies
//! are waited for before anything is passed on.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, Waker},
    time::Duration,
};

use bytes::BytesMut;
use ringfence_context::TenantId;

use super::{
    exchange::{Exchange, Sides, Step},
    placement::Placement,
    prologue::{self, Expected},
    server::{ConnectError, Parameters, ServerConnection, ServerSession},
    shares::{Claim, NoPlace, Place, Shares},
    startup::Settings,
    statements::{Planned, Prepared},
};

/// How long a reset may take.
const CLEAN_WITHIN: Duration = Duration::from_secs(5);

/// One client session; never used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct SessionId(pub(super) u64);

/// Whose traces a connection carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Trace {
    /// Nobody's: new, or cleaned.
    New,
    /// This session's.
    Of(SessionId),
}

/// Why there is no connection.
#[derive(Debug)]
pub(super) enum PoolError {
    /// All are leased, or all that are this tenant's.
    NoPlace(NoPlace),
    Connect(ConnectError),
}

/// A connection on loan. Dropping it closes the connection: only [`Pool::give_back`] keeps it.
pub(super) struct Lease {
    pub(super) server: ServerConnection,
    pub(super) trace: Trace,
    /// Whether it was made for this loan: no client can have done anything to it.
    pub(super) fresh: bool,
    open: Open,
    _place: Place,
}

/// One connection more, until it is dropped.
struct Open(Arc<AtomicUsize>);

impl Open {
    fn new(all: &Arc<AtomicUsize>) -> Self {
        all.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(all))
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A connection nobody has.
struct Idle {
    server: ServerConnection,
    trace: Trace,
    open: Open,
}

/// The connections of all databases.
pub(super) struct Pool {
    places: Arc<Shares>,
    /// How many connections there may be, and are.
    most: usize,
    open: Arc<AtomicUsize>,
    idle: Mutex<Vec<Idle>>,
}

impl Pool {
    pub(super) fn new(places: Arc<Shares>, most: usize) -> Self {
        let (open, idle) = Default::default();
        Self { places, most, open, idle }
    }

    /// Lends a connection to where `placement` is; waits for one, fairly between tenants, until `waited` completes.
    pub(super) async fn take(
        &self,
        session: SessionId,
        claim: Claim,
        placement: &Arc<Placement>,
        settings: &Settings,
        waited: impl Future<Output = ()>,
    ) -> Result<Lease, PoolError> {
        let holder = claim.holder.clone();
        let place = self.places.take(claim, waited).await.map_err(PoolError::NoPlace)?;
        while let Some(Idle { mut server, trace, open }) =
            self.pick(session, holder.as_ref(), placement, settings)
        {
            if is_alive(&mut server) {
                return Ok(Lease { server, trace, fresh: false, open, _place: place });
            }
        }
        let open = Open::new(&self.open);
        let server = placement.connect(settings).await.map_err(PoolError::Connect)?;
        placement.parameters_put(settings, &server.parameters);
        Ok(Lease { server, trace: Trace::New, fresh: true, open, _place: place })
    }

    /// Of those that lead there, with these settings: the session's own last connection, else one of its tenant, else a new one, else, if there
    /// may be no more, the one idle for longest. If there may be no more and none leads there, or
    /// can be cleaned, the one idle for longest is closed.
    fn pick(
        &self,
        session: SessionId,
        tenant: Option<&TenantId>,
        placement: &Arc<Placement>,
        settings: &Settings,
    ) -> Option<Idle> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let there =
            |idle: &Idle| Arc::ptr_eq(&idle.server.placement, placement) && idle.server.settings == *settings;
        let is_own = |idle: &Idle| there(idle) && idle.trace == Trace::Of(session);
        let had = |idle: &Idle| tenant.is_some() && idle.server.session.tenant.as_ref() == tenant;
        let is_tenants = |idle: &Idle| there(idle) && had(idle);
        let at = idle.iter().rposition(is_own);
        let at = at.or_else(|| idle.iter().rposition(is_tenants));
        let at = at.or_else(|| idle.iter().position(|idle| there(idle) && idle.trace == Trace::New));
        let full = self.open.load(Ordering::Relaxed) >= self.most;
        let cleanable = |idle: &Idle| there(idle) && !idle.server.leaves.outlasts;
        let at = at.or_else(|| if full { idle.iter().position(cleanable) } else { None });
        if at.is_none() && full && !idle.is_empty() {
            // A tenant that wants another kind each time pays with its own.
            let own = idle.iter().position(had).unwrap_or(0);
            drop(idle.remove(own));
        }
        at.map(|at| idle.remove(at))
    }

    /// Takes a connection back that stands between transactions.
    pub(super) fn give_back(&self, lease: Lease, session: SessionId) {
        let Lease { server, trace: _, fresh: _, open, _place } = lease;
        // The place is free only after the connection is idle: whoever gets it finds it.
        self.put(Idle { server, trace: Trace::Of(session), open });
    }

    fn put(&self, connection: Idle) {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
    }

    /// Cleans what a session that has ended left idle: nothing of it, a lock or a cursor, outlives it for long.
    pub(super) async fn retire(&self, session: SessionId) {
        // More than one where its tenant was led elsewhere meanwhile.
        while let Some(Idle { mut server, open, .. }) = self.left_by(session) {
            let Some(_place) = self.places.try_take().filter(|_| !server.leaves.outlasts) else { continue };
            if let Ok(true) = tokio::time::timeout(CLEAN_WITHIN, clean(&mut server)).await {
                self.put(Idle { server, trace: Trace::New, open });
            }
        }
    }

    /// Takes a connection that a session left in a state only it could use.
    fn left_by(&self, session: SessionId) -> Option<Idle> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let at = idle.iter().position(|idle| {
            let server = &idle.server;
            idle.trace == Trace::Of(session) && !server.suits(server.session.tenant.as_ref())
        });
        at.map(|at| idle.remove(at))
    }

    /// What Postgres reports at start-up.
    pub(super) async fn parameters(
        &self,
        session: SessionId,
        claim: Claim,
        placement: &Arc<Placement>,
        settings: &Settings,
        waited: impl Future<Output = ()>,
    ) -> Result<Parameters, PoolError> {
        match placement.parameters(settings) {
            Some(parameters) => Ok(parameters),
            None => {
                let lease = self.take(session, claim, placement, settings, waited).await?;
                let parameters = Arc::clone(&lease.server.parameters);
                let Lease { server, trace, fresh: _, open, _place } = lease;
                self.put(Idle { server, trace, open });
                Ok(parameters)
            }
        }
    }
}

/// Whether an idle connection is still good: not closed, and silent but for what belongs to no statement.
fn is_alive(server: &mut ServerConnection) -> bool {
    let mut cx = Context::from_waker(Waker::noop());
    match server.peer.poll_fill(&mut cx) {
        Poll::Pending => server.peer.inbound.is_empty() && server.peer.outbound.is_empty(),
        // Whatever it says unasked, a shutdown above all, it is not used again.
        Poll::Ready(_) => false,
    }
}

/// Resets a connection nobody waits for; whether that went as expected.
async fn clean(server: &mut ServerConnection) -> bool {
    let mut expected = Expected::default();
    prologue::clean(&mut server.peer.outbound, &mut expected, server.leaves.locks);
    let mut exchange = Exchange::new(expected);
    let [mut from_client, mut to_client] = <[BytesMut; 2]>::default();
    let (mut prepared, mut planned) = (Prepared::default(), Planned::default());
    while !exchange.is_quiet() {
        if server.peer.flush().await.is_err() || server.peer.fill().await.is_err() {
            return false;
        }
        let step = exchange.server(&mut Sides {
            from_client: &mut from_client,
            to_client: &mut to_client,
            from_server: &mut server.peer.inbound,
            to_server: &mut server.peer.outbound,
            prepared: &mut prepared,
            planned: &mut planned,
        });
        if step != Ok(Step::Wait) || !to_client.is_empty() {
            return false;
        }
    }
    server.used = false;
    server.session = ServerSession::default();
    true
}
