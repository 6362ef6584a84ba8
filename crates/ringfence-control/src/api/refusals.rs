//! What a backend refused by itself, into the decision log.
//!
//! A backend says what it saw, not what is true: the log keeps it as the backend's word, of no tenant, for operators.

use axum::{
    Json,
    extract::{FromRequestParts, State},
    http::{StatusCode, request::Parts},
};
use ringfence_context::{Layer, Part, Reason, Reference, Refusal, Verdict, limits};
use serde::Deserialize;

use crate::api::{Api, caller, failure::ApiFailure};

/// A backend that holds the key shared with the gateway.
pub struct Backend(());

impl FromRequestParts<Api> for Backend {
    type Rejection = ApiFailure;

    async fn from_request_parts(head: &mut Parts, api: &Api) -> Result<Self, ApiFailure> {
        if api.binding.is_reporter(caller::bearer(&head.headers)?) {
            return Ok(Self(()));
        }
        Err(Refusal::new(Layer::Identity, Reason::TokenInvalid, "not the backend's token").into())
    }
}

/// What is told.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Told {
    lost: u64,
    refusals: Vec<Refused>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Refused {
    reference: Reference,
    layer: Layer,
    reason: Reason,
    detail: String,
}

/// `POST /v1/refusals`.
///
/// # Errors
/// [`ApiFailure`]: not the backend, or more than [`limits::REFUSALS_TOLD`] at once.
pub async fn tell(
    State(api): State<Api>,
    _: Backend,
    Json(told): Json<Told>,
) -> Result<StatusCode, ApiFailure> {
    let too_long = |refused: &Refused| refused.detail.len() > limits::REFUSAL_DETAIL_BYTES;
    if told.refusals.len() > limits::REFUSALS_TOLD || told.refusals.iter().any(too_long) {
        return Err(ApiFailure::invalid(format!(
            "at most {} refusals at once, each told in at most {} bytes",
            limits::REFUSALS_TOLD,
            limits::REFUSAL_DETAIL_BYTES
        )));
    }
    if told.lost > 0 {
        tracing::warn!(lost = told.lost, "refusals of the backend are missing from the decision log");
    }
    for Refused { reference, layer, reason, detail } in told.refusals {
        let verdict = Verdict::passed(reference, api.clock.now(), Part::Backend, &[]);
        api.record.record(Verdict { refused: Some((layer, reason)), detail: detail.into(), ..verdict });
    }
    Ok(StatusCode::NO_CONTENT)
}
