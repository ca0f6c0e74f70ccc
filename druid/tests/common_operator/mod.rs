//! The operator on a real node for tests, and what tests want of its Etcds.
//!
//! One node and one operator serve all tests of a file. Each test has a namespace of its own, and its
//! Etcds say themselves which release they want, so that the gate is one test's alone.

#![allow(dead_code, reason = "each test file uses its part")]
#![allow(
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that cannot go on fails"
)]

pub(crate) mod audit;
pub(crate) mod etcd;
pub(crate) mod space;
pub(crate) mod writer;

use std::io::{Read as _, Write as _};
use std::net::{IpAddr, TcpStream};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard, Weak};
use std::time::Duration;

use serde_json::Value;
use xtask::cluster::processes;
use xtask::deploy::{self, Build, NAME, NAMESPACE};

use crate::common_cluster::{self, Cluster};

pub(crate) const OLD: &str = "3.4.34";
pub(crate) const NEW: &str = "3.5.27";
/// How long what is told may be behind what is so.
pub(crate) const TOLD: Duration = Duration::from_secs(5);
const DEPLOYMENT: &str = "deployment/druid";

/// Most tests want an operator that works, whoever restarts it. Some want none, or a broken one.
static WORKS: RwLock<()> = RwLock::new(());

/// As long as there is one, the operator works, or is about to again.
pub(crate) type Works = RwLockReadGuard<'static, ()>;
/// As long as there is one, nobody else needs the operator.
pub(crate) type Alone = RwLockWriteGuard<'static, ()>;

/// The operator on a node.
pub(crate) struct Operator {
    pub(crate) cluster: Arc<Cluster>,
    /// Changed by one test at a time.
    changes: Mutex<()>,
}

impl Operator {
    /// That of all tests of a file that run at the same time. The gate is off. Nothing, with the
    /// reason printed, where the machine cannot run containers.
    pub(crate) fn shared() -> Option<Arc<Self>> {
        static SHARED: Mutex<Weak<Operator>> = Mutex::new(Weak::new());
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(one) = shared.upgrade() {
            return Some(one);
        }
        let one = Arc::new(Self::on(Cluster::node()?));
        one.install(false);
        *shared = Arc::downgrade(&one);
        Some(one)
    }

    /// That of a cluster, whoever installs it.
    pub(crate) fn on(cluster: Arc<Cluster>) -> Self {
        Self {
            cluster,
            changes: Mutex::new(()),
        }
    }

    pub(crate) fn works() -> Works {
        WORKS.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn alone() -> Alone {
        WORKS.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Installs it, or sets its gate, and waits until it leads.
    pub(crate) fn install(&self, gate: bool) {
        self.install_with(gate, |_| {});
    }

    /// With other objects.
    pub(crate) fn install_with(&self, gate: bool, change: impl FnOnce(&mut Vec<Value>)) {
        let _only = self.changes.lock().unwrap_or_else(PoisonError::into_inner);
        let build = Build::loaded("of-the-test".to_owned());
        let mut objects = deploy::objects(gate, Some(&build)).unwrap();
        change(&mut objects);
        self.cluster.apply(&objects);
        self.cluster.await_rollout(NAMESPACE, DEPLOYMENT);
        eventually("the operator leads", || self.leader());
    }

    /// Ends it in order, and waits until it has ended.
    pub(crate) fn stop(&self) {
        let of = ["--namespace", NAMESPACE];
        let scale = ["scale", DEPLOYMENT, "--replicas=0"];
        self.cluster.kubectl(&[&of[..], &scale].concat());
        eventually("the operator has ended", || {
            self.pods().is_empty().then_some(())
        });
    }

    /// Its pods.
    pub(crate) fn pods(&self) -> Vec<Value> {
        list(&self.cluster, NAMESPACE, "pods")
    }

    /// The pod that leads and that runs.
    pub(crate) fn leader(&self) -> Option<String> {
        let leases = list(&self.cluster, NAMESPACE, "leases");
        let lease = leases
            .into_iter()
            .find(|it| it["metadata"]["name"] == "druid-leader-election")?;
        let holder = lease["spec"]["holderIdentity"].as_str()?;
        let (pod, _) = holder.split_once('_')?;
        let there = self.pods();
        let lives = there.iter().any(|it| {
            it["metadata"]["name"] == pod && it["metadata"]["deletionTimestamp"].is_null()
        });
        lives.then(|| pod.to_owned())
    }

    /// Kills it without a warning. Kubernetes starts it again.
    pub(crate) fn kill(&self) {
        for pod in self.pods() {
            let uid = pod["metadata"]["uid"].as_str().unwrap();
            for process in processes::of_pod(uid, NAME) {
                processes::signal(process, nix::sys::signal::Signal::SIGKILL);
            }
        }
    }

    /// The same, and another pod takes its place: Kubernetes makes one wait that dies often.
    pub(crate) fn replace(&self) {
        let before = self.pods();
        self.kill();
        for pod in before {
            let name = pod["metadata"]["name"].as_str().unwrap().to_owned();
            let at_once = ["--force", "--grace-period=0", "--wait=false"];
            let delete = ["--namespace", NAMESPACE, "delete", "pod", &name];
            let _ = self.cluster.try_kubectl(&[&delete[..], &at_once].concat());
        }
    }

    /// What it counts.
    pub(crate) fn numbers(&self) -> Option<String> {
        let pod = self.leader()?;
        get(self.cluster.pod(NAMESPACE, &pod), 8080, "/metrics")
    }

    /// The end of what it said.
    pub(crate) fn says(&self) -> String {
        let of = ["--namespace", NAMESPACE, "logs", DEPLOYMENT, "--tail=60"];
        let output = self.cluster.try_kubectl(&of);
        String::from_utf8_lossy(&output.stdout).into_owned()
    }
}

/// Asks until there is an answer, and leaves the machine to others in between: each kubectl costs
/// as much as a member.
pub(crate) fn eventually<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    common_cluster::eventually(what, || {
        let answer = ask();
        if answer.is_none() {
            std::thread::sleep(Duration::from_millis(300));
        }
        answer
    })
}

/// What is said there over HTTP, if there is an answer.
pub(crate) fn get(ip: IpAddr, port: u16, path: &str) -> Option<String> {
    let soon = Duration::from_secs(2);
    let mut stream = TcpStream::connect_timeout(&(ip, port).into(), soon).ok()?;
    stream.set_read_timeout(Some(soon)).unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: o\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    answer.starts_with("HTTP/1.1 200 ").then_some(answer)
}

/// All objects of a kind in a namespace.
pub(crate) fn list(cluster: &Cluster, namespace: &str, kind: &str) -> Vec<Value> {
    let text = cluster.kubectl(&["--namespace", namespace, "get", kind, "-o", "json"]);
    let list: Value = serde_json::from_str(&text).unwrap();
    list["items"].as_array().cloned().unwrap_or_default()
}
