//! Everything that can be wrong with an Etcd.

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use thiserror::Error;

use super::orders::{By, comes};
use crate::agent::recovery::Order;
use crate::api::{Condition, Time};
use crate::cli::age::{age, length};
use crate::member::MemberName;
use crate::render::Problem;
use crate::status::conditions::Kind;
use crate::version::{KnownBad, Version};

/// How urgent something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Severity {
    /// The cluster does not serve, or is about to stop, or data may be lost.
    Critical,
    /// It serves, and somebody has to look.
    Warning,
    /// Good to know; it makes nobody ill.
    Note,
}

impl Severity {
    /// As it is written.
    pub fn word(self) -> &'static str {
        match self {
            Self::Critical => "critical",
            Self::Warning => "warning",
            Self::Note => "note",
        }
    }
}

/// How something is known.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum How {
    /// The members said so.
    #[error("what the members answered just now")]
    Answers,
    /// The operator said so.
    #[error("condition {kind} of the Etcd: {status} ({reason}){}", since(at.as_ref()))]
    Condition {
        /// Which condition.
        kind: &'static str,
        /// Its status.
        status: String,
        /// Its reason.
        reason: String,
        /// Since when.
        at: Option<Time>,
    },
    /// A field of the Etcd.
    #[error("{0} of the Etcd")]
    Field(&'static str),
    /// The pods.
    #[error("pod {0}")]
    Pod(String),
    /// The images of the pods, or `status.upgrade`.
    #[error("the images of the pods, and status.upgrade of the Etcd")]
    Images,
    /// A Lease.
    #[error("Lease {0}")]
    Lease(String),
    /// A Secret.
    #[error("Secret {0}")]
    Secret(String),
    /// A task.
    #[error("EtcdOpsTask {0}")]
    Task(String),
}

impl How {
    /// A condition of the Etcd.
    pub(super) fn condition(kind: Kind, of: &Condition) -> Self {
        Self::Condition {
            kind: kind.word(),
            status: of.status.clone(),
            reason: of.reason.clone(),
            at: Some(of.last_transition_time.clone()),
        }
    }
}

fn since(at: Option<&Time>) -> String {
    at.map_or_else(String::new, |at| format!(" since {at}"))
}

