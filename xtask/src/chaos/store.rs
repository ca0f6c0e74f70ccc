//! The object store of the backups: a real one, behind a relay that can be busy or mute.

use std::error::Error;
use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;
use xtask::cluster::{ports, versitygw};
use xtask::relay::{Mode, Relay};

/// Its bucket.
pub(super) const BUCKET: &str = "backups";
const KEY: &str = "chaos";
const SECRET: &str = "chaos-secret";
/// How long the server may take to listen.
const PATIENCE: Duration = Duration::from_secs(20);

/// One that runs until it is dropped.
pub(super) struct Store {
    server: Child,
    address: SocketAddrV4,
    relay: Relay,
    directory: TempDir,
}

impl Store {
    /// Starts it; pods reach the relay at an address of this machine.
    pub(super) fn start(machine: Ipv4Addr) -> Result<Self, Box<dyn Error>> {
        let server = versitygw()?;
        let directory = tempfile::tempdir()?;
        let objects = directory.path().join("objects");
        std::fs::create_dir_all(objects.join(BUCKET))?;
        let log = File::create(directory.path().join("log"))?;
        let [port] = ports::free()?;
        let address = SocketAddrV4::new(Ipv4Addr::LOCALHOST, port);
        // It ends with us, in whatever way we end.
        let server = Command::new("setpriv")
            .args(["--pdeathsig", "KILL"])
            .arg(server.get_program())
            .args(["--port", &address.to_string(), "--quiet"])
            .args(["--access", KEY, "--secret", SECRET, "--keep-alive", "posix"])
            .arg(objects)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()?;
        let relay = Relay::start((machine, 0), SocketAddr::V4(address), Mode::Up)?;
        let mut store = Self {
            server,
            address,
            relay,
            directory,
        };
        store.await_it()?;
        Ok(store)
    }

    fn await_it(&mut self) -> Result<(), Box<dyn Error>> {
        let start = Instant::now();
        while TcpStream::connect(self.address).is_err() {
            if self.server.try_wait()?.is_some() || start.elapsed() > PATIENCE {
                let log = std::fs::read_to_string(self.directory.path().join("log"))?;
                return Err(format!("the object store did not start: {log}").into());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    pub(super) fn become_so(&self, mode: Mode) {
        self.relay.become_so(mode);
    }

    /// The fields of a Secret of an S3 store, as pods reach it.
    pub(super) fn secret(&self) -> [(&'static str, String); 5] {
        Self::fields(&format!("http://{}", self.relay.address()))
    }

    fn fields(endpoint: &str) -> [(&'static str, String); 5] {
        [
            ("region", "us-east-1".to_owned()),
            ("accessKeyID", KEY.to_owned()),
            ("secretAccessKey", SECRET.to_owned()),
            ("endpoint", endpoint.to_owned()),
            ("s3ForcePathStyle", "true".to_owned()),
        ]
    }

    /// A directory of credentials for a program on this machine, past the relay.
    pub(super) fn credentials(&self) -> Result<PathBuf, Box<dyn Error>> {
        let directory = self.directory.path().join("credentials");
        std::fs::create_dir_all(&directory)?;
        for (field, value) in Self::fields(&format!("http://{}", self.address)) {
            std::fs::write(directory.join(field), value)?;
        }
        Ok(directory)
    }

    /// Where its log is.
    pub(super) fn log(&self) -> PathBuf {
        Path::new(self.directory.path()).join("log")
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        // If it has ended, that is what is wanted.
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}
