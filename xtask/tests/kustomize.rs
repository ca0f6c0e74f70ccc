//! What kustomize makes of `deploy/` and its components, as the README shows them.
#![allow(clippy::unwrap_used, reason = "a test that cannot look fails")]

use std::fs;

use serde_json::{Value, json};
use tempfile::TempDir;
use xtask::cluster;
use xtask::deploy::{self, Build};

/// The operator with members of ours.
const OURS: &str = "\
# kustomization.yaml
resources: [deploy]
components: [deploy/images]
images: [{ name: druid.local/druid, newName: registry.example/druid }]
";
/// The operator and what watches it.
const WATCHED: &str = "\
# kustomization.yaml
resources: [deploy]
components: [deploy/monitoring]
labels: [{ pairs: { release: my-prometheus } }]";

/// What comes of a file that the README has in it.
fn built(kustomization: &str) -> Vec<Value> {
    let readme = fs::read_to_string(xtask::root().join("README.md")).unwrap();
    assert!(
        readme.contains(kustomization),
        "the README has no\n{kustomization}"
    );
    let directory = manifests();
    fs::write(directory.path().join("kustomization.yaml"), kustomization).unwrap();
    let mut kustomize = cluster::kustomize().unwrap();
    let output = kustomize.arg(directory.path()).output().unwrap();
    let why = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{why}");
    serde_saphyr::from_multiple(&String::from_utf8(output.stdout).unwrap()).unwrap()
}

fn manifests() -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    for part in ["deploy/images", "deploy/monitoring"] {
        fs::create_dir_all(directory.path().join(part)).unwrap();
    }
    for (path, text) in deploy::manifests().unwrap() {
        if path.starts_with("deploy/") {
            fs::write(directory.path().join(path), text).unwrap();
        }
    }
    directory
}

fn of<'a>(objects: &'a [Value], kind: &str, name: &str) -> &'a Value {
    let mut all = objects.iter();
    let found = all.find(|it| {
        let its = it["metadata"]["name"].as_str().unwrap();
        it["kind"] == kind && its.starts_with(name)
    });
    found.unwrap()
}

/// The file of an image vector.
fn images(map: &Value) -> Value {
    serde_saphyr::from_str(map["data"]["images.yaml"].as_str().unwrap()).unwrap()
}

/// A list of named things by name: kustomize puts them in an order of its own.
fn by_name(list: &Value) -> Vec<Value> {
    let mut list = list.as_array().unwrap().clone();
    list.sort_by_key(|it| it["name"].as_str().unwrap().to_owned());
    list
}

#[test]
fn the_component_runs_the_operator_with_members_of_ours() {
    let build = Build::pulled("registry.example/druid");
    let ours = deploy::objects(false, Some(&build)).unwrap();
    let found = built(OURS);
    assert_eq!(found.len(), ours.len());
    let map = of(&found, "ConfigMap", "druid-images");
    assert_eq!(images(map), images(of(&ours, "ConfigMap", "druid-images")));

    let pod = |objects: &[Value]| of(objects, "Deployment", "druid")["spec"]["template"].clone();
    let [found, ours] = [pod(&found), pod(&ours)].map(|it| it["spec"].clone());
    let containers = [&found, &ours].map(|it| &it["containers"][0]);
    assert_eq!(containers[0]["image"], containers[1]["image"]);
    for field in ["env", "volumeMounts"] {
        let [found, ours] = containers.map(|it| by_name(&it[field]));
        assert_eq!(found, ours, "{field}");
    }
    let mut volumes = by_name(&found["volumes"]);
    // Its name has a digest, so that another image vector replaces the pod.
    assert_eq!(volumes[1]["configMap"]["name"], map["metadata"]["name"]);
    assert_ne!(map["metadata"]["name"], "druid-images");
    volumes[1]["configMap"]["name"] = json!("druid-images");
    assert_eq!(volumes, by_name(&ours["volumes"]));
}

#[test]
fn the_operators_prometheus_selects_what_watches_it() {
    let found = built(WATCHED);
    let watching = [
        ("PodMonitor", "druid-members"),
        ("ServiceMonitor", "druid"),
        ("PrometheusRule", "druid"),
        ("ConfigMap", "druid-dashboard"),
    ];
    for (kind, name) in watching {
        let metadata = &of(&found, kind, name)["metadata"];
        assert_eq!(metadata["namespace"], "druid-system", "{kind}");
        assert_eq!(metadata["labels"]["release"], "my-prometheus", "{kind}");
    }
}
