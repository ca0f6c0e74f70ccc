//! The leases of `druid server` in a real API server.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "this is how a test fails"
)]

mod common_agent;
mod common_cluster;
mod common_preflight;
mod common_relay;
#[path = "server_leases/recovery.rs"]
mod recovery;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use assert_cmd::cargo::cargo_bin;
use common_agent::backed::{ask, await_based, call, is_covered, put, terminate_server, with_store};
use common_agent::{Pod, Pods, get};
use common_cluster::Cluster;
use common_preflight::Release::{V3_4_34, V3_5_27};
use common_preflight::until;
use common_relay::{Mode, relay};
use serde_json::{Value, json};

const TLS_ENABLED: &str = "member.etcd.gardener.cloud/tls-enabled";

/// What an operator passes.
const FLAGS: [&str; 5] = [
    "--enable-member-lease-renewal=true",
    "--k8s-heartbeat-duration=1s",
    "--enable-snapshot-lease-renewal=true",
    "--full-snapshot-lease-name=a-full-snap",
    "--delta-snapshot-lease-name=a-delta-snap",
];

/// A namespace and what is in it.
struct Namespace {
    cluster: Arc<Cluster>,
    name: &'static str,
}

impl Namespace {
    fn new(name: &'static str) -> Self {
        let cluster = Cluster::shared();
        cluster.kubectl(&["create", "namespace", name]);
        Self { cluster, name }
    }

    /// Makes leases that nobody holds, as the operator does.
    fn make(&self, names: &[&str], dir: &Path) {
        let lease = |name: &&str| {
            json!({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
                "metadata": {"name": name, "namespace": self.name}, "spec": {}})
        };
        let items: Vec<_> = names.iter().map(lease).collect();
        let list = json!({"apiVersion": "v1", "kind": "List", "items": items});
        let file = dir.join("leases.json");
        fs::write(&file, list.to_string()).unwrap();
        self.cluster
            .kubectl(&["create", "-f", file.to_str().unwrap()]);
    }

    /// All leases by name.
    fn leases(&self) -> BTreeMap<String, Value> {
        let said = self
            .cluster
            .kubectl(&["get", "leases", "-n", self.name, "-o", "json"]);
        let list: Value = serde_json::from_str(&said).unwrap();
        let items = list["items"].as_array().unwrap().iter();
        items
            .map(|it| {
                let name = it["metadata"]["name"].as_str().unwrap();
                (name.to_owned(), it.clone())
            })
            .collect()
    }

    /// `spec.holderIdentity`; empty if there is none.
    fn holder(&self, name: &str) -> String {
        let lease = self.leases().remove(name).unwrap_or_default();
        lease["spec"]["holderIdentity"]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    }

    fn await_holder(&self, name: &str, wanted: &str) {
        let mut holder = String::new();
        let what = format!("{name} says {wanted}");
        let began = Instant::now();
        while holder != wanted {
            holder = self.holder(name);
            assert!(
                began.elapsed() < Duration::from_secs(20),
                "{what}, not {holder:?}"
            );
        }
    }

    /// Requests for one lease that the API server answered, refusals too.
    fn requests(&self, name: &str) -> usize {
        let audit = fs::read_to_string(self.cluster.audit_log()).unwrap();
        let path = format!("/namespaces/{}/leases/{name}\"", self.name);
        audit.lines().filter(|it| it.contains(&path)).count()
    }

    /// Lets a service account do this to leases.
    fn allow(&self, account: &str, verb: &str) {
        let rule = "--resource=leases.coordination.k8s.io";
        let verbs = format!("--verb={verb}");
        let role = ["create", "role", verb, &verbs, rule, "-n", self.name];
        self.cluster.kubectl(&role);
        let (role, whom) = (
            format!("--role={verb}"),
            format!("--serviceaccount={}:{account}", self.name),
        );
        let bind = ["create", "rolebinding", verb, &role, &whom, "-n", self.name];
        self.cluster.kubectl(&bind);
    }
}

/// A kubeconfig of files, for an API server behind another address.
fn kubeconfig(cluster: &Cluster, dir: &Path, server: &str, user: &Value) -> PathBuf {
    let path = dir.join("kubeconfig");
    let text = json!({
        "current-context": "c",
        "contexts": [{"name": "c", "context": {"cluster": "k", "user": "u"}}],
        "clusters": [{"name": "k",
            "cluster": {"server": server, "certificate-authority": cluster.ca()}}],
        "users": [{"name": "u", "user": user}],
    });
    fs::write(&path, text.to_string()).unwrap();
    path
}

