//! Forwarding: the request as decided on, over a kept-alive connection; the answer without what is the gateway's.

use std::time::Duration;

use http::{HeaderMap, HeaderValue, Request, Response, Uri, Version, header, uri::Authority};
use http_body_util::BodyExt;
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::{TokioExecutor, TokioTimer},
};
use ringfence_context::{Layer, Reason, Refusal};

use crate::refuse::Body;

/// How long the application may take to accept a connection.
const CONNECT: Duration = Duration::from_secs(2);

/// How long the application may take to begin its answer.
const ANSWER: Duration = Duration::from_secs(30);

/// Headers of an answer that are the gateway's or speak about one hop.
const NOT_PASSED: &[&str] = &[
    "connection",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "txn-token",
    "txn-binding",
    "x-tenant-id",
    crate::refuse::REFERENCE,
];

/// The application behind the gateway.
#[derive(Debug, Clone)]
pub struct Upstream {
    authority: Authority,
    client: Client<HttpConnector, Body>,
}

impl Upstream {
    /// The application at `authority` (`host:port`).
    pub fn new(authority: Authority) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        connector.set_connect_timeout(Some(CONNECT));
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(Duration::from_secs(30))
            .pool_max_idle_per_host(256)
            .build(connector);
        Self { authority, client }
    }

    /// Sends a request and gives the answer's head; its body streams.
    ///
    /// # Errors
    /// [`Reason::UpstreamUnavailable`].
    pub async fn send(&self, mut request: Request<Body>) -> Result<Response<Body>, Refusal> {
        let unavailable = |detail| Refusal::new(Layer::Routing, Reason::UpstreamUnavailable, detail);
        if !request.headers().contains_key(header::HOST)
            && let Some(authority) = request.uri().authority()
            && let Ok(host) = HeaderValue::from_str(authority.as_str())
        {
            request.headers_mut().insert(header::HOST, host);
        }
        *request.uri_mut() = self.target(request.uri()).ok_or(unavailable("target"))?;
        *request.version_mut() = Version::HTTP_11;
        let sent = tokio::time::timeout(ANSWER, self.client.request(request)).await;
        let response =
            sent.map_err(|_| unavailable("no answer in time"))?.map_err(|_| unavailable("no connection"))?;
        let (mut head, body) = response.into_parts();
        pass(&mut head.headers);
        Ok(Response::from_parts(head, body.map_err(Into::into).boxed_unsync()))
    }

    fn target(&self, uri: &Uri) -> Option<Uri> {
        let mut parts = uri.clone().into_parts();
        parts.scheme = Some(http::uri::Scheme::HTTP);
        parts.authority = Some(self.authority.clone());
        Uri::from_parts(parts).ok()
    }
}

fn pass(headers: &mut HeaderMap) {
    for name in NOT_PASSED {
        headers.remove(*name);
    }
    // What was answered to a proved tenant is for no shared cache.
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("private, no-store"));
}
