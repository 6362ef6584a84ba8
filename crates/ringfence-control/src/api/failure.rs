//! What a call to the API can end in. An operator is told what is wrong in words; everyone else gets a refusal.

use axum::{
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use ringfence_authorization::{
    StoresError,
    avp::{AvpError, ServeError},
    govern::GovernError,
};
use ringfence_context::{Reference, Refusal, UnixTime};
use ringfence_identity::IdentityError;
use ringfence_store::StoreError;
use serde_json::json;

use crate::{operator::OperatorError, tenant::TenantError};

/// Why a call failed.
#[derive(Debug)]
pub enum ApiFailure {
    /// A layer refused.
    Refused(Refusal, Option<Reference>),
    /// It can't be done, for a reason the operator can act on.
    Told(StatusCode, String),
}

impl From<Refusal> for ApiFailure {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal, None)
    }
}

impl From<TenantError> for ApiFailure {
    fn from(error: TenantError) -> Self {
        match error {
            TenantError::Missing => Self::Told(StatusCode::NOT_FOUND, error.to_string()),
            TenantError::Govern(error) => error.into(),
            TenantError::Exists
            | TenantError::Status(..)
            | TenantError::OwnStores(_)
            | TenantError::Move(_)
            | TenantError::There(_)
            | TenantError::Hindered(_) => Self::Told(StatusCode::CONFLICT, error.to_string()),
            TenantError::NoMove => Self::Told(StatusCode::NOT_FOUND, error.to_string()),
            TenantError::Tier(_) | TenantError::Id(_) | TenantError::Bundle(_) => {
                Self::invalid(error.to_string())
            }
            TenantError::Store(error) => error.into(),
            TenantError::Identity(error) => error.into(),
            TenantError::Policy(error) => error.into(),
            TenantError::Data(error) => Self::Told(StatusCode::SERVICE_UNAVAILABLE, error.to_string()),
        }
    }
}

impl From<IdentityError> for ApiFailure {
    fn from(error: IdentityError) -> Self {
        let status = match &error {
            IdentityError::Store(error) => return error.clone().into(),
            IdentityError::Exists(_) => StatusCode::CONFLICT,
            IdentityError::Missing(_) => StatusCode::NOT_FOUND,
            IdentityError::Invalid(_) => StatusCode::UNPROCESSABLE_ENTITY,
            IdentityError::Key(_) => StatusCode::INTERNAL_SERVER_ERROR,
            IdentityError::Busy => StatusCode::SERVICE_UNAVAILABLE,
        };
        Self::Told(status, error.to_string())
    }
}

impl From<StoresError> for ApiFailure {
    fn from(error: StoresError) -> Self {
        match error {
            StoresError::Policy(_)
            | StoresError::Refuted(_)
            | StoresError::Unproved(_)
            | StoresError::Quota(_)
            | StoresError::Confined(_) => Self::invalid(error.to_string()),
            StoresError::Busy(_) => Self::Told(StatusCode::TOO_MANY_REQUESTS, error.to_string()),
            StoresError::Unreviewed | StoresError::Moving | StoresError::HeldSo(_) | StoresError::Changed => {
                Self::Told(StatusCode::CONFLICT, error.to_string())
            }
            StoresError::Store(error) => error.into(),
            StoresError::Missing | StoresError::NoMove => {
                Self::Told(StatusCode::NOT_FOUND, error.to_string())
            }
        }
    }
}

impl From<GovernError> for ApiFailure {
    fn from(error: GovernError) -> Self {
        let status = match error {
            GovernError::Stores(error) => return error.into(),
            GovernError::NoVersion(_) | GovernError::NoProposal(_) | GovernError::Nothing(..) => {
                StatusCode::NOT_FOUND
            }
            GovernError::TextGone(_) => StatusCode::GONE,
            GovernError::OwnProposal => StatusCode::FORBIDDEN,
            GovernError::Time(_) => StatusCode::UNPROCESSABLE_ENTITY,
            GovernError::Decided(..)
            | GovernError::NotApproved(..)
            | GovernError::Stale { .. }
            | GovernError::TooMany(_)
            | GovernError::OtherShare(_)
            | GovernError::TooManyTrials(_)
            | GovernError::Same => StatusCode::CONFLICT,
        };
        Self::Told(status, error.to_string())
    }
}

impl From<ServeError> for ApiFailure {
    fn from(error: ServeError) -> Self {
        let status = match error {
            ServeError::Govern(error) => return error.into(),
            ServeError::Missing => StatusCode::NOT_FOUND,
            ServeError::Serves | ServeError::Changed => StatusCode::CONFLICT,
            ServeError::NoSchema | ServeError::Reason(_) => StatusCode::UNPROCESSABLE_ENTITY,
            ServeError::Service(AvpError::Throttling(_)) => StatusCode::TOO_MANY_REQUESTS,
            ServeError::Service(AvpError::Internal(ref what)) => {
                tracing::error!(what, "a policy store can't be read");
                StatusCode::SERVICE_UNAVAILABLE
            }
            ServeError::Service(_) => StatusCode::UNPROCESSABLE_ENTITY,
        };
        Self::Told(status, error.to_string())
    }
}

impl From<OperatorError> for ApiFailure {
    fn from(error: OperatorError) -> Self {
        let status = match error {
            OperatorError::Store(error) => return error.into(),
            OperatorError::Missing => StatusCode::NOT_FOUND,
            OperatorError::Exists | OperatorError::LastAdmin => StatusCode::CONFLICT,
            OperatorError::NoRole | OperatorError::Full(_) => StatusCode::UNPROCESSABLE_ENTITY,
        };
        Self::Told(status, error.to_string())
    }
}

impl From<StoreError> for ApiFailure {
    fn from(error: StoreError) -> Self {
        let status = match &error {
            StoreError::Conflict { .. } | StoreError::TenantExists => StatusCode::CONFLICT,
            StoreError::TenantUnknown => StatusCode::NOT_FOUND,
            StoreError::Invalid(_) => StatusCode::UNPROCESSABLE_ENTITY,
            _ => StatusCode::SERVICE_UNAVAILABLE,
        };
        Self::Told(status, error.to_string())
    }
}

impl ApiFailure {
    /// Bad input, with what to write instead.
    pub fn invalid(detail: impl Into<String>) -> Self {
        Self::Told(StatusCode::UNPROCESSABLE_ENTITY, detail.into())
    }
}

impl IntoResponse for ApiFailure {
    fn into_response(self) -> Response {
        let (status, problem) = match self {
            Self::Refused(refusal, reference) => {
                let reference = reference.unwrap_or_else(|| Reference::make(UnixTime::from_micros(0), 0));
                let status = StatusCode::from_u16(refusal.reason.status()).unwrap_or(StatusCode::FORBIDDEN);
                (status, serde_json::to_string(&refusal.problem(&reference)).unwrap_or_default())
            }
            Self::Told(status, title) => (
                status,
                json!({ "type": "about:blank", "title": title, "status": status.as_u16() }).to_string(),
            ),
        };
        (
            status,
            [(header::CONTENT_TYPE, "application/problem+json"), (header::CACHE_CONTROL, "no-store")],
            problem,
        )
            .into_response()
    }
}
