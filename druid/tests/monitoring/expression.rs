//! What an expression of `PromQL` names: as much of the language as tells metrics and labels from the rest.

use std::iter::Peekable;
use std::str::Chars;

/// What an expression names.
#[derive(Debug, Default)]
pub(crate) struct Expression {
    pub(crate) selectors: Vec<Selector>,
    /// Those by which series are grouped or joined.
    pub(crate) labels: Vec<String>,
}

#[derive(Debug)]
pub(crate) struct Selector {
    pub(crate) metric: String,
    /// Label and value; of alternatives each.
    pub(crate) matchers: Vec<(String, String)>,
}

const LISTS: [&str; 6] = [
    "by",
    "without",
    "on",
    "ignoring",
    "group_left",
    "group_right",
];
const WORDS: [&str; 5] = ["and", "or", "unless", "bool", "offset"];
const AGGREGATES: [&str; 5] = ["avg", "count", "max", "min", "sum"];

impl Expression {
    pub(crate) fn parse(text: &str) -> Self {
        // What a variable of a dashboard asks for.
        if let Some(inner) = text.strip_prefix("label_values(") {
            let (series, label) = inner.trim_end_matches(')').rsplit_once(',').unwrap();
            let mut parsed = Self::parse(series);
            parsed.labels.push(label.trim().to_owned());
            return parsed;
        }
        let mut parsed = Self::default();
        let mut rest = text.chars().peekable();
        while let Some(next) = rest.peek().copied() {
            if next == '[' {
                until(&mut rest, ']');
            } else if next.is_ascii_digit() {
                word(&mut rest);
            } else if next.is_ascii_alphabetic() || next == '_' {
                parsed.named(&word(&mut rest), &mut rest);
            } else {
                assert!("(){}<>=!+-*/,. \n".contains(next), "{next} in {text}");
                rest.next();
            }
        }
        parsed
    }

    fn named(&mut self, name: &str, rest: &mut Peekable<Chars<'_>>) {
        while rest.next_if(|it| it.is_whitespace()).is_some() {}
        let next = rest.peek().copied();
        if LISTS.contains(&name) {
            let list = until(rest, ')');
            let labels = list.trim_matches(['(', ')']).split(',');
            self.labels.extend(labels.map(|it| it.trim().to_owned()));
        } else if WORDS.contains(&name) || AGGREGATES.contains(&name) || next == Some('(') {
            // Neither names a series.
        } else {
            let matchers = if next == Some('{') {
                matchers(rest)
            } else {
                Vec::new()
            };
            self.selectors.push(Selector {
                metric: name.to_owned(),
                matchers,
            });
        }
    }
}

fn word(rest: &mut Peekable<Chars<'_>>) -> String {
    let is_part = |it: &char| it.is_ascii_alphanumeric() || "_:.".contains(*it);
    std::iter::from_fn(|| rest.next_if(is_part)).collect()
}

/// With what it ends with.
fn until(rest: &mut Peekable<Chars<'_>>, end: char) -> String {
    let mut text = String::new();
    for it in rest.by_ref() {
        text.push(it);
        if it == end {
            return text;
        }
    }
    panic!("no {end} after {text}");
}

fn matchers(rest: &mut Peekable<Chars<'_>>) -> Vec<(String, String)> {
    let mut all = Vec::new();
    loop {
        while rest.next_if(|it| "{, ".contains(*it)).is_some() {}
        if rest.next_if_eq(&'}').is_some() {
            return all;
        }
        let label = word(rest);
        assert!(!label.is_empty(), "{rest:?}");
        until(rest, '"');
        let value = until(rest, '"');
        for value in value.trim_end_matches('"').split('|') {
            all.push((label.clone(), value.to_owned()));
        }
    }
}

#[test]
fn metrics_and_labels_are_told_from_the_rest() {
    let text = "max by (a, b) (rate(one{x=\"1\",y=~\"2|3\"}[5m])) - 2 * 86400 > 0.5 and on (c) two or \
        absent(three) == bool 1";
    let parsed = Expression::parse(text);
    let metrics: Vec<_> = parsed.selectors.iter().map(|it| &*it.metric).collect();
    assert_eq!(metrics, ["one", "two", "three"]);
    let matchers: Vec<_> = parsed.selectors[0]
        .matchers
        .iter()
        .map(|(label, value)| (&**label, &**value))
        .collect();
    assert_eq!(matchers, [("x", "1"), ("y", "2"), ("y", "3")]);
    assert_eq!(parsed.labels, ["a", "b", "c"]);
    let parsed = Expression::parse("label_values(one{x=~\"$y\"}, z)");
    assert_eq!(
        (&*parsed.selectors[0].metric, &*parsed.labels[0]),
        ("one", "z")
    );
}
