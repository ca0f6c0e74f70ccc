//! What `kubectl druid doctor` says of clusters in each state, word for word. `UPDATE_GOLDEN=1` rewrites
//! the files.
#![allow(clippy::unwrap_used, reason = "a test that cannot read fails")]

use std::collections::BTreeMap;

use druid_core::cli::{Colours, Found};
use druid_core::doctor::{Certificate, Finding, Observed, Report, Severity, Verdict, diagnose};
use druid_core::member::{MemberId, MemberName};
use druid_core::observed::{Alarm, AlarmKind, Answer, Answered, Etcd as Live, Listed, Status};
use druid_core::status::Sought;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

fn now() -> Timestamp {
    "2026-11-24T03:00:30Z".parse().unwrap()
}

fn ago(seconds: i64) -> Timestamp {
    now() - SignedDuration::from_secs(seconds)
}

fn golden(name: &str, text: &str) {
    let path = format!("{}/tests/golden/{name}", env!("CARGO_MANIFEST_DIR"));
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, text).unwrap();
    }
    let golden = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(text, golden, "UPDATE_GOLDEN=1 rewrites {path}");
}

/// The page and the JSON of one state.
fn goldens(name: &str, report: &Report) {
    golden(
        &format!("doctor-{name}.txt"),
        &report.text(now(), Colours::Off),
    );
    let json = serde_json::to_string_pretty(report).unwrap() + "\n";
    golden(&format!("doctor-{name}.json"), &json);
}

fn condition(kind: &str, status: &str, reason: &str, message: &str) -> Value {
    json!({
        "type": kind, "status": status, "reason": reason, "message": message,
        "lastTransitionTime": "2026-11-24T02:48:00Z", "lastUpdateTime": "2026-11-24T02:48:00Z",
    })
}

fn etcd() -> Value {
    let member = |at: usize, role| {
        json!({
            "name": format!("main-{at}"), "id": "1", "role": role, "status": "Ready",
            "reason": "LeaseSucceeded", "lastTransitionTime": "2026-11-24T01:00:00Z",
        })
    };
    json!({
        "apiVersion": "druid.gardener.cloud/v1alpha1", "kind": "Etcd",
        "metadata": { "name": "main", "namespace": "shoot", "uid": "u", "generation": 3 },
        "spec": {
            "labels": { "a": "b" }, "replicas": 3, "etcd": { "quota": "8Gi" },
            "backup": { "deltaSnapshotPeriod": "5m", "store": {
                "prefix": "shoot--main", "provider": "S3", "container": "backups",
                "secretRef": { "name": "s3" },
            } },
        },
        "status": {
            "observedGeneration": 3, "ready": true, "readyReplicas": 3,
            "conditions": [
                condition("AllMembersReady", "True", "AllMembersReady", "All members are ready"),
                condition("BackupReady", "True", "BackupSucceeded", "Snapshot backup succeeded"),
                condition("ClusterIDMismatch", "False", "ClusterIDMatch", "They are the same"),
                condition("Ready", "True", "Quorate", "The majority of ETCD members is ready"),
            ],
            "members": [member(0, "Leader"), member(1, "Member"), member(2, "Member")],
        },
    })
}

fn pod(at: usize) -> Value {
    json!({
        "metadata": { "name": format!("main-{at}") },
        "spec": { "containers": [{ "name": "etcd", "image": "x/etcd-wrapper:v0.8.0" }] },
        "status": { "conditions": [{ "type": "Ready", "status": "True" }] },
    })
}

fn crashing(at: usize) -> Value {
    let mut pod = pod(at);
    pod["status"] = json!({
        "conditions": [{ "type": "Ready", "status": "False" }],
        "containerStatuses": [{
            "name": "etcd", "ready": false, "restartCount": 12, "image": "", "imageID": "",
            "state": { "waiting": { "reason": "CrashLoopBackOff" } },
        }],
    });
    pod
}

fn unscheduled(at: usize) -> Value {
    let mut pod = pod(at);
    pod["status"] = json!({ "phase": "Pending", "conditions": [{
        "type": "PodScheduled", "status": "False",
        "message": "0/3 nodes are available: 1 had volume node affinity conflict",
    }] });
    pod
}

