//! The system's clock.

use ringfence_context::{Clock, UnixTime};

/// Reads the system's clock.
#[derive(Debug, Clone, Copy)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "the one place of the plane that reads the clock")]
    fn now(&self) -> UnixTime {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        UnixTime::from_micros(u64::try_from(since.as_micros()).unwrap_or(u64::MAX))
    }
}
