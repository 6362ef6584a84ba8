//! Verdicts into the program's own log, where no decision log is given.

use ringfence_context::{Record, TenantId, Verdict};

/// Writes verdicts to the program's log.
#[derive(Debug, Clone, Copy)]
pub struct TracingRecord;

impl Record for TracingRecord {
    fn record(&self, verdict: Verdict) {
        let Verdict { reference, action, detail, .. } = &verdict;
        let tenant = verdict.tenant.as_ref().map(TenantId::as_str);
        match verdict.refused {
            None => tracing::info!(tenant, %reference, action = action.as_deref(), "allowed"),
            Some((layer, reason)) => tracing::info!(
                tenant, %reference, action = action.as_deref(), layer = layer.name(), reason = reason.code(),
                %detail, "refused"
            ),
        }
    }
}
