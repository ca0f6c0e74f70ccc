//! The operator itself: its namespace, its configuration, what runs it, where its numbers are.

use druid_core::operator::config::{API_VERSION, KIND};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::webhook::COLLECTOR;
use super::{Build, NAME, NAMESPACE, images, labels};
use crate::image::{self, RELEASES};

/// The port of health and numbers.
const PORT: u16 = 8080;
/// Where the configuration is mounted.
const CONFIG: &str = "/etc/druid";
/// Where the image vector is mounted.
const IMAGES: &str = "/etc/druid-images";
/// The user of our image.
const USER: u32 = 65532;
/// How long the controllers, the lease and the last answers take to end, together, at most.
const GRACE: u32 = 20;

/// The name of the map with the configuration.
pub(super) const CONFIG_MAP: &str = "druid-config";
pub(super) const IMAGE_MAP: &str = "druid-images";

/// The `OperatorConfiguration`.
pub(super) fn configuration(gate: bool) -> String {
    let account =
        format!("    serviceAccountInfo:\n      name: {NAME}\n      namespace: {NAMESPACE}\n");
    let settings = settings(gate, &account);
    format!("apiVersion: {API_VERSION}\nkind: {KIND}\n{settings}")
}

/// What it says. `account`: the field that says who the operator is, which a chart does not know.
pub(super) fn settings(gate: bool, account: &str) -> String {
    format!(
        "\
clientConnection:
  qps: -1  # no limit of ours: the API server is fair to everybody by itself
leaderElection:
  enabled: true
server:
  metrics:
    port: {PORT}
controllers:
  etcd:
    enableEtcdSpecAutoReconcile: true
  compaction:
    enabled: true  # one snapshot of many, by a Job, after 1,000,000 events
  etcdCopyBackupsTask:
    enabled: true
webhooks:
  etcdComponentProtection:
    enabled: false  # true: nobody else changes what belongs to an Etcd
{account}    exemptServiceAccounts:
    - {COLLECTOR}
featureGates:
  UpgradeEtcdVersion: {gate}  # true: etcd 3.4.34 -> 3.5.27; false again: back
logging:
  logLevel: info
  logFormat: json
"
    )
}

/// The namespace.
pub(super) fn namespace() -> Value {
    json!({
        "apiVersion": "v1", "kind": "Namespace",
        "metadata": { "name": NAMESPACE, "labels": {
            "app.kubernetes.io/name": NAME,
            "pod-security.kubernetes.io/enforce": "restricted",
        } },
    })
}

/// What is configured.
pub(super) fn config_maps(gate: bool, build: Option<&Build>) -> Vec<Value> {
    let map = |name: &str, file: &str, text: String| {
        json!({
            "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": { "name": name, "namespace": NAMESPACE, "labels": labels() },
            "data": { file: text },
        })
    };
    let mut maps = vec![map(CONFIG_MAP, "config.yaml", configuration(gate))];
    if let Some(build) = build {
        maps.push(map(
            IMAGE_MAP,
            images::FILE,
            images::vector(build).to_string(),
        ));
    }
    maps
}

/// What runs it, and the Service of its numbers.
pub(super) fn workload(gate: bool, build: Option<&Build>) -> Vec<Value> {
    let selector = json!({ "app.kubernetes.io/name": NAME });
    let mut annotations = json!({ "checksum/config": checksum(&configuration(gate)) });
    if let Some(build) = build {
        annotations["checksum/images"] = checksum(&images::vector(build).to_string()).into();
        annotations["checksum/image"] = build.stamp.clone().into();
    }
    vec![
        json!({
            "apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": { "name": NAME, "namespace": NAMESPACE, "labels": labels() },
            "spec": {
                "replicas": 1,
                "selector": { "matchLabels": selector },
                "template": {
                    "metadata": { "labels": labels(), "annotations": annotations },
                    "spec": pod(build),
                },
            },
        }),
        json!({
            "apiVersion": "v1", "kind": "Service",
            "metadata": { "name": "druid-metrics", "namespace": NAMESPACE, "labels": labels() },
            "spec": {
                "selector": selector,
                "ports": [{ "name": "metrics", "port": PORT, "targetPort": "metrics" }],
            },
        }),
    ]
}

