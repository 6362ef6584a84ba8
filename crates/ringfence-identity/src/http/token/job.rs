//! Jobs at the token endpoint: a job token at enqueue, and what its worker gets for it when the job runs.
//!
//! At enqueue somebody's access token is enough: what it gives is worth nothing to whoever is not the worker. At run the
//! worker proves that it is, and all that was true at enqueue is asked anew: issuer, seal, audience and time of the token,
//! revocation, tenant, user, membership, and in what roles.

use http::HeaderMap;
use ringfence_context::{
    Job, RawToken, TenantContext, TenantId,
    id::{ClientId, JobName, Role, Subject},
};

use super::{Granted, Identity, OAuthError, Parameters};
use crate::{Client, ClientKind, IdentityError, exchange, membership::DECISIONS};

impl Identity {
    /// A job token for the holder of a proved access token: `scope` names the job, and `audience` the worker (RFC 8693
    /// section 2.1).
    pub(super) async fn grant_job(
        &self,
        context: &TenantContext,
        form: &Parameters,
    ) -> Result<Granted, OAuthError> {
        if decides(context.roles()) {
            return Err(OAuthError::unauthorized_client("a decision client that enqueues"));
        }
        let name = form.need("scope")?.strip_prefix(exchange::JOB_SCOPE);
        let name = name.and_then(|name| JobName::new(name).ok()).ok_or(OAuthError::new(
            "invalid_scope",
            "the scope names no job",
            "The scope is job: and the job's name, of 1 to 128 visible ASCII characters.",
        ))?;
        let worker = self.worker(context.tenant(), form.need("audience")?).await?;
        let job = Some((context.subject().clone(), name.clone()));
        let minted = self.issuer.job_token(context, &worker, name, self.job_seconds).await?;
        Ok(Granted {
            // Nobody's to be sent to an API (RFC 8693 section 2.2.1).
            token_type: "N_A",
            issued_token_type: Some(exchange::JOB_TOKEN),
            job,
            ..minted.into()
        })
    }

    /// What a job token is exchanged for: an access token of its subject, as it is now, or what that is exchanged for.
    pub(super) async fn grant_of_job(
        &self,
        tenant: &TenantId,
        headers: &HeaderMap,
        form: &Parameters,
        wanted: &str,
    ) -> Result<Granted, OAuthError> {
        let client = self.client(tenant, headers, form).await?;
        if !is_machine(&client) {
            return Err(OAuthError::unauthorized_client("a public client as a worker"));
        }
        let job = self.prove_job(&RawToken::new(form.need("subject_token")?)?, tenant).await?;
        if *job.worker() != client.id {
            return Err(OAuthError::grant("the job is another worker's"));
        }
        self.check_member(tenant, &client.id).await?;
        self.check_enqueuer(tenant, &job).await?;
        let minted = self.issuer.access_token_of_job(tenant, &job).await?;
        let job = Some((job.subject().clone(), job.name().clone()));
        if wanted == exchange::ACCESS_TOKEN {
            return Ok(Granted { issued_token_type: Some(exchange::ACCESS_TOKEN), job, ..minted.into() });
        }
        let access = RawToken::new(&minted.token)?;
        let context = self.prove(&access, tenant)?;
        Ok(Granted { job, ..self.grant_database(access, &context, wanted).await? })
    }

    /// The client that is to run a job. One answer to whatever is none, for whatever reason (RFC 8693 section 2.2.2).
    async fn worker(&self, tenant: &TenantId, id: &str) -> Result<ClientId, OAuthError> {
        let none = || {
            OAuthError::new("invalid_target", "no such worker", "The audience is no worker of this tenant.")
        };
        let id = ClientId::new(id).map_err(|_| none())?;
        match self.pools.client_get(tenant, &id).await {
            Ok(client) if !client.disabled && is_machine(&client) => {}
            Ok(_) | Err(IdentityError::Missing(_)) => return Err(none()),
            Err(error) => return Err(error.refusal().into()),
        }
        self.check_member(tenant, &id)
            .await
            .map_err(|error| if error.is_servers() { error } else { none() })?;
        Ok(id)
    }

    /// A worker is a member of the tenant, and not the one that may only ask for decisions.
    async fn check_member(&self, tenant: &TenantId, worker: &ClientId) -> Result<(), OAuthError> {
        let gone = || OAuthError::unauthorized_client("the worker is no member");
        let subject = Subject::new(worker.as_str()).map_err(|_| gone())?;
        let claims = self.issuer.hook.claims(tenant, &subject).await?;
        if decides(&claims.roles) {
            return Err(OAuthError::unauthorized_client("a decision client as a worker"));
        }
        Ok(())
    }

    /// Who enqueued a job is still there. In what roles, the hook says when the token is made.
    async fn check_enqueuer(&self, tenant: &TenantId, job: &Job) -> Result<(), OAuthError> {
        if !job.is_machine() {
            return self.user_there(tenant, job.subject()).await.map(drop);
        }
        let gone = || OAuthError::grant("the machine is gone or disabled");
        let id = ClientId::new(job.subject().as_str()).map_err(|_| gone())?;
        match self.pools.client_get(tenant, &id).await {
            Ok(client) if !client.disabled => Ok(()),
            Ok(_) | Err(IdentityError::Missing(_)) => Err(gone()),
            Err(error) => Err(error.refusal().into()),
        }
    }
}

/// Whether these are the roles of a client that may ask for decisions and is nothing else.
fn decides(roles: &[Role]) -> bool {
    roles.iter().any(|role| role.as_str() == DECISIONS)
}

fn is_machine(client: &Client) -> bool {
    matches!(client.kind, ClientKind::Machine { .. })
}
