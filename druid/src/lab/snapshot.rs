//! Full snapshots in files: taken once per name, and verified apart from that. Both go on in tasks
//! of their own, so that a caller that disappears leaves nothing half done.

use std::collections::BTreeMap;
use std::fs;
use std::future::Future;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use druid_core::observed::SnapshotWork;
use druid_core::snapshot_file::{self, VerifyError};
use tokio::fs::File;
use tokio::io::AsyncWriteExt as _;
use tokio::sync::mpsc;

use super::lock;
use crate::read_at::FileAt;

/// Where a snapshot's bytes come from.
pub(crate) trait Chunks: Send + 'static {
    /// The next bytes; `None` at the end.
    fn next(&mut self) -> impl Future<Output = Result<Option<Vec<u8>>, String>> + Send;
}

/// The end of the channel is the end of the snapshot.
impl Chunks for mpsc::Receiver<Result<Vec<u8>, String>> {
    async fn next(&mut self) -> Result<Option<Vec<u8>>, String> {
        self.recv().await.transpose()
    }
}

/// A source that has stopped giving for this long is dead.
const STALLED: Duration = Duration::from_secs(30);

/// The snapshots of a rehearsal. Clones share everything.
#[derive(Clone, Debug)]
pub(crate) struct Snapshots(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    dir: PathBuf,
    stalled: Duration,
    works: Mutex<BTreeMap<String, SnapshotWork>>,
    fail_takes: AtomicBool,
    corrupt: AtomicBool,
}

impl Snapshots {
    /// Keeps them in a directory that exists.
    pub(crate) fn new(dir: PathBuf) -> Self {
        Self::with_patience(dir, STALLED)
    }

    fn with_patience(dir: PathBuf, stalled: Duration) -> Self {
        Self(Arc::new(Inner {
            dir,
            stalled,
            works: Mutex::default(),
            fail_takes: AtomicBool::new(false),
            corrupt: AtomicBool::new(false),
        }))
    }

    /// The fault `snapshot-fails`: from now on every take fails.
    pub(crate) fn fail_takes(&self) {
        self.0.fail_takes.store(true, Ordering::Relaxed);
    }

    /// The fault `snapshot-corrupt`: from now on one byte of every finished file is changed.
    pub(crate) fn corrupt_after_take(&self) {
        self.0.corrupt.store(true, Ordering::Relaxed);
    }

    /// How a snapshot stands.
    pub(crate) fn work(&self, name: &str) -> SnapshotWork {
        lock(&self.0.works).get(name).cloned().unwrap_or_default()
    }

    /// Where it is, or will be.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.dir.join(format!("{name}.db"))
    }

    /// Begins to take it. A name that was asked for before is that snapshot, whatever became of
    /// it, and its source is not touched.
    pub(crate) fn take(&self, name: &str, source: impl Chunks) {
        if !self.advance(name, &SnapshotWork::Absent, SnapshotWork::Taking) {
            return;
        }
        let (this, name) = (self.clone(), name.to_owned());
        tokio::spawn(async move {
            let part = this.0.dir.join(format!("{name}.db.part"));
            let work = match this.write(&part, &this.path(&name), source).await {
                Ok(()) => SnapshotWork::Taken,
                Err(why) => {
                    let _ = fs::remove_file(&part);
                    SnapshotWork::Failed(why)
                }
            };
            this.set(&name, work);
        });
    }

    /// Begins to verify it, if it is taken and that has not begun before.
    pub(crate) fn verify(&self, name: &str) {
        if !self.advance(name, &SnapshotWork::Taken, SnapshotWork::Verifying) {
            return;
        }
        let (this, name) = (self.clone(), name.to_owned());
        tokio::task::spawn_blocking(move || this.set(&name, verified(&this.path(&name))));
    }

    fn advance(&self, name: &str, from: &SnapshotWork, to: SnapshotWork) -> bool {
        let mut works = lock(&self.0.works);
        let work = works.entry(name.to_owned()).or_default();
        let moves = work == from;
        if moves {
            *work = to;
        }
        moves
    }

    fn set(&self, name: &str, work: SnapshotWork) {
        lock(&self.0.works).insert(name.to_owned(), work);
    }

    async fn write(&self, part: &Path, path: &Path, source: impl Chunks) -> Result<(), String> {
        if self.0.fail_takes.load(Ordering::Relaxed) {
            return Err("the source was made to fail (fault snapshot-fails)".to_owned());
        }
        let failed = |error: io::Error| not_written(part, &error);
        let mut file = File::create(part).await.map_err(failed)?;
        self.copy(source, &mut file, part).await?;
        file.sync_all().await.map_err(failed)?;
        fs::rename(part, path).map_err(failed)?;
        sync_dir(&self.0.dir).map_err(failed)?;
        if self.0.corrupt.load(Ordering::Relaxed) {
            flip_middle_byte(path).map_err(failed)?;
        }
        Ok(())
    }

    async fn copy(
        &self,
        mut source: impl Chunks,
        file: &mut File,
        part: &Path,
    ) -> Result<(), String> {
        let failed = |error: io::Error| not_written(part, &error);
        loop {
            let next = tokio::time::timeout(self.0.stalled, source.next()).await;
            let stalled = |_| format!("the member sent nothing for {:?}", self.0.stalled);
            let Some(bytes) = next.map_err(stalled)?? else {
                return file.flush().await.map_err(failed);
            };
            file.write_all(&bytes).await.map_err(failed)?;
        }
    }
}

fn verified(path: &Path) -> SnapshotWork {
    match FileAt::open(path)
        .map_err(VerifyError::Read)
        .and_then(snapshot_file::verify)
    {
        Ok(facts) => SnapshotWork::Verified {
            revision: facts.revision,
            bytes: facts.bytes,
            sha256: facts.sha256,
        },
        Err(VerifyError::Damage(damage)) => SnapshotWork::Damaged(damage.to_string()),
        Err(VerifyError::Read(error)) => {
            SnapshotWork::Damaged(format!("{}: {error}", path.display()))
        }
    }
}

fn not_written(path: &Path, error: &io::Error) -> String {
    if error.kind() == io::ErrorKind::StorageFull {
        format!(
            "{}: the disk is full; free some space, or give --dir a directory on another disk",
            path.display()
        )
    } else {
        format!("{}: {error}", path.display())
    }
}

fn sync_dir(dir: &Path) -> io::Result<()> {
    fs::File::open(dir)?.sync_all()
}

fn flip_middle_byte(path: &Path) -> io::Result<()> {
    let file = fs::OpenOptions::new().read(true).write(true).open(path)?;
    let middle = file.metadata()?.len() / 2;
    let mut byte = [0];
    file.read_exact_at(&mut byte, middle)?;
    file.write_all_at(&[byte[0] ^ 1], middle)?;
    file.sync_all()
}

#[cfg(test)]
mod tests;
