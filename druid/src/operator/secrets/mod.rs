//! The controller of the finalizers of Secrets. A namespace is looked at as a whole, live, when an Etcd in
//! it refers to other Secrets than before, or when something is heard of a Secret that concerns one.

mod heard;
#[cfg(test)]
mod tests;

use std::num::NonZeroU32;

use druid_core::api::Etcd;
use druid_core::secret_finalizers::{Change, Secret as Seen, changes};
use k8s_openapi::api::core::v1::Secret;
use kube::api::{Api, ListParams, Patch, PatchParams};
use kube::core::DeserializeGuard;
use kube::{Client, ResourceExt as _};
use serde_json::json;
use tokio::sync::mpsc;

use super::request::{ApiError, gone_is_fine, within};
use super::turns::{self, Next};

/// How the controller runs.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// How many namespaces are looked at at once: `controllers.secret.concurrentSyncs`.
    pub(crate) workers: NonZeroU32,
    /// Only this namespace; `None` for all.
    pub(crate) namespace: Option<String>,
}

/// Runs until `shutdown` is.
pub(crate) async fn run(
    client: Client,
    settings: Settings,
    shutdown: impl Future<Output = ()> + Send,
) {
    let (tell, told) = mpsc::unbounded_channel();
    heard::listen_to_all(&client, settings.namespace.as_deref(), &tell);
    let most = usize::try_from(settings.workers.get()).unwrap_or(usize::MAX);
    let look = |named: super::known::Named, _| {
        let client = client.clone();
        async move {
            match look(&client, &named.namespace).await {
                Ok(()) => Next::Heard,
                Err(error) => {
                    let namespace = named.namespace;
                    tracing::warn!(%error, namespace, "the finalizers of Secrets are not as they should be");
                    Next::Failed
                }
            }
        }
    };
    // Whoever tells may be gone only at the end.
    tokio::select! {
        () = turns::run(told, most, look) => {}
        () = shutdown => {}
    }
    drop(tell);
}

/// Observe, decide, act. Of Secrets only the metadata is read.
async fn look(client: &Client, namespace: &str) -> Result<(), ApiError> {
    let etcds: Api<DeserializeGuard<Etcd>> = Api::namespaced(client.clone(), namespace);
    let secrets: Api<Secret> = Api::namespaced(client.clone(), namespace);
    let all = ListParams::default();
    // The Secrets first: whoever is referred to by then is seen to be.
    let found = within("list the Secrets", secrets.list_metadata(&all)).await?;
    let referring = within("list the Etcds", etcds.list(&all)).await?;
    let seen: Vec<Seen> = found
        .items
        .iter()
        .map(|it| Seen {
            name: it.name_any(),
            finalizers: it.finalizers().to_vec(),
            leaves: it.metadata.deletion_timestamp.is_some(),
        })
        .collect();
    for change in changes(referring.items.iter().map(|it| it.0.as_ref().ok()), &seen) {
        let version = found.items.iter().find(|it| it.name_any() == change.name);
        let version = version.and_then(kube::ResourceExt::resource_version);
        write(&secrets, &change, version).await?;
    }
    Ok(())
}

/// If the Secret is as it was seen.
async fn write(
    api: &Api<Secret>,
    change: &Change,
    version: Option<String>,
) -> Result<(), ApiError> {
    let patch = json!({ "metadata": {
        "resourceVersion": version,
        "finalizers": change.finalizers,
    } });
    let (params, patch) = (PatchParams::default(), Patch::Merge(&patch));
    let written = api.patch_metadata(&change.name, &params, &patch);
    let written = within("write the finalizers of a Secret", written).await;
    gone_is_fine(written.map(drop))
}
