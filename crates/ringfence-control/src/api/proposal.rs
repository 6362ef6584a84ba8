//! Proposals, for operators: made by one, approved by another, published as approved; and evaluated beside what serves.

use axum::{
    Json,
    body::Bytes,
    extract::{Path, Query, State},
    http::StatusCode,
    response::{IntoResponse, Response},
};
use ringfence_authorization::{
    StoreDocument,
    govern::{Author, Proposal, ProposalState, Schedule, Side, StoreEdit},
    shadow::ShadowReport,
};
use ringfence_context::{TenantId, UnixTime};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::api::{
    Api,
    body::Body,
    caller::{PolicyAuthor, PolicyPublisher, PolicyReviewer, Reader},
    failure::ApiFailure,
    revision::told,
    version::{After, Because, moment},
};

/// A change to be proposed: an edit of what serves, or an earlier version.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewProposal {
    reason: String,
    #[serde(default)]
    edit: StoreEdit,
    version: Option<u64>,
}

/// A review without a reason is an approval of the proposal's.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Approval {
    reason: Option<String>,
}

/// When to publish; without it, now.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct When {
    at: Option<String>,
}

/// A proposal, as it is listed.
#[derive(Debug, Serialize)]
pub struct Shown {
    proposal: u64,
    state: &'static str,
    at: String,
    author: String,
    base: u64,
    reason: String,
    standing: Value,
    content: String,
    decided: Value,
    /// When it takes effect by itself; or why not any more.
    scheduled: Option<String>,
}

/// A proposal with its text.
#[derive(Debug, Serialize)]
pub struct Whole {
    #[serde(flatten)]
    proposal: Shown,
    document: Option<StoreDocument>,
}

/// `GET /v1/tenants/{tenant}/proposals?after=N`.
///
/// # Errors
/// [`ApiFailure`].
pub async fn list(
    State(api): State<Api>,
    _: Reader,
    Path(tenant): Path<TenantId>,
    Query(after): Query<After>,
) -> Result<Json<Vec<Shown>>, ApiFailure> {
    let all = api.workflow.governance.proposal_list(&tenant, after.number()).await?;
    Ok(Json(all.into_iter().map(shown).collect()))
}

/// `POST /v1/tenants/{tenant}/proposals`.
///
/// # Errors
/// [`ApiFailure`].
pub async fn create(
    State(api): State<Api>,
    author: PolicyAuthor,
    Path(tenant): Path<TenantId>,
    Body(new): Body<NewProposal>,
) -> Result<(StatusCode, Json<Shown>), ApiFailure> {
    let reason = Because { reason: new.reason }.reason()?;
    let side = match new.version {
        None => Side::Edit(new.edit),
        Some(version) if new.edit == StoreEdit::default() => Side::Version(version),
        Some(_) => return Err(ApiFailure::invalid("propose an edit or a version, not both")),
    };
    let terms = api.workflow.terms(&tenant).await?;
    let governance = &api.workflow.governance;
    let proposal = governance.propose(&tenant, side, terms, Author::from(&author), reason).await?;
    Ok((StatusCode::CREATED, Json(shown(proposal))))
}

/// `GET /v1/tenants/{tenant}/proposals/{number}`.
///
/// # Errors
/// [`ApiFailure`].
pub async fn show(
    State(api): State<Api>,
    _: Reader,
    Path((tenant, number)): Path<(TenantId, u64)>,
) -> Result<Json<Whole>, ApiFailure> {
    let governance = &api.workflow.governance;
    let proposal = governance.proposal_get(&tenant, number).await?;
    // The text of one that was rejected is gone.
    let document = match proposal.state {
        ProposalState::Rejected { .. } => None,
        _ => Some(governance.side(&tenant, Side::Proposal(number)).await?),
    };
    Ok(Json(Whole { proposal: shown(proposal), document }))
}

/// `POST /v1/tenants/{tenant}/proposals/{number}/approve`.
///
/// # Errors
/// [`ApiFailure`].
pub async fn approve(
    State(api): State<Api>,
    reviewer: PolicyReviewer,
    Path((tenant, number)): Path<(TenantId, u64)>,
    Body(approval): Body<Approval>,
) -> Result<Json<Shown>, ApiFailure> {
    let reason = approval.reason.map(|reason| Because { reason }.reason()).transpose()?;
    let reviewer = Author::from(&reviewer);
    Ok(Json(shown(api.workflow.governance.approve(&tenant, number, reviewer, reason).await?)))
}

/// `POST /v1/tenants/{tenant}/proposals/{number}/reject`: by who may review, or by its author.
///
/// # Errors
/// [`ApiFailure`].
pub async fn reject(
    State(api): State<Api>,
    by: PolicyPublisher,
    Path((tenant, number)): Path<(TenantId, u64)>,
    Body(because): Body<Because>,
) -> Result<Json<Shown>, ApiFailure> {
    let governance = &api.workflow.governance;
    let author = Author::from(&by);
    if governance.proposal_get(&tenant, number).await?.author != author {
        by.0.require(ringfence_context::Duty::Review)?;
    }
    let rejected = governance.reject(&tenant, number, author, because.reason()?).await?;
    api.trials.refresh().await?;
    Ok(Json(shown(rejected)))
}

