//! What a request can end in, as a client sees it: the chain's refusals, and the app's own few.

use axum::{
    body::Body,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use ringfence_sdk::{
    DatabaseError, TenantSession,
    context::{Reference, Refusal},
    layer::refuse,
};
use serde_json::json;

/// Why a handler gave no answer.
pub enum Failure {
    /// A layer refused.
    Refused(Refusal, Reference),
    /// Not there, or not yours: they look the same.
    NotFound,
    /// The request names something that can't be, with what.
    Invalid(&'static str),
}

impl Failure {
    /// A database error in this request.
    pub fn database(session: &TenantSession) -> impl Fn(DatabaseError) -> Self {
        let reference = session.reference().clone();
        move |error| match error {
            DatabaseError::Refused(refusal) => Self::Refused(refusal, reference.clone()),
            DatabaseError::Statement(_) => {
                Self::Invalid("something named in the request does not exist or does not fit")
            }
        }
    }

    /// A statement's error in this request.
    pub fn statement(session: &TenantSession) -> impl Fn(tokio_postgres::Error) -> Self {
        let classified = Self::database(session);
        move |error| classified(ringfence_sdk::database::classify(error))
    }

    /// A refusal in this request.
    pub fn refused(session: &TenantSession) -> impl Fn(Refusal) -> Self {
        let reference = session.reference().clone();
        move |refusal| Self::Refused(refusal, reference.clone())
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let (status, title) = match self {
            Self::Refused(refusal, reference) => return refuse::<Body>(&refusal, Some(&reference)),
            Self::NotFound => (StatusCode::NOT_FOUND, "There is nothing here."),
            Self::Invalid(title) => (StatusCode::UNPROCESSABLE_ENTITY, title),
        };
        let problem = json!({ "type": "about:blank", "title": title, "status": status.as_u16() });
        (status, [(header::CONTENT_TYPE, "application/problem+json")], problem.to_string()).into_response()
    }
}
