//! `druid operator`, the program: how it begins, who leads, how it ends.
#![allow(
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that cannot ask fails"
)]

mod common_cluster;
mod common_kube;
mod common_preflight;
mod common_relay;

use std::fs::File;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use assert_cmd::cargo::cargo_bin;
use common_cluster::{Cluster, eventually};
use common_preflight::http_get;
use common_relay::{Mode, relay};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use tempfile::TempDir;

const HEAD: &str =
    "apiVersion: config.druid.gardener.cloud/v1alpha1\nkind: OperatorConfiguration\n";

fn druid(kubeconfig: Option<&Path>) -> Command {
    let mut druid = Command::new(cargo_bin("druid"));
    druid.arg("operator").stdin(Stdio::null());
    for variable in [
        "IMAGEVECTOR_OVERWRITE",
        "KUBECONFIG",
        "POD_NAME",
        "POD_NAMESPACE",
        "RUST_LOG",
    ] {
        druid.env_remove(variable);
    }
    if let Some(path) = kubeconfig {
        druid.arg("--kubeconfig").arg(path);
    }
    druid
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn write(dir: &TempDir, name: &str, text: &str) -> PathBuf {
    let path = dir.path().join(name);
    std::fs::write(&path, text).unwrap();
    path
}

/// One that runs, and is killed when it is dropped.
struct Operator {
    child: Child,
    port: u16,
    dir: TempDir,
}

impl Operator {
    /// With a lease of 3 s in the namespace.
    fn start(kubeconfig: &Path, namespace: &str, pod: &str) -> Self {
        let election =
            "{ enabled: true, leaseDuration: 3s, renewDeadline: 2s, retryPeriod: 200ms }";
        Self::elected(kubeconfig, namespace, pod, election)
    }

    fn elected(kubeconfig: &Path, namespace: &str, pod: &str, election: &str) -> Self {
        Self::with(kubeconfig, namespace, pod, election, "")
    }

    /// With more controllers.
    fn with(kubeconfig: &Path, namespace: &str, pod: &str, election: &str, more: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let free = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = free.local_addr().unwrap().port();
        drop(free);
        let text = format!(
            "{HEAD}server: {{ metrics: {{ bindAddress: 127.0.0.1, port: {port} }} }}\n\
             leaderElection: {election}\n\
             controllers: {{ etcd: {{ enableEtcdSpecAutoReconcile: true }} {more} }}\n"
        );
        let config = write(&dir, "config.yaml", &text);
        let log = File::create(dir.path().join("log")).unwrap();
        let child = druid(Some(kubeconfig))
            .arg("--config")
            .arg(config)
            .args(["--namespace", namespace])
            .env("POD_NAME", pod)
            .env("POD_NAMESPACE", namespace)
            .stderr(log)
            .spawn()
            .unwrap();
        Self { child, port, dir }
    }

    /// Status and body, if it answers.
    fn get(&self, path: &str) -> Option<(u16, String)> {
        let answer = http_get(&format!("http://127.0.0.1:{}", self.port), path)?;
        let (head, body) = answer.split_once("\r\n\r\n")?;
        let status = head.split(' ').nth(1)?.parse().ok()?;
        Some((status, body.to_owned()))
    }

    /// Until it is as ready as this.
    fn is(&self, says: &str) -> Duration {
        let start = Instant::now();
        eventually(says, || {
            self.get("/readyz").filter(|(_, body)| body.trim() == says)
        });
        start.elapsed()
    }

    fn leads(&self) -> bool {
        let (_, text) = self.get("/metrics").unwrap();
        let line = "leader_election_master_status{name=\"druid-leader-election\"} ";
        let value = text.lines().find_map(|it| it.strip_prefix(line));
        value.unwrap() == "1"
    }

    /// The lines of its log, each a JSON object.
    fn log(&self) -> Vec<Value> {
        let text = std::fs::read_to_string(self.dir.path().join("log")).unwrap();
        text.lines()
            .map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("no JSON: {line}")))
            .collect()
    }

    fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(self.child.id().try_into().unwrap());
        kill(pid, signal).unwrap();
    }

    /// Its exit code, once it has ended.
    fn ended(&mut self) -> Option<i32> {
        eventually("it has ended", || self.child.try_wait().unwrap()).code()
    }
}

