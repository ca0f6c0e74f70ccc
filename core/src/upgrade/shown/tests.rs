use jiff::SignedDuration;
use proptest::prelude::*;

use super::*;
use crate::make::Template;
use crate::observed::{Answered, Hashes, Looked, Process, SnapshotWork};
use crate::upgrade::tests::{EQUAL, NEW, NOW, OLD, after, name, ready, replacing, seen, want};
use crate::upgrade::{
    Act, Halt, Make, MemberPhase, Needs, Phase, Policy, Record, Trouble, Want, decide,
};
use crate::version::Minor;

/// A cluster that is upgraded, and what was told of it.
struct Walk {
    want: Want,
    record: Record,
    seen: Observed,
    needs: Needs,
    told: Vec<UpgradeStatus>,
    events: Vec<String>,
    now: Timestamp,
}

impl Walk {
    fn new(want: Want, record: Record, seen: Observed) -> Self {
        Self {
            want,
            record,
            seen,
            needs: Needs::Nothing,
            told: Vec::new(),
            events: Vec::new(),
            now: NOW,
        }
    }

    fn look(&mut self) {
        self.seen.looked = match std::mem::take(&mut self.needs) {
            Needs::Nothing => Looked::Nothing,
            Needs::Preflight => self.seen.clone().with_preflight().looked,
            Needs::Data => Looked::Data(EQUAL),
            Needs::Member(name) => Looked::Member {
                name,
                write: Answered::Known(()),
                hashes: EQUAL,
            },
        };
    }

    /// One decision; what was told is kept if it is new.
    fn decide(&mut self) -> Step {
        self.look();
        let decision = decide(&self.want, &self.record, &self.seen, self.now);
        let before = self.told.last().cloned();
        let told = shown(&decision, &self.seen, None, before.as_ref(), self.now);
        if let Some(told) = told {
            let events = told.event(before.as_ref());
            self.events.extend(events.map(|event| event.reason));
            if before.as_ref() != Some(&told.status) {
                self.told.push(told.status);
            }
        }
        self.record = decision.record;
        if let Step::Look(needs) = &decision.step {
            self.needs = needs.clone();
        }
        decision.step
    }

    /// Does what was decided, with all that is seen on the way. A member goes down, comes up, and
    /// is well again.
    fn act(&mut self, act: &Act) {
        match act {
            Act::TakeSnapshot(name) => {
                self.seen.snapshot_name.clone_from(name);
                self.seen.snapshot = SnapshotWork::Taking;
                self.decide();
                self.seen.snapshot = SnapshotWork::Taken;
            }
            Act::VerifySnapshot(_) => {
                self.seen.snapshot = SnapshotWork::Verifying;
                self.decide();
                self.seen.snapshot = SnapshotWork::Verified {
                    revision: 50,
                    bytes: 1234,
                    sha256: "ab".to_owned(),
                };
            }
            Act::SetTemplate(version) => self.seen.template.version = *version,
            Act::MoveLeader { to, .. } => {
                let to = self.seen.etcd.members[to].status().unwrap().id;
                for number in 1..=3 {
                    self.seen.status(number).leader = to;
                }
            }
            Act::Restart {
                member,
                incarnation,
            } => {
                let number = member.0[1..].parse().unwrap();
                let well = self.seen.etcd.members[member].clone();
                self.seen.silent(number);
                self.decide();
                self.seen.processes.insert(member.clone(), Process::Absent);
                self.decide();
                self.seen
                    .runs(number, self.seen.template.version, incarnation + 1);
                self.decide();
                self.seen.etcd.members.insert(member.clone(), well);
                self.seen
                    .runs(number, self.seen.template.version, incarnation + 1);
                self.seen.status(number).ready = Err("starting".to_owned());
                self.decide();
                self.seen.status(number).ready = Ok(());
                let committed = self.seen.etcd.committed();
                self.seen.status(number).raft_applied_index = committed - 700;
                self.decide();
                self.seen.status(number).raft_applied_index = committed - 500;
                self.decide();
                self.seen.status(number).raft_applied_index = committed;
            }
        }
    }

    fn agree(&mut self) {
        let runs: Vec<_> = self
            .seen
            .etcd
            .answers()
            .map(|(_, it)| it.version.minor)
            .collect();
        let lowest = runs.into_iter().min();
        for number in 1..=3 {
            self.seen.status(number).cluster_version = lowest;
        }
    }

    fn run(&mut self) {
        for _ in 0..60 {
            match self.decide() {
                Step::Act(act) => self.act(&act),
                Step::Look(_) => {}
                Step::Wait(_) => self.agree(),
                Step::Done | Step::Refuse(_) | Step::Halt(_) => return,
            }
        }
        panic!("no end: {:?}", self.told.last());
    }

