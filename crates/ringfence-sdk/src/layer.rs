//! The tower layer in front of a backend's handlers.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use http::{HeaderValue, Request, Response, StatusCode, header};
use ringfence_context::{Clock, Part, Record, Reference, Refusal, Verdict, key::random};
use tower::{Layer as TowerLayer, Service};

use crate::{ask::AskStore, session::TenantSession, verify::Recheck};

/// Lets a request through to a handler only with a [`TenantSession`] among its extensions.
#[derive(Clone)]
pub struct TenantLayer {
    recheck: Arc<dyn Recheck>,
    ask: Arc<dyn AskStore>,
    record: Arc<dyn Record>,
    clock: Arc<dyn Clock>,
}

impl TenantLayer {
    /// A layer that verifies with `recheck`, decides with `ask`, and tells `record` what it refused.
    pub fn new(
        recheck: Arc<dyn Recheck>,
        ask: Arc<dyn AskStore>,
        record: Arc<dyn Record>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self { recheck, ask, record, clock }
    }

    /// A refusal on record: under the reference the request says it has, else under a new one.
    fn refuse<B: From<Vec<u8>>>(&self, refusal: &Refusal, headers: &http::HeaderMap) -> Response<B> {
        let now = self.clock.now();
        let reference = sent_reference(headers)
            .unwrap_or_else(|| Reference::make(now, random::<8>().map_or(0, u64::from_be_bytes)));
        self.record.record(Verdict::passed(reference.clone(), now, Part::Backend, &[]).refused(refusal));
        refuse(refusal, Some(&reference))
    }
}

impl<S> TowerLayer<S> for TenantLayer {
    type Service = TenantService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        TenantService { inner, layer: self.clone() }
    }
}

/// A service behind a [`TenantLayer`].
#[derive(Clone)]
pub struct TenantService<S> {
    inner: S,
    layer: TenantLayer,
}

impl<S, In, Out> Service<Request<In>> for TenantService<S>
where
    S: Service<Request<In>, Response = Response<Out>> + Clone + Send + 'static,
    S::Future: Send,
    In: Send + 'static,
    Out: From<Vec<u8>>,
{
    type Response = Response<Out>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<In>) -> Self::Future {
        // The service that was polled ready answers; its clone waits for the next call.
        let clone = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, clone);
        let layer = self.layer.clone();
        Box::pin(async move {
            let (mut head, body) = request.into_parts();
            match layer.recheck.recheck(&head).await {
                Ok(proof) => {
                    head.extensions.insert(TenantSession::new(proof, layer.ask));
                    inner.call(Request::from_parts(head, body)).await
                }
                Err(refusal) => Ok(layer.refuse(&refusal, &head.headers)),
            }
        })
    }
}

/// A refusal as a response: the same problem document the gateway gives.
pub fn refuse<B: From<Vec<u8>>>(refusal: &Refusal, reference: Option<&Reference>) -> Response<B> {
    let unnamed = Reference::make(ringfence_context::UnixTime::from_micros(0), 0);
    let problem = serde_json::to_vec(&refusal.problem(reference.unwrap_or(&unnamed))).unwrap_or_default();
    let mut response = Response::new(B::from(problem));
    *response.status_mut() = StatusCode::from_u16(refusal.reason.status()).unwrap_or(StatusCode::FORBIDDEN);
    let json = HeaderValue::from_static("application/problem+json");
    response.headers_mut().insert(header::CONTENT_TYPE, json);
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

fn sent_reference(headers: &http::HeaderMap) -> Option<Reference> {
    headers.get("ringfence-reference").and_then(|value| Reference::new(value.to_str().ok()?).ok())
}
