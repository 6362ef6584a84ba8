//! The pages people see: sign-in, and why there is none. Whole in one answer, with no script and nothing from elsewhere.

use askama::Template;
use axum::response::{Html, IntoResponse, Response};
use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use http::{HeaderValue, StatusCode, header};
use ringfence_context::{Reason, Reference, Refusal, key};
use url::{Origin, Url};

use super::answer::{set, unstored};
use crate::error::refuse;

const STYLE: &str = include_str!("../../templates/style.css");

/// Why the form is shown again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Failure {
    /// Wrong user name or wrong password: nobody is told which.
    Wrong,
    /// Too many attempts.
    TooMany,
}

#[derive(Template)]
#[template(path = "sign_in.html")]
struct SignIn<'a> {
    style: &'static str,
    tenant: &'a str,
    client: &'a str,
    action: &'a str,
    ticket: &'a str,
    failure: Option<&'static str>,
}

#[derive(Template)]
#[template(path = "error.html")]
struct Error<'a> {
    style: &'static str,
    title: &'a str,
    advice: &'a str,
    reference: &'a str,
}

/// The sign-in page.
pub(super) fn sign_in(
    tenant: &str,
    client: &str,
    action: &str,
    ticket: &str,
    redirect_uri: &str,
    failure: Option<Failure>,
) -> Result<Response, Refusal> {
    let (status, text) = match failure {
        None => (StatusCode::OK, None),
        Some(Failure::Wrong) => (StatusCode::UNAUTHORIZED, Some("That user name and password do not match.")),
        Some(Failure::TooMany) => (
            StatusCode::TOO_MANY_REQUESTS,
            Some("Too many attempts for this user name. Wait a minute, then try again."),
        ),
    };
    let page = SignIn { style: STYLE, tenant, client, action, ticket, failure: text };
    // The browser follows the redirect of a form only where `form-action` allows its target.
    let target = Url::parse(redirect_uri).map(|url| match url.origin() {
        origin @ Origin::Tuple(..) => origin.ascii_serialization(),
        Origin::Opaque(_) => format!("{}:", url.scheme()),
    });
    render(&page, status, &format!("'self' {}", target.unwrap_or_default()))
}

/// Why there is no sign-in page.
pub(super) fn error(refusal: &Refusal, reference: &Reference) -> Response {
    let status = StatusCode::from_u16(refusal.reason.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let (title, advice) = match refusal.reason {
        Reason::RequestMalformed => (
            "This sign-in link does not work.",
            "Go back to the app and start again. If it happens again, tell the app's makers the reference.",
        ),
        reason => (reason.title(), reason.advice()),
    };
    let page = Error { style: STYLE, title, advice, reference: reference.as_str() };
    render(&page, status, "'none'").unwrap_or_else(|_| StatusCode::INTERNAL_SERVER_ERROR.into_response())
}

fn render(page: &impl Template, status: StatusCode, form_action: &str) -> Result<Response, Refusal> {
    let internal = refuse(Reason::Internal, "the page can't be rendered");
    let text = page.render().map_err(|_| internal.clone())?;
    let style = BASE64.encode(key::sha256(STYLE.as_bytes()));
    let policy = format!(
        "default-src 'none'; style-src 'sha256-{style}'; form-action {form_action}; frame-ancestors 'none'; base-uri 'none'"
    );
    let mut response = (status, Html(text)).into_response();
    let policy = HeaderValue::from_str(&policy).map_err(|_| internal)?;
    response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, policy);
    set(&mut response, header::REFERRER_POLICY, "no-referrer");
    set(&mut response, header::X_FRAME_OPTIONS, "DENY");
    if status == StatusCode::TOO_MANY_REQUESTS {
        set(&mut response, header::RETRY_AFTER, "60");
    }
    Ok(unstored(response))
}
