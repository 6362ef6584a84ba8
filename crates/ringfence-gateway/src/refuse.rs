//! A refusal as an HTTP response.

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use http_body_util::{BodyExt, Full, combinators::UnsyncBoxBody};
use ringfence_context::{Reason, Reference, Refusal};

/// Names the request on every response, allowed or refused.
pub const REFERENCE: &str = "ringfence-reference";

/// What flows through the gateway.
pub type Body = UnsyncBoxBody<Bytes, BoxError>;

/// What can go wrong with a body on its way.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// A body that is all there.
pub fn full(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).map_err(|never| match never {}).boxed_unsync()
}

/// The response to a refused request. The same reason gives the same bytes but for the reference.
pub fn refuse(refusal: &Refusal, reference: &Reference) -> Response<Body> {
    let problem = serde_json::to_vec(&refusal.problem(reference)).unwrap_or_default();
    let mut response = Response::new(full(problem));
    *response.status_mut() = StatusCode::from_u16(refusal.reason.status()).unwrap_or(StatusCode::FORBIDDEN);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if refusal.reason.status() == 401 {
        headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static(challenge(refusal.reason)));
    }
    if let Ok(value) = HeaderValue::from_str(reference.as_str()) {
        headers.insert(REFERENCE, value);
    }
    response
}

/// RFC 6750 section 3: no error code where no token was presented.
const fn challenge(reason: Reason) -> &'static str {
    match reason {
        Reason::TokenMissing => "Bearer",
        _ => "Bearer error=\"invalid_token\"",
    }
}
