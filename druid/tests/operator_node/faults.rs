//! What goes wrong on the way: no snapshot, a member that is down, an operator that is
//! killed. Members that are well stay so.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::common_operator::etcd::Address;
use crate::common_operator::space::{Space, condition, enabled, text};
use crate::common_operator::writer::Writer;
use crate::common_operator::{NEW, Operator, TOLD, eventually};

/// Nobody waits so long for a write if no member goes, not on a busy machine either.
const UNTOUCHED: Duration = Duration::from_secs(3);

/// A store that nobody can write to, as long as there is this.
struct Closed(PathBuf);

impl Closed {
    fn new(bucket: PathBuf) -> Self {
        allow(&bucket, 0o500);
        Self(bucket)
    }
}

impl Drop for Closed {
    fn drop(&mut self) {
        allow(&self.0, 0o700);
    }
}

/// Of a directory and all in it.
fn allow(directory: &Path, mode: u32) {
    std::fs::set_permissions(directory, PermissionsExt::from_mode(mode)).unwrap();
    for entry in std::fs::read_dir(directory).unwrap().flatten() {
        if entry.path().is_dir() {
            allow(&entry.path(), mode);
        }
    }
}

#[test]
fn three_failed_snapshots_halt_an_upgrade_until_somebody_says_that_he_has_seen_it() {
    let Some(operator) = Operator::shared() else {
        return;
    };
    let _works = Operator::works();
    let space = Space::new(operator, "halt");
    space.ready("main", &space.spec("main"));
    let (before, since) = (space.pods("main"), space.mark());
    let closed = Closed::new(space.bucket("main"));
    space.patch("main", &enabled(true));
    eventually("the third snapshot has failed", || {
        (space.tasks().get("main-upgrade-1-try-3")? == "Failed").then_some(())
    });
    let failed = Instant::now();
    let upgrade = space.await_phase("main", 1, NEW, "Blocked");
    let took = failed.elapsed();
    println!("told {took:?} after the third failure");
    assert!(took < TOLD, "{took:?}");
    assert_eq!(upgrade["attempts"], 3);
    assert_eq!(upgrade["reason"], "SnapshotFailed");
    let etcd = space.etcd("main");
    assert_eq!(condition(&etcd, "UpgradeComplete"), "False");
    assert_eq!(condition(&etcd, "Ready"), "True");
    space.await_event("Warning", "UpgradeHalted");
    let halted = "druid_upgrade_halted{etcd_namespace=\"halt\",etcd=\"main\"} 1";
    eventually("the numbers tell of it", || {
        space.operator.numbers()?.contains(halted).then_some(())
    });
    let tasks = space.tasks();
    assert_eq!(tasks.len(), 3, "{tasks:?}");
    assert!(tasks.values().all(|it| it == "Failed"), "{tasks:?}");
    assert_eq!(space.pods("main"), before);
    assert_eq!(space.first_deletion(since), None);

    // That it could go on now is not enough.
    drop(closed);
    std::thread::sleep(Duration::from_secs(6));
    assert_eq!(space.etcd("main")["status"]["upgrade"]["phase"], "Blocked");
    assert_eq!(space.tasks(), tasks);
    let annotation = "druid.gardener.cloud/acknowledge-upgrade-halt";
    space.patch(
        "main",
        &json!({ "metadata": { "annotations": { annotation: "1" } } }),
    );
    // The sidecar takes its time after so many failures.
    let task = "main-upgrade-2-try-1";
    eventually("the snapshot is taken", || {
        (space.tasks().get(task)? == "Succeeded").then_some(())
    });
    space.await_phase("main", 2, NEW, "Succeeded");
    space.restarted_once("main", &before, since);
    assert_eq!(space.tasks().len(), 4);
}

#[test]
fn with_a_member_down_nobody_is_touched_until_it_is_back() {
    let Some(operator) = Operator::shared() else {
        return;
    };
    let _works = Operator::works();
    let space = Space::new(operator, "down");
    space.ready("main", &space.spec("main"));
    let (before, since) = (space.pods("main"), space.mark());
    space.signal_etcd("main-1", Signal::SIGSTOP);
    space.await_unready("main-1");
    let writer = Writer::start(Address::plain(space.client("main")));
    writer.gap();
    space.patch("main", &enabled(true));
    let why = space.await_refusal("main", "main-1");
    assert!(why["reason"].is_string(), "{why}");
    std::thread::sleep(Duration::from_secs(6));
    assert_eq!(space.first_deletion(since), None);
    assert_eq!(space.pods("main"), before);
    writer.await_more();
    // It would be the time of an election and more.
    let gap = writer.gap();
    assert!(gap < UNTOUCHED, "{gap:?}");

    space.signal_etcd("main-1", Signal::SIGCONT);
    space.await_release("main", NEW);
    space.restarted_once("main", &before, since);
    writer.finish();
}

