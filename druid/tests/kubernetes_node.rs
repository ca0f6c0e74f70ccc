//! The node that tests run pods on is a real one: volumes, names, services, and etcd from our image.
#![allow(clippy::unwrap_used, reason = "a test that cannot ask fails")]

mod common_cluster;

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::unix::fs::MetadataExt as _;
use std::process::{Command, Stdio};
use std::time::Duration;

use common_cluster::{Cluster, eventually};
use serde_json::{Value, json};
use xtask::cluster::Traces;

const SPACE: &str = "smoke";
/// The user of our image.
const USER: u32 = 65532;
const SOON: Duration = Duration::from_secs(10);

/// Three members with a volume each, as an operator makes them.
fn etcd() -> Vec<Value> {
    let url = |member: &str, port| format!("http://{member}.etcd-peer.{SPACE}.svc:{port}");
    let members = ["etcd-0", "etcd-1", "etcd-2"];
    let initial = members
        .map(|it| format!("{it}={}", url(it, 2380)))
        .join(",");
    let arguments = [
        "--name=$(NAME)".to_owned(),
        "--data-dir=/data/etcd".to_owned(),
        "--listen-client-urls=http://0.0.0.0:2379".to_owned(),
        "--listen-peer-urls=http://0.0.0.0:2380".to_owned(),
        format!("--advertise-client-urls={}", url("$(NAME)", 2379)),
        format!("--initial-advertise-peer-urls={}", url("$(NAME)", 2380)),
        format!("--initial-cluster={initial}"),
    ];
    let name = json!({ "fieldRef": { "fieldPath": "metadata.name" } });
    let pod = json!({
        "securityContext": { "runAsNonRoot": true, "fsGroup": USER },
        "terminationGracePeriodSeconds": 5,
        "containers": [{
            "name": "etcd",
            "image": Cluster::image("3.5.27"),
            "command": ["etcd"],
            "args": arguments,
            "env": [{ "name": "NAME", "valueFrom": name }],
            "readinessProbe": { "httpGet": { "path": "/health", "port": 2379 }, "periodSeconds": 1 },
            "volumeMounts": [{ "name": "data", "mountPath": "/data" }],
        }],
    });
    let size = json!({ "requests": { "storage": "1Gi" } });
    let of_etcd = json!({ "app": "etcd" });
    vec![
        json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": SPACE } }),
        json!({
            "apiVersion": "v1", "kind": "Service",
            "metadata": { "name": "etcd-peer", "namespace": SPACE },
            "spec": {
                "clusterIP": "None", "publishNotReadyAddresses": true,
                "selector": of_etcd, "ports": [{ "port": 2380 }],
            },
        }),
        json!({
            "apiVersion": "v1", "kind": "Service",
            "metadata": { "name": "etcd-client", "namespace": SPACE },
            "spec": { "selector": of_etcd, "ports": [{ "port": 2379 }] },
        }),
        json!({
            "apiVersion": "apps/v1", "kind": "StatefulSet",
            "metadata": { "name": "etcd", "namespace": SPACE },
            "spec": {
                "replicas": 3, "serviceName": "etcd-peer", "podManagementPolicy": "Parallel",
                "selector": { "matchLabels": of_etcd },
                "template": { "metadata": { "labels": of_etcd }, "spec": pod },
                "volumeClaimTemplates": [{
                    "metadata": { "name": "data" },
                    "spec": { "accessModes": ["ReadWriteOnce"], "resources": size },
                }],
            },
        }),
    ]
}