/// Something that is wrong, or good to know.
#[derive(Clone, Debug, PartialEq, Error)]
pub enum Finding {
    /// Nothing can be read or written.
    #[error(
        "the quorum is lost: nothing can be read or written; {up} of {wanted} members up, {} needed{}",
        wanted / 2 + 1,
        listed("; down: ", down)
    )]
    QuorumLost {
        /// How many are up.
        up: usize,
        /// How many there are to be.
        wanted: usize,
        /// The pods of the others.
        down: Vec<String>,
    },
    /// Members hold different data.
    #[error("the alarm CORRUPT is raised: members hold different data")]
    Corrupt,
    /// Members are of several clusters.
    #[error("members belong to different clusters: {0}")]
    ClusterIdMismatch(String),
    /// The quota is used up.
    #[error(
        "the alarm NOSPACE is raised: the database has reached its quota, and only reads and deletes \
         work"
    )]
    NoSpace,
    /// An alarm that this release does not know.
    #[error("an alarm is raised that this release of druid does not know")]
    UnknownAlarm,
    /// A certificate is not good any more.
    #[error("the certificate {key} in Secret {secret} expired {} ago", age(Some(*at), *now))]
    CertificateExpired {
        /// The Secret.
        secret: String,
        /// The key in it.
        key: String,
        /// When.
        at: Timestamp,
        /// The present.
        now: Timestamp,
    },
    /// A certificate has to be renewed.
    #[error(
        "the certificate {key} in Secret {secret} expires in {}; after that nobody who needs it is \
         served",
        age(Some(*now), *at)
    )]
    CertificateExpires {
        /// The Secret.
        secret: String,
        /// The key in it.
        key: String,
        /// When.
        at: Timestamp,
        /// The present.
        now: Timestamp,
    },
    /// A Secret is gone.
    #[error("Secret {0} does not exist: a pod that restarts does not come up again")]
    SecretMissing(String),
    /// There is nothing usable where a certificate should be.
    #[error("key {key} of Secret {secret} holds no certificate")]
    NoCertificate {
        /// The Secret.
        secret: String,
        /// The key in it.
        key: String,
    },
    /// Nothing was backed up for long.
    #[error(
        "backups are too old{}: {says}",
        age.map_or_else(String::new, |age| format!(" (the newest is from {} ago)", length(age)))
    )]
    BackupOld {
        /// How old the newest one is.
        age: Option<SignedDuration>,
        /// What the status says, or what is missing.
        says: String,
        /// Whether one can be taken now.
        quorate: bool,
    },
    /// A member does not serve.
    #[error("member {name} does not serve: {why}; {}", spare_words(*spare))]
    MemberDown {
        /// Which.
        name: MemberName,
        /// Its pod.
        pod: String,
        /// Why.
        why: String,
        /// How many more may fail.
        spare: usize,
    },
    /// The upgrade waits for a person.
    #[error("the upgrade is halted ({reason}): {message}")]
    UpgradeHalted {
        /// Why, as a word.
        reason: String,
        /// Why.
        message: String,
    },
    /// The upgrade was refused.
    #[error("the operator refuses the upgrade ({reason}): {message}")]
    UpgradeRefused {
        /// Why, as a word.
        reason: String,
        /// Why, with remedies.
        message: String,
    },
    /// The operator fails.
    #[error("the operator cannot do what this Etcd asks for: {0}")]
    OperatorFailed(String),
    /// No operator looks at it.
    #[error("no operator looks at this Etcd: {0}")]
    OperatorSilent(String),
    /// The spec cannot work.
    #[error("{0}")]
    Spec(Problem),
    /// The database is nearly full.
    #[error("the database has nearly reached its quota, after which no write works: {}", members.join(", "))]
    NearQuota {
        /// The members, and how much of it they use.
        members: Vec<String>,
        /// Whether most of it is free.
        hollow: bool,
    },
    /// A pod is not ready, while its member serves.
    #[error("pod {pod} is not ready: {state}; its member serves")]
    PodNotReady {
        /// Which.
        pod: String,
        /// How it is.
        state: String,
    },
    /// A member was told what to start with, by a recovery.
    #[error("member {member} is told to {order} {}: {}", by.words(), comes(*order, by))]
    RecoveryOrder {
        /// Which; its Lease is called so.
        member: String,
        /// What it is told.
        order: Order,
        /// By whom.
        by: By,
    },
    /// A member is told something by a recovery that nobody can read.
    #[error(
        "member {member} is told something that is no order of a recovery; if it waits, it goes on waiting: {why}"
    )]
    RecoveryOrderUnreadable {
        /// Which; its Lease is called so.
        member: String,
        /// Why.
        why: String,
    },
    /// A task came to nothing.
    #[error("{kind} {state}: {says}")]
    TaskFailed {
        /// Its name.
        name: String,
        /// What it was to do.
        kind: &'static str,
        /// `Failed` or `Rejected`.
        state: String,
        /// Why.
        says: String,
    },
    /// Members run different releases, and no upgrade accounts for it.
    #[error("members run {} and no upgrade is under way", versions(found))]
    VersionsDiffer {
        /// Which.
        found: Vec<Version>,
    },
    /// A release that loses data.
    #[error(
        "members run {version}, a bad release: {} (etcd issue {})",
        why.what,
        why.issue
    )]
    KnownBad {
        /// Which.
        version: Version,
        /// What goes wrong.
        why: KnownBad,
    },
    /// There are warnings about volumes.
    #[error("there are warnings about volumes: {0}")]
    Volumes(String),
    /// Much of the database is free.
    #[error("most of the database is free and still counts for the quota: {}", members.join(", "))]
    Fragmented {
        /// The members, and how much is free.
        members: Vec<String>,
    },
    /// kube-apiserver has to ask etcd for each list.
    #[error(
        "kube-apiserver cannot answer consistent lists from its cache: {} lacks a reliable progress \
         notification; from 1.35 on it also fails some watches",
        versions(found)
    )]
    NoConsistentList {
        /// The releases.
        found: Vec<Version>,
    },
    /// It is going.
    #[error("the Etcd is being deleted")]
    Deleting,
    /// Its spec is not reconciled.
    #[error("reconciliation of the spec is suspended by an annotation")]
    Suspended,
    /// The last change of the spec was not taken up.
    #[error("the last change of the spec is not reconciled yet")]
    NotReconciled,
    /// A person has paused it.
    #[error("upgrades are paused: spec.upgrade.paused is true")]
    Paused,
    /// The upgrade waits for something.
    #[error("the upgrade waits ({reason}): {message}")]
    UpgradeWaiting {
        /// For what, as a word.
        reason: String,
        /// For what.
        message: String,
    },
    /// A person has acknowledged the halt.
    #[error("the halt of the upgrade is acknowledged; the operator has yet to take it up")]
    Acknowledged,
    /// Nothing is backed up.
    #[error("there is no backup store: what is lost is lost")]
    NoStore,
}

fn listed(before: &str, all: &[String]) -> String {
    if all.is_empty() {
        String::new()
    } else {
        format!("{before}{}", all.join(", "))
    }
}

