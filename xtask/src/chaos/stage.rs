//! What everything happens to: a node of its own, the operator, an object store, and an Etcd.

use std::collections::BTreeMap;
use std::error::Error;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde_json::{Value, json};
use xtask::cluster::Node;
use xtask::deploy::{self, Build};
use xtask::{debian, image};

use super::seen::Seen;
use super::store::{BUCKET, Store};
use crate::command::{Profile, build_druid, output};
use crate::demo::now;

/// The namespace of all of it.
pub(super) const NAMESPACE: &str = "chaos";
/// The Etcd.
pub(super) const ETCD: &str = "main";
/// Its members in the beginning.
pub(super) const MEMBERS: u32 = 3;
/// Where volumes are, on the node.
pub(super) const VOLUMES: &str = "/tmp/hostpath_pv";
/// The component that makes volumes.
const PROVISIONER: &str = "kube-controller-manager";
/// What runs containers, and how long it waits at most before it runs one again that has ended.
const KUBELET: &str = "kubelet";
const LONGEST_BACK_OFF: &str = "20s";
/// What all volumes have.
const VOLUMES_SIZE: &str = "size=6g,mode=777";
/// Where backups are.
pub(super) const PREFIX: &str = "chaos--main";
/// What fakes a clock, and its package in Debian.
const FAKE_CLOCK: (&str, &str) = ("faketime/libfaketime.so.1", "libfaketime");
/// The directory of the clock: on the node, and in the operator's container.
const CLOCK: [&str; 2] = ["/node/clock", "/clock"];
/// So many seconds ahead the clock is set once, to see that it is gone by.
const TRIED_AHEAD: i32 = 60;
/// A Lease that is renewed every two seconds differs by less than this.
const CLOCK_NEAR: i64 = 20;
/// How long it may take until it is gone by.
const CLOCK_SET: Duration = Duration::from_secs(30);
/// The operator's Lease.
const LEASE: &str = "druid-leader-election";
/// How long the operator and the members may take to be ready.
const READY: Duration = Duration::from_mins(3);
/// How long a request may take while the API server may be away.
const REQUEST: &str = "--request-timeout=3s";

/// All of it. It ends when it is dropped.
pub(super) struct Stage {
    pub(super) node: Node,
    pub(super) store: Store,
    /// The druid on this machine.
    pub(super) druid: PathBuf,
}

impl Stage {
    /// A node and a store that nobody uses yet.
    pub(super) fn start(druid: Option<&Path>, debug: bool) -> Result<Self, Box<dyn Error>> {
        let druid = match druid {
            Some(druid) => druid.to_owned(),
            None if debug => build_druid(Profile::Dev)?,
            None => build_druid(Profile::Release)?,
        };
        let node = Node::start()?;
        let store = Store::start(node.machine())?;
        Ok(Self { node, store, druid })
    }

    /// Makes the operator and the Etcd, and waits until all members are ready.
    pub(super) fn make(&mut self) -> Result<(), Box<dyn Error>> {
        self.prepare_node(&fake_clock()?)?;
        let archive = self.node.layout().directory().join("druid.tar");
        image::druid(&self.druid, &image::RELEASES, &archive)?;
        self.node.load(&archive)?;
        let build = Build::of(&archive)?;
        std::fs::remove_file(archive)?;
        self.apply(&with_another_clock(deploy::objects(false, Some(&build))?))?;
        self.await_operator()?;
        self.try_clock()?;
        self.apply(&self.etcd())?;
        self.await_members()
    }

    /// Volumes of a limited size, and what fakes the operator's clock.
    fn prepare_node(&mut self, fake_clock: &Path) -> Result<(), Box<dyn Error>> {
        self.on_node("mkdir", &["-p", "--mode=777", VOLUMES])?;
        let options = ["-t", "tmpfs", "-o", VOLUMES_SIZE, "tmpfs", VOLUMES];
        self.on_node("mount", &options)?;
        // What makes volumes looks at the directory that it found.
        self.node
            .signal(PROVISIONER, rustix::process::Signal::KILL)?;
        self.node.start_again(PROVISIONER)?;
        self.let_kubelet_hurry()?;
        let directory = self.clock();
        std::fs::create_dir_all(&directory)?;
        std::fs::copy(fake_clock, directory.join("libfaketime.so.1"))?;
        self.set_clock(0)
    }

    /// After a few kills of a container kubelet would keep it away for five minutes, in which nothing of it is
    /// put to the test. Source: `crashLoopBackOff` of `kubelet.config.k8s.io/v1beta1`, Kubernetes v1.32.
    fn let_kubelet_hurry(&mut self) -> Result<(), Box<dyn Error>> {
        let path = self.node.layout().directory().join("kubelet.json");
        let mut config: Value = serde_json::from_slice(&std::fs::read(&path)?)?;
        config["featureGates"] = json!({ "KubeletCrashLoopBackOffMax": true });
        config["crashLoopBackOff"] = json!({ "maxContainerRestartPeriod": LONGEST_BACK_OFF });
        std::fs::write(&path, config.to_string())?;
        self.node.signal(KUBELET, rustix::process::Signal::KILL)?;
        self.node.start_again(KUBELET)?;
        Ok(())
    }