fn lease(name: &str, holder: &str, seconds: i64) -> Value {
    let renewed = ago(seconds).strftime("%Y-%m-%dT%H:%M:%S%.6fZ").to_string();
    json!({
        "metadata": { "name": name },
        "spec": { "holderIdentity": holder, "renewTime": renewed },
    })
}

fn leases(seconds: [i64; 3], backup: i64) -> Value {
    let member = |at: usize| lease(&format!("main-{at}"), "1:1:Member", seconds[at]);
    json!([
        member(0),
        member(1),
        member(2),
        lease("main-full-snap", "104000", 21_600),
        lease("main-delta-snap", "104988", backup),
    ])
}

fn task(name: &str, seconds: i64, config: &Value, status: &Value) -> Value {
    json!({
        "apiVersion": "druid.gardener.cloud/v1alpha1", "kind": "EtcdOpsTask",
        "metadata": {
            "name": name, "namespace": "shoot", "creationTimestamp": ago(seconds).to_string(),
        },
        "spec": { "config": config, "etcdName": "main" }, "status": status,
    })
}

fn state(word: &str, says: &str) -> Value {
    json!({ "state": word, "lastOperation": {
        "type": "Execution", "state": "InProgress", "description": says, "runID": "r",
        "lastUpdateTime": "2026-11-24T02:50:00Z",
    } })
}

fn snapshot() -> Value {
    json!({ "onDemandSnapshot": { "type": "full" } })
}

fn defrag() -> Value {
    json!({ "onDemandMaintenance": { "etcdDefragmentation": true } })
}

fn found<T: serde::de::DeserializeOwned>(value: Value) -> Sought<T> {
    Sought::Found(serde_json::from_value(value).unwrap())
}

fn certificate(secret: &str, key: &str, expires: Timestamp) -> Certificate {
    Certificate {
        secret: secret.to_owned(),
        key: key.to_owned(),
        expires: Sought::Found(Some(expires)),
    }
}

fn well() -> Observed {
    Observed {
        etcd: Found::from(etcd()),
        pods: found(json!([pod(0), pod(1), pod(2)])),
        leases: found(leases([3, 5, 8], 41)),
        certificates: vec![
            certificate("main-ca", "ca.crt", ago(-31_536_000)),
            certificate("main-server", "tls.crt", ago(-7_776_000)),
        ],
        tasks: found(json!([])),
        events: found(json!([])),
        live: None,
        unasked: BTreeMap::new(),
    }
}

const MIB: u64 = 1 << 20;

fn status(id: u64) -> Status {
    Status {
        id: MemberId(id),
        version: "3.5.27".parse().unwrap(),
        cluster_version: Some("3.5".parse().unwrap()),
        leader: MemberId(1),
        term: 7,
        raft_index: 200_000,
        raft_applied_index: 200_000,
        revision: 105_000,
        db_size: 1400 * MIB,
        db_size_in_use: 1190 * MIB,
        quota: Some(8192 * MIB),
        learner: false,
        ready: Ok(()),
        errors: Vec::new(),
    }
}

fn name(at: u64) -> MemberName {
    MemberName(format!("main-{at}"))
}

fn live() -> Live {
    let listed = |at: u64| Listed {
        id: MemberId(at + 1),
        name: name(at),
        learner: false,
    };
    Live {
        members: (0..3)
            .map(|at| (name(at), Answer::Status(status(at + 1))))
            .collect(),
        membership: Answered::Known((0..3).map(listed).collect()),
        alarms: Answered::Known(Vec::new()),
    }
}

/// A member that knows of no leader.
fn alone() -> Status {
    Status {
        leader: MemberId::NOBODY,
        ready: Err("no leader".to_owned()),
        ..status(1)
    }
}

fn codes(report: &Report) -> Vec<&str> {
    report.findings.iter().map(|it| it.code).collect()
}

