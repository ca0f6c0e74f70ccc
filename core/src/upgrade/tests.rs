//! Each rule on its own, at its boundaries. What the rules do together is searched in
//! `tests/upgrade_exhaustive`.
#![allow(
    clippy::too_many_lines,
    clippy::type_complexity,
    clippy::semicolon_if_nothing_returned,
    clippy::wildcard_enum_match_arm,
    reason = "tables of cases"
)]

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};

use super::*;
use crate::member::{MemberId, MemberName};
use crate::observed::{
    Alarm, Answer, Deep, Etcd, Hashes, Listed, Process, SnapshotWork, Status, Switch, Verifier,
};

pub(super) const OLD: Version = Version::new(3, 4, 34);
pub(super) const NEW: Version = Version::new(3, 5, 27);
pub(super) const NOW: Timestamp = Timestamp::constant(1_800_000_000, 0);

pub(super) fn after(seconds: i64) -> Timestamp {
    NOW + SignedDuration::from_secs(seconds)
}

pub(super) fn name(number: u64) -> MemberName {
    MemberName(format!("m{number}"))
}

fn status(number: u64, version: Version) -> Status {
    Status {
        id: MemberId(number),
        version,
        cluster_version: Some(version.minor),
        leader: MemberId(1),
        term: 2,
        raft_index: 1000,
        raft_applied_index: 1000,
        revision: 50,
        db_size: 100,
        db_size_in_use: 50,
        quota: Some(1000),
        learner: false,
        ready: Ok(()),
        errors: Vec::new(),
    }
}

/// Three members that are well; `m1` leads.
pub(super) fn seen(version: Version) -> Observed {
    let members = 1..=3;
    let process = Process::Running {
        incarnation: 1,
        make: Make::plain(version),
    };
    let listed = |number| Listed {
        id: MemberId(number),
        name: name(number),
        learner: false,
    };
    Observed {
        template: Make::plain(version),
        processes: members
            .clone()
            .map(|number| (name(number), process.clone()))
            .collect(),
        etcd: Etcd {
            members: members
                .clone()
                .map(|number| (name(number), Answer::Status(status(number, version))))
                .collect(),
            membership: Answered::Known(members.map(listed).collect()),
            alarms: Answered::Known(Vec::new()),
        },
        snapshot_name: String::new(),
        snapshot: SnapshotWork::Absent,
        looked: Looked::Nothing,
    }
}

impl Observed {
    pub(super) fn status(&mut self, number: u64) -> &mut Status {
        match self.etcd.members.get_mut(&name(number)) {
            Some(Answer::Status(status)) => status,
            other => panic!("m{number}: {other:?}"),
        }
    }

    pub(super) fn runs(&mut self, number: u64, version: Version, incarnation: u64) {
        self.processes.insert(
            name(number),
            Process::Running {
                incarnation,
                make: Make::plain(version),
            },
        );
        if self.etcd.members[&name(number)].status().is_some() {
            self.status(number).version = version;
        }
    }

    pub(super) fn silent(&mut self, number: u64) {
        self.etcd
            .members
            .insert(name(number), Answer::Silent("refused".to_owned()));
    }

    pub(super) fn alarm(&mut self, kind: AlarmKind) {
        self.etcd.alarms = Answered::Known(vec![Alarm {
            member: MemberId(1),
            kind,
        }]);
    }

    pub(super) fn with_preflight(mut self) -> Self {
        self.looked = Looked::Preflight(Deep {
            hashes: Hashes::Equal {
                revision: 50,
                hash: 1,
            },
            auth: Answered::Known(Switch::Off),
            downgrade: (1..=3)
                .map(|n| (name(n), Answered::Known(Switch::Off)))
                .collect(),
            terms: (2, 2),
            write: None,
            verifier: None,
        });
        self
    }

    pub(super) fn with_look_at(mut self, number: u64, write: Answered<()>, hashes: Hashes) -> Self {
        self.looked = Looked::Member {
            name: name(number),
            write,
            hashes,
        };
        self
    }
}

pub(super) const EQUAL: Hashes = Hashes::Equal {
    revision: 50,
    hash: 1,
};

pub(super) fn want(target: Version) -> Want {
    Want {
        target: Make::plain(target),
        snapshot: true,
        policy: Policy::default(),
        acknowledged: 0,
        limits: Limits::default(),
    }
}

/// An attempt that has passed its preflight and has its snapshot.
pub(super) fn ready(from: Version, to: Version) -> Record {
    Record {
        attempt: 1,
        from: Make::plain(from),
        to: Make::plain(to),
        phase: Phase::Rolling,
        cleared: Some(NOW),
        snapshot: Snapshot {
            tries: 1,
            failures: 0,
            state: SnapshotState::Verified {
                revision: 50,
                sha256: "00".to_owned(),
                at: NOW,
            },
        },
        ..Record::new(Make::plain(to), NOW)
    }
}

/// An attempt that has restarted `m3`.
pub(super) fn replacing(from: Version, to: Version) -> (Record, Observed) {
    let mut record = ready(from, to);
    record.touched = true;
    record.members.insert(name(3), MemberPhase::Replacing);
    record.current = Some(Replacement {
        member: name(3),
        from: Make::plain(from),
        to: Make::plain(to),
        since: NOW,
        failed: None,
    });
    let mut seen = seen(from);
    seen.template = Make::plain(to);
    seen.runs(3, to, 2);
    for number in 1..=3 {
        seen.status(number).cluster_version = Some(OLD.minor);
    }
    (record, seen)
}

pub(super) fn step(want: &Want, record: &Record, seen: &Observed) -> Step {
    decide(want, record, seen, NOW).step
}

pub(super) fn why(step: &Step) -> &Why {
    match step {
        Step::Wait(wait) => &wait.why,
        other => panic!("{other}"),
    }
}

pub(super) fn restart(number: u64, incarnation: u64) -> Step {
    Step::Act(Act::Restart {
        member: name(number),
        incarnation,
    })
}

