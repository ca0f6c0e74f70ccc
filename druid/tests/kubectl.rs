//! `kubectl druid` against a real API server: what it shows, what it writes, and what it says when it
//! cannot.
#![allow(
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that cannot ask fails"
)]

mod common_authority;
mod common_cluster;
mod common_kube;

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{IpAddr, TcpListener, TcpStream, UdpSocket};
use std::os::unix::fs::symlink;
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use assert_cmd::cargo::cargo_bin;
use common_authority::Authority;
use common_cluster::Cluster;
use common_kube::{client, define, resources};
use kube::Client;
use kube::api::{DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams};
use serde_json::{Value, json};

const AT: &str = "2026-11-24T10:20:30Z";
/// Nothing that is waited for takes longer.
const LONG: Duration = Duration::from_secs(30);

/// The program with the rights of the administrator, in a namespace.
fn druid(cluster: &Cluster, namespace: &str, args: &[&str]) -> Command {
    let mut druid = bare();
    druid.args(["kubectl", "-n", namespace, "--kubeconfig"]);
    druid.arg(cluster.kubeconfig()).args(args);
    druid
}

/// The program, and nothing that says where an API server is.
fn bare() -> Command {
    let mut druid = Command::new(cargo_bin("druid"));
    druid.stdin(Stdio::null());
    for name in ["KUBECONFIG", "HOME", "KUBERNETES_SERVICE_HOST"] {
        druid.env_remove(name);
    }
    druid.env("HOME", "/nonexistent");
    druid
}

fn said(output: &Output) -> (String, String) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (text(&output.stdout), text(&output.stderr))
}

fn succeeds(mut command: Command) -> String {
    succeeds_of(&mut command)
}

/// What it says on standard error; it ends with 1.
fn fails(mut command: Command) -> String {
    let output = command.output().unwrap();
    let (out, error) = said(&output);
    assert_eq!(output.status.code(), Some(1), "{out}{error}");
    assert!(error.starts_with("error: "), "{error}");
    error
}

fn etcd(name: &str) -> Value {
    json!({
        "apiVersion": "druid.gardener.cloud/v1alpha1", "kind": "Etcd",
        "metadata": { "name": name },
        "spec": {
            "labels": { "a": "b" }, "replicas": 3, "etcd": {},
            "backup": { "store": {
                "prefix": "p", "provider": "S3", "container": "bucket", "secretRef": { "name": "s" },
            } },
        },
    })
}

fn well() -> Value {
    let condition = |kind: &str, status: &str| {
        json!({
            "type": kind, "status": status, "reason": "R", "message": "M",
            "lastTransitionTime": AT, "lastUpdateTime": AT,
        })
    };
    let member = |at: usize| {
        json!({
            "name": format!("main-{at}"), "role": "Member", "status": "Ready", "reason": "R",
            "lastTransitionTime": AT,
        })
    };
    json!({
        "observedGeneration": 1, "ready": true, "readyReplicas": 3,
        "conditions": [
            condition("AllMembersReady", "True"), condition("BackupReady", "True"),
            condition("Ready", "True"),
        ],
        "members": [member(0), member(1), member(2)],
    })
}

fn upgrade(phase: &str, reason: &Value, message: &str, done: usize) -> Value {
    let members: Vec<_> = (0..3)
        .map(|at| {
            let (phase, version) = if at < done {
                ("Replaced", "3.5.27")
            } else {
                ("Pending", "3.4.34")
            };
            json!({ "name": format!("main-{at}"), "phase": phase, "version": version })
        })
        .collect();
    json!({
        "from": "3.4.34", "to": "3.5.27", "direction": "Upgrade", "phase": phase,
        "reason": reason, "message": message, "members": members,
        "startedAt": AT, "lastTransitionTime": AT,
        "record": {
            "attempt": 7, "from": "3.4.34", "to": "3.5.27", "phase": "Rolling", "started": AT,
            "touched": true, "members": [],
            "snapshot": { "tries": 0, "failures": 0, "state": "Missing" },
        },
    })
}

async fn create(client: &Client, namespace: &str, object: &Value) {
    let api = resources(client, namespace, object["kind"].as_str().unwrap());
    let object: DynamicObject = serde_json::from_value(object.clone()).unwrap();
    api.create(&PostParams::default(), &object).await.unwrap();
}

async fn set(client: &Client, namespace: &str, kind: &str, name: &str, status: &Value) {
    let api = resources(client, namespace, kind);
    let patch = json!({ "status": status });
    let params = PatchParams::default();
    api.patch_status(name, &params, &Patch::Merge(&patch))
        .await
        .unwrap();
}

async fn made(client: &Client, namespace: &str, name: &str, status: &Value) {
    create(client, namespace, &etcd(name)).await;
    set(client, namespace, "Etcd", name, status).await;
}

async fn stored(client: &Client, namespace: &str, name: &str) -> Value {
    let found = resources(client, namespace, "Etcd").get(name).await;
    serde_json::to_value(found.unwrap()).unwrap()
}

fn with(upgrade: Value) -> Value {
    let mut status = well();
    status["upgrade"] = upgrade;
    status
}

/// A StatefulSet and its pods, as far as they are looked at.
fn pods_of(cluster: &Cluster, namespace: &str, ready: usize) {
    let labels = json!({
        "app.kubernetes.io/managed-by": "etcd-druid", "app.kubernetes.io/part-of": "main",
    });
    let spec = json!({
        "containers": [{ "name": "etcd", "image": "mirror.local/etcd-wrapper:v0.6.2" }],
        "automountServiceAccountToken": false,
    });
    let mut objects = vec![json!({
        "apiVersion": "apps/v1", "kind": "StatefulSet",
        "metadata": { "name": "main", "namespace": namespace, "labels": labels },
        "spec": {
            "serviceName": "main", "replicas": 3, "selector": { "matchLabels": labels },
            "template": { "metadata": { "labels": labels }, "spec": spec },
        },
    })];
    for at in 0..3 {
        objects.push(json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": { "name": format!("main-{at}"), "namespace": namespace, "labels": labels },
            "spec": spec,
        }));
    }
    cluster.kubectl(&["-n", namespace, "create", "serviceaccount", "default"]);
    cluster.apply(&objects);
    let patch = json!({ "status": { "conditions": [{ "type": "Ready", "status": "True" }] } });
    for at in 0..ready {
        let pod = format!("main-{at}");
        let (kind, patch) = (["patch", "pod", &pod], patch.to_string());
        let how = ["--subresource=status", "--type=merge", "-p", &patch];
        cluster.kubectl(&[&["-n", namespace], &kind[..], &how[..]].concat());
    }
}

