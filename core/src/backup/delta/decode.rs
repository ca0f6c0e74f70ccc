//! Reading a delta as it arrives.

use std::borrow::Cow;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use jiff::Timestamp;
use serde::Deserialize;
use sha2::{Digest as _, Sha256};

use super::{Change, DIGEST, DeltaDamage, Event, Revision, Sequence, Summary};

/// Takes an unpacked delta in pieces of any size and gives its events. Between calls it holds one
/// event and what of the last piece was not asked for yet.
#[derive(Debug)]
pub struct Decoder {
    limit: usize,
    sequence: Sequence,
    digest: Sha256,
    place: Place,
    /// What came and is not read. The last [`DIGEST`] bytes may be the digest.
    pub(super) buffer: Vec<u8>,
    /// How much of the buffer is read.
    read: usize,
    /// How many bytes were dropped from its front.
    dropped: u64,
    /// How far the element that begins at `read` was looked through.
    scan: Scan,
    key: Vec<u8>,
    value: Vec<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    BeforeArray,
    FirstElement,
    Element,
    AfterElement,
    AfterArray,
    GivenUp,
}

/// What [`Decoder::advance`] found.
enum Found {
    Element { at: usize, end: usize },
    NotYet,
}

impl Decoder {
    /// Two times the default of `--max-request-bytes` of 10 MiB, as base64, and some more.
    pub const LIMIT: usize = 32 << 20;

    /// One that refuses an element of more than `limit` bytes.
    pub fn new(limit: usize) -> Self {
        Self {
            limit,
            sequence: Sequence::default(),
            digest: Sha256::new(),
            place: Place::BeforeArray,
            buffer: Vec::new(),
            read: 0,
            dropped: 0,
            scan: Scan::default(),
            key: Vec::new(),
            value: Vec::new(),
        }
    }

    /// Takes the next piece. Ask for events until there are none before the next, or it grows.
    pub fn feed(&mut self, piece: &[u8]) {
        let rest = self.buffer.len() - self.read;
        self.buffer.copy_within(self.read.., 0);
        self.buffer.truncate(rest);
        self.dropped += self.read as u64;
        self.read = 0;
        self.buffer.extend_from_slice(piece);
    }

    /// The next event, or `None` if more bytes are needed. After an error there is nothing more.
    pub fn next_event(&mut self) -> Result<Option<Event<'_>>, DeltaDamage> {
        match self.element() {
            Ok(Some((revision, body, time))) => {
                let (key, value) = (&self.key, &self.value);
                let change = body.change(value);
                Ok(Some(Event {
                    key,
                    revision,
                    change,
                    time,
                }))
            }
            Ok(None) => Ok(None),
            Err(damage) => {
                self.place = Place::GivenUp;
                Err(damage)
            }
        }
    }

    /// Ends it. All events have to have been taken.
    pub fn finish(mut self) -> Result<Summary, DeltaDamage> {
        // What is left may be white space after the array, or the error that was not seen yet.
        if self.next_event()?.is_some() || self.place == Place::GivenUp {
            return Err(DeltaDamage::GivenUp);
        }
        let trailer = self.buffer.get(self.read..).unwrap_or_default();
        let bytes = self.dropped + self.buffer.len() as u64;
        match self.place {
            Place::AfterArray if trailer.len() == DIGEST => {}
            Place::AfterArray
            | Place::BeforeArray
            | Place::FirstElement
            | Place::Element
            | Place::AfterElement
            | Place::GivenUp => return Err(DeltaDamage::Short { bytes }),
        }
        if self.digest.finalize().as_slice() != trailer {
            return Err(DeltaDamage::Digest);
        }
        self.sequence.0.ok_or(DeltaDamage::Empty)
    }

    fn element(&mut self) -> Result<Option<(Revision, Body, Timestamp)>, DeltaDamage> {
        let Found::Element { at, end } = self.advance()? else {
            return Ok(None);
        };
        let fail = |why: String| DeltaDamage::Event {
            at: self.dropped + at as u64,
            why,
        };
        let bytes = self.buffer.get(at..end).unwrap_or_default();
        let json: Element<'_> = serde_json::from_slice(bytes).map_err(|it| fail(it.to_string()))?;
        self.key.clear();
        self.value.clear();
        let kv = json.event.kv;
        for (name, text, bytes) in [
            ("key", &kv.key, &mut self.key),
            ("value", &kv.value, &mut self.value),
        ] {
            let decoded = BASE64_STANDARD.decode_vec(text.as_bytes(), bytes);
            decoded.map_err(|error| fail(format!("its {name} is not base64: {error}")))?;
        }
        if self.key.is_empty() {
            return Err(fail("it has no key".to_owned()));
        }
        let revision = Revision::new(kv.mod_revision);
        let revision = revision.ok_or_else(|| fail("it has no mod_revision".to_owned()))?;
        let body = Body::of(json.event.kind, &kv, revision).map_err(fail)?;
        let time = json.time;
        self.sequence.admit(revision)?;
        self.consume(end);
        self.place = Place::AfterElement;
        Ok(Some((revision, body, time)))
    }

    /// Goes to the next element, if all of it is there.
    fn advance(&mut self) -> Result<Found, DeltaDamage> {
        loop {
            let Some(next) = self.skip_white_space() else {
                return Ok(Found::NotYet);
            };
            self.place = match (self.place, next) {
                (Place::GivenUp, _) => return Err(DeltaDamage::GivenUp),
                (Place::BeforeArray, b'[') => Place::FirstElement,
                (Place::FirstElement | Place::AfterElement, b']') => Place::AfterArray,
                (Place::AfterElement, b',') => Place::Element,
                (Place::FirstElement | Place::Element, b'{') => return self.whole_element(),
                (Place::BeforeArray, _) => return Err(self.syntax("`[`")),
                (Place::FirstElement | Place::Element, _) => return Err(self.syntax("`{`")),
                (Place::AfterElement, _) => return Err(self.syntax("`,` or `]`")),
                (Place::AfterArray, _) => return Err(self.syntax("digest")),
            };
            self.consume(self.read + 1);
        }
    }

    /// Where the element that begins here ends.
    fn whole_element(&mut self) -> Result<Found, DeltaDamage> {
        let at = self.read;
        let json = self.buffer.get(at..self.json_end()).unwrap_or_default();
        match self.scan.object_length(json) {
            Some(length) if length <= self.limit => {
                self.scan = Scan::default();
                Ok(Found::Element {
                    at,
                    end: at + length,
                })
            }
            None if json.len() < self.limit => Ok(Found::NotYet),
            Some(_) | None => Err(DeltaDamage::TooLong {
                at: self.dropped + at as u64,
                limit: self.limit,
            }),
        }
    }

    fn skip_white_space(&mut self) -> Option<u8> {
        let json = self.buffer.get(self.read..self.json_end())?;
        let blank = |it: &&u8| matches!(it, b' ' | b'\t' | b'\n' | b'\r');
        let skipped = json.iter().take_while(blank).count();
        let next = json.get(skipped).copied();
        self.consume(self.read + skipped);
        next
    }

    /// Where what is certainly not digest ends.
    fn json_end(&self) -> usize {
        self.buffer.len().saturating_sub(DIGEST)
    }

    fn consume(&mut self, end: usize) {
        let passed = self.buffer.get(self.read..end).unwrap_or_default();
        self.digest.update(passed);
        self.read = end;
    }

    fn syntax(&self, expected: &'static str) -> DeltaDamage {
        DeltaDamage::Syntax {
            at: self.dropped + self.read as u64,
            expected,
        }
    }
}