    fn clock(&self) -> PathBuf {
        self.node.layout().directory().join("clock")
    }

    /// Sets the operator's clock so many seconds ahead of the true one.
    pub(super) fn set_clock(&self, ahead: i32) -> Result<(), Box<dyn Error>> {
        Ok(std::fs::write(
            self.clock().join("now"),
            format!("{ahead:+}\n"),
        )?)
    }

    /// The operator goes by the clock that is set: it says so in its Lease, which it renews.
    fn try_clock(&self) -> Result<(), Box<dyn Error>> {
        for set in [TRIED_AHEAD, 0] {
            self.set_clock(set)?;
            let start = Instant::now();
            loop {
                let why = match self.operator_ahead() {
                    Ok(found) if (found - i64::from(set)).abs() < CLOCK_NEAR => break,
                    Ok(found) => format!("its Lease is {found} s ahead, and {set} s were set"),
                    Err(error) => error.to_string(),
                };
                if start.elapsed() > CLOCK_SET {
                    let package = FAKE_CLOCK.1;
                    return Err(
                        format!("{package} does not set the operator's clock: {why}").into(),
                    );
                }
                std::thread::sleep(Duration::from_millis(500));
            }
        }
        Ok(())
    }

    /// By how many seconds the operator's Lease is ahead of us. It is renewed every two seconds.
    fn operator_ahead(&self) -> Result<i64, Box<dyn Error>> {
        let mut kubectl = self.node.kubectl();
        kubectl.args(["--namespace", deploy::NAMESPACE, "get", "lease", LEASE]);
        kubectl.arg("--output=jsonpath={.spec.renewTime}");
        let renewed: Timestamp = said(kubectl.stdin(Stdio::null()))?.parse()?;
        Ok(renewed.as_second() - now().as_second())
    }

    /// Runs a program on the node. It has to succeed.
    pub(super) fn on_node(&self, program: &str, args: &[&str]) -> Result<String, Box<dyn Error>> {
        let mut command = self.node.command(program);
        Ok(output(command.args(args).stdin(Stdio::null()))?)
    }

    /// kubectl, about our namespace.
    pub(super) fn kubectl(&self, args: &[&str]) -> Result<String, Box<dyn Error>> {
        let mut kubectl = self.node.kubectl();
        kubectl.args(["--namespace", NAMESPACE, REQUEST]).args(args);
        said(kubectl.stdin(Stdio::null()))
    }

    /// Makes objects, or changes them to what they should be.
    pub(super) fn apply(&self, objects: &[Value]) -> Result<(), Box<dyn Error>> {
        let list = json!({ "apiVersion": "v1", "kind": "List", "items": objects });
        let mut kubectl = self.node.kubectl();
        kubectl.args([
            "apply",
            "--server-side",
            "--force-conflicts",
            "--filename=-",
        ]);
        let mut child = kubectl
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()?;
        if let Some(stdin) = &mut child.stdin {
            stdin.write_all(list.to_string().as_bytes())?;
        }
        drop(child.stdin.take());
        let output = child.wait_with_output()?;
        if output.status.success() {
            return Ok(());
        }
        Err(String::from_utf8_lossy(&output.stderr).into_owned().into())
    }

    /// All that there is to see; an error if the API server does not answer.
    pub(super) fn look(&self) -> Result<Seen, Box<dyn Error>> {
        let mut kubectl = self.node.kubectl();
        kubectl.args([
            "get",
            "etcds,etcdopstasks,pods",
            "--all-namespaces",
            REQUEST,
        ]);
        let text = said(kubectl.arg("--output=json").stdin(Stdio::null()))?;
        Ok(Seen::of(&serde_json::from_str(&text)?))
    }

    fn await_operator(&self) -> Result<(), Box<dyn Error>> {
        let mut kubectl = self.node.kubectl();
        kubectl.args(["--namespace", deploy::NAMESPACE, "rollout", "status"]);
        kubectl.args(["deployment/druid", "--timeout=120s"]);
        said(kubectl.stdin(Stdio::null())).map(|_| ())
    }

    fn etcd(&self) -> Vec<Value> {
        let fields = BTreeMap::from(self.store.secret());
        vec![
            json!({
                "apiVersion": "v1", "kind": "Namespace",
                "metadata": { "name": NAMESPACE },
            }),
            json!({
                "apiVersion": "v1", "kind": "Secret",
                "metadata": { "name": "store", "namespace": NAMESPACE },
                "stringData": fields,
            }),
            json!({
                "apiVersion": "druid.gardener.cloud/v1alpha1", "kind": "Etcd",
                "metadata": { "name": ETCD, "namespace": NAMESPACE },
                "spec": {
                    "replicas": MEMBERS,
                    "labels": { "app": ETCD },
                    "etcd": {},
                    "backup": {
                        "deltaSnapshotPeriod": "20s",
                        "garbageCollectionPeriod": "2m",
                        "store": {
                            "provider": "S3",
                            "container": BUCKET,
                            "prefix": PREFIX,
                            "secretRef": { "name": "store" },
                        },
                    },
                    "upgrade": { "enabled": false },
                },
            }),
        ]
    }

