//! The custom resource definitions, made from the types.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube_core::CustomResourceExt as _;
use serde_json::{Map, Value, json};

use super::etcd::ROOT_RULES;
use super::schema::{QUANTITY, Rule};
use super::{Etcd, EtcdCopyBackupsTask, EtcdOpsTask};

/// A kind of custom resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// [`Etcd`].
    Etcd,
    /// [`EtcdCopyBackupsTask`].
    EtcdCopyBackupsTask,
    /// [`EtcdOpsTask`].
    EtcdOpsTask,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Etcd, Self::EtcdCopyBackupsTask, Self::EtcdOpsTask];

    /// The `CustomResourceDefinition`, as it is to be applied.
    ///
    /// # Errors
    /// Only if the types say something that is no schema.
    pub fn definition(self) -> Result<Value, serde_json::Error> {
        match self {
            Self::Etcd => finished(&Etcd::crd(), &ROOT_RULES),
            Self::EtcdCopyBackupsTask => finished(&EtcdCopyBackupsTask::crd(), &[]),
            Self::EtcdOpsTask => finished(&EtcdOpsTask::crd(), &[]),
        }
    }
}

/// What the derivation leaves to be done: rules of the root, and what it says otherwise than the
/// API machinery does.
fn finished(
    definition: &CustomResourceDefinition,
    rules: &[Rule],
) -> Result<Value, serde_json::Error> {
    let mut definition = serde_json::to_value(definition)?;
    if let Some(root) = definition.pointer_mut("/spec/versions/0/schema/openAPIV3Schema") {
        schema(root);
        if !rules.is_empty() {
            root["x-kubernetes-validations"] = json!(rules);
        }
        root["properties"]["apiVersion"] = json!({ "type": "string" });
        root["properties"]["kind"] = json!({ "type": "string" });
        root["properties"]["metadata"] = json!({ "type": "object" });
    }
    Ok(definition)
}

/// What the core types of Kubernetes are described with is left to their own documentation.
const FOREIGN: [&str; 5] = [
    "affinity",
    "labelSelector",
    "resources",
    "selector",
    "topologySpreadConstraints",
];

/// Objects that are merged as a whole.
const ATOMIC: [&str; 3] = ["labelSelector", "namespaceSelector", "selector"];

fn schema(value: &mut Value) {
    let Value::Object(object) = value else { return };
    one(object);
    if let Some(Value::Object(properties)) = object.get_mut("properties") {
        for (name, property) in properties {
            schema(property);
            if FOREIGN.contains(&name.as_str()) {
                undescribed(property);
            }
            if ATOMIC.contains(&name.as_str()) && property["type"] == "object" {
                property["x-kubernetes-map-type"] = json!("atomic");
            }
        }
    }
    for inner in ["items", "additionalProperties"] {
        if let Some(inner) = object.get_mut(inner) {
            schema(inner);
        }
    }
}

/// A field that may be left out may not be null for that. A quantity is checked.
fn one(schema: &mut Map<String, Value>) {
    schema.remove("nullable");
    schema.remove("title");
    if schema.get("x-kubernetes-int-or-string") == Some(&Value::Bool(true)) {
        schema.insert(
            "anyOf".to_owned(),
            json!([{ "type": "integer" }, { "type": "string" }]),
        );
        schema.insert("pattern".to_owned(), json!(QUANTITY));
    }
}

fn undescribed(value: &mut Value) {
    match value {
        Value::Object(object) => {
            for (name, inner) in &mut *object {
                // A field may be called so.
                if name == "properties" {
                    if let Value::Object(properties) = inner {
                        properties.values_mut().for_each(undescribed);
                    }
                } else {
                    undescribed(inner);
                }
            }
            object.retain(|name, inner| name != "description" || !inner.is_string());
        }
        Value::Array(all) => all.iter_mut().for_each(undescribed),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}
