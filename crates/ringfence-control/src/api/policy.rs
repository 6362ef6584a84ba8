//! Policies of a tenant, for operators. What does not fit the schema or is not proved safe is refused and nothing changes;
//! what takes effect is the tenant's next version.

use std::collections::BTreeMap;

use axum::{
    Json,
    extract::{Path, Query, State},
};
use ringfence_authorization::govern::{Author, Change, Published, StoreEdit};
use ringfence_context::{TenantId, id::StoreId};
use serde::{Deserialize, Serialize};

use crate::api::{
    Api,
    caller::{PolicyAuthor, Reader},
    failure::ApiFailure,
    revision::{Told, told},
    version::Because,
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
    _: Reader,
    Path(tenant): Path<TenantId>,
) -> Result<Json<Shown>, ApiFailure> {
    let (document, revision) = api.workflow.stores.document(&tenant).await?;
    let policy_store_id = document.id;
    let (schema, policies, templates) = (document.schema, document.policies, document.templates);
    Ok(Json(Shown { policy_store_id, schema, policies, templates, revision }))
}

/// Why a policy is changed, where it is said.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Why {
    reason: Option<String>,
}

/// `PUT /v1/tenants/{tenant}/policies/{name}?reason=…` with the policy's text.
///
/// # Errors
/// [`ApiFailure`].
pub async fn put(
    State(api): State<Api>,
    author: PolicyAuthor,
    Path((tenant, name)): Path<(TenantId, String)>,
    Query(why): Query<Why>,
    text: String,
) -> Result<(Told, Json<Published>), ApiFailure> {
    change(&api, &tenant, &author, why, StoreEdit::put(name, text)).await
}

/// `DELETE /v1/tenants/{tenant}/policies/{name}?reason=…`.
///
/// # Errors
/// [`ApiFailure`].
pub async fn delete(
    State(api): State<Api>,
    author: PolicyAuthor,
    Path((tenant, name)): Path<(TenantId, String)>,
    Query(why): Query<Why>,
) -> Result<(Told, Json<Published>), ApiFailure> {
    change(&api, &tenant, &author, why, StoreEdit::delete(name)).await
}

async fn change(
    api: &Api,
    tenant: &TenantId,
    author: &PolicyAuthor,
    why: Why,
    edit: StoreEdit,
) -> Result<(Told, Json<Published>), ApiFailure> {
    let reason = why.reason.unwrap_or_else(|| "no reason given".to_owned());
    let change = Change::now(Author::from(author), Because { reason }.reason()?);
    let apply = |document: &mut _| edit.apply(document);
    let published = api.workflow.policies_change(tenant, apply, change).await?;
    Ok((told(api, tenant, published.revision), Json(published)))
}