#[test]
fn a_cluster_that_is_there_is_left_alone() {
    let record = Record::new(Make::plain(OLD), NOW);
    let decision = decide(&want(OLD), &record, &seen(OLD), NOW);
    assert_eq!(
        decision,
        Decision {
            record: record.clone(),
            step: Step::Done
        }
    );
    let mut down = seen(OLD);
    down.silent(2);
    down.processes.insert(name(2), Process::Absent);
    assert_eq!(decide(&want(OLD), &record, &down, NOW).step, Step::Done);
}

#[test]
fn the_whole_way_up() {
    let want = want(NEW);
    let mut seen = seen(OLD);
    let mut record = Record::new(Make::plain(OLD), NOW);
    let mut said = Vec::new();
    let mut needs = Needs::Nothing;
    for _ in 0..40 {
        seen.looked = match &needs {
            Needs::Nothing => Looked::Nothing,
            Needs::Preflight => seen.clone().with_preflight().looked,
            Needs::Data => Looked::Data(EQUAL),
            Needs::Member(member) => Looked::Member {
                name: member.clone(),
                write: Answered::Known(()),
                hashes: EQUAL,
            },
        };
        let decision = decide(&want, &record, &seen, NOW);
        record = decision.record;
        said.push(format!("{:?}: {}", record.phase, decision.step));
        needs = Needs::Nothing;
        match decision.step {
            Step::Done => break,
            Step::Look(more) => needs = more,
            Step::Wait(_) => {
                for number in 1..=3 {
                    seen.status(number).cluster_version = Some(NEW.minor);
                }
            }
            Step::Act(act) => match act {
                Act::TakeSnapshot(name) => {
                    (seen.snapshot_name, seen.snapshot) = (name, SnapshotWork::Taken);
                }
                Act::VerifySnapshot(_) => {
                    seen.snapshot = SnapshotWork::Verified {
                        revision: 50,
                        bytes: 1,
                        sha256: "00".to_owned(),
                    };
                }
                Act::SetTemplate(version) => seen.template = Make::plain(version),
                Act::MoveLeader { to, .. } => {
                    let to = seen.etcd.members[&to].status().unwrap().id;
                    for number in 1..=3 {
                        seen.status(number).leader = to;
                    }
                }
                Act::Restart {
                    member,
                    incarnation,
                } => {
                    let number = member.0[1..].parse().unwrap();
                    seen.runs(number, seen.template.version, incarnation + 1);
                }
            },
            Step::Refuse(_) | Step::Halt(_) => panic!("{said:#?}"),
        }
    }
    let expected = [
        "Preflight: check whether it may begin",
        "Snapshot: take full snapshot upgrade-1-try-1",
        "Snapshot: verify snapshot upgrade-1-try-1",
        "Rolling: let restarted members run 3.5.27",
        "Rolling: restart m3",
        "Rolling: check writes and data of m3",
        "Rolling: restart m2",
        "Rolling: check writes and data of m2",
        "Rolling: move the leadership from m1 to m3",
        "Rolling: restart m1",
        "Rolling: check writes and data of m1",
        "AwaitingClusterVersion: wait: all members run the target; m1 says cluster version 3.4, \
         expected 3.5",
        "AwaitingClusterVersion: compare the data of all members",
        "Done: done",
    ];
    assert_eq!(said, expected);
    assert!(
        record
            .members
            .values()
            .all(|phase| *phase == MemberPhase::Replaced)
    );
    assert_eq!((record.members.len(), record.current), (3, None));
}

#[test]
fn a_refusal_is_not_kept() {
    let mut sick = seen(OLD);
    sick.alarm(AlarmKind::NoSpace);
    let refused = decide(
        &want(NEW),
        &Record::new(Make::plain(OLD), NOW),
        &sick.with_preflight(),
        NOW,
    );
    let Step::Refuse(refusals) = &refused.step else {
        panic!("{}", refused.step)
    };
    assert_eq!(refusals[0].code(), "AlarmActive");
    assert_eq!(
        (refused.record.attempt, refused.record.phase),
        (1, Phase::Preflight)
    );
    let again = decide(
        &want(NEW),
        &refused.record,
        &seen(OLD).with_preflight(),
        NOW,
    );
    assert_eq!(
        again.step,
        Step::Act(Act::TakeSnapshot("upgrade-1-try-1".to_owned()))
    );
}

#[test]
fn no_snapshot_is_taken_that_nobody_could_verify() {
    let mut seen = seen(OLD).with_preflight();
    let Looked::Preflight(deep) = &mut seen.looked else {
        panic!("{:?}", seen.looked);
    };
    deep.verifier = Some(Answered::Known(Verifier::Foreign));
    let record = Record::new(Make::plain(OLD), NOW);
    let refused = decide(&want(NEW), &record, &seen, NOW);
    assert_eq!(
        refused.step,
        Step::Refuse(vec![Refusal::SidecarCannotVerify])
    );
    assert_eq!(refused.record.snapshot, record.snapshot);
}

#[test]
fn what_a_preflight_cannot_find_out_is_waited_for() {
    let mut unknown = seen(OLD).with_preflight();
    let Looked::Preflight(deep) = &mut unknown.looked else {
        panic!()
    };
    deep.auth = Answered::Unknown("deadline".to_owned());
    let first = decide(
        &want(NEW),
        &Record::new(Make::plain(OLD), NOW),
        &unknown,
        NOW,
    );
    let step = &first.step;
    assert!(matches!(why(step), Why::PreflightUnknown(_)), "{step}");

    // Each attempt to find it out begins with a look.
    let late = NOW + Limits::default().wait + SignedDuration::from_nanos(1);
    let look = decide(&want(NEW), &first.record, &seen(OLD), late);
    assert_eq!(look.step, Step::Look(Needs::Preflight));
    let last = decide(&want(NEW), &look.record, &unknown, late);
    let Step::Wait(wait) = &last.step else {
        panic!("{}", last.step)
    };
    assert_eq!((wait.since, wait.overdue), (NOW, true));
}

