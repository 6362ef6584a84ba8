//! Types for a backend from a tenant's schema, for operators who may see policies.

use axum::{
    Json,
    extract::{Path, Query, State},
};
use ringfence_authorization::types::{Language, types};
use ringfence_context::TenantId;
use serde::{Deserialize, Serialize};

use crate::api::{Api, caller::Reader, failure::ApiFailure};

/// What they are written in.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wanted {
    language: Language,
}

/// What was written.
#[derive(Debug, Serialize)]
pub struct Written {
    text: String,
}

/// `GET /v1/tenants/{tenant}/types?language=rust|typescript|python`.
///
/// # Errors
/// [`ApiFailure`].
pub async fn show(
    State(api): State<Api>,
    _: Reader,
    Path(tenant): Path<TenantId>,
    Query(wanted): Query<Wanted>,
) -> Result<Json<Written>, ApiFailure> {
    let (document, _) = api.workflow.stores.document(&tenant).await?;
    // A schema may be long, and is read anew: off the threads that serve.
    let written = tokio::task::spawn_blocking(move || types(&document, wanted.language)).await;
    let text = written.map_err(|_| ApiFailure::invalid("the schema can't be read"))?;
    let text = text.map_err(|fault| ApiFailure::invalid(fault.to_string()))?;
    Ok(Json(Written { text }))
}
