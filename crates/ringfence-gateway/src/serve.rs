//! Connections: HTTP/1.1 and HTTP/2 on one port, bounded, closed gracefully.

use std::{convert::Infallible, future::Future, sync::Arc, time::Duration};

use http::{Request, Response};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::{conn::auto, graceful::GracefulShutdown},
};
use ringfence_context::limits;
use tokio::net::{TcpListener, TcpStream};

use crate::{refuse::Body, workers::Workers};

/// How long a client may take to send a request's head.
const HEAD: Duration = Duration::from_secs(10);

/// How long running requests may take to finish once closing has begun.
const CLOSING: Duration = Duration::from_secs(5);

/// Serves `answer` on `listener` until `shutdown` resolves, then lets running requests finish. Connections are served on
/// `workers`, or where none are given, by the runtime this is called on.
pub async fn serve<A, F>(
    listener: TcpListener,
    workers: Option<Workers>,
    answer: A,
    shutdown: impl Future<Output = ()>,
) where
    A: Fn(Request<Incoming>) -> F + Send + Sync + 'static,
    F: Future<Output = Response<Body>> + Send + 'static,
{
    let answer = Arc::new(answer);
    let http = Arc::new(protocol());
    let graceful = GracefulShutdown::new();
    tokio::pin!(shutdown);
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = &mut shutdown => break,
        };
        let Ok((stream, _)) = accepted else {
            // Out of file descriptors or memory: wait rather than spin.
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        let _ = stream.set_nodelay(true);
        let answer = Arc::clone(&answer);
        let service = service_fn(move |request| {
            let answering = answer(request);
            async move { Ok::<_, Infallible>(answering.await) }
        });
        let (http, watcher) = (Arc::clone(&http), graceful.watcher());
        let connection = move |stream: TcpStream| async move {
            let connection = http.serve_connection(TokioIo::new(stream), service);
            if let Err(error) = watcher.watch(connection.into_owned()).await {
                tracing::debug!(%error, "connection ended");
            }
        };
        match &workers {
            Some(workers) => workers.give(stream, connection),
            None => drop(tokio::spawn(connection(stream))),
        }
    }
    let _ = tokio::time::timeout(CLOSING, graceful.shutdown()).await;
}

/// HTTP/1.1 and HTTP/2, whichever the client speaks.
fn protocol() -> auto::Builder<TokioExecutor> {
    let mut http = auto::Builder::new(TokioExecutor::new());
    http.http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD)
        .max_buf_size(limits::REQUEST_HEAD_BYTES)
        .half_close(false);
    http.http2()
        .timer(TokioTimer::new())
        .max_header_list_size(u32::try_from(limits::REQUEST_HEAD_BYTES).unwrap_or(u32::MAX))
        .max_concurrent_streams(256);
    http
}
