//! The token endpoint: codes, machines, and token exchange.

mod job;

use std::sync::Arc;

use axum::{
    Json,
    body::Body,
    extract::{Request, State},
    response::{IntoResponse, Response},
};
use http::HeaderMap;
use ringfence_context::{
    DatabaseToken, RawToken, TenantContext, TenantId, UnixTime,
    id::{JobName, Subject},
    limits,
};
use serde::Serialize;

use super::{
    Identity,
    answer::{At, OAuthError, unstored},
    form::Parameters,
};
use crate::{
    ClientKind, IdentityError, User,
    code::Redemption,
    exchange::{self, DatabaseLogin},
    issuer::{Minted, SignedIn, token_id},
};

/// A successful answer (RFC 6749 section 5.1, RFC 8693 section 2.2).
#[derive(Serialize)]
struct Granted {
    access_token: String,
    token_type: &'static str,
    expires_in: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    id_token: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    issued_token_type: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    database: Option<Database>,
    /// Of which job it is, and whom that runs as: for the record.
    #[serde(skip)]
    job: Option<(Subject, JobName)>,
}

/// Where and as whom a credential logs in, by libpq's names.
#[derive(Serialize)]
struct Database {
    host: String,
    port: u16,
    dbname: String,
    user: String,
    sslmode: &'static str,
}

impl From<Minted> for Granted {
    fn from(minted: Minted) -> Self {
        Self {
            access_token: minted.token,
            token_type: "Bearer",
            expires_in: minted.expires_in,
            id_token: None,
            issued_token_type: None,
            database: None,
            job: None,
        }
    }
}

pub(super) async fn token(State(identity): State<Arc<Identity>>, at: At, request: Request<Body>) -> Response {
    let outcome = grant(&identity, &at.tenant, request).await;
    let verdict = outcome.as_ref().map(|_| ()).map_err(|error| error.refusal());
    let job = outcome.as_ref().ok().and_then(|granted| granted.job.clone());
    identity.verdict_of(job, Some(&at.tenant), &at.reference, "token", verdict);
    match outcome {
        Ok(granted) => unstored(Json(granted).into_response()),
        Err(error) => error.answer(&at.reference),
    }
}

async fn grant(
    identity: &Identity,
    tenant: &TenantId,
    request: Request<Body>,
) -> Result<Granted, OAuthError> {
    let (headers, form) = Parameters::of_body(request).await?;
    match form.need("grant_type")? {
        "authorization_code" => identity.grant_code(tenant, &headers, &form).await,
        "client_credentials" => identity.grant_machine(tenant, &headers, &form).await,
        exchange::GRANT => identity.grant_exchange(tenant, &headers, &form).await,
        _ => {
            Err(OAuthError::new("unsupported_grant_type", "grant_type", "This grant is not supported here."))
        }
    }
}

impl Identity {
    async fn grant_code(
        &self,
        tenant: &TenantId,
        headers: &HeaderMap,
        form: &Parameters,
    ) -> Result<Granted, OAuthError> {
        let client = self.client(tenant, headers, form).await?;
        if !matches!(client.kind, ClientKind::Public { .. }) {
            return Err(OAuthError::unauthorized_client("a machine with a code"));
        }
        let redemption = Redemption {
            code: form.need("code")?,
            client: &client.id,
            redirect_uri: form.need("redirect_uri")?,
            verifier: form.need("code_verifier")?,
        };
        let jti = token_id()?;
        // Spent before anything is minted: a failure from here on costs the code, never a second use of it.
        let grant = self.pools.code_spend(tenant, &redemption, &jti, self.clock.now()).await?;
        let user = self.user_there(tenant, &grant.subject).await?;
        let access = self.issuer.access_token_as(tenant, &grant.subject, &client.id, jti).await?;
        let id_token = if grant.ticket.openid {
            let about = SignedIn {
                user: &user,
                client: &client.id,
                nonce: grant.ticket.nonce.as_deref(),
                auth_time: grant.signed_in,
                profile: grant.ticket.profile,
            };
            Some(self.issuer.id_token(tenant, &about, &access).await?)
        } else {
            None
        };
        Ok(Granted { id_token, ..access.into() })
    }

    async fn grant_machine(
        &self,
        tenant: &TenantId,
        headers: &HeaderMap,
        form: &Parameters,
    ) -> Result<Granted, OAuthError> {
        let client = self.client(tenant, headers, form).await?;
        if !matches!(client.kind, ClientKind::Machine { .. }) {
            return Err(OAuthError::unauthorized_client("a public client as a machine"));
        }
        let subject = client.subject().map_err(|error| error.refusal())?;
        Ok(self.issuer.access_token(tenant, &subject, &client.id).await?.into())
    }

