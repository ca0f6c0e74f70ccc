//! Tasks of an Etcd that is named `main`.

use serde_json::{Value, json};

use crate::common_operator::eventually;
use crate::common_operator::space::{Space, TASKS, text};

pub(crate) fn create(space: &Space, name: &str, config: &Value) {
    create_with(space, name, &json!({}), config);
}

pub(crate) fn create_with(space: &Space, name: &str, annotations: &Value, config: &Value) {
    let task = json!({
        "apiVersion": "druid.gardener.cloud/v1alpha1", "kind": "EtcdOpsTask",
        "metadata": { "name": name, "namespace": space.name, "annotations": annotations },
        "spec": { "etcdName": "main", "config": config },
    });
    space.operator.cluster.apply(&[task]);
}

pub(crate) fn task(space: &Space, name: &str) -> Value {
    space.operator.cluster.get(space.name, TASKS, name)
}

/// Waits until it has succeeded; its status.
pub(crate) fn await_success(space: &Space, name: &str) -> Value {
    eventually(&format!("task {name} is over"), || succeeded(space, name))
}

/// The status of a task once it has succeeded. It must not fail.
pub(crate) fn succeeded(space: &Space, name: &str) -> Option<Value> {
    let status = task(space, name)["status"].clone();
    let state = text(&status["state"]);
    assert!(
        !["Failed", "Rejected"].contains(&state.as_str()),
        "{status:#}"
    );
    (state == "Succeeded").then_some(status)
}
