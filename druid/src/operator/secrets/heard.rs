//! What is heard of Etcds and of Secrets. Of an Etcd its references are kept, of a Secret nothing.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, PoisonError, RwLock};

use druid_core::api::{Etcd, names};
use druid_core::render::secret_references;
use futures_util::{Stream, StreamExt as _};
use k8s_openapi::api::core::v1::Secret;
use kube::api::PartialObjectMeta;
use kube::core::DeserializeGuard;
use kube::runtime::WatchStreamExt as _;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Client, Resource as _, ResourceExt as _};
use tokio::sync::mpsc;

use crate::operator::known::{Named, api};

type Object = DeserializeGuard<Etcd>;

/// What each Etcd refers to, by namespace and name.
type References = Arc<RwLock<HashMap<String, HashMap<String, BTreeSet<String>>>>>;

/// Listens. `tell`: told in which namespace to look; it has no name.
pub(super) fn listen_to_all(
    client: &Client,
    namespace: Option<&str>,
    tell: &mpsc::UnboundedSender<Named>,
) {
    let references = References::default();
    let etcds = watcher(api::<Object>(client, namespace), watcher::Config::default());
    let etcds = of_etcds(
        etcds.default_backoff(),
        Arc::clone(&references),
        tell.clone(),
    );
    tokio::spawn(etcds);
    let secrets = api::<PartialObjectMeta<Secret>>(client, namespace);
    let secrets = watcher(secrets, watcher::Config::default());
    tokio::spawn(of_secrets(
        secrets.default_backoff(),
        references,
        tell.clone(),
    ));
}

async fn of_etcds(
    events: impl Stream<Item = watcher::Result<Event<Object>>>,
    references: References,
    tell: mpsc::UnboundedSender<Named>,
) {
    let mut events = std::pin::pin!(events);
    let mut listed = BTreeSet::new();
    while let Some(event) = events.next().await {
        match event {
            Ok(Event::Init) => listed.clear(),
            Ok(Event::InitApply(object)) => {
                listed.insert(Named::of(object.meta()));
                refers(&references, &object, &tell);
            }
            Ok(Event::InitDone) => {
                let mut known = references.write().unwrap_or_else(PoisonError::into_inner);
                for (namespace, etcds) in known.iter_mut() {
                    let before = etcds.len();
                    etcds.retain(|name, _| {
                        let (namespace, name) = (namespace.clone(), name.clone());
                        listed.contains(&Named { namespace, name })
                    });
                    if etcds.len() < before {
                        look_at(&tell, namespace);
                    }
                }
            }
            Ok(Event::Apply(object)) => refers(&references, &object, &tell),
            Ok(Event::Delete(object)) => {
                let named = Named::of(object.meta());
                let mut known = references.write().unwrap_or_else(PoisonError::into_inner);
                if let Some(etcds) = known.get_mut(&named.namespace) {
                    etcds.remove(&named.name);
                }
                drop(known);
                look_at(&tell, &named.namespace);
            }
            Err(error) => tracing::debug!(%error, "Etcds are listened to again"),
        }
    }
}

/// One that cannot be read refers to what it did before.
fn refers(references: &References, object: &Object, tell: &mpsc::UnboundedSender<Named>) {
    let Ok(etcd) = &object.0 else { return };
    let named = Named::of(&etcd.metadata);
    let all: BTreeSet<String> = secret_references(etcd)
        .into_iter()
        .map(|it| it.name)
        .collect();
    let mut known = references.write().unwrap_or_else(PoisonError::into_inner);
    let etcds = known.entry(named.namespace.clone()).or_default();
    let before = etcds.insert(named.name, all.clone());
    drop(known);
    if before.as_ref() != Some(&all) {
        look_at(tell, &named.namespace);
    }
}

async fn of_secrets(
    events: impl Stream<Item = watcher::Result<Event<PartialObjectMeta<Secret>>>>,
    references: References,
    tell: mpsc::UnboundedSender<Named>,
) {
    let mut events = std::pin::pin!(events);
    while let Some(event) = events.next().await {
        match event {
            Ok(Event::InitApply(secret) | Event::Apply(secret)) => {
                let held = secret.finalizers().iter().any(|it| it == names::FINALIZER);
                let named = Named::of(&secret.metadata);
                // What is as it should be concerns nobody, as long as it stays.
                let leaves = secret.metadata.deletion_timestamp.is_some();
                if held != is_needed(&references, &named) || (held && leaves) {
                    look_at(&tell, &named.namespace);
                }
            }
            Ok(Event::Init | Event::InitDone | Event::Delete(_)) => {}
            Err(error) => tracing::debug!(%error, "Secrets are listened to again"),
        }
    }
}

fn is_needed(references: &References, secret: &Named) -> bool {
    let known = references.read().unwrap_or_else(PoisonError::into_inner);
    let etcds = known.get(&secret.namespace).into_iter();
    let mut all = etcds.flat_map(HashMap::values);
    all.any(|it| it.contains(&secret.name))
}

fn look_at(tell: &mpsc::UnboundedSender<Named>, namespace: &str) {
    // Nobody listens any more at the end of the process.
    let _ = tell.send(Named {
        namespace: namespace.to_owned(),
        name: String::new(),
    });
}
