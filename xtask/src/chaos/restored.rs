//! An etcd on what the backups give in the end: does it hold what was acknowledged?

use std::error::Error;
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;
use xtask::cluster::ports;

use super::stage::{Stage, said};
use crate::etcd;

/// How long it may take until it serves.
const SERVES: Duration = Duration::from_mins(1);
/// How long one answer may take.
const ANSWERS: Duration = Duration::from_secs(1);

/// A cluster of one member, which ends when this is dropped.
pub(super) struct Restored {
    child: Child,
    client: SocketAddr,
    _directory: TempDir,
}

impl Restored {
    /// Restores the newest backup, and starts the new release on it. `directory`: where it logs.
    pub(super) fn start(stage: &Stage, directory: &Path) -> Result<Self, Box<dyn Error>> {
        let own = tempfile::tempdir()?;
        let data = own.path().join("data");
        let [client, peer] = ports::free()?;
        let url = |port: u16| format!("http://127.0.0.1:{port}");
        let cluster = [
            format!("--initial-cluster=default={}", url(peer)),
            format!("--initial-advertise-peer-urls={}", url(peer)),
        ];
        let mut restore = stage.on_backups("restore")?;
        restore.arg("--data-dir").arg(&data).args(&cluster);
        said(&mut restore)?;
        let [_, (_, program)] = etcd::of_the_graph()?;
        let log = File::create(directory.join("restored-etcd.log"))?;
        // It ends with us, in whatever way we end.
        let child = Command::new("setpriv")
            .args(["--pdeathsig", "KILL"])
            .arg(program)
            .arg("--data-dir")
            .arg(&data)
            .args(&cluster)
            .arg(format!("--listen-peer-urls={}", url(peer)))
            .arg(format!("--listen-client-urls={}", url(client)))
            .arg(format!("--advertise-client-urls={}", url(client)))
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()?;
        let client = SocketAddr::from((Ipv4Addr::LOCALHOST, client));
        let mut restored = Self {
            child,
            client,
            _directory: own,
        };
        restored.await_it()?;
        Ok(restored)
    }

    /// Where clients go.
    pub(super) fn url(&self) -> String {
        format!("http://{}", self.client)
    }

    fn await_it(&mut self) -> Result<(), Box<dyn Error>> {
        let start = Instant::now();
        while !serves(self.client).unwrap_or(false) {
            if let Some(status) = self.child.try_wait()? {
                return Err(format!("etcd has ended on what was restored: {status}").into());
            }
            if start.elapsed() > SERVES {
                let seconds = SERVES.as_secs();
                return Err(format!("etcd does not serve within {seconds} s").into());
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        Ok(())
    }
}

impl Drop for Restored {
    fn drop(&mut self) {
        // If it has ended, that is what is wanted.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn serves(address: SocketAddr) -> std::io::Result<bool> {
    let mut stream = TcpStream::connect_timeout(&address, ANSWERS)?;
    stream.set_read_timeout(Some(ANSWERS))?;
    write!(stream, "GET /health HTTP/1.0\r\nHost: {address}\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer.contains(r#""health":"true""#))
}