impl Drop for Operator {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn holder(cluster: &Cluster, namespace: &str) -> String {
    let of = [
        "--namespace",
        namespace,
        "get",
        "lease",
        "druid-leader-election",
    ];
    let path = ["-o", "jsonpath={.spec.holderIdentity}"];
    cluster.kubectl(&[&of[..], &path].concat())
}

/// Applies our definitions, once for each cluster.
fn define(cluster: &Cluster) {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let client = common_kube::client(cluster).await;
        common_kube::define(&client).await;
    });
}

#[test]
fn all_that_is_wrong_with_the_configuration_is_told_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let wrong = format!(
        "{HEAD}featureGates: {{ UpgradeEtcd: true }}\n\
         controllers: {{ etcd: {{ concurrentSyncs: 0, etcdStatusSyncPeriod: soon }} }}\n\
         logging: {{ logFormat: xml }}\n"
    );
    let output = druid(None)
        .arg("--config")
        .arg(write(&dir, "config.yaml", &wrong))
        .env(
            "IMAGEVECTOR_OVERWRITE",
            write(&dir, "images.yaml", "images: [{ tag: a }]"),
        )
        .output()
        .unwrap();
    let text = said(&output);
    assert_eq!(output.status.code(), Some(2), "{text}");
    for part in [
        "there is no feature gate \"UpgradeEtcd\"",
        "controllers.etcd.concurrentSyncs: 0 cannot be",
        "controllers.etcd.etcdStatusSyncPeriod: \"soon\"",
        "logging.logFormat: \"xml\" is not known: write json or text",
        "images.yaml: entry 1 of the image vector has no name",
    ] {
        assert!(text.contains(part), "{part}\n{text}");
    }
}

#[test]
fn a_file_that_cannot_be_read_or_is_no_yaml_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let broken = write(&dir, "broken.yaml", "a: [");
    for (path, part) in [
        (
            Path::new("/nowhere/config.yaml"),
            "/nowhere/config.yaml: cannot be read",
        ),
        (&broken, "broken.yaml: is no YAML"),
    ] {
        let output = druid(None).arg("--config").arg(path).output().unwrap();
        let text = said(&output);
        assert_eq!(output.status.code(), Some(2), "{text}");
        assert!(text.contains(part), "{text}");
    }
}

#[test]
fn the_flags_from_before_there_was_a_file_are_read_and_judged_by_their_names() {
    let flags = [
        "--enable-leader-election",
        "--enable-etcd-spec-auto-reconcile=false",
        "--etcd-workers=-1",
        "--etcd-status-sync-period=0s",
        "--feature-gates=UpgradeEtcdVersion=maybe",
    ];
    let output = druid(None).args(flags).output().unwrap();
    let text = said(&output);
    assert_eq!(output.status.code(), Some(2), "{text}");
    for part in [
        "--etcd-workers: -1 cannot be",
        "--etcd-status-sync-period: \"0s\"",
        "--feature-gates: \"UpgradeEtcdVersion=maybe\" sets no feature gate",
    ] {
        assert!(text.contains(part), "{part}\n{text}");
    }
    // One that no flag is called is no command line at all.
    let output = druid(None).arg("--etcd-worker=1").output().unwrap();
    assert_eq!(output.status.code(), Some(64));
}

#[test]
fn the_help_says_what_it_is_told_by() {
    let output = druid(None).arg("--help").output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    for part in [
        "IMAGEVECTOR_OVERWRITE",
        "Exit codes",
        "druid crds | kubectl apply",
        "--etcd-ops-task-requeue-interval",
        "OperatorConfiguration",
    ] {
        assert!(text.contains(part), "{part}\n{text}");
    }
    let output = druid(None).arg("-h").output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(!text.contains("--etcd-workers"), "short: {text}");
}

