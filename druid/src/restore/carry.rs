//! One object from one store into another, checked as it passes: it appears only if it is whole.

use std::io::{self, Read, Write as _};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use druid_core::backup::listing::Object;
use druid_core::backup::names::{Key, Kind};
use druid_core::snapshot_file::Trailer;
use thiserror::Error;
use tokio::runtime::Handle;

use super::read::{self, Events, LIMIT, PIECE, ReadError};
use crate::backup::codec::unpack;
use crate::backup::upload::Sink;
use crate::store::location::Location;
use crate::store::{Store, StoreError};

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
    let store: Arc<dyn Store> = Arc::clone(&to.store);
    let (mut sink, body) = Sink::new(object.bytes);
    let name = key.to_string();
    let putting = runtime.spawn(async move { store.put(&name, body).await });
    let (pieces, received) = sync_channel(WAITING);
    let passed = std::thread::scope(|scope| {
        let checker =
            scope.spawn(move || check(object, unpack(codec, Pieces::new(received), LIMIT)));
        let passed = pass(&mut packed, &mut sink, &pieces);
        // The check sees the end of it.
        drop(pieces);
        let checked = checker.join().map_err(|_| CarryError::Died)?;
        // What the check says of damage is more than what reading says.
        checked.and(passed).map_err(CarryError::Read)
    });
    if passed.is_ok() {
        // Only now does the store hear of an end.
        let _ = sink.end();
    } else {
        drop(sink);
    }
    let put = runtime.block_on(putting).map_err(|_| CarryError::Died)?;
    match (passed, put) {
        (Ok(()), put) => Ok(put?),
        // A destination that takes no more is not the fault of the source.
        (Err(CarryError::Read(ReadError::Spool(_))), Err(error)) => Err(error.into()),
        (Err(error), _) => Err(error),
    }
}

/// Hands every packed piece to the destination and to the check.
fn pass(
    packed: &mut impl Read,
    sink: &mut Sink,
    pieces: &SyncSender<Vec<u8>>,
) -> Result<(), ReadError> {
    loop {
        let mut piece = vec![0; PIECE];
        let length = read::fill(packed, &mut piece).map_err(|it| read::classify(&it))?;
        if length == 0 {
            return Ok(());
        }
        piece.truncate(length);
        sink.write_all(&piece).map_err(ReadError::Spool)?;
        if pieces.send(piece).is_err() {
            // The check has ended and says why.
            return Ok(());
        }
    }
}

fn check(object: &Object, mut unpacked: impl Read) -> Result<(), ReadError> {
    let mut trailer = Trailer::new();
    let mut events = Events::new();
    let mut piece = vec![0; PIECE];
    let kind = object.key.name.kind();
    loop {
        let length = read::fill(&mut unpacked, &mut piece).map_err(|it| read::classify(&it))?;
        let piece = piece.get(..length).unwrap_or_default();
        match (kind, piece.is_empty()) {
            (Kind::Full, false) => trailer.feed(piece),
            (Kind::Delta { .. }, false) => events.take(piece, |_| Ok::<(), ReadError>(()))?,
            (Kind::Full, true) => {
                let digested = trailer.finish();
                return digested
                    .map(drop)
                    .map_err(|it| ReadError::Damaged(it.to_string()));
            }
            (Kind::Delta { .. }, true) => return events.finish(object).map(drop),
        }
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
