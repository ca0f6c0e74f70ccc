//! Whether a full snapshot of etcd is whole, and what is in it. etcd's own `snapshot status` calls
//! truncated and bit-flipped files fine; this does not.
//!
//! A snapshot is a bbolt file followed by the SHA-256 of it. A file is read twice, and never held:
//! [`verify`]. While one arrives only its digest can be checked: [`Trailer`].

use sha2::{Digest as _, Sha256};
use thiserror::Error;

use crate::backup::Revision;
use crate::bolt::{self, BoltDamage, ReadAt, Reader, Row, WalkError};
use crate::mvcc::{RowKey, bucket, compaction_mark};

/// What is in a snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotFacts {
    /// The revision that a member restored from it begins at.
    pub revision: i64,
    /// Rows in bucket `key`: changes that are kept, deletions too, not keys that live.
    pub total_keys: u64,
    /// Bytes of the file.
    pub bytes: u64,
    /// Bytes of the pages that are in use. A defragmentation frees the rest.
    pub bytes_in_use: u64,
    /// The SHA-256 of the whole file, as `sha256sum` prints it.
    pub sha256: String,
}

/// What is wrong with a snapshot.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum SnapshotDamage {
    /// No digest at the end: it was cut, or it is a copied database file.
    #[error("its size of {bytes} bytes is not that of a snapshot: it is cut, or has no digest")]
    Size {
        /// Its size.
        bytes: u64,
    },
    /// Something changed after it was taken.
    #[error("its bytes do not match their digest: says {expected}, has {found}")]
    Digest {
        /// What the end of the file says.
        expected: String,
        /// What it is.
        found: String,
    },
    /// More comes than its database has. Nothing of etcd is so; a decompression bomb is.
    #[error(
        "it is longer than the {limit} bytes that its database can have: it is not read further"
    )]
    TooLong {
        /// The most that it could have.
        limit: u64,
    },
    /// The database is malformed.
    #[error("its database is damaged: {0}")]
    Bolt(#[from] BoltDamage),
    /// A row of bucket `key` whose key is no revision.
    #[error("its bucket `key` has a row that is no revision: {key}")]
    NotARevision {
        /// The row's key, in hexadecimal.
        key: String,
    },
    /// A database that no etcd made.
    #[error("it has no bucket `key`: it is no database of etcd")]
    NotEtcd,
}

/// Why a snapshot was not verified. `R` is what the source says.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum VerifyError<R> {
    /// It is damaged.
    #[error(transparent)]
    Damage(#[from] SnapshotDamage),
    /// It could not be read.
    #[error("{0}")]
    Read(R),
}

impl<R> From<WalkError<R, SnapshotDamage>> for VerifyError<R> {
    fn from(error: WalkError<R, SnapshotDamage>) -> Self {
        match error {
            WalkError::Damage(damage) => Self::Damage(damage.into()),
            WalkError::Read(error) => Self::Read(error),
            WalkError::Visit(damage) => Self::Damage(damage),
        }
    }
}

/// The digest at the end.
const DIGEST: usize = 32;
/// Sizes of pages are multiples of this.
const SECTOR: u64 = 512;
/// How much is read at a time for the digest.
const PIECE: u64 = 1 << 18;

/// Checks everything that can be checked without starting an etcd.
pub fn verify<S: ReadAt>(source: S) -> Result<SnapshotFacts, VerifyError<S::Error>> {
    let digested = digest(&source)?;
    facts(source, digested)
}

/// The same of a snapshot whose digest was checked as it arrived; it is not computed again.
pub fn facts<S: ReadAt>(
    source: S,
    digested: Digested,
) -> Result<SnapshotFacts, VerifyError<S::Error>> {
    let contents = contents(Database(&source, digested.database_bytes))?;
    Ok(SnapshotFacts {
        revision: contents.revision.get(),
        total_keys: contents.rows,
        bytes: digested.bytes,
        bytes_in_use: contents.bytes_in_use,
        sha256: digested.sha256,
    })
}

/// A snapshot as the database that is in it: everything but the digest at its end.
#[derive(Clone, Copy, Debug)]
pub struct Database<S>(S, u64);

impl<S: ReadAt> Database<S> {
    /// The database of a snapshot; nothing is checked.
    pub fn of(snapshot: S) -> Self {
        let bytes = snapshot.size().saturating_sub(DIGEST as u64);
        Self(snapshot, bytes)
    }
}

impl<S: ReadAt> ReadAt for Database<S> {
    type Error = S::Error;

    fn size(&self) -> u64 {
        self.1
    }

    fn read_at(&self, offset: u64, into: &mut [u8]) -> Result<(), S::Error> {
        self.0.read_at(offset, into)
    }
}

