//! The statuses that etcd-druid v0.37.1 wrote are the ones that are written here: every field, with
//! its words, but for the cause in an error, which names a remedy here.

use std::path::{Path, PathBuf};

use druid_core::api::{Etcd, EtcdOpsTask};
use druid_core::ops_task::{
    Act, Attempt, Cluster, Decision, Done, EtcdSeen, Kind, Limits, Observed, Progress, Queue,
    Queued, Task, Trouble, Work, decide, taken,
};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

const SNAPSHOT: &str = r#"{"kind":"Full","snapName":"Full-1","lastRevision":7}"#;
const DELTA: &str = r#"{"kind":"Incr","snapName":"Incr-1","lastRevision":7}"#;

fn goldens() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/goldens")
}

fn yaml(path: &Path) -> Value {
    let text = std::fs::read_to_string(path).unwrap();
    serde_saphyr::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// What an attempt meets.
#[derive(Clone)]
enum Met {
    Says(u16, &'static str),
    Nobody,
    /// Nobody, and the Etcd is not ready any more.
    Outage,
    /// Still under way when it is looked at.
    Silence,
}

fn etcd(name: &str, ready: &str, store: bool) -> EtcdSeen {
    let mut object = json!({
        "apiVersion": "druid.gardener.cloud/v1alpha1", "kind": "Etcd",
        "metadata": { "name": name, "namespace": "golden" },
        "spec": { "labels": {}, "etcd": {}, "backup": {}, "replicas": 1 },
        "status": { "conditions": [{
            "type": "Ready", "status": ready, "reason": "Quorate", "message": "",
            "lastTransitionTime": "2026-11-24T10:00:00Z", "lastUpdateTime": "2026-11-24T10:00:00Z",
        }] },
    });
    if store {
        object["spec"]["backup"]["store"] = json!({ "prefix": "p", "provider": "Local" });
    }
    let object: Etcd = serde_json::from_value(object).unwrap();
    EtcdSeen::There(Cluster::of(&object))
}

fn trouble() -> Trouble {
    Trouble::Unreached("http://ops-unreachable-client.golden:8080: no such host".to_owned())
}

fn answered(attempt: &Attempt, status: u16, body: &str) -> Result<Done, Trouble> {
    let Kind::Snapshot(take) = attempt.operation.kind else {
        panic!("{attempt:?}");
    };
    taken(take, status, body.as_bytes())
}

/// Decides until the task is over, or waits for something that does not come.
fn play(object: &mut Value, mut cluster: EtcdSeen, others: &[Queued], meets: &[Met]) {
    let mut now: Timestamp = "2026-11-24T10:20:30.5Z".parse().unwrap();
    let mut meets = meets.iter();
    let (mut work, mut asked) = (Work::None, false);
    object["metadata"]["uid"] = json!("UID");
    object["metadata"]["creationTimestamp"] = json!("2026-11-24T10:20:00Z");
    for _ in 0..40 {
        let read: EtcdOpsTask = serde_json::from_value(object.clone()).unwrap();
        let task = Task::of(&read);
        let seen = Observed {
            task: &task,
            etcd: asked.then_some(&cluster),
            others,
            work: &work,
            progress: &Progress::default(),
            wound_up: true,
        };
        let Decision {
            status, act, again, ..
        } = decide(&seen, &Limits::default(), now);
        asked = false;
        if let Some(status) = status {
            object["status"] = serde_json::to_value(status).unwrap();
        }
        let acted = act.is_some();
        match act {
            Some(Act::WindUp) => panic!("there is nothing to take back"),
            Some(Act::AskEtcd) => asked = true,
            Some(Act::AddFinalizer) => {
                object["metadata"]["finalizers"] = json!(["druid.gardener.cloud/etcd-ops-task"]);
            }
            Some(Act::Start(attempt)) => {
                let result = match meets.next().unwrap() {
                    Met::Says(status, body) => answered(&attempt, *status, body),
                    Met::Nobody => Err(trouble()),
                    Met::Outage => {
                        cluster = etcd("any", "False", true);
                        Err(trouble())
                    }
                    Met::Silence => return,
                };
                work = Work::Answered {
                    attempt: attempt.number,
                    result,
                };
            }
            Some(Act::Note) => {
                let Work::Answered { attempt, .. } = work else {
                    panic!("nothing was answered");
                };
                work = Work::Failed { attempt, at: now };
            }
            Some(Act::Forget) => work = Work::None,
            Some(act @ (Act::RemoveFinalizer | Act::Delete)) => panic!("{act:?}"),
            None if task
                .state()
                .is_some_and(druid_core::ops_task::State::is_end)
                || again.is_none() =>
            {
                return;
            }
            None => {}
        }
        if !acted || again.is_some() {
            now = again.unwrap();
            if !others.is_empty() {
                return;
            }
        }
    }
    panic!("it does not end: {object}");
}

/// Without what is different each time, and without the causes of errors, which must be there.
fn masked(mut status: Value) -> Value {
    for field in ["lastTransitionTime", "startedAt"] {
        if status[field].is_string() {
            status[field] = json!("TIME");
        }
    }
    status["lastOperation"]["lastUpdateTime"] = json!("TIME");
    for error in status["lastErrors"].as_array_mut().into_iter().flatten() {
        error["observedAt"] = json!("TIME");
        let text = error["description"].as_str().unwrap().to_owned();
        let (head, cause) = text.split_once(", cause: ").unwrap();
        assert!(!cause.is_empty());
        error["description"] = json!(head);
    }
    status
}

fn missing() -> EtcdSeen {
    EtcdSeen::Missing {
        namespace: "golden".to_owned(),
        name: "absent".to_owned(),
    }
}

/// Plays the task of a file under `specs-ops`, and compares it with one that was stored.
fn is_as(spec: &str, stored: &str, cluster: EtcdSeen, meets: &[Met]) {
    let mut object = yaml(&goldens().join("specs-ops").join(spec));
    // The definition fills these in.
    object["spec"]["ttlSecondsAfterFinished"] = json!(3600);
    play(&mut object, cluster, &[], meets);
    let golden = yaml(&goldens().join(stored));
    let mut status = masked(object["status"].clone());
    // These two are not in etcd-druid's.
    let more = status.as_object_mut().unwrap();
    let succeeded =
        golden["status"]["lastOperation"]["description"] == "Snapshot created successfully";
    let result = more.remove("result");
    let named = if golden["spec"]["config"]["onDemandSnapshot"]["type"] == "full" {
        "Full-1"
    } else {
        "Incr-1"
    };
    let expected = json!({ "snapshot": { "name": named, "revision": 7 } });
    assert_eq!(result, succeeded.then_some(expected), "{stored}");
    let failed = more.remove("failedAttempts");
    let several = meets
        .iter()
        .filter(|it| matches!(it, Met::Nobody | Met::Outage));
    let failures =
        several.count() + usize::from(golden["status"]["state"] == "Failed" && meets.len() == 1);
    assert_eq!(failed, (failures > 0).then(|| json!(failures)), "{stored}");
    assert_eq!(status, masked(golden["status"].clone()), "{stored}");
    let finalizers = &golden["metadata"]["finalizers"];
    assert_eq!(&object["metadata"]["finalizers"], finalizers, "{stored}");
}

#[test]
fn every_status_is_the_one_of_etcd_druid() {
    let absent = missing();
    let (unready, bare) = (etcd("a", "False", true), etcd("a", "True", false));
    let ready = || etcd("a", "True", true);
    for gate in ["gate-off-ops", "gate-on-ops"] {
        for (spec, name, cluster) in [
            ("01-ops-etcd-not-ready", "ops-etcd-not-ready", &unready),
            ("02-ops-etcd-missing", "ops-etcd-missing", &absent),
            ("03-ops-backup-disabled", "ops-backup-disabled", &bare),
            ("04-ops-short-ttl", "ops-short-ttl", &absent),
        ] {
            let stored = format!("{gate}/{spec}/EtcdOpsTask-{name}.yaml");
            is_as(&format!("{spec}.yaml"), &stored, cluster.clone(), &[]);
        }
    }
    let outage = [Met::Nobody, Met::Outage];
    for (spec, file, meets) in [
        (
            "05-ops-full-ok",
            "ops-full-ok",
            &[Met::Says(200, SNAPSHOT)][..],
        ),
        (
            "06-ops-delta-null",
            "ops-delta-null",
            &[Met::Says(200, "null")],
        ),
        (
            "07-ops-full-http-500",
            "ops-full-http-500",
            &[Met::Says(500, "")],
        ),
        ("08-ops-unreachable", "ops-unreachable", &outage),
        (
            "09-ops-slow-running",
            "ops-slow-running.in-progress",
            &[Met::Silence],
        ),
        ("11-ops-delta-ok", "ops-delta-ok", &[Met::Says(200, DELTA)]),
    ] {
        let stored = format!("gate-on-ops/{spec}/EtcdOpsTask-{file}.yaml");
        is_as(&format!("{spec}.yaml"), &stored, ready(), meets);
    }
    let last = r#"{"kind":"Full","snapName":"Full-1","lastRevision":7,"isFinal":true}"#;
    let stored = "gate-on-ops/09-ops-slow-running/EtcdOpsTask-ops-slow-running.yaml";
    is_as(
        "09-ops-slow-running.yaml",
        stored,
        ready(),
        &[Met::Says(200, last)],
    );
}

#[test]
fn a_task_whose_etcd_is_busy_waits_where_etcd_druid_rejects_it() {
    let mut object = yaml(&goldens().join("specs-ops/10-ops-duplicate.yaml"));
    let before = Queued {
        created: "2026-11-24T10:19:00Z".parse().unwrap(),
        name: "ops-slow-running".to_owned(),
        queue: Queue::Runs,
    };
    play(&mut object, etcd("ops-slow", "True", true), &[before], &[]);
    let golden = goldens().join("gate-on-ops/10-ops-duplicate/EtcdOpsTask-ops-duplicate.yaml");
    assert_eq!(yaml(&golden)["status"]["state"], "Rejected");
    assert_eq!(object["status"]["state"], "Pending");
    assert_eq!(
        object["status"]["lastOperation"]["description"],
        "Waits behind EtcdOpsTask ops-slow-running, which is in progress"
    );
    assert_eq!(object["status"].get("lastErrors"), None);
}

/// Tasks that etcd-druid left behind are taken up where they are.
#[test]
fn what_etcd_druid_began_is_taken_up() {
    let path = "gate-on-ops/09-ops-slow-running/EtcdOpsTask-ops-slow-running.in-progress.yaml";
    let mut object = yaml(&goldens().join(path));
    let began: Timestamp = "2026-11-24T10:20:00Z".parse().unwrap();
    object["status"]["startedAt"] = json!(began.to_string());
    let read: EtcdOpsTask = serde_json::from_value(object).unwrap();
    let task = Task::of(&read);
    let cluster = etcd("ops-slow", "True", true);
    let seen = Observed {
        task: &task,
        etcd: Some(&cluster),
        others: &[],
        work: &Work::None,
        progress: &Progress::default(),
        wound_up: true,
    };
    let now = began + SignedDuration::from_secs(30);
    let decision = decide(&seen, &Limits::default(), now);
    let Some(Act::Start(attempt)) = decision.act else {
        panic!("{decision:?}");
    };
    assert_eq!((attempt.number, attempt.take), (1, true));
    assert_eq!(attempt.newer_than, Some(began));
    assert_eq!(attempt.by, began + SignedDuration::from_secs(900));

    let over = "gate-on-ops/05-ops-full-ok/EtcdOpsTask-ops-full-ok.yaml";
    let mut object = yaml(&goldens().join(over));
    object["status"]["lastTransitionTime"] = json!(began.to_string());
    let read: EtcdOpsTask = serde_json::from_value(object).unwrap();
    let task = Task::of(&read);
    let seen = Observed {
        task: &task,
        ..seen
    };
    let at = |seconds| {
        let now = began + SignedDuration::from_secs(seconds);
        decide(&seen, &Limits::default(), now)
    };
    assert_eq!(at(3599).act, None);
    assert_eq!(
        at(3599).again,
        Some(began + SignedDuration::from_secs(3600))
    );
    assert_eq!(at(3600).act, Some(Act::Delete));
}
