//! Tenants, for operators.

use std::collections::HashMap;

use axum::{
    Json,
    extract::{Path, State},
    http::StatusCode,
};
use ringfence_authorization::{Mode, StoresError};
use ringfence_context::{ChangeReason, TenantId};
use serde::{Deserialize, Serialize};

use crate::{
    api::{Api, caller::Operator, failure::ApiFailure, map_audit::by},
    data::Shape,
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
    reason: Option<ChangeReason>,
}

fn standard() -> String {
    "standard".to_owned()
}

/// A tenant with its addresses.
#[derive(Debug, Serialize)]
pub struct Shown {
    #[serde(flatten)]
    tenant: Tenant,
    /// How its rows are kept from others'.
    data: Shape,
    issuer: String,
    host: String,
    /// Where its policies are kept; nothing while it is half made or removed.
    policy_store: Option<Mode>,
    /// What its operator should know of how it was made.
    #[serde(skip_serializing_if = "Option::is_none")]
    alert: Option<String>,
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
            let held = held(&api).await?;
            let served = all.into_iter().filter(|tenant| tenant.status != TenantStatus::Gone);
            let shown = |tenant: Tenant| {
                let mode = held.get(&tenant.id).copied();
                shown(&api, tenant, mode)
            };
            return Ok(Json(served.map(shown).collect()));
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
    operator: Operator,
    Json(new): Json<NewTenant>,
) -> Result<(StatusCode, Json<Shown>), ApiFailure> {
    let id = TenantId::new(&new.id).map_err(|error| ApiFailure::invalid(error.to_string()))?;
    let display_name = new.display_name.unwrap_or_else(|| id.to_string());
    let by = by(&api, &operator.0, new.reason);
    let tenant = api.workflow.onboard(id, &display_name, &new.tier, &by).await?;
    let mut made = shown_now(&api, tenant).await?;
    let place = api.workflow.places.place(&new.tier);
    if let (Mode::Own, Some(Mode::Shared), Some(most)) = (place.mode, made.policy_store, place.own_stores) {
        let tier = &new.tier;
        made.alert = Some(format!(
            "all {most} policy stores of their own in the tier \"{tier}\" are used up: this tenant's policies are in the shared store"
        ));
    }
    Ok((StatusCode::CREATED, Json(made)))
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
    Ok(Json(shown_now(&api, api.workflow.tenants.tenant_get(&id).await?.value).await?))
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
    Ok(Json(shown_now(&api, api.workflow.suspend(&id).await?).await?))
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
    Ok(Json(shown_now(&api, api.workflow.resume(&id).await?).await?))
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

/// Where tenants' policies are kept.
async fn held(api: &Api) -> Result<HashMap<TenantId, Mode>, ApiFailure> {
    let (mut held, mut after) = (HashMap::new(), None::<String>);
    loop {
        let page = api.workflow.stores.held_list(after.as_deref(), 500).await?;
        let Some((last, _)) = page.last() else { return Ok(held) };
        after = Some(last.to_string());
        held.extend(page);
    }
}

async fn shown_now(api: &Api, tenant: Tenant) -> Result<Shown, ApiFailure> {
    let mode = match api.workflow.stores.held(&tenant.id).await {
        Ok((mode, _)) => Some(mode),
        Err(StoresError::Missing) => None,
        Err(error) => return Err(error.into()),
    };
    Ok(shown(api, tenant, mode))
}

fn shown(api: &Api, tenant: Tenant, policy_store: Option<Mode>) -> Shown {
    let addresses = api.workflow.directory.addresses();
    Shown {
        issuer: addresses.issuer(&tenant.id),
        host: format!("{}.{}", tenant.id, addresses.host_suffix),
        policy_store,
        alert: None,
        data: tenant.place.shape(),
        tenant,
    }
}
