//! The controller of snapshot compaction: hears of snapshots and of its Jobs, lets
//! `druid_core::compaction` decide, and does that one thing. A look is `look.rs`.
//!
//! What is heard costs no request but one for the Etcd. Before anything is done, all of it is asked for
//! again. An Etcd of which no new snapshot is heard is not looked at.

mod asking;
mod heard;
mod look;
#[cfg(test)]
pub(super) mod tests;

use std::sync::{Arc, Mutex, PoisonError};

use druid_core::compaction::{Limits, Numbers};
use druid_core::operator::config::Compaction;
use kube::Client;
use tokio::sync::mpsc;

use super::etcds::Apis;
use super::leading::Sidecars;
use super::turns;
use asking::{Asking, Ending};
use heard::Heard;

/// Who reports, as etcd-druid names itself.
const CONTROLLER: &str = "compaction-controller";

/// How the controller runs.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// As the operator is configured.
    pub(crate) config: Compaction,
    /// How patient it is.
    pub(crate) limits: Limits,
    /// Only Etcds of this namespace; `None` for all.
    pub(crate) namespace: Option<String>,
    /// Who reports, in Events: the name of the pod.
    pub(crate) instance: Option<String>,
    /// Where sidecars are.
    pub(crate) sidecars: Sidecars,
    /// Counts for `/metrics`.
    pub(crate) numbers: Counts,
}

/// Numbers that are counted here and shown elsewhere. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(crate) struct Counts(Arc<Mutex<Numbers>>);

impl Counts {
    /// The text of now.
    pub(crate) fn text(&self) -> String {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).text()
    }

    fn with(&self, count: impl FnOnce(&mut Numbers)) {
        count(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

/// What every look has in common.
struct Context {
    apis: Apis,
    settings: Settings,
    heard: Heard,
    asking: Arc<Asking>,
    _ending: Ending,
}

/// Runs until `shutdown` is. A Job that runs then is followed by whoever runs next.
pub(crate) async fn run(
    client: Client,
    settings: Settings,
    shutdown: impl Future<Output = ()> + Send,
) {
    let (tell, told) = mpsc::unbounded_channel();
    let asking = Arc::new(Asking::new(tell.clone()));
    let most = usize::try_from(settings.config.workers.get()).unwrap_or(usize::MAX);
    let context = Arc::new(Context {
        heard: Heard::listen(&client, settings.namespace.as_deref(), &tell),
        apis: Apis::new(client, CONTROLLER, settings.instance.clone()),
        settings,
        _ending: Ending(Arc::clone(&asking)),
        asking,
    });
    let look = |named, _| {
        let context = Arc::clone(&context);
        async move { Box::pin(look::look(&context, &named)).await }
    };
    tokio::select! {
        () = turns::run(told, most, look) => {}
        () = shutdown => {}
    }
}
