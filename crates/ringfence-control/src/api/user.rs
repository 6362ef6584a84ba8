//! Users of a tenant, for operators.

use axum::{
    Json,
    body::Bytes,
    extract::{Path, State},
    http::StatusCode,
};
use ringfence_context::{
    ChangeReason, Secret, TenantId,
    id::{Role, Subject},
};
use ringfence_identity::NewUser;
use serde::{Deserialize, Serialize};

use crate::api::{
    Api,
    caller::Operator,
    failure::ApiFailure,
    map_audit::{by, reason},
};

/// Most users shown at once.
const PAGE: u32 = 500;

/// A user to be made.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewUserBody {
    username: String,
    display_name: Option<String>,
    password: String,
    #[serde(default)]
    roles: Vec<Role>,
    reason: Option<ChangeReason>,
}

/// A user, without its password.
#[derive(Debug, Serialize)]
pub struct Shown {
    id: Subject,
    username: String,
    display_name: String,
    disabled: bool,
    roles: Vec<Role>,
}

/// `GET /v1/tenants/{tenant}/users`.
///
/// # Errors
/// [`ApiFailure`].
pub async fn list(
    State(api): State<Api>,
    _: Operator,
    Path(tenant): Path<TenantId>,
) -> Result<Json<Vec<Shown>>, ApiFailure> {
    let pools = &api.workflow.pools;
    let mut shown = Vec::new();
    for user in pools.user_list(&tenant, None, PAGE).await? {
        let roles =
            pools.membership_get(&tenant, &user.id).await?.map(|found| found.roles).unwrap_or_default();
        shown.push(Shown {
            id: user.id,
            username: user.username,
            display_name: user.display_name,
            disabled: user.disabled,
            roles,
        });
    }
    Ok(Json(shown))
}

/// `POST /v1/tenants/{tenant}/users`.
///
/// # Errors
/// [`ApiFailure`].
pub async fn create(
    State(api): State<Api>,
    operator: Operator,
    Path(tenant): Path<TenantId>,
    Json(new): Json<NewUserBody>,
) -> Result<(StatusCode, Json<Shown>), ApiFailure> {
    let display_name = new.display_name.unwrap_or_else(|| new.username.clone());
    let user = NewUser {
        username: &new.username,
        display_name: &display_name,
        password: Secret::new(new.password),
        roles: new.roles.clone(),
    };
    let by = by(&api, &operator.0, new.reason);
    let id = api.workflow.pools.user_create(&tenant, user, &api.passwords, &by).await?;
    let shown = Shown { id, username: new.username, display_name, disabled: false, roles: new.roles };
    Ok((StatusCode::CREATED, Json(shown)))
}

/// `POST /v1/tenants/{tenant}/users/{user}/disable`: no more tokens, and those out there are revoked.
///
/// # Errors
/// [`ApiFailure`].
pub async fn disable(
    State(api): State<Api>,
    operator: Operator,
    Path((tenant, user)): Path<(TenantId, Subject)>,
    body: Bytes,
) -> Result<StatusCode, ApiFailure> {
    let by = by(&api, &operator.0, reason(&body)?);
    api.workflow.pools.user_disable(&tenant, &user, &by).await?;
    api.workflow.directory.reach(api.workflow.records.revision().await?).await;
    Ok(StatusCode::NO_CONTENT)
}
