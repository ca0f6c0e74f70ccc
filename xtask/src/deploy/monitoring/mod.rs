//! What watches Etcds with Prometheus and Grafana: a kustomize component, for clusters that have the
//! Prometheus operator.
//!
//! `monitors` says where numbers come from and which labels they get, `rules` when somebody has to look,
//! `dashboard` what there is to see.

mod dashboard;
mod monitors;
mod rules;

use serde_json::{Value, json};

use super::{DeployError, MADE, NAMESPACE, labels};

pub use dashboard::dashboard;
pub use monitors::monitors;
pub use rules::rules;

/// The labels of a series that say which Etcd it is of.
const OF_ETCD: &str = "etcd_namespace, etcd";

/// The files, by their names in `deploy/`.
pub(super) fn files() -> Result<[(&'static str, String); 4], DeployError> {
    let component = json!({
        "apiVersion": "kustomize.config.k8s.io/v1alpha1",
        "kind": "Component",
        "resources": ["monitors.yaml", "rules.yaml"],
        "configMapGenerator": [{
            "name": "druid-dashboard", "namespace": NAMESPACE,
            "files": ["dashboard.json"],
            // What Grafana's sidecar looks for.
            "options": { "labels": { "grafana_dashboard": "1" }, "disableNameSuffixHash": true },
        }],
    });
    let yaml = |objects: &[Value]| -> Result<String, DeployError> {
        let documents: Vec<_> = objects
            .iter()
            .map(serde_saphyr::to_string)
            .collect::<Result<_, _>>()?;
        Ok(format!("{MADE}---\n{}", documents.join("---\n")))
    };
    let component = serde_saphyr::to_string(&component)?;
    let dashboard = serde_json::to_string_pretty(&dashboard())?;
    Ok([
        (
            "monitoring/kustomization.yaml",
            format!("{MADE}{component}"),
        ),
        ("monitoring/monitors.yaml", yaml(&monitors())?),
        ("monitoring/rules.yaml", yaml(&[rules()])?),
        ("monitoring/dashboard.json", format!("{dashboard}\n")),
    ])
}

/// The metadata of an object.
fn metadata(name: &str) -> Value {
    json!({ "name": name, "namespace": NAMESPACE, "labels": labels() })
}
