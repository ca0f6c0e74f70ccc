//! Every "no": why a cluster may not be upgraded or taken back, and what to do about it. The same
//! value feeds the log, the Event, the condition, the metric, the command line and the report.

use std::fmt;

use serde::Serialize;
use thiserror::Error;

use crate::member::{MemberId, MemberName};
use crate::observed::AlarmKind;
use crate::version::{Minor, StepRefusal, Version};

/// A reason not to begin.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Error)]
pub enum Refusal {
    /// The step itself is not allowed.
    #[error("{0}")]
    VersionStepUnsupported(StepRefusal),
    /// Members run different releases.
    #[error("{member} runs {found} and others run {expected}")]
    VersionSkew {
        /// The odd one out.
        member: MemberName,
        /// What it runs.
        found: Version,
        /// What the cluster is to be upgraded from.
        expected: Version,
    },
    /// A member does not answer.
    #[error("{member} does not answer: {why}")]
    MemberUnreachable {
        /// Which.
        member: MemberName,
        /// What went wrong.
        why: String,
    },
    /// A member answers but says that it cannot serve.
    #[error("{member} is not ready: {why}")]
    MemberNotReady {
        /// Which.
        member: MemberName,
        /// What its `/readyz` says.
        why: String,
    },
    /// The member list and the endpoints do not match.
    #[error(
        "the cluster has {listed} members and {given} were given{}",
        missing(absent)
    )]
    MemberCountMismatch {
        /// How many the member list has.
        listed: usize,
        /// How many were asked.
        given: usize,
        /// Those in the list that were not asked, by name or number.
        absent: Vec<String>,
    },
    /// A member that does not vote.
    #[error("{member} is a learner")]
    LearnerPresent {
        /// Which.
        member: MemberName,
    },
    /// Nobody leads, members disagree, or the leader changed while we watched.
    #[error("there is no stable leader: {why}")]
    NoStableLeader {
        /// Which of those.
        why: String,
    },
    /// A member is behind.
    #[error("{member} is {behind} raft entries behind (at most {allowed} allowed)")]
    RaftLag {
        /// Which.
        member: MemberName,
        /// Entries committed and not applied by it.
        behind: u64,
        /// The limit.
        allowed: u64,
    },
    /// An alarm is raised.
    #[error("alarm {kind} is raised{}", raised_by(*member))]
    AlarmActive {
        /// By whom; [`MemberId::NOBODY`] if the cluster does not say.
        member: MemberId,
        /// Which.
        kind: AlarmKind,
    },
    /// Members hold different data.
    #[error("HashKV at revision {revision} differs: {hashes}")]
    HashMismatch {
        /// Where they were compared.
        revision: i64,
        /// Each member and its hash, as text.
        hashes: String,
    },
    /// The database is near its quota.
    #[error(
        "{member} uses {db_size} of {quota} bytes of its database quota (at most {}% allowed)",
        MAX_QUOTA_PERCENT
    )]
    QuotaHeadroom {
        /// Which.
        member: MemberName,
        /// Bytes used.
        db_size: u64,
        /// Bytes allowed.
        quota: u64,
    },
    /// Authentication is on.
    #[error("authentication is enabled, and 3.4 and 3.5 do not agree on how users are stored")]
    AuthEnabled,
    /// etcd's own downgrade is under way.
    #[error("{member} says that etcd's own downgrade job is enabled")]
    DowngradeInProgress {
        /// Which.
        member: MemberName,
    },
    /// The configuration has a key that the target refuses or silently ignores.
    #[error("configuration key `{key}`: {why}")]
    ConfigKeyUnsupported {
        /// Which.
        key: String,
        /// What the target does with it.
        why: String,
        /// What to write instead.
        remedy: String,
    },
    /// The cluster version is not that of the members.
    #[error("{member} says cluster version {}, and its members run {expected}", found_or_none(*found))]
    ClusterVersionUnexpected {
        /// Which.
        member: MemberName,
        /// What it says.
        found: Option<Minor>,
        /// What it should say.
        expected: Minor,
    },
    /// Nobody could verify the snapshot that an upgrade begins with.
    #[error("the sidecar of the leading member is not druid's, and cannot verify a snapshot")]
    SidecarCannotVerify,
}

/// The part of the quota that a database may use when an upgrade begins, percent.
pub const MAX_QUOTA_PERCENT: u64 = 80;

fn missing(absent: &[String]) -> String {
    if absent.is_empty() {
        String::new()
    } else {
        format!(" (not given: {})", absent.join(", "))
    }
}

fn raised_by(member: MemberId) -> String {
    if member == MemberId::NOBODY {
        String::new()
    } else {
        format!(" by member {member}")
    }
}

fn found_or_none(found: Option<Minor>) -> String {
    found.map_or_else(|| "not decided".to_owned(), |minor| minor.to_string())
}

