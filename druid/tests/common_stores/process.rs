//! A server in a process of its own.

use std::fs::{self, File};
use std::net::{SocketAddrV4, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How long a server may take to listen.
const PATIENCE: Duration = Duration::from_mins(1);

/// Killed when dropped.
#[derive(Debug)]
pub(super) struct Process {
    address: SocketAddrV4,
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts what will listen at an address, and waits for nothing.
    pub(super) fn spawn(command: &mut Command, address: SocketAddrV4, log: &Path) -> Self {
        let file = File::create(log).unwrap();
        let child = command
            .stdin(Stdio::null())
            .stdout(file.try_clone().unwrap())
            .stderr(file)
            .spawn()
            .unwrap();
        Self {
            address,
            child,
            log: log.to_owned(),
        }
    }

    /// Until it listens.
    pub(super) fn wait(&mut self) {
        let start = Instant::now();
        while TcpStream::connect(self.address).is_err() {
            let ended = self.child.try_wait().unwrap();
            assert!(
                ended.is_none() && start.elapsed() < PATIENCE,
                "the server on {} did not come up ({ended:?}): {}",
                self.address,
                fs::read_to_string(&self.log).unwrap_or_default()
            );
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    pub(super) fn address(&self) -> SocketAddrV4 {
        self.address
    }

    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
