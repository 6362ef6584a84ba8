//! Redirect URIs: registered whole, compared byte by byte (RFC 9700 section 4.1.3).
//!
//! One exception, for native apps (RFC 8252 section 7.3): on a loopback IP address the port may be any. It is made on
//! the text, so that there is no second reading of a URI to play against the first.

use crate::error::IdentityError;

/// Longest redirect URI, in bytes.
pub const REDIRECT_BYTES: usize = 512;

const LOOPBACK: [&str; 2] = ["http://127.0.0.1", "http://[::1]"];

/// Whether `presented` is the URI that was `registered`.
pub fn matches(registered: &str, presented: &str) -> bool {
    if registered == presented {
        return true;
    }
    LOOPBACK.iter().any(|host| match (registered.strip_prefix(host), presented.strip_prefix(host)) {
        (Some(registered), Some(presented)) => match (without_port(registered), without_port(presented)) {
            (Some(registered), Some(presented)) => registered == presented && !registered.is_empty(),
            _ => false,
        },
        _ => false,
    })
}

/// What follows the port, if there is a proper one or none: `:8080/a` and `/a` are `/a`.
fn without_port(rest: &str) -> Option<&str> {
    let Some(port) = rest.strip_prefix(':') else { return rest.starts_with('/').then_some(rest) };
    let (digits, path) = port.split_at_checked(port.find('/')?)?;
    let number = digits.bytes().all(|byte| byte.is_ascii_digit()) && !digits.starts_with('0');
    (number && digits.parse::<u16>().is_ok()).then_some(path)
}

/// Refuses a URI that must not be registered: relative, with a fragment or user name, in the clear to another machine,
/// or in a scheme browsers give a meaning of their own.
///
/// # Errors
/// [`IdentityError::Invalid`].
pub fn check(uri: &str) -> Result<(), IdentityError> {
    let refuse = |why| Err(IdentityError::Invalid(why));
    if uri.len() > REDIRECT_BYTES || !uri.bytes().all(|byte| byte.is_ascii_graphic()) {
        return refuse("a redirect URI is at most 512 visible ASCII characters");
    }
    let Ok(url) = url::Url::parse(uri) else { return refuse("a redirect URI is an absolute URI") };
    if uri.contains(['#', '\\', '*', '"', '<', '>', '\'', ';', ',']) {
        return refuse("a redirect URI has no fragment, wildcard or quotes");
    }
    if !url.username().is_empty() || url.password().is_some() {
        return refuse("a redirect URI has no user name");
    }
    match url.scheme() {
        "https" if url.host_str().is_some() => Ok(()),
        "http"
            if LOOPBACK
                .iter()
                .any(|host| uri.strip_prefix(host).is_some_and(|rest| without_port(rest).is_some())) =>
        {
            Ok(())
        }
        // RFC 8252 section 7.1: a native app's own scheme is a domain name turned round.
        scheme if scheme.contains('.') => Ok(()),
        _ => refuse(
            "a redirect URI is https, http on 127.0.0.1 or [::1], or an app's own scheme like com.example.app:/",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_registered_uri_matches() {
        let registered = "https://app.example/cb";
        assert!(matches(registered, registered));
        for other in [
            "https://app.example/cb/",
            "https://app.example/cb?x=1",
            "https://app.example/cb#f",
            "https://app.example/cb2",
            "https://app.example/cb/../evil",
            "https://app.example.evil/cb",
            "https://app.example@evil/cb",
            "https://evil/https://app.example/cb",
            "https://APP.example/cb",
            "HTTPS://app.example/cb",
            "https://app.example:443/cb",
            "http://app.example/cb",
            "https://app.example/%63b",
            "https://app.example//cb",
            "https://app.example/c",
            "",
            " https://app.example/cb",
            "https://app.example/cb\n",
            "//app.example/cb",
            "https:\\\\app.example\\cb",
            "https://app.example.:443/cb",
            "https://аpp.example/cb",
        ] {
            assert!(!matches(registered, other), "{other}");
        }
    }

    #[test]
    fn on_loopback_the_port_alone_is_free() {
        for (registered, presented) in [
            ("http://127.0.0.1/cb", "http://127.0.0.1:49152/cb"),
            ("http://127.0.0.1:8000/cb", "http://127.0.0.1:9000/cb"),
            ("http://127.0.0.1:8000/cb", "http://127.0.0.1/cb"),
            ("http://[::1]/cb", "http://[::1]:1/cb"),
        ] {
            assert!(matches(registered, presented), "{registered} {presented}");
        }
        for presented in [
            "http://127.0.0.1:49152/cb/x",
            "http://127.0.0.1:49152/other",
            "http://127.0.0.1:0/cb",
            "http://127.0.0.1:/cb",
            "http://127.0.0.1:99999/cb",
            "http://127.0.0.1:80@evil/cb",
            "http://127.0.0.1:80:80/cb",
            "http://127.0.0.1.evil/cb",
            "http://127.0.0.1@evil/cb",
            "http://localhost:80/cb",
            "http://[::1]:80/cb",
            "https://127.0.0.1:80/cb",
            "http://127.0.0.1:8x/cb",
            "http://127.0.0.1:080/cb",
            "http://127.0.0.1:+80/cb",
        ] {
            assert!(!matches("http://127.0.0.1/cb", presented), "{presented}");
        }
        assert!(!matches("https://app.example:1/cb", "https://app.example:2/cb"));
    }

    #[test]
    fn what_may_be_registered() {
        for good in
            ["https://app.example/cb?a=b", "http://127.0.0.1/cb", "http://[::1]:80/", "com.example.app:/cb"]
        {
            assert_eq!(check(good), Ok(()), "{good}");
        }
        for bad in [
            "",
            "/cb",
            "https://",
            "http://app.example/cb",
            "http://localhost/cb",
            "javascript:alert(1)",
            "data:text/html,x",
            "https://a@app.example/cb",
            "https://app.example/cb#x",
            "https://*.example/cb",
            "http://127.0.0.1.evil/cb",
            "file:///etc/passwd",
            "https://app.example/a b",
            "https://app.example/;x",
        ] {
            assert!(check(bad).is_err(), "{bad}");
        }
    }
}