#[test]
fn outside_of_a_pod_it_asks_for_a_kubeconfig() {
    let dir = tempfile::tempdir().unwrap();
    let config = write(&dir, "config.yaml", HEAD);
    let output = druid(None)
        .arg("--config")
        .arg(&config)
        .env_remove("KUBERNETES_SERVICE_HOST")
        .output()
        .unwrap();
    let text = said(&output);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("--kubeconfig or KUBECONFIG"), "{text}");
}

#[test]
fn definitions_that_are_missing_or_not_ours_are_named_with_the_remedy() {
    let cluster = Cluster::start();
    let ends_with = |part: &str| {
        let mut operator = Operator::start(&cluster.kubeconfig(), "default", "alone");
        assert_eq!(operator.ended(), Some(1));
        let log = operator.log();
        let last = &log.last().unwrap()["error"];
        let text = last.as_str().unwrap();
        assert!(text.contains(part), "{text}");
        assert!(text.contains("druid crds | kubectl apply"), "{text}");
    };
    ends_with("there is no custom resource etcds.druid.gardener.cloud");

    let mut definitions = common_kube::definitions();
    let status = "/spec/versions/0/schema/openAPIV3Schema/properties/status/properties";
    for definition in &mut definitions {
        if definition["spec"]["names"]["kind"] == "Etcd" {
            let fields = definition.pointer_mut(status).unwrap();
            fields.as_object_mut().unwrap().remove("upgrade").unwrap();
        }
    }
    cluster.apply(&definitions);
    ends_with("has no field status.upgrade");
}

#[test]
fn an_api_server_that_is_away_is_waited_for() {
    let dir = tempfile::tempdir().unwrap();
    let nobody = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let server = format!("https://{}", nobody.local_addr().unwrap());
    drop(nobody);
    let kubeconfig = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "c",
        "clusters": [{ "name": "c", "cluster": { "server": server } }],
        "users": [{ "name": "c", "user": { "token": "t" } }],
        "contexts": [{ "name": "c", "context": { "cluster": "c", "user": "c" } }],
    });
    let kubeconfig = write(&dir, "kubeconfig", &kubeconfig.to_string());
    let mut operator = Operator::start(&kubeconfig, "default", "alone");
    operator.is("waiting for the custom resources");
    assert_eq!(operator.get("/readyz").unwrap().0, 503);
    assert_eq!(operator.get("/healthz").unwrap().0, 200);
    assert_eq!(operator.get("/else").unwrap().0, 404);
    let waits = |it: &Value| it["message"] == "waiting for the custom resources";
    eventually("it says so", || {
        operator
            .log()
            .iter()
            .filter(|it| waits(it))
            .nth(1)
            .map(drop)
    });
    operator.signal(Signal::SIGTERM);
    assert_eq!(operator.ended(), Some(0));
}

/// A task whose Etcd there is not, so that the controller has something to say about it.
fn task(namespace: &str, name: &str) -> Value {
    json!({
        "apiVersion": "druid.gardener.cloud/v1alpha1", "kind": "EtcdOpsTask",
        "metadata": { "name": name, "namespace": namespace },
        "spec": { "etcdName": "none", "config": { "onDemandSnapshot": { "type": "full" } } },
    })
}

const COPIES: &str = "etcdcopybackupstasks.druid.gardener.cloud";

/// A task that copies a bucket of the node.
fn copy(namespace: &str) -> Value {
    let store = |bucket: &str| json!({ "provider": "Local", "container": bucket, "prefix": "p" });
    json!({
        "apiVersion": "druid.gardener.cloud/v1alpha1", "kind": "EtcdCopyBackupsTask",
        "metadata": { "name": "copy", "namespace": namespace },
        "spec": { "sourceStore": store("from"), "targetStore": store("into") },
    })
}

