//! The newest chain as one full snapshot, without what a compaction removes and without an etcd.

use std::fs::File;
use std::io::{self, Write as _};
use std::sync::Arc;

use druid_core::backup::compaction::{self, CompactionError};
use druid_core::backup::database::CopyError;
use druid_core::backup::listing::Object;
use druid_core::backup::names::{Key, UnixSeconds};
use druid_core::backup::replay::Plan;
use druid_core::bolt::{DrainError, ReadAt as _};
use jiff::Timestamp;
use sha2::{Digest as _, Sha256};
use thiserror::Error;

use super::database::{self, Progress, Replayed, RestoreError, Source};
use super::output::{close, into_file};
use super::read::{self, PIECE, ReadError};
use crate::backup::codec::{Packer, Packing};
use crate::read_at::FileAt;
use crate::store::StoreError;
use crate::store::read::store_error;
use crate::store::upload::Upload;

/// A new full snapshot in the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Compacted {
    /// What it was made from.
    pub(crate) replayed: Replayed,
    /// What was left out.
    pub(crate) report: compaction::Report,
    /// The snapshot.
    pub(crate) object: Object,
    /// Its size, unpacked.
    pub(crate) unpacked: u64,
}

/// Why there is none; nothing of it is in the store.
#[derive(Debug, Error)]
pub(crate) enum CompactError {
    /// No database.
    #[error(transparent)]
    Restore(#[from] RestoreError),
    /// It cannot be compacted.
    #[error("the database that was replayed cannot be compacted: {0}")]
    Compaction(String),
    /// The store did not take it.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A clock before 1970.
    #[error("{0} cannot be part of a snapshot's name; set the clock")]
    Unnameable(Timestamp),
    /// It is in the store, and is not what was written.
    #[error("{object} does not read back as it was written, and was removed: {why}")]
    ReadBack {
        /// Its key.
        object: Box<Key>,
        /// How it differs.
        why: ReadError,
    },
}

/// Threads that pack.
const THREADS: usize = 2;

/// Compacts the newest chain into a new full snapshot beside it. It is read back before it counts:
/// from then on it is what a restore begins with.
pub(crate) fn compact(
    source: &Source<'_>,
    now: Timestamp,
    progress: &mut dyn FnMut(Progress<'_>),
) -> Result<Compacted, CompactError> {
    let created = UnixSeconds::of(now).ok_or(CompactError::Unnameable(now))?;
    let disk = |error| disk(source, error);
    let whole = tempfile::tempfile_in(source.spool).map_err(disk)?;
    let replayed = database::replay(source, &Plan::nobody(), &whole, progress)?;
    let whole = FileAt::new(whole).map_err(disk)?;
    let smaller = tempfile::tempfile_in(source.spool).map_err(disk)?;
    let (report, unpacked) = shrink(&whole, &smaller, source)?;
    drop(whole);
    let is_final = replayed.chain.base.key.name.is_final();
    let name = compaction::name(source.listing, report.revision, created, is_final);
    let key = Key::new(&source.location.prefix, name);
    let bytes = upload(source, &key, &FileAt::new(smaller).map_err(disk)?, unpacked)?;
    let object = Object {
        key,
        bytes: Some(bytes),
    };
    read_back(source, &object)?;
    Ok(Compacted {
        replayed,
        report,
        object,
        unpacked,
    })
}

fn shrink(
    whole: &FileAt,
    into: &File,
    source: &Source<'_>,
) -> Result<(compaction::Report, u64), CompactError> {
    let disk = |error| disk(source, error);
    let mut sink = into_file(into);
    let report = compaction::compact(whole, &mut sink).map_err(|error| match error {
        CompactionError::Copy(
            CopyError::Read(error) | CopyError::Write(DrainError::Drain(error)),
        ) => disk(error),
        error @ (CompactionError::Copy(_) | CompactionError::TooManyRows) => {
            CompactError::Compaction(error.to_string())
        }
    })?;
    let bytes = close(sink, into).map_err(disk)?;
    Ok((report, bytes))
}

/// What went wrong here, and not in the store.
fn disk(source: &Source<'_>, error: io::Error) -> CompactError {
    let path = source.spool.to_owned();
    RestoreError::Disk {
        path,
        source: error,
    }
    .into()
}

/// The database and its digest, packed.
fn upload(
    source: &Source<'_>,
    key: &Key,
    database: &FileAt,
    bytes: u64,
) -> Result<u64, CompactError> {
    let store = Arc::clone(&source.location.store);
    // Packing may make it larger, by little.
    let at_most = Some(bytes + bytes / 100 + (1 << 20));
    let mut upload = Upload::start(source.runtime, store, key.to_string(), at_most);
    match pack(database, bytes, &mut upload) {
        Ok(()) => Ok(upload.finish()?),
        Err(error) => {
            upload.abandon();
            Err(match store_error(&error) {
                Some(failure) => failure.clone().into(),
                None => disk(source, error),
            })
        }
    }
}

fn pack(database: &FileAt, bytes: u64, upload: &mut Upload) -> io::Result<()> {
    let mut packer = Packer::new(Packing::Gzip, THREADS, upload)?;
    let mut digest = Sha256::new();
    let mut piece = vec![0; PIECE];
    let mut at = 0;
    while at < bytes {
        let length = usize::try_from(bytes - at).unwrap_or(PIECE).min(PIECE);
        let piece = piece.get_mut(..length).unwrap_or_default();
        database.read_at(at, piece)?;
        digest.update(&*piece);
        packer.write_all(piece)?;
        at += length as u64;
    }
    packer.write_all(&digest.finalize())?;
    packer.finish().map(drop)
}

fn read_back(source: &Source<'_>, object: &Object) -> Result<(), CompactError> {
    let Source {
        runtime,
        location,
        spool,
        ..
    } = source;
    let why = match read::base(runtime, location, object, spool, |_| ()) {
        Ok(_) => return Ok(()),
        Err(ReadError::Store(error)) => return Err(error.into()),
        Err(why) => why,
    };
    runtime.block_on(location.store.delete(&object.key.to_string()))?;
    Err(CompactError::ReadBack {
        object: Box::new(object.key.clone()),
        why,
    })
}
