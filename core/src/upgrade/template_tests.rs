//! Rolls for another template: with the same release, and together with another one.
#![allow(
    clippy::too_many_lines,
    clippy::wildcard_enum_match_arm,
    reason = "tables of cases"
)]

use super::tests::*;
use super::*;
use crate::make::Template;
use crate::member::MemberId;
use crate::observed::{Answer, Listed, Process, SnapshotWork};
use jiff::SignedDuration;

fn of(version: Version, template: &str) -> Make {
    Make {
        version,
        template: Template(template.to_owned()),
    }
}

fn wants(version: Version, template: &str) -> Want {
    Want {
        target: of(version, template),
        ..want(version)
    }
}

impl Observed {
    /// Its process is made from this; what it answers, if it does, follows.
    fn made(&mut self, number: u64, make: &Make, incarnation: u64) {
        self.runs(number, make.version, incarnation);
        self.processes.insert(
            name(number),
            Process::Running {
                incarnation,
                make: make.clone(),
            },
        );
    }

    fn ends(&mut self, number: u64, make: &Make, exits: u32) {
        self.silent(number);
        self.processes.insert(
            name(number),
            Process::Failing {
                incarnation: 1,
                make: make.clone(),
                exits,
                last_words: "fatal".to_owned(),
            },
        );
    }

    fn absent(&mut self, number: u64) {
        self.silent(number);
        self.processes.insert(name(number), Process::Absent);
    }

    fn led_by(&mut self, number: u64) {
        for member in 1..=3 {
            if self.etcd.members[&name(member)].status().is_some() {
                self.status(member).leader = MemberId(number);
            }
        }
    }

    fn well(self, number: u64) -> Self {
        self.with_look_at(number, Answered::Known(()), EQUAL)
    }
}

/// All members are of one make, and so is the template.
fn all(make: &Make) -> Observed {
    let mut seen = seen(make.version);
    for number in 1..=3 {
        seen.made(number, make, 1);
    }
    seen.template = make.clone();
    seen
}

/// An attempt that has passed its preflight.
fn between(from: &Make, to: &Make) -> Record {
    Record {
        from: from.clone(),
        to: to.clone(),
        ..ready(from.version, to.version)
    }
}

/// An attempt that has restarted `m3`.
fn in_hand(from: &Make, to: &Make) -> (Record, Observed) {
    let mut record = between(from, to);
    record.touched = true;
    record.members.insert(name(3), MemberPhase::Replacing);
    record.current = Some(Replacement {
        member: name(3),
        from: from.clone(),
        to: to.clone(),
        since: NOW,
        failed: None,
    });
    let mut seen = all(from);
    seen.template = to.clone();
    seen.made(3, to, 2);
    (record, seen)
}

fn late() -> Timestamp {
    NOW + Limits::default().member + SignedDuration::from_nanos(1)
}

fn set(version: Version) -> Step {
    Step::Act(Act::SetTemplate(version))
}

/// The steps of a roll on which everything goes well.
fn whole(mut seen: Observed, want: &Want, mut record: Record) -> (Vec<String>, Record) {
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
        let decision = decide(want, &record, &seen, NOW);
        record = decision.record;
        said.push(format!("{:?}: {}", record.phase, decision.step));
        needs = Needs::Nothing;
        match decision.step {
            Step::Done => return (said, record),
            Step::Look(more) => needs = more,
            Step::Wait(_) => {
                for number in 1..=3 {
                    let runs = seen.status(number).version.minor;
                    seen.status(number).cluster_version = Some(runs);
                }
            }
            Step::Act(Act::TakeSnapshot(name)) => {
                (seen.snapshot_name, seen.snapshot) = (name, SnapshotWork::Taken);
            }
            Step::Act(Act::VerifySnapshot(_)) => {
                seen.snapshot = SnapshotWork::Verified {
                    revision: 50,
                    bytes: 1,
                    sha256: "00".to_owned(),
                };
            }
            Step::Act(Act::SetTemplate(version)) => {
                seen.template = Make {
                    version,
                    ..want.target.clone()
                };
            }
            Step::Act(Act::MoveLeader { to, .. }) => {
                seen.led_by(to.0[1..].parse().unwrap());
            }
            Step::Act(Act::Restart {
                member,
                incarnation,
            }) => {
                let make = seen.template.clone();
                seen.made(member.0[1..].parse().unwrap(), &make, incarnation + 1);
            }
            Step::Refuse(_) | Step::Halt(_) => break,
        }
    }
    panic!("{said:#?}")
}

