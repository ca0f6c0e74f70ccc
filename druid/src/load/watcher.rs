//! A watcher of everything that the load writes. When its stream breaks, and every few seconds, it
//! goes on where it was, on the next member.

use std::sync::Arc;
use std::time::{Duration, Instant};

use druid_core::oracle::{Change, Key, LOAD_PREFIX, Tag, watch};

use super::{PATIENCE, Shared};
use crate::etcd::{Error, Event, Kind, Watch};

/// How long a stream may be silent before it is asked where it is.
const QUIET: Duration = Duration::from_millis(200);

/// How many such questions may stay unanswered.
const UNANSWERED: u32 = 5;

/// How long a stream is kept. etcd without TLS, asked to stop, waits up to 7 s for its streams to
/// end; with TLS, as in production, it does not. Streams that move also make more seams to check.
const STREAM: Duration = Duration::from_millis(1500);

/// How long to wait before the next member is tried.
const BREATH: Duration = Duration::from_millis(20);

/// Watches everything after a revision, for ever.
pub(super) async fn run(shared: Arc<Shared>, index: u16, after: i64) {
    let mut next = after + 1;
    for member in usize::from(index).. {
        let seat = shared.roster.pick(member);
        let opened = seat.client.watch(LOAD_PREFIX.as_bytes(), next, PATIENCE);
        let ended = match opened.await {
            Ok(watch) => follow(&shared, index, watch, &mut next).await,
            Err(error) => Err(error),
        };
        shared.log.reconnects(index);
        if let Err(error) = ended {
            seat.failed();
            // Only a hole in what was seen is left to go on from; the missing events will be told.
            if let Kind::Compacted(Some(first)) = error.kind {
                next = next.max(first);
            }
            tokio::time::sleep(BREATH).await;
        }
    }
}

/// Takes what comes until the stream is over or has been kept long enough. `next` is the revision
/// to go on from.
async fn follow(
    shared: &Shared,
    index: u16,
    mut watch: Watch,
    next: &mut i64,
) -> Result<(), Error> {
    let opened = Instant::now();
    let mut quiet = 0;
    while opened.elapsed() < STREAM {
        match watch.next(QUIET).await {
            Ok(batch) if batch.events.is_empty() => {
                quiet = 0;
                shared.log.reached(index, batch.revision);
            }
            Ok(batch) => {
                quiet = 0;
                let events: Vec<_> = batch.events.into_iter().map(received).collect();
                let last = events.iter().map(|event| event.revision).max();
                *next = last.map_or(*next, |last| (*next).max(last + 1));
                shared.log.saw(index, events);
            }
            Err(error) if matches!(error.kind, Kind::DeadlineExceeded(_)) && quiet < UNANSWERED => {
                quiet += 1;
                let asked = tokio::time::timeout(QUIET, watch.progress()).await;
                if let Ok(Err(error)) = asked {
                    return Err(error);
                }
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn received(event: Event) -> watch::Event {
    match event {
        Event::Put(kv) => watch::Event {
            key: Key::parse(&kv.key),
            revision: kv.mod_revision,
            change: Change::Put(Tag::decode(&kv.value)),
        },
        Event::Delete { key, mod_revision } => watch::Event {
            key: Key::parse(&key),
            revision: mod_revision,
            change: Change::Delete,
        },
    }
}