/// How often something in a namespace was asked for.
fn asked(cluster: &Cluster, verb: &str, namespace: &str, what: &str) -> usize {
    let audit = std::fs::read_to_string(cluster.audit_log()).unwrap();
    let part = format!("/namespaces/{namespace}/{what}");
    let lines = audit
        .lines()
        .filter_map(|it| serde_json::from_str::<Value>(it).ok());
    let of_it =
        |it: &Value| it["verb"] == verb && it["requestURI"].as_str().unwrap().contains(&part);
    lines.filter(of_it).count()
}

#[test]
fn what_is_switched_off_is_left_alone() {
    let cluster = Cluster::shared();
    define(&cluster);
    cluster.kubectl(&["create", "namespace", "off"]);
    cluster.apply(&[copy("off"), task("off", "one")]);
    let off = ", compaction: { enabled: false }, etcdCopyBackupsTask: { enabled: false, \
               concurrentSyncs: 3 }";
    let alone = "{ enabled: false }";
    let operator = Operator::with(&cluster.kubeconfig(), "off", "alone", alone, off);
    operator.is("ok: leads");
    until_rejected(&cluster, "off", "one");
    assert_eq!(asked(&cluster, "watch", "off", "etcdcopybackupstasks"), 0);
    assert_eq!(asked(&cluster, "watch", "off", "jobs"), 0);
    let of = ["--namespace", "off", "get", COPIES, "copy"];
    let path = ["-o", "jsonpath={.metadata.finalizers}{.status}"];
    assert_eq!(cluster.kubectl(&[&of[..], &path].concat()), "");
}

fn until_rejected(cluster: &Cluster, namespace: &str, name: &str) {
    let of = ["--namespace", namespace, "get", "etcdopstask", name];
    let path = ["-o", "jsonpath={.status.state}"];
    eventually("the task is rejected", || {
        let state = cluster.kubectl(&[&of[..], &path].concat());
        (state == "Rejected").then_some(())
    });
}

#[test]
fn one_of_two_works_and_the_other_takes_over() {
    let cluster = Cluster::shared();
    define(&cluster);
    cluster.kubectl(&["create", "namespace", "two"]);
    cluster.apply(&[task("two", "first")]);
    let begun = Instant::now();
    let mut a = Operator::start(&cluster.kubeconfig(), "two", "a");
    a.is("ok: leads");
    let took = begun.elapsed();
    println!("leads {took:?} after the start");
    assert!(took < Duration::from_secs(1), "{took:?}");
    until_rejected(&cluster, "two", "first");
    assert_eq!(holder(&cluster, "two"), "a");

    let mut b = Operator::start(&cluster.kubeconfig(), "two", "b");
    b.is("ok: another leads");
    assert_eq!(b.get("/readyz").unwrap().0, 200);
    assert!(a.leads() && !b.leads());

    a.signal(Signal::SIGKILL);
    assert_eq!(a.ended(), None);
    let took = b.is("ok: leads");
    println!("takes over {took:?} after the leader was killed");
    // Not before the lease of the dead one is over.
    assert!(took > Duration::from_secs(2), "{took:?}");
    assert_eq!(holder(&cluster, "two"), "b");
    cluster.apply(&[task("two", "second")]);
    until_rejected(&cluster, "two", "second");

    let mut c = Operator::start(&cluster.kubeconfig(), "two", "c");
    c.is("ok: another leads");
    b.signal(Signal::SIGTERM);
    assert_eq!(b.ended(), Some(0));
    let took = c.is("ok: leads");
    println!("takes over {took:?} after the leader ended in order");
    assert!(took < Duration::from_secs(1), "{took:?}");
    c.signal(Signal::SIGTERM);
    assert_eq!(c.ended(), Some(0));
    assert_eq!(holder(&cluster, "two"), "");
    let first = &c.log()[0];
    assert_eq!(first["message"], "the operator starts");
    assert_eq!(
        first["gates"],
        "UseEtcdWrapper=true,UpgradeEtcdVersion=false"
    );
    assert_eq!(first["etcd"], "3.4.34");
}

