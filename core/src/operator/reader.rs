//! Reads the fields of a file one by one, and keeps what is wrong with them.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::num::NonZeroU32;

use jiff::SignedDuration;
use serde_json::{Map, Value, json};
use thiserror::Error;

use super::gates::GateError;
use crate::duration::GoDuration;

/// A length of time as people write one.
const DURATION: &str = "^([0-9]+([.][0-9]+)?(ns|us|µs|ms|s|m|h))+$";

/// A field that cannot be as it is.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{field}: {wrong}")]
pub struct ConfigProblem {
    /// Where: the path of the field, or the flag.
    pub field: String,
    /// What is wrong with it.
    pub wrong: Wrong,
}

/// What is wrong with a field, and what to do.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Wrong {
    /// Another kind of value.
    #[error("{found} is not {wanted}: write {wanted}")]
    Kind {
        /// What it is.
        found: String,
        /// What it should be.
        wanted: &'static str,
    },
    /// A number that is too small or too large.
    #[error("{found} cannot be: write a number from {least} to {most}")]
    Range {
        /// What it is.
        found: String,
        /// The smallest.
        least: i64,
        /// The largest.
        most: i64,
    },
    /// No length of time.
    #[error("{found:?} is no length of time above zero: write one like 10s, 5m or 1h30m")]
    Duration {
        /// What it is.
        found: String,
    },
    /// A word of a closed list.
    #[error("{found:?} is not known: write {}", allowed.join(" or "))]
    Word {
        /// What it is.
        found: String,
        /// What it may be.
        allowed: Vec<&'static str>,
    },
    /// It has to be more than another.
    #[error("{found} is not longer than {other}, which is {than}: lengthen it, or shorten {other}")]
    NotLonger {
        /// What it is.
        found: GoDuration,
        /// The other field.
        other: String,
        /// What that is.
        than: GoDuration,
    },
    /// It is not there.
    #[error("it is missing: write {wanted}")]
    Missing {
        /// What it should be.
        wanted: &'static str,
    },
    /// No name of a service account.
    #[error("{found:?} is no service account: write system:serviceaccount:NAMESPACE:NAME")]
    Account {
        /// What it is.
        found: String,
    },
    /// Whose changes are the operator's own is said twice, or not at all.
    #[error("give exactly one of {} to say who the operator is", fields.join(" and "))]
    OneOf {
        /// The fields.
        fields: [String; 2],
    },
    /// A feature gate.
    #[error(transparent)]
    Gate(#[from] GateError),
}

/// Something that is hardly meant. The operator runs all the same.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ConfigWarning {
    /// Nobody knows it.
    #[error("{field} is no field of the operator's configuration and has no effect: remove it")]
    Unknown {
        /// Where.
        field: String,
    },
    /// Known by another name; taken as that.
    #[error("{field} is not the name of the field: write {instead}")]
    Misspelled {
        /// How it is called.
        field: String,
        /// How it should be.
        instead: String,
    },
    /// It is given by its right name too.
    #[error("{field} has no effect, since {instead} is there: remove it")]
    Shadowed {
        /// What has no effect.
        field: String,
        /// What has.
        instead: String,
    },
    /// It still works.
    #[error("{field} is deprecated: write {instead}")]
    Deprecated {
        /// What.
        field: String,
        /// What to write.
        instead: String,
    },
    /// It has no effect.
    #[error("{field} has no effect: {why}")]
    Ignored {
        /// What.
        field: String,
        /// Why.
        why: &'static str,
    },
}

/// What was noticed.
#[derive(Debug, Default)]
pub(super) struct Notes {
    pub(super) problems: Vec<ConfigProblem>,
    pub(super) warnings: Vec<ConfigWarning>,
    /// The JSON schema of each field that was asked for, by its path.
    pub(super) asked: BTreeMap<String, Value>,
}

impl Notes {
    pub(super) fn wrong(&mut self, field: impl Into<String>, wrong: impl Into<Wrong>) {
        self.problems.push(ConfigProblem {
            field: field.into(),
            wrong: wrong.into(),
        });
    }
}

/// A mapping, of which each field is taken once.
#[derive(Debug)]
pub(super) struct Section {
    path: String,
    fields: Map<String, Value>,
}

