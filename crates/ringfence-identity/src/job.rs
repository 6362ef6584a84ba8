//! Job tokens as their issuer makes them, and what it asks of them when they come back (see [`ringfence_context::job`]).

use ringfence_context::{
    Job, JobClaims, Refusal, TenantContext, TenantId,
    id::{ClientId, JobName},
    job::{self, MayAct},
};

use crate::issuer::{Issuer, Minted, signing_key, token_id, unsigned};

/// How long a job token lives where nothing else is set, in seconds: a day.
pub const JOB_SECONDS: u64 = 86_400;

/// What the key is for that seals them.
const PURPOSE: &str = "job";

impl Issuer {
    /// A job token of whoever holds a proved access token, for one worker. Where the access token came of a job itself, it
    /// does not outlive that job: so no chain of jobs lives longer than its first.
    ///
    /// # Errors
    /// [`ringfence_context::Reason::NotServed`] where the tenant is suspended.
    pub(crate) async fn job_token(
        &self,
        context: &TenantContext,
        worker: &ClientId,
        name: JobName,
        seconds: u64,
    ) -> Result<Minted, Refusal> {
        let keys = self.active(context.tenant()).await?;
        let (iat, jti) = (self.clock.now().seconds(), token_id()?);
        let last = context.job().map_or(u64::MAX, |job| job.exp);
        let exp = iat.saturating_add(seconds).min(last);
        let iss = self.addresses.issuer(context.tenant());
        let claims = JobClaims {
            aud: job::audience(&iss),
            iss,
            sub: context.subject().clone(),
            exp,
            iat,
            jti: jti.clone(),
            client_id: context.signed_in_through().clone(),
            tenant_id: context.tenant().clone(),
            may_act: MayAct { sub: worker.clone() },
            job: name,
            seal: None,
        };
        let claims = claims.sealed(&keys.key_for(PURPOSE));
        let token = signing_key(keys.signing_key())?.sign(job::TYP, &claims).map_err(unsigned)?;
        Ok(Minted { token, jti, exp, expires_in: exp.saturating_sub(iat) })
    }

    /// Checks a job's seal under the key of the tenant it was presented at, as the state has it now.
    ///
    /// # Errors
    /// [`ringfence_context::Reason::TokenInvalid`], or as [`Issuer::job_token`].
    pub(crate) async fn check_job_seal(&self, job: &Job, at: &TenantId) -> Result<(), Refusal> {
        job.check_seal(&self.active(at).await?.key_for(PURPOSE))
    }
}
