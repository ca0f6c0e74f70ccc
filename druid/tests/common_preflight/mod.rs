//! Real etcd processes on loopback, for tests: started by hand, killed when dropped.

#![allow(dead_code, reason = "each test file uses its part")]
#![allow(clippy::unwrap_used, reason = "a test that cannot start fails")]

use std::fs::File;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::unistd::Pid;
use tempfile::TempDir;

/// How long anything may take to become so.
const PATIENCE: Duration = Duration::from_secs(20);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Release {
    V3_4_34,
    V3_5_27,
    V3_6_15,
}

pub(crate) struct Cluster {
    pub(crate) nodes: Vec<Node>,
    token: String,
    dir: TempDir,
}

pub(crate) struct Node {
    pub(crate) name: String,
    pub(crate) release: Release,
    pub(crate) client_url: String,
    pub(crate) peer_url: String,
    pub(crate) data: PathBuf,
    extra: Vec<String>,
    log: PathBuf,
    child: Option<Child>,
}

impl Release {
    pub(crate) fn path(self) -> PathBuf {
        match self {
            Self::V3_4_34 => etcd34::etcd_bin_path().unwrap().into(),
            Self::V3_5_27 => etcd35::etcd_bin_path().unwrap().into(),
            Self::V3_6_15 => etcd36(),
        }
    }
}

/// It has a manifest of its own; see there.
fn etcd36() -> PathBuf {
    let output = Command::new(env!("CARGO"))
        .args(["run", "--quiet", "--locked", "--manifest-path"])
        .arg(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../etcd/v3_6/Cargo.toml"
        ))
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    PathBuf::from(String::from_utf8(output.stdout).unwrap().trim_end())
}

impl Cluster {
    /// Members `m0`, `m1` ... of these releases, bootstrapped together and waited for.
    pub(crate) fn start(releases: &[Release]) -> Self {
        Self::start_with(releases, "http", &[])
    }

    pub(crate) fn start_with(releases: &[Release], scheme: &str, extra: &[String]) -> Self {
        let mut cluster = Self::prepare(releases, scheme, extra);
        cluster.spawn_all();
        if scheme == "http" {
            cluster.await_health();
        } else {
            cluster.nodes.iter().for_each(Node::await_port);
        }
        cluster
    }

    /// Starts every member that was prepared or stopped.
    pub(crate) fn spawn_all(&mut self) {
        let initial = self.initial();
        for node in &mut self.nodes {
            node.begin(&initial, "new", &self.token);
        }
    }

    /// Members that are not started yet.
    pub(crate) fn prepare(releases: &[Release], scheme: &str, extra: &[String]) -> Self {
        let dir = tempfile::Builder::new()
            .prefix("druid-preflight-")
            .tempdir()
            .unwrap();
        let ports = free_ports(releases.len() * 2);
        let nodes = releases
            .iter()
            .enumerate()
            .map(|(i, release)| Node {
                name: format!("m{i}"),
                release: *release,
                client_url: format!("{scheme}://127.0.0.1:{}", ports[2 * i]),
                peer_url: format!("http://127.0.0.1:{}", ports[2 * i + 1]),
                data: dir.path().join(format!("m{i}")),
                extra: extra.to_vec(),
                log: dir.path().join(format!("m{i}.log")),
                child: None,
            })
            .collect();
        Self {
            nodes,
            token: format!("t{}", ports[0]),
            dir,
        }
    }

    pub(crate) fn endpoints(&self) -> String {
        let urls: Vec<_> = self.nodes.iter().map(|n| n.client_url.clone()).collect();
        urls.join(",")
    }

    /// Starts one more, which `MemberAdd` was told of under the peer address of
    /// [`Self::spare`].
    pub(crate) fn join(&mut self, mut spare: Node) {
        let mut initial = self.initial();
        initial = format!("{initial},{}={}", spare.name, spare.peer_url);
        spare.begin(&initial, "existing", &self.token);
        spare.await_port();
        self.nodes.push(spare);
    }

    /// A member that is not started yet.
    pub(crate) fn spare(&self, release: Release) -> Node {
        let ports = free_ports(2);
        let name = format!("m{}", self.nodes.len());
        Node {
            release,
            client_url: format!("http://127.0.0.1:{}", ports[0]),
            peer_url: format!("http://127.0.0.1:{}", ports[1]),
            data: self.dir.path().join(&name),
            extra: Vec::new(),
            log: self.dir.path().join(format!("{name}.log")),
            child: None,
            name,
        }
    }

    /// Starts a stopped member again, perhaps as another release.
    pub(crate) fn restart(&mut self, index: usize, release: Release) {
        let (initial, token) = (self.initial(), self.token.clone());
        let node = &mut self.nodes[index];
        node.release = release;
        node.begin(&initial, "existing", &token);
        node.await_health();
    }

