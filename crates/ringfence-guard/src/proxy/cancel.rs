//! Cancelling a query: our own keys, each good for its client's own running transaction and nothing else.

use std::{
    collections::{HashMap, hash_map::Entry},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bytes::BytesMut;
use postgres_protocol::message::frontend;
use ringfence_context::key::{KeyError, random};
use tokio::sync::Mutex as AsyncMutex;

use super::{peer::Peer, placement::Placement};

/// How long Postgres may take to accept a cancel request.
const CANCEL_WITHIN: Duration = Duration::from_secs(5);

/// What is to be cancelled at the server: the backend's own key, while it is leased to this client.
///
/// Locked while a cancel request is under way, so that the backend is not handed to another client meanwhile.
pub(super) type Target = Arc<AsyncMutex<Option<Leased>>>;

/// A backend, while a client has it.
#[derive(Debug)]
pub(super) struct Leased {
    pub(super) placement: Arc<Placement>,
    /// Process id and secret.
    pub(super) key: (i32, i32),
    /// Whether its client has asked for it to be cancelled.
    pub(super) cancelled: bool,
}

/// The keys of all sessions.
#[derive(Debug, Default)]
pub(super) struct Cancels {
    targets: Mutex<HashMap<(i32, i32), Target>>,
}

/// One session's key; gone when the session is.
#[derive(Debug)]
pub(super) struct CancelKey {
    pub(super) key: (i32, i32),
    pub(super) target: Target,
    cancels: Arc<Cancels>,
}

impl Drop for CancelKey {
    fn drop(&mut self) {
        self.cancels.targets.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.key);
    }
}

impl Cancels {
    /// A new random key.
    pub(super) fn issue(self: &Arc<Self>) -> Result<CancelKey, KeyError> {
        let target = Target::default();
        let mut targets = self.targets.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            let [a, b, c, d, e, f, g, h] = random::<8>()?;
            // A process id is positive; clients print it.
            let key = (i32::from_be_bytes([a & 0x7f, b, c, d]), i32::from_be_bytes([e, f, g, h]));
            if let Entry::Vacant(free) = targets.entry(key) {
                free.insert(Arc::clone(&target));
                return Ok(CancelKey { key, target, cancels: Arc::clone(self) });
            }
        }
    }

    /// Cancels what the client with this key is running; a wrong key and an idle client do nothing.
    pub(super) async fn cancel(&self, key: (i32, i32)) {
        let target = self.targets.lock().unwrap_or_else(PoisonError::into_inner).get(&key).cloned();
        let Some(target) = target else { return };
        let mut running = target.lock().await;
        let Some(Leased { placement, key: (pid, secret), cancelled }) = &mut *running else { return };
        *cancelled = true;
        let request = async {
            let mut server = Peer::new(placement.server.endpoint.connect().await.ok()?);
            let mut packet = BytesMut::new();
            frontend::cancel_request(*pid, *secret, &mut packet);
            server.outbound.extend_from_slice(&packet);
            server.flush().await.ok()?;
            // Postgres closes the connection once the signal is sent: only then may the backend change hands.
            while server.fill().await.is_ok() {}
            Some(())
        };
        if tokio::time::timeout(CANCEL_WITHIN, request).await.is_err() {
            tracing::warn!("Postgres does not take a cancel request");
        }
    }
}
