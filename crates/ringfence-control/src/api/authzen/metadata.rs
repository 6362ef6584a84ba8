//! What the decision point of a tenant is and where its endpoints are (section 9).
//!
//! It is the same for every name a tenant could have: whether there is one is nobody's who has not shown a token.

use axum::{
    Json,
    extract::{Path, State},
    http::header,
    response::{IntoResponse, Response},
};
use ringfence_context::TenantId;
use serde_json::json;

use crate::api::Api;

/// `GET /.well-known/authzen-configuration/t/{tenant}`.
pub(super) async fn metadata(State(api): State<Api>, Path(tenant): Path<TenantId>) -> Response {
    let base = format!("{}/t/{tenant}", api.base_url);
    let endpoint = |path: &str| format!("{base}/access/v1/{path}");
    let metadata = json!({
        "policy_decision_point": base,
        "access_evaluation_endpoint": endpoint("evaluation"),
        "access_evaluations_endpoint": endpoint("evaluations"),
        "search_subject_endpoint": endpoint("search/subject"),
        "search_resource_endpoint": endpoint("search/resource"),
        "search_action_endpoint": endpoint("search/action"),
    });
    ([(header::CACHE_CONTROL, "max-age=300")], Json(metadata)).into_response()
}