#[test]
fn another_template_takes_no_snapshot_and_restarts_the_leader_last() {
    let before = of(OLD, "a");
    let want = wants(OLD, "b");
    let (said, record) = whole(all(&before), &want, Record::new(before.clone(), NOW));
    let expected = [
        "Preflight: check whether it may begin",
        "Rolling: let restarted members run 3.4.34",
        "Rolling: restart m3",
        "Rolling: check writes and data of m3",
        "Rolling: restart m2",
        "Rolling: check writes and data of m2",
        "Rolling: move the leadership from m1 to m3",
        "Rolling: restart m1",
        "Rolling: check writes and data of m1",
        "AwaitingClusterVersion: compare the data of all members",
        "Done: done",
    ];
    assert_eq!(said, expected);
    assert_eq!((record.from, record.to), (before, want.target));
    let replaced = |phase: &MemberPhase| *phase == MemberPhase::Replaced;
    assert_eq!(record.members.len(), 3);
    assert!(record.members.values().all(replaced));
}

#[test]
fn release_and_template_change_in_one_roll() {
    for (from, to) in [(OLD, NEW), (NEW, OLD)] {
        let before = of(from, "a");
        let (said, _) = whole(all(&before), &wants(to, "b"), Record::new(before, NOW));
        let restarts = said.iter().filter(|line| line.contains(": restart "));
        assert_eq!(restarts.count(), 3, "{said:#?}");
        let snapshots = said.iter().filter(|line| line.contains("take full"));
        assert_eq!(snapshots.count(), usize::from(to == NEW), "{said:#?}");
    }
}

#[test]
fn what_a_member_is_made_from_is_told_by_its_process_and_its_release_by_itself() {
    let make = of(OLD, "a");
    let mut seen = all(&make);
    let off = |seen: &Observed, make: &Make| {
        let off = seen
            .off(make)
            .map(|(name, version)| (name.0.clone(), version));
        off.collect::<Vec<_>>()
    };
    assert_eq!(off(&seen, &make), []);
    seen.made(2, &of(OLD, "b"), 1);
    assert_eq!(off(&seen, &make), [("m2".to_owned(), OLD)]);
    assert!(seen.is_off(&name(2), &make) && !seen.is_off(&name(1), &make));
    seen.status(1).version = NEW;
    assert_eq!(
        off(&seen, &make),
        [("m1".to_owned(), NEW), ("m2".to_owned(), OLD)]
    );
    // Of one that is away nothing is known but what it answers.
    seen.processes.insert(name(1), Process::Absent);
    assert_eq!(off(&seen, &of(NEW, "b")).len(), 2);
    assert!(!seen.is_off(&name(1), &of(NEW, "b")));
    seen.silent(1);
    assert!(!seen.is_off(&name(1), &make));
}

#[test]
fn of_what_a_person_can_stop_only_the_pause_is_for_a_restart() {
    let (a, b) = (of(OLD, "a"), of(OLD, "b"));
    let mut seen = all(&a);
    seen.template = b.clone();
    let with = |policy, seen: &Observed| {
        let want = Want {
            policy,
            ..wants(OLD, "b")
        };
        step(&want, &between(&a, &b), seen)
    };
    let held = Policy {
        hold_last: true,
        pause_after: Some(0),
        ..Policy::default()
    };
    assert_eq!(with(held, &seen), restart(3, 1));
    for number in [2, 3] {
        seen.made(number, &b, 2);
    }
    let Step::Act(Act::MoveLeader { .. }) = with(held, &seen) else {
        panic!()
    };
    let paused = Policy {
        paused: true,
        ..Policy::default()
    };
    assert_eq!(*why(&with(paused, &seen)), Why::Paused);
    // Not even for one that serves nobody.
    seen.ends(1, &a, 3);
    assert_eq!(*why(&with(paused, &seen)), Why::Paused);
}