    pub(crate) fn await_health(&self) {
        self.nodes.iter().for_each(Node::await_health);
    }

    /// Until every member says so: the leader finds out every 4 s.
    pub(crate) fn await_cluster_version(&self, minor: &str) {
        let wanted = format!("\"etcdcluster\":\"{minor}.0\"");
        for node in &self.nodes {
            until(&format!("{} says {wanted}", node.name), || {
                http_get(&node.client_url, "/version").is_some_and(|body| body.contains(&wanted))
            });
        }
    }

    /// `--initial-cluster-token`.
    pub(crate) fn token(&self) -> &str {
        &self.token
    }

    /// `--initial-cluster`.
    pub(crate) fn initial(&self) -> String {
        let pairs: Vec<_> = self
            .nodes
            .iter()
            .map(|n| format!("{}={}", n.name, n.peer_url))
            .collect();
        pairs.join(",")
    }
}

impl Node {
    /// Starts it, and waits for nothing.
    pub(crate) fn begin(&mut self, initial: &str, state: &str, token: &str) {
        let log = File::options()
            .create(true)
            .append(true)
            .open(&self.log)
            .unwrap();
        let mut command = Command::new(self.release.path());
        command
            .args(["--name", &self.name])
            .arg("--data-dir")
            .arg(&self.data)
            .args(["--listen-client-urls", &self.client_url])
            .args(["--advertise-client-urls", &self.client_url])
            .args(["--listen-peer-urls", &self.peer_url])
            .args(["--initial-advertise-peer-urls", &self.peer_url])
            .args(["--initial-cluster", initial])
            .args(["--initial-cluster-state", state])
            .args(["--initial-cluster-token", token])
            .args(["--heartbeat-interval=50", "--election-timeout=500"])
            .args(["--logger=zap", "--log-level=warn"])
            .args(&self.extra)
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log);
        self.child = Some(command.spawn().unwrap());
    }

    /// Sends a signal; one that is stopped has stopped when this returns.
    pub(crate) fn signal(&self, signal: Signal) {
        let child = self.child.as_ref().unwrap();
        let pid = Pid::from_raw(child.id().try_into().unwrap());
        kill(pid, signal).unwrap();
        if signal == Signal::SIGSTOP {
            waitpid(pid, Some(WaitPidFlag::WUNTRACED)).unwrap();
        }
    }

    pub(crate) fn stop(&mut self) {
        self.signal(Signal::SIGTERM);
        self.child.take().unwrap().wait().unwrap();
    }

    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Whether it ends by itself.
    pub(crate) fn await_end(&mut self) {
        let child = self.child.as_mut().unwrap();
        until("it ends", || child.try_wait().unwrap().is_some());
    }

    pub(crate) fn await_health(&self) {
        until(&format!("{} is healthy", self.name), || {
            http_get(&self.client_url, "/health").is_some_and(|body| body.contains("\"true\""))
        });
    }

    fn await_port(&self) {
        let address = self.client_url.split_once("://").unwrap().1;
        until(&format!("{} listens", self.name), || {
            TcpStream::connect(address).is_ok()
        });
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            let log = std::fs::read_to_string(&self.log).unwrap_or_default();
            let tail: Vec<_> = log.lines().rev().take(5).collect();
            eprintln!("--- {} said last:", self.name);
            tail.iter().rev().for_each(|line| eprintln!("{line}"));
        }
    }
}

pub(crate) fn until(what: &str, mut so: impl FnMut() -> bool) {
    let start = Instant::now();
    while !so() {
        assert!(
            start.elapsed() < PATIENCE,
            "not within {PATIENCE:?}: {what}"
        );
        std::thread::sleep(Duration::from_millis(30));
    }
}

/// Ports that nobody has, none of them twice in this process.
///
/// Below those that Linux gives to outgoing connections (32768 and up, `ip_local_port_range`): a
/// test listens on its last port seconds after it asked, and until then any connection on this
/// machine could be given it.
pub(crate) fn free_ports(count: usize) -> Vec<u16> {
    const FIRST: u32 = 10_240;
    /// Below the ports of a cluster's Services.
    const COUNT: u32 = 30_000 - FIRST;
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let start = std::process::id().wrapping_mul(7919);
    (0..COUNT)
        .map(|_| start.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed)) % COUNT + FIRST)
        .map(|port| u16::try_from(port).unwrap())
        .filter(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok())
        .take(count)
        .collect()
}

pub(crate) fn http_get(url: &str, path: &str) -> Option<String> {
    let address = url.split_once("://")?.1;
    let mut stream = TcpStream::connect(address).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(2))).ok()?;
    write!(stream, "GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n").ok()?;
    let mut text = String::new();
    stream.read_to_string(&mut text).ok()?;
    Some(text)
}
