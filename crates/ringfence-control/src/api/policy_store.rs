//! Another policy store of a tenant, for operators: what is known of it, proved, and published as what decides the
//! tenant's requests.

use axum::{
    Json,
    extract::{Path, Query, State},
    http::StatusCode,
    response::{IntoResponse, Response},
};
use ringfence_authorization::{
    avp::{StoreOverview, Took},
    govern::Author,
};
use ringfence_context::TenantId;
use serde::Deserialize;

use crate::api::{
    Api,
    body::Body,
    caller::{PolicyAuthor, Reader},
    failure::ApiFailure,
    proposal::shown,
    revision::told,
    version::Because,
};

/// Where a list goes on.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AfterStore {
    after: Option<String>,
}

/// What is to be proved.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct What {
    /// What the store must say; without it, whatever it says.
    content: Option<String>,
}

/// What is to serve, and why.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Serve {
    reason: String,
    /// What the store must say; without it, whatever it says.
    content: Option<String>,
}

/// `GET /v1/tenants/{tenant}/policy-stores?after=ID`.
///
/// # Errors
/// [`ApiFailure`].
pub async fn list(
    State(api): State<Api>,
    _: Reader,
    Path(tenant): Path<TenantId>,
    Query(after): Query<AfterStore>,
) -> Result<Json<Vec<StoreOverview>>, ApiFailure> {
    Ok(Json(api.avp.overviews(&tenant, after.after.as_deref()).await?))
}

/// `POST /v1/tenants/{tenant}/policy-stores/{store}/prove`.
///
/// # Errors
/// [`ApiFailure`].
pub async fn prove(
    State(api): State<Api>,
    _: PolicyAuthor,
    Path((tenant, store)): Path<(TenantId, String)>,
    Body(what): Body<What>,
) -> Result<Json<StoreOverview>, ApiFailure> {
    let candidate = api.avp.candidate(&tenant, &store, what.content.as_deref()).await?;
    let terms = api.workflow.terms(&tenant).await?;
    Ok(Json(api.avp.prove(candidate, terms).await?))
}

/// `POST /v1/tenants/{tenant}/policy-stores/{store}/publish`: in effect at once, or, where the tenant's tier demands a
/// review, a proposal.
///
/// # Errors
/// [`ApiFailure`].
pub async fn publish(
    State(api): State<Api>,
    author: PolicyAuthor,
    Path((tenant, store)): Path<(TenantId, String)>,
    Body(serve): Body<Serve>,
) -> Result<Response, ApiFailure> {
    let reason = Because { reason: serve.reason }.reason()?;
    let candidate = api.avp.candidate(&tenant, &store, serve.content.as_deref()).await?;
    let terms = api.workflow.terms(&tenant).await?;
    match api.avp.publish(candidate, terms, Author::from(&author), &reason).await? {
        Took::Effect(published) => {
            Ok((told(&api, &tenant, published.revision), Json(published)).into_response())
        }
        Took::Proposed(proposal) => Ok((StatusCode::ACCEPTED, Json(shown(*proposal))).into_response()),
    }
}