    fn await_members(&self) -> Result<(), Box<dyn Error>> {
        let start = Instant::now();
        loop {
            let missing = match self.look() {
                Ok(seen) => seen.missing(),
                Err(error) => Some(error.to_string()),
            };
            match missing {
                None => return Ok(()),
                Some(why) if start.elapsed() > READY => {
                    return Err(format!("not ready within {} s: {why}", READY.as_secs()).into());
                }
                Some(_) => std::thread::sleep(Duration::from_millis(500)),
            }
        }
    }

    /// Reads every byte of the backups. An error says what is wrong with them.
    pub(super) fn verify(&self) -> Result<String, Box<dyn Error>> {
        said(&mut self.on_backups("verify")?)
    }

    /// A command of druid about the backups.
    pub(super) fn on_backups(&self, command: &str) -> Result<Command, Box<dyn Error>> {
        let mut druid = Command::new(&self.druid);
        druid
            .args([command, &format!("s3://{BUCKET}/{PREFIX}")])
            .env("AWS_APPLICATION_CREDENTIALS", self.store.credentials()?)
            .stdin(Stdio::null());
        Ok(druid)
    }

    /// Writes down what may tell why something went wrong.
    pub(super) fn collect(&self, directory: &Path) {
        let kubectl = |args: &[&str], name: &str| {
            let mut kubectl = self.node.kubectl();
            let output = kubectl.args(args).stdin(Stdio::null()).output();
            if let Ok(output) = output {
                // Half of it is better than nothing.
                let _ = std::fs::write(directory.join(name), output.stdout);
            }
        };
        let all = "--all-namespaces";
        kubectl(
            &["get", all, "etcds,etcdopstasks", "-o", "yaml"],
            "etcds.yaml",
        );
        kubectl(&["get", all, "pods,pvc,leases", "-o", "yaml"], "pods.yaml");
        kubectl(
            &["get", all, "events", "--sort-by=.lastTimestamp"],
            "events.txt",
        );
        let operator = ["--namespace", deploy::NAMESPACE, "logs", "deployment/druid"];
        kubectl(&operator, "operator.log");
        kubectl(
            &[&operator[..], &["--previous"]].concat(),
            "operator-before.log",
        );
        for member in 0..5 {
            let pod = format!("{ETCD}-{member}");
            for container in ["etcd", "backup-restore"] {
                let logs = ["--namespace", NAMESPACE, "logs", &pod, "-c", container];
                kubectl(&logs, &format!("{pod}-{container}.log"));
                let before = [&logs[..], &["--previous"]].concat();
                kubectl(&before, &format!("{pod}-{container}-before.log"));
            }
        }
        let audit = self.node.layout().audit_log();
        let _ = std::fs::copy(audit, directory.join("audit.log"));
        let _ = std::fs::copy(self.store.log(), directory.join("store.log"));
    }
}

/// What a program printed. If it fails, what it complained of.
pub(super) fn said(command: &mut Command) -> Result<String, Box<dyn Error>> {
    let output = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .output()?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let complaint = String::from_utf8_lossy(&output.stderr);
    Err(complaint.trim().to_owned().into())
}

/// Where the library that fakes a clock is. Installed if it is not there.
fn fake_clock() -> Result<PathBuf, Box<dyn Error>> {
    let (library, package) = FAKE_CLOCK;
    debian::need(&format!("ls /usr/lib/*/{library}"), package)?;
    let places = std::fs::read_dir("/usr/lib")?.flatten();
    let mut places = places.map(|it| it.path().join(library));
    let found = places.find(|it| it.is_file());
    found.ok_or_else(|| format!("{package} has no {library}").into())
}

/// The operator with a clock that can be set. Where it may run is told by its namespace, which does not
/// let it have a directory of the node.
fn with_another_clock(mut objects: Vec<Value>) -> Vec<Value> {
    let [on_node, inside] = CLOCK;
    for object in &mut objects {
        if object["kind"] == "Namespace" {
            object["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] =
                "privileged".into();
        }
        if object["kind"] != "Deployment" {
            continue;
        }
        let pod = &mut object["spec"]["template"]["spec"];
        let push = |list: &mut Value, item: Value| {
            if let Some(list) = list.as_array_mut() {
                list.push(item);
            }
        };
        push(
            &mut pod["volumes"],
            json!({ "name": "clock", "hostPath": { "path": on_node, "type": "Directory" } }),
        );
        let container = &mut pod["containers"][0];
        push(
            &mut container["volumeMounts"],
            json!({ "name": "clock", "mountPath": inside, "readOnly": true }),
        );
        for (name, value) in [
            ("LD_PRELOAD", format!("{inside}/libfaketime.so.1")),
            ("FAKETIME_TIMESTAMP_FILE", format!("{inside}/now")),
            ("FAKETIME_CACHE_DURATION", "1".to_owned()),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1".to_owned()),
            ("DONT_FAKE_MONOTONIC", "1".to_owned()),
        ] {
            push(
                &mut container["env"],
                json!({ "name": name, "value": value }),
            );
        }
    }
    objects
}
