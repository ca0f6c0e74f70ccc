//! Compaction and defragmentation of a cluster that serves, and compaction of its snapshots.

use std::process::Command;
use std::time::{Duration, Instant};

use assert_cmd::cargo::cargo_bin;
use serde_json::{Value, json};

use crate::common_operator::etcd::{self, Address};
use crate::common_operator::space::{Space, TASKS, condition, text};
use crate::common_operator::writer::Writer;
use crate::common_operator::{Operator, eventually};
use crate::tasks::{await_success, create, task};

/// For maintenance in which the operator dies at every step, and another one is elected each time.
const PATIENCE: Duration = Duration::from_mins(4);
/// So many values of a tenth of a megabyte under four keys.
const PIECES: usize = 400;

fn fragment(address: &Address) {
    let value = "x".repeat(100 << 10);
    etcd::block(async {
        let channel = address.channel();
        for piece in 0..PIECES {
            let key = format!("large/{}", piece % 4);
            eventually_put(&channel, &key, &value).await;
        }
    });
}

/// A disk may stall for longer than one answer may take.
async fn eventually_put(channel: &tonic::transport::Channel, key: &str, value: &str) {
    for _ in 0..10 {
        if etcd::put(channel, key, value).await.is_ok() {
            return;
        }
    }
    panic!("{key} was not written");
}

fn terms(space: &Space) -> Vec<u64> {
    let pods = space.pods("main");
    let address = |pod: &String| Address::plain(space.operator.cluster.pod(space.name, pod));
    pods.keys()
        .map(|it| etcd::term(&address(it)).unwrap())
        .collect()
}

/// Sees that the history was compacted and all three were defragmented, each told once. `once`: each was
/// once. An operator that dies before it has told of one lets the next one do it again, and then it is the
/// second time that is told.
fn is_whole(status: &Value, once: bool) {
    let result = &status["result"];
    let members = result["members"].as_array().unwrap();
    let mut names: Vec<_> = members.iter().map(|it| text(&it["name"])).collect();
    names.sort();
    assert_eq!(names, ["main-0", "main-1", "main-2"], "{status:#}");
    for member in members {
        let bytes = |which: &str| member[which].as_u64().unwrap();
        assert!(bytes("bytesAfter") < 16 << 20, "{status:#}");
        assert!(!once || bytes("bytesBefore") > 40 << 20, "{status:#}");
    }
    let reclaimed = result["reclaimedBytes"].as_i64().unwrap();
    assert!(!once || reclaimed > 70 << 20, "{status:#}");
    assert!(
        result["compactedRevision"].as_u64().unwrap() >= 400,
        "{status:#}"
    );
}

fn both() -> Value {
    json!({ "onDemandMaintenance": { "etcdCompaction": true, "etcdDefragmentation": true } })
}

#[test]
fn all_members_give_their_space_back_under_load_and_elect_once() {
    let Some(operator) = Operator::shared() else {
        return;
    };
    let _works = Operator::works();
    let space = Space::new(operator, "maintained");
    space.ready("main", &space.spec("main"));
    let address = Address::plain(space.client("main"));
    fragment(&address);
    let (pods, before) = (space.pods("main"), terms(&space));
    let writer = Writer::start(address);
    let full = json!({ "onDemandSnapshot": { "type": "full" } });
    create(&space, "first", &full);
    create(&space, "second", &both());
    await_success(&space, "first");
    writer.gap();
    let status = await_success(&space, "second");
    let gap = writer.gap();
    is_whole(&status, true);
    assert_eq!(space.pods("main"), pods, "a pod was restarted");
    let after = terms(&space);
    // A disk that stalls for as long as an election takes may cost the leader his place, too.
    let stalled = gap > Duration::from_secs(1);
    assert!(
        stalled || after.iter().all(|it| *it == before[0] + 1),
        "{before:?} {after:?} {gap:?}"
    );
    eprintln!(
        "no write was acknowledged for {} ms at most",
        gap.as_millis()
    );
    let events = space.await_event("Normal", "Succeeded");
    assert!(!events.is_null());
    writer.finish();
    space.await_ready("main");
    let revision = is_healthy(&space);
    is_restorable(&space, revision);
}

