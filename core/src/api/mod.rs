//! The custom resources of `druid.gardener.cloud/v1alpha1`, as they are on the wire.
//!
//! These types say what may be written, not what can be worked with: whatever the API server has
//! stored must be readable, also by a release that does not know a word of it yet. So a word of a
//! closed list is a text here, and only the schema has the list. What is decided is decided on the
//! types that are parsed from these: [`crate::render::Spec`] and its like.
//!
//! The definitions ([`Kind::definition`]) are made from these types. They mean what those of etcd-druid
//! v0.37.1 mean, and have some optional fields more: `spec.upgrade` and `status.upgrade` of an
//! Etcd, more kinds of [`EtcdOpsTask`] and its `status.result`.

mod common;
mod copy_task;
mod definitions;
mod etcd;
mod number;
mod ops_task;
mod schema;
mod time;

pub mod names;

pub use common::{Condition, LastError, LastOperation, SecretReference, Store};
pub use copy_task::{
    EtcdCopyBackupsTask, EtcdCopyBackupsTaskSpec, EtcdCopyBackupsTaskStatus, WaitForFinalSnapshot,
};
pub use definitions::Kind;
pub use etcd::{
    AdditionalPeerUrls, Backup, CaReference, ClientService, Compression,
    CrossVersionObjectReference, Etcd, EtcdConfig, EtcdMember, EtcdSpec, EtcdStatus, HaltRecord,
    LeaderElection, MemberRecord, PeerTls, ReplacementRecord, RevisionRecord,
    SchedulingConstraints, SharedConfig, SnapshotCompaction, SnapshotRecord, Tls, TroubleRecord,
    Upgrade, UpgradeMember, UpgradeRecord, UpgradeSnapshot, UpgradeStatus, WaitRecord,
};
pub use number::Int32;
pub use ops_task::{
    EtcdOpsTask, EtcdOpsTaskConfig, EtcdOpsTaskSpec, EtcdOpsTaskStatus, OnDemandMaintenance,
    OnDemandSnapshot, OnDemandSnapshotCompaction, RecoverFromQuorumLoss, TaskMember, TaskOperation,
    TaskResult, TaskSnapshot,
};
pub use time::Time;
