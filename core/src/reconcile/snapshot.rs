//! The `EtcdOpsTask` that takes the snapshot of an upgrade.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};

use crate::api::{
    EtcdOpsTask, EtcdOpsTaskConfig, EtcdOpsTaskSpec, Int32, OnDemandSnapshot, TaskSnapshot, names,
};
use crate::observed::SnapshotWork;
use crate::render::Identity;

/// How long a task is kept after its end, seconds. What an upgrade needs of it is in its own record.
pub const SNAPSHOT_KEPT: i64 = 3600;

/// The name of the task, from that of the Etcd and that of the snapshot. Names of Etcds differ within
/// a namespace, and those of snapshots within the life of an Etcd.
pub fn task_name(etcd: &str, snapshot: &str) -> String {
    format!("{etcd}-{snapshot}")
}

/// The task. It goes with its Etcd. It has its finalizer from the beginning, which saves a write.
pub fn snapshot_task(identity: &Identity, snapshot: &str) -> EtcdOpsTask {
    EtcdOpsTask {
        metadata: ObjectMeta {
            name: Some(task_name(&identity.name, snapshot)),
            namespace: Some(identity.namespace.clone()),
            finalizers: Some(vec![names::OPS_TASK_FINALIZER.to_owned()]),
            owner_references: Some(vec![OwnerReference {
                api_version: names::API_VERSION.to_owned(),
                block_owner_deletion: Some(true),
                controller: Some(true),
                kind: "Etcd".to_owned(),
                name: identity.name.clone(),
                uid: identity.uid.clone(),
            }]),
            ..ObjectMeta::default()
        },
        spec: EtcdOpsTaskSpec {
            config: EtcdOpsTaskConfig {
                on_demand_snapshot: Some(OnDemandSnapshot {
                    kind: "full".to_owned(),
                    is_final: None,
                    timeout_seconds_delta: Int32(60),
                    timeout_seconds_full: Int32(900),
                }),
                ..EtcdOpsTaskConfig::default()
            },
            ttl_seconds_after_finished: Int32(SNAPSHOT_KEPT),
            etcd_name: Some(identity.name.clone()),
        },
        status: None,
    }
}

/// How far the snapshot is, and what it is called in the store. A task of that name which belongs to
/// another Etcd, one that was there before of the same name, is none of ours.
pub fn snapshot_work(
    task: Option<&EtcdOpsTask>,
    uid: &str,
) -> (SnapshotWork, Option<TaskSnapshot>) {
    let Some(task) = task else {
        return (SnapshotWork::Absent, None);
    };
    let owners = task.metadata.owner_references.as_deref();
    let ours = owners.unwrap_or_default().iter().any(|it| it.uid == uid);
    if !ours {
        let name = task.metadata.name.as_deref().unwrap_or_default();
        let why = format!("EtcdOpsTask {name} is there and belongs to somebody else: delete it");
        return (SnapshotWork::Rejected(why), None);
    }
    let status = task.status.as_ref();
    let snapshot = status.and_then(|it| it.result.as_ref()?.snapshot.clone());
    let why = || {
        let error = status.and_then(|it| it.last_errors.as_ref()?.last());
        error.map_or_else(
            || "the task does not say why".to_owned(),
            |it| it.description.clone(),
        )
    };
    let work = match status.and_then(|it| it.state.as_deref()) {
        Some("Succeeded") if snapshot.is_some() => SnapshotWork::Taken,
        Some("Succeeded") => SnapshotWork::Failed("the task names no snapshot".to_owned()),
        Some("Failed") => SnapshotWork::Failed(why()),
        Some("Rejected") => SnapshotWork::Rejected(why()),
        Some(_) | None if task.metadata.deletion_timestamp.is_some() => {
            SnapshotWork::Failed("the task was deleted before it was done".to_owned())
        }
        Some(_) | None => SnapshotWork::Taking,
    };
    (work, snapshot)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn identity() -> Identity {
        Identity {
            name: "main".to_owned(),
            namespace: "n".to_owned(),
            uid: "u".to_owned(),
        }
    }

    fn after(status: Value) -> SnapshotWork {
        let mut task = snapshot_task(&identity(), "upgrade-1-try-1");
        task.status = serde_json::from_value(status).unwrap();
        snapshot_work(Some(&task), "u").0
    }

    #[test]
    fn the_task_is_named_for_its_etcd_and_its_attempt_and_goes_with_the_etcd() {
        let task = snapshot_task(&identity(), "upgrade-1-try-2");
        let name = task.metadata.name.as_deref();
        assert_eq!(name, Some("main-upgrade-1-try-2"));
        assert_eq!(task.metadata.owner_references.unwrap()[0].uid, "u");
    }

    #[test]
    fn every_state_of_the_task_is_one_of_the_work() {
        assert_eq!(snapshot_work(None, "u").0, SnapshotWork::Absent);
        assert_eq!(after(Value::Null), SnapshotWork::Taking);
        for state in ["Pending", "InProgress", "Odd"] {
            assert_eq!(after(json!({ "state": state })), SnapshotWork::Taking);
        }
        let done = json!({
            "state": "Succeeded", "result": { "snapshot": { "name": "Full-1", "revision": 7 } },
        });
        assert_eq!(after(done), SnapshotWork::Taken);
        let failed = |state| {
            after(json!({ "state": state, "lastErrors": [{
                "code": "C", "description": "no", "observedAt": "2026-01-01T00:00:00Z",
            }] }))
        };
        assert_eq!(failed("Failed"), SnapshotWork::Failed("no".to_owned()));
        assert_eq!(failed("Rejected"), SnapshotWork::Rejected("no".to_owned()));
        let nameless = after(json!({ "state": "Succeeded" }));
        assert!(matches!(nameless, SnapshotWork::Failed(_)), "{nameless:?}");
    }

    #[test]
    fn a_task_of_another_etcd_never_counts() {
        let mut task = snapshot_task(&identity(), "upgrade-1-try-1");
        task.status = serde_json::from_value(json!({
            "state": "Succeeded", "result": { "snapshot": { "name": "Full-1", "revision": 7 } },
        }))
        .unwrap();
        let (work, snapshot) = snapshot_work(Some(&task), "other");
        assert!(matches!(work, SnapshotWork::Rejected(_)), "{work:?}");
        assert_eq!(snapshot, None);
    }
}
