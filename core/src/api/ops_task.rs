//! `EtcdOpsTask`: one operation on an etcd cluster, done once.
#![expect(
    clippy::duplicated_attributes,
    reason = "columns have the same type or priority"
)]

use kube_derive::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::common::LastError;
use super::number::Int32;
use super::schema::{DURATION, immutable, rule};
use super::time::Time;

/// What is to be done, and to whom.
#[derive(Clone, CustomResource, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "druid.gardener.cloud",
    version = "v1alpha1",
    kind = "EtcdOpsTask",
    plural = "etcdopstasks",
    shortname = "eot",
    namespaced,
    status = "EtcdOpsTaskStatus",
    derive = "PartialEq",
    doc = "One operation on an etcd cluster, done once.",
    printcolumn(name = "State", type_ = "string", json_path = ".status.state"),
    printcolumn(name = "Etcd", type_ = "string", json_path = ".spec.etcdName"),
    printcolumn(
        name = "Age",
        type_ = "date",
        json_path = ".metadata.creationTimestamp"
    ),
    printcolumn(
        name = "Phase",
        type_ = "string",
        json_path = ".status.lastOperation.type",
        priority = 1
    ),
    printcolumn(
        name = "TTL",
        type_ = "integer",
        json_path = ".spec.ttlSecondsAfterFinished",
        priority = 1
    ),
    crates(kube_core = "::kube_core")
)]
#[serde(rename_all = "camelCase")]
pub struct EtcdOpsTaskSpec {
    /// The operation.
    #[schemars(extend("x-kubernetes-validations" = [immutable("config is immutable")]))]
    pub config: EtcdOpsTaskConfig,
    /// How long the task is kept once it is over, in seconds.
    #[serde(default = "an_hour")]
    #[schemars(range(min = 1), extend("x-kubernetes-validations" =
        [immutable("ttlSecondsAfterFinished is immutable")]))]
    pub ttl_seconds_after_finished: Int32,
    /// The Etcd, in the namespace of the task.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-kubernetes-validations" = [immutable("etcdName is immutable")]))]
    pub etcd_name: Option<String>,
}

/// Exactly one of these.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("minProperties" = 1, "maxProperties" = 1))]
pub struct EtcdOpsTaskConfig {
    /// Take a snapshot.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub on_demand_snapshot: Option<OnDemandSnapshot>,
    /// Compact the history, defragment the members.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub on_demand_maintenance: Option<OnDemandMaintenance>,
    /// Bring back a cluster that has lost its quorum for good.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recover_from_quorum_loss: Option<RecoverFromQuorumLoss>,
    /// Make one snapshot of the last full one and its deltas.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub on_demand_snapshot_compaction: Option<OnDemandSnapshotCompaction>,
}

/// Takes a snapshot.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [rule(
    "isFinal must be false (or omitted) when type is 'delta'",
    "!(self.type == 'delta' && has(self.isFinal) && self.isFinal)",
)]))]
pub struct OnDemandSnapshot {
    /// `full` or `delta`.
    #[serde(rename = "type")]
    #[schemars(extend("enum" = ["full", "delta"]))]
    pub kind: String,
    /// Whether a full snapshot is marked as the last one of this cluster.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub is_final: Option<bool>,
    /// How long a delta snapshot may take, in seconds.
    #[serde(default = "a_minute")]
    #[schemars(range(min = 10))]
    pub timeout_seconds_delta: Int32,
    /// How long a full snapshot may take, in seconds.
    #[serde(default = "quarter_of_an_hour")]
    #[schemars(range(min = 120))]
    pub timeout_seconds_full: Int32,
}

/// Compacts, defragments, or both, in this order.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [
    rule(
        "etcdCompaction or etcdDefragmentation must be true",
        "(has(self.etcdCompaction) && self.etcdCompaction) || \
         (has(self.etcdDefragmentation) && self.etcdDefragmentation)",
    ),
    rule(
        "compactionRevision and compactionAge need etcdCompaction",
        "(has(self.etcdCompaction) && self.etcdCompaction) || \
         !(has(self.compactionRevision) || has(self.compactionAge))",
    ),
    rule(
        "compactionRevision and compactionAge exclude each other",
        "!(has(self.compactionRevision) && has(self.compactionAge))",
    ),
]))]
pub struct OnDemandMaintenance {
    /// Forget the history: up to the newest revision that the backups cover, or without backups the
    /// present one, if nothing else says how far.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub etcd_compaction: Option<bool>,
    /// How far to forget: up to this revision. The backups must cover it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub compaction_revision: Option<i64>,
    /// How far to forget: up to the newest revision that was backed up at least this long ago.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("pattern" = DURATION))]
    pub compaction_age: Option<String>,
    /// Give back free space, one member after the other, the leader last and as a follower.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub etcd_defragmentation: Option<bool>,
    /// How long all of it may take, in seconds.
    #[serde(default = "quarter_of_an_hour")]
    #[schemars(range(min = 10))]
    pub timeout_seconds: Int32,
}

