//! One client: from its first statement to its last, for the tenant it was admitted as, or those it gives tokens of.
//!
//! It guarantees that before every transaction its tenant and token are asked for, that Postgres has accepted a context
//! minted from this very token a moment ago, and that a server connection changes hands between transactions only.

mod between;

use std::{pin::Pin, sync::Arc, time::Duration};

use bytes::Bytes;
use ringfence_context::{Layer, Permit, Reason, Reference, Refusal, TenantId};

use super::{
    Shared,
    cancel::{CancelKey, Leased},
    exchange::{Broken, Exchange, Sides, Status, Step},
    peer::{End, Gone, KNOWN_WITHIN, Peer, pump},
    pool::{Lease, PoolError, SessionId, Trace},
    prologue::{self, Expected},
    reply::{self, Failure, Severity, sqlstate},
    server::{ConnectError, ServerConnection, ServerSession},
    shares::NoPlace,
    startup::Settings,
    statements::Prepared,
    timer::Timer,
    token_use::Portal,
};

/// Whom a session serves.
pub(super) struct Whose {
    /// As which tenant it was admitted: where it is led.
    pub(super) user: TenantId,
    pub(super) permit: Option<Permit>,
}

/// A client and what it was admitted with.
pub(super) struct Session {
    pub(super) shared: Arc<Shared>,
    pub(super) id: SessionId,
    pub(super) client: Peer,
    /// None once a token was refused, or while one is looked at.
    pub(super) whose: Option<Whose>,
    /// Whether it gives tokens by a statement: then the end of one is not its end.
    pub(super) uses_tokens: bool,
    /// A token that was bound in the batch under way.
    pub(super) portal: Option<Portal>,
    pub(super) settings: Settings,
    /// What it has set since, and is set again on each connection it gets.
    pub(super) set: Settings,
    pub(super) prepared: Prepared,
    pub(super) cancel: CancelKey,
    pub(super) reference: Reference,
    /// Completes when the guard stops; asked for once, and waited for wherever the session waits.
    pub(super) shutdown: Pin<Box<dyn Future<Output = ()> + Send>>,
    /// How long a transaction may take.
    pub(super) transaction: Timer,
    /// How long it may wait for a connection.
    pub(super) wait: Timer,
}

/// Why a session ends.
enum Stop {
    /// The client has gone or said goodbye.
    Client,
    /// It is told why.
    Failure(Failure),
    /// Postgres did not accept its context, and said this. Whether the client has lost what its session kept.
    Refused { error: Bytes, kept: bool },
    /// The connection could not be made ready for it: nothing of it was sent. Why it ends where that can't be another's doing.
    NotReady(Box<Stop>),
    /// It does not, but serves nobody until there is a good token. What the client is told, where it has not read it yet.
    Nobody(Option<Failure>),
}

impl From<Gone> for Stop {
    fn from(_: Gone) -> Self {
        Self::Client
    }
}

/// What becomes of a session whose lease has ended well.
#[derive(PartialEq, Eq)]
enum Next {
    Idle,
    Goodbye,
}

impl Session {
    pub(super) async fn run(mut self) {
        let last_words = match self.serve().await {
            Ok(()) | Err(Stop::Client | Stop::Nobody(None) | Stop::NotReady(_)) => false,
            Err(Stop::Failure(failure) | Stop::Nobody(Some(failure))) => {
                failure.write(&mut self.client.outbound);
                true
            }
            Err(Stop::Refused { error, .. }) => {
                reply::error(&mut self.client.outbound, &error);
                true
            }
        };
        if last_words {
            // It may not be listening any more.
            let _ = tokio::time::timeout(super::LAST_WORDS_WITHIN, self.client.flush()).await;
        }
        self.shared.pool.retire(self.id).await;
    }