impl Refusal {
    /// A stable name for programs.
    pub fn code(&self) -> &'static str {
        match self {
            Self::VersionStepUnsupported(_) => "VersionStepUnsupported",
            Self::VersionSkew { .. } => "VersionSkew",
            Self::MemberUnreachable { .. } | Self::MemberNotReady { .. } => "MemberUnreachable",
            Self::MemberCountMismatch { .. } => "MemberCountMismatch",
            Self::LearnerPresent { .. } => "LearnerPresent",
            Self::NoStableLeader { .. } => "NoStableLeader",
            Self::RaftLag { .. } => "RaftLag",
            Self::AlarmActive { .. } => "AlarmActive",
            Self::HashMismatch { .. } => "HashMismatch",
            Self::QuotaHeadroom { .. } => "QuotaHeadroom",
            Self::AuthEnabled => "AuthEnabled",
            Self::DowngradeInProgress { .. } => "DowngradeInProgress",
            Self::ConfigKeyUnsupported { .. } => "ConfigKeyUnsupported",
            Self::ClusterVersionUnexpected { .. } => "ClusterVersionUnexpected",
            Self::SidecarCannotVerify => "SidecarCannotVerify",
        }
    }

    /// What the user can do about it, as an instruction.
    pub fn remedy(&self) -> String {
        match self {
            Self::VersionStepUnsupported(step) => step.remedy(),
            Self::VersionSkew { member, expected, .. } => {
                format!("bring {member} to {expected}, the release of the others, first")
            }
            Self::MemberUnreachable { member, .. } => {
                format!("start {member}, or check its endpoint, certificates and network")
            }
            Self::MemberNotReady { member, .. } => {
                format!("read the log of {member}; its /readyz?verbose names the failing check")
            }
            Self::MemberCountMismatch { .. } => {
                "give the client URL of every member, once each, and remove members that are gone \
                 with `etcdctl member remove`"
                    .to_owned()
            }
            Self::LearnerPresent { member } => format!(
                "promote {member} (`etcdctl member promote`) or remove it (`etcdctl member remove`)"
            ),
            Self::NoStableLeader { .. } => {
                "wait until the members agree; if they do not, look at disk and network latency"
                    .to_owned()
            }
            Self::RaftLag { member, .. } => {
                format!("wait until {member} has caught up; if it does not, look at its disk")
            }
            Self::AlarmActive { kind: AlarmKind::NoSpace, .. } => {
                "compact, defragment every member, then `etcdctl alarm disarm`".to_owned()
            }
            Self::AlarmActive { kind: AlarmKind::Corrupt, .. } | Self::HashMismatch { .. } => {
                "do not restart anything: find the member that differs and replace it (remove it, \
                 empty its data directory, add it again)"
                    .to_owned()
            }
            Self::AlarmActive { kind: AlarmKind::Unknown, .. } => {
                "see `etcdctl alarm list`, repair the cause, then `etcdctl alarm disarm`".to_owned()
            }
            Self::QuotaHeadroom { member, .. } => {
                format!("compact and defragment {member}, or raise --quota-backend-bytes")
            }
            Self::AuthEnabled => {
                "`etcdctl auth disable` for the time of the upgrade, or move to a restored cluster"
                    .to_owned()
            }
            Self::DowngradeInProgress { .. } => {
                "cancel it (`etcdctl downgrade cancel` of 3.6) while every member runs, and restart \
                 none before that"
                    .to_owned()
            }
            Self::ConfigKeyUnsupported { remedy, .. } => remedy.clone(),
            Self::ClusterVersionUnexpected { .. } => {
                "wait until the leader has reached every member (it asks each every 4 s); a member \
                 that is down holds the cluster version back"
                    .to_owned()
            }
            Self::SidecarCannotVerify => {
                "set spec.upgrade.enabled to false and spec.backup.image to the image of druid, which \
                 restarts the members with it on the release that they run, then enable the upgrade \
                 again; for all Etcds name the image as etcd-backup-restore and \
                 etcd-backup-restore-next in the image vector (IMAGEVECTOR_OVERWRITE): it reaches \
                 members when they are restarted"
                    .to_owned()
            }
        }
    }

    /// The member that it is about, if it is about one.
    pub fn member(&self) -> Option<&MemberName> {
        match self {
            Self::VersionSkew { member, .. }
            | Self::MemberUnreachable { member, .. }
            | Self::MemberNotReady { member, .. }
            | Self::LearnerPresent { member }
            | Self::RaftLag { member, .. }
            | Self::QuotaHeadroom { member, .. }
            | Self::DowngradeInProgress { member }
            | Self::ClusterVersionUnexpected { member, .. } => Some(member),
            Self::VersionStepUnsupported(_)
            | Self::MemberCountMismatch { .. }
            | Self::NoStableLeader { .. }
            | Self::AlarmActive { .. }
            | Self::HashMismatch { .. }
            | Self::AuthEnabled
            | Self::ConfigKeyUnsupported { .. }
            | Self::SidecarCannotVerify => None,
        }
    }

    /// The refusal as programs read it.
    pub fn report(&self) -> RefusalReport {
        RefusalReport {
            code: self.code().to_owned(),
            message: self.to_string(),
            remedy: self.remedy(),
            member: self.member().map(ToString::to_string),
        }
    }
}

/// A refusal in JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, serde::Deserialize)]
pub struct RefusalReport {
    /// [`Refusal::code`].
    pub code: String,
    /// What was found.
    pub message: String,
    /// [`Refusal::remedy`].
    pub remedy: String,
    /// The member, if it is about one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub member: Option<String>,
}

impl fmt::Display for RefusalReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code, self.message)
    }
}
