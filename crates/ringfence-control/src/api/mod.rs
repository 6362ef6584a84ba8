//! The plane's own HTTP API: operators manage tenants, backends ask for decisions. Mounted on a listener of its own.
//!
//! Three kinds of callers, and none can pass for another: an operator's token holds no tenant, a tenant's token opens no
//! operator's door, and a backend's own only takes what it refused.

pub mod access_key;
pub mod authzen;
pub mod avp;
pub mod body;
pub mod caller;
pub mod canary;
pub mod client;
pub mod data_move;
pub mod difference;
pub mod entity;
pub mod explain;
pub mod failure;
pub mod map_audit;
pub mod migration;
pub mod operator;
pub mod pause;
pub mod policy;
pub mod policy_store;
pub mod proposal;
pub mod refusals;
pub mod revision;
pub mod status;
pub mod store_move;
pub mod tenant;
pub mod truth_table;
pub mod types;
pub mod user;
pub mod version;

use std::sync::Arc;

use axum::{
    Router,
    extract::DefaultBodyLimit,
    middleware::map_response_with_state,
    routing::{delete, get, post, put},
};
use ringfence_authorization::{Decide, Trials, avp::Avp, canary::Canaries, page::PageKey, shadow::Shadows};
use ringfence_context::{
    Clock, Issuers, Record, VerifyAccess, limits,
    txn::{RequestBinding, VerifyTxn},
};
use ringfence_gateway::{admission::GatewayHits, consistency::Consistency};
use ringfence_identity::Passwords;
use ringfence_store::Follower;

use crate::{
    access_key::AccessKeys,
    api::{avp::TierRates, pause::Pauses},
    decision_log::DecisionLog,
    workflow::Workflow,
};

/// Bodies that are larger, in bytes, are not read on the threads that serve: reading one takes a millisecond, and may take
/// hundreds. Every policy the policy service takes is shorter, and so is a question with a few dozen entities.
const READ_HERE: usize = 32 * 1024;

/// What the API stands on.
#[derive(Clone)]
pub struct Api {
    /// Steps of a tenant's life, and the state they work on.
    pub workflow: Workflow,
    /// Hashes passwords.
    pub passwords: Passwords,
    /// The decision log.
    pub log: DecisionLog,
    /// Where its own verdicts go.
    pub record: Arc<dyn Record>,
    /// The tenants' policy stores.
    pub decide: Arc<dyn Decide>,
    /// Issuers.
    pub issuers: Arc<dyn Issuers>,
    /// Verification of access tokens.
    pub access: Arc<dyn VerifyAccess>,
    /// Verification of `Txn-Token`s.
    pub txn: Arc<dyn VerifyTxn>,
    /// The key shared with the backend.
    pub binding: RequestBinding,
    /// The policy service.
    pub avp: Arc<Avp>,
    /// How much tenants may ask of it.
    pub avp_rates: Arc<TierRates>,
    /// How often the gateway had in memory what it needed.
    pub gateway_hits: Arc<GatewayHits>,
    /// What requests to it are signed with.
    pub access_keys: AccessKeys,
    /// What page tokens are made with.
    pub page_key: Arc<PageKey>,
    /// At which revision this node answers.
    pub consistency: Arc<Consistency>,
    /// Where it answers, without a trailing slash, as those who call it know it.
    pub base_url: Arc<str>,
    /// The proposals evaluated beside what serves, with what this node has counted.
    pub shadows: Arc<Shadows>,
    /// The proposals that decide for a share, with what this node has counted.
    pub canaries: Arc<Canaries>,
    /// What keeps both as they are on record.
    pub trials: Arc<Follower<Trials>>,
    /// The time.
    pub clock: Arc<dyn Clock>,
}

