//! Migrations of every database that tenants' rows are in, for operators.

use axum::{Json, extract::State, http::StatusCode};
use ringfence_context::limits;
use serde::Serialize;

use crate::{
    api::{Api, body::Body, caller::Operator, failure::ApiFailure},
    data::{Pace, Progress, Standing},
    tenant::{Tenant, TenantError},
};

/// Who is where, and what the last run has come to.
#[derive(Debug, Serialize)]
pub struct Migrations {
    progress: Progress,
    databases: Vec<Standing>,
}

/// `GET /v1/migrations`.
///
/// # Errors
/// [`ApiFailure`].
pub async fn show(State(api): State<Api>, _: Operator) -> Result<Json<Migrations>, ApiFailure> {
    let data = &api.workflow.data;
    let progress = data.migrations();
    // While a run goes on, its progress is asked for often, and where each is would change as it is told.
    let databases = if progress.running {
        Vec::new()
    } else {
        data.standings(&tenants(&api).await?).await.map_err(TenantError::Data)?
    };
    Ok(Json(Migrations { progress, databases }))
}

/// `POST /v1/migrations`: begins a run, which ends by itself.
///
/// # Errors
/// [`ApiFailure`]: 409 where one goes on.
pub async fn begin(
    State(api): State<Api>,
    _: Operator,
    Body(pace): Body<Pace>,
) -> Result<(StatusCode, Json<Progress>), ApiFailure> {
    if !(1..=limits::MIGRATIONS_AT_ONCE).contains(&pace.concurrency) {
        let most = limits::MIGRATIONS_AT_ONCE;
        return Err(ApiFailure::invalid(format!("concurrency is from 1 to {most}")));
    }
    let data = &api.workflow.data;
    if !data.migrate(&tenants(&api).await?, pace).map_err(TenantError::Data)? {
        return Err(ApiFailure::Told(StatusCode::CONFLICT, "a run goes on: wait for its end".to_owned()));
    }
    Ok((StatusCode::ACCEPTED, Json(data.migrations())))
}

async fn tenants(api: &Api) -> Result<Vec<Tenant>, ApiFailure> {
    let mut all: Vec<Tenant> = Vec::new();
    loop {
        let after = all.last().map(|tenant| tenant.id.to_string());
        let page = api.workflow.tenants.tenant_list(after.as_deref(), 500).await?;
        if page.is_empty() {
            return Ok(all);
        }
        all.extend(page);
    }
}
