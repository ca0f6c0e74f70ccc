//! Everything that is said of a task, word for word: people search for these sentences, and programs
//! for the codes. `UPDATE_GOLDEN=1` rewrites the file.

use std::fmt::Write as _;
use std::path::Path;

use druid_core::ops_task::{Obstacle, Trouble, Unsupported};
use druid_core::restore_plan::Hole;
use jiff::SignedDuration;

/// What is wrong with the task, its Etcd, or the way to its sidecars.
fn before() -> Vec<Trouble> {
    let text = str::to_owned;
    vec![
        Trouble::EtcdMissing {
            namespace: text("ns"),
            name: text("main"),
        },
        Trouble::EtcdUnreadable(text("missing field")),
        Trouble::EtcdLeaving(text("main")),
        Trouble::Forbidden {
            what: text("Etcds"),
            why: text("403"),
        },
        Trouble::NoStore(text("main")),
        Trouble::NotReady {
            name: text("main"),
            status: text("False"),
            why: text(" (QuorumLost: 1 of 3)"),
        },
        Trouble::Hibernated(text("main")),
        Trouble::Unsupported(Unsupported::Unreadable(text("missing field"))),
        Trouble::Unsupported(Unsupported::Unknown),
        Trouble::Unsupported(Unsupported::Unconfirmed),
        Trouble::Unsupported(Unsupported::Patience {
            field: "podReadyTimeout",
            text: text("soon"),
        }),
        Trouble::OneMember(text("main")),
        Trouble::Unsupported(Unsupported::NoMaintenance),
        Trouble::Unsupported(Unsupported::NoCompaction("compactionAge")),
        Trouble::Unsupported(Unsupported::TwoTargets),
        Trouble::Unsupported(Unsupported::Target {
            field: "compactionAge",
            text: text("0s"),
            remedy: "make a task with a duration such as 30m or 1h30m",
        }),
        Trouble::Unsupported(Unsupported::Several),
        Trouble::Unsupported(Unsupported::SnapshotType(text("half"))),
        Trouble::Unsupported(Unsupported::FinalDelta),
        Trouble::Unsupported(Unsupported::NoEtcd),
        Trouble::Port {
            name: text("main"),
            port: 70_000,
        },
        Trouble::CaUnnamed(text("there is no StatefulSet ns/main")),
        Trouble::CaUnknown(text("get the Secret: refused")),
        Trouble::CaSecret {
            secret: text("ns/ca"),
            why: text("it does not exist"),
        },
        Trouble::CaKey {
            secret: text("ca"),
            keys: text("bundle.crt or ca.crt"),
        },
        Trouble::CaCertificate {
            secret: text("ns/ca"),
            why: text("there is no certificate in it"),
        },
    ]
}

/// What stands against maintenance and compaction.
fn meanwhile() -> Vec<Trouble> {
    let text = str::to_owned;
    vec![
        Trouble::BackupsUnknown(text("status 503: busy")),
        Trouble::NothingCovered,
        Trouble::Uncovered {
            wanted: 81,
            covered: 80,
        },
        Trouble::Hole(Hole {
            from: 41,
            to: 60,
            next: text("Incr-00000061-00000080-1795355041"),
        }),
        Trouble::OtherHistory {
            covered: 101,
            present: 100,
        },
        Trouble::Ahead {
            wanted: 101,
            present: 100,
        },
        Trouble::Undated,
        Trouble::NothingThatOld(SignedDuration::from_mins(90)),
        Trouble::JobUnmade(text("Secret bucket is missing")),
        Trouble::JobTaken(text("main-compactor")),
        Trouble::JobUnknown {
            job: text("main-compactor"),
            why: text("get the Job: refused"),
        },
        Trouble::JobFailed {
            job: text("main-compactor"),
            namespace: text("ns"),
            why: text("BackoffLimitExceeded"),
        },
        Trouble::NotCompacted {
            newest: text("Full-00000000-00000100-1795355041"),
            began: "2026-11-24T10:00:00Z".parse().unwrap(),
        },
        Trouble::Unwell(text("main-1: it has no pod")),
        Trouble::Corrupt,
        Trouble::Members(text("Secret ns/client is missing: create it")),
        Trouble::Rolling,
        Trouble::Step {
            step: text("Defragments member main-1"),
            why: text("no answer within 60s"),
        },
    ]
}

/// What stands against the recovery of a cluster.
fn without_quorum() -> Vec<Trouble> {
    let text = str::to_owned;
    let member = |name: &str| druid_core::member::MemberName(name.to_owned());
    let obstacles = [
        Obstacle::QuorumThere(member("main-1")),
        Obstacle::Unreached(text("main-0, main-1")),
        Obstacle::NoBackup,
        Obstacle::Unverified(text(
            "main-0: status 500: none of the 3 full snapshots can be used",
        )),
        Obstacle::NotStopped(text("main-1, main-2")),
        Obstacle::Unheard(text("main-2")),
        Obstacle::TwoClusters(member("main-0"), member("main-2")),
        Obstacle::NothingLeft,
        Obstacle::NoSeed(text("main-0 to serve")),
        Obstacle::NotWhole(text("main-2 to join and to vote")),
        Obstacle::Differ(81),
    ];
    let mut all: Vec<_> = obstacles.into_iter().map(Trouble::Recovery).collect();
    all.push(Trouble::Object {
        what: text("changing Lease main-0"),
        why: text("refused"),
    });
    all
}

/// What comes of a request.
fn after() -> Vec<Trouble> {
    let text = str::to_owned;
    vec![
        Trouble::Request(text("invalid uri character")),
        Trouble::Unreached(text(
            "http://main-client.ns:8080/snapshot/full: Connection refused",
        )),
        Trouble::TooLate(SignedDuration::from_secs(900)),
        Trouble::NotTaken {
            status: 500,
            text: text("no space left"),
        },
        Trouble::NotTaken {
            status: 405,
            text: String::new(),
        },
        Trouble::NotNamed {
            wanted: "full",
            text: text("<html>"),
        },
    ]
}

#[test]
fn every_code_has_its_words() {
    let mut said = String::new();
    for trouble in [before(), meanwhile(), without_quorum(), after()].concat() {
        let again = if trouble.may_pass() { "again" } else { "final" };
        let (code, message) = (trouble.code(), trouble.message());
        writeln!(said, "{code} {again}: {message}: {trouble}").unwrap();
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/task-words.txt");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, &said).unwrap();
    }
    let golden = std::fs::read_to_string(&path).unwrap();
    assert_eq!(
        said,
        golden,
        "{}: UPDATE_GOLDEN=1 rewrites it",
        path.display()
    );
}
