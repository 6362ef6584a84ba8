//! A tenant's issuer: mints access tokens (RFC 9068) and ID tokens (OpenID Connect Core section 2).
//!
//! What an access token says of its tenant comes from the hook; what it is signed and sealed with comes from the pool
//! that was signed in to. If the two ever differ, no verifier and no database accepts the token.

use std::sync::Arc;

use ringfence_context::{
    AccessClaims, Clock, Job, JobClaim, Reason, Refusal, Seal, TenantId, TokenId,
    access::TYP,
    id::{ClientId, Subject},
    key::{self, KeyError, SigningKey},
};
use serde::Serialize;

use crate::{
    directory::Addresses,
    error::{IdentityError, refuse},
    hook::PreTokenHook,
    pool::{Pool, Pools},
    user::User,
};

/// How long an access token lives, in seconds.
pub const ACCESS_LIFE_SECONDS: u64 = 300;

/// Makes tokens.
#[derive(Clone)]
pub struct Issuer {
    pools: Pools,
    pub(crate) hook: Arc<dyn PreTokenHook>,
    pub(crate) addresses: Addresses,
    pub(crate) clock: Arc<dyn Clock>,
}

/// A token that was made, of either kind.
#[derive(Debug, Clone)]
pub struct Minted {
    /// The token. Not a [`ringfence_context::TenantContext`]: only its verification makes one.
    pub token: String,
    /// Its own id.
    pub jti: TokenId,
    /// Its expiry, in seconds since the epoch.
    pub exp: u64,
    /// How long it lives, in seconds.
    pub expires_in: u64,
}

/// What an ID token says.
#[derive(Debug, Serialize)]
struct IdClaims<'a> {
    iss: &'a str,
    sub: &'a Subject,
    aud: &'a ClientId,
    exp: u64,
    iat: u64,
    auth_time: u64,
    at_hash: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    nonce: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    preferred_username: Option<&'a str>,
}

/// What an ID token is about.
#[derive(Debug)]
pub struct SignedIn<'a> {
    /// Who signed in.
    pub user: &'a User,
    /// To which app.
    pub client: &'a ClientId,
    /// What the app sent along to recognise its own request (OpenID Connect Core section 3.1.2.1).
    pub nonce: Option<&'a str>,
    /// When, in seconds since the epoch.
    pub auth_time: u64,
    /// Whether the app asked for names.
    pub profile: bool,
}

impl Issuer {
    /// Mints from these pools by this hook.
    pub fn new(
        pools: Pools,
        hook: Arc<dyn PreTokenHook>,
        addresses: Addresses,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self { pools, hook, addresses, clock }
    }

    /// An access token for `subject`, who has signed in to the tenant's pool through `client`. Asks the hook once.
    ///
    /// # Errors
    /// The hook's refusal, or [`Reason::DependencyUnavailable`]: then there is no token.
    pub async fn access_token(
        &self,
        pool: &TenantId,
        subject: &Subject,
        client: &ClientId,
    ) -> Result<Minted, Refusal> {
        self.access_token_as(pool, subject, client, token_id()?).await
    }

    /// An access token for the subject of a job, as which its worker acts now, by the pool it was presented at. It ends with
    /// the job at the latest.
    ///
    /// # Errors
    /// As [`Issuer::access_token`].
    pub(crate) async fn access_token_of_job(&self, pool: &TenantId, job: &Job) -> Result<Minted, Refusal> {
        let of = (job.worker(), Some(Arc::new(job.claim())));
        self.mint(pool, job.subject(), of, token_id()?).await
    }

    /// As [`Issuer::access_token`], with an id that was chosen (and written down) before.
    ///
    /// # Errors
    /// As [`Issuer::access_token`].
    pub async fn access_token_as(
        &self,
        pool: &TenantId,
        subject: &Subject,
        client: &ClientId,
        jti: TokenId,
    ) -> Result<Minted, Refusal> {
        self.mint(pool, subject, (client, None), jti).await
    }

    async fn mint(
        &self,
        pool: &TenantId,
        subject: &Subject,
        (client, job): (&ClientId, Option<Arc<JobClaim>>),
        jti: TokenId,
    ) -> Result<Minted, Refusal> {
        let claims = self.hook.claims(pool, subject).await?;
        let keys = self.active(pool).await?;
        let iat = self.clock.now().seconds();
        let last = job.as_ref().map_or(u64::MAX, |job| job.exp);
        let exp = iat.saturating_add(ACCESS_LIFE_SECONDS).min(last);
        let claims = AccessClaims {
            iss: self.addresses.issuer(pool),
            sub: subject.clone(),
            aud: self.addresses.audience.clone(),
            exp,
            iat,
            client_id: client.clone(),
            seal: Seal::issue(&keys.database_key(), &claims.tenant_id, &jti, exp),
            tenant_id: claims.tenant_id,
            roles: claims.roles.into(),
            jti: jti.clone(),
            job,
        };
        let token = signing_key(keys.signing_key())?.sign(TYP, &claims).map_err(unsigned)?;
        Ok(Minted { token, jti, exp, expires_in: exp.saturating_sub(iat) })
    }

    /// The pool with its keys, as the state has it now.
    ///
    /// # Errors
    /// [`Reason::NotServed`] where it is suspended.
    pub(crate) async fn active(&self, pool: &TenantId) -> Result<Pool, Refusal> {
        let keys = self.pools.pool_get(pool).await.map_err(|error| error.refusal())?;
        if keys.active { Ok(keys) } else { Err(refuse(Reason::NotServed, "the pool is suspended")) }
    }

    /// The ID token beside an access token: for the app to read, worth nothing at the API.
    ///
    /// # Errors
    /// [`Reason::DependencyUnavailable`].
    pub async fn id_token(
        &self,
        pool: &TenantId,
        about: &SignedIn<'_>,
        access: &Minted,
    ) -> Result<String, Refusal> {
        let keys = self.pools.pool_get(pool).await.map_err(|error| error.refusal())?;
        // OpenID Connect Core section 3.1.3.6; for Ed25519 the hash is SHA-512.
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA512, access.token.as_bytes());
        let (half, _) = digest.as_ref().split_at_checked(32).unwrap_or_default();
        let claims = IdClaims {
            iss: &self.addresses.issuer(pool),
            sub: &about.user.id,
            aud: about.client,
            exp: access.exp,
            iat: self.clock.now().seconds(),
            auth_time: about.auth_time,
            at_hash: key::base64url(half),
            nonce: about.nonce,
            name: about.profile.then_some(about.user.display_name.as_str()),
            preferred_username: about.profile.then_some(about.user.username.as_str()),
        };
        signing_key(keys.signing_key())?.sign("JWT", &claims).map_err(unsigned)
    }
}

impl std::fmt::Debug for Issuer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Issuer({})", self.addresses.base_url)
    }
}

/// A new token's own id.
pub(crate) fn token_id() -> Result<TokenId, Refusal> {
    let random = |_: KeyError| refuse(Reason::Internal, "no randomness");
    TokenId::new(&key::base64url(&key::random::<16>().map_err(random)?))
        .map_err(|_| refuse(Reason::Internal, "a token id that is none"))
}

pub(crate) fn signing_key(key: Result<SigningKey, KeyError>) -> Result<SigningKey, Refusal> {
    key.map_err(unsigned)
}

pub(crate) fn unsigned(error: KeyError) -> Refusal {
    IdentityError::from(error).refusal()
}