    async fn serve(&mut self) -> Result<(), Stop> {
        while let Some(head) = self.idle().await? {
            if !matches!(head.tag, b'Q' | b'P' | b'B' | b'D' | b'E' | b'C' | b'F') {
                return Err(Stop::Failure(protocol_violation()));
            }
            let Some(Whose { user, permit }) = &self.whose else {
                self.refuse_batch(&self.nobodys()).await?;
                continue;
            };
            let claim = self.shared.claim(user, permit.as_ref());
            let placement = match self.shared.placed(user).await {
                Ok(placement) => placement,
                Err(refusal) => {
                    let failure = Failure::refusal(
                        Severity::Error,
                        sqlstate::CANNOT_CONNECT_NOW,
                        &refusal,
                        &self.reference,
                    );
                    self.refuse_batch(&failure).await?;
                    continue;
                }
            };
            let waited = self.wait.passed(self.shared.settings.wait);
            match self.shared.pool.take(self.id, claim, &placement, &self.settings, waited).await {
                Ok(lease) => match (lease.fresh, self.lease(lease).await) {
                    (_, Ok(Next::Idle)) => {}
                    (_, Ok(Next::Goodbye)) => return Ok(()),
                    // A client before this one may have given the backend another name, or made it slow to clean and short of
                    // time. That connection is gone, nothing of this client was sent: the next is tried, until one is fresh.
                    (false, Err(Stop::NotReady(_))) => {}
                    (true, Err(Stop::NotReady(stop))) => self.ended(*stop).await?,
                    (_, Err(stop)) => self.ended(stop).await?,
                },
                Err(error) => {
                    self.refuse_batch(&self.unavailable(Severity::Error, &error)).await?;
                }
            }
        }
        Ok(())
    }

    /// What becomes of the session when a lease has ended so.
    async fn ended(&mut self, stop: Stop) -> Result<(), Stop> {
        match stop {
            Stop::Refused { error, kept: false } => {
                reply::error(&mut self.client.outbound, &error);
                self.skip_batch().await
            }
            Stop::Nobody(told) => {
                self.forget_tenant().await;
                match told {
                    Some(failure) => self.refuse_batch(&failure).await,
                    None => Ok(()),
                }
            }
            stop => Err(stop),
        }
    }

    /// Lets the client talk to a server connection until the transaction, or all that is kept in it, is over.
    async fn lease(&mut self, mut lease: Lease) -> Result<Next, Stop> {
        let placement = Arc::clone(&lease.server.placement);
        let leased = Leased { placement, key: lease.server.cancel_key, cancelled: false };
        *self.cancel.target.lock().await = Some(leased);
        let exchange = Exchange::new(Expected::default()).uses_tokens(self.uses_tokens);
        let mut exchange = exchange.has_set(!self.set.is_empty());
        let is_own = lease.trace == Trace::Of(self.id);
        let result = self.relay(&mut lease.server, &mut exchange, !is_own).await;
        if let Err(Stop::Client | Stop::Failure(_)) = result {
            // Nobody waits for the answer any more, and what still runs holds its locks.
            self.shared.cancels.cancel(self.cancel.key).await;
        }
        // Waits for a cancel request under way: it is for this client's statement, not the next one's.
        let leased = self.cancel.target.lock().await.take();
        let next = match result {
            // Its own doing.
            Err(Stop::NotReady(stop)) if leased.is_some_and(|leased| leased.cancelled) => return Err(*stop),
            other => other?,
        };
        lease.server.session.may_keep |= exchange.may_keep();
        self.shared.pool.give_back(lease, self.id);
        Ok(next)
    }

