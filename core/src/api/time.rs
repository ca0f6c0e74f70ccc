//! A moment, as an object has it.

use std::fmt;

use jiff::Timestamp;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// A moment by RFC 3339. Kept as it was written, so that an odd one spoils nothing else.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Time(pub String);

impl Time {
    /// The moment; `None` if the text is no such thing.
    pub fn at(&self) -> Option<Timestamp> {
        self.0.parse().ok()
    }

    /// To the second, as Kubernetes writes moments.
    pub fn seconds(at: Timestamp) -> Self {
        let second = Timestamp::from_second(at.as_second()).unwrap_or(at);
        Self(second.to_string())
    }

    /// With all digits.
    pub fn exact(at: Timestamp) -> Self {
        Self(at.to_string())
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl JsonSchema for Time {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Time".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "format": "date-time" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_written_to_the_second_or_in_full_and_an_odd_one_is_kept() {
        let at: Timestamp = "2026-11-24T10:20:30.123456789Z".parse().unwrap();
        assert_eq!(Time::seconds(at).0, "2026-11-24T10:20:30Z");
        assert_eq!(Time::exact(at).at(), Some(at));
        let odd: Time = serde_json::from_str("\"TIME\"").unwrap();
        assert_eq!((odd.at(), odd.to_string()), (None, "TIME".to_owned()));
    }
}
