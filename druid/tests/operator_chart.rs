//! The Helm chart installs the operator on a real node, switches its gate, and goes again.
#![allow(clippy::unwrap_used, reason = "a test that cannot ask fails")]

mod common_cluster;
mod common_operator;

use common_cluster::Cluster;
use common_operator::{Operator, eventually};
use serde_json::json;
use xtask::deploy::{self, Build, NAME, NAMESPACE};

/// Of what Helm installed, all kinds.
const KINDS: &str = "deployments,replicasets,pods,services,configmaps,serviceaccounts,\
                     poddisruptionbudgets,clusterroles,clusterrolebindings,secrets";

fn helm(cluster: &Cluster, args: &[&str]) {
    let mut helm = xtask::cluster::helm_in(cluster.layout()).unwrap();
    helm.args(args).current_dir(xtask::root());
    helm.args(["--namespace", NAMESPACE, "--wait", "--timeout=2m"]);
    let output = helm.output().unwrap();
    assert!(output.status.success(), "{args:?}: {output:?}");
}

/// Installs it, or sets its gate. There are two, so that there is all that the chart can make.
fn upgrade(cluster: &Cluster, gate: bool) {
    let build = Build::loaded("of-the-test".to_owned());
    let mut values = deploy::values(gate, Some(&build));
    values["replicas"] = json!(2);
    let file = cluster.layout().directory().join("values.json");
    std::fs::write(&file, values.to_string()).unwrap();
    let with = ["--values", file.to_str().unwrap(), "--create-namespace"];
    let upgrade = ["upgrade", "--install", NAME, deploy::CHART];
    helm(cluster, &[&upgrade[..], &with].concat());
}

/// What there is of the operator, in any namespace.
fn of_the_operator(cluster: &Cluster) -> Vec<String> {
    let label = format!("--selector=app.kubernetes.io/name={NAME}");
    let mut found = Vec::new();
    for selector in [label.as_str(), "--selector=owner=helm"] {
        let names = cluster.kubectl(&["get", KINDS, "-A", selector, "--output=name"]);
        found.extend(names.lines().map(str::to_owned));
    }
    found
}

#[test]
fn helm_installs_the_operator_switches_its_gate_and_removes_it() {
    let Some(cluster) = Cluster::node() else {
        return;
    };
    let operator = Operator::on(cluster.clone());
    upgrade(&cluster, false);
    let first = eventually("one leads", || operator.leader());
    let starts = cluster.logs(NAMESPACE, &first, NAME);
    assert!(starts.contains("UpgradeEtcdVersion=false"), "{starts}");
    // Those of the build, not those that are built in.
    assert!(starts.contains("\"etcd_next\":\"3.5.27\""), "{starts}");
    let there = of_the_operator(&cluster);
    for kind in KINDS.split(',') {
        let singular = kind.trim_end_matches('s');
        assert!(
            there.iter().any(|it| it.starts_with(singular)),
            "{kind}: {there:?}"
        );
    }
    let example = std::fs::read_to_string(xtask::root().join("deploy/example.yaml")).unwrap();
    cluster.apply(&[serde_saphyr::from_str(&example).unwrap()]);
    let stateful_set = || cluster.try_kubectl(&["get", "statefulset", "main"]).status;
    eventually("it works", || stateful_set().success().then_some(()));

    // The same again restarts nothing.
    let generation =
        || cluster.get(NAMESPACE, "deployment", NAME)["metadata"]["generation"].clone();
    let before = generation();
    upgrade(&cluster, false);
    assert_eq!(generation(), before);

    upgrade(&cluster, true);
    let second = eventually("another leads", || {
        operator.leader().filter(|it| *it != first)
    });
    let starts = cluster.logs(NAMESPACE, &second, NAME);
    assert!(starts.contains("UpgradeEtcdVersion=true"), "{starts}");
    let gate = "kubernetes_feature_enabled{name=\"UpgradeEtcdVersion\",stage=\"ALPHA\"} 1";
    eventually("it knows the gate", || {
        operator.numbers().filter(|text| text.contains(gate))
    });

    helm(&cluster, &["uninstall", NAME]);
    eventually("nothing of it is left", || {
        of_the_operator(&cluster).is_empty().then_some(())
    });
    let crds = cluster.kubectl(&["get", "crds", "--output=name"]);
    assert!(crds.contains("/etcds.druid.gardener.cloud"), "{crds}");
    let etcd = cluster.get("default", "etcd", "main");
    assert_eq!(etcd["metadata"]["deletionTimestamp"], json!(null));
    assert!(stateful_set().success());
}
