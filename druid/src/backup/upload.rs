//! A file as the body of an object.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::mpsc;

use crate::store::{Body, ErrorKind, Piece, Store, StoreError};

/// The size of a piece.
const PIECE: usize = 256 << 10;
/// Pieces between the two sides.
const PIECES: usize = 4;

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