/// `kubectl druid restore-plan` asks the sidecar through the API server.
fn is_restorable(space: &Space, covered: i64) {
    let cluster = &space.operator.cluster;
    let plan = eventually("the plan is whole", || {
        let mut druid = Command::new(cargo_bin("druid"));
        druid.args([
            "kubectl",
            "-n",
            space.name,
            "restore-plan",
            "main",
            "-o",
            "json",
        ]);
        let output = druid.arg("--kubeconfig").arg(cluster.kubeconfig()).output();
        let output = output.unwrap();
        // Who leads may have just changed.
        output
            .status
            .success()
            .then(|| serde_json::from_slice::<Value>(&output.stdout).unwrap())
    });
    assert_eq!(plan["source"], "sidecar", "{plan:#}");
    assert!(
        text(&plan["full"]["known"]["name"]).starts_with("Full-"),
        "{plan:#}"
    );
    assert!(plan["size"]["known"].as_u64().unwrap() > 0, "{plan:#}");
    assert!(
        plan["revision"]["known"].as_i64().unwrap() >= covered,
        "{plan:#}"
    );
}

/// `kubectl druid doctor` asks the members through their sidecars and finds nothing to do; up to which
/// revision they are backed up.
fn is_healthy(space: &Space) -> i64 {
    let cluster = &space.operator.cluster;
    let report = eventually("the doctor finds nothing", || {
        let mut druid = Command::new(cargo_bin("druid"));
        druid.args(["kubectl", "-n", space.name, "doctor", "main", "-o", "json"]);
        let output = druid
            .arg("--kubeconfig")
            .arg(cluster.kubeconfig())
            .output()
            .unwrap();
        let report: Value = serde_json::from_slice(&output.stdout).unwrap();
        // A delta snapshot may be late for a moment.
        output.status.success().then_some(report)
    });
    let leaders = report["members"].as_array().unwrap().iter();
    let leaders = leaders.filter(|it| it["role"]["known"] == "leader");
    assert_eq!(leaders.count(), 1, "{report:#}");
    assert_eq!(report["cluster"]["alarms"], json!({ "known": [] }));
    assert_eq!(
        report["cluster"]["clusterVersion"],
        json!({ "known": "3.4" })
    );
    let databases = report["databases"]["known"].as_array().unwrap();
    assert_eq!(databases.len(), 3, "{report:#}");
    assert!(
        databases.iter().all(|it| it["quota"].is_u64()),
        "{report:#}"
    );
    assert!(
        report["backups"]["revisionsBehind"]["known"].is_u64(),
        "{report:#}"
    );
    let covered = &report["backups"]["coveredRevision"]["known"];
    covered.as_i64().unwrap()
}

#[test]
fn an_operator_that_dies_at_every_step_leaves_maintenance_to_the_next_one() {
    let Some(operator) = Operator::shared() else {
        return;
    };
    let _alone = Operator::alone();
    let space = Space::new(operator, "resumed");
    let mut spec = space.spec("main");
    // Without backups, the history is not needed by anybody.
    spec["backup"] = json!({});
    space.ready("main", &spec);
    let address = Address::plain(space.client("main"));
    fragment(&address);
    let writer = Writer::start(address.clone());
    // On a quick disk it is over before anybody has looked: then once more.
    let status = (0..5).find_map(|round| {
        let name = format!("both-{round}");
        create(&space, &name, &both());
        let (status, deaths) = with_deaths(&space, &name);
        is_whole(&status, false);
        if deaths == 0 {
            fragment(&address);
        }
        (deaths > 0).then_some(status)
    });
    assert!(status.is_some(), "it was too quick for anybody to die");
    writer.finish();
}

/// The status of a task once it has succeeded, and how often the operator died meanwhile: at each step.
fn with_deaths(space: &Space, name: &str) -> (Value, usize) {
    let mut seen = Vec::new();
    let began = Instant::now();
    loop {
        let status = task(space, name)["status"].clone();
        let says = text(&status["lastOperation"]["description"]);
        if text(&status["state"]) == "Succeeded" {
            return (status, seen.len());
        }
        assert_ne!(text(&status["state"]), "Failed", "{status:#}");
        assert!(began.elapsed() < PATIENCE, "{status:#}");
        let step = says.starts_with("Compacts") || says.starts_with("Defragments");
        if step && !seen.contains(&says) {
            space.operator.replace();
            seen.push(says);
        }
    }
}

