//! The objects of an Etcd: made, and kept, what they are rendered to be.

use druid_core::render::{Difference, Objects, before_apply, stored};
use druid_core::status::operation::{Code, Component, Failure};
use futures_util::future::join_all;
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{ConfigMap, Service, ServiceAccount};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::api::rbac::v1::{Role, RoleBinding};
use kube::api::{ApiResource, DynamicObject};
use kube::{Resource, ResourceExt as _};
use serde::Serialize;
use serde_json::Value;

use super::apis::{Apis, MANAGER};

/// One of them.
#[derive(Clone, Debug)]
pub(super) struct Child {
    pub(super) component: Component,
    pub(super) kind: ApiResource,
    pub(super) name: String,
    pub(super) rendered: Value,
}

fn child<K>(component: Component, object: &K) -> Result<Child, serde_json::Error>
where
    K: Resource<DynamicType = ()> + Serialize,
{
    Ok(Child {
        component,
        kind: ApiResource::erase::<K>(&()),
        name: object.name_any(),
        rendered: serde_json::to_value(object)?,
    })
}

/// All of them, as they are rendered, the pods last.
pub(super) fn children(objects: &Objects) -> Result<Vec<Child>, serde_json::Error> {
    let mut all = Vec::new();
    if let Some(runtime) = &objects.runtime {
        all.push(child(Component::ServiceAccount, &runtime.service_account)?);
        all.push(child(Component::Role, &runtime.role)?);
        all.push(child(Component::RoleBinding, &runtime.role_binding)?);
        for lease in &runtime.member_leases {
            all.push(child(Component::MemberLease, lease)?);
        }
        for lease in &runtime.snapshot_leases {
            all.push(child(Component::SnapshotLease, lease)?);
        }
        all.push(child(
            Component::PodDisruptionBudget,
            &runtime.disruption_budget,
        )?);
        all.push(child(Component::ClientService, &runtime.client_service)?);
        all.push(child(Component::PeerService, &runtime.peer_service)?);
    }
    all.push(child(Component::ConfigMap, &objects.config_map)?);
    if let Ok(set) = &objects.stateful_set {
        all.push(child(Component::StatefulSet, set)?);
    }
    Ok(all)
}

/// The kinds that an Etcd has objects of.
pub(super) fn kinds() -> [(Component, ApiResource); 8] {
    [
        (
            Component::StatefulSet,
            ApiResource::erase::<StatefulSet>(&()),
        ),
        (Component::ConfigMap, ApiResource::erase::<ConfigMap>(&())),
        (Component::ClientService, ApiResource::erase::<Service>(&())),
        (
            Component::PodDisruptionBudget,
            ApiResource::erase::<PodDisruptionBudget>(&()),
        ),
        (Component::MemberLease, ApiResource::erase::<Lease>(&())),
        (
            Component::RoleBinding,
            ApiResource::erase::<RoleBinding>(&()),
        ),
        (Component::Role, ApiResource::erase::<Role>(&())),
        (
            Component::ServiceAccount,
            ApiResource::erase::<ServiceAccount>(&()),
        ),
    ]
}

/// What has to be there before an object: a binding wants its Role, and pods want all that they read
/// when they start. What is written or looked at while they run comes after them.
fn stage(component: Component) -> u8 {
    match component {
        Component::MemberLease | Component::SnapshotLease | Component::PodDisruptionBudget => 3,
        Component::StatefulSet => PODS,
        Component::RoleBinding => 1,
        Component::ServiceAccount
        | Component::Role
        | Component::ClientService
        | Component::PeerService
        | Component::ConfigMap => 0,
    }
}

/// The stage of the pods.
const PODS: u8 = 2;

/// Makes all of them what they are rendered to be, the pods only if what they need is there. Returns
/// what failed.
pub(super) async fn sync(apis: &Apis, namespace: &str, uid: &str, all: &[Child]) -> Vec<Failure> {
    staged(all, 3, |it| one(apis, namespace, uid, it)).await
}

