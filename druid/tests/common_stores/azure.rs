//! Azurite, which Microsoft makes to stand for Azure Blob Storage in tests.

use std::net::SocketAddrV4;
use std::process::Command;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use jiff::Timestamp;
use tempfile::TempDir;

use super::process::Process;
use super::signed::hmac;
use super::{BUCKET, free_address, http, tools, write_fields};

/// The account.
const ACCOUNT: &str = "tester";
/// The bytes of its key.
const KEY: &[u8; 64] = b"tester-key-tester-key-tester-key-tester-key-tester-key-tester-ke";
/// Of the protocol.
const VERSION: &str = "2024-11-04";

/// One, with an account and an empty container.
#[derive(Debug)]
pub(crate) struct AzureServer {
    process: Process,
    dir: TempDir,
}

impl AzureServer {
    /// Starts one, if there can be one on this machine.
    pub(crate) fn start() -> Option<Self> {
        let modules = tools::npm("azure")?;
        let dir = TempDir::new().unwrap();
        let address = free_address();
        let mut command = Command::new("node");
        command
            .arg(modules.join("node_modules/azurite/dist/src/blob/main.js"))
            .args(["--blobHost", "127.0.0.1"])
            .args(["--blobPort", &address.port().to_string()])
            .args(["--silent", "--disableTelemetry", "--location"])
            .arg(dir.path().join("blobs"))
            .env("AZURITE_ACCOUNTS", format!("{ACCOUNT}:{}", key()));
        let mut process = Process::spawn(&mut command, address, &dir.path().join("log"));
        process.wait();
        let server = Self { process, dir };
        server.create_container();
        Some(server)
    }

    /// `host:port`.
    pub(crate) fn address(&self) -> SocketAddrV4 {
        self.process.address()
    }

    /// For `--store-endpoint-override`: the account is a part of the path.
    pub(crate) fn endpoint(address: &str) -> String {
        format!("http://{address}/{ACCOUNT}")
    }

    /// What a program needs in its environment, with the right key or another.
    pub(crate) fn variables(&self, right: bool) -> Vec<(String, String)> {
        let key = if right {
            key()
        } else {
            BASE64_STANDARD.encode("wrong")
        };
        let fields = [("storageAccount", ACCOUNT), ("storageKey", &key)];
        let directory = write_fields(self.dir.path(), &format!("credentials-{right}"), &fields);
        vec![("AZURE_APPLICATION_CREDENTIALS".to_owned(), directory)]
    }

    /// No client of ours makes one. Signed as "Authorize with Shared Key" in the documentation of the
    /// service says.
    fn create_container(&self) {
        #[allow(clippy::disallowed_methods, reason = "the server has the same clock")]
        let date = Timestamp::now().strftime("%a, %d %b %Y %H:%M:%S GMT");
        let date = date.to_string();
        let empty = "\n".repeat(11);
        let text = format!(
            "PUT\n{empty}x-ms-date:{date}\nx-ms-version:{VERSION}\n/{ACCOUNT}/{ACCOUNT}/{BUCKET}\nrestype:container"
        );
        let signature = BASE64_STANDARD.encode(hmac(KEY, text.as_bytes()));
        let endpoint = Self::endpoint(&self.address().to_string());
        http::ask(
            "PUT",
            &format!("{endpoint}/{BUCKET}?restype=container"),
            &[
                ("x-ms-date", &date),
                ("x-ms-version", VERSION),
                ("Authorization", &format!("SharedKey {ACCOUNT}:{signature}")),
            ],
            "",
        );
    }
}

fn key() -> String {
    BASE64_STANDARD.encode(KEY)
}
