//! Real object stores on loopback, for tests: built or installed once below `target/tools`, started
//! by hand, killed when dropped.

#![allow(dead_code, reason = "each test file uses its part")]
#![allow(clippy::unwrap_used, reason = "a test that cannot start fails")]

use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use nix::fcntl::{Flock, FlockArg};
use tempfile::TempDir;

/// How long a server may take to listen.
const PATIENCE: Duration = Duration::from_secs(20);

/// The bucket that every server has.
pub(crate) const BUCKET: &str = "backups";

/// The account of the S3 server.
pub(crate) const S3_KEY: &str = "tester";
/// Its secret.
pub(crate) const S3_SECRET: &str = "tester-secret";

/// `versitygw`, an S3 server that keeps its objects as files.
#[derive(Debug)]
pub(crate) struct S3Server {
    address: SocketAddrV4,
    child: Child,
    dir: TempDir,
}

impl S3Server {
    /// Starts one with an empty bucket.
    pub(crate) fn start() -> Self {
        let program = versitygw();
        let dir = TempDir::new().unwrap();
        fs::create_dir_all(dir.path().join("objects").join(BUCKET)).unwrap();
        let log = File::create(dir.path().join("log")).unwrap();
        let address = free_address();
        let child = Command::new(program)
            .args(["--port", &address.to_string(), "--quiet"])
            .args(["--access", S3_KEY, "--secret", S3_SECRET, "--keep-alive"])
            .arg("posix")
            .arg(dir.path().join("objects"))
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        let mut server = Self {
            address,
            child,
            dir,
        };
        wait_for(address, &mut server.child, &server.dir.path().join("log"));
        server
    }

    /// `host:port`.
    pub(crate) fn address(&self) -> SocketAddrV4 {
        self.address
    }

    /// Its address.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The process.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What a program needs in its environment.
    pub(crate) fn variables(&self) -> Vec<(String, String)> {
        self.variables_for(&self.url(), S3_SECRET)
    }

    /// The same for a server in front of this one, or with another secret.
    pub(crate) fn variables_for(&self, url: &str, secret: &str) -> Vec<(String, String)> {
        let name = format!("credentials-{}-{secret}", url.replace(['/', ':'], "_"));
        let credentials = self.dir.path().join(name);
        fs::create_dir_all(&credentials).unwrap();
        for (field, value) in [
            ("region", "us-east-1"),
            ("accessKeyID", S3_KEY),
            ("secretAccessKey", secret),
            ("endpoint", url),
            ("s3ForcePathStyle", "true"),
        ] {
            fs::write(credentials.join(field), format!("{value}\n")).unwrap();
        }
        let directory = credentials.to_str().unwrap().to_owned();
        vec![
            ("AWS_APPLICATION_CREDENTIALS".to_owned(), directory),
            ("STORAGE_CONTAINER".to_owned(), BUCKET.to_owned()),
        ]
    }

    /// Parts of uploads that are neither complete nor aborted.
    pub(crate) fn open_uploads(&self) -> Vec<PathBuf> {
        let mut files = Vec::new();
        let objects = self.dir.path().join("objects");
        collect(&objects.join(BUCKET).join(".sgwtmp"), &mut files);
        collect(&objects.join(".sgwtmp"), &mut files);
        files
    }

    /// Where the objects of the bucket are files.
    pub(crate) fn objects(&self) -> PathBuf {
        self.dir.path().join("objects").join(BUCKET)
    }
}

impl Drop for S3Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn collect(directory: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).into_iter().flatten() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, files);
        } else {
            files.push(path);
        }
    }
}

/// A port that nobody listens on, below those of outgoing connections.
pub(crate) fn free_address() -> SocketAddrV4 {
    // Tests of one process run beside each other: none gets a port that another one got.
    static TAKEN: AtomicU32 = AtomicU32::new(0);
    loop {
        let next = TAKEN.fetch_add(1, Ordering::Relaxed);
        let port = 16_000 + (std::process::id() * 61 + next) % 16_000;
        let port = u16::try_from(port).unwrap();
        let address = SocketAddrV4::new(Ipv4Addr::LOCALHOST, port);
        if TcpListener::bind(address).is_ok() {
            return address;
        }
    }
}

fn wait_for(address: SocketAddrV4, child: &mut Child, log: &Path) {
    let start = Instant::now();
    while TcpStream::connect(address).is_err() {
        let ended = child.try_wait().unwrap();
        assert!(
            ended.is_none() && start.elapsed() < PATIENCE,
            "the server on {address} did not come up ({ended:?}): {}",
            fs::read_to_string(log).unwrap_or_default()
        );
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The S3 server, built from `druid/tests/stores/go.mod` if it is not there.
fn versitygw() -> PathBuf {
    const MODULE: &str = "github.com/versity/versitygw";
    let stores = repository().join("druid/tests/stores");
    let modules = fs::read_to_string(stores.join("go.mod")).unwrap();
    let version = modules
        .lines()
        .find_map(|line| line.trim().strip_prefix(MODULE)?.split_whitespace().next())
        .unwrap();
    let tools = repository().join("target/tools");
    let program = tools.join(format!("versitygw-{version}"));
    fs::create_dir_all(&tools).unwrap();
    let lock = File::create(tools.join("versitygw.lock")).unwrap();
    let _held = Flock::lock(lock, FlockArg::LockExclusive).unwrap();
    if program.exists() {
        return program;
    }
    let beside = tools.join("versitygw.new");
    let built = Command::new("go")
        .args([
            "build",
            "-trimpath",
            "-buildvcs=false",
            "-ldflags=-s -w",
            "-o",
        ])
        .arg(&beside)
        .arg(format!("{MODULE}/cmd/versitygw"))
        .current_dir(&stores)
        .env("CGO_ENABLED", "0")
        .status();
    match built {
        Ok(status) if status.success() => fs::rename(&beside, &program).unwrap(),
        Ok(status) => panic!(
            "`go build` of the S3 server in {} failed: {status}",
            stores.display()
        ),
        Err(error) => panic!(
            "the tests of the stores need Go 1.25 or later, to build an S3 server: {error}; \
             install it and put `go` on the PATH"
        ),
    }
    program
}