#[test]
fn a_preflight_grows_old_until_the_first_member_is_touched() {
    let age = Limits::default().preflight_age;
    let mut record = ready(OLD, NEW);
    let template = Step::Act(Act::SetTemplate(NEW));
    let at = |record: &Record, now| decide(&want(NEW), record, &seen(OLD), now).step;
    assert_eq!(at(&record, NOW + age), template);
    let late = NOW + age + SignedDuration::from_nanos(1);
    assert_eq!(at(&record, late), Step::Look(Needs::Preflight));
    record.touched = true;
    assert_eq!(at(&record, late), template);
}

#[test]
fn a_snapshot_grows_old_until_the_first_member_is_touched() {
    let age = Limits::default().snapshot_age;
    let mut record = ready(OLD, NEW);
    let at = |record: &Record, now| {
        let record = Record {
            cleared: Some(now),
            ..record.clone()
        };
        decide(&want(NEW), &record, &seen(OLD), now).step
    };
    let template = Step::Act(Act::SetTemplate(NEW));
    assert_eq!(at(&record, NOW + age), template);
    let late = NOW + age + SignedDuration::from_nanos(1);
    assert_eq!(
        at(&record, late),
        Step::Act(Act::TakeSnapshot("upgrade-1-try-2".to_owned()))
    );
    record.touched = true;
    assert_eq!(at(&record, late), template);
}

/// What is done about a snapshot in this state, and the failures counted by then.
fn with_snapshot(work: SnapshotWork, failures: u32, now: Timestamp) -> (Step, u32) {
    let mut record = ready(OLD, NEW);
    record.cleared = Some(now);
    record.snapshot.failures = failures;
    record.snapshot.state = SnapshotState::Asked { floor: 50, at: NOW };
    let mut seen = seen(OLD);
    (seen.snapshot_name, seen.snapshot) = ("upgrade-1-try-1".to_owned(), work);
    let decision = decide(&want(NEW), &record, &seen, now);
    (decision.step, decision.record.snapshot.failures)
}

#[test]
fn three_failed_snapshots_halt() {
    let verified = |revision| SnapshotWork::Verified {
        revision,
        bytes: 1,
        sha256: String::new(),
    };
    let next = || Step::Act(Act::TakeSnapshot("upgrade-1-try-2".to_owned()));
    let bad = || {
        [
            SnapshotWork::Failed("full".to_owned()),
            SnapshotWork::Damaged("digest".to_owned()),
            verified(49),
        ]
    };
    for work in bad() {
        assert_eq!(with_snapshot(work, 1, NOW), (next(), 2));
    }
    for work in bad() {
        let (step, failures) = with_snapshot(work, 2, NOW);
        assert!(
            matches!(&step, Step::Halt(Halt::SnapshotFailed { failures: 3, .. })),
            "{step}"
        );
        assert_eq!(failures, 3);
    }
    assert_eq!(
        with_snapshot(verified(50), 2, NOW).0,
        Step::Act(Act::SetTemplate(NEW))
    );
    let (step, failures) = with_snapshot(SnapshotWork::Rejected("busy".to_owned()), 2, NOW);
    assert!(matches!(why(&step), Why::SnapshotRejected { .. }), "{step}");
    assert_eq!(failures, 2);
}

#[test]
fn a_snapshot_has_a_deadline() {
    let limit = Limits::default().snapshot;
    let late = NOW + limit + SignedDuration::from_nanos(1);
    for work in [SnapshotWork::Taking, SnapshotWork::Verifying] {
        let (step, _) = with_snapshot(work.clone(), 0, NOW + limit);
        let Step::Wait(wait) = step else {
            panic!("{step}")
        };
        assert_eq!(wait.deadline, Some(wait.since + limit));
        assert_eq!(with_snapshot(work, 0, late).1, 1);
    }
    let verify = Step::Act(Act::VerifySnapshot("upgrade-1-try-1".to_owned()));
    assert_eq!(with_snapshot(SnapshotWork::Taken, 0, NOW), (verify, 0));
    assert_eq!(with_snapshot(SnapshotWork::Taken, 0, late).1, 1);
    let take = Step::Act(Act::TakeSnapshot("upgrade-1-try-1".to_owned()));
    assert_eq!(with_snapshot(SnapshotWork::Absent, 0, NOW), (take, 0));
    assert_eq!(with_snapshot(SnapshotWork::Absent, 0, late).1, 1);
}

#[test]
fn a_snapshot_must_be_as_new_as_the_cluster_was_when_it_was_asked_for() {
    let mut cluster = seen(OLD);
    cluster.status(2).revision = 77;
    let record = Record {
        snapshot: Snapshot {
            tries: 0,
            failures: 0,
            state: SnapshotState::Missing,
        },
        ..ready(OLD, NEW)
    };
    let asked = decide(&want(NEW), &record, &cluster, NOW).record;
    assert_eq!(
        asked.snapshot.state,
        SnapshotState::Asked { floor: 77, at: NOW }
    );
    cluster.status(2).revision = 90;
    let again = decide(&want(NEW), &asked, &cluster, after(1));
    assert_eq!(
        again.step,
        Step::Act(Act::TakeSnapshot("upgrade-1-try-1".to_owned()))
    );
    assert_eq!(
        again.record.snapshot.state,
        SnapshotState::Asked { floor: 90, at: NOW }
    );
    cluster.status(2).revision = 60;
    let lower = decide(&want(NEW), &again.record, &cluster, after(1)).record;
    assert_eq!(lower.snapshot.state, again.record.snapshot.state);
}

#[test]
fn no_snapshot_without_a_store_or_on_the_way_back() {
    let none = Snapshot {
        tries: 0,
        failures: 0,
        state: SnapshotState::Missing,
    };
    let up = Record {
        snapshot: none.clone(),
        ..ready(OLD, NEW)
    };
    let no_store = Want {
        snapshot: false,
        ..want(NEW)
    };
    assert_eq!(
        step(&no_store, &up, &seen(OLD)),
        Step::Act(Act::SetTemplate(NEW))
    );
    let back = Record {
        snapshot: none,
        ..ready(NEW, OLD)
    };
    assert_eq!(
        step(&want(OLD), &back, &seen(NEW)),
        Step::Act(Act::SetTemplate(OLD))
    );
}

