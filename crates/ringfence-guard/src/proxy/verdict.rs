//! What the guard decided about a session, for the decision log.

use ringfence_context::{Layer, Reason, Reference, TenantId, UnixTime};

/// One admission or refusal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// When.
    pub at: UnixTime,
    /// The reference the client was told, or gave.
    pub reference: Reference,
    /// The tenant the client connected as, where that was a tenant id at all; proved only if `reason` is `None`.
    pub tenant: Option<TenantId>,
    /// The layer that decided.
    pub layer: Layer,
    /// Why it was refused; `None`: admitted.
    pub reason: Option<Reason>,
    /// What exactly was found: for the log, never for the client.
    pub detail: &'static str,
}

/// Where verdicts go. Called on the session's task: must not block.
pub trait Record: Send + Sync {
    /// Takes one verdict.
    fn record(&self, verdict: Verdict);
}

/// Writes the event every deployment has, whatever else records it.
pub(super) fn trace(verdict: &Verdict) {
    let Verdict { reference, tenant, layer, reason, detail, .. } = verdict;
    let tenant = tenant.as_ref().map_or("-", TenantId::as_str);
    match reason {
        None => {
            tracing::info!(%reference, tenant, layer = layer.name(), verdict = "admitted", "database session")
        }
        Some(reason) => tracing::warn!(
            %reference, tenant, layer = layer.name(), verdict = "refused", reason = reason.code(), detail,
            "database session"
        ),
    }
}
