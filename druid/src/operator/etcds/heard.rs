//! What is heard of objects: of each only what says whether its Etcd has to be looked at.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use druid_core::api::{Etcd, EtcdOpsTask, names};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{ConfigMap, Pod, Service, ServiceAccount};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::api::rbac::v1::{Role, RoleBinding};
use kube::api::{Api, ApiResource, DynamicObject};
use kube::core::DeserializeGuard;
use kube::runtime::WatchStreamExt as _;
use kube::runtime::watcher::{self, watcher};
use kube::{Resource, ResourceExt as _};
use serde_json::Value;
use tokio::sync::mpsc;

use super::Context;
use crate::operator::known::{Facts, Known, Named, api, listen, part_of};

/// A member's lease that was renewed after such a pause says something new.
const PAUSE: SignedDuration = SignedDuration::from_secs(55);

/// Listens to everything that Etcds are about. Returns what is known of the leases.
pub(super) fn listen_to_all(
    context: &Context,
    tell: &mpsc::UnboundedSender<Named>,
) -> Known<LeaseHeard> {
    let api = of::<DeserializeGuard<Etcd>>(context, ApiResource::erase::<Etcd>(&()));
    let etcds = watcher(api, watcher::Config::default()).default_backoff();
    drop(listen::<EtcdHeard>(etcds, tell.clone()));
    let labelled =
        watcher::Config::default().labels(&format!("{}={}", names::MANAGED_BY, names::MANAGER));
    let kinds = [
        ApiResource::erase::<StatefulSet>(&()),
        ApiResource::erase::<Pod>(&()),
        ApiResource::erase::<Service>(&()),
        ApiResource::erase::<ConfigMap>(&()),
        ApiResource::erase::<ServiceAccount>(&()),
        ApiResource::erase::<Role>(&()),
        ApiResource::erase::<RoleBinding>(&()),
        ApiResource::erase::<PodDisruptionBudget>(&()),
    ];
    for kind in kinds {
        let events = watcher(of::<DynamicObject>(context, kind), labelled.clone());
        drop(listen::<ChildHeard>(events.default_backoff(), tell.clone()));
    }
    let api: Api<Lease> = typed(context);
    let leases = watcher(api, labelled).default_backoff();
    let leases = listen::<LeaseHeard>(leases, tell.clone());
    let api: Api<DeserializeGuard<EtcdOpsTask>> = typed(context);
    let tasks = watcher(api, watcher::Config::default()).default_backoff();
    drop(listen::<TaskHeard>(tasks, tell.clone()));
    leases
}

fn typed<K>(context: &Context) -> Api<K>
where
    K: Resource<Scope = kube::core::NamespaceResourceScope, DynamicType = ()>,
{
    api(&context.apis.client, context.namespace.as_deref())
}

fn of<K>(context: &Context, kind: ApiResource) -> Api<K>
where
    K: HeardAs,
{
    K::api(context, kind)
}

/// How an object is asked for.
trait HeardAs: Sized {
    fn api(context: &Context, kind: ApiResource) -> Api<Self>;
}

impl HeardAs for DynamicObject {
    fn api(context: &Context, kind: ApiResource) -> Api<Self> {
        let client = context.apis.client.clone();
        match &context.namespace {
            Some(namespace) => Api::namespaced_with(client, namespace, &kind),
            None => Api::all_with(client, &kind),
        }
    }
}

impl HeardAs for DeserializeGuard<Etcd> {
    fn api(context: &Context, _: ApiResource) -> Api<Self> {
        typed(context)
    }
}

/// Of an Etcd: what a person writes.
#[derive(Clone, Debug, PartialEq)]
struct EtcdHeard {
    uid: Box<str>,
    generation: i64,
    asked: u64,
}

impl Facts for EtcdHeard {
    type Object = DeserializeGuard<Etcd>;

    fn of(object: Self::Object) -> Option<(Named, Self)> {
        let metadata = object.meta();
        let mut hasher = DefaultHasher::new();
        metadata.annotations.hash(&mut hasher);
        metadata.deletion_timestamp.is_some().hash(&mut hasher);
        metadata.finalizers.hash(&mut hasher);
        let heard = Self {
            uid: metadata.uid.clone().unwrap_or_default().into(),
            generation: metadata.generation.unwrap_or_default(),
            asked: hasher.finish(),
        };
        Some((Named::of(metadata), heard))
    }