    /// The user, who may sign in.
    async fn user_there(&self, tenant: &TenantId, id: &Subject) -> Result<User, OAuthError> {
        match self.pools.user_get(tenant, id).await {
            Ok(user) if !user.disabled => Ok(user),
            Ok(_) | Err(IdentityError::Missing(_)) => Err(OAuthError::grant("the user is gone or disabled")),
            Err(error) => Err(error.refusal().into()),
        }
    }

    /// RFC 8693 section 2.1. The subject token must be this tenant's and live. An access token is its own proof; a job token
    /// is its worker's, who shows that it is the worker.
    async fn grant_exchange(
        &self,
        tenant: &TenantId,
        headers: &HeaderMap,
        form: &Parameters,
    ) -> Result<Granted, OAuthError> {
        let (given, wanted) = (form.need("subject_token_type")?, form.need("requested_token_type")?);
        if form.get("actor_token").is_some() {
            return Err(OAuthError::request("an actor token"));
        }
        match (given, wanted) {
            (exchange::ACCESS_TOKEN, exchange::JOB_TOKEN) => {
                self.grant_job(&self.exchanged(tenant, form)?.1, form).await
            }
            (exchange::ACCESS_TOKEN, exchange::DATABASE_TOKEN | exchange::DATABASE_CREDENTIAL) => {
                let (access, context) = self.exchanged(tenant, form)?;
                self.grant_database(access, &context, wanted).await
            }
            (
                exchange::JOB_TOKEN,
                exchange::ACCESS_TOKEN | exchange::DATABASE_TOKEN | exchange::DATABASE_CREDENTIAL,
            ) => self.grant_of_job(tenant, headers, form, wanted).await,
            _ => Err(OAuthError::request("no such exchange")),
        }
    }

    /// The access token that is exchanged, proved.
    fn exchanged(
        &self,
        tenant: &TenantId,
        form: &Parameters,
    ) -> Result<(RawToken, TenantContext), OAuthError> {
        let access = RawToken::new(form.need("subject_token")?)?;
        let context = self.prove(&access, tenant)?;
        if form.get("client_id").is_some_and(|id| id != context.client().as_str()) {
            return Err(OAuthError::grant("the token is another client's"));
        }
        Ok((access, context))
    }

    /// A database token or credential for a proved access token, with the gateway's word.
    async fn grant_database(
        &self,
        access: RawToken,
        context: &TenantContext,
        wanted: &str,
    ) -> Result<Granted, OAuthError> {
        let Some(exchange) = &self.exchange else {
            return Err(OAuthError::new(
                "unsupported_grant_type",
                "no exchange",
                "Token exchange is not set up here.",
            ));
        };
        let txn = RawToken::new(&exchange.exchange(context).await?)?;
        let token = DatabaseToken { access, txn };
        if wanted == exchange::DATABASE_CREDENTIAL {
            return self.grant_credential(context, &token).await;
        }
        let now: UnixTime = self.clock.now();
        let left = context.expires().since(now).as_secs();
        Ok(Granted {
            access_token: token.reveal(),
            // Not to be sent to an API as a bearer token (RFC 8693 section 2.2.1).
            token_type: "N_A",
            expires_in: left.min(limits::DATABASE_TOKEN_LIFE_SECONDS),
            id_token: None,
            issued_token_type: Some(exchange::DATABASE_TOKEN),
            database: None,
            job: None,
        })
    }

    /// One answer to every tenant that is given none, whatever the reason (RFC 8693 section 2.2.2).
    async fn grant_credential(
        &self,
        context: &TenantContext,
        token: &DatabaseToken,
    ) -> Result<Granted, OAuthError> {
        let login = match &self.credentials {
            Some(credentials) => credentials.exchange(context, token).await?,
            None => None,
        };
        let login = login.ok_or_else(|| {
            OAuthError::new(
                "invalid_target",
                "no credentials for this tenant",
                "No database credentials are given for this tenant.",
            )
        })?;
        let DatabaseLogin { host, port, dbname, user, password, sslmode, expires_in } = login;
        Ok(Granted {
            access_token: password.reveal().clone(),
            token_type: "N_A",
            expires_in,
            id_token: None,
            issued_token_type: Some(exchange::DATABASE_CREDENTIAL),
            database: Some(Database { host, port, dbname, user, sslmode }),
            job: None,
        })
    }
}
