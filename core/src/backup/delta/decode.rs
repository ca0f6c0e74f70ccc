//! Reading a delta as it arrives.

use sha2::{Digest as _, Sha256};

use super::element::{self, Meant, Said};
use super::{DIGEST, DeltaDamage, Event, Sequence, Summary};

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
    Element { said: Said, end: usize },
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
        if self.read > 0 {
            let rest = self.buffer.len() - self.read;
            self.buffer.copy_within(self.read.., 0);
            self.buffer.truncate(rest);
            self.dropped += self.read as u64;
            self.read = 0;
        }
        self.buffer.extend_from_slice(piece);
    }

    /// The next event, or `None` if more bytes are needed. After an error there is nothing more.
    pub fn next_event(&mut self) -> Result<Option<Event<'_>>, DeltaDamage> {
        match self.element() {
            Ok(Some(meant)) => Ok(Some(Event {
                key: &self.key,
                revision: meant.revision,
                change: meant.body.change(&self.value),
                time: meant.time,
            })),
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

    fn element(&mut self) -> Result<Option<Meant>, DeltaDamage> {
        let Found::Element { said, end } = self.advance()? else {
            return Ok(None);
        };
        let meant = said.meaning(&self.key);
        let meant = meant.map_err(|why| self.bad_event(why))?;
        self.sequence.admit(meant.revision)?;
        self.consume(end);
        self.place = Place::AfterElement;
        Ok(Some(meant))
    }

    fn bad_event(&self, why: String) -> DeltaDamage {
        let at = self.dropped + self.read as u64;
        DeltaDamage::Event { at, why }
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

    /// Reads the element that begins here, if it ends.
    fn whole_element(&mut self) -> Result<Found, DeltaDamage> {
        let at = self.read;
        let json = self.buffer.get(at..self.json_end()).unwrap_or_default();
        if self.scan.at == 0
            && let Some((said, length)) = element::plain(json, &mut self.key, &mut self.value)
            && length <= self.limit
        {
            let end = at + length;
            return Ok(Found::Element { said, end });
        }
        let length = match self.scan.object_length(json) {
            Some(length) if length <= self.limit => length,
            None if json.len() < self.limit => return Ok(Found::NotYet),
            Some(_) | None => {
                return Err(DeltaDamage::TooLong {
                    at: self.dropped + at as u64,
                    limit: self.limit,
                });
            }
        };
        self.scan = Scan::default();
        let json = json.get(..length).unwrap_or_default();
        let said = match element::plain(json, &mut self.key, &mut self.value) {
            Some((said, _)) => Ok(said),
            None => element::any(json, &mut self.key, &mut self.value),
        };
        Ok(Found::Element {
            said: said.map_err(|why| self.bad_event(why))?,
            end: at + length,
        })
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
            let skipped = if self.in_string {
                memchr::memchr2(b'"', b'\\', rest)
            } else {
                let special = |it: &u8| matches!(it, b'"' | b'{' | b'}' | b'[' | b']');
                rest.iter().position(special)
            };
            let Some(skipped) = skipped else {
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
