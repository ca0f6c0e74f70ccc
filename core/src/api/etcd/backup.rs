//! `spec.backup`: the backups, and what stands beside each member for them.

use k8s_openapi::api::core::v1::ResourceRequirements;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::tls::Tls;
use crate::api::schema::{CRON, DURATION, rule};
use crate::api::{Int32, Store};

/// The backups, and what stands beside each member for them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [rule(
    "etcd.spec.backup.garbageCollectionPeriod must be greater than etcd.spec.backup.deltaSnapshotPeriod",
    "!(has(self.deltaSnapshotPeriod) && has(self.garbageCollectionPeriod)) || \
     duration(self.deltaSnapshotPeriod).getSeconds() < \
     duration(self.garbageCollectionPeriod).getSeconds()",
)]))]
pub struct Backup {
    /// The port of the sidecar; without it, 8080.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<Int32>,
    /// Certificates between the sidecar and whoever calls it; without it, no TLS.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls: Option<Tls>,
    /// The image; without it, that of the image vector.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// Where backups are kept; without it, there are none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub store: Option<Store>,
    /// What the container needs and may use.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resources: Option<ResourceRequirements>,
    /// The making of one snapshot out of many.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub snapshot_compaction: Option<SnapshotCompaction>,
    /// When full snapshots are taken.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("pattern" = CRON))]
    pub full_snapshot_schedule: Option<String>,
    /// Which old snapshots are kept; without it, the newest ones.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("enum" = ["Exponential", "LimitBased"]))]
    pub garbage_collection_policy: Option<String>,
    /// How many full snapshots are kept if `LimitBased`; without it, 7.
    #[serde(
        rename = "maxBackupsLimitBasedGC",
        skip_serializing_if = "Option::is_none"
    )]
    pub max_backups_limit_based_gc: Option<Int32>,
    /// How often old snapshots are looked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("pattern" = DURATION))]
    pub garbage_collection_period: Option<String>,
    /// How often delta snapshots are taken.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("pattern" = DURATION))]
    pub delta_snapshot_period: Option<String>,
    /// At which size a delta snapshot is taken before its time; without it, 100Mi.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delta_snapshot_memory_limit: Option<Quantity>,
    /// How long delta snapshots are kept after the next full one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("pattern" = DURATION))]
    pub delta_snapshot_retention_period: Option<String>,
    /// How snapshots are packed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub compression: Option<Compression>,
    /// Whether the sidecar serves profiles of itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enable_profiling: Option<bool>,
    /// How long a full snapshot may take; without it, 15m.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("pattern" = DURATION))]
    pub etcd_snapshot_timeout: Option<String>,
    /// How the sidecars find out who takes snapshots.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub leader_election: Option<LeaderElection>,
}

/// The making of one snapshot out of many.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SnapshotCompaction {
    /// What the container needs. Limits are ignored.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resources: Option<ResourceRequirements>,
    /// After how many revisions; without it, as the operator is configured.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub events_threshold: Option<i64>,
    /// After how many revisions a full snapshot is taken instead; without it, as the operator is
    /// configured.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trigger_full_snapshot_threshold: Option<i64>,
}

/// How snapshots are packed.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Compression {
    /// Whether; without it, yes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
    /// How; without it, gzip.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("enum" = ["gzip", "lzw", "zlib"]))]
    pub policy: Option<String>,
}

/// How the sidecars find out who takes snapshots.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LeaderElection {
    /// How often they ask.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("pattern" = DURATION))]
    pub reelection_period: Option<String>,
    /// How long an etcd may take to answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("pattern" = DURATION))]
    pub etcd_connection_timeout: Option<String>,
}