fn hexadecimal(number: &Value) -> String {
    let number: u64 = number.as_str().unwrap().parse().unwrap();
    format!("{number:x}")
}

/// `MEMBER:CLUSTER`, as etcd says.
fn identity(member: &Pod) -> String {
    let header = &call(member, "/v3/maintenance/status", &json!({}))["header"];
    let (id, cluster) = (&header["member_id"], &header["cluster_id"]);
    format!("{}:{}", hexadecimal(id), hexadecimal(cluster))
}

fn three_with_one_store(namespace: &Namespace) -> Pods {
    let mut pods = Pods::new(V3_5_27, 3);
    pods.mounted["enable-grpc-gateway"] = json!(true);
    pods.write_mounted();
    let shared = pods.dir.path().join("bkp").display().to_string();
    for member in &mut pods.members {
        namespace.name.clone_into(&mut member.namespace);
        member.kubeconfig = Some(namespace.cluster.kubeconfig());
        member.server_args = vec![
            "--storage-provider=Local".to_owned(),
            format!("--store-container={shared}"),
            "--store-prefix=etcd-main".to_owned(),
            format!("--snapstore-temp-directory={}/temp", member.home.display()),
            "--delta-snapshot-period=1h".to_owned(),
        ];
        member.server_args.extend(FLAGS.map(str::to_owned));
    }
    pods
}

/// Which of them leads.
fn leads(pods: &Pods) -> usize {
    let mut found = None;
    until("one leads", || {
        found = pods.members.iter().position(Pod::leads);
        found.is_some()
    });
    found.unwrap()
}

fn renewed(leases: &BTreeMap<String, Value>, name: &str) -> String {
    let renewed = leases[name]["spec"]["renewTime"].as_str();
    renewed.unwrap().to_owned()
}

#[test]
fn leases_tell_who_leads_and_how_far_snapshots_reach() {
    let namespace = Namespace::new("lead");
    let mut pods = three_with_one_store(&namespace);
    let all = ["a-0", "a-1", "a-2", "a-full-snap", "a-delta-snap"];
    namespace.make(&all, pods.dir.path());
    pods.members.iter_mut().for_each(Pod::start_server);
    until("all listen", || {
        let listens = |it: &Pod| get(it.sidecar, "/healthz").is_some();
        pods.members.iter().all(listens)
    });
    std::thread::sleep(Duration::from_millis(1200));
    for (name, lease) in namespace.leases() {
        assert_eq!(
            lease["spec"],
            json!({}),
            "{name}: nothing is told while nothing is known"
        );
    }

    pods.members.iter_mut().for_each(Pod::start_etcd);
    pods.members.iter().for_each(Pod::await_ready);
    let first = leads(&pods);
    for (index, member) in pods.members.iter().enumerate() {
        let role = if index == first { "Leader" } else { "Member" };
        namespace.await_holder(&member.name, &format!("{}:{role}", identity(member)));
    }
    let before = namespace.leases();
    assert_eq!(
        before["a-0"]["metadata"]["annotations"][TLS_ENABLED],
        "false"
    );
    until("all are renewed", || {
        let now = namespace.leases();
        let newer = |it: &Pod| renewed(&now, &it.name) > renewed(&before, &it.name);
        pods.members.iter().all(newer)
    });

    let leader = &pods.members[first];
    let full = &ask(leader, "/snapshot/full");
    let last = full["lastRevision"].to_string();
    namespace.await_holder("a-full-snap", &last);
    let created = full["createdOn"].as_str().unwrap().replace('Z', ".000000Z");
    assert_eq!(renewed(&namespace.leases(), "a-full-snap"), created);
    namespace.await_holder("a-delta-snap", "0");
    let last = put(leader, "a", "1");
    assert_eq!(ask(leader, "/snapshot/delta")["lastRevision"], last);
    namespace.await_holder("a-delta-snap", &last.to_string());

    // Another leads: its sidecar tells, and the lease of the dead one stays as it was.
    let dead = pods.members[first].name.clone();
    pods.members[first].kill();
    let at_the_end = namespace.leases()[&dead].clone();
    let next = leads(&pods);
    assert_ne!(next, first);
    let leader = &mut pods.members[next];
    let holder = format!("{}:Leader", identity(leader));
    namespace.await_holder(&leader.name, &holder);
    put(leader, "a", "2");
    ask(leader, "/snapshot/delta");
    // What is written as it ends is told, too.
    let last = put(leader, "a", "3");
    terminate_server(leader);
    assert_eq!(namespace.holder("a-delta-snap"), last.to_string());
    assert_eq!(namespace.leases()[&dead], at_the_end);

    // A member that ran, by its lease, does not begin anew while nobody can be asked.
    pods.members.iter_mut().for_each(Pod::kill);
    let member = &mut pods.members[first];
    fs::remove_dir_all(member.data_dir()).unwrap();
    member.start_server();
    assert_eq!(member.initialise("full"), "Failed");
    assert!(!member.data_dir().exists());
}