#[test]
fn etcd_of_our_image_runs_on_volumes_and_is_reached_by_name_and_by_service() {
    let Some(cluster) = Cluster::node() else {
        return;
    };
    cluster.apply(&etcd());
    cluster.await_rollout(SPACE, "statefulset/etcd");

    let service = cluster.service(SPACE, "etcd-client");
    eventually("the Service answers this machine", || healthy(service));
    let pod = cluster.pod(SPACE, "etcd-1");
    assert!(healthy(pod).is_some());

    let name = format!("etcd-1.etcd-peer.{SPACE}.svc.cluster.local");
    let server = SocketAddr::from((cluster.name_server(), 53));
    let IpAddr::V4(address) = pod else {
        unreachable!("{pod}");
    };
    assert_eq!(answers(server, &name, A), [address.octets().to_vec()]);
    // TLS with names of a pattern asks for these.
    let [a, b, c, d] = address.octets();
    let reverse = answers(server, &format!("{d}.{c}.{b}.{a}.in-addr.arpa"), PTR);
    let names: Vec<_> = reverse.iter().map(|it| in_dots(it)).collect();
    assert!(names.contains(&name), "{names:?}");

    // From a pod: names of the other members, short ones, and this machine.
    let of = |it: &str| format!("http://{it}.etcd-peer:2379");
    let all = ["etcd-0", "etcd-1", "etcd-2"].map(of).join(",");
    let flags = ["--to", "3.5.27", "--endpoints"];
    let asked = [&["druid", "preflight"], &flags[..], &[&all]].concat();
    let said = cluster.exec(SPACE, "etcd-0", "etcd", &asked);
    let said = String::from_utf8(said.stdout).unwrap();
    for member in ["etcd-0", "etcd-1", "etcd-2"] {
        let line = said.lines().find(|it| it.trim().starts_with(member));
        assert!(line.is_some_and(|it| it.contains("3.5.27")), "{said}");
    }
    pods_reach_this_machine(&cluster);
    members_keep_their_data(&cluster);
    assert!(
        cluster
            .logs(SPACE, "etcd-0", "etcd")
            .contains("ready to serve")
    );
}

fn pods_reach_this_machine(cluster: &Cluster) {
    let listener = TcpListener::bind((cluster.machine(), 0)).unwrap();
    let here = format!("http://{}", listener.local_addr().unwrap());
    let asked = ["druid", "preflight", "--to", "3.5.27", "--endpoints", &here];
    std::thread::scope(|scope| {
        scope.spawn(|| cluster.exec(SPACE, "etcd-2", "etcd", &asked));
        let (asking, from) = listener.accept().unwrap();
        assert_eq!(from.ip(), cluster.pod(SPACE, "etcd-2"));
        drop(asking);
        drop(listener);
    });
}

fn members_keep_their_data(cluster: &Cluster) {
    let data = || {
        let volumes = std::fs::read_dir(cluster.volumes()).unwrap().flatten();
        let data = volumes.map(|it| it.path().join("etcd/member"));
        data.filter(|it| it.exists()).count()
    };
    assert_eq!(data(), 3);
    for volume in std::fs::read_dir(cluster.volumes()).unwrap().flatten() {
        let inner = std::fs::metadata(volume.path().join("etcd")).unwrap();
        assert_eq!(inner.uid(), USER);
    }
    let before = cluster.get(SPACE, "pod", "etcd-0")["metadata"]["uid"].clone();
    cluster.kubectl(&["--namespace", SPACE, "delete", "pod", "etcd-0"]);
    cluster.await_rollout(SPACE, "statefulset/etcd");
    assert_ne!(
        cluster.get(SPACE, "pod", "etcd-0")["metadata"]["uid"],
        before
    );
    assert!(healthy(cluster.pod(SPACE, "etcd-0")).is_some());
    assert_eq!(data(), 3);
}

