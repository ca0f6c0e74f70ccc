//! `cargo xtask bench backup`: how fast and in how much memory backups are taken and restored.
#![expect(clippy::print_stdout, reason = "what a developer command says")]

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use thiserror::Error;

use crate::command::{self, CommandError, Profile, build_druid};
use crate::etcd;

/// What `cargo xtask bench backup` takes.
#[derive(clap::Args)]
pub(crate) struct Backup {
    /// A part of the sizes, for a quick look: 10 is a tenth
    #[arg(long, default_value_t = 1, value_name = "N")]
    divide: u64,
    /// Where the stores and databases are made; about 3 GB in all
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// How often each is measured
    #[arg(long, default_value_t = 3, value_name = "N")]
    runs: usize,
}

/// Why it could not be measured.
#[derive(Debug, Error)]
pub(crate) enum BenchError {
    #[error("{what}: {source}")]
    Io {
        what: String,
        source: std::io::Error,
    },
    #[error("`{line}` failed; its output is above")]
    Failed { line: String },
    #[error("etcd did not start within 20 s")]
    NoEtcd,
    #[error("the sidecar took no full snapshot within 60 s")]
    NoFull,
    #[error("the store should hold revision {revision}, and holds {found:?}")]
    Dropped { revision: u64, found: Option<u64> },
    #[error("what `druid verify` says: {0}")]
    Json(#[from] serde_json::Error),
    #[error(transparent)]
    Command(#[from] CommandError),
    #[error(transparent)]
    Etcd(#[from] etcd::EtcdError),
}

fn io(what: &str) -> impl FnOnce(std::io::Error) -> BenchError {
    let what = what.to_owned();
    move |source| BenchError::Io { what, source }
}

/// Writes of the base, of the deltas, and of the large database: what the figures of
/// etcd-backup-restore were measured with.
const BASE: u64 = 50_000;
const EVENTS: u64 = 188_168;
const LARGE: u64 = 300_000;
/// Puts a second while deltas are captured.
const RATE: u64 = 8_000;
/// `--delta-snapshot-memory-limit`: 100 MiB.
const LIMIT: u64 = 100 << 20;

/// How long the sidecar has had nothing to do when its memory is read.
const IDLE: Duration = Duration::from_secs(30);

/// How long something took, and the most memory that it had.
#[derive(Clone, Copy, Debug)]
struct Cost {
    took: Duration,
    peak_kib: u64,
}

struct Bench {
    druid: PathBuf,
    etcd: PathBuf,
    dir: PathBuf,
    divide: u64,
    runs: usize,
}

/// Measures and prints a table as it stands in BENCHMARKS.md.
pub(crate) fn run(options: &Backup) -> Result<ExitCode, Box<dyn std::error::Error>> {
    let scratch = match &options.dir {
        Some(dir) => tempfile::tempdir_in(dir),
        None => tempfile::tempdir(),
    }
    .map_err(io("temporary directory"))?;
    let [_, (_, etcd)] = etcd::of_the_graph()?;
    let bench = Bench {
        druid: build_druid(Profile::Release)?,
        etcd,
        dir: scratch.path().to_owned(),
        divide: options.divide.max(1),
        runs: options.runs.max(1),
    };
    println!("| work | measured | gate | etcdbrctl |");
    println!("|---|---|---|---|");
    bench.restore_set()?;
    bench.large()?;
    bench.idle()?;
    Ok(ExitCode::SUCCESS)
}

impl Bench {
    /// Deltas captured at a given rate, then restored and compacted.
    fn restore_set(&self) -> Result<(), BenchError> {
        let store = self.dir.join("set");
        let etcd = Etcd::start(&self.etcd, &self.dir.join("etcd-set"))?;
        self.bulk(&etcd, BASE, BASE, 0)?;
        self.druid(&["snapshot", "--once", "full"], &store, &etcd)?;
        let mut capture = self.snapshotter(&store, &etcd)?;
        let rate = self.bulk(&etcd, EVENTS, BASE, RATE)?;
        let peak = peak(capture.id());
        let ended = terminate(&mut capture)?;
        drop(etcd);
        let packed = size(&store)?;
        self.holds(&store, 1 + BASE / self.divide + EVENTS / self.divide)?;
        row(
            "delta capture, limit 100 MiB",
            &format!(
                "{} RSS; {rate}; flushed on SIGTERM in {:.1} s",
                mib(peak),
                ended.as_secs_f64()
            ),
            "<= 132 MiB, nothing dropped",
            "519 MB",
        );
        let mut verify = Command::new(&self.druid);
        verify.arg("verify").arg(&store);
        let cost = measure(&mut verify)?;
        row("verify of it", &cost.words(), "-", "-");
        let restored = self.median(|number| {
            let mut restore = Command::new(&self.druid);
            restore.arg("restore").arg(&store).arg("--data-dir");
            restore.arg(self.dir.join(format!("restored-{number}")));
            restore
        })?;
        row(
            &format!(
                "restore, {} k + {} k events, {} packed",
                BASE / self.divide / 1000,
                EVENTS / self.divide / 1000,
                mb(packed)
            ),
            &restored.words(),
            "<= 3 s, <= 150 MB",
            "33.6 s, 705 MB",
        );
        let compacted = self.median(|_| {
            let mut compact = Command::new(&self.druid);
            compact.arg("compact").arg(self.copy(&store));
            compact
        })?;
        row(
            "compact of it, read back",
            &compacted.words(),
            "<= 5 s, <= 150 MB",
            "33.6 s and more",
        );
        Ok(())
    }

    /// One full snapshot of a large database.
    fn large(&self) -> Result<(), BenchError> {
        let etcd = Etcd::start(&self.etcd, &self.dir.join("etcd-large"))?;
        self.bulk(&etcd, LARGE, LARGE, 0)?;
        let database = fs::metadata(self.dir.join("etcd-large/member/snap/db"));
        let bytes = database.map_err(io("database"))?.len();
        let cost = self.median(|number| {
            let mut full = Command::new(&self.druid);
            full.args(["snapshot", "--once", "full", "--endpoints", &etcd.url]);
            full.arg(self.dir.join(format!("large-{number}")));
            full
        })?;
        let millis = u64::try_from(cost.took.as_millis())
            .unwrap_or(u64::MAX)
            .max(1);
        let rate = bytes / 1000 / millis;
        row(
            &format!("full snapshot, {} database", mb(bytes)),
            &format!(
                "{}, {rate} MB/s, {} packed",
                cost.words(),
                mb(size(&self.dir.join("large-0"))?)
            ),
            ">= 100 MB/s, <= 32 MB, no copy on disk",
            "9.65 s, 36 MB/s, 82 MB",
        );
        Ok(())
    }

    /// The sidecar of a member that nobody writes to, after its first full snapshot.
    fn idle(&self) -> Result<(), BenchError> {
        let etcd = Etcd::start(&self.etcd, &self.dir.join("etcd-idle"))?;
        self.bulk(&etcd, BASE, BASE, 0)?;
        let port = free_port().map_err(io("port"))?;
        let store = self.dir.join("idle/etcd-main");
        let mut server = Command::new(&self.druid);
        sidecar(&mut server, &self.dir, &etcd, port);
        let mut server = Running::start(server.stdout(Stdio::null()).stderr(Stdio::null()))?;
        let began = Instant::now();
        while !fs::read_dir(store.join("v2")).is_ok_and(|mut it| it.any(|it| is_full(&it))) {
            if began.elapsed() > Duration::from_mins(1) {
                return Err(BenchError::NoFull);
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        let alive = server.0.try_wait().map_err(io("druid server"))?.is_none();
        std::thread::sleep(IDLE);
        let resident = memory(server.0.id(), "VmRSS:");
        if !alive || resident == 0 {
            let line = "druid server".to_owned();
            return Err(BenchError::Failed { line });
        }
        row(
            "sidecar with a store, idle",
            &format!(
                "{} RSS, {} of it not of a file; {} at most, while it took a full snapshot",
                tenths(resident),
                tenths(memory(server.0.id(), "RssAnon:")),
                tenths(peak(server.0.id())),
            ),
            "<= 15 MB",
            "62 MB",
        );
        Ok(())
    }

    /// Whether a store is restorable up to a revision, and no other.
    fn holds(&self, store: &Path, revision: u64) -> Result<(), BenchError> {
        let mut verify = Command::new(&self.druid);
        verify.args(["verify", "--output", "json"]).arg(store);
        let said: serde_json::Value = serde_json::from_str(&command::output(&mut verify)?)?;
        let found = said
            .pointer("/restore/revision")
            .and_then(serde_json::Value::as_u64);
        if found == Some(revision) {
            Ok(())
        } else {
            Err(BenchError::Dropped { revision, found })
        }
    }

    fn druid(&self, args: &[&str], store: &Path, etcd: &Etcd) -> Result<(), BenchError> {
        let mut druid = Command::new(&self.druid);
        druid.args(args).arg(store).args(["--endpoints", &etcd.url]);
        measure(&mut druid).map(drop)
    }

    fn snapshotter(&self, store: &Path, etcd: &Etcd) -> Result<Child, BenchError> {
        let mut capture = Command::new(&self.druid);
        capture
            .arg("snapshot")
            .arg(store)
            .args(["--endpoints", &etcd.url, "--delta-snapshot-period", "1h"])
            .arg(format!("--delta-snapshot-memory-limit={LIMIT}"))
            .args(["--schedule", "0 0 1 1 *", "--snapstore-temp-directory"])
            .arg(&self.dir)
            .stderr(Stdio::null());
        let child = capture.spawn().map_err(io("druid snapshot"))?;
        // It lists the store and opens its watch.
        std::thread::sleep(Duration::from_secs(2));
        Ok(child)
    }

    /// Says how fast it was.
    fn bulk(&self, etcd: &Etcd, puts: u64, keys: u64, rate: u64) -> Result<String, BenchError> {
        let mut bulk = Command::new(&self.druid);
        bulk.args(["bulk", "--endpoint", &etcd.url])
            .arg(format!("--puts={}", puts / self.divide))
            .arg(format!("--keys={}", (keys / self.divide).max(1)))
            .arg(format!("--rate={rate}"));
        let said = command::output(&mut bulk)?;
        let words = said.split(", ").nth(1).unwrap_or_default();
        Ok(words.replace("a second", "puts/s"))
    }

    /// A copy of a store, so that each run begins with the same.
    fn copy(&self, store: &Path) -> PathBuf {
        let copy = self.dir.join("copy");
        let _ = fs::remove_dir_all(&copy);
        let into = copy.join("v2");
        let _ = fs::create_dir_all(&into);
        for file in fs::read_dir(store.join("v2"))
            .into_iter()
            .flatten()
            .flatten()
        {
            let _ = fs::hard_link(file.path(), into.join(file.file_name()));
        }
        copy
    }

    /// The run of median duration, and the most memory of all.
    fn median(&self, make: impl Fn(usize) -> Command) -> Result<Cost, BenchError> {
        let mut costs = Vec::new();
        for number in 0..self.runs {
            costs.push(measure(&mut make(number))?);
        }
        costs.sort_by_key(|cost| cost.took);
        let peak_kib = costs.iter().map(|cost| cost.peak_kib).max().unwrap_or(0);
        let took = costs
            .get(costs.len() / 2)
            .map_or(Duration::ZERO, |cost| cost.took);
        Ok(Cost { took, peak_kib })
    }
}

impl Cost {
    fn words(&self) -> String {
        format!(
            "{:.2} s, {} RSS",
            self.took.as_secs_f64(),
            mib(self.peak_kib)
        )
    }
}

/// One member on free ports.
pub(crate) struct Etcd {
    _child: Running,
    url: String,
}

/// Makes a command that of a sidecar whose store, `idle`, is in `dir`.
pub(crate) fn sidecar(command: &mut Command, dir: &Path, etcd: &Etcd, port: u16) {
    let flag = |name: &str, value: &Path| format!("--{name}={}", value.display());
    command
        .arg("server")
        .env("HOME", dir)
        .env("POD_NAME", "default")
        .env("POD_NAMESPACE", "default")
        .env_remove("KUBECONFIG")
        .arg(format!("--server-port={port}"))
        .arg(format!("--endpoints={}", etcd.url))
        .arg(format!("--service-endpoints={}", etcd.url))
        .args(["--insecure-transport=true", "--delta-snapshot-period=10s"])
        .args(["--storage-provider=Local", "--store-container=idle"])
        .arg("--store-prefix=etcd-main")
        .arg(flag("data-dir", &dir.join("etcd-idle")))
        .arg(flag("snapstore-temp-directory", &dir.join("deltas")));
}

impl Etcd {
    pub(crate) fn start(program: &Path, data: &Path) -> Result<Self, BenchError> {
        let client = free_port().map_err(io("port"))?;
        let peer = free_port().map_err(io("port"))?;
        let (url, peer) = (
            format!("http://127.0.0.1:{client}"),
            format!("http://127.0.0.1:{peer}"),
        );
        let child = Command::new(program)
            .arg("--data-dir")
            .arg(data)
            .args([
                "--listen-client-urls",
                &url,
                "--advertise-client-urls",
                &url,
            ])
            .args([
                "--listen-peer-urls",
                &peer,
                "--initial-advertise-peer-urls",
                &peer,
            ])
            .args(["--initial-cluster", &format!("default={peer}")])
            .args([
                "--unsafe-no-fsync",
                "--quota-backend-bytes=8589934592",
                "--log-level=error",
            ])
            .stderr(Stdio::null())
            .spawn()
            .map_err(io("etcd"))?;
        let etcd = Self {
            _child: Running(child),
            url,
        };
        let began = Instant::now();
        while std::net::TcpStream::connect(("127.0.0.1", client)).is_err() {
            if began.elapsed() > Duration::from_secs(20) {
                return Err(BenchError::NoEtcd);
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(etcd)
    }
}

pub(crate) fn free_port() -> std::io::Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// A process that does not outlive this.
pub(crate) struct Running(Child);

impl Running {
    pub(crate) fn start(command: &mut Command) -> Result<Self, BenchError> {
        let line = command::line(command);
        Ok(Self(command.spawn().map_err(io(&line))?))
    }

    pub(crate) fn id(&self) -> u32 {
        self.0.id()
    }

    /// Waits until it has ended by itself.
    pub(crate) fn wait(&mut self) -> std::io::Result<std::process::ExitStatus> {
        self.0.wait()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn is_full(entry: &std::io::Result<fs::DirEntry>) -> bool {
    let name = entry.as_ref().map(fs::DirEntry::file_name);
    name.is_ok_and(|it| it.to_string_lossy().starts_with("Full-"))
}

/// Runs it to its end and watches its memory.
fn measure(command: &mut Command) -> Result<Cost, BenchError> {
    let line = command::line(command);
    let began = Instant::now();
    let mut child = command.stdout(Stdio::null()).spawn().map_err(io(&line))?;
    let mut peak_kib = 0;
    loop {
        peak_kib = peak_kib.max(peak(child.id()));
        if let Some(status) = child.try_wait().map_err(io(&line))? {
            let took = began.elapsed();
            return if status.success() {
                Ok(Cost { took, peak_kib })
            } else {
                Err(BenchError::Failed { line })
            };
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// The high-water mark of the resident set, KiB; 0 if the process is gone.
fn peak(pid: u32) -> u64 {
    memory(pid, "VmHWM:")
}

/// One line of what the kernel says of a process, KiB; 0 if the process is gone.
fn memory(pid: u32, of: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with(of));
    let number = line.and_then(|line| line.split_whitespace().nth(1));
    number.and_then(|it| it.parse().ok()).unwrap_or(0)
}

/// Asks it to stop and says how long that took.
fn terminate(child: &mut Child) -> Result<Duration, BenchError> {
    let began = Instant::now();
    let mut kill = Command::new("kill");
    kill.arg("-TERM").arg(child.id().to_string());
    command::run(&mut kill)?;
    let status = child.wait().map_err(io("druid snapshot"))?;
    if status.success() {
        Ok(began.elapsed())
    } else {
        let line = "druid snapshot".to_owned();
        Err(BenchError::Failed { line })
    }
}

/// Bytes of all files of a store.
fn size(store: &Path) -> Result<u64, BenchError> {
    let mut bytes = 0;
    for file in fs::read_dir(store.join("v2")).map_err(io("store"))? {
        bytes += file
            .and_then(|file| file.metadata())
            .map_err(io("store"))?
            .len();
    }
    Ok(bytes)
}

fn row(work: &str, measured: &str, gate: &str, other: &str) {
    println!("| {work} | {measured} | {gate} | {other} |");
}

/// MB with one digit more, where the gate is near.
fn tenths(kib: u64) -> String {
    let tenths = kib * 1024 / 100_000;
    format!("{}.{} MB", tenths / 10, tenths % 10)
}

fn mib(kib: u64) -> String {
    format!("{} MiB", kib / 1024)
}

fn mb(bytes: u64) -> String {
    format!("{} MB", bytes / 1_000_000)
}
