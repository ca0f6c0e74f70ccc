//! A gateway that takes what is signed as Alibaba's own client signs it, before an S3 server.

use std::net::SocketAddrV4;
use std::path::PathBuf;
use std::process::Command;

use super::process::Process;
use super::{S3_KEY, S3_SECRET, S3Server, free_address, tools};

/// The name of the service. Nobody but the gateway, asked as a proxy, knows where it is.
const SERVICE: &str = "http://oss.test";

/// One, with an empty bucket.
#[derive(Debug)]
pub(crate) struct AlibabaServer {
    process: Process,
    /// What keeps the objects.
    pub(crate) s3: S3Server,
    program: PathBuf,
}

impl AlibabaServer {
    /// Starts one.
    pub(crate) fn start() -> Self {
        let program = tools::own("alibaba");
        let s3 = S3Server::start();
        let address = free_address();
        let mut command = Command::new(&program);
        command.args(["serve", &address.to_string(), &s3.address().to_string()]);
        let mut process = Process::spawn(&mut command, address, &s3.beside("gateway.log"));
        process.wait();
        Self {
            process,
            s3,
            program,
        }
    }

    /// `host:port`.
    pub(crate) fn address(&self) -> SocketAddrV4 {
        self.process.address()
    }

    /// What a program needs in its environment besides a proxy, with the right secret or another.
    pub(crate) fn variables(&self, right: bool) -> Vec<(String, String)> {
        let secret = if right { S3_SECRET } else { "wrong" };
        let fields = [
            ("storageEndpoint", SERVICE),
            ("accessKeyID", S3_KEY),
            ("accessKeySecret", secret),
        ];
        let directory = self.s3.write_fields(secret, &fields);
        vec![("ALICLOUD_APPLICATION_CREDENTIALS".to_owned(), directory)]
    }

    /// Copies the objects below a prefix with the vendor's client, in parts; which they are.
    pub(crate) fn copy(&self, from: &str, to: &str) -> Vec<String> {
        let mut copy = Command::new(&self.program);
        copy.args(["copy", &format!("http://{}", self.address()), from, to]);
        let output = copy.output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{said}");
        let names = String::from_utf8(output.stdout).unwrap();
        names.lines().map(str::to_owned).collect()
    }
}
