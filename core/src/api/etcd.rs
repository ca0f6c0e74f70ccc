//! `Etcd`: one etcd cluster, with its backups.
#![expect(
    clippy::duplicated_attributes,
    reason = "columns have the same type or priority"
)]

mod backup;
mod member;
mod record;
mod status;
mod tls;
mod upgrade;

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Affinity, TopologySpreadConstraint};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube_derive::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use self::backup::{Backup, Compression, LeaderElection, SnapshotCompaction};
pub use self::member::{AdditionalPeerUrls, ClientService, EtcdConfig};
pub use self::record::{
    HaltRecord, MemberRecord, ReplacementRecord, SnapshotRecord, TroubleRecord, UpgradeRecord,
    WaitRecord,
};
pub use self::status::{CrossVersionObjectReference, EtcdMember, EtcdStatus};
pub use self::tls::{CaReference, PeerTls, Tls};
pub use self::upgrade::{RevisionRecord, Upgrade, UpgradeMember, UpgradeSnapshot, UpgradeStatus};
use super::number::Int32;
use super::schema::{DNS_LABEL, Rule, immutable, rule};

/// What is wanted of an etcd cluster.
#[derive(Clone, CustomResource, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "druid.gardener.cloud",
    version = "v1alpha1",
    kind = "Etcd",
    plural = "etcds",
    namespaced,
    status = "EtcdStatus",
    derive = "PartialEq",
    doc = "An etcd cluster, with its backups.",
    scale(
        spec_replicas_path = ".spec.replicas",
        status_replicas_path = ".status.replicas",
        label_selector_path = ".status.selector"
    ),
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.ready"),
    printcolumn(
        name = "Quorate",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="Ready")].status"#
    ),
    printcolumn(
        name = "All Members Ready",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="AllMembersReady")].status"#
    ),
    printcolumn(
        name = "Backup Ready",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="BackupReady")].status"#
    ),
    printcolumn(
        name = "Cluster ID Mismatch",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="ClusterIDMismatch")].status"#
    ),
    printcolumn(
        name = "Age",
        type_ = "date",
        json_path = ".metadata.creationTimestamp"
    ),
    printcolumn(
        name = "Cluster Size",
        type_ = "integer",
        json_path = ".spec.replicas",
        priority = 1
    ),
    printcolumn(
        name = "Current Replicas",
        type_ = "integer",
        json_path = ".status.currentReplicas",
        priority = 1
    ),
    printcolumn(
        name = "Ready Replicas",
        type_ = "integer",
        json_path = ".status.readyReplicas",
        priority = 1
    ),
    printcolumn(
        name = "Upgrade",
        type_ = "string",
        json_path = ".status.upgrade.phase",
        priority = 1
    ),
    printcolumn(
        name = "Upgrade Reason",
        type_ = "string",
        json_path = ".status.upgrade.reason",
        priority = 1
    ),
    crates(kube_core = "::kube_core")
)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [
    rule(
        "etcd.spec.storageClass is an immutable field.",
        "has(self.storageClass) == has(oldSelf.storageClass)",
    ),
    rule(
        "etcd.spec.volumeClaimTemplate is an immutable field.",
        "has(self.volumeClaimTemplate) == has(oldSelf.volumeClaimTemplate)",
    ),
    rule(
        "etcd.spec.memberNamePrefix is an immutable field.",
        "has(self.memberNamePrefix) == has(oldSelf.memberNamePrefix)",
    ),
]))]
pub struct EtcdSpec {
    /// What the names of all members begin with, before the name of the pod.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63), extend(
        "pattern" = DNS_LABEL,
        "x-kubernetes-validations" =
            [immutable("etcd.spec.memberNamePrefix is an immutable field")],
    ))]
    pub member_name_prefix: Option<String>,
    /// Ignored.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub selector: Option<LabelSelector>,
    /// Labels of the pods.
    pub labels: BTreeMap<String, String>,
    /// Annotations of the pods.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub annotations: Option<BTreeMap<String, String>>,
    /// The members' etcd.
    pub etcd: EtcdConfig,
    /// The backups, and what stands beside each member for them.
    pub backup: Backup,
    /// What etcd and its sidecar have to agree on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shared_config: Option<SharedConfig>,
    /// Where pods may run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scheduling_constraints: Option<SchedulingConstraints>,
    /// The number of members. 0 is hibernation.
    #[schemars(extend("x-kubernetes-validations" = [rule(
        "Replicas can either be increased or be downscaled to 0.",
        "self == 0 ? true : self < oldSelf ? false : true",
    )]))]
    pub replicas: Int32,
    /// The priority of the pods.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub priority_class_name: Option<String>,
    /// The class of the volumes; without it, the default of the Kubernetes cluster.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-kubernetes-validations" =
        [immutable("etcd.spec.storageClass is an immutable field")]))]
    pub storage_class: Option<String>,
    /// The size of the volumes; without it, 16Gi.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub storage_capacity: Option<Quantity>,
    /// The name of the volumes; without it, that of the Etcd.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-kubernetes-validations" =
        [immutable("etcd.spec.VolumeClaimTemplate is an immutable field")]))]
    pub volume_claim_template: Option<String>,
    /// Whether the containers run as root; without it, as user 65532.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run_as_root: Option<bool>,
    /// How this Etcd takes part in upgrades of etcd.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub upgrade: Option<Upgrade>,
}

/// What has to hold of the whole object.
pub(super) const ROOT_RULES: [Rule; 2] = [
    rule(
        "additionalAdvertisePeerURLs member names must start with the Etcd resource name followed by a dash",
        "!has(self.spec.etcd.additionalAdvertisePeerURLs) || \
         self.spec.etcd.additionalAdvertisePeerURLs.all(m, \
         m.memberName.startsWith((has(self.spec.memberNamePrefix) ? \
         self.spec.memberNamePrefix + '-' : '') + self.metadata.name + '-'))",
    ),
    rule(
        "additionalAdvertisePeerURLs member name index must be less than replicas",
        "!has(self.spec.etcd.additionalAdvertisePeerURLs) || \
         self.spec.etcd.additionalAdvertisePeerURLs.all(m, \
         int(m.memberName.substring(m.memberName.lastIndexOf('-') + 1)) < self.spec.replicas)",
    ),
];

/// What etcd and its sidecar have to agree on.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SharedConfig {
    /// Whether the history is compacted after a time or after so many revisions; without it, after
    /// a time.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("enum" = ["periodic", "revision"]))]
    pub auto_compaction_mode: Option<String>,
    /// How much of the history is kept: a time or a number of revisions; without it, 30m.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub auto_compaction_retention: Option<String>,
}

/// Where pods may run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SchedulingConstraints {
    /// As in a pod.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub affinity: Option<Affinity>,
    /// As in a pod.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub topology_spread_constraints: Option<Vec<TopologySpreadConstraint>>,
}
