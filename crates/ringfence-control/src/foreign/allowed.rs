//! Which issuers may be asked for their keys: those the operator has listed under `[avp]` in `ringfence.toml`, and none
//! that is the plane's own.
//!
//! It guarantees that nobody is asked whom the operator has not named: without a list, nobody is.

use std::{fmt, net::SocketAddr, path::PathBuf};

use serde::{
    Deserialize, Deserializer,
    de::{self, MapAccess, Visitor, value::MapAccessDeserializer},
};

use crate::foreign::url::IssuerUrl;

/// What the policy service may do that concerns others.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct IssuerSettings {
    /// Issuers whose tokens identity sources may take, each `"https://host/path"`: itself, and what is below it. A whole
    /// label of the host may be `*`, but none of the last two.
    pub issuers: Vec<IssuerSetting>,
    /// A file with certificates of authorities, in PEM, that are believed beside the usual ones.
    pub ca_file: Option<PathBuf>,
}

/// One issuer, or several by a pattern. Written as its URL, or as a table with more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IssuerSetting {
    /// The URL.
    pub url: String,
    /// Whether its name may lead to an address inside: loopback, private, link-local, unique local.
    pub private_addresses: bool,
    /// Where it is, instead of where its name leads to.
    pub address: Option<SocketAddr>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    url: String,
    #[serde(default)]
    private_addresses: bool,
    address: Option<SocketAddr>,
}

impl<'de> Deserialize<'de> for IssuerSetting {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct UrlOrTable;

        impl<'de> Visitor<'de> for UrlOrTable {
            type Value = IssuerSetting;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("\"https://…\", or { url = \"https://…\", … }")
            }

            fn visit_str<E: de::Error>(self, url: &str) -> Result<IssuerSetting, E> {
                Ok(IssuerSetting { url: url.to_owned(), private_addresses: false, address: None })
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<IssuerSetting, A::Error> {
                let Table { url, private_addresses, address } =
                    Table::deserialize(MapAccessDeserializer::new(map))?;
                Ok(IssuerSetting { url, private_addresses, address })
            }
        }

        deserializer.deserialize_any(UrlOrTable)
    }
}

/// An entry of the list.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pattern: IssuerUrl,
    pub(crate) private: bool,
    pub(crate) address: Option<SocketAddr>,
}

/// The list.
#[derive(Debug, Clone, Default)]
pub(crate) struct Allowed(Vec<Entry>);

/// Names under which the plane itself answers.
#[derive(Debug, Clone, Default)]
pub(crate) struct PlaneNames {
    /// Where gateway, issuers and API answer: `https` URLs. What is not is no issuer of the form that is read here.
    at: Vec<IssuerUrl>,
    /// What tenants' hosts end with.
    suffix: String,
}

impl Allowed {
    /// Reads the list.
    ///
    /// # Errors
    /// What is wrong with an entry, and what to write.
    pub(crate) fn read(settings: &IssuerSettings) -> Result<Self, String> {
        let entry = |setting: &IssuerSetting| {
            let wrong = |what: &str| format!("issuers in [avp]: \"{}\" {what}", setting.url.escape_debug());
            let pattern = IssuerUrl::read_pattern(&setting.url)
                .ok_or_else(|| wrong("is not a URL as https://login.example.com/path"))?;
            let fixed = pattern.host.rsplit('.').take(2).filter(|label| *label != "*").count();
            if pattern.host.contains('*') && fixed < 2 {
                return Err(wrong("would be anybody's: the last two labels of the host must be written out"));
            }
            Ok(Entry { pattern, private: setting.private_addresses, address: setting.address })
        };
        settings.issuers.iter().map(entry).collect::<Result<_, _>>().map(Self)
    }

    /// The entry by which this URL may be asked.
    pub(crate) fn find(&self, url: &IssuerUrl) -> Option<&Entry> {
        self.0.iter().find(|entry| entry.covers(url))
    }
}

impl Entry {
    fn covers(&self, url: &IssuerUrl) -> bool {
        let (mut pattern, mut host) = (self.pattern.host.split('.'), url.host.split('.'));
        let labels = loop {
            match (pattern.next(), host.next()) {
                (None, None) => break true,
                (Some(wanted), Some(label)) if wanted == "*" || wanted == label => {}
                _ => break false,
            }
        };
        let base = self.pattern.path.trim_end_matches('/');
        let below = url.path.strip_prefix(base).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
        labels && self.pattern.port == url.port && below
    }
}

