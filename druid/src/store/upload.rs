//! An upload as a blocking writer, for code that compresses on a thread of its own.

use std::io::{self, Write};
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};

use super::{Body, ErrorKind, Piece, Store, StoreError};

/// How much is collected before it is handed on, bytes.
const PIECE: usize = 256 << 10;

/// How many pieces wait at most.
const WAITING: usize = 2;

/// An object on its way into a store. It is there once [`Upload::finish`] has succeeded; dropped
/// before, it never is.
///
/// Only for threads that may block.
#[derive(Debug)]
pub(crate) struct Upload {
    key: String,
    collected: BytesMut,
    pieces: mpsc::Sender<Piece>,
    end: Option<oneshot::Receiver<Result<u64, StoreError>>>,
}

impl Upload {
    /// Begins. `at_most` is how many bytes there can be, if that is known.
    pub(crate) fn start(
        runtime: &Handle,
        store: Arc<dyn Store>,
        key: String,
        at_most: Option<u64>,
    ) -> Self {
        let (pieces, receiver) = mpsc::channel(WAITING);
        let (answer, end) = oneshot::channel();
        let name = key.clone();
        runtime.spawn(async move {
            let body = Body {
                pieces: receiver,
                at_most,
            };
            // That nobody listens any more is all that can fail.
            let _ = answer.send(store.put(&name, body).await);
        });
        Self {
            key,
            collected: BytesMut::with_capacity(PIECE),
            pieces,
            end: Some(end),
        }
    }

    /// Says that there are no more bytes, and waits until the object is there. Returns its size.
    pub(crate) fn finish(mut self) -> Result<u64, StoreError> {
        let rest = self.collected.split().freeze();
        if !rest.is_empty() && self.pieces.blocking_send(Piece::Bytes(rest)).is_err() {
            return Err(self.why());
        }
        if self.pieces.blocking_send(Piece::End).is_err() {
            return Err(self.why());
        }
        self.answer()
    }

    fn hand_on(&mut self, piece: Bytes) -> io::Result<()> {
        let sent = self.pieces.blocking_send(Piece::Bytes(piece));
        sent.map_err(|_| io::Error::other(self.why()))
    }

    /// Why the store takes no more.
    fn why(&mut self) -> StoreError {
        self.answer().err().unwrap_or_else(|| stopping(&self.key))
    }

    /// What the store answered in the end. It says so once.
    fn answer(&mut self) -> Result<u64, StoreError> {
        let end = self.end.take().and_then(|it| it.blocking_recv().ok());
        end.unwrap_or_else(|| Err(stopping(&self.key)))
    }
}

fn stopping(key: &str) -> StoreError {
    StoreError {
        verb: "write",
        object: key.to_owned(),
        kind: ErrorKind::Other("the program is stopping".to_owned()),
    }
}

impl Write for Upload {
    fn write(&mut self, from: &[u8]) -> io::Result<usize> {
        let room = PIECE - self.collected.len();
        let taken = from.len().min(room);
        self.collected.extend_from_slice(&from[..taken]);
        if self.collected.len() == PIECE {
            let full = std::mem::replace(&mut self.collected, BytesMut::with_capacity(PIECE));
            self.hand_on(full.freeze())?;
        }
        Ok(taken)
    }

    /// Does nothing: what is written counts only once it is finished.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
