//! Tokens for the policy service: of tenants' own issuers, verified in process, and of others ([`crate::foreign`]).
//!
//! An access token by the checks every part of the plane makes. An ID token, which proves a tenant nowhere else, by its
//! issuer's keys (OpenID Connect Core section 3.1.3.7), for a client of the very pool, while its user may sign in.

use std::sync::Arc;

use ringfence_authorization::avp::{Account, Claims, ForeignFault, Later, VerifyToken};
use ringfence_context::{
    Clock, Issuers, Layer, RawToken, Reason, Refusal, TenantId, VerifyAccess,
    access::claimed_issuer,
    foreign::TokenKind,
    id::{ClientId, Subject},
    key::base64url_decode,
    limits, strict_json,
};
use ringfence_identity::{Directory, Pools};
use serde::Deserialize;

use crate::foreign::ForeignIssuers;

/// The verifier of tokens.
pub(crate) struct OwnIssuers {
    pub(crate) directory: Arc<Directory>,
    pub(crate) pools: Pools,
    pub(crate) access: Arc<dyn VerifyAccess>,
    pub(crate) clock: Arc<dyn Clock>,
    /// Issuers that are none of the plane's.
    pub(crate) foreign: ForeignIssuers,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    typ: String,
    alg: String,
    kid: String,
}

/// What an ID token must say; the rest is for policies.
#[derive(Deserialize)]
struct IdClaims {
    iss: String,
    sub: Subject,
    aud: ClientId,
    exp: u64,
    iat: u64,
}

impl VerifyToken for OwnIssuers {
    fn own_issuer(&self, tenant: &TenantId) -> String {
        self.directory.addresses().issuer(tenant)
    }

    fn access<'a>(&'a self, tenant: &'a TenantId, token: &'a RawToken) -> Later<'a, Result<Claims, Refusal>> {
        Box::pin(async move { self.access_check(tenant, token) })
    }

    fn identity<'a>(
        &'a self,
        tenant: &'a TenantId,
        token: &'a RawToken,
    ) -> Later<'a, Result<Claims, Refusal>> {
        Box::pin(self.identity_check(tenant, token))
    }

    fn foreign<'a>(
        &'a self,
        account: &'a Account,
        issuer: &'a str,
        token: &'a str,
        kind: TokenKind,
    ) -> Later<'a, Result<Claims, ForeignFault>> {
        Box::pin(async move { Ok(self.foreign.verify(account, issuer, token, kind).await?.into()) })
    }
}

impl OwnIssuers {
    fn access_check(&self, tenant: &TenantId, token: &RawToken) -> Result<Claims, Refusal> {
        let issuer = self.directory.issuer(&claimed_issuer(token)?)?;
        let verified = self.access.verify(token, &issuer, self.clock.now())?;
        let context = self.access.bind(verified, tenant)?;
        self.directory.check_live(&context)?;
        self.directory.check_seal(&context)?;
        Claims::of_verified(token).ok_or(malformed("claims"))
    }

    async fn identity_check(&self, tenant: &TenantId, token: &RawToken) -> Result<Claims, Refusal> {
        let issuer = self.directory.pool(tenant)?;
        let (message, signature) = token.reveal().rsplit_once('.').ok_or(malformed("not three segments"))?;
        let (header, claims) = message.split_once('.').ok_or(malformed("not three segments"))?;
        let header: Header = json(header).ok_or(malformed("header"))?;
        if header.typ != "JWT" || header.alg != "EdDSA" {
            return Err(malformed("not an ID token"));
        }
        let key = issuer.keys.iter().find(|key| key.kid() == header.kid);
        let signed = key.is_some_and(|key| key.verifies(message.as_bytes(), signature));
        if !signed {
            return Err(refuse(Reason::TokenInvalid, "signature of an ID token"));
        }
        let claims: IdClaims = json(claims).ok_or(malformed("claims of an ID token"))?;
        if claims.iss != issuer.issuer || issuer.tenant != *tenant {
            return Err(refuse(Reason::TenantMismatch, "an ID token of another issuer"));
        }
        let now = self.clock.now().seconds();
        let longest = limits::ACCESS_TOKEN_LIFE_SECONDS;
        if claims.exp <= now
            || claims.iat > now.saturating_add(limits::CLOCK_SKEW_SECONDS)
            || claims.exp.saturating_sub(claims.iat) > longest
        {
            return Err(refuse(Reason::TokenExpired, "times of an ID token"));
        }
        let revoked = |_| refuse(Reason::TokenRevoked, "the user or client of an ID token");
        let user = self.pools.user_get(tenant, &claims.sub).await.map_err(revoked)?;
        let client = self.pools.client_get(tenant, &claims.aud).await.map_err(revoked)?;
        if user.disabled || client.disabled {
            return Err(refuse(Reason::TokenRevoked, "the user or client of an ID token was disabled"));
        }
        Claims::of_verified(token).ok_or(malformed("claims"))
    }
}

fn json<T: serde::de::DeserializeOwned>(segment: &str) -> Option<T> {
    strict_json::object(&base64url_decode(segment).ok()?).ok()
}

const fn refuse(reason: Reason, detail: &'static str) -> Refusal {
    Refusal::new(Layer::Token, reason, detail)
}

const fn malformed(detail: &'static str) -> Refusal {
    refuse(Reason::TokenMalformed, detail)
}
