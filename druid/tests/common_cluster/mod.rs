//! A real Kubernetes for tests, in a directory of its own, gone when it is dropped or the test ends
//! in any other way: an API server with etcd behind it on free ports, where no controller runs, or
//! with a node that runs pods.

#![allow(dead_code, reason = "each test file uses its part")]
#![allow(
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that cannot start fails"
)]

mod node;

#[allow(unused_imports, reason = "each test file uses its part")]
pub(crate) use node::{eventually, within};

use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use serde_json::Value;
use tempfile::TempDir;
use xtask::cluster::{ControlPlane, ControlPlaneError, Layout, Node};

/// The name of the administrator's certificate and key.
const ADMIN: &str = "admin";

pub(crate) struct Cluster {
    running: Running,
}

enum Running {
    ControlPlane {
        // Dropped before the directory that it writes to.
        control_plane: ControlPlane,
        _dir: TempDir,
    },
    Node(Box<Node>),
}

impl Cluster {
    /// One of its own: 5 s, and some minutes when the components are not built yet.
    pub(crate) fn start() -> Self {
        let dir = tempfile::Builder::new()
            .prefix("druid-kubernetes-")
            .tempdir()
            .unwrap();
        let control_plane = ControlPlane::start(dir.path())
            .unwrap_or_else(|error: ControlPlaneError| panic!("no Kubernetes for a test: {error}"));
        Self {
            running: Running::ControlPlane {
                control_plane,
                _dir: dir,
            },
        }
    }

    /// One for all tests of a file that run at the same time; the last one ends it. Each test
    /// should use a namespace of its own.
    pub(crate) fn shared() -> Arc<Self> {
        static SHARED: Mutex<Weak<Cluster>> = Mutex::new(Weak::new());
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        shared.upgrade().unwrap_or_else(|| {
            let fresh = Arc::new(Self::start());
            *shared = Arc::downgrade(&fresh);
            fresh
        })
    }

    /// Its files.
    pub(crate) fn layout(&self) -> &Layout {
        match &self.running {
            Running::ControlPlane { control_plane, .. } => control_plane.layout(),
            Running::Node(node) => node.layout(),
        }
    }

    /// `https://ADDRESS:PORT`.
    pub(crate) fn server(&self) -> &str {
        match &self.running {
            Running::ControlPlane { control_plane, .. } => control_plane.server(),
            Running::Node(node) => node.server(),
        }
    }

    pub(crate) fn kubeconfig(&self) -> PathBuf {
        self.layout().kubeconfig()
    }

    /// One line of JSON for each request that was answered.
    pub(crate) fn audit_log(&self) -> PathBuf {
        self.layout().audit_log()
    }

    /// Who signed the API server's certificate, in PEM.
    pub(crate) fn ca(&self) -> PathBuf {
        self.layout().ca()
    }

    /// The administrator's certificate, in PEM.
    pub(crate) fn certificate(&self) -> PathBuf {
        self.layout().certificate(ADMIN)
    }

    /// The administrator's key, in PEM.
    pub(crate) fn key(&self) -> PathBuf {
        self.layout().key(ADMIN)
    }

    /// kubectl as the administrator, without a word yet.
    pub(crate) fn kubectl_alone(&self) -> Command {
        match &self.running {
            Running::ControlPlane { control_plane, .. } => control_plane.kubectl(),
            Running::Node(node) => node.kubectl(),
        }
    }

    /// The same, with a limit.
    fn kubectl_command(&self) -> Command {
        let mut kubectl = self.kubectl_alone();
        kubectl.arg("--request-timeout=20s");
        kubectl
    }

    /// Runs kubectl as the administrator, whatever comes of it.
    pub(crate) fn try_kubectl(&self, args: &[&str]) -> Output {
        let mut kubectl = self.kubectl_command();
        kubectl.args(args).stdin(Stdio::null()).output().unwrap()
    }

    /// Makes or changes these objects.
    pub(crate) fn apply(&self, objects: &[Value]) {
        let mut kubectl = self.kubectl_command();
        kubectl.args(["apply", "-f", "-"]);
        let mut child = kubectl
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let list = serde_json::json!({ "apiVersion": "v1", "kind": "List", "items": objects });
        let mut stdin = child.stdin.take().unwrap();
        stdin.write_all(list.to_string().as_bytes()).unwrap();
        drop(stdin);
        let output = child.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{said}");
    }

    /// What kubectl prints; it has to succeed.
    pub(crate) fn kubectl(&self, args: &[&str]) -> String {
        let output = self.try_kubectl(args);
        assert!(
            output.status.success(),
            "kubectl {}: {}",
            args.join(" "),
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8(output.stdout).unwrap()
    }

    /// A token of a service account, which is made if it is not there. No controller makes
    /// `default` here.
    pub(crate) fn token(&self, namespace: &str, account: &str) -> String {
        let of = ["--namespace", namespace];
        if !self
            .try_kubectl(&[&of[..], &["get", "serviceaccount", account]].concat())
            .status
            .success()
        {
            self.kubectl(&[&of[..], &["create", "serviceaccount", account]].concat());
        }
        let token = self.kubectl(&[&of[..], &["create", "token", account]].concat());
        token.trim_end().to_owned()
    }
}