    /// `changes_hands`: the connection was not this session's.
    async fn relay(
        &mut self,
        server: &mut ServerConnection,
        exchange: &mut Exchange,
        mut changes_hands: bool,
    ) -> Result<Next, Stop> {
        self.transaction.restart(self.transaction_limit());
        let (mut answered, mut quiet) = (false, false);
        loop {
            let heard = exchange.server(&mut sides(&mut self.client, server, &mut self.prepared));
            if let Step::Ready(status) = heard.map_err(|broken| self.broken(broken, exchange))? {
                if exchange.has_lost_tenant() {
                    return Err(Stop::Nobody(None));
                }
                answered = true;
                if exchange.take_dropped_context() {
                    server.session.context = None;
                }
                if exchange.take_discarded() {
                    self.set = Settings::default();
                    server.session.set = Settings::default();
                }
                for (name, value) in exchange.take_followed() {
                    self.set.keep(name, value);
                    server.session.set.clone_from(&self.set);
                }
                if status == Status::Idle {
                    exchange.next_transaction();
                }
                continue;
            }
            let drained = server.peer.is_drained();
            if answered && drained && exchange.is_quiet() && !exchange.keeps_connection() {
                return Ok(Next::Idle);
            }
            let step = exchange.client(&mut sides(&mut self.client, server, &mut self.prepared));
            match step {
                Ok(Step::Context) => {
                    let hand_over = std::mem::take(&mut changes_hands);
                    self.begin(server, exchange, hand_over)?;
                    continue;
                }
                Ok(Step::Goodbye) if exchange.is_quiet() && server.peer.is_drained() => {
                    return Ok(Next::Goodbye);
                }
                Ok(Step::Goodbye) => return Err(Stop::Client),
                Ok(Step::Wait | Step::Ready(_)) => {}
                Err(broken) => return Err(self.broken(broken, exchange)),
            }
            let was_quiet = std::mem::replace(&mut quiet, exchange.is_quiet());
            if was_quiet != quiet {
                // It keeps a connection: whoever is gone meanwhile is to be known of. A transaction has a time of its own.
                let most = KNOWN_WITHIN.min(self.transaction_limit());
                self.client.takes_within(quiet.then_some(most));
            }
            if was_quiet && !quiet {
                self.transaction.restart(self.transaction_limit());
            }
            match self.moved(server, exchange, quiet).await {
                Err(Stop::Client) if quiet && server.peer.is_drained() => return Ok(Next::Goodbye),
                other => other?,
            }
        }
    }

    /// How long a transaction of its tenant's may take.
    fn transaction_limit(&self) -> Duration {
        let own = self.whose.as_ref().map(|whose| self.shared.caps(&whose.user));
        own.unwrap_or(self.shared.settings.caps).transaction
    }

    /// Waits until bytes have moved. A transaction may take so long and no longer: it holds locks others wait for.
    async fn moved(
        &mut self,
        server: &mut ServerConnection,
        exchange: &Exchange,
        quiet: bool,
    ) -> Result<(), Stop> {
        let moved = tokio::select! {
            biased;
            moved = pump(&mut self.client, &mut server.peer, exchange.wanted()) => moved,
            () = self.transaction.expired(), if !quiet => return Err(Stop::Failure(Failure::fatal(
                sqlstate::TRANSACTION_TIMEOUT,
                "The transaction took longer than allowed.",
                "Do less in one transaction.",
            ))),
            () = &mut self.shutdown, if quiet => return Err(Stop::Failure(shutting_down())),
        };
        moved.map_err(|end| match end {
            End::Client => Stop::Client,
            End::Server => self.broken(Broken::Server, exchange),
        })
    }

    /// A transaction is about to begin. Asks whether the session still stands; where the connection was another's, has it
    /// cleaned; and where Postgres has not just been told whose it is, tells it. Nothing of the client reaches Postgres
    /// before that has answered as expected.
    fn begin(
        &self,
        server: &mut ServerConnection,
        exchange: &mut Exchange,
        changes_hands: bool,
    ) -> Result<(), Stop> {
        let permit = self.whose.as_ref().and_then(|whose| whose.permit.as_ref());
        let now = self.shared.clock.now();
        permit
            .map_or(Ok(()), |permit| self.shared.admit.still(permit, now))
            .map_err(|refusal| self.turned_away(&refusal))?;
        let writable = !exchange.may_keep() && !server.session.may_keep;
        let expected = exchange.context_given();
        let tenant = permit.map(|permit| permit.context().tenant());
        let suits = (!changes_hands || server.suits(tenant)) && server.session.set == self.set;
        let out = &mut server.peer.outbound;
        if !suits {
            if std::mem::replace(&mut server.used, true) {
                prologue::clean(out, expected, server.leaves.locks);
            }
            server.session = ServerSession { tenant: tenant.cloned(), ..ServerSession::default() };
            if !self.set.is_empty() {
                prologue::set(out, expected, &self.set);
                server.session.set.clone_from(&self.set);
            }
        }
        let held = server.session.context.as_ref();
        if held.zip(permit).is_some_and(|(held, permit)| held.covers(permit, now)) {
            return Ok(());
        }
        let context = self.shared.contexts.context(permit, server.backend, now);
        let context = context.map_err(|refusal| self.turned_away(&refusal))?;
        if let Some(context) = &context {
            prologue::context(out, expected, context, server.context_set, writable);
        }
        server.session.context = context;
        Ok(())
    }

