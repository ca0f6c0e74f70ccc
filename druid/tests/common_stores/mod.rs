//! Real object stores on loopback, for tests: built or installed once below `target/tools`, started
//! by hand, killed when dropped.

#![allow(dead_code, reason = "each test file uses its part")]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot start fails"
)]

mod alibaba;
mod azure;
mod google;
mod http;
mod openstack;
mod process;
mod signed;
mod tools;

use std::fs;
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use tempfile::TempDir;

#[allow(unused_imports, reason = "each test file uses its part")]
pub(crate) use alibaba::AlibabaServer;
#[allow(unused_imports, reason = "each test file uses its part")]
pub(crate) use azure::AzureServer;
#[allow(unused_imports, reason = "each test file uses its part")]
pub(crate) use google::GoogleServer;
#[allow(unused_imports, reason = "each test file uses its part")]
pub(crate) use openstack::{OpenStack, PAGE as SWIFT_PAGE};
use process::Process;

/// The bucket that every server has.
pub(crate) const BUCKET: &str = "backups";

/// The account of the S3 server.
pub(crate) const S3_KEY: &str = "tester";
/// Its secret.
pub(crate) const S3_SECRET: &str = "tester-secret";
/// Its region.
const S3_REGION: &str = "us-east-1";

/// `versitygw`, an S3 server that keeps its objects as files.
#[derive(Debug)]
pub(crate) struct S3Server {
    process: Process,
    dir: TempDir,
}

impl S3Server {
    /// Starts one with an empty bucket.
    pub(crate) fn start() -> Self {
        Self::start_in(S3_REGION)
    }

    /// The same in another region.
    pub(crate) fn start_in(region: &str) -> Self {
        let server = Self::start_with(region, &[]);
        fs::create_dir(server.objects()).unwrap();
        server
    }

    /// Starts one whose bucket keeps all versions, each locked for a day.
    pub(crate) fn start_locked() -> Self {
        let server = Self::start_with(S3_REGION, &["--versioning-dir"]);
        let lock = [("x-amz-bucket-object-lock-enabled", "true")];
        server.ask("PUT", "", "", &lock, "");
        let rule = "<ObjectLockConfiguration><ObjectLockEnabled>Enabled</ObjectLockEnabled>\
            <Rule><DefaultRetention><Mode>GOVERNANCE</Mode><Days>1</Days></DefaultRetention></Rule>\
            </ObjectLockConfiguration>";
        server.ask("PUT", "", "object-lock=", &[], rule);
        server
    }

    /// A request to the bucket, or an object of it, that no client of ours makes; it has to succeed.
    pub(crate) fn ask(
        &self,
        method: &str,
        key: &str,
        query: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) {
        let path = format!("/{BUCKET}/{key}");
        let path = path.trim_end_matches('/');
        signed::ask(self.address(), method, path, query, headers, body);
    }

    fn start_with(region: &str, versions: &[&str]) -> Self {
        let program = xtask::cluster::versitygw().unwrap();
        let program = program.get_program();
        let dir = TempDir::new().unwrap();
        for directory in ["objects", "versions"] {
            fs::create_dir(dir.path().join(directory)).unwrap();
        }
        let address = free_address();
        let mut command = Command::new(program);
        command
            .args(["--port", &address.to_string(), "--quiet"])
            .args(["--access", S3_KEY, "--secret", S3_SECRET, "--keep-alive"])
            .args(["--region", region])
            .arg("posix");
        for flag in versions {
            command.arg(flag).arg(dir.path().join("versions"));
        }
        command.arg(dir.path().join("objects"));
        let mut process = Process::spawn(&mut command, address, &dir.path().join("log"));
        process.wait();
        Self { process, dir }
    }

    /// `host:port`.
    pub(crate) fn address(&self) -> SocketAddrV4 {
        self.process.address()
    }

    /// Its address.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address())
    }

    /// The process.
    pub(crate) fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// What a program needs in its environment.
    pub(crate) fn variables(&self) -> Vec<(String, String)> {
        self.variables_for(&self.url(), S3_SECRET)
    }

    /// The same for a server in front of this one, or with another secret.
    pub(crate) fn variables_for(&self, url: &str, secret: &str) -> Vec<(String, String)> {
        let name = format!("credentials-{}-{secret}", url.replace(['/', ':'], "_"));
        let fields = [
            ("region", S3_REGION),
            ("accessKeyID", S3_KEY),
            ("secretAccessKey", secret),
            ("endpoint", url),
            ("s3ForcePathStyle", "true"),
        ];
        let directory = write_fields(self.dir.path(), &name, &fields);
        vec![
            ("AWS_APPLICATION_CREDENTIALS".to_owned(), directory),
            ("STORAGE_CONTAINER".to_owned(), BUCKET.to_owned()),
        ]
    }

    /// Credentials as files beside this server; in which directory.
    pub(crate) fn write_fields(&self, name: &str, fields: &[(&str, &str)]) -> String {
        write_fields(self.dir.path(), name, fields)
    }

    /// A file beside what it keeps.
    pub(crate) fn beside(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
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
        let port = 16_000 + std::process::id().wrapping_mul(61).wrapping_add(next) % 14_000;
        let port = u16::try_from(port).unwrap();
        let address = SocketAddrV4::new(Ipv4Addr::LOCALHOST, port);
        if TcpListener::bind(address).is_ok() {
            return address;
        }
    }
}

/// Credentials as files of a directory; which.
fn write_fields(root: &Path, name: &str, fields: &[(&str, &str)]) -> String {
    let directory = root.join(name);
    fs::create_dir_all(&directory).unwrap();
    for (field, value) in fields {
        fs::write(directory.join(field), format!("{value}\n")).unwrap();
    }
    directory.to_str().unwrap().to_owned()
}
