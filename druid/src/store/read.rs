//! An object as a blocking reader, for code that decompresses and parses on a thread of its own.

use std::io::{self, Read};
use std::ops::Range;
use std::sync::Arc;

use bytes::{Buf as _, Bytes};
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use super::{ErrorKind, Store, StoreError};

/// How much is asked for at once, bytes. A connection that is cut costs this much.
const RANGE: u64 = 4 << 20;

/// An object from its start to its end. Ranges are asked for ahead: two are on their way while one
/// is read, so that it holds 12 MiB at most. Each is tried again as the store does it, so a
/// connection that is cut is taken up where it stopped.
///
/// Only for threads that may block.
#[derive(Debug)]
pub(crate) struct ObjectReader {
    current: Bytes,
    ranges: mpsc::Receiver<oneshot::Receiver<Result<Bytes, StoreError>>>,
    task: JoinHandle<()>,
    failed: Option<StoreError>,
}

impl ObjectReader {
    /// Begins to read. `bytes` is the size that the listing gave; without one the object is asked.
    pub(crate) fn open(
        runtime: &Handle,
        store: Arc<dyn Store>,
        key: String,
        bytes: Option<u64>,
    ) -> Self {
        Self::with_ranges(runtime, store, key, bytes, RANGE)
    }

    pub(super) fn with_ranges(
        runtime: &Handle,
        store: Arc<dyn Store>,
        key: String,
        bytes: Option<u64>,
        range: u64,
    ) -> Self {
        let (sender, ranges) = mpsc::channel(1);
        let task = runtime.spawn(ask(store, key, bytes, range, sender));
        Self {
            current: Bytes::new(),
            ranges,
            task,
            failed: None,
        }
    }

    /// Waits for the next range. `false` at the end.
    fn next(&mut self) -> Result<bool, StoreError> {
        let Some(answer) = self.ranges.blocking_recv() else {
            return Ok(false);
        };
        self.current = answer.blocking_recv().unwrap_or_else(|_| {
            Err(StoreError {
                verb: "read",
                object: "the object".to_owned(),
                kind: ErrorKind::Other("the program is stopping".to_owned()),
            })
        })?;
        Ok(true)
    }
}

impl Read for ObjectReader {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        if let Some(error) = &self.failed {
            return Err(io::Error::other(error.clone()));
        }
        while self.current.is_empty() && !to.is_empty() {
            match self.next() {
                Ok(true) => {}
                Ok(false) => return Ok(0),
                Err(error) => {
                    // What comes after a range that is missing must not be taken for the next bytes.
                    self.failed = Some(error.clone());
                    self.task.abort();
                    return Err(io::Error::other(error));
                }
            }
        }
        let length = to.len().min(self.current.len());
        self.current.copy_to_slice(&mut to[..length]);
        Ok(length)
    }
}

impl Drop for ObjectReader {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The error of a store inside an error of [`ObjectReader`] or [`super::upload::Upload`].
pub(crate) fn store_error(error: &io::Error) -> Option<&StoreError> {
    error.get_ref()?.downcast_ref()
}

/// Asks for one range after the other, not waiting for the answers.
async fn ask(
    store: Arc<dyn Store>,
    key: String,
    bytes: Option<u64>,
    range: u64,
    ranges: mpsc::Sender<oneshot::Receiver<Result<Bytes, StoreError>>>,
) {
    let size = match bytes {
        Some(bytes) => Ok(bytes),
        None => size(&*store, &key).await,
    };
    let size = match size {
        Ok(size) => size,
        Err(error) => {
            let (answer, ready) = oneshot::channel();
            // That nobody listens any more is all that can fail.
            let _ = answer.send(Err(error));
            let _ = ranges.send(ready).await;
            return;
        }
    };
    let mut start = 0;
    while start < size {
        let end = size.min(start + range);
        let Ok(room) = ranges.reserve().await else {
            return;
        };
        let (answer, ready) = oneshot::channel();
        let (store, key) = (Arc::clone(&store), key.clone());
        tokio::spawn(async move {
            let mut answer = answer;
            tokio::select! {
                got = whole(&*store, &key, start..end, size) => {
                    let _ = answer.send(got);
                }
                () = answer.closed() => {}
            }
        });
        room.send(ready);
        start = end;
    }
}

async fn size(store: &dyn Store, key: &str) -> Result<u64, StoreError> {
    let not_there = || StoreError {
        verb: "read",
        object: key.to_owned(),
        kind: ErrorKind::NotFound,
    };
    let found = store.head(key).await?.ok_or_else(not_there)?;
    let no_size = || StoreError {
        verb: "read",
        object: key.to_owned(),
        kind: ErrorKind::Other("the store does not say how large it is".to_owned()),
    };
    found.bytes.ok_or_else(no_size)
}

/// A range, all of it.
async fn whole(
    store: &dyn Store,
    key: &str,
    range: Range<u64>,
    size: u64,
) -> Result<Bytes, StoreError> {
    let got = store.get(key, range.clone()).await?;
    let end = range.start + got.len() as u64;
    if end == range.end {
        return Ok(got);
    }
    Err(StoreError {
        verb: "read",
        object: key.to_owned(),
        kind: ErrorKind::Other(format!(
            "it has {size} bytes in the listing, and byte {end} cannot be read"
        )),
    })
}
