//! What comes next: acts, waits, refusals and halts as data, each with one sentence.

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::member::MemberName;
use crate::observed::AlarmKind;
use crate::refusal::Refusal;
use crate::version::{Minor, Version};

/// The one thing to do now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Nothing: the cluster is where it was asked to be.
    Done,
    /// Observe again, with the dear reads that are named.
    Look(Needs),
    /// Do this, then observe again.
    Act(Act),
    /// Nothing can be done now.
    Wait(Wait),
    /// It must not begin. Asked again, it is judged again.
    Refuse(Vec<Refusal>),
    /// It went wrong and a person has to look at it. Stays so until acknowledged, or until
    /// another target is asked for.
    Halt(Halt),
}

/// Which dear reads ([`crate::observed::Looked`]) the next decision needs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Needs {
    /// None.
    #[default]
    Nothing,
    /// Those of a preflight.
    Preflight,
    /// Those of a member that has just been restarted.
    Member(MemberName),
    /// A comparison of all members' data.
    Data,
}

/// A change to the world. Every act may be repeated: doing it twice is doing it once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Act {
    /// Take a full snapshot under this name.
    TakeSnapshot(String),
    /// Verify the snapshot of this name.
    VerifySnapshot(String),
    /// Let members that are created from now on run this release; the rest of what they are made
    /// from is what a person asks for now.
    SetTemplate(Version),
    /// Hand the leadership over.
    MoveLeader {
        /// Who leads now.
        from: MemberName,
        /// Who is to lead.
        to: MemberName,
    },
    /// Stop the member and create it again from the template, if it still is this incarnation.
    Restart {
        /// Which.
        member: MemberName,
        /// What [`crate::observed::Process::Running`] said.
        incarnation: u64,
    },
}

impl Act {
    /// Whether it matters that the observation was not stale. Such an act is done only if a
    /// second, live observation leads to the same decision.
    pub fn needs_live_look(&self) -> bool {
        match self {
            Self::VerifySnapshot(_) => false,
            // A member that is down may be about to be created from it.
            Self::SetTemplate(_)
            | Self::TakeSnapshot(_)
            | Self::MoveLeader { .. }
            | Self::Restart { .. } => true,
        }
    }
}

/// A wait.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wait {
    /// For what.
    pub why: Why,
    /// Since when it has been waited for.
    pub since: Timestamp,
    /// When it should have come at the latest; `None` if a person decides.
    pub deadline: Option<Timestamp>,
    /// Whether the deadline has passed.
    pub overdue: bool,
}

/// What is waited for.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Why {
    /// A person has paused it.
    #[error("paused")]
    Paused,
    /// It was asked to pause after so many members.
    #[error("paused after {replaced} of {members} members, as asked")]
    PausedAfter {
        /// Members on the target.
        replaced: usize,
        /// All members.
        members: usize,
    },
    /// It was asked to hold the last member.
    #[error("{member} is the last one and is held, as asked: until it goes, the way back is free")]
    HeldLast {
        /// The last one.
        member: MemberName,
    },
    /// The preflight could not find something out.
    #[error("preflight could not find out: {}", .0.join("; "))]
    PreflightUnknown(Vec<String>),
    /// The snapshot is being taken.
    #[error("snapshot {0} is being taken")]
    SnapshotTaking(String),
    /// The snapshot is being verified.
    #[error("snapshot {0} is being verified")]
    SnapshotVerifying(String),
    /// The snapshot was refused; it will be asked for again. Not a failed attempt.
    #[error("snapshot {name} was rejected ({why}) and will be asked for again")]
    SnapshotRejected {
        /// Its name.
        name: String,
        /// Why.
        why: String,
    },
    /// A member that we restarted has not gone down yet.
    #[error("{member} is being restarted")]
    GoingDown {
        /// Which.
        member: MemberName,
    },
    /// A member that we restarted is not back yet.
    #[error("{member} is coming up on {version}: {trouble}")]
    ComingUp {
        /// Which.
        member: MemberName,
        /// On what.
        version: Version,
        /// What is missing.
        trouble: Trouble,
    },
    /// A member is not well, and not by our hand.
    #[error("{member} {trouble}")]
    Unhealthy {
        /// Which.
        member: MemberName,
        /// What is wrong.
        trouble: Trouble,
    },
    /// The members' data could not be compared.
    #[error("the members' data could not be compared: {0}")]
    NotComparable(String),
    /// The member list could not be read.
    #[error("the member list could not be read: {0}")]
    MembershipUnknown(String),
    /// The member list is not that of the platform.
    #[error("the cluster has {listed} members and {expected} are to run")]
    MembershipDiffers {
        /// In the list.
        listed: usize,
        /// On the platform.
        expected: usize,
    },
    /// Whether there are alarms could not be found out.
    #[error("the alarms could not be read: {0}")]
    AlarmsUnknown(String),
    /// An alarm was raised while the roll was under way.
    #[error("alarm {0} is raised")]
    AlarmActive(AlarmKind),
    /// Nobody leads.
    #[error("no leader that a majority agrees on")]
    NoLeader,
    /// Nobody on the target can take the leadership.
    #[error("no member on the target is fit to lead")]
    NoSuccessor,
    /// All members run the target, and the cluster has not agreed on it yet.
    #[error("all members run the target; {member} says cluster version {}, expected {expected}",
        found.map_or("none".to_owned(), |found| found.to_string()))]
    ClusterVersion {
        /// Who says so.
        member: MemberName,
        /// What it says.
        found: Option<Minor>,
        /// What it will say.
        expected: Minor,
    },
}

