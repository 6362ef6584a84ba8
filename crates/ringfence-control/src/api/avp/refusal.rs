//! Refusals of the wire itself, by the names the SDKs know.

use axum::http::StatusCode;
use ringfence_authorization::avp::AvpError;
use ringfence_context::{Layer, Reason, Refusal};
use serde_json::{Value, json};

use crate::api::avp::signature::SignatureFault;

/// Why a request is not answered.
#[derive(Debug)]
pub(crate) enum WireRefusal {
    /// The signature.
    Signature(SignatureFault),
    /// No key of this id, or its owner is gone.
    UnknownKey,
    /// The key's tenant is suspended or being removed.
    Inactive,
    /// Over the tenant's rate.
    Throttled,
    /// Larger than a request may be.
    TooLarge,
    /// The revision asked for is unreadable, or this node has not reached it.
    Revision(Refusal),
    /// The service refused.
    Service(AvpError),
    /// Something failed that should not have; what is for the log.
    Internal(String),
}

impl From<SignatureFault> for WireRefusal {
    fn from(fault: SignatureFault) -> Self {
        Self::Signature(fault)
    }
}

impl From<AvpError> for WireRefusal {
    fn from(error: AvpError) -> Self {
        Self::Service(error)
    }
}

impl WireRefusal {
    /// Its HTTP status.
    pub(crate) fn status(&self) -> StatusCode {
        let status = match self {
            Self::Service(error) => error.status(),
            Self::Revision(refusal) => refusal.reason.status(),
            Self::Internal(_) => 500,
            Self::TooLarge => 413,
            _ => 400,
        };
        StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_REQUEST)
    }

    /// Whether it says that its caller asks too much.
    pub(crate) fn is_too_much(&self) -> bool {
        matches!(self, Self::Throttled | Self::Service(AvpError::Throttling(_)))
    }

    /// Its body.
    pub(crate) fn body(&self) -> Value {
        let (name, message) = match self {
            Self::Service(error) => return error.body(),
            Self::Signature(SignatureFault::Missing) => {
                ("MissingAuthenticationTokenException", "The request has no AWS4-HMAC-SHA256 signature.")
            }
            Self::Signature(SignatureFault::Incomplete(what)) => ("IncompleteSignatureException", *what),
            Self::Signature(SignatureFault::Skewed) => (
                "InvalidSignatureException",
                "The signature's time is more than five minutes from this server's: check the clock.",
            ),
            Self::Signature(SignatureFault::Mismatch) => {
                ("InvalidSignatureException", "The signature is not of this request and this access key.")
            }
            Self::UnknownKey => ("UnrecognizedClientException", "The access key is not known here."),
            Self::Inactive => ("AccessDeniedException", "The tenant of this access key is not active."),
            Self::Throttled => {
                ("ThrottlingException", "The tenant's request rate is used up; wait and try again.")
            }
            Self::Revision(refusal) if refusal.reason == Reason::RevisionUnreadable => {
                ("ValidationException", refusal.reason.title())
            }
            Self::Revision(refusal) => ("ServiceUnavailableException", refusal.reason.title()),
            Self::TooLarge => ("RequestEntityTooLargeException", "A request is at most 1 MiB."),
            Self::Internal(what) => {
                tracing::error!(what, "the policy service can't be reached");
                ("InternalServerException", "Something failed inside; nothing was done. Try again later.")
            }
        };
        json!({ "__type": name, "message": message })
    }

    /// What is on record of it.
    pub(crate) fn refusal(&self) -> Refusal {
        let (layer, reason, detail) = match self {
            Self::Revision(refusal) => return refusal.clone(),
            Self::Signature(SignatureFault::Missing) => (Layer::Token, Reason::TokenMissing, "no signature"),
            Self::Signature(SignatureFault::Incomplete(what)) => {
                (Layer::Token, Reason::TokenMalformed, *what)
            }
            Self::Signature(SignatureFault::Skewed) => {
                (Layer::Token, Reason::TokenExpired, "a signature's time")
            }
            Self::Signature(SignatureFault::Mismatch) => (Layer::Token, Reason::TokenInvalid, "a signature"),
            Self::UnknownKey => (Layer::Identity, Reason::TokenInvalid, "an access key that is not there"),
            Self::Inactive => {
                (Layer::Identity, Reason::TenantInactive, "an access key of a tenant that is not active")
            }
            Self::Throttled => {
                (Layer::Routing, Reason::RateLimited, "the tenant's rate at the policy service")
            }
            Self::TooLarge => (Layer::Routing, Reason::RequestTooLarge, "a request to the policy service"),
            Self::Service(error) => (Layer::Routing, Reason::RequestMalformed, error.name()),
            Self::Internal(_) => (Layer::Routing, Reason::Internal, "the policy service"),
        };
        Refusal::new(layer, reason, detail)
    }
}