#[test]
fn while_the_last_release_is_held_the_others_get_their_template() {
    let (old, new, target) = (of(OLD, "a"), of(NEW, "a"), of(NEW, "b"));
    let mut seen = all(&new);
    seen.made(2, &old, 1);
    seen.template = target.clone();
    seen.led_by(3);
    let policy = Policy {
        hold_last: true,
        ..Policy::default()
    };
    let want = |policy| Want {
        policy,
        ..wants(NEW, "b")
    };
    let record = between(&old, &target);
    assert_eq!(step(&want(policy), &record, &seen), restart(1, 1));
    assert_eq!(
        step(&want(Policy::default()), &record, &seen),
        restart(2, 1)
    );
    seen.made(1, &target, 2);
    // Not to m2, which comes later by name and is held on the old release.
    let (from, to) = (name(3), name(1));
    let moved = Step::Act(Act::MoveLeader { from, to });
    assert_eq!(step(&want(policy), &record, &seen), moved);
    seen.led_by(1);
    assert_eq!(step(&want(policy), &record, &seen), restart(3, 1));
    seen.made(3, &target, 2);
    let held = Why::HeldLast { member: name(2) };
    assert_eq!(*why(&step(&want(policy), &record, &seen)), held);
    let after = |limit| Policy {
        pause_after: Some(limit),
        ..Policy::default()
    };
    let paused = Why::PausedAfter {
        replaced: 2,
        members: 3,
    };
    assert_eq!(*why(&step(&want(after(2)), &record, &seen)), paused);
    assert_eq!(step(&want(after(3)), &record, &seen), restart(2, 1));
}

#[test]
fn another_template_ends_only_the_halts_that_it_may_cure() {
    let trouble = Trouble::NoLeader;
    let member = name(3);
    let table = [
        (
            true,
            Halt::StaysDown {
                member: member.clone(),
                trouble: trouble.clone(),
            },
        ),
        (
            true,
            Halt::PutBackFailed {
                member: member.clone(),
                version: OLD,
                trouble: trouble.clone(),
            },
        ),
        (
            false,
            Halt::PutBack {
                member,
                version: NEW,
                back: OLD,
                trouble,
            },
        ),
        (
            false,
            Halt::SnapshotFailed {
                failures: 3,
                last: String::new(),
            },
        ),
        (
            false,
            Halt::HashMismatch {
                revision: 5,
                hashes: String::new(),
            },
        ),
        (false, Halt::Corrupt),
    ];
    for (ends, halt) in table {
        let (from, to) = (of(OLD, "a"), of(NEW, "a"));
        let record = Record {
            halt: Some(halt.clone()),
            ..between(&from, &to)
        };
        let of_want = |want: &Want| decide(want, &record, &all(&from), NOW).record;
        let same = of_want(&wants(NEW, "a"));
        assert_eq!((same.attempt, same.halt), (1, Some(halt.clone())));
        let changed = of_want(&wants(NEW, "b"));
        assert_eq!((changed.attempt == 2, changed.halt.is_none()), (ends, ends));
        let released = of_want(&wants(OLD, "b"));
        assert_eq!((released.attempt, released.to), (2, of(OLD, "b")));
        let acknowledged = of_want(&Want {
            acknowledged: 1,
            ..wants(NEW, "b")
        });
        assert_eq!((acknowledged.attempt, acknowledged.to), (2, of(NEW, "b")));
    }
}