/// `POST /v1/tenants/{tenant}/proposals/{number}/publish`: now, or `{"at": …}` a time as RFC 3339 writes it.
///
/// # Errors
/// [`ApiFailure`].
pub async fn publish(
    State(api): State<Api>,
    by: PolicyPublisher,
    Path((tenant, number)): Path<(TenantId, u64)>,
    body: Bytes,
) -> Result<Response, ApiFailure> {
    let when: When = match &*body {
        [] => When::default(),
        body => serde_json::from_slice(body).map_err(|error| ApiFailure::invalid(error.to_string()))?,
    };
    let terms = api.workflow.terms(&tenant).await?;
    let (governance, by) = (&api.workflow.governance, Author::from(&by));
    if let Some(at) = when.at {
        let proposal = governance.schedule(&tenant, number, terms, by, time(&at)?).await?;
        return Ok((StatusCode::ACCEPTED, Json(shown(proposal))).into_response());
    }
    let published = governance.publish(&tenant, number, terms, by).await?;
    api.trials.refresh().await?;
    Ok((told(&api, &tenant, published.revision), Json(published)).into_response())
}

/// `DELETE /v1/tenants/{tenant}/proposals/{number}/schedule`.
///
/// # Errors
/// [`ApiFailure`].
pub async fn unschedule(
    State(api): State<Api>,
    by: PolicyPublisher,
    Path((tenant, number)): Path<(TenantId, u64)>,
) -> Result<Json<Shown>, ApiFailure> {
    let governance = &api.workflow.governance;
    if !governance.unschedule(&tenant, number, Author::from(&by), "it was cancelled").await? {
        let told = format!("proposal {number} is not to be published at a time");
        return Err(ApiFailure::Told(StatusCode::CONFLICT, told));
    }
    Ok(Json(shown(governance.proposal_get(&tenant, number).await?)))
}

/// A time as RFC 3339 writes it.
fn time(text: &str) -> Result<UnixTime, ApiFailure> {
    let read = chrono::DateTime::parse_from_rfc3339(text).ok();
    let micros = read.and_then(|read| u64::try_from(read.timestamp_micros()).ok());
    let told = || ApiFailure::invalid("`at` is a time as RFC 3339 writes it: 2030-01-31T08:00:00Z");
    micros.map(UnixTime::from_micros).ok_or_else(told)
}

/// `POST /v1/tenants/{tenant}/proposals/{number}/shadow`: evaluates it beside what serves, on every node, until told to
/// stop. No answer is affected.
///
/// # Errors
/// [`ApiFailure`].
pub async fn shadow_start(
    State(api): State<Api>,
    by: PolicyAuthor,
    Path((tenant, number)): Path<(TenantId, u64)>,
) -> Result<Json<ShadowReport>, ApiFailure> {
    api.workflow.governance.beside(&tenant, number, Author::from(&by)).await?;
    api.trials.refresh().await?;
    let report = api.shadows.report(&tenant);
    report.map(Json).ok_or_else(|| ApiFailure::invalid("it could not be compiled"))
}

/// `GET /v1/tenants/{tenant}/shadow`.
///
/// # Errors
/// [`ApiFailure`].
pub async fn shadow_show(
    State(api): State<Api>,
    _: Reader,
    Path(tenant): Path<TenantId>,
) -> Result<Json<ShadowReport>, ApiFailure> {
    api.shadows.report(&tenant).map(Json).ok_or_else(no_shadow)
}

/// `DELETE /v1/tenants/{tenant}/shadow`.
///
/// # Errors
/// [`ApiFailure`].
pub async fn shadow_stop(
    State(api): State<Api>,
    _: PolicyAuthor,
    Path(tenant): Path<TenantId>,
) -> Result<Json<ShadowReport>, ApiFailure> {
    let report = api.shadows.report(&tenant);
    if !api.workflow.governance.beside_end(&tenant).await? {
        return Err(no_shadow());
    }
    api.trials.refresh().await?;
    report.map(Json).ok_or_else(no_shadow)
}

fn no_shadow() -> ApiFailure {
    ApiFailure::Told(
        StatusCode::NOT_FOUND,
        "no proposal of this tenant is evaluated beside what serves".to_owned(),
    )
}

pub(crate) fn shown(proposal: Proposal) -> Shown {
    let Proposal { number, tenant: _, author, reason, at, base, standing, content, state, schedule } =
        proposal;
    let name = state.name();
    let decided = match state {
        ProposalState::Open => Value::Null,
        ProposalState::Approved { by, at, .. } => json!({ "by": by.to_string(), "at": moment(at) }),
        ProposalState::Rejected { by, at, reason } => {
            json!({ "by": by.to_string(), "at": moment(at), "reason": reason })
        }
        ProposalState::Published { approved, by, at, version } => json!({
            "approved_by": approved.map(|by| by.to_string()),
            "by": by.to_string(),
            "at": moment(at),
            "version": version,
        }),
    };
    let scheduled = schedule.map(|Schedule { at, by, entry: _, ended }| match ended {
        None => format!("{} by {by}", moment(at)),
        Some(why) => format!("{}: {why}", moment(at)),
    });
    Shown {
        proposal: number,
        state: name,
        at: moment(at),
        author: author.to_string(),
        base,
        reason: reason.to_string(),
        standing: json!(standing),
        content,
        decided,
        scheduled,
    }
}
