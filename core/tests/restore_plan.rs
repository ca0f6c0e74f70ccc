//! What `kubectl druid restore-plan` says, word for word. `UPDATE_GOLDEN=1` rewrites the files.
#![allow(clippy::unwrap_used, reason = "a test that cannot read fails")]

use std::fmt::Write as _;

use druid_core::cli::Found;
use druid_core::member::MemberId;
use druid_core::observed::{Answer, Answered, Etcd as Live, Status};
use druid_core::ops_task::{Covered, Latest, chain};
use druid_core::restore_plan::{Heard, Observed, Plan, Source, Verdict, plan};
use druid_core::status::Sought;
use jiff::Timestamp;
use serde_json::{Value, json};

fn now() -> Timestamp {
    "2026-11-24T03:00:30Z".parse().unwrap()
}

fn golden(name: &str, text: &str) {
    let path = format!("{}/tests/golden/{name}", env!("CARGO_MANIFEST_DIR"));
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, text).unwrap();
    }
    let golden = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(text, golden, "UPDATE_GOLDEN=1 rewrites {path}");
}

fn etcd(replicas: usize) -> Found {
    Found::from(json!({
        "metadata": { "name": "main", "namespace": "shoot", "uid": "u" },
        "spec": {
            "labels": { "a": "b" }, "replicas": replicas, "etcd": {},
            "backup": { "store": {
                "prefix": "shoot--main", "provider": "S3", "container": "backups",
                "secretRef": { "name": "s3" },
            } },
        },
    }))
}

fn snapshot(kind: &str, first: i64, last: i64, at: &str, size: Option<u64>) -> Value {
    json!({
        "kind": kind, "snapName": format!("{kind}-{first:08}-{last:08}.gz"),
        "startRevision": first, "lastRevision": last, "createdOn": at, "sizeBytes": size,
    })
}

/// What a sidecar answers.
fn told(deltas: &[(i64, i64)], size: Option<u64>) -> Value {
    let full = snapshot("Full", 0, 104_000, "2026-11-23T21:00:30Z", size);
    let delta = |(first, last): &(i64, i64)| {
        snapshot("Incr", *first, *last, "2026-11-24T02:59:49Z", Some(300_000))
    };
    let deltas: Vec<_> = deltas.iter().map(delta).collect();
    json!({ "fullSnapshot": full, "deltaSnapshots": deltas })
}

fn read(answer: &Value) -> Latest {
    chain(200, answer.to_string().as_bytes()).unwrap()
}

fn live(revision: i64) -> Live {
    let status = Status {
        id: MemberId(1),
        version: "3.5.27".parse().unwrap(),
        cluster_version: None,
        leader: MemberId(1),
        term: 7,
        raft_index: 1,
        raft_applied_index: 1,
        revision,
        db_size: 1,
        db_size_in_use: 1,
        quota: None,
        learner: false,
        ready: Ok(()),
        errors: Vec::new(),
    };
    Live {
        members: [("main-0".into(), Answer::Status(status))].into(),
        membership: Answered::Unknown(String::new()),
        alarms: Answered::Unknown(String::new()),
    }
}

fn leases() -> Sought<Vec<k8s_openapi::api::coordination::v1::Lease>> {
    let lease = |name: &str, holder: &str, at: &str| {
        json!({
            "metadata": { "name": name }, "spec": { "holderIdentity": holder, "renewTime": at },
        })
    };
    let both = json!([
        lease("main-full-snap", "104000", "2026-11-23T21:00:30.000000Z"),
        lease("main-delta-snap", "104988", "2026-11-24T02:59:49.000000Z"),
    ]);
    Sought::Found(serde_json::from_value(both).unwrap())
}

fn seen(sidecar: Heard) -> Observed {
    Observed {
        etcd: etcd(3),
        leases: leases(),
        sidecar,
        live: None,
    }
}

const DELTAS: [(i64, i64); 3] = [(104_001, 104_500), (104_501, 104_501), (104_502, 104_988)];
const SIZE: Option<u64> = Some(912_000_000);

/// Farther than the Leases know.
fn tried() -> Heard {
    Heard::Tried {
        pod: "main-1".to_owned(),
        covered: Covered {
            revision: 104_990,
            at: "2026-11-24T02:59:50Z".parse().unwrap(),
        },
        why: "no member's sidecar says that it leads: main-0: refused".to_owned(),
    }
}

fn told_whole(what: &str, plan: &Plan) -> String {
    let json = serde_json::to_string_pretty(plan).unwrap();
    format!("# {what}\n{}\n{json}\n\n", plan.text(now()))
}

#[test]
fn a_plan_tells_what_is_read_how_long_it_takes_and_what_is_lost() {
    let mut text = String::new();
    let mut whole = seen(Heard::Listed(read(&told(&DELTAS, SIZE))));
    whole.live = Some(live(105_000));
    let made = plan(&whole, now());
    assert_eq!(
        (made.verdict, made.source),
        (Verdict::Restorable, Source::Sidecar)
    );
    assert_eq!(made.revision, Answered::Known(Some(104_988)));
    assert_eq!(made.revisions_lost, Answered::Known(12));
    assert_eq!(made.size, Answered::Known(912_900_000));
    text += &told_whole("the sidecar tells, and so do the members", &made);

    let silent = "no member's sidecar says that it leads: main-0: refused".to_owned();
    let made = plan(&seen(Heard::Silent(silent)), now());
    assert_eq!(
        (made.verdict, made.source),
        (Verdict::Unknown, Source::Leases)
    );
    assert_eq!(made.revision, Answered::Known(Some(104_988)));
    text += &told_whole("no sidecar was heard", &made);

    let made = plan(&seen(tried()), now());
    assert_eq!(
        (made.verdict, made.source),
        (Verdict::Restorable, Source::Trial)
    );
    text += &told_whole("no leader, and another sidecar has tried", &made);
    golden("restore-plan.txt", &text);
}

