//! Names of things, as types: what is a tenant can't be passed where a user is expected.

use std::{fmt, str::FromStr, sync::Arc};

use serde::{Deserialize, Serialize, Serializer};

use crate::time::UnixTime;

/// What is wrong with a name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// Not a tenant id.
    #[error(
        "a tenant id is 2 to 40 characters of a-z, 0-9 and single '-', starting with a letter and not ending in '-'"
    )]
    Tenant,
    /// Not an identifier (of a user, client, token, store or role).
    #[error("an identifier is 1 to 128 visible ASCII characters without quotes, backslash or '|'")]
    Name,
}

/// A tenant's id: a DNS label (RFC 1035), because it names the tenant's host, its issuer and its database role.
///
/// Ids are never reused: see the tombstones in `ringfence-control`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "String")]
pub struct TenantId(Arc<str>);

impl TenantId {
    /// Longest tenant id, in bytes: leaves room for a prefix within Postgres' 63-byte identifiers.
    pub const MAX: usize = 40;

    /// Reads a tenant id.
    ///
    /// # Errors
    /// [`IdError::Tenant`] where `text` is not one.
    pub fn new(text: &str) -> Result<Self, IdError> {
        let legal = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        let well_formed = (2..=Self::MAX).contains(&text.len())
            && text.bytes().all(legal)
            && text.starts_with(|first: char| first.is_ascii_lowercase())
            && !text.ends_with('-')
            && !text.contains("--");
        if well_formed { Ok(Self(text.into())) } else { Err(IdError::Tenant) }
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for TenantId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TenantId({})", self.0)
    }
}

impl fmt::Display for TenantId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for TenantId {
    type Err = IdError;
    fn from_str(text: &str) -> Result<Self, IdError> {
        Self::new(text)
    }
}

impl TryFrom<String> for TenantId {
    type Error = IdError;
    fn try_from(text: String) -> Result<Self, IdError> {
        Self::new(&text)
    }
}

impl Serialize for TenantId {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&self.0)
    }
}

macro_rules! name {
    ($(#[$doc:meta])* $type:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Deserialize)]
        #[serde(try_from = "String")]
        pub struct $type(Arc<str>);

        impl $type {
            /// Reads an identifier.
            ///
            /// # Errors
            /// [`IdError::Name`] where `text` is not one.
            pub fn new(text: &str) -> Result<Self, IdError> {
                if is_name(text) { Ok(Self(text.into())) } else { Err(IdError::Name) }
            }

            /// The identifier as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({})", stringify!($type), self.0)
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl TryFrom<String> for $type {
            type Error = IdError;
            fn try_from(text: String) -> Result<Self, IdError> {
                Self::new(&text)
            }
        }

        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                to.serialize_str(&self.0)
            }
        }
    };
}

name!(
    /// Who acts: a user's or a machine client's id inside one pool (`sub`, RFC 9068 section 2.2).
    Subject
);
name!(
    /// A client of one pool (`client_id`, RFC 6749 section 2.2).
    ClientId
);
name!(
    /// A token's own id (`jti`, RFC 7519 section 4.1.7).
    TokenId
);
name!(
    /// A role (group) inside one pool.
    Role
);
name!(
    /// What a job is called: the same for each of its runs.
    JobName
);
name!(
    /// A policy store.
    StoreId
);
name!(
    /// One request, named to the person it was refused to and found again by `ringfence explain`.
    Reference
);

impl Reference {
    /// A new reference: the time in hexadecimal, so that a log can be searched by it, and 64 random bits.
    pub fn make(now: UnixTime, random: u64) -> Self {
        Self(format!("{:x}-{random:016x}", now.micros()).into())
    }
}

fn is_name(text: &str) -> bool {
    let legal = |byte: u8| {
        byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\'' | b'\\' | b'|' | b'`' | b'<' | b'>')
    };
    (1..=128).contains(&text.len()) && text.bytes().all(legal)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tenant_ids_are_dns_labels() {
        for good in ["ab", "acme", "a1-b2", "globex", &"a".repeat(40)] {
            assert!(TenantId::new(good).is_ok(), "{good}");
        }
        for bad in
            ["", "a", "Acme", "1acme", "acme-", "-acme", "a--b", "a_b", "a.b", "a b", "é", &"a".repeat(41)]
        {
            assert_eq!(TenantId::new(bad), Err(IdError::Tenant), "{bad}");
        }
    }

    #[test]
    fn a_made_reference_is_a_name() {
        let made = Reference::make(UnixTime::from_seconds(1_800_000_000), u64::MAX);
        assert_eq!(Reference::new(made.as_str()), Ok(made));
    }

    #[test]
    fn names_carry_nothing_that_ends_a_string() {
        assert!(Subject::new("0192-af").is_ok());
        for bad in ["", "a b", "a\"b", "a'b", "a\\b", "a|b", "a\u{1f}", "ä", &"a".repeat(129)] {
            assert!(Subject::new(bad).is_err(), "{bad}");
        }
    }
}
