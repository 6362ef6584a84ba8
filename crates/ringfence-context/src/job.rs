//! Job tokens: what a queue carries from whoever enqueues a job to the worker that runs it, and what they prove.
//!
//! One is good for nothing but being exchanged, at the token endpoint of the tenant whose issuer signed it, by the one
//! client it names. It proves that the issuer has said so at enqueue, and nothing about now: tenant, user and roles are
//! asked anew by whoever exchanges it. Here, as of an access token, three statements of the tenant must agree before
//! there is a [`Job`]; a seal under another key than the signature's is the fourth.

use serde::{Deserialize, Serialize};

use crate::{
    access::{AccessVerifier, IssuerKeys, check_times, mismatch, signed},
    database::Seal,
    id::{ClientId, JobName, Subject, TenantId, TokenId},
    key::MacKey,
    limits,
    refusal::{Layer, Reason, Refusal},
    time::UnixTime,
    token::RawToken,
};

/// The `typ` of a job token: no other verifier takes one, and this one takes no other (RFC 8725 section 3.11).
pub const TYP: &str = "job+jwt";

/// What a job token says, as its issuer writes it. Saying is not proving: see [`VerifiedJob`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JobClaims {
    /// The issuer's URL.
    pub iss: String,
    /// Who enqueued the job, and whom it runs as.
    pub sub: Subject,
    /// The token endpoint of that issuer.
    pub aud: String,
    /// Expiry, seconds since the epoch.
    pub exp: u64,
    /// Issued at, seconds since the epoch.
    pub iat: u64,
    /// The token's own id.
    pub jti: TokenId,
    /// The client through which who enqueued it had signed in.
    pub client_id: ClientId,
    /// The tenant.
    pub tenant_id: TenantId,
    /// Who may run it (RFC 8693 section 4.4).
    pub may_act: MayAct,
    /// What the job is called.
    pub job: JobName,
    /// What only the tenant's issuer can make and check; absent until it is sealed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seal: Option<Seal>,
}

/// Who may act for the subject: a client of the same pool.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MayAct {
    /// Its id.
    pub sub: ClientId,
}

/// What an access token says of the job it came of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JobClaim {
    /// What the job is called.
    pub name: JobName,
    /// The job token's own id.
    pub jti: TokenId,
    /// The job token's expiry: no job token that this job asks for outlives it.
    pub exp: u64,
    /// The client it was enqueued through.
    pub client_id: ClientId,
}

/// A job token whose signature, issuer, audience and times hold. Which tenant it is of is not settled yet.
#[derive(Debug)]
pub struct VerifiedJob {
    claims: JobClaims,
    issuer_tenant: TenantId,
}

/// A job its tenant's issuer has signed. Not a [`crate::TenantContext`]: whether it may run now is still to be asked.
#[derive(Debug, Clone)]
pub struct Job {
    claims: JobClaims,
}

/// The seam at which verification of job tokens stands in the chain, beside that of access tokens.
pub trait VerifyJob: Send + Sync {
    /// Checks the token itself against the keys of the issuer it names.
    ///
    /// # Errors
    /// A refusal of the token layer.
    fn verify_job(&self, raw: &RawToken, issuer: &IssuerKeys, now: UnixTime) -> Result<VerifiedJob, Refusal>;

    /// Checks that issuer, claim and the address it was presented at name one tenant.
    ///
    /// # Errors
    /// [`Reason::TenantMismatch`].
    fn bind_job(&self, job: VerifiedJob, presented_at: &TenantId) -> Result<Job, Refusal>;
}

impl VerifyJob for AccessVerifier {
    fn verify_job(&self, raw: &RawToken, issuer: &IssuerKeys, now: UnixTime) -> Result<VerifiedJob, Refusal> {
        let claims = signed::<JobClaims>(raw, TYP, issuer, |claims| &claims.iss)?;
        if claims.aud != audience(&issuer.issuer) {
            return Err(Refusal::new(Layer::Token, Reason::AudienceMismatch, "aud is another endpoint"));
        }
        check_times(claims.iat, claims.exp, limits::JOB_TOKEN_LIFE_SECONDS, now)?;
        Ok(VerifiedJob { claims, issuer_tenant: issuer.tenant.clone() })
    }

    fn bind_job(&self, job: VerifiedJob, presented_at: &TenantId) -> Result<Job, Refusal> {
        let VerifiedJob { claims, issuer_tenant } = job;
        if claims.tenant_id != issuer_tenant {
            return Err(mismatch("tenant_id is not the tenant of the issuer that signed it"));
        }
        if issuer_tenant != *presented_at {
            return Err(mismatch("presented at the address of another tenant"));
        }
        Ok(Job { claims })
    }
}

impl JobClaims {
    /// The same, sealed: every claim that says who may do what is in it.
    #[must_use]
    pub fn sealed(self, key: &MacKey) -> Self {
        let seal = Some(Seal::over(key, &self.message()));
        Self { seal, ..self }
    }

