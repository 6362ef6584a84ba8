//! At which revision a change was made, told to whoever made it: see [`ringfence_gateway::consistency`].

use axum::{
    http::{HeaderName, HeaderValue},
    response::AppendHeaders,
};
use ringfence_context::TenantId;
use ringfence_gateway::consistency::REVISION;
use ringfence_store::{Revision, Scope};

use crate::api::Api;

/// The header of an answer that says it.
pub type Told = AppendHeaders<Option<(HeaderName, HeaderValue)>>;

/// A change of a tenant's, as a token of that tenant's: to be given to those who ask about it.
pub(crate) fn told(api: &Api, tenant: &TenantId, revision: Revision) -> Told {
    AppendHeaders(api.consistency.token(&Scope::from(tenant), revision).map(|token| (REVISION, token)))
}
