//! `lastOperation` and `lastErrors`: what the operator last did for an Etcd, or is doing.
//!
//! Types, states and codes are those of etcd-druid. `Succeeded` is said when the last member is as
//! it is wanted, not when a template was written. A description is about something: etcd-druid's
//! own of an error is ` Operation will be retried.`.

use std::fmt;

use jiff::Timestamp;

use crate::api::{EtcdStatus, LastError, LastOperation, Time};
use crate::upgrade::{Shown, ShownPhase};

/// What is being done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum OperationKind {
    /// Never written by us; others may have.
    Create,
    /// The Etcd is brought to what its spec asks for.
    Reconcile,
    /// What belongs to it is removed.
    Delete,
}

/// How it is going.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum OperationState {
    /// It is under way.
    Processing,
    /// It is done.
    Succeeded,
    /// It failed, and is tried again.
    Error,
    /// It waits for something, and is tried again.
    Requeue,
}

impl OperationKind {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Create, Self::Reconcile, Self::Delete];

    /// As `lastOperation.type` has it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Create => "Create",
            Self::Reconcile => "Reconcile",
            Self::Delete => "Delete",
        }
    }

    fn noun(self) -> &'static str {
        match self {
            Self::Create => "creation",
            Self::Reconcile => "reconciliation",
            Self::Delete => "deletion",
        }
    }

    fn done(self) -> &'static str {
        match self {
            Self::Create => "created",
            Self::Reconcile => "reconciled",
            Self::Delete => "deleted",
        }
    }
}

impl OperationState {
    /// All of them.
    pub const ALL: [Self; 4] = [
        Self::Processing,
        Self::Succeeded,
        Self::Error,
        Self::Requeue,
    ];

    /// As `lastOperation.state` has it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Processing => "Processing",
            Self::Succeeded => "Succeeded",
            Self::Error => "Error",
            Self::Requeue => "Requeue",
        }
    }
}

/// What a status says of the last operation; nothing if there is none or it says other words.
pub fn last(status: &EtcdStatus) -> Option<(OperationKind, OperationState)> {
    let last = status.last_operation.as_ref()?;
    let mut kinds = OperationKind::ALL.into_iter();
    let mut states = OperationState::ALL.into_iter();
    Some((
        kinds.find(|it| it.word() == last.kind)?,
        states.find(|it| it.word() == last.state)?,
    ))
}

/// An object of an Etcd, in the order in which they are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Component {
    /// The account of the pods.
    ServiceAccount,
    /// What it may do.
    Role,
    /// That it may.
    RoleBinding,
    /// The leases of members.
    MemberLease,
    /// The leases of snapshots.
    SnapshotLease,
    /// How many pods may be evicted.
    PodDisruptionBudget,
    /// The Service for clients.
    ClientService,
    /// The Service for peers.
    PeerService,
    /// The configuration.
    ConfigMap,
    /// The pods.
    StatefulSet,
}

impl Component {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::ServiceAccount,
        Self::Role,
        Self::RoleBinding,
        Self::MemberLease,
        Self::SnapshotLease,
        Self::PodDisruptionBudget,
        Self::ClientService,
        Self::PeerService,
        Self::ConfigMap,
        Self::StatefulSet,
    ];

    /// Its name in sentences.
    pub fn word(self) -> &'static str {
        match self {
            Self::ServiceAccount => "ServiceAccount",
            Self::Role => "Role",
            Self::RoleBinding => "RoleBinding",
            Self::MemberLease => "MemberLease",
            Self::SnapshotLease => "SnapshotLease",
            Self::PodDisruptionBudget => "PodDisruptionBudget",
            Self::ClientService => "ClientService",
            Self::PeerService => "PeerService",
            Self::ConfigMap => "ConfigMap",
            Self::StatefulSet => "StatefulSet",
        }
    }

    fn code(self) -> &'static str {
        match self {
            Self::ServiceAccount => "SERVICE_ACCOUNT",
            Self::Role => "ROLE",
            Self::RoleBinding => "ROLE_BINDING",
            Self::MemberLease => "MEMBER_LEASE",
            Self::SnapshotLease => "SNAPSHOT_LEASE",
            Self::PodDisruptionBudget => "POD_DISRUPTION_BUDGET",
            Self::ClientService => "CLIENT_SERVICE",
            Self::PeerService => "PEER_SERVICE",
            Self::ConfigMap => "CONFIGMAP",
            Self::StatefulSet => "STATEFULSET",
        }
    }
}

/// The stable name of an error. Prints as `ERR_SYNC_STATEFULSET`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Code {
    /// An object could not be read.
    Get(Component),
    /// An object could not be made, or brought to what it should be.
    Sync(Component),
    /// An object could not be removed.
    Delete(Component),
    /// An upgrade has halted.
    UpgradeHalted,
}

