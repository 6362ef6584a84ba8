//! `Txn-Token`: the gateway's signed word about one request (IETF OAuth Transaction Tokens).
//!
//! What an Ed25519 signature binds: tenant, subject, hash of the access token, action, method and route. It is reused
//! for at most a second for the same of those. What a MAC binds per request: the exact target and the reference. Why:
//! `docs/decisions/2026-11-23-txn-token-binding.md`.

use serde::{Deserialize, Serialize};

use crate::{
    access::check_times,
    id::{Reference, Subject, TenantId},
    key::{BegunTag, KeyError, MacKey, PublicKey, SigningKey, base64url, base64url_decode},
    limits,
    permit::Permit,
    refusal::{Layer, Reason, Refusal},
    secret::Secret,
    time::UnixTime,
    token::RawToken,
};

/// The `typ` of a `Txn-Token` (draft-ietf-oauth-transaction-tokens section 5).
pub const TYP: &str = "txntoken+jwt";

/// What a `Txn-Token` is for; one for a request opens no database session by itself and the other way round.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Purpose {
    /// One HTTP request, and the database work done for it.
    Request,
    /// A database session of a person or job, by token exchange.
    Database,
}

/// What a `Txn-Token` says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TxnClaims {
    /// The gateway's issuer URL.
    pub iss: String,
    /// The trust domain.
    pub aud: String,
    /// Issued at, seconds since the epoch.
    pub iat: u64,
    /// Expiry, seconds since the epoch.
    pub exp: u64,
    /// The transaction: one per signature.
    pub txn: Reference,
    /// Who acts.
    pub sub: Subject,
    /// For which tenant.
    pub tenant_id: TenantId,
    /// Hash of the access token, base64url (as `ath` in RFC 9449 section 4.2).
    pub ath: String,
    /// What for.
    pub purp: Purpose,
    /// The Cedar action the gateway's decision permitted.
    pub action: String,
    /// The request's method and route template; `-` for a database session.
    pub route: String,
}

/// The gateway's signer. It has no tenant's key: it can repeat what an issuer has signed, never invent it.
#[derive(Debug)]
pub struct TxnSigner {
    key: SigningKey,
    issuer: String,
    audience: String,
}

impl TxnSigner {
    /// A signer for one trust domain.
    pub fn new(key: SigningKey, issuer: String, audience: String) -> Self {
        Self { key, issuer, audience }
    }

    /// The key the others verify with.
    pub fn public(&self) -> &PublicKey {
        self.key.public()
    }

    /// Signs the word about a permitted request. `route` is `METHOD /route/{template}`.
    ///
    /// # Errors
    /// [`KeyError::Sign`].
    pub fn mint(
        &self,
        permit: &Permit,
        purpose: Purpose,
        route: &str,
        txn: Reference,
        now: UnixTime,
    ) -> Result<String, KeyError> {
        let context = permit.context();
        let life = match purpose {
            Purpose::Request => limits::TXN_TOKEN_LIFE_SECONDS,
            Purpose::Database => limits::DATABASE_TOKEN_LIFE_SECONDS,
        };
        self.key.sign(
            TYP,
            &TxnClaims {
                iss: self.issuer.clone(),
                aud: self.audience.clone(),
                iat: now.seconds(),
                exp: now.seconds().saturating_add(life),
                txn,
                sub: context.subject().clone(),
                tenant_id: context.tenant().clone(),
                ath: base64url(context.token_hash()),
                purp: purpose,
                action: permit.action().to_owned(),
                route: route.to_owned(),
            },
        )
    }
}

/// A `Txn-Token` whose signature, issuer, audience and times hold.
#[derive(Debug, Clone)]
pub struct VerifiedTxn {
    claims: TxnClaims,
}

impl VerifiedTxn {
    /// What it says.
    pub fn claims(&self) -> &TxnClaims {
        &self.claims
    }

    /// Whether it was minted for the access token of this hash.
    pub fn is_about(&self, token_hash: &[u8; 32]) -> bool {
        self.claims.ath == base64url(token_hash)
    }
}

/// The seam at which verification of the gateway's signature stands in the chain.
pub trait VerifyTxn: Send + Sync {
    /// Checks a `Txn-Token`.
    ///
    /// # Errors
    /// [`Reason::TxnTokenInvalid`] or [`Reason::TokenExpired`].
    fn verify_txn(&self, raw: &RawToken, now: UnixTime) -> Result<VerifiedTxn, Refusal>;
}

/// The verifier: knows the gateway's public key, issuer and trust domain.
#[derive(Debug, Clone)]
pub struct TxnVerifier {
    /// The gateway's keys: more than one while a key is being replaced.
    pub keys: Vec<PublicKey>,
    /// The gateway's issuer URL.
    pub issuer: String,
    /// The trust domain.
    pub audience: String,
}

impl VerifyTxn for TxnVerifier {
    fn verify_txn(&self, raw: &RawToken, now: UnixTime) -> Result<VerifiedTxn, Refusal> {
        let invalid = |detail| Refusal::new(Layer::Backend, Reason::TxnTokenInvalid, detail);
        let parsed = raw.parse::<TxnClaims>(TYP).map_err(|refusal| invalid(refusal.detail))?;
        let claims = parsed.claims;
        let key = self
            .keys
            .iter()
            .find(|key| key.kid() == parsed.kid)
            .ok_or(invalid("kid is not a key of the gateway"))?;
        let (message, signature) = raw.message_and_signature(parsed.message_len);
        if !key.verifies(message.as_bytes(), signature) {
            return Err(invalid("signature of the Txn-Token"));
        }
        if claims.iss != self.issuer || claims.aud != self.audience {
            return Err(invalid("Txn-Token of another trust domain"));
        }
        let longest = match claims.purp {
            Purpose::Request => limits::TXN_TOKEN_LIFE_SECONDS,
            Purpose::Database => limits::DATABASE_TOKEN_LIFE_SECONDS,
        };
        check_times(claims.iat, claims.exp, longest, now).map_err(|refusal| refusal.at(Layer::Backend))?;
        Ok(VerifiedTxn { claims })
    }
}

