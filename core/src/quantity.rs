//! Quantities as Kubernetes has them: `8Gi`, `1.5Gi`, `500m`, `1e3`. The API server writes what it
//! stores in a form of its own; so does this, or an object would never be what was asked for.
//!
//! Source: `k8s.io/apimachinery/pkg/api/resource`, v0.34.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

/// A quantity, exact to a billionth, and the way in which it was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quantity {
    /// Billionths.
    nanos: i128,
    format: Format,
}

/// With which suffixes it was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    /// `Ki`, `Mi` ...
    Binary,
    /// `m`, `k`, `M` ... or none.
    Decimal,
    /// `e3`.
    Exponent,
}

/// A text that is no quantity.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{text:?} is no quantity: write it like 8Gi, 500M or 100m")]
pub struct QuantityError {
    text: String,
}

const NANOS: i128 = 1_000_000_000;
/// Whatever is larger counts as this.
const MOST: i128 = i64::MAX as i128 * NANOS;

/// The suffixes of powers of 1024, from the first on.
const BINARY: [&str; 6] = ["Ki", "Mi", "Gi", "Ti", "Pi", "Ei"];
/// The suffixes of powers of 1000, from a billionth on.
const DECIMAL: [&str; 10] = ["n", "u", "m", "", "k", "M", "G", "T", "P", "E"];

impl Quantity {
    /// So many, as it would be written without a suffix.
    pub const fn whole(number: i64) -> Self {
        Self {
            nanos: number as i128 * NANOS,
            format: Format::Decimal,
        }
    }

    /// So many, as it would be written with `Ki`, `Mi` and so on.
    pub const fn binary(number: i64) -> Self {
        Self {
            nanos: number as i128 * NANOS,
            format: Format::Binary,
        }
    }

    /// So many thousandths.
    pub const fn milli(thousandths: i64) -> Self {
        Self {
            nanos: thousandths as i128 * (NANOS / 1000),
            format: Format::Decimal,
        }
    }

    /// As a whole number: a fraction is rounded away from zero.
    pub fn value(self) -> i64 {
        let whole = self.nanos / NANOS;
        let rounded = match self.nanos % NANOS {
            0 => whole,
            rest => whole + rest.signum(),
        };
        // Not larger than MOST, or smaller than its opposite.
        i64::try_from(rounded).unwrap_or(i64::MAX)
    }
}

impl FromStr for Quantity {
    type Err = QuantityError;

    fn from_str(text: &str) -> Result<Self, QuantityError> {
        parse(text).ok_or_else(|| QuantityError {
            text: text.to_owned(),
        })
    }
}

fn parse(text: &str) -> Option<Quantity> {
    let (sign, rest) = match text.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, text.strip_prefix('+').unwrap_or(text)),
    };
    let end = rest
        .find(|it: char| !it.is_ascii_digit() && it != '.')
        .unwrap_or(rest.len());
    let (number, suffix) = rest.split_at(end);
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if fraction.contains('.') || (whole.is_empty() && fraction.is_empty()) {
        return None;
    }
    let (format, scale) = scale(suffix)?;
    let nanos = scaled(whole, fraction, scale);
    Some(Quantity {
        nanos: sign * nanos.min(MOST),
        format,
    })
}

/// What a number is multiplied by.
#[derive(Clone, Copy)]
enum Scale {
    /// By 1024 to this power.
    Binary(u32),
    /// By 10 to this power.
    Decimal(i32),
}

fn scale(suffix: &str) -> Option<(Format, Scale)> {
    let at = |all: &[&str]| all.iter().position(|it| *it == suffix);
    if let Some(at) = at(&BINARY) {
        let power = u32::try_from(at + 1).ok()?;
        return Some((Format::Binary, Scale::Binary(power)));
    }
    if let Some(at) = at(&DECIMAL) {
        let power = i32::try_from(at).ok()? * 3 - 9;
        return Some((Format::Decimal, Scale::Decimal(power)));
    }
    let exponent = suffix.strip_prefix(['e', 'E'])?;
    let digits = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
    if digits.is_empty() || !digits.bytes().all(|it| it.is_ascii_digit()) {
        return None;
    }
    Some((Format::Exponent, Scale::Decimal(exponent.parse().ok()?)))
}

