//! `kubectl druid snapshot`.

use super::task::task;
use crate::api::{
    EtcdOpsTask, EtcdOpsTaskConfig, Int32, OnDemandSnapshot, OnDemandSnapshotCompaction,
};

/// Which snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SnapshotKind {
    /// Everything.
    Full,
    /// Everything, and marked as the last one of its cluster.
    Final,
    /// What is new since the last one.
    Delta,
    /// Everything, made in the store of the last full one and its deltas.
    Compacted,
}

/// The task that takes a snapshot; the API server gives it a name.
pub fn snapshot_task(etcd: &str, kind: SnapshotKind) -> EtcdOpsTask {
    let (word, is_final) = match kind {
        SnapshotKind::Full => ("full", None),
        SnapshotKind::Final => ("full", Some(true)),
        SnapshotKind::Delta => ("delta", None),
        SnapshotKind::Compacted => return compaction_task(etcd),
    };
    let config = EtcdOpsTaskConfig {
        on_demand_snapshot: Some(OnDemandSnapshot {
            kind: word.to_owned(),
            is_final,
            timeout_seconds_delta: Int32(60),
            timeout_seconds_full: Int32(900),
        }),
        ..EtcdOpsTaskConfig::default()
    };
    task(etcd, &format!("snapshot-{word}"), config)
}

fn compaction_task(etcd: &str) -> EtcdOpsTask {
    let config = EtcdOpsTaskConfig {
        on_demand_snapshot_compaction: Some(OnDemandSnapshotCompaction {
            timeout_seconds: Int32(10_800),
        }),
        ..EtcdOpsTaskConfig::default()
    };
    task(etcd, "snapshot-compacted", config)
}
