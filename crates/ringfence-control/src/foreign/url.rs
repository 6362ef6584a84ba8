//! The URL of an issuer, in the one form that is read here.
//!
//! It guarantees that a URL has one reading: `https`, a host in lower case without a dot at its end, a port that is not
//! the default one's, a path of plain segments; no user, no query, no fragment, nothing percent-encoded. What is
//! written otherwise is refused, not repaired: two spellings of one issuer would be two issuers, or one under another's
//! name.

use std::net::Ipv4Addr;

/// The port of `https`.
pub(crate) const HTTPS: u16 = 443;

/// Longest host name, in bytes (RFC 1035 section 2.3.4).
const HOST_BYTES: usize = 253;

/// A URL that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct IssuerUrl {
    /// The host: a name, or an IPv4 address.
    pub(crate) host: String,
    /// The port.
    pub(crate) port: u16,
    /// The path; empty, or beginning with a slash.
    pub(crate) path: String,
}

impl IssuerUrl {
    /// Reads a URL.
    pub(crate) fn read(text: &str) -> Option<Self> {
        let url = Self::read_pattern(text)?;
        (!url.host.contains('*')).then_some(url)
    }

    /// Reads a URL in whose host a label may be `*`.
    pub(crate) fn read_pattern(text: &str) -> Option<Self> {
        let rest = text.strip_prefix("https://")?;
        let (authority, path) = match rest.find('/') {
            Some(at) => rest.split_at_checked(at)?,
            None => (rest, ""),
        };
        let (host, port) = match authority.split_once(':') {
            None => (authority, HTTPS),
            Some((host, port)) => {
                let number: u16 = port.parse().ok().filter(|number| *number != HTTPS && *number != 0)?;
                (host, (number.to_string() == port).then_some(number)?)
            }
        };
        (is_host(host) && is_path(path)).then(|| Self { host: host.to_owned(), port, path: path.to_owned() })
    }

    /// Whether both are at one place: scheme, host and port.
    pub(crate) fn is_beside(&self, other: &Self) -> bool {
        self.host == other.host && self.port == other.port
    }

    /// `host` or `host:port`, as a request names it.
    pub(crate) fn authority(&self) -> String {
        if self.port == HTTPS { self.host.clone() } else { format!("{}:{}", self.host, self.port) }
    }

    /// Where the issuer publishes what it is (OpenID Connect Discovery section 4.1).
    pub(crate) fn metadata(&self) -> Self {
        let path = format!("{}/.well-known/openid-configuration", self.path.trim_end_matches('/'));
        Self { path, ..self.clone() }
    }
}

fn is_host(host: &str) -> bool {
    let label = |label: &str| {
        let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        label == "*"
            || (1..=63).contains(&label.len())
                && label.bytes().all(plain)
                && !label.starts_with('-')
                && !label.ends_with('-')
    };
    if host.len() > HOST_BYTES || !host.split('.').all(label) {
        return false;
    }
    // What a resolver could take for a number is an address in its usual form, or nothing (WHATWG URL section 3.5).
    let last = host.rsplit('.').next().unwrap_or_default();
    let numeric = last.bytes().all(|byte| byte.is_ascii_digit()) || last.starts_with("0x");
    !numeric || host.parse::<Ipv4Addr>().is_ok_and(|address| address.to_string() == host)
}

fn is_path(path: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~');
    let Some(segments) = path.strip_prefix('/') else { return path.is_empty() };
    let segments = segments.strip_suffix('/').unwrap_or(segments);
    segments.is_empty() && path == "/"
        || segments.split('/').all(|segment| {
            !segment.is_empty() && segment.bytes().all(plain) && !matches!(segment, "." | "..")
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_issuer_has_one_spelling() {
        for good in [
            "https://login.example.com",
            "https://login.example.com/",
            "https://login.example.com:8443/realms/one",
            "https://login.example.com/a.b/~c_d-e/",
            "https://10.0.0.1",
            "https://cognito-idp.eu-central-1.amazonaws.com/eu-central-1_1a2b3c4d5",
        ] {
            assert!(IssuerUrl::read(good).is_some(), "{good}");
        }
        for bad in [
            "",
            "http://login.example.com",
            "HTTPS://login.example.com",
            "https:/login.example.com",
            "https://",
            "https:///a",
            "https://Login.example.com",
            "https://login.example.com.",
            "https://login..example.com",
            "https://.example.com",
            "https://-a.example.com",
            "https://user@login.example.com",
            "https://login.example.com@127.0.0.1",
            "https://login.example.com\\@evil.example",
            "https://login.example.com:443",
            "https://login.example.com:0443",
            "https://login.example.com:0",
            "https://login.example.com:65536",
            "https://login.example.com:",
            "https://login.example.com?a",
            "https://login.example.com/?a",
            "https://login.example.com/#a",
            "https://login.example.com/a//b",
            "https://login.example.com//",
            "https://login.example.com/a/../b",
            "https://login.example.com/./b",
            "https://login.example.com/%74",
            "https://login.example.com/a b",
            "https://login.example.com/\n",
            " https://login.example.com",
            "https://login.example.com ",
            "https://*.example.com",
            "https://lögin.example.com",
            "https://127.1",
            "https://0x7f.0.0.1",
            "https://0x7f000001",
            "https://2130706433",
            "https://0177.0.0.1",
            "https://127.0.0.01",
            "https://[::1]",
        ] {
            assert_eq!(IssuerUrl::read(bad), None, "{bad}");
        }
        let long = format!("https://{}", vec!["a"; 128].join("."));
        assert_eq!(IssuerUrl::read(&long), None);
    }

    #[test]
    fn metadata_is_below_the_issuer() {
        let at = |issuer: &str| IssuerUrl::read(issuer).unwrap().metadata().path;
        assert_eq!(at("https://a.example"), "/.well-known/openid-configuration");
        assert_eq!(at("https://a.example/"), "/.well-known/openid-configuration");
        assert_eq!(at("https://a.example/t/"), "/t/.well-known/openid-configuration");
    }
}
