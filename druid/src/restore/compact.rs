//! The newest chain as one full snapshot, without what a compaction removes and without an etcd.

use std::fs::File;
use std::io::{self, Write as _};
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;

use druid_core::backup::codec::Codec;
use druid_core::backup::compaction::{self, CompactionError};
use druid_core::backup::database::CopyError;
use druid_core::backup::listing::Object;
use druid_core::backup::names::{Key, Name, UnixSeconds};
use druid_core::backup::replay::Plan;
use druid_core::bolt::{DrainError, Drained, PageSize, ReadAt as _};
use jiff::{SignedDuration, Timestamp};
use sha2::{Digest as _, Sha256};
use thiserror::Error;
use tokio::runtime::Handle;

use super::database::{self, Progress, Replayed, RestoreError, Source};
use super::read::{self, PIECE, ReadError};
use crate::backup::codec::{Packer, Packing};
use crate::backup::upload::Sink;
use crate::read_at::FileAt;
use crate::store::{Store, StoreError};

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
    /// It could not be kept here.
    #[error("{}: {source}; free some space, or give another directory", path.display())]
    Disk {
        /// Where.
        path: std::path::PathBuf,
        /// What the system says.
        source: io::Error,
    },
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
    let disk = |error| CompactError::Disk {
        path: source.spool.to_owned(),
        source: error,
    };
    let whole = tempfile::tempfile_in(source.spool).map_err(disk)?;
    // Whoever restores it gives it members of its own.
    let plan = Plan {
        members: std::collections::BTreeMap::new(),
        consistent_index: 1,
        unknown_ttl: Plan::UNKNOWN_TTL,
        bump: None,
    };
    let replayed = database::replay(source, &plan, &whole, progress)?;
    let whole = FileAt::new(whole).map_err(disk)?;
    let smaller = tempfile::tempfile_in(source.spool).map_err(disk)?;
    let (report, unpacked) = shrink(&whole, &smaller, source)?;
    drop(whole);
    let is_final = replayed.chain.base.key.name.is_final();
    let key = |created| {
        let name = Name::full(report.revision, created, Codec::Gzip, is_final);
        Key::new(&source.location.prefix, name)
    };
    let key = unused(source, now, created, key);
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

/// The key for now, or for some seconds later if the store has an object of that name: that would be
/// written over.
fn unused(
    source: &Source<'_>,
    now: Timestamp,
    created: UnixSeconds,
    key: impl Fn(UnixSeconds) -> Key,
) -> Key {
    let taken = |key: &Key| source.listing.snapshots().iter().any(|it| it.key == *key);
    let later = |seconds| now.saturating_add(SignedDuration::from_secs(seconds)).ok();
    let times = (1..).map_while(later).map_while(UnixSeconds::of);
    let mut keys = std::iter::once(created).chain(times).map(&key);
    keys.find(|it| !taken(it)).unwrap_or_else(|| key(created))
}

fn shrink(
    whole: &FileAt,
    into: &File,
    source: &Source<'_>,
) -> Result<(compaction::Report, u64), CompactError> {
    let disk = |error| CompactError::Disk {
        path: source.spool.to_owned(),
        source: error,
    };
    let mut at = 2 * PageSize::DEFAULT.bytes();
    let mut sink = Drained::new(PageSize::DEFAULT, |pages: &mut Vec<u8>| {
        into.write_all_at(pages, at)?;
        at += pages.len() as u64;
        pages.clear();
        Ok::<(), io::Error>(())
    });
    let report = compaction::compact(whole, &mut sink).map_err(|error| match error {
        CompactionError::Copy(
            CopyError::Read(error) | CopyError::Write(DrainError::Drain(error)),
        ) => disk(error),
        error @ (CompactionError::Copy(_) | CompactionError::TooManyRows) => {
            CompactError::Compaction(error.to_string())
        }
    })?;
    let finish = sink.finish().map_err(disk)?;
    into.write_all_at(&finish.metas, 0).map_err(disk)?;
    Ok((report, finish.bytes))
}

/// The database and its digest, packed.
fn upload(
    source: &Source<'_>,
    key: &Key,
    database: &FileAt,
    bytes: u64,
) -> Result<u64, CompactError> {
    let store: Arc<dyn Store> = Arc::clone(&source.location.store);
    // Packing may make it larger, by little.
    let (sink, body) = Sink::new(Some(bytes + bytes / 100 + (1 << 20)));
    let name = key.to_string();
    let putting = source
        .runtime
        .spawn(async move { store.put(&name, body).await });
    let packed = pack(database, bytes, sink);
    let put = wait(source.runtime, putting);
    match (put, packed) {
        (Some(Ok(bytes)), Ok(())) => Ok(bytes),
        (_, Err(error)) if error.kind() != io::ErrorKind::BrokenPipe => Err(CompactError::Disk {
            path: source.spool.to_owned(),
            source: error,
        }),
        (Some(Err(error)), _) => Err(error.into()),
        (Some(Ok(_)), Err(error)) => Err(CompactError::Compaction(error.to_string())),
        (None, _) => Err(CompactError::Compaction("the upload died".to_owned())),
    }
}

/// The answer of a task, from a thread that may block.
fn wait<T>(runtime: &Handle, task: tokio::task::JoinHandle<T>) -> Option<T> {
    runtime.block_on(task).ok()
}

fn pack(database: &FileAt, bytes: u64, sink: Sink) -> io::Result<()> {
    let mut packer = Packer::new(Packing::Gzip, THREADS, sink)?;
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
    packer.finish()?.end()
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
