//! A store that remembers the digests of what was written through it last: whoever asked for an
//! object can be told what to expect of it. Nothing is read for that.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use sha2::{Digest as _, Sha256};
use tokio::sync::mpsc;

use super::{Answer, Body, Listed, Piece, Store};

/// How many digests are remembered.
const KNOWN: usize = 8;
/// Pieces between whoever writes and the store.
const PIECES: usize = 4;

/// Around another store.
#[derive(Debug)]
pub(crate) struct Digests {
    inner: Arc<dyn Store>,
    /// Keys and SHA-256, the newest last.
    known: Mutex<VecDeque<(String, String)>>,
}

impl Digests {
    /// Around this one.
    pub(crate) fn new(inner: Arc<dyn Store>) -> Self {
        Self {
            inner,
            known: Mutex::default(),
        }
    }

    /// The SHA-256 of the bytes of an object, in hexadecimal, if it was one of the last.
    pub(crate) fn of(&self, key: &str) -> Option<String> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let newest = known.iter().rev().find(|(it, _)| it == key);
        newest.map(|(_, digest)| digest.clone())
    }

    fn remember(&self, key: &str, digest: String) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() == KNOWN {
            known.pop_front();
        }
        known.push_back((key.to_owned(), digest));
    }
}

impl Store for Digests {
    fn list<'a>(&'a self, prefix: &'a str) -> Answer<'a, Vec<Listed>> {
        self.inner.list(prefix)
    }

    fn head<'a>(&'a self, key: &'a str) -> Answer<'a, Option<Listed>> {
        self.inner.head(key)
    }

    fn get<'a>(&'a self, key: &'a str, range: Range<u64>) -> Answer<'a, Bytes> {
        self.inner.get(key, range)
    }

    fn put<'a>(&'a self, key: &'a str, body: Body) -> Answer<'a, u64> {
        let (to, pieces) = mpsc::channel(PIECES);
        let at_most = body.at_most;
        let passed = self.inner.put(key, Body { pieces, at_most });
        Box::pin(async move {
            let (digest, written) = tokio::join!(pass(body.pieces, to), passed);
            let written = written?;
            if let Some(digest) = digest {
                self.remember(key, digest);
            }
            Ok(written)
        })
    }

    fn delete<'a>(&'a self, key: &'a str) -> Answer<'a, ()> {
        self.inner.delete(key)
    }
}

/// Hands pieces on. The digest, if the end was said and taken.
async fn pass(mut from: mpsc::Receiver<Piece>, to: mpsc::Sender<Piece>) -> Option<String> {
    let mut digest = Sha256::new();
    while let Some(piece) = from.recv().await {
        let end = match &piece {
            Piece::Bytes(bytes) => {
                digest.update(bytes);
                false
            }
            Piece::End => true,
        };
        to.send(piece).await.ok()?;
        if end {
            return Some(hex(&digest.finalize()));
        }
    }
    None
}

/// In hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        // Writing to a string does not fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::ErrorKind;
    use crate::store::local::Local;

    async fn put(store: &Digests, key: &str, pieces: Vec<Piece>) -> Result<u64, ErrorKind> {
        let (sender, received) = mpsc::channel(pieces.len().max(1));
        for piece in pieces {
            sender.send(piece).await.unwrap();
        }
        drop(sender);
        let body = Body {
            pieces: received,
            at_most: None,
        };
        store.put(key, body).await.map_err(|error| error.kind)
    }

    fn bytes(text: &'static str) -> Piece {
        Piece::Bytes(Bytes::from_static(text.as_bytes()))
    }

    #[tokio::test]
    async fn the_digest_of_what_was_written_is_known_for_a_while() {
        let root = tempfile::tempdir().unwrap();
        let store = Digests::new(Arc::new(Local::new(root.path().to_owned())));
        let whole = put(&store, "p/a", vec![bytes("ab"), bytes("c"), Piece::End]).await;
        assert_eq!(whole, Ok(3));
        // As `sha256sum` prints it.
        let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(store.of("p/a").as_deref(), Some(abc));
        assert_eq!(store.of("p/b"), None);

        let cut = put(&store, "p/b", vec![bytes("abc")]).await;
        assert_eq!(cut, Err(ErrorKind::Abandoned));
        assert_eq!(store.of("p/b"), None);

        for other in 0..KNOWN {
            let key = format!("p/{other}");
            assert_eq!(put(&store, &key, vec![Piece::End]).await, Ok(0));
        }
        assert_eq!(store.of("p/a"), None);
    }
}
