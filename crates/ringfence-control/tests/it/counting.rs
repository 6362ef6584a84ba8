//! Parts that count, by tenant, what they are asked, and ask the part inside.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};

use http::HeaderMap;
use ringfence_authorization::{CompiledStore, Decide, Question, Warming};
use ringfence_context::{
    IssuerKeys, Job, RawToken, Refusal, StoreAnswer, TenantContext, TenantId, UnixTime, VerifiedJob,
    VerifiedToken, VerifyAccess, VerifyJob, id::Subject,
};
use ringfence_identity::{PreTokenHook, hook::HookAnswer};

/// What was counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Call {
    /// The application was called.
    Application,
    /// The gateway asked the policy engine.
    GatewayDecision,
    /// The API asked it, for a backend.
    BackendDecision,
    /// The gateway verified a token's signature.
    Verification,
    /// An issuer asked the pre-token hook.
    Hook,
}

/// Counts by tenant, and what the application was last sent.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    calls: Mutex<HashMap<(String, Call), usize>>,
    heads: Mutex<HashMap<String, HeaderMap>>,
}

impl Counts {
    pub(crate) fn add(&self, tenant: &str, call: Call) {
        *self.calls.lock().unwrap().entry((tenant.to_owned(), call)).or_default() += 1;
    }

    pub(crate) fn of(&self, tenant: &str, call: Call) -> usize {
        self.calls.lock().unwrap().get(&(tenant.to_owned(), call)).copied().unwrap_or_default()
    }

    pub(crate) fn arrived(&self, headers: &HeaderMap) {
        let tenant =
            headers.get("x-tenant-id").and_then(|value| value.to_str().ok()).unwrap_or("-").to_owned();
        self.add(&tenant, Call::Application);
        self.heads.lock().unwrap().insert(tenant, headers.clone());
    }

    /// The headers the application was last sent for a tenant.
    pub(crate) fn head(&self, tenant: &str) -> HeaderMap {
        self.heads.lock().unwrap()[tenant].clone()
    }
}

/// Counts one kind of call on its way to `inner`.
pub(crate) struct Counted<T: ?Sized> {
    pub(crate) inner: Arc<T>,
    pub(crate) counts: Arc<Counts>,
    pub(crate) call: Call,
}

impl Decide for Counted<dyn Decide> {
    fn decide(&self, question: &Question<'_>) -> Result<StoreAnswer, Refusal> {
        self.counts.add(question.context.tenant().as_str(), self.call);
        self.inner.decide(question)
    }

    fn revision(&self, tenant: &TenantId) -> Result<Option<(u64, bool)>, Refusal> {
        self.inner.revision(tenant)
    }

    fn decide_by(&self, policies: &CompiledStore, question: &Question<'_>) -> Result<StoreAnswer, Refusal> {
        self.inner.decide_by(policies, question)
    }

    fn policies_revision(&self, tenant: &TenantId) -> Result<u64, Refusal> {
        self.inner.policies_revision(tenant)
    }

    fn warm<'a>(&'a self, tenant: &'a TenantId) -> Warming<'a> {
        self.inner.warm(tenant)
    }
}

impl VerifyAccess for Counted<dyn VerifyAccess> {
    fn verify(&self, raw: &RawToken, issuer: &IssuerKeys, now: UnixTime) -> Result<VerifiedToken, Refusal> {
        self.counts.add(issuer.tenant.as_str(), self.call);
        self.inner.verify(raw, issuer, now)
    }

    fn bind(&self, token: VerifiedToken, presented_at: &TenantId) -> Result<TenantContext, Refusal> {
        self.inner.bind(token, presented_at)
    }
}

impl VerifyJob for Counted<dyn VerifyAccess> {
    fn verify_job(&self, raw: &RawToken, issuer: &IssuerKeys, now: UnixTime) -> Result<VerifiedJob, Refusal> {
        self.counts.add(issuer.tenant.as_str(), self.call);
        self.inner.verify_job(raw, issuer, now)
    }

    fn bind_job(&self, job: VerifiedJob, presented_at: &TenantId) -> Result<Job, Refusal> {
        self.inner.bind_job(job, presented_at)
    }
}

impl PreTokenHook for Counted<dyn PreTokenHook> {
    fn claims<'a>(&'a self, pool: &'a TenantId, subject: &'a Subject) -> HookAnswer<'a> {
        self.counts.add(pool.as_str(), self.call);
        self.inner.claims(pool, subject)
    }
}
