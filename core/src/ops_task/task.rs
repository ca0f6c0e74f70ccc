//! A task as it can be worked with, made once of what the API server has.

use std::fmt;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use thiserror::Error;

use super::maintenance::Maintenance;
use super::recovery::Recovery;
use crate::api::{
    EtcdOpsTask, EtcdOpsTaskConfig, EtcdOpsTaskStatus, Int32, OnDemandSnapshot, TaskResult, Time,
    names,
};

/// How long a task is kept that does not say.
const KEPT: i64 = 3600;

/// A task.
#[derive(Clone, Debug, PartialEq)]
pub struct Task {
    /// Its namespace, which is that of the Etcd.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// What it never shares with another of the same name.
    pub uid: String,
    /// When it was made, to the second.
    pub created: Timestamp,
    /// The name of the Etcd.
    pub etcd: Option<String>,
    /// What is wanted.
    pub wanted: Result<Operation, Unsupported>,
    /// Whether it asks for a recovery from the loss of quorum, confirmed or not.
    pub recovers: bool,
    /// How long it is kept once it is over.
    pub keep: SignedDuration,
    /// Whether it is being deleted.
    pub deleting: bool,
    /// Whether our finalizer is on it.
    pub finalizer: bool,
    /// How far it is.
    pub stage: Stage,
    /// Its status.
    pub(super) status: EtcdOpsTaskStatus,
}

/// What can be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operation {
    /// What.
    pub kind: Kind,
    /// How long it may take in all.
    pub limit: SignedDuration,
}

/// The kinds of operations.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A snapshot of the cluster into its store.
    Snapshot(Take),
    /// Compaction, defragmentation, or one after the other.
    Maintenance(Maintenance),
    /// One snapshot of the last full one and its deltas, made in the store.
    SnapshotCompaction,
    /// A cluster again after its quorum was lost.
    Recovery(Recovery),
}

/// The task, as what belongs to it names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    /// Its name.
    pub name: String,
    /// What it never shares with another of the same name.
    pub uid: String,
}

/// Which snapshot is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Take {
    /// A full one.
    Full {
        /// Whether it is marked as the last one of its cluster.
        is_final: bool,
    },
    /// What is new since the last one.
    Delta,
}

/// Why a task cannot be done, whatever its Etcd.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Unsupported {
    /// The object is not one of ours.
    #[error(
        "the object cannot be read ({0}); delete it, or run the release of druid that wrote it"
    )]
    Unreadable(String),
    /// No member of the one-of that this release knows.
    #[error(
        "spec.config names no operation that this release of druid knows; update druid, or delete \
         the task"
    )]
    Unknown,
    /// Several members of the one-of.
    #[error("spec.config names several operations; make one task for each")]
    Several,
    /// Neither `full` nor `delta`.
    #[error("spec.config.onDemandSnapshot.type is {0:?}; make a task with full or delta")]
    SnapshotType(String),
    /// Neither compaction nor defragmentation.
    #[error(
        "spec.config.onDemandMaintenance asks for nothing; make a task with etcdCompaction or \
         etcdDefragmentation set to true"
    )]
    NoMaintenance,
    /// How far to compact, without a compaction.
    #[error(
        "spec.config.onDemandMaintenance.{0} is set without etcdCompaction; make a task that sets \
         etcdCompaction to true, or leaves it out"
    )]
    NoCompaction(&'static str),
    /// Two answers to how far to compact.
    #[error(
        "spec.config.onDemandMaintenance has a compactionRevision and a compactionAge; make a task \
         with one of them"
    )]
    TwoTargets,
    /// How far to compact makes no sense.
    #[error("spec.config.onDemandMaintenance.{field} is {text:?}; {remedy}")]
    Target {
        /// Which field.
        field: &'static str,
        /// What it says.
        text: String,
        /// What it has to be.
        remedy: &'static str,
    },
    /// How long to wait makes no sense.
    #[error(
        "spec.config.recoverFromQuorumLoss.{field} is {text:?}; make a task with a time such as 90s or \
         5m"
    )]
    Patience {
        /// Which field.
        field: &'static str,
        /// What it says.
        text: String,
    },
    /// Nobody has confirmed that it is to be done.
    #[error(
        "the task has no annotation {}: \"true\": whoever wants the cluster to go on without what may \
         be lost makes a task with it",
        names::CONFIRM_RECOVERY
    )]
    Unconfirmed,
    /// A delta that is to be final.
    #[error(
        "spec.config.onDemandSnapshot.isFinal is set for a delta; only a full snapshot is final"
    )]
    FinalDelta,
    /// No Etcd.
    #[error("spec.etcdName is not set; make a task that names an Etcd of its namespace")]
    NoEtcd,
}

