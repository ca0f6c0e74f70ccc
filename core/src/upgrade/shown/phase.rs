//! How far an upgrade is, for people.

use crate::upgrade::Phase;

/// How far an upgrade is, for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ShownPhase {
    /// Checking whether it may begin.
    Preflight,
    /// Taking and verifying the snapshot.
    Snapshot,
    /// Replacing members.
    Rolling,
    /// All members run the target; the cluster has to agree on it.
    Finalizing,
    /// Arrived.
    Succeeded,
    /// Putting a failed member back.
    PuttingBack,
    /// Halted, with the failed member back on the old release.
    RolledBack,
    /// Halted for another reason.
    Blocked,
    /// It must not begin; nothing was touched.
    Refused,
    /// Something that should be is not.
    Waiting,
    /// A person wants to look first.
    Paused,
}

impl ShownPhase {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::Preflight,
        Self::Snapshot,
        Self::Rolling,
        Self::Finalizing,
        Self::Succeeded,
        Self::PuttingBack,
        Self::RolledBack,
        Self::Blocked,
        Self::Refused,
        Self::Waiting,
        Self::Paused,
    ];

    /// As `status.upgrade.phase` and metrics have it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Preflight => "Preflight",
            Self::Snapshot => "Snapshot",
            Self::Rolling => "Rolling",
            Self::Finalizing => "Finalizing",
            Self::Succeeded => "Succeeded",
            Self::PuttingBack => "PuttingBack",
            Self::RolledBack => "RolledBack",
            Self::Blocked => "Blocked",
            Self::Refused => "Refused",
            Self::Waiting => "Waiting",
            Self::Paused => "Paused",
        }
    }

    /// What it says, for people.
    pub fn meaning(self) -> &'static str {
        match self {
            Self::Preflight => "it is checked whether it may begin",
            Self::Snapshot => "a full snapshot is being taken and verified",
            Self::Rolling => "members are being replaced, one at a time",
            Self::Finalizing => "all members are replaced; the cluster has to agree on its version",
            Self::Succeeded => "all members run the release",
            Self::PuttingBack => "a member that failed is put back to the release before",
            Self::RolledBack => "that is done, and a person has to look",
            Self::Blocked => "it is halted, and a person has to look",
            Self::Refused => "it must not begin; nothing was touched",
            Self::Waiting => "it goes on by itself as soon as it can",
            Self::Paused => "a person said so",
        }
    }

    /// The phase with this name.
    pub fn read(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|phase| phase.word() == word)
    }

    /// Whether it stays so until a person acknowledges it.
    pub fn is_halted(self) -> bool {
        match self {
            Self::RolledBack | Self::Blocked => true,
            Self::Preflight
            | Self::Snapshot
            | Self::Rolling
            | Self::Finalizing
            | Self::Succeeded
            | Self::PuttingBack
            | Self::Refused
            | Self::Waiting
            | Self::Paused => false,
        }
    }
}

impl From<Phase> for ShownPhase {
    fn from(phase: Phase) -> Self {
        match phase {
            Phase::Preflight => Self::Preflight,
            Phase::Snapshot => Self::Snapshot,
            Phase::Rolling => Self::Rolling,
            Phase::AwaitingClusterVersion => Self::Finalizing,
            Phase::Done => Self::Succeeded,
            Phase::PuttingBack => Self::PuttingBack,
            Phase::RolledBack => Self::RolledBack,
            Phase::Blocked => Self::Blocked,
        }
    }
}