    fn lines(&self) -> Vec<String> {
        self.told
            .iter()
            .map(|told| {
                let of = |it: &Option<String>| it.clone().unwrap_or_default();
                let members: Vec<_> = told
                    .members
                    .iter()
                    .flatten()
                    .map(|it| of(&it.phase).chars().take(4).collect::<String>())
                    .collect();
                format!(
                    "{} {}: {}",
                    of(&told.phase),
                    members.join(" "),
                    of(&told.message)
                )
            })
            .collect()
    }
}

fn up() -> Walk {
    Walk::new(want(NEW), Record::new(Make::plain(OLD), NOW), seen(OLD))
}

#[test]
fn the_way_up_is_told_in_few_words() {
    let mut walk = up();
    walk.run();
    let expected = [
        "Preflight Pend Pend Pend: checking whether it may begin",
        "Snapshot Pend Pend Pend: a full snapshot is being taken and verified",
        "Rolling Pend Pend Pend: 0 of 3 members run 3.5.27",
        "Rolling Pend Pend Repl: m3 is being replaced, 3.4.34 by 3.5.27",
        "Rolling Pend Repl Repl: m2 is being replaced, 3.4.34 by 3.5.27",
        "Rolling Pend Repl Repl: 2 of 3 members run 3.5.27",
        "Rolling Repl Repl Repl: m1 is being replaced, 3.4.34 by 3.5.27",
        "Finalizing Repl Repl Repl: all members run 3.5.27; the cluster has to agree on it",
        "Succeeded Repl Repl Repl: all members run 3.5.27",
    ];
    assert_eq!(walk.lines(), expected);
    assert_eq!(walk.events, ["UpgradeStarted", "UpgradeSucceeded"]);
    let last = walk.told.last().unwrap();
    let snapshot = last.snapshot.as_ref().unwrap();
    assert_eq!((snapshot.revision, snapshot.size), (Some(50), Some(1234)));
    assert_eq!(last.finished_at, Some(Time::seconds(NOW)));
    assert_eq!(last.direction.as_deref(), Some("Upgrade"));
    let back = Record::read(last.record.as_ref().unwrap(), &Template::default()).unwrap();
    assert_eq!(back, walk.record);
}

#[test]
fn the_way_back_is_one_too() {
    let mut walk = up();
    walk.run();
    walk.told.clear();
    walk.events.clear();
    walk.want = want(OLD);
    walk.run();
    assert_eq!(
        walk.lines()[1],
        "Rolling Pend Pend Pend: 0 of 3 members run 3.4.34"
    );
    assert_eq!(walk.lines().len(), 8);
    assert_eq!(walk.events, ["RollbackStarted", "RollbackSucceeded"]);
    assert_eq!(walk.told[0].direction.as_deref(), Some("Rollback"));
}

#[test]
fn a_cluster_that_was_never_upgraded_has_nothing_to_tell() {
    let decision = decide(
        &want(OLD),
        &Record::new(Make::plain(OLD), NOW),
        &seen(OLD),
        NOW,
    );
    assert_eq!(shown(&decision, &seen(OLD), None, None, NOW), None);
}

#[test]
fn a_refusal_is_told_once_however_often_it_is_judged() {
    let mut walk = up();
    walk.seen.silent(2);
    for second in 0..5 {
        walk.now = after(second);
        walk.seen.status(3).raft_applied_index = 100 + second.unsigned_abs();
        walk.seen.status(1).db_size = 900 + second.unsigned_abs();
        walk.decide();
        walk.decide();
    }
    let expected = [
        "Preflight Pend Pend Pend: checking whether it may begin",
        "Refused Pend Pend Pend: m2 does not answer: refused: start m2, or check its endpoint, \
         certificates and network; m3 is more than 100 raft entries behind: wait until m3 has \
         caught up; if it does not, look at its disk; m1 uses more than 80% of its database quota \
         of 1000 bytes: compact and defragment m1, or raise --quota-backend-bytes",
    ];
    assert_eq!(walk.lines(), expected);
    assert_eq!(walk.told[1].reason.as_deref(), Some("MemberUnreachable"));
    assert_eq!(walk.events, ["UpgradeRefused"]);
}

