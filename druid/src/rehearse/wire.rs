//! What the engine's process and the lab's process say to each other: one JSON value a line, the
//! engine asks on its standard output and is answered on its standard input. They are two
//! processes so that the engine can really be killed.

use std::collections::BTreeMap;

use druid_core::make::Make;
use druid_core::member::MemberName;
use druid_core::observed::{Process, SnapshotWork};
use druid_core::refusal::RefusalReport;
use druid_core::upgrade::{Act, Halt, Record, Step, Want};
use serde::{Deserialize, Serialize};

/// What the engine asks.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Request {
    /// What am I to do?
    Plan,
    /// What does the platform see? The snapshot of this name is asked for too.
    Platform {
        /// Its name.
        snapshot: String,
    },
    /// Do this. The engine moves the leader itself.
    Act(Act),
    /// I am about to cross a point at which I might be killed.
    Boundary(String),
    /// This is what I have decided.
    Said(Box<Said>),
}

/// What the lab answers.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Reply {
    /// The answer to `Plan`.
    Plan(Plan),
    /// The answer to `Platform`.
    Platform(View),
    /// It was done, or noted.
    Done,
    /// It could not be done.
    Failed(String),
}

/// What the engine is to do.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Plan {
    /// What is wanted.
    pub(super) want: Want,
    /// What the cluster runs if nothing was recorded yet.
    pub(super) runs: Make,
    /// The client address of each member.
    pub(super) members: BTreeMap<MemberName, String>,
}

/// What the platform sees.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct View {
    /// What a member that is created now would be made from.
    pub(super) template: Make,
    /// The members' processes.
    pub(super) processes: BTreeMap<MemberName, Process>,
    /// The snapshot that was asked for.
    pub(super) snapshot: SnapshotWork,
}

/// A decision, as the lab needs it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Said {
    /// The record.
    pub(super) record: Record,
    /// The step in words.
    pub(super) step: String,
    /// What kind of step it is.
    pub(super) kind: Kind,
}

/// What kind of step it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Kind {
    /// The target is reached.
    Done,
    /// It looks closer.
    Looks,
    /// It acts.
    Acts(Act),
    /// It waits, until a person lets it go on if that is set.
    Waits {
        /// Whether only a person ends it.
        for_a_person: bool,
    },
    /// It must not begin.
    Refuses(Vec<RefusalReport>),
    /// A person has to look.
    Halts(Halt),
}

impl Kind {
    /// Whether the engine has nothing more to do.
    pub(super) fn is_final(&self) -> bool {
        match self {
            Self::Done | Self::Refuses(_) | Self::Halts(_) => true,
            Self::Waits { for_a_person } => *for_a_person,
            Self::Looks | Self::Acts(_) => false,
        }
    }
}

impl From<&Step> for Kind {
    fn from(step: &Step) -> Self {
        match step {
            Step::Done => Self::Done,
            Step::Look(_) => Self::Looks,
            Step::Act(act) => Self::Acts(act.clone()),
            Step::Wait(wait) => Self::Waits {
                for_a_person: wait.why.is_for_a_person(),
            },
            Step::Refuse(refusals) => Self::Refuses(
                refusals
                    .iter()
                    .map(druid_core::refusal::Refusal::report)
                    .collect(),
            ),
            Step::Halt(halt) => Self::Halts(halt.clone()),
        }
    }
}
