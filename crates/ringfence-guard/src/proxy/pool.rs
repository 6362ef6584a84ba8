//! Server connections, handed from client to client.
//!
//! A connection goes back to the session that had it last as it is, if that asks first: its statements stay planned. To
//! anyone else it goes only after a reset, whose replies are waited for before anything is passed on.

use std::{
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll, Waker},
    time::Duration,
};

use super::{
    exchange::{Exchange, Step},
    prologue::{self, Expected},
    server::{ConnectError, Parameters, ServerConnection, ServerSettings},
    shares::{Holder, NoPlace, Place, Shares},
};
use bytes::BytesMut;

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
    _place: Place,
}

/// The connections of one database.
pub(super) struct Pool {
    settings: ServerSettings,
    wait: Duration,
    places: Arc<Shares>,
    idle: Mutex<Vec<(ServerConnection, Trace)>>,
    parameters: Mutex<Option<Parameters>>,
}

impl Pool {
    pub(super) fn new(settings: ServerSettings, places: Arc<Shares>, wait: Duration) -> Self {
        Self { settings, wait, places, idle: Mutex::default(), parameters: Mutex::default() }
    }

    /// Lends a connection; waits for one, fairly between tenants.
    pub(super) async fn take(&self, session: SessionId, holder: Holder) -> Result<Lease, PoolError> {
        let place = self.places.take(holder, self.wait).await.map_err(PoolError::NoPlace)?;
        while let Some((mut server, trace)) = self.pick(session) {
            if is_alive(&mut server) {
                return Ok(Lease { server, trace, _place: place });
            }
        }
        let server = self.settings.connect().await.map_err(PoolError::Connect)?;
        *self.parameters.lock().unwrap_or_else(PoisonError::into_inner) =
            Some(Arc::clone(&server.parameters));
        Ok(Lease { server, trace: Trace::New, _place: place })
    }

    /// The session's own last connection, else a new one, else the one idle for longest.
    fn pick(&self, session: SessionId) -> Option<(ServerConnection, Trace)> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let own = idle.iter().position(|(_, trace)| *trace == Trace::Of(session));
        let at = own.or_else(|| idle.iter().position(|(_, trace)| *trace == Trace::New)).unwrap_or(0);
        (at < idle.len()).then(|| idle.remove(at))
    }

    /// Takes a connection back that stands between transactions.
    pub(super) fn give_back(&self, lease: Lease, session: SessionId) {
        let Lease { server, trace: _, _place } = lease;
        // The place is free only after the connection is idle: whoever gets it finds it.
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push((server, Trace::Of(session)));
    }

    /// Cleans what a session that has ended left idle: nothing of it, a lock or a cursor, outlives it for long.
    pub(super) async fn retire(&self, session: SessionId) {
        let left = {
            let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
            let at = idle.iter().position(|(_, trace)| *trace == Trace::Of(session));
            at.map(|at| idle.remove(at))
        };
        let Some((mut server, _)) = left else { return };
        let Some(_place) = self.places.try_take() else { return };
        if let Ok(true) = tokio::time::timeout(CLEAN_WITHIN, clean(&mut server)).await {
            self.idle.lock().unwrap_or_else(PoisonError::into_inner).push((server, Trace::New));
        }
    }

    /// What Postgres reports at start-up.
    pub(super) async fn parameters(
        &self,
        session: SessionId,
        holder: Holder,
    ) -> Result<Parameters, PoolError> {
        let known = self.parameters.lock().unwrap_or_else(PoisonError::into_inner).clone();
        match known {
            Some(parameters) => Ok(parameters),
            None => {
                let lease = self.take(session, holder).await?;
                let parameters = Arc::clone(&lease.server.parameters);
                let Lease { server, trace, _place } = lease;
                self.idle.lock().unwrap_or_else(PoisonError::into_inner).push((server, trace));
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
    prologue::clean(&mut server.peer.outbound, &mut expected);
    let mut exchange = Exchange::new(expected);
    let (mut nobody, mut nothing) = (BytesMut::new(), BytesMut::new());
    while !exchange.is_quiet() {
        if server.peer.flush().await.is_err() || server.peer.fill().await.is_err() {
            return false;
        }
        let step = exchange.server(&mut server.peer.inbound, &mut nobody, &mut nothing);
        if step != Ok(Step::Wait) || !nobody.is_empty() {
            return false;
        }
    }
    server.prepared = true;
    true
}
