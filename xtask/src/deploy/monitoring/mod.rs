//! What watches Etcds with Prometheus and Grafana: a kustomize component, and a part of the chart, for
//! clusters that have the Prometheus operator.
//!
//! `monitors` says where numbers come from and which labels they get, `rules` when somebody has to look,
//! `dashboard` what there is to see.

mod dashboard;
mod monitors;
mod rules;

use serde_json::{Value, json};

use super::{DeployError, NAMESPACE, documents, labels};

pub use dashboard::dashboard;
pub use monitors::monitors;
pub use rules::rules;

/// The labels of a series that say which Etcd it is of.
const OF_ETCD: &str = "etcd_namespace, etcd";

/// The files, by their paths under the root, without the remark above them.
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
    let dashboard = serde_json::to_string_pretty(&dashboard())?;
    Ok([
        (
            "deploy/monitoring/kustomization.yaml",
            serde_saphyr::to_string(&component)?,
        ),
        ("deploy/monitoring/monitors.yaml", documents(&monitors())?),
        ("deploy/monitoring/rules.yaml", documents(&[rules()])?),
        ("deploy/monitoring/dashboard.json", format!("{dashboard}\n")),
    ])
}

/// The metadata of an object.
fn metadata(name: &str) -> Value {
    json!({ "name": name, "namespace": NAMESPACE, "labels": labels() })
}
