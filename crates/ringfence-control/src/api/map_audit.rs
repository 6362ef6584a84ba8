//! The record of who changed the maps that lead to a tenant, for administrators and auditors; and what an operator's call says
//! of itself for it.

use axum::{
    Json,
    extract::{Path, Query, State},
};
use ringfence_authorization::govern::Author;
use ringfence_context::{By, ChangeReason, OperatorContext, TenantId};
use ringfence_store::{MapEntry, MapStep};
use serde::{Deserialize, Serialize};

use crate::api::{
    Api,
    caller::Auditor,
    failure::ApiFailure,
    version::{After, moment},
};

/// A change, as it is shown.
#[derive(Debug, Serialize)]
pub struct Shown {
    number: u64,
    at: String,
    who: String,
    did: String,
    reason: Option<ChangeReason>,
    step: MapStep,
}

/// What an operator may say of a call that needs nothing else.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Said {
    reason: Option<ChangeReason>,
}

/// `GET /v1/tenants/{tenant}/maps/audit?after=N`.
///
/// # Errors
/// [`ApiFailure`].
pub async fn list(
    State(api): State<Api>,
    _: Auditor,
    Path(tenant): Path<TenantId>,
    Query(after): Query<After>,
) -> Result<Json<Vec<Shown>>, ApiFailure> {
    let entries = api.workflow.records.map_list(&tenant, after.number()).await?;
    Ok(Json(entries.into_iter().map(shown).collect()))
}

/// Who changes something, now, and why.
pub(crate) fn by(api: &Api, operator: &OperatorContext, why: Option<ChangeReason>) -> By {
    By { who: Author::Operator(operator.operator().clone()), why, at: api.clock.now() }
}

/// Why, where a body was sent that says it.
///
/// # Errors
/// What is wrong with the body.
pub(crate) fn reason(body: &[u8]) -> Result<Option<ChangeReason>, ApiFailure> {
    if body.is_empty() {
        return Ok(None);
    }
    let said = serde_json::from_slice::<Said>(body);
    Ok(said.map_err(|error| ApiFailure::invalid(error.to_string()))?.reason)
}

fn shown(entry: MapEntry) -> Shown {
    let MapEntry { number, tenant: _, at, who, step, reason, previous: _ } = entry;
    Shown { number, at: moment(at), who: who.to_string(), did: step.to_string(), reason, step }
}
