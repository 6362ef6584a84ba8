//! The revocation endpoint (RFC 7009): a client ends a token of its own, a worker a job of its own.

use std::sync::Arc;

use axum::{
    body::Body,
    extract::{Request, State},
    response::{IntoResponse, Response},
};
use http::StatusCode;
use ringfence_context::{RawToken, Refusal, TenantId, TokenId, UnixTime, id::ClientId, limits};
use std::time::Duration;

use super::{
    Identity,
    answer::{At, OAuthError, unstored},
    form::Parameters,
};

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
    let (owner, token, expires) = match revocable(identity, tenant, raw).await {
        Ok(found) => found,
        Err(refusal) if is_servers(&refusal) => return Err(refusal.into()),
        // What is no valid token here needs no revoking, and saying so would tell what is one (section 2.2).
        Err(_) => return Ok(()),
    };
    if owner != client.id {
        return Err(OAuthError::grant("the token is another client's"));
    }
    let now = identity.clock.now();
    let revision =
        identity.pools.token_revoke(tenant, &token, expires, now).await.map_err(|error| error.refusal())?;
    // From the answer on, this node refuses the token; a directory that does not get there is stale and refuses all.
    let _ = tokio::time::timeout(PATIENCE, identity.directory.reach(revision)).await;
    Ok(())
}

/// Whose to revoke a token is, its id, and when it ends: an access token is the client's it was issued to, and a job token
/// the worker's. A public client proves nothing of itself, so what it enqueued is not its to revoke: whoever could make
/// job tokens and revoke them without end would have every node remember them for days.
async fn revocable(
    identity: &Identity,
    tenant: &TenantId,
    raw: &str,
) -> Result<(ClientId, TokenId, UnixTime), Refusal> {
    let raw = RawToken::new(raw)?;
    match identity.prove(&raw, tenant) {
        Ok(context) => Ok((context.client().clone(), context.token_id().clone(), context.expires())),
        Err(refusal) if is_servers(&refusal) => Err(refusal),
        Err(_) => {
            let job = identity.prove_job(&raw, tenant).await?;
            Ok((job.worker().clone(), job.token_id().clone(), job.expires()))
        }
    }
}

fn is_servers(refusal: &Refusal) -> bool {
    refusal.reason.status() >= 500
}
