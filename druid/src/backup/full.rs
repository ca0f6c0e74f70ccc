//! A full snapshot, from etcd to the store in one stream: checked, packed and uploaded as it comes.
//! Nothing is kept on a disk, and little in memory.

use std::io::{self, Write as _};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use druid_core::agent::metrics::Failure;
use druid_core::backup::Revision;
use druid_core::backup::listing::Object;
use druid_core::backup::names::{Key, Name, Prefix, UnixSeconds};
use druid_core::backup::snapshotter::Event;
use druid_core::snapshot_file::{SnapshotDamage, Trailer};
use thiserror::Error;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, timeout_at};

use super::codec::{Packer, Packing};
use crate::etcd::{Client, Error as EtcdError, Snapshot};
use crate::store::upload::Sink;
use crate::store::{Store, StoreError};

/// What to take.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    /// Where it goes.
    pub(crate) prefix: Prefix,
    /// How it is packed.
    pub(crate) packing: Packing,
    /// By how many threads.
    pub(crate) threads: usize,
    /// Whether its name says that it is final.
    pub(crate) is_final: bool,
    /// At this revision it is not needed.
    pub(crate) unless: Option<Revision>,
    /// How long it may take in all: `--etcd-snapshot-timeout`.
    pub(crate) timeout: Duration,
}

/// Why there is none.
#[derive(Debug, Error)]
pub(crate) enum FullError {
    /// etcd failed.
    #[error(transparent)]
    Etcd(#[from] EtcdError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// It is not what etcd sent.
    #[error("the snapshot of {endpoint} does not match its digest; nothing was uploaded")]
    Digest {
        /// The member.
        endpoint: String,
    },
    /// The stream is too short.
    #[error("the snapshot of {endpoint} ended after {bytes} bytes; nothing was uploaded")]
    Short {
        /// The member.
        endpoint: String,
        /// How much there was.
        bytes: u64,
    },
    /// Compressing failed.
    #[error("the snapshot cannot be packed: {0}")]
    Pack(io::Error),
    /// It took too long.
    #[error(
        "the full snapshot took longer than {0:?}; raise --etcd-snapshot-timeout, or see why etcd or \
         the store are slow"
    )]
    TimedOut(Duration),
    /// The clock is before 1970, or etcd says that its revision is not above 0.
    #[error("{0} cannot be part of a snapshot's name")]
    Unnameable(String),
    /// It is no longer wanted.
    #[error("the full snapshot was given up")]
    Cancelled,
}

impl FullError {
    /// What it is counted as.
    pub(crate) fn class(&self) -> Failure {
        match self {
            Self::Etcd(_) | Self::Digest { .. } | Self::Short { .. } | Self::TimedOut(_) => {
                Failure::Etcd
            }
            Self::Store(_) => Failure::Store,
            Self::Pack(_) => Failure::Disk,
            Self::Unnameable(_) => Failure::History,
            Self::Cancelled => Failure::Cancelled,
        }
    }
}

/// How long etcd may take for a call, or for the next bytes.
const CALL: Duration = Duration::from_secs(30);
/// How long the store may take to drop what is not to be.
const CLEAN_UP: Duration = Duration::from_secs(10);
/// Chunks of 32 KiB between stream and packer.
const CHUNKS: usize = 16;

/// What goes to the packer. An end that is not said is none.
enum Chunk {
    Bytes(Bytes),
    End,
}

/// Takes one. Says [`Event::FullBegan`] and [`Event::FullBound`] on the way; `None` if it was not
/// needed. It is to be run to its end: to stop it, send or drop `cancel`.
pub(crate) async fn take(
    request: &Request,
    client: &Client,
    store: &Arc<dyn Store>,
    say: &mpsc::Sender<Event>,
    cancel: oneshot::Receiver<()>,
) -> Result<Option<Object>, FullError> {
    let until = Instant::now() + request.timeout;
    let begin = async {
        let named = revision(client).await?;
        if request.unless == Some(named) {
            return Ok(None);
        }
        say_so(say, Event::FullBegan { named }).await;
        let mut stream = client.snapshot(CALL).await?;
        let first = stream.next(CALL).await?;
        // Asked after the first bytes: the content was fixed before they were sent.
        let upper = revision(client).await?;
        say_so(say, Event::FullBound { upper }).await;
        Ok::<_, FullError>(Some((named, stream, first)))
    };
    let named = timeout_at(until, begin).await;
    let Some((named, stream, first)) =
        named.map_err(|_| FullError::TimedOut(request.timeout))??
    else {
        return Ok(None);
    };
    let name = name(request, named)?;
    let key = Key::new(&request.prefix, name);
    let first = first.unwrap_or_default();
    let bytes = carry(request, stream, first, store, &key, until, cancel).await?;
    Ok(Some(Object {
        key,
        bytes: Some(bytes),
    }))
}

