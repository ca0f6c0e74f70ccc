//! The cluster of the model, and how the engine sees it.

use std::collections::BTreeMap;

use druid_core::make::{Make, Template};
use druid_core::member::{MemberId, MemberName};
use druid_core::observed::{
    Alarm, AlarmKind, Answer, Answered, Deep, Etcd, Hashes, Listed, Looked, Observed, Process,
    SnapshotWork, Status, Switch,
};
use druid_core::upgrade::Needs;
use druid_core::version::Version;

const REVISION: i64 = 10;

/// What a member is made from; smaller than a [`Make`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Kind {
    pub(crate) version: Version,
    pub(crate) template: u8,
}

impl Kind {
    pub(crate) fn make(self) -> Make {
        Make {
            version: self.version,
            template: Template(self.template.to_string()),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum State {
    Up,
    /// It was stopped, and the platform has not created it again yet.
    Gone,
    Starting,
    Failing,
    Down,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Member {
    pub(super) kind: Kind,
    pub(super) state: State,
    pub(super) incarnation: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Snap {
    Absent,
    Taking,
    Taken,
    Verifying,
    Verified,
    TooOld,
    Failed,
    Damaged,
    Rejected,
}

/// What can be observed.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Cluster {
    pub(super) members: Vec<Member>,
    pub(super) template: Kind,
    pub(super) leader: Option<usize>,
    pub(super) agreed: Version,
    pub(super) snapshot_name: String,
    pub(super) snapshot: Snap,
    pub(super) diverged: bool,
    pub(super) alarm: bool,
}

pub(super) fn name(member: usize) -> MemberName {
    MemberName(format!("m{member}"))
}

pub(super) fn number(name: &MemberName) -> usize {
    name.0[1..].parse().unwrap()
}

impl Cluster {
    pub(super) fn up(&self, member: usize) -> bool {
        self.members[member].state == State::Up
    }

    pub(super) fn ups(&self) -> usize {
        self.members
            .iter()
            .filter(|member| member.state == State::Up)
            .count()
    }

    pub(super) fn quorum(&self) -> usize {
        self.members.len() / 2 + 1
    }

    /// A leader that went away or lost its quorum leads no more.
    pub(super) fn depose(&mut self) {
        if self.ups() < self.quorum() || self.leader.is_some_and(|leader| !self.up(leader)) {
            self.leader = None;
        }
    }

    /// What the leader's version monitor would set: it asks every member.
    pub(super) fn agreement(&self) -> Version {
        if self.leader.is_none() || self.ups() < self.members.len() {
            return self.agreed;
        }
        self.members
            .iter()
            .map(|member| member.kind.version)
            .min()
            .unwrap()
    }

    fn status(&self, member: usize) -> Status {
        Status {
            id: MemberId(member as u64 + 1),
            version: self.members[member].kind.version,
            cluster_version: Some(self.agreed.minor),
            leader: self
                .leader
                .map_or(MemberId::NOBODY, |leader| MemberId(leader as u64 + 1)),
            term: 1,
            raft_index: 100,
            raft_applied_index: 100,
            revision: REVISION,
            db_size: 1,
            db_size_in_use: 1,
            quota: Some(1000),
            learner: false,
            ready: Ok(()),
            errors: Vec::new(),
        }
    }

    fn process(member: &Member) -> Process {
        let (incarnation, make) = (member.incarnation, member.kind.make());
        match member.state {
            State::Gone => Process::Absent,
            State::Up | State::Starting | State::Down => Process::Running { incarnation, make },
            State::Failing => Process::Failing {
                incarnation,
                make,
                exits: 2,
                last_words: "fatal".to_owned(),
            },
        }
    }

    fn hashes(&self) -> Hashes {
        if self.diverged {
            let hashes = BTreeMap::from([(name(0), 1), (name(1), 2)]);
            Hashes::Different {
                revision: REVISION,
                hashes,
            }
        } else {
            Hashes::Equal {
                revision: REVISION,
                hash: 1,
            }
        }
    }

    fn look(&self, needs: &Needs) -> Looked {
        match needs {
            Needs::Nothing => Looked::Nothing,
            Needs::Preflight => Looked::Preflight(Deep {
                hashes: self.hashes(),
                auth: Answered::Known(Switch::Off),
                downgrade: (0..self.members.len())
                    .map(|m| (name(m), Answered::Known(Switch::Off)))
                    .collect(),
                terms: (1, 1),
                write: None,
                verifier: None,
            }),
            Needs::Data => Looked::Data(self.hashes()),
            Needs::Member(member) => Looked::Member {
                name: member.clone(),
                write: if self.alarm {
                    Answered::Unknown("no space".to_owned())
                } else {
                    Answered::Known(())
                },
                hashes: self.hashes(),
            },
        }
    }

    fn alarms(&self) -> Vec<Alarm> {
        let alarm = Alarm {
            member: MemberId(1),
            kind: AlarmKind::NoSpace,
        };
        self.alarm.then_some(alarm).into_iter().collect()
    }

    pub(super) fn observe(&self, snapshot_name: String, needs: &Needs) -> Observed {
        let answer = |member: usize| {
            if self.up(member) {
                Answer::Status(self.status(member))
            } else {
                Answer::Silent("no answer".to_owned())
            }
        };
        let all = || 0..self.members.len();
        let listed = |member: usize| Listed {
            id: MemberId(member as u64 + 1),
            name: name(member),
            learner: false,
        };
        let linearizable = self.leader.is_some();
        let snapshot = match self.snapshot {
            _ if snapshot_name != self.snapshot_name => SnapshotWork::Absent,
            Snap::Absent => SnapshotWork::Absent,
            Snap::Taking => SnapshotWork::Taking,
            Snap::Taken => SnapshotWork::Taken,
            Snap::Verifying => SnapshotWork::Verifying,
            Snap::Verified => verified(REVISION),
            Snap::TooOld => verified(REVISION - 1),
            Snap::Failed => SnapshotWork::Failed("disk full".to_owned()),
            Snap::Damaged => SnapshotWork::Damaged("digest".to_owned()),
            Snap::Rejected => SnapshotWork::Rejected("busy".to_owned()),
        };
        Observed {
            template: self.template.make(),
            processes: all()
                .map(|m| (name(m), Self::process(&self.members[m])))
                .collect(),
            etcd: Etcd {
                members: all().map(|m| (name(m), answer(m))).collect(),
                membership: if linearizable {
                    Answered::Known(all().map(listed).collect())
                } else {
                    Answered::Unknown("no leader".to_owned())
                },
                alarms: Answered::Known(self.alarms()),
            },
            snapshot_name,
            snapshot,
            looked: self.look(needs),
        }
    }
}

fn verified(revision: i64) -> SnapshotWork {
    SnapshotWork::Verified {
        revision,
        bytes: 1,
        sha256: "00".to_owned(),
    }
}
