//! Everything that druid says of an upgrade, word for word: people search for these sentences, and
//! programs for the codes. `UPDATE_GOLDEN=1` rewrites the file.
#![allow(
    clippy::unwrap_used,
    clippy::too_many_lines,
    reason = "a list of everything"
)]

use druid_core::member::{MemberId, MemberName};
use druid_core::observed::AlarmKind;
use druid_core::refusal::Refusal;
use druid_core::upgrade::{Act, Halt, Needs, Step, Trouble, Wait, Why};
use druid_core::version::{Direction, KNOWN_BAD, Minor, StepRefusal, Version};
use jiff::Timestamp;

const OLD: Version = Version::new(3, 4, 34);
const NEW: Version = Version::new(3, 5, 27);

fn m1() -> MemberName {
    MemberName::from("m1")
}

fn refusals() -> Vec<Refusal> {
    let step = |step| Refusal::VersionStepUnsupported(step);
    let floor = Version::new(3, 5, 26);
    let (from, to) = (OLD, NEW);
    vec![
        step(StepRefusal::UnknownMinor(Minor::new(3, 7))),
        step(StepRefusal::SkipsMinor {
            from,
            to: Version::new(3, 6, 15),
        }),
        step(StepRefusal::KnownBad {
            to: Version::new(3, 5, 0),
            why: KNOWN_BAD[4],
        }),
        step(StepRefusal::SourceTooOld { from, to, floor }),
        step(StepRefusal::TargetTooOld { from, to, floor }),
        step(StepRefusal::Untested { from, to }),
        Refusal::VersionSkew {
            member: m1(),
            found: NEW,
            expected: OLD,
        },
        Refusal::MemberUnreachable {
            member: m1(),
            why: "refused".to_owned(),
        },
        Refusal::MemberNotReady {
            member: m1(),
            why: "no leader".to_owned(),
        },
        Refusal::MemberCountMismatch {
            listed: 3,
            given: 2,
            absent: vec!["m3".to_owned()],
        },
        Refusal::MemberCountMismatch {
            listed: 1,
            given: 2,
            absent: Vec::new(),
        },
        Refusal::LearnerPresent { member: m1() },
        Refusal::NoStableLeader {
            why: "the term changed".to_owned(),
        },
        Refusal::RaftLag {
            member: m1(),
            behind: 101,
            allowed: 100,
        },
        Refusal::AlarmActive {
            member: MemberId(0xabc),
            kind: AlarmKind::NoSpace,
        },
        Refusal::AlarmActive {
            member: MemberId::NOBODY,
            kind: AlarmKind::Corrupt,
        },
        Refusal::AlarmActive {
            member: MemberId::NOBODY,
            kind: AlarmKind::Unknown,
        },
        Refusal::HashMismatch {
            revision: 5,
            hashes: "m1 1, m2 2".to_owned(),
        },
        Refusal::QuotaHeadroom {
            member: m1(),
            db_size: 90,
            quota: 100,
        },
        Refusal::AuthEnabled,
        Refusal::DowngradeInProgress { member: m1() },
        Refusal::ConfigKeyUnsupported {
            key: "debug".to_owned(),
            why: "3.5 ignores it".to_owned(),
            remedy: "write log-level".to_owned(),
        },
        Refusal::ClusterVersionUnexpected {
            member: m1(),
            found: Some(OLD.minor),
            expected: NEW.minor,
        },
        Refusal::ClusterVersionUnexpected {
            member: m1(),
            found: None,
            expected: NEW.minor,
        },
        Refusal::SidecarCannotVerify,
    ]
}

fn troubles() -> Vec<Trouble> {
    vec![
        Trouble::Absent,
        Trouble::Failing {
            exits: 2,
            last_words: "fatal".to_owned(),
        },
        Trouble::Silent("refused".to_owned()),
        Trouble::Learner,
        Trouble::NotListed,
        Trouble::NotReady("no leader".to_owned()),
        Trouble::NoLeader,
        Trouble::Behind(101),
        Trouble::OtherVersion(OLD),
        Trouble::NoWrites("no space".to_owned()),
        Trouble::TargetChanged,
    ]
}