fn halted() -> Observed {
    let mut seen = well();
    let mut object = etcd();
    let member = |at: usize, version, phase| {
        json!({
            "name": format!("main-{at}"), "version": version, "phase": phase,
        })
    };
    object["status"]["upgrade"] = json!({
        "from": "3.4.34", "to": "3.5.27", "direction": "Upgrade", "phase": "RolledBack",
        "reason": "PutBack",
        "message": "main-1 did not come up on 3.5.27 within 5m0s and was put back on 3.4.34",
        "members": [
            member(0, "3.4.34", "Pending"), member(1, "3.4.34", "PutBack"),
            member(2, "3.5.27", "Replaced"),
        ],
        "startedAt": "2026-11-24T02:20:00Z", "lastTransitionTime": "2026-11-24T02:31:00Z",
        "record": {
            "attempt": 3, "from": "3.4.34", "to": "3.5.27", "phase": "Rolling",
            "started": "2026-11-24T02:20:00Z", "touched": true, "members": [],
            "snapshot": { "tries": 1, "failures": 0, "state": "Verified" },
        },
    });
    seen.etcd = Found::from(object);
    seen.certificates[1] = certificate("main-server", "tls.crt", ago(-950_400));
    seen.tasks = found(json!([
        task(
            "main-defrag-x7k",
            1500,
            &defrag(),
            &state("Failed", "Member main-1 does not answer")
        ),
        task(
            "main-snapshot-full-p2",
            60,
            &snapshot(),
            &state("InProgress", "Takes a full snapshot")
        ),
    ]));
    seen
}

fn quorumless() -> Observed {
    let mut seen = well();
    let mut object = etcd();
    let conditions = &mut object["status"]["conditions"];
    conditions[0] = condition(
        "AllMembersReady",
        "False",
        "NotAllMembersReady",
        "At least one member is not ready",
    );
    conditions[1] = condition(
        "BackupReady",
        "False",
        "BackupFailed",
        "No delta snapshot was taken for more than three periods",
    );
    conditions[3] = condition(
        "Ready",
        "False",
        "QuorumLost",
        "The majority of ETCD members is not ready",
    );
    for (at, reason) in [(1, "NotAnswering"), (2, "UnknownGracePeriodExceeded")] {
        let member = &mut object["status"]["members"][at];
        member["status"] = json!("NotReady");
        member["reason"] = json!(reason);
    }
    seen.etcd = Found::from(object);
    seen.pods = found(json!([pod(0), crashing(1), unscheduled(2)]));
    seen.leases = found(leases([4, 780, 5400], 1500));
    seen.certificates[0].expires = Sought::Unknown("forbidden".to_owned());
    seen.events = found(json!([
        {
            "metadata": {}, "type": "Warning", "reason": "BackOff", "count": 57,
            "message": "Back-off restarting failed container etcd in pod main-1",
            "involvedObject": { "kind": "Pod", "name": "main-1" },
            "lastTimestamp": "2026-11-24T02:59:00Z",
        },
        {
            "metadata": {}, "type": "Warning", "reason": "Other", "message": "of another Etcd",
            "involvedObject": { "kind": "Pod", "name": "main-x-1" },
            "lastTimestamp": "2026-11-24T02:59:00Z",
        },
    ]));
    seen
}

#[test]
fn a_healthy_cluster_says_so_in_its_first_line() {
    let mut seen = well();
    seen.live = Some(live());
    let report = diagnose(&seen, now());
    assert_eq!((report.verdict, codes(&report)), (Verdict::Healthy, vec![]));
    goldens("healthy", &report);
}

#[test]
fn a_halted_upgrade_says_how_to_go_on() {
    let mut seen = halted();
    let mut live = live();
    for at in 0..3 {
        let is = Status {
            version: if at == 2 { "3.5.27" } else { "3.4.34" }.parse().unwrap(),
            cluster_version: Some("3.4".parse().unwrap()),
            ..status(at + 1)
        };
        live.members.insert(name(at), Answer::Status(is));
    }
    seen.live = Some(live);
    let report = diagnose(&seen, now());
    assert_eq!(report.verdict, Verdict::Action);
    assert_eq!(
        codes(&report),
        ["UpgradeHalted", "CertificateExpires", "TaskFailed"]
    );
    goldens("halted", &report);
}

#[test]
fn a_lost_quorum_comes_first_and_names_the_way_back() {
    let refused =
        "Status on http://main-local:2379: cannot connect: Connection refused (os error 111)";
    let mut seen = quorumless();
    seen.live = Some(Live {
        members: [
            (name(0), Answer::Status(alone())),
            (name(1), Answer::Silent(refused.to_owned())),
        ]
        .into(),
        membership: Answered::Unknown("no answer within 2s".to_owned()),
        alarms: Answered::Unknown("no answer within 2s".to_owned()),
    });
    let nowhere = "address not allowed".to_owned();
    seen.unasked = [(name(2), nowhere)].into();
    let report = diagnose(&seen, now());
    assert_eq!(codes(&report), ["QuorumLost", "BackupOld"]);
    goldens("quorum-lost", &report);
}

