//! The authorization endpoint and sign-in: authorization code with PKCE (RFC 6749 section 4.1, RFC 7636, RFC 9207).
//!
//! Until client and redirect URI are known to belong together, nothing is redirected anywhere: the person sees a page.

use std::sync::Arc;

use axum::{
    body::Body,
    extract::{Request, State},
    response::{IntoResponse, Response},
};
use http::{HeaderValue, StatusCode, header};
use ringfence_context::{Reason, Refusal, Secret, TenantId, id::ClientId};
use url::Url;

use super::{
    Identity,
    answer::{At, OAuthError, unstored},
    form::Parameters,
    page::{self, Failure},
};
use crate::{IdentityError, error::refuse, ticket::Ticket, user};

/// Longest `state` and `nonce`, in bytes.
const OPAQUE_BYTES: usize = 1024;

/// Length of a SHA-256 in base64url, in bytes.
const CHALLENGE_BYTES: usize = 43;

/// Why there is no sign-in page.
enum NoPage {
    /// The app is told, at its registered address.
    Redirect { to: String, state: Option<String>, error: OAuthError },
    /// The person is told.
    Page(Refusal),
}

/// `GET /t/{tenant}/authorize`: shows the sign-in page.
pub(super) async fn page(State(identity): State<Arc<Identity>>, at: At, request: Request<Body>) -> Response {
    let (parts, _) = request.into_parts();
    let asked = match Parameters::of_query(&parts) {
        Ok(query) => identity.ask(&at.tenant, &query).await,
        Err(error) => Err(NoPage::Page(error.refusal().clone())),
    };
    let outcome = match asked {
        Ok((ticket, client)) => identity.sign_in_page(&at, &ticket, &client, None).await,
        Err(NoPage::Page(refusal)) => Err(refusal),
        Err(NoPage::Redirect { to, state, error }) => {
            identity.verdict(Some(&at.tenant), &at.reference, "authorize", Err(error.refusal()));
            let answer = [("error", error.code)];
            return identity.redirect(&at, &to, state.as_deref(), &answer);
        }
    };
    match outcome {
        Ok(response) => response,
        Err(refusal) => identity.error_page(&at, "authorize", &refusal),
    }
}

/// `POST /t/{tenant}/sign-in`: checks the password and sends the code.
pub(super) async fn sign_in(
    State(identity): State<Arc<Identity>>,
    at: At,
    request: Request<Body>,
) -> Response {
    match identity.try_sign_in(&at, request).await {
        Ok(response) => {
            identity.verdict(Some(&at.tenant), &at.reference, "sign_in", Ok(()));
            response
        }
        Err(SignInError::Again(ticket, refusal)) => {
            identity.verdict(Some(&at.tenant), &at.reference, "sign_in", Err(&refusal));
            identity.again(&at, &ticket, &refusal).await
        }
        Err(SignInError::Over(refusal)) => identity.error_page(&at, "sign_in", &refusal),
    }
}

enum SignInError {
    /// The form is shown once more.
    Again(Box<Ticket>, Refusal),
    /// There is nothing to show it with.
    Over(Refusal),
}

impl From<Refusal> for SignInError {
    fn from(refusal: Refusal) -> Self {
        Self::Over(refusal)
    }
}

impl Identity {
    /// Checks an authorization request.
    async fn ask(&self, tenant: &TenantId, query: &Parameters) -> Result<(Ticket, String), NoPage> {
        let page = |detail| NoPage::Page(refuse(Reason::RequestMalformed, detail));
        let id = query.get("client_id").and_then(|id| ClientId::new(id).ok());
        let id = id.ok_or_else(|| page("no client_id"))?;
        let client = match self.pools.client_get(tenant, &id).await {
            Ok(client) if !client.disabled => client,
            Ok(_) | Err(IdentityError::Missing(_)) => return Err(page("no such client in this tenant")),
            Err(error) => return Err(NoPage::Page(error.refusal())),
        };
        let to = query.get("redirect_uri").ok_or_else(|| page("no redirect_uri"))?;
        if !client.may_redirect_to(to) {
            return Err(page("the redirect_uri is not registered"));
        }
        let state = query.get("state").map(str::to_owned);
        let ticket = ticket(query, id, to).map_err(|error| NoPage::Redirect {
            to: to.to_owned(),
            state: state.filter(|state| state.len() <= OPAQUE_BYTES),
            error,
        })?;
        Ok((ticket, client.display_name))
    }

