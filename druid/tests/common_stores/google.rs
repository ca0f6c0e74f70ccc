//! fake-gcs-server, which speaks the JSON API of Google Cloud Storage. It asks nobody who they are.

use std::net::SocketAddrV4;
use std::process::Command;

use tempfile::TempDir;

use super::process::Process;
use super::{BUCKET, free_address, http, tools};

/// One, with an empty bucket.
#[derive(Debug)]
pub(crate) struct GoogleServer {
    process: Process,
    _dir: TempDir,
}

impl GoogleServer {
    /// Starts one.
    pub(crate) fn start() -> Self {
        const MODULE: &str = "github.com/fsouza/fake-gcs-server";
        let program = tools::go("google", MODULE, MODULE);
        let dir = TempDir::new().unwrap();
        let address = free_address();
        let mut command = Command::new(program);
        command
            .args(["-scheme=http", "-host=127.0.0.1", "-backend=memory"])
            .arg(format!("-port={}", address.port()))
            .arg(format!("-public-host={address}"))
            .arg("-log-level=error");
        let mut process = Process::spawn(&mut command, address, &dir.path().join("log"));
        process.wait();
        let bucket = format!("{{\"name\": \"{BUCKET}\"}}");
        let url = format!("http://{address}/storage/v1/b?project=tests");
        let json = [("Content-Type", "application/json")];
        http::ask("POST", &url, &json, &bucket);
        Self { process, _dir: dir }
    }

    /// `host:port`.
    pub(crate) fn address(&self) -> SocketAddrV4 {
        self.process.address()
    }
}