fn digest<S: ReadAt>(source: &S) -> Result<Digested, VerifyError<S::Error>> {
    let (size, mut at) = (source.size(), 0);
    let mut trailer = Trailer::new();
    let mut buffer = vec![0; usize::try_from(PIECE.min(size)).unwrap_or(0)];
    while at < size {
        let length = usize::try_from((size - at).min(PIECE)).unwrap_or(0);
        let piece = buffer.get_mut(..length).unwrap_or_default();
        source.read_at(at, piece).map_err(VerifyError::Read)?;
        trailer.feed(piece);
        at += length as u64;
    }
    Ok(trailer.finish()?)
}

/// Checks the digest of a snapshot that arrives in pieces of any size and number. It holds as many
/// bytes as the digest has.
#[derive(Clone, Debug, Default)]
pub struct Trailer {
    database: Sha256,
    database_bytes: u64,
    /// The last bytes that came, at most as many as the digest has.
    tail: Vec<u8>,
}

/// How far a snapshot that begins so is worth reading, known before the rest arrives. etcd streams
/// its database up to the last page that was ever in use; a copied file may have room after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent(u64);

impl Extent {
    /// The bytes of a snapshot that tell, or all if it has fewer.
    pub const HEAD: usize = 128 << 10;
    /// bbolt lets a file grow by so much at once.
    const ROOM: u64 = 16 << 20;

    /// By the first [`Self::HEAD`] bytes.
    pub fn of(head: &[u8]) -> Result<Self, SnapshotDamage> {
        let length = bolt::length(head)?;
        let most = length.saturating_add(Self::ROOM);
        Ok(Self(most.saturating_add(DIGEST as u64)))
    }

    /// Whether so many bytes can be the beginning of it.
    pub fn admit(self, bytes: u64) -> Result<(), SnapshotDamage> {
        if bytes <= self.0 {
            return Ok(());
        }
        Err(SnapshotDamage::TooLong { limit: self.0 })
    }
}

/// What a snapshot with the right digest is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Digested {
    /// Bytes of all of it.
    pub bytes: u64,
    /// Bytes of the database in it.
    pub database_bytes: u64,
    /// The SHA-256 of all of it, as `sha256sum` prints it.
    pub sha256: String,
}

impl Trailer {
    /// Nothing came yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// The next piece.
    pub fn feed(&mut self, piece: &[u8]) {
        // Of what is there now, all but the last 32 bytes is database.
        let past = (self.tail.len() + piece.len()).saturating_sub(DIGEST);
        let (before, rest) = piece.split_at(past.saturating_sub(self.tail.len()));
        let of_tail = self.tail.drain(..past.min(self.tail.len()));
        self.database.update(of_tail.as_slice());
        drop(of_tail);
        self.database.update(before);
        self.database_bytes += past as u64;
        self.tail.extend_from_slice(rest);
    }

    /// Nothing more comes.
    pub fn finish(mut self) -> Result<Digested, SnapshotDamage> {
        let bytes = self.database_bytes + self.tail.len() as u64;
        if self.database_bytes == 0 || !self.database_bytes.is_multiple_of(SECTOR) {
            return Err(SnapshotDamage::Size { bytes });
        }
        let found = self.database.clone().finalize();
        if found[..] != self.tail[..] {
            return Err(SnapshotDamage::Digest {
                expected: hex(&self.tail),
                found: hex(&found),
            });
        }
        self.database.update(&self.tail);
        Ok(Digested {
            bytes,
            database_bytes: self.database_bytes,
            sha256: hex(&self.database.finalize()),
        })
    }
}

/// What bucket `key` and the marks of compactions say.
struct Contents {
    revision: Revision,
    rows: u64,
    bytes_in_use: u64,
}

fn contents<S: ReadAt>(database: S) -> Result<Contents, VerifyError<S::Error>> {
    let mut reader = Reader::open::<SnapshotDamage>(database)?;
    if !reader.has(bucket::KEY) {
        return Err(SnapshotDamage::NotEtcd.into());
    }
    let mut revision = Revision::FIRST;
    let mut rows = 0;
    let mut visit = |row: Row<'_>| {
        if row.bucket == bucket::KEY {
            rows += 1;
            let key = RowKey::parse(row.key);
            let key = key.ok_or_else(|| SnapshotDamage::NotARevision { key: hex(row.key) })?;
            revision = revision.max(key.main());
        } else if row.bucket == bucket::META {
            // A compaction can remove the very last row, a deletion; the revision does not go back.
            revision = revision.max(compaction_mark(row.key, row.value).unwrap_or(revision));
        }
        Ok(())
    };
    for name in reader.names() {
        reader.rows(&name, &mut visit)?;
    }
    Ok(Contents {
        revision,
        rows,
        bytes_in_use: reader.bytes_in_use(),
    })
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests;
