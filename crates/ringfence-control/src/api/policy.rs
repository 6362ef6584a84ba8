//! Policies of a tenant, for operators. What does not fit the schema or is not proved safe is refused and nothing changes.

use std::collections::BTreeMap;

use axum::{
    Json,
    extract::{Path, State},
};
use ringfence_authorization::{Standing, StoreDocument};
use ringfence_context::{TenantId, id::StoreId};
use serde::Serialize;

use crate::{
    api::{Api, caller::Operator, failure::ApiFailure},
    tenant::TenantError,
};

/// A tenant's policies, without the platform's.
#[derive(Debug, Serialize)]
pub struct Shown {
    policy_store_id: StoreId,
    schema: String,
    policies: BTreeMap<String, String>,
    templates: BTreeMap<String, String>,
    revision: u64,
}

/// `GET /v1/tenants/{tenant}/policies`.
///
/// # Errors
/// [`ApiFailure`].
pub async fn list(
    State(api): State<Api>,
    _: Operator,
    Path(tenant): Path<TenantId>,
) -> Result<Json<Shown>, ApiFailure> {
    let (document, revision) = api.workflow.stores.document(&tenant).await?;
    let policy_store_id = document.id;
    let (schema, policies, templates) = (document.schema, document.policies, document.templates);
    Ok(Json(Shown { policy_store_id, schema, policies, templates, revision }))
}

/// What has been published.
#[derive(Debug, Serialize)]
pub struct Published {
    #[serde(flatten)]
    standing: Standing,
}

/// `PUT /v1/tenants/{tenant}/policies/{name}` with the policy's text.
///
/// # Errors
/// [`ApiFailure`].
pub async fn put(
    State(api): State<Api>,
    _: Operator,
    Path((tenant, name)): Path<(TenantId, String)>,
    text: String,
) -> Result<Json<Published>, ApiFailure> {
    let put = |document: &mut StoreDocument| {
        document.policies.insert(name, text);
        Ok(())
    };
    Ok(Json(Published { standing: api.workflow.policies_change(&tenant, put).await? }))
}

/// `DELETE /v1/tenants/{tenant}/policies/{name}`.
///
/// # Errors
/// [`ApiFailure`].
pub async fn delete(
    State(api): State<Api>,
    _: Operator,
    Path((tenant, name)): Path<(TenantId, String)>,
) -> Result<Json<Published>, ApiFailure> {
    let remove = |document: &mut StoreDocument| match document.policies.remove(&name) {
        Some(_) => Ok(()),
        None => Err(TenantError::NoPolicy(name)),
    };
    Ok(Json(Published { standing: api.workflow.policies_change(&tenant, remove).await? }))
}
