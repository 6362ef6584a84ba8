//! Policies of a tenant, for operators. What does not fit the schema is refused and nothing changes.

use std::collections::BTreeMap;

use axum::{
    Json,
    extract::{Path, State},
    http::StatusCode,
};
use ringfence_context::{TenantId, id::StoreId};
use serde::Serialize;

use crate::api::{Api, caller::Operator, failure::ApiFailure};

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

/// `PUT /v1/tenants/{tenant}/policies/{name}` with the policy's text.
///
/// # Errors
/// [`ApiFailure`].
pub async fn put(
    State(api): State<Api>,
    _: Operator,
    Path((tenant, name)): Path<(TenantId, String)>,
    text: String,
) -> Result<StatusCode, ApiFailure> {
    let (mut document, revision) = api.workflow.stores.document(&tenant).await?;
    document.policies.insert(name, text);
    api.workflow.stores.document_put(&document, revision).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// `DELETE /v1/tenants/{tenant}/policies/{name}`.
///
/// # Errors
/// [`ApiFailure`].
pub async fn delete(
    State(api): State<Api>,
    _: Operator,
    Path((tenant, name)): Path<(TenantId, String)>,
) -> Result<StatusCode, ApiFailure> {
    let (mut document, revision) = api.workflow.stores.document(&tenant).await?;
    if document.policies.remove(&name).is_none() {
        return Err(ApiFailure::Told(StatusCode::NOT_FOUND, format!("there is no policy \"{name}\"")));
    }
    api.workflow.stores.document_put(&document, revision).await?;
    Ok(StatusCode::NO_CONTENT)
}
