//! Every reason why a task is not done: a stable code, etcd-druid's where it has one, what is known,
//! and what can be done about it.

use jiff::{SignedDuration, Timestamp};
use thiserror::Error;

use super::obstacle::Obstacle;
use super::task::Unsupported;
use crate::restore_plan::Hole;

/// Why a task was not done. What it displays is the `cause` in the status.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Trouble {
    /// There is no such Etcd.
    #[error("there is no Etcd {namespace}/{name}; make a task that names one of its namespace")]
    EtcdMissing {
        /// The namespace.
        namespace: String,
        /// The name.
        name: String,
    },
    /// The object is not one of ours.
    #[error("the Etcd cannot be read ({0}); repair it, or run the release of druid that wrote it")]
    EtcdUnreadable(String),
    /// It is going away.
    #[error("Etcd {0} is being deleted; delete the task, too")]
    EtcdLeaving(String),
    /// The operator may not look.
    #[error("the operator may not read {what}: {why}; give its service account the right")]
    Forbidden {
        /// What it wanted to read.
        what: String,
        /// What the API server said.
        why: String,
    },
    /// The Etcd has no backups.
    #[error("Etcd {0} has no spec.backup.store; set one to have backups")]
    NoStore(String),
    /// The Etcd is not ready.
    #[error("condition Ready of Etcd {name} is {status}{why}; make a new task when it is True")]
    NotReady {
        /// Which.
        name: String,
        /// `False`, `Unknown`, or `not there yet`.
        status: String,
        /// What the condition says, in brackets; empty if nothing.
        why: String,
    },
    /// The Etcd has no members at present.
    #[error("Etcd {0} has spec.replicas 0; make a new task when it has members again")]
    Hibernated(String),
    /// What is asked for is not there.
    #[error(transparent)]
    Unsupported(#[from] Unsupported),
    /// The cluster cannot be recovered.
    #[error(transparent)]
    Recovery(#[from] Obstacle),
    /// It needs no recovery.
    #[error(
        "Etcd {0} has one member, which keeps its data or restores its backup by itself as it starts"
    )]
    OneMember(String),
    /// An object of the API server.
    #[error("{what}: {why}; see whether the API server is well, and what the operator may do")]
    Object {
        /// What was to be done with it.
        what: String,
        /// Why not.
        why: String,
    },
    /// The port of the sidecar is none.
    #[error("spec.backup.port {port} of Etcd {name} is no port; set one from 1 to 65535")]
    Port {
        /// Which Etcd.
        name: String,
        /// What it says.
        port: i64,
    },
    /// The live StatefulSet does not say who signs the sidecar's certificate.
    #[error("{0}; wait until the Etcd is reconciled, or repair spec.backup.tls")]
    CaUnnamed(String),
    /// The API server did not say.
    #[error("the CA of the sidecar was not found out: {0}; see whether the API server is well")]
    CaUnknown(String),
    /// That Secret cannot be read.
    #[error("Secret {secret} with the CA of the sidecar: {why}; restore it")]
    CaSecret {
        /// Which.
        secret: String,
        /// Why.
        why: String,
    },
    /// It has no certificate.
    #[error(
        "Secret {secret} has no key {keys}; put the CA of the sidecar there, or name its key in \
         spec.backup.tls.tlsCASecretRef.dataKey"
    )]
    CaKey {
        /// Which.
        secret: String,
        /// What was looked for.
        keys: String,
    },
    /// What is there is no certificate.
    #[error("Secret {secret}: {why}; it must be a CA certificate in PEM")]
    CaCertificate {
        /// Which.
        secret: String,
        /// Why.
        why: String,
    },
    /// The newest backups are not known.
    #[error("what the backups cover is not known ({0}); see whether the sidecar reaches the store")]
    BackupsUnknown(String),
    /// There is no backup.
    #[error("there is no snapshot in the store yet; take a full one first")]
    NothingCovered,
    /// The next delta snapshot needs what was to be compacted.
    #[error(
        "the backups cover revision {covered}, and the next delta snapshot is made of what follows \
         it: {wanted} is too far; take a delta snapshot first, or choose a lower compactionRevision"
    )]
    Uncovered {
        /// What was asked for.
        wanted: i64,
        /// The newest revision in the backups.
        covered: i64,
    },
    /// Revisions are in no snapshot.
    #[error(
        "revisions {} to {} are in no snapshot, and in the history of the cluster alone ({} begins after \
         them); take a full snapshot first", .0.from, .0.to, .0.next
    )]
    Hole(Hole),
    /// The backups are not those of this cluster as it is.
    #[error(
        "the backups reach revision {covered}, and the cluster is at {present}: they are of another \
         history, and cover nothing of this one; see what spec.backup.store names, and take a full \
         snapshot first"
    )]
    OtherHistory {
        /// The newest revision in the backups.
        covered: i64,
        /// What the cluster is at.
        present: i64,
    },
    /// That revision is yet to come.
    #[error(
        "the cluster is at revision {present}, {wanted} is yet to come; choose a lower compactionRevision"
    )]
    Ahead {
        /// What was asked for.
        wanted: i64,
        /// What it is at.
        present: i64,
    },
    /// No backup tells how old a revision is.
    #[error(
        "only backups tell how old a revision is, and the Etcd has no spec.backup.store; set a \
         compactionRevision instead"
    )]
    Undated,
    /// Nothing in the newest chain of backups is so old.
    #[error(
        "how old revisions are is known by the snapshots since the last full one, and none of them is {0:#} \
         old yet; make a task later or with a shorter compactionAge, or set a compactionRevision"
    )]
    NothingThatOld(SignedDuration),
    /// Not all members are well.
    #[error(
        "not all members are well ({0}); see the conditions of the Etcd, and make a new task then"
    )]
    Unwell(String),
    /// Their data is not the same.
    #[error(
        "alarm CORRUPT is raised: the members' data differs; find out which of them is right before \
         anything else is done"
    )]
    Corrupt,
    /// An upgrade restarts members.
    #[error("an upgrade restarts members; make a new task when it is done")]
    Rolling,
    /// A step of maintenance failed.
    #[error("{step}: {why}; see the log of etcd, and make a new task")]
    Step {
        /// What was to be done.
        step: String,
        /// Why not.
        why: String,
    },
    /// The Job that compacts snapshots cannot be made of the Etcd.
    #[error("the Job cannot be made: {0}")]
    JobUnmade(String),
    /// Another Job has its name.
    #[error("Job {0} is there, and is none of this task; wait until it is over, or delete it")]
    JobTaken(String),
    /// What became of it is not known.
    #[error("Job {job}: {why}; see whether the API server is well")]
    JobUnknown {
        /// Which.
        job: String,
        /// Why not.
        why: String,
    },
    /// It has failed.
    #[error(
        "Job {job} has failed ({why}); see its pod's log: kubectl logs job/{job} -n {namespace}"
    )]
    JobFailed {
        /// Which.
        job: String,
        /// In which namespace.
        namespace: String,
        /// What Kubernetes says.
        why: String,
    },
    /// It has ended well, and made nothing.
    #[error(
        "the Job that began at {began} has ended well and made no snapshot: {newest} was there before, and \
         deltas follow it; see whether the Job and the sidecars use the same store"
    )]
    NotCompacted {
        /// The newest full snapshot.
        newest: String,
        /// When the Job began.
        began: Timestamp,
    },
    /// The members cannot be asked.
    #[error("the members cannot be asked: {0}; see the conditions of the Etcd")]
    Members(String),
    /// The request cannot be made.
    #[error("the request cannot be made: {0}")]
    Request(String),
    /// The pods are not known.
    #[error("{0}; wait until the Etcd is reconciled, and see whether the API server is well")]
    PodsUnknown(String),
    /// Whom to ask is not known.
    #[error(
        "it is not known which sidecar leads ({0}); see whether etcd has a leader, and whether the \
         container backup-restore of every pod runs"
    )]
    LeaderUnknown(String),
    /// The sidecar was not reached.
    #[error("{0}; see whether the container backup-restore of the leading member runs")]
    Unreached(String),
    /// It was not done in time, and nobody waits for it any more.
    #[error(
        "it was not done within {} s; raise the timeout of the task, or see why the sidecar, etcd or \
         the store are slow", .0.as_secs()
    )]
    TooLate(SignedDuration),
    /// The sidecar says no.
    #[error(
        "failed to create snapshot, status code: {status}{}; see the log of the container \
         backup-restore of the leading member", said(.text)
    )]
    NotTaken {
        /// The HTTP status.
        status: u16,
        /// What it says.
        text: String,
    },
    /// The sidecar says yes and does not name what was wanted.
    #[error(
        "the sidecar answered 200 with something that is no {wanted} snapshot: {text:?}; see whether \
         spec.backup.port leads to the container backup-restore"
    )]
    NotNamed {
        /// Of which kind.
        wanted: &'static str,
        /// What it said.
        text: String,
    },
}

