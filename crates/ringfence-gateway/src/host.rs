//! Which tenant an address names: `{tenant}.{suffix}`, read from the one authority a request has.

use http::{HeaderMap, Uri, header};
use ringfence_context::{Layer, Reason, Refusal, TenantId};

use crate::target::malformed;

/// Where a request is addressed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// The host of the issuers.
    Base,
    /// A tenant's host.
    Tenant(TenantId),
}

/// The host names served.
#[derive(Debug, Clone)]
pub struct Hosts {
    /// Host and port of the base URL, as in a `Host` header.
    pub base: String,
    /// What follows `{tenant}.` in a tenant's host.
    pub suffix: String,
}

impl Hosts {
    /// The address of a request. Whether the tenant exists is not looked at: an unknown tenant's host answers as a
    /// known one's does to a stranger.
    ///
    /// # Errors
    /// [`Reason::RequestMalformed`] where the request names two authorities or none, [`Reason::NotServed`] otherwise.
    pub fn address(&self, uri: &Uri, headers: &HeaderMap) -> Result<Address, Refusal> {
        let host = authority(uri, headers)?.to_ascii_lowercase();
        if host == self.base {
            return Ok(Address::Base);
        }
        let not_served = Refusal::new(Layer::Routing, Reason::NotServed, "host is not one of ours");
        let label = host
            .strip_suffix(&self.suffix)
            .and_then(|rest| rest.strip_suffix('.'))
            .ok_or(not_served.clone())?;
        TenantId::new(label).map(Address::Tenant).map_err(|_| not_served)
    }

    /// The host of a tenant.
    pub fn of(&self, tenant: &TenantId) -> String {
        format!("{tenant}.{}", self.suffix)
    }
}

/// RFC 9112 section 3.2 and RFC 9113 section 8.3.1: one `Host`; if the target has an authority as well, the same.
fn authority<'a>(uri: &'a Uri, headers: &'a HeaderMap) -> Result<&'a str, Refusal> {
    let mut hosts = headers.get_all(header::HOST).iter();
    let host =
        hosts.next().map(|host| host.to_str()).transpose().map_err(|_| malformed("Host is not text"))?;
    if hosts.next().is_some() {
        return Err(malformed("more than one Host"));
    }
    match (host, uri.authority().map(http::uri::Authority::as_str)) {
        (None, None) => Err(malformed("no Host")),
        (Some(one), None) | (None, Some(one)) => Ok(one),
        (Some(host), Some(target)) if host.eq_ignore_ascii_case(target) => Ok(host),
        (Some(_), Some(_)) => Err(malformed("Host and the target's authority differ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(uri: &str, hosts: &[&str], expected: Result<&str, Reason>) {
        let served = Hosts { base: "127.0.0.1:8080".to_owned(), suffix: "localhost:8080".to_owned() };
        let mut headers = HeaderMap::new();
        for host in hosts {
            headers.append(header::HOST, host.parse().unwrap());
        }
        let found = served.address(&uri.parse().unwrap(), &headers).map(|address| match address {
            Address::Base => "base".to_owned(),
            Address::Tenant(tenant) => tenant.to_string(),
        });
        assert_eq!(found.as_deref().map_err(|refusal| refusal.reason), expected, "{uri} {hosts:?}");
    }

    #[test]
    fn one_authority_names_one_tenant() {
        check("/p", &["acme.localhost:8080"], Ok("acme"));
        check("/p", &["ACME.LocalHost:8080"], Ok("acme"));
        check("http://acme.localhost:8080/p", &["acme.localhost:8080"], Ok("acme"));
        check("http://acme.localhost:8080/p", &[], Ok("acme"));
        check("/p", &["127.0.0.1:8080"], Ok("base"));
    }

    #[test]
    fn host_confusion_is_refused() {
        check("/p", &[], Err(Reason::RequestMalformed));
        check("/p", &["acme.localhost:8080", "globex.localhost:8080"], Err(Reason::RequestMalformed));
        check("/p", &["acme.localhost:8080", "acme.localhost:8080"], Err(Reason::RequestMalformed));
        check("http://globex.localhost:8080/p", &["acme.localhost:8080"], Err(Reason::RequestMalformed));
        for host in [
            "localhost:8080",
            ".localhost:8080",
            "a.b.localhost:8080",
            "acme.localhost",
            "acme.localhost:80",
            "acme.localhost:8080.evil.example",
            "acme.localhost:8080@evil",
            "evil@acme.localhost:8080",
            "acme..localhost:8080",
            "acme.localhost.:8080",
            "acme-.localhost:8080",
            "acme_x.localhost:8080",
            "acme.localhost:8080,globex.localhost:8080",
            "acmelocalhost:8080",
        ] {
            check("/p", &[host], Err(Reason::NotServed));
        }
    }
}
