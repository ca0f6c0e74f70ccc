//! From threads that block to the body of an object.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use tokio::sync::mpsc;

use crate::store::{Body, ErrorKind, Piece, Store, StoreError};

/// The size of a piece.
const PIECE: usize = 256 << 10;
/// Pieces between the two sides.
const PIECES: usize = 4;

/// Where a thread writes the bytes of an object. What is dropped without [`Self::end`] is no
/// object.
pub(crate) struct Sink {
    pieces: mpsc::Sender<Piece>,
    piece: BytesMut,
}

impl Sink {
    /// One, and what the store is to read.
    pub(crate) fn new(at_most: Option<u64>) -> (Self, Body) {
        let (sender, pieces) = mpsc::channel(PIECES);
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

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Uploads a file that has `bytes` bytes. It can be done again.
pub(crate) async fn upload(
    store: &dyn Store,
    key: &str,
    file: &Arc<File>,
    bytes: u64,
) -> Result<u64, StoreError> {
    let (sender, pieces) = mpsc::channel(PIECES);
    let file = Arc::clone(file);
    let reader = tokio::task::spawn_blocking(move || read(&file, bytes, &sender));
    let body = Body {
        pieces,
        at_most: Some(bytes),
    };
    let written = store.put(key, body).await;
    let read = match reader.await {
        Ok(read) => read,
        Err(error) => Err(io::Error::other(error)),
    };
    match (written, read) {
        (Ok(written), _) => Ok(written),
        (Err(error), Err(why)) if error.kind == ErrorKind::Abandoned => Err(StoreError {
            kind: ErrorKind::Other(format!("its temporary file cannot be read: {why}")),
            ..error
        }),
        (Err(error), Ok(()) | Err(_)) => Err(error),
    }
}

fn read(file: &File, bytes: u64, pieces: &mpsc::Sender<Piece>) -> io::Result<()> {
    let gone = |_| io::Error::from(io::ErrorKind::BrokenPipe);
    let mut at = 0;
    while at < bytes {
        let size = usize::try_from(bytes - at).unwrap_or(PIECE).min(PIECE);
        let mut piece = vec![0; size];
        file.read_exact_at(&mut piece, at)?;
        at += size as u64;
        let piece = Piece::Bytes(Bytes::from(piece));
        pieces.blocking_send(piece).map_err(gone)?;
    }
    pieces.blocking_send(Piece::End).map_err(gone)
}
