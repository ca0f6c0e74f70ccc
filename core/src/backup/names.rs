//! The names of the objects in a store, and nothing but those: a key that this program would not
//! print again byte for byte is not one of them, and the error says why.
//!
//! ```text
//! <prefix>/v2/<name>                       current
//! <prefix>/v1/Backup-<unix>/<name>         before etcd-backup-restore v0.13; still listed
//! <prefix>/v2/<name>/0000000001 ...        parts of an upload (GCS, Swift)
//! name = Full-00000000-<last>-<unix>[.gz|.Z|.zlib][.final]
//!      | Incr-<start>-<last>-<unix>[...][.final]
//! ```
//!
//! Revisions have at least eight digits, zero-padded. The time is the start of the upload, UTC, in
//! seconds. etcd-backup-restore looks for `v1/` and `v2/` anywhere in a key, so a prefix that ends in
//! `v1` hides every snapshot from it, and lists `<prefix>` without a slash, so a neighbour
//! `<prefix>-2` is mixed in. Here a key is read below exactly one [`Prefix`], component by component.

use std::fmt;

use jiff::Timestamp;
use thiserror::Error;

use super::Revision;
use super::codec::Codec;

/// Why a key is not that of a snapshot.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Error)]
pub enum NameError {
    /// A prefix that would not mean the same as a path and as a key.
    #[error("the store prefix {prefix:?} has the component {component:?}: leave it out")]
    Prefix {
        /// As given.
        prefix: String,
        /// What is wrong with it.
        component: String,
    },
    /// It belongs to somebody else, `<prefix>-2` for example.
    #[error("{key} is not below {prefix}/")]
    OtherPrefix {
        /// The key.
        key: String,
        /// What was asked for.
        prefix: String,
    },
    /// Neither `v1/Backup-<unix>/<name>` nor `v2/<name>`.
    #[error("{key} is in no known layout (v1 or v2)")]
    Layout {
        /// The key.
        key: String,
    },
    /// Not `<kind>-<start>-<last>-<time>`.
    #[error("{name} is no snapshot's name: it does not have four parts")]
    Parts {
        /// The name.
        name: String,
    },
    /// Neither `Full` nor `Incr`.
    #[error("{name} is no snapshot's name: its kind {kind:?} is unknown")]
    Kind {
        /// The name.
        name: String,
        /// What it says.
        kind: String,
    },
    /// Not a number, or not written as the tools write it.
    #[error("{name} is no snapshot's name: {digits:?} is not its {field}")]
    Number {
        /// The name.
        name: String,
        /// Which number.
        field: Field,
        /// What it says.
        digits: String,
    },
    /// A full snapshot that does not begin at 0, or a delta that does, or ends before it begins.
    #[error("{name} is no snapshot's name: it cannot cover {start} to {last}")]
    Range {
        /// The name.
        name: String,
        /// The first revision.
        start: i64,
        /// The last revision.
        last: i64,
    },
    /// What follows the time.
    #[error("{name} is no snapshot's name: {suffix:?} is not one suffix and `.final`")]
    Suffix {
        /// The name.
        name: String,
        /// What it says.
        suffix: String,
    },
}

/// A number in a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Field {
    /// The first revision.
    Start,
    /// The last revision.
    Last,
    /// Seconds since 1970.
    Time,
    /// The number of a part.
    Part,
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Start => "first revision",
            Self::Last => "last revision",
            Self::Time => "time",
            Self::Part => "part number",
        })
    }
}

/// What an object covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Everything up to its last revision.
    Full,
    /// The changes from `start` on.
    Delta {
        /// The first revision.
        start: Revision,
    },
}

/// What a name says about the codec.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Suffix {
    /// One that can be read.
    Known(Codec),
    /// One that etcd-backup-restore lists and then refuses to restore, `.zst` for example.
    Unknown(UnknownSuffix),
}

/// A suffix that names no [`Codec`], with its dot.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct UnknownSuffix(String);

impl fmt::Display for UnknownSuffix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Seconds since 1970, as names have them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct UnixSeconds(i64);

impl UnixSeconds {
    /// Fractions are cut off. `None` before 1970.
    pub fn of(time: Timestamp) -> Option<Self> {
        (time >= Timestamp::UNIX_EPOCH).then_some(Self(time.as_second()))
    }

    /// A second later.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }

    /// The time.
    pub fn time(self) -> Timestamp {
        Timestamp::from_second(self.0).unwrap_or(Timestamp::MAX)
    }
}

