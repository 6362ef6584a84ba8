//! Time as a parameter: the kernel is told the time, it never reads a clock.

use std::time::Duration;

/// A moment, in microseconds since 1970-01-01 00:00 UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnixTime(u64);

impl UnixTime {
    /// A moment from microseconds since the epoch.
    pub const fn from_micros(micros: u64) -> Self {
        Self(micros)
    }

    /// A moment from whole seconds since the epoch; saturates.
    pub const fn from_seconds(seconds: u64) -> Self {
        Self(seconds.saturating_mul(1_000_000))
    }

    /// Microseconds since the epoch.
    pub const fn micros(self) -> u64 {
        self.0
    }

    /// Whole seconds since the epoch, rounded down (`NumericDate`, RFC 7519 section 2).
    pub const fn seconds(self) -> u64 {
        self.0 / 1_000_000
    }

    /// The moment `span` later; saturates.
    pub fn after(self, span: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(span.as_micros()).unwrap_or(u64::MAX)))
    }

    /// How long after `earlier` this is; zero if it is not.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }
}

/// Where the time comes from. The one that reads the system's clock is in the programs, not here.
pub trait Clock: Send + Sync {
    /// The time now.
    fn now(&self) -> UnixTime;
}