#[test]
fn a_halt_stays_until_its_own_attempt_is_acknowledged() {
    let halt = Halt::SnapshotFailed {
        failures: 3,
        last: "full".to_owned(),
    };
    let record = Record {
        attempt: 4,
        halt: Some(halt.clone()),
        ..ready(OLD, NEW)
    };
    for acknowledged in [0, 3, 5] {
        let want = Want {
            acknowledged,
            ..want(NEW)
        };
        assert_eq!(step(&want, &record, &seen(OLD)), Step::Halt(halt.clone()));
    }
    let cleared = Want {
        acknowledged: 4,
        ..want(NEW)
    };
    let next = decide(&cleared, &record, &seen(OLD), NOW).record;
    assert_eq!(
        (next.attempt, next.from.version, next.to.version),
        (5, OLD, NEW)
    );
    assert_eq!((next.halt, next.snapshot.failures), (None, 0));
    let other = decide(&want(OLD), &record, &seen(OLD), NOW);
    assert_eq!(
        (other.step, other.record.attempt),
        (Step::Look(Needs::Data), 5)
    );
    assert_eq!(
        (other.record.from.version, other.record.to.version),
        (NEW, OLD)
    );
}

#[test]
fn a_member_that_leaves_the_target_begins_another_attempt() {
    let mut drifted = seen(NEW);
    drifted.runs(2, OLD, 1);
    let next = decide(
        &want(NEW),
        &Record::new(Make::plain(NEW), NOW),
        &drifted,
        NOW,
    )
    .record;
    assert_eq!(
        (next.attempt, next.from.version, next.to.version),
        (1, OLD, NEW)
    );
    assert!(!next.inherited());
}

#[test]
fn an_unfinished_attempt_is_inherited_between_its_own_two_releases_only() {
    let (record, seen) = replacing(OLD, NEW);
    let settled = Record {
        current: None,
        ..record
    };
    let back = decide(&want(OLD), &settled, &seen, NOW);
    assert!(back.record.inherited());
    assert_eq!(
        (back.record.from.version, back.record.to.version),
        (NEW, OLD)
    );
    assert_eq!(back.step, Step::Act(Act::SetTemplate(OLD)));
    let third = Version::new(3, 5, 34);
    let other = decide(&want(third), &settled, &seen.clone().with_preflight(), NOW);
    assert!(!other.record.inherited());
    let Step::Refuse(refusals) = &other.step else {
        panic!("{}", other.step)
    };
    assert!(
        refusals
            .iter()
            .any(|refusal| refusal.code() == "VersionSkew"),
        "{refusals:?}"
    );
    let forward = decide(&want(NEW), &back.record, &seen.with_preflight(), NOW);
    assert!(forward.record.inherited());
    assert!(
        matches!(forward.step, Step::Act(Act::TakeSnapshot(_))),
        "{}",
        forward.step
    );
}

#[test]
fn an_inherited_way_back_still_has_to_be_a_step() {
    let (bad_old, new) = (Version::new(3, 4, 20), NEW);
    let record = Record {
        touched: true,
        ..ready(bad_old, new)
    };
    let mut mixed = seen(bad_old);
    mixed.runs(3, new, 2);
    let back = decide(&want(bad_old), &record, &mixed, NOW);
    let Step::Refuse(refusals) = &back.step else {
        panic!("{}", back.step)
    };
    assert_eq!(refusals[0].code(), "VersionStepUnsupported");
}

#[test]
fn nothing_is_touched_while_the_rest_is_not_known_to_be_well() {
    let table: &[(&str, fn(&mut Observed))] = &[
        ("MembershipUnknown", |s| {
            s.etcd.membership = Answered::Unknown("deadline".to_owned())
        }),
        ("MembershipDiffers", |s| {
            let Answered::Known(list) = &mut s.etcd.membership else {
                panic!()
            };
            list.push(Listed {
                id: MemberId(4),
                name: name(4),
                learner: true,
            });
        }),
        ("MembershipDiffers", |s| {
            let Answered::Known(list) = &mut s.etcd.membership else {
                panic!()
            };
            list.pop();
        }),
        ("AlarmsUnknown", |s| {
            s.etcd.alarms = Answered::Unknown("deadline".to_owned())
        }),
        ("AlarmActive", |s| s.alarm(AlarmKind::NoSpace)),
        ("AlarmActive", |s| s.alarm(AlarmKind::Unknown)),
        ("Unhealthy", |s| s.silent(2)),
        ("Unhealthy", |s| drop(s.etcd.members.remove(&name(2)))),
        ("Unhealthy", |s| {
            drop(s.processes.insert(name(2), Process::Absent))
        }),
        ("Unhealthy", |s| {
            let failing = Process::Failing {
                incarnation: 1,
                make: Make::plain(OLD),
                exits: 1,
                last_words: "fatal".to_owned(),
            };
            s.processes.insert(name(2), failing);
        }),
        ("Unhealthy", |s| s.status(2).learner = true),
        ("Unhealthy", |s| s.status(2).leader = MemberId::NOBODY),
        ("Unhealthy", |s| s.status(2).ready = Err("no".to_owned())),
        ("Unhealthy", |s| s.status(2).raft_applied_index = 899),
        ("Unhealthy", |s| {
            let Answered::Known(list) = &mut s.etcd.membership else {
                panic!()
            };
            list[1].learner = true;
        }),
        ("Unhealthy", |s| {
            let Answered::Known(list) = &mut s.etcd.membership else {
                panic!()
            };
            list[1].id = MemberId(9);
        }),
        ("NoLeader", |s| {
            (s.status(2).leader, s.status(3).leader) = (MemberId(2), MemberId(3))
        }),
        ("NoLeader", |s| {
            (s.status(2).leader, s.status(3).leader) = (MemberId(9), MemberId(9))
        }),
        ("NoLeader", |s| s.status(2).term = 3),
    ];
    for (expected, spoil) in table {
        for (from, to) in [(OLD, NEW), (NEW, OLD)] {
            let mut spoilt = seen(from);
            spoil(&mut spoilt);
            let step = step(&want(to), &ready(from, to), &spoilt);
            if to == OLD
                && matches!(spoilt.etcd.alarms, Answered::Known(ref a) if a.iter().any(|a| a.kind == AlarmKind::NoSpace))
            {
                assert_eq!(step, Step::Act(Act::SetTemplate(OLD)));
                continue;
            }
            assert_eq!(why(&step).code(), *expected, "{step}");
        }
    }
    let mut lagging = seen(OLD);
    lagging.status(2).raft_applied_index = 900;
    assert_eq!(
        step(&want(NEW), &ready(OLD, NEW), &lagging),
        Step::Act(Act::SetTemplate(NEW))
    );
}

