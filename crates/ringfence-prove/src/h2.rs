//! HTTP/2 with prior knowledge, by hyper's client: for what can only be said in it, like an authority beside a host.

use std::net::SocketAddr;

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::{net::TcpStream, time::timeout};

use crate::{
    http::{Answer, Head, PATIENCE},
    tap::{Tap, Transcript},
};

/// Sends one request and reads its answer.
pub(crate) async fn exchange(
    to: SocketAddr,
    request: Request<Full<Bytes>>,
    transcript: &Transcript,
) -> Answer {
    timeout(PATIENCE, send(to, request, transcript)).await.ok().flatten().unwrap_or_default()
}

async fn send(to: SocketAddr, request: Request<Full<Bytes>>, transcript: &Transcript) -> Option<Answer> {
    let stream = Tap::new(TcpStream::connect(to).await.ok()?, transcript);
    let (mut sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.ok()?;
    let driver = tokio::spawn(connection);
    let response = sender.send_request(request).await.ok()?;
    let (parts, body) = response.into_parts();
    let body = body.collect().await.ok()?.to_bytes();
    drop(sender);
    let _ = timeout(PATIENCE, driver).await;
    let headers = parts.headers.iter().map(|(name, value)| {
        (name.as_str().to_owned(), String::from_utf8_lossy(value.as_bytes()).into_owned())
    });
    let head = Head { status: parts.status.as_u16(), headers: headers.collect(), body: body.to_vec() };
    // Headers come compressed: keep them as read, so that a canary in one is seen.
    for (_, value) in &head.headers {
        transcript.keep(value.as_bytes());
    }
    Some(Answer { head: Some(head), rest: Vec::new() })
}
