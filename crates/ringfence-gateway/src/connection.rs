//! Connections to the application, kept alive and driven by the request that uses them.
//!
//! A connection has no task of its own: the request that holds it polls it, so that a request crosses no thread and wakes
//! nobody on its way; and it is used by the runtime it was opened on, which is told when there is something to read, and by
//! which its deadline is kept: one for each connection, put off with each request. One that is idle is polled by nobody;
//! that the application has closed it meanwhile is found when it is taken, before anything is sent. A connection whose
//! answer was not read to its end is closed, never used again.

use std::{
    collections::VecDeque,
    future::{Future, poll_fn},
    pin::{Pin, pin},
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use dashmap::DashMap;
use http::{Request, Response, uri::Authority};
use http_body_util::BodyExt;
use hyper::{
    body::{Frame, Incoming, SizeHint},
    client::conn::http1::{self, SendRequest},
};
use hyper_util::rt::TokioIo;
use tokio::{
    net::TcpStream,
    runtime::{self, Handle},
    time::{Instant, Sleep, timeout},
};

use crate::refuse::{Body, BoxError};

/// How long the application may take to accept a connection.
const CONNECT: Duration = Duration::from_secs(2);

/// How long a connection is kept that nobody uses.
const IDLE: Duration = Duration::from_secs(30);

/// Most idle connections kept by each runtime.
const KEPT: usize = 256;

/// The connections to one application.
#[derive(Debug)]
pub(crate) struct Connections {
    authority: Authority,
    /// How long the application may take to begin an answer.
    answer: Duration,
    /// Of each runtime. The one used last is at the back, and used next.
    idle: DashMap<runtime::Id, Mutex<VecDeque<(Instant, Connection)>>>,
}

/// One connection: where requests are put, and what moves their bytes.
#[derive(Debug)]
struct Connection {
    sender: SendRequest<Body>,
    /// None once it has ended: what was put on it and not sent is given back when it is dropped, and only then.
    wire: Option<Box<http1::Connection<TokioIo<TcpStream>, Body>>>,
    /// Until when the answer must have begun. Putting it off costs next to nothing; a new one for each request does not.
    deadline: Pin<Box<Sleep>>,
}

/// An answer's body together with the connection it arrives on.
struct Arriving {
    body: Incoming,
    /// None once the connection is given back or has ended.
    connection: Option<Connection>,
    connections: Arc<Connections>,
}

/// Why there is no answer.
#[derive(Debug)]
pub(crate) enum Failed {
    /// The application does not accept connections, or broke one off.
    Connection,
    /// It has not begun to answer in time.
    TooSlow,
    /// It was not sent, because the application had closed the connection while it was idle.
    Unsent(Box<Request<Body>>),
}

impl Connections {
    /// No connection yet. The application may take as long as `answer` to begin each answer.
    pub(crate) fn new(authority: Authority, answer: Duration) -> Self {
        Self { authority, answer, idle: <_>::default() }
    }

    /// Sends a request in origin form and gives the answer's head; its body streams.
    ///
    /// # Errors
    /// [`Failed::Connection`], [`Failed::TooSlow`].
    pub(crate) async fn send(self: &Arc<Self>, mut request: Request<Body>) -> Result<Response<Body>, Failed> {
        while let Some(connection) = self.take() {
            match self.exchange(connection, request).await {
                Err(Failed::Unsent(unsent)) => request = *unsent,
                done => return done,
            }
        }
        // Seldom, and long: not a part of every request's future, which is moved about.
        let connection = Box::pin(self.connect()).await?;
        self.exchange(connection, request).await
    }

    async fn exchange(
        self: &Arc<Self>,
        mut connection: Connection,
        request: Request<Body>,
    ) -> Result<Response<Body>, Failed> {
        let (response, open) = connection.exchange(request, self.answer).await?;
        let (head, body) = response.into_parts();
        let body = if open && !connection.sender.is_ready() {
            let arriving = Arriving { body, connection: Some(connection), connections: Arc::clone(self) };
            arriving.boxed_unsync()
        } else {
            // All of it has arrived, or the connection has ended and what arrived is all there will be.
            if open {
                self.put(connection);
            }
            body.map_err(Into::into).boxed_unsync()
        };
        Ok(Response::from_parts(head, body))
    }

    async fn connect(&self) -> Result<Connection, Failed> {
        let open = async {
            let stream = TcpStream::connect(self.authority.as_str()).await.ok()?;
            stream.set_nodelay(true).ok()?;
            http1::handshake(TokioIo::new(stream)).await.ok()
        };
        let opened = timeout(CONNECT, open).await.ok().flatten().ok_or(Failed::Connection)?;
        let deadline = Box::pin(tokio::time::sleep(self.answer));
        Ok(Connection { sender: opened.0, wire: Some(Box::new(opened.1)), deadline })
    }

    fn take(&self) -> Option<Connection> {
        let idle = self.idle.get(&Handle::try_current().ok()?.id())?;
        let (used, connection) = idle.lock().unwrap_or_else(PoisonError::into_inner).pop_back()?;
        (used.elapsed() < IDLE).then_some(connection)
    }

    fn put(&self, connection: Connection) {
        // Nobody's, where it is given back while everything ends.
        let Ok(runtime) = Handle::try_current() else { return };
        let mut over = Vec::new();
        let own = self.idle.get(&runtime.id());
        let own = own.unwrap_or_else(|| self.idle.entry(runtime.id()).or_default().downgrade());
        let mut idle = own.lock().unwrap_or_else(PoisonError::into_inner);
        while idle.len() >= KEPT || idle.front().is_some_and(|(used, _)| used.elapsed() >= IDLE) {
            over.extend(idle.pop_front());
        }
        idle.push_back((Instant::now(), connection));
        // Closing takes a while: not while others wait.
        drop(idle);
        drop(own);
        drop(over);
    }
}

impl Connection {
    /// Sends one request and drives the connection until the answer's head is there, which is `within` so long; says whether
    /// it is still open.
    async fn exchange(
        &mut self,
        request: Request<Body>,
        within: Duration,
    ) -> Result<(Response<Incoming>, bool), Failed> {
        let Self { sender, wire, deadline } = self;
        deadline.as_mut().reset(Instant::now() + within);
        let mut answer = pin!(sender.try_send_request(request));
        let answered = poll_fn(|cx| {
            // The wire first: it finds out whether the application has gone before it writes anything.
            drive(wire, cx);
            if let Poll::Ready(answered) = answer.as_mut().poll(cx) {
                return Poll::Ready(Some(answered));
            }
            deadline.as_mut().poll(cx).map(|()| None)
        });
        match answered.await {
            Some(Ok(response)) => Ok((response, wire.is_some())),
            Some(Err(mut error)) => Err(match error.take_message() {
                Some(request) => Failed::Unsent(Box::new(request)),
                None => Failed::Connection,
            }),
            None => Err(Failed::TooSlow),
        }
    }
}

/// Moves bytes; lets go of a wire that has ended.
fn drive(wire: &mut Option<Box<http1::Connection<TokioIo<TcpStream>, Body>>>, cx: &mut Context<'_>) {
    if wire.as_mut().is_some_and(|wire| Pin::new(wire).poll(cx).is_ready()) {
        *wire = None;
    }
}

impl Arriving {
    /// Moves bytes; says whether the connection is still there.
    fn drive(&mut self, cx: &mut Context<'_>) -> bool {
        let open = self.connection.as_mut().is_some_and(|held| {
            drive(&mut held.wire, cx);
            held.wire.is_some()
        });
        if !open {
            self.connection = None;
        }
        open
    }

    /// The answer is read: the connection is for the next request, if it wants one.
    fn finish(&mut self, cx: &mut Context<'_>) {
        if self.drive(cx)
            && let Some(connection) = self.connection.take()
            && connection.sender.is_ready()
        {
            self.connections.put(connection);
        }
    }
}

impl hyper::body::Body for Arriving {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = self.get_mut();
        this.drive(cx);
        let frame = ready!(Pin::new(&mut this.body).poll_frame(cx));
        if frame.is_none() || this.body.is_end_stream() {
            this.finish(cx);
        }
        Poll::Ready(frame.map(|frame| frame.map_err(Into::into)))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpListener,
    };

    use super::*;
    use crate::refuse::full;

    /// An application that answers the first `answers` requests with 204, and then reads until the connection is closed.
    async fn application(answers: usize) -> (Authority, tokio::task::JoinHandle<usize>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string().parse().unwrap();
        let served = async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut read = [0; 1024];
            for _ in 0..answers {
                assert!(stream.read(&mut read).await.unwrap() > 0);
                stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await.unwrap();
            }
            while stream.read(&mut read).await.unwrap() > 0 {}
            answers
        };
        (address, tokio::spawn(served))
    }

    fn asking() -> Request<Body> {
        Request::get("/").body(full("")).unwrap()
    }

    #[tokio::test]
    async fn every_request_has_all_of_its_time_also_on_a_connection_that_has_been_used() {
        const TIME: Duration = Duration::from_secs(600);
        let (address, application) = application(3).await;
        let connections = Arc::new(Connections::new(address, TIME));
        for _ in 0..3 {
            let began = Instant::now();
            assert_eq!(connections.send(asking()).await.unwrap().status(), 204);
            let connection = connections.take().unwrap();
            assert!(connection.deadline.deadline() >= began + TIME);
            connections.put(connection);
        }
        drop(connections);
        assert_eq!(application.await.unwrap(), 3);
    }

    #[tokio::test]
    async fn an_application_that_does_not_answer_is_waited_for_so_long_and_its_connection_closed() {
        const TIME: Duration = Duration::from_millis(50);
        let (address, application) = application(0).await;
        let connections = Arc::new(Connections::new(address, TIME));
        let began = Instant::now();
        assert!(matches!(connections.send(asking()).await, Err(Failed::TooSlow)));
        assert!(began.elapsed() >= TIME);
        assert!(connections.take().is_none(), "what was not answered is not used again");
        // Closed, though the connections are still kept: the application has read to the end.
        assert_eq!(application.await.unwrap(), 0);
    }
}
