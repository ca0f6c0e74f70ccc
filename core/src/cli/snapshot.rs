//! `kubectl druid snapshot`.

use std::fmt::Write as _;

use super::colour::clean;
use crate::api::{
    EtcdOpsTask, EtcdOpsTaskConfig, EtcdOpsTaskSpec, Int32, OnDemandSnapshot, TaskSnapshot,
};
use crate::ops_task::State;

/// Which snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SnapshotKind {
    /// Everything.
    Full,
    /// Everything, and marked as the last one of its cluster.
    Final,
    /// What is new since the last one.
    Delta,
}

/// The task that takes a snapshot; the API server gives it a name.
pub fn snapshot_task(etcd: &str, kind: SnapshotKind) -> EtcdOpsTask {
    let (word, is_final) = match kind {
        SnapshotKind::Full => ("full", None),
        SnapshotKind::Final => ("full", Some(true)),
        SnapshotKind::Delta => ("delta", None),
    };
    let spec = EtcdOpsTaskSpec {
        config: EtcdOpsTaskConfig {
            on_demand_snapshot: Some(OnDemandSnapshot {
                kind: word.to_owned(),
                is_final,
                timeout_seconds_delta: Int32(60),
                timeout_seconds_full: Int32(900),
            }),
            ..EtcdOpsTaskConfig::default()
        },
        ttl_seconds_after_finished: Int32(3600),
        etcd_name: Some(etcd.to_owned()),
    };
    let mut task = EtcdOpsTask::new("", spec);
    task.metadata.name = None;
    task.metadata.generate_name = Some(format!("{etcd}-snapshot-{word}-"));
    task
}

/// How far a task is, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TaskShown {
    /// No operator has looked at it yet.
    Unseen,
    /// It waits or is being done: what is said of it.
    Going(String),
    /// It is done: what came of it, in lines.
    Succeeded(String),
    /// It came to nothing: why.
    Ended(String),
}

impl TaskShown {
    /// What a task says of itself.
    pub fn of(task: &EtcdOpsTask) -> Self {
        let Some(status) = &task.status else {
            return Self::Unseen;
        };
        let Some(word) = status.state.as_deref() else {
            return Self::Unseen;
        };
        let operation = status.last_operation.as_ref();
        let said = operation.map_or("", |it| it.description.as_str());
        let mut line = format!("{word}: {said}");
        match State::parse(word) {
            None | Some(State::Pending | State::InProgress) => Self::Going(clean(&line)),
            Some(State::Succeeded) => {
                let result = status.result.as_ref();
                let snapshot = result.and_then(|it| it.snapshot.as_ref());
                Self::Succeeded(snapshot.map_or_else(|| clean(said) + "\n", lines))
            }
            Some(State::Failed | State::Rejected) => {
                let errors = status.last_errors.as_deref().unwrap_or_default();
                if let Some(last) = errors.last() {
                    let _ = write!(line, ": {}", last.description);
                }
                Self::Ended(clean(&line))
            }
        }
    }
}

fn lines(snapshot: &TaskSnapshot) -> String {
    let size = snapshot.size.map(|it| format!("{it} bytes"));
    let known = |it: Option<&str>| it.map_or_else(|| "not known".to_owned(), clean);
    format!(
        "snapshot   {}\nrevision   {}\nsize       {}\nsha256     {}\n",
        clean(&snapshot.name),
        snapshot.revision,
        known(size.as_deref()),
        known(snapshot.sha256.as_deref()),
    )
}
