//! `druid rehearse`, held on real processes: the undisturbed runs, every fault, and bad input. One
//! rehearsal at a time: they are to be disturbed by their faults and not by each other.

mod common_rehearse;

use common_rehearse::{Held, no_orphans, rehearse, rehearse_in};
use druid_core::report::{Outcome, Pass, Report};
use druid_core::version::Version;

const OLD: Version = Version::new(3, 4, 34);
const NEW: Version = Version::new(3, 5, 27);

/// What holds whatever was done to it.
fn nothing_was_lost(report: &Report) {
    assert!(report.writes.acknowledged > 50, "{:?}", report.writes);
    assert_eq!(report.writes.lost, 0);
    assert!(report.watch.events > 50, "{:?}", report.watch);
    assert_eq!((report.watch.missing, report.watch.duplicated), (0, 0));
    assert_eq!(report.linearizable, Some(true));
    assert_eq!(report.broken_promises(), Vec::<String>::new());
}

/// A run that went up, back and, if asked, up again; every member once each way.
fn passed(held: &Held, passes: &[Pass]) -> Report {
    let report = held.report();
    assert_eq!(
        (report.outcome, held.code),
        (Outcome::Passed, 0),
        "{}",
        held.text
    );
    nothing_was_lost(&report);
    assert_eq!(report.hash_kv.equal, Some(true));
    let directions: Vec<_> = report.rolls.iter().map(|roll| roll.direction).collect();
    assert_eq!(directions, passes);
    for roll in &report.rolls {
        assert_eq!(roll.restarts, report.members.len() as u64, "{roll:?}");
    }
    let way = [OLD, NEW, OLD, NEW];
    for member in &report.members {
        assert_eq!(member.versions, &way[..=passes.len()], "{}", member.name);
    }
    let snapshot = report.snapshot.clone().expect("a snapshot");
    assert!(snapshot.revision > 0 && snapshot.bytes > 0 && snapshot.sha256.len() == 64);
    report
}

const ALL: &[Pass] = &[Pass::Upgrade, Pass::Rollback, Pass::UpgradeAgain];

#[test]
fn three_members_go_up_back_and_up_again() {
    let held = rehearse(&["--keys", "2000", "--seed", "7"]);
    let report = passed(&held, ALL);
    assert_eq!(report.seed, 7);
    for roll in &report.rolls {
        assert_eq!(roll.leader_changes, 1, "{roll:?}");
    }
    assert_eq!(held.transcript(), include_str!("golden/rehearsal.txt"));
    let html = held.file("report.html");
    assert!(html.contains("no acknowledged write was lost"), "{html}");
    for reference in ["src=", "href=", "url(http", "@import", "<script"] {
        assert!(
            !html.contains(reference),
            "the page is not self-contained: {reference}"
        );
    }
}

#[test]
fn one_member_goes_up_back_and_up_again() {
    passed(&rehearse(&["--keys", "500", "--members", "1"]), ALL);
}

#[test]
fn five_members_go_up_and_back() {
    let run = [
        "--keys",
        "500",
        "--members",
        "5",
        "--stop-after",
        "rollback",
    ];
    passed(&rehearse(&run), &ALL[..2]);
}

#[test]
fn the_leader_is_killed() {
    let run = [
        "--keys",
        "500",
        "--fault",
        "kill-leader",
        "--stop-after",
        "rollback",
    ];
    let held = rehearse(&run);
    let report = passed(&held, &ALL[..2]);
    let recovered: u64 = report.members.iter().map(|member| member.restarts).sum();
    assert_eq!(recovered, 3 * 2 + 2, "two kills and six demanded restarts");
    assert!(
        held.text.contains("fault: the leader is killed"),
        "{}",
        held.text
    );
}

#[test]
fn the_engine_is_killed_at_every_boundary() {
    let run = [
        "--keys",
        "500",
        "--fault",
        "kill-engine",
        "--stop-after",
        "rollback",
    ];
    let held = rehearse(&run);
    let report = passed(&held, &ALL[..2]);
    for member in &report.members {
        assert_eq!(
            member.restarts, 2,
            "{}: once in each direction",
            member.name
        );
    }
    let acts = held.acts();
    assert!(acts.len() >= 9, "{acts:?}");
    for act in acts {
        for side in ["before", "after"] {
            let killed = format!("fault: the engine is killed at {act}: {side}");
            assert!(held.count(&killed) > 0, "not `{killed}`: {}", held.text);
        }
    }
    assert!(held.count(": before recording") >= 10, "{}", held.text);
}

#[test]
fn a_follower_is_slow() {
    let run = [
        "--keys",
        "500",
        "--fault",
        "slow-follower",
        "--stop-after",
        "upgrade",
    ];
    passed(&rehearse(&run), &ALL[..1]);
}

const STORE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/store");

