//! One object, read to its end: unpacked, its digest checked, its content handed on. Whatever is wrong
//! with it is either damage, which is the object's, or a failure, which is not.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, Read, Write as _};

use druid_core::backup::Revision;
use druid_core::backup::codec::{self, Codec, HEAD};
use druid_core::backup::delta::{Decoder, Event, Summary};
use druid_core::backup::listing::Object;
use druid_core::backup::names::Kind;
use druid_core::snapshot_file::{self, Digested, Extent, SnapshotDamage, Trailer, VerifyError};
use sha2::{Digest as _, Sha256};
use thiserror::Error;
use tokio::runtime::Handle;

use crate::backup::codec::{Limit, unpack};
use crate::read_at::FileAt;
use crate::store::StoreError;
use crate::store::location::Location;
use crate::store::read::{ObjectReader, store_error};

/// How much is unpacked at a time, bytes. The first piece has all that [`Extent`] wants.
pub(super) const PIECE: usize = 2 * Extent::HEAD;

/// Eight times the largest database that etcd's documentation advises. Deflate can make 1032 bytes of
/// one, and a database of equal values comes near to that.
pub(super) const LIMIT: Limit = Limit {
    bytes: 64 << 30,
    ratio: 1100,
};

/// Why an object gave less than all of its content.
#[derive(Debug, Error)]
pub(crate) enum ReadError {
    /// Its bytes are not what was written, or were never whole.
    #[error("{0}")]
    Damaged(String),
    /// The store did not give it.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// What was unpacked could not be kept.
    #[error("cannot keep what was unpacked: {0}; give a directory with room for the database")]
    Spool(io::Error),
}

/// A full snapshot on this machine's disk, whole.
#[derive(Debug)]
pub(crate) struct Base {
    /// The database with its digest; the file has no name any more.
    pub(crate) file: FileAt,
    /// What is in it.
    pub(crate) facts: snapshot_file::SnapshotFacts,
    /// The revision that it holds.
    pub(crate) holds: Revision,
}

/// The packed bytes of an object, with what its name says of the codec checked against what it
/// begins with.
pub(super) fn open(
    runtime: &Handle,
    location: &Location,
    object: &Object,
) -> Result<(Codec, impl Read + Send + use<>), ReadError> {
    let key = object.key.to_string();
    let Some(named) = object.codec() else {
        let flaw = object.flaw().map(|it| it.to_string());
        return Err(ReadError::Damaged(flaw.unwrap_or_default()));
    };
    let store = location.store.clone();
    let mut packed = ObjectReader::open(runtime, store, key.clone(), object.bytes);
    let mut head = Vec::with_capacity(HEAD);
    packed
        .by_ref()
        .take(HEAD as u64)
        .read_to_end(&mut head)
        .map_err(|error| classify(&error))?;
    codec::check(&key, named, &head).map_err(|it| ReadError::Damaged(it.to_string()))?;
    Ok((named, io::Cursor::new(head).chain(packed)))
}

/// What an error of an unpacking reader is: the store's, or the object's.
pub(super) fn classify(error: &io::Error) -> ReadError {
    match store_error(error) {
        Some(failure) => ReadError::Store(failure.clone()),
        None => ReadError::Damaged(error.to_string()),
    }
}

/// Reads a full snapshot into a file without a name in `directory`, checks its digest on the way and
/// then every page of it.
pub(crate) fn base(
    runtime: &Handle,
    location: &Location,
    object: &Object,
    directory: &std::path::Path,
    mut progress: impl FnMut(u64),
) -> Result<Base, ReadError> {
    let (codec, packed) = open(runtime, location, object)?;
    let mut unpacked = unpack(codec, packed, LIMIT);
    let mut spool = tempfile::tempfile_in(directory).map_err(ReadError::Spool)?;
    let damaged = |it: SnapshotDamage| ReadError::Damaged(it.to_string());
    let (mut trailer, mut extent, mut bytes) = (Trailer::new(), None, 0);
    each_piece(&mut unpacked, |piece| {
        let known = extent.map_or_else(|| Extent::of(piece), Ok);
        let known = known.map_err(damaged)?;
        bytes += piece.len() as u64;
        known.admit(bytes).map_err(damaged)?;
        extent = Some(known);
        trailer.feed(piece);
        spool.write_all(piece).map_err(ReadError::Spool)?;
        progress(piece.len() as u64);
        Ok(())
    })?;
    let digested = trailer.finish().map_err(damaged)?;
    checked(object, spool, digested)
}

