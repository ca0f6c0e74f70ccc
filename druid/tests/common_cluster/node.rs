//! What tests want of a cluster that runs pods.

use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use serde_json::Value;
use xtask::cluster::{Node, NodeError, Traces};
use xtask::image;

use super::{Cluster, Running};

/// How long anything may take to become so.
const PATIENCE: Duration = Duration::from_mins(2);

impl Cluster {
    /// One with a node and our images, for all tests of a file that run at the same time: 10 s, and
    /// some minutes when the components are not built yet. Each test should use a namespace of its
    /// own. Nothing, with the reason printed, where the machine cannot run containers.
    pub(crate) fn node() -> Option<Arc<Self>> {
        static SHARED: Mutex<Weak<Cluster>> = Mutex::new(Weak::new());
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(one) = shared.upgrade() {
            return Some(one);
        }
        let one = Self::start_node()?;
        let archive = one.layout().directory().join("druid.tar");
        let druid = assert_cmd::cargo::cargo_bin("druid");
        image::druid(&druid, &image::RELEASES, &archive).unwrap();
        one.the_node().load(&archive).unwrap();
        std::fs::remove_file(archive).unwrap();
        let one = Arc::new(one);
        *shared = Arc::downgrade(&one);
        Some(one)
    }

    /// One of its own, without our images.
    pub(crate) fn start_node() -> Option<Self> {
        match Node::start() {
            Ok(node) => Some(Self {
                running: Running::Node(Box::new(node)),
            }),
            Err(NodeError::Unable(why)) => {
                // What tests print is kept from people unless they fail.
                let line = format!("skipped: this machine cannot run containers: {why}\n");
                std::io::stderr().write_all(line.as_bytes()).unwrap();
                None
            }
            Err(error) => panic!("no node for a test: {error}"),
        }
    }

    fn the_node(&self) -> &Node {
        match &self.running {
            Running::Node(node) => node,
            Running::ControlPlane { .. } => panic!("this cluster has no node"),
        }
    }

    /// The image with this etcd: `3.4.34` or `3.5.27`.
    pub(crate) fn image(release: &str) -> String {
        image::name(release)
    }

    /// Where the name server is, on port 53.
    pub(crate) fn name_server(&self) -> Ipv4Addr {
        self.the_node().address()
    }

    /// This machine, as pods reach it.
    pub(crate) fn machine(&self) -> Ipv4Addr {
        self.the_node().machine()
    }

    /// Where volumes are: a directory each.
    pub(crate) fn volumes(&self) -> PathBuf {
        self.the_node().volumes()
    }

    /// Runs a program on the node, whatever comes of it.
    pub(crate) fn on_node(&self, program: &str, args: &[&str]) -> std::process::Output {
        let mut command = self.the_node().command(program);
        command.args(args).stdin(Stdio::null()).output().unwrap()
    }

    /// What can be seen of it from outside.
    pub(crate) fn traces(&self) -> Traces {
        self.the_node().traces().unwrap()
    }

    /// One object.
    pub(crate) fn get(&self, namespace: &str, kind: &str, name: &str) -> Value {
        let text = self.kubectl(&["--namespace", namespace, "get", kind, name, "-o", "json"]);
        serde_json::from_str(&text).unwrap()
    }

    /// Waits until all pods of a `StatefulSet` or a `Deployment` are ready.
    pub(crate) fn await_rollout(&self, namespace: &str, of: &str) {
        let timeout = format!("--timeout={}s", PATIENCE.as_secs());
        let wait = ["rollout", "status", of, "--namespace", namespace, &timeout];
        // Longer than a request may take.
        let output = self.try_kubectl(&[&wait[..], &["--request-timeout=0"]].concat());
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            let pods = self.kubectl(&["--namespace", namespace, "get", "pods", "-o", "wide"]);
            let events = self.kubectl(&["--namespace", namespace, "get", "events"]);
            panic!("{of} is not ready: {said}\n{pods}\n{events}");
        }
    }

    /// The address of a Service. It can be reached from this machine.
    pub(crate) fn service(&self, namespace: &str, name: &str) -> IpAddr {
        let service = self.get(namespace, "service", name);
        service["spec"]["clusterIP"]
            .as_str()
            .unwrap()
            .parse()
            .unwrap()
    }

    /// The address of a pod. It can be reached from this machine.
    pub(crate) fn pod(&self, namespace: &str, name: &str) -> IpAddr {
        let pod = self.get(namespace, "pod", name);
        pod["status"]["podIP"].as_str().unwrap().parse().unwrap()
    }

    /// What a container said so far.
    pub(crate) fn logs(&self, namespace: &str, pod: &str, container: &str) -> String {
        self.kubectl(&[
            "--namespace",
            namespace,
            "logs",
            pod,
            "--container",
            container,
        ])
    }

    /// Runs a program in a container, whatever comes of it.
    pub(crate) fn exec(
        &self,
        namespace: &str,
        pod: &str,
        container: &str,
        command: &[&str],
    ) -> std::process::Output {
        let args = [
            "--namespace",
            namespace,
            "exec",
            pod,
            "--container",
            container,
            "--",
        ];
        self.try_kubectl(&[&args[..], command].concat())
    }
}

/// Asks until there is an answer, for as long as anything may take.
pub(crate) fn eventually<T>(what: &str, ask: impl FnMut() -> Option<T>) -> T {
    within(PATIENCE, what, ask)
}

/// The same for what takes longer.
pub(crate) fn within<T>(patience: Duration, what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(
            start.elapsed() < patience,
            "not within {patience:?}: {what}"
        );
        std::thread::sleep(Duration::from_millis(50));
    }
}