/// Looks for the end of a JSON object as it arrives, and at no byte twice.
#[derive(Debug, Default)]
struct Scan {
    at: usize,
    depth: usize,
    in_string: bool,
}

impl Scan {
    /// How long the object is that `json` begins with; `None` if it does not end there. Called
    /// again it has to be given the same bytes and more.
    fn object_length(&mut self, json: &[u8]) -> Option<usize> {
        while let Some(rest) = json.get(self.at..).filter(|it| !it.is_empty()) {
            let special = |it: &u8| {
                let structure = matches!(it, b'{' | b'}' | b'[' | b']');
                *it == b'"'
                    || if self.in_string {
                        *it == b'\\'
                    } else {
                        structure
                    }
            };
            let Some(skipped) = rest.iter().position(special) else {
                self.at = json.len();
                return None;
            };
            self.at += skipped + 1;
            match rest.get(skipped)? {
                b'"' => self.in_string = !self.in_string,
                // Whatever is escaped does not end the string.
                b'\\' => self.at += 1,
                b'{' | b'[' => self.depth += 1,
                _ => self.depth = self.depth.saturating_sub(1),
            }
            if self.depth == 0 {
                return Some(self.at);
            }
        }
        None
    }
}

#[derive(Deserialize)]
struct Element<'a> {
    #[serde(borrow, rename = "etcdEvent")]
    event: JsonEvent<'a>,
    time: Timestamp,
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

/// A change without its value.
enum Body {
    Put {
        created: Revision,
        version: i64,
        lease: i64,
    },
    Delete,
}

impl Body {
    fn of(kind: i32, kv: &KeyValue<'_>, revision: Revision) -> Result<Self, String> {
        match kind {
            0 => {}
            1 => return Ok(Self::Delete),
            other => return Err(format!("its type {other} is unknown")),
        }
        let created = Revision::new(kv.create_revision).filter(|it| *it <= revision);
        match created {
            Some(created) if kv.version >= 1 => Ok(Self::Put {
                created,
                version: kv.version,
                lease: kv.lease,
            }),
            Some(_) | None => Err(format!(
                "no key is of create_revision {}, mod_revision {revision} and version {}",
                kv.create_revision, kv.version
            )),
        }
    }

    fn change(self, value: &[u8]) -> Change<'_> {
        match self {
            Self::Put {
                created,
                version,
                lease,
            } => Change::Put {
                created,
                version,
                value,
                lease,
            },
            Self::Delete => Change::Delete,
        }
    }
}
