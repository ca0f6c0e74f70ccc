//! Members as a platform runs them, on loopback: `druid server` beside `druid start-etcd`, which runs
//! genuine etcd. Killed when dropped.

#![allow(dead_code, reason = "each test file uses its part")]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "this is how a test fails"
)]

use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use assert_cmd::cargo::cargo_bin;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::common_preflight::{Release, free_ports, until};

pub(crate) mod backed;

/// What is made once for all members.
pub(crate) struct Pods {
    pub(crate) members: Vec<Pod>,
    pub(crate) mounted: Value,
    pub(crate) dir: TempDir,
}

pub(crate) struct Pod {
    pub(crate) name: String,
    pub(crate) release: Release,
    pub(crate) client: u16,
    pub(crate) peer: u16,
    pub(crate) sidecar: u16,
    pub(crate) wrapper: u16,
    pub(crate) home: PathBuf,
    pub(crate) binary: PathBuf,
    pub(crate) server_args: Vec<String>,
    pub(crate) etcd_args: Vec<String>,
    /// Whether the sidecar speaks TLS.
    pub(crate) sidecar_tls: bool,
    pub(crate) service: String,
    /// `POD_NAMESPACE`.
    pub(crate) namespace: String,
    /// `KUBECONFIG`: without one there is no API server.
    pub(crate) kubeconfig: Option<PathBuf>,
    /// More of the sidecar's environment.
    pub(crate) environment: Vec<(String, String)>,
    /// Where the objects of its store are files.
    pub(crate) store: PathBuf,
    /// What etcd gave the test for user and password.
    pub(crate) token: Option<String>,
    config: PathBuf,
    pub(crate) server: Option<Child>,
    pub(crate) etcd: Option<Child>,
}

/// A status and a body.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Said {
    pub(crate) status: u16,
    pub(crate) headers: String,
    pub(crate) body: String,
}

impl Pods {
    /// Nothing runs yet.
    pub(crate) fn new(release: Release, count: usize) -> Self {
        let dir = tempfile::Builder::new()
            .prefix("druid-agent-")
            .tempdir()
            .unwrap();
        let ports = free_ports(count * 4);
        let members: Vec<Pod> = ports
            .chunks(4)
            .enumerate()
            .map(|(i, ports)| Pod::new(dir.path(), i, release, ports))
            .collect();
        let mut pods = Self {
            mounted: json!({}),
            members,
            dir,
        };
        pods.mount(count);
        pods
    }

    /// A configuration of so many of the members.
    pub(crate) fn mount(&mut self, count: usize) {
        let some = &self.members[..count];
        let by_member = |url: fn(&Pod) -> String| -> Value {
            let urls = some.iter().map(|it| (it.name.clone(), json!([url(it)])));
            Value::Object(urls.collect())
        };
        let founders: Vec<_> = some
            .iter()
            .map(|it| format!("{}={}", it.name, it.peer_url()))
            .collect();
        self.mounted = json!({
            "advertise-client-urls": by_member(Pod::client_url),
            "initial-advertise-peer-urls": by_member(Pod::peer_url),
            "initial-cluster": founders.join(","),
            "initial-cluster-state": "new",
            "initial-cluster-token": "etcd-cluster",
            "name": "etcd-config",
            "enable-grpc-gateway": false,
            "logger": "zap",
            "log-level": "info",
            "quota-backend-bytes": 8_589_934_592_u64,
            "next-cluster-version-compatible": true,
        });
        self.write_mounted();
        let urls: Vec<_> = some.iter().map(Pod::client_url).collect();
        for member in &mut self.members {
            member.service = urls.join(",");
        }
    }

    /// Each member gets it with its own listeners and directory, which a platform would give to its pod.
    pub(crate) fn write_mounted(&self) {
        for member in &self.members {
            let mut file = self.mounted.clone();
            file["data-dir"] = json!(member.data_dir());
            file["listen-client-urls"] = json!(member.client_url());
            file["listen-peer-urls"] = json!(member.peer_url());
            fs::write(&member.config, file.to_string()).unwrap();
        }
    }
}

impl Pod {
    fn new(dir: &Path, index: usize, release: Release, ports: &[u16]) -> Self {
        let name = format!("a-{index}");
        let home = dir.join(&name);
        fs::create_dir_all(home.join("data")).unwrap();
        Self {
            release,
            client: ports[0],
            peer: ports[1],
            sidecar: ports[2],
            wrapper: ports[3],
            binary: release.path(),
            server_args: Vec::new(),
            etcd_args: Vec::new(),
            sidecar_tls: false,
            service: String::new(),
            namespace: "ns".to_owned(),
            kubeconfig: None,
            environment: Vec::new(),
            store: home.join("bkp/etcd-main/v2"),
            token: None,
            config: home.join("mounted.yaml"),
            server: None,
            etcd: None,
            name,
            home,
        }
    }