#[test]
fn corruption_halts() {
    for (from, to) in [(OLD, NEW), (NEW, OLD)] {
        let mut corrupt = seen(from);
        corrupt.alarm(AlarmKind::Corrupt);
        assert_eq!(
            step(&want(to), &ready(from, to), &corrupt),
            Step::Halt(Halt::Corrupt)
        );
    }
}

#[test]
fn a_person_can_stop_it_anywhere() {
    let mut seen = seen(OLD);
    seen.template = Make::plain(NEW);
    let record = ready(OLD, NEW);
    let with = |policy| {
        step(
            &Want {
                policy,
                ..want(NEW)
            },
            &record,
            &seen,
        )
    };
    let policy = Policy::default();
    assert_eq!(with(policy), restart(3, 1));
    assert_eq!(
        *why(&with(Policy {
            paused: true,
            ..policy
        })),
        Why::Paused
    );
    let none = Why::PausedAfter {
        replaced: 0,
        members: 3,
    };
    assert_eq!(
        *why(&with(Policy {
            pause_after: Some(0),
            ..policy
        })),
        none
    );
    assert_eq!(
        with(Policy {
            pause_after: Some(1),
            ..policy
        }),
        restart(3, 1)
    );
    assert_eq!(
        with(Policy {
            hold_last: true,
            ..policy
        }),
        restart(3, 1)
    );
    seen.runs(2, NEW, 2);
    seen.runs(3, NEW, 2);
    let with = |policy| {
        step(
            &Want {
                policy,
                ..want(NEW)
            },
            &record,
            &seen,
        )
    };
    let two = Why::PausedAfter {
        replaced: 2,
        members: 3,
    };
    assert_eq!(
        *why(&with(Policy {
            pause_after: Some(2),
            ..policy
        })),
        two
    );
    let held = Why::HeldLast { member: name(1) };
    assert_eq!(
        *why(&with(Policy {
            hold_last: true,
            ..policy
        })),
        held
    );
    let Step::Wait(wait) = with(Policy {
        hold_last: true,
        ..policy
    }) else {
        panic!()
    };
    assert_eq!((wait.deadline, wait.overdue), (None, false));
}

#[test]
fn the_way_back_holds_nobody() {
    let mut seen = seen(NEW);
    seen.template = Make::plain(OLD);
    let policy = Policy {
        hold_last: true,
        ..Policy::default()
    };
    let back = Want {
        policy,
        ..want(OLD)
    };
    // Two of three are back: the third follows, first of all its leadership.
    for number in [1, 2] {
        seen.runs(number, OLD, 2);
    }
    let record = ready(NEW, OLD);
    let bare = step(&want(OLD), &record, &seen);
    let Step::Act(_) = bare else {
        panic!("{bare:?}")
    };
    assert_eq!(step(&back, &record, &seen), bare);
}

#[test]
fn followers_go_first_and_the_first_replaced_takes_over() {
    let mut seen = seen(OLD);
    seen.template = Make::plain(NEW);
    for number in 1..=3 {
        seen.status(number).leader = MemberId(3);
    }
    let record = ready(OLD, NEW);
    assert_eq!(step(&want(NEW), &record, &seen), restart(2, 1));
    seen.runs(1, NEW, 2);
    seen.runs(2, NEW, 2);
    let moved = Act::MoveLeader {
        from: name(3),
        to: name(2),
    };
    assert_eq!(step(&want(NEW), &record, &seen), Step::Act(moved.clone()));
    seen.status(1).raft_applied_index += 20;
    assert_eq!(step(&want(NEW), &record, &seen), Step::Act(moved));
}

#[test]
fn a_restarted_member_is_waited_for_and_then_put_back() {
    let limit = Limits::default().member;
    let (record, mut seen) = replacing(OLD, NEW);
    seen.silent(3);
    let early = decide(&want(NEW), &record, &seen, NOW + limit);
    let Step::Wait(wait) = &early.step else {
        panic!("{}", early.step)
    };
    assert!(matches!(wait.why, Why::ComingUp { .. }));
    assert_eq!((wait.since, wait.deadline), (NOW, Some(NOW + limit)));
    let late = NOW + limit + SignedDuration::from_nanos(1);
    let back = decide(&want(NEW), &record, &seen, late);
    assert_eq!(back.step, Step::Act(Act::SetTemplate(OLD)));
    assert_eq!(back.record.phase, Phase::PuttingBack);
    let Some(Replacement {
        failed: Some(Trouble::Silent(_)),
        since,
        ..
    }) = &back.record.current
    else {
        panic!("{:?}", back.record.current)
    };
    assert_eq!(*since, late);
    seen.template = Make::plain(OLD);
    let restarted = decide(&want(NEW), &back.record, &seen, after(500));
    assert_eq!(restarted.step, restart(3, 2));
    assert_eq!(
        restarted
            .record
            .current
            .as_ref()
            .map(|current| current.since),
        Some(after(500))
    );
    seen.runs(3, OLD, 3);
    let waits = decide(&want(NEW), &restarted.record, &seen, after(500));
    assert!(
        matches!(why(&waits.step), Why::ComingUp { version: OLD, .. }),
        "{}",
        waits.step
    );
    let still = after(500) + limit + SignedDuration::from_nanos(1);
    let lost = decide(&want(NEW), &restarted.record, &seen, still);
    assert!(matches!(
        &lost.step,
        Step::Halt(Halt::PutBackFailed { version: OLD, .. })
    ));
    assert_eq!(lost.record.phase, Phase::Blocked);
}

