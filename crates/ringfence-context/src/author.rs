//! Who changed something of a tenant's, and why, in one line that prints as it was written.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{
    id::{Subject, TenantId},
    limits,
    time::UnixTime,
};

/// Who changed something. Equal authors are one person, or one program, whatever credential was used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Author {
    /// The plane itself: what a tier begins with, and what was found.
    Plane,
    /// An operator.
    Operator(Subject),
    /// Whoever holds an access key of the tenant.
    Tenant(TenantId),
}

impl fmt::Display for Author {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Plane => f.write_str("ringfence"),
            Self::Operator(name) => write!(f, "operator {name}"),
            Self::Tenant(tenant) => write!(f, "tenant {tenant}"),
        }
    }
}

/// Why something was changed: one line of visible text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ChangeReason(String);

/// What is wrong with a reason.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "a reason is one line of 1 to {most} bytes, without control characters",
    most = limits::POLICY_REASON_BYTES
)]
pub struct ReasonFault;

impl ChangeReason {
    /// Reads a reason. What would break out of a line of a log or a table, or turn its text around, is refused.
    ///
    /// # Errors
    /// [`ReasonFault`].
    pub fn new(text: &str) -> Result<Self, ReasonFault> {
        let text = text.trim_matches(' ');
        if text.is_empty() || text.len() > limits::POLICY_REASON_BYTES || text.chars().any(unprintable) {
            return Err(ReasonFault);
        }
        Ok(Self(text.to_owned()))
    }

    /// One that the plane itself gives: it is not looked at.
    pub fn of_plane(text: impl Into<String>) -> Self {
        Self(text.into())
    }
}

/// Who changes something, why if it was said, and when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct By {
    /// Who.
    pub who: Author,
    /// Why.
    pub why: Option<ChangeReason>,
    /// When.
    pub at: UnixTime,
}

impl By {
    /// The plane itself.
    pub fn plane(at: UnixTime) -> Self {
        Self { who: Author::Plane, why: None, at }
    }
}

/// Control characters, line and paragraph separators, and what changes the direction of text or has no width.
fn unprintable(letter: char) -> bool {
    letter.is_control()
        || matches!(letter, '\u{ad}' | '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

impl TryFrom<String> for ChangeReason {
    type Error = ReasonFault;
    fn try_from(text: String) -> Result<Self, ReasonFault> {
        Self::new(&text)
    }
}

impl From<ChangeReason> for String {
    fn from(reason: ChangeReason) -> Self {
        reason.0
    }
}

impl fmt::Display for ChangeReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reject_policy_reason_bytes() {
        assert!(ChangeReason::new(&"x".repeat(limits::POLICY_REASON_BYTES)).is_ok());
        assert_eq!(ChangeReason::new(&"x".repeat(limits::POLICY_REASON_BYTES + 1)), Err(ReasonFault));
    }

    #[test]
    fn a_reason_is_one_line_that_prints_as_it_was_written() {
        assert_eq!(
            ChangeReason::new("  ticket 7: für Änderungen  ").unwrap().to_string(),
            "ticket 7: für Änderungen"
        );
        for bad in [
            "",
            "   ",
            "a\nb",
            "a\rb",
            "\u{1b}[2K",
            "a\tb",
            "a\u{202e}b",
            "a\u{2028}b",
            "a\u{0}",
            "a\u{200b}b",
        ] {
            assert_eq!(ChangeReason::new(bad), Err(ReasonFault), "{bad:?}");
            assert!(serde_json::from_value::<ChangeReason>(bad.into()).is_err(), "{bad:?}");
        }
    }
}
