//! What of an Etcd decides who may change what belongs to it.

use serde_json::Value;

use crate::api::names;

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
    /// How far the operator is with it, if it works on it.
    pub work: Option<Work>,
}

/// The states of a reconciliation that is not over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// Under way.
    Processing,
    /// It failed and is tried again.
    Error,
    /// It waits and goes on.
    Requeue,
}

impl Work {
    /// As `status.lastOperation.state` has it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Processing => "Processing",
            Self::Error => "Error",
            Self::Requeue => "Requeue",
        }
    }
}

impl Guarded {
    /// Of an Etcd as the API server has it, also one that cannot be read in full.
    pub fn of(etcd: &Value) -> Self {
        let metadata = &etcd["metadata"];
        let annotated = |name: &str| metadata["annotations"].get(name).is_some();
        let last = &etcd["status"]["lastOperation"];
        let all = [Work::Processing, Work::Error, Work::Requeue];
        let mut all = all.into_iter();
        Self {
            name: metadata["name"].as_str().unwrap_or_default().to_owned(),
            leaves: !metadata["deletionTimestamp"].is_null(),
            protection_disabled: annotated(names::DISABLE_PROTECTION),
            runtime_components_disabled: annotated(names::DISABLE_RUNTIME_COMPONENTS),
            work: all.find(|it| last["type"] == "Reconcile" && last["state"] == it.word()),
        }
    }
}
