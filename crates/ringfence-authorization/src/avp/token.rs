//! The seam to those who can verify a token: this service believes none by itself.

use ringfence_context::{
    RawToken, Refusal, TenantId,
    foreign::{ForeignClaims, TokenKind},
    key::base64url_decode,
    limits, strict_json,
};
use serde_json::{Map, Value};

use crate::avp::{Later, account::Account, error::AvpError};

/// What a token says whose signature, issuer, audience, expiry and revocation were checked, and whose tenant is the one
/// it was checked for.
#[derive(Debug, Clone)]
pub struct Claims(Map<String, Value>);

/// Verifies tokens: of tenants' own issuers, and of others.
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

    /// Verifies a token of an issuer that is none of the plane's, and that an identity source of this account names.
    /// Whom it is meant for is not looked at.
    ///
    /// # Errors
    /// [`ForeignFault`].
    fn foreign<'a>(
        &'a self,
        account: &'a Account,
        issuer: &'a str,
        token: &'a str,
        kind: TokenKind,
    ) -> Later<'a, Result<Claims, ForeignFault>>;
}

/// Why a token of an issuer that is none of the plane's is not believed.
#[derive(Debug)]
pub enum ForeignFault {
    /// The token is refused.
    Refused(Refusal),
    /// The operator has not listed its issuer.
    NotAllowed,
    /// Its issuer is at a name of the plane's.
    Plane,
    /// Its issuer's keys can't be had.
    Unavailable,
    /// Too many issuers are being asked.
    Busy,
}

impl From<Refusal> for ForeignFault {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl ForeignFault {
    /// What a caller is told, who has sent the token as `path`. Nothing of what is at the issuer's address.
    pub(crate) fn told(self, path: &str) -> AvpError {
        AvpError::invalid(
            path,
            match self {
                Self::Busy => {
                    let told = "Too many issuers of this account are being asked for their keys; try again.";
                    return AvpError::Throttling(told.to_owned());
                }
                Self::Refused(refusal) => return refused(path, &refusal),
                Self::NotAllowed => {
                    "is of an issuer whose keys this plane does not fetch: its operator has to list it as `issuers` under [avp] in ringfence.toml"
                }
                Self::Plane => {
                    "is of an issuer of this plane: an identity source takes those of its own tenant's, by that issuer's name"
                }
                Self::Unavailable => "can't be verified: its issuer's keys can't be had at the moment",
            },
        )
    }
}

/// A refusal, as a caller is told.
pub(crate) fn refused(path: &str, refusal: &Refusal) -> AvpError {
    AvpError::invalid(path, format!("was refused: {}", refusal.reason.title()))
}

impl From<ForeignClaims> for Claims {
    fn from(claims: ForeignClaims) -> Self {
        Self(claims.into_map())
    }
}

impl Claims {
    /// What a token says. For those who have verified this very token, and nobody else.
    pub fn of_verified(token: &RawToken) -> Option<Self> {
        said(token.reveal()).map(Self)
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

    /// Whether a claim is there.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// Every claim but the seal, which is between the issuer and the database.
    pub(crate) fn shown(&self) -> impl Iterator<Item = (&String, &Value)> {
        self.0.iter().filter(|(name, _)| *name != "seal")
    }
}

/// The issuer a token claims to be of, to find the identity source by which it may be believed or not.
pub(crate) fn claimed_issuer(token: &str) -> Option<String> {
    if token.len() > limits::FOREIGN_TOKEN_BYTES {
        return None;
    }
    said(token)?.get("iss")?.as_str().map(str::to_owned)
}

fn said(token: &str) -> Option<Map<String, Value>> {
    let claims = token.split('.').nth(1)?;
    match strict_json::value(&base64url_decode(claims).ok()?, limits::JSON_DEPTH).ok()? {
        Value::Object(claims) => Some(claims),
        _ => None,
    }
}
