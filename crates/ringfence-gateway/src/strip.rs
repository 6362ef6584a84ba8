//! Headers a client may not send, because behind the gateway they are believed.
//!
//! Names are compared normalised: servers and frameworks read `X_Tenant_Id`, `X.Tenant.Id` and `x-tenant-id` as one
//! (CGI, RFC 3875 section 4.1.18), so all spellings are removed.

use std::sync::LazyLock;

use http::{HeaderMap, HeaderName, header};

/// The seam at which stripping stands in the chain.
pub trait Strip: Send + Sync {
    /// Removes what a client may not send on.
    fn strip(&self, headers: &mut HeaderMap);
}

/// The strip.
#[derive(Debug, Clone, Copy)]
pub struct HeaderStrip;

/// Prefixes of names that carry identity or routing: ours, and those common proxies and frameworks believe.
const BELIEVED: &[&str] = &[
    "x-tenant",
    "tenant",
    "txn-",
    "ringfence",
    "x-ringfence",
    "x-forwarded",
    "forwarded",
    "x-real-ip",
    "x-client-ip",
    "x-original-",
    "x-rewrite-",
    "x-envoy-",
    "x-auth-",
    "x-authenticated-",
    "x-user",
    "x-remote-user",
    "remote-user",
    "x-amzn-oidc-",
    "x-goog-authenticated-",
    "x-http-method",
    "x-method-override",
    "x-host",
    "x-cluster-client-ip",
    "true-client-ip",
    "cf-connecting-ip",
    "x-org-id",
    "x-scope-orgid",
    "x-account-id",
    "x-subject",
    "x-roles",
];

/// RFC 9110 section 7.6.1, and what else speaks about one hop only.
const HOP_BY_HOP: &[&str] = &[
    "connection",
    "proxy-connection",
    "keep-alive",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy",
];

impl Strip for HeaderStrip {
    fn strip(&self, headers: &mut HeaderMap) {
        let mut gone: Vec<HeaderName> = Vec::new();
        for value in headers.get_all(header::CONNECTION) {
            let listed = value.to_str().unwrap_or_default().split(',');
            gone.extend(listed.filter_map(|name| HeaderName::try_from(name.trim()).ok()));
        }
        // `Authorization` and `Host` may not be made hop-by-hop: the backend verifies the one and needs the other.
        gone.retain(|name| {
            *name != header::AUTHORIZATION && *name != header::HOST && *name != header::CONTENT_LENGTH
        });
        gone.extend(headers.keys().filter(|name| is_refused(name.as_str())).cloned());
        for name in gone {
            headers.remove(name);
        }
    }
}

/// The letters that the listed names begin with, as bits: most names are let through by their first letter.
static FIRST: LazyLock<u32> = LazyLock::new(|| {
    let firsts = BELIEVED.iter().chain(HOP_BY_HOP).filter_map(|name| name.bytes().next());
    firsts.fold(0, |letters, first| letters | bit(first))
});

/// The bit of a small letter; none for anything else.
fn bit(byte: u8) -> u32 {
    byte.checked_sub(b'a').and_then(|letter| 1_u32.checked_shl(letter.into())).unwrap_or(0)
}

fn is_refused(name: &str) -> bool {
    let matches = |normal: &str| {
        normal.bytes().next().is_some_and(|first| bit(first) & *FIRST != 0)
            && (BELIEVED.iter().any(|prefix| normal.starts_with(prefix)) || HOP_BY_HOP.contains(&normal))
    };
    if name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-') {
        return matches(name);
    }
    // Any separator a reader might take for '-': every byte that is not alphanumeric.
    matches(&name.replace(|c: char| !c.is_ascii_alphanumeric(), "-").to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn survives(name: &str) -> bool {
        let mut headers = HeaderMap::new();
        headers.insert(HeaderName::try_from(name).unwrap(), "v".parse().unwrap());
        HeaderStrip.strip(&mut headers);
        !headers.is_empty()
    }

    #[test]
    fn cv21_identity_headers_are_removed_in_every_spelling() {
        for name in [
            "X-Tenant-Id",
            "x_tenant_id",
            "X.Tenant.Id",
            "X-Tenant_ID",
            "x~tenant~id",
            "X-TENANT",
            "Tenant-Id",
            "Txn-Token",
            "txn_token",
            "Txn-Binding",
            "Ringfence-Reference",
            "X-Forwarded-For",
            "X_Forwarded_Host",
            "Forwarded",
            "X-Original-URL",
            "X-Rewrite-URL",
            "X-HTTP-Method-Override",
            "X-User-Id",
            "X-Scope-OrgID",
            "Connection",
            "TE",
            "Upgrade",
            "Proxy-Authorization",
            "Transfer-Encoding",
            "Keep-Alive",
            "Proxy",
        ] {
            assert!(!survives(name), "{name}");
        }
        for name in [
            "Accept",
            "Content-Type",
            "Authorization",
            "Cookie",
            "X-Request-Id",
            "traceparent",
            "Idempotency-Key",
        ] {
            assert!(survives(name), "{name}");
        }
    }

    #[test]
    fn every_listed_name_is_removed() {
        for name in BELIEVED.iter().chain(HOP_BY_HOP) {
            assert!(!survives(name), "{name}");
        }
    }

    #[test]
    fn connection_can_remove_its_own_hop_only() {
        let mut headers = HeaderMap::new();
        headers.insert("connection", "close, X-Custom, Authorization, Host".parse().unwrap());
        headers.insert("x-custom", "v".parse().unwrap());
        headers.insert("authorization", "v".parse().unwrap());
        headers.insert("host", "v".parse().unwrap());
        HeaderStrip.strip(&mut headers);
        let left: Vec<&str> = headers.keys().map(HeaderName::as_str).collect();
        assert_eq!(left, ["authorization", "host"]);
    }
}
