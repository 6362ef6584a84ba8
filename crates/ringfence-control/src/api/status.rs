//! How this node is doing: how current its policies are, and how long changes take to be enforced.

use axum::{Json, extract::State};
use ringfence_authorization::lag::Currency;
use serde::Serialize;

use crate::api::{Api, caller::Reader};

/// This node.
#[derive(Debug, Serialize)]
pub struct Status {
    policies: Currency,
}

/// `GET /v1/status`. Names no tenant.
pub async fn show(State(api): State<Api>, _: Reader) -> Json<Status> {
    Json(Status { policies: api.workflow.stores.currency() })
}
