//! One admitted client: from its first statement to its last.
//!
//! It guarantees that every transaction is opened with a context minted for it, after asking whether its tenant and token
//! still stand, and that a server connection changes hands between transactions only.

use std::sync::Arc;

use ringfence_context::{Layer, Permit, Reason, Reference, Refusal, limits};
use tokio::{
    sync::watch,
    time::{Instant, Sleep},
};

use super::{
    Shared,
    cancel::CancelKey,
    exchange::{Broken, Exchange, Status, Step},
    frame::{self, Head},
    holder,
    peer::{End, Gone, Peer, pump},
    pool::{Lease, PoolError, SessionId, Trace},
    prologue::{self, Expected},
    reply::{self, Failure, Severity, sqlstate},
    server::ServerConnection,
    shares::NoPlace,
};

/// A client and what it was admitted with.
pub(super) struct Session {
    pub(super) shared: Arc<Shared>,
    pub(super) id: SessionId,
    pub(super) client: Peer,
    pub(super) permit: Option<Permit>,
    pub(super) settings: Vec<(&'static str, String)>,
    pub(super) cancel: CancelKey,
    pub(super) reference: Reference,
    pub(super) shutdown: watch::Receiver<bool>,
}

/// Why a session ends.
enum Stop {
    /// The client has gone or said goodbye.
    Client,
    /// It is told why.
    Failure(Failure),
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
        if let Err(Stop::Failure(failure)) = self.serve().await {
            failure.write(&mut self.client.outbound);
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
            match self.shared.pool.take(self.id, holder(self.permit.as_ref())).await {
                Ok(lease) => {
                    if self.lease(lease).await? == Next::Goodbye {
                        return Ok(());
                    }
                }
                Err(error) => {
                    let failure = self.unavailable(Severity::Error, &error);
                    self.refuse_batch(&failure).await?;
                }
            }
        }
        Ok(())
    }

    /// Waits, without a server connection, for a message that needs one. `None`: goodbye.
    async fn idle(&mut self) -> Result<Option<Head>, Stop> {
        loop {
            self.client.flush().await?;
            let head = self.head().await?;
            match head.tag {
                b'X' => return Ok(None),
                // Left over from a copy that failed, or asking for what there is none of.
                b'd' | b'c' | b'f' | b'H' => self.skip(head).await?,
                b'S' => {
                    self.skip(head).await?;
                    reply::ready_for_query(&mut self.client.outbound, b'I');
                }
                _ => return Ok(Some(head)),
            }
        }
    }

    /// The head of the client's next message, which stays where it is.
    async fn head(&mut self) -> Result<Head, Stop> {
        loop {
            let head = frame::head(&self.client.inbound, limits::PG_MESSAGE_BYTES);
            if let Some(head) = head.map_err(|_| Stop::Failure(protocol_violation()))? {
                return Ok(head);
            }
            tokio::select! {
                filled = self.client.fill() => filled?,
                _ = self.shutdown.wait_for(|down| *down) => return Err(Stop::Failure(shutting_down())),
            }
        }
    }

    async fn skip(&mut self, head: Head) -> Result<(), Stop> {
        let mut rest = head.len;
        loop {
            let count = rest.min(self.client.inbound.len());
            bytes::Buf::advance(&mut self.client.inbound, count);
            rest -= count;
            if rest == 0 {
                return Ok(());
            }
            self.client.fill().await?;
        }
    }

    /// Answers a whole batch with one error, as Postgres does.
    async fn refuse_batch(&mut self, failure: &Failure) -> Result<(), Stop> {
        failure.write(&mut self.client.outbound);
        loop {
            let head = self.head().await?;
            self.skip(head).await?;
            match head.tag {
                b'Q' | b'S' | b'F' => break,
                b'X' => return Err(Stop::Client),
                _ => {}
            }
        }
        reply::ready_for_query(&mut self.client.outbound, b'I');
        Ok(())
    }

    /// Lets the client talk to a server connection until the transaction, or all that is kept in it, is over.
    async fn lease(&mut self, mut lease: Lease) -> Result<Next, Stop> {
        let mut expected = Expected::default();
        let server = &mut lease.server;
        match lease.trace {
            Trace::Of(session) if session == self.id => {}
            Trace::Of(_) => {
                prologue::clean(&mut server.peer.outbound, &mut expected);
                server.prepared = true;
                prologue::settings(&mut server.peer.outbound, &mut expected, &self.settings);
            }
            Trace::New => prologue::settings(&mut server.peer.outbound, &mut expected, &self.settings),
        }
        *self.cancel.target.lock().await = Some(server.cancel_key);
        let result = self.relay(server, Exchange::new(expected)).await;
        if result.is_err() {
            // Nobody waits for the answer any more, and what still runs holds its locks.
            self.shared.cancels.cancel(self.cancel.key, &self.shared.settings.server.endpoint).await;
        }
        // Waits for a cancel request under way: it is for this client's statement, not the next one's.
        *self.cancel.target.lock().await = None;
        let next = result?;
        self.shared.pool.give_back(lease, self.id);
        Ok(next)
    }