    fn turned_away(&self, refusal: &Refusal) -> Stop {
        let permit = self.whose.as_ref().and_then(|whose| whose.permit.as_ref());
        self.shared.record(permit, &self.reference, Some(refusal));
        if self.uses_tokens {
            let failure = Failure::turned_away(Severity::Error, refusal, &self.reference);
            return Stop::Nobody(Some(failure));
        }
        Stop::Failure(Failure::turned_away(Severity::Fatal, refusal, &self.reference))
    }

    fn broken(&self, broken: Broken, exchange: &Exchange) -> Stop {
        let kept = exchange.keeps_connection();
        let stop = match broken {
            Broken::Client => return Stop::Failure(protocol_violation()),
            Broken::Context => Stop::Refused { error: exchange.refusal().clone(), kept },
            Broken::Server => {
                let lost =
                    self.refusal(Severity::Fatal, sqlstate::CANNOT_CONNECT_NOW, &down("connection lost"));
                Stop::Failure(lost)
            }
        };
        // Row security that is not as installed is so on every connection.
        let everywhere = is_unsound(exchange.refusal());
        if kept || everywhere || !exchange.is_asking() { stop } else { Stop::NotReady(Box::new(stop)) }
    }

    pub(super) fn unavailable(&self, severity: Severity, error: &PoolError) -> Failure {
        unavailable(severity, error, &self.reference)
    }

    fn refusal(&self, severity: Severity, code: &'static str, refusal: &Refusal) -> Failure {
        Failure::refusal(severity, code, refusal, &self.reference)
    }
}

/// The buffers and names of both, as the exchange between them needs them.
fn sides<'a>(
    client: &'a mut Peer,
    server: &'a mut ServerConnection,
    prepared: &'a mut Prepared,
) -> Sides<'a> {
    Sides {
        from_client: &mut client.inbound,
        to_client: &mut client.outbound,
        from_server: &mut server.peer.inbound,
        to_server: &mut server.peer.outbound,
        prepared,
        planned: &mut server.session.planned,
    }
}

/// Whether an error is the one of row security that is not as installed, among others.
fn is_unsound(error: &[u8]) -> bool {
    error.split(|byte| *byte == 0).any(|field| field == b"CRF004")
}

/// What a client reads where there is no server connection for it.
pub(super) fn unavailable(severity: Severity, error: &PoolError, reference: &Reference) -> Failure {
    match error {
        PoolError::NoPlace(NoPlace::Full) => Failure {
            severity,
            sqlstate: sqlstate::TOO_MANY_CONNECTIONS,
            message: "All connections to the database are in use.",
            hint: "Try again shortly; end transactions sooner, or raise the guard's connections.",
            detail: None,
        },
        PoolError::NoPlace(NoPlace::Share) => Failure {
            severity,
            sqlstate: sqlstate::TOO_MANY_CONNECTIONS,
            message: "This tenant's own transactions hold all connections it may have.",
            hint: "End transactions sooner, or open fewer at a time.",
            detail: None,
        },
        PoolError::Connect(ConnectError::Refused(_, code)) if code == sqlstate::INVALID_PARAMETER => {
            Failure {
                severity,
                sqlstate: sqlstate::INVALID_PARAMETER,
                message: "Postgres did not accept a start-up parameter.",
                hint: "Check client_encoding, TimeZone and the like.",
                detail: None,
            }
        }
        PoolError::Connect(error) => {
            tracing::error!(%error, %reference, "no connection to Postgres");
            Failure::refusal(
                severity,
                sqlstate::CANNOT_CONNECT_NOW,
                &down("Postgres is not reachable"),
                reference,
            )
        }
    }
}

const fn down(detail: &'static str) -> Refusal {
    Refusal::new(Layer::Guard, Reason::DependencyUnavailable, detail)
}

pub(super) fn protocol_violation() -> Failure {
    Failure::fatal(
        sqlstate::PROTOCOL_VIOLATION,
        "The message is not one of the protocol, or larger than allowed.",
        "Use a client of the Postgres protocol, version 3.",
    )
}

pub(super) fn shutting_down() -> Failure {
    Failure::fatal(sqlstate::ADMIN_SHUTDOWN, "The guard is shutting down.", "Connect again shortly.")
}
