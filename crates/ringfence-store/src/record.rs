//! Records and changes of records: what a store keeps, before anyone has sealed or believed it.

use std::fmt;

use ringfence_context::TenantId;

use crate::error::StoreError;

/// Numbers the commits of one store, densely, from 1. Zero is the empty store.
pub type Revision = u64;

/// Longest id of a record, in bytes.
pub const ID_BYTES: usize = 200;

/// Largest value of a record, in bytes.
pub const VALUE_BYTES: usize = 1024 * 1024;

/// Whose a record is. Part of every key: a record can't be asked for without saying whose.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Scope {
    /// The plane's own.
    Plane,
    /// One tenant's.
    Tenant(TenantId),
}

impl Scope {
    /// Its spelling in the database: a tenant's id, or nothing, which is no tenant's id.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Plane => "",
            Self::Tenant(tenant) => tenant.as_str(),
        }
    }

    /// Reads the spelling back.
    pub(crate) fn parse(text: &str) -> Result<Self, StoreError> {
        if text.is_empty() {
            return Ok(Self::Plane);
        }
        TenantId::new(text)
            .map(Self::Tenant)
            .map_err(|_| StoreError::corrupt("a record has no readable scope"))
    }
}

impl From<&TenantId> for Scope {
    fn from(tenant: &TenantId) -> Self {
        Self::Tenant(tenant.clone())
    }
}

/// What a record is: `user`, `membership`. Constants of it live with the code that owns the records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Kind(&'static str);

impl Kind {
    /// A kind: 1 to 32 characters of `a-z` and `_`. Anything else does not compile when used in a constant.
    pub const fn new(name: &'static str) -> Self {
        assert!(is_kind(name), "a kind is 1 to 32 characters of a-z and '_'");
        Self(name)
    }

    /// Its name.
    pub const fn as_str(self) -> &'static str {
        self.0
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl PartialEq<Kind> for String {
    fn eq(&self, kind: &Kind) -> bool {
        self == kind.0
    }
}

const fn is_kind(name: &str) -> bool {
    let mut rest = name.as_bytes();
    let long_enough = !rest.is_empty() && rest.len() <= 32;
    while let [first, tail @ ..] = rest {
        if !first.is_ascii_lowercase() && *first != b'_' {
            return false;
        }
        rest = tail;
    }
    long_enough
}

/// Names one record.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RecordKey {
    /// Whose.
    pub scope: Scope,
    /// What: the name of a [`Kind`].
    pub kind: String,
    /// Which. Ids outlive their records in the change feed: put nothing personal into one.
    pub id: String,
}

impl RecordKey {
    /// A key.
    pub fn new(scope: Scope, kind: Kind, id: &str) -> Self {
        Self { scope, kind: kind.as_str().to_owned(), id: id.to_owned() }
    }

    fn check(&self) -> Result<(), StoreError> {
        if !is_kind(&self.kind) {
            return Err(StoreError::Invalid("a kind is 1 to 32 characters of a-z and '_'"));
        }
        if self.id.is_empty() || self.id.len() > ID_BYTES || self.id.bytes().any(|byte| byte < b' ') {
            return Err(StoreError::Invalid("an id is 1 to 200 bytes without control characters"));
        }
        Ok(())
    }
}

/// A record as stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Its key.
    pub key: RecordKey,
    /// Its value, opaque to the store.
    pub value: Vec<u8>,
    /// The revision of its last change.
    pub revision: Revision,
}

/// What a change wants to find: optimistic concurrency.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expect {
    /// Whatever is there.
    Any,
    /// No such record.
    Absent,
    /// The record as of this revision of its last change.
    Revision(Revision),
}

impl Expect {
    /// Whether a record last changed at `found` (if there is one) is what was expected.
    pub(crate) fn admits(self, found: Option<Revision>) -> bool {
        match self {
            Self::Any => true,
            Self::Absent => found.is_none(),
            Self::Revision(wanted) => found == Some(wanted),
        }
    }
}

/// One change of one record.
#[derive(Debug, Clone)]
pub struct Change {
    /// Of which record.
    pub key: RecordKey,
    /// What must be there.
    pub expect: Expect,
    /// The new value; `None` deletes.
    pub value: Option<Vec<u8>>,
}

/// Refuses a commit that no store takes: empty, a record twice, or a key or value out of bounds.
pub(crate) fn check(changes: &[Change]) -> Result<(), StoreError> {
    if changes.is_empty() {
        return Err(StoreError::Invalid("a commit changes at least one record"));
    }
    let mut seen = std::collections::HashSet::new();
    for change in changes {
        change.key.check()?;
        if !seen.insert(&change.key) {
            return Err(StoreError::Invalid("a commit changes a record once"));
        }
        if change.value.as_ref().is_some_and(|value| value.len() > VALUE_BYTES) {
            return Err(StoreError::Invalid("a value is at most 1 MiB"));
        }
    }
    Ok(())
}