#[test]
fn a_member_that_is_back_on_the_old_release_halts_the_upgrade() {
    let (mut record, mut seen) = replacing(OLD, NEW);
    let trouble = Trouble::Failing {
        exits: 2,
        last_words: "fatal".to_owned(),
    };
    if let Some(current) = &mut record.current {
        current.failed = Some(trouble.clone());
    }
    seen.template = Make::plain(OLD);
    seen.runs(3, OLD, 3);
    let look = decide(&want(NEW), &record, &seen, NOW);
    assert_eq!(look.step, Step::Look(Needs::Member(name(3))));
    let seen = seen.with_look_at(3, Answered::Known(()), EQUAL);
    let halted = decide(&want(NEW), &record, &seen, NOW);
    let halt = Halt::PutBack {
        member: name(3),
        version: NEW,
        back: OLD,
        trouble,
    };
    assert_eq!(halted.step, Step::Halt(halt));
    assert_eq!(halted.record.phase, Phase::RolledBack);
    assert_eq!(halted.record.members[&name(3)], MemberPhase::PutBack);
    let flipped = decide(&want(OLD), &record, &seen, NOW);
    assert!(flipped.record.halt.is_none(), "{}", flipped.step);
}

#[test]
fn exits_are_counted() {
    let (record, mut seen) = replacing(OLD, NEW);
    let failing = |exits| Process::Failing {
        incarnation: 2,
        make: Make::plain(NEW),
        exits,
        last_words: "fatal".to_owned(),
    };
    seen.processes.insert(name(3), failing(1));
    seen.silent(3);
    assert!(matches!(
        why(&step(&want(NEW), &record, &seen)),
        Why::ComingUp { .. }
    ));
    seen.processes.insert(name(3), failing(2));
    assert_eq!(
        step(&want(NEW), &record, &seen),
        Step::Act(Act::SetTemplate(OLD))
    );
    seen.template = Make::plain(OLD);
    // Another one is down as well: the failing one does nothing for the quorum anyway.
    seen.silent(1);
    assert_eq!(step(&want(NEW), &record, &seen), restart(3, 2));
}

#[test]
fn a_member_that_may_serve_is_put_back_only_while_the_rest_is_well() {
    let (mut record, mut seen) = replacing(OLD, NEW);
    if let Some(current) = &mut record.current {
        current.failed = Some(Trouble::Silent("deadline".to_owned()));
    }
    seen.template = Make::plain(OLD);
    seen.silent(3);
    seen.silent(2);
    let waits = step(&want(NEW), &record, &seen);
    assert!(
        matches!(why(&waits), Why::Unhealthy { member, .. } if *member == name(2)),
        "{waits}"
    );
    let (_, mut seen) = replacing(OLD, NEW);
    seen.template = Make::plain(OLD);
    for number in 1..=3 {
        seen.status(number).leader = MemberId(3);
    }
    seen.status(3).ready = Err("no".to_owned());
    let moved = step(&want(NEW), &record, &seen);
    assert!(matches!(moved, Step::Act(Act::MoveLeader { ref from, .. }) if *from == name(3)));
}

#[test]
fn a_restarted_member_has_to_take_writes_and_hold_the_same_data() {
    let (record, seen) = replacing(OLD, NEW);
    let at = |seen: &Observed, now| decide(&want(NEW), &record, seen, now);
    assert_eq!(at(&seen, NOW).step, Step::Look(Needs::Member(name(3))));
    let other = seen.clone().with_look_at(2, Answered::Known(()), EQUAL);
    assert_eq!(at(&other, NOW).step, Step::Look(Needs::Member(name(3))));
    let fine = seen.clone().with_look_at(3, Answered::Known(()), EQUAL);
    let next = at(&fine, NOW);
    assert_eq!(next.step, restart(2, 1));
    assert_eq!(next.record.members[&name(3)], MemberPhase::Replaced);
    let unwritable = Answered::Unknown("no space".to_owned());
    let mute = seen.clone().with_look_at(3, unwritable.clone(), EQUAL);
    assert!(matches!(why(&at(&mute, NOW).step), Why::ComingUp { .. }));
    assert_eq!(
        at(&mute, after(1000)).step,
        Step::Act(Act::SetTemplate(OLD))
    );
    let elsewhere = seen.clone().with_look_at(2, unwritable, EQUAL);
    assert_eq!(
        at(&elsewhere, after(1000)).step,
        Step::Look(Needs::Member(name(3)))
    );
    let unknown = Hashes::Unknown("compacted".to_owned());
    let unknown = seen.clone().with_look_at(3, Answered::Known(()), unknown);
    assert!(matches!(
        why(&at(&unknown, after(1000)).step),
        Why::NotComparable(_)
    ));
    let different = Hashes::Different {
        revision: 5,
        hashes: BTreeMap::from([(name(1), 1)]),
    };
    let different = seen.with_look_at(3, Answered::Known(()), different);
    assert!(matches!(
        at(&different, NOW).step,
        Step::Halt(Halt::HashMismatch { .. })
    ));
}

#[test]
fn a_binary_that_lies_is_put_back() {
    let (record, mut seen) = replacing(OLD, NEW);
    seen.status(3).version = Version::new(3, 5, 28);
    let put_back = decide(&want(NEW), &record, &seen, NOW);
    assert_eq!(put_back.step, Step::Act(Act::SetTemplate(OLD)));
    let failed = put_back.record.current.and_then(|current| current.failed);
    assert_eq!(failed, Some(Trouble::OtherVersion(Version::new(3, 5, 28))));
}

