//! What is done, in which order, with which pauses.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::oracle::next_random;

/// Something that goes wrong. `member`: a number to be counted around the members that there are then.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Fault {
    /// SIGKILL for its etcd.
    KillMember {
        /// Whose.
        member: u32,
    },
    /// SIGSTOP for its etcd.
    HangMember {
        /// Whose.
        member: u32,
        /// For so many seconds.
        seconds: u32,
    },
    /// SIGKILL for the process that started its etcd, the first of its container, which ends with it.
    KillStarter {
        /// Whose.
        member: u32,
    },
    /// SIGKILL for its sidecar.
    KillSidecar {
        /// Whose.
        member: u32,
    },
    /// Its pod is deleted, as an eviction does.
    DeletePod {
        /// Whose.
        member: u32,
    },
    /// Its pod and its claim are deleted, and with them all that it has.
    LoseVolume {
        /// Whose.
        member: u32,
    },
    /// It and all other members do not reach each other.
    Isolate {
        /// Which.
        member: u32,
        /// For so many seconds.
        seconds: u32,
    },
    /// It and the next one do not reach each other.
    Part {
        /// Which.
        member: u32,
        /// For so many seconds.
        seconds: u32,
    },
    /// SIGKILL for the operator.
    KillOperator,
    /// The operator's clock is so many seconds ahead.
    SkewOperator {
        /// So many; behind if negative.
        by: i32,
        /// For so many seconds.
        seconds: u32,
    },
    /// The API server is killed and started again.
    RestartApiServer {
        /// After so many seconds.
        seconds: u32,
    },
    /// SIGSTOP for the API server.
    HangApiServer {
        /// For so many seconds.
        seconds: u32,
    },
    /// The object store answers 503.
    StoreBusy {
        /// For so many seconds.
        seconds: u32,
    },
    /// The object store accepts connections and says nothing.
    StoreMute {
        /// For so many seconds.
        seconds: u32,
    },
    /// The file system of all volumes is full.
    FullDisk {
        /// For so many seconds.
        seconds: u32,
    },
}

impl Fault {
    /// Whom it concerns, if that is a member.
    pub fn member(self) -> Option<u32> {
        match self {
            Self::KillMember { member }
            | Self::HangMember { member, .. }
            | Self::KillStarter { member }
            | Self::KillSidecar { member }
            | Self::DeletePod { member }
            | Self::LoseVolume { member }
            | Self::Isolate { member, .. }
            | Self::Part { member, .. } => Some(member),
            Self::KillOperator
            | Self::SkewOperator { .. }
            | Self::RestartApiServer { .. }
            | Self::HangApiServer { .. }
            | Self::StoreBusy { .. }
            | Self::StoreMute { .. }
            | Self::FullDisk { .. } => None,
        }
    }

    /// Whether it takes from a member what it has: it does not come back with that.
    pub fn destroys(self) -> bool {
        matches!(self, Self::LoseVolume { .. })
    }

    /// For how long, seconds. Nothing if it is over as soon as it has happened.
    pub fn seconds(self) -> Option<u32> {
        match self {
            Self::HangMember { seconds, .. }
            | Self::Isolate { seconds, .. }
            | Self::Part { seconds, .. }
            | Self::SkewOperator { seconds, .. }
            | Self::RestartApiServer { seconds }
            | Self::HangApiServer { seconds }
            | Self::StoreBusy { seconds }
            | Self::StoreMute { seconds }
            | Self::FullDisk { seconds } => Some(seconds),
            Self::KillMember { .. }
            | Self::KillStarter { .. }
            | Self::KillSidecar { .. }
            | Self::DeletePod { .. }
            | Self::LoseVolume { .. }
            | Self::KillOperator => None,
        }
    }

