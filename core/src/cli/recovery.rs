//! `kubectl druid recover`.

use std::collections::BTreeMap;

use super::task::task;
use crate::api::{EtcdOpsTask, EtcdOpsTaskConfig, RecoverFromQuorumLoss, names};
use crate::duration::GoDuration;

/// What somebody wants of a recovery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Recover {
    /// Whether to go on although something may be lost that a backup or a member could have had.
    pub allow_data_loss: bool,
    /// Whether members that join again get new volumes.
    pub remove_volumes: bool,
    /// How long the members may take to stop.
    pub stop: GoDuration,
    /// How long a pod may take to come up.
    pub pod: GoDuration,
    /// How long the cluster may take to be whole after that.
    pub whole: GoDuration,
}

/// The task that recovers a cluster, confirmed.
pub fn recovery_task(etcd: &str, wanted: &Recover) -> EtcdOpsTask {
    let config = EtcdOpsTaskConfig {
        recover_from_quorum_loss: Some(RecoverFromQuorumLoss {
            allow_data_loss: wanted.allow_data_loss.then_some(true),
            remove_volumes: wanted.remove_volumes.then_some(true),
            scale_down_timeout: wanted.stop.to_string(),
            pod_ready_timeout: wanted.pod.to_string(),
            etcd_ready_timeout: wanted.whole.to_string(),
        }),
        ..EtcdOpsTaskConfig::default()
    };
    let mut task = task(etcd, "recover", config);
    let confirmed = (names::CONFIRM_RECOVERY.to_owned(), "true".to_owned());
    task.metadata.annotations = Some(BTreeMap::from([confirmed]));
    task
}