impl Trouble {
    /// The code in `status.lastErrors`.
    pub fn code(&self) -> &'static str {
        match self {
            Self::EtcdMissing { .. } | Self::EtcdUnreadable(_) | Self::EtcdLeaving(_) => {
                "ERR_GET_ETCD"
            }
            Self::Forbidden { .. } => "ERR_INSUFFICIENT_PERMISSIONS",
            Self::NoStore(_) => "ERR_BACKUP_NOT_ENABLED",
            Self::NotReady { .. } | Self::Hibernated(_) => "ERR_ETCD_NOT_READY",
            Self::Unsupported(_) | Self::OneMember(_) => "ERR_UNSUPPORTED_CONFIG",
            Self::Recovery(obstacle) => obstacle.code(),
            Self::Object { .. } => "ERR_API_SERVER",
            Self::CaUnnamed(_) | Self::CaUnknown(_) | Self::CaSecret { .. } => "ERR_GET_CA_SECRET",
            Self::CaKey { .. } => "ERR_CA_DATA_KEY_NOT_FOUND",
            Self::CaCertificate { .. } => "ERR_APPEND_CA_CERTS",
            Self::Port { .. } | Self::Request(_) => "ERR_CREATE_HTTP_REQUEST",
            Self::PodsUnknown(_)
            | Self::LeaderUnknown(_)
            | Self::Unreached(_)
            | Self::TooLate(_) => "ERR_EXECUTE_HTTP_REQUEST",
            Self::NotTaken { .. } | Self::NotNamed { .. } => "ERR_CREATE_SNAPSHOT",
            Self::BackupsUnknown(_)
            | Self::NothingCovered
            | Self::Uncovered { .. }
            | Self::Hole(_)
            | Self::OtherHistory { .. }
            | Self::Ahead { .. }
            | Self::Undated
            | Self::NothingThatOld(_) => "ERR_COMPACTION_REVISION",
            Self::Unwell(_) | Self::Corrupt | Self::Members(_) => "ERR_MEMBERS_UNHEALTHY",
            Self::JobUnmade(_)
            | Self::JobTaken(_)
            | Self::JobUnknown { .. }
            | Self::JobFailed { .. }
            | Self::NotCompacted { .. } => "ERR_COMPACTION_JOB",
            Self::Rolling => "ERR_UPGRADE_IN_PROGRESS",
            Self::Step { .. } => "ERR_MAINTENANCE",
        }
    }

    /// What it is, in a few words: etcd-druid's where it has some.
    pub fn message(&self) -> &'static str {
        match self {
            Self::EtcdMissing { .. } => "etcd object not found",
            Self::EtcdUnreadable(_) => "etcd object cannot be read",
            Self::EtcdLeaving(_) => "etcd object is being deleted",
            Self::Forbidden { .. } => "insufficient permissions",
            Self::NoStore(_) => "backup is not enabled for etcd",
            Self::NotReady { .. } | Self::Hibernated(_) => "etcd is not ready",
            Self::Unsupported(_) | Self::OneMember(_) => "operation is not supported",
            Self::Recovery(obstacle) => obstacle.message(),
            Self::Object { .. } => "the API server failed",
            Self::CaUnnamed(_) | Self::CaUnknown(_) | Self::CaSecret { .. } => {
                "failed to get CA secret"
            }
            Self::CaKey { .. } => "CA data key not found in secret",
            Self::CaCertificate { .. } => "failed to append CA certificates",
            Self::Port { .. } | Self::Request(_) => "failed to create HTTP request",
            Self::PodsUnknown(_) | Self::LeaderUnknown(_) | Self::Unreached(_) => {
                "failed to execute HTTP request"
            }
            Self::TooLate(_) => "task was not done in time",
            Self::NotTaken { .. } | Self::NotNamed { .. } => "failed to create snapshot",
            Self::BackupsUnknown(_)
            | Self::NothingCovered
            | Self::Uncovered { .. }
            | Self::Hole(_)
            | Self::OtherHistory { .. }
            | Self::Ahead { .. }
            | Self::Undated
            | Self::NothingThatOld(_) => "history cannot be compacted so far",
            Self::Unwell(_) | Self::Corrupt | Self::Members(_) => "members are not healthy",
            Self::JobUnmade(_)
            | Self::JobTaken(_)
            | Self::JobUnknown { .. }
            | Self::JobFailed { .. }
            | Self::NotCompacted { .. } => "failed to compact snapshots",
            Self::Rolling => "an upgrade is in progress",
            Self::Step { .. } => "maintenance failed",
        }
    }

    /// Whether an attempt found out that the task is not to be begun as things are.
    pub fn rejects(&self) -> bool {
        matches!(self, Self::Recovery(obstacle) if obstacle.rejects())
    }

    /// Whether it may pass by itself within seconds.
    pub fn may_pass(&self) -> bool {
        match self {
            Self::Unreached(_)
            | Self::PodsUnknown(_)
            | Self::LeaderUnknown(_)
            | Self::CaUnnamed(_)
            | Self::CaUnknown(_)
            | Self::BackupsUnknown(_)
            | Self::JobTaken(_)
            | Self::JobUnknown { .. }
            | Self::Unwell(_)
            | Self::Members(_)
            | Self::Rolling
            | Self::Object { .. }
            | Self::Step { .. } => true,
            Self::NotTaken { status, .. } => no_may_pass(*status),
            Self::EtcdMissing { .. }
            | Self::EtcdUnreadable(_)
            | Self::EtcdLeaving(_)
            | Self::Forbidden { .. }
            | Self::NoStore(_)
            | Self::NotReady { .. }
            | Self::Hibernated(_)
            | Self::Unsupported(_)
            | Self::Recovery(_)
            | Self::OneMember(_)
            | Self::Port { .. }
            | Self::CaSecret { .. }
            | Self::CaKey { .. }
            | Self::CaCertificate { .. }
            | Self::Request(_)
            | Self::TooLate(_)
            | Self::NothingCovered
            | Self::Uncovered { .. }
            | Self::Hole(_)
            | Self::OtherHistory { .. }
            | Self::Ahead { .. }
            | Self::Undated
            | Self::NothingThatOld(_)
            | Self::JobUnmade(_)
            | Self::JobFailed { .. }
            | Self::NotCompacted { .. }
            | Self::Corrupt
            | Self::NotNamed { .. } => false,
        }
    }
}

/// Whether another answer may come within seconds. A sidecar answers 405 while it does not lead, and
/// what stands before one 502, 503 or 504 while it restarts.
pub fn no_may_pass(status: u16) -> bool {
    matches!(status, 405 | 502 | 503 | 504)
}

fn said(text: &str) -> String {
    if text.is_empty() {
        String::new()
    } else {
        format!(" ({text})")
    }
}
