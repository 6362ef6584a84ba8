//! Staged publish, for operators: an approved proposal decides for a share of a tenant's principals first, on every node.
//! That it begins and that it ends is in the tenant's audit.

use axum::{
    Json,
    extract::{Path, State},
    http::StatusCode,
};
use ringfence_authorization::{
    canary::{CanaryReport, Ended, Stage},
    govern::{Author, How, Trial},
};
use ringfence_context::TenantId;
use ringfence_store::Follows;
use serde::Deserialize;

use crate::api::{
    Api,
    body::Body,
    caller::{PolicyPublisher, Reader},
    failure::ApiFailure,
    revision::{Told, told},
};

/// A stage to begin.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewStage {
    percent: u8,
    #[serde(default = "two")]
    most_rise: u8,
}

fn two() -> u8 {
    2
}

/// `POST /v1/tenants/{tenant}/proposals/{number}/canary`.
///
/// # Errors
/// [`ApiFailure`].
pub async fn start(
    State(api): State<Api>,
    by: PolicyPublisher,
    Path((tenant, number)): Path<(TenantId, u64)>,
    Body(NewStage { percent, most_rise }): Body<NewStage>,
) -> Result<(Told, Json<CanaryReport>), ApiFailure> {
    let stage = Stage { percent, most_rise };
    stage.check().map_err(ApiFailure::invalid)?;
    let terms = api.workflow.terms(&tenant).await?;
    api.workflow.governance.stage(&tenant, number, terms, Author::from(&by), stage).await?;
    api.trials.refresh().await?;
    Ok((told(&api, &tenant, api.trials.reached()), report(&api, &tenant).await?))
}

/// `GET /v1/tenants/{tenant}/canary`.
///
/// # Errors
/// [`ApiFailure`].
pub async fn show(
    State(api): State<Api>,
    _: Reader,
    Path(tenant): Path<TenantId>,
) -> Result<Json<CanaryReport>, ApiFailure> {
    report(&api, &tenant).await
}

/// `DELETE /v1/tenants/{tenant}/canary`.
///
/// # Errors
/// [`ApiFailure`].
pub async fn stop(
    State(api): State<Api>,
    by: PolicyPublisher,
    Path(tenant): Path<TenantId>,
) -> Result<(Told, Json<CanaryReport>), ApiFailure> {
    let governance = &api.workflow.governance;
    governance.unstage(&tenant, None, Author::from(&by), Ended::Stopped).await?.ok_or_else(none)?;
    api.trials.refresh().await?;
    Ok((told(&api, &tenant, api.trials.reached()), report(&api, &tenant).await?))
}

/// What is on record of the latest stage, with what this node has counted of it.
async fn report(api: &Api, tenant: &TenantId) -> Result<Json<CanaryReport>, ApiFailure> {
    let found = api.workflow.governance.share_get(tenant).await?.ok_or_else(none)?;
    let Trial { how: How::Share { stage, .. }, proposal, ended, .. } = found else { return Err(none()) };
    let counted = api.canaries.report(tenant);
    let counted = counted.filter(|counted| (counted.proposal, counted.stage) == (proposal, stage));
    let none = CanaryReport { proposal, stage, asked: 0, gained: 0, lost: 0, ended: None };
    let counted = counted.unwrap_or(none);
    Ok(Json(CanaryReport { ended: ended.or(counted.ended), ..counted }))
}

fn none() -> ApiFailure {
    ApiFailure::Told(StatusCode::NOT_FOUND, "no proposal of this tenant decides for a share".to_owned())
}