/// A kubeconfig with the rights in the manifests.
fn restricted(cluster: &Cluster, dir: &TempDir) -> PathBuf {
    let mut objects = xtask::deploy::objects(false, None).unwrap();
    objects.retain(|it| it["kind"] != "CustomResourceDefinition");
    cluster.apply(&objects);
    let token = cluster.token("druid-system", "druid");
    let kubeconfig = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "c",
        "clusters": [{ "name": "c", "cluster": {
            "server": cluster.server(), "certificate-authority": cluster.ca(),
        } }],
        "users": [{ "name": "c", "user": { "token": token } }],
        "contexts": [{ "name": "c", "context": { "cluster": "c", "user": "c" } }],
    });
    write(dir, "kubeconfig", &kubeconfig.to_string())
}

#[test]
fn the_rights_in_the_manifests_are_enough_for_jobs() {
    let cluster = Cluster::shared();
    define(&cluster);
    cluster.kubectl(&["create", "namespace", "jobs"]);
    let dir = tempfile::tempdir().unwrap();
    let kubeconfig = restricted(&cluster, &dir);
    cluster.apply(&[copy("jobs")]);
    let alone = "{ enabled: false }";
    let more = ", compaction: { enabled: true }, etcdCopyBackupsTask: { enabled: true }";
    let operator = Operator::with(&kubeconfig, "jobs", "restricted", alone, more);
    operator.is("ok: leads");
    let job = [
        "--namespace",
        "jobs",
        "get",
        "job",
        "copy-worker",
        "--output=name",
    ];
    eventually("the Job is made", || {
        cluster.try_kubectl(&job).status.success().then_some(())
    });
    let watched = ["jobs", "etcdcopybackupstasks", "leases"];
    eventually("all is watched", || {
        let all = watched
            .iter()
            .all(|it| asked(&cluster, "watch", "jobs", it) > 0);
        all.then_some(())
    });
    cluster.kubectl(&[
        "--namespace",
        "jobs",
        "delete",
        COPIES,
        "copy",
        "--wait=false",
    ]);
    eventually("the Job is deleted", || {
        (asked(&cluster, "delete", "jobs", "jobs/copy-worker") > 0).then_some(())
    });
    let refused = |it: &Value| it.to_string().contains("forbidden");
    assert!(!operator.log().iter().any(refused));
}

#[test]
fn the_rights_in_the_manifests_are_enough_and_no_more() {
    let cluster = Cluster::shared();
    define(&cluster);
    cluster.kubectl(&["create", "namespace", "rights"]);
    let dir = tempfile::tempdir().unwrap();
    let kubeconfig = restricted(&cluster, &dir);
    cluster.apply(&[task("rights", "one")]);
    let operator = Operator::start(&kubeconfig, "rights", "restricted");
    operator.is("ok: leads");
    until_rejected(&cluster, "rights", "one");
    let refused = |it: &Value| it.to_string().contains("forbidden");
    assert!(!operator.log().iter().any(refused));

    let account = "--as=system:serviceaccount:druid-system:druid";
    let role = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role",
        "metadata": { "name": "members", "namespace": "rights" },
        "rules": druid_core::render::role_rules(),
    });
    let binding = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding",
        "metadata": { "name": "members", "namespace": "rights" },
        "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "members" },
        "subjects": [{ "kind": "ServiceAccount", "name": "main", "namespace": "rights" }],
    });
    for (name, object) in [("role", role), ("binding", binding)] {
        let file = write(&dir, name, &object.to_string());
        cluster.kubectl(&[account, "create", "--filename", file.to_str().unwrap()]);
    }
    for (verb, resource) in [
        ("create", "secrets"),
        ("get", "nodes"),
        ("create", "pods"),
        ("create", "persistentvolumeclaims"),
        ("patch", "persistentvolumeclaims"),
        ("delete", "persistentvolumes"),
        ("delete", "secrets"),
        ("update", "secrets"),
        ("create", "etcds.druid.gardener.cloud"),
        ("create", "clusterroles.rbac.authorization.k8s.io"),
    ] {
        let asked = [
            account,
            "auth",
            "can-i",
            verb,
            resource,
            "--namespace=rights",
        ];
        let answer = cluster.try_kubectl(&asked);
        assert_eq!(answer.stdout, b"no\n", "{verb} {resource}");
    }
}

