//! AuthZEN Authorization API 1.0, per tenant, at `{api}/t/{tenant}`.
//!
//! Two kinds of callers (see `admission.rs`): a backend, about the one user whose request it serves; and a decision client,
//! about anybody of its tenant. It guarantees that every question is decided at the seam every other one is
//! ([`ringfence_authorization::Decide`]) and believed where every other one is ([`ringfence_context::Permit::decide`]),
//! and that every decision is on record.

mod admission;
mod body;
mod decision;
mod evaluation;
mod evaluations;
mod metadata;
mod page;
mod search;

pub(crate) use decision::pool_roles;
pub use ringfence_identity::membership::DECISIONS;

use std::sync::{Arc, OnceLock};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::{DefaultBodyLimit, Request},
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    middleware::{self, Next},
    response::{AppendHeaders, IntoResponse, Response},
    routing::{get, post},
};
use futures_util::future::BoxFuture;
use ringfence_authorization::bulkhead::NotDone;
use ringfence_context::{Layer, Part, Reason, Reference, Refusal, TenantContext, TenantId, Verdict, limits};
use ringfence_gateway::{consistency::REVISION, reference};
use ringfence_store::Scope;
use serde_json::Value;
use tokio::runtime::Handle;

use crate::api::{Api, READ_HERE, failure::ApiFailure, pause::TooMuch};

const REFERENCE: HeaderName = HeaderName::from_static("ringfence-reference");
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Every path of it.
pub fn router() -> Router<Api> {
    Router::new()
        .route("/t/{tenant}/access/v1/evaluation", post(evaluation::evaluate))
        .route("/t/{tenant}/access/v1/evaluations", post(evaluations::evaluate))
        .route("/t/{tenant}/access/v1/search/subject", post(search::subject))
        .route("/t/{tenant}/access/v1/search/resource", post(search::resource))
        .route("/t/{tenant}/access/v1/search/action", post(search::action_of))
        .route("/.well-known/authzen-configuration/t/{tenant}", get(metadata::metadata))
        .layer(DefaultBodyLimit::max(limits::REQUEST_BODY_BYTES))
        .layer(middleware::from_fn(identify))
}

/// Gives a request's identifier back (section 10.1.3), and says how to authenticate where somebody did not (11.3).
async fn identify(request: Request, next: Next) -> Response<Body> {
    let id = request.headers().get(REQUEST_ID).cloned();
    let mut response = next.run(request).await;
    if let Some(id) = id {
        response.headers_mut().insert(REQUEST_ID, id);
    }
    if response.status() == StatusCode::UNAUTHORIZED {
        response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    response
}

/// Who asks, once that is proved.
trait Admitted: Sized + Send + Sync + 'static {
    /// Admits who shows these headers.
    ///
    /// # Errors
    /// A refusal of the layer that refuses.
    fn admit(
        call: &Call,
        tenant: &TenantId,
        headers: &HeaderMap,
    ) -> impl Future<Output = Result<Self, Refusal>> + Send;

    /// The proof.
    fn context(&self) -> &TenantContext;
}

/// What answers once it is known who asks.
type Operation<A> =
    for<'a> fn(&'a Call, &'a A, &'a HeaderMap, &'a [u8]) -> BoxFuture<'a, Result<Value, Failure>>;

/// Why a request is not answered.
#[derive(Debug)]
enum Failure {
    /// A layer refused.
    Refused(Refusal),
    /// It is not a request of this API; in fixed words, with nothing of the request in them.
    Malformed(String),
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

/// One call, from its coming in to its answer.
struct Call {
    api: Api,
    verdict: Verdict,
    /// At which revision it is answered, as the caller is told it.
    made_at: OnceLock<HeaderValue>,
}

impl Call {
    fn begin(api: Api, headers: &HeaderMap) -> Self {
        let now = api.clock.now();
        let reference = headers.get(REFERENCE).and_then(|value| Reference::new(value.to_str().ok()?).ok());
        let reference = reference.unwrap_or_else(|| reference::reference(now));
        let verdict = Verdict::passed(reference, now, Part::Api, &[]);
        Self { api, verdict, made_at: OnceLock::new() }
    }

