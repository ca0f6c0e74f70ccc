//! The operator itself: its namespace, its configuration, what runs it, where its numbers are.

use druid_core::operator::config::{API_VERSION, KIND};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::webhook::COLLECTOR;
use super::{Build, NAME, NAMESPACE, labels};
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
const IMAGE_MAP: &str = "druid-images";

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

/// Images of this build in place of those that are built in: no registry is asked for any.
pub(super) fn images(build: &Build) -> Value {
    let [base, next] = RELEASES;
    let entry = |name: &str, release: &str| {
        let image = build.image(release);
        json!({ "name": name, "ref": image, "etcdVersion": release })
    };
    json!({ "images": [
        entry("etcd-wrapper", base),
        entry("etcd-wrapper-next", next),
        entry("etcd-backup-restore", base),
        entry("etcd-backup-restore-next", next),
        entry("alpine", next),
    ] })
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
        maps.push(map(IMAGE_MAP, "images.yaml", images(build).to_string()));
    }
    maps
}

/// What runs it, and the Service of its numbers.
pub(super) fn workload(gate: bool, build: Option<&Build>) -> Vec<Value> {
    let selector = json!({ "app.kubernetes.io/name": NAME });
    let mut annotations = json!({ "checksum/config": checksum(&configuration(gate)) });
    if let Some(build) = build {
        annotations["checksum/images"] = checksum(&images(build).to_string()).into();
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

fn pod(build: Option<&Build>) -> Value {
    let map = |name: &str| json!({ "name": name, "configMap": { "name": name } });
    let mount =
        |name: &str, path: &str| json!({ "name": name, "mountPath": path, "readOnly": true });
    let mut volumes = vec![map(CONFIG_MAP)];
    let mut mounts = vec![mount(CONFIG_MAP, CONFIG)];
    let mut environment: Vec<_> = [
        ("POD_NAME", "metadata.name"),
        ("POD_NAMESPACE", "metadata.namespace"),
        ("POD_UID", "metadata.uid"),
    ]
    .map(|(name, path)| json!({ "name": name, "valueFrom": { "fieldRef": { "fieldPath": path } } }))
    .into();
    if build.is_some() {
        volumes.push(map(IMAGE_MAP));
        mounts.push(mount(IMAGE_MAP, IMAGES));
        let path = format!("{IMAGES}/images.yaml");
        environment.push(json!({ "name": "IMAGEVECTOR_OVERWRITE", "value": path }));
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
    use druid_core::images::ImageVector;
    use druid_core::operator::{Config, Gate};
    use druid_core::render::Release;

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
    fn every_image_of_a_member_is_of_the_build() {
        let build = Build::pulled("r.example/a/druid");
        let vector = ImageVector::parse(&images(&build)).unwrap();
        let vector = ImageVector::default().overridden_by(vector);
        for (release, etcd) in [Release::Base, Release::Next].into_iter().zip(RELEASES) {
            let found = vector.images(release).unwrap();
            assert_eq!(found.etcd, format!("r.example/a/druid:etcd-{etcd}"));
            assert_eq!(found.backup_restore, found.etcd);
            assert!(found.init.starts_with("r.example/a/druid:"));
            let version = vector.etcd_version(release).unwrap();
            assert_eq!(version.to_string(), etcd);
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