#[test]
fn what_the_members_answer_counts_more_than_what_is_written() {
    let mut seen = quorumless();
    seen.live = Some(live());
    let report = diagnose(&seen, now());
    assert_eq!(report.cluster.quorum, Answered::Known(true));
    assert!(!codes(&report).contains(&"QuorumLost"), "{report:#?}");

    let mut seen = well();
    let mut silent = live();
    for at in [1, 2] {
        let why = Answer::Silent("connection refused".to_owned());
        silent.members.insert(name(at), why);
    }
    silent.membership = Answered::Unknown("no answer".to_owned());
    silent.members.insert(name(0), Answer::Status(alone()));
    seen.live = Some(silent);
    let report = diagnose(&seen, now());
    let lost = &report.findings[0];
    assert!(
        matches!(&lost.finding, Finding::QuorumLost { .. }),
        "{report:#?}"
    );
    assert_eq!(lost.known_from, "what the members answered just now");
    assert!(lost.what.contains("1 of 3 members up"), "{}", lost.what);
    assert!(lost.what.ends_with("down: main-1, main-2"), "{}", lost.what);
}

#[test]
fn a_member_that_could_not_be_asked_may_make_a_quorum() {
    let silent = |why: &str| Answer::Silent(why.to_owned());
    let mut seen = well();
    seen.live = Some(Live {
        members: [
            (name(0), Answer::Status(alone())),
            (name(1), silent("refused")),
        ]
        .into(),
        membership: Answered::Unknown("no answer".to_owned()),
        alarms: Answered::Unknown("no answer".to_owned()),
    });
    seen.unasked = [(name(2), "its sidecar is another one".to_owned())].into();
    let report = diagnose(&seen, now());
    assert!(!codes(&report).contains(&"QuorumLost"), "{report:#?}");
    let of = |what: &str| report.unknown.iter().find(|it| it.what.contains(what));
    assert!(of("whether there is a quorum").is_some(), "{report:#?}");
    let unasked = of("the member main-2").unwrap();
    assert_eq!(unasked.why, "its sidecar is another one");

    // It is the second one that is gone.
    if let Some(live) = &mut seen.live {
        live.members.insert(name(2), silent("refused"));
    }
    seen.unasked.clear();
    let report = diagnose(&seen, now());
    assert!(codes(&report).contains(&"QuorumLost"), "{report:#?}");
}

#[test]
fn where_nobody_could_be_asked_the_reason_is_told_once_and_it_is_not_called_healthy() {
    let mut seen = well();
    let forbidden = "pods is forbidden".to_owned();
    seen.unasked = (0..3).map(|at| (name(at), forbidden.clone())).collect();
    let report = diagnose(&seen, now());
    assert_eq!(report.verdict, Verdict::Unknown);
    assert_eq!(report.unknown.len(), 1, "{report:#?}");
    assert_eq!(report.unknown[0].why, forbidden);
    seen.unasked.insert(name(1), "no answer".to_owned());
    let report = diagnose(&seen, now());
    assert_eq!(
        report.unknown[0].why,
        "main-1: no answer; main-0, main-2: pods is forbidden"
    );
    seen.live = Some(live());
    seen.unasked.retain(|it, _| *it == name(1));
    let report = diagnose(&seen, now());
    assert_eq!(report.verdict, Verdict::Unknown);
    assert_eq!(report.unknown[0].what, "what the member main-1 says");
}

#[test]
fn that_no_member_answers_us_is_unknown_and_no_loss() {
    let mut seen = well();
    let silent = |at| (name(at), Answer::Silent("timed out".to_owned()));
    seen.live = Some(Live {
        members: (0..3).map(silent).collect(),
        membership: Answered::Unknown("no answer".to_owned()),
        alarms: Answered::Unknown("no answer".to_owned()),
    });
    let report = diagnose(&seen, now());
    assert_eq!((report.verdict, codes(&report)), (Verdict::Unknown, vec![]));
    assert_eq!(report.cluster.quorum, Answered::Known(true));
    let text = report.text(now(), Colours::Off);
    assert!(text.contains("timed out"), "{text}");
}