    pub(crate) fn client_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.client)
    }

    pub(crate) fn peer_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.peer)
    }

    pub(crate) fn data_dir(&self) -> PathBuf {
        self.home.join("data/new.etcd")
    }

    pub(crate) fn marker(&self) -> PathBuf {
        self.home.join("data/exit_code")
    }

    pub(crate) fn marked(&self) -> Option<String> {
        fs::read_to_string(self.marker()).ok()
    }

    pub(crate) fn log(&self, which: &str) -> String {
        fs::read_to_string(self.home.join(format!("{which}.log"))).unwrap_or_default()
    }

    fn command(&self, which: &str) -> Command {
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.home.join(format!("{which}.log")))
            .unwrap();
        let mut command = Command::new(cargo_bin("druid"));
        command
            .env("HOME", &self.home)
            .env("ETCD_CONF", &self.config)
            .env("POD_NAME", &self.name)
            .env("POD_NAMESPACE", &self.namespace)
            .env_remove("KUBECONFIG")
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log);
        command
    }

    pub(crate) fn start_server(&mut self) {
        let mut command = self.command("server");
        if let Some(kubeconfig) = &self.kubeconfig {
            command.env("KUBECONFIG", kubeconfig);
        }
        command
            .envs(self.environment.iter().cloned())
            .arg("server")
            .arg(format!("--server-port={}", self.sidecar))
            .arg(format!("--service-endpoints={}", self.service))
            .arg(format!("--data-dir={}", self.data_dir().display()))
            .args([
                "--reelection-period=1s",
                "--insecure-transport=true",
                "--log-level=4",
            ])
            .args(&self.server_args);
        if !self
            .server_args
            .iter()
            .any(|arg| arg.starts_with("--endpoints"))
        {
            command.arg(format!("--endpoints={}", self.client_url()));
        }
        self.server = Some(command.spawn().unwrap());
    }

    pub(crate) fn start_etcd(&mut self) {
        let mut command = self.command("etcd");
        command
            .arg("start-etcd")
            // One dash or two.
            .arg(format!(
                "-backup-restore-host-port=127.0.0.1:{}",
                self.sidecar
            ))
            .arg("--etcd-server-name=127.0.0.1")
            .arg(format!("--backup-restore-tls-enabled={}", self.sidecar_tls))
            .arg(format!("--etcd-client-port={}", self.client))
            .arg(format!("--etcd-wrapper-port={}", self.wrapper))
            .arg(format!("--exit-code-file={}", self.marker().display()))
            .env("ETCD_BINARY", &self.binary)
            .args(&self.etcd_args);
        self.etcd = Some(command.spawn().unwrap());
    }

    pub(crate) fn start(&mut self) {
        self.start_server();
        self.start_etcd();
    }

    pub(crate) fn await_ready(&self) {
        until(&format!("{} is ready", self.name), || self.is_ready());
    }

    pub(crate) fn is_ready(&self) -> bool {
        get(self.wrapper, "/readyz").is_some_and(|said| said.status == 200)
    }

    pub(crate) fn leads(&self) -> bool {
        get(self.sidecar, "/healthz").is_some_and(|said| said.status == 200)
    }

    pub(crate) fn ask(&self, path: &str) -> Said {
        get(self.sidecar, path).unwrap()
    }

    /// Until `/initialization/status` is neither of the first two. Returns it.
    pub(crate) fn initialise(&self, mode: &str) -> String {
        until("the server listens", || {
            get(self.sidecar, "/healthz").is_some()
        });
        let start = self.ask(&format!("/initialization/start?mode={mode}"));
        assert_eq!((start.status, start.body.as_str()), (200, ""));
        let mut status = String::new();
        until("the initialisation is over", || {
            status = self.ask("/initialization/status").body;
            status != "Progress" && status != "New"
        });
        status
    }

    pub(crate) fn signal_etcd(&self, signal: Signal) {
        let pid = self.etcd.as_ref().unwrap().id();
        kill(Pid::from_raw(pid.try_into().unwrap()), signal).unwrap();
    }

    pub(crate) fn etcd_ended(&mut self) -> ExitStatus {
        let etcd = self.etcd.as_mut().unwrap();
        let mut status = None;
        until("start-etcd has ended", || {
            status = etcd.try_wait().unwrap();
            status.is_some()
        });
        self.etcd = None;
        status.unwrap()
    }

    /// The number of the real etcd, by the log.
    pub(crate) fn etcd_pid(&self) -> i32 {
        let log = self.log("etcd");
        let line = log
            .lines()
            .rfind(|line| line.contains("etcd was started"))
            .unwrap();
        line.rsplit_once("pid=").unwrap().1.trim().parse().unwrap()
    }

    pub(crate) fn kill(&mut self) {
        for child in [&mut self.etcd, &mut self.server] {
            if let Some(mut child) = child.take() {
                let _ = child.kill();
                let _ = child.wait();
            }
        }
    }
}

impl Drop for Pod {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            for which in ["server", "etcd"] {
                let log = self.log(which);
                let tail: Vec<_> = log.lines().rev().take(8).collect();
                eprintln!("--- {} of {} said last:", which, self.name);
                // As much of a line as tells what it is about: those of etcd are long.
                tail.iter()
                    .rev()
                    .for_each(|line| eprintln!("{}", line.chars().take(240).collect::<String>()));
            }
        }
    }
}

pub(crate) fn is_alive(pid: i32) -> bool {
    kill(Pid::from_raw(pid), None).is_ok()
}

pub(crate) fn get(port: u16, path: &str) -> Option<Said> {
    send(port, "GET", path)
}

pub(crate) fn send(port: u16, method: &str, path: &str) -> Option<Said> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    stream
        .set_read_timeout(Some(Duration::from_secs(30)))
        .ok()?;
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    )
    .ok()?;
    let mut text = String::new();
    stream.read_to_string(&mut text).ok()?;
    let (headers, body) = text.split_once("\r\n\r\n")?;
    let status = headers.split(' ').nth(1)?.parse().ok()?;
    Some(Said {
        status,
        headers: headers.to_ascii_lowercase(),
        body: body.to_owned(),
    })
}

/// How long something takes to become so.
pub(crate) fn time(what: &str, so: impl FnMut() -> bool) -> Duration {
    let began = Instant::now();
    until(what, so);
    began.elapsed()
}