/// `whole.fraction` times the scale, in billionths, rounded up; capped where it does not fit.
fn scaled(whole: &str, fraction: &str, scale: Scale) -> i128 {
    let digits = format!("{whole}{fraction}");
    let digits = digits.trim_start_matches('0');
    let places = i32::try_from(fraction.len()).unwrap_or(i32::MAX);
    let (factor, power) = match scale {
        Scale::Binary(power) => (1024_i128.pow(power), 9 - places),
        Scale::Decimal(power) => (1, power.saturating_add(9).saturating_sub(places)),
    };
    if digits.is_empty() {
        return 0;
    }
    // A number that is too long to be computed with is larger than any, or smaller than the smallest
    // by so much that its last digits say nothing.
    let kept = digits.len().min(30);
    let dropped = i32::try_from(digits.len() - kept).unwrap_or(i32::MAX);
    let (head, tail) = digits.split_at(kept);
    let rest = tail.bytes().any(|it| it != b'0');
    let Ok(number) = head.parse::<i128>() else {
        return MOST;
    };
    let power = power.saturating_add(dropped);
    let ceiling = |number: i128, by: i128| number / by + i128::from(number % by != 0 || rest);
    let product = |number: i128| number.checked_mul(factor).unwrap_or(i128::MAX);
    match power {
        0.. => {
            let tens = 10_i128.checked_pow(power.unsigned_abs());
            tens.and_then(|tens| product(number).checked_mul(tens))
                .unwrap_or(MOST)
        }
        ..0 => match 10_i128.checked_pow(power.unsigned_abs()) {
            Some(tens) => ceiling(product(number), tens),
            None => 1,
        },
    }
}

impl fmt::Display for Quantity {
    /// In the form in which the API server stores it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whole = self.nanos % NANOS == 0;
        let small = self.nanos.abs() < 1024 * NANOS;
        match self.format {
            _ if self.nanos == 0 => f.write_str("0"),
            Format::Binary if whole && !small => {
                let (number, times) = without(self.nanos / NANOS, 1024);
                let suffix = times.checked_sub(1).and_then(|at| BINARY.get(at));
                write!(f, "{number}{}", suffix.unwrap_or(&""))
            }
            Format::Binary | Format::Decimal => {
                let (number, times) = without(self.nanos, 1000);
                write!(f, "{number}{}", DECIMAL.get(times).unwrap_or(&""))
            }
            Format::Exponent => {
                let (number, times) = without(self.nanos, 1000);
                match i32::try_from(times).unwrap_or(3) * 3 - 9 {
                    0 => write!(f, "{number}"),
                    exponent => write!(f, "{number}e{exponent}"),
                }
            }
        }
    }
}

/// A number divided by a factor as often as it can be, and how often that was.
fn without(mut number: i128, factor: i128) -> (i128, usize) {
    let mut times = 0;
    while number != 0 && number % factor == 0 {
        number /= factor;
        times += 1;
    }
    (number, times)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_are_rounded_and_written_as_the_api_machinery_does() {
        for (text, value, written) in [
            ("0", 0, "0"),
            ("8Gi", 8_589_934_592, "8Gi"),
            ("1024Mi", 1_073_741_824, "1Gi"),
            ("1500Mi", 1_572_864_000, "1500Mi"),
            ("1.5Gi", 1_610_612_736, "1536Mi"),
            ("0.5Ki", 512, "512"),
            ("0.5Mi", 524_288, "512Ki"),
            ("1.1Ki", 1_127, "1126400m"),
            ("1Ki", 1024, "1Ki"),
            ("8589934592", 8_589_934_592, "8589934592"),
            ("1000", 1000, "1k"),
            ("1000000", 1_000_000, "1M"),
            ("100m", 1, "100m"),
            ("0.1", 1, "100m"),
            (".5", 1, "500m"),
            ("5.", 5, "5"),
            ("1500m", 2, "1500m"),
            ("2000m", 2, "2"),
            ("1e3", 1000, "1e3"),
            ("1E3", 1000, "1e3"),
            ("12e-1", 2, "1200e-3"),
            ("100e0", 100, "100"),
            ("1E", 1_000_000_000_000_000_000, "1E"),
            ("9E", 9_000_000_000_000_000_000, "9E"),
            ("10E", i64::MAX, "9223372036854775807"),
            ("-1Gi", -1_073_741_824, "-1Gi"),
            ("-1.5", -2, "-1500m"),
            ("+1k", 1000, "1k"),
            ("1n", 1, "1n"),
            ("0.1n", 1, "1n"),
            (
                "123456789012345678901234567890123456789",
                i64::MAX,
                "9223372036854775807",
            ),
            ("1e-99", 1, "1e-9"),
            ("1e99", i64::MAX, "9223372036854775807"),
        ] {
            let parsed: Quantity = text.parse().unwrap();
            assert_eq!(parsed.value(), value, "{text}");
            assert_eq!(parsed.to_string(), written, "{text}");
            assert_eq!(
                written.parse::<Quantity>().unwrap().nanos,
                parsed.nanos,
                "{text}"
            );
        }
    }

    #[test]
    fn what_is_no_quantity_is_refused() {
        for text in [
            "", ".", "-", "8G i", "8gi", "1.2.3", "e3", "1e", "1e+", "1e1.5", "Gi", "1 ",
        ] {
            assert!(text.parse::<Quantity>().is_err(), "{text:?}");
        }
    }
}