/// Starts the cluster again from one member, and lets the others join.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RecoverFromQuorumLoss {
    /// Go on even if what was written since the last backup may be lost.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allow_data_loss: Option<bool>,
    /// Give new volumes to the members that join again. Otherwise they keep theirs, with what they had
    /// moved aside there; a volume that is lost is replaced in any case.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remove_volumes: Option<bool>,
    /// How long the members may take to stop.
    #[serde(default = "minute")]
    #[schemars(extend("pattern" = DURATION))]
    pub scale_down_timeout: String,
    /// How long the pod of the first member may take to run.
    #[serde(default = "three_minutes")]
    #[schemars(extend("pattern" = DURATION))]
    pub pod_ready_timeout: String,
    /// How long the cluster may take to be ready after that.
    #[serde(default = "five_minutes")]
    #[schemars(extend("pattern" = DURATION))]
    pub etcd_ready_timeout: String,
}

/// Makes one snapshot of the last full one and its deltas.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct OnDemandSnapshotCompaction {
    /// How long it may take, in seconds.
    #[serde(default = "three_hours")]
    #[schemars(range(min = 60))]
    pub timeout_seconds: Int32,
}

fn an_hour() -> Int32 {
    Int32(3600)
}

fn three_hours() -> Int32 {
    Int32(10_800)
}

fn a_minute() -> Int32 {
    Int32(60)
}

fn quarter_of_an_hour() -> Int32 {
    Int32(900)
}

fn minute() -> String {
    "60s".to_owned()
}

fn three_minutes() -> String {
    "180s".to_owned()
}

fn five_minutes() -> String {
    "300s".to_owned()
}

/// How far it is, and what came of it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct EtcdOpsTaskStatus {
    /// `Pending`, `InProgress`, `Succeeded`, `Failed` or `Rejected`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("enum" = ["Pending", "InProgress", "Succeeded", "Failed", "Rejected"]))]
    pub state: Option<String>,
    /// When the state last changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_transition_time: Option<Time>,
    /// When it was first in progress.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Time>,
    /// How many attempts have failed that were worth another one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failed_attempts: Option<i64>,
    /// The last three errors, the newest last.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 10))]
    pub last_errors: Option<Vec<LastError>>,
    /// What was last done.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_operation: Option<TaskOperation>,
    /// What came of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub result: Option<TaskResult>,
}

/// What was last done for a task.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TaskOperation {
    /// `Admit`, `Execution` or `Cleanup`.
    #[serde(rename = "type")]
    #[schemars(extend("enum" = ["Admit", "Execution", "Cleanup"]))]
    pub kind: String,
    /// `InProgress`, `Completed` or `Failed`.
    #[schemars(extend("enum" = ["InProgress", "Completed", "Failed"]))]
    pub state: String,
    /// What it is about.
    pub description: String,
    /// Joins what was logged of it.
    #[serde(rename = "runID")]
    pub run_id: String,
    /// When this was written.
    pub last_update_time: Time,
}

/// What came of a task. A task fills in what it is about.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TaskResult {
    /// The snapshot that was taken or made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub snapshot: Option<TaskSnapshot>,
    /// The revision up to which the history was forgotten.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub compacted_revision: Option<i64>,
    /// How many bytes all members' databases have shrunk by.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reclaimed_bytes: Option<i64>,
    /// The members that were defragmented, in the order in which they were.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub members: Option<Vec<TaskMember>>,
    /// The alarms that were cleared.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cleared_alarms: Option<Vec<String>>,
    /// The member that the cluster was started again from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recovered_from: Option<String>,
    /// What that member was started with: `Member` for its own data, or `Backup`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("enum" = ["Member", "Backup"]))]
    pub recovered_with: Option<String>,
    /// The revision that the cluster began again at.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recovered_revision: Option<i64>,
    /// The revision up to which the backup was found to be restorable before anything was changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backup_revision: Option<i64>,
    /// What could have been lost, for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub possible_loss: Option<String>,
}

/// A member that was defragmented.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TaskMember {
    /// Its name.
    pub name: String,
    /// The size of its database before, bytes.
    pub bytes_before: i64,
    /// The size of its database after, bytes.
    pub bytes_after: i64,
}

/// A snapshot in the store.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TaskSnapshot {
    /// Its name in the store.
    pub name: String,
    /// The last revision in it.
    pub revision: i64,
    /// Its size in the store, bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<i64>,
    /// The digest of what is in the store, in hexadecimal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
    /// When it was found to be whole.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub verified_at: Option<Time>,
}
