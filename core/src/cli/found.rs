//! An Etcd as the API server has it, readable or not.

use jiff::Timestamp;
use kube_core::{DeserializeGuard, Resource as _};
use serde_json::Value;

use crate::api::{Etcd, EtcdStatus, names};

/// An Etcd as the API server has it. One that a later release has written may not be readable, and
/// hides no other.
#[derive(Clone, Debug)]
pub struct Found {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// When it was made.
    pub created: Option<Timestamp>,
    /// The object, or why it cannot be read.
    pub etcd: Result<Box<Etcd>, String>,
}

impl Found {
    /// Takes what came.
    pub fn of(object: DeserializeGuard<Etcd>) -> Self {
        let metadata = object.meta();
        Self {
            namespace: metadata.namespace.clone().unwrap_or_default(),
            name: metadata.name.clone().unwrap_or_default(),
            created: metadata.creation_timestamp.as_ref().map(|it| it.0),
            etcd: object.0.map(Box::new).map_err(|invalid| invalid.error),
        }
    }

    /// What is needed to speak of the same Etcd again.
    pub fn key(&self) -> (String, String) {
        (self.namespace.clone(), self.name.clone())
    }

    pub(crate) fn readable(&self) -> Option<&Etcd> {
        self.etcd.as_deref().ok()
    }

    pub(crate) fn status(&self) -> Option<&EtcdStatus> {
        self.readable()?.status.as_ref()
    }
}

impl From<Value> for Found {
    /// For JSON that has at least metadata; anything else is an Etcd without a name.
    fn from(object: Value) -> Self {
        match serde_json::from_value::<DeserializeGuard<Etcd>>(object) {
            Ok(object) => Self::of(object),
            Err(error) => Self {
                namespace: String::new(),
                name: String::new(),
                created: None,
                etcd: Err(error.to_string()),
            },
        }
    }
}

/// An annotation.
pub(crate) fn annotation<'a>(etcd: &'a Etcd, name: &str) -> Option<&'a str> {
    let all = etcd.metadata.annotations.as_ref()?;
    all.get(name).map(String::as_str)
}

/// Whether the halt of this attempt has been acknowledged.
pub(crate) fn is_acknowledged(etcd: &Etcd, attempt: i64) -> bool {
    annotation(etcd, names::ACKNOWLEDGE_HALT) == Some(attempt.to_string().as_str())
}

/// Whether a person wants no further member to be touched.
pub(crate) fn is_paused(etcd: &Etcd) -> bool {
    let upgrade = etcd.spec.upgrade.as_ref();
    upgrade.and_then(|it| it.paused).unwrap_or(false)
}
