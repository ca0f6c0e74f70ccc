//! `spec.upgrade` and `status.upgrade`: taking part in upgrades of etcd, and how far one is.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::record::UpgradeRecord;
use crate::api::Time;

/// How this Etcd takes part in upgrades of etcd.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Upgrade {
    /// `true`: on the next release, whatever the operator's feature gate says. `false`: on the old
    /// one. Without it, as the gate says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
    /// Touch no further member.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub paused: Option<bool>,
    /// Leave the last member on the old release: until it goes, the way back is free. The way back
    /// itself holds nobody.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hold_last: Option<bool>,
}

/// The upgrade of etcd, or the way back, that is under way or was the last.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct UpgradeStatus {
    /// The release that it set out from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// The release that it goes to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
    /// `Upgrade`, `Rollback`, or `Roll` if the release stays.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub direction: Option<String>,
    /// `Preflight`, `Snapshot`, `Rolling`, `Finalizing`, `Succeeded`, `PuttingBack`, `RolledBack`,
    /// `Blocked`, `Refused`, `Waiting` or `Paused`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub phase: Option<String>,
    /// Why it is not further, as a word.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Why it is not further, and what can be done about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// The snapshot that makes it safe.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub snapshot: Option<UpgradeSnapshot>,
    /// How many snapshots of this attempt have failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attempts: Option<i64>,
    /// All members.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub members: Option<Vec<UpgradeMember>>,
    /// When it began.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Time>,
    /// When it was done.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<Time>,
    /// When the phase last changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_transition_time: Option<Time>,
    /// What the operator goes on from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub record: Option<UpgradeRecord>,
    /// What pods of each revision of the StatefulSet are made from, as long as there are any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revisions: Option<Vec<RevisionRecord>>,
}

/// The snapshot that makes an upgrade safe.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct UpgradeSnapshot {
    /// Its name in the store.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The `EtcdOpsTask` that took it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub task_name: Option<String>,
    /// The last revision in it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revision: Option<i64>,
    /// Its size in the store, bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<i64>,
    /// Its digest, in hexadecimal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
    /// When it was found to be whole and new enough.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub verified_at: Option<Time>,
}

/// A member in an upgrade.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct UpgradeMember {
    /// Its name.
    pub name: String,
    /// The release that it runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// `Pending`, `Replacing`, `Replaced` or `PutBack`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub phase: Option<String>,
}

/// What the pods of one revision of the StatefulSet are made from.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RevisionRecord {
    /// The revision: the label `controller-revision-hash` of the pods.
    pub name: String,
    /// The release of etcd.
    pub version: String,
    /// The fingerprint of what else was asked for; empty if it is not known.
    pub template: String,
}
