//! A database without what a compaction at its last revision removes, so that it is smaller and
//! its answers are the same.
//!
//! Kept is what etcd 3.4.34 and 3.5.27 keep, so that a hash over the data is the same: the last put
//! of every key that lives, and a deletion at the last revision itself, for those who watch from it.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hash, Hasher};

use sha2::{Digest as _, Sha256};
use thiserror::Error;

use super::Revision;
use super::codec::Codec;
use super::database::{self, CopyError};
use super::listing::Listing;
use super::names::{Name, UnixSeconds};
use crate::bolt::{ReadAt, Sink};
use crate::mvcc::{RowKey, bucket, meta};

/// What became of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Report {
    /// The revision, which stays, and which the database is compacted at.
    pub revision: Revision,
    /// Rows of bucket `key` before.
    pub rows_before: u64,
    /// Rows of bucket `key` after.
    pub rows: u64,
}

/// Why a database was not compacted.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum CompactionError<R, W> {
    /// A row could not be read or written.
    #[error(transparent)]
    Copy(#[from] CopyError<R, W>),
    /// More than can be counted.
    #[error("its bucket `key` has more than {most} rows: compact the cluster first", most = u32::MAX)]
    TooManyRows,
}

/// What to call a full snapshot that is made by compacting. It is younger than every other one of its
/// revision: so it takes the name of none, and is what a restore begins with.
pub fn name(listing: &Listing, last: Revision, now: UnixSeconds, is_final: bool) -> Name {
    let others = listing.bases().map(|it| &it.key.name);
    let others = others.filter(|it| it.last() == last);
    let youngest = others.map(Name::created).max();
    let created = youngest.map_or(now, |it| now.max(it.next()));
    Name::full(last, created, Codec::Gzip, is_final)
}

/// Writes the database of `source`, which is without the digest of a snapshot, compacted into
/// `sink`. It reads the history twice. In memory are 25 to 50 bytes for each key and a bit for each
/// row.
pub fn compact<S: ReadAt, K: Sink>(
    source: S,
    sink: &mut K,
) -> Result<Report, CompactionError<S::Error, K::Error>> {
    let mut reader = database::open(source)?;
    let (mut meta_rows, mut revision) = database::meta(&mut reader)?;
    let mut last = LastRows::default();
    database::history(&mut reader, |key, record, _| {
        revision = revision.max(key.main());
        last.see(record.key);
        Ok(())
    })?;
    let rows_before = last.count;
    if rows_before > u64::from(u32::MAX) {
        return Err(CompactionError::TooManyRows);
    }

    let (mut row_number, mut rows) = (0, 0);
    sink.bucket(bucket::KEY).map_err(CopyError::Write)?;
    database::history(&mut reader, |key, _, row| {
        let stays = !key.is_tombstone() || key.main() == revision;
        if last.is(row_number) && stays {
            rows += 1;
            sink.row(row.key, row.value).map_err(CopyError::Write)?;
        }
        row_number += 1;
        Ok(())
    })?;

    let mark = RowKey::new(revision, 0, false).bytes();
    for completed in [meta::SCHEDULED_COMPACTION, meta::FINISHED_COMPACTION] {
        meta_rows.insert(completed.to_vec(), mark.as_ref().to_vec());
    }
    database::write(bucket::META, &meta_rows, sink)?;
    let mut others = reader.names();
    others.retain(|it| it != bucket::KEY && it != bucket::META);
    for name in &others {
        database::copy(&mut reader, name, sink)?;
    }
    Ok(Report {
        revision,
        rows_before,
        rows,
    })
}

/// Which rows are the last of their keys. Rows are numbered as they come.
#[derive(Default)]
struct LastRows {
    by_key: HashMap<ShortDigest, u32, BuildHasherDefault<FirstBytes>>,
    /// A bit for each row.
    bits: Vec<u64>,
    count: u64,
}

impl LastRows {
    fn see(&mut self, key: &[u8]) {
        // More rows than there are numbers are counted, and nothing more.
        let Ok(number) = u32::try_from(self.count) else {
            self.count += 1;
            return;
        };
        self.count += 1;
        if number.is_multiple_of(64) {
            self.bits.push(0);
        }
        if let Some(earlier) = self.by_key.insert(ShortDigest::of(key), number) {
            self.flip(earlier);
        }
        self.flip(number);
    }

    fn flip(&mut self, number: u32) {
        if let Some(word) = self.bits.get_mut(number as usize / 64) {
            *word ^= 1 << (number % 64);
        }
    }

    fn is(&self, number: u32) -> bool {
        let word = self.bits.get(number as usize / 64).unwrap_or(&0);
        word & 1 << (number % 64) != 0
    }
}

/// 128 bits of the SHA-256 of a key stand for it, so that long keys need no memory.
#[derive(Clone, Copy, PartialEq, Eq)]
struct ShortDigest([u32; 4]);

impl ShortDigest {
    fn of(key: &[u8]) -> Self {
        let digest = Sha256::digest(key);
        let mut words = [0; 4];
        for (word, bytes) in words.iter_mut().zip(digest.chunks_exact(4)) {
            *word = bytes
                .iter()
                .fold(0, |word, byte| word << 8 | u32::from(*byte));
        }
        Self(words)
    }
}

impl Hash for ShortDigest {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let [first, second, ..] = self.0;
        state.write_u64(u64::from(first) << 32 | u64::from(second));
    }
}

/// What is hashed is a digest already.
#[derive(Default)]
struct FirstBytes(u64);

impl Hasher for FirstBytes {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(u64::from(*byte));
        }
    }

    fn write_u64(&mut self, number: u64) {
        self.0 = self.0.rotate_left(8) ^ number;
    }
}

#[cfg(test)]
mod tests;
