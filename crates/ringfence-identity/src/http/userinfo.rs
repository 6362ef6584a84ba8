//! The UserInfo endpoint (OpenID Connect Core section 5.3): who the holder of an access token of this tenant is.

use std::sync::Arc;

use axum::{
    Json,
    extract::State,
    response::{IntoResponse, Response},
};
use http::{HeaderMap, HeaderValue, header};
use ringfence_context::{RawToken, Reason, Refusal, TenantId};
use serde_json::{Value, json};

use super::{
    Identity,
    answer::{At, problem, unstored},
};
use crate::error::{IdentityError, refuse};

pub(super) async fn userinfo(State(identity): State<Arc<Identity>>, at: At, headers: HeaderMap) -> Response {
    let outcome = claims(&identity, &at.tenant, &headers).await;
    identity.verdict(Some(&at.tenant), &at.reference, "userinfo", outcome.as_ref().map(|_| ()));
    match outcome {
        Ok(claims) => unstored(Json(claims).into_response()),
        Err(refusal) => {
            let mut response = problem(&refusal, &at.reference);
            if refusal.reason.status() == 401 {
                // RFC 6750 section 3.
                let value = match refusal.reason {
                    Reason::TokenMissing => "Bearer",
                    _ => "Bearer error=\"invalid_token\"",
                };
                response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static(value));
            }
            response
        }
    }
}

async fn claims(identity: &Identity, tenant: &TenantId, headers: &HeaderMap) -> Result<Value, Refusal> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let value = values.next().ok_or(refuse(Reason::TokenMissing, "no Authorization"))?;
    if values.next().is_some() {
        return Err(refuse(Reason::RequestMalformed, "two Authorization headers"));
    }
    let malformed = |_| refuse(Reason::TokenMalformed, "Authorization is not text");
    let context =
        identity.prove(&RawToken::from_authorization(value.to_str().map_err(malformed)?)?, tenant)?;
    if context.is_machine() {
        return Ok(json!({ "sub": context.subject() }));
    }
    match identity.pools.user_get(tenant, context.subject()).await {
        Ok(user) => Ok(json!({
            "sub": user.id,
            "name": user.display_name,
            "preferred_username": user.username,
        })),
        Err(IdentityError::Missing(_)) => Err(refuse(Reason::TokenRevoked, "the user is gone")),
        Err(error) => Err(error.refusal()),
    }
}
