//! Whether a full snapshot of etcd is whole, and what is in it. etcd's own `snapshot status` calls
//! truncated and bit-flipped files fine; this does not.
//!
//! A snapshot is a bbolt file followed by the SHA-256 of it.

use sha2::{Digest, Sha256};
use thiserror::Error;

use crate::bolt::{self, BoltDamage, Row};

/// What is in a snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotFacts {
    /// The revision that a member restored from it begins at.
    pub revision: i64,
    /// Rows in bucket `key`: changes that are kept, deletions too, not keys that live.
    pub total_keys: u64,
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
    #[error("it has no bucket `key`, or nothing was ever written to it")]
    Empty,
}

/// The digest at the end.
const DIGEST: usize = 32;
/// Sizes of pages are multiples of this.
const SECTOR: usize = 512;

/// Checks everything that can be checked without starting an etcd.
pub fn verify(file: &[u8]) -> Result<SnapshotFacts, SnapshotDamage> {
    let cut = SnapshotDamage::Size {
        bytes: file.len() as u64,
    };
    let Some((database, digest)) = file.split_last_chunk::<DIGEST>() else {
        return Err(cut);
    };
    if database.is_empty() || database.len() % SECTOR != 0 {
        return Err(cut);
    }
    let mut hasher = Sha256::new();
    hasher.update(database);
    let found = hasher.clone().finalize();
    if found[..] != digest[..] {
        return Err(SnapshotDamage::Digest {
            expected: hex(digest),
            found: hex(&found),
        });
    }
    hasher.update(digest);
    let contents = contents(database)?;
    Ok(SnapshotFacts {
        revision: contents.revision,
        total_keys: contents.rows,
        sha256: hex(&hasher.finalize()),
    })
}

/// What bucket `key` and the marks of compactions say.
#[derive(Debug, PartialEq, Eq)]
struct Contents {
    revision: i64,
    rows: u64,
}

fn contents(database: &[u8]) -> Result<Contents, SnapshotDamage> {
    let mut revision = None;
    let mut rows = 0;
    let mut bad: Option<&[u8]> = None;
    bolt::walk(database, |row: Row<'_>| match (row.bucket, row.key) {
        (b"key", key) => {
            rows += 1;
            match main_revision(key) {
                Some(main) => revision = revision.max(Some(main)),
                None => bad = bad.or(Some(key)),
            }
        }
        // A compaction can remove the very last row, a deletion; the revision does not go back.
        (b"meta", b"finishedCompactRev" | b"scheduledCompactRev") => {
            revision = revision.max(main_revision(row.value));
        }
        _ => {}
    })?;
    match (bad, revision) {
        (Some(key), _) => Err(SnapshotDamage::NotARevision { key: hex(key) }),
        (None, None) => Err(SnapshotDamage::Empty),
        (None, Some(revision)) => Ok(Contents { revision, rows }),
    }
}

/// The first part of a revision: 8 bytes, `_`, 8 bytes, and `t` if it is a deletion.
pub fn main_revision(key: &[u8]) -> Option<i64> {
    let (main, rest) = key.split_first_chunk::<8>()?;
    let well_formed = match rest {
        [b'_', sub @ ..] => sub.len() == 8 || (sub.len() == 9 && sub[8] == b't'),
        _ => false,
    };
    let main = i64::from_be_bytes(*main);
    (well_formed && main > 0).then_some(main)
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests;
