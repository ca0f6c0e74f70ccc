//! What the load of a rehearsal wrote, and whether the cluster still has it: the names and values
//! that the load uses, the ledger of what was acknowledged, and the judges that compare it with
//! what the members hold, what the watchers saw and when the acknowledgements came.
//!
//! Values in, values out. Every time here is nanoseconds since the load's own origin.

use std::fmt;
use std::str::FromStr;

use serde::Serialize;

pub mod fill;
pub mod findings;
pub mod foreign;
pub mod gaps;
pub mod ledger;
pub mod watch;

/// Everything that a rehearsal writes begins with this, be it load or filling.
pub const OWN_PREFIX: &str = "rehearse/";

/// Everything that the load writes begins with this.
pub const LOAD_PREFIX: &str = "rehearse/load/";

/// A write's own value: no two writes of a load share one, so that a value names its write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(into = "String")]
pub struct Tag {
    /// Which client wrote it.
    pub writer: u16,
    /// Its how manieth write it was.
    pub seq: u32,
}

impl Tag {
    /// Who wrote bytes that no client of the load writes.
    pub const NOBODY: u16 = u16::MAX;

    /// The bytes to store: the tag, and filler up to `size` bytes that follows from it. A `size`
    /// smaller than the tag's text is not kept to.
    pub fn encode(self, size: usize) -> Vec<u8> {
        let mut bytes = format!("{self} ").into_bytes();
        let missing = size.saturating_sub(bytes.len());
        bytes.extend(filler(
            u64::from(self.writer) << 32 | u64::from(self.seq),
            missing,
        ));
        bytes
    }

    /// The tag of stored bytes. Bytes that [`Tag::encode`] did not make, be it one of the filler,
    /// have a tag of [`Tag::NOBODY`] with a checksum as its number.
    pub fn decode(bytes: &[u8]) -> Self {
        let text = bytes.split(|b| *b == b' ').next().unwrap_or_default();
        std::str::from_utf8(text)
            .ok()
            .and_then(|text| text.parse::<Self>().ok())
            .filter(|tag| tag.encode(bytes.len()) == bytes)
            .unwrap_or_else(|| Self {
                writer: Self::NOBODY,
                seq: checksum(bytes),
            })
    }
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.writer == Self::NOBODY {
            write!(f, "foreign bytes {:08x}", self.seq)
        } else {
            write!(f, "w{}#{}", self.writer, self.seq)
        }
    }
}

impl From<Tag> for String {
    fn from(tag: Tag) -> Self {
        tag.to_string()
    }
}

/// Text that is not a tag.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a tag such as w3#17")]
pub struct NotATag(pub String);

impl FromStr for Tag {
    type Err = NotATag;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let bad = || NotATag(text.to_owned());
        let (writer, seq) = text
            .strip_prefix('w')
            .and_then(|rest| rest.split_once('#'))
            .ok_or_else(bad)?;
        let tag = Self {
            writer: writer.parse().map_err(|_| bad())?,
            seq: seq.parse().map_err(|_| bad())?,
        };
        // One spelling per tag: `w+3#017` is not what a client wrote.
        if tag.writer == Self::NOBODY || tag.to_string() != text {
            return Err(bad());
        }
        Ok(tag)
    }
}

/// A key under [`LOAD_PREFIX`].
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Key {
    /// Written once, by one client, and perhaps deleted by it later.
    Unique(Tag),
    /// Written over and over by many clients.
    Register(u16),
    /// A name that the load does not use.
    Foreign(Box<str>),
}

impl Key {
    /// What the name of a stored key means.
    pub fn parse(name: &[u8]) -> Self {
        let foreign = || Self::Foreign(String::from_utf8_lossy(name).into());
        let Some(rest) = std::str::from_utf8(name)
            .ok()
            .and_then(|name| name.strip_prefix(LOAD_PREFIX))
        else {
            return foreign();
        };
        let number = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
        let key = match rest.split('/').collect::<Vec<_>>()[..] {
            ["u", writer, seq] if number(writer) && number(seq) => {
                match (writer.parse(), seq.parse()) {
                    (Ok(writer), Ok(seq)) => Self::Unique(Tag { writer, seq }),
                    _ => return foreign(),
                }
            }
            ["r", register] if number(register) => match register.parse() {
                Ok(register) => Self::Register(register),
                Err(_) => return foreign(),
            },
            _ => return foreign(),
        };
        if key.to_string().as_bytes() == name {
            key
        } else {
            foreign()
        }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unique(tag) => write!(f, "{LOAD_PREFIX}u/{:03}/{:08}", tag.writer, tag.seq),
            Self::Register(register) => write!(f, "{LOAD_PREFIX}r/{register:03}"),
            Self::Foreign(name) => f.write_str(name),
        }
    }
}

impl Serialize for Key {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// What a write does to its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// It gets this value.
    Put(Tag),
    /// It goes away.
    Delete,
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Put(tag) => write!(f, "put {tag}"),
            Self::Delete => f.write_str("delete"),
        }
    }
}

/// `len` letters that follow from `seed` (splitmix64).
pub(crate) fn filler(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed;
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        let word = next_random(&mut state);
        bytes.extend(word.to_le_bytes().map(|byte| b'a' + byte % 26));
    }
    bytes.truncate(len);
    bytes
}

/// The next word of splitmix64.
pub(crate) fn next_random(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut word = *state;
    word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}

/// FNV-1a.
fn checksum(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0x811c_9dc5, |sum, byte| {
        (sum ^ u32::from(*byte)).wrapping_mul(0x0100_0193)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_survives_storage_and_a_changed_byte_does_not_pass_for_it() {
        for size in [0, 7, 64, 300] {
            let tag = Tag { writer: 3, seq: 17 };
            let bytes = tag.encode(size);
            assert!(bytes.len() >= size);
            assert_eq!(Tag::decode(&bytes), tag);
            for at in 0..bytes.len() {
                let mut bad = bytes.clone();
                bad[at] ^= 1;
                assert_ne!(Tag::decode(&bad), tag, "byte {at} of {size}");
            }
        }
        assert_eq!(Tag::decode(b"").writer, Tag::NOBODY);
        assert_eq!(Tag::decode(b"w3#017 ").writer, Tag::NOBODY);
        assert_eq!(Tag::decode(b"w65535#1 ").writer, Tag::NOBODY);
    }

    #[test]
    fn a_key_reads_back_and_other_names_are_foreign() {
        for key in [
            Key::Unique(Tag {
                writer: 3,
                seq: 1_234_567,
            }),
            Key::Unique(Tag {
                writer: 1_000,
                seq: 123_456_789,
            }),
            Key::Register(7),
        ] {
            assert_eq!(Key::parse(key.to_string().as_bytes()), key);
        }
        for name in [
            "rehearse/load/u/3/1",
            "rehearse/load/r/+07",
            "rehearse/load/x",
            "rehearse/load/r/99999",
            "other",
        ] {
            assert_eq!(Key::parse(name.as_bytes()), Key::Foreign(name.into()));
        }
    }
}
