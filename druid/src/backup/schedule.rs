//! `--schedule`: five fields of cron, as robfig's standard parser has them, in UTC.
//!
//! etcd-backup-restore goes by the local time of its container, which is UTC in every image of it.

use croner::Cron;
use croner::parser::{CronParser, Seconds, Year};
use druid_core::backup::snapshotter::Schedule;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use thiserror::Error;

/// A schedule that has a slot to come.
#[derive(Clone, Debug)]
pub(crate) struct CronSchedule {
    cron: Cron,
    window: SignedDuration,
}

/// A text that is no schedule.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error(
    "--schedule {text:?} cannot be used: {why}; write five fields, for example \"0 */1 * * *\""
)]
pub(crate) struct ScheduleError {
    text: String,
    why: String,
}

impl CronSchedule {
    /// Reads the flag. One without a slot after `now` is refused.
    pub(crate) fn parse(text: &str, now: Timestamp) -> Result<Self, ScheduleError> {
        let fail = |why: String| ScheduleError {
            text: text.to_owned(),
            why,
        };
        let parser = CronParser::builder()
            .seconds(Seconds::Disallowed)
            .year(Year::Disallowed)
            .build();
        let cron = parser.parse(text).map_err(|it| fail(it.to_string()))?;
        let schedule = Self {
            cron,
            window: window(text),
        };
        if schedule.next_after(now).is_none() {
            return Err(fail("it has no slot to come".to_owned()));
        }
        Ok(schedule)
    }
}

impl Schedule for CronSchedule {
    fn next_after(&self, time: Timestamp) -> Option<Timestamp> {
        let zoned = time.to_zoned(TimeZone::UTC);
        let next = self.cron.find_next_occurrence(&zoned, false).ok()?;
        Some(next.timestamp())
    }

    fn window(&self) -> SignedDuration {
        self.window
    }
}

/// How old a full snapshot may be at a start: the hours of `*/N`, a week if there are days of the
/// week, else a day.
fn window(text: &str) -> SignedDuration {
    let fields: Vec<&str> = text.split_whitespace().collect();
    let hours = fields.get(1).and_then(|it| it.strip_prefix("*/"));
    let hours = hours.and_then(|it| it.parse::<u32>().ok());
    let weekly = fields.get(4).is_some_and(|it| !matches!(*it, "*" | "?"));
    match hours {
        Some(hours) => SignedDuration::from_hours(hours.into()),
        None if weekly => SignedDuration::from_hours(168),
        None => SignedDuration::from_hours(24),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn next(text: &str, after: &str) -> String {
        let after: Timestamp = after.parse().unwrap();
        let schedule = CronSchedule::parse(text, after).unwrap();
        schedule.next_after(after).unwrap().to_string()
    }

    #[test]
    fn slots_are_those_of_cron_in_utc() {
        let now = "2026-03-01T10:20:30Z";
        assert_eq!(next("0 */1 * * *", now), "2026-03-01T11:00:00Z");
        assert_eq!(
            next("0 11 * * *", "2026-03-01T11:00:00Z"),
            "2026-03-02T11:00:00Z"
        );
        assert_eq!(next("*/7 * * * *", now), "2026-03-01T10:21:00Z");
        assert_eq!(next("@hourly", now), "2026-03-01T11:00:00Z");
        // Both days are given: either will do. 2026-03-01 is a Sunday.
        assert_eq!(next("0 0 15 * 1", now), "2026-03-02T00:00:00Z");
        assert_eq!(next("0 0 29 2 *", now), "2028-02-29T00:00:00Z");
    }

    #[test]
    fn what_is_no_schedule_or_never_comes_is_refused() {
        let now = "2026-03-01T10:20:30Z".parse().unwrap();
        for text in [
            "",
            "* * * *",
            "0 0 0 * * *",
            "61 * * * *",
            "0 0 31 2 *",
            "x",
        ] {
            let error = CronSchedule::parse(text, now).unwrap_err();
            assert!(error.to_string().contains("--schedule"), "{error}");
        }
    }

    #[test]
    fn the_window_follows_the_fields() {
        for (text, hours) in [
            ("0 */1 * * *", 1),
            ("0 */12 * * *", 12),
            ("0 3 * * *", 24),
            ("0 3 * * 0", 168),
        ] {
            assert_eq!(window(text), SignedDuration::from_hours(hours), "{text}");
        }
    }
}
