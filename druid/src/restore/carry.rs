//! One object from one store into another, checked as it passes: it appears only if it is whole.

use std::io::{self, Read, Write as _};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use druid_core::backup::listing::Object;
use druid_core::backup::names::{Key, Kind};
use druid_core::snapshot_file::Trailer;
use thiserror::Error;
use tokio::runtime::Handle;

use super::read::{self, LIMIT, PIECE, ReadError};
use crate::backup::codec::unpack;
use crate::store::StoreError;
use crate::store::location::Location;
use crate::store::read::store_error;
use crate::store::upload::Upload;

/// Why an object was not copied; nothing of it is at the destination.
#[derive(Debug, Error)]
pub(crate) enum CarryError {
    /// It was not read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// It was not written.
    #[error(transparent)]
    Write(#[from] StoreError),
    /// A thread died.
    #[error("whoever copies died")]
    Died,
}

/// Packed pieces that wait to be checked.
const WAITING: usize = 4;

/// Copies, from a thread that may block. Returns the size.
pub(crate) fn carry(
    runtime: &Handle,
    from: &Location,
    object: &Object,
    to: &Location,
    key: &Key,
) -> Result<u64, CarryError> {
    let (codec, mut packed) = read::open(runtime, from, object)?;
    let store = Arc::clone(&to.store);
    let mut upload = Upload::start(runtime, store, key.to_string(), object.bytes);
    let (pieces, received) = sync_channel(WAITING);
    let passed = std::thread::scope(|scope| {
        let checker =
            scope.spawn(move || check(object, unpack(codec, Pieces::new(received), LIMIT)));
        let passed = pass(&mut packed, &mut upload, &pieces);
        // The check sees the end of it.
        drop(pieces);
        let checked = checker.join().map_err(|_| CarryError::Died)?;
        // Of what was not passed on the check knows only that it ends too early.
        passed.and(checked.map_err(CarryError::Read))
    });
    // Only now does the store hear of an end.
    match passed {
        Ok(()) => Ok(upload.finish()?),
        Err(error) => {
            upload.abandon();
            Err(error)
        }
    }
}

/// Hands every packed piece to the destination and to the check.
fn pass(
    packed: &mut impl Read,
    upload: &mut Upload,
    pieces: &SyncSender<Vec<u8>>,
) -> Result<(), CarryError> {
    loop {
        let mut piece = vec![0; PIECE];
        let length = read::fill(packed, &mut piece).map_err(|it| read::classify(&it))?;
        if length == 0 {
            return Ok(());
        }
        piece.truncate(length);
        upload
            .write_all(&piece)
            .map_err(|error| match store_error(&error) {
                Some(failure) => CarryError::Write(failure.clone()),
                None => CarryError::Died,
            })?;
        if pieces.send(piece).is_err() {
            // The check has ended and says why.
            return Ok(());
        }
    }
}

fn check(object: &Object, mut unpacked: impl Read) -> Result<(), ReadError> {
    match object.key.name.kind() {
        Kind::Full => {
            let mut trailer = Trailer::new();
            read::each_piece(&mut unpacked, |piece| {
                trailer.feed(piece);
                Ok(())
            })?;
            let digested = trailer.finish();
            digested
                .map(drop)
                .map_err(|it| ReadError::Damaged(it.to_string()))
        }
        Kind::Delta { .. } => read::drain(&mut unpacked, object, |_| ()).map(drop),
    }
}

/// What comes through a channel, as a reader.
struct Pieces {
    received: Receiver<Vec<u8>>,
    current: io::Cursor<Vec<u8>>,
}

impl Pieces {
    fn new(received: Receiver<Vec<u8>>) -> Self {
        Self {
            received,
            current: io::Cursor::default(),
        }
    }
}

impl Read for Pieces {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        loop {
            let length = self.current.read(to)?;
            if length > 0 || to.is_empty() {
                return Ok(length);
            }
            match self.received.recv() {
                Ok(piece) => self.current = io::Cursor::new(piece),
                Err(_) => return Ok(0),
            }
        }
    }
}
