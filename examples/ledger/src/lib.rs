//! The sample app: a cross-border payments API on Postgres, as any backend behind Ringfence would be written.
//!
//! Handlers get a [`TenantSession`](ringfence_sdk::TenantSession), ask for a permit, open a session of the database
//! with it, and filter by tenant themselves: four lines that each hold when the others fail.

pub mod account;
pub mod beneficiary;
pub mod clock;
pub mod failure;
pub mod filter;
pub mod payment;
pub mod report;

use std::sync::Arc;

use axum::{
    Router,
    routing::{get, post},
};
use ringfence_sdk::{
    Database, Recheck, Report, TenantLayer, Trust, Verify,
    ask::{Ask, AskStore},
    client::Client,
    context::{AccessVerifier, Clock, Record},
    issuers::RemoteIssuers,
    replay::Seen,
    trust::TrustError,
};

use crate::filter::TenantFilter;

/// The app and what it stands on.
#[derive(Clone)]
pub struct Ledger {
    /// The guard.
    pub database: Database,
    /// How its queries name the tenant.
    pub filter: TenantFilter,
    /// Verification of requests.
    pub recheck: Arc<dyn Recheck>,
    /// The tenant's policy store.
    pub ask: Arc<dyn AskStore>,
    /// Where refusals of its own go.
    pub record: Arc<dyn Record>,
    /// The time.
    pub clock: Arc<dyn Clock>,
}

impl Ledger {
    /// The app as a plane's trust file says. To be called within a tokio runtime.
    ///
    /// # Errors
    /// Where the file holds what is not a key.
    pub fn new(trust: &Trust, clock: Arc<dyn Clock>) -> Result<Self, TrustError> {
        let client = Client::default();
        let verify = Verify {
            issuers: RemoteIssuers::new(trust.base_url.clone(), trust.audience.clone(), client.clone()),
            access: Arc::new(AccessVerifier),
            txn: Arc::new(trust.txn_verifier()?),
            binding: trust.binding()?,
            seen: Seen::default(),
            clock: Arc::clone(&clock),
        };
        Ok(Self {
            database: trust.database()?,
            filter: TenantFilter::default(),
            recheck: Arc::new(verify),
            ask: Arc::new(Ask::new(client.clone(), &trust.api.to_string())),
            record: Report::start(client, trust),
            clock,
        })
    }

    /// The API: see `openapi.yaml`.
    pub fn router(self) -> Router {
        let Self { recheck, ask, record, clock, .. } = &self;
        let layer =
            TenantLayer::new(Arc::clone(recheck), Arc::clone(ask), Arc::clone(record), Arc::clone(clock));
        Router::new()
            .route("/accounts", get(account::list).post(account::create))
            .route("/beneficiaries", get(beneficiary::list).post(beneficiary::create))
            .route("/payments", get(payment::list).post(payment::create))
            .route("/payments/batch", post(payment::create_batch))
            .route("/payments/{id}", get(payment::view))
            .route("/payments/{id}/refund", post(payment::refund))
            .route("/reports/volume", get(report::volume))
            .layer(layer)
            .with_state(self)
    }
}