    /// Admits the asker, reads the body and answers.
    async fn answer<A: Admitted>(
        self,
        tenant: TenantId,
        headers: HeaderMap,
        body: Bytes,
        operation: Operation<A>,
    ) -> Response {
        let asker = match A::admit(&self, &tenant, &headers).await {
            Ok(asker) => asker,
            Err(refusal) => return self.end(Err(refusal.into())),
        };
        let mut response = self.admitted(&tenant, asker, headers, body, operation).await;
        if response.status() == StatusCode::TOO_MANY_REQUESTS {
            TooMuch::mark(&mut response, Some(tenant));
        }
        response
    }

    /// Answers who was admitted. A large body is read on a thread of lower priority, where each tenant's wait for each other;
    /// by then the asker may have been shut out, and is looked at again.
    async fn admitted<A: Admitted>(
        self,
        tenant: &TenantId,
        asker: A,
        headers: HeaderMap,
        body: Bytes,
        operation: Operation<A>,
    ) -> Response {
        if body.len() <= READ_HERE {
            let outcome = operation(&self, &asker, &headers, &body).await;
            return self.end(outcome);
        }
        let (avp, runtime) = (Arc::clone(&self.api.avp), Handle::current());
        let (busy, refused) = (self.verdict.clone(), self.api.clone());
        let work = move || {
            runtime.block_on(async {
                let outcome = match self.api.issuers.check_live(asker.context()) {
                    Ok(()) => operation(&self, &asker, &headers, &body).await,
                    Err(refusal) => Err(refusal.into()),
                };
                self.end(outcome)
            })
        };
        let done = avp.large().run(Some(tenant), work).await;
        done.unwrap_or_else(|why| {
            let (reason, detail) = match why {
                NotDone::Busy => (Reason::RateLimited, "as many large requests of the tenant's wait as may"),
                NotDone::EndedEarly => (Reason::Internal, "a large request was not answered"),
            };
            let refusal = Refusal::new(Layer::Routing, reason, detail);
            Self { api: refused, verdict: busy, made_at: OnceLock::new() }.end(Err(refusal.into()))
        })
    }

    /// Catches up with the revision the caller asks for, and notes at which revision the call is answered, at least.
    async fn at_least(&self, context: &TenantContext, headers: &HeaderMap) -> Result<(), Refusal> {
        let (consistency, holder) = (&self.api.consistency, Scope::from(context.tenant()));
        if consistency.at_least(&holder, headers).await? {
            // The caller may have been shut out by what this node has caught up with.
            self.api.issuers.check_live(context)?;
        }
        if let Some(token) = consistency.token(&holder, consistency.reached()) {
            // A call is answered once.
            let _ = self.made_at.set(token);
        }
        Ok(())
    }

    /// The answer. What failed is put on record here; what was decided is already.
    fn end(self, outcome: Result<Value, Failure>) -> Response {
        let reference = self.verdict.reference.clone();
        let mut response = match outcome {
            Ok(answer) => {
                let kind = [(header::CONTENT_TYPE, "application/json"), (header::CACHE_CONTROL, "no-store")];
                let made_at = AppendHeaders(self.made_at.into_inner().map(|token| (REVISION, token)));
                (kind, made_at, answer.to_string()).into_response()
            }
            Err(Failure::Refused(refusal)) => {
                self.api.record.record(self.verdict.refused(&refusal));
                ApiFailure::Refused(refusal, Some(reference.clone())).into_response()
            }
            Err(Failure::Malformed(what)) => {
                let refusal =
                    Refusal::new(Layer::Routing, Reason::RequestMalformed, "not a request of this API");
                self.api.record.record(self.verdict.refused(&refusal));
                ApiFailure::Told(StatusCode::BAD_REQUEST, what).into_response()
            }
        };
        if let Ok(reference) = HeaderValue::from_str(reference.as_str()) {
            response.headers_mut().insert(REFERENCE, reference);
        }
        response
    }
}
