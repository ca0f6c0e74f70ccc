//! Snapshots while this member leads: the snapshotter, as the server's other parts want it.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use druid_core::agent::snapshot::{self, describe, place};
use druid_core::backup::listing::Object;
use druid_core::backup::names::Prefix;
use druid_core::backup::snapshotter::{Answer, State};
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::leadership::Leadership;
use super::leases::Progress;
use super::parts::{self, Later, NoSnapshot, Standing};
use super::verifier::Verifier;
use crate::backup::snapshots::{Handle, Leadership as Led, Leases};
use crate::clock;
use crate::store::digests::Digests;

/// How long a request may take, and the end.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Deadlines {
    /// A full snapshot.
    pub(crate) full: Duration,
    /// A delta, or a listing.
    pub(crate) quick: Duration,
    /// The last delta, as this program ends.
    pub(crate) end: Duration,
}

/// The one of this member.
#[derive(Debug)]
pub(crate) struct OfMember {
    handle: Handle,
    state: watch::Receiver<State>,
    progress: watch::Receiver<Progress>,
    deadlines: Deadlines,
    prefix: Prefix,
    /// Of a store that is a directory.
    root: Option<String>,
    digests: Arc<Digests>,
    verifier: Verifier,
    task: Mutex<Option<JoinHandle<()>>>,
}

impl OfMember {
    /// Around one that runs. `root` is for a store that is a directory.
    pub(crate) fn new(
        (handle, task): (Handle, JoinHandle<()>),
        deadlines: Deadlines,
        prefix: Prefix,
        root: Option<String>,
        digests: Arc<Digests>,
        verifier: Verifier,
    ) -> Self {
        let (tell, progress) = watch::channel(Progress::default());
        tokio::spawn(tell_progress(handle.leases(), tell));
        Self {
            state: handle.state(),
            handle,
            progress,
            deadlines,
            prefix,
            root,
            digests,
            verifier,
            task: Mutex::new(Some(task)),
        }
    }

    fn tell(&self, object: &Object, immutable_until: Option<Timestamp>) -> Value {
        let place = place(&object.key, &self.prefix, self.root.as_deref());
        let sha256 = self.digests.of(&object.key.to_string());
        describe(object, &place, immutable_until, sha256)
    }

    async fn answer(&self, answer: Answer) -> Result<Value, NoSnapshot> {
        match answer {
            Answer::Taken(object) => {
                let asked = self.handle.immutable_until(&object);
                let until = match tokio::time::timeout(self.deadlines.quick, asked).await {
                    Ok(Ok(until)) => until,
                    // It is in the store all the same.
                    Ok(Err(_)) | Err(_) => None,
                };
                Ok(self.tell(&object, until))
            }
            Answer::Nothing => Ok(Value::Null),
            Answer::Refused(denial) => Err(NoSnapshot::Failed(denial.to_string())),
        }
    }

    async fn listed(&self) -> Result<Value, NoSnapshot> {
        let asked = tokio::time::timeout(self.deadlines.quick, self.handle.latest()).await;
        let (listing, listed) = asked
            .map_err(|_| NoSnapshot::Failed("the store was not listed in time".to_owned()))?
            .map_err(|error| NoSnapshot::Failed(error.to_string()))?;
        let tell = |object: &Object| {
            let key = object.key.to_string();
            let found = listed.iter().find(|it| it.key == key);
            self.tell(object, found.and_then(|it| it.immutable_until))
        };
        let (full, deltas) = listing.tail();
        let deltas: Vec<Value> = deltas.iter().map(tell).collect();
        Ok(snapshot::latest(full.map(tell).as_ref(), deltas))
    }
}

impl parts::Snapshots for OfMember {
    fn full(&self, is_final: bool) -> Later<'_, Result<Value, NoSnapshot>> {
        Box::pin(async move {
            let answer = self.handle.full(is_final, self.deadlines.full).await;
            self.answer(answer).await
        })
    }

    fn delta(&self) -> Later<'_, Result<Value, NoSnapshot>> {
        Box::pin(async {
            let answer = self.handle.delta(self.deadlines.quick).await;
            self.answer(answer).await
        })
    }

    fn latest(&self) -> Later<'_, Result<Value, NoSnapshot>> {
        Box::pin(self.listed())
    }

    fn verify(&self, name: String) -> Later<'_, Result<Value, NoSnapshot>> {
        Box::pin(async move { self.verifier.verify(&name).await })
    }

    fn restorable(&self) -> Later<'_, Result<Value, NoSnapshot>> {
        Box::pin(self.verifier.restorable())
    }

    fn standing(&self) -> Standing {
        if self.state.has_changed().is_err() {
            return Standing {
                good: false,
                says: "no more snapshots are taken: this program is about to end".to_owned(),
                age: None,
            };
        }
        let state = self.state.borrow();
        let as_of = state.as_of.filter(|_| state.active);
        Standing {
            good: state.health.is_good(),
            says: state.health.to_string(),
            age: as_of.map(|it| age(it, clock::now())),
        }
    }

    fn progress(&self) -> watch::Receiver<Progress> {
        self.progress.clone()
    }

    fn finish(&self) -> Later<'_, ()> {
        let task = self
            .task
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        Box::pin(async move {
            self.handle.stop(self.deadlines.end).await;
            if let Some(task) = task
                && let Err(error) = task.await
            {
                tracing::error!(%error, "the snapshotter died");
            }
        })
    }
}

fn age(as_of: Timestamp, now: Timestamp) -> f64 {
    now.duration_since(as_of)
        .max(SignedDuration::ZERO)
        .as_secs_f64()
}

/// Tells the snapshotter who leads, until nobody knows any more.
pub(crate) async fn follow(handle: Handle, mut leadership: watch::Receiver<Leadership>) {
    loop {
        let led = match &*leadership.borrow_and_update() {
            Leadership::Leads => Led::Led,
            Leadership::Follows => Led::Deposed,
            Leadership::Unknown => Led::Unknown,
        };
        handle.lead(led).await;
        if leadership.changed().await.is_err() {
            return;
        }
    }
}

/// Counts what the leases are to say.
async fn tell_progress(mut leases: watch::Receiver<Leases>, tell: watch::Sender<Progress>) {
    let mut told = None;
    while leases.changed().await.is_ok() {
        let now = leases.borrow_and_update().clone();
        tell.send_modify(|progress| {
            progress.full = now.full;
            if let Some((newest, _)) = now.delta
                && told != now.delta
            {
                progress.tick += 1;
                progress.delta = newest;
            }
        });
        told = now.delta;
    }
}