#[test]
fn the_estimate_is_the_rate_that_was_measured() {
    let benchmarks = include_str!("../../BENCHMARKS.md");
    let row = "| restore, 50 k + 188 k events, 226 MB packed | 1.20 s, 32 MiB RSS |";
    assert!(
        benchmarks.contains(row),
        "the rate in core/src/restore_plan is from this row"
    );
    let of = |size: u64| {
        let made = plan(&seen(Heard::Listed(read(&told(&[], Some(size))))), now());
        let Answered::Known(estimate) = made.estimate else {
            panic!("{made:?}");
        };
        assert!(estimate.basis.contains("estimate"), "{}", estimate.basis);
        estimate.seconds
    };
    assert_eq!(
        [0, 188_000_000, 188_000_001, 1_880_000_000].map(of),
        [1, 1, 2, 10]
    );
    let made = plan(&seen(Heard::Listed(read(&told(&DELTAS, None)))), now());
    assert!(
        matches!(made.estimate, Answered::Unknown(_)),
        "etcd-backup-restore tells no sizes"
    );
    assert_eq!(made.verdict, Verdict::Restorable);
}

#[test]
fn deltas_after_a_hole_are_not_counted() {
    let holed = [(104_001, 104_500), (104_601, 104_988)];
    let made = plan(&seen(Heard::Listed(read(&told(&holed, SIZE)))), now());
    assert_eq!(made.verdict, Verdict::Action);
    assert_eq!(made.revision, Answered::Known(Some(104_500)));
    let hole = made.hole.as_ref().unwrap();
    assert_eq!((hole.from, hole.to), (104_501, 104_600));
    let text = made.text(now());
    assert!(
        text.contains("revisions 104501 to 104600 are in no object"),
        "{text}"
    );
    // Deltas may overlap.
    let over = [(104_001, 104_500), (104_400, 104_988)];
    let made = plan(&seen(Heard::Listed(read(&told(&over, SIZE)))), now());
    assert_eq!((made.verdict, made.hole), (Verdict::Restorable, None));
}

#[test]
fn what_was_restored_on_trial_counts_more_than_what_the_leases_say() {
    let mut seen = seen(tried());
    seen.live = Some(live(105_000));
    let made = plan(&seen, now());
    assert_eq!(made.revision, Answered::Known(Some(104_990)));
    assert_eq!(made.revisions_lost, Answered::Known(10));
    seen.leases = Sought::Unknown("forbidden".to_owned());
    let made = plan(&seen, now());
    assert_eq!(made.verdict, Verdict::Restorable);
    assert_eq!(made.revision, Answered::Known(Some(104_990)));
}

#[test]
fn without_a_backup_there_is_nothing_to_restore() {
    let nothing = json!({ "fullSnapshot": null, "deltaSnapshots": null });
    let made = plan(&seen(Heard::Listed(read(&nothing))), now());
    assert_eq!(made.verdict, Verdict::Action);
    assert!(
        made.text(now()).contains("cannot be restored"),
        "{}",
        made.text(now())
    );

    let mut bare = seen(Heard::Silent("no store is configured".to_owned()));
    if let Ok(etcd) = &mut bare.etcd.etcd {
        etcd.spec.backup.store = None;
    }
    assert_eq!(plan(&bare, now()).verdict, Verdict::Action);

    let mut unknown = seen(Heard::Silent("refused".to_owned()));
    unknown.leases = Sought::Unknown("forbidden".to_owned());
    let made = plan(&unknown, now());
    assert_eq!(
        (made.verdict, made.source),
        (Verdict::Unknown, Source::Nothing)
    );
    assert!(
        made.text(now()).contains("forbidden"),
        "{}",
        made.text(now())
    );
}

#[test]
fn the_commands_fit_the_cluster_and_its_store() {
    let mut said = String::new();
    for replicas in [1, 3] {
        let mut seen = seen(Heard::Listed(read(&told(&DELTAS, SIZE))));
        seen.etcd = etcd(replicas);
        for act in plan(&seen, now()).commands {
            writeln!(said, "{replicas} {}", act.command.unwrap_or_default()).unwrap();
        }
    }
    let both = "druid verify s3://backups/shoot--main";
    let restore = "druid restore s3://backups/shoot--main --data-dir restored.etcd";
    assert_eq!(
        said,
        format!(
            "1 \n1 {both}\n1 {restore}\n\
             3 kubectl druid recover main -n shoot --confirm --wait\n3 {both}\n3 {restore}\n"
        )
    );
}

#[test]
fn what_is_no_answer_of_a_sidecar_is_not_read_as_one() {
    for (status, body) in [
        (500, "{}"),
        (200, "nonsense"),
        (200, r#"{"fullSnapshot":{"snapName":"Full"}}"#),
    ] {
        assert!(chain(status, body.as_bytes()).is_err(), "{status} {body}");
    }
}