#[test]
fn a_lease_that_is_forbidden_or_missing_is_named_and_told_once_it_may_be() {
    let namespace = Namespace::new("forbidden");
    let mut pods = with_store(V3_4_34, &FLAGS);
    let dir = pods.dir.path().to_owned();
    let member = &mut pods.members[0];
    member.namespace = namespace.name.to_owned();
    let (cluster, server) = (&namespace.cluster, namespace.cluster.server());
    let user = json!({"tokenFile": "token"});
    member.kubeconfig = Some(kubeconfig(cluster, &dir, server, &user));
    fs::write(dir.join("token"), "of nobody\n").unwrap();
    member.start();
    member.await_ready();
    await_based(member);
    let says = |words: &[&str]| {
        until(&format!("it says {words:?}"), || {
            let log = member.log("server");
            log.lines()
                .any(|line| words.iter().all(|word| line.contains(word)))
        });
    };
    says(&["the member lease is not renewed", "a-0", "401"]);
    says(&[
        "the lease of full snapshots is not renewed",
        "a-full-snap",
        "401",
    ]);

    // The token is read again, as it is renewed; at first the account may do nothing.
    fs::write(dir.join("token"), cluster.token(namespace.name, "agent")).unwrap();
    says(&[
        "the member lease is not renewed",
        "a-0",
        "403",
        "cannot patch",
    ]);
    put(member, "a", "1");
    ask(member, "/snapshot/delta");
    says(&["the lease of deltas is not renewed", "a-delta-snap", "403"]);
    let (beats, before) = (namespace.requests("a-0"), namespace.requests("a-full-snap"));
    std::thread::sleep(Duration::from_secs(3));
    let beats = namespace.requests("a-0") - beats;
    assert!((2..=4).contains(&beats), "{beats} beats in 3 s");
    assert_eq!(namespace.requests("a-full-snap"), before, "in 3 s");

    namespace.allow("agent", "get");
    namespace.allow("agent", "patch");
    says(&["there is no lease forbidden/a-0; the operator has to create it"]);
    namespace.make(&["a-0", "a-full-snap", "a-delta-snap"], &dir);
    says(&["the member lease is renewed again"]);
    let last = put(member, "a", "2");
    ask(member, "/snapshot/delta");
    namespace.await_holder("a-delta-snap", &last.to_string());
    let full = &ask(member, "/snapshot/latest")["fullSnapshot"]["lastRevision"];
    namespace.await_holder("a-full-snap", &full.to_string());
    namespace.await_holder("a-0", &format!("{}:Leader", identity(member)));
    let log = member.log("server");
    let told = log.matches("the member lease is not renewed").count();
    assert!(told <= 6, "each reason is told once: {log}");
    assert!(!log.contains("panicked"), "{log}");
}

#[test]
fn an_api_server_that_is_away_is_waited_for_and_holds_up_nothing() {
    let namespace = Namespace::new("away");
    let relay = relay(
        namespace.cluster.server().trim_start_matches("https://"),
        Mode::Down,
    );
    let mut pods = with_store(V3_5_27, &FLAGS);
    let dir = pods.dir.path().to_owned();
    namespace.make(&["a-0", "a-full-snap", "a-delta-snap"], &dir);
    let member = &mut pods.members[0];
    member.namespace = namespace.name.to_owned();
    let cluster = &namespace.cluster;
    let user = json!({"client-certificate": cluster.certificate(), "client-key": cluster.key()});
    let server = format!("https://127.0.0.1:{}", relay.address().port());
    member.kubeconfig = Some(kubeconfig(cluster, &dir, &server, &user));
    member.start();
    member.await_ready();
    await_based(member);
    let told = |member: &Pod| member.log("server").matches("lease is not renewed").count();
    until("it says so", || told(member) > 0);
    assert!(member.log("server").contains("Connection refused"));
    put(member, "a", "1");
    ask(member, "/snapshot/delta");

    relay.become_so(Mode::Up);
    let holder = format!("{}:Leader", identity(member));
    namespace.await_holder("a-0", &holder);
    let last = put(member, "a", "2");
    ask(member, "/snapshot/delta");
    namespace.await_holder("a-delta-snap", &last.to_string());
    assert_ne!(namespace.holder("a-full-snap"), "");

    // It goes away with its connections, and comes back.
    relay.become_so(Mode::Down);
    let before = told(member);
    until("it says so again", || told(member) > before);
    relay.become_so(Mode::Up);
    let last = put(member, "a", "3");
    ask(member, "/snapshot/delta");
    namespace.await_holder("a-delta-snap", &last.to_string());

    // It accepts and says nothing: snapshots and the end do not wait for it.
    relay.become_so(Mode::Mute);
    put(member, "a", "4");
    ask(member, "/snapshot/delta");
    let last = put(member, "a", "5");
    let took = terminate_server(member);
    assert!(took < Duration::from_secs(6), "{took:?}");
    assert!(is_covered(member, last), "{last}");
    let log = member.log("server");
    assert!(log.contains("do not say what was taken last"), "{log}");
}

