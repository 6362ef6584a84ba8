//! Access tokens (RFC 9068) and the tenant they prove.
//!
//! Three statements of the tenant must agree before a [`TenantContext`] exists: the issuer whose key verified the
//! signature, the `tenant_id` that issuer signed, and the tenant of the address the token was presented at.

use std::sync::Arc;

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::{
    database::Seal,
    id::{ClientId, Role, Subject, TenantId, TokenId},
    job::{JobClaim, VerifyJob},
    key::{MacKey, PublicKey},
    limits,
    refusal::{Layer, Reason, Refusal},
    time::UnixTime,
    token::{RawToken, malformed},
};

/// The `typ` of an access token (RFC 9068 section 2.1).
pub const TYP: &str = "at+jwt";

/// What an access token says (RFC 9068 section 2.2), as its issuer writes it. Saying is not proving: see
/// [`VerifiedToken`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AccessClaims {
    /// The issuer's URL.
    pub iss: String,
    /// Who acts.
    pub sub: Subject,
    /// The API it is meant for.
    pub aud: String,
    /// Expiry, seconds since the epoch.
    pub exp: u64,
    /// Issued at, seconds since the epoch.
    pub iat: u64,
    /// The token's own id.
    pub jti: TokenId,
    /// The client it was issued to.
    pub client_id: ClientId,
    /// The tenant, set by the pre-token hook from the membership record.
    pub tenant_id: TenantId,
    /// Roles of the membership.
    pub roles: Arc<[Role]>,
    /// What only the tenant's issuer can make and only the database can check.
    pub seal: Seal,
    /// The job it came of, where it came of one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job: Option<Arc<JobClaim>>,
}

/// The keys of one issuer, with the tenant whose issuer it is. Looked up by the `iss` of a token, never sent by one.
#[derive(Debug, Clone)]
pub struct IssuerKeys {
    /// The tenant this issuer belongs to, and the only one it can speak for.
    pub tenant: TenantId,
    /// Its URL, exactly.
    pub issuer: String,
    /// The audience its access tokens must carry.
    pub audience: String,
    /// Its public keys.
    pub keys: Vec<PublicKey>,
}

/// Where issuers are looked up, and what has happened since they signed. Answers come from memory: no I/O on a request.
pub trait Issuers: Send + Sync {
    /// The issuer of this URL.
    ///
    /// # Errors
    /// [`Reason::TokenInvalid`] where there is none, [`Reason::DependencyUnavailable`] where that can't be known.
    fn issuer(&self, url: &str) -> Result<Arc<IssuerKeys>, Refusal>;

    /// Whether the tenant is still active and the token not revoked.
    ///
    /// # Errors
    /// [`Reason::TenantInactive`], [`Reason::TokenRevoked`] or [`Reason::DependencyUnavailable`].
    fn check_live(&self, context: &TenantContext) -> Result<(), Refusal>;

    /// The revision of what is known of this tenant's issuer: part of any cache key, so that what was verified with keys
    /// since replaced is verified again. What happens to other tenants does not change it.
    fn revision(&self, tenant: &TenantId) -> u64;
}

/// A token whose signature, issuer, audience and times hold. Which tenant it may act for is not settled yet.
#[derive(Debug)]
pub struct VerifiedToken {
    claims: AccessClaims,
    issuer_tenant: TenantId,
    hash: [u8; 32],
}

/// A proved tenant: whoever holds one acts for this tenant and no other.
#[derive(Debug, Clone)]
pub struct TenantContext {
    claims: AccessClaims,
    hash: [u8; 32],
}

/// The seam at which verification stands in the chain. Its results can be made in this file only.
pub trait VerifyAccess: VerifyJob + Send + Sync {
    /// Checks the token itself against the keys of the issuer it names.
    ///
    /// # Errors
    /// A refusal of the token layer.
    fn verify(&self, raw: &RawToken, issuer: &IssuerKeys, now: UnixTime) -> Result<VerifiedToken, Refusal>;