    /// Its kind, whomever it concerns and however long it lasts.
    pub fn kind(self) -> &'static str {
        match self {
            Self::KillMember { .. } => "etcd is killed",
            Self::HangMember { .. } => "etcd hangs",
            Self::KillStarter { .. } => "what started etcd is killed",
            Self::KillSidecar { .. } => "a sidecar is killed",
            Self::DeletePod { .. } => "a pod is deleted",
            Self::LoseVolume { .. } => "a volume is lost",
            Self::Isolate { .. } => "a member reaches no other one",
            Self::Part { .. } => "two members do not reach each other",
            Self::KillOperator => "the operator is killed",
            Self::SkewOperator { .. } => "the operator's clock is wrong",
            Self::RestartApiServer { .. } => "the API server is killed",
            Self::HangApiServer { .. } => "the API server hangs",
            Self::StoreBusy { .. } => "the object store answers 503",
            Self::StoreMute { .. } => "the object store says nothing",
            Self::FullDisk { .. } => "the volumes are full",
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::KillMember { member } => write!(f, "etcd of member {member} is killed"),
            Self::HangMember { member, seconds } => {
                write!(f, "etcd of member {member} hangs for {seconds} s")
            }
            Self::KillStarter { member } => {
                write!(f, "what started etcd of member {member} is killed")
            }
            Self::KillSidecar { member } => write!(f, "the sidecar of member {member} is killed"),
            Self::DeletePod { member } => write!(f, "the pod of member {member} is deleted"),
            Self::LoseVolume { member } => write!(f, "the volume of member {member} is lost"),
            Self::Isolate { member, seconds } => {
                write!(f, "member {member} reaches no other one for {seconds} s")
            }
            Self::Part { member, seconds } => write!(
                f,
                "member {member} and the next one do not reach each other for {seconds} s"
            ),
            Self::KillOperator => f.write_str("the operator is killed"),
            Self::SkewOperator { by, seconds } => {
                write!(f, "the clock of the operator is {by:+} s for {seconds} s")
            }
            Self::RestartApiServer { seconds } => write!(
                f,
                "the API server is killed and started again after {seconds} s"
            ),
            Self::HangApiServer { seconds } => {
                write!(f, "the API server hangs for {seconds} s")
            }
            Self::StoreBusy { seconds } => {
                write!(f, "the object store answers 503 for {seconds} s")
            }
            Self::StoreMute { seconds } => {
                write!(f, "the object store says nothing for {seconds} s")
            }
            Self::FullDisk { seconds } => write!(f, "the volumes are full for {seconds} s"),
        }
    }
}

/// A change of all members that somebody asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Roll {
    /// To the new release.
    Upgrade,
    /// Back to the old one.
    Rollback,
    /// To so many members.
    Scale(u32),
}

impl fmt::Display for Roll {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Upgrade => f.write_str("upgrade"),
            Self::Rollback => f.write_str("rollback"),
            Self::Scale(members) => write!(f, "scale to {members} members"),
        }
    }
}

/// An `EtcdOpsTask` that somebody makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Task {
    /// A full snapshot.
    FullSnapshot,
    /// A delta snapshot.
    DeltaSnapshot,
    /// Every member gives back the space that it does not use.
    Defragment,
    /// The history is compacted, but for the last half minute, and every member defragmented.
    CompactAndDefragment,
    /// The snapshots are compacted by a Job.
    CompactSnapshots,
}

impl fmt::Display for Task {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::FullSnapshot => "full snapshot",
            Self::DeltaSnapshot => "delta snapshot",
            Self::Defragment => "defragmentation",
            Self::CompactAndDefragment => "compaction and defragmentation",
            Self::CompactSnapshots => "compaction of the snapshots",
        })
    }
}

/// Something that is done after a pause.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Turn<T> {
    /// Seconds since the one before was over.
    pub rest: u32,
    /// What.
    pub what: T,
}

/// All of it: three lanes that know nothing of each other.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// What it follows from.
    pub seed: u64,
    /// For how long, minutes.
    pub minutes: u32,
    /// What goes wrong.
    pub faults: Vec<Turn<Fault>>,
    /// How often all members are changed, and how.
    pub rolls: Vec<Turn<Roll>>,
    /// What is asked for beside that.
    pub tasks: Vec<Turn<Task>>,
}

/// After scaling out. The other way is not allowed.
const MEMBERS: u32 = 5;
/// Every kind comes up once before one of them comes up again.
const KINDS: usize = 16;

impl Plan {
    /// Enough for so many minutes, and a little more.
    pub fn new(seed: u64, minutes: u32) -> Self {
        let seconds = minutes.max(1) * 60;
        let mut dice = Dice(seed ^ 0xfa01);
        let mut faults = Vec::new();
        let mut planned = 0;
        while planned < seconds {
            for kind in dice.shuffled(KINDS) {
                let (rest, what) = (dice.between(3, 12), fault(kind, &mut dice));
                planned += rest + what.seconds().unwrap_or(0);
                faults.push(Turn { rest, what });
            }
        }
        let mut dice = Dice(seed ^ 0x2011);
        let scaled = dice.between(1, 3);
        let mut upgraded = false;
        let rolls = (0..2 + seconds / 30).map(|number| {
            let what = if number == scaled {
                Roll::Scale(MEMBERS)
            } else {
                upgraded = !upgraded;
                if upgraded {
                    Roll::Upgrade
                } else {
                    Roll::Rollback
                }
            };
            let rest = dice.between(2, 20);
            Turn { rest, what }
        });
        let rolls = rolls.collect();
        let mut dice = Dice(seed ^ 0x7a5c);
        let mut tasks = Vec::new();
        while tasks.len() < (seconds / 5) as usize {
            for kind in dice.shuffled(ALL_TASKS.len()) {
                let rest = dice.between(2, 25);
                tasks.extend(ALL_TASKS.get(kind).map(|&what| Turn { rest, what }));
            }
        }
        Self {
            seed,
            minutes,
            faults,
            rolls,
            tasks,
        }
    }
}