/// The name of a snapshot. Prints as it was read.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Name {
    last: Revision,
    kind: Kind,
    created: UnixSeconds,
    suffix: Suffix,
    is_final: bool,
}

impl Name {
    /// That of a full snapshot.
    pub fn full(last: Revision, created: UnixSeconds, codec: Codec, is_final: bool) -> Self {
        Self {
            last,
            kind: Kind::Full,
            created,
            suffix: Suffix::Known(codec),
            is_final,
        }
    }

    /// That of a delta; `None` if it ends before it begins.
    pub fn delta(
        start: Revision,
        last: Revision,
        created: UnixSeconds,
        codec: Codec,
    ) -> Option<Self> {
        (start <= last).then_some(Self {
            last,
            kind: Kind::Delta { start },
            created,
            suffix: Suffix::Known(codec),
            is_final: false,
        })
    }

    /// Reads the last component of a key.
    pub fn parse(name: &str) -> Result<Self, NameError> {
        let mut parts = name.split('-');
        let (Some(kind), Some(start), Some(last), Some(rest), None) = (
            parts.next(),
            parts.next(),
            parts.next(),
            parts.next(),
            parts.next(),
        ) else {
            return Err(NameError::Parts {
                name: name.to_owned(),
            });
        };
        let start = number(name, Field::Start, start, REVISION_DIGITS)?;
        let last = number(name, Field::Last, last, REVISION_DIGITS)?;
        let kind = kind_of(name, kind, start, last)?;
        let range = || NameError::Range {
            name: name.to_owned(),
            start,
            last,
        };
        let last = Revision::new(last).ok_or_else(range)?;
        let (time, suffix) = rest.split_at(rest.find('.').unwrap_or(rest.len()));
        let created = number(name, Field::Time, time, 1)?;
        if Timestamp::from_second(created).is_err() {
            return Err(not_a_number(name, Field::Time, time));
        }
        let (suffix, is_final) = suffixes(name, suffix)?;
        Ok(Self {
            last,
            kind,
            created: UnixSeconds(created),
            suffix,
            is_final,
        })
    }

    /// The last revision that it says it covers. A full snapshot may hold newer ones: its name is
    /// chosen before its content.
    pub fn last(&self) -> Revision {
        self.last
    }

    /// Full or delta.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// When its upload began.
    pub fn created(&self) -> UnixSeconds {
        self.created
    }

    /// How it is compressed.
    pub fn suffix(&self) -> &Suffix {
        &self.suffix
    }

    /// The last one before a cluster moves elsewhere; the next start takes a full snapshot.
    pub fn is_final(&self) -> bool {
        self.is_final
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (kind, start) = match self.kind {
            Kind::Full => ("Full", 0),
            Kind::Delta { start } => ("Incr", start.get()),
        };
        write!(
            f,
            "{kind}-{start:08}-{:08}-{}",
            self.last.get(),
            self.created.0
        )?;
        match &self.suffix {
            Suffix::Known(codec) => f.write_str(codec.suffix())?,
            Suffix::Unknown(suffix) => fmt::Display::fmt(suffix, f)?,
        }
        f.write_str(if self.is_final { ".final" } else { "" })
    }
}

/// Where a store's objects begin: `--store-prefix`, without a slash at its end.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Prefix(String);

impl Prefix {
    /// Takes the flag as Go's `path.Join` does: repeated and trailing slashes do not count. May be
    /// empty.
    pub fn parse(flag: &str) -> Result<Self, NameError> {
        let components = || flag.split('/').filter(|it| !it.is_empty());
        if let Some(component) = components().find(|it| matches!(*it, "." | "..")) {
            return Err(NameError::Prefix {
                prefix: flag.to_owned(),
                component: component.to_owned(),
            });
        }
        let root = if flag.starts_with('/') { "/" } else { "" };
        Ok(Self(format!(
            "{root}{}",
            components().collect::<Vec<_>>().join("/")
        )))
    }

    /// What to list: everything of ours, nothing of a neighbour's.
    pub fn to_list(&self) -> String {
        match self.0.as_str() {
            "" | "/" => self.0.clone(),
            prefix => format!("{prefix}/"),
        }
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// In which of the two ways a store is laid out. One store may have both.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Layout {
    /// In a directory of its full snapshot, named for the time of that.
    V1 {
        /// The directory's time.
        backup: UnixSeconds,
    },
    /// Flat.
    V2,
}

/// The key of an object below a prefix. Prints as it was read.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    /// Of the snapshot, or of the one that this is a part of.
    pub name: Name,
    /// Where it is.
    pub layout: Layout,
    /// Which part of an upload it is, from 1.
    pub part: Option<u32>,
    prefix: Prefix,
}

