//! Moving a tenant's policies between a store of its own and a shared one, for operators.

use axum::{
    Json,
    body::Bytes,
    extract::{Path, State},
    http::StatusCode,
};
use ringfence_authorization::{
    Mode, StoresError,
    shared::{Compared, StoreMove},
};
use ringfence_context::{ChangeReason, TenantId, limits};
use serde::Deserialize;

use crate::api::{
    Api,
    body::Body,
    caller::{Operator, PolicyReviewer},
    failure::ApiFailure,
    map_audit::{by, reason},
};

/// A move to be begun.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewMove {
    to: Mode,
    #[serde(default = "questions")]
    questions: u64,
    #[serde(default = "seconds")]
    seconds: u64,
    reason: Option<ChangeReason>,
}

fn questions() -> u64 {
    1_000
}

fn seconds() -> u64 {
    60
}

impl NewMove {
    fn compared(&self) -> Result<Compared, ApiFailure> {
        let Self { questions, seconds, .. } = *self;
        let within = |what: &str, value: u64, most: u64| match value {
            0 => Err(ApiFailure::invalid(format!("{what} is at least 1"))),
            value if value > most => Err(ApiFailure::invalid(format!("{what} is at most {most}"))),
            _ => Ok(()),
        };
        within("questions", questions, limits::STORE_MOVE_QUESTIONS)?;
        within("seconds", seconds, limits::STORE_MOVE_SECONDS)?;
        Ok(Compared { questions, seconds })
    }
}

/// `POST /v1/tenants/{tenant}/store-move`: begins one, which ends by itself; in a tier whose policies are reviewed it is
/// proposed, and begins when another operator approves it.
///
/// # Errors
/// [`ApiFailure`].
pub async fn begin(
    State(api): State<Api>,
    operator: Operator,
    Path(tenant): Path<TenantId>,
    Body(new): Body<NewMove>,
) -> Result<(StatusCode, Json<StoreMove>), ApiFailure> {
    let compared = new.compared()?;
    let by = by(&api, &operator.0, new.reason);
    let begun = api.workflow.move_begin(&tenant, new.to, compared, &by).await?;
    Ok((StatusCode::ACCEPTED, Json(begun)))
}

/// `POST /v1/tenants/{tenant}/store-move/approve`: begins the one that another operator has proposed.
///
/// # Errors
/// [`ApiFailure`].
pub async fn approve(
    State(api): State<Api>,
    operator: PolicyReviewer,
    Path(tenant): Path<TenantId>,
    body: Bytes,
) -> Result<(StatusCode, Json<StoreMove>), ApiFailure> {
    let by = by(&api, &operator.0, reason(&body)?);
    Ok((StatusCode::ACCEPTED, Json(api.workflow.move_approve(&tenant, &by).await?)))
}

/// `GET /v1/tenants/{tenant}/store-move`: the latest, under way or not.
///
/// # Errors
/// [`ApiFailure`].
pub async fn show(
    State(api): State<Api>,
    _: Operator,
    Path(tenant): Path<TenantId>,
) -> Result<Json<StoreMove>, ApiFailure> {
    let found = api.workflow.stores.move_get(&tenant).await?;
    found.map(Json).ok_or_else(|| StoresError::NoMove.into())
}

/// `DELETE /v1/tenants/{tenant}/store-move`: stops it, or takes back that it is proposed.
///
/// # Errors
/// [`ApiFailure`].
pub async fn stop(
    State(api): State<Api>,
    operator: Operator,
    Path(tenant): Path<TenantId>,
    body: Bytes,
) -> Result<Json<StoreMove>, ApiFailure> {
    let by = by(&api, &operator.0, reason(&body)?);
    Ok(Json(api.workflow.move_stop(&tenant, &by).await?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(questions: u64, seconds: u64, allowed: bool) {
        let new = NewMove { to: Mode::Shared, questions, seconds, reason: None };
        assert_eq!(new.compared().is_ok(), allowed, "{questions} {seconds}");
    }

    #[test]
    fn reject_store_move_questions() {
        check(limits::STORE_MOVE_QUESTIONS, 1, true);
        check(limits::STORE_MOVE_QUESTIONS + 1, 1, false);
        check(0, 1, false);
    }

    #[test]
    fn reject_store_move_seconds() {
        check(1, limits::STORE_MOVE_SECONDS, true);
        check(1, limits::STORE_MOVE_SECONDS + 1, false);
        check(1, 0, false);
    }
}
