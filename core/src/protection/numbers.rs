//! What Prometheus is told of the webhook.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};

use jiff::Timestamp;

use super::verdict::Verdict;
use crate::exposition::{head, text};

/// How requests ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct End {
    decision: &'static str,
    code: u16,
}

impl End {
    /// Something had to be found out and was not.
    pub const FAILED: Self = Self {
        decision: "failed",
        code: 500,
    };
    /// It was no request that the webhook knows.
    pub const MALFORMED: Self = Self {
        decision: "failed",
        code: 400,
    };

    /// With an answer.
    pub const fn with(verdict: &Verdict) -> Self {
        Self {
            decision: verdict.word(),
            code: verdict.code(),
        }
    }
}

/// What is counted. Every combination of labels is there from the start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Numbers {
    requests: BTreeMap<End, u64>,
    expires: Option<Timestamp>,
}

impl Default for Numbers {
    fn default() -> Self {
        let answers = [("allowed", 200), ("warned", 200), ("denied", 403)];
        let answers = answers.map(|(decision, code)| End { decision, code });
        let ends = answers.into_iter().chain([End::FAILED, End::MALFORMED]);
        Self {
            requests: ends.map(|end| (end, 0)).collect(),
            expires: None,
        }
    }
}

impl Numbers {
    /// Counts a request.
    pub fn count(&mut self, end: End) {
        *self.requests.entry(end).or_default() += 1;
    }

    /// From now on there is a certificate that expires then.
    pub fn serves_until(&mut self, expires: Timestamp) {
        self.expires = Some(expires);
    }

    /// The text that Prometheus reads.
    pub fn text(&self) -> String {
        text(|it| self.write(it))
    }

    fn write(&self, text: &mut String) -> fmt::Result {
        let mut last = "";
        let name = "etcddruid_webhook_requests_total";
        let help =
            "Requests to the webhook that protects what belongs to Etcds, by how they ended.";
        for (End { decision, code }, count) in &self.requests {
            head(text, &mut last, name, help, "counter")?;
            writeln!(
                text,
                "{name}{{decision=\"{decision}\",code=\"{code}\"}} {count}"
            )?;
        }
        let Some(expires) = self.expires else {
            return Ok(());
        };
        let name = "etcddruid_webhook_certificate_expiry_timestamp_seconds";
        let help = "When the certificate that the webhook serves with expires.";
        head(text, &mut last, name, help, "gauge")?;
        writeln!(text, "{name} {}", expires.as_second())
    }
}

#[cfg(test)]
mod tests {
    use super::super::Allowed;
    use super::*;

    #[test]
    fn what_is_counted_is_told_and_a_certificate_when_there_is_one() {
        let mut numbers = Numbers::default();
        let before = numbers.text();
        assert!(!before.contains("expiry"), "{before}");
        numbers.count(End::with(&Verdict::Allowed(Allowed::Kind)));
        numbers.count(End::FAILED);
        numbers.serves_until(Timestamp::from_second(12).unwrap());
        let text = numbers.text();
        for line in [
            "# TYPE etcddruid_webhook_requests_total counter",
            "etcddruid_webhook_requests_total{decision=\"allowed\",code=\"200\"} 1",
            "etcddruid_webhook_requests_total{decision=\"denied\",code=\"403\"} 0",
            "etcddruid_webhook_requests_total{decision=\"failed\",code=\"400\"} 0",
            "etcddruid_webhook_requests_total{decision=\"failed\",code=\"500\"} 1",
            "etcddruid_webhook_requests_total{decision=\"warned\",code=\"200\"} 0",
            "etcddruid_webhook_certificate_expiry_timestamp_seconds 12",
        ] {
            assert!(text.lines().any(|it| it == line), "{line}\n{text}");
        }
        assert_eq!(text.lines().count(), before.lines().count() + 3);
    }
}
