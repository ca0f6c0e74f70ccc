//! The controller of `EtcdOpsTask`s: sees, lets `druid_core::ops_task` decide, writes, acts.
//!
//! A watch keeps a copy of all tasks; an Etcd is read when a task needs it. Work goes on in tasks of
//! its own, so that a snapshot of a quarter of an hour holds up nobody. All of it can be lost at any
//! moment: what has to be known later is in the status before anything is done.

mod api;
mod attempt;
mod compaction;
mod maintain;
mod queue;
mod reconcile;
mod recover;
#[cfg(test)]
pub(super) mod tests;
mod wind_up;
mod works;

use std::fmt;
use std::num::NonZeroU16;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use druid_core::api::EtcdOpsTask;
use druid_core::duration::GoDuration;
use druid_core::ops_task::{Limits, Numbers};
use futures_util::StreamExt as _;
use kube::Client;
use kube::core::DeserializeGuard;
use kube::runtime::controller::{self, applier};
use kube::runtime::reflector::{self, Store};
use tokio::sync::mpsc;

use crate::operator::leading::Sidecars;
use api::Apis;
use reconcile::{Context, reconcile, retry};
use works::Works;

/// A task, or what cannot be read as one: it must not hide the others.
type Object = DeserializeGuard<EtcdOpsTask>;

/// How the controller runs.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// How many tasks are looked at at once: `controllers.etcdOpsTask.concurrentSyncs`.
    pub(crate) concurrent_syncs: NonZeroU16,
    /// How often and how patiently a task is tried.
    pub(crate) limits: Limits,
    /// Only tasks of this namespace; `None` for all.
    pub(crate) namespace: Option<String>,
    /// Who reports, in Events: the name of the pod.
    pub(crate) instance: Option<String>,
    /// How long Jobs that compact snapshots wait for their numbers to be read:
    /// `controllers.compaction.metricsScrapeWaitDuration`.
    pub(crate) metrics_wait: GoDuration,
    /// Where sidecars are.
    pub(crate) sidecars: Sidecars,
    /// Counts for `/metrics`.
    pub(crate) numbers: Counts,
}

/// Numbers that are counted here and shown elsewhere. Cheap to clone.
#[derive(Clone, Default)]
pub(crate) struct Counts(Arc<Mutex<Counted>>);

#[derive(Default)]
struct Counted {
    numbers: Numbers,
    /// The tasks that there are, once somebody looks after them here.
    tasks: Option<Store<Object>>,
}

impl fmt::Debug for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Counts")
    }
}

impl Counts {
    fn lock(&self) -> MutexGuard<'_, Counted> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The text of now.
    pub(crate) fn text(&self) -> String {
        let counted = self.lock();
        let tasks = counted.tasks.as_ref().map(Store::state);
        let tasks = tasks.unwrap_or_default();
        let tasks: Vec<_> = tasks.iter().map(|it| queue::parse(it)).collect();
        counted.numbers.text(&tasks)
    }

    fn with(&self, count: impl FnOnce(&mut Numbers)) {
        count(&mut self.lock().numbers);
    }
}

/// Runs until `shutdown` is. What is under way then is taken up by whoever runs next.
pub(crate) async fn run(client: Client, settings: Settings, shutdown: impl Future<Output = ()>) {
    let (store, writer) = reflector::store();
    let (wake, woken) = mpsc::unbounded_channel();
    let works = Arc::new(Works::new(wake));
    let workers = controller::Config::default().concurrency(settings.concurrent_syncs.get());
    settings.numbers.lock().tasks = Some(store.clone());
    let apis = Apis::new(client, &settings);
    let queue = queue::queue(
        apis.tasks(settings.namespace.as_deref()),
        writer,
        store.clone(),
        Arc::clone(&works),
        woken,
    );
    let context = Arc::new(Context::new(apis, settings, store.clone(), works));
    let reconciling = applier(
        |object, context| Box::pin(reconcile(object, context)),
        |object, error, context| retry(&object, error, &context),
        context,
        store,
        queue.map(Ok::<_, std::convert::Infallible>),
        workers,
    );
    let reconciling = reconciling.for_each(|outcome| {
        match outcome {
            // One that is not found went meanwhile.
            Ok(_) | Err(controller::Error::ObjectNotFound(_)) => {}
            Err(error) => tracing::debug!(%error, "a task is looked at again"),
        }
        std::future::ready(())
    });
    tokio::select! {
        () = reconciling => {}
        () = shutdown => {}
    }
}