#[test]
fn an_operator_that_is_killed_again_and_again_comes_to_the_same_end() {
    let Some(operator) = Operator::shared() else {
        return;
    };
    let _works = Operator::works();
    let space = Space::new(operator, "killed");
    space.ready("main", &space.spec("main"));
    let (before, since) = (space.pods("main"), space.mark());
    let writer = Writer::start(Address::plain(space.client("main")));
    space.patch("main", &enabled(true));
    // Each time as soon as it has done something more.
    for done in 0..3 {
        eventually("a member goes", || {
            (!space.tasks().is_empty() && space.made(since).len() >= done).then_some(())
        });
        space.operator.kill();
    }
    space.await_phase("main", 1, NEW, "Succeeded");
    space.restarted_once("main", &before, since);
    assert_eq!(space.tasks().len(), 1, "{:?}", space.tasks());
    assert_eq!(space.tasks()["main-upgrade-1-try-1"], "Succeeded");
    writer.finish();
}

#[test]
fn a_volume_that_is_not_there_is_told_with_what_kubernetes_says_of_it() {
    let Some(operator) = Operator::shared() else {
        return;
    };
    let _works = Operator::works();
    let space = Space::new(operator, "volumes");
    let mut spec = space.spec("main");
    spec["replicas"] = json!(1);
    spec["storageClass"] = json!("late");
    space.create("main", &spec);
    let volumes = |etcd: &Value| {
        let all = etcd["status"]["conditions"].as_array()?;
        all.iter()
            .find(|it| it["type"] == "DataVolumesReady")
            .cloned()
    };
    let told = space.until("main", "tells of its volumes", |it| {
        volumes(it).filter(|it| it["status"] == "False")
    });
    assert_eq!(told["reason"], "FoundWarningsForDataVolumes");
    let message = text(&told["message"]);
    let claim = "Warning for PVC volumes/main-main-0:";
    let why = "storageclass.storage.k8s.io \"late\" not found";
    assert!(
        message.contains(claim) && message.contains(why),
        "{message}"
    );

    let class = space.kubectl(&["get", "storageclass", "host-path", "-o", "json"]);
    let mut class: Value = serde_json::from_str(&class).unwrap();
    class["metadata"] = json!({ "name": "late" });
    space.operator.cluster.apply(&[class]);
    space.await_ready("main");
    space.until("main", "has its volume", |it| {
        volumes(it).filter(|it| it["status"] == "True")
    });
    space.kubectl(&["delete", "storageclass", "late"]);
}

#[test]
fn a_quorum_that_is_lost_and_comes_back_is_told_at_once_and_not_before() {
    let Some(operator) = Operator::shared() else {
        return;
    };
    let _works = Operator::works();
    let space = Space::new(operator, "quorum");
    space.ready("main", &space.spec("main"));
    let told = |all: &str, quorum: &str| {
        space.until("main", "tells of its members", |it| {
            let said = [condition(it, "AllMembersReady"), condition(it, "Ready")];
            (said == [all, quorum]).then_some(())
        });
    };
    space.signal_etcd("main-2", Signal::SIGSTOP);
    space.await_unready("main-2");
    told("False", "True");
    // Two of three are a quorum, however long that goes on.
    std::thread::sleep(TOLD);
    assert_eq!(condition(&space.etcd("main"), "Ready"), "True");

    space.signal_etcd("main-1", Signal::SIGSTOP);
    space.await_unready("main-1");
    let since = Instant::now();
    told("False", "False");
    let took = since.elapsed();
    println!("told {took:?} after the pods were not ready");
    assert!(took < TOLD, "{took:?}");

    space.signal_etcd("main-1", Signal::SIGCONT);
    space.signal_etcd("main-2", Signal::SIGCONT);
    eventually("all pods are ready", || {
        let pods = space.list("pods");
        let ready = |it: &Value| condition(it, "Ready") == "True";
        pods.iter().all(ready).then_some(())
    });
    let since = Instant::now();
    told("True", "True");
    let took = since.elapsed();
    println!("told {took:?} after the pods were ready");
    assert!(took < TOLD, "{took:?}");
}

