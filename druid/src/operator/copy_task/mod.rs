//! The controller of `EtcdCopyBackupsTask`s: hears of tasks and of their Jobs, lets
//! `druid_core::copy_task` decide, and does that. A look is `look.rs`.

mod heard;
mod look;
#[cfg(test)]
mod tests;

use std::num::NonZeroU32;
use std::sync::Arc;

use druid_core::api::EtcdCopyBackupsTask;
use druid_core::render::Images;
use kube::Client;
use kube::core::DeserializeGuard;
use tokio::sync::mpsc;

use super::reports::Reports;
use super::turns;

/// Who reports, as etcd-druid names itself.
const CONTROLLER: &str = "etcdcopybackupstask-controller";

/// A task, or what cannot be read as one: it must not hide the others.
type Object = DeserializeGuard<EtcdCopyBackupsTask>;

/// How the controller runs.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// How many tasks are looked at at once: `controllers.etcdCopyBackupsTask.concurrentSyncs`.
    pub(crate) workers: NonZeroU32,
    /// What Jobs run.
    pub(crate) images: Images,
    /// Only tasks of this namespace; `None` for all.
    pub(crate) namespace: Option<String>,
    /// Who reports, in Events: the name of the pod.
    pub(crate) instance: Option<String>,
}

/// What every look has in common.
struct Context {
    client: Client,
    reports: Reports,
    images: Images,
}

/// Runs until `shutdown` is. A Job that runs then is followed by whoever runs next.
pub(crate) async fn run(
    client: Client,
    settings: Settings,
    shutdown: impl Future<Output = ()> + Send,
) {
    let (tell, told) = mpsc::unbounded_channel();
    heard::listen_to_all(&client, settings.namespace.as_deref(), &tell);
    let most = usize::try_from(settings.workers.get()).unwrap_or(usize::MAX);
    let context = Arc::new(Context {
        reports: Reports::new(client.clone(), CONTROLLER, settings.instance),
        images: settings.images,
        client,
    });
    let look = |named, _| {
        let context = Arc::clone(&context);
        async move { Box::pin(look::look(&context, &named)).await }
    };
    // Whoever tells may be gone only at the end.
    tokio::select! {
        () = turns::run(told, most, look) => {}
        () = shutdown => {}
    }
    drop(tell);
}
