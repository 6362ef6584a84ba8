//! Access keys, for operators: their own, and those of a tenant.

use std::collections::BTreeSet;

use axum::{
    Json,
    body::Bytes,
    extract::{Path, State},
    http::StatusCode,
};
use ringfence_context::{By, Duty, OperatorRole, TenantId, id::Subject};
use serde::{Deserialize, Serialize};

use crate::{
    access_key::{KeyOwner, ShownKey},
    api::{
        Api,
        caller::{Operator, PolicyAuthor},
        failure::ApiFailure,
        map_audit::{by, reason},
    },
    operator::{OperatorError, Operators},
    tenant::{TenantError, TenantStatus},
};

/// A key. Its secret is shown once, where it is made.
#[derive(Serialize)]
pub struct Shown {
    id: String,
    owner: String,
    created: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    secret: Option<String>,
}

/// `GET /v1/access-keys`: those of operators.
///
/// # Errors
/// [`ApiFailure`].
pub async fn list(State(api): State<Api>, _: Operator) -> Result<Json<Vec<Shown>>, ApiFailure> {
    Ok(Json(api.access_keys.key_list(None).await?.into_iter().map(shown).collect()))
}

/// Whose a new key is to be.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct NewKey {
    operator: Option<Subject>,
}

/// `POST /v1/access-keys`: one of the operator who asks; or of an application's, which may do nothing but ask for
/// decisions. Nobody makes a key that acts as another person.
///
/// # Errors
/// [`ApiFailure`].
pub async fn create(
    State(api): State<Api>,
    asking: PolicyAuthor,
    body: Bytes,
) -> Result<(StatusCode, Json<Shown>), ApiFailure> {
    let wanted =
        if body.is_empty() { Ok(NewKey::default()) } else { serde_json::from_slice::<NewKey>(&body) };
    let wanted = wanted.map_err(|error| ApiFailure::invalid(error.to_string()))?;
    let own = asking.0.operator();
    let owner = match wanted.operator {
        Some(other) if other != *own => {
            asking.0.require(Duty::Operate)?;
            let all = Operators::new(api.workflow.records.clone()).operator_records().await?;
            let found = all.into_iter().find(|record| record.operator == other);
            if found.ok_or(OperatorError::Missing)?.roles != BTreeSet::from([OperatorRole::DecisionsOnly]) {
                let told = "only a key of a decisions-only operator is made by somebody else".to_owned();
                return Err(ApiFailure::Told(StatusCode::FORBIDDEN, told));
            }
            other
        }
        _ => own.clone(),
    };
    let by = by(&api, &asking.0, None);
    made(&api, KeyOwner::Operator(owner), &by).await
}

/// `DELETE /v1/access-keys/{id}`.
///
/// # Errors
/// [`ApiFailure`].
pub async fn delete(
    State(api): State<Api>,
    operator: Operator,
    Path(id): Path<String>,
) -> Result<StatusCode, ApiFailure> {
    let by = by(&api, &operator.0, None);
    gone(api.access_keys.key_delete(None, &id, &by).await?)
}

/// `GET /v1/tenants/{tenant}/access-keys`.
///
/// # Errors
/// [`ApiFailure`].
pub async fn tenant_list(
    State(api): State<Api>,
    _: Operator,
    Path(tenant): Path<TenantId>,
) -> Result<Json<Vec<Shown>>, ApiFailure> {
    Ok(Json(api.access_keys.key_list(Some(&tenant)).await?.into_iter().map(shown).collect()))
}

/// `POST /v1/tenants/{tenant}/access-keys`.
///
/// # Errors
/// [`ApiFailure`].
pub async fn tenant_create(
    State(api): State<Api>,
    operator: Operator,
    Path(tenant): Path<TenantId>,
    body: Bytes,
) -> Result<(StatusCode, Json<Shown>), ApiFailure> {
    let found = api.workflow.tenants.tenant_get(&tenant).await?.value;
    if found.status != TenantStatus::Active {
        return Err(TenantError::Status(found.status, "active").into());
    }
    let by = by(&api, &operator.0, reason(&body)?);
    made(&api, KeyOwner::Tenant(tenant), &by).await
}

/// `DELETE /v1/tenants/{tenant}/access-keys/{id}`.
///
/// # Errors
/// [`ApiFailure`].
pub async fn tenant_delete(
    State(api): State<Api>,
    operator: Operator,
    Path((tenant, id)): Path<(TenantId, String)>,
    body: Bytes,
) -> Result<StatusCode, ApiFailure> {
    let by = by(&api, &operator.0, reason(&body)?);
    gone(api.access_keys.key_delete(Some(&tenant), &id, &by).await?)
}

async fn made(api: &Api, owner: KeyOwner, by: &By) -> Result<(StatusCode, Json<Shown>), ApiFailure> {
    let (key, secret) = api.access_keys.key_create(owner, by).await?;
    Ok((StatusCode::CREATED, Json(Shown { secret: Some(secret.reveal().clone()), ..shown(key) })))
}

fn gone(found: bool) -> Result<StatusCode, ApiFailure> {
    if found {
        return Ok(StatusCode::NO_CONTENT);
    }
    Err(ApiFailure::Told(StatusCode::NOT_FOUND, "there is no such access key here".to_owned()))
}

fn shown(key: ShownKey) -> Shown {
    let owner = match key.owner {
        KeyOwner::Operator(operator) => format!("operator {operator}"),
        KeyOwner::Tenant(tenant) => format!("tenant {tenant}"),
    };
    Shown { id: key.id, owner, created: key.created, secret: None }
}
