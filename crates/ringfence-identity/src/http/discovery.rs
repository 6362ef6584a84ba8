//! Discovery (OpenID Connect Discovery 1.0, RFC 8414) and public keys (RFC 7517).

use std::sync::Arc;

use axum::{
    Json,
    extract::State,
    response::{IntoResponse, Response},
};
use http::header;
use ringfence_context::key::{Jwks, PublicKey};
use serde_json::json;

use super::{
    Identity,
    answer::{At, problem, set},
};
use crate::exchange;

pub(super) async fn metadata(State(identity): State<Arc<Identity>>, at: At) -> Response {
    let issuer = identity.directory.addresses().issuer(&at.tenant);
    cacheable(Json(json!({
        "issuer": issuer,
        "authorization_endpoint": format!("{issuer}/authorize"),
        "token_endpoint": format!("{issuer}/token"),
        "jwks_uri": format!("{issuer}/jwks"),
        "userinfo_endpoint": format!("{issuer}/userinfo"),
        "revocation_endpoint": format!("{issuer}/revoke"),
        "scopes_supported": ["openid", "profile"],
        "response_types_supported": ["code"],
        "response_modes_supported": ["query"],
        "grant_types_supported": ["authorization_code", "client_credentials", exchange::GRANT],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["EdDSA"],
        "token_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post", "none"],
        "revocation_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post", "none"],
        "code_challenge_methods_supported": ["S256"],
        "claims_supported": ["sub", "iss", "aud", "exp", "iat", "auth_time", "nonce", "at_hash", "name", "preferred_username"],
        "authorization_response_iss_parameter_supported": true,
        "request_parameter_supported": false,
        "request_uri_parameter_supported": false,
    })))
}

pub(super) async fn jwks(State(identity): State<Arc<Identity>>, at: At) -> Response {
    match identity.directory.pool(&at.tenant) {
        Ok(issuer) => cacheable(Json(Jwks { keys: issuer.keys.iter().map(PublicKey::jwk).collect() })),
        Err(refusal) => problem(&refusal, &at.reference),
    }
}

/// For a minute: shorter than a replaced key is still believed.
fn cacheable(body: impl IntoResponse) -> Response {
    let mut response = body.into_response();
    set(&mut response, header::CACHE_CONTROL, "public, max-age=60");
    set(&mut response, header::X_CONTENT_TYPE_OPTIONS, "nosniff");
    response
}
