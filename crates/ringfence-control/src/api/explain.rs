//! Every part's verdict on one request: to an operator, or to an administrator of the tenant it was of.

use axum::{
    Json,
    extract::{FromRequestParts, Path, State},
    http::request::Parts,
};
use ringfence_context::{Layer, Reason, Reference, Refusal, TenantId, Verdict};

use crate::api::{
    Api,
    caller::{self, Reader},
    failure::ApiFailure,
};

/// Who may see: everything, or what is of one tenant.
pub enum Viewer {
    /// An operator.
    Operator,
    /// An administrator of this tenant.
    Tenant(TenantId),
}

impl FromRequestParts<Api> for Viewer {
    type Rejection = ApiFailure;

    async fn from_request_parts(head: &mut Parts, api: &Api) -> Result<Self, ApiFailure> {
        let Err(operator) = Reader::from_request_parts(head, api).await else { return Ok(Self::Operator) };
        let Ok(claimed) = caller::claimed_tenant(api, &head.headers) else { return Err(operator) };
        let context = caller::tenant(api, &head.headers, &claimed)?;
        if context.roles().iter().any(|role| role.as_str() == "admin") {
            return Ok(Self::Tenant(context.tenant().clone()));
        }
        Err(Refusal::new(Layer::Authorization, Reason::Denied, "not an administrator").into())
    }
}

/// `GET /v1/explain/{reference}`.
///
/// # Errors
/// [`ApiFailure`].
pub async fn explain(
    State(api): State<Api>,
    viewer: Viewer,
    Path(reference): Path<Reference>,
) -> Result<Json<Vec<Verdict>>, ApiFailure> {
    let log = api.log.clone();
    let unreadable =
        || Refusal::new(Layer::Routing, Reason::DependencyUnavailable, "the decision log can't be read");
    let found = tokio::task::spawn_blocking(move || log.find(&reference))
        .await
        .map_err(|_| unreadable())?
        .map_err(|_| unreadable())?;
    let shown: Vec<Verdict> = match viewer {
        Viewer::Operator => found,
        Viewer::Tenant(tenant) => {
            found.into_iter().filter(|verdict| verdict.tenant.as_ref() == Some(&tenant)).collect()
        }
    };
    if shown.is_empty() {
        // Not there and not yours look the same.
        return Err(Refusal::new(
            Layer::Routing,
            Reason::NotServed,
            "no such reference, or another tenant's",
        )
        .into());
    }
    Ok(Json(shown))
}
