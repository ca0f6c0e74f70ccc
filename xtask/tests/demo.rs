//! `cargo xtask demo upgrade`, as a person runs it, where containers can run: the whole way there and
//! back under load. Times are not looked at: other tests may run at the same time.
#![allow(
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that cannot look fails"
)]

mod common_named;

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use common_named::Named;
use druid_core::api::Kind;
use druid_core::report::{Outcome, Report};
use druid_core::version::Version;
use serde_json::{Value, json};
use xtask::deploy::{self, NAME, NAMESPACE};

const OLD: Version = Version::new(3, 4, 34);
const NEW: Version = Version::new(3, 5, 27);
/// What an interrupted demo exits with.
const INTERRUPTED: i32 = 130;
/// How long volumes may stay that nobody claims any more.
const GONE: Duration = Duration::from_secs(30);

/// The druid of the same build.
fn druid() -> PathBuf {
    let druid = Path::new(env!("CARGO_BIN_EXE_xtask")).with_file_name("druid");
    assert!(druid.exists(), "run `cargo test --workspace`");
    druid
}

fn demo(cluster: &Named, report: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
    command
        .args(["demo", "upgrade", "--name", &cluster.0, "--druid"])
        .arg(druid())
        .arg("--report")
        .arg(report)
        .stdin(Stdio::null());
    command
}

/// What is there of a demo and of the operator.
fn left(cluster: &Named) -> BTreeSet<String> {
    let name = cluster.0.parse().unwrap();
    let kubectl = |args: &[&str]| {
        let mut kubectl = xtask::cluster::cli::kubectl(&name).unwrap();
        let output = kubectl.args(args).arg("--output=name").output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    let all = kubectl(&["get", "namespaces,crds,clusterroles,persistentvolumes"]);
    let ours = |line: &&str| line.contains("druid") || line.starts_with("persistentvolume/");
    all.lines().filter(ours).map(str::to_owned).collect()
}

/// Sees that no more than this is left. Volumes go a moment after their claims.
fn leaves(cluster: &Named, expected: &BTreeSet<String>) {
    let start = Instant::now();
    while left(cluster) != *expected {
        let late = start.elapsed() > GONE;
        assert!(!late, "{:?} are left", left(cluster));
        std::thread::sleep(Duration::from_millis(200));
    }
}

/// One that is interrupted as soon as there is an Etcd removes what it made, Helm's release too.
fn interrupted(cluster: &Named, report: &Path) {
    let mut child = demo(cluster, report)
        .arg("--chart")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap().contains("] create: 3 members ready")));
    let pid = child.id().to_string();
    let status = Command::new("kill").args(["-INT", &pid]).status().unwrap();
    assert!(status.success());
    lines.for_each(drop);
    assert_eq!(child.wait().unwrap().code(), Some(INTERRUPTED));
    assert!(!report.exists());
    leaves(cluster, &BTreeSet::new());
}

#[test]
fn the_demo_loses_nothing_restarts_each_member_once_and_leaves_nothing_behind() {
    let cluster = Named::new("demo");
    if !cluster.up() {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let place = directory.path().join("report");
    interrupted(&cluster, &place);

    let output = demo(&cluster, &place).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}{output:?}");
    let text = std::fs::read_to_string(place.join("report.json")).unwrap();
    let report: Report = serde_json::from_str(&text).unwrap();
    assert_eq!(report.outcome, Outcome::Passed, "{}", report.reason);
    assert_eq!(report.broken_promises(), [""; 0]);
    // The load was there all along.
    assert!(report.writes.acknowledged > 1_000, "{:?}", report.writes);
    assert_eq!(report.writes.lost, 0);
    assert_eq!(report.hash_kv.equal, Some(true));
    assert_eq!(report.linearizable, Some(true));
    assert_eq!(report.snapshots_taken, Some(1));
    assert!(report.snapshot.unwrap().revision > 0);
    assert_eq!(report.rolls.len(), 2);
    for roll in &report.rolls {
        assert_eq!((roll.leader_changes, roll.restarts), (1, 3), "{roll:?}");
    }
    assert_eq!(report.members.len(), 3);
    for member in &report.members {
        assert_eq!(member.versions, [OLD, NEW, OLD], "{member:?}");
        assert_eq!(member.restarts, 2, "{member:?}");
    }
    let durations = report.durations.unwrap();
    assert!(durations.create.ms > 0 && durations.upgrade.ms > 0 && durations.rollback.ms > 0);
    let writes = report.operator_writes.unwrap();
    assert!(writes.upgrade["delete pods"] >= 3, "{writes:?}");
    assert!(
        said.contains("Passed: a cluster of 3 members went 3.4.34"),
        "{said}"
    );
    leaves(&cluster, &BTreeSet::new());
    as_somebody_elses(&cluster, directory.path());
}