impl Why {
    /// A stable name for programs; a wait keeps its start as long as this stays the same.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Paused => "Paused",
            Self::PausedAfter { .. } => "PausedAfter",
            Self::HeldLast { .. } => "HeldLast",
            Self::PreflightUnknown(_) => "PreflightUnknown",
            Self::SnapshotTaking(_) => "SnapshotTaking",
            Self::SnapshotVerifying(_) => "SnapshotVerifying",
            Self::SnapshotRejected { .. } => "SnapshotRejected",
            Self::GoingDown { .. } => "GoingDown",
            Self::ComingUp { .. } => "ComingUp",
            Self::Unhealthy { .. } => "Unhealthy",
            Self::NotComparable(_) => "NotComparable",
            Self::MembershipUnknown(_) => "MembershipUnknown",
            Self::MembershipDiffers { .. } => "MembershipDiffers",
            Self::AlarmsUnknown(_) => "AlarmsUnknown",
            Self::AlarmActive(_) => "AlarmActive",
            Self::NoLeader => "NoLeader",
            Self::NoSuccessor => "NoSuccessor",
            Self::ClusterVersion { .. } => "ClusterVersion",
        }
    }

    /// Whether only a person ends the wait.
    pub fn is_for_a_person(&self) -> bool {
        match self {
            Self::Paused | Self::PausedAfter { .. } | Self::HeldLast { .. } => true,
            Self::PreflightUnknown(_)
            | Self::SnapshotTaking(_)
            | Self::SnapshotVerifying(_)
            | Self::SnapshotRejected { .. }
            | Self::GoingDown { .. }
            | Self::ComingUp { .. }
            | Self::Unhealthy { .. }
            | Self::NotComparable(_)
            | Self::MembershipUnknown(_)
            | Self::MembershipDiffers { .. }
            | Self::AlarmsUnknown(_)
            | Self::AlarmActive(_)
            | Self::NoLeader
            | Self::NoSuccessor
            | Self::ClusterVersion { .. } => false,
        }
    }
}

/// What is wrong with a member.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Error, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Trouble {
    /// It has no process.
    #[error("has no process")]
    Absent,
    /// Its process keeps ending.
    #[error("has ended {exits} times: {last_words}")]
    Failing {
        /// How often.
        exits: u32,
        /// The last thing that it said.
        last_words: String,
    },
    /// It does not answer.
    #[error("does not answer: {0}")]
    Silent(String),
    /// It does not vote.
    #[error("is a learner")]
    Learner,
    /// It is not in the member list.
    #[error("is not in the member list")]
    NotListed,
    /// It says that it cannot serve.
    #[error("is not ready: {0}")]
    NotReady(String),
    /// It knows no leader.
    #[error("knows no leader")]
    NoLeader,
    /// It is behind.
    #[error("is {0} raft entries behind")]
    Behind(u64),
    /// It runs another release than its image is named for.
    #[error("says that it runs {0}")]
    OtherVersion(Version),
    /// A write through it did not go in.
    #[error("takes no writes: {0}")]
    NoWrites(String),
    /// It was on its way when the target changed: nothing is wrong with it.
    #[error("was on its way when the target changed")]
    TargetChanged,
}