    /// Checks that issuer, claim and the address it was presented at name one tenant.
    ///
    /// # Errors
    /// [`Reason::TenantMismatch`].
    fn bind(&self, token: VerifiedToken, presented_at: &TenantId) -> Result<TenantContext, Refusal>;
}

/// The verifier.
#[derive(Debug, Clone, Copy)]
pub struct AccessVerifier;

impl VerifyAccess for AccessVerifier {
    fn verify(&self, raw: &RawToken, issuer: &IssuerKeys, now: UnixTime) -> Result<VerifiedToken, Refusal> {
        let claims = signed::<AccessClaims>(raw, TYP, issuer, |claims| &claims.iss)?;
        if claims.aud != issuer.audience {
            return Err(Refusal::new(Layer::Token, Reason::AudienceMismatch, "aud is another service"));
        }
        check_times(claims.iat, claims.exp, limits::ACCESS_TOKEN_LIFE_SECONDS, now)?;
        if claims.roles.len() > limits::TOKEN_ROLES {
            return Err(malformed("too many roles"));
        }
        Ok(VerifiedToken { claims, issuer_tenant: issuer.tenant.clone(), hash: raw.hash() })
    }

    fn bind(&self, token: VerifiedToken, presented_at: &TenantId) -> Result<TenantContext, Refusal> {
        let VerifiedToken { claims, issuer_tenant, hash } = token;
        if claims.tenant_id != issuer_tenant {
            return Err(mismatch("tenant_id is not the tenant of the issuer that signed it"));
        }
        if issuer_tenant != *presented_at {
            return Err(mismatch("presented at the address of another tenant"));
        }
        Ok(TenantContext { claims, hash })
    }
}

impl TenantContext {
    /// The tenant.
    pub fn tenant(&self) -> &TenantId {
        &self.claims.tenant_id
    }

    /// Who acts.
    pub fn subject(&self) -> &Subject {
        &self.claims.sub
    }

    /// The client the token was issued to.
    pub fn client(&self) -> &ClientId {
        &self.claims.client_id
    }

    /// The job the token came of, where it came of one.
    pub fn job(&self) -> Option<&JobClaim> {
        self.claims.job.as_deref()
    }

    /// The client through which who acts has signed in: of a job, not the worker's, but the one it was enqueued through.
    pub fn signed_in_through(&self) -> &ClientId {
        self.job().map_or(&self.claims.client_id, |job| &job.client_id)
    }

    /// Whether a machine acts, not a user: in the client credentials grant the subject is the client (RFC 9068
    /// section 2.2).
    pub fn is_machine(&self) -> bool {
        self.claims.sub.as_str() == self.signed_in_through().as_str()
    }

    /// The roles its membership gives.
    pub fn roles(&self) -> &[Role] {
        &self.claims.roles
    }

    pub(crate) fn shared_roles(&self) -> Arc<[Role]> {
        Arc::clone(&self.claims.roles)
    }

    /// The token's own id.
    pub fn token_id(&self) -> &TokenId {
        &self.claims.jti
    }

    /// SHA-256 of the token.
    pub fn token_hash(&self) -> &[u8; 32] {
        &self.hash
    }

    /// Until when the token is valid.
    pub fn expires(&self) -> UnixTime {
        UnixTime::from_seconds(self.claims.exp)
    }

    /// Checks the seal: a second proof of the issuer, by another primitive, another key and other code than the
    /// signature. For parts that hold tenants' own keys anyway; the gateway, the guard and backends do not. `key` is the
    /// database key of the tenant this context names.
    ///
    /// # Errors
    /// [`Reason::TokenInvalid`].
    pub fn check_seal(&self, key: &MacKey) -> Result<(), Refusal> {
        let AccessClaims { seal, tenant_id, jti, exp, .. } = &self.claims;
        if seal.is_of(key, tenant_id, jti, *exp) {
            Ok(())
        } else {
            Err(Refusal::new(
                Layer::Identity,
                Reason::TokenInvalid,
                "the seal is not of this tenant's issuer",
            ))
        }
    }

