//! Names of database roles, databases and schemas, as types: what is put into SQL text was checked first.

use std::fmt;

/// A role's or database's name that needs no quoting: `[a-z_][a-z0-9_]{0,62}`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RoleName(String);

/// Not such a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a role or database name is 1 to 63 of a-z, 0-9 and '_', not starting with a digit or 'pg_'")]
pub struct RoleNameError;

impl RoleName {
    /// Reads a name.
    ///
    /// # Errors
    /// [`RoleNameError`] where it would need quoting or is reserved.
    pub fn new(text: &str) -> Result<Self, RoleNameError> {
        let legal = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
        let first = |byte: char| byte.is_ascii_lowercase() || byte == '_';
        let well_formed = (1..=63).contains(&text.len())
            && text.bytes().all(legal)
            && text.starts_with(first)
            && !text.starts_with("pg_")
            && !matches!(text, "public" | "none" | "all" | "user");
        if well_formed { Ok(Self(text.to_owned())) } else { Err(RoleNameError) }
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RoleName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A schema's name: such a name, or `public`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SchemaName(String);

impl SchemaName {
    /// The schema `public`.
    pub fn public() -> Self {
        Self("public".to_owned())
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Where a session whose tables are in it looks for them: what tenants share is in `public`.
    pub fn search_path(&self) -> String {
        if self.0 == "public" { self.0.clone() } else { format!("{}, public", self.0) }
    }
}

impl From<RoleName> for SchemaName {
    fn from(name: RoleName) -> Self {
        Self(name.0)
    }
}

impl fmt::Display for SchemaName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_need_no_quoting() {
        for good in ["ledger_app", "_x", "a", &"a".repeat(63)] {
            assert!(RoleName::new(good).is_ok(), "{good}");
        }
        for bad in ["", "A", "1a", "a-b", "a\"b", "a;b", "pg_monitor", "public", "é", &"a".repeat(64)] {
            assert!(RoleName::new(bad).is_err(), "{bad}");
        }
    }
}
