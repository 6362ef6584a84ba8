//! How this node is doing: how current its policies are, how long changes take to be enforced, and where each tier's policy
//! stores are kept.

use std::collections::BTreeMap;

use axum::{Json, extract::State};
use ringfence_authorization::lag::Currency;
use serde::Serialize;

use crate::{
    api::{Api, caller::Reader, failure::ApiFailure},
    store_place::Use,
};

/// This node.
#[derive(Debug, Serialize)]
pub struct Status {
    policies: Currency,
    /// By tier.
    stores: BTreeMap<String, Use>,
}

/// `GET /v1/status`. Names no tenant.
///
/// # Errors
/// [`ApiFailure`].
pub async fn show(State(api): State<Api>, _: Reader) -> Result<Json<Status>, ApiFailure> {
    let stores = api.workflow.places.uses().await?;
    Ok(Json(Status { policies: api.workflow.stores.currency(), stores }))
}
