//! One chain into one file. Unpacking is half of the work, and is done on a thread of its own.

use std::fs::File;
use std::io;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use druid_core::backup::database::CopyError;
use druid_core::backup::listing::{Chain, Delta, Object};
use druid_core::backup::names::Key;
use druid_core::backup::replay::{Plan, Replay, ReplayError, Report};
use druid_core::bolt::{DrainError, Sink};
use druid_core::snapshot_file::Database;

use super::database::{Progress, Source};
use super::output::{close, into_file};
use super::read::{self, Base, Events, PIECE, ReadError};
use crate::backup::codec::unpack;
use crate::read_at::FileAt;

/// Pieces that wait for the one who replays; with their size of 256 KiB no delta is ever in memory.
const WAITING: usize = 8;

/// Why a chain was not replayed.
#[derive(Debug)]
pub(super) enum Failure {
    /// Because of this object.
    Object(Box<Key>, ReadError),
    /// The file could not be written.
    Output(io::Error),
    /// What is asked for cannot be.
    Plan(String),
}

/// What comes from the thread that unpacks.
enum Piece {
    Bytes(Vec<u8>),
    End,
    Failed(ReadError),
}

/// Replays a base and its deltas. Returns what was done and the size of the database.
pub(super) fn chain(
    source: &Source<'_>,
    base: &Base,
    chain: &Chain,
    plan: &Plan,
    into: &File,
    progress: &mut dyn FnMut(Progress<'_>),
) -> Result<(Report, u64), Failure> {
    into.set_len(0).map_err(Failure::Output)?;
    let mut sink = into_file(into);
    let of_base = |error| of_copy(&chain.base.key, error);
    let database = Database::of(&base.file);
    let mut replay = Replay::begin(database, plan.clone(), &mut sink).map_err(of_base)?;
    deltas(source, chain, &mut replay, &mut sink, progress)?;
    let report = replay.finish(&mut sink);
    let report = report.map_err(|error| of_replay(&chain.base.key, error))?;
    let bytes = close(sink, into).map_err(Failure::Output)?;
    Ok((report, bytes))
}

/// The deltas of a chain, unpacked on one thread and replayed on this one.
fn deltas<K: Sink<Error = DrainError<io::Error>>>(
    source: &Source<'_>,
    chain: &Chain,
    replay: &mut Replay<Database<&FileAt>>,
    sink: &mut K,
    progress: &mut dyn FnMut(Progress<'_>),
) -> Result<(), Failure> {
    let (pieces, received) = sync_channel(WAITING);
    std::thread::scope(|scope| {
        scope.spawn(move || unpack_all(source, &chain.deltas, &pieces));
        for (number, delta) in (1..).zip(&chain.deltas) {
            let key = &delta.object.key;
            progress(Progress::Delta(key, number, chain.deltas.len()));
            replay.delta();
            one(&delta.object, &received, replay, sink, progress)?;
        }
        // Given back here, so that a thread that still waits for room ends.
        drop(received);
        Ok(())
    })
}

fn one<K: Sink<Error = DrainError<io::Error>>>(
    object: &Object,
    received: &Receiver<Piece>,
    replay: &mut Replay<Database<&FileAt>>,
    sink: &mut K,
    progress: &mut dyn FnMut(Progress<'_>),
) -> Result<(), Failure> {
    let of_object = |error| Failure::Object(Box::new(object.key.clone()), error);
    let mut events = Events::new();
    loop {
        match received.recv() {
            Ok(Piece::Bytes(bytes)) => {
                let mut failed = None;
                let taken = events.take(&bytes, |event| {
                    replay.event(event, sink).map_err(|error| {
                        failed = Some(of_replay(&object.key, error));
                        ReadError::Damaged(String::new())
                    })
                });
                if let Some(failed) = failed {
                    return Err(failed);
                }
                taken.map_err(of_object)?;
                progress(Progress::Bytes(bytes.len() as u64));
            }
            Ok(Piece::End) => return events.finish(object).map(drop).map_err(of_object),
            Ok(Piece::Failed(error)) => return Err(of_object(error)),
            Err(_) => {
                let died = io::Error::other("the thread that unpacks died");
                return Err(Failure::Output(died));
            }
        }
    }
}

/// Sends the pieces of each delta and its end, as long as somebody takes them.
fn unpack_all(source: &Source<'_>, deltas: &[Delta], pieces: &SyncSender<Piece>) {
    for delta in deltas {
        let end = match unpack_one(source, &delta.object, pieces) {
            Ok(true) => Piece::End,
            Ok(false) => return,
            Err(error) => Piece::Failed(error),
        };
        let failed = matches!(end, Piece::Failed(_));
        if pieces.send(end).is_err() || failed {
            return;
        }
    }
}

/// `false` if nobody listens any more.
fn unpack_one(
    source: &Source<'_>,
    object: &Object,
    pieces: &SyncSender<Piece>,
) -> Result<bool, ReadError> {
    let (codec, packed) = read::open(source.runtime, source.location, object)?;
    let mut unpacked = unpack(codec, packed, read::LIMIT);
    loop {
        let mut piece = vec![0; PIECE];
        let length = read::fill(&mut unpacked, &mut piece).map_err(|it| read::classify(&it))?;
        if length == 0 {
            return Ok(true);
        }
        piece.truncate(length);
        if pieces.send(Piece::Bytes(piece)).is_err() {
            return Ok(false);
        }
    }
}

fn of_replay(key: &Key, error: ReplayError<io::Error, DrainError<io::Error>>) -> Failure {
    match error {
        ReplayError::Copy(error) => of_copy(key, error),
        ReplayError::Hole { .. } => {
            Failure::Object(Box::new(key.clone()), ReadError::Damaged(error.to_string()))
        }
        ReplayError::Bump { .. } => Failure::Plan(format!("--bump-revision: {error}")),
    }
}

fn of_copy(key: &Key, error: CopyError<io::Error, DrainError<io::Error>>) -> Failure {
    let of_object = |error| Failure::Object(Box::new(key.clone()), error);
    match error {
        CopyError::Read(error) => of_object(ReadError::Spool(error)),
        CopyError::Write(DrainError::Drain(error)) => Failure::Output(error),
        CopyError::Write(DrainError::Row(error)) => {
            of_object(ReadError::Damaged(error.to_string()))
        }
        CopyError::Damage(_)
        | CopyError::NotEtcd
        | CopyError::NotARevision { .. }
        | CopyError::Record { .. } => of_object(ReadError::Damaged(error.to_string())),
    }
}