impl Key {
    /// That of a new object; new ones are in the flat layout.
    pub fn new(prefix: &Prefix, name: Name) -> Self {
        Self {
            name,
            layout: Layout::V2,
            part: None,
            prefix: prefix.clone(),
        }
    }

    /// Reads a key that a store lists.
    pub fn parse(prefix: &Prefix, key: &str) -> Result<Self, NameError> {
        let Some(below) = key.strip_prefix(&prefix.to_list()) else {
            return Err(NameError::OtherPrefix {
                key: key.to_owned(),
                prefix: prefix.0.clone(),
            });
        };
        let mut components = below.split('/');
        let layout = match (components.next(), key) {
            (Some("v2"), _) => Some(Layout::V2),
            (Some("v1"), key) => {
                match components.next().and_then(|it| it.strip_prefix("Backup-")) {
                    Some(time) => Some(Layout::V1 {
                        backup: UnixSeconds(number(key, Field::Time, time, 1)?),
                    }),
                    None => None,
                }
            }
            (Some(_) | None, _) => None,
        };
        let (Some(layout), Some(name), part, None) = (
            layout,
            components.next(),
            components.next(),
            components.next(),
        ) else {
            return Err(NameError::Layout {
                key: key.to_owned(),
            });
        };
        let name = Name::parse(name)?;
        let part = part.map(|part| part_number(key, part)).transpose()?;
        Ok(Self {
            name,
            layout,
            part,
            prefix: prefix.clone(),
        })
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.prefix.to_list())?;
        match self.layout {
            Layout::V1 { backup } => write!(f, "v1/Backup-{}/", backup.0)?,
            Layout::V2 => f.write_str("v2/")?,
        }
        fmt::Display::fmt(&self.name, f)?;
        match self.part {
            Some(part) => write!(f, "/{part:0PART_DIGITS$}"),
            None => Ok(()),
        }
    }
}

/// Revisions are padded to this and may be longer.
const REVISION_DIGITS: usize = 8;
/// The numbers of parts are padded to this.
const PART_DIGITS: usize = 10;

/// A number as it is printed: digits only, padded to `width` and not further.
fn number(name: &str, field: Field, digits: &str, width: usize) -> Result<i64, NameError> {
    let padded = digits.len() > width && digits.starts_with('0');
    let clean = digits.len() >= width && !padded && digits.bytes().all(|it| it.is_ascii_digit());
    let value = clean.then(|| digits.parse().ok()).flatten();
    value.ok_or_else(|| not_a_number(name, field, digits))
}

fn not_a_number(name: &str, field: Field, digits: &str) -> NameError {
    NameError::Number {
        name: name.to_owned(),
        field,
        digits: digits.to_owned(),
    }
}

fn part_number(key: &str, digits: &str) -> Result<u32, NameError> {
    let part = number(key, Field::Part, digits, PART_DIGITS)?;
    match u32::try_from(part) {
        Ok(part) if part >= 1 => Ok(part),
        Ok(_) | Err(_) => Err(not_a_number(key, Field::Part, digits)),
    }
}

fn kind_of(name: &str, kind: &str, start: i64, last: i64) -> Result<Kind, NameError> {
    let found = match kind {
        "Full" => (start == 0).then_some(Kind::Full),
        "Incr" if start <= last => Revision::new(start).map(|start| Kind::Delta { start }),
        "Incr" => None,
        kind => {
            return Err(NameError::Kind {
                name: name.to_owned(),
                kind: kind.to_owned(),
            });
        }
    };
    found.ok_or_else(|| NameError::Range {
        name: name.to_owned(),
        start,
        last,
    })
}

/// At most one suffix, then at most `.final`.
fn suffixes(name: &str, all: &str) -> Result<(Suffix, bool), NameError> {
    let (codec, is_final) = match all.strip_suffix(".final") {
        Some(codec) => (codec, true),
        None => (all, false),
    };
    if let Some(codec) = Codec::of_suffix(codec) {
        return Ok((Suffix::Known(codec), is_final));
    }
    match codec.strip_prefix('.') {
        Some("final" | "") | None => {}
        Some(word) if word.bytes().all(|it| it.is_ascii_alphanumeric()) => {
            return Ok((Suffix::Unknown(UnknownSuffix(codec.to_owned())), is_final));
        }
        Some(_) => {}
    }
    Err(NameError::Suffix {
        name: name.to_owned(),
        suffix: all.to_owned(),
    })
}

#[cfg(test)]
mod tests;
