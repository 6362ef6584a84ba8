//! What was decided about one request, for the decision log.

use ringfence_context::{Layer, Reference, Refusal, TenantId};

/// One layer's verdict on one request.
#[derive(Debug)]
pub struct Verdict<'a> {
    /// The tenant, where it is one.
    pub tenant: Option<&'a TenantId>,
    /// Names the request.
    pub reference: &'a Reference,
    /// Who decided.
    pub layer: Layer,
    /// What was asked: `sign_in`, `token`.
    pub action: &'static str,
    /// What was decided.
    pub outcome: Result<(), &'a Refusal>,
}

/// Where verdicts go.
pub trait Record: Send + Sync {
    /// Takes one verdict. It must neither block nor fail.
    fn record(&self, verdict: &Verdict<'_>);
}

/// Writes verdicts to the program's log.
#[derive(Debug, Clone, Copy)]
pub struct TracingRecord;

impl Record for TracingRecord {
    fn record(&self, verdict: &Verdict<'_>) {
        let Verdict { reference, action, .. } = verdict;
        let (tenant, layer) = (verdict.tenant.map(TenantId::as_str), verdict.layer.name());
        match verdict.outcome {
            Ok(()) => tracing::info!(tenant, %reference, layer, action, "allowed"),
            Err(refusal) => {
                let (reason, detail) = (refusal.reason.code(), refusal.detail);
                tracing::info!(tenant, %reference, layer, action, reason, detail, "refused");
            }
        }
    }
}