/// The state of a task, as its status has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    /// It waits for its turn.
    Pending,
    /// It is being done.
    InProgress,
    /// It is done.
    Succeeded,
    /// It could not be done.
    Failed,
    /// It was not begun.
    Rejected,
}

/// How far a task is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// It has not begun.
    Waiting,
    /// It is being done.
    InProgress {
        /// Since when.
        started: Timestamp,
        /// How many attempts have failed.
        failed: u32,
        /// When the last of them did.
        last_failure: Option<Timestamp>,
    },
    /// It is over.
    Over {
        /// How it ended: one of the last three states.
        state: State,
        /// When.
        since: Timestamp,
    },
    /// The object cannot be read, so this is not known.
    Unreadable,
}

impl Task {
    /// Parses one.
    pub fn of(object: &EtcdOpsTask) -> Self {
        let status = object.status.clone().unwrap_or_default();
        let created = created(&object.metadata);
        let etcd = object.spec.etcd_name.clone().filter(|it| !it.is_empty());
        let stage = stage(&status, created);
        let wanted = match &etcd {
            Some(_) => wanted(&object.spec.config, is_confirmed(&object.metadata, &stage)),
            None => Err(Unsupported::NoEtcd),
        };
        Self {
            etcd,
            wanted,
            keep: seconds(object.spec.ttl_seconds_after_finished, KEPT),
            recovers: object.spec.config.recover_from_quorum_loss.is_some(),
            stage,
            status,
            ..Self::bare(&object.metadata)
        }
    }

    /// Of an object that is not what its kind says.
    pub fn unreadable(metadata: &ObjectMeta, why: &str) -> Self {
        Self {
            wanted: Err(Unsupported::Unreadable(why.to_owned())),
            ..Self::bare(metadata)
        }
    }

    fn bare(metadata: &ObjectMeta) -> Self {
        let finalizers = metadata.finalizers.as_deref().unwrap_or_default();
        Self {
            namespace: metadata.namespace.clone().unwrap_or_default(),
            name: metadata.name.clone().unwrap_or_default(),
            uid: metadata.uid.clone().unwrap_or_default(),
            created: created(metadata),
            etcd: None,
            wanted: Err(Unsupported::Unknown),
            recovers: false,
            keep: SignedDuration::from_secs(KEPT),
            deleting: metadata.deletion_timestamp.is_some(),
            finalizer: finalizers.iter().any(|it| it == names::OPS_TASK_FINALIZER),
            stage: Stage::Unreadable,
            status: EtcdOpsTaskStatus::default(),
        }
    }

    /// What tasks of one Etcd are ordered by.
    pub fn place(&self) -> (Timestamp, &str) {
        (self.created, &self.name)
    }

    /// Whether it waits for its turn.
    pub fn waits(&self) -> bool {
        self.stage == Stage::Waiting
    }

    /// The state that its status has.
    pub fn state(&self) -> Option<State> {
        State::parse(self.status.state.as_deref()?)
    }

    /// What has come of it so far.
    pub fn result(&self) -> TaskResult {
        self.status.result.clone().unwrap_or_default()
    }