fn spare_words(spare: usize) -> String {
    match spare {
        0 => "no further one may fail".to_owned(),
        1 => "1 more may fail".to_owned(),
        more => format!("{more} more may fail"),
    }
}

fn versions(all: &[Version]) -> String {
    let all: Vec<_> = all.iter().map(Version::to_string).collect();
    all.join(" and ")
}

/// A certificate that expires within this is urgent.
const EXPIRES: SignedDuration = SignedDuration::from_hours(3 * 24);

impl Finding {
    /// A stable name of it.
    pub fn code(&self) -> &'static str {
        match self {
            Self::QuorumLost { .. } => "QuorumLost",
            Self::Corrupt => "AlarmCorrupt",
            Self::ClusterIdMismatch(_) => "ClusterIDMismatch",
            Self::NoSpace => "AlarmNoSpace",
            Self::UnknownAlarm => "AlarmUnknown",
            Self::CertificateExpired { .. } => "CertificateExpired",
            Self::CertificateExpires { .. } => "CertificateExpires",
            Self::SecretMissing(_) => "SecretMissing",
            Self::NoCertificate { .. } => "NoCertificate",
            Self::BackupOld { .. } => "BackupOld",
            Self::MemberDown { .. } => "MemberDown",
            Self::UpgradeHalted { .. } => "UpgradeHalted",
            Self::UpgradeRefused { .. } => "UpgradeRefused",
            Self::OperatorFailed(_) => "OperatorFailed",
            Self::OperatorSilent(_) => "OperatorSilent",
            Self::Spec(_) => "SpecProblem",
            Self::NearQuota { .. } => "NearQuota",
            Self::PodNotReady { .. } => "PodNotReady",
            Self::RecoveryOrder { by, .. } => match by {
                By::UnderWay(_) => "RecoveryUnderWay",
                By::Over(_) | By::Gone => "RecoveryOrderLeft",
            },
            Self::RecoveryOrderUnreadable { .. } => "RecoveryOrderUnreadable",
            Self::TaskFailed { .. } => "TaskFailed",
            Self::VersionsDiffer { .. } => "VersionsDiffer",
            Self::KnownBad { .. } => "KnownBadRelease",
            Self::Volumes(_) => "VolumeWarnings",
            Self::Fragmented { .. } => "Fragmented",
            Self::NoConsistentList { .. } => "NoConsistentList",
            Self::Deleting => "Deleting",
            Self::Suspended => "Suspended",
            Self::NotReconciled => "NotReconciled",
            Self::Paused => "Paused",
            Self::UpgradeWaiting { .. } => "UpgradeWaiting",
            Self::Acknowledged => "HaltAcknowledged",
            Self::NoStore => "NoStore",
        }
    }

    /// Whether it says what the upgrade waits for.
    pub(super) fn is_of_upgrade(&self) -> bool {
        matches!(
            self,
            Self::UpgradeHalted { .. }
                | Self::UpgradeRefused { .. }
                | Self::UpgradeWaiting { .. }
                | Self::Acknowledged
        )
    }

    /// How urgent it is: as the alerts in `deploy/monitoring` have it, where there is one.
    pub fn severity(&self) -> Severity {
        match self {
            Self::CertificateExpires { at, now, .. } if at.duration_since(*now) >= EXPIRES => {
                Severity::Warning
            }
            Self::QuorumLost { .. }
            | Self::Corrupt
            | Self::ClusterIdMismatch(_)
            | Self::NoSpace
            | Self::CertificateExpired { .. }
            | Self::CertificateExpires { .. }
            | Self::SecretMissing(_)
            | Self::BackupOld { .. }
            | Self::NearQuota { .. } => Severity::Critical,
            Self::MemberDown { .. }
            | Self::UnknownAlarm
            | Self::NoCertificate { .. }
            | Self::UpgradeHalted { .. }
            | Self::UpgradeRefused { .. }
            | Self::OperatorFailed(_)
            | Self::OperatorSilent(_)
            | Self::Spec(_)
            | Self::PodNotReady { .. }
            | Self::RecoveryOrder {
                by: By::Over(_) | By::Gone,
                ..
            }
            | Self::RecoveryOrderUnreadable { .. }
            | Self::TaskFailed { .. }
            | Self::VersionsDiffer { .. }
            | Self::KnownBad { .. }
            | Self::Volumes(_)
            | Self::Fragmented { .. }
            | Self::NoConsistentList { .. } => Severity::Warning,
            Self::RecoveryOrder {
                by: By::UnderWay(_),
                ..
            }
            | Self::Deleting
            | Self::Suspended
            | Self::NotReconciled
            | Self::Paused
            | Self::UpgradeWaiting { .. }
            | Self::Acknowledged
            | Self::NoStore => Severity::Note,
        }
    }
}