#[test]
fn a_member_that_never_went_is_chosen_anew() {
    let (record, mut seen) = replacing(OLD, NEW);
    seen.runs(3, OLD, 1);
    assert_eq!(step(&want(NEW), &record, &seen), restart(3, 1));
    for number in 1..=3 {
        seen.status(number).leader = MemberId(3);
    }
    assert_eq!(step(&want(NEW), &record, &seen), restart(2, 1));
    seen.silent(3);
    assert!(matches!(
        why(&step(&want(NEW), &record, &seen)),
        Why::GoingDown { .. }
    ));
    let Step::Wait(wait) = decide(&want(NEW), &record, &seen, after(7)).step else {
        panic!()
    };
    assert_eq!(wait.since, after(7));
    let failing = Process::Failing {
        incarnation: 1,
        make: Make::plain(OLD),
        exits: 1,
        last_words: "fatal".to_owned(),
    };
    seen.processes.insert(name(3), failing);
    assert!(matches!(
        why(&step(&want(NEW), &record, &seen)),
        Why::Unhealthy { .. }
    ));
    seen.processes.remove(&name(3));
    assert_eq!(decide(&want(NEW), &record, &seen, NOW).record.current, None);
}

#[test]
fn a_flip_calls_back_what_has_not_come_up() {
    let (record, mut seen) = replacing(OLD, NEW);
    seen.silent(3);
    let back = decide(&want(OLD), &record, &seen, NOW);
    assert_eq!(back.step, Step::Act(Act::SetTemplate(OLD)));
    let failed = back
        .record
        .current
        .clone()
        .and_then(|current| current.failed);
    assert_eq!(failed, Some(Trouble::TargetChanged));
    seen.template = Make::plain(OLD);
    assert_eq!(step(&want(OLD), &back.record, &seen), restart(3, 2));
    let (_, up) = replacing(OLD, NEW);
    let open = decide(&want(OLD), &back.record, &up, NOW);
    assert_eq!(open.record.current, None);
    assert_eq!(open.step, Step::Act(Act::SetTemplate(OLD)));
}

#[test]
fn on_the_way_back_the_one_that_serves_nobody_goes_first() {
    let record = Record {
        mixed: Some((OLD, NEW)),
        ..ready(NEW, OLD)
    };
    let mut mixed = seen(OLD);
    mixed.runs(2, NEW, 2);
    mixed.silent(2);
    assert_eq!(step(&want(OLD), &record, &mixed), restart(2, 2));
    mixed.template = Make::plain(NEW);
    assert_eq!(
        step(&want(OLD), &record, &mixed),
        Step::Act(Act::SetTemplate(OLD))
    );
    mixed.template = Make::plain(OLD);
    let not_inherited = Record {
        mixed: None,
        ..record.clone()
    };
    assert!(matches!(
        why(&step(&want(OLD), &not_inherited, &mixed)),
        Why::Unhealthy { .. }
    ));
    let mut two = mixed.clone();
    two.silent(3);
    assert!(matches!(
        why(&step(&want(OLD), &record, &two)),
        Why::Unhealthy { .. }
    ));
    let mut elsewhere = mixed.clone();
    elsewhere.runs(2, OLD, 2);
    elsewhere.runs(3, NEW, 2);
    assert!(matches!(
        why(&step(&want(OLD), &record, &elsewhere)),
        Why::Unhealthy { .. }
    ));
    let mut behind = seen(OLD);
    behind.runs(2, NEW, 2);
    behind.status(2).raft_applied_index = 1;
    assert!(matches!(
        why(&step(&want(OLD), &record, &behind)),
        Why::Unhealthy { .. }
    ));
    behind.status(2).raft_applied_index = 1000;
    behind.status(2).ready = Err("no".to_owned());
    assert_eq!(step(&want(OLD), &record, &behind), restart(2, 2));
    let forward = Record {
        mixed: Some((OLD, NEW)),
        ..ready(OLD, NEW)
    };
    let mut down = seen(NEW);
    down.runs(2, OLD, 2);
    down.silent(2);
    assert!(matches!(
        why(&step(&want(NEW), &forward, &down)),
        Why::Unhealthy { .. }
    ));
}

#[test]
fn a_single_member_has_nobody_to_hand_over_to() {
    let mut alone = seen(OLD);
    for number in [2, 3] {
        alone.processes.remove(&name(number));
        alone.etcd.members.remove(&name(number));
    }
    let listed = Listed {
        id: MemberId(1),
        name: name(1),
        learner: false,
    };
    alone.etcd.membership = Answered::Known(vec![listed]);
    alone.template = Make::plain(NEW);
    assert_eq!(step(&want(NEW), &ready(OLD, NEW), &alone), restart(1, 1));
}

#[test]
fn arrived_is_when_all_are_well_and_agree() {
    let record = ready(OLD, NEW);
    let mut cluster = seen(NEW);
    cluster.template = Make::plain(OLD);
    assert_eq!(
        step(&want(NEW), &record, &cluster),
        Step::Act(Act::SetTemplate(NEW))
    );
    cluster.template = Make::plain(NEW);
    cluster.status(2).cluster_version = Some(OLD.minor);
    let waits = decide(&want(NEW), &record, &cluster, NOW);
    assert!(matches!(why(&waits.step), Why::ClusterVersion { .. }));
    assert_eq!(waits.record.phase, Phase::AwaitingClusterVersion);
    cluster.status(2).cluster_version = Some(NEW.minor);
    cluster.silent(3);
    assert!(matches!(
        why(&step(&want(NEW), &record, &cluster)),
        Why::Unhealthy { .. }
    ));
    let mut there = seen(NEW);
    let look = decide(&want(NEW), &record, &there, NOW);
    assert_eq!(look.step, Step::Look(Needs::Data));
    there.looked = Looked::Data(Hashes::Unknown("compacted".to_owned()));
    assert!(matches!(
        why(&step(&want(NEW), &record, &there)),
        Why::NotComparable(_)
    ));
    there.looked = Looked::Data(Hashes::Different {
        revision: 5,
        hashes: BTreeMap::from([(name(1), 1), (name(2), 0xab)]),
    });
    let hashes = "m1 00000001, m2 000000ab".to_owned();
    let halt = Halt::HashMismatch {
        revision: 5,
        hashes,
    };
    assert_eq!(step(&want(NEW), &record, &there), Step::Halt(halt));
    there.looked = Looked::Data(EQUAL);
    let done = decide(&want(NEW), &record, &there, NOW);
    assert_eq!((done.step, done.record.phase), (Step::Done, Phase::Done));
}