    /// When it was begun, if it was.
    pub fn started(&self) -> Option<Timestamp> {
        self.status.started_at.as_ref()?.at()
    }

    /// The member of the one-of, as metrics name it.
    pub fn kind(&self) -> &'static str {
        match &self.wanted {
            Ok(Operation {
                kind: Kind::Snapshot(_),
                ..
            })
            | Err(Unsupported::SnapshotType(_) | Unsupported::FinalDelta) => "onDemandSnapshot",
            Ok(Operation {
                kind: Kind::SnapshotCompaction,
                ..
            }) => "onDemandSnapshotCompaction",
            Ok(Operation {
                kind: Kind::Maintenance(_),
                ..
            })
            | Err(
                Unsupported::NoMaintenance
                | Unsupported::NoCompaction(_)
                | Unsupported::TwoTargets
                | Unsupported::Target { .. },
            ) => "onDemandMaintenance",
            Ok(Operation {
                kind: Kind::Recovery(_),
                ..
            })
            | Err(Unsupported::Patience { .. } | Unsupported::Unconfirmed) => {
                "recoverFromQuorumLoss"
            }
            Err(
                Unsupported::Unreadable(_)
                | Unsupported::Unknown
                | Unsupported::Several
                | Unsupported::NoEtcd,
            ) => "unknown",
        }
    }

    /// From 0 to 999, and different for most tasks.
    pub(super) fn chance(&self) -> u16 {
        let sum = self.uid.bytes().fold(0_u32, |sum, byte| {
            sum.wrapping_mul(31).wrapping_add(byte.into())
        });
        u16::try_from(sum % 1000).unwrap_or_default()
    }
}

impl Operation {
    /// Whether it is what a cluster needs that cannot go on: an upgrade that waits for its members is no
    /// reason to wait for the upgrade.
    pub fn is_for_the_broken(&self) -> bool {
        match self.kind {
            Kind::Recovery(_) => true,
            Kind::Snapshot(_) | Kind::Maintenance(_) | Kind::SnapshotCompaction => false,
        }
    }

    /// Whether it can be seen afterwards that it was done. A delta need not be looked for: asked for
    /// again, it has what is new since. Maintenance tells of each step when it is done.
    pub(super) fn leaves_a_trace(&self) -> bool {
        match &self.kind {
            Kind::Snapshot(Take::Full { .. }) => true,
            Kind::Snapshot(Take::Delta)
            | Kind::Maintenance(_)
            | Kind::SnapshotCompaction
            | Kind::Recovery(_) => false,
        }
    }
}

impl Take {
    /// The path that the sidecar takes it under.
    pub fn path(self) -> &'static str {
        match self {
            Self::Full { is_final: true } => "/snapshot/full?final=true",
            Self::Full { is_final: false } => "/snapshot/full",
            Self::Delta => "/snapshot/delta",
        }
    }
}

impl State {
    const ALL: [Self; 5] = [
        Self::Pending,
        Self::InProgress,
        Self::Succeeded,
        Self::Failed,
        Self::Rejected,
    ];