impl Code {
    /// The operation that failed, as etcd-druid calls it.
    fn operation(self) -> &'static str {
        match self {
            Self::Get(_) => "GetExistingResourceNames",
            Self::Sync(_) => "Sync",
            Self::Delete(_) => "TriggerDelete",
            Self::UpgradeHalted => "Upgrade",
        }
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Get(of) => write!(f, "ERR_GET_{}", of.code()),
            Self::Sync(of) => write!(f, "ERR_SYNC_{}", of.code()),
            Self::Delete(of) => write!(f, "ERR_DELETE_{}", of.code()),
            Self::UpgradeHalted => f.write_str("ERR_UPGRADE_HALTED"),
        }
    }
}

/// Something that failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// What.
    pub code: Code,
    /// What it was about.
    pub message: String,
    /// Why.
    pub cause: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            code,
            message,
            cause,
        } = self;
        let operation = code.operation();
        write!(
            f,
            "[Operation: {operation}, Code: {code}] message: {message}, cause: {cause}"
        )
    }
}

/// An operation, as it is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operation {
    /// What is being done.
    pub kind: OperationKind,
    /// How it is going.
    pub outcome: Outcome,
}

/// How an operation is going.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is under way; at what, if there is something to say.
    Processing(Option<String>),
    /// It is done.
    Succeeded,
    /// It failed. Said without errors if they have been told of elsewhere.
    Failed(Vec<Failure>),
    /// It waits, and for what.
    Waiting(String),
}

impl Outcome {
    /// How a reconciliation is going: all objects were applied but for `failures`; `behind` says
    /// what pods are not yet as they are wanted, if there are any.
    pub fn reconciled(
        failures: Vec<Failure>,
        upgrade: Option<&Shown>,
        behind: Option<String>,
    ) -> Self {
        if !failures.is_empty() {
            return Self::Failed(failures);
        }
        let rest = match behind {
            Some(behind) => Self::Processing(Some(behind)),
            None => Self::Succeeded,
        };
        let Some(upgrade) = upgrade else { return rest };
        let message = upgrade.message.clone();
        match upgrade.phase {
            ShownPhase::Succeeded => rest,
            ShownPhase::Preflight
            | ShownPhase::Snapshot
            | ShownPhase::Rolling
            | ShownPhase::Finalizing
            | ShownPhase::PuttingBack => Self::Processing(Some(message)),
            ShownPhase::Refused | ShownPhase::Waiting | ShownPhase::Paused => {
                Self::Waiting(message)
            }
            ShownPhase::RolledBack | ShownPhase::Blocked => Self::Failed(vec![Failure {
                code: Code::UpgradeHalted,
                message,
                cause: upgrade.reason.clone().unwrap_or_default(),
            }]),
        }
    }

    /// How it is going, as a word.
    pub fn state(&self) -> OperationState {
        match self {
            Self::Processing(_) => OperationState::Processing,
            Self::Succeeded => OperationState::Succeeded,
            Self::Failed(_) => OperationState::Error,
            Self::Waiting(_) => OperationState::Requeue,
        }
    }
}

impl Operation {
    /// A sentence about it.
    pub fn description(&self) -> String {
        let noun = self.kind.noun();
        match &self.outcome {
            Outcome::Processing(None) => format!("Etcd cluster {noun} is in progress"),
            Outcome::Processing(Some(what)) => {
                format!("Etcd cluster {noun} is in progress: {what}")
            }
            Outcome::Succeeded => {
                format!("Etcd cluster has been successfully {}", self.kind.done())
            }
            Outcome::Waiting(what) => format!("{what}. Operation will be retried."),
            Outcome::Failed(failures) => {
                let all: Vec<_> = failures.iter().map(|it| it.code.to_string()).collect();
                let all = if all.is_empty() {
                    "an error".to_owned()
                } else {
                    all.join(", ")
                };
                format!("Etcd cluster {noun} failed with {all}. Operation will be retried.")
            }
        }
    }

    /// Puts it into a status. What was said before stays as it was, times and all. `run`: joins
    /// what is logged of this pass.
    pub fn apply(&self, status: &mut EtcdStatus, run: &str, now: Timestamp) {
        let said = LastOperation {
            kind: self.kind.word().to_owned(),
            state: self.outcome.state().word().to_owned(),
            description: self.description(),
            run_id: run.to_owned(),
            last_update_time: Time::seconds(now),
        };
        let same = status.last_operation.as_ref().is_some_and(|before| {
            (&before.kind, &before.state, &before.description)
                == (&said.kind, &said.state, &said.description)
        });
        if !same {
            status.last_operation = Some(said);
        }
        let before = status.last_errors.take().unwrap_or_default();
        let failures = match &self.outcome {
            Outcome::Failed(failures) => failures.as_slice(),
            Outcome::Processing(_) | Outcome::Succeeded | Outcome::Waiting(_) => &[],
        };
        let errors: Vec<_> = failures
            .iter()
            .map(|failure| {
                let (code, description) = (failure.code.to_string(), failure.to_string());
                let same = |it: &&LastError| it.code == code && it.description == description;
                before
                    .iter()
                    .find(same)
                    .cloned()
                    .unwrap_or_else(|| LastError {
                        code,
                        description,
                        observed_at: Time::seconds(now),
                    })
            })
            .collect();
        status.last_errors = (!errors.is_empty()).then_some(errors);
    }
}

#[cfg(test)]
mod tests;
