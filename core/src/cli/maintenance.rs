//! `kubectl druid defrag` and `kubectl druid compact`.

use super::task::task;
use crate::api::{EtcdOpsTask, EtcdOpsTaskConfig, Int32, OnDemandMaintenance};
use crate::duration::GoDuration;

/// How far to compact.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CompactTo {
    /// As far as the backups cover.
    Covered,
    /// Up to this revision.
    Revision(i64),
    /// Up to what was backed up at least so long ago.
    Age(GoDuration),
}

/// The task that compacts, defragments, or both. `seconds`: how long it may take.
pub fn maintenance_task(
    etcd: &str,
    compact: Option<CompactTo>,
    defragment: bool,
    seconds: i64,
) -> EtcdOpsTask {
    let (revision, age) = match compact {
        None | Some(CompactTo::Covered) => (None, None),
        Some(CompactTo::Revision(revision)) => (Some(revision), None),
        Some(CompactTo::Age(age)) => (None, Some(age.to_string())),
    };
    let config = EtcdOpsTaskConfig {
        on_demand_maintenance: Some(OnDemandMaintenance {
            etcd_compaction: compact.map(|_| true),
            compaction_revision: revision,
            compaction_age: age,
            etcd_defragmentation: defragment.then_some(true),
            timeout_seconds: Int32(seconds),
        }),
        ..EtcdOpsTaskConfig::default()
    };
    let about = if compact.is_some() {
        "compact"
    } else {
        "defrag"
    };
    task(etcd, about, config)
}