    pub(crate) fn seal(&self) -> &Seal {
        &self.claims.seal
    }
}

#[cfg(feature = "range")]
impl VerifiedToken {
    pub(crate) fn assume_unchecked(raw: &RawToken, issuer_tenant: TenantId) -> Result<Self, Refusal> {
        Ok(Self { claims: raw.parse::<AccessClaims>(TYP)?.claims, issuer_tenant, hash: raw.hash() })
    }

    pub(crate) fn bind_unchecked(self) -> TenantContext {
        TenantContext { claims: self.claims, hash: self.hash }
    }
}

#[cfg(feature = "range")]
impl TenantContext {
    pub(crate) fn assume_unchecked(claims: AccessClaims) -> Self {
        Self { claims, hash: [0; 32] }
    }

    /// The same, said to be of another tenant.
    #[must_use]
    pub fn claiming(mut self, tenant: TenantId) -> Self {
        self.claims.tenant_id = tenant;
        self
    }
}

/// The `iss` a token claims, to look its keys up by. It decides nothing: [`VerifyAccess::verify`] compares it with the
/// issuer that was found.
///
/// # Errors
/// [`Reason::TokenMalformed`].
pub fn claimed_issuer(raw: &RawToken) -> Result<String, Refusal> {
    Ok(raw.parse::<AccessClaims>(TYP)?.claims.iss)
}

/// What a token of this type says, signed by a key of the issuer it names.
pub(crate) fn signed<T: DeserializeOwned>(
    raw: &RawToken,
    typ: &str,
    issuer: &IssuerKeys,
    named: impl FnOnce(&T) -> &str,
) -> Result<T, Refusal> {
    let parsed = raw.parse::<T>(typ)?;
    if named(&parsed.claims) != issuer.issuer {
        return Err(invalid("iss is not the issuer whose keys were looked up"));
    }
    let key = issuer
        .keys
        .iter()
        .find(|key| key.kid() == parsed.kid)
        .ok_or(invalid("kid is not a key of this issuer"))?;
    let (message, signature) = raw.message_and_signature(parsed.message_len);
    if !key.verifies(message.as_bytes(), signature) {
        return Err(invalid("signature"));
    }
    Ok(parsed.claims)
}

pub(crate) fn check_times(iat: u64, exp: u64, longest: u64, now: UnixTime) -> Result<(), Refusal> {
    let now = now.seconds();
    let expired = |detail| Err(Refusal::new(Layer::Token, Reason::TokenExpired, detail));
    if exp <= now {
        return expired("exp has passed");
    }
    if iat > now.saturating_add(limits::CLOCK_SKEW_SECONDS) {
        return expired("iat is in the future");
    }
    if exp.saturating_sub(iat) > longest || exp <= iat {
        return Err(malformed("longer life than any issuer may give"));
    }
    Ok(())
}

pub(crate) const fn invalid(detail: &'static str) -> Refusal {
    Refusal::new(Layer::Token, Reason::TokenInvalid, detail)
}

