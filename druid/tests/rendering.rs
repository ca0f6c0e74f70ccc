//! A real API server takes what we render, and stores of it what we think that it stores.
#![allow(
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that cannot ask fails"
)]

mod common_cluster;
mod common_kube;

use common_cluster::Cluster;
use common_kube::{client, goldens};
use druid_core::api::Etcd;
use druid_core::images::ImageVector;
use druid_core::render::{Facts, HostPaths, Release, Settings, Spec, compare, stored};
use kube::api::{Api, ApiResource, DynamicObject, Patch, PatchParams, PostParams};
use kube::{Client, ResourceExt as _};
use serde_json::{Value, json};
use xtask::goldens::{Objects, as_stored, cases, rendered};

#[tokio::test]
async fn what_is_rendered_is_taken_and_stored_as_etcd_druid_s_was() {
    let cluster = Cluster::shared();
    let client = client(&cluster).await;
    cluster.kubectl(&["create", "namespace", "golden"]);
    let mut wrong = Vec::new();
    let mut taken = 0;
    for case in cases(&goldens()).unwrap() {
        for object in case.ours.values().chain(case.occasional.values()) {
            taken += 1;
            wrong.extend(differences(&client, &case.name, object).await);
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    // More than there are goldens: a Job for each store.
    assert!(taken >= 1156, "{taken}");
}

#[tokio::test]
async fn what_no_golden_shows_is_taken_too() {
    let cluster = Cluster::shared();
    let client = client(&cluster).await;
    cluster.kubectl(&["create", "namespace", "odd"]);
    let mut wrong = Vec::new();
    for object in of(&odd_etcd()).values() {
        wrong.extend(differences(&client, "odd", object).await);
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Quantities in other forms, empty lists, many members, constraints.
fn odd_etcd() -> Value {
    let selector = json!({ "matchLabels": { "a": "b" }, "matchExpressions": [] });
    json!({
        "apiVersion": "druid.gardener.cloud/v1alpha1", "kind": "Etcd",
        "metadata": { "name": "odd", "namespace": "odd", "uid": "UID" },
        "spec": {
            "labels": {}, "annotations": {}, "replicas": 12, "storageCapacity": "1024Mi",
            "etcd": {
                "quota": "0.5Gi",
                "resources": {
                    "limits": { "cpu": 1.5, "memory": "1073741824" },
                    "requests": { "cpu": "0.25", "memory": "1e9" },
                    "claims": [],
                },
                "clientService": { "labels": {}, "annotations": {} },
                "clientUrlTls": {
                    "tlsCASecretRef": { "name": "ca", "dataKey": "bundle.crt" },
                    "serverTLSSecretRef": { "name": "server" },
                    "clientTLSSecretRef": { "name": "client" },
                },
            },
            "backup": { "resources": { "limits": {} }, "compression": {} },
            "schedulingConstraints": {
                "affinity": {
                    "nodeAffinity": {},
                    "podAntiAffinity": {
                        "requiredDuringSchedulingIgnoredDuringExecution": [
                            { "labelSelector": selector, "topologyKey": "kubernetes.io/hostname" },
                        ],
                        "preferredDuringSchedulingIgnoredDuringExecution": [],
                    },
                },
                "topologySpreadConstraints": [{
                    "maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule",
                    "labelSelector": selector,
                }],
            },
        },
    })
}

/// Everything that is rendered for an Etcd.
fn of(etcd: &Value) -> Objects {
    let etcd: Etcd = serde_json::from_value(etcd.clone()).unwrap();
    let images = ImageVector::default().images(Release::Base).unwrap();
    let facts = Facts {
        release: Release::Base,
        images: &images,
        live_images: &images,
        settings: &Settings::default(),
        host_paths: &HostPaths::default(),
    };
    rendered(&Spec::parse(&etcd).unwrap(), &facts)
}

/// Who applies.
const MANAGER: &str = "druid";

#[tokio::test]
async fn applying_twice_changes_nothing_and_drift_is_what_applying_would_change() {
    let cluster = Cluster::shared();
    let client = client(&cluster).await;
    cluster.kubectl(&["create", "namespace", "odd-twice"]);
    let mut etcd = odd_etcd();
    etcd["metadata"]["namespace"] = json!("odd-twice");
    for (name, object) in of(&etcd) {
        let first = apply(&client, &object).await;
        assert_eq!(drift(&object, &first), Vec::<String>::new(), "{name}");
        let second = apply(&client, &object).await;
        assert_eq!(version(&first), version(&second), "{name}");

        let mut other = first.clone();
        other["metadata"]["labels"]["app.kubernetes.io/name"] = json!("other");
        other["metadata"]["labels"]["somebody/s"] = json!("own");
        let label = "/metadata/labels/app.kubernetes.io~1name";
        assert_eq!(drift(&object, &other), [label], "{name}");

        // What is not wanted any more goes.
        let mut more = object.clone();
        more["metadata"]["annotations"]["a/b"] = json!("once");
        let with_more = apply(&client, &more).await;
        assert_eq!(
            drift(&object, &with_more),
            ["/metadata/annotations"],
            "{name}"
        );
        let without = apply(&client, &object).await;
        assert_eq!(without["metadata"].get("annotations"), None, "{name}");
        assert_eq!(drift(&object, &without), Vec::<String>::new(), "{name}");
    }
}

#[tokio::test]
async fn what_etcd_druid_made_is_taken_over_once_and_only_where_it_is_meant_to_differ() {
    let cluster = Cluster::shared();
    let client = client(&cluster).await;
    cluster.kubectl(&["create", "namespace", "taken-over"]);
    let case = cases(&goldens()).unwrap().into_iter();
    let case = case
        .into_iter()
        .find(|it| it.name == "gate-off/07-tls-all-s3");
    let case = case.unwrap();
    for (name, object) in &case.ours {
        let (mut theirs, mut ours) = (case.theirs[name].clone(), object.clone());
        for object in [&mut theirs, &mut ours] {
            object["metadata"]["namespace"] = json!("taken-over");
            if object["kind"] == "RoleBinding" {
                object["subjects"][0]["namespace"] = json!("taken-over");
            }
        }
        if let Some(spec) = theirs["spec"].as_object_mut() {
            spec.retain(|key, _| !key.starts_with("clusterIP") && !key.starts_with("ipFam"));
        }
        if ours["kind"] == "Service" && ours["spec"]["clusterIP"] == "None" {
            theirs["spec"]["clusterIP"] = json!("None");
        }
        let there = create(&client, &theirs).await;
        let drifted = drift(&ours, &there);
        let first = apply(&client, &ours).await;
        if ours["kind"] == "StatefulSet" {
            let probe = "/spec/template/spec/containers/0/readinessProbe";
            let delay = format!("{probe}/initialDelaySeconds");
            let period = format!("{probe}/periodSeconds");
            assert_eq!(
                drifted,
                [&delay, &period, "/spec/updateStrategy/type"],
                "{name}"
            );
            assert_eq!(first.pointer(&delay), None);
        } else if ours["kind"] == "PodDisruptionBudget" {
            let members = "/spec/selector/matchLabels/app.kubernetes.io~1component";
            assert_eq!(drifted, [members], "{name}");
        } else {
            assert_eq!(drifted, Vec::<String>::new(), "{name}");
        }
        assert_eq!(drift(&ours, &first), Vec::<String>::new(), "{name}");
        let second = apply(&client, &ours).await;
        assert_eq!(version(&first), version(&second), "{name}");
    }
}

async fn apply(client: &Client, object: &Value) -> Value {
    let name = object["metadata"]["name"].as_str().unwrap();
    let params = PatchParams::apply(MANAGER).force();
    let applied = api(client, object)
        .patch(name, &params, &Patch::Apply(object))
        .await
        .unwrap_or_else(|error| panic!("{name}: {error}"));
    serde_json::to_value(applied).unwrap()
}

/// As etcd-druid does.
async fn create(client: &Client, object: &Value) -> Value {
    let params = PostParams {
        field_manager: Some("etcd-druid".to_owned()),
        ..PostParams::default()
    };
    let given: DynamicObject = serde_json::from_value(object.clone()).unwrap();
    let created = api(client, object).create(&params, &given).await.unwrap();
    serde_json::to_value(created).unwrap()
}

fn drift(rendered: &Value, there: &Value) -> Vec<String> {
    let drift = stored::drift(rendered, there, MANAGER).unwrap();
    drift.into_iter().map(|it| it.path).collect()
}

fn version(object: &Value) -> &str {
    object["metadata"]["resourceVersion"].as_str().unwrap()
}

/// Lets the API server say what it would store, and compares.
async fn differences(client: &Client, case: &str, object: &Value) -> Vec<String> {
    let params = PostParams {
        dry_run: true,
        ..PostParams::default()
    };
    let given: DynamicObject = serde_json::from_value(object.clone()).unwrap();
    let kind = object["kind"].as_str().unwrap();
    let name = given.name_any();
    let stored = match api(client, object).create(&params, &given).await {
        Ok(stored) => serde_json::to_value(stored).unwrap(),
        Err(error) => return vec![format!("{case} {kind}/{name}: {error}")],
    };
    compare(&spelt_as_in_goldens(stored), &as_stored(object))
        .iter()
        .map(|it| format!("{case} {kind}/{name} {it}"))
        .collect()
}

fn api(client: &Client, object: &Value) -> Api<DynamicObject> {
    let version = object["apiVersion"].as_str().unwrap();
    let (group, version) = version.split_once('/').unwrap_or(("", version));
    let kind = object["kind"].as_str().unwrap();
    let kind = kube::core::GroupVersionKind::gvk(group, version, kind);
    let namespace = object["metadata"]["namespace"].as_str().unwrap();
    Api::namespaced_with(client.clone(), namespace, &ApiResource::from_gvk(&kind))
}

/// Without what is new every time; see the README of the goldens.
fn spelt_as_in_goldens(mut object: Value) -> Value {
    let metadata = object["metadata"].as_object_mut().unwrap();
    for key in [
        "uid",
        "resourceVersion",
        "creationTimestamp",
        "generation",
        "managedFields",
    ] {
        metadata.remove(key);
    }
    object.as_object_mut().unwrap().remove("status");
    match object["kind"].as_str().unwrap() {
        "Service" if object["spec"]["clusterIP"] != "None" => {
            object["spec"]["clusterIP"] = json!("CLUSTERIP");
            object["spec"]["clusterIPs"] = json!(["CLUSTERIP"]);
        }
        "Job" => {
            let uid = "batch.kubernetes.io/controller-uid";
            object["spec"]["selector"]["matchLabels"][uid] = json!("UID");
            let labels = &mut object["spec"]["template"]["metadata"]["labels"];
            labels[uid] = json!("UID");
            labels["controller-uid"] = json!("UID");
        }
        _ => {}
    }
    object
}