impl Section {
    pub(super) fn root(value: Value, notes: &mut Notes) -> Self {
        Self::of(String::new(), Some(value), notes)
    }

    fn of(path: String, value: Option<Value>, notes: &mut Notes) -> Self {
        let fields = match value {
            Some(Value::Object(fields)) => fields,
            None => Map::new(),
            Some(other) => {
                let at = if path.is_empty() { "the file" } else { &path };
                let (found, wanted) = (shown(&other), "a mapping");
                notes.wrong(at, Wrong::Kind { found, wanted });
                Map::new()
            }
        };
        Self { path, fields }
    }

    /// The path of a field.
    pub(super) fn path(&self, field: &str) -> String {
        if self.path.is_empty() {
            field.to_owned()
        } else {
            format!("{}.{field}", self.path)
        }
    }

    pub(super) fn has(&self, field: &str) -> bool {
        self.fields.get(field).is_some_and(|it| !it.is_null())
    }

    /// Takes a field. One without a value is not there.
    fn take(&mut self, field: &str) -> Option<Value> {
        self.fields.remove(field).filter(|it| !it.is_null())
    }

    /// A field that some write by another name.
    pub(super) fn rename(&mut self, from: &str, to: &str, notes: &mut Notes) {
        let Some(value) = self.take(from) else { return };
        let (field, instead) = (self.path(from), self.path(to));
        notes.warnings.push(if self.has(to) {
            ConfigWarning::Shadowed { field, instead }
        } else {
            self.fields.insert(to.to_owned(), value);
            ConfigWarning::Misspelled { field, instead }
        });
    }

    pub(super) fn section(&mut self, field: &str, notes: &mut Notes) -> Self {
        let value = self.take(field);
        Self::of(self.path(field), value, notes)
    }

    fn read<T>(
        &mut self,
        field: &str,
        wanted: &'static str,
        notes: &mut Notes,
        of: impl FnOnce(&Value) -> Option<T>,
    ) -> Option<T> {
        let value = self.take(field)?;
        let read = of(&value);
        if read.is_none() {
            let found = shown(&value);
            notes.wrong(self.path(field), Wrong::Kind { found, wanted });
        }
        read
    }

    /// Notes which values a field may have.
    fn ask(&self, field: &str, schema: Value, notes: &mut Notes) {
        notes.asked.insert(self.path(field), schema);
    }

    pub(super) fn flag(&mut self, field: &str, notes: &mut Notes) -> bool {
        self.ask(field, json!({ "type": "boolean" }), notes);
        let read = self.read(field, "true or false", notes, Value::as_bool);
        read.unwrap_or_default()
    }

    pub(super) fn text(&mut self, field: &str, notes: &mut Notes) -> Option<String> {
        self.ask(field, json!({ "type": "string" }), notes);
        let text = self.read(field, "a text", notes, |it| it.as_str().map(str::to_owned));
        text.filter(|text| !text.is_empty())
    }

    pub(super) fn texts(&mut self, field: &str, notes: &mut Notes) -> Vec<String> {
        let schema = json!({ "type": "array", "items": { "type": "string", "minLength": 1 } });
        self.ask(field, schema, notes);
        let all = |value: &Value| {
            let texts = value.as_array()?.iter();
            texts
                .map(|it| it.as_str().filter(|it| !it.is_empty()).map(str::to_owned))
                .collect()
        };
        let read = self.read(field, "a list of texts", notes, all);
        read.unwrap_or_default()
    }

    pub(super) fn number(
        &mut self,
        field: &str,
        (least, most): (i64, i64),
        notes: &mut Notes,
    ) -> Option<i64> {
        let schema = json!({ "type": "integer", "minimum": least, "maximum": most });
        self.ask(field, schema, notes);
        let number = self.read(field, "a whole number", notes, Value::as_i64)?;
        if (least..=most).contains(&number) {
            return Some(number);
        }
        let found = number.to_string();
        notes.wrong(self.path(field), Wrong::Range { found, least, most });
        None
    }

    pub(super) fn float(&mut self, field: &str, notes: &mut Notes) -> Option<f64> {
        self.ask(field, json!({ "type": "number" }), notes);
        self.read(field, "a number", notes, Value::as_f64)
    }