pub(crate) const fn mismatch(detail: &'static str) -> Refusal {
    Refusal::new(Layer::Token, Reason::TenantMismatch, detail)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::{SigningKey, base64url};

    const NOW: UnixTime = UnixTime::from_seconds(1_800_000_000);

    struct Issuer {
        key: SigningKey,
        keys: IssuerKeys,
        seal: MacKey,
    }

    fn issuer(tenant: &str) -> Issuer {
        let (key, _) = SigningKey::generate().unwrap();
        let keys = IssuerKeys {
            tenant: TenantId::new(tenant).unwrap(),
            issuer: format!("https://gw/t/{tenant}"),
            audience: "https://gw".to_owned(),
            keys: vec![key.public().clone()],
        };
        Issuer { key, keys, seal: MacKey::generate().unwrap() }
    }

    fn claims(issuer: &Issuer) -> AccessClaims {
        let jti = TokenId::new("t-1").unwrap();
        let exp = NOW.seconds() + 300;
        AccessClaims {
            iss: issuer.keys.issuer.clone(),
            sub: Subject::new("u-1").unwrap(),
            aud: issuer.keys.audience.clone(),
            exp,
            iat: NOW.seconds(),
            client_id: ClientId::new("web").unwrap(),
            tenant_id: issuer.keys.tenant.clone(),
            roles: Arc::from([Role::new("clerk").unwrap()]),
            seal: Seal::issue(&issuer.seal, &issuer.keys.tenant, &jti, exp),
            jti,
            job: None,
        }
    }

    fn refused(token: &str, issuer: &Issuer) -> Reason {
        let raw = match RawToken::new(token) {
            Ok(raw) => raw,
            Err(refusal) => return refusal.reason,
        };
        match AccessVerifier.verify(&raw, &issuer.keys, NOW) {
            Ok(token) => AccessVerifier.bind(token, &issuer.keys.tenant).unwrap_err().reason,
            Err(refusal) => refusal.reason,
        }
    }

    #[test]
    fn a_token_of_the_tenants_issuer_proves_the_tenant() {
        let acme = issuer("acme");
        let raw = RawToken::new(&acme.key.sign(TYP, &claims(&acme)).unwrap()).unwrap();
        let context = AccessVerifier
            .bind(AccessVerifier.verify(&raw, &acme.keys, NOW).unwrap(), &acme.keys.tenant)
            .unwrap();
        assert_eq!(context.tenant().as_str(), "acme");
        assert!(!context.is_machine());
    }

    #[test]
    fn cv02_any_altered_claim_breaks_the_signature() {
        let acme = issuer("acme");
        let token = acme.key.sign(TYP, &claims(&acme)).unwrap();
        let mut segments: Vec<String> = token.split('.').map(str::to_owned).collect();
        let altered = serde_json::to_string(&AccessClaims {
            tenant_id: TenantId::new("globex").unwrap(),
            ..claims(&acme)
        })
        .unwrap();
        segments[1] = base64url(altered.as_bytes());
        assert_eq!(refused(&segments.join("."), &acme), Reason::TokenInvalid);
    }

    #[test]
    fn x16_one_tenants_key_cannot_speak_for_another() {
        let (acme, globex) = (issuer("acme"), issuer("globex"));
        let foreign_claim = AccessClaims { tenant_id: globex.keys.tenant.clone(), ..claims(&acme) };
        assert_eq!(refused(&acme.key.sign(TYP, &foreign_claim).unwrap(), &acme), Reason::TenantMismatch);
        let foreign_key = acme.key.sign(TYP, &claims(&globex)).unwrap();
        assert_eq!(refused(&foreign_key, &globex), Reason::TokenInvalid);
        assert_eq!(refused(&foreign_key, &acme), Reason::TokenInvalid);
        let raw = RawToken::new(&acme.key.sign(TYP, &claims(&acme)).unwrap()).unwrap();
        let verified = AccessVerifier.verify(&raw, &acme.keys, NOW).unwrap();
        let at_globex = AccessVerifier.bind(verified, &globex.keys.tenant).unwrap_err();
        assert_eq!(at_globex.reason, Reason::TenantMismatch);
    }

    #[test]
    fn x16_a_seal_is_of_one_tenant_one_token_and_one_expiry() {
        let (acme, globex) = (issuer("acme"), issuer("globex"));
        let prove = |claims: &AccessClaims| {
            let raw = RawToken::new(&acme.key.sign(TYP, claims).unwrap()).unwrap();
            let verified = AccessVerifier.verify(&raw, &acme.keys, NOW).unwrap();
            AccessVerifier.bind(verified, &acme.keys.tenant).unwrap()
        };
        let own = claims(&acme);
        assert!(prove(&own).check_seal(&acme.seal).is_ok());
        assert!(prove(&own).check_seal(&globex.seal).is_err());
        for other in [
            AccessClaims { jti: TokenId::new("t-2").unwrap(), ..own.clone() },
            AccessClaims { exp: own.exp + 1, ..own.clone() },
            AccessClaims {
                seal: Seal::issue(&acme.seal, &globex.keys.tenant, &own.jti, own.exp),
                ..own.clone()
            },
        ] {
            assert!(prove(&other).check_seal(&acme.seal).is_err());
        }
    }

    #[test]
    fn cv06_times_and_audience() {
        let acme = issuer("acme");
        let now = NOW.seconds();
        let check = |change: fn(&mut AccessClaims, u64), expected: Reason| {
            let mut claims = claims(&acme);
            change(&mut claims, now);
            assert_eq!(refused(&acme.key.sign(TYP, &claims).unwrap(), &acme), expected);
        };
        check(|claims, now| claims.exp = now, Reason::TokenExpired);
        check(|claims, now| claims.iat = now + 60, Reason::TokenExpired);
        check(|claims, _| claims.aud = "https://other".to_owned(), Reason::AudienceMismatch);
        check(|claims, _| claims.iss = "https://gw/t/globex".to_owned(), Reason::TokenInvalid);
    }

    /// Why a token whose claims were changed so is not believed, if it is not.
    fn outcome(change: impl FnOnce(&mut AccessClaims)) -> Result<(), Reason> {
        let acme = issuer("acme");
        let mut claims = claims(&acme);
        change(&mut claims);
        let raw = RawToken::new(&acme.key.sign(TYP, &claims).unwrap()).unwrap();
        let verified = AccessVerifier.verify(&raw, &acme.keys, NOW).map_err(|refusal| refusal.reason)?;
        AccessVerifier.bind(verified, &acme.keys.tenant).map(drop).map_err(|refusal| refusal.reason)
    }

    #[test]
    fn reject_token_roles() {
        let of = |count| outcome(|claims| claims.roles = vec![Role::new("r").unwrap(); count].into());
        assert_eq!(of(limits::TOKEN_ROLES), Ok(()));
        assert_eq!(of(limits::TOKEN_ROLES + 1), Err(Reason::TokenMalformed));
    }

    #[test]
    fn reject_clock_skew_seconds() {
        let ahead = |seconds| outcome(|claims| claims.iat = NOW.seconds() + seconds);
        assert_eq!(ahead(limits::CLOCK_SKEW_SECONDS), Ok(()));
        assert_eq!(ahead(limits::CLOCK_SKEW_SECONDS + 1), Err(Reason::TokenExpired));
    }

    #[test]
    fn reject_access_token_life_seconds() {
        let living = |seconds| outcome(|claims| claims.exp = claims.iat + seconds);
        assert_eq!(living(limits::ACCESS_TOKEN_LIFE_SECONDS), Ok(()));
        assert_eq!(living(limits::ACCESS_TOKEN_LIFE_SECONDS + 1), Err(Reason::TokenMalformed));
    }

    #[test]
    fn cv05_an_id_token_is_not_an_access_token() {
        let acme = issuer("acme");
        assert_eq!(refused(&acme.key.sign("JWT", &claims(&acme)).unwrap(), &acme), Reason::TokenMalformed);
    }

    #[test]
    fn duplicate_and_unknown_claims_are_refused() {
        let acme = issuer("acme");
        let text = serde_json::to_string(&claims(&acme)).unwrap();
        for extra in [r#","tenant_id":"globex"}"#, r#","admin":true}"#] {
            let claims = text.trim_end_matches('}').to_owned() + extra;
            let header = format!(r#"{{"typ":"at+jwt","alg":"EdDSA","kid":"{}"}}"#, acme.key.kid());
            let token = format!("{}.{}.AAAA", base64url(header.as_bytes()), base64url(claims.as_bytes()));
            assert_eq!(refused(&token, &acme), Reason::TokenMalformed);
        }
    }
}
