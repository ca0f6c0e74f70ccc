//! Every reason why a cluster is not recovered from the loss of its quorum.

use thiserror::Error;

use crate::member::MemberName;

/// Why a recovery does not go on, and what can be done.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Obstacle {
    /// There is nothing to recover from.
    #[error(
        "{0} answers with a quorum behind it: nothing was changed; a member that is down comes back or \
         joins again by itself"
    )]
    QuorumThere(MemberName),
    /// It is there again.
    #[error(
        "{0} answers with a quorum behind it again: the members start as they were; a member that is down \
         comes back or joins again by itself"
    )]
    QuorumBack(MemberName),
    /// By their kubelets there is a quorum, and nobody answers the operator.
    #[error(
        "the pods of {0} are ready, so there is a quorum, but no member answers the operator: nothing was \
         changed; see what is between the operator and them (NetworkPolicies, certificates)"
    )]
    Unreached(String),
    /// No backup to fall back on.
    #[error(
        "there is no spec.backup.store, so nothing is there beside what the members still have; make a \
         task with allowDataLoss: true to go on with that"
    )]
    NoBackup,
    /// The backup is not known to be good.
    #[error(
        "the backup was not found to be restorable ({0}); repair it, or make a task with \
         allowDataLoss: true to go on with what the members still have"
    )]
    Unverified(String),
    /// Their etcd may still run.
    #[error(
        "the pods of {0} do not stop: their etcd may still run, and two clusters would come of it; see \
         their nodes, and if one is down for good, delete its Node or give it the taint \
         node.kubernetes.io/out-of-service, then make a new task"
    )]
    NotStopped(String),
    /// What they hold is not known.
    #[error(
        "{0} did not say what they hold: their pods may not start, or their container backup-restore \
         is not that of druid; mend that, or make a task with allowDataLoss: true to go on without \
         those that have no running pod"
    )]
    Unheard(String),
    /// They are not of one history.
    #[error(
        "{0} and {1} hold data of two clusters; move the data directory aside whose data is out of \
         date, then make a new task"
    )]
    TwoClusters(MemberName, MemberName),
    /// Neither a member nor a backup.
    #[error("no member holds data, and there is no backup: there is nothing to recover from")]
    NothingLeft,
    /// The first member does not come up.
    #[error(
        "it waited too long for {0}; see the logs and the events of its pod: if it serves after all, the \
         others join it by themselves, and if it has not begun, all start as they were; a new task is for \
         when its pod cannot come up"
    )]
    NoSeed(String),
    /// The others do not come up. They were told, and join as soon as they can.
    #[error(
        "the cluster serves, and is not whole yet: it waited too long for {0}; what is missing still \
         joins by itself as soon as it can"
    )]
    NotWhole(String),
    /// That must not be.
    #[error(
        "the members' data differs at revision {0}; do not write to the cluster, and find out which of \
         them is right"
    )]
    Differ(i64),
}

impl Obstacle {
    /// The code in `status.lastErrors`.
    pub fn code(&self) -> &'static str {
        match self {
            Self::QuorumThere(_) | Self::QuorumBack(_) | Self::Unreached(_) => {
                "ERR_QUORUM_NOT_LOST"
            }
            Self::NoBackup | Self::Unverified(_) => "ERR_BACKUP_NOT_VERIFIED",
            Self::NotStopped(_) | Self::Unheard(_) => "ERR_MEMBERS_NOT_HELD",
            Self::TwoClusters(_, _) | Self::NothingLeft => "ERR_NOTHING_TO_RECOVER_FROM",
            Self::NoSeed(_) | Self::NotWhole(_) | Self::Differ(_) => "ERR_RECOVERY",
        }
    }

    /// Whether the task was not fit to be begun: nothing was changed.
    pub fn rejects(&self) -> bool {
        match self {
            Self::QuorumThere(_) | Self::Unreached(_) | Self::NoBackup | Self::Unverified(_) => {
                true
            }
            Self::QuorumBack(_)
            | Self::NotStopped(_)
            | Self::Unheard(_)
            | Self::TwoClusters(_, _)
            | Self::NothingLeft
            | Self::NoSeed(_)
            | Self::NotWhole(_)
            | Self::Differ(_) => false,
        }
    }

    /// What it is, in a few words.
    pub fn message(&self) -> &'static str {
        match self {
            Self::QuorumThere(_) | Self::QuorumBack(_) | Self::Unreached(_) => "quorum is not lost",
            Self::NoBackup | Self::Unverified(_) => "backup is not verified",
            Self::NotStopped(_) | Self::Unheard(_) => "members cannot be held",
            Self::TwoClusters(_, _) | Self::NothingLeft => "nothing to recover from",
            Self::NoSeed(_) | Self::NotWhole(_) => "cluster did not come up in time",
            Self::Differ(_) => "members' data differs",
        }
    }
}