#[test]
fn with_sidecars_that_answer_nobody_no_pod_is_touched_until_they_do() {
    let Some(operator) = Operator::shared() else {
        return;
    };
    let _works = Operator::works();
    let space = Space::new(operator, "mute");
    space.ready("main", &space.spec("main"));
    let (before, since) = (space.pods("main"), space.mark());
    for pod in before.keys() {
        space.signal_sidecar(pod, Signal::SIGSTOP);
    }
    space.patch("main", &enabled(true));
    // Whether a snapshot could be verified is asked before one is taken.
    let why = space.until("main", "is told why it waits", |it| {
        let upgrade = &it["status"]["upgrade"];
        let waits = upgrade["reason"] == "PreflightUnknown";
        waits.then(|| text(&upgrade["message"]))
    });
    assert!(why.contains("no answer within"), "{why}");
    assert!(space.tasks().is_empty(), "{:?}", space.tasks());
    assert_eq!(space.pods("main"), before);
    assert_eq!(space.first_deletion(since), None);
    for pod in before.keys() {
        space.signal_sidecar(pod, Signal::SIGCONT);
    }
    space.await_phase("main", 1, NEW, "Succeeded");
    space.restarted_once("main", &before, since);
    let taken = space.tasks().into_values().filter(|it| it == "Succeeded");
    assert_eq!(taken.count(), 1, "{:?}", space.tasks());
}

/// Volumes of a class of their own, that of one member on a small file system.
fn small_volumes(space: &Space, small: &str) {
    let cluster = &space.operator.cluster;
    let volumes = (0..3).map(|ordinal| {
        let directory = format!("/tmp/full-{ordinal}");
        let made = cluster.on_node("mkdir", &["--mode=777", &directory]);
        assert!(made.status.success(), "{made:?}");
        if directory == small {
            let options = ["-t", "tmpfs", "-o", "size=200m,mode=777", "tmpfs", small];
            let made = cluster.on_node("mount", &options);
            assert!(made.status.success(), "{made:?}");
        }
        json!({
            "apiVersion": "v1", "kind": "PersistentVolume",
            "metadata": { "name": format!("full-{ordinal}") },
            "spec": {
                "accessModes": ["ReadWriteOnce"],
                "capacity": { "storage": "16Gi" },
                "claimRef": { "namespace": space.name, "name": format!("main-main-{ordinal}") },
                "hostPath": { "path": directory },
                "persistentVolumeReclaimPolicy": "Retain",
                "storageClassName": "full",
            },
        })
    });
    cluster.apply(&volumes.collect::<Vec<_>>());
}

#[test]
fn a_volume_that_is_full_stops_its_member_and_no_other() {
    let Some(operator) = Operator::shared() else {
        return;
    };
    let _works = Operator::works();
    let space = Space::new(operator, "full");
    let small = "/tmp/full-1";
    small_volumes(&space, small);
    let mut spec = space.spec("main");
    spec["storageClass"] = json!("full");
    space.ready("main", &spec);
    let (before, since) = (space.pods("main"), space.mark());
    let writer = Writer::start(Address::plain(space.client("main")));
    let ballast = format!("{small}/ballast");
    let of = format!("of={ballast}");
    let node = |program: &str, args: &[&str]| space.operator.cluster.on_node(program, args);
    let filled = node("dd", &["if=/dev/zero", &of, "bs=64k"]);
    assert!(String::from_utf8_lossy(&filled.stderr).contains("No space left"));
    space.await_unready("main-1");

    space.patch("main", &enabled(true));
    let why = space.await_refusal("main", "main-1");
    println!("{}", why["message"]);
    std::thread::sleep(Duration::from_secs(6));
    assert_eq!(space.first_deletion(since), None);
    let now = space.pods("main");
    for healthy in ["main-0", "main-2"] {
        assert_eq!(now[healthy], before[healthy]);
    }
    writer.await_more();

    let removed = node("rm", &[&ballast]);
    assert!(removed.status.success(), "{removed:?}");
    space.await_release("main", NEW);
    writer.finish();
}
