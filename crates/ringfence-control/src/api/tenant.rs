//! Tenants, for operators.

use axum::{
    Json,
    extract::{Path, State},
    http::StatusCode,
};
use ringfence_context::TenantId;
use serde::{Deserialize, Serialize};

use crate::{
    api::{Api, caller::Operator, failure::ApiFailure},
    tenant::{Tenant, TenantStatus},
};

/// A tenant to be made.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewTenant {
    id: String,
    display_name: Option<String>,
    #[serde(default = "standard")]
    tier: String,
}

fn standard() -> String {
    "standard".to_owned()
}

/// A tenant with its addresses.
#[derive(Debug, Serialize)]
pub struct Shown {
    #[serde(flatten)]
    tenant: Tenant,
    issuer: String,
    host: String,
}

/// What was removed.
#[derive(Debug, Serialize)]
pub struct Removed {
    rows: u64,
}

/// `GET /v1/tenants`.
///
/// # Errors
/// [`ApiFailure`].
pub async fn list(State(api): State<Api>, _: Operator) -> Result<Json<Vec<Shown>>, ApiFailure> {
    let mut all: Vec<Tenant> = Vec::new();
    loop {
        let after = all.last().map(|tenant| tenant.id.to_string());
        let page = api.workflow.tenants.tenant_list(after.as_deref(), 500).await?;
        if page.is_empty() {
            let served = all.into_iter().filter(|tenant| tenant.status != TenantStatus::Gone);
            return Ok(Json(served.map(|tenant| shown(&api, tenant)).collect()));
        }
        all.extend(page);
    }
}

/// `POST /v1/tenants`.
///
/// # Errors
/// [`ApiFailure`].
pub async fn create(
    State(api): State<Api>,
    _: Operator,
    Json(new): Json<NewTenant>,
) -> Result<(StatusCode, Json<Shown>), ApiFailure> {
    let id = TenantId::new(&new.id).map_err(|error| ApiFailure::invalid(error.to_string()))?;
    let display_name = new.display_name.unwrap_or_else(|| id.to_string());
    let tenant = api.workflow.onboard(id, &display_name, &new.tier).await?;
    Ok((StatusCode::CREATED, Json(shown(&api, tenant))))
}

/// `GET /v1/tenants/{tenant}`.
///
/// # Errors
/// [`ApiFailure`].
pub async fn show(
    State(api): State<Api>,
    _: Operator,
    Path(id): Path<TenantId>,
) -> Result<Json<Shown>, ApiFailure> {
    Ok(Json(shown(&api, api.workflow.tenants.tenant_get(&id).await?.value)))
}

/// `POST /v1/tenants/{tenant}/suspend`.
///
/// # Errors
/// [`ApiFailure`].
pub async fn suspend(
    State(api): State<Api>,
    _: Operator,
    Path(id): Path<TenantId>,
) -> Result<Json<Shown>, ApiFailure> {
    Ok(Json(shown(&api, api.workflow.suspend(&id).await?)))
}

/// `POST /v1/tenants/{tenant}/resume`.
///
/// # Errors
/// [`ApiFailure`].
pub async fn resume(
    State(api): State<Api>,
    _: Operator,
    Path(id): Path<TenantId>,
) -> Result<Json<Shown>, ApiFailure> {
    Ok(Json(shown(&api, api.workflow.resume(&id).await?)))
}

/// `DELETE /v1/tenants/{tenant}`: with its users, policies and rows, for good.
///
/// # Errors
/// [`ApiFailure`].
pub async fn delete(
    State(api): State<Api>,
    _: Operator,
    Path(id): Path<TenantId>,
) -> Result<Json<Removed>, ApiFailure> {
    Ok(Json(Removed { rows: api.workflow.offboard(&id).await? }))
}

fn shown(api: &Api, tenant: Tenant) -> Shown {
    let addresses = api.workflow.directory.addresses();
    Shown {
        issuer: addresses.issuer(&tenant.id),
        host: format!("{}.{}", tenant.id, addresses.host_suffix),
        tenant,
    }
}
