//! What the API server stores of an object that it is given: it fills in what is left out and leaves
//! out what is empty. With that, what is rendered can be compared with what is there without asking
//! anybody.
//!
//! Source: the defaults of Kubernetes v1.34, for the kinds and fields that are rendered here; a test
//! compares them with those of a real API server. What depends on the cluster (addresses, uids) is
//! not filled in.

use serde_json::{Map, Value, json};

use super::difference::{Difference, compare};
use super::owned::abandoned;

/// Fills in the defaults of an object.
pub fn fill(object: &mut Value) {
    let kind = object["kind"].as_str().unwrap_or_default().to_owned();
    match kind.as_str() {
        "Service" => service(&mut object["spec"]),
        "StatefulSet" => stateful_set(&mut object["spec"]),
        "Job" => job(&mut object["spec"]),
        // Nothing is filled in.
        _ => {}
    }
    without_empty(object);
}

/// A field that is said to be 0, which is not stored.
const NOTHING: &str = "initialDelaySeconds";

/// What is below it in a Service is replaced as one, whoever set it.
const SELECTOR: &str = "/spec/selector/";

/// Mappings that are not stored if nothing is in them.
const MAPPINGS: [&str; 6] = [
    "annotations",
    "labels",
    "limits",
    "matchLabels",
    "nodeSelector",
    "requests",
];

/// Empty lists, and some empty mappings, are not stored.
fn without_empty(value: &mut Value) {
    match value {
        Value::Object(object) => {
            object.values_mut().for_each(without_empty);
            object.retain(|key, value| match value {
                Value::Array(list) => !list.is_empty(),
                Value::Object(inner) => !inner.is_empty() || !MAPPINGS.contains(&key.as_str()),
                Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => true,
            });
        }
        Value::Array(list) => list.iter_mut().for_each(without_empty),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// What would change if a rendered object were applied by `manager` to the one that is there: fields
/// that differ, and fields that it once applied and does not any more. What others have added is
/// theirs, but in the selector of a Service: that is one value, and with a label more it selects no
/// pod. Nothing, if and only if there is no need for a request.
///
/// # Errors
/// If the rendered object cannot be written as JSON.
pub fn drift<T: serde::Serialize>(
    rendered: &T,
    there: &Value,
    manager: &str,
) -> Result<Vec<Difference>, serde_json::Error> {
    let mut wanted = serde_json::to_value(rendered)?;
    fill(&mut wanted);
    let mut all = compare(there, &wanted);
    let whole = |it: &Difference| wanted["kind"] == "Service" && it.path.starts_with(SELECTOR);
    all.retain(|it| it.ours.is_some() || it.path.ends_with(NOTHING) || whole(it));
    all.extend(abandoned(there, &wanted, manager));
    Ok(all)
}

fn default(object: &mut Map<String, Value>, key: &str, value: Value) {
    object.entry(key).or_insert(value);
}

fn defaults<const N: usize>(object: &mut Map<String, Value>, all: [(&str, Value); N]) {
    for (key, value) in all {
        default(object, key, value);
    }
}

/// Every object in a list.
fn each<'a>(
    object: &'a mut Map<String, Value>,
    key: &str,
) -> impl Iterator<Item = &'a mut Map<String, Value>> {
    let list = object.get_mut(key).and_then(Value::as_array_mut);
    list.into_iter().flatten().filter_map(Value::as_object_mut)
}

fn service(spec: &mut Value) {
    let Value::Object(spec) = spec else { return };
    defaults(
        spec,
        [
            ("internalTrafficPolicy", json!("Cluster")),
            ("sessionAffinity", json!("None")),
            ("type", json!("ClusterIP")),
        ],
    );
    for port in each(spec, "ports") {
        default(port, "protocol", json!("TCP"));
        let number = port.get("port").cloned().unwrap_or_default();
        default(port, "targetPort", number);
    }
}

