//! Clients of a tenant, for operators.

use axum::{
    Json,
    body::Bytes,
    extract::{Path, State},
    http::StatusCode,
};
use ringfence_context::{
    ChangeReason, TenantId,
    id::{ClientId, Role},
};
use ringfence_identity::{Client, ClientKind};
use serde::{Deserialize, Serialize};

use crate::api::{
    Api,
    caller::Operator,
    failure::ApiFailure,
    map_audit::{by, reason},
};

/// Most clients shown at once.
const PAGE: u32 = 500;

/// A client to be made: with redirect URIs one that people sign in with, else a machine.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewClient {
    client_id: ClientId,
    display_name: Option<String>,
    #[serde(default)]
    roles: Vec<Role>,
    #[serde(default)]
    redirect_uris: Vec<String>,
    reason: Option<ChangeReason>,
}

/// A client. Its secret is shown once, where it is made.
#[derive(Debug, Serialize)]
pub struct Shown {
    client_id: ClientId,
    display_name: String,
    kind: &'static str,
    disabled: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    client_secret: Option<String>,
}

/// `GET /v1/tenants/{tenant}/clients`.
///
/// # Errors
/// [`ApiFailure`].
pub async fn list(
    State(api): State<Api>,
    _: Operator,
    Path(tenant): Path<TenantId>,
) -> Result<Json<Vec<Shown>>, ApiFailure> {
    let listed = api.workflow.pools.client_list(&tenant, None, PAGE).await?;
    Ok(Json(listed.into_iter().map(shown).collect()))
}

/// `POST /v1/tenants/{tenant}/clients`.
///
/// # Errors
/// [`ApiFailure`].
pub async fn create(
    State(api): State<Api>,
    operator: Operator,
    Path(tenant): Path<TenantId>,
    Json(new): Json<NewClient>,
) -> Result<(StatusCode, Json<Shown>), ApiFailure> {
    let pools = &api.workflow.pools;
    let id = &new.client_id;
    let display_name = new.display_name.unwrap_or_else(|| id.to_string());
    let by = by(&api, &operator.0, new.reason);
    let client_secret = if new.redirect_uris.is_empty() {
        let secret = pools.client_create_machine(&tenant, id, &display_name, new.roles, &by).await?;
        Some(secret.reveal().clone())
    } else {
        pools.client_create_public(&tenant, id, &display_name, new.redirect_uris, &by).await?;
        None
    };
    let client = pools.client_get(&tenant, id).await?;
    Ok((StatusCode::CREATED, Json(Shown { client_secret, ..shown(client) })))
}

/// `POST /v1/tenants/{tenant}/clients/{client}/disable`.
///
/// # Errors
/// [`ApiFailure`].
pub async fn disable(
    State(api): State<Api>,
    operator: Operator,
    Path((tenant, client)): Path<(TenantId, ClientId)>,
    body: Bytes,
) -> Result<StatusCode, ApiFailure> {
    let by = by(&api, &operator.0, reason(&body)?);
    api.workflow.pools.client_disable(&tenant, &client, &by).await?;
    api.workflow.directory.reach(api.workflow.records.revision().await?).await;
    Ok(StatusCode::NO_CONTENT)
}

fn shown(client: Client) -> Shown {
    let kind = match client.kind {
        ClientKind::Machine { .. } => "machine",
        ClientKind::Public { .. } => "public",
    };
    Shown {
        client_id: client.id,
        display_name: client.display_name,
        kind,
        disabled: client.disabled,
        client_secret: None,
    }
}