/// Makes the pods of an Etcd that has none yet, and what they need, with as few requests as that takes:
/// the sooner they start when many Etcds are made at once. Nothing else is done. Returns what failed.
pub(super) async fn begin(apis: &Apis, namespace: &str, uid: &str, all: &[Child]) -> Vec<Failure> {
    staged(all, PODS, |it| new(apis, namespace, uid, it)).await
}

async fn staged<'a, F>(all: &'a [Child], last: u8, each: impl Fn(&'a Child) -> F) -> Vec<Failure>
where
    F: Future<Output = Option<Failure>>,
{
    for number in 0..=last {
        let these = all.iter().filter(|it| stage(it.component) == number);
        let failures = join_all(these.map(&each)).await;
        let failures: Vec<_> = failures.into_iter().flatten().collect();
        if !failures.is_empty() {
            return failures;
        }
    }
    Vec::new()
}

/// Makes one of them that is most probably not there. One that is there and somebody else's is refused
/// by the API server, for what differs or for its second owner.
async fn new(apis: &Apis, namespace: &str, uid: &str, child: &Child) -> Option<Failure> {
    let made = apis.make(namespace, &child.kind, &child.name, &child.rendered);
    match made.await {
        Ok(()) => None,
        Err(_) => one(apis, namespace, uid, child).await,
    }
}

/// Makes one of them what it is rendered to be. No request if it is.
pub(super) async fn one(apis: &Apis, namespace: &str, uid: &str, child: &Child) -> Option<Failure> {
    let Child {
        component,
        kind,
        name,
        rendered,
    } = child;
    let failure = |code, cause: String| {
        let message = format!("{} {namespace}/{name}", kind.kind);
        tracing::warn!(
            namespace,
            name,
            kind = kind.kind,
            cause,
            "an object is not as it should be"
        );
        Some(Failure {
            code,
            message,
            cause,
        })
    };
    let there = match apis.child(namespace, kind, name).await {
        Ok(there) => there,
        Err(error) => return failure(Code::Get(*component), error.to_string()),
    };
    let mut first = None;
    if let Some(there) = &there {
        if let Some(other) = owner(there).filter(|(_, it)| *it != uid) {
            let cause = format!("it belongs to {}: rename or delete it", other.0);
            return failure(Code::Sync(*component), cause);
        }
        if there.metadata.deletion_timestamp.is_some() {
            return failure(Code::Sync(*component), "it is being deleted".to_owned());
        }
        match drift(rendered, there) {
            Ok((_, drift)) if drift.is_empty() => return None,
            Ok((there, drift)) => {
                first = before_apply(rendered, &there, &drift);
                let what: Vec<_> = drift.iter().take(5).map(|it| it.path.as_str()).collect();
                let (kind, fields) = (&kind.kind, what.join(" "));
                tracing::info!(
                    namespace,
                    name,
                    kind,
                    fields,
                    "brought to what it should be"
                );
            }
            Err(error) => return failure(Code::Sync(*component), error.to_string()),
        }
    }
    if let Some(patch) = first
        && let Err(error) = apis.change(namespace, kind, name, &patch).await
    {
        return failure(Code::Sync(*component), error.to_string());
    }
    match apis.apply(namespace, kind, name, rendered).await {
        Ok(()) => None,
        Err(error) => failure(Code::Sync(*component), error.to_string()),
    }
}

fn drift(
    rendered: &Value,
    there: &DynamicObject,
) -> Result<(Value, Vec<Difference>), serde_json::Error> {
    let there = serde_json::to_value(there)?;
    let drift = stored::drift(rendered, &there, MANAGER)?;
    Ok((there, drift))
}

/// Who an object belongs to, as a name and a uid.
fn owner(object: &DynamicObject) -> Option<(String, &str)> {
    let owners = object.owner_references().iter();
    let owner = owners.clone().find(|it| it.controller == Some(true))?;
    let name = format!("{} {}", owner.kind, owner.name);
    Some((name, owner.uid.as_str()))
}

#[cfg(test)]
mod tests {
    use kube::Client;
    use kube::api::{Api, Patch, PatchParams};
    use serde_json::json;

    use super::*;
    use crate::operator::common_cluster::Cluster;
    use crate::operator::common_kube;

    const SPACE: &str = "services-healed";

    fn service(name: &str, headless: bool) -> Child {
        let mut object: Service = serde_json::from_value(json!({
            "metadata": { "name": name, "namespace": SPACE },
            "spec": {
                "type": "ClusterIP", "sessionAffinity": "None",
                "selector": { "app": "etcd", "part-of": "main" },
                "ports": [
                    { "name": "client", "port": 2379, "protocol": "TCP", "targetPort": 2379 },
                    { "name": "server", "port": 2380, "protocol": "TCP", "targetPort": 2380 },
                ],
            },
        }))
        .unwrap();
        if let Some(spec) = object.spec.as_mut().filter(|_| headless) {
            spec.cluster_ip = Some("None".to_owned());
        }
        child(Component::ClientService, &object).unwrap()
    }

    async fn read(client: &Client, name: &str) -> Value {
        let api = Api::<Service>::namespaced(client.clone(), SPACE);
        serde_json::to_value(api.get(name).await.unwrap()).unwrap()
    }

    async fn edit(client: &Client, name: &str, patch: &Patch<Value>) {
        let api = Api::<Service>::namespaced(client.clone(), SPACE);
        let params = PatchParams {
            field_manager: Some("somebody".to_owned()),
            ..PatchParams::default()
        };
        api.patch(name, &params, patch).await.unwrap();
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn ports_and_selector_of_a_service_are_put_right_whatever_somebody_did() {
        // Another test may have done so.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let cluster = tokio::task::spawn_blocking(Cluster::shared).await.unwrap();
        let client = common_kube::client(&cluster).await;
        cluster.kubectl(&["create", "namespace", SPACE]);
        let apis = Apis::new(client.clone(), "test", None);
        for (name, headless) in [("main-client", false), ("main-peer", true)] {
            let wanted = service(name, headless);
            let heal = || one(&apis, SPACE, "uid", &wanted);
            assert_eq!(heal().await.map(|it| it.cause), None);
            let first = read(&client, name).await;
            let ports = |list: Value| Patch::Merge(json!({ "spec": { "ports": list } }));
            let port = |name: &str, port: u16| json!({ "name": name, "port": port });
            for (what, patch) in [
                (
                    "a number",
                    ports(json!([port("client", 2399), port("server", 2380)])),
                ),
                (
                    "a name",
                    ports(json!([port("clients", 2379), port("server", 2380)])),
                ),
                (
                    "numbers exchanged",
                    ports(json!([port("client", 2380), port("server", 2379)])),
                ),
                ("one gone", ports(json!([port("server", 2380)]))),
                (
                    "one before",
                    ports(json!([
                        port("other", 1),
                        port("client", 2379),
                        port("server", 2380),
                    ])),
                ),
                (
                    "a label more",
                    Patch::Merge(json!({ "spec": { "selector": { "empty": "it" } } })),
                ),
                (
                    "all at once",
                    Patch::Merge(json!({ "spec": {
                        "selector": { "empty": "it", "app": "other", "part-of": null },
                        "ports": [port("server", 2379), port("x", 2380)],
                        "sessionAffinity": "ClientIP",
                    } })),
                ),
            ] {
                edit(&client, name, &patch).await;
                assert_eq!(heal().await.map(|it| it.cause), None, "{what}");
                let healed = read(&client, name).await;
                for field in [
                    "ports",
                    "selector",
                    "clusterIP",
                    "clusterIPs",
                    "sessionAffinity",
                ] {
                    let (is, was) = (&healed["spec"][field], &first["spec"][field]);
                    assert_eq!(is, was, "{what}: {field} of {name}");
                }
                // Then nothing is written any more.
                assert_eq!(heal().await.map(|it| it.cause), None, "{what}");
                let still = read(&client, name).await;
                let version = |it: &Value| it["metadata"]["resourceVersion"].clone();
                assert_eq!(version(&still), version(&healed), "{what}");
            }
        }
    }
}