#[test]
fn a_backup_goes_up_back_and_up_again_and_its_keys_survive() {
    let held = rehearse(&["--from-store", STORE]);
    let report = passed(&held, ALL);
    let source = report.source.expect("a source");
    assert_eq!(source.base, "v2/Full-00000000-00000101-1795355041.gz");
    assert_eq!((source.deltas, source.revision, source.keys), (1, 102, 101));
    assert!(source.database_bytes >= source.bytes_in_use && source.bytes_in_use > 0);
    // One of the keys has a lease.
    assert_eq!((source.survived.keys, source.survived.checks), (100, 3));
    assert_eq!(source.survived.same, Some(true));
    assert!(report.snapshot.unwrap().revision > 102);
    assert!(
        !report.steps.iter().any(|step| step.name == "fill"),
        "it has data of its own"
    );
    let codes: Vec<_> = report.warnings.iter().map(|it| it.code.as_str()).collect();
    assert_eq!(codes, ["FreelistType", "MetricsRemoved", "FlagsRemoved"]);
    assert_eq!(held.count("the same in 3 checks"), 1, "{}", held.text);
    let html = held.file("report.html");
    for words in ["The data of the backup is as it was", "MetricsRemoved"] {
        assert!(html.contains(words), "{words}: {html}");
    }
}

#[test]
fn a_backup_is_rehearsed_with_as_many_keys_more_as_asked_for() {
    let run = ["--from-store", STORE, "--keys", "200", "--members", "1"];
    let held = rehearse(&[&run[..], &["--stop-after", "upgrade"]].concat());
    let report = passed(&held, &ALL[..1]);
    assert_eq!(report.source.unwrap().survived.same, Some(true));
    assert!(report.steps.iter().any(|step| step.name == "fill"));
}

#[test]
fn a_damaged_backup_is_refused_by_the_name_of_the_object() {
    for name in [
        "Full-00000000-00000101-1795355041.gz",
        "Incr-00000102-00000102-1795355046.gz",
    ] {
        let copy = tempfile::tempdir().unwrap();
        std::fs::create_dir(copy.path().join("v2")).unwrap();
        for entry in std::fs::read_dir(format!("{STORE}/v2")).unwrap() {
            let entry = entry.unwrap();
            let mut bytes = std::fs::read(entry.path()).unwrap();
            if entry.file_name() == name {
                let middle = bytes.len() / 2;
                bytes[middle] ^= 1;
            }
            std::fs::write(copy.path().join("v2").join(entry.file_name()), bytes).unwrap();
        }
        let held = rehearse(&["--from-store", &copy.path().display().to_string()]);
        assert_eq!(held.code, 1, "{}", held.text);
        assert!(held.text.contains(&format!("v2/{name}")), "{}", held.text);
    }
}

/// A run that must not begin.
fn refused(fault: &str, code: &str, runs: Version) {
    let held = rehearse(&["--keys", "500", "--fault", fault]);
    let report = held.report();
    assert_eq!(
        (report.outcome, held.code),
        (Outcome::Refused, 3),
        "{}",
        held.text
    );
    nothing_was_lost(&report);
    let codes: Vec<_> = report
        .refusals
        .iter()
        .map(|refusal| refusal.code.as_str())
        .collect();
    assert!(codes.contains(&code), "{codes:?}");
    for refusal in &report.refusals {
        assert!(held.text.contains(&refusal.remedy), "{}", held.text);
    }
    assert_eq!(
        report.rolls.iter().map(|roll| roll.restarts).sum::<u64>(),
        0
    );
    for member in &report.members {
        assert_eq!(member.versions, [runs], "{}", member.name);
    }
}

#[test]
fn a_member_that_is_down_refuses() {
    refused("member-down", "MemberUnreachable", OLD);
}

#[test]
fn a_member_that_has_diverged_refuses() {
    refused("diverged-member", "HashMismatch", OLD);
}

#[test]
fn an_alarm_refuses() {
    refused("alarm", "AlarmActive", OLD);
}

#[test]
fn authentication_refuses() {
    refused("auth", "AuthEnabled", OLD);
}

#[test]
fn a_learner_refuses() {
    refused("learner", "LearnerPresent", OLD);
}

#[test]
fn a_downgrade_of_etcds_own_refuses() {
    refused("downgrade-enabled", "DowngradeInProgress", NEW);
}

/// A run that stops before the first member.
fn halted(fault: &str) {
    let held = rehearse(&["--keys", "500", "--fault", fault]);
    let report = held.report();
    assert_eq!(
        (report.outcome, held.code),
        (Outcome::Halted, 4),
        "{}",
        held.text
    );
    nothing_was_lost(&report);
    assert_eq!(report.refusals[0].code, "SnapshotFailed");
    assert_eq!(
        held.count("take full snapshot upgrade-1-try-3"),
        1,
        "{}",
        held.text
    );
    assert_eq!(held.count("try-4"), 0, "{}", held.text);
    for member in &report.members {
        assert_eq!(
            (&member.versions[..], member.restarts),
            (&[OLD][..], 0),
            "{}",
            member.name
        );
    }
}

