//! Moving a tenant's rows between shapes, for operators.

use axum::{
    Json,
    extract::{Path, State},
    http::StatusCode,
};
use ringfence_context::{ChangeReason, TenantId};
use serde::Deserialize;

use crate::{
    api::{Api, body::Body, caller::Operator, failure::ApiFailure, map_audit::by},
    data::Shape,
    data_move::DataMoveShown,
};

/// A move to be begun.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewMove {
    to: Shape,
    reason: Option<ChangeReason>,
}

/// `POST /v1/tenants/{tenant}/data-move`: begins one, which is driven until the tenant is switched.
///
/// # Errors
/// [`ApiFailure`]: 409 where one is open, or the tenant is in no state for it.
pub async fn begin(
    State(api): State<Api>,
    operator: Operator,
    Path(tenant): Path<TenantId>,
    Body(new): Body<NewMove>,
) -> Result<(StatusCode, Json<DataMoveShown>), ApiFailure> {
    let by = by(&api, &operator.0, new.reason);
    Ok((StatusCode::ACCEPTED, Json(api.workflow.data_move_begin(&tenant, new.to, &by).await?)))
}

/// `GET /v1/tenants/{tenant}/data-move`: the latest, and how far it is.
///
/// # Errors
/// [`ApiFailure`].
pub async fn show(
    State(api): State<Api>,
    _: Operator,
    Path(tenant): Path<TenantId>,
) -> Result<Json<DataMoveShown>, ApiFailure> {
    Ok(Json(api.workflow.data_move_show(&tenant).await?))
}

/// `DELETE /v1/tenants/{tenant}/data-move`: ends one that is not made yet.
///
/// # Errors
/// [`ApiFailure`]: 409 where it is made.
pub async fn stop(
    State(api): State<Api>,
    _: Operator,
    Path(tenant): Path<TenantId>,
) -> Result<(StatusCode, Json<DataMoveShown>), ApiFailure> {
    Ok((StatusCode::ACCEPTED, Json(api.workflow.data_move_stop(&tenant).await?)))
}

/// `POST /v1/tenants/{tenant}/data-move/confirm`: removes where the tenant was.
///
/// # Errors
/// [`ApiFailure`]: 409 where it is not made.
pub async fn confirm(
    State(api): State<Api>,
    _: Operator,
    Path(tenant): Path<TenantId>,
) -> Result<(StatusCode, Json<DataMoveShown>), ApiFailure> {
    Ok((StatusCode::ACCEPTED, Json(api.workflow.data_move_confirm(&tenant).await?)))
}

/// `POST /v1/tenants/{tenant}/data-move/undo`: brings the tenant back, with what was written since.
///
/// # Errors
/// [`ApiFailure`]: 409 where it is not made.
pub async fn undo(
    State(api): State<Api>,
    _: Operator,
    Path(tenant): Path<TenantId>,
) -> Result<(StatusCode, Json<DataMoveShown>), ApiFailure> {
    Ok((StatusCode::ACCEPTED, Json(api.workflow.data_move_undo(&tenant).await?)))
}