#[test]
fn snapshots_are_compacted_into_one_by_a_job_that_goes_with_its_task() {
    let Some(operator) = Operator::shared() else {
        return;
    };
    let _works = Operator::works();
    let space = Space::new(operator, "compacted");
    space.ready("main", &space.spec("main"));
    let writer = Writer::start(Address::plain(space.client("main")));
    create(
        &space,
        "delta",
        &json!({ "onDemandSnapshot": { "type": "delta" } }),
    );
    let delta = await_success(&space, "delta")["result"]["snapshot"].clone();
    create(
        &space,
        "compaction",
        &json!({ "onDemandSnapshotCompaction": {} }),
    );
    let status = await_success(&space, "compaction");
    let made = &status["result"]["snapshot"];
    assert!(text(&made["name"]).starts_with("Full-"), "{status:#}");
    assert!(
        made["revision"].as_i64().unwrap() >= delta["revision"].as_i64().unwrap(),
        "{status:#} {delta}"
    );
    let name = text(&made["name"]);
    let file = walk(&space.bucket("main"), |it| it == name);
    assert!(file, "{status:#}");
    let jobs = || space.list("jobs.batch");
    assert_eq!(jobs().len(), 1, "{:?}", jobs());
    // Its Job is no obstacle to the next one.
    create(
        &space,
        "again",
        &json!({ "onDemandSnapshotCompaction": {} }),
    );
    await_success(&space, "again");
    assert_eq!(jobs().len(), 1, "{:?}", jobs());
    space.kubectl(&["delete", TASKS, "compaction"]);
    assert_eq!(jobs().len(), 1, "{:?}", jobs());
    space.kubectl(&["delete", TASKS, "again"]);
    eventually("the Job goes with its task", || {
        jobs().is_empty().then_some(())
    });
    writer.finish();
}

#[test]
fn after_many_events_snapshots_are_compacted_into_one_without_anybody_asking() {
    let Some(operator) = Operator::shared() else {
        return;
    };
    let _works = Operator::works();
    let space = Space::new(operator, "many");
    let mut spec = space.spec("main");
    spec["backup"]["snapshotCompaction"] = json!({
        "eventsThreshold": 50, "resources": { "requests": { "cpu": "10m", "memory": "64Mi" } },
    });
    space.ready("main", &spec);
    let pods = space.pods("main");
    let address = Address::plain(space.client("main"));
    etcd::block(async {
        let channel = address.channel();
        for key in 0..60 {
            eventually_put(&channel, &format!("key/{key}"), "value").await;
        }
    });
    create(
        &space,
        "delta",
        &json!({ "onDemandSnapshot": { "type": "delta" } }),
    );
    let delta = await_success(&space, "delta")["result"]["snapshot"]["revision"].clone();
    space.until("main", "has one snapshot", |it| {
        (condition(it, "LastSnapshotCompactionSucceeded") == "True").then_some(())
    });
    let lease = space.list("leases").into_iter();
    let mut full = lease.filter(|it| it["metadata"]["name"] == "main-full-snap");
    let full = text(&full.next().unwrap()["spec"]["holderIdentity"]);
    assert!(full.parse::<i64>().unwrap() >= delta.as_i64().unwrap());
    let bucket = space.bucket("main");
    assert!(walk(&bucket, |name| name.starts_with("Full-")
        && name.contains(&full)));
    space.await_event("Normal", "SnapshotCompactionSucceeded");
    let jobs = || space.list("jobs.batch");
    eventually("the Job goes", || jobs().is_empty().then_some(()));
    assert_eq!(space.pods("main"), pods, "a pod was restarted");
    space.is_idle();
}

/// Whether a file with such a name is below.
fn walk(directory: &std::path::Path, is: impl Fn(&str) -> bool + Copy) -> bool {
    std::fs::read_dir(directory).unwrap().any(|entry| {
        let entry = entry.unwrap();
        let below = entry.file_type().unwrap().is_dir() && walk(&entry.path(), is);
        below || entry.file_name().to_str().is_some_and(is)
    })
}
