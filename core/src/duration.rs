//! Lengths of time as flags have them, in Go's syntax: `10s`, `1h30m`, `1.5h`, `300ms`, `0`.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use thiserror::Error;

/// A length of time that is not negative. Prints as Go does: `1h30m0s`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GoDuration(pub Duration);

/// A text that Go's `time.ParseDuration` would not take, or a negative length.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{text:?} is no duration: write it like 10s, 5m or 1h30m")]
pub struct DurationError {
    text: String,
}

/// Nanoseconds of each unit, the longer names before their beginnings.
const UNITS: [(&str, u128); 8] = [
    ("ns", 1),
    ("us", 1_000),
    ("µs", 1_000),
    ("μs", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
];

/// Go keeps nanoseconds in 63 bits.
const MOST: u128 = i64::MAX as u128;

impl GoDuration {
    /// So many whole seconds.
    pub const fn seconds(seconds: u64) -> Self {
        Self(Duration::from_secs(seconds))
    }
}

impl FromStr for GoDuration {
    type Err = DurationError;

    fn from_str(text: &str) -> Result<Self, DurationError> {
        let nanoseconds = parse(text).ok_or_else(|| DurationError {
            text: text.to_owned(),
        })?;
        Ok(Self(Duration::from_nanos(nanoseconds)))
    }
}

fn parse(text: &str) -> Option<u64> {
    let mut rest = text.strip_prefix('+').unwrap_or(text);
    if rest == "0" {
        return Some(0);
    }
    let mut total: u128 = 0;
    while !rest.is_empty() {
        let number = rest.find(|it: char| !it.is_ascii_digit() && it != '.')?;
        let (digits, tail) = rest.split_at(number);
        let unit_end = tail
            .find(|it: char| it.is_ascii_digit() || it == '.')
            .unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(unit_end);
        let (_, size) = UNITS.iter().find(|(name, _)| *name == unit)?;
        total = total.checked_add(scaled(digits, *size)?)?;
        rest = tail;
    }
    let sensible = !text.is_empty() && text != "+" && total <= MOST;
    sensible.then(|| u64::try_from(total).ok()).flatten()
}

/// A decimal number of units in nanoseconds, rounded down.
fn scaled(digits: &str, unit: u128) -> Option<u128> {
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') {
        return None;
    }
    let whole: u128 = if whole.is_empty() {
        0
    } else {
        whole.parse().ok()?
    };
    // More digits than this say nothing about nanoseconds.
    let fraction = fraction.get(..fraction.len().min(15))?;
    let tenths = if fraction.is_empty() {
        0
    } else {
        let power = 10_u128.pow(u32::try_from(fraction.len()).ok()?);
        fraction.parse::<u128>().ok()? * unit / power
    };
    whole.checked_mul(unit)?.checked_add(tenths)
}

impl fmt::Display for GoDuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nanoseconds = self.0.as_nanos();
        if nanoseconds == 0 {
            return f.write_str("0s");
        }
        if nanoseconds < 1_000_000_000 {
            let (unit, size) = match nanoseconds {
                0..1_000 => ("ns", 1),
                1_000..1_000_000 => ("µs", 1_000),
                _ => ("ms", 1_000_000),
            };
            return write!(f, "{}{unit}", decimal(nanoseconds, size));
        }
        let (minutes, rest) = (nanoseconds / 60_000_000_000, nanoseconds % 60_000_000_000);
        let (hours, minutes) = (minutes / 60, minutes % 60);
        if hours > 0 {
            write!(f, "{hours}h")?;
        }
        if hours > 0 || minutes > 0 {
            write!(f, "{minutes}m")?;
        }
        write!(f, "{}s", decimal(rest, 1_000_000_000))
    }
}

/// `value / unit` without trailing zeros.
fn decimal(value: u128, unit: u128) -> String {
    let places = unit.ilog10() as usize;
    let whole = value / unit;
    if value.is_multiple_of(unit) {
        return whole.to_string();
    }
    let text = format!("{whole}.{:0places$}", value % unit);
    text.trim_end_matches('0').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_go_takes_is_taken_and_printed_as_go_prints_it() {
        for (text, nanoseconds, printed) in [
            ("0", 0, "0s"),
            ("0s", 0, "0s"),
            ("10s", 10_000_000_000, "10s"),
            ("1h30m", 5_400_000_000_000, "1h30m0s"),
            ("1.5h", 5_400_000_000_000, "1h30m0s"),
            ("90m", 5_400_000_000_000, "1h30m0s"),
            ("300ms", 300_000_000, "300ms"),
            ("1.5s", 1_500_000_000, "1.5s"),
            (".5s", 500_000_000, "500ms"),
            ("1.s", 1_000_000_000, "1s"),
            ("1us", 1_000, "1µs"),
            ("1µs", 1_000, "1µs"),
            ("10ns", 10, "10ns"),
            ("+5m", 300_000_000_000, "5m0s"),
            ("100h", 360_000_000_000_000, "100h0m0s"),
            ("1m0.25s", 60_250_000_000, "1m0.25s"),
        ] {
            let parsed: GoDuration = text.parse().unwrap();
            assert_eq!(parsed.0, Duration::from_nanos(nanoseconds), "{text}");
            assert_eq!(parsed.to_string(), printed, "{text}");
            assert_eq!(printed.parse(), Ok(parsed), "{text}");
        }
    }

    #[test]
    fn what_go_refuses_is_refused_and_so_is_less_than_nothing() {
        for text in [
            "", "+", "10", "s", "1x", "-5s", "1.2.3s", ".s", "1h 30m", "5 s", "1d", "9999999h",
        ] {
            assert!(text.parse::<GoDuration>().is_err(), "{text}");
        }
    }
}
