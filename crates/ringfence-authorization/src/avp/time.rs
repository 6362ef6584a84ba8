//! Times as answers write them: ISO 8601, in UTC, to the millisecond.

use chrono::{DateTime, SecondsFormat};
use ringfence_context::UnixTime;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A moment: in records microseconds since the epoch, in answers ISO 8601.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Moment(pub(crate) UnixTime);

impl Serialize for Moment {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(self.0.micros())
    }
}

impl<'de> Deserialize<'de> for Moment {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        u64::deserialize(deserializer).map(|micros| Self(UnixTime::from_micros(micros)))
    }
}

/// Writes a moment into an answer.
pub(crate) fn iso<S: Serializer>(moment: &Moment, serializer: S) -> Result<S::Ok, S::Error> {
    let micros = i64::try_from(moment.0.micros()).unwrap_or(i64::MAX);
    let time = DateTime::from_timestamp_micros(micros).unwrap_or(DateTime::UNIX_EPOCH);
    serializer.serialize_str(&time.to_rfc3339_opts(SecondsFormat::Millis, true))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Serialize)]
    struct Answer(#[serde(serialize_with = "iso")] Moment);

    #[test]
    fn an_answer_says_utc_to_the_millisecond() {
        let moment = Moment(UnixTime::from_micros(1_800_000_000_123_456));
        assert_eq!(serde_json::to_string(&Answer(moment)).unwrap(), "\"2027-01-15T08:00:00.123Z\"");
    }
}