/// The administrator's, at another address.
fn kubeconfig_at(cluster: &Cluster, dir: &TempDir, port: u16) -> PathBuf {
    let kubeconfig = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "c",
        "clusters": [{ "name": "c", "cluster": {
            "server": format!("https://127.0.0.1:{port}"), "certificate-authority": cluster.ca(),
        } }],
        "users": [{ "name": "c", "user": {
            "client-certificate": cluster.certificate(), "client-key": cluster.key(),
        } }],
        "contexts": [{ "name": "c", "context": { "cluster": "c", "user": "c" } }],
    });
    write(dir, "kubeconfig", &kubeconfig.to_string())
}

#[test]
fn what_happens_while_the_api_server_is_away_is_seen_afterwards() {
    let cluster = Cluster::shared();
    define(&cluster);
    cluster.kubectl(&["create", "namespace", "away"]);
    let relay = relay(cluster.server().strip_prefix("https://").unwrap(), Mode::Up);
    let dir = tempfile::tempdir().unwrap();
    let kubeconfig = kubeconfig_at(&cluster, &dir, relay.address().port());
    let mut operator = Operator::elected(&kubeconfig, "away", "o", "{ enabled: false }");
    operator.is("ok: leads");
    let etcd = |name: &str| {
        json!({
            "apiVersion": "druid.gardener.cloud/v1alpha1", "kind": "Etcd",
            "metadata": { "name": name, "namespace": "away" },
            "spec": { "replicas": 1, "labels": { "app": name }, "etcd": {}, "backup": {} },
        })
    };
    let there = |what: &str| {
        eventually(what, || {
            let get = ["--namespace=away", "get", what, "--output=name"];
            cluster.try_kubectl(&get).status.success().then_some(())
        });
    };
    cluster.apply(&[etcd("first")]);
    there("statefulset/first");
    // Everything that it listens to ends, without a word or after a silence.
    for (round, away) in [Mode::Down, Mode::Mute].into_iter().enumerate() {
        relay.become_so(away);
        cluster.kubectl(&["--namespace=away", "delete", "service/first-client"]);
        let other = format!("other-{round}");
        cluster.apply(&[etcd(&other)]);
        std::thread::sleep(Duration::from_secs(2));
        relay.become_so(Mode::Up);
        there("service/first-client");
        there(&format!("statefulset/{other}"));
    }
    operator.signal(Signal::SIGTERM);
    assert_eq!(operator.ended(), Some(0));
}

#[test]
fn whoever_loses_the_lease_stops_at_once_and_stands_by_anew() {
    let cluster = Cluster::shared();
    define(&cluster);
    cluster.kubectl(&["create", "namespace", "lost"]);
    let mut operator = Operator::start(&cluster.kubeconfig(), "lost", "mine");
    operator.is("ok: leads");
    let patch = r#"{"spec":{"holderIdentity":"thief"}}"#;
    let of = [
        "--namespace",
        "lost",
        "patch",
        "lease",
        "druid-leader-election",
    ];
    cluster.kubectl(&[&of[..], &["--type=merge", "-p", patch]].concat());
    assert!(operator.is("ok: another leads") < Duration::from_secs(2));
    assert_eq!(holder(&cluster, "lost"), "thief");
    let log = operator.log();
    let lost = log.iter().position(|it| it["error"].is_string()).unwrap();
    let why = log[lost]["error"].as_str().unwrap();
    assert!(why.contains("druid-leader-election was lost"), "{why}");
    let starts = |it: &Value| it["message"] == "the operator starts";
    assert_eq!(log[..lost].iter().filter(|it| starts(it)).count(), 1);
    assert_eq!(log[lost..].iter().filter(|it| starts(it)).count(), 1);
    // The thief renews it no more.
    operator.is("ok: leads");
    assert_eq!(holder(&cluster, "lost"), "mine");
    // It is the same process, and does as it is told.
    operator.signal(Signal::SIGTERM);
    assert_eq!(operator.ended(), Some(0));
}