#[test]
fn a_wait_keeps_its_start_while_its_reason_stays() {
    let mut spoilt = seen(OLD);
    spoilt.silent(2);
    let limit = Limits::default().wait;
    let record = Record {
        touched: true,
        ..ready(OLD, NEW)
    };
    let first = decide(&want(NEW), &record, &spoilt, NOW);
    let second = decide(&want(NEW), &first.record, &spoilt, NOW + limit);
    let Step::Wait(wait) = &second.step else {
        panic!("{}", second.step)
    };
    assert_eq!((wait.since, wait.deadline), (NOW, Some(NOW + limit)));
    assert!(!wait.overdue);
    let late = NOW + limit + SignedDuration::from_nanos(1);
    let third = decide(&want(NEW), &second.record, &spoilt, late);
    let Step::Wait(wait) = &third.step else {
        panic!("{}", third.step)
    };
    assert!(
        wait.overdue && third.step.to_string().ends_with("(overdue)"),
        "{}",
        third.step
    );
    let mut other = seen(OLD);
    other.alarm(AlarmKind::NoSpace);
    let fourth = decide(&want(NEW), &third.record, &other, late);
    let Step::Wait(wait) = &fourth.step else {
        panic!("{}", fourth.step)
    };
    assert_eq!(wait.since, late);
    assert_eq!(
        decide(&want(NEW), &fourth.record, &seen(OLD), late)
            .record
            .waiting,
        None
    );
}

#[test]
fn acts_say_whether_they_need_a_live_look() {
    let table = [
        (Act::TakeSnapshot(String::new()), true),
        (Act::VerifySnapshot(String::new()), false),
        (Act::SetTemplate(NEW), true),
        (
            Act::MoveLeader {
                from: name(1),
                to: name(2),
            },
            true,
        ),
        (
            Act::Restart {
                member: name(1),
                incarnation: 1,
            },
            true,
        ),
    ];
    for (act, live) in table {
        assert_eq!(act.needs_live_look(), live, "{act}");
    }
}

#[test]
fn a_record_survives_being_written_and_read() {
    let (mut record, _) = replacing(OLD, NEW);
    record.halt = Some(Halt::Corrupt);
    record.waiting = Some(("Paused".to_owned(), NOW));
    let text = serde_json::to_string(&record).unwrap();
    assert_eq!(serde_json::from_str::<Record>(&text).unwrap(), record);
}

#[test]
fn only_an_unfinished_way_back_begins_without_a_preflight() {
    for (inherited, from, to, looks) in [
        (false, OLD, NEW, true),
        (true, OLD, NEW, true),
        (false, NEW, OLD, true),
        (true, NEW, OLD, false),
    ] {
        let record = Record {
            mixed: inherited.then_some((OLD, NEW)),
            cleared: None,
            ..ready(from, to)
        };
        let step = step(&want(to), &record, &seen(from));
        assert_eq!(step == Step::Look(Needs::Preflight), looks, "{step}");
    }
}

#[test]
fn a_finished_attempt_leaves_nothing_to_inherit() {
    let record = Record {
        touched: true,
        mixed: Some((OLD, NEW)),
        phase: Phase::Done,
        ..ready(OLD, NEW)
    };
    let back = decide(&want(OLD), &record, &seen(NEW), NOW);
    assert!(!back.record.inherited());
    assert_eq!(back.step, Step::Look(Needs::Preflight));
}

#[test]
fn a_member_in_hand_gets_its_time_anew_with_each_attempt() {
    let (mut record, mut seen) = replacing(OLD, NEW);
    seen.silent(3);
    record.halt = Some(Halt::Corrupt);
    let want = Want {
        acknowledged: 1,
        ..want(NEW)
    };
    let next = decide(&want, &record, &seen, after(1000));
    assert!(
        matches!(why(&next.step), Why::ComingUp { .. }),
        "{}",
        next.step
    );
    let since = next.record.current.map(|current| current.since);
    assert_eq!(since, Some(after(1000)));
}

#[test]
fn a_release_that_keeps_ending_is_given_up_by_count_or_by_time() {
    let late = NOW + Limits::default().member + SignedDuration::from_nanos(1);
    let failing = |version, exits| Process::Failing {
        incarnation: 2,
        make: Make::plain(version),
        exits,
        last_words: "fatal".to_owned(),
    };
    let (forward, mut seen) = replacing(OLD, NEW);
    seen.silent(3);
    let back = Record {
        current: forward.current.clone().map(|current| Replacement {
            failed: Some(Trouble::NoLeader),
            ..current
        }),
        ..forward.clone()
    };
    for (exits, now, given_up) in [(1, NOW, false), (2, NOW, true), (1, late, true)] {
        seen.processes.insert(name(3), failing(NEW, exits));
        let step = decide(&want(NEW), &forward, &seen, now).step;
        assert_eq!(step == Step::Act(Act::SetTemplate(OLD)), given_up, "{step}");
        seen.processes.insert(name(3), failing(OLD, exits));
        let step = decide(&want(NEW), &back, &seen, now).step;
        assert_eq!(
            matches!(step, Step::Halt(Halt::PutBackFailed { .. })),
            given_up,
            "{step}"
        );
    }
}