#[test]
fn a_member_that_does_not_come_up_stops_the_roll_until_the_template_is_corrected() {
    let (a, b) = (of(OLD, "a"), of(OLD, "b"));
    let (record, mut seen) = in_hand(&a, &b);
    seen.silent(3);
    let waits = decide(
        &wants(OLD, "b"),
        &record,
        &seen,
        NOW + Limits::default().member,
    );
    assert_eq!(why(&waits.step).code(), "ComingUp");
    let halted = decide(&wants(OLD, "b"), &record, &seen, late());
    let Step::Halt(Halt::StaysDown { member, trouble }) = &halted.step else {
        panic!("{}", halted.step)
    };
    assert_eq!(*member, name(3));
    assert!(matches!(trouble, Trouble::Silent(_)));
    assert_eq!(halted.record.phase, Phase::Blocked);
    // It may be waiting for another, unless it ends by itself.
    let mut two = seen.clone();
    two.silent(2);
    let waits = decide(&wants(OLD, "b"), &record, &two, late());
    assert_eq!(why(&waits.step).code(), "ComingUp");
    two.ends(3, &b, 2);
    let halted = decide(&wants(OLD, "b"), &record, &two, NOW);
    assert!(matches!(halted.step, Step::Halt(Halt::StaysDown { .. })));
    seen.ends(3, &b, 2);
    let hopeless = decide(&wants(OLD, "b"), &record, &seen, NOW);
    assert!(matches!(hopeless.step, Step::Halt(Halt::StaysDown { .. })));

    let corrected = decide(&wants(OLD, "c"), &hopeless.record, &seen, after(500));
    assert_eq!((corrected.step, corrected.record.attempt), (set(OLD), 2));
    assert_eq!(corrected.record.phase, Phase::Rolling);
    seen.template = of(OLD, "c");
    let again = decide(&wants(OLD, "c"), &corrected.record, &seen, after(501));
    assert_eq!(again.step, restart(3, 1));
    let since = again.record.current.as_ref().map(|current| current.since);
    assert_eq!(since, Some(after(501)));
    seen.etcd.members = all(&a).etcd.members;
    seen.made(3, &of(OLD, "c"), 2);
    let look = decide(&wants(OLD, "c"), &again.record, &seen, after(502));
    assert_eq!(look.step, Step::Look(Needs::Member(name(3))));
    let well = decide(
        &wants(OLD, "c"),
        &look.record,
        &seen.clone().well(3),
        after(502),
    );
    assert_eq!(well.step, Step::Look(Needs::Preflight));
    assert_eq!(well.record.members[&name(3)], MemberPhase::Replaced);
    assert_eq!(well.record.current, None);
}

#[test]
fn a_member_in_hand_is_replaced_again_for_another_template_unless_it_is_well() {
    let (a, b, c) = (of(OLD, "a"), of(OLD, "b"), of(OLD, "c"));
    let (record, mut seen) = in_hand(&a, &b);
    seen.template = c.clone();
    let want = wants(OLD, "c");
    let look = decide(&want, &record, &seen, NOW);
    assert_eq!(look.step, Step::Look(Needs::Member(name(3))));
    let well = decide(&want, &look.record, &seen.clone().well(3), NOW);
    assert_eq!(well.step, Step::Look(Needs::Preflight));
    assert_eq!(well.record.current, None);
    assert!(!well.record.members.contains_key(&name(3)), "it goes again");

    seen.status(3).ready = Err("no".to_owned());
    assert_eq!(step(&want, &record, &seen), restart(3, 2));
    seen.led_by(3);
    let moved = Act::MoveLeader {
        from: name(3),
        to: name(2),
    };
    assert_eq!(step(&want, &record, &seen), Step::Act(moved));
    seen.led_by(1);
    seen.silent(2);
    let Why::Unhealthy { member, .. } = why(&step(&want, &record, &seen)).clone() else {
        panic!()
    };
    assert_eq!(member, name(2), "never a second one");
    seen.ends(3, &b, 1);
    assert_eq!(step(&want, &record, &seen), restart(3, 1));
    // It has come as what is asked for now: nothing is to be done but wait.
    seen.made(3, &c, 3);
    assert_eq!(why(&step(&want, &record, &seen)).code(), "ComingUp");
    seen.template = of(NEW, "c");
    seen.made(3, &of(NEW, "c"), 3);
    let crossed = step(&wants(NEW, "c"), &record, &seen);
    let Why::ComingUp { version, .. } = why(&crossed) else {
        panic!("{crossed}")
    };
    assert_eq!(*version, NEW);
}

