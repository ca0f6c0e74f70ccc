//! The manifests in `deploy/` run the operator on a real node.
#![allow(clippy::unwrap_used, reason = "a test that cannot ask fails")]

mod common_cluster;

use std::io::{Read as _, Write as _};
use std::net::{IpAddr, TcpStream};
use std::time::{Duration, Instant};

use common_cluster::{Cluster, eventually};
use serde_json::Value;
use xtask::deploy::{self, Build, NAME, NAMESPACE};

const OF: &str = "deployment/druid";
const SOON: Duration = Duration::from_secs(5);

fn build() -> Build {
    Build::loaded("of-the-test".to_owned())
}

fn install(cluster: &Cluster, gate: bool) {
    cluster.apply(&deploy::objects(gate, Some(&build())).unwrap());
    cluster.await_rollout(NAMESPACE, OF);
}

/// The pod that holds the lease.
fn leader(cluster: &Cluster) -> Option<String> {
    let of = [
        "--namespace",
        NAMESPACE,
        "get",
        "lease",
        "druid-leader-election",
    ];
    let path = [
        "--ignore-not-found",
        "-o",
        "jsonpath={.spec.holderIdentity}",
    ];
    let holder = cluster.kubectl(&[&of[..], &path].concat());
    holder.split_once('_').map(|(pod, _)| pod.to_owned())
}

fn metrics(address: IpAddr) -> Option<String> {
    let mut stream = TcpStream::connect_timeout(&(address, 8080).into(), SOON).ok()?;
    stream.set_read_timeout(Some(SOON)).unwrap();
    let request = b"GET /metrics HTTP/1.1\r\nHost: druid\r\nConnection: close\r\n\r\n";
    stream.write_all(request).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    Some(answer)
}

#[test]
fn the_operator_runs_from_its_manifests_and_follows_its_gate() {
    let Some(cluster) = Cluster::node() else {
        return;
    };
    install(&cluster, false);
    let first = eventually("one leads", || leader(&cluster));
    let starts = cluster.logs(NAMESPACE, &first, NAME);
    assert!(starts.contains("UpgradeEtcdVersion=false"), "{starts}");
    // Those of the build, not those that are built in.
    assert!(starts.contains("\"etcd_next\":\"3.5.27\""), "{starts}");

    // The same again changes nothing.
    let generation = |cluster: &Cluster| {
        cluster.get(NAMESPACE, "deployment", NAME)["metadata"]["generation"].clone()
    };
    let before = generation(&cluster);
    install(&cluster, false);
    assert_eq!(generation(&cluster), before);

    install(&cluster, true);
    let second = eventually("another leads", || {
        leader(&cluster).filter(|it| *it != first)
    });
    let starts = cluster.logs(NAMESPACE, &second, NAME);
    assert!(starts.contains("UpgradeEtcdVersion=true"), "{starts}");
    let map = cluster.get(NAMESPACE, "configmap", deploy::CONFIG_MAP);
    assert_eq!(deploy::gate_of(&map), Some(true));

    let service = cluster.service(NAMESPACE, "druid-metrics");
    let gate = "kubernetes_feature_enabled{name=\"UpgradeEtcdVersion\",stage=\"ALPHA\"} 1";
    eventually("its numbers are served", || {
        metrics(service).filter(|text| text.contains(gate))
    });
    stands_by(&cluster, &second);
}

fn stands_by(cluster: &Cluster, leads: &str) {
    cluster.kubectl(&["--namespace", NAMESPACE, "scale", OF, "--replicas=2"]);
    cluster.await_rollout(NAMESPACE, OF);
    let list = ["--namespace", NAMESPACE, "get", "pods", "-o", "json"];
    let pods: Value = serde_json::from_str(&cluster.kubectl(&list)).unwrap();
    let restarts = pods["items"].as_array().unwrap().iter().map(|pod| {
        let status = &pod["status"]["containerStatuses"][0];
        status["restartCount"].as_u64().unwrap()
    });
    assert_eq!(restarts.sum::<u64>(), 0);
    assert_eq!(leader(cluster).as_deref(), Some(leads));
    cluster.kubectl(&[
        "--namespace",
        NAMESPACE,
        "delete",
        "pod",
        leads,
        "--wait=false",
    ]);
    let start = Instant::now();
    eventually("the one that stood by leads", || {
        leader(cluster).filter(|it| it != leads)
    });
    let took = start.elapsed();
    assert!(took < SOON, "{took:?}");
}