fn volume(map: &str) -> Value {
    json!({ "name": map, "configMap": { "name": map } })
}

fn mount(name: &str, path: &str) -> Value {
    json!({ "name": name, "mountPath": path, "readOnly": true })
}

/// How its container is told of an image vector: a volume, where that is mounted, and a variable.
pub(super) fn told() -> (Value, Value, Value) {
    let path = format!("{IMAGES}/{}", images::FILE);
    (
        volume(IMAGE_MAP),
        mount(IMAGE_MAP, IMAGES),
        json!({ "name": "IMAGEVECTOR_OVERWRITE", "value": path }),
    )
}

fn pod(build: Option<&Build>) -> Value {
    let mut volumes = vec![volume(CONFIG_MAP)];
    let mut mounts = vec![mount(CONFIG_MAP, CONFIG)];
    let mut environment: Vec<_> = [
        ("POD_NAME", "metadata.name"),
        ("POD_NAMESPACE", "metadata.namespace"),
        ("POD_UID", "metadata.uid"),
    ]
    .map(|(name, path)| json!({ "name": name, "valueFrom": { "fieldRef": { "fieldPath": path } } }))
    .into();
    if build.is_some() {
        let (volume, mount, variable) = told();
        volumes.push(volume);
        mounts.push(mount);
        environment.push(variable);
    }
    let probe = |path: &str, period: u32| json!({ "httpGet": { "path": path, "port": "metrics" }, "periodSeconds": period });
    json!({
        "serviceAccountName": NAME,
        "terminationGracePeriodSeconds": GRACE,
        "securityContext": {
            "runAsNonRoot": true,
            "runAsUser": USER,
            "runAsGroup": USER,
            "seccompProfile": { "type": "RuntimeDefault" },
        },
        "volumes": volumes,
        "containers": [{
            "name": "druid",
            "image": build.map_or_else(|| image::name(RELEASES[1]), |it| it.image(RELEASES[1])),
            "imagePullPolicy": "IfNotPresent",
            "args": ["operator", format!("--config={CONFIG}/config.yaml")],
            "env": environment,
            "ports": [{ "name": "metrics", "containerPort": PORT }],
            "readinessProbe": probe("/readyz", 2),
            "livenessProbe": probe("/healthz", 10),
            "resources": resources(),
            "securityContext": {
                "allowPrivilegeEscalation": false,
                "capabilities": { "drop": ["ALL"] },
                "readOnlyRootFilesystem": true,
            },
            "volumeMounts": mounts,
        }],
    })
}

/// What its container may use.
pub(super) fn resources() -> Value {
    json!({
        "requests": { "cpu": "50m", "memory": "64Mi" },
        "limits": { "memory": "256Mi" },
    })
}

/// So that a pod is replaced when what it reads at its start has changed.
fn checksum(text: &str) -> String {
    image::hex(&Sha256::digest(text))
}

#[cfg(test)]
mod tests {
    use druid_core::operator::{Config, Gate};

    use super::*;

    #[test]
    fn the_configuration_is_one_and_nothing_in_it_is_to_no_effect() {
        for gate in [false, true] {
            let file = serde_saphyr::from_str(&configuration(gate)).unwrap();
            let loaded = Config::read(file).unwrap();
            assert_eq!(loaded.warnings, []);
            assert_eq!(loaded.config.gates.is_on(Gate::UpgradeEtcdVersion), gate);
            assert_eq!(loaded.config.metrics.port, PORT);
            assert!(loaded.config.election.is_some());
        }
    }

    #[test]
    fn another_gate_or_another_build_replaces_the_pod_and_the_same_do_not() {
        let build = |stamp: &str| Build::loaded(stamp.to_owned());
        let template = |gate, build: &Build| {
            let deployment = workload(gate, Some(build)).remove(0);
            deployment["spec"]["template"].clone()
        };
        let first = template(false, &build("a"));
        assert_eq!(first, template(false, &build("a")));
        assert_ne!(first, template(true, &build("a")));
        assert_ne!(first, template(false, &build("b")));
    }
}