#[test]
fn a_template_that_is_taken_back_is_waited_for_like_any_other() {
    let (a, b) = (of(OLD, "a"), of(OLD, "b"));
    let (record, mut seen) = in_hand(&a, &b);
    seen.template = a.clone();
    seen.made(3, &a, 3);
    let want = wants(OLD, "a");
    assert_eq!(
        step(&want, &record, &seen),
        Step::Look(Needs::Member(name(3)))
    );
    seen.silent(3);
    assert_eq!(why(&step(&want, &record, &seen)).code(), "ComingUp");
}

#[test]
fn a_member_is_put_back_to_its_release_and_not_to_its_template() {
    let (from, to) = (of(OLD, "a"), of(NEW, "a"));
    let (record, mut seen) = in_hand(&from, &to);
    let want = wants(NEW, "b");
    seen.silent(3);
    // Another template may be the cure.
    assert_eq!(step(&want, &record, &seen), set(NEW));
    seen.template = of(NEW, "b");
    assert_eq!(step(&want, &record, &seen), restart(3, 2));
    seen.made(3, &of(NEW, "b"), 3);
    assert_eq!(why(&step(&want, &record, &seen)).code(), "ComingUp");
    let attempt = decide(&want, &record, &seen, NOW).record;
    let back = decide(&want, &attempt, &seen, late());
    assert_eq!(back.step, set(OLD));
    seen.template = of(OLD, "b");
    assert_eq!(step(&want, &back.record, &seen), restart(3, 3));

    // On its way back, and the template changes once more.
    seen.made(3, &of(OLD, "b"), 4);
    let changed = wants(NEW, "c");
    assert_eq!(step(&changed, &back.record, &seen), set(OLD));
    seen.template = of(OLD, "c");
    assert_eq!(step(&changed, &back.record, &seen), restart(3, 4));
    seen.etcd.members = all(&from).etcd.members;
    let seen = seen.well(3);
    let halted = decide(&changed, &back.record, &seen, NOW);
    let Step::Halt(Halt::PutBack { version, back, .. }) = halted.step else {
        panic!("{}", halted.step)
    };
    assert_eq!((version, back), (NEW, OLD));
}

#[test]
fn a_member_that_is_called_back_gets_the_template_of_now() {
    let (from, to) = (of(OLD, "a"), of(NEW, "a"));
    let (record, mut seen) = in_hand(&from, &to);
    seen.silent(3);
    let want = wants(OLD, "b");
    let back = decide(&want, &record, &seen, NOW);
    assert_eq!(back.step, set(OLD));
    let failed = back.record.current.clone().and_then(|it| it.failed);
    assert_eq!(failed, Some(Trouble::TargetChanged));
    assert!(back.record.inherited());
    assert_eq!(back.record.direction(), Direction::Downgrade);
    seen.template = of(OLD, "b");
    assert_eq!(step(&want, &back.record, &seen), restart(3, 2));
    seen.ends(3, &to, 2);
    let hopeless = decide(&want, &record, &seen, NOW).record;
    let failed = hopeless.current.and_then(|it| it.failed);
    assert!(matches!(failed, Some(Trouble::Failing { .. })));
}

/// What happens to a cluster whose members are of this make.
type Spoil = fn(&mut Observed, &Make);

/// What is done first about a cluster that `m3` is not well in.
fn first(spoil: impl FnOnce(&mut Observed, &Make)) -> Step {
    let (a, b) = (of(OLD, "a"), of(OLD, "b"));
    let mut seen = all(&a);
    seen.template = b;
    spoil(&mut seen, &a);
    let record = Record {
        attempt: 1,
        ..Record::new(a, NOW)
    };
    step(&wants(OLD, "b"), &record, &seen)
}