fn stateful_set(spec: &mut Value) {
    let Value::Object(spec) = spec else { return };
    defaults(
        spec,
        [
            ("podManagementPolicy", json!("OrderedReady")),
            ("replicas", json!(1)),
            ("revisionHistoryLimit", json!(10)),
            ("serviceName", json!("")),
            ("updateStrategy", json!({})),
            (
                "persistentVolumeClaimRetentionPolicy",
                json!({ "whenDeleted": "Retain", "whenScaled": "Retain" }),
            ),
        ],
    );
    if let Some(Value::Object(strategy)) = spec.get_mut("updateStrategy") {
        default(strategy, "type", json!("RollingUpdate"));
    }
    for claim in each(spec, "volumeClaimTemplates") {
        defaults(
            claim,
            [
                ("apiVersion", json!("v1")),
                ("kind", json!("PersistentVolumeClaim")),
                ("status", json!({ "phase": "Pending" })),
            ],
        );
        if let Some(Value::Object(spec)) = claim.get_mut("spec") {
            default(spec, "volumeMode", json!("Filesystem"));
        }
    }
    template(spec);
}

fn job(spec: &mut Value) {
    let Value::Object(spec) = spec else { return };
    defaults(
        spec,
        [
            ("backoffLimit", json!(6)),
            ("completionMode", json!("NonIndexed")),
            ("completions", json!(1)),
            ("manualSelector", json!(false)),
            ("parallelism", json!(1)),
            ("podReplacementPolicy", json!("TerminatingOrFailed")),
            ("suspend", json!(false)),
        ],
    );
    template(spec);
}

fn template(spec: &mut Map<String, Value>) {
    let pod = spec.get_mut("template").and_then(|it| it.get_mut("spec"));
    let Some(Value::Object(pod)) = pod else {
        return;
    };
    defaults(
        pod,
        [
            ("dnsPolicy", json!("ClusterFirst")),
            ("restartPolicy", json!("Always")),
            ("schedulerName", json!("default-scheduler")),
            ("securityContext", json!({})),
            ("terminationGracePeriodSeconds", json!(30)),
        ],
    );
    // The name that the field once had.
    if let Some(name) = pod.get("serviceAccountName").cloned() {
        default(pod, "serviceAccount", name);
    }
    for kind in ["containers", "initContainers"] {
        each(pod, kind).for_each(container);
    }
    each(pod, "volumes").for_each(volume);
}

fn container(container: &mut Map<String, Value>) {
    defaults(
        container,
        [
            ("resources", json!({})),
            ("terminationMessagePath", json!("/dev/termination-log")),
            ("terminationMessagePolicy", json!("File")),
        ],
    );
    for port in each(container, "ports") {
        default(port, "protocol", json!("TCP"));
    }
    for variable in each(container, "env") {
        let field = variable
            .get_mut("valueFrom")
            .and_then(|it| it.get_mut("fieldRef"));
        if let Some(Value::Object(field)) = field {
            default(field, "apiVersion", json!("v1"));
        }
    }
    if let Some(Value::Object(probe)) = container.get_mut("readinessProbe") {
        probe.retain(|key, value| key != NOTHING || *value != json!(0));
        defaults(
            probe,
            [
                ("failureThreshold", json!(3)),
                ("periodSeconds", json!(10)),
                ("successThreshold", json!(1)),
                ("timeoutSeconds", json!(1)),
            ],
        );
        if let Some(Value::Object(get)) = probe.get_mut("httpGet") {
            default(get, "scheme", json!("HTTP"));
        }
    }
}

fn volume(volume: &mut Map<String, Value>) {
    for kind in ["secret", "configMap"] {
        if let Some(Value::Object(source)) = volume.get_mut(kind) {
            default(source, "defaultMode", json!(0o644));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_more_in_the_selector_of_a_service_is_drift_and_elsewhere_it_is_not() {
        let object =
            |kind: &str, selector: Value| json!({ "kind": kind, "spec": { "selector": selector } });
        let wanted = json!({ "a": "b" });
        let with_more = json!({ "a": "b", "x/y": "z" });
        let paths = |kind: &str, there: &Value| -> Vec<String> {
            let there = object(kind, there.clone());
            let mut there = there;
            fill(&mut there);
            let drift = drift(&object(kind, wanted.clone()), &there, "we").unwrap();
            drift.into_iter().map(|it| it.path).collect()
        };
        assert_eq!(paths("Service", &with_more), ["/spec/selector/x~1y"]);
        assert_eq!(paths("Service", &wanted), Vec::<String>::new());
        assert_eq!(paths("Other", &with_more), Vec::<String>::new());
    }
}