    /// The state with this name.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|it| it.word() == word)
    }

    /// As the status has it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Pending => "Pending",
            Self::InProgress => "InProgress",
            Self::Succeeded => "Succeeded",
            Self::Failed => "Failed",
            Self::Rejected => "Rejected",
        }
    }

    /// Whether nothing follows.
    pub fn is_end(self) -> bool {
        match self {
            Self::Pending | Self::InProgress => false,
            Self::Succeeded | Self::Failed | Self::Rejected => true,
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

fn created(metadata: &ObjectMeta) -> Timestamp {
    let created = metadata.creation_timestamp.as_ref();
    created.map_or(Timestamp::UNIX_EPOCH, |it| it.0)
}

/// The API server takes odd numbers too.
fn seconds(number: Int32, otherwise: i64) -> SignedDuration {
    SignedDuration::from_secs(if number.0 > 0 { number.0 } else { otherwise })
}

/// One that was begun was confirmed.
fn is_confirmed(metadata: &ObjectMeta, stage: &Stage) -> bool {
    let annotations = metadata.annotations.as_ref();
    let confirmed = annotations.and_then(|it| it.get(names::CONFIRM_RECOVERY));
    *stage != Stage::Waiting || confirmed.is_some_and(|it| it == "true")
}

fn wanted(config: &EtcdOpsTaskConfig, confirmed: bool) -> Result<Operation, Unsupported> {
    let EtcdOpsTaskConfig {
        on_demand_snapshot,
        on_demand_maintenance,
        recover_from_quorum_loss,
        on_demand_snapshot_compaction,
    } = config;
    let snapshot = on_demand_snapshot.as_ref().map(of_snapshot);
    let maintenance = on_demand_maintenance.as_ref().map(|asked| {
        Ok(Operation {
            kind: Kind::Maintenance(Maintenance::of(asked)?),
            limit: seconds(asked.timeout_seconds, 900),
        })
    });
    let compaction = on_demand_snapshot_compaction.as_ref().map(|asked| {
        Ok(Operation {
            kind: Kind::SnapshotCompaction,
            limit: seconds(asked.timeout_seconds, 10_800),
        })
    });
    let recovery = recover_from_quorum_loss.as_ref().map(|asked| {
        let recovery = Recovery::of(asked)?;
        if !confirmed {
            return Err(Unsupported::Unconfirmed);
        }
        let limit = recovery.limit();
        let kind = Kind::Recovery(recovery);
        Ok(Operation { kind, limit })
    });
    let all = [snapshot, maintenance, compaction, recovery];
    let mut named = all.into_iter().flatten();
    match (named.next(), named.next()) {
        (Some(one), None) => one,
        (None, _) => Err(Unsupported::Unknown),
        (Some(_), Some(_)) => Err(Unsupported::Several),
    }
}

fn of_snapshot(snapshot: &OnDemandSnapshot) -> Result<Operation, Unsupported> {
    let is_final = snapshot.is_final.unwrap_or(false);
    let (take, limit) = match snapshot.kind.as_str() {
        "full" => (
            Take::Full { is_final },
            seconds(snapshot.timeout_seconds_full, 900),
        ),
        "delta" if is_final => return Err(Unsupported::FinalDelta),
        "delta" => (Take::Delta, seconds(snapshot.timeout_seconds_delta, 60)),
        other => return Err(Unsupported::SnapshotType(other.to_owned())),
    };
    Ok(Operation {
        kind: Kind::Snapshot(take),
        limit,
    })
}

/// A state that this release does not know is taken for one that has not begun.
fn stage(status: &EtcdOpsTaskStatus, created: Timestamp) -> Stage {
    let at = |time: Option<&Time>| time.and_then(Time::at);
    let since = at(status.last_transition_time.as_ref());
    let state = status.state.as_deref().and_then(State::parse);
    match state {
        None | Some(State::Pending) => Stage::Waiting,
        Some(State::InProgress) => {
            let started = at(status.started_at.as_ref()).or(since);
            let errors = status.last_errors.as_deref().unwrap_or_default();
            // An older definition drops the number, and keeps the last errors.
            let failed = status.failed_attempts.unwrap_or_default();
            let failed = u32::try_from(failed.max(0)).unwrap_or(u32::MAX);
            let told = u32::try_from(errors.len()).unwrap_or(u32::MAX);
            Stage::InProgress {
                started: started.unwrap_or(created),
                failed: failed.max(told),
                last_failure: at(errors.last().map(|it| &it.observed_at)),
            }
        }
        Some(state @ (State::Succeeded | State::Failed | State::Rejected)) => Stage::Over {
            state,
            since: since.unwrap_or(created),
        },
    }
}
