//! Forms and queries, read strictly: nothing twice, nothing that is not text, nothing larger than the limit.

use std::collections::BTreeMap;

use axum::body::{Body, to_bytes};
use http::{HeaderMap, Request, header, request::Parts};
use ringfence_context::limits;

use super::answer::OAuthError;

/// Most parameters of one request.
const PARAMETERS: usize = 32;

/// The parameters of a request, each once (RFC 6749 section 3.1).
#[derive(Debug)]
pub(super) struct Parameters(BTreeMap<String, String>);

impl Parameters {
    /// Reads `application/x-www-form-urlencoded` text.
    pub(super) fn parse(text: &[u8]) -> Result<Self, OAuthError> {
        let mut parameters = BTreeMap::new();
        for (name, value) in url::form_urlencoded::parse(text) {
            // The decoder puts U+FFFD for what is no text; nobody sends one.
            if name.chars().chain(value.chars()).any(|c| c.is_control() || c == '\u{fffd}') {
                return Err(OAuthError::request("a parameter is not text"));
            }
            if parameters.insert(name.into_owned(), value.into_owned()).is_some() {
                return Err(OAuthError::request("a parameter twice"));
            }
            if parameters.len() > PARAMETERS {
                return Err(OAuthError::request("too many parameters"));
            }
        }
        Ok(Self(parameters))
    }

    /// Reads the query.
    pub(super) fn of_query(parts: &Parts) -> Result<Self, OAuthError> {
        let query = parts.uri.query().unwrap_or_default();
        if query.len() > limits::REQUEST_TARGET_BYTES {
            return Err(OAuthError::request("the query is too long"));
        }
        Self::parse(query.as_bytes())
    }

    /// Reads the body of a POST; there must be no query beside it.
    pub(super) async fn of_body(request: Request<Body>) -> Result<(HeaderMap, Self), OAuthError> {
        let (parts, body) = request.into_parts();
        if parts.uri.query().is_some() {
            return Err(OAuthError::request("a query beside a form"));
        }
        let mut types = parts.headers.get_all(header::CONTENT_TYPE).iter();
        let form = types.next().and_then(|kind| kind.to_str().ok()).is_some_and(|kind| {
            let kind = kind.split(';').next().unwrap_or_default().trim();
            kind.eq_ignore_ascii_case("application/x-www-form-urlencoded")
        });
        if !form || types.next().is_some() {
            return Err(OAuthError::request("not a form"));
        }
        let body = to_bytes(body, limits::FORM_BYTES).await;
        let body = body.map_err(|_| OAuthError::request("the form is too large or broke off"))?;
        Ok((parts.headers, Self::parse(&body)?))
    }

    /// The value of a parameter; an empty one is as good as none (RFC 6749 section 3.1).
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// The value of a parameter that must be there.
    pub(super) fn need(&self, name: &'static str) -> Result<&str, OAuthError> {
        self.get(name).ok_or(OAuthError::request("a parameter is missing"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> bool {
        Parameters::parse(text.as_bytes()).is_ok()
    }

    #[test]
    fn each_parameter_once() {
        assert!(read("a=1&b=2&c="));
        for bad in
            ["a=1&a=1", "a=1&a=2", "a=1&%61=2", "a&a", "a=%00", "a=%ff", "a=%0d%0aLocation:x", "a%00=1"]
        {
            assert!(!read(bad), "{bad}");
        }
    }

    #[test]
    fn reject_parameters() {
        let many = |count: usize| (0..count).map(|n| format!("p{n}=1")).collect::<Vec<_>>().join("&");
        assert!(read(&many(PARAMETERS)));
        assert!(!read(&many(PARAMETERS + 1)));
    }
}
