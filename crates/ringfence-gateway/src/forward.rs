//! Forwarding: the request as decided on, over a kept-alive connection; the answer without what is the gateway's.

use std::{sync::Arc, time::Duration};

use http::{
    HeaderMap, HeaderName, HeaderValue, Request, Response, Uri, Version, header,
    uri::{Authority, PathAndQuery},
};
use ringfence_context::{Layer, Reason, Refusal};

use crate::{
    connection::{Connections, Failed},
    refuse::Body,
    txn,
};

/// How long the application may take to begin its answer.
const ANSWER: Duration = Duration::from_secs(30);

/// Headers of an answer that are the gateway's or speak about one hop.
const NOT_PASSED: [HeaderName; 11] = [
    header::CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    txn::TXN_TOKEN,
    txn::TXN_BINDING,
    txn::TENANT,
    txn::REFERENCE,
];

/// The application behind the gateway.
#[derive(Debug, Clone)]
pub struct Upstream(Arc<Connections>);

impl Upstream {
    /// The application at `authority` (`host:port`).
    pub fn new(authority: Authority) -> Self {
        Self(Arc::new(Connections::new(authority, ANSWER)))
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
        if request.uri().authority().is_some() {
            *request.uri_mut() = origin(request.uri());
        }
        *request.version_mut() = Version::HTTP_11;
        let mut response = self.0.send(request).await.map_err(|failed| {
            unavailable(match failed {
                Failed::TooSlow => "no answer in time",
                Failed::Connection | Failed::Unsent(_) => "no connection",
            })
        })?;
        pass(response.headers_mut());
        Ok(response)
    }
}

/// The target in origin form (RFC 9112 section 3.2.1): the host is in its header.
fn origin(uri: &Uri) -> Uri {
    let target = uri.path_and_query().cloned().unwrap_or(PathAndQuery::from_static("/"));
    Uri::from(target)
}

fn pass(headers: &mut HeaderMap) {
    // An answer has few headers, and most are passed: to compare names costs less than to look each of these up.
    let gone: Vec<HeaderName> = headers.keys().filter(|name| NOT_PASSED.contains(name)).cloned().collect();
    for name in gone {
        headers.remove(name);
    }
    // What was answered to a proved tenant is for no shared cache.
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("private, no-store"));
}