#[test]
fn what_is_forbidden_is_unknown_and_never_healthy() {
    let forbidden = || "forbidden".to_owned();
    let hide: [fn(&mut Observed, String); 5] = [
        |seen, why| seen.pods = Sought::Unknown(why),
        |seen, why| seen.leases = Sought::Unknown(why),
        |seen, why| seen.certificates[0].expires = Sought::Unknown(why),
        |seen, why| seen.tasks = Sought::Unknown(why),
        |seen, why| seen.events = Sought::Unknown(why),
    ];
    for hide in hide {
        let mut seen = well();
        hide(&mut seen, forbidden());
        let report = diagnose(&seen, now());
        assert_eq!((report.verdict, codes(&report)), (Verdict::Unknown, vec![]));
        assert!(
            report.unknown.iter().all(|it| it.why == "forbidden"),
            "{report:#?}"
        );
        assert!(report.text(now(), Colours::Off).contains("forbidden"));
    }
    let mut seen = well();
    seen.etcd = Found::from(json!({
        "metadata": { "name": "main", "namespace": "shoot" }, "spec": 1,
    }));
    assert_eq!(diagnose(&seen, now()).verdict, Verdict::Unknown);
}

#[test]
fn what_an_operator_said_before_it_was_gone_is_not_believed() {
    let mut seen = well();
    seen.leases = found(leases([600, 600, 3], 41));
    let report = diagnose(&seen, now());
    assert_eq!(report.verdict, Verdict::Unknown);
    assert!(matches!(&report.cluster.quorum, Answered::Unknown(why) if why.contains("1 of 3")));

    seen.leases = found(leases([3, 3, 3], 901));
    let report = diagnose(&seen, now());
    assert_eq!(codes(&report), ["BackupOld"]);
    assert_eq!(report.findings[0].known_from, "Lease main-delta-snap");
    seen.leases = found(leases([3, 3, 3], 899));
    assert_eq!(diagnose(&seen, now()).verdict, Verdict::Healthy);
}

/// A cluster whose second member is changed, and alarms.
fn with(change: impl Fn(&mut Status), alarms: &[AlarmKind]) -> Report {
    let mut seen = well();
    let mut live = live();
    let mut changed = status(2);
    change(&mut changed);
    live.members.insert(name(1), Answer::Status(changed));
    let alarm = |kind: &AlarmKind| Alarm {
        member: MemberId(2),
        kind: *kind,
    };
    live.alarms = Answered::Known(alarms.iter().map(alarm).collect());
    seen.live = Some(live);
    diagnose(&seen, now())
}

fn commands(report: &Report) -> Vec<&str> {
    let acts = report.findings.iter().flat_map(|it| &it.remedy);
    acts.filter_map(|it| it.command.as_deref()).collect()
}

#[test]
fn alarms_and_databases_come_with_the_command_that_mends_them() {
    let nothing = |_: &mut Status| {};
    let report = with(nothing, &[AlarmKind::NoSpace]);
    assert_eq!(codes(&report), ["AlarmNoSpace"]);
    assert_eq!(
        commands(&report)[0],
        "kubectl druid compact main -n shoot --defrag --wait"
    );
    let report = with(nothing, &[AlarmKind::Unknown, AlarmKind::Corrupt]);
    assert_eq!(codes(&report), ["AlarmCorrupt", "AlarmUnknown"]);

    let sized = |size: u64, in_use: u64| {
        move |it: &mut Status| {
            (it.db_size, it.db_size_in_use) = (size * MIB, in_use * MIB);
        }
    };
    for (size, in_use, code, command) in [
        (
            7100,
            6000,
            Some("NearQuota"),
            "compact main -n shoot --defrag --wait",
        ),
        (7100, 1000, Some("NearQuota"), "defrag main -n shoot --wait"),
        (6900, 6000, None, ""),
        (
            3000,
            1400,
            Some("Fragmented"),
            "defrag main -n shoot --wait",
        ),
        (3000, 1500, None, ""),
        // So small a file is nobody's trouble.
        (2000, 100, None, ""),
    ] {
        let report = with(sized(size, in_use), &[]);
        assert_eq!(codes(&report), Vec::from_iter(code), "{size} {in_use}");
        let first = commands(&report).first().copied().unwrap_or_default();
        assert!(first.ends_with(command), "{first}");
    }
    let both = with(sized(8192, 8000), &[AlarmKind::NoSpace]);
    assert_eq!(codes(&both), ["AlarmNoSpace"], "one finding says it");
}

