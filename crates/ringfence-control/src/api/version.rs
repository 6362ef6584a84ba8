//! Versions of a tenant's policies, for operators: looking back, and going back.

use axum::{
    Json,
    extract::{Path, Query, State},
};
use ringfence_authorization::{
    StoreDocument,
    govern::{AuditEntry, Author, Cause, ChangeReason, Published, Step, Version},
};
use ringfence_context::TenantId;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::api::{
    Api,
    body::Body,
    caller::{PolicyAuthor, Reader},
    failure::ApiFailure,
    revision::{Told, told},
};

/// Where a list goes on.
#[derive(Debug, Deserialize)]
pub struct After {
    #[serde(default)]
    after: u64,
}

impl After {
    pub(crate) fn number(&self) -> u64 {
        self.after
    }
}

/// Why a step is taken.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Because {
    pub(crate) reason: String,
}

impl Because {
    pub(crate) fn reason(&self) -> Result<ChangeReason, ApiFailure> {
        ChangeReason::new(&self.reason).map_err(|fault| ApiFailure::invalid(fault.to_string()))
    }
}

/// A version, as it is listed.
#[derive(Debug, Serialize)]
pub struct Shown {
    version: u64,
    at: String,
    author: String,
    reviewer: Option<String>,
    publisher: Option<String>,
    cause: String,
    reason: ChangeReason,
    standing: Value,
    content: String,
}

/// A version with its text.
#[derive(Debug, Serialize)]
pub struct Whole {
    #[serde(flatten)]
    version: Shown,
    document: StoreDocument,
}

/// `GET /v1/tenants/{tenant}/versions?after=N`.
///
/// # Errors
/// [`ApiFailure`].
pub async fn list(
    State(api): State<Api>,
    _: Reader,
    Path(tenant): Path<TenantId>,
    Query(after): Query<After>,
) -> Result<Json<Vec<Shown>>, ApiFailure> {
    let versions = api.workflow.governance.version_list(&tenant, after.after).await?;
    Ok(Json(versions.into_iter().map(shown).collect()))
}

/// `GET /v1/tenants/{tenant}/versions/{number}`.
///
/// # Errors
/// [`ApiFailure`].
pub async fn show(
    State(api): State<Api>,
    _: Reader,
    Path((tenant, number)): Path<(TenantId, u64)>,
) -> Result<Json<Whole>, ApiFailure> {
    let governance = &api.workflow.governance;
    let version = shown(governance.version_get(&tenant, number).await?);
    Ok(Json(Whole { version, document: governance.version_text(&tenant, number).await? }))
}

/// `POST /v1/tenants/{tenant}/versions/{number}/rollback`.
///
/// # Errors
/// [`ApiFailure`].
pub async fn rollback(
    State(api): State<Api>,
    author: PolicyAuthor,
    Path((tenant, number)): Path<(TenantId, u64)>,
    Body(because): Body<Because>,
) -> Result<(Told, Json<Published>), ApiFailure> {
    let terms = api.workflow.terms(&tenant).await?;
    let (reason, author) = (because.reason()?, Author::from(&author));
    let published = api.workflow.governance.rollback(&tenant, number, terms, author, reason).await?;
    Ok((told(&api, &tenant, published.revision), Json(published)))
}

/// `GET /v1/tenants/{tenant}/audit?after=N`.
///
/// # Errors
/// [`ApiFailure`].
pub async fn audit(
    State(api): State<Api>,
    _: Reader,
    Path(tenant): Path<TenantId>,
    Query(after): Query<After>,
) -> Result<Json<Vec<Value>>, ApiFailure> {
    let entries = api.workflow.governance.audit_list(&tenant, after.after).await?;
    Ok(Json(entries.into_iter().map(entry).collect()))
}

fn shown(version: Version) -> Shown {
    let Version { number, tenant: _, author, reviewer, publisher, reason, at, cause, standing, content } =
        version;
    Shown {
        version: number,
        at: moment(at),
        author: author.to_string(),
        reviewer: reviewer.map(|reviewer| reviewer.to_string()),
        publisher: publisher.map(|publisher| publisher.to_string()),
        cause: said(cause),
        reason,
        standing: json!(standing),
        content,
    }
}

fn entry(entry: AuditEntry) -> Value {
    let AuditEntry { number, tenant: _, at, who, step, reason, previous: _ } = entry;
    let (did, content) = match step {
        Step::Published { version, cause, content } => {
            (format!("published version {version} ({})", said(cause)), Some(content))
        }
        Step::Proposed { proposal, base, content } => {
            (format!("proposed {proposal} against version {base}"), Some(content))
        }
        Step::Approved { proposal, content } => (format!("approved proposal {proposal}"), Some(content)),
        Step::Staged { proposal, percent, most_rise, content } => {
            let did = format!("let proposal {proposal} decide for {percent}% (rise at most {most_rise}%)");
            (did, Some(content))
        }
        Step::Unstaged { proposal, why } => (format!("ended the share of proposal {proposal}: {why}"), None),
        Step::Scheduled { proposal, at, content } => {
            (format!("proposal {proposal} is to be published at {}", moment(at)), Some(content))
        }
        Step::Unscheduled { proposal, why } => {
            (format!("ended the time of proposal {proposal}: {why}"), None)
        }
        Step::Rejected { proposal } => (format!("rejected proposal {proposal}"), None),
    };
    json!({ "number": number, "at": moment(at), "who": who.to_string(), "did": did, "reason": reason, "content": content })
}

fn said(cause: Cause) -> String {
    match cause {
        Cause::Onboarding => "onboarding".to_owned(),
        Cause::Found => "found".to_owned(),
        Cause::Change => "change".to_owned(),
        Cause::Rollback(to) => format!("roll-back to {to}"),
        Cause::Proposal(number) => format!("proposal {number}"),
    }
}

/// Microseconds since the epoch, as RFC 3339 writes them, to the second.
pub(crate) fn moment(micros: u64) -> String {
    let seconds = i64::try_from(micros / 1_000_000).unwrap_or(i64::MAX);
    let moment = chrono::DateTime::from_timestamp(seconds, 0).unwrap_or_default();
    moment.format("%Y-%m-%dT%H:%M:%SZ").to_string()
}
