//! The issuers over HTTP, every tenant's under `/t/{tenant}`.
//!
//! The tenant is the path's, and the issuer's URL is configured: nothing a client sends chooses either. A tenant that is
//! not known and one that is suspended are answered by the same code with the same bytes.

mod answer;
mod authorize;
mod client_auth;
mod discovery;
mod form;
mod page;
mod revoke;
mod token;
mod userinfo;

use std::sync::Arc;

use axum::{
    Router,
    routing::{get, post},
};
use ringfence_context::{
    AccessVerifier, Clock, Issuers, Job, Layer, Part, RawToken, Record, Reference, Refusal, TenantContext,
    TenantId, Verdict, VerifyAccess,
    access::claimed_issuer,
    id::{JobName, Subject},
    job, key,
};

use crate::{
    attempts::Attempts,
    directory::Directory,
    error::IdentityError,
    exchange::{ExchangeCredential, ExchangeDatabaseToken},
    hook::PreTokenHook,
    issuer::Issuer,
    job::JOB_SECONDS,
    password::Passwords,
    pool::Pools,
    verdict::TracingRecord,
};

/// Everything the issuers' endpoints work with. The seams are trait objects: the range puts broken parts there.
pub struct Identity {
    pub(crate) pools: Pools,
    pub(crate) directory: Arc<Directory>,
    pub(crate) issuer: Issuer,
    pub(crate) passwords: Passwords,
    pub(crate) attempts: Attempts,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) verify: Arc<dyn VerifyAccess>,
    pub(crate) exchange: Option<Arc<dyn ExchangeDatabaseToken>>,
    pub(crate) credentials: Option<Arc<dyn ExchangeCredential>>,
    pub(crate) record: Arc<dyn Record>,
    /// How long a job token lives, in seconds.
    pub(crate) job_seconds: u64,
}

impl Identity {
    /// The issuers of these pools, with the real verifier, no token exchange, and verdicts in the log.
    pub fn new(
        pools: Pools,
        directory: Arc<Directory>,
        hook: Arc<dyn PreTokenHook>,
        passwords: Passwords,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let issuer = Issuer::new(pools.clone(), hook, directory.addresses().clone(), clock.clone());
        Self {
            pools,
            directory,
            issuer,
            passwords,
            attempts: Attempts::new(clock.clone()),
            clock,
            verify: Arc::new(AccessVerifier),
            exchange: None,
            credentials: None,
            record: Arc::new(TracingRecord),
            job_seconds: JOB_SECONDS,
        }
    }

    /// With another verifier of access tokens.
    #[must_use]
    pub fn with_verifier(self, verify: Arc<dyn VerifyAccess>) -> Self {
        Self { verify, ..self }
    }

    /// With token exchange for database tokens.
    #[must_use]
    pub fn with_exchange(self, exchange: Arc<dyn ExchangeDatabaseToken>) -> Self {
        Self { exchange: Some(exchange), ..self }
    }

    /// With token exchange for logins to tenants' own databases, where there is one for database tokens.
    #[must_use]
    pub fn with_credentials(self, credentials: Arc<dyn ExchangeCredential>) -> Self {
        Self { credentials: Some(credentials), ..self }
    }

    /// With job tokens that live so many seconds; what is longer than [`ringfence_context::limits::JOB_TOKEN_LIFE_SECONDS`]
    /// nobody accepts.
    #[must_use]
    pub fn with_job_seconds(self, job_seconds: u64) -> Self {
        Self { job_seconds, ..self }
    }

    /// With another place for verdicts.
    #[must_use]
    pub fn with_record(self, record: Arc<dyn Record>) -> Self {
        Self { record, ..self }
    }

    /// What makes the tokens.
    pub fn issuer(&self) -> &Issuer {
        &self.issuer
    }

    /// Proves the tenant of a token presented at a tenant's own path.
    pub(crate) fn prove(&self, raw: &RawToken, at: &TenantId) -> Result<TenantContext, Refusal> {
        let issuer = self.directory.issuer(&claimed_issuer(raw)?)?;
        let verified = self.verify.verify(raw, &issuer, self.clock.now())?;
        let context = self.verify.bind(verified, at)?;
        self.directory.check_live(&context)?;
        self.directory.check_seal(&context)?;
        Ok(context)
    }

    /// Proves a job of a job token presented at a tenant's own path: who signed it, for whom, and that nothing of it was
    /// revoked. Whether it may run now is more: see `http/token/job.rs`.
    pub(crate) async fn prove_job(&self, raw: &RawToken, at: &TenantId) -> Result<Job, Refusal> {
        let issuer = self.directory.issuer(&job::claimed_issuer(raw)?)?;
        let verified = self.verify.verify_job(raw, &issuer, self.clock.now())?;
        let job = self.verify.bind_job(verified, at)?;
        self.directory.check_job_live(&job)?;
        self.issuer.check_job_seal(&job, at).await?;
        Ok(job)
    }

    pub(crate) fn verdict(
        &self,
        tenant: Option<&TenantId>,
        reference: &Reference,
        action: &'static str,
        outcome: Result<(), &Refusal>,
    ) {
        self.verdict_of(None, tenant, reference, action, outcome);
    }

    /// As [`Identity::verdict`], of a job and whom it runs as.
    pub(crate) fn verdict_of(
        &self,
        job: Option<(Subject, JobName)>,
        tenant: Option<&TenantId>,
        reference: &Reference,
        action: &'static str,
        outcome: Result<(), &Refusal>,
    ) {
        let passed: &[Layer] = if outcome.is_ok() { &[Layer::Identity] } else { &[] };
        let mut verdict = Verdict::passed(reference.clone(), self.clock.now(), Part::Issuer, passed);
        verdict.tenant = tenant.cloned();
        verdict.action = Some(action.into());
        (verdict.subject, verdict.job) = job.unzip();
        self.record.record(match outcome {
            Ok(()) => verdict,
            Err(refusal) => verdict.refused(refusal),
        });
    }
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Identity({:?})", self.directory)
    }
}

/// Every path with its methods. To be mounted at the base host.
pub fn router(identity: Arc<Identity>) -> Router {
    Router::new()
        .route("/t/{tenant}/.well-known/openid-configuration", get(discovery::metadata))
        .route("/.well-known/oauth-authorization-server/t/{tenant}", get(discovery::metadata))
        .route("/t/{tenant}/jwks", get(discovery::jwks))
        .route("/t/{tenant}/authorize", get(authorize::page))
        .route("/t/{tenant}/sign-in", post(authorize::sign_in))
        .route("/t/{tenant}/token", post(token::token))
        .route("/t/{tenant}/userinfo", get(userinfo::userinfo).post(userinfo::userinfo))
        .route("/t/{tenant}/revoke", post(revoke::revoke))
        .with_state(identity)
}

/// A new name for a request.
pub(crate) fn reference() -> Result<Reference, IdentityError> {
    let name = format!("r-{}", key::base64url(&key::random::<12>()?));
    Reference::new(&name).map_err(|_| IdentityError::Invalid("reference"))
}
