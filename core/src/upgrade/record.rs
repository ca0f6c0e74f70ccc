//! Where an upgrade stands: the one value that survives a crash.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::step::{Halt, Trouble};
use crate::make::Make;
use crate::member::MemberName;
use crate::version::{Direction, Version};

/// What the user asks for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Want {
    /// What all members are to be made from.
    pub target: Make,
    /// Whether a full snapshot has to be taken before an upgrade: there is a backup store, and the
    /// cluster is not being hibernated or woken.
    pub snapshot: bool,
    /// Where a person wants to look first.
    pub policy: Policy,
    /// The attempt whose halt a person has cleared; 0 for none.
    pub acknowledged: u32,
    /// How long things may take.
    pub limits: Limits,
}

/// Where a person wants to look before it goes on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Policy {
    /// Touch no further member.
    pub paused: bool,
    /// Touch no further member once so many run the target's release. Only for rolls that change
    /// the release.
    pub pause_after: Option<usize>,
    /// Leave the last member on its release: until it goes, the cluster version stays and the way
    /// back is a swap of binaries. Only for upgrades; the way back itself holds nobody.
    pub hold_last: bool,
}

/// How long things may take, and how often they may fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// From the restart of a member until it is well; then it is put back, or the roll ends there.
    pub member: SignedDuration,
    /// From the demand of a snapshot until it is verified; then that attempt has failed.
    pub snapshot: SignedDuration,
    /// How old a verified snapshot may be when the first member goes.
    pub snapshot_age: SignedDuration,
    /// How old a passed preflight may be when the first member goes.
    pub preflight_age: SignedDuration,
    /// After which a wait for anything else is called overdue.
    pub wait: SignedDuration,
    /// How many snapshots may fail before a person has to look.
    pub snapshot_failures: u32,
    /// How many exits of a restarted member are a failure.
    pub exits: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            member: SignedDuration::from_mins(2),
            snapshot: SignedDuration::from_mins(30),
            snapshot_age: SignedDuration::from_mins(60),
            preflight_age: SignedDuration::from_mins(1),
            // The leader asks every member every 4 s; 30 s is the deadline of etcd's own tests.
            wait: SignedDuration::from_secs(30),
            snapshot_failures: 3,
            exits: 2,
        }
    }
}

/// Where an upgrade stands. Written before every act, so that whoever reads it after a crash ends
/// in the same place.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Record {
    /// Counts the attempts of this cluster's life; 0 before the first.
    pub attempt: u32,
    /// What the attempt set out from.
    pub from: Make,
    /// What it goes to.
    pub to: Make,
    /// How far it is, for people.
    pub phase: Phase,
    /// When it began.
    pub started: Timestamp,
    /// The two releases that an unfinished attempt may have left members on. Kept until all of them
    /// are where they should be, whatever is asked for meanwhile.
    pub mixed: Option<(Version, Version)>,
    /// When the preflight last passed.
    pub cleared: Option<Timestamp>,
    /// The snapshot that makes it safe.
    pub snapshot: Snapshot,
    /// Set once the attempt has restarted a member.
    pub touched: bool,
    /// The one member that is being replaced, until it has been seen to be well.
    pub current: Option<Replacement>,
    /// How far each member is, for people; members that need nothing are not in it.
    pub members: BTreeMap<MemberName, MemberPhase>,
    /// What is waited for, by [`super::Why::code`], and since when.
    pub waiting: Option<(String, Timestamp)>,
    /// Set if a person has to look.
    pub halt: Option<Halt>,
}

/// How far an attempt is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Phase {
    /// Checking whether it may begin.
    Preflight,
    /// Taking and verifying the snapshot.
    Snapshot,
    /// Replacing members.
    Rolling,
    /// All members run the target; the cluster has to agree on it.
    AwaitingClusterVersion,
    /// Arrived.
    Done,
    /// Putting a failed member back.
    PuttingBack,
    /// Halted, with the failed member back on the old release.
    RolledBack,
    /// Halted for another reason.
    Blocked,
}

/// How far a member is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum MemberPhase {
    /// Being restarted on the target.
    Replacing,
    /// Seen to be well on the target.
    Replaced,
    /// Back on the release that it came from.
    PutBack,
}

/// The member that is being replaced.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Replacement {
    /// Which.
    pub member: MemberName,
    /// What it was made from.
    pub from: Make,
    /// What it is to be made from. Only the release counts: the rest is what the target says now.
    pub to: Make,
    /// When it was last asked to restart.
    pub since: Timestamp,
    /// Set once it is to be put back to the release of `from`, with the reason.
    pub failed: Option<Trouble>,
}

/// The snapshot of an attempt.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Snapshot {
    /// How many were asked for in this attempt; part of the name.
    pub tries: u32,
    /// How many of those failed, in the taking or in the verification. Rejected ones do not count.
    pub failures: u32,
    /// How far the last one is.
    pub state: SnapshotState,
}

/// How far a snapshot is.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SnapshotState {
    /// None was asked for, or the last one does not serve.
    Missing,
    /// It was asked for.
    Asked {
        /// The revision that it must have at least: read before it was asked for.
        floor: i64,
        /// When.
        at: Timestamp,
    },
    /// It is whole and new enough.
    Verified {
        /// The last revision in it.
        revision: i64,
        /// Its digest, in hexadecimal.
        sha256: String,
        /// When that was found out.
        at: Timestamp,
    },
}

impl Record {
    /// The record of a cluster whose members are all of one make and were never rolled.
    pub fn new(make: Make, now: Timestamp) -> Self {
        Self {
            attempt: 0,
            from: make.clone(),
            to: make,
            phase: Phase::Done,
            started: now,
            mixed: None,
            cleared: None,
            snapshot: Snapshot {
                tries: 0,
                failures: 0,
                state: SnapshotState::Missing,
            },
            touched: false,
            current: None,
            members: BTreeMap::new(),
            waiting: None,
            halt: None,
        }
    }

    /// Which way the attempt goes.
    pub fn direction(&self) -> Direction {
        Direction::between(self.from.version, self.to.version)
    }

    /// Whether it goes on between the two releases that an unfinished attempt has left members on.
    pub fn inherited(&self) -> bool {
        let ends = [self.from.version, self.to.version];
        self.mixed
            .is_some_and(|(one, other)| ends.iter().all(|end| [one, other].contains(end)))
    }

    /// The name of the last snapshot that was asked for: of this attempt and this try, so that no
    /// earlier one can pass for it.
    pub fn snapshot_name(&self) -> String {
        format!("upgrade-{}-try-{}", self.attempt, self.snapshot.tries)
    }

    /// The next attempt. A member that is being replaced stays that: whoever disturbed it has to
    /// see it well again.
    #[must_use]
    pub(super) fn next_attempt(&self, from: Make, to: Make, now: Timestamp) -> Self {
        let mixed = if self.phase == Phase::Done {
            None
        } else if self.touched && self.direction() != Direction::Same {
            Some((self.from.version, self.to.version))
        } else {
            self.mixed
        };
        let current = self.current.clone().map(|replacement| Replacement {
            since: now,
            ..replacement
        });
        Self {
            attempt: self.attempt + 1,
            mixed,
            current,
            from,
            phase: Phase::Preflight,
            ..Self::new(to, now)
        }
    }
}
