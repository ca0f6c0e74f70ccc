//! Into a store from threads that block: code that compresses, on a thread of its own.

use std::io::{self, Write};
use std::sync::Arc;

use bytes::BytesMut;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};

use super::{Body, ErrorKind, Piece, Store, StoreError};

/// How much is collected before it is handed on, bytes.
const PIECE: usize = 256 << 10;

/// How many pieces wait at most.
const WAITING: usize = 4;

/// Where a thread writes the bytes of an object. What is dropped without [`Self::end`] is no
/// object. For who waits for the store elsewhere; [`Upload`] does both.
#[derive(Debug)]
pub(crate) struct Sink {
    pieces: mpsc::Sender<Piece>,
    piece: BytesMut,
}

impl Sink {
    /// One, and what the store is to read. `at_most` is how many bytes there can be, if that is
    /// known.
    pub(crate) fn new(at_most: Option<u64>) -> (Self, Body) {
        let (sender, pieces) = mpsc::channel(WAITING);
        let sink = Self {
            pieces: sender,
            piece: BytesMut::with_capacity(PIECE),
        };
        (sink, Body { pieces, at_most })
    }

    /// Says that this is all.
    pub(crate) fn end(mut self) -> io::Result<()> {
        self.send()?;
        self.give(Piece::End)
    }

    fn send(&mut self) -> io::Result<()> {
        if self.piece.is_empty() {
            return Ok(());
        }
        let piece = std::mem::replace(&mut self.piece, BytesMut::with_capacity(PIECE));
        self.give(Piece::Bytes(piece.freeze()))
    }

    fn give(&self, piece: Piece) -> io::Result<()> {
        let gone = |_| io::Error::new(io::ErrorKind::BrokenPipe, "the store reads no more");
        self.pieces.blocking_send(piece).map_err(gone)
    }
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let (now, _) = bytes.split_at(bytes.len().min(PIECE - self.piece.len()));
        self.piece.extend_from_slice(now);
        if self.piece.len() == PIECE {
            self.send()?;
        }
        Ok(now.len())
    }

    /// Does nothing: what is written counts only once it is finished.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// An object on its way into a store. It is there once [`Upload::finish`] has succeeded; dropped
/// before, it never is.
///
/// Only for threads that may block.
#[derive(Debug)]
pub(crate) struct Upload {
    sink: Sink,
    answer: Answered,
}

/// What the store answers in the end. It says so once.
#[derive(Debug)]
struct Answered {
    key: String,
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
        let (sink, body) = Sink::new(at_most);
        let (answer, end) = oneshot::channel();
        let name = key.clone();
        runtime.spawn(async move {
            // That nobody listens any more is all that can fail.
            let _ = answer.send(store.put(&name, body).await);
        });
        let end = Some(end);
        Self {
            sink,
            answer: Answered { key, end },
        }
    }

    /// Says that there are no more bytes, and waits until the object is there. Returns its size.
    pub(crate) fn finish(mut self) -> Result<u64, StoreError> {
        match self.sink.end() {
            Ok(()) => self.answer.wait(),
            Err(_) => Err(self.answer.why()),
        }
    }

    /// Gives up, and waits until the store has cleared away what came.
    pub(crate) fn abandon(mut self) {
        drop(self.sink);
        // It says that the writer gave up, which is known.
        let _ = self.answer.wait();
    }
}

impl Answered {
    /// Why the store takes no more.
    fn why(&mut self) -> StoreError {
        self.wait().err().unwrap_or_else(|| stopping(&self.key))
    }

    fn wait(&mut self) -> Result<u64, StoreError> {
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

/// Errors have that of the store inside: see [`super::read::store_error`].
impl Write for Upload {
    fn write(&mut self, from: &[u8]) -> io::Result<usize> {
        let written = self.sink.write(from);
        written.map_err(|_| io::Error::other(self.answer.why()))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
