//! Looks at the data directory, and moves it aside.
//!
//! The database is read whole, page by page; the write-ahead log only by its presence.

use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use druid_core::backup::Revision;
use druid_core::backup::initialize::{Data, Looked, Probe, Volume};
use druid_core::{bolt, snapshot_file};
use jiff::Timestamp;
use nix::fcntl::{Flock, FlockArg};

use super::parts::{DataDir, Later};
use super::volume::VolumeGuard;
use crate::clock;

/// One on disk.
#[derive(Clone, Debug)]
pub(crate) struct OnDisk {
    dir: PathBuf,
    guard: VolumeGuard,
}

impl OnDisk {
    pub(crate) fn new(dir: PathBuf, namespace: Option<String>) -> Self {
        let guard = VolumeGuard::new(&dir, namespace);
        Self { dir, guard }
    }

    fn database(&self) -> PathBuf {
        self.dir.join("member/snap/db")
    }

    fn read(&self, probes: &[Probe]) -> Data {
        let is_dir = |path: &str| self.dir.join(path).is_dir();
        if !self.dir.exists() {
            return Data::Absent;
        }
        if !is_dir("member/snap") || !is_dir("member/wal") || !self.database().exists() {
            return Data::Incomplete;
        }
        let database = match self.newest() {
            Ok(database) => database,
            Err(Trouble::Locked) => return Data::Locked,
            Err(Trouble::Broken(why)) => return Data::Broken(why),
        };
        let asked = |probe| probes.contains(&probe);
        Data::Readable {
            database,
            log: if asked(Probe::Log) {
                Looked::Found(database)
            } else {
                Looked::NotYet
            },
            deep: if asked(Probe::Deep) {
                Looked::Found(())
            } else {
                Looked::NotYet
            },
        }
    }

    fn newest(&self) -> Result<Revision, Trouble> {
        let path = self.database();
        let broken = |error: io::Error| Trouble::Broken(format!("{}: {error}", path.display()));
        let file = File::open(&path).map_err(broken)?;
        // Whoever runs holds it exclusively.
        let lock = Flock::lock(file, FlockArg::LockSharedNonblock).map_err(|_| Trouble::Locked)?;
        let bytes = fs::read(&path).map_err(broken)?;
        let mut newest = Revision::FIRST;
        bolt::walk(&bytes, |row| {
            if row.bucket == b"key"
                && let Some(revision) = snapshot_file::main_revision(row.key)
            {
                newest = newest.max(Revision::new(revision).unwrap_or(newest));
            }
        })
        .map_err(|damage| Trouble::Broken(format!("{}: {damage}", path.display())))?;
        drop(lock);
        Ok(newest)
    }
}

enum Trouble {
    Locked,
    Broken(String),
}

/// Off the threads that serve.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
    failed: impl FnOnce(String) -> T,
) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => failed(error.to_string()),
    }
}

impl DataDir for OnDisk {
    fn volume(&self) -> Later<'_, Result<Volume, String>> {
        let guard = self.guard.clone();
        let check = move || guard.check().map_err(|error| error.to_string());
        Box::pin(blocking(check, Err))
    }

    fn inspect<'a>(&'a self, probes: &'a [Probe]) -> Later<'a, Result<Data, String>> {
        let (this, probes) = (self.clone(), probes.to_vec());
        Box::pin(blocking(move || Ok(this.read(&probes)), Err))
    }

    fn move_aside(&self) -> Later<'_, Result<Option<PathBuf>, String>> {
        let dir = self.dir.clone();
        let now = clock::now();
        Box::pin(blocking(move || aside(&dir, now), Err))
    }
}

fn aside(dir: &Path, now: Timestamp) -> Result<Option<PathBuf>, String> {
    let mut name = dir.as_os_str().to_owned();
    name.push(format!(".aside-{}", now.as_millisecond()));
    let to = PathBuf::from(name);
    match fs::rename(dir, &to) {
        Ok(()) => Ok(Some(to)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(format!("{} to {}: {error}", dir.display(), to.display())),
    }
}