fn helm(cluster: &Named, args: &[&str]) -> String {
    let mut helm = xtask::cluster::cli::helm(&cluster.0.parse().unwrap()).unwrap();
    helm.args(args).args(["--namespace", NAMESPACE]);
    let output = helm.current_dir(xtask::root()).output().unwrap();
    assert!(output.status.success(), "{args:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// The same cluster by its kubeconfig, where somebody has installed the chart, with an Etcd of a person's
/// own.
fn as_somebody_elses(cluster: &Named, directory: &Path) {
    let kept = "operatorConfig.logging.logLevel=debug";
    let install = ["install", NAME, deploy::CHART, "--create-namespace"];
    helm(cluster, &[&install[..], &["--set", kept]].concat());
    let example = xtask::root().join("deploy/example.yaml");
    let mut etcd: Value =
        serde_saphyr::from_str(&std::fs::read_to_string(example).unwrap()).unwrap();
    etcd["metadata"]["name"] = json!("mine");
    etcd["spec"]["backup"]["store"]["container"] = json!("mine");
    let mine = directory.join("mine.yaml");
    std::fs::write(&mine, etcd.to_string()).unwrap();
    let report = directory.join("theirs");
    let output = Command::new("sh")
        .args([
            "-c",
            "eval \"$(\"$0\" cluster env --name \"$1\")\" && unset AUDIT_LOG CONTAINERD_SOCK && \
             exec \"$0\" demo upgrade --kubeconfig \"$KUBECONFIG\" --image druid.local/druid \
             --etcd \"$2\" --report \"$3\"",
        ])
        .arg(env!("CARGO_BIN_EXE_xtask"))
        .arg(&cluster.0)
        .args([&mine, &report])
        .env(
            "HELM",
            xtask::cluster::helm(directory).unwrap().get_program(),
        )
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}{output:?}");
    let text = std::fs::read_to_string(report.join("report.json")).unwrap();
    let report: Report = serde_json::from_str(&text).unwrap();
    assert_eq!(report.outcome, Outcome::Passed, "{}", report.reason);
    assert_eq!(report.writes.lost, 0);
    assert_eq!(report.snapshots_taken, Some(1));
    // Nobody lets us read what the API server wrote down.
    assert!(report.operator_writes.is_none());
    // The operator is there as before, by Helm alone.
    let values = helm(cluster, &["get", "values", NAME, "--output=json"]);
    let values: Value = serde_json::from_str(&values).unwrap();
    assert_eq!(values["featureGates"]["UpgradeEtcdVersion"], false);
    assert_eq!(values["operatorConfig"]["logging"]["logLevel"], "debug");
    helm(cluster, &["uninstall", NAME, "--wait"]);
    let definitions = Kind::ALL.map(|it| it.definition().unwrap()["metadata"]["name"].clone());
    let stay = definitions.map(|it| {
        let name = it.as_str().unwrap();
        format!("customresourcedefinition.apiextensions.k8s.io/{name}")
    });
    let namespace = format!("namespace/{NAMESPACE}");
    leaves(cluster, &stay.into_iter().chain([namespace]).collect());
}