#[tokio::test]
async fn etcds_are_listed_with_what_they_run() {
    let cluster = Cluster::shared();
    let client = client(&cluster).await;
    define(&client).await;
    for namespace in ["list-a", "list-b"] {
        cluster.kubectl(&["create", "namespace", namespace]);
    }
    made(&client, "list-a", "main", &well()).await;
    pods_of(&cluster, "list-a", 3);
    let rolling = upgrade("Rolling", &Value::Null, "going on", 1);
    made(&client, "list-b", "other", &with(rolling)).await;

    let of_one = succeeds(druid(&cluster, "list-a", &["list"]));
    let lines: Vec<Vec<&str>> = of_one
        .lines()
        .map(|it| it.split_whitespace().collect())
        .collect();
    assert_eq!(lines.len(), 2, "{of_one}");
    assert_eq!(lines[0][..4], ["NAMESPACE", "NAME", "READY", "MEMBERS"]);
    let known = ["list-a", "main", "true", "3/3", "3.4.34", "ready", "-"];
    assert_eq!(lines[1][..7], known, "{of_one}");
    let all = succeeds(druid(&cluster, "list-a", &["list", "-A"]));
    let other = all.lines().find(|it| it.starts_with("list-b")).unwrap();
    assert!(other.contains("3.4.34,3.5.27") && other.contains("Rolling"));
    assert!(!all.contains('\u{1b}'), "no colours where no terminal is");

    let printed = succeeds(druid(&cluster, "list-b", &["list", "-o", "json"]));
    let rows: Value = serde_json::from_str(&printed).unwrap();
    assert_eq!(rows[0]["versions"], json!(["3.4.34", "3.5.27"]));
    let printed = succeeds(druid(&cluster, "list-b", &["list", "-o", "yaml"]));
    let rows: Value = serde_saphyr::from_str(&printed).unwrap();
    assert_eq!(
        (&rows[0]["name"], &rows[0]["members"]),
        (&json!("other"), &json!(3))
    );

    let output = druid(&cluster, "list-none", &["list"]).output().unwrap();
    assert!(output.status.success());
    assert!(said(&output).1.contains("no Etcds in namespace list-none"));
}

#[tokio::test]
async fn namespace_and_context_come_from_the_kubeconfig_as_for_kubectl() {
    let cluster = Cluster::shared();
    let client = client(&cluster).await;
    define(&client).await;
    for namespace in ["context-a", "context-b"] {
        cluster.kubectl(&["create", "namespace", namespace]);
        made(&client, namespace, namespace, &well()).await;
    }
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("config");
    std::fs::copy(cluster.kubeconfig(), &config).unwrap();
    let kubectl = |args: &[&str]| {
        let file = config.to_str().unwrap();
        cluster.kubectl(&[&["config", "--kubeconfig", file], args].concat())
    };
    let current = kubectl(&["current-context"]);
    let view: Value = serde_json::from_str(&kubectl(&["view", "-o", "json"])).unwrap();
    let (user, of) = (
        view["contexts"][0]["context"]["user"].as_str().unwrap(),
        view["contexts"][0]["context"]["cluster"].as_str().unwrap(),
    );
    kubectl(&["set-context", current.trim(), "--namespace=context-a"]);
    let other = ["--namespace=context-b", "--user", user, "--cluster", of];
    kubectl(&[&["set-context", "other"], &other[..]].concat());

    let names = |args: &[&str], kubeconfig: &str| {
        let mut druid = bare();
        druid.env("KUBECONFIG", kubeconfig).arg("kubectl");
        druid.args(args).args(["list", "-o", "json"]);
        let rows: Value = serde_json::from_str(&succeeds(druid)).unwrap();
        let rows = rows.as_array().unwrap().clone();
        let names = rows
            .iter()
            .map(|it| it["name"].as_str().unwrap().to_owned());
        names.collect::<Vec<_>>().join(",")
    };
    let file = config.to_str().unwrap();
    assert_eq!(names(&[], file), "context-a");
    assert_eq!(names(&["--context", "other"], file), "context-b");
    assert_eq!(names(&["-n", "context-b"], file), "context-b");
    // kubectl passes over files that are not there.
    let listed = format!("/nonexistent/config:{file}");
    assert_eq!(names(&[], &listed), "context-a");
    // The file that is named wins.
    assert_eq!(names(&["--kubeconfig", file], "/nonexistent"), "context-a");

    let home = dir.path().join("home");
    std::fs::create_dir_all(home.join(".kube")).unwrap();
    std::fs::copy(&config, home.join(".kube/config")).unwrap();
    let plugin = dir.path().join("kubectl-druid");
    symlink(cargo_bin("druid"), &plugin).unwrap();
    let mut plugin = Command::new(plugin);
    plugin
        .env_remove("KUBECONFIG")
        .env("HOME", &home)
        .arg("list");
    assert!(succeeds(plugin).contains("context-a"));

    let mut unknown = bare();
    unknown.env("KUBECONFIG", file);
    unknown.args(["kubectl", "list", "--context", "nowhere"]);
    let error = fails(unknown);
    assert!(
        error.contains("no context \"nowhere\"") && error.contains("other"),
        "{error}"
    );
}

#[test]
fn without_an_api_server_it_says_what_is_missing() {
    let mut nothing = bare();
    nothing.args(["kubectl", "list"]);
    let error = fails(nothing);
    assert!(
        error.contains("/nonexistent/.kube/config") && error.contains("--kubeconfig"),
        "{error}"
    );

    let mut named = bare();
    named.args(["kubectl", "list", "--kubeconfig", "/nonexistent/named"]);
    assert!(fails(named).contains("/nonexistent/named"));

    let dir = tempfile::tempdir().unwrap();
    let written = |text: &str| {
        let file = dir.path().join("config");
        std::fs::write(&file, text).unwrap();
        let mut druid = bare();
        druid.args(["kubectl", "list", "--kubeconfig"]).arg(file);
        fails(druid)
    };
    assert!(written("clusters: 3").contains("correct it"));
    assert!(written("apiVersion: v1\nkind: Config\n").contains("no current context"));
    // Nobody listens on the discard port.
    let away = "\
apiVersion: v1
kind: Config
current-context: c
clusters: [{ name: k, cluster: { server: 'http://127.0.0.1:9' } }]
contexts: [{ name: c, context: { cluster: k, user: u } }]
users: [{ name: u, user: {} }]
";
    let error = written(away);
    assert!(
        error.contains("http://127.0.0.1:9 was not reached"),
        "{error}"
    );
    assert!(error.contains("refused"), "{error}");
}

#[tokio::test]
async fn what_is_not_there_or_not_allowed_is_named() {
    let cluster = Cluster::start();
    let none = fails(druid(&cluster, "default", &["list"]));
    assert!(none.contains("druid crds"), "{none}");
    let none = fails(druid(&cluster, "default", &["snapshot", "main", "--full"]));
    assert!(none.contains("druid crds"), "{none}");

    let client = client(&cluster).await;
    define(&client).await;
    for args in [
        &["upgrade", "status", "main"][..],
        &["upgrade", "pause", "main"],
        &["upgrade", "acknowledge", "main"],
        &["preflight", "main"],
        &["doctor", "main"],
        &["restore-plan", "main"],
        &["snapshot", "main", "--delta"],
        &["list", "main"],
        &["upgrade", "status", "main", "-w"],
        &["reconciliation", "trigger", "main", "-w"],
        &["component-protection", "add", "main"],
        &["list-resources", "main"],
    ] {
        let error = fails(druid(&cluster, "default", args));
        assert!(
            error.contains("no Etcd main in namespace default"),
            "{error}"
        );
    }

    let token = cluster.token("default", "nobody");
    let mut config: Value =
        serde_saphyr::from_str(&std::fs::read_to_string(cluster.kubeconfig()).unwrap()).unwrap();
    config["users"][0]["user"] = json!({ "token": token });
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("config");
    // Relative paths in it are relative to where it is.
    let ca = std::fs::read(cluster.ca()).unwrap();
    std::fs::write(dir.path().join("ca.crt"), ca).unwrap();
    let of = &mut config["clusters"][0]["cluster"];
    *of = json!({ "server": of["server"], "certificate-authority": "ca.crt" });
    let ask = |config: &Value| {
        std::fs::write(&file, config.to_string()).unwrap();
        let mut druid = bare();
        druid.args(["kubectl", "list", "--kubeconfig"]).arg(&file);
        fails(druid)
    };
    let error = ask(&config);
    assert!(
        error.contains("default:nobody") && error.contains("ask for that right"),
        "{error}"
    );
    config["users"][0]["user"]["token"] = json!("wrong");
    assert!(ask(&config).contains("does not know who you are"));
}