#[test]
fn a_member_that_serves_nobody_gets_its_template_before_any_preflight() {
    let asks = Step::Look(Needs::Preflight);
    let table: &[(Step, Spoil)] = &[
        (restart(3, 1), |seen, a| seen.ends(3, a, 1)),
        (restart(3, 1), |seen, _| seen.silent(3)),
        (restart(3, 1), |seen, _| {
            seen.status(3).ready = Err("no".to_owned());
        }),
        (set(OLD), |seen, a| {
            seen.ends(3, a, 1);
            seen.template = a.clone();
        }),
        // Whatever the others do, for one that ends by itself.
        (restart(3, 1), |seen, a| {
            seen.silent(1);
            seen.silent(2);
            seen.ends(3, a, 1);
            seen.etcd.membership = Answered::Unknown("no leader".to_owned());
            seen.etcd.alarms = Answered::Unknown("no leader".to_owned());
        }),
        (restart(3, 1), |seen, a| {
            seen.alarm(AlarmKind::NoSpace);
            seen.ends(3, a, 1);
        }),
        (asks.clone(), |seen, a| {
            seen.alarm(AlarmKind::Corrupt);
            seen.ends(3, a, 1);
        }),
        // It does not have to go.
        (asks.clone(), |seen, _| seen.ends(3, &of(OLD, "b"), 1)),
        // It may serve, for all that is known.
        (asks.clone(), |seen, _| {
            seen.silent(2);
            seen.silent(3);
        }),
        (asks.clone(), |seen, _| {
            seen.silent(3);
            seen.status(2).term = 3;
        }),
        (asks.clone(), |seen, _| {
            seen.silent(3);
            seen.etcd.membership = Answered::Unknown("deadline".to_owned());
        }),
        (asks.clone(), |seen, _| {
            seen.silent(3);
            let Answered::Known(list) = &mut seen.etcd.membership else {
                panic!()
            };
            list.pop();
        }),
        (asks.clone(), |seen, _| {
            seen.status(3).raft_applied_index = 1;
        }),
        (asks, |seen, _| seen.absent(3)),
    ];
    for (row, (expected, spoil)) in table.iter().enumerate() {
        assert_eq!(first(spoil), *expected, "row {row}");
    }
}

#[test]
fn a_single_member_that_is_down_gets_its_template() {
    let found = first(|seen, _| {
        for number in [1, 2] {
            seen.processes.remove(&name(number));
            seen.etcd.members.remove(&name(number));
        }
        seen.silent(3);
        seen.etcd.membership = Answered::Unknown("no member answers".to_owned());
    });
    assert_eq!(found, restart(3, 1));
}

#[test]
fn a_roll_that_changes_the_release_waits_for_a_member_that_is_down() {
    let (a, b) = (of(OLD, "a"), of(NEW, "b"));
    let mut seen = all(&a);
    seen.ends(3, &a, 1);
    let record = between(&a, &b);
    assert_eq!(
        why(&step(&wants(NEW, "b"), &record, &seen)).code(),
        "Unhealthy"
    );
}

#[test]
fn a_member_that_was_to_go_although_it_was_down_is_asked_again() {
    let (a, b) = (of(OLD, "a"), of(OLD, "b"));
    let (record, _) = in_hand(&a, &b);
    let mut seen = all(&a);
    seen.template = b;
    let want = wants(OLD, "b");
    let wait = Limits::default().wait;
    let overdue = NOW + wait + SignedDuration::from_nanos(1);
    seen.silent(3);
    let step_at = |seen: &Observed, want: &Want, now| decide(want, &record, seen, now).step;
    assert_eq!(why(&step_at(&seen, &want, NOW + wait)).code(), "GoingDown");
    assert_eq!(step_at(&seen, &want, overdue), restart(3, 1));
    let paused = Want {
        policy: Policy {
            paused: true,
            ..Policy::default()
        },
        ..want.clone()
    };
    assert_eq!(why(&step_at(&seen, &paused, overdue)).code(), "GoingDown");
    seen.ends(3, &a, 1);
    assert_eq!(step_at(&seen, &want, NOW), restart(3, 1));
    assert_eq!(why(&step_at(&seen, &paused, NOW)).code(), "Unhealthy");
    seen.template = a.clone();
    assert_eq!(step_at(&seen, &want, NOW), set(OLD));
    // It does not have to go any more.
    assert_eq!(
        why(&step_at(&seen, &wants(OLD, "a"), NOW)).code(),
        "ComingUp"
    );
}

