//! What of the Helm chart is made from code: all but its templates, which are written by hand and compared
//! with the manifests.

use druid_core::operator::{Config, Gates};
use serde_json::{Value, json};

use super::{Build, DeployError, NAME, access, documents, images, monitoring, operator};
use crate::image::{self, RELEASES};

/// Where it is.
pub const DIRECTORY: &str = "charts/druid";

/// Values of etcd-druid's chart that have no meaning here: the templates refuse them, and say what to
/// write instead.
const REFUSED: [&str; 5] = [
    "controllerManager",
    "controllers",
    "enabledOperatorConfig",
    "webhookPKI",
    "webhooks",
];

/// Its files by name, without the remark above them.
pub(super) fn files(definitions: &[Value]) -> Result<Vec<(String, String)>, DeployError> {
    let rules = serde_saphyr::to_string(&access::rules())?;
    let mut files = vec![
        ("Chart.yaml".to_owned(), about()),
        ("values.yaml".to_owned(), default_values()?),
        ("values.schema.json".to_owned(), json(&schema())?),
        ("crds/crds.yaml".to_owned(), documents(definitions)?),
        ("files/rules.yaml".to_owned(), rules),
    ];
    let watched = "files/monitoring";
    let dashboard = json(&monitoring::dashboard())?;
    files.push((format!("{watched}/dashboard.json"), dashboard));
    for object in monitoring::monitors().iter().chain([&monitoring::rules()]) {
        let kind = object["kind"].as_str().unwrap_or_default();
        let spec = serde_saphyr::to_string(&object["spec"])?;
        files.push((format!("{watched}/{kind}.yaml"), spec));
    }
    Ok(files)
}

fn json(value: &Value) -> Result<String, DeployError> {
    Ok(serde_json::to_string_pretty(value)? + "\n")
}

/// The values with which it makes [`super::objects`].
pub fn values(gate: bool, build: Option<&Build>) -> Value {
    let mut values = json!({ "featureGates": { "UpgradeEtcdVersion": gate } });
    if let Some(build) = build {
        values["image"] = json!({ "repository": build.repository, "tag": tag() });
        values["imageVectorOverwrite"] = images::vector(build);
        values["podAnnotations"] = json!({ "checksum/image": build.stamp });
    }
    values
}

fn tag() -> String {
    image::tag(RELEASES[1])
}

fn about() -> String {
    let version = env!("CARGO_PKG_VERSION");
    format!(
        "\
apiVersion: v2
name: {NAME}
description: Runs, backs up and upgrades etcd clusters.
type: application
version: {version}
appVersion: {version}
"
    )
}

fn default_values() -> Result<String, DeployError> {
    let repository = image::REPOSITORY;
    let tag = tag();
    let resources = indented(&serde_saphyr::to_string(&operator::resources())?);
    let config = indented(&operator::settings(false, ""));
    let overwrite = images::example();
    let overwrite = overwrite.lines().map(|line| format!("#     {line}\n"));
    let overwrite: String = overwrite.collect();
    Ok(format!(
        "
# The image of the operator. What `cargo xtask image` or the Containerfile makes, pushed to a registry of
# yours.
image:
  repository: {repository}
  tag: {tag}
  imagePullPolicy: IfNotPresent

# How many operators there are. One works, the others are ready to: more than one needs
# operatorConfig.leaderElection.enabled, and gets a PodDisruptionBudget.
replicas: 1

# What the container of the operator may use.
resources:
{resources}
# On which nodes the operator runs, as in any pod.
nodeSelector: {{}}
affinity: {{}}
tolerations: []
topologySpreadConstraints: []

# Annotations of the operator's pods.
podAnnotations: {{}}

# The account of the operator. The chart makes it, with the rights that the operator needs.
serviceAccount:
  name: {NAME}

# Feature gates by name, in place of those in operatorConfig.featureGates: `UpgradeEtcdVersion: true`
# takes all Etcds from etcd {base} to {next}, `false` back.
featureGates: {{}}

# Images in place of those that are built in: a list of name, and ref or repository and tag. Those that are
# built in are etcd-druid's, whose sidecar verifies no snapshot for an upgrade and knows no recovery. With
# `druid` from a registry of yours, in every place:
#
#   imageVectorOverwrite:
{overwrite}imageVectorOverwrite: {{}}

# Alerts, a dashboard, and where Prometheus reads numbers: for clusters with the Prometheus operator, whose
# kinds (monitoring.coreos.com/v1) have to be there, and with Grafana's sidecar for dashboards.
monitoring:
  enabled: false
  labels: {{}}  # what your Prometheus selects monitors and rules by

# The operator's configuration file, without apiVersion and kind: the fields of etcd-druid's
# OperatorConfiguration. A change of it restarts the operator.
operatorConfig:
{config}",
        base = RELEASES[0],
        next = RELEASES[1],
    ))
}

fn indented(text: &str) -> String {
    let lines = text.lines().map(|line| format!("  {line}\n"));
    lines.collect()
}

/// Only what is known is taken, so that a misspelt value is refused by its name.
fn schema() -> Value {
    let texts = json!({ "type": "object", "additionalProperties": { "type": "string" } });
    let object = json!({ "type": "object" });
    let objects = json!({ "type": "array", "items": object });
    let text = json!({ "type": "string", "minLength": 1 });
    let closed = |properties: Value| json!({ "type": "object", "additionalProperties": false, "properties": properties });
    let mut config = Config::schema();
    for server in ["metrics", "webhooks"] {
        let server = &mut config["properties"]["server"]["properties"][server];
        server["properties"]["port"]["minimum"] = json!(1);
    }
    // What the templates refuse with a remedy.
    config["properties"]["logConfiguration"] = json!(true);
    config["properties"]["clientConnection"]["properties"]["acceptContentType"] = json!(true);
    let mut schema = closed(json!({
        "image": closed(json!({
            "repository": text,
            "tag": text,
            "imagePullPolicy": { "enum": ["Always", "IfNotPresent", "Never"] },
        })),
        "replicas": { "type": "integer", "minimum": 0 },
        "resources": object,
        "nodeSelector": texts,
        "affinity": object,
        "tolerations": objects,
        "topologySpreadConstraints": objects,
        "podAnnotations": texts,
        "serviceAccount": closed(json!({ "name": text })),
        "featureGates": Gates::schema(),
        "imageVectorOverwrite": closed(json!({ "images": objects })),
        "monitoring": closed(json!({ "enabled": { "type": "boolean" }, "labels": texts })),
        "operatorConfig": config,
        // Helm's own.
        "global": object,
    }));
    schema["$schema"] = json!("http://json-schema.org/draft-07/schema#");
    schema["$comment"] = json!(super::MADE.trim_start_matches("# ").trim_end());
    for name in REFUSED {
        schema["properties"][name] = json!(true);
    }
    schema
}