    /// How many do something at once.
    pub(super) fn workers(&mut self, field: &str, default: u32, notes: &mut Notes) -> NonZeroU32 {
        let number = self.number(field, (1, 10_000), notes);
        let number = number.and_then(|it| u32::try_from(it).ok());
        NonZeroU32::new(number.unwrap_or(default)).unwrap_or(NonZeroU32::MIN)
    }

    /// A port. As in Go, 0 is as good as none.
    pub(super) fn port(&mut self, field: &str, default: u16, notes: &mut Notes) -> u16 {
        let port = self.number(field, (0, u16::MAX.into()), notes);
        let port = port.and_then(|it| u16::try_from(it).ok());
        port.filter(|port| *port > 0).unwrap_or(default)
    }

    /// Where to listen; `None` for all addresses.
    pub(super) fn address(&mut self, field: &str, notes: &mut Notes) -> Option<IpAddr> {
        let text = self.text(field, notes)?;
        match text.as_str() {
            "localhost" => Some(IpAddr::from([127, 0, 0, 1])),
            text => {
                let address = text.parse().ok();
                if address.is_none() {
                    let wanted = "an IP address, or nothing for all of them";
                    let found = format!("{text:?}");
                    notes.wrong(self.path(field), Wrong::Kind { found, wanted });
                }
                address
            }
        }
    }

    /// A length of time above zero.
    pub(super) fn duration(
        &mut self,
        field: &str,
        default: SignedDuration,
        notes: &mut Notes,
    ) -> SignedDuration {
        let read = self.any_duration(field, default, notes);
        if read > SignedDuration::ZERO {
            return read;
        }
        let found = "0s".to_owned();
        notes.wrong(self.path(field), Wrong::Duration { found });
        default
    }

    /// A length of time that may be none.
    pub(super) fn any_duration(
        &mut self,
        field: &str,
        default: SignedDuration,
        notes: &mut Notes,
    ) -> SignedDuration {
        self.ask(
            field,
            json!({ "type": "string", "pattern": DURATION }),
            notes,
        );
        let Some(value) = self.take(field) else {
            return default;
        };
        let parsed = value.as_str().and_then(|it| it.parse::<GoDuration>().ok());
        let parsed = parsed.and_then(|it| SignedDuration::try_from(it.0).ok());
        parsed.unwrap_or_else(|| {
            let found = value.as_str().map_or_else(|| shown(&value), str::to_owned);
            notes.wrong(self.path(field), Wrong::Duration { found });
            default
        })
    }

    /// One of some words; the first one if it is not there.
    pub(super) fn word<T: Copy>(
        &mut self,
        field: &str,
        words: &[(&'static str, T)],
        default: T,
        notes: &mut Notes,
    ) -> T {
        let found = self.text(field, notes);
        let allowed = words.iter().map(|(word, _)| *word);
        self.ask(field, json!({ "enum": allowed.collect::<Vec<_>>() }), notes);
        let Some(found) = found else {
            return default;
        };
        if let Some((_, value)) = words.iter().find(|(word, _)| *word == found) {
            return *value;
        }
        let allowed = words.iter().map(|(word, _)| *word).collect();
        notes.wrong(self.path(field), Wrong::Word { found, allowed });
        default
    }

    /// What is switched on and off, by name.
    pub(super) fn switches(&mut self, field: &str, notes: &mut Notes) -> BTreeMap<String, bool> {
        let mut section = self.section(field, notes);
        let names: Vec<_> = section.fields.keys().cloned().collect();
        let mut switches = BTreeMap::new();
        for name in names {
            let on = section.read(&name, "true or false", notes, Value::as_bool);
            switches.extend(on.map(|on| (name, on)));
        }
        switches
    }

    /// What was not taken is not known.
    pub(super) fn end(self, notes: &mut Notes) {
        for field in self.fields.keys() {
            let field = self.path(field);
            notes.warnings.push(ConfigWarning::Unknown { field });
        }
    }
}

/// A value in a message: lists and mappings by their kind.
fn shown(value: &Value) -> String {
    match value {
        Value::Null => "nothing".to_owned(),
        Value::Array(_) => "a list".to_owned(),
        Value::Object(_) => "a mapping".to_owned(),
        Value::Bool(_) | Value::Number(_) | Value::String(_) => value.to_string(),
    }
}