/// Every path of the API.
pub fn router(api: Api) -> Router {
    Router::new()
        .route("/", post(avp::call))
        .route("/v1/access-keys", get(access_key::list).post(access_key::create))
        .route("/v1/access-keys/{id}", delete(access_key::delete))
        .route(
            "/v1/tenants/{tenant}/access-keys",
            get(access_key::tenant_list).post(access_key::tenant_create),
        )
        .route("/v1/tenants/{tenant}/access-keys/{id}", delete(access_key::tenant_delete))
        .route("/healthz", get(async || "ok\n"))
        .route("/v1/tenants", get(tenant::list).post(tenant::create))
        .route("/v1/tenants/{tenant}", get(tenant::show).delete(tenant::delete))
        .route("/v1/tenants/{tenant}/suspend", post(tenant::suspend))
        .route("/v1/tenants/{tenant}/resume", post(tenant::resume))
        .route(
            "/v1/tenants/{tenant}/store-move",
            get(store_move::show).post(store_move::begin).delete(store_move::stop),
        )
        .route(
            "/v1/tenants/{tenant}/data-move",
            get(data_move::show).post(data_move::begin).delete(data_move::stop),
        )
        .route("/v1/tenants/{tenant}/data-move/confirm", post(data_move::confirm))
        .route("/v1/tenants/{tenant}/data-move/undo", post(data_move::undo))
        .route("/v1/tenants/{tenant}/store-move/approve", post(store_move::approve))
        .route("/v1/tenants/{tenant}/users", get(user::list).post(user::create))
        .route("/v1/tenants/{tenant}/users/{user}/disable", post(user::disable))
        .route("/v1/tenants/{tenant}/clients", get(client::list).post(client::create))
        .route("/v1/tenants/{tenant}/clients/{client}/disable", post(client::disable))
        .route("/v1/tenants/{tenant}/policies", get(policy::list))
        .route("/v1/tenants/{tenant}/policies/{name}", put(policy::put).delete(policy::delete))
        .route("/v1/tenants/{tenant}/maps/audit", get(map_audit::list))
        .route("/v1/operators", get(operator::list).post(operator::create))
        .route("/v1/operators/{name}", delete(operator::end))
        .route("/v1/operators/{name}/tokens", post(operator::token))
        .merge(governing())
        .route("/v1/explain/{reference}", get(explain::explain))
        .route("/v1/refusals", post(refusals::tell))
        .route("/v1/status", get(status::show))
        .route("/v1/migrations", get(migration::show).post(migration::begin))
        .route("/v1/tenants/{tenant}/entities", get(entity::list).put(entity::put))
        .route("/v1/tenants/{tenant}/entities/explain", post(entity::explain))
        .route("/v1/tenants/{tenant}/entities/{type}/{id}", get(entity::show).delete(entity::delete))
        .merge(authzen::router())
        .layer(DefaultBodyLimit::max(limits::REQUEST_BODY_BYTES))
        .layer(map_response_with_state(Arc::<Pauses>::default(), pause::before_too_much))
        .with_state(api)
}

/// How policies are governed.
fn governing() -> Router<Api> {
    Router::new()
        .route("/v1/tenants/{tenant}/policy-stores", get(policy_store::list))
        .route("/v1/tenants/{tenant}/policy-stores/{store}/prove", post(policy_store::prove))
        .route("/v1/tenants/{tenant}/policy-stores/{store}/publish", post(policy_store::publish))
        .route("/v1/tenants/{tenant}/versions", get(version::list))
        .route("/v1/tenants/{tenant}/versions/{number}", get(version::show))
        .route("/v1/tenants/{tenant}/versions/{number}/rollback", post(version::rollback))
        .route("/v1/tenants/{tenant}/audit", get(version::audit))
        .route("/v1/tenants/{tenant}/types", get(types::show))
        .route("/v1/tenants/{tenant}/difference", post(difference::compare))
        .route("/v1/tenants/{tenant}/truth-table", post(truth_table::check))
        .route("/v1/tenants/{tenant}/proposals", get(proposal::list).post(proposal::create))
        .route("/v1/tenants/{tenant}/proposals/{number}", get(proposal::show))
        .route("/v1/tenants/{tenant}/proposals/{number}/approve", post(proposal::approve))
        .route("/v1/tenants/{tenant}/proposals/{number}/reject", post(proposal::reject))
        .route("/v1/tenants/{tenant}/proposals/{number}/publish", post(proposal::publish))
        .route("/v1/tenants/{tenant}/proposals/{number}/schedule", delete(proposal::unschedule))
        .route("/v1/tenants/{tenant}/proposals/{number}/shadow", post(proposal::shadow_start))
        .route("/v1/tenants/{tenant}/proposals/{number}/canary", post(canary::start))
        .route("/v1/tenants/{tenant}/canary", get(canary::show).delete(canary::stop))
        .route("/v1/tenants/{tenant}/shadow", get(proposal::shadow_show).delete(proposal::shadow_stop))
}
