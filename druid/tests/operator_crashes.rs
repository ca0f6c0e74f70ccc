//! The operator dies after its writes to the API server, during an upgrade and the way back: the end is
//! the same, each member is restarted once, and one snapshot is taken.
#![allow(clippy::unwrap_used, reason = "a test that cannot ask fails")]

mod common_cluster;

use std::collections::BTreeMap;
use std::fs;

use common_cluster::{Cluster, eventually};
use serde_json::{Value, json};
use xtask::deploy::{self, Build, NAME, NAMESPACE};

const SPACE: &str = "crashes";
const OPERATOR: &str = "system:serviceaccount:druid-system:druid";

/// When it dies.
#[derive(Clone, Copy, Debug)]
enum Dies {
    Never,
    /// After every so many writes.
    Every(u32),
    /// After so many writes, once.
    Once(u32),
}

fn install(cluster: &Cluster, gate: bool, dies: Dies) {
    let build = Build::loaded("of-the-test".to_owned());
    let mut objects = deploy::objects(gate, Some(&build)).unwrap();
    let deployment = objects.iter_mut().find(|it| it["kind"] == "Deployment");
    let pod = &mut deployment.unwrap()["spec"]["template"]["spec"];
    let variable = match dies {
        Dies::Never => None,
        Dies::Every(count) => Some(("DRUID_TEST_DIES_EVERY_WRITES", count)),
        Dies::Once(count) => Some(("DRUID_TEST_DIES_AFTER_WRITES", count)),
    };
    if let Some((name, count)) = variable {
        let env = pod["containers"][0]["env"].as_array_mut().unwrap();
        env.push(json!({ "name": name, "value": count.to_string() }));
    }
    cluster.apply(&objects);
    cluster.await_rollout(NAMESPACE, &format!("deployment/{NAME}"));
}

fn etcd() -> Value {
    json!({
        "apiVersion": "druid.gardener.cloud/v1alpha1",
        "kind": "Etcd",
        "metadata": { "name": "main", "namespace": SPACE },
        "spec": {
            "replicas": 3,
            "labels": { "app": "main" },
            "etcd": {},
            "backup": { "store": {
                "provider": "Local", "container": "crashes", "prefix": "main",
            } },
        },
    })
}

fn get(cluster: &Cluster, kind: &str, path: &str) -> String {
    let path = format!("jsonpath={path}");
    cluster.kubectl(&["--namespace", SPACE, "get", kind, "-o", &path])
}

/// How often the operator has deleted each pod, and how many tasks it has made, by the audit log.
fn acts(cluster: &Cluster) -> (BTreeMap<String, u32>, u32) {
    let log = fs::read_to_string(cluster.audit_log()).unwrap();
    let (mut pods, mut tasks) = (BTreeMap::new(), 0);
    for line in log.lines() {
        let Ok(event) = serde_json::from_str::<Value>(line) else {
            continue;
        };
        let of = &event["objectRef"];
        let done = event["responseStatus"]["code"]
            .as_u64()
            .is_some_and(|it| it < 300);
        let ours = event["user"]["username"] == OPERATOR && of["namespace"] == SPACE;
        if !done || !ours {
            continue;
        }
        match (event["verb"].as_str(), of["resource"].as_str()) {
            (Some("delete"), Some("pods")) => {
                let name = of["name"].as_str().unwrap().to_owned();
                *pods.entry(name).or_default() += 1;
            }
            (Some("create"), Some("etcdopstasks")) => tasks += 1,
            _ => {}
        }
    }
    (pods, tasks)
}

/// Switches the gate while the operator dies, until all members are there. Returns how often each was
/// restarted, and how many snapshots were asked for.
fn switched(cluster: &Cluster, gate: bool, dies: Dies) -> (Vec<u32>, u32) {
    let before = acts(cluster);
    install(cluster, gate, dies);
    let target = if gate { "3.5.27" } else { "3.4.34" };
    eventually(&format!("all run {target}, {dies:?}"), || {
        let phase = "{.status.upgrade.phase} {.status.upgrade.to}";
        (get(cluster, "etcd/main", phase) == format!("Succeeded {target}")).then_some(())
    });
    let after = acts(cluster);
    let restarts = after
        .0
        .iter()
        .map(|(name, count)| count - before.0.get(name).copied().unwrap_or_default());
    (restarts.collect(), after.1 - before.1)
}

fn with_members(cluster: &Cluster) {
    install(cluster, false, Dies::Never);
    let space = json!({
        "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": SPACE },
    });
    cluster.apply(&[space, etcd()]);
    eventually("all members are ready", || {
        let ready = "{.status.conditions[?(@.type==\"AllMembersReady\")].status}";
        (get(cluster, "etcd/main", ready) == "True").then_some(())
    });
    eventually("the first snapshot is told of", || {
        let ready = "{.status.conditions[?(@.type==\"BackupReady\")].status}";
        (get(cluster, "etcd/main", ready) == "True").then_some(())
    });
}

fn both_ways(cluster: &Cluster, dies: Dies) {
    let up = switched(cluster, true, dies);
    assert_eq!(up, (vec![1, 1, 1], 1), "up, {dies:?}");
    let down = switched(cluster, false, dies);
    assert_eq!(down, (vec![1, 1, 1], 0), "back, {dies:?}");
}

#[test]
fn an_operator_that_dies_again_and_again_restarts_each_member_once() {
    let Some(cluster) = Cluster::node() else {
        return;
    };
    with_members(&cluster);
    for every in [2, 3] {
        both_ways(&cluster, Dies::Every(every));
    }
}

/// Some ten minutes: `cargo test --test operator_crashes -- --ignored`.
#[test]
#[ignore = "takes ten minutes"]
fn an_operator_that_dies_after_any_one_write_restarts_each_member_once() {
    let Some(cluster) = Cluster::node() else {
        return;
    };
    with_members(&cluster);
    for after in 1..=24 {
        both_ways(&cluster, Dies::Once(after));
    }
}