impl PlaneNames {
    /// From where it answers, and what tenants' hosts end with.
    pub(crate) fn new<'a>(urls: impl IntoIterator<Item = &'a str>, host_suffix: &str) -> Self {
        let at = urls.into_iter().filter_map(|url| IssuerUrl::read(&url.to_ascii_lowercase())).collect();
        let suffix = host_suffix.split(':').next().unwrap_or_default().to_ascii_lowercase();
        Self { at, suffix }
    }

    /// Whether this is a place of the plane's.
    pub(crate) fn has(&self, url: &IssuerUrl) -> bool {
        let below = url.host.strip_suffix(&self.suffix).is_some_and(|rest| rest.ends_with('.'));
        self.at.iter().any(|own| own.is_beside(url))
            || !self.suffix.is_empty() && (below || url.host == self.suffix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowed(list: &str) -> Result<Allowed, String> {
        Allowed::read(&toml::from_str(list).map_err(|error| error.to_string())?)
    }

    fn may(list: &str, issuer: &str) -> bool {
        allowed(&format!("issuers = [{list}]")).unwrap().find(&IssuerUrl::read(issuer).unwrap()).is_some()
    }

    #[test]
    fn nobody_is_asked_who_is_not_listed() {
        assert!(allowed("").unwrap().find(&IssuerUrl::read("https://login.example.com").unwrap()).is_none());
        let one = "\"https://login.example.com/t1\"";
        for good in [
            "https://login.example.com/t1",
            "https://login.example.com/t1/",
            "https://login.example.com/t1/x",
        ] {
            assert!(may(one, good), "{good}");
        }
        for bad in [
            "https://login.example.com",
            "https://login.example.com/",
            "https://login.example.com/t10",
            "https://login.example.com/t2",
            "https://login.example.com:8443/t1",
            "https://login.example.com.evil.example/t1",
            "https://evil-login.example.com/t1",
            "https://a.login.example.com/t1",
        ] {
            assert!(!may(one, bad), "{bad}");
        }
        let pattern = "\"https://cognito-idp.*.amazonaws.com/\"";
        assert!(may(pattern, "https://cognito-idp.eu-central-1.amazonaws.com/eu-central-1_x"));
        for bad in [
            "https://cognito-idp.amazonaws.com/x",
            "https://cognito-idp.a.b.amazonaws.com/x",
            "https://cognito-idp.x.amazonaws.com.evil.example/x",
            "https://cognito-idp.x.evil.com/x",
        ] {
            assert!(!may(pattern, bad), "{bad}");
        }
    }

    #[test]
    fn a_list_that_means_anybody_or_nothing_is_refused_with_what_to_write() {
        for bad in [
            "\"https://*\"",
            "\"https://*.com\"",
            "\"https://a.*.com\"",
            "\"https://example.*\"",
            "\"https://a*.example.com\"",
            "\"http://login.example.com\"",
            "\"login.example.com\"",
            "\"https://login.example.com/?x\"",
            "{ url = \"https://*.*\" }",
            "{ url = \"https://login.example.com\", adress = \"127.0.0.1:1\" }",
            "{ url = \"https://login.example.com\", address = \"localhost\" }",
            "1",
        ] {
            assert!(allowed(&format!("issuers = [{bad}]")).is_err(), "{bad}");
        }
        assert!(allowed("isuers = []").is_err());
        let told = allowed("issuers = [\"https://*.com/\"]").unwrap_err();
        assert!(told.contains("[avp]") && told.contains("https://*.com/"), "{told}");
        let whole =
            "{ url = \"https://login.example.com\", private_addresses = true, address = \"10.0.0.1:443\" }";
        assert!(may(whole, "https://login.example.com/t"));
    }

    #[test]
    fn x16_no_name_of_the_planes_is_another_issuers() {
        let names =
            PlaneNames::new(["https://GW.example.com", "http://127.0.0.1:8081"], "Tenants.example.com:8080");
        for own in [
            "https://gw.example.com",
            "https://gw.example.com/t/globex",
            "https://globex.tenants.example.com",
            "https://globex.tenants.example.com:8443/x",
            "https://tenants.example.com",
        ] {
            assert!(names.has(&IssuerUrl::read(own).unwrap()), "{own}");
        }
        for other in ["https://login.example.com", "https://mytenants.example.com", "https://127.0.0.1:8443"]
        {
            assert!(!names.has(&IssuerUrl::read(other).unwrap()), "{other}");
        }
    }
}
