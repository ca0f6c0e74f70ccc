//! A watch on one member: an ordered stream of batches.

use std::time::Duration;

use tokio::sync::mpsc;
use tonic::codegen::tokio_stream::wrappers::ReceiverStream;
use tonic::metadata::MetadataValue;
use tonic::{Request, Response, Streaming};

use super::error::{Error, Kind};
use super::{Client, Keys, Kv, pb};

/// An open watch. Dropping it closes it.
#[derive(Debug)]
pub(crate) struct Watch {
    client: Client,
    requests: mpsc::Sender<pb::WatchRequest>,
    answers: Streaming<pb::WatchResponse>,
}

/// What comes at once. One without events is a progress report: all events up to its revision
/// have been delivered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Batch {
    /// The revision of the member's store when it sent this.
    pub(crate) revision: i64,
    /// In the order of their revisions.
    pub(crate) events: Vec<Event>,
}

/// A change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// A key was written.
    Put(Kv),
    /// A key was deleted, at `mod_revision`.
    Delete {
        /// Which.
        key: Vec<u8>,
        /// When.
        mod_revision: i64,
    },
}

impl Event {
    /// The key.
    #[cfg_attr(not(test), expect(dead_code, reason = "only tests ask for it so far"))]
    pub(crate) fn key(&self) -> &[u8] {
        match self {
            Self::Put(kv) => &kv.key,
            Self::Delete { key, .. } => key,
        }
    }

    /// The revision of the change.
    pub(crate) fn mod_revision(&self) -> i64 {
        match self {
            Self::Put(kv) => kv.mod_revision,
            Self::Delete { mod_revision, .. } => *mod_revision,
        }
    }
}

impl Watch {
    pub(super) async fn open(
        client: &Client,
        prefix: &[u8],
        start_revision: i64,
        deadline: Duration,
    ) -> Result<Self, Error> {
        let error = match Self::create(client, prefix, start_revision, deadline).await {
            Err(error) if of_a_stranger(&error) => error,
            opened => return opened,
        };
        if !client.log_in(deadline).await? {
            return Err(error);
        }
        Self::create(client, prefix, start_revision, deadline).await
    }

    async fn create(
        client: &Client,
        prefix: &[u8],
        start_revision: i64,
        deadline: Duration,
    ) -> Result<Self, Error> {
        let (requests, stream) = mpsc::channel(16);
        let (key, range_end) = Keys::Prefix(prefix).bounds();
        let create = pb::WatchCreateRequest {
            key,
            range_end,
            start_revision,
            progress_notify: true,
        };
        // etcd sends its headers with its first answer, so the first request has to be there.
        let create = pb::watch_request::RequestUnion::CreateRequest(create);
        let queued = requests
            .send(pb::WatchRequest {
                request_union: Some(create),
            })
            .await;
        let closed = |_| client.error("Watch", Kind::Unavailable("closed".to_owned()));
        queued.map_err(closed)?;
        let mut request = Request::new(ReceiverStream::new(stream));
        request
            .metadata_mut()
            .insert("hasleader", MetadataValue::from_static("true"));
        let mut stub = client.watcher();
        let created = async {
            let mut answers = stub.watch(request).await?.into_inner();
            let first = answers.message().await?;
            Ok(Response::new((answers, first)))
        };
        let (answers, first) = client.call("Watch", deadline, created).await?;
        let watch = Self {
            client: client.clone(),
            requests,
            answers,
        };
        match first {
            Some(first) if first.created && !first.canceled => Ok(watch),
            Some(first) => Err(watch.canceled(&first)),
            None => Err(client.error("Watch", Kind::Unavailable("closed".to_owned()))),
        }
    }

    /// The next batch. After an error the watch is over, except after
    /// [`Kind::DeadlineExceeded`]: then there was nothing yet, and nothing is lost.
    pub(crate) async fn next(&mut self, deadline: Duration) -> Result<Batch, Error> {
        let message = async { self.answers.message().await.map(Response::new) };
        let answer = self.client.call("Watch", deadline, message).await?;
        let Some(answer) = answer else {
            return Err(self
                .client
                .error("Watch", Kind::Unavailable("closed".to_owned())));
        };
        if answer.canceled {
            return Err(self.canceled(&answer));
        }
        Ok(Batch {
            revision: super::revision(answer.header),
            events: answer.events.into_iter().filter_map(event).collect(),
        })
    }

    /// Asks for a progress report, which comes as a batch without events.
    pub(crate) async fn progress(&self) -> Result<(), Error> {
        let progress =
            pb::watch_request::RequestUnion::ProgressRequest(pb::WatchProgressRequest {});
        self.requests
            .send(pb::WatchRequest {
                request_union: Some(progress),
            })
            .await
            .map_err(|_| {
                self.client
                    .error("Watch", Kind::Unavailable("closed".to_owned()))
            })
    }

    fn canceled(&self, answer: &pb::WatchResponse) -> Error {
        let kind = if answer.compact_revision > 0 {
            Kind::Compacted(Some(answer.compact_revision))
        } else if answer.cancel_reason.contains("no leader") {
            Kind::NoLeader
        } else if DENIED.iter().any(|it| answer.cancel_reason.contains(it)) {
            Kind::PermissionDenied(answer.cancel_reason.clone())
        } else {
            Kind::Refused(format!("watch canceled: {}", answer.cancel_reason))
        };
        self.client.error("Watch", kind)
    }
}

/// Why etcd cancels a watch of somebody that it does not know. 3.4 always says the first.
const DENIED: [&str; 4] = [
    "permission denied",
    "invalid auth token",
    "user name is empty",
    "revision of auth store is old",
];

/// Whether a login might help.
fn of_a_stranger(error: &Error) -> bool {
    matches!(
        error.kind,
        Kind::Unauthenticated(_) | Kind::PermissionDenied(_)
    )
}

fn event(event: pb::Event) -> Option<Event> {
    let deleted = event.r#type() == pb::event::EventType::Delete;
    let kv = event.kv?;
    Some(if deleted {
        Event::Delete {
            key: kv.key,
            mod_revision: kv.mod_revision,
        }
    } else {
        Event::Put(Kv::from(kv))
    })
}
