//! How this node is doing: how current its policies are, how long changes take to be enforced, how often what a decision
//! needs was in memory, how often somebody was turned away, and where each tier's policy stores are kept.

use std::collections::BTreeMap;

use axum::{Json, extract::State};
use ringfence_authorization::{lag::Currency, stores::StoresHits};
use ringfence_context::tally::Hits;
use serde::Serialize;

use crate::{
    api::{Api, caller::Reader, failure::ApiFailure},
    store_place::Use,
};

/// This node.
#[derive(Debug, Serialize)]
pub struct Status {
    policies: Currency,
    memory: Memory,
    turned_away: TurnedAway,
    /// By tier.
    stores: BTreeMap<String, Use>,
}

/// How often what was looked for was in memory.
#[derive(Debug, Serialize)]
struct Memory {
    /// At the gateway: access tokens that were verified before.
    tokens: Hits,
    /// At the gateway: permits that are still good. What is missed is asked of the tenant's store.
    permits: Hits,
    #[serde(flatten)]
    stores: StoresHits,
    /// At the gate: content that was proved before.
    proofs: Hits,
    /// At the policy service: stores of its own.
    policy_service: Hits,
}

/// How often somebody was told to come again.
#[derive(Debug, Serialize)]
struct TurnedAway {
    /// Over the tenant's rate at the gateway.
    gateway_rate: u64,
    /// Over the tenant's rate at the policy service and the decision API.
    decision_rate: u64,
    /// As much of the same tenant's long work was waiting as may.
    queue: u64,
}

/// `GET /v1/status`. Names no tenant.
///
/// # Errors
/// [`ApiFailure`].
pub async fn show(State(api): State<Api>, _: Reader) -> Result<Json<Status>, ApiFailure> {
    let workflow = &api.workflow;
    let stores = workflow.places.uses().await?;
    let memory = Memory {
        tokens: api.gateway_hits.tokens.hits(),
        permits: api.gateway_hits.permits.hits(),
        stores: workflow.stores.hits(),
        proofs: workflow.gate.hits(),
        policy_service: api.avp.hits(),
    };
    let queues = [workflow.stores.crowded(), workflow.gate.crowded(), api.avp.crowded()];
    let turned_away = TurnedAway {
        gateway_rate: workflow.limits.refused(),
        decision_rate: api.avp_rates.refused(),
        queue: queues.iter().sum(),
    };
    Ok(Json(Status { policies: workflow.stores.currency(), memory, turned_away, stores }))
}