#[test]
fn a_halt_says_how_to_end_it() {
    let mut walk = up();
    for attempt in 1..=3 {
        while !matches!(
            walk.decide(),
            Step::Act(Act::TakeSnapshot(_)) | Step::Halt(_)
        ) {}
        walk.seen.snapshot_name = walk.record.snapshot_name();
        walk.seen.snapshot = SnapshotWork::Failed(format!("disk {attempt}"));
    }
    walk.run();
    let last = walk.told.last().unwrap();
    assert_eq!(last.phase.as_deref(), Some("Blocked"));
    assert_eq!(last.reason.as_deref(), Some("SnapshotFailed"));
    assert_eq!(last.attempts, Some(3));
    assert_eq!(
        last.message.as_deref().unwrap(),
        "3 snapshots failed, the last one because: disk 3; no member was touched: repair the backup \
         store, then acknowledge the halt to try again (annotate the Etcd with \
         druid.gardener.cloud/acknowledge-upgrade-halt=1)"
    );
    assert_eq!(walk.events, ["UpgradeStarted", "UpgradeHalted"]);
    let mut status = EtcdStatus::default();
    let decision = Decision {
        record: walk.record.clone(),
        step: Step::Halt(walk.record.halt.clone().unwrap()),
    };
    let told = shown(&decision, &walk.seen, None, Some(last), after(9)).unwrap();
    assert!(told.phase.is_halted());
    told.apply(&mut status, after(9));
    let condition = &status.conditions.as_ref().unwrap()[0];
    assert_eq!(
        (&*condition.kind, &*condition.status),
        ("UpgradeComplete", "False")
    );
    assert_eq!(condition.reason, "SnapshotFailed");
    assert_eq!(status.upgrade.as_ref(), Some(last));
}

#[test]
fn a_member_that_takes_long_is_told_with_what_it_is_missing() {
    let (record, mut seen) = replacing(OLD, NEW);
    seen.silent(3);
    let told_at = |seconds, before: Option<&UpgradeStatus>| {
        let decision = decide(&want(NEW), &record, &seen, after(seconds));
        shown(&decision, &seen, None, before, after(seconds)).unwrap()
    };
    let early = told_at(14, None);
    assert_eq!((early.phase, &early.reason), (ShownPhase::Rolling, &None));
    assert_eq!(early.message, "m3 is being replaced, 3.4.34 by 3.5.27");
    assert_eq!(early.next_change, Some(after(15)));
    let late = told_at(15, Some(&early.status));
    assert_eq!(late.phase, ShownPhase::Rolling);
    assert_eq!(late.reason.as_deref(), Some("ComingUp"));
    assert_eq!(
        late.message,
        "m3 is coming up on 3.5.27: does not answer: refused"
    );
    assert_eq!(
        late.status.last_transition_time,
        early.status.last_transition_time
    );
    assert_eq!(late.event(Some(&early.status)), None);
    let expected = after(120) + SignedDuration::from_nanos(1);
    assert_eq!(late.next_change, Some(expected));
}

#[test]
fn a_member_that_is_put_back_and_the_halt_after_it_are_warned_of() {
    let (mut record, mut seen) = replacing(OLD, NEW);
    let trouble = Trouble::Failing {
        exits: 2,
        last_words: "bad flag".to_owned(),
    };
    record.current.as_mut().unwrap().failed = Some(trouble.clone());
    record.phase = Phase::PuttingBack;
    seen.template = Make::plain(OLD);
    let decision = Decision {
        record: record.clone(),
        step: Step::Act(Act::Restart {
            member: name(3),
            incarnation: 2,
        }),
    };
    let told = shown(&decision, &seen, None, None, NOW).unwrap();
    assert_eq!(
        told.message,
        "m3 is being put back to 3.4.34: it keeps ending: bad flag"
    );
    let event = told.event(None).unwrap();
    assert_eq!(
        (event.warning, &*event.reason),
        (true, "UpgradeMemberFailed")
    );
    let halt = Halt::PutBack {
        member: name(3),
        version: NEW,
        back: OLD,
        trouble,
    };
    record.phase = Phase::RolledBack;
    record.current = None;
    record.members.insert(name(3), MemberPhase::PutBack);
    record.halt = Some(halt.clone());
    let decision = Decision {
        record,
        step: Step::Halt(halt),
    };
    let back = shown(&decision, &seen, None, Some(&told.status), NOW).unwrap();
    assert_eq!(back.finding().reason, "PutBack");
    assert_eq!(
        back.event(Some(&told.status)).unwrap().reason,
        "UpgradeRolledBack"
    );
    assert_eq!(back.event(Some(&back.status)), None);
    let last = back.status.members.unwrap().pop().unwrap();
    assert_eq!(last.phase.as_deref(), Some("PutBack"));
}