    async fn relay(&mut self, server: &mut ServerConnection, mut exchange: Exchange) -> Result<Next, Stop> {
        let limit = self.shared.settings.transaction;
        let mut deadline = std::pin::pin!(tokio::time::sleep(limit));
        let (mut answered, mut quiet) = (false, false);
        loop {
            let peer = &mut server.peer;
            let heard = exchange.server(&mut peer.inbound, &mut self.client.outbound, &mut peer.outbound);
            if let Step::Ready(status) = heard.map_err(|broken| self.broken(broken))? {
                answered = true;
                server.prepared &= !exchange.take_unprepared();
                if status == Status::Idle {
                    exchange.next_transaction();
                }
                continue;
            }
            if answered && exchange.is_quiet() && peer.is_drained() && !exchange.keeps_connection() {
                return Ok(Next::Idle);
            }
            match exchange.client(&mut self.client.inbound, &mut peer.outbound) {
                Ok(Step::Context) => {
                    self.open_transaction(server, &mut exchange)?;
                    continue;
                }
                Ok(Step::Goodbye) if exchange.is_quiet() && peer.is_drained() => return Ok(Next::Goodbye),
                Ok(Step::Goodbye) => return Err(Stop::Client),
                Ok(Step::Wait | Step::Ready(_)) => {}
                Err(broken) => return Err(self.broken(broken)),
            }
            if std::mem::replace(&mut quiet, exchange.is_quiet()) && !quiet {
                deadline.as_mut().reset(Instant::now() + limit);
            }
            match self.moved(&mut server.peer, deadline.as_mut(), quiet).await {
                Err(Stop::Client) if quiet && server.peer.is_drained() => return Ok(Next::Goodbye),
                other => other?,
            }
        }
    }

    /// Waits until bytes have moved. A transaction may take so long and no longer: it holds locks others wait for.
    async fn moved(
        &mut self,
        server: &mut Peer,
        deadline: std::pin::Pin<&mut Sleep>,
        quiet: bool,
    ) -> Result<(), Stop> {
        let moved = tokio::select! {
            biased;
            moved = pump(&mut self.client, server) => moved,
            () = deadline, if !quiet => return Err(Stop::Failure(Failure::fatal(
                sqlstate::TRANSACTION_TIMEOUT,
                "The transaction took longer than allowed.",
                "Do less in one transaction.",
            ))),
            _ = self.shutdown.wait_for(|down| *down), if quiet => return Err(Stop::Failure(shutting_down())),
        };
        moved.map_err(|end| match end {
            End::Client => Stop::Client,
            End::Server => self.broken(Broken::Server),
        })
    }

    /// Asks whether the session still stands, and writes the context.
    fn open_transaction(&self, server: &mut ServerConnection, exchange: &mut Exchange) -> Result<(), Stop> {
        let now = self.shared.clock.now();
        let still = self.permit.as_ref().map_or(Ok(()), |permit| self.shared.admit.still(permit, now));
        let context = still
            .and_then(|()| self.shared.contexts.context(self.permit.as_ref(), server.backend, now))
            .map_err(|refusal| {
                self.shared.record(self.permit.as_ref(), &self.reference, Some(&refusal));
                Stop::Failure(Failure::turned_away(&refusal, &self.reference))
            })?;
        let expected = exchange.context_given();
        if let Some(context) = context {
            prologue::context(&mut server.peer.outbound, expected, &context, server.prepared);
            server.prepared = true;
        }
        Ok(())
    }

    fn broken(&self, broken: Broken) -> Stop {
        Stop::Failure(match broken {
            Broken::Client => protocol_violation(),
            Broken::Settings => Failure::fatal(
                sqlstate::INVALID_PARAMETER,
                "Postgres did not accept a start-up parameter.",
                "Check client_encoding, TimeZone and the like.",
            ),
            Broken::Server => {
                self.refusal(Severity::Fatal, sqlstate::CANNOT_CONNECT_NOW, &down("connection lost"))
            }
        })
    }

    pub(super) fn unavailable(&self, severity: Severity, error: &PoolError) -> Failure {
        unavailable(severity, error, &self.reference)
    }

    fn refusal(&self, severity: Severity, code: &'static str, refusal: &Refusal) -> Failure {
        Failure::refusal(severity, code, refusal, &self.reference)
    }
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