fn name(request: &Request, named: Revision) -> Result<Name, FullError> {
    let now = crate::clock::now();
    let created = UnixSeconds::of(now).ok_or_else(|| FullError::Unnameable(now.to_string()))?;
    let codec = request.packing.codec();
    Ok(Name::full(named, created, codec, request.is_final))
}

/// etcd's revision now.
async fn revision(client: &Client) -> Result<Revision, FullError> {
    let revision = client.revision(CALL).await?;
    Revision::new(revision).ok_or_else(|| FullError::Unnameable(format!("revision {revision}")))
}

async fn say_so(say: &mpsc::Sender<Event>, event: Event) {
    // Nobody listens only if it is cancelled, too.
    let _ = say.send(event).await;
}

/// The three parts of the way, each in its own place: the stream here, the packer on a thread, and
/// the store.
async fn carry(
    request: &Request,
    stream: Snapshot,
    first: Bytes,
    store: &Arc<dyn Store>,
    key: &Key,
    until: Instant,
    cancel: oneshot::Receiver<()>,
) -> Result<u64, FullError> {
    let endpoint = stream.endpoint().to_string();
    let total = first.len() as u64 + stream.remaining();
    // A block that cannot be packed grows by a few bytes.
    let at_most = total + total / 1000 + 4096;
    let (sink, body) = Sink::new(Some(at_most));
    let (chunks, received) = mpsc::channel(CHUNKS);
    let packing = (request.packing, request.threads);
    let work = tokio::task::spawn_blocking(move || pack(received, packing, sink, endpoint));
    let key = key.to_string();
    let put = store.put(&key, body);
    let feeding = async {
        let fed = tokio::select! {
            fed = feed(stream, first, &chunks) => fed.map_err(FullError::from),
            _ = cancel => Err(FullError::Cancelled),
            () = tokio::time::sleep_until(until) => Err(FullError::TimedOut(request.timeout)),
        };
        if fed.is_ok() {
            // If nobody takes it, they say why.
            let _ = chunks.send(Chunk::End).await;
        }
        drop(chunks);
        fed
    };
    // Where feeding ends early, the others see an end that was not said, and clean up.
    let all = async { tokio::join!(feeding, work, put) };
    let (fed, packed, written) = timeout_at(until + CLEAN_UP, all)
        .await
        .map_err(|_| FullError::TimedOut(request.timeout))?;
    let packed = packed.map_err(|it| FullError::Pack(io::Error::other(it)))?;
    match (fed, packed, written) {
        (Ok(()), Ok(()), Ok(written)) => Ok(written),
        // A store that reads no more says why.
        (Ok(()), Ok(()) | Err(FullError::Pack(_)), Err(error)) => Err(error.into()),
        (Err(error), _, _) | (Ok(()), Err(error), _) => Err(error),
    }
}

async fn feed(
    mut stream: Snapshot,
    first: Bytes,
    chunks: &mpsc::Sender<Chunk>,
) -> Result<(), EtcdError> {
    let mut next = Some(first);
    while let Some(chunk) = next {
        if chunks.send(Chunk::Bytes(chunk)).await.is_err() {
            return Ok(());
        }
        next = stream.next(CALL).await?;
    }
    Ok(())
}

/// Checks and packs. The last 32 bytes are the digest of all before.
fn pack(
    mut chunks: mpsc::Receiver<Chunk>,
    (packing, threads): (Packing, usize),
    sink: Sink,
    endpoint: String,
) -> Result<(), FullError> {
    let mut packer = Packer::new(packing, threads, sink).map_err(FullError::Pack)?;
    let mut trailer = Trailer::new();
    loop {
        let chunk = match chunks.blocking_recv() {
            Some(Chunk::Bytes(chunk)) => chunk,
            Some(Chunk::End) => break,
            None => return Err(FullError::Cancelled),
        };
        packer.write_all(&chunk).map_err(FullError::Pack)?;
        trailer.feed(&chunk);
    }
    if let Err(damage) = trailer.finish() {
        return Err(if let SnapshotDamage::Size { bytes } = damage {
            FullError::Short { endpoint, bytes }
        } else {
            FullError::Digest { endpoint }
        });
    }
    let sink = packer.finish().map_err(FullError::Pack)?;
    sink.end().map_err(FullError::Pack)
}