#[test]
fn a_member_that_does_not_serve_is_named_while_the_others_do() {
    let report = with(|it| it.ready = Err("no leader".to_owned()), &[]);
    assert_eq!(codes(&report), ["MemberDown"]);
    let what = &report.findings[0].what;
    assert!(
        what.contains("main-1") && what.contains("no further one may fail"),
        "{what}"
    );
    let report = with(|it| it.learner = true, &[]);
    let text = report.text(now(), Colours::Off);
    assert!(
        text.contains("learner") && codes(&report) == ["MemberDown"],
        "{text}"
    );

    let mut seen = well();
    seen.pods = found(json!([pod(0), crashing(1), pod(2)]));
    let report = diagnose(&seen, now());
    assert_eq!(codes(&report), ["PodNotReady"]);
    assert!(report.findings[0].what.contains("12 restarts"));
}

#[test]
fn releases_that_hurt_are_named() {
    let of = |version: &str| {
        let mut seen = well();
        let mut live = live();
        for at in 0..3 {
            let mut old = status(at + 1);
            old.version = version.parse().unwrap();
            live.members.insert(name(at), Answer::Status(old));
        }
        seen.live = Some(live);
        diagnose(&seen, now())
    };
    let report = of("3.5.12");
    assert_eq!(codes(&report), ["KnownBadRelease", "NoConsistentList"]);
    let list = &report.findings[1];
    let restart = list.remedy.last().unwrap();
    assert!(
        restart.say.contains("restart kube-apiserver"),
        "{restart:?}"
    );
    assert_eq!(
        report.cluster.consistent_list_from_cache,
        Answered::Known(false)
    );
    assert_eq!(codes(&of("3.4.34")), Vec::<&str>::new());
    let report = with(|it| it.version = "3.4.34".parse().unwrap(), &[]);
    assert_eq!(codes(&report), ["VersionsDiffer"]);
}

#[test]
fn certificates_are_told_of_in_time() {
    let day = 86_400;
    for (left, code, severity) in [
        (15 * day, None, Severity::Note),
        (13 * day, Some("CertificateExpires"), Severity::Warning),
        (2 * day, Some("CertificateExpires"), Severity::Critical),
        (-5, Some("CertificateExpired"), Severity::Critical),
    ] {
        let mut seen = well();
        seen.certificates[1] = certificate("main-server", "tls.crt", ago(-left));
        let report = diagnose(&seen, now());
        assert_eq!(codes(&report), Vec::from_iter(code), "{left}");
        assert!(report.findings.iter().all(|it| it.severity == severity));
    }
    let mut seen = quorumless();
    seen.certificates[1] = certificate("main-server", "tls.crt", ago(day));
    seen.certificates[0].expires = Sought::Missing;
    let report = diagnose(&seen, now());
    let order = [
        "SecretMissing",
        "CertificateExpired",
        "QuorumLost",
        "BackupOld",
    ];
    assert_eq!(codes(&report), order, "what is mended in place comes first");
    seen.certificates[1].expires = Sought::Found(None);
    assert!(codes(&diagnose(&seen, now())).contains(&"NoCertificate"));
}