    async fn try_sign_in(&self, at: &At, request: Request<Body>) -> Result<Response, SignInError> {
        let (_, form) = Parameters::of_body(request).await.map_err(|error| error.refusal().clone())?;
        let pool = self.pools.pool_get(&at.tenant).await.map_err(|error| error.refusal())?;
        let ticket = form.get("ticket").ok_or(refuse(Reason::RequestMalformed, "no ticket"))?;
        let ticket = Ticket::open(ticket, &pool, &*self.clock)?;
        let again = |refusal| SignInError::Again(Box::new(ticket.clone()), refusal);
        let name = form.get("username").unwrap_or_default();
        let password = Secret::new(form.get("password").unwrap_or_default().to_owned());
        // What can't be a user's name is counted too, and under its own hash like any other.
        self.attempts.count(&at.tenant, &user::username(name).unwrap_or_default()).map_err(again)?;
        let user = match self.pools.user_by_name(&at.tenant, name).await {
            Ok(user) => user,
            Err(error) => return Err(error.refusal().into()),
        };
        // Without a user, against nobody's hash: as long, and never true.
        let hash = user.as_ref().map(|user| user.password_hash());
        let verified = self.passwords.verify(&password, hash).await.map_err(|error| error.refusal())?;
        let Some(user) = user.filter(|user| verified && !user.disabled) else {
            return Err(again(refuse(Reason::SignInFailed, "wrong name or password, or disabled")));
        };
        let (to, state) = (ticket.redirect_uri.clone(), ticket.state.clone());
        let code = self.pools.code_create(&at.tenant, ticket, user.id, self.clock.now()).await;
        let code = code.map_err(|error| error.refusal())?;
        Ok(self.redirect(at, &to, state.as_deref(), &[("code", code.reveal())]))
    }

    async fn sign_in_page(
        &self,
        at: &At,
        ticket: &Ticket,
        client: &str,
        failure: Option<Failure>,
    ) -> Result<Response, Refusal> {
        let pool = self.pools.pool_get(&at.tenant).await.map_err(|error| error.refusal())?;
        let sealed = ticket.seal(&pool, &*self.clock)?;
        let action = format!("{}/sign-in", self.directory.addresses().issuer(&at.tenant));
        page::sign_in(&pool.display_name, client, &action, &sealed, &ticket.redirect_uri, failure)
    }

    /// The form once more, with what went wrong.
    async fn again(&self, at: &At, ticket: &Ticket, refusal: &Refusal) -> Response {
        let client = match self.pools.client_get(&at.tenant, &ticket.client).await {
            Ok(client) => client.display_name,
            Err(error) => return self.error_page(at, "sign_in", &error.refusal()),
        };
        let failure = if refusal.reason == Reason::RateLimited { Failure::TooMany } else { Failure::Wrong };
        match self.sign_in_page(at, ticket, &client, Some(failure)).await {
            Ok(response) => response,
            Err(refusal) => self.error_page(at, "sign_in", &refusal),
        }
    }

    fn error_page(&self, at: &At, action: &'static str, refusal: &Refusal) -> Response {
        self.verdict(Some(&at.tenant), &at.reference, action, Err(refusal));
        page::error(refusal, &at.reference)
    }

    /// Sends the browser back to the app, saying which issuer speaks (RFC 9207 section 2).
    fn redirect(&self, at: &At, to: &str, state: Option<&str>, answer: &[(&str, &str)]) -> Response {
        let issuer = self.directory.addresses().issuer(&at.tenant);
        let location = Url::parse(to).ok().and_then(|mut url| {
            url.query_pairs_mut()
                .extend_pairs(answer)
                .extend_pairs(state.map(|state| ("state", state)))
                .append_pair("iss", &issuer);
            HeaderValue::from_str(url.as_str()).ok()
        });
        let Some(location) = location else {
            return self.error_page(
                at,
                "redirect",
                &refuse(Reason::Internal, "a registered URI that is none"),
            );
        };
        // 303: the password does not go along (RFC 9700 section 4.12).
        let mut response = StatusCode::SEE_OTHER.into_response();
        response.headers_mut().insert(header::LOCATION, location);
        response.headers_mut().insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
        unstored(response)
    }
}

/// The parameters that the app is told about when they are wrong.
fn ticket(query: &Parameters, client: ClientId, redirect_uri: &str) -> Result<Ticket, OAuthError> {
    let refuse =
        |code, detail| Err(OAuthError::new(code, detail, "The request is not one that is served here."));
    if query.get("request").is_some() {
        return refuse("request_not_supported", "request");
    }
    if query.get("request_uri").is_some() {
        return refuse("request_uri_not_supported", "request_uri");
    }
    if query.get("response_type") != Some("code") {
        return refuse("unsupported_response_type", "response_type");
    }
    if query.get("response_mode").is_some_and(|mode| mode != "query") {
        return Err(OAuthError::request("response_mode"));
    }
    if query.get("prompt").is_some_and(|prompt| prompt.split(' ').any(|prompt| prompt == "none")) {
        // Nobody stays signed in here: every authorization asks for the password.
        return refuse("login_required", "prompt");
    }
    let challenge = query.need("code_challenge")?;
    let digits = challenge.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'));
    if query.get("code_challenge_method") != Some("S256") || challenge.len() != CHALLENGE_BYTES || !digits {
        return Err(OAuthError::request("PKCE with S256 is required"));
    }
    let opaque = |name| match query.get(name) {
        Some(value) if value.len() > OPAQUE_BYTES => Err(OAuthError::request("state or nonce too long")),
        value => Ok(value.map(str::to_owned)),
    };
    let scopes = query.get("scope").unwrap_or_default();
    let asks = |scope: &str| scopes.split(' ').any(|asked| asked == scope);
    Ok(Ticket {
        client,
        redirect_uri: redirect_uri.to_owned(),
        state: opaque("state")?,
        nonce: opaque("nonce")?,
        challenge: challenge.to_owned(),
        openid: asks("openid"),
        profile: asks("profile"),
    })
}