#[test]
fn without_quorum_every_member_that_ends_by_itself_gets_its_template() {
    let (a, b) = (of(OLD, "a"), of(OLD, "b"));
    let (record, mut seen) = in_hand(&a, &b);
    seen.etcd.membership = Answered::Unknown("no leader".to_owned());
    seen.led_by(0);
    seen.silent(1);
    seen.ends(2, &a, 5);
    let want = wants(OLD, "b");
    let next = decide(&want, &record, &seen, NOW);
    assert_eq!(next.step, restart(2, 1));
    let current = next.record.current.map(|current| current.member);
    assert_eq!(current, Some(name(2)));
    let paused = Want {
        policy: Policy {
            paused: true,
            ..Policy::default()
        },
        ..want.clone()
    };
    assert_eq!(why(&step(&paused, &record, &seen)).code(), "ComingUp");
    // One that did not go yet keeps nobody.
    let mut not_begun = seen.clone();
    not_begun.made(3, &a, 1);
    assert_eq!(step(&want, &record, &not_begun), restart(2, 1));
    // With a template that is no cure it would be the next victim.
    let mut hopeless = seen.clone();
    hopeless.ends(3, &b, 2);
    let halted = step(&want, &record, &hopeless);
    assert!(matches!(halted, Step::Halt(Halt::StaysDown { .. })));
    let mut there = seen.clone();
    there.ends(2, &b, 5);
    assert_eq!(why(&step(&want, &record, &there)).code(), "ComingUp");
    let mut silent = seen.clone();
    silent.made(2, &a, 1);
    assert_eq!(why(&step(&want, &record, &silent)).code(), "ComingUp");
    let (record, mut led) = in_hand(&a, &b);
    led.status(3).ready = Err("no".to_owned());
    led.ends(2, &a, 5);
    assert_eq!(why(&step(&want, &record, &led)).code(), "ComingUp");
    let (up, mut mixed) = in_hand(&a, &of(NEW, "a"));
    mixed.led_by(0);
    mixed.ends(2, &a, 5);
    assert_eq!(why(&step(&wants(NEW, "a"), &up, &mixed)).code(), "ComingUp");
}

#[test]
fn a_full_database_takes_no_writes_from_anybody() {
    let unwritable = || Answered::Unknown("no space".to_owned());
    for (from, to) in [(of(OLD, "a"), of(OLD, "b")), (of(NEW, "a"), of(OLD, "a"))] {
        let (record, seen) = in_hand(&from, &to);
        let want = Want {
            target: to.clone(),
            ..want(to.version)
        };
        let mute = seen.with_look_at(3, unwritable(), EQUAL);
        assert_eq!(why(&step(&want, &record, &mute)).code(), "ComingUp");
        let mut full = mute.clone();
        full.alarm(AlarmKind::NoSpace);
        assert_eq!(step(&want, &record, &full), restart(2, 1));
        full.alarm(AlarmKind::Unknown);
        assert_eq!(why(&step(&want, &record, &full)).code(), "ComingUp");
        full.alarm(AlarmKind::NoSpace);
        let hashes = Hashes::Unknown("deadline".to_owned());
        let unknown = full.with_look_at(3, unwritable(), hashes);
        assert_eq!(why(&step(&want, &record, &unknown)).code(), "NotComparable");
    }
}

