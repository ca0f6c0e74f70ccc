//! A real Kubernetes API server with etcd behind it, for tests: on free ports, in a directory of
//! its own, gone when it is dropped or the test ends in any other way. No controller runs in it.

#![allow(dead_code, reason = "each test file uses its part")]
#![allow(
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that cannot start fails"
)]

use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tempfile::TempDir;
use xtask::cluster::{ControlPlane, ControlPlaneError};

/// The name of the administrator's certificate and key.
const ADMIN: &str = "admin";

pub(crate) struct Cluster {
    // Dropped before the directory that it writes to.
    control_plane: ControlPlane,
    _dir: TempDir,
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
            control_plane,
            _dir: dir,
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

    /// `https://127.0.0.1:PORT`.
    pub(crate) fn server(&self) -> &str {
        self.control_plane.server()
    }

    pub(crate) fn kubeconfig(&self) -> PathBuf {
        self.control_plane.layout().kubeconfig()
    }

    /// One line of JSON for each request that was answered.
    pub(crate) fn audit_log(&self) -> PathBuf {
        self.control_plane.layout().audit_log()
    }

    /// Who signed the API server's certificate, in PEM.
    pub(crate) fn ca(&self) -> PathBuf {
        self.control_plane.layout().ca()
    }

    /// The administrator's certificate, in PEM.
    pub(crate) fn certificate(&self) -> PathBuf {
        self.control_plane.layout().certificate(ADMIN)
    }

    /// The administrator's key, in PEM.
    pub(crate) fn key(&self) -> PathBuf {
        self.control_plane.layout().key(ADMIN)
    }

    /// Runs kubectl as the administrator, whatever comes of it.
    pub(crate) fn try_kubectl(&self, args: &[&str]) -> Output {
        let mut kubectl: Command = self.control_plane.kubectl();
        kubectl
            .arg("--request-timeout=20s")
            .args(args)
            .stdin(Stdio::null())
            .output()
            .unwrap()
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
