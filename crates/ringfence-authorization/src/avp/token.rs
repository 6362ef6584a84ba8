//! The seam to those who can verify a token: this service believes none by itself.

use ringfence_context::{RawToken, Refusal, TenantId, key::base64url_decode, limits, strict_json};
use serde_json::{Map, Value};

use crate::avp::Later;

/// What a token says whose signature, issuer, audience, expiry and revocation were checked, and whose tenant is the one
/// it was checked for.
#[derive(Debug, Clone)]
pub struct Claims(Map<String, Value>);

/// Verifies tokens of tenants' own issuers.
pub trait VerifyToken: Send + Sync {
    /// The URL of the tenant's own issuer.
    fn own_issuer(&self, tenant: &TenantId) -> String;

    /// Verifies an access token of this tenant's own issuer.
    ///
    /// # Errors
    /// As the gateway refuses it.
    fn access<'a>(&'a self, tenant: &'a TenantId, token: &'a RawToken) -> Later<'a, Result<Claims, Refusal>>;

    /// Verifies an ID token of this tenant's own issuer.
    ///
    /// # Errors
    /// As an access token is refused that is wrong in the same way.
    fn identity<'a>(
        &'a self,
        tenant: &'a TenantId,
        token: &'a RawToken,
    ) -> Later<'a, Result<Claims, Refusal>>;
}

impl Claims {
    /// What a token says. For those who have verified this very token, and nobody else.
    pub fn of_verified(token: &RawToken) -> Option<Self> {
        said(token).map(Self)
    }

    /// A claim that is text.
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name).and_then(Value::as_str)
    }

    /// A claim that is text or a list of texts.
    pub(crate) fn texts(&self, name: &str) -> Vec<&str> {
        match self.0.get(name) {
            Some(Value::String(text)) => vec![text],
            Some(Value::Array(items)) => items.iter().filter_map(Value::as_str).collect(),
            _ => Vec::new(),
        }
    }

    /// Every claim but the seal, which is between the issuer and the database.
    pub(crate) fn shown(&self) -> impl Iterator<Item = (&String, &Value)> {
        self.0.iter().filter(|(name, _)| *name != "seal")
    }
}

/// The issuer a token claims to be of, to find the identity source by which it may be believed or not.
pub(crate) fn claimed_issuer(token: &RawToken) -> Option<String> {
    said(token)?.get("iss")?.as_str().map(str::to_owned)
}

fn said(token: &RawToken) -> Option<Map<String, Value>> {
    let claims = token.reveal().split('.').nth(1)?;
    match strict_json::value(&base64url_decode(claims).ok()?, limits::JSON_DEPTH).ok()? {
        Value::Object(claims) => Some(claims),
        _ => None,
    }
}
