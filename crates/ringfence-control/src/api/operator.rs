//! Operators, for operators who run the plane. A token is shown once, where it is made.

use std::collections::BTreeSet;

use axum::{
    Json,
    extract::{Path, State},
    http::StatusCode,
};
use ringfence_context::{OperatorRole, id::Subject};
use serde::{Deserialize, Serialize};

use crate::{
    api::{Api, body::Body, caller::Operator, failure::ApiFailure},
    operator::{Kept, Operators},
};

/// An operator to be made.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewOperator {
    name: String,
    roles: BTreeSet<OperatorRole>,
}

/// An operator, without its tokens.
#[derive(Debug, Serialize)]
pub struct Shown {
    name: Subject,
    roles: BTreeSet<OperatorRole>,
    tokens: usize,
    made_by: Option<Subject>,
    made_at: u64,
}

/// A new token.
#[derive(Serialize)]
pub struct Told {
    name: Subject,
    token: String,
}

/// `GET /v1/operators`.
///
/// # Errors
/// [`ApiFailure`].
pub async fn list(State(api): State<Api>, _: Operator) -> Result<Json<Vec<Shown>>, ApiFailure> {
    let shown = |Kept { record, made_by, made_at }| Shown {
        name: record.operator,
        roles: record.roles,
        tokens: record.token_hashes.len(),
        made_by,
        made_at,
    };
    Ok(Json(operators(&api).operator_list().await?.into_iter().map(shown).collect()))
}

/// `POST /v1/operators`.
///
/// # Errors
/// [`ApiFailure`].
pub async fn create(
    State(api): State<Api>,
    by: Operator,
    Body(new): Body<NewOperator>,
) -> Result<(StatusCode, Json<Told>), ApiFailure> {
    let name = Subject::new(&new.name).map_err(|error| ApiFailure::invalid(error.to_string()))?;
    let (made_by, now) = (by.0.operator().clone(), api.clock.now());
    let token = operators(&api).operator_create(name.clone(), new.roles, Some(made_by), now).await?;
    Ok((StatusCode::CREATED, Json(Told { name, token: token.reveal().clone() })))
}

/// `POST /v1/operators/{name}/tokens`: another token of oneself. Nobody is given a token that acts as another person.
///
/// # Errors
/// [`ApiFailure`].
pub async fn token(
    State(api): State<Api>,
    by: Operator,
    Path(name): Path<Subject>,
) -> Result<(StatusCode, Json<Told>), ApiFailure> {
    if name != *by.0.operator() {
        let told = "a further token is made by the operator itself; for a lost one, end it and make another";
        return Err(ApiFailure::Told(StatusCode::FORBIDDEN, told.to_owned()));
    }
    let token = operators(&api).operator_token(&name).await?;
    Ok((StatusCode::CREATED, Json(Told { name, token: token.reveal().clone() })))
}

/// `DELETE /v1/operators/{name}`.
///
/// # Errors
/// [`ApiFailure`].
pub async fn end(
    State(api): State<Api>,
    _: Operator,
    Path(name): Path<Subject>,
) -> Result<StatusCode, ApiFailure> {
    operators(&api).operator_end(&name).await?;
    Ok(StatusCode::NO_CONTENT)
}

fn operators(api: &Api) -> Operators {
    Operators::new(api.workflow.records.clone())
}