#[test]
fn an_unfinished_upgrade_is_inherited_whatever_becomes_of_the_template() {
    let (old, new) = (of(OLD, "a"), of(NEW, "a"));
    let mut seen = all(&old);
    seen.made(3, &new, 2);
    let record = Record {
        touched: true,
        ..between(&old, &new)
    };
    let back = decide(&wants(OLD, "b"), &record, &seen, NOW).record;
    assert_eq!((&back.from, back.inherited()), (&new, true));
    let forward = decide(&wants(NEW, "b"), &record, &seen, NOW).record;
    assert_eq!((&forward.from, forward.inherited()), (&old, true));
    // Also if it is the first by name that has gone already.
    let mut seen = all(&old);
    seen.made(1, &new, 2);
    let forward = decide(&wants(NEW, "b"), &record, &seen, NOW).record;
    assert_eq!((&forward.from, forward.inherited()), (&old, true));
}

#[test]
fn two_releases_are_remembered_through_rolls_that_cross_nothing() {
    let (old, new) = (of(OLD, "a"), of(NEW, "a"));
    let (record, _) = in_hand(&old, &new);
    let mut seen = all(&new);
    seen.absent(3);
    // The one that is away has gone, for all that is seen.
    let same = decide(&wants(NEW, "b"), &record, &seen, NOW).record;
    assert_eq!(same.direction(), Direction::Same);
    assert_eq!(same.mixed, Some((OLD, NEW)));
    let back = decide(&wants(OLD, "b"), &same, &seen, NOW).record;
    assert_eq!(
        (back.direction(), back.inherited()),
        (Direction::Downgrade, true)
    );
    let third = Version::new(3, 5, 34);
    let onward = decide(&wants(third, "b"), &back, &seen, NOW).record;
    assert_eq!(
        (onward.mixed, onward.inherited()),
        (Some((OLD, NEW)), false)
    );
    // Restarts alone leave nobody on two releases.
    let (record, _) = in_hand(&old, &of(OLD, "b"));
    let same = decide(&wants(OLD, "c"), &record, &all(&old), NOW).record;
    assert_eq!((same.attempt, same.mixed), (2, None));
}

#[test]
fn a_member_that_turns_out_to_run_another_release_is_no_restart() {
    let (a, b) = (of(NEW, "a"), of(NEW, "b"));
    let record = Record {
        touched: true,
        ..between(&a, &b)
    };
    let mut seen = all(&a);
    seen.made(2, &of(OLD, "a"), 1);
    let next = decide(&wants(NEW, "b"), &record, &seen, NOW);
    assert_eq!(next.record.attempt, 2);
    assert_eq!(next.record.direction(), Direction::Upgrade);
    assert_eq!(next.step, Step::Look(Needs::Preflight));
    let halted = Record {
        halt: Some(Halt::Corrupt),
        ..record.clone()
    };
    let next = decide(&wants(NEW, "b"), &halted, &seen, NOW);
    assert_eq!(next.record.attempt, 1);
    let next = decide(&wants(NEW, "b"), &record, &all(&a), NOW);
    assert_eq!(next.record.attempt, 1);
}

#[test]
fn no_snapshot_for_members_that_stay_on_their_release() {
    let (old, new, target) = (of(OLD, "a"), of(NEW, "a"), of(NEW, "b"));
    let record = Record {
        snapshot: Record::new(old.clone(), NOW).snapshot,
        ..between(&old, &target)
    };
    let mut seen = all(&new);
    seen.template = target;
    assert_eq!(step(&wants(NEW, "b"), &record, &seen), restart(3, 1));
    seen.made(1, &old, 1);
    let taken = step(&wants(NEW, "b"), &record, &seen);
    assert!(matches!(taken, Step::Act(Act::TakeSnapshot(_))), "{taken}");
}

#[test]
fn a_single_member_is_restarted_without_a_word() {
    let (a, b) = (of(OLD, "a"), of(OLD, "b"));
    let mut alone = all(&a);
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
    alone.template = b.clone();
    assert_eq!(
        step(&wants(OLD, "b"), &between(&a, &b), &alone),
        restart(1, 1)
    );
    assert!(matches!(alone.etcd.members[&name(1)], Answer::Status(_)));
}
