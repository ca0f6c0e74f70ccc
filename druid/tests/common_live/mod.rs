//! A genuine etcd, and `druid snapshot` on it. Wants `common_gateway`, `common_place` and
//! `common_preflight` beside it.

#![allow(dead_code, reason = "each test file uses its part")]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot start fails"
)]

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::common_gateway as gateway;
use super::common_place::{Place, druid, succeed, value};
use super::common_preflight::{Cluster, Release, until};

/// One member with some values, and room for a store.
pub(crate) struct Live {
    pub(crate) etcd: Cluster,
    pub(crate) place: Place,
}

impl Live {
    pub(crate) fn start(release: Release) -> Self {
        let live = Self {
            etcd: Cluster::start(&[release]),
            place: Place::new(),
        };
        live.write(300);
        live
    }

    /// Puts values of so many KiB, that do not pack well. Returns the revision.
    pub(crate) fn write(&self, kibibytes: i64) -> i64 {
        let url = self.url();
        let write = |n| gateway::put(url, &format!("k{n}"), STANDARD.encode(value(n)).as_bytes());
        (0..kibibytes).map(write).max().unwrap()
    }

    pub(crate) fn url(&self) -> &str {
        &self.etcd.nodes[0].client_url
    }

    pub(crate) fn store(&self) -> PathBuf {
        self.place.path("store")
    }

    pub(crate) fn snapshot(&self, more: &[&str]) -> Command {
        let store = self.place.text("store");
        let mut command = druid(&["snapshot", &store, "--endpoints", self.url()]);
        command.args(more);
        command
    }

    /// `--once`, and it has to succeed.
    pub(crate) fn once(&self, kind: &str) {
        succeed(&mut self.snapshot(&["--once", kind]));
    }

    /// Until it is asked to end. Returns when it can be.
    pub(crate) fn running(&self, more: &[&str]) -> Running {
        let log = self.place.path("log");
        let mut command = self.snapshot(more);
        command.stderr(File::create(&log).unwrap());
        let running = Running {
            child: command.spawn().unwrap(),
            log,
        };
        until("it takes snapshots", || {
            running.log().contains("taking snapshots")
        });
        running
    }
}

/// A member that is started on what a store has.
pub(crate) fn restored(store: &Path, release: Release) -> Cluster {
    restored_by(druid(&["restore", store.to_str().unwrap()]), release)
}

/// The same by a command that names the store already.
pub(crate) fn restored_by(mut restore: Command, release: Release) -> Cluster {
    let mut cluster = Cluster::prepare(&[release], "http", &[]);
    let (initial, token) = (cluster.initial(), cluster.token().to_owned());
    let node = &cluster.nodes[0];
    restore
        .args(["--name", &node.name, "--initial-cluster", &initial])
        .args(["--initial-advertise-peer-urls", &node.peer_url])
        .args(["--initial-cluster-token", &token, "--data-dir"])
        .arg(&node.data);
    succeed(&mut restore);
    cluster.spawn_all();
    cluster.await_health();
    cluster
}

/// The same keys with the same revisions, and the same hash over them.
pub(crate) fn assert_same(one: &Cluster, other: &Cluster, revision: i64) {
    let [one, other] = [one, other].map(|it| &it.nodes[0]);
    let keys = gateway::everything(&one.client_url);
    assert!(!keys.is_empty() && keys == gateway::everything(&other.client_url));
    let hash = gateway::hash_kv(&one.peer_url, revision);
    assert_eq!(hash, gateway::hash_kv(&other.peer_url, revision));
}

/// `druid snapshot` without an end of its own; killed when dropped.
pub(crate) struct Running {
    child: Child,
    log: PathBuf,
}

impl Running {
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap()
    }

    /// Asks it to end in good order, and waits.
    pub(crate) fn stop(mut self) {
        let pid = Pid::from_raw(self.child.id().try_into().unwrap());
        kill(pid, Signal::SIGTERM).unwrap();
        let mut status = None;
        until("it has ended", || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        });
        assert_eq!(status.unwrap().code(), Some(0), "{}", self.log());
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