    /// What is authenticated. `|` occurs in no identifier.
    fn message(&self) -> String {
        let Self { sub, exp, iat, jti, client_id, tenant_id, may_act, job, .. } = self;
        let worker = &may_act.sub;
        format!("ringfence-job-v1|{tenant_id}|{jti}|{iat}|{exp}|{sub}|{client_id}|{worker}|{job}")
    }
}

impl Job {
    /// The tenant.
    pub fn tenant(&self) -> &TenantId {
        &self.claims.tenant_id
    }

    /// Who enqueued it.
    pub fn subject(&self) -> &Subject {
        &self.claims.sub
    }

    /// Whether a machine enqueued it: as [`crate::TenantContext::is_machine`].
    pub fn is_machine(&self) -> bool {
        self.claims.sub.as_str() == self.claims.client_id.as_str()
    }

    /// The client that may run it.
    pub fn worker(&self) -> &ClientId {
        &self.claims.may_act.sub
    }

    /// What it is called.
    pub fn name(&self) -> &JobName {
        &self.claims.job
    }

    /// The token's own id.
    pub fn token_id(&self) -> &TokenId {
        &self.claims.jti
    }

    /// Until when it may be run.
    pub fn expires(&self) -> UnixTime {
        UnixTime::from_seconds(self.claims.exp)
    }

    /// What an access token that comes of it says of it.
    pub fn claim(&self) -> JobClaim {
        let JobClaims { job, jti, exp, client_id, .. } = self.claims.clone();
        JobClaim { name: job, jti, exp, client_id }
    }

    /// Checks the seal: a second proof of the issuer, by another primitive, another key and other code than the signature.
    /// `key` is the job key of the tenant it was presented at.
    ///
    /// # Errors
    /// [`Reason::TokenInvalid`].
    pub fn check_seal(&self, key: &MacKey) -> Result<(), Refusal> {
        let message = self.claims.message();
        if self.claims.seal.as_ref().is_some_and(|seal| seal.is_over(key, &message)) {
            return Ok(());
        }
        let detail = "the job's seal is not of this tenant's issuer";
        Err(Refusal::new(Layer::Identity, Reason::TokenInvalid, detail))
    }
}

#[cfg(feature = "range")]
impl VerifiedJob {
    pub(crate) fn assume_unchecked(raw: &RawToken, issuer_tenant: TenantId) -> Result<Self, Refusal> {
        Ok(Self { claims: raw.parse::<JobClaims>(TYP)?.claims, issuer_tenant })
    }

    pub(crate) fn bind_unchecked(self) -> Job {
        Job { claims: self.claims }
    }
}

/// The audience of an issuer's job tokens: its own token endpoint, and nothing else.
pub fn audience(issuer: &str) -> String {
    format!("{issuer}/token")
}