#[test]
fn who_waits_is_told_for_what() {
    let (mut record, mut seen) = (ready(OLD, NEW), seen(OLD));
    let told = |want: &Want, record: &Record, seen: &Observed, seconds| {
        let decision = decide(want, record, seen, after(seconds));
        shown(&decision, seen, None, None, after(seconds)).unwrap()
    };
    let paused = Want {
        policy: Policy {
            paused: true,
            ..Policy::default()
        },
        ..want(NEW)
    };
    let shown = told(&paused, &record, &seen, 0);
    assert_eq!(shown.phase, ShownPhase::Paused);
    assert_eq!(
        shown.message,
        "paused: set spec.upgrade.paused to false to go on"
    );
    assert_eq!(shown.event(None).unwrap().reason, "UpgradePaused");
    assert_eq!(shown.finding().reason, "Paused");
    seen.silent(2);
    record.touched = true;
    let shown = told(&want(NEW), &record, &seen, 0);
    assert_eq!(shown.phase, ShownPhase::Waiting);
    assert_eq!(shown.reason.as_deref(), Some("Unhealthy"));
    assert_eq!(shown.message, "m2 does not answer: refused");
    assert_eq!(shown.event(None).unwrap().reason, "UpgradeStarted");
    record.waiting = Some(("Unhealthy".to_owned(), NOW));
    let late = told(&want(NEW), &record, &seen, 31);
    assert_eq!(late.message, "m2 does not answer: refused (overdue)");
    let event = late.event(Some(&shown.status)).unwrap();
    assert_eq!((event.warning, &*event.reason), (true, "UpgradeOverdue"));
    assert_eq!(late.event(Some(&late.status)), None);
    // What is waited for survives a crash.
    let stored = late.status.record.unwrap();
    assert_eq!(stored.waiting.unwrap().code, "Unhealthy");
}

#[test]
fn a_task_that_is_gone_is_still_told_of() {
    let record = ready(OLD, NEW);
    let mut seen = seen(OLD);
    seen.snapshot_name = record.snapshot_name();
    seen.snapshot = SnapshotWork::Verified {
        revision: 50,
        bytes: 77,
        sha256: "00".to_owned(),
    };
    let decision = Decision {
        record,
        step: Step::Act(Act::SetTemplate(NEW)),
    };
    let task = SnapshotTask {
        name: "e-upgrade-1-try-1".to_owned(),
        object: Some("v2/Full-0-50".to_owned()),
    };
    let told = shown(&decision, &seen, Some(&task), None, NOW).unwrap();
    let snapshot = told.status.snapshot.clone().unwrap();
    assert_eq!(snapshot.name.as_deref(), Some("v2/Full-0-50"));
    assert_eq!(snapshot.size, Some(77));
    seen.snapshot = SnapshotWork::Absent;
    let again = shown(&decision, &seen, None, Some(&told.status), after(9)).unwrap();
    assert_eq!(again.status, told.status);
}

#[test]
fn every_phase_has_its_word() {
    for phase in ShownPhase::ALL {
        assert_eq!(ShownPhase::read(phase.word()), Some(phase));
    }
    assert_eq!(ShownPhase::read("Levitating"), None);
}

/// What may happen to a cluster between two looks.
#[derive(Clone, Debug)]
enum Happens {
    Nothing,
    Silent(u64),
    Well(u64),
    Absent(u64),
    Failing(u64),
    Behind(u64),
    NewTarget(bool),
    Paused(bool),
    Snapshot(SnapshotWork),
    DataDiffer,
    Later(i64),
    Agreed(bool),
}

fn what_happens() -> impl Strategy<Value = Happens> {
    let work = prop_oneof![
        Just(SnapshotWork::Taking),
        Just(SnapshotWork::Rejected("busy".to_owned())),
        Just(SnapshotWork::Failed("disk".to_owned())),
        Just(SnapshotWork::Taken),
        Just(SnapshotWork::Verified {
            revision: 50,
            bytes: 1,
            sha256: "ab".to_owned(),
        }),
    ];
    prop_oneof![
        4 => Just(Happens::Nothing),
        1 => (1..=3_u64).prop_map(Happens::Silent),
        3 => (1..=3_u64).prop_map(Happens::Well),
        1 => (1..=3_u64).prop_map(Happens::Absent),
        1 => (1..=3_u64).prop_map(Happens::Failing),
        1 => (1..=3_u64).prop_map(Happens::Behind),
        1 => any::<bool>().prop_map(Happens::NewTarget),
        1 => any::<bool>().prop_map(Happens::Paused),
        3 => work.prop_map(Happens::Snapshot),
        1 => Just(Happens::DataDiffer),
        2 => (1..200_i64).prop_map(Happens::Later),
        2 => any::<bool>().prop_map(Happens::Agreed),
    ]
}

