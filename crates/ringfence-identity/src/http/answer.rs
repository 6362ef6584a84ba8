//! Answers: OAuth's error bodies (RFC 6749 section 5.2), problem documents elsewhere, and the headers all of them carry.

use axum::{
    Json,
    extract::{FromRequestParts, RawPathParams},
    response::{IntoResponse, Response},
};
use http::{HeaderName, HeaderValue, StatusCode, header, request::Parts};
use ringfence_context::{Reason, Reference, Refusal, TenantId};
use serde_json::json;
use std::sync::Arc;

use super::{Identity, reference};
use crate::error::refuse;

/// One request at an active tenant's path: the tenant, and the request's name.
pub(super) struct At {
    pub(super) tenant: TenantId,
    pub(super) reference: Reference,
}

impl FromRequestParts<Arc<Identity>> for At {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, identity: &Arc<Identity>) -> Result<Self, Response> {
        let reference = reference().map_err(|_| StatusCode::INTERNAL_SERVER_ERROR.into_response())?;
        let refused = |tenant: Option<&TenantId>, refusal: Refusal| {
            identity.verdict(tenant, &reference, "address", Err(&refusal));
            problem(&refusal, &reference)
        };
        let unknown = refuse(Reason::NotServed, "not a tenant's path");
        let path = RawPathParams::from_request_parts(parts, identity).await;
        let named = path.ok().and_then(|path| {
            path.iter().find(|(name, _)| *name == "tenant").and_then(|(_, id)| TenantId::new(id).ok())
        });
        // The path as sent must say the tenant in so many letters: an encoded one is not a second spelling of it.
        let spelt = |tenant: &TenantId| parts.uri.path().split('/').any(|segment| segment == tenant.as_str());
        let Some(tenant) = named.filter(spelt) else { return Err(refused(None, unknown)) };
        match identity.directory.pool(&tenant) {
            Ok(_) => Ok(Self { tenant, reference }),
            Err(refusal) => Err(refused(Some(&tenant), refusal)),
        }
    }
}

/// An error in OAuth's words.
#[derive(Debug, Clone)]
pub(super) struct OAuthError {
    /// One of the codes of the RFC that asks for it.
    pub(super) code: &'static str,
    status: StatusCode,
    description: &'static str,
    refusal: Refusal,
}

impl OAuthError {
    /// The request itself is wrong.
    pub(super) const fn request(detail: &'static str) -> Self {
        Self::new(
            "invalid_request",
            detail,
            "The request misses a parameter, repeats one, or has one that is not valid.",
        )
    }

    /// The code or token presented is no good: unknown, expired, spent, or somebody else's.
    pub(super) const fn grant(detail: &'static str) -> Self {
        Self::new(
            "invalid_grant",
            detail,
            "The code or token presented is not valid here, or not any more; start again.",
        )
    }

    /// The client is unknown or its secret is wrong: they look the same.
    pub(super) const fn client(detail: &'static str) -> Self {
        let refusal = refuse(Reason::SignInFailed, detail);
        let description = "The client is unknown or its credentials are wrong.";
        Self { code: "invalid_client", status: StatusCode::UNAUTHORIZED, description, refusal }
    }

    /// The client may not use this grant.
    pub(super) const fn unauthorized_client(detail: &'static str) -> Self {
        Self::new("unauthorized_client", detail, "This client may not use this grant.")
    }

    /// An error with status 400.
    pub(super) const fn new(code: &'static str, detail: &'static str, description: &'static str) -> Self {
        let refusal = refuse(Reason::RequestMalformed, detail);
        Self { code, status: StatusCode::BAD_REQUEST, description, refusal }
    }

    pub(super) fn refusal(&self) -> &Refusal {
        &self.refusal
    }

    /// Whether it is no fault of the request's.
    pub(super) fn is_servers(&self) -> bool {
        self.status.is_server_error()
    }

    pub(super) fn answer(&self, reference: &Reference) -> Response {
        let body =
            json!({ "error": self.code, "error_description": self.description, "reference": reference });
        let mut response = (self.status, Json(body)).into_response();
        if self.status == StatusCode::UNAUTHORIZED {
            set(&mut response, header::WWW_AUTHENTICATE, "Basic realm=\"token\", charset=\"UTF-8\"");
        }
        unstored(response)
    }
}

/// A refusal in OAuth's words: what the client did wrong, or that it is not its fault.
impl From<Refusal> for OAuthError {
    fn from(refusal: Refusal) -> Self {
        let status =
            StatusCode::from_u16(refusal.reason.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let (code, status) = match refusal.reason {
            Reason::DependencyUnavailable | Reason::UpstreamUnavailable => {
                ("temporarily_unavailable", status)
            }
            Reason::Internal => ("server_error", status),
            Reason::RateLimited => ("slow_down", status),
            Reason::RequestMalformed => return Self { refusal, ..Self::grant("") },
            Reason::MembershipInvalid | Reason::Denied => ("access_denied", StatusCode::BAD_REQUEST),
            _ => ("invalid_grant", StatusCode::BAD_REQUEST),
        };
        Self { code, status, description: refusal.reason.title(), refusal }
    }
}

/// A refusal as a problem document.
pub(super) fn problem(refusal: &Refusal, reference: &Reference) -> Response {
    let status = StatusCode::from_u16(refusal.reason.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = (status, Json(refusal.problem(reference))).into_response();
    set(&mut response, header::CONTENT_TYPE, "application/problem+json");
    unstored(response)
}

/// Answers that carry or concern credentials are stored by nobody (RFC 6749 section 5.1).
pub(super) fn unstored(mut response: Response) -> Response {
    set(&mut response, header::CACHE_CONTROL, "no-store");
    set(&mut response, header::X_CONTENT_TYPE_OPTIONS, "nosniff");
    response
}

pub(super) fn set(response: &mut Response, name: HeaderName, value: &'static str) {
    response.headers_mut().insert(name, HeaderValue::from_static(value));
}
