//! Staged publish, for operators: an approved proposal decides for a share of a tenant's principals first, on the node
//! that is asked. That it begins and that it ends is in the tenant's audit.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Path, State},
    http::StatusCode,
};
use ringfence_authorization::{
    Governance,
    canary::{CanaryReport, Ended, Stage},
    govern::Author,
};
use ringfence_context::TenantId;
use serde::Deserialize;

use crate::api::{
    Api,
    body::Body,
    caller::{PolicyPublisher, Reader},
    failure::ApiFailure,
};

/// How often the end of a stage is written down again where other steps get in between.
const TRIES: usize = 10;

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
) -> Result<Json<CanaryReport>, ApiFailure> {
    let stage = Stage { percent, most_rise };
    stage.check().map_err(ApiFailure::invalid)?;
    let terms = api.workflow.terms(&tenant).await?;
    let governance = api.workflow.governance.clone();
    let (document, base) = governance.stage(&tenant, number, terms, Author::from(&by), stage).await?;
    let canaries = Arc::clone(&api.canaries);
    let starting = tokio::task::spawn_blocking(move || canaries.start(number, &document, base, stage));
    let started = starting.await.map_err(|_| ApiFailure::invalid("it could not be compiled"))?;
    let canary = match started {
        Ok(canary) => canary,
        Err(told) => {
            unstage(&governance, &tenant, number, format!("it did not begin: {told}")).await;
            return Err(ApiFailure::Told(StatusCode::CONFLICT, told));
        }
    };
    let report = canary.report();
    tokio::spawn(async move {
        let ended = canary.over().await;
        tracing::warn!(%tenant, proposal = number, ?ended, "a proposal no longer decides for a share");
        unstage(&governance, &tenant, number, said(&ended)).await;
    });
    Ok(Json(report))
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
    api.canaries.report(&tenant).map(Json).ok_or_else(none)
}

/// `DELETE /v1/tenants/{tenant}/canary`.
///
/// # Errors
/// [`ApiFailure`].
pub async fn stop(
    State(api): State<Api>,
    _: PolicyPublisher,
    Path(tenant): Path<TenantId>,
) -> Result<Json<CanaryReport>, ApiFailure> {
    api.canaries.stop(&tenant).map(Json).ok_or_else(none)
}

fn none() -> ApiFailure {
    ApiFailure::Told(StatusCode::NOT_FOUND, "no proposal of this tenant decides for a share here".to_owned())
}

fn said(ended: &Ended) -> String {
    match ended {
        Ended::Stopped => "it was stopped".to_owned(),
        Ended::Replaced => "its next stage began".to_owned(),
        Ended::Rise { asked, lost, failed } => {
            format!(
                "rolled back: of {asked} questions {lost} were refused that what serves allows, {failed} by an error"
            )
        }
        Ended::BaseChanged => "another version serves".to_owned(),
    }
}

/// Writes the end down. The share is no longer served by then, whether or not this succeeds.
async fn unstage(governance: &Governance, tenant: &TenantId, number: u64, why: String) {
    for _ in 0..TRIES {
        match governance.unstage(tenant, number, Author::Plane, why.clone()).await {
            Ok(()) => return,
            Err(error) => {
                tracing::warn!(%tenant, proposal = number, %error, "the end of a share is not on record yet")
            }
        }
    }
}