/// A store that etcd-backup-restore wrote, below a home directory.
fn genuine_store(home: &Path) {
    let from = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/store/v2");
    let into = home.join("bkp/etcd-main/v2");
    fs::create_dir_all(&into).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), into.join(entry.file_name())).unwrap();
    }
}

/// `druid compact` as an operator's job runs it.
fn compact(home: &Path, namespace: &Namespace, lease: &str) -> Command {
    let below = |flag: &str, name: &str| format!("--{flag}={}", home.join(name).display());
    let mut compact = Command::new(cargo_bin("druid"));
    compact
        .arg("compact")
        .arg(below("data-dir", "compaction.etcd"))
        .arg(below("restoration-temp-snapshots-dir", "restoration.temp"))
        .arg(below("snapstore-temp-directory", "tmp"))
        .args([
            "--metrics-scrape-wait-duration=0s",
            "--enable-snapshot-lease-renewal=true",
            "--delta-snapshot-lease-name=a-delta-snap",
            "--embedded-etcd-quota-bytes=8589934592",
            "--etcd-defrag-timeout=15m",
            "--etcd-snapshot-timeout=15m",
            "--storage-provider=Local",
            "--store-prefix=etcd-main",
            "--store-container=bkp",
            "--output=json",
        ])
        .arg(format!("--full-snapshot-lease-name={lease}"))
        .env("HOME", home)
        .env("POD_NAME", "a-compactor-x")
        .env("POD_NAMESPACE", namespace.name)
        .env("KUBECONFIG", namespace.cluster.kubeconfig())
        .stdin(Stdio::null());
    compact
}

#[test]
fn a_compaction_tells_of_its_snapshot() {
    let namespace = Namespace::new("compact");
    let home = tempfile::tempdir().unwrap();
    let home = home.path();
    genuine_store(home);
    namespace.make(&["a-full-snap", "a-delta-snap"], home);
    let run = |command: &mut Command| {
        let output = command.output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(0), "{said}");
        let report: Value = serde_json::from_slice(&output.stdout).unwrap();
        (report, said)
    };
    let (report, said) = run(&mut compact(home, &namespace, "a-full-snap"));
    assert_eq!(
        (said.as_str(), &report["lease_renewed"]),
        ("", &json!(true))
    );
    let leases = namespace.leases();
    let spec = &leases["a-full-snap"]["spec"];
    assert_eq!(spec["holderIdentity"], report["revision"].to_string());
    let object = report["object"].as_str().unwrap();
    let seconds = object.trim_end_matches(".gz").rsplit_once('-').unwrap().1;
    let created = jiff::Timestamp::from_second(seconds.parse().unwrap()).unwrap();
    let renewed: jiff::Timestamp = spec["renewTime"].as_str().unwrap().parse().unwrap();
    assert_eq!(renewed, created);
    assert_eq!(leases["a-delta-snap"]["spec"], json!({}));

    // The snapshot is what counts: a lease that is not there is told.
    let (report, said) = run(&mut compact(home, &namespace, "another"));
    assert_eq!(report["lease_renewed"], false);
    assert!(said.contains("there is no lease compact/another"), "{said}");
    let (_, said) = run(compact(home, &namespace, "a-full-snap").env_remove("POD_NAMESPACE"));
    assert!(said.contains("there is no API server"), "{said}");
    let refused = compact(home, &namespace, "a-full-snap")
        .env("KUBECONFIG", home.join("nowhere"))
        .output()
        .unwrap();
    assert_eq!(refused.status.code(), Some(1));
    let said = String::from_utf8(refused.stderr).unwrap();
    assert!(said.contains("--enable-snapshot-lease-renewal") && said.contains("nowhere"));
}