#[test]
fn snapshots_that_fail_halt() {
    halted("snapshot-fails");
}

#[test]
fn snapshots_that_are_damaged_halt() {
    halted("snapshot-corrupt");
}

#[test]
fn a_release_that_does_not_start_is_put_back() {
    let held = rehearse(&["--keys", "500", "--fault", "bad-image"]);
    let report = held.report();
    assert_eq!(
        (report.outcome, held.code),
        (Outcome::PutBack, 4),
        "{}",
        held.text
    );
    nothing_was_lost(&report);
    assert_eq!(report.refusals[0].code, "PutBack");
    let tried: Vec<_> = report
        .members
        .iter()
        .filter(|m| m.versions.contains(&NEW))
        .collect();
    assert_eq!(tried.len(), 1, "one member tries it: {:?}", report.members);
    assert_eq!(tried[0].versions, [OLD, NEW, OLD]);
}

#[test]
fn the_last_one_is_held_and_the_way_back_is_open() {
    let run = ["--keys", "500", "--hold-last", "--stop-after", "rollback"];
    let held = rehearse(&run);
    let report = held.report();
    assert_eq!(
        (report.outcome, held.code),
        (Outcome::Passed, 0),
        "{}",
        held.text
    );
    nothing_was_lost(&report);
    let restarts: Vec<_> = report
        .rolls
        .iter()
        .map(|roll| (roll.restarts, roll.partial))
        .collect();
    assert_eq!(restarts, [(2, true), (2, false)]);
    assert!(
        held.text.contains("is the last one and is held"),
        "{}",
        held.text
    );
}

#[test]
fn it_pauses_after_as_many_as_asked() {
    let run = [
        "--keys",
        "500",
        "--pause-after",
        "1",
        "--stop-after",
        "upgrade",
    ];
    let report = rehearse(&run).report();
    assert_eq!(report.outcome, Outcome::Passed);
    assert_eq!(
        (report.rolls[0].restarts, report.rolls[0].partial),
        (1, true)
    );
}

#[test]
fn bad_input_is_named_and_leaves_nothing_behind() {
    let (old, new) = (common_rehearse::old(), common_rehearse::new());
    let table: &[(&[&str], i32, &str)] = &[
        (&["--from", "3.x"], 64, "`3.x` is not an etcd version"),
        (&["--members", "4"], 64, "choose 1, 3 or 5"),
        (&["--fault", "nonsense"], 64, "possible values: kill-leader"),
        (
            &["--to", "3.5.99"],
            1,
            "no etcd 3.5.99 was found; give --etcd 3.5.99=PATH",
        ),
        (
            &["--etcd", "3.5.99=/nowhere", "--to", "3.5.99"],
            1,
            "/nowhere does not exist",
        ),
        (
            &["--etcd", "3.5.99=/etc/passwd", "--to", "3.5.99"],
            1,
            "is not executable",
        ),
        (
            &["--members", "1", "--fault", "member-down"],
            1,
            "give --members 3",
        ),
        (&["--dir", "/nowhere"], 1, "/nowhere"),
        (&["--from-store", "/nowhere"], 1, "no snapshot is listed"),
        (&["--from-store", "ftp://x"], 1, "ftp:// is no store"),
        (&["--base", "Full-1"], 64, "--from-store <STORE>"),
    ];
    for (words, code, message) in table {
        let held = rehearse(words);
        assert_eq!(held.code, *code, "{words:?}: {}", held.text);
        assert!(held.text.contains(message), "{words:?}: {}", held.text);
        assert!(!held.text.contains("panicked"), "{}", held.text);
    }
    let swapped = rehearse_in(
        None,
        &[],
        &format!("3.4.34={new}"),
        &format!("3.5.27={old}"),
    );
    assert_eq!(swapped.code, 1);
    assert!(
        swapped
            .text
            .contains("is named for etcd 3.4.34 and reports 3.5.27"),
        "{}",
        swapped.text
    );
}

#[test]
fn an_interrupted_run_leaves_nothing_behind() {
    for (signal, code) in [("INT", 130), ("TERM", 130)] {
        let dir = tempfile::tempdir().unwrap();
        let mut run = common_rehearse::start(dir.path(), &["--keys", "200"]);
        run.wait_for("restart etcd-");
        run.signal(signal);
        assert_eq!(run.wait(), Some(code));
        no_orphans(dir.path());
        let left: Vec<_> = std::fs::read_dir(dir.path()).unwrap().collect();
        assert!(left.is_empty(), "{left:?}");
    }
}

#[test]
fn a_killed_run_leaves_no_process_behind() {
    let dir = tempfile::tempdir().unwrap();
    let mut run = common_rehearse::start(dir.path(), &["--keys", "200"]);
    run.wait_for("restart etcd-");
    run.signal("KILL");
    assert_eq!(run.wait(), None);
    no_orphans(dir.path());
}