    fn etcd(&self, named: &Named) -> Named {
        named.clone()
    }

    fn matters(&self, next: &Self) -> bool {
        self != next
    }
}

/// Of what belongs to an Etcd: whether it is as it was.
#[derive(Clone, Debug, PartialEq)]
struct ChildHeard {
    etcd: Box<str>,
    content: u64,
}

impl Facts for ChildHeard {
    type Object = DynamicObject;

    fn of(object: Self::Object) -> Option<(Named, Self)> {
        let etcd = part_of(&object.metadata)?;
        let heard = Self {
            etcd,
            content: content(&object),
        };
        Some((Named::of(&object.metadata), heard))
    }

    fn etcd(&self, named: &Named) -> Named {
        named.sibling(&self.etcd)
    }

    fn matters(&self, next: &Self) -> bool {
        self != next
    }
}

/// The fingerprint of an object, but for what changes by itself. In one run of the program.
fn content(object: &DynamicObject) -> u64 {
    let mut hasher = DefaultHasher::new();
    let metadata = &object.metadata;
    (&metadata.uid, &metadata.labels, &metadata.annotations).hash(&mut hasher);
    metadata.deletion_timestamp.is_some().hash(&mut hasher);
    for owner in metadata.owner_references.iter().flatten() {
        owner.uid.hash(&mut hasher);
    }
    hash(&object.data, &mut hasher);
    hasher.finish()
}

fn hash(value: &Value, hasher: &mut DefaultHasher) {
    match value {
        Value::Object(object) => {
            object.len().hash(hasher);
            for (name, value) in object {
                name.hash(hasher);
                // A probe that is asked again and again says the same.
                if name != "lastProbeTime" {
                    hash(value, hasher);
                }
            }
        }
        Value::Array(list) => {
            list.len().hash(hasher);
            for it in list {
                hash(it, hasher);
            }
        }
        Value::Null => 0_u8.hash(hasher),
        Value::Bool(it) => it.hash(hasher),
        Value::Number(it) => it.hash(hasher),
        Value::String(it) => it.hash(hasher),
    }
}

/// Of a lease: who holds it. When it was renewed matters only after a pause.
#[derive(Clone, Debug)]
pub(super) struct LeaseHeard {
    etcd: Box<str>,
    held: u64,
    pub(super) renewed: Option<Timestamp>,
}

impl Facts for LeaseHeard {
    type Object = Lease;

    fn of(lease: Lease) -> Option<(Named, Self)> {
        let etcd = part_of(&lease.metadata)?;
        let mut hasher = DefaultHasher::new();
        let metadata = &lease.metadata;
        (&metadata.uid, &metadata.labels, &metadata.annotations).hash(&mut hasher);
        let spec = lease.spec.as_ref();
        spec.and_then(|it| it.holder_identity.as_ref())
            .hash(&mut hasher);
        let heard = Self {
            etcd,
            held: hasher.finish(),
            renewed: spec.and_then(|it| it.renew_time.as_ref()).map(|it| it.0),
        };
        Some((Named::of(&lease.metadata), heard))
    }

    fn etcd(&self, named: &Named) -> Named {
        named.sibling(&self.etcd)
    }

    fn matters(&self, next: &Self) -> bool {
        let paused = match (self.renewed, next.renewed) {
            (Some(before), Some(after)) => after.duration_since(before) > PAUSE,
            (before, after) => before.is_some() != after.is_some(),
        };
        paused || (&self.etcd, self.held) != (&next.etcd, next.held)
    }
}

/// Of a task that belongs to an Etcd: how far it is.
#[derive(Clone, Debug, PartialEq)]
struct TaskHeard {
    etcd: Box<str>,
    state: Option<Box<str>>,
}

impl Facts for TaskHeard {
    type Object = DeserializeGuard<EtcdOpsTask>;

    fn of(object: Self::Object) -> Option<(Named, Self)> {
        let task = object.0.ok()?;
        let owners = task.owner_references();
        let etcd = owners.iter().find(|it| it.kind == "Etcd")?.name.as_str();
        let state = task.status.as_ref().and_then(|it| it.state.as_deref());
        let heard = Self {
            etcd: etcd.into(),
            state: state.map(Into::into),
        };
        Some((Named::of(&task.metadata), heard))
    }

    fn etcd(&self, named: &Named) -> Named {
        named.sibling(&self.etcd)
    }

    fn matters(&self, next: &Self) -> bool {
        self != next
    }
}
