//! One element of a delta's array, read in one of two ways that agree: [`plain`] knows nothing but
//! the very bytes that Go and we write, and is fast; [`any`] reads whatever JSON means the same.

use std::borrow::Cow;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use jiff::Timestamp;
use serde::Deserialize;

use super::{Change, Revision};

/// What an element says, its key and value aside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Said {
    kind: i32,
    create_revision: i64,
    mod_revision: i64,
    version: i64,
    lease: i64,
    lease_ttl: Option<i64>,
    time: Timestamp,
}

/// An event without its key and value.
pub(super) struct Meant {
    pub(super) revision: Revision,
    pub(super) body: Body,
    pub(super) time: Timestamp,
}

/// A change without its value.
pub(super) enum Body {
    Put {
        created: Revision,
        version: i64,
        lease: i64,
        lease_ttl: Option<i64>,
    },
    Delete,
}

impl Body {
    pub(super) fn change(self, value: &[u8]) -> Change<'_> {
        match self {
            Self::Put {
                created,
                version,
                lease,
                lease_ttl,
            } => Change::Put {
                created,
                version,
                value,
                lease,
                lease_ttl,
            },
            Self::Delete => Change::Delete,
        }
    }
}

impl Said {
    /// What etcd can have meant by it, or why nothing.
    pub(super) fn meaning(self, key: &[u8]) -> Result<Meant, String> {
        if key.is_empty() {
            return Err("it has no key".to_owned());
        }
        let revision = Revision::new(self.mod_revision);
        let revision = revision.ok_or_else(|| "it has no mod_revision".to_owned())?;
        let time = self.time;
        let body = match self.kind {
            0 => self.put(revision)?,
            1 => Body::Delete,
            other => return Err(format!("its type {other} is unknown")),
        };
        Ok(Meant {
            revision,
            body,
            time,
        })
    }

    fn put(self, revision: Revision) -> Result<Body, String> {
        if let Some(ttl) = self.lease_ttl.filter(|it| *it < 1) {
            return Err(format!("no lease lives for {ttl} seconds"));
        }
        let created = Revision::new(self.create_revision).filter(|it| *it <= revision);
        match created {
            Some(created) if self.version >= 1 => Ok(Body::Put {
                created,
                version: self.version,
                lease: self.lease,
                lease_ttl: self.lease_ttl.filter(|_| self.lease != 0),
            }),
            Some(_) | None => Err(format!(
                "no key is of create_revision {}, mod_revision {revision} and version {}",
                self.create_revision, self.version
            )),
        }
    }
}

/// Reads an element that `json` begins with and says how long it is; `None` if it is not all there,
/// or is not written as Go and we write it. Then what is in `key` and `value` means nothing.
pub(super) fn plain(json: &[u8], key: &mut Vec<u8>, value: &mut Vec<u8>) -> Option<(Said, usize)> {
    let mut rest = Plain(json);
    rest.literal(br#"{"etcdEvent":{"#)?;
    let kind = i32::from(rest.literal(br#""type":1,"#).is_some());
    rest.literal(br#""kv":{"key":""#)?;
    rest.base64(key)?;
    let create_revision = rest.field(br#","create_revision":"#)?;
    let mod_revision = rest.field(br#","mod_revision":"#)?;
    let version = rest.field(br#","version":"#)?;
    value.clear();
    if rest.literal(br#","value":""#).is_some() {
        rest.base64(value)?;
    }
    let lease = rest.field(br#","lease":"#)?;
    rest.literal(br#"}},"time":""#)?;
    let time = std::str::from_utf8(rest.text()?).ok()?.parse().ok()?;
    let lease_ttl = if rest.literal(br#","leaseTTL":"#).is_some() {
        Some(rest.number()?)
    } else {
        None
    };
    rest.literal(b"}")?;
    let said = Said {
        kind,
        create_revision,
        mod_revision,
        version,
        lease,
        lease_ttl,
        time,
    };
    Some((said, json.len() - rest.0.len()))
}

/// What is not read yet.
struct Plain<'a>(&'a [u8]);

impl<'a> Plain<'a> {
    fn literal(&mut self, expected: &[u8]) -> Option<()> {
        self.0 = self.0.strip_prefix(expected)?;
        Some(())
    }

    /// Up to the next quote.
    fn text(&mut self) -> Option<&'a [u8]> {
        let (text, rest) = self.0.split_at_checked(memchr::memchr(b'"', self.0)?)?;
        self.0 = rest.get(1..)?;
        Some(text)
    }

    fn base64(&mut self, into: &mut Vec<u8>) -> Option<()> {
        into.clear();
        BASE64_STANDARD.decode_vec(self.text()?, into).ok()
    }

    /// A number with its name, or zero.
    fn field(&mut self, name: &[u8]) -> Option<i64> {
        match self.literal(name) {
            Some(()) => self.number(),
            None => Some(0),
        }
    }

    /// As JSON has it, with something after it.
    fn number(&mut self) -> Option<i64> {
        let end = self
            .0
            .iter()
            .position(|it| !matches!(it, b'0'..=b'9' | b'-'))?;
        let (digits, rest) = self.0.split_at_checked(end)?;
        self.0 = rest;
        let unsigned = digits.strip_prefix(b"-").unwrap_or(digits);
        if unsigned.starts_with(b"0") && digits != b"0" {
            return None;
        }
        std::str::from_utf8(digits).ok()?.parse().ok()
    }
}

/// Reads a whole element.
pub(super) fn any(json: &[u8], key: &mut Vec<u8>, value: &mut Vec<u8>) -> Result<Said, String> {
    let element: Element<'_> = serde_json::from_slice(json).map_err(|it| it.to_string())?;
    let kv = element.event.kv;
    for (name, text, bytes) in [("key", &kv.key, key), ("value", &kv.value, value)] {
        bytes.clear();
        let decoded = BASE64_STANDARD.decode_vec(text.as_bytes(), bytes);
        decoded.map_err(|error| format!("its {name} is not base64: {error}"))?;
    }
    Ok(Said {
        kind: element.event.kind,
        create_revision: kv.create_revision,
        mod_revision: kv.mod_revision,
        version: kv.version,
        lease: kv.lease,
        lease_ttl: element.lease_ttl,
        time: element.time,
    })
}

#[derive(Deserialize)]
struct Element<'a> {
    #[serde(borrow, rename = "etcdEvent")]
    event: JsonEvent<'a>,
    time: Timestamp,
    #[serde(default, rename = "leaseTTL")]
    lease_ttl: Option<i64>,
}

#[derive(Deserialize)]
struct JsonEvent<'a> {
    #[serde(default, rename = "type")]
    kind: i32,
    #[serde(borrow)]
    kv: KeyValue<'a>,
}

/// The borrowed texts own their bytes only if there is an escape in them, which base64 never needs.
#[derive(Deserialize)]
struct KeyValue<'a> {
    #[serde(borrow, default)]
    key: Cow<'a, str>,
    #[serde(default)]
    create_revision: i64,
    #[serde(default)]
    mod_revision: i64,
    #[serde(default)]
    version: i64,
    #[serde(borrow, default)]
    value: Cow<'a, str>,
    #[serde(default)]
    lease: i64,
}