fn happen(walk: &mut Walk, what: Happens) {
    let runs = |walk: &Walk, number| {
        let process = &walk.seen.processes[&name(number)];
        process.version().unwrap_or(walk.seen.template.version)
    };
    match what {
        Happens::Nothing => {}
        Happens::Silent(number) => walk.seen.silent(number),
        Happens::Well(number) => {
            let version = runs(walk, number);
            let well = seen(version).etcd.members[&name(number)].clone();
            walk.seen.etcd.members.insert(name(number), well);
            walk.seen.runs(number, version, 5);
        }
        Happens::Absent(number) => {
            walk.seen.silent(number);
            walk.seen.processes.insert(name(number), Process::Absent);
        }
        Happens::Failing(number) => {
            let failing = Process::Failing {
                incarnation: 4,
                make: Make::plain(runs(walk, number)),
                exits: 2,
                last_words: "bad".to_owned(),
            };
            walk.seen.silent(number);
            walk.seen.processes.insert(name(number), failing);
        }
        Happens::Behind(number) => {
            if walk.seen.etcd.members[&name(number)].status().is_some() {
                walk.seen.status(number).raft_applied_index = 7;
            }
        }
        Happens::NewTarget(up) => walk.want.target = Make::plain(if up { NEW } else { OLD }),
        Happens::Paused(paused) => walk.want.policy.paused = paused,
        Happens::Snapshot(work) => {
            walk.seen.snapshot_name = walk.record.snapshot_name();
            walk.seen.snapshot = work;
        }
        Happens::DataDiffer => {
            let hashes = [(name(1), 1), (name(2), 2)].into();
            let hashes = Hashes::Different {
                revision: 9,
                hashes,
            };
            walk.seen.looked = Looked::Data(hashes);
        }
        Happens::Later(seconds) => walk.now += SignedDuration::from_secs(seconds),
        Happens::Agreed(new) => {
            let minor = if new {
                Minor::new(3, 5)
            } else {
                Minor::new(3, 4)
            };
            for number in 1..=3 {
                if walk.seen.etcd.members[&name(number)].status().is_some() {
                    walk.seen.status(number).cluster_version = Some(minor);
                }
            }
        }
    }
}

/// The same cluster a moment later: everything that grows has grown.
fn grown(seen: &Observed) -> Observed {
    let mut seen = seen.clone();
    for number in 1..=3 {
        if seen.etcd.members[&name(number)].status().is_some() {
            let status = seen.status(number);
            status.raft_index += 1;
            status.raft_applied_index += 1;
            status.revision += 1;
            status.db_size += 1;
            status.db_size_in_use += 1;
        }
    }
    seen
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn as_long_as_nothing_changes_the_same_is_told(
        way in prop::collection::vec(what_happens(), 0..40),
    ) {
        let mut walk = up();
        for what in way {
            happen(&mut walk, what);
            let step = walk.decide();
            let Some(told) = walk.told.last().cloned() else { continue };
            let decision = Decision { record: walk.record.clone(), step: step.clone() };
            let grown = grown(&walk.seen);
            let again = shown(&decision, &grown, None, Some(&told), walk.now).unwrap();
            prop_assert_eq!(&again.status, &told);
            prop_assert_eq!(again.event(Some(&told)), None);
            // Nor when it is decided again.
            if !matches!(step, Step::Act(_)) {
                walk.look();
                let decision = decide(&walk.want, &walk.record, &grown, walk.now);
                if decision.step == step {
                    let again = shown(&decision, &grown, None, Some(&told), walk.now).unwrap();
                    prop_assert_eq!(&again.status, &told);
                    if let Some(next) = again.next_change {
                        prop_assert!(next > walk.now);
                        let just_before = next - SignedDuration::from_nanos(1);
                        let decision = decide(&walk.want, &walk.record, &grown, just_before);
                        if decision.step == step {
                            let again =
                                shown(&decision, &grown, None, Some(&told), just_before).unwrap();
                            prop_assert_eq!(&again.status, &told);
                        }
                    }
                }
            }
            if let Step::Act(act @ (Act::SetTemplate(_) | Act::MoveLeader { .. })) = &step
                && walk.seen.etcd.answers().count() == 3
            {
                walk.act(act);
            }
            if let Step::Act(Act::Restart { member, .. }) = &step {
                let number = member.0[1..].parse().unwrap();
                let version = walk.seen.template.version;
                walk.seen.runs(number, version, 6);
            }
        }
    }
}