#[test]
fn a_task_that_failed_counts_until_the_same_succeeds() {
    let of = |tasks: Value| {
        let mut seen = well();
        seen.tasks = found(tasks);
        let report = diagnose(&seen, now());
        codes(&report)
            .into_iter()
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    let failed = |seconds, config| task("a", seconds, config, &state("Failed", "no store"));
    let done = |seconds, config| task("b", seconds, config, &state("Succeeded", "done"));
    let (full, free) = (snapshot(), defrag());
    assert_eq!(of(json!([failed(60, &full)])), ["TaskFailed"]);
    assert_eq!(of(json!([failed(60, &full), done(30, &full)])), [""; 0]);
    assert_eq!(
        of(json!([failed(60, &full), done(30, &free)])),
        ["TaskFailed"]
    );
    assert_eq!(
        of(json!([failed(60, &full), failed(50, &full)])),
        ["TaskFailed"]
    );
    assert_eq!(
        of(json!([failed(60, &full), done(90, &full)])),
        ["TaskFailed"]
    );
    let unseen = |seconds| task("c", seconds, &full, &Value::Null);
    assert_eq!(of(json!([unseen(30)])), [""; 0]);
    assert_eq!(of(json!([unseen(90)])), ["OperatorSilent"]);
    let mut other = failed(60, &full);
    other["spec"]["etcdName"] = json!("other");
    assert_eq!(of(json!([other])), [""; 0]);
}

/// The report on a well Etcd whose second member is told something in its Lease.
fn ordered(text: &str, tasks: Sought<Vec<druid_core::api::EtcdOpsTask>>) -> Report {
    let mut seen = well();
    let mut all = leases([3, 5, 8], 41);
    all[1]["metadata"]["annotations"] = json!({ "druid.gardener.cloud/recovery": text });
    seen.leases = found(all);
    seen.tasks = tasks;
    diagnose(&seen, now())
}

fn recovery(state_word: &str) -> Sought<Vec<druid_core::api::EtcdOpsTask>> {
    let config = json!({ "recoverFromQuorumLoss": {} });
    let mut task = task("main-recover-x", 60, &config, &state(state_word, "R"));
    task["metadata"]["uid"] = json!("t");
    found(json!([task]))
}

#[test]
fn an_order_that_nobody_will_take_back_is_found_with_its_remedy() {
    let take_away = "kubectl annotate lease main-1 druid.gardener.cloud/recovery- \
                     druid.gardener.cloud/recovery-report- -n shoot";
    let delete = "kubectl delete eot main-recover-x -n shoot";
    let recover = "kubectl druid recover main -n shoot --confirm --wait";
    let follow = "kubectl druid tasks main -n shoot -w";
    let gone = || found(json!([]));
    let order = |word: &str| format!(r#"{{"task":"t","order":"{word}"}}"#);
    let over = || recovery("Succeeded");
    let left = "RecoveryOrderLeft";
    for (word, tasks, code, says, remedy) in [
        ("Hold", gone(), left, "does not start", vec![take_away]),
        ("Hold", over(), left, "does not start", vec![delete]),
        ("Join", gone(), left, "as a learner", vec![take_away]),
        (
            "Alone",
            gone(),
            left,
            "a cluster of its own",
            vec![take_away, recover],
        ),
        (
            "Restore",
            over(),
            left,
            "a cluster of its own",
            vec![take_away, recover],
        ),
        (
            "Hold",
            recovery("InProgress"),
            "RecoveryUnderWay",
            "by itself",
            vec![follow],
        ),
        (
            "Join",
            recovery("Pending"),
            "RecoveryUnderWay",
            "by itself",
            vec![follow],
        ),
    ] {
        let report = ordered(&order(word), tasks);
        assert_eq!(codes(&report), [code], "{word}");
        let what = &report.findings[0].what;
        assert!(
            what.contains("member main-1") && what.contains(says),
            "{what}"
        );
        assert_eq!(report.findings[0].known_from, "Lease main-1");
        assert_eq!(commands(&report), remedy, "{word}");
        let verdict = if code == left {
            Verdict::Action
        } else {
            Verdict::Healthy
        };
        assert_eq!(report.verdict, verdict, "{word}");
    }
    let odd = ordered("{}", gone());
    assert_eq!(codes(&odd), ["RecoveryOrderUnreadable"]);
    assert_eq!(commands(&odd), [take_away]);
    let unknown = ordered(&order("Hold"), Sought::Unknown("forbidden".to_owned()));
    assert_eq!(codes(&unknown), [""; 0]);
    let gaps = unknown.unknown.iter();
    assert!(
        gaps.clone().any(|it| it.what.contains("main-1")),
        "{gaps:?}"
    );
}

/// A well Etcd in which one field is another.
fn but(path: &str, value: Value) -> Report {
    let mut object = etcd();
    let mut at = &mut object;
    for part in path.split('/') {
        at = match part.parse::<usize>() {
            Ok(index) => &mut at[index],
            Err(_) => &mut at[part],
        };
    }
    *at = value;
    let mut seen = well();
    seen.etcd = Found::from(object);
    diagnose(&seen, now())
}

#[test]
fn what_the_operator_says_is_told() {
    let volumes = condition("DataVolumesReady", "False", "R", "full");
    let failed = json!({
        "type": "Reconcile", "state": "Error", "description": "failed", "runID": "r",
        "lastUpdateTime": "2026-11-24T02:50:00Z",
    });
    let refused = json!({ "phase": "Refused", "reason": "R", "message": "M" });
    for (code, path, value) in [
        ("OperatorSilent", "status", Value::Null),
        ("OperatorFailed", "status/lastOperation", failed),
        ("SpecProblem", "spec/backup/store/provider", json!("Floppy")),
        (
            "ClusterIDMismatch",
            "status/conditions/2/status",
            json!("True"),
        ),
        ("VolumeWarnings", "status/conditions/0", volumes),
        ("UpgradeRefused", "status/upgrade", refused),
    ] {
        let report = but(path, value);
        assert!(
            codes(&report).contains(&code),
            "{code}: {:?}",
            codes(&report)
        );
        assert_eq!(report.verdict, Verdict::Action, "{code}");
    }
}

#[test]
fn what_people_have_asked_for_is_good_to_know_and_makes_nobody_ill() {
    let suspended = json!({ "druid.gardener.cloud/suspend-etcd-spec-reconcile": "" });
    let waiting = json!({ "phase": "Waiting", "reason": "NoLeader", "message": "no leader" });
    for (code, path, value) in [
        ("Paused", "spec/upgrade", json!({ "paused": true })),
        ("UpgradeWaiting", "status/upgrade", waiting),
        ("Suspended", "metadata/annotations", suspended),
        ("NotReconciled", "metadata/generation", json!(4)),
        (
            "Deleting",
            "metadata/deletionTimestamp",
            json!("2026-11-24T02:50:00Z"),
        ),
        ("NoStore", "spec/backup", json!({})),
    ] {
        let report = but(path, value);
        assert_eq!(codes(&report), [code]);
        assert_eq!(report.verdict, Verdict::Healthy, "{code}");
    }
    let behind = but("metadata/generation", json!(4));
    let trigger = "kubectl druid reconciliation trigger main -n shoot";
    assert_eq!(commands(&behind), [trigger]);
    let asleep = but("spec/replicas", json!(0));
    assert_eq!((asleep.verdict, codes(&asleep)), (Verdict::Healthy, vec![]));

    let mut acknowledged = halted();
    let mut etcd = acknowledged.etcd.etcd.unwrap();
    let annotation = ("druid.gardener.cloud/acknowledge-upgrade-halt", "3");
    let annotation = (annotation.0.to_owned(), annotation.1.to_owned());
    etcd.metadata.annotations = Some([annotation].into());
    acknowledged.etcd.etcd = Ok(etcd);
    let report = diagnose(&acknowledged, now());
    assert!(
        codes(&report).contains(&"HaltAcknowledged"),
        "{:?}",
        codes(&report)
    );
    assert!(
        !codes(&report).contains(&"UpgradeHalted"),
        "{:?}",
        codes(&report)
    );
}

#[test]
fn a_member_that_an_upgrade_has_in_hand_is_no_finding() {
    let mut object = etcd();
    object["status"]["members"][1]["status"] = json!("NotReady");
    let replacing = json!({ "name": "main-1", "version": "3.5.27", "phase": "Replacing" });
    object["status"]["upgrade"] = json!({ "phase": "Rolling", "members": [replacing] });
    let mut seen = well();
    seen.etcd = Found::from(object.clone());
    assert_eq!(codes(&diagnose(&seen, now())), [""; 0]);
    object["status"]["upgrade"]["members"][0]["phase"] = json!("Replaced");
    seen.etcd = Found::from(object);
    assert_eq!(codes(&diagnose(&seen, now())), ["MemberDown"]);
}

#[test]
fn what_others_have_written_does_nothing_to_a_terminal() {
    let mut seen = quorumless();
    seen.events = found(json!([{
        "metadata": {}, "type": "Warning", "reason": "\u{1b}[2J", "message": "a\nb\u{7}",
        "involvedObject": { "kind": "Pod", "name": "main-1" },
        "lastTimestamp": "2026-11-24T02:59:00Z",
    }]));
    let text = diagnose(&seen, now()).text(now(), Colours::Off);
    assert!(
        text.contains("a b") && !text.contains(['\u{1b}', '\u{7}']),
        "{text:?}"
    );
    let painted = diagnose(&seen, now()).text(now(), Colours::On);
    assert!(
        painted.contains("\u{1b}[31mQuorumLost\u{1b}[0m"),
        "{painted:?}"
    );
    assert!(!painted.contains("\u{1b}[2J"), "{painted:?}");
}