/// The SHA-256 of an object as it is stored, in hexadecimal.
pub(crate) fn stored_digest(
    runtime: &Handle,
    location: &Location,
    object: &Object,
) -> Result<String, ReadError> {
    let (_, mut packed) = open(runtime, location, object)?;
    let mut digest = Sha256::new();
    each_piece(&mut packed, |piece| {
        digest.update(piece);
        Ok(())
    })?;
    let mut text = String::new();
    for byte in digest.finalize() {
        // Writing to a text cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    Ok(text)
}

/// Every page, and whether it is what its name says.
fn checked(object: &Object, spool: File, digested: Digested) -> Result<Base, ReadError> {
    let file = FileAt::new(spool).map_err(ReadError::Spool)?;
    let facts = snapshot_file::facts(&file, digested).map_err(|error| match error {
        VerifyError::Damage(damage) => ReadError::Damaged(damage.to_string()),
        VerifyError::Read(error) => ReadError::Spool(error),
    })?;
    let named = object.key.name.last();
    match Revision::new(facts.revision).filter(|holds| *holds >= named) {
        Some(holds) => Ok(Base { file, facts, holds }),
        None => Err(ReadError::Damaged(format!(
            "it is named for revision {named} and reaches only {}",
            facts.revision
        ))),
    }
}

/// Hands on what is read, to its end. `take` may stop it with an error of its own.
pub(super) fn each_piece(
    from: &mut impl Read,
    mut take: impl FnMut(&[u8]) -> Result<(), ReadError>,
) -> Result<(), ReadError> {
    let mut piece = vec![0; PIECE];
    loop {
        let length = fill(from, &mut piece).map_err(|it| classify(&it))?;
        if length == 0 {
            return Ok(());
        }
        take(&piece[..length])?;
    }
}

/// Reads until the piece is full or the end is reached.
pub(super) fn fill(from: &mut impl Read, piece: &mut [u8]) -> io::Result<usize> {
    let mut length = 0;
    while length < piece.len() {
        match from.read(&mut piece[length..]) {
            Ok(0) => break,
            Ok(more) => length += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(length)
}

/// Takes the pieces of an unpacked delta and hands its events on; at the end it is certain that
/// they were all, and as written.
#[derive(Debug)]
pub(super) struct Events {
    decoder: Decoder,
}

impl Events {
    pub(super) fn new() -> Self {
        Self {
            decoder: Decoder::new(Decoder::LIMIT),
        }
    }

    /// Every event that is whole with this piece. `each` may stop it with an error of its own.
    pub(super) fn take<E: From<ReadError>>(
        &mut self,
        piece: &[u8],
        mut each: impl FnMut(&Event<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        self.decoder.feed(piece);
        loop {
            let event = self.decoder.next_event();
            match event.map_err(|it| ReadError::Damaged(it.to_string()))? {
                Some(event) => each(&event)?,
                None => return Ok(()),
            }
        }
    }

    /// Whether it came to its end, and covers what its name says.
    pub(super) fn finish(self, object: &Object) -> Result<Summary, ReadError> {
        let damaged =
            |it: druid_core::backup::delta::DeltaDamage| ReadError::Damaged(it.to_string());
        let summary = self.decoder.finish().map_err(damaged)?;
        if let Kind::Delta { start } = object.key.name.kind() {
            summary
                .check(start, object.key.name.last())
                .map_err(damaged)?;
        }
        Ok(summary)
    }
}

/// Reads a delta to its end and keeps nothing of it.
pub(crate) fn delta(
    runtime: &Handle,
    location: &Location,
    object: &Object,
    progress: impl FnMut(u64),
) -> Result<Summary, ReadError> {
    let (codec, packed) = open(runtime, location, object)?;
    drain(&mut unpack(codec, packed, LIMIT), object, progress)
}

/// Reads an unpacked delta to its end and keeps nothing of it.
pub(super) fn drain(
    unpacked: &mut impl Read,
    object: &Object,
    mut progress: impl FnMut(u64),
) -> Result<Summary, ReadError> {
    let mut events = Events::new();
    each_piece(unpacked, |piece| {
        events.take(piece, |_| Ok::<(), ReadError>(()))?;
        progress(piece.len() as u64);
        Ok(())
    })?;
    events.finish(object)
}