/// The `iss` a job token claims, to look its keys up by. It decides nothing: [`VerifyJob::verify_job`] compares it with
/// the issuer that was found.
///
/// # Errors
/// [`Reason::TokenMalformed`].
pub fn claimed_issuer(raw: &RawToken) -> Result<String, Refusal> {
    Ok(raw.parse::<JobClaims>(TYP)?.claims.iss)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        access::{self, VerifyAccess},
        key::{SigningKey, base64url},
        txn,
    };

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

    fn claims(issuer: &Issuer) -> JobClaims {
        let claims = JobClaims {
            iss: issuer.keys.issuer.clone(),
            sub: Subject::new("u-1").unwrap(),
            aud: audience(&issuer.keys.issuer),
            exp: NOW.seconds() + 86_400,
            iat: NOW.seconds(),
            jti: TokenId::new("j-1").unwrap(),
            client_id: ClientId::new("web").unwrap(),
            tenant_id: issuer.keys.tenant.clone(),
            may_act: MayAct { sub: ClientId::new("worker").unwrap() },
            job: JobName::new("nightly-report").unwrap(),
            seal: None,
        };
        claims.sealed(&issuer.seal)
    }

    fn prove(token: &str, keys: &Issuer, at: &Issuer) -> Result<Job, Reason> {
        let prove = || {
            let verified = AccessVerifier.verify_job(&RawToken::new(token)?, &keys.keys, NOW)?;
            let job = AccessVerifier.bind_job(verified, &at.keys.tenant)?;
            job.check_seal(&at.seal).map(|()| job)
        };
        prove().map_err(|refusal: Refusal| refusal.reason)
    }

    #[test]
    fn a_job_of_the_tenants_issuer_is_proved_with_all_it_says() {
        let acme = issuer("acme");
        let job = prove(&acme.key.sign(TYP, &claims(&acme)).unwrap(), &acme, &acme).unwrap();
        assert_eq!((job.tenant().as_str(), job.subject().as_str()), ("acme", "u-1"));
        assert_eq!((job.worker().as_str(), job.name().as_str()), ("worker", "nightly-report"));
        assert!(!job.is_machine());
    }

    #[test]
    fn x16_a_job_is_of_one_tenant_by_signature_claim_address_and_seal() {
        let (acme, globex) = (issuer("acme"), issuer("globex"));
        let signed = |by: &Issuer, claims: &JobClaims| by.key.sign(TYP, claims).unwrap();
        let own = claims(&acme);
        assert_eq!(prove(&signed(&acme, &own), &acme, &globex).unwrap_err(), Reason::TenantMismatch);
        assert_eq!(prove(&signed(&acme, &own), &globex, &globex).unwrap_err(), Reason::TokenInvalid);
        let theirs = claims(&globex);
        assert_eq!(prove(&signed(&acme, &theirs), &globex, &globex).unwrap_err(), Reason::TokenInvalid);
        let said = JobClaims { tenant_id: globex.keys.tenant.clone(), ..own }.sealed(&acme.seal);
        assert_eq!(prove(&signed(&acme, &said), &acme, &acme).unwrap_err(), Reason::TenantMismatch);
        // Where a signature were believed that should not be, and an address, the seal is of another tenant still.
        let unbound = Job { claims: theirs };
        assert_eq!(unbound.check_seal(&acme.seal).unwrap_err().reason, Reason::TokenInvalid);
    }

    #[test]
    fn x16_whatever_is_changed_in_a_job_breaks_its_seal() {
        let acme = issuer("acme");
        let changes: [fn(&mut JobClaims); 8] = [
            |claims| claims.sub = Subject::new("u-2").unwrap(),
            |claims| claims.exp += 1,
            |claims| claims.iat -= 1,
            |claims| claims.jti = TokenId::new("j-2").unwrap(),
            |claims| claims.client_id = ClientId::new("u-1").unwrap(),
            |claims| claims.may_act.sub = ClientId::new("other").unwrap(),
            |claims| claims.job = JobName::new("other").unwrap(),
            |claims| claims.seal = None,
        ];
        for (number, change) in changes.iter().enumerate() {
            let mut claims = claims(&acme);
            change(&mut claims);
            let token = acme.key.sign(TYP, &claims).unwrap();
            assert_eq!(prove(&token, &acme, &acme).unwrap_err(), Reason::TokenInvalid, "{number}");
        }
    }

    #[test]
    fn cv06_times_audience_type_and_signature() {
        let acme = issuer("acme");
        let check = |change: fn(&mut JobClaims), expected: Reason| {
            let mut claims = claims(&acme);
            change(&mut claims);
            let token = acme.key.sign(TYP, &claims.sealed(&acme.seal)).unwrap();
            assert_eq!(prove(&token, &acme, &acme).unwrap_err(), expected);
        };
        check(|claims| claims.exp = NOW.seconds(), Reason::TokenExpired);
        check(|claims| claims.iat = NOW.seconds() + 60, Reason::TokenExpired);
        check(|claims| claims.aud = "https://gw".to_owned(), Reason::AudienceMismatch);
        check(|claims| claims.aud = "https://gw/t/globex/token".to_owned(), Reason::AudienceMismatch);
        for typ in [access::TYP, txn::TYP, "JWT", "jwt", ""] {
            let token = acme.key.sign(typ, &claims(&acme)).unwrap();
            assert_eq!(prove(&token, &acme, &acme).unwrap_err(), Reason::TokenMalformed, "{typ}");
        }
        let good = acme.key.sign(TYP, &claims(&acme)).unwrap();
        let as_access = AccessVerifier.verify(&RawToken::new(&good).unwrap(), &acme.keys, NOW).unwrap_err();
        assert_eq!(as_access.reason, Reason::TokenMalformed);
        let (message, _) = good.rsplit_once('.').unwrap();
        assert_eq!(prove(&format!("{message}.AAAA"), &acme, &acme).unwrap_err(), Reason::TokenInvalid);
        for alg in ["none", "HS256", "ES256"] {
            let header = format!(r#"{{"typ":"job+jwt","alg":"{alg}","kid":"{}"}}"#, acme.key.public().kid());
            let (_, rest) = good.split_once('.').unwrap();
            let forged = format!("{}.{rest}", base64url(header.as_bytes()));
            assert_eq!(prove(&forged, &acme, &acme).unwrap_err(), Reason::TokenMalformed, "{alg}");
        }
    }

    #[test]
    fn reject_job_token_life_seconds() {
        let acme = issuer("acme");
        let living = |seconds: u64| {
            let claims = JobClaims { exp: NOW.seconds() + seconds, ..claims(&acme) }.sealed(&acme.seal);
            prove(&acme.key.sign(TYP, &claims).unwrap(), &acme, &acme).map(|_| ())
        };
        assert_eq!(living(limits::JOB_TOKEN_LIFE_SECONDS), Ok(()));
        assert_eq!(living(limits::JOB_TOKEN_LIFE_SECONDS + 1), Err(Reason::TokenMalformed));
    }
}