#[tokio::test]
async fn an_upgrade_is_shown_paused_resumed_and_acknowledged() {
    let cluster = Cluster::shared();
    let client = client(&cluster).await;
    define(&client).await;
    cluster.kubectl(&["create", "namespace", "upgrade"]);
    let blocked = upgrade("Blocked", &json!("SnapshotFailed"), "three failed", 1);
    made(&client, "upgrade", "main", &with(blocked)).await;
    let ask = |args: &[&str]| succeeds(druid(&cluster, "upgrade", &[&["upgrade"], args].concat()));

    let shown = ask(&["status", "main"]);
    assert!(
        shown.contains("1/3   Blocked") && shown.contains("3.4.34 -> 3.5.27"),
        "{shown}"
    );
    assert!(shown.contains("SnapshotFailed: three failed"), "{shown}");
    let rows: Value = serde_json::from_str(&ask(&["status", "-o", "json"])).unwrap();
    assert_eq!(rows[0]["membersDone"], 1);

    let told = ask(&["acknowledge", "main"]);
    assert!(told.contains("three failed"), "{told}");
    let annotations = stored(&client, "upgrade", "main").await["metadata"]["annotations"].clone();
    assert_eq!(
        annotations["druid.gardener.cloud/acknowledge-upgrade-halt"],
        "7"
    );
    assert!(ask(&["acknowledge", "main"]).contains("already"));

    set(
        &client,
        "upgrade",
        "Etcd",
        "main",
        &with(upgrade("Rolling", &Value::Null, "x", 1)),
    )
    .await;
    let args = ["upgrade", "acknowledge", "main"];
    let error = fails(druid(&cluster, "upgrade", &args));
    assert!(
        error.contains("Etcd upgrade/main: its upgrade is in phase Rolling"),
        "{error}"
    );

    assert!(ask(&["resume", "main"]).contains("is not paused"));
    assert!(ask(&["pause", "main"]).contains("is paused: "));
    let version = |it: &Value| it["metadata"]["resourceVersion"].clone();
    let paused = stored(&client, "upgrade", "main").await;
    assert_eq!(paused["spec"]["upgrade"], json!({ "paused": true }));
    assert!(ask(&["pause", "main"]).contains("already"));
    let same = stored(&client, "upgrade", "main").await;
    assert_eq!(version(&paused), version(&same), "nothing was written");
    assert!(ask(&["status"]).contains("kubectl druid upgrade resume main -n upgrade"));
    ask(&["resume", "main"]);
    let resumed = stored(&client, "upgrade", "main").await;
    assert_eq!(resumed["spec"]["upgrade"], json!({ "paused": false }));
}