fn whys() -> Vec<Why> {
    let s1 = || "s1".to_owned();
    vec![
        Why::Paused,
        Why::PausedAfter {
            replaced: 1,
            members: 3,
        },
        Why::HeldLast { member: m1() },
        Why::PreflightUnknown(vec!["auth".to_owned(), "alarms".to_owned()]),
        Why::SnapshotTaking(s1()),
        Why::SnapshotVerifying(s1()),
        Why::SnapshotRejected {
            name: s1(),
            why: "busy".to_owned(),
        },
        Why::GoingDown { member: m1() },
        Why::ComingUp {
            member: m1(),
            version: NEW,
            trouble: Trouble::NoLeader,
        },
        Why::Unhealthy {
            member: m1(),
            trouble: Trouble::NoLeader,
        },
        Why::NotComparable("compacted".to_owned()),
        Why::MembershipUnknown("refused".to_owned()),
        Why::MembershipDiffers {
            listed: 4,
            expected: 3,
        },
        Why::AlarmsUnknown("refused".to_owned()),
        Why::AlarmActive(AlarmKind::NoSpace),
        Why::NoLeader,
        Why::NoSuccessor,
        Why::ClusterVersion {
            member: m1(),
            found: Some(OLD.minor),
            expected: NEW.minor,
        },
        Why::ClusterVersion {
            member: m1(),
            found: None,
            expected: NEW.minor,
        },
    ]
}

fn halts() -> Vec<Halt> {
    let trouble = Trouble::NoLeader;
    vec![
        Halt::SnapshotFailed {
            failures: 3,
            last: "disk full".to_owned(),
        },
        Halt::PutBack {
            member: m1(),
            version: NEW,
            back: OLD,
            trouble: trouble.clone(),
        },
        Halt::StaysDown {
            member: m1(),
            trouble: trouble.clone(),
        },
        Halt::PutBackFailed {
            member: m1(),
            version: OLD,
            trouble,
        },
        Halt::HashMismatch {
            revision: 5,
            hashes: "m1 1, m2 2".to_owned(),
        },
        Halt::Corrupt,
    ]
}

fn steps() -> Vec<Step> {
    let act = Step::Act;
    let now = Timestamp::UNIX_EPOCH;
    let wait = |overdue| {
        Step::Wait(Wait {
            why: Why::NoLeader,
            since: now,
            deadline: Some(now),
            overdue,
        })
    };
    vec![
        Step::Done,
        Step::Look(Needs::Nothing),
        Step::Look(Needs::Preflight),
        Step::Look(Needs::Member(m1())),
        Step::Look(Needs::Data),
        act(Act::TakeSnapshot("s1".to_owned())),
        act(Act::VerifySnapshot("s1".to_owned())),
        act(Act::SetTemplate(NEW)),
        act(Act::MoveLeader {
            from: m1(),
            to: MemberName::from("m2"),
        }),
        act(Act::Restart {
            member: m1(),
            incarnation: 1,
        }),
        wait(false),
        wait(true),
        Step::Refuse(vec![
            Refusal::AuthEnabled,
            Refusal::LearnerPresent { member: m1() },
        ]),
        Step::Halt(Halt::Corrupt),
    ]
}

#[test]
fn every_sentence_is_the_agreed_one() {
    let mut text = String::new();
    let mut line = |words: String| text.push_str(&(words + "\n"));
    for refusal in refusals() {
        let report = refusal.report();
        let member = report.member.clone().unwrap_or_default();
        line(format!("refusal {} [{member}] {}", report, report.remedy));
        assert_eq!(report.code, refusal.code());
    }
    for trouble in troubles() {
        line(format!("trouble m1 {trouble}"));
    }
    for why in whys() {
        line(format!(
            "wait {} for a person: {}: {why}",
            why.code(),
            why.is_for_a_person()
        ));
    }
    for halt in halts() {
        line(format!("halt {}: {halt} [{}]", halt.code(), halt.remedy()));
    }
    for step in steps() {
        line(format!("step {step}"));
    }
    line(format!(
        "{} {} {}",
        Direction::Upgrade,
        Direction::Downgrade,
        Direction::Same
    ));
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/words.txt");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(path, &text).unwrap();
    }
    let golden = std::fs::read_to_string(path).unwrap_or_default();
    assert_eq!(text, golden, "UPDATE_GOLDEN=1 rewrites {path}");
}
