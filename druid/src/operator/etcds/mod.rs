//! The controller of Etcds. A look at one is `look` in [`look`]: observe, decide, act, report.
//!
//! Watches keep of every object only what says whether somebody has to look (`heard.rs`); whoever
//! looks asks the API server and the members themselves. Nothing happens to an Etcd of which nothing
//! is heard and of which time changes nothing.

mod apis;
mod asked;
mod children;
mod claims;
mod heard;
mod look;
mod members;
mod numbers;
mod platform;
mod removal;
mod report;
mod sidecar;
mod world;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use druid_core::images::ImageVector;
use druid_core::operator::config::EtcdController;
use druid_core::operator::gates::Gates;
use druid_core::reconcile::Releases;
use druid_core::render::{Release, Settings as RenderSettings};
use druid_core::version::Version;
use kube::Client;
use tokio::sync::mpsc;

pub(super) use apis::{Apis, changes, warning};
pub(super) use asked::{Cluster, Survivors};
pub(crate) use numbers::Counts;

use crate::operator::known::Named;
use crate::operator::turns;
use look::Memo;

/// Who reports, as etcd-druid names itself.
const CONTROLLER: &str = "etcd-controller";
/// So many are looked at at once at the least: a look waits for answers most of the time, and the
/// worker of old that did one thing after the other is none of these.
const AT_ONCE: usize = 16;

/// How the controller runs.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// As the operator is configured.
    pub(crate) config: EtcdController,
    /// The feature gates.
    pub(crate) gates: Gates,
    /// Which images are run.
    pub(crate) images: ImageVector,
    /// Only Etcds of this namespace; `None` for all.
    pub(crate) namespace: Option<String>,
    /// Who reports, in Events: the name of the pod.
    pub(crate) instance: Option<String>,
    /// Counts for `/metrics`.
    pub(crate) numbers: Counts,
}

/// The releases that are in images which do not say so: those of etcd-druid v0.37.1.
const BASE: Version = Version::new(3, 4, 34);
const NEXT: Version = Version::new(3, 5, 27);

/// What every look has in common.
struct Context {
    apis: Apis,
    config: EtcdController,
    gates: Gates,
    releases: Releases,
    render: RenderSettings,
    namespace: Option<String>,
    numbers: Counts,
    memos: Mutex<HashMap<Named, Memo>>,
    /// Whose release is being changed: as many at once as the configuration says.
    rolling: Mutex<Vec<Named>>,
}

impl Context {
    /// What was remembered of an Etcd. It is with whoever looks, until it is kept again.
    fn memo(&self, named: &Named) -> Memo {
        let mut memos = self.memos.lock().unwrap_or_else(PoisonError::into_inner);
        memos.remove(named).unwrap_or_default()
    }

    fn keep(&self, named: &Named, memo: Memo) {
        let mut memos = self.memos.lock().unwrap_or_else(PoisonError::into_inner);
        memos.insert(named.clone(), memo);
    }

    /// Set if all was well with an Etcd that nobody is looking at.
    fn quiet(&self, named: &Named) -> Option<look::Quiet> {
        let memos = self.memos.lock().unwrap_or_else(PoisonError::into_inner);
        memos.get(named).and_then(|it| it.quiet.clone())
    }

    fn forget(&self, named: &Named) {
        let mut memos = self.memos.lock().unwrap_or_else(PoisonError::into_inner);
        memos.remove(named);
        drop(memos);
        self.numbers.forget(named);
        self.leave(named);
    }

    /// Whether the release of this Etcd may be changed now. `under_way`: it is, whoever began.
    fn enter(&self, named: &Named, under_way: bool) -> bool {
        let mut rolling = self.rolling.lock().unwrap_or_else(PoisonError::into_inner);
        if rolling.contains(named) {
            return true;
        }
        let most = usize::try_from(self.config.max_upgrades).unwrap_or(usize::MAX);
        let enters = under_way || rolling.len() < most;
        if enters {
            rolling.push(named.clone());
        }
        enters
    }

    fn leave(&self, named: &Named) {
        let mut rolling = self.rolling.lock().unwrap_or_else(PoisonError::into_inner);
        rolling.retain(|it| it != named);
    }
}

/// Runs until `shutdown` is. What is under way then is taken up by whoever runs next.
///
/// # Errors
/// If the images of a release are not known.
pub(crate) async fn run(
    client: Client,
    settings: Settings,
    shutdown: impl Future<Output = ()> + Send,
) {
    let releases = match releases(&settings.images) {
        Ok(releases) => releases,
        Err(error) => {
            tracing::error!(%error, "no Etcd is looked at");
            return;
        }
    };
    let context = Context {
        apis: Apis::new(client, CONTROLLER, settings.instance.clone()),
        config: settings.config,
        gates: settings.gates,
        releases,
        render: RenderSettings {
            automount_service_account_token: !settings.config.without_token,
            ..RenderSettings::default()
        },
        namespace: settings.namespace,
        numbers: settings.numbers,
        memos: Mutex::default(),
        rolling: Mutex::default(),
    };
    tokio::select! {
        () = look_at_all(Arc::new(context)) => {}
        () = shutdown => {}
    }
}

/// Looks at whatever has changed, for ever.
async fn look_at_all(context: Arc<Context>) {
    let (tell, told) = mpsc::unbounded_channel();
    let leases = Arc::new(heard::listen_to_all(&context, &tell));
    let most = usize::try_from(context.config.workers.get()).unwrap_or(AT_ONCE);
    let look = |named: Named, heard: bool| {
        let (context, leases) = (Arc::clone(&context), Arc::clone(&leases));
        async move {
            match look::still(&context, &leases, &named).filter(|_| !heard) {
                Some(next) => next,
                None => Box::pin(look::look(&context, &named)).await,
            }
        }
    };
    turns::run(told, most.max(AT_ONCE), look).await;
}

fn releases(images: &ImageVector) -> Result<Releases, druid_core::images::ImageVectorError> {
    let version = |release, otherwise| images.etcd_version(release).unwrap_or(otherwise);
    Ok(Releases {
        base: (version(Release::Base, BASE), images.images(Release::Base)?),
        next: (version(Release::Next, NEXT), images.images(Release::Next)?),
    })
}