/// Why a person has to look.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Error, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Halt {
    /// No snapshot, no upgrade.
    #[error("{failures} snapshots failed, the last one because: {last}; no member was touched")]
    SnapshotFailed {
        /// How many.
        failures: u32,
        /// The last one's reason.
        last: String,
    },
    /// The new release did not come up and the member is back on the old one.
    #[error("{member} failed on {version} and is back on {back}: it {trouble}")]
    PutBack {
        /// Which.
        member: MemberName,
        /// What it failed on.
        version: Version,
        /// What it runs now.
        back: Version,
        /// How it failed.
        trouble: Trouble,
    },
    /// The member does not come up, and there is no release to put it back to.
    #[error("{member} does not come up as it is asked for now: it {trouble}; no other is touched")]
    StaysDown {
        /// Which.
        member: MemberName,
        /// How it failed.
        trouble: Trouble,
    },
    /// Neither release comes up on this member.
    #[error("{member} was put back to {version} and does not come up there either: it {trouble}")]
    PutBackFailed {
        /// Which.
        member: MemberName,
        /// What it was put back to.
        version: Version,
        /// How it failed.
        trouble: Trouble,
    },
    /// The members hold different data.
    #[error("HashKV at revision {revision} differs: {hashes}")]
    HashMismatch {
        /// Where they were compared.
        revision: i64,
        /// Each member's hash, as text.
        hashes: String,
    },
    /// etcd itself has found different data.
    #[error("alarm CORRUPT is raised")]
    Corrupt,
}

impl Halt {
    /// A stable name for programs.
    pub fn code(&self) -> &'static str {
        match self {
            Self::SnapshotFailed { .. } => "SnapshotFailed",
            Self::PutBack { .. } => "PutBack",
            Self::StaysDown { .. } => "StaysDown",
            Self::PutBackFailed { .. } => "PutBackFailed",
            Self::HashMismatch { .. } => "HashMismatch",
            Self::Corrupt => "Corrupt",
        }
    }

    /// Whether another template ends it: one member is down, and may come up if it is made from
    /// something else. Every other halt is about more than that.
    pub(super) fn ends_with_the_template(&self) -> bool {
        match self {
            Self::StaysDown { .. } | Self::PutBackFailed { .. } => true,
            Self::SnapshotFailed { .. }
            | Self::PutBack { .. }
            | Self::HashMismatch { .. }
            | Self::Corrupt => false,
        }
    }

    /// What the user can do about it, as an instruction.
    pub fn remedy(&self) -> String {
        match self {
            Self::SnapshotFailed { .. } => {
                "repair the backup store, then acknowledge the halt to try again".to_owned()
            }
            Self::PutBack {
                member, version, ..
            } => format!(
                "read the log of {member} on {version}; acknowledge the halt to try again, or ask \
                 for the old release to take the others back"
            ),
            Self::StaysDown { member, .. } => format!(
                "read the log of {member} and correct the spec: {member} then is restarted first. \
                 If the cause lies elsewhere, remove it, then acknowledge the halt"
            ),
            Self::PutBackFailed { member, .. } => format!(
                "read the log of {member}; the others still have quorum. If the spec is the cause, \
                 correct it: {member} then is restarted. If not, replace it (remove it, empty its \
                 data directory, add it again), then acknowledge the halt"
            ),
            Self::HashMismatch { .. } | Self::Corrupt => {
                "restart nothing: find the member that differs and replace it (remove it, empty \
                 its data directory, add it again), then acknowledge the halt"
                    .to_owned()
            }
        }
    }
}

impl fmt::Display for Act {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TakeSnapshot(name) => write!(f, "take full snapshot {name}"),
            Self::VerifySnapshot(name) => write!(f, "verify snapshot {name}"),
            Self::SetTemplate(version) => write!(f, "let restarted members run {version}"),
            Self::MoveLeader { from, to } => write!(f, "move the leadership from {from} to {to}"),
            Self::Restart { member, .. } => write!(f, "restart {member}"),
        }
    }
}

impl fmt::Display for Wait {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.why)?;
        if self.overdue {
            f.write_str(" (overdue)")
        } else {
            Ok(())
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Done => f.write_str("done"),
            Self::Look(Needs::Nothing) => f.write_str("look again"),
            Self::Look(Needs::Preflight) => f.write_str("check whether it may begin"),
            Self::Look(Needs::Data) => f.write_str("compare the data of all members"),
            Self::Look(Needs::Member(name)) => write!(f, "check writes and data of {name}"),
            Self::Act(act) => act.fmt(f),
            Self::Wait(wait) => write!(f, "wait: {wait}"),
            Self::Refuse(refusals) => {
                let all: Vec<_> = refusals.iter().map(ToString::to_string).collect();
                write!(f, "refused: {}", all.join("; "))
            }
            Self::Halt(halt) => write!(f, "halted: {halt}"),
        }
    }
}
