//! What several kinds have in common.

use k8s_openapi::api::core::v1::SecretReference as CoreSecretReference;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::schema::{CONTAINER, rule};
use super::time::Time;

/// A Secret by its name. Always one in the namespace of the object that refers to it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-map-type" = "atomic"))]
pub struct SecretReference {
    /// Its name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Ignored.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
}

impl From<&SecretReference> for CoreSecretReference {
    fn from(reference: &SecretReference) -> Self {
        Self {
            name: reference.name.clone(),
            namespace: reference.namespace.clone(),
        }
    }
}

/// Where backups are kept.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Store {
    /// The bucket, or its like.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63), extend("pattern" = CONTAINER))]
    pub container: Option<String>,
    /// The address of the object store, if it is not the provider's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-kubernetes-validations" =
        [rule("endpoint override must be a valid URL.", "isURL(self)")]))]
    pub endpoint_override: Option<String>,
    /// What the names of all backups begin with.
    pub prefix: String,
    /// S3, ABS, GCS, Swift, OSS, ECS, OCS or Local, or another name of one of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub provider: Option<String>,
    /// The credentials.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<SecretReference>,
}

/// One thing that is the case, is not, or is not known.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Condition {
    /// What it is about.
    #[serde(rename = "type")]
    pub kind: String,
    /// `True`, `False` or `Unknown`.
    pub status: String,
    /// When the status last changed.
    pub last_transition_time: Time,
    /// When it was last looked at.
    pub last_update_time: Time,
    /// Why, as a word.
    pub reason: String,
    /// Why, as a sentence.
    pub message: String,
}

/// An error of the last operation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LastError {
    /// A stable name of it.
    pub code: String,
    /// What happened.
    pub description: String,
    /// When.
    pub observed_at: Time,
}

/// What the operator last did for an Etcd, or is doing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LastOperation {
    /// `Create`, `Reconcile` or `Delete`.
    #[serde(rename = "type")]
    pub kind: String,
    /// `Processing`, `Succeeded`, `Error` or `Requeue`.
    pub state: String,
    /// What it is about.
    pub description: String,
    /// Joins what was logged of it.
    #[serde(rename = "runID")]
    pub run_id: String,
    /// When this was written.
    pub last_update_time: Time,
}