/// A definition as etcd-druid has it drops what it does not know.
#[tokio::test]
async fn a_definition_without_our_fields_is_noticed() {
    let cluster = Cluster::start();
    let client = client(&cluster).await;
    define(&client).await;
    let crd = "etcds.druid.gardener.cloud";
    let at = "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/upgrade";
    let remove = json!([{ "op": "remove", "path": at }]).to_string();
    cluster.kubectl(&["patch", "crd", crd, "--type=json", "-p", &remove]);
    made(&client, "default", "main", &well()).await;
    // The new definition counts a moment after it is written.
    for _ in 0..50 {
        let output = druid(&cluster, "default", &["upgrade", "pause", "main"]).output();
        let output = output.unwrap();
        if !output.status.success() {
            assert!(said(&output).1.contains("druid crds etcds"), "{output:?}");
            return;
        }
        succeeds(druid(&cluster, "default", &["upgrade", "resume", "main"]));
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("it was never noticed");
}

/// A child that ends with the test.
struct Running {
    child: Child,
    lines: Receiver<String>,
}

impl Running {
    fn start(mut command: Command) -> Self {
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let out = BufReader::new(child.stdout.take().unwrap());
        let (send, lines) = channel();
        std::thread::spawn(move || {
            for line in out.lines().map_while(Result::ok) {
                if send.send(line).is_err() {
                    return;
                }
            }
        });
        Self { child, lines }
    }

    fn line(&self) -> String {
        self.lines.recv_timeout(LONG).unwrap()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test]
async fn a_watch_prints_a_line_for_each_change_of_one_or_all() {
    let cluster = Cluster::shared();
    let client = client(&cluster).await;
    define(&client).await;
    cluster.kubectl(&["create", "namespace", "watch"]);
    let rolling = |done| with(upgrade("Rolling", &Value::Null, "going on", done));
    made(&client, "watch", "main", &rolling(0)).await;
    made(&client, "watch", "other", &well()).await;
    let one = Running::start(druid(
        &cluster,
        "watch",
        &["upgrade", "status", "main", "-w"],
    ));
    let all = Running::start(druid(&cluster, "watch", &["upgrade", "status", "-w"]));
    assert!(
        one.line()
            .ends_with("watch/main  upgrade 3.4.34 -> 3.5.27  Rolling  0/3  going on")
    );
    assert!(all.line().contains("watch/main"));
    assert!(all.line().ends_with("watch/other  no upgrade"));

    let waiting = upgrade("Waiting", &json!("NoLeader"), "no leader", 2);
    set(&client, "watch", "Etcd", "other", &with(waiting)).await;
    assert!(all.line().ends_with("Waiting  2/3  NoLeader: no leader"));
    set(&client, "watch", "Etcd", "main", &rolling(1)).await;
    for it in [&one, &all] {
        assert!(it.line().contains("Rolling  1/3"));
    }
    let etcds = resources(&client, "watch", "Etcd");
    etcds
        .delete("main", &DeleteParams::default())
        .await
        .unwrap();
    for it in [&one, &all] {
        assert!(it.line().ends_with("watch/main  deleted"));
    }
}

#[tokio::test]
async fn a_preflight_tells_by_its_exit_code_whether_something_stands_against_it() {
    let cluster = Cluster::shared();
    let client = client(&cluster).await;
    define(&client).await;
    cluster.kubectl(&["create", "namespace", "preflight"]);
    made(&client, "preflight", "main", &well()).await;
    pods_of(&cluster, "preflight", 2);
    let ask = || druid(&cluster, "preflight", &["preflight", "main"]);
    let refused = ask().output().unwrap();
    assert_eq!(refused.status.code(), Some(1));
    let text = said(&refused).0;
    assert!(text.contains("1 reason stands against"), "{text}");
    assert!(
        text.contains("PodNotReady: pod main-2 is not ready"),
        "{text}"
    );

    let ready = json!({ "status": { "conditions": [{ "type": "Ready", "status": "True" }] } });
    let patch = [
        "--subresource=status",
        "--type=merge",
        "-p",
        &ready.to_string(),
    ];
    let pod = ["-n", "preflight", "patch", "pod", "main-2"];
    cluster.kubectl(&[&pod[..], &patch[..]].concat());
    let clear = succeeds(ask());
    assert!(
        clear.contains("nothing stands against an upgrade"),
        "{clear}"
    );
    assert_eq!(clear.matches("3.4.34").count(), 3, "{clear}");

    let refused = upgrade("Refused", &json!("MemberUnreachable"), "main-2 is away", 0);
    set(&client, "preflight", "Etcd", "main", &with(refused)).await;
    let output = ask().output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(
        said(&output)
            .0
            .contains("(MemberUnreachable): main-2 is away")
    );
}

/// The name of the one task in a namespace.
async fn task(client: &Client, namespace: &str) -> String {
    let tasks = resources(client, namespace, "EtcdOpsTask");
    for _ in 0..300 {
        let found = tasks.list(&ListParams::default()).await.unwrap().items;
        if let Some(task) = found.first() {
            return task.metadata.name.clone().unwrap();
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("no task was made");
}

fn ended(state: &str, more: &Value) -> Value {
    let mut status = json!({
        "state": state, "lastTransitionTime": AT,
        "lastOperation": {
            "type": "Execution", "state": "Completed", "description": "so it was",
            "runID": "r", "lastUpdateTime": AT,
        },
    });
    let more = more.as_object().unwrap().clone();
    status.as_object_mut().unwrap().extend(more);
    status
}

/// Takes a snapshot in a namespace of its own, and ends the task; what was printed.
async fn followed(
    cluster: &Cluster,
    client: &Client,
    (namespace, flags): (&str, &[&str]),
    end: &Value,
) -> Output {
    cluster.kubectl(&["create", "namespace", namespace]);
    made(client, namespace, "main", &well()).await;
    let args = [&["snapshot", "main", "--wait"], flags].concat();
    let mut command = druid(cluster, namespace, &args);
    let piped = command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = piped.spawn().unwrap();
    let name = task(client, namespace).await;
    let tasks = resources(client, namespace, "EtcdOpsTask");
    let made = tasks.get(&name).await.unwrap().data;
    assert_eq!(made["spec"]["etcdName"], "main");
    let asked = &made["spec"]["config"]["onDemandSnapshot"];
    let kind = flags[0].trim_start_matches('-');
    assert_eq!(asked["type"], kind);
    assert_eq!(asked["isFinal"] == true, flags.len() == 2, "{asked}");
    assert!(
        name.starts_with(&format!("main-snapshot-{kind}-")),
        "{name}"
    );
    let going = ended("InProgress", &json!({}));
    set(client, namespace, "EtcdOpsTask", &name, &going).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    set(client, namespace, "EtcdOpsTask", &name, end).await;
    child.wait_with_output().unwrap()
}

#[tokio::test]
async fn a_snapshot_is_followed_to_its_end_and_only_success_is_0() {
    let cluster = Cluster::shared();
    let client = client(&cluster).await;
    define(&client).await;
    let snapshot = json!({ "result": { "snapshot": {
        "name": "Full-00000000-00000101-1000.gz", "revision": 101, "size": 4711, "sha256": "abcd",
    } } });
    let error = json!({ "lastErrors": [{
        "code": "ERR", "description": "no store", "observedAt": AT,
    }] });
    for (asked, state, more, code, says) in [
        (
            ("snapshot-a", &["--full"][..]),
            "Succeeded",
            &snapshot,
            0,
            &[
                "abcd",
                "Full-00000000-00000101-1000.gz",
                "101",
                "4711 bytes",
            ][..],
        ),
        (
            ("snapshot-b", &["--delta"]),
            "Rejected",
            &error,
            1,
            &["Rejected: so it was: no store"],
        ),
        (
            ("snapshot-c", &["--full", "--final"]),
            "Failed",
            &error,
            1,
            &["Failed: so it was"],
        ),
    ] {
        let output = followed(&cluster, &client, asked, &ended(state, more)).await;
        let (out, error) = said(&output);
        assert_eq!(output.status.code(), Some(code), "{out}{error}");
        let all = out + &error;
        for word in [says, &["InProgress: so it was"]].concat() {
            assert!(all.contains(word), "{word} in {all}");
        }
    }
}

#[tokio::test]
async fn a_snapshot_that_nobody_takes_is_not_waited_for_for_ever() {
    let cluster = Cluster::shared();
    let client = client(&cluster).await;
    define(&client).await;
    cluster.kubectl(&["create", "namespace", "snapshot-late"]);
    made(&client, "snapshot-late", "main", &well()).await;
    let args = ["snapshot", "main", "--full", "--wait", "--timeout", "2s"];
    let output = druid(&cluster, "snapshot-late", &args).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let error = said(&output).1;
    assert!(
        error.contains("not over after 2 s") && error.contains("kubectl get eot"),
        "{error}"
    );
    let left = task(&client, "snapshot-late").await;
    let tasks = resources(&client, "snapshot-late", "EtcdOpsTask");
    let deleted = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let all = tasks.list(&ListParams::default()).await.unwrap().items;
        for task in all.iter().filter_map(|it| it.metadata.name.as_deref()) {
            let params = DeleteParams::default();
            tasks.delete(task, &params).await.unwrap();
        }
        all.iter()
            .any(|it| it.metadata.name.as_ref() == Some(&left))
    };
    let args = ["snapshot", "main", "--delta", "--wait"];
    let mut waits = druid(&cluster, "snapshot-late", &args);
    let waits = waits.stderr(Stdio::piped()).spawn().unwrap();
    assert!(deleted.await);
    let error = said(&waits.wait_with_output().unwrap()).1;
    assert!(error.contains("deleted before it was over"), "{error}");
    let without = succeeds(druid(
        &cluster,
        "snapshot-late",
        &["snapshot", "main", "--delta"],
    ));
    assert!(without.contains("is created"), "{without}");
}

#[tokio::test]
async fn maintenance_is_asked_for_as_its_definition_takes_it_and_is_listed() {
    let cluster = Cluster::shared();
    let client = client(&cluster).await;
    define(&client).await;
    let space = "maintenance";
    cluster.kubectl(&["create", "namespace", space]);
    made(&client, space, "main", &well()).await;
    let asked = [
        &["defrag", "main"][..],
        &["compact", "main"],
        &["compact", "main", "--revision", "7", "--defrag"],
        &["compact", "main", "--age", "1h30m"],
        &["snapshot", "main", "--compacted"],
        &["recover", "main", "--confirm", "--remove-volumes"],
    ];
    for args in asked {
        let said = succeeds(druid(&cluster, space, args));
        assert!(said.contains("is created"), "{args:?}: {said}");
    }
    let error = fails(druid(&cluster, space, &["defrag", "absent"]));
    assert!(error.contains("absent"), "{error}");

    let table = succeeds(druid(&cluster, space, &["tasks"]));
    let of = |kind: &str| table.lines().filter(|it| it.contains(kind)).count();
    let kinds = [of("onDemandMaintenance"), of("onDemandSnapshotCompaction")];
    assert_eq!(kinds, [4, 1], "{table}");
    let rows = succeeds(druid(&cluster, space, &["tasks", "-o", "json"]));
    let rows: Value = serde_json::from_str(&rows).unwrap();
    assert_eq!(rows.as_array().unwrap().len(), asked.len(), "{rows:#}");
}

/// What it says; it ends with this code.
fn ends(mut command: Command, code: i32) -> String {
    let output = command.output().unwrap();
    let (out, error) = said(&output);
    assert_eq!(output.status.code(), Some(code), "{out}{error}");
    out
}

/// Leases as sidecars renew them.
fn leases_of(cluster: &Cluster, namespace: &str) {
    let labels = json!({
        "app.kubernetes.io/managed-by": "etcd-druid", "app.kubernetes.io/part-of": "main",
    });
    let now = jiff::Timestamp::from_second(now()).unwrap();
    let lease = |name: &str, holder: &str| {
        json!({
            "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
            "metadata": { "name": name, "namespace": namespace, "labels": labels },
            "spec": {
                "holderIdentity": holder,
                "renewTime": now.strftime("%Y-%m-%dT%H:%M:%S%.6fZ").to_string(),
            },
        })
    };
    cluster.apply(&[
        lease("main-0", "1:9:Leader"),
        lease("main-1", "2:9:Member"),
        lease("main-2", "3:9:Member"),
        lease("main-full-snap", "101"),
        lease("main-delta-snap", "120"),
    ]);
}

fn now() -> i64 {
    let now = std::time::UNIX_EPOCH.elapsed().unwrap();
    i64::try_from(now.as_secs()).unwrap()
}

/// Secrets with certificates for clients: the server's and the clients' are the same one.
fn secrets_of(cluster: &Cluster, namespace: &str, certificate: &str) {
    let authority = Authority::new();
    let secret = |name: &str, key: &str, pem: &str| {
        json!({
            "apiVersion": "v1", "kind": "Secret",
            "metadata": { "name": name, "namespace": namespace }, "stringData": { key: pem },
        })
    };
    cluster.apply(&[
        secret("ca", "ca.crt", &authority.pem),
        secret("server", "tls.crt", certificate),
        secret("client", "tls.crt", certificate),
    ]);
}

fn secured() -> Value {
    let mut etcd = etcd("main");
    etcd["spec"]["etcd"]["clientUrlTls"] = json!({
        "tlsCASecretRef": { "name": "ca" }, "serverTLSSecretRef": { "name": "server" },
        "clientTLSSecretRef": { "name": "client" },
    });
    etcd["spec"]["backup"]["deltaSnapshotPeriod"] = json!("5m");
    etcd
}

#[tokio::test]
async fn a_doctor_says_what_to_do_first_and_its_exit_code_says_whether_there_is_anything() {
    let cluster = Cluster::shared();
    let client = client(&cluster).await;
    define(&client).await;
    cluster.kubectl(&["create", "namespace", "doctor"]);
    create(&client, "doctor", &secured()).await;
    set(&client, "doctor", "Etcd", "main", &well()).await;
    pods_of(&cluster, "doctor", 3);
    leases_of(&cluster, "doctor");
    let (valid, _) = Authority::new().issue(&["a".to_owned()]);
    secrets_of(&cluster, "doctor", &valid);
    let ask = |more: &[&str]| druid(&cluster, "doctor", &[&["doctor", "main"], more].concat());

    // Here are no sidecars that could be asked.
    let page = ends(ask(&[]), 1);
    let first = page.lines().next().unwrap();
    assert!(
        first.contains("not everything could be looked at")
            && first.contains("no member could be asked"),
        "{page}"
    );
    assert!(
        page.contains("what the members say: alarms, databases"),
        "{page}"
    );
    assert!(page.contains("revision 120"), "{page}");
    let report: Value = serde_json::from_str(&ends(ask(&["-o", "json"]), 1)).unwrap();
    assert_eq!(report["verdict"], "unknown");
    assert_eq!(report["unknown"].as_array().unwrap().len(), 1, "{report:#}");
    assert_eq!(report["cluster"]["quorum"], json!({ "known": true }));
    assert_eq!(
        report["cluster"]["alarms"],
        json!({ "unknown": "no member could be asked" })
    );
    assert_eq!(
        report["members"][2]["version"],
        json!({ "known": "3.4.34" })
    );
    let certificates = report["certificates"].as_array().unwrap();
    let names: Vec<_> = certificates
        .iter()
        .map(|it| it["secret"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["ca", "client", "server"]);
    assert!(
        certificates
            .iter()
            .all(|it| it["expires"]["known"].is_string()),
        "{report:#}"
    );
    let yaml: Value = serde_saphyr::from_str(&ends(ask(&["-o", "yaml"]), 1)).unwrap();
    assert_eq!(yaml["backups"]["coveredRevision"], json!({ "known": 120 }));

    // Nobody listens on the discard port.
    let silent = ends(ask(&["--endpoints", "http://127.0.0.1:9"]), 1);
    assert!(
        silent.contains("http://127.0.0.1:9") && silent.contains("refused"),
        "{silent}"
    );

    let mut old = rcgen::CertificateParams::new(vec!["a".to_owned()]).unwrap();
    old.not_after = rcgen::date_time_ymd(2020, 1, 1);
    let key = rcgen::KeyPair::generate().unwrap();
    secrets_of(&cluster, "doctor", &old.self_signed(&key).unwrap().pem());
    let expired = ends(ask(&[]), 3);
    let first = expired.find("CertificateExpired").unwrap();
    assert!(first < expired.find("Members").unwrap(), "{expired}");
    assert!(expired.contains("kubectl get secret client"), "{expired}");
    cluster.kubectl(&["-n", "doctor", "delete", "secret", "client"]);
    assert!(ends(ask(&[]), 3).contains("SecretMissing"));
}

#[tokio::test]
async fn a_doctor_puts_a_lost_quorum_first_and_names_the_way_back() {
    let cluster = Cluster::shared();
    let client = client(&cluster).await;
    define(&client).await;
    cluster.kubectl(&["create", "namespace", "lost"]);
    let mut lost = well();
    lost["conditions"][2]["status"] = json!("False");
    lost["members"][1]["status"] = json!("NotReady");
    lost["members"][2]["status"] = json!("NotReady");
    made(&client, "lost", "main", &lost).await;
    pods_of(&cluster, "lost", 1);
    leases_of(&cluster, "lost");
    let ask = druid(&cluster, "lost", &["doctor", "main", "-o", "json"]);
    let report: Value = serde_json::from_str(&ends(ask, 3)).unwrap();
    let first = &report["findings"][0];
    assert_eq!(
        (&first["code"], &first["severity"]),
        (&json!("QuorumLost"), &json!("critical"))
    );
    let last = first["remedy"].as_array().unwrap().last().unwrap();
    assert_eq!(
        last["command"],
        "kubectl druid recover main -n lost --confirm --wait"
    );
}

#[tokio::test]
async fn what_a_doctor_may_not_read_is_not_known_and_is_not_taken_for_good() {
    let cluster = Cluster::shared();
    let client = client(&cluster).await;
    define(&client).await;
    cluster.kubectl(&["create", "namespace", "viewer"]);
    create(&client, "viewer", &secured()).await;
    set(&client, "viewer", "Etcd", "main", &well()).await;
    pods_of(&cluster, "viewer", 3);
    leases_of(&cluster, "viewer");
    let rule = |group: &str, kinds: &[&str]| json!({ "apiGroups": [group], "resources": kinds, "verbs": ["get", "list"] });
    let role = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role",
        "metadata": { "name": "viewer", "namespace": "viewer" },
        "rules": [
            rule("druid.gardener.cloud", &["etcds", "etcdopstasks"]),
            rule("", &["pods", "events"]),
            rule("coordination.k8s.io", &["leases"]),
        ],
    });
    cluster.apply(&[role]);
    let binding = ["create", "rolebinding", "viewer", "--role=viewer"];
    let whom = ["--serviceaccount=viewer:viewer"];
    cluster.kubectl(&[&["-n", "viewer"], &binding[..], &whom[..]].concat());
    let text = std::fs::read_to_string(cluster.kubeconfig()).unwrap();
    let mut config: Value = serde_saphyr::from_str(&text).unwrap();
    config["users"][0]["user"] = json!({ "token": cluster.token("viewer", "viewer") });
    let server = config["clusters"][0]["cluster"]["server"].clone();
    config["clusters"][0]["cluster"] =
        json!({ "server": server, "certificate-authority": cluster.ca() });
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("config");
    std::fs::write(&file, config.to_string()).unwrap();
    let mut druid = bare();
    druid.args(["kubectl", "-n", "viewer", "doctor", "main", "--kubeconfig"]);
    druid.arg(&file);

    let page = ends(druid, 1);
    assert!(page.contains("not everything could be looked at"), "{page}");
    let unknown = page.find("Could not be found out").unwrap();
    let secrets = page.find("secrets \"server\" is forbidden").unwrap();
    assert!(unknown < secrets, "{page}");
    assert!(!page.contains("What to do first"), "{page}");
}

#[tokio::test]
async fn without_a_sidecar_a_restore_plan_says_so_and_tells_what_the_leases_do() {
    let cluster = Cluster::shared();
    let client = client(&cluster).await;
    define(&client).await;
    cluster.kubectl(&["create", "namespace", "restorable"]);
    made(&client, "restorable", "main", &well()).await;
    pods_of(&cluster, "restorable", 3);
    let ask = |more: &[&str]| {
        druid(
            &cluster,
            "restorable",
            &[&["restore-plan", "main"], more].concat(),
        )
    };
    let nothing = ends(ask(&[]), 1);
    assert!(
        nothing.contains("main-0: "),
        "each pod says why not: {nothing}"
    );
    leases_of(&cluster, "restorable");
    let page = ends(ask(&[]), 1);
    assert!(page.contains("backups reach revision 120"), "{page}");
    let printed = ends(ask(&["-o", "json"]), 1);
    let made: Value = serde_json::from_str(&printed).unwrap();
    assert_eq!(made["source"], "leases");
    assert_eq!(made["full"]["known"]["revision"], 101);
    assert_eq!(
        made["deltas"],
        json!({ "unknown": "the store was not listed" })
    );
    let yaml: Value = serde_saphyr::from_str(&ends(ask(&["-o", "yaml"]), 1)).unwrap();
    assert_eq!(yaml["revision"], json!({ "known": 120 }));
}

/// An annotation that is stored.
async fn annotation(client: &Client, namespace: &str, etcd: &str, name: &str) -> Value {
    let stored = stored(client, namespace, etcd).await;
    stored["metadata"]["annotations"][format!("druid.gardener.cloud/{name}")].clone()
}

const SUSPEND: &str = "suspend-etcd-spec-reconcile";

#[tokio::test]
async fn what_is_done_to_many_takes_a_yes_and_one_that_fails_stops_no_other() {
    let cluster = Cluster::start();
    let client = client(&cluster).await;
    define(&client).await;
    for (namespace, name) in [("many-a", "main"), ("many-a", "other"), ("many-b", "main")] {
        if name == "main" {
            cluster.kubectl(&["create", "namespace", namespace]);
        }
        made(&client, namespace, name, &well()).await;
    }
    let labelled = ["label", "etcd", "other", "team=a"];
    cluster.kubectl(&[&["-n", "many-a"], &labelled[..]].concat());
    let ask = |args: &[&str]| druid(&cluster, "many-a", args);
    let is = async |namespace: &str, name: &str| {
        annotation(&client, namespace, name, SUSPEND).await == ""
    };

    for command in [
        &["reconciliation", "suspend"][..],
        &["reconciliation", "trigger"],
        &["component-protection", "remove"],
        &["upgrade", "pause"],
        &["list-resources"],
    ] {
        let error = fails(ask(command));
        assert!(
            error.contains("say which Etcds") && error.contains("-A"),
            "{error}"
        );
    }
    let suspend = ["reconciliation", "suspend"];
    for more in [&["-A"][..], &["-l", "team=a"]] {
        let error = fails(ask(&[&suspend[..], more].concat()));
        assert!(
            error.contains("many-a/other") && error.contains("--yes"),
            "{error}"
        );
        assert!(!is("many-a", "other").await, "nothing was changed");
    }
    succeeds(ask(&["reconciliation", "suspend", "-l", "team=a", "--yes"]));
    assert!(is("many-a", "other").await && !is("many-a", "main").await);

    let names = ["many-b/main", "absent", "other", "main", "-o", "json"];
    let output = ask(&[&suspend[..], &names].concat()).output().unwrap();
    let (out, error) = said(&output);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        error.contains("no Etcd absent in namespace many-a"),
        "{error}"
    );
    let rows: Value = serde_json::from_str(&out).unwrap();
    let told = |it: &Value| {
        let words = ["namespace", "name", "outcome"].map(|word| it[word].as_str().unwrap());
        words.join(" ")
    };
    let told: Vec<_> = rows.as_array().unwrap().iter().map(told).collect();
    let expected = [
        "many-a absent failed",
        "many-a main changed",
        "many-a other unchanged",
        "many-b main changed",
    ];
    assert_eq!(told, expected, "in order");
    assert!(is("many-b", "main").await);

    let resumed = succeeds(ask(&["reconciliation", "resume", "-A", "--yes"]));
    assert_eq!(
        resumed.matches("is reconciled again").count(),
        3,
        "{resumed}"
    );
    assert!(!is("many-b", "main").await);
}

#[tokio::test]
async fn several_are_listed_by_name_or_by_label() {
    let cluster = Cluster::shared();
    let client = client(&cluster).await;
    define(&client).await;
    for (namespace, names) in [
        ("several-a", &["main", "other"][..]),
        ("several-b", &["main"]),
    ] {
        cluster.kubectl(&["create", "namespace", namespace]);
        for name in names {
            made(&client, namespace, name, &well()).await;
        }
    }
    cluster.kubectl(&["-n", "several-a", "label", "etcd", "other", "team=a"]);
    let ask = |args: &[&str]| druid(&cluster, "several-a", args);
    let both = succeeds(ask(&["list", "other", "several-b/main", "-o", "json"]));
    let rows: Value = serde_json::from_str(&both).unwrap();
    assert_eq!(rows.as_array().unwrap().len(), 2);
    let one = succeeds(ask(&["list", "-l", "team=a"]));
    assert!(one.contains("other") && !one.contains("main"), "{one}");
    let output = ask(&["list", "main", "absent"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(said(&output).0.contains("main"), "the others are listed");
}

#[tokio::test]
async fn on_a_terminal_a_person_is_asked() {
    let cluster = Cluster::shared();
    let client = client(&cluster).await;
    define(&client).await;
    let space = "asked";
    cluster.kubectl(&["create", "namespace", space]);
    made(&client, space, "main", &well()).await;
    cluster.kubectl(&["-n", space, "label", "etcd", "main", "asked=yes"]);
    let answered = |answer: &str| {
        let (program, config) = (cargo_bin("druid"), cluster.kubeconfig());
        let line = format!(
            "{} kubectl -n {space} --kubeconfig {} reconciliation suspend -l asked=yes",
            program.display(),
            config.display()
        );
        // It gives the program a terminal.
        let mut script = Command::new("script");
        script.args(["-qec", &line, "/dev/null"]);
        let mut child = script
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut to = child.stdin.take().unwrap();
        to.write_all(answer.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        (output.status.code(), said(&output).0)
    };
    let (code, text) = answered("n\n");
    assert_eq!(code, Some(1), "{text}");
    assert!(
        text.contains("Suspend the reconciliation of 1 Etcd: asked/main? [y/N]"),
        "{text}"
    );
    assert_eq!(
        annotation(&client, space, "main", SUSPEND).await,
        Value::Null
    );
    let (code, text) = answered("y\n");
    assert_eq!(code, Some(0), "{text}");
    assert_eq!(annotation(&client, space, "main", SUSPEND).await, "");
}

#[tokio::test]
async fn components_are_protected_and_not_by_one_annotation() {
    let cluster = Cluster::shared();
    let client = client(&cluster).await;
    define(&client).await;
    cluster.kubectl(&["create", "namespace", "protected"]);
    made(&client, "protected", "main", &well()).await;
    let ask = |verb: &str| {
        let args = ["component-protection", verb, "main"];
        succeeds(druid(&cluster, "protected", &args))
    };
    let name = "disable-etcd-component-protection";
    assert!(ask("add").contains("already"));
    assert!(ask("remove").contains("is not protected any more"));
    assert_eq!(annotation(&client, "protected", "main", name).await, "");
    assert!(ask("remove").contains("already"));
    assert!(ask("add").contains("is protected: "));
    assert_eq!(
        annotation(&client, "protected", "main", name).await,
        Value::Null
    );
}

/// The status of an Etcd whose pods are made from this generation of its spec.
fn updated(generation: i64, ready: &str) -> Value {
    let mut status = well();
    status["observedGeneration"] = json!(generation);
    status["conditions"][0]["status"] = json!(ready);
    let mut updated = status["conditions"][0].clone();
    updated["type"] = json!("AllMembersUpdated");
    updated["status"] = json!("True");
    status["conditions"].as_array_mut().unwrap().push(updated);
    status
}

#[tokio::test]
async fn a_reconciliation_is_waited_for_until_it_is_done_and_old_conditions_are_not_believed() {
    let cluster = Cluster::shared();
    let client = client(&cluster).await;
    define(&client).await;
    let space = "reconciled";
    cluster.kubectl(&["create", "namespace", space]);
    made(&client, space, "main", &updated(1, "True")).await;
    let trigger = |more: &[&str]| {
        druid(
            &cluster,
            space,
            &[&["reconciliation", "trigger", "main"], more].concat(),
        )
    };
    let table = succeeds(trigger(&[]));
    let row: Vec<_> = table.lines().nth(1).unwrap().split_whitespace().collect();
    assert_eq!(row, ["reconciled/main", "true", "-", "-", "-"], "{table}");
    assert_eq!(
        annotation(&client, space, "main", "operation").await,
        "reconcile"
    );

    // All conditions say yes, and nobody has looked.
    let late = trigger(&["-w", "-t", "2s"]).output().unwrap();
    assert_eq!(late.status.code(), Some(1));
    let (table, error) = said(&late);
    assert!(table.contains("false"), "{table}");
    assert!(error.contains("has not taken it up"), "{error}");

    let watch = Running::start(trigger(&["-W", "-o", "json"]));
    let next = || serde_json::from_str::<Value>(&watch.line()).unwrap();
    assert_eq!(next()["says"], "the operator has not taken it up");
    let etcds = resources(&client, space, "Etcd");
    let patched = async |patch: Value| {
        let params = PatchParams::default();
        etcds
            .patch("main", &params, &Patch::Merge(&patch))
            .await
            .unwrap();
    };
    patched(json!({ "spec": { "etcd": { "quota": "4Gi" } } })).await;
    let nothing = json!({ "druid.gardener.cloud/operation": null });
    patched(json!({ "metadata": { "annotations": nothing } })).await;
    assert_eq!(next()["says"], "the status is about an older spec");
    set(&client, space, "Etcd", "main", &updated(2, "False")).await;
    let starts = next();
    assert_eq!(
        (&starts["podsUpToDate"], &starts["completed"]),
        (&json!(true), &json!(false))
    );
    set(&client, space, "Etcd", "main", &updated(2, "True")).await;
    let done = next();
    assert_eq!(done["completed"], true, "{done}");

    succeeds(druid(
        &cluster,
        space,
        &["reconciliation", "suspend", "main"],
    ));
    assert!(fails_of(trigger(&[])).contains("suspended"));
}

/// What it says on standard error; it ends with 1, whatever it prints besides.
fn fails_of(mut command: Command) -> String {
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    said(&output).1
}

#[tokio::test]
async fn what_belongs_to_an_etcd_is_listed_and_no_secret_is_told() {
    let cluster = Cluster::shared();
    let client = client(&cluster).await;
    define(&client).await;
    let space = "belongings";
    cluster.kubectl(&["create", "namespace", space]);
    made(&client, space, "main", &well()).await;
    pods_of(&cluster, space, 3);
    leases_of(&cluster, space);
    let labels = json!({ "app.kubernetes.io/part-of": "main" });
    cluster.apply(&[
        json!({
            "apiVersion": "v1", "kind": "Secret", "stringData": { "key": "hush" },
            "metadata": { "name": "ours", "namespace": space, "labels": labels },
        }),
        json!({
            "apiVersion": "batch/v1", "kind": "Job",
            "metadata": { "name": "main-compactor", "namespace": space, "labels": labels },
            "spec": { "suspend": true, "template": { "spec": {
                "restartPolicy": "Never", "containers": [{ "name": "a", "image": "b" }],
            } } },
        }),
        json!({
            "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": { "name": "foreign", "namespace": space },
        }),
    ]);
    let ask = |more: &[&str]| {
        succeeds(druid(
            &cluster,
            space,
            &[&["list-resources"], more].concat(),
        ))
    };
    let table = ask(&["main"]);
    assert!(table.starts_with("Etcd belongings/main\nKIND"), "{table}");
    for line in ["Pod ", "StatefulSet ", "Lease ", "Secret ", "Job "] {
        assert!(
            table.lines().any(|it| it.starts_with(line)),
            "{line}: {table}"
        );
    }
    assert!(
        table.contains("belongings/main-2") && !table.contains("foreign"),
        "{table}"
    );

    let printed = ask(&["belongings/main", "-f", "po,leases", "-o", "json"]);
    let rows: Value = serde_json::from_str(&printed).unwrap();
    let found = rows[0]["resources"].as_array().unwrap();
    assert_eq!(found.len(), 3 + 5, "{rows:#}");
    assert_eq!(found[0]["kind"], "Pod");
    assert!(found[0]["created"].is_string(), "{rows:#}");
    let yaml: Value = serde_saphyr::from_str(&ask(&["main", "-f", "sts", "-o", "yaml"])).unwrap();
    assert_eq!(yaml[0]["resources"][0]["name"], "main");
    let raw = ask(&["main", "-o", "json-raw"]);
    let list: Value = serde_json::from_str(&raw).unwrap();
    assert_eq!(
        (&list["kind"], &list["items"][0]["kind"]),
        (&json!("List"), &json!("Pod"))
    );
    assert!(list["items"][0]["spec"].is_object(), "{list:#}");
    assert!(!raw.contains("aHVzaA") && !raw.contains("hush"), "{raw}");
}

#[tokio::test]
async fn every_command_speaks_to_programs() {
    let cluster = Cluster::shared();
    let client = client(&cluster).await;
    define(&client).await;
    let space = "programs";
    cluster.kubectl(&["create", "namespace", space]);
    let rolling = |done| with(upgrade("Rolling", &Value::Null, "going on", done));
    made(&client, space, "main", &rolling(0)).await;
    let tasks = Running::start(druid(&cluster, space, &["tasks", "-w", "-o", "json"]));
    let status = ["upgrade", "status", "main", "-w", "-o", "json"];
    let status = Running::start(druid(&cluster, space, &status));
    let first: Value = serde_json::from_str(&status.line()).unwrap();
    assert_eq!(first["membersDone"], 0, "{first}");
    for (args, field, value) in [
        (&["upgrade", "pause", "main"][..], "/0/outcome", "changed"),
        (&["upgrade", "resume", "main"], "/0/outcome", "changed"),
        (&["snapshot", "programs/main", "--full"], "/etcd", "main"),
        (&["defrag", "main"], "/kind", "onDemandMaintenance"),
        (&["compact", "main"], "/kind", "onDemandMaintenance"),
        (
            &["recover", "main", "--confirm"],
            "/kind",
            "recoverFromQuorumLoss",
        ),
        (
            &["reconciliation", "trigger", "main"],
            "/0/says",
            "triggered",
        ),
        (&["version"], "/version", env!("CARGO_PKG_VERSION")),
    ] {
        let json = succeeds(druid(&cluster, space, &[args, &["-o", "json"]].concat()));
        let json: Value = serde_json::from_str(&json).unwrap();
        assert_eq!(json.pointer(field), Some(&json!(value)), "{args:?}");
        let printed = succeeds(druid(&cluster, space, &[args, &["-o", "yaml"]].concat()));
        let yaml: Value = serde_saphyr::from_str(&printed).unwrap();
        assert!(yaml.pointer(field).is_some(), "{args:?}: {printed}");
    }
    let refused = ["preflight", "main", "-o", "json"];
    let refused = ends(druid(&cluster, space, &refused), 1);
    let refused: Value = serde_json::from_str(&refused).unwrap();
    let codes: Vec<_> = refused["against"].as_array().unwrap().iter().collect();
    assert!(
        codes.iter().any(|it| it["code"] == "NoStatefulSet"),
        "{refused:#}"
    );

    set(&client, space, "Etcd", "main", &rolling(1)).await;
    let later = std::iter::from_fn(|| Some(status.line()))
        .map(|it| serde_json::from_str::<Value>(&it).unwrap())
        .find(|it| it["membersDone"] == 1);
    assert!(later.is_some());
    let kinds: Vec<_> = (0..8)
        .map(|_| serde_json::from_str::<Value>(&tasks.line()).unwrap()["kind"].clone())
        .collect();
    assert!(kinds.contains(&json!("recoverFromQuorumLoss")), "{kinds:?}");
    let args = ["upgrade", "status", "main", "-w", "-o", "yaml"];
    let yaml = Running::start(druid(&cluster, space, &args));
    assert_eq!([yaml.line(), yaml.line()], ["---", "namespace: programs"]);

    let mut short = bare();
    assert_eq!(
        succeeds_of(short.args(["kubectl", "version", "--short"])),
        format!("{}\n", env!("CARGO_PKG_VERSION")),
        "no API server is asked"
    );
}

#[tokio::test]
async fn a_watch_of_several_by_name_follows_each() {
    let cluster = Cluster::shared();
    let client = client(&cluster).await;
    define(&client).await;
    for namespace in ["watch-a", "watch-b"] {
        cluster.kubectl(&["create", "namespace", namespace]);
        made(&client, namespace, "main", &well()).await;
    }
    made(&client, "watch-a", "foreign", &well()).await;
    let args = ["upgrade", "status", "main", "watch-b/main", "-w"];
    let both = Running::start(druid(&cluster, "watch-a", &args));
    assert!(both.line().ends_with("watch-a/main  no upgrade"));
    assert!(both.line().ends_with("watch-b/main  no upgrade"));
    let rolling = with(upgrade("Rolling", &Value::Null, "going on", 1));
    set(&client, "watch-a", "Etcd", "foreign", &rolling).await;
    set(&client, "watch-b", "Etcd", "main", &rolling).await;
    let line = both.line();
    assert!(
        line.contains("watch-b/main") && line.contains("1/3"),
        "{line}"
    );
    let etcds = resources(&client, "watch-a", "Etcd");
    etcds
        .delete("main", &DeleteParams::default())
        .await
        .unwrap();
    assert!(both.line().ends_with("watch-a/main  deleted"));
}

/// Sidecars of members without a leader, at one address: each restores a backup on trial. The port.
fn leaderless() -> (IpAddr, u16) {
    // Nothing is sent: this tells by which address others are reached. An API server asks no loopback.
    let out = UdpSocket::bind("0.0.0.0:0").unwrap();
    out.connect("192.0.2.1:9").unwrap();
    let at = out.local_addr().unwrap().ip();
    let listener = TcpListener::bind((at, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            std::thread::spawn(move || sidecar(stream));
        }
    });
    (at, port)
}

/// Answers one request.
fn sidecar(mut stream: TcpStream) {
    let reader = BufReader::new(stream.try_clone().unwrap());
    let head: Vec<_> = reader
        .lines()
        .map_while(Result::ok)
        .take_while(|it| !it.is_empty())
        .collect();
    let asked = head.first().cloned().unwrap_or_default();
    let (status, body) = if asked.contains("/healthz") {
        ("503 Service Unavailable", r#"{"health":false}"#)
    } else if asked.contains("/backup/restorable") {
        let body = r#"{"revision":130,"writtenAt":"2026-11-24T10:20:00Z","deltas":2}"#;
        ("200 OK", body)
    } else {
        ("500 Internal Server Error", "the leader is asked")
    };
    let length = body.len();
    let answer =
        format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}");
    let _ = stream.write_all(answer.as_bytes());
}

#[tokio::test]
async fn without_a_leader_another_sidecar_tells_how_far_a_restore_goes() {
    let cluster = Cluster::shared();
    let client = client(&cluster).await;
    define(&client).await;
    let space = "leaderless";
    cluster.kubectl(&["create", "namespace", space]);
    let (address, port) = leaderless();
    let mut object = etcd("main");
    object["spec"]["backup"]["port"] = json!(port);
    create(&client, space, &object).await;
    pods_of(&cluster, space, 0);
    leases_of(&cluster, space);
    // Of the other two nobody knows where they are.
    let patch =
        json!({ "status": { "podIP": address, "podIPs": [{ "ip": address }] } }).to_string();
    let how = ["--subresource=status", "--type=merge", "-p", &patch];
    cluster.kubectl(&[&["-n", space, "patch", "pod", "main-1"], &how[..]].concat());
    let output = druid(&cluster, space, &["restore-plan", "main", "-o", "json"]).output();
    let (out, error) = said(&output.unwrap());
    assert!(error.contains("that of main-1 restores"), "{out}{error}");
    let plan: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(
        (&plan["source"], &plan["triedBy"], &plan["verdict"]),
        (&json!("trial"), &json!("main-1"), &json!("restorable"))
    );
    assert_eq!(
        plan["revision"],
        json!({ "known": 130 }),
        "not the Leases' 120"
    );
}

#[tokio::test]
async fn kubectl_completes_the_plugin() {
    let cluster = Cluster::shared();
    let client = client(&cluster).await;
    define(&client).await;
    cluster.kubectl(&["create", "namespace", "completed"]);
    made(&client, "completed", "main", &well()).await;
    made(&client, "completed", "events", &well()).await;
    let dir = tempfile::tempdir().unwrap();
    for name in ["kubectl-druid", "kubectl_complete-druid"] {
        symlink(cargo_bin("druid"), dir.path().join(name)).unwrap();
    }
    let complete = |words: &[&str]| {
        let mut kubectl = cluster.kubectl_alone();
        kubectl.env("PATH", dir.path());
        succeeds_of(kubectl.arg("__complete").arg("druid").args(words))
    };
    assert!(complete(&["do"]).starts_with("doctor\tLook at one Etcd"));
    assert!(complete(&["upgrade", "ack"]).starts_with("acknowledge\t"));
    assert!(complete(&["list", "-o", "js"]).starts_with("json\t"));
    assert!(complete(&["doctor", "-n", "completed", "m"]).starts_with("main\n:"));
    assert!(complete(&["defrag", "completed/"]).starts_with("completed/events\ncompleted/main\n:"));
    // Without an API server there are no choices, and no error.
    let nobody = ["doctor", "--kubeconfig", "/dev/null", "m"];
    assert!(complete(&nobody).starts_with(':'));

    for shell in ["bash", "zsh", "fish"] {
        let mut druid = bare();
        let script = succeeds_of(druid.args(["completions", shell]));
        assert!(
            script.contains("restore-plan"),
            "{shell}: also `druid kubectl`"
        );
    }
}

fn succeeds_of(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let (out, error) = said(&output);
    assert!(output.status.success(), "{out}{error}");
    out
}
