//! The revocation endpoint (RFC 7009): a client ends a token of its own, a worker a job of its own.

use std::sync::Arc;

use axum::{
    body::Body,
    extract::{Request, State},
    response::{IntoResponse, Response},
};
use http::StatusCode;
use ringfence_context::{RawToken, Reason, Refusal, TenantId, TokenId, UnixTime, id::ClientId, limits};
use std::time::Duration;

use super::{
    Identity,
    answer::{At, OAuthError, unstored},
    form::Parameters,
};
use crate::error::refuse;

/// How long the answer waits for this node to know.
const PATIENCE: Duration = Duration::from_secs(limits::CLOCK_SKEW_SECONDS);

pub(super) async fn revoke(
    State(identity): State<Arc<Identity>>,
    at: At,
    request: Request<Body>,
) -> Response {
    let outcome = run(&identity, &at.tenant, request).await;
    let verdict = outcome.as_ref().copied().map_err(|error| error.refusal());
    identity.verdict(Some(&at.tenant), &at.reference, "revoke", verdict);
    match outcome {
        Ok(()) => unstored(StatusCode::OK.into_response()),
        Err(error) => error.answer(&at.reference),
    }
}

async fn run(identity: &Identity, tenant: &TenantId, request: Request<Body>) -> Result<(), OAuthError> {
    let (headers, form) = Parameters::of_body(request).await?;
    let client = identity.client(tenant, &headers, &form).await?;
    let raw = form.need("token")?;
    let Revocable { owner, token, expires, is_job } = match revocable(identity, tenant, raw).await {
        Ok(found) => found,
        Err(refusal) if is_servers(&refusal) => return Err(refusal.into()),
        // What is no valid token here needs no revoking, and saying so would tell what is one (section 2.2).
        Err(_) => return Ok(()),
    };
    if owner != client.id {
        return Err(OAuthError::grant("the token is another client's"));
    }
    if is_job && identity.directory.revoked_tokens(tenant)? >= limits::REVOKED_TOKENS {
        return Err(
            refuse(Reason::RateLimited, "as many revoked tokens as are remembered of a tenant").into()
        );
    }
    let now = identity.clock.now();
    let revision =
        identity.pools.token_revoke(tenant, &token, expires, now).await.map_err(|error| error.refusal())?;
    // From the answer on, this node refuses the token; a directory that does not get there is stale and refuses all.
    let _ = tokio::time::timeout(PATIENCE, identity.directory.reach(revision)).await;
    Ok(())
}

/// A token that may be revoked.
struct Revocable {
    /// Whose to revoke it is: an access token is the client's it was issued to, and a job token the worker's. A public client
    /// proves nothing of itself, so what it enqueued is not its to revoke.
    owner: ClientId,
    token: TokenId,
    expires: UnixTime,
    /// Then it is remembered for days.
    is_job: bool,
}

async fn revocable(identity: &Identity, tenant: &TenantId, raw: &str) -> Result<Revocable, Refusal> {
    let raw = RawToken::new(raw)?;
    match identity.prove(&raw, tenant) {
        Ok(context) => Ok(Revocable {
            owner: context.client().clone(),
            token: context.token_id().clone(),
            expires: context.expires(),
            is_job: false,
        }),
        Err(refusal) if is_servers(&refusal) => Err(refusal),
        Err(_) => {
            let job = identity.prove_job(&raw, tenant).await?;
            Ok(Revocable {
                owner: job.worker().clone(),
                token: job.token_id().clone(),
                expires: job.expires(),
                is_job: true,
            })
        }
    }
}

fn is_servers(refusal: &Refusal) -> bool {
    refusal.reason.status() >= 500
}
