//! Stored entities of a tenant, for operators. What does not fit the schema or claims another tenant changes nothing.

use axum::{
    Json,
    body::Bytes,
    extract::{Path, Query, State},
    http::StatusCode,
};
use ringfence_authorization::{
    EntityFault, Facts, Principal, Resource,
    entities::{Asked, EntityForm, EntityView, Explanation, Uid},
};
use ringfence_context::{Layer, Reason, Refusal, TenantId, limits, strict_json};
use serde::{Deserialize, Serialize};

use crate::api::{
    Api,
    authzen::pool_roles,
    caller::Operator,
    failure::ApiFailure,
    revision::{Told, told},
};

/// Most entities shown at once.
const PAGE: u32 = 500;

/// Which to show.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Which {
    /// Only of this full type.
    #[serde(rename = "type")]
    kind: Option<String>,
    /// Only after this place.
    after: Option<String>,
}

/// Stored entities.
#[derive(Debug, Serialize)]
pub struct Listed {
    entities: Vec<EntityView>,
    /// Where to go on, if there may be more.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

/// What was changed.
#[derive(Debug, Serialize)]
pub struct Changed {
    uid: Uid,
    revision: u64,
}

/// A check to be explained: types, actions and ids as in AuthZEN.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Check {
    subject: Named,
    action: Action,
    resource: Named,
    #[serde(default)]
    context: Facts,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Named {
    #[serde(rename = "type")]
    kind: String,
    id: String,
    #[serde(default)]
    properties: Facts,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Action {
    name: String,
}

/// `GET /v1/tenants/{tenant}/entities`.
///
/// # Errors
/// [`ApiFailure`].
pub async fn list(
    State(api): State<Api>,
    _: Operator,
    Path(tenant): Path<TenantId>,
    Query(which): Query<Which>,
) -> Result<Json<Listed>, ApiFailure> {
    let Which { kind, after } = which;
    let stores = &api.workflow.stores;
    let listed = stores.entity_list(&tenant, kind.as_deref(), after.as_deref(), PAGE).await?;
    let full = listed.len() >= usize::try_from(PAGE).unwrap_or(usize::MAX);
    let next = listed.last().filter(|_| full).map(|(place, _)| place.clone());
    Ok(Json(Listed { entities: listed.into_iter().map(|(_, entity)| entity).collect(), next }))
}

/// `PUT /v1/tenants/{tenant}/entities` with an entity in Cedar's JSON.
///
/// # Errors
/// [`ApiFailure`].
pub async fn put(
    State(api): State<Api>,
    _: Operator,
    Path(tenant): Path<TenantId>,
    body: Bytes,
) -> Result<(Told, Json<Changed>), ApiFailure> {
    if body.len() > limits::ENTITY_BYTES {
        return Err(ApiFailure::invalid("an entity has at most 64 KiB"));
    }
    let value = strict_json::value(&body, limits::AUTHZEN_JSON_DEPTH);
    let form = value.and_then(serde_json::from_value::<EntityForm>);
    let form = form.map_err(|error| {
        ApiFailure::invalid(format!(
            "not an entity, {{\"uid\":{{\"type\",\"id\"}},\"attrs\":{{}},\"parents\":[{{\"type\",\"id\"}}]}}: {error}"
        ))
    })?;
    let uid = form.uid.clone();
    let revision = api.workflow.stores.entity_put(&tenant, form).await?;
    Ok((told(&api, &tenant, revision), Json(Changed { uid, revision })))
}

/// `GET /v1/tenants/{tenant}/entities/{type}/{id}`.
///
/// # Errors
/// [`ApiFailure`].
pub async fn show(
    State(api): State<Api>,
    _: Operator,
    Path((tenant, kind, id)): Path<(TenantId, String, String)>,
) -> Result<Json<EntityView>, ApiFailure> {
    Ok(Json(api.workflow.stores.entity_get(&tenant, &Uid { kind, id }).await?))
}

/// `DELETE /v1/tenants/{tenant}/entities/{type}/{id}`.
///
/// # Errors
/// [`ApiFailure`].
pub async fn delete(
    State(api): State<Api>,
    _: Operator,
    Path((tenant, kind, id)): Path<(TenantId, String, String)>,
) -> Result<(Told, Json<Changed>), ApiFailure> {
    let uid = Uid { kind, id };
    let revision = api.workflow.stores.entity_delete(&tenant, &uid).await?;
    Ok((told(&api, &tenant, revision), Json(Changed { uid, revision })))
}

/// `POST /v1/tenants/{tenant}/entities/explain`.
///
/// # Errors
/// [`ApiFailure`].
pub async fn explain(
    State(api): State<Api>,
    _: Operator,
    Path(tenant): Path<TenantId>,
    Json(check): Json<Check>,
) -> Result<Json<Explanation>, ApiFailure> {
    let Check { subject, action, resource, context } = check;
    let roles = pool_roles(&api, &tenant, &subject.kind, &subject.id).await?;
    let principal = Principal { kind: subject.kind, id: subject.id, roles, attributes: subject.properties };
    let resource = Resource {
        kind: resource.kind,
        id: resource.id,
        tenant: tenant.clone(),
        attributes: resource.properties,
    };
    let asked = Asked { principal: &principal, action: &action.name, resource: &resource, facts: &context };
    let explained = api.workflow.stores.explain(&tenant, &asked).await;
    explained.map(Json).map_err(|refusal: Refusal| match refusal.reason {
        // To an operator in words.
        Reason::PolicyError | Reason::SourcesDisagree => ApiFailure::invalid(refusal.detail),
        _ => refusal.into(),
    })
}

impl From<EntityFault> for ApiFailure {
    fn from(fault: EntityFault) -> Self {
        match fault {
            EntityFault::OtherTenant => {
                Refusal::new(Layer::Authorization, Reason::SourcesDisagree, "an entity of another tenant")
                    .into()
            }
            EntityFault::Missing(_) => Self::Told(StatusCode::NOT_FOUND, fault.to_string()),
            EntityFault::Parent(_) | EntityFault::Referrer(_) | EntityFault::Cycle(_) | EntityFault::Busy => {
                Self::Told(StatusCode::CONFLICT, fault.to_string())
            }
            EntityFault::Refused(refusal) => refusal.into(),
            EntityFault::Store(error) => error.into(),
            EntityFault::Kind(_)
            | EntityFault::Name(_)
            | EntityFault::Unfit(_)
            | EntityFault::TooMany(..) => Self::invalid(fault.to_string()),
        }
    }
}
