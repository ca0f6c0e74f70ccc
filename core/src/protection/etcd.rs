//! What of an Etcd decides who may change what belongs to it.

use serde_json::Value;

use crate::api::names;
use crate::status::operation::Code;

/// An Etcd.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Guarded {
    /// Its name.
    pub name: String,
    /// Whether it is being deleted.
    pub leaves: bool,
    /// Whether everybody may change its objects: [`names::DISABLE_PROTECTION`].
    pub protection_disabled: bool,
    /// Whether only its `ConfigMap` and StatefulSet are made: [`names::DISABLE_RUNTIME_COMPONENTS`].
    pub runtime_components_disabled: bool,
    /// How far the operator is with it, if it changes its objects.
    pub work: Option<Work>,
}

/// The states of a reconciliation that changes objects. One that waits (`Requeue`) is none: it may be paused,
/// and waits for a person. Nor is an upgrade that has halted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// Under way.
    Processing,
    /// It failed and is tried again.
    Error,
}

impl Work {
    /// As `status.lastOperation.state` has it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Processing => "Processing",
            Self::Error => "Error",
        }
    }
}

impl Guarded {
    /// Of an Etcd as the API server has it, also one that cannot be read in full.
    pub fn of(etcd: &Value) -> Self {
        let metadata = &etcd["metadata"];
        let annotated = |name: &str| metadata["annotations"].get(name).is_some();
        Self {
            name: metadata["name"].as_str().unwrap_or_default().to_owned(),
            leaves: !metadata["deletionTimestamp"].is_null(),
            protection_disabled: annotated(names::DISABLE_PROTECTION),
            runtime_components_disabled: annotated(names::DISABLE_RUNTIME_COMPONENTS),
            work: work(&etcd["status"]),
        }
    }
}

fn work(status: &Value) -> Option<Work> {
    let last = &status["lastOperation"];
    if last["type"] != "Reconcile" {
        return None;
    }
    let halted = Code::UpgradeHalted.to_string();
    let errors = status["lastErrors"].as_array().map(Vec::as_slice);
    let errors = errors.unwrap_or_default();
    let only_halted = !errors.is_empty() && errors.iter().all(|it| it["code"] == *halted);
    [Work::Processing, Work::Error]
        .into_iter()
        .find(|it| last["state"] == it.word())
        .filter(|it| *it != Work::Error || !only_halted)
}
