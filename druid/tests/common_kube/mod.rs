//! A client for the API server of a test, and druid's definitions in it.

#![allow(dead_code, reason = "each test file uses its part")]
#![allow(
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that cannot ask fails"
)]

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use assert_cmd::cargo::cargo_bin;
use kube::api::{Api, ApiResource, DynamicObject, Patch, PatchParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::core::GroupVersionKind;
use kube::{Client, Config};
use serde_json::Value;

use super::common_cluster::Cluster;

/// No request of a test takes longer.
const DEADLINE: Duration = Duration::from_secs(20);

/// A client with the rights of the administrator.
pub(crate) async fn client(cluster: &Cluster) -> Client {
    let kubeconfig = Kubeconfig::read_from(cluster.kubeconfig()).unwrap();
    let mut config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default())
        .await
        .unwrap();
    config.connect_timeout = Some(DEADLINE);
    config.read_timeout = Some(DEADLINE);
    config.write_timeout = Some(DEADLINE);
    Client::try_from(config).unwrap()
}

/// The definitions that `druid crds` prints.
pub(crate) fn definitions() -> Vec<Value> {
    let printed = Command::new(cargo_bin("druid"))
        .arg("crds")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert!(printed.status.success(), "{printed:?}");
    let text = String::from_utf8(printed.stdout).unwrap();
    serde_saphyr::from_multiple(&text).unwrap()
}

/// Applies the definitions that `druid crds` prints and waits until they are served.
pub(crate) async fn define(client: &Client) {
    let kind = GroupVersionKind::gvk("apiextensions.k8s.io", "v1", "CustomResourceDefinition");
    let api = Api::<DynamicObject>::all_with(client.clone(), &ApiResource::from_gvk(&kind));
    let params = PatchParams::apply("druid-tests").force();
    for definition in definitions() {
        let name = definition["metadata"]["name"].as_str().unwrap().to_owned();
        api.patch(&name, &params, &Patch::Apply(&definition))
            .await
            .unwrap_or_else(|error| panic!("{name}: {error}"));
        until_served(&api, &name).await;
    }
}

async fn until_served(api: &Api<DynamicObject>, name: &str) {
    for _ in 0..200 {
        let stored = api.get(name).await.unwrap();
        let conditions = stored.data["status"]["conditions"].as_array().cloned();
        let conditions = conditions.unwrap_or_default();
        let bad = |it: &&Value| it["type"] == "NonStructuralSchema" && it["status"] == "True";
        assert_eq!(conditions.iter().find(bad), None);
        if conditions
            .iter()
            .any(|it| it["type"] == "Established" && it["status"] == "True")
        {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("{name} is not established after 10 s");
}

/// Objects of a kind of ours, as JSON.
pub(crate) fn resources(client: &Client, namespace: &str, kind: &str) -> Api<DynamicObject> {
    let kind = GroupVersionKind::gvk("druid.gardener.cloud", "v1alpha1", kind);
    Api::namespaced_with(client.clone(), namespace, &ApiResource::from_gvk(&kind))
}

/// Where the objects are that etcd-druid v0.37.1 made.
pub(crate) fn goldens() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../core/tests/goldens")
}

/// The YAML files in a directory, in order.
pub(crate) fn yaml_files(directory: &Path) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|it| it == "yaml"))
        .collect();
    files.sort();
    files
}

/// One document, read as Kubernetes reads it: `y` is a text.
pub(crate) fn yaml(path: &Path) -> Value {
    let text = std::fs::read_to_string(path).unwrap();
    let options = serde_saphyr::options! { strict_booleans: true };
    serde_saphyr::from_str_with_options(&text, options)
        .unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}
