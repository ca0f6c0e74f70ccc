//! Where Prometheus reads numbers: of the operator, of each etcd, of each sidecar.
//!
//! Those of members are read without TLS. An Etcd with TLS needs a `PodMonitor` of its own beside its
//! Secret, with the same relabelings.

use druid_core::api::names;
use serde_json::{Value, json};

use super::metadata;
use crate::deploy::labels;

/// How often.
const INTERVAL: &str = "30s";
/// The container of the sidecar, whose port has the name of another one of etcd.
const SIDECAR: &str = "backup-restore";

/// The objects of `monitoring.coreos.com/v1`.
pub fn monitors() -> Vec<Value> {
    let member = |port: &str, container: &str| {
        json!({
            "port": port, "path": "/metrics", "interval": INTERVAL,
            "relabelings": [
                {
                    "action": "keep",
                    "sourceLabels": ["__meta_kubernetes_pod_container_name"],
                    "regex": container,
                },
                { "sourceLabels": ["__meta_kubernetes_namespace"], "targetLabel": "etcd_namespace" },
                { "sourceLabels": [label(names::PART_OF)], "targetLabel": "etcd" },
            ],
        })
    };
    vec![
        json!({
            "apiVersion": "monitoring.coreos.com/v1", "kind": "ServiceMonitor",
            "metadata": metadata("druid"),
            "spec": {
                "selector": { "matchLabels": labels() },
                "endpoints": [{ "port": "metrics", "path": "/metrics", "interval": INTERVAL }],
            },
        }),
        json!({
            "apiVersion": "monitoring.coreos.com/v1", "kind": "PodMonitor",
            "metadata": metadata("druid-members"),
            "spec": {
                "namespaceSelector": { "any": true },
                "selector": { "matchLabels": {
                    names::MANAGED_BY: names::MANAGER,
                    names::COMPONENT: "etcd-statefulset",
                } },
                "podMetricsEndpoints": [member("client", "etcd"), member("server", SIDECAR)],
            },
        }),
    ]
}

/// A label of a pod, as service discovery gives it.
fn label(name: &str) -> String {
    let name: String = name
        .chars()
        .map(|it| if it.is_ascii_alphanumeric() { it } else { '_' })
        .collect();
    format!("__meta_kubernetes_pod_label_{name}")
}

#[cfg(test)]
mod tests {
    use druid_core::api::Etcd;
    use druid_core::images::ImageVector;
    use druid_core::render::{Facts, HostPaths, Release, Settings, Spec, stateful_set};

    use super::*;

    #[test]
    fn the_ports_and_labels_that_are_looked_for_are_those_of_the_pods() {
        let text = include_str!("../../../../deploy/example.yaml");
        let mut etcd: Etcd = serde_saphyr::from_str(text).unwrap();
        etcd.metadata.uid = Some("u".to_owned());
        let spec = Spec::parse(&etcd).unwrap();
        let images = ImageVector::default().images(Release::Base).unwrap();
        let facts = Facts {
            release: Release::Base,
            images: &images,
            live_images: &images,
            settings: &Settings::default(),
            host_paths: &HostPaths::default(),
        };
        let set = json!(stateful_set(&spec, &facts).unwrap());
        let template = &set["spec"]["template"];
        let monitor = &monitors()[1]["spec"];
        let wanted = monitor["selector"]["matchLabels"].as_object().unwrap();
        for (name, value) in wanted {
            assert_eq!(template["metadata"]["labels"][name], *value, "{name}");
        }
        assert!(template["metadata"]["labels"][names::PART_OF].is_string());
        for endpoint in monitor["podMetricsEndpoints"].as_array().unwrap() {
            let (port, name) = (&endpoint["port"], &endpoint["relabelings"][0]["regex"]);
            let containers = template["spec"]["containers"].as_array().unwrap();
            let container = containers.iter().find(|it| it["name"] == *name).unwrap();
            let ports = container["ports"].as_array().unwrap();
            let there = ports.iter().filter(|it| it["name"] == *port).count();
            assert_eq!(there, 1, "{port} of {name}");
        }
    }
}