/// Whether the etcd there says that it has a leader.
fn healthy(address: IpAddr) -> Option<()> {
    let mut connection = TcpStream::connect_timeout(&(address, 2379).into(), SOON).ok()?;
    connection.set_read_timeout(Some(SOON)).unwrap();
    let request = "GET /health HTTP/1.0\r\nHost: etcd\r\n\r\n";
    connection.write_all(request.as_bytes()).ok()?;
    let mut answer = String::new();
    connection.read_to_string(&mut answer).ok()?;
    answer.contains(r#""health":"true""#).then_some(())
}

const A: u16 = 1;
const PTR: u16 = 12;

/// The data of each record of one kind that a name server has for a name (RFC 1035, 4.1).
fn answers(server: SocketAddr, name: &str, kind: u16) -> Vec<Vec<u8>> {
    let mut query = vec![0, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in name.split('.') {
        query.push(u8::try_from(label.len()).unwrap());
        query.extend(label.as_bytes());
    }
    query.push(0);
    query.extend(kind.to_be_bytes());
    query.extend(1_u16.to_be_bytes());
    let socket = UdpSocket::bind(("0.0.0.0", 0)).unwrap();
    socket.set_read_timeout(Some(SOON)).unwrap();
    socket.send_to(&query, server).unwrap();
    let mut answer = [0; 4096];
    let size = socket.recv(&mut answer).unwrap();
    let answer = &answer[..size];
    assert_eq!(answer[3] & 0xf, 0, "{name}: {answer:?}");
    let count = u16::from_be_bytes([answer[6], answer[7]]);
    // The question is repeated first.
    let mut rest = &answer[query.len()..];
    (0..count)
        .map(|_| {
            // The name, as a pointer or as labels.
            rest = match rest[0] {
                0xc0.. => &rest[2..],
                _ => &rest[rest.iter().position(|it| *it == 0).unwrap() + 1..],
            };
            let length = usize::from(u16::from_be_bytes([rest[8], rest[9]]));
            let data = rest[10..10 + length].to_vec();
            rest = &rest[10 + length..];
            data
        })
        .collect()
}

/// A name that is written as labels.
fn in_dots(mut labels: &[u8]) -> String {
    let mut parts = Vec::new();
    while let Some((length, rest)) = labels.split_first().filter(|it| *it.0 > 0) {
        let (label, rest) = rest.split_at(usize::from(*length));
        parts.push(String::from_utf8(label.to_vec()).unwrap());
        labels = rest;
    }
    parts.join(".")
}

#[test]
#[ignore = "a part of the next one, which kills it"]
fn holds_a_node_until_it_is_killed() {
    let Some(cluster) = Cluster::start_node() else {
        return;
    };
    let traces = serde_json::to_string(&cluster.traces()).unwrap();
    // Not captured, and on a line of its own.
    writeln!(std::io::stdout(), "\n{traces}").unwrap();
    std::thread::sleep(Duration::from_mins(2));
}

#[test]
fn nothing_is_left_of_a_node_whose_test_was_killed_or_dropped_it() {
    let mut held = Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "holds_a_node_until_it_is_killed"])
        .args(["--nocapture", "--test-threads=1"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(held.stdout.take().unwrap()).lines();
    let mut told = lines.map_while(Result::ok).filter(|it| it.starts_with('{'));
    let killed = told.next();
    held.kill().unwrap();
    held.wait().unwrap();
    let Some(killed) = killed else {
        assert!(Cluster::start_node().is_none(), "it was not started");
        return;
    };
    let killed: Traces = serde_json::from_str(&killed).unwrap();
    eventually("its processes and its device are gone", || {
        let left = killed.left().unwrap();
        left.iter().all(|it| is_swept(it)).then_some(())
    });
    assert!(!killed.left().unwrap().is_empty());

    let cluster = Cluster::start_node().unwrap();
    assert_eq!(killed.left().unwrap(), Vec::<String>::new());
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": { "name": "one", "namespace": "default" },
        "spec": { "containers": [{ "name": "pause", "image": "druid.local/pause:1" }] },
    });
    cluster.apply(&[pod]);
    let wait = ["wait", "--for=condition=Ready", "pod/one", "--timeout=15s"];
    cluster.kubectl(&wait);
    let dropped = cluster.traces();
    let left = dropped.left().unwrap();
    assert!(left.iter().any(|it| it.contains("/pause")), "{left:?}");
    drop(cluster);
    assert_eq!(dropped.left().unwrap(), Vec::<String>::new());
}

/// What stays of a node that was killed, until the next one is started.
fn is_swept(left: &str) -> bool {
    left.starts_with("the directory ") || left.starts_with("the control group ")
}
