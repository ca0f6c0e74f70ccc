//! `status`: what is.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::upgrade::UpgradeStatus;
use crate::api::{Condition, Int32, LastError, LastOperation, Time};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;

/// What is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct EtcdStatus {
    /// The generation of the Etcd that this is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// The StatefulSet.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub etcd: Option<CrossVersionObjectReference>,
    /// What is the case.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub conditions: Option<Vec<Condition>>,
    /// What went wrong in the last operation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_errors: Option<Vec<LastError>>,
    /// What the operator last did, or is doing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_operation: Option<LastOperation>,
    /// How many pods are of the StatefulSet's current revision.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub current_replicas: Option<Int32>,
    /// The same.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replicas: Option<Int32>,
    /// How many pods are ready.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ready_replicas: Option<Int32>,
    /// Whether all pods are ready and as they are wanted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ready: Option<bool>,
    /// Not set any more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub label_selector: Option<LabelSelector>,
    /// The members that have registered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub members: Option<Vec<EtcdMember>>,
    /// Not set any more.
    #[serde(rename = "peerUrlTLSEnabled", skip_serializing_if = "Option::is_none")]
    pub peer_url_tls_enabled: Option<bool>,
    /// The labels of the pods, for the scale subresource.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub selector: Option<String>,
    /// The upgrade of etcd, or the way back, that is under way or was the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub upgrade: Option<UpgradeStatus>,
}

/// An object by its kind and name.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CrossVersionObjectReference {
    /// Its kind.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// Group and version of the kind.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub api_version: Option<String>,
}

/// A member, as its lease tells of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct EtcdMember {
    /// Its name.
    pub name: String,
    /// Its number, in hexadecimal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// `Leader` or `Member`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
    /// `Ready`, `NotReady` or `Unknown`.
    pub status: String,
    /// Why.
    pub reason: String,
    /// When the status last changed.
    pub last_transition_time: Time,
}