const ALL_TASKS: [Task; 5] = [
    Task::FullSnapshot,
    Task::DeltaSnapshot,
    Task::Defragment,
    Task::CompactAndDefragment,
    Task::CompactSnapshots,
];

/// One of [`KINDS`].
fn fault(kind: usize, dice: &mut Dice) -> Fault {
    let member = dice.between(0, 14);
    let seconds = dice.between(2, 15);
    match kind {
        0 => Fault::HangMember { member, seconds },
        1 => Fault::KillSidecar { member },
        2 => Fault::DeletePod { member },
        3 => Fault::LoseVolume { member },
        4 => Fault::Isolate { member, seconds },
        5 => Fault::Part { member, seconds },
        6 | 7 => Fault::KillOperator,
        8 => {
            let ahead = dice.between(1, 2) == 1;
            let by = i32::try_from(dice.between(20, 90)).unwrap_or(20);
            let by = if ahead { by } else { -by };
            Fault::SkewOperator { by, seconds }
        }
        9 => Fault::RestartApiServer { seconds },
        10 => Fault::HangApiServer { seconds },
        // Longer than one answer may take, and than an attempt.
        11 => Fault::StoreBusy {
            seconds: seconds * 3,
        },
        12 => Fault::StoreMute {
            seconds: seconds * 3,
        },
        13 => Fault::FullDisk { seconds },
        14 => Fault::KillStarter { member },
        _ => Fault::KillMember { member },
    }
}

struct Dice(u64);

impl Dice {
    /// Both included.
    fn between(&mut self, least: u32, most: u32) -> u32 {
        let faces = u64::from(most - least) + 1;
        let roll = next_random(&mut self.0) % faces;
        least + u32::try_from(roll).unwrap_or(0)
    }

    /// The numbers below `count`, each once.
    fn shuffled(&mut self, count: usize) -> Vec<usize> {
        let mut all: Vec<_> = (0..count).collect();
        all.sort_by_cached_key(|_| next_random(&mut self.0));
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn a_seed_is_one_plan_and_another_seed_another() {
        assert_eq!(Plan::new(7, 20), Plan::new(7, 20));
        assert_ne!(Plan::new(7, 20).faults, Plan::new(8, 20).faults);
        // A longer one begins like a shorter one.
        let (long, short) = (Plan::new(7, 20), Plan::new(7, 5));
        assert!(long.faults.starts_with(&short.faults));
        assert!(long.rolls.starts_with(&short.rolls));
        assert!(long.tasks.starts_with(&short.tasks));
    }

    #[test]
    fn everything_comes_up_and_lasts_long_enough() {
        for seed in 0..50 {
            let plan = Plan::new(seed, 20);
            let kinds: Vec<_> = plan.faults.iter().map(|it| it.what.kind()).collect();
            for deck in kinds.chunks(KINDS) {
                let different: BTreeSet<_> = deck.iter().collect();
                // The operator is in it twice.
                assert_eq!(different.len(), KINDS - 1, "{seed}");
            }
            let planned = plan.faults.iter();
            let planned: u32 = planned
                .map(|it| it.rest + it.what.seconds().unwrap_or(0))
                .sum();
            assert!(planned >= 20 * 60, "{seed}: {planned}");
            let tasks: BTreeSet<_> = plan.tasks.iter().map(|it| it.what).collect();
            assert_eq!(tasks.len(), ALL_TASKS.len());
        }
    }

    #[test]
    fn up_and_down_take_turns_and_once_it_is_scaled() {
        for seed in 0..50 {
            let plan = Plan::new(seed, 20);
            let rolls: Vec<_> = plan.rolls.iter().map(|it| it.what).collect();
            let early = rolls.iter().take(4);
            let scaled = early.filter(|it| **it == Roll::Scale(MEMBERS)).count();
            assert_eq!(scaled, 1, "{seed}");
            let others: Vec<_> = rolls
                .into_iter()
                .filter(|it| !matches!(it, Roll::Scale(_)))
                .collect();
            for pair in others.chunks_exact(2) {
                assert_eq!(pair, [Roll::Upgrade, Roll::Rollback]);
            }
        }
    }

    #[test]
    fn a_plan_survives_a_file() {
        let plan = Plan::new(3, 1);
        let text = serde_json::to_string(&plan).unwrap();
        assert_eq!(serde_json::from_str::<Plan>(&text).unwrap(), plan);
    }
}