#[cfg(feature = "range")]
impl VerifiedTxn {
    pub(crate) fn assume_unchecked(raw: &RawToken) -> Result<Self, Refusal> {
        Ok(Self { claims: raw.parse::<TxnClaims>(TYP)?.claims })
    }
}

/// The per-request half of the binding: a MAC with a key the gateway and one backend share.
#[derive(Debug, Clone)]
pub struct RequestBinding(MacKey);

/// What the MAC is over.
#[derive(Debug, Clone, Copy)]
pub struct BoundRequest<'a> {
    /// The method.
    pub method: &'a str,
    /// Path and query, exactly as forwarded.
    pub target: &'a str,
    /// The tenant header's value.
    pub tenant: &'a str,
    /// The reference header's value.
    pub reference: &'a str,
}

/// The part of the binding that is the same for every request a `Txn-Token` is sent along with.
#[derive(Debug, Clone)]
pub struct TokenBinding(BegunTag);

impl TokenBinding {
    /// The header value that binds a request to the token.
    pub fn bind(&self, request: &BoundRequest<'_>) -> String {
        base64url(&self.0.tag(&request.parts()))
    }
}

impl<'a> BoundRequest<'a> {
    fn parts(&self) -> [&'a [u8]; 4] {
        [self.method, self.target, self.tenant, self.reference].map(str::as_bytes)
    }
}

impl RequestBinding {
    /// A binding with the key shared with one backend.
    pub fn new(key: MacKey) -> Self {
        Self(key)
    }

    /// The binding to a `Txn-Token`.
    pub fn of(&self, txn: &str) -> TokenBinding {
        TokenBinding(self.0.begin(&[b"ringfence-request-v1", txn.as_bytes()]))
    }

    /// Checks the header value of a request that came with this `Txn-Token`.
    ///
    /// # Errors
    /// [`Reason::TxnTokenInvalid`] where it is not over this request.
    pub fn check(&self, txn: &str, request: &BoundRequest<'_>, value: &str) -> Result<(), Refusal> {
        let tag = base64url_decode(value).unwrap_or_default();
        if self.of(txn).0.verifies(&request.parts(), &tag) {
            Ok(())
        } else {
            Err(Refusal::new(
                Layer::Backend,
                Reason::TxnTokenInvalid,
                "the request is not the one the gateway sent",
            ))
        }
    }

    /// What a backend with this key shows when it tells the plane what it refused. The key can't be learnt from it.
    pub fn reporter(&self) -> Secret<String> {
        Secret::new(format!("rfb_{}", base64url(&self.0.derive("reporter").tag(&[]))))
    }

    /// Whether this is what such a backend shows, compared in constant time.
    pub fn is_reporter(&self, shown: &str) -> bool {
        let tag = shown.strip_prefix("rfb_").and_then(|tag| base64url_decode(tag).ok());
        tag.is_some_and(|tag| self.0.derive("reporter").verifies(&[], &tag))
    }
}

pub(crate) const fn disagree(detail: &'static str) -> Refusal {
    Refusal::new(Layer::Backend, Reason::SourcesDisagree, detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixTime = UnixTime::from_seconds(1_800_000_000);

    /// Why a `Txn-Token` for this purpose that lives for so long is not believed, if it is not.
    fn living(purpose: Purpose, seconds: u64) -> Result<(), Reason> {
        let (key, _) = SigningKey::generate().unwrap();
        let verifier = TxnVerifier {
            keys: vec![key.public().clone()],
            issuer: "https://gw".to_owned(),
            audience: "trust".to_owned(),
        };
        let claims = TxnClaims {
            iss: verifier.issuer.clone(),
            aud: verifier.audience.clone(),
            iat: NOW.seconds(),
            exp: NOW.seconds() + seconds,
            txn: Reference::make(NOW, 7),
            sub: Subject::new("u-1").unwrap(),
            tenant_id: TenantId::new("acme").unwrap(),
            ath: base64url(&[7; 32]),
            purp: purpose,
            action: "ListNotes".to_owned(),
            route: "GET /notes".to_owned(),
        };
        let raw = RawToken::new(&key.sign(TYP, &claims).unwrap()).unwrap();
        verifier.verify_txn(&raw, NOW).map(drop).map_err(|refusal| refusal.reason)
    }

    #[test]
    fn reject_txn_token_life_seconds() {
        assert_eq!(living(Purpose::Request, limits::TXN_TOKEN_LIFE_SECONDS), Ok(()));
        assert_eq!(living(Purpose::Request, limits::TXN_TOKEN_LIFE_SECONDS + 1), Err(Reason::TokenMalformed));
    }

    #[test]
    fn reject_database_token_life_seconds() {
        assert_eq!(living(Purpose::Database, limits::DATABASE_TOKEN_LIFE_SECONDS), Ok(()));
        assert_eq!(
            living(Purpose::Database, limits::DATABASE_TOKEN_LIFE_SECONDS + 1),
            Err(Reason::TokenMalformed)
        );
    }
}
