//! YAML as the Go library writes it that etcd-druid uses (`sigs.k8s.io/yaml`): mappings by key,
//! sequences not indented, long lines not folded.
//!
//! Byte for byte, because the digest of the text is in the pod template: with any other byte, every
//! member of a cluster that is taken over would have to be restarted.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// A value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Yaml {
    /// `true` or `false`.
    Bool(bool),
    /// A whole number.
    Number(i64),
    /// A text.
    Text(String),
    /// A list of texts.
    Texts(Vec<String>),
    /// A mapping.
    Mapping(BTreeMap<String, Self>),
}

impl From<&str> for Yaml {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Yaml {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

/// A document.
pub(super) fn write(mapping: &BTreeMap<String, Yaml>) -> String {
    let mut text = String::new();
    block(mapping, 0, &mut text);
    text
}

fn block(mapping: &BTreeMap<String, Yaml>, depth: usize, text: &mut String) {
    let indent = "  ".repeat(depth);
    let mut sorted: Vec<_> = mapping.iter().collect();
    sorted.sort_by(|(one, _), (other, _)| in_order(one, other));
    for (key, value) in sorted {
        text.push_str(&indent);
        text.push_str(&scalar(key, depth));
        text.push(':');
        match value {
            Yaml::Bool(value) => line(text, &value.to_string()),
            Yaml::Number(value) => line(text, &value.to_string()),
            Yaml::Text(value) => line(text, &scalar(value, depth + 1)),
            Yaml::Texts(values) if values.is_empty() => line(text, "[]"),
            Yaml::Texts(values) => {
                text.push('\n');
                for value in values {
                    text.push_str(&indent);
                    text.push('-');
                    line(text, &scalar(value, depth + 1));
                }
            }
            Yaml::Mapping(inner) if inner.is_empty() => line(text, "{}"),
            Yaml::Mapping(inner) => {
                text.push('\n');
                block(inner, depth + 1, text);
            }
        }
    }
}

/// How keys are sorted: numbers in them by their value, so that member 2 comes before member 10.
fn in_order(one: &str, other: &str) -> Ordering {
    let (a, b): (Vec<char>, Vec<char>) = (one.chars().collect(), other.chars().collect());
    let Some(at) = a.iter().zip(&b).position(|(a, b)| a != b) else {
        return a.len().cmp(&b.len());
    };
    match (a[at].is_alphabetic(), b[at].is_alphabetic()) {
        (true, true) => a[at].cmp(&b[at]),
        (true, false) => Ordering::Greater,
        (false, true) => Ordering::Less,
        (false, false) => {
            // A zero counts only after another digit.
            let zero = a[at] == '0' || b[at] == '0';
            let before = a[..at].iter().rev().take_while(|it| it.is_ascii_digit());
            let inside = zero && before.clone().any(|it| *it != '0');
            let number = |text: &[char]| {
                let digits = text[at..].iter().map_while(|it| it.to_digit(10));
                let value = digits.clone().fold(u64::from(inside), |value, digit| {
                    value.saturating_mul(10).saturating_add(digit.into())
                });
                (value, digits.count())
            };
            number(&a).cmp(&number(&b)).then(a[at].cmp(&b[at]))
        }
    }
}

fn line(text: &mut String, value: &str) {
    text.push(' ');
    text.push_str(value);
    text.push('\n');
}

/// A text as a scalar: plain if it can be, double-quoted if it would be read as something else,
/// single-quoted if its marks would be misread.
fn scalar(text: &str, depth: usize) -> String {
    if text.contains('\n') {
        return literal(text, depth);
    }
    if text.chars().any(char::is_control) {
        return double_quoted(text);
    }
    if is_something_else(text) {
        double_quoted(text)
    } else if is_misread(text) {
        format!("'{}'", text.replace('\'', "''"))
    } else {
        text.to_owned()
    }
}

fn double_quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for it in text.chars() {
        match it {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\t' => quoted.push_str("\\t"),
            '\r' => quoted.push_str("\\r"),
            it if it.is_control() => {
                // Writing to a string does not fail.
                let _ = write!(quoted, "\\x{:02X}", u32::from(it));
            }
            it => quoted.push(it),
        }
    }
    quoted.push('"');
    quoted
}

/// Several lines, each as it is.
fn literal(text: &str, depth: usize) -> String {
    let indent = "  ".repeat(depth.max(1));
    let (body, mark) = match text.strip_suffix('\n') {
        None => (text, "|-"),
        Some(body) if body.ends_with('\n') || body.is_empty() => (body, "|+"),
        Some(body) => (body, "|"),
    };
    let mut written = mark.to_owned();
    if text.starts_with([' ', '\n']) {
        written.insert(1, '2');
    }
    for line in body.split('\n') {
        written.push('\n');
        if !line.is_empty() {
            written.push_str(&indent);
            written.push_str(line);
        }
    }
    written
}

/// Whether a plain scalar of this text is no text to the Go library or to the older readers that it
/// has regard for.
fn is_something_else(text: &str) -> bool {
    const WORDS: [&str; 35] = [
        "", "~", "null", "Null", "NULL", "y", "Y", "yes", "Yes", "YES", "true", "True", "TRUE",
        "on", "On", "ON", "n", "N", "no", "No", "NO", "false", "False", "FALSE", "off", "Off",
        "OFF", ".nan", ".NaN", ".NAN", ".inf", ".Inf", ".INF", "<<", "+.inf",
    ];
    const MORE_WORDS: [&str; 5] = ["+.Inf", "+.INF", "-.inf", "-.Inf", "-.INF"];
    if WORDS.contains(&text) || MORE_WORDS.contains(&text) {
        return true;
    }
    match text.bytes().next() {
        Some(b'.') => is_float(text),
        Some(b'+' | b'-' | b'0'..=b'9') => {
            let plain = text.replace('_', "");
            is_date(text) || is_integer(&plain) || is_float(&plain) || is_base_60(text)
        }
        Some(_) | None => false,
    }
}

/// What Go's `ParseInt` takes, the base found out from the text.
fn is_integer(text: &str) -> bool {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    let lower = digits.to_ascii_lowercase();
    let (radix, digits) = match lower.as_str() {
        it if it.starts_with("0x") => (16, &it[2..]),
        it if it.starts_with("0o") => (8, &it[2..]),
        it if it.starts_with("0b") => (2, &it[2..]),
        it if it.len() > 1 && it.starts_with('0') => (8, &it[1..]),
        it => (10, it),
    };
    !digits.is_empty()
        && digits.chars().all(|it| it.is_digit(radix))
        && u64::from_str_radix(digits, radix).is_ok()
}

/// `12`, `1.5`, `.5`, `1e+3`; an exponent needs its sign.
fn is_float(text: &str) -> bool {
    let rest = text.strip_prefix(['+', '-']).unwrap_or(text);
    let (mantissa, exponent) = match rest.find(['e', 'E']) {
        Some(at) => (&rest[..at], Some(&rest[at + 1..])),
        None => (rest, None),
    };
    let digits = |it: &str| !it.is_empty() && it.bytes().all(|it| it.is_ascii_digit());
    let (whole, fraction) = mantissa.split_once('.').unwrap_or(("", mantissa));
    let signed = |it: &str| it.strip_prefix(['+', '-']).is_some_and(digits);
    (whole.is_empty() || digits(whole)) && digits(fraction) && exponent.is_none_or(signed)
}

/// `1:30`, which was a number once.
fn is_base_60(text: &str) -> bool {
    let rest = text.strip_prefix(['+', '-']).unwrap_or(text);
    let (rest, fraction) = rest.split_once('.').unwrap_or((rest, ""));
    let mut parts = rest.split(':');
    let first = parts.next().unwrap_or_default();
    let digits = |it: &str| it.bytes().all(|it| it.is_ascii_digit() || it == b'_');
    let starts = first.starts_with(|it: char| it.is_ascii_digit());
    let sixtieths: Vec<&str> = parts.collect();
    starts
        && digits(first)
        && digits(fraction)
        && !sixtieths.is_empty()
        && sixtieths.iter().all(|it| {
            let value: Result<u8, _> = it.parse();
            it.len() <= 2
                && it.bytes().all(|it| it.is_ascii_digit())
                && value.is_ok_and(|it| it < 60)
        })
}

/// `2026-11-24`, with or without a time after it.
fn is_date(text: &str) -> bool {
    let (date, time) = match text.find(['T', 't', ' ']) {
        Some(at) => (&text[..at], Some(text[at + 1..].trim_start())),
        None => (text, None),
    };
    let parts: Vec<&str> = date.split('-').collect();
    let [year, month, day] = parts.as_slice() else {
        return false;
    };
    let digits = |it: &str, most: usize| {
        (1..=most).contains(&it.len()) && it.bytes().all(|it| it.is_ascii_digit())
    };
    let shaped = year.len() == 4 && digits(year, 4) && digits(month, 2) && digits(day, 2);
    let (Ok(of), Ok(month), Ok(day)) = (year.parse(), month.parse(), day.parse()) else {
        return false;
    };
    let real = shaped && jiff::civil::Date::new(of, month, day).is_ok();
    real && time.is_none_or(|it| it.starts_with(|it: char| it.is_ascii_digit()) && it.contains(':'))
}

/// Whether its marks would be taken for marks of YAML.
fn is_misread(text: &str) -> bool {
    let first = text.chars().next();
    let second = text.chars().nth(1);
    let blank_after = second.is_none_or(|it| it == ' ');
    let starts_badly = match first {
        Some(
            '#' | ',' | '[' | ']' | '{' | '}' | '&' | '*' | '!' | '|' | '>' | '\'' | '"' | '%'
            | '@' | '`',
        ) => true,
        Some('-' | '?' | ':') => blank_after,
        Some(_) | None => false,
    };
    starts_badly
        || text.starts_with("---")
        || text.starts_with("...")
        || text.starts_with(' ')
        || text.ends_with([' ', ':'])
        || text.contains(": ")
        || text.contains(" #")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_quoted_where_go_quotes_it() {
        for (text, written) in [
            ("30m", "30m"),
            ("1000", "\"1000\""),
            ("", "\"\""),
            ("~", "\"~\""),
            ("y", "\"y\""),
            ("off", "\"off\""),
            ("OfF", "OfF"),
            ("null-0", "null-0"),
            ("0x1f", "\"0x1f\""),
            ("0x", "0x"),
            ("010", "\"010\""),
            ("089", "\"089\""),
            ("1_000", "\"1_000\""),
            ("1.5", "\"1.5\""),
            ("1.", "1."),
            (".5", "\".5\""),
            ("1e3", "1e3"),
            ("1e+3", "\"1e+3\""),
            ("1:30", "\"1:30\""),
            ("1:75", "1:75"),
            ("2026-11-24", "\"2026-11-24\""),
            ("2026-13-24", "2026-13-24"),
            ("26-11-24", "26-11-24"),
            ("2026-11-24T10:20:30Z", "\"2026-11-24T10:20:30Z\""),
            ("http://a-0.b.c.svc:2380", "http://a-0.b.c.svc:2380"),
            ("a: b", "'a: b'"),
            ("a:", "'a:'"),
            ("a #b", "'a #b'"),
            ("a#b", "a#b"),
            ("-", "'-'"),
            ("-a", "-a"),
            ("- a", "'- a'"),
            ("*a", "'*a'"),
            ("it's", "it's"),
            ("'it", "'''it'"),
            ("a\"b", "a\"b"),
            ("a\tb", "\"a\\tb\""),
            (" a", "' a'"),
            ("[a]", "'[a]'"),
            ("/var/etcd/ssl/ca/ca.crt", "/var/etcd/ssl/ca/ca.crt"),
        ] {
            assert_eq!(scalar(text, 1), written, "{text:?}");
        }
    }

    #[test]
    fn keys_are_sorted_as_go_sorts_them() {
        for (one, other) in [
            ("a-2", "a-10"),
            ("a-9", "a-10"),
            ("a-10", "a-11"),
            ("a-100", "a-101"),
            ("a", "a-0"),
            ("a-b", "ab"),
            ("a1", "ab"),
            ("a-1", "a-01"),
            ("initial-cluster", "initial-cluster-state"),
            ("name", "next-cluster-version-compatible"),
        ] {
            assert_eq!(in_order(one, other), Ordering::Less, "{one} {other}");
            assert_eq!(in_order(other, one), Ordering::Greater, "{other} {one}");
        }
    }

    #[test]
    fn mappings_and_lists_are_laid_out_as_go_lays_them_out() {
        let text = |it: &str| Yaml::from(it);
        let mapping = |pairs: Vec<(&str, Yaml)>| {
            let pairs = pairs
                .into_iter()
                .map(|(key, value)| (key.to_owned(), value));
            pairs.collect::<BTreeMap<_, _>>()
        };
        let inner = mapping(vec![("b-0", Yaml::Texts(vec!["x".into(), "1".into()]))]);
        let document = mapping(vec![
            ("z", Yaml::Bool(true)),
            ("number", Yaml::Number(10)),
            ("none", Yaml::Mapping(BTreeMap::new())),
            ("urls", Yaml::Mapping(inner)),
            ("two-lines", text("a\nb")),
            ("1", text("")),
        ]);
        assert_eq!(
            write(&document),
            "\"1\": \"\"\nnone: {}\nnumber: 10\ntwo-lines: |-\n  a\n  b\nurls:\n  b-0:\n  - x\n  - \"1\"\nz: true\n"
        );
    }
}
