//! Full snapshots of a rehearsal, taken and verified as backups are: packed into a store, which is a
//! directory here, and read back from it. Each is taken once per name, and verified apart from that.
//! Both go on in tasks of their own, so that a caller that disappears leaves nothing half done.

use std::collections::BTreeMap;
use std::fs;
use std::future::Future;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use druid_core::backup::listing::Object;
use druid_core::backup::names::Prefix;
use druid_core::observed::SnapshotWork;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};

use super::lock;
use crate::backup::codec::Packing;
use crate::backup::full;
use crate::etcd::Client;
use crate::restore::read;
use crate::store::Store;
use crate::store::local::Local;
use crate::store::location::Location;

/// How long one may take in all.
const TIMEOUT: Duration = Duration::from_mins(5);

/// The snapshots of a rehearsal. Clones share everything.
#[derive(Clone, Debug)]
pub(crate) struct Snapshots(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    /// The store, which is made by the first snapshot.
    root: PathBuf,
    store: Arc<dyn Store>,
    /// Where one has room while it is verified.
    dir: PathBuf,
    works: Mutex<BTreeMap<String, SnapshotWork>>,
    taken: Mutex<BTreeMap<String, Object>>,
    fail_takes: AtomicBool,
    corrupt: AtomicBool,
}

impl Snapshots {
    /// Keeps them below a directory that exists.
    pub(crate) fn new(dir: PathBuf) -> Self {
        let root = dir.join("snapshots");
        Self(Arc::new(Inner {
            store: Arc::new(Local::new(root.clone())),
            root,
            dir,
            works: Mutex::default(),
            taken: Mutex::default(),
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

    /// Begins to take it of the member that `of` comes to. A name that was asked for before is that
    /// snapshot, whatever became of it, and nobody is asked.
    pub(crate) fn take(
        &self,
        name: &str,
        of: impl Future<Output = Result<Client, String>> + Send + 'static,
    ) {
        if !self.advance(name, &SnapshotWork::Absent, SnapshotWork::Taking) {
            return;
        }
        let (this, name) = (self.clone(), name.to_owned());
        tokio::spawn(async move {
            let work = match this.write(&name, of).await {
                Ok(()) => SnapshotWork::Taken,
                Err(why) => SnapshotWork::Failed(why),
            };
            this.set(&name, work);
        });
    }

    /// Begins to verify it, if it is taken and that has not begun before.
    pub(crate) fn verify(&self, name: &str) {
        if !self.advance(name, &SnapshotWork::Taken, SnapshotWork::Verifying) {
            return;
        }
        let Some(object) = lock(&self.0.taken).get(name).cloned() else {
            return;
        };
        let (this, name, runtime) = (self.clone(), name.to_owned(), Handle::current());
        tokio::task::spawn_blocking(move || {
            let work = this.verified(&runtime, &name, &object);
            this.set(&name, work);
        });
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

    async fn write(
        &self,
        name: &str,
        of: impl Future<Output = Result<Client, String>>,
    ) -> Result<(), String> {
        if self.0.fail_takes.load(Ordering::Relaxed) {
            return Err("the source was made to fail (fault snapshot-fails)".to_owned());
        }
        let client = of.await?;
        let request = full::Request {
            prefix: prefix(name)?,
            packing: Packing::Gzip,
            // The members need the rest of the machine.
            threads: 1,
            is_final: false,
            unless: None,
            timeout: TIMEOUT,
        };
        // Nobody listens to how far it is, and nobody stops it.
        let (say, _) = mpsc::channel(1);
        let (_go_on, cancel) = oneshot::channel();
        let taken = full::take(&request, &client, &self.0.store, &say, cancel).await;
        let object = taken
            .map_err(|error| error.to_string())?
            .ok_or("no snapshot was taken")?;
        if self.0.corrupt.load(Ordering::Relaxed) {
            let path = self.0.root.join(object.key.to_string());
            flip_middle_byte(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        }
        lock(&self.0.taken).insert(name.to_owned(), object);
        Ok(())
    }

    fn verified(&self, runtime: &Handle, name: &str, object: &Object) -> SnapshotWork {
        let location = match prefix(name) {
            Ok(prefix) => Location {
                store: self.0.store.clone(),
                prefix,
                address: self.0.root.display().to_string(),
            },
            Err(why) => return SnapshotWork::Damaged(why),
        };
        match read::base(runtime, &location, object, &self.0.dir, |_| ()) {
            Ok(base) => SnapshotWork::Verified {
                revision: base.facts.revision,
                bytes: base.facts.bytes,
                sha256: base.facts.sha256,
            },
            Err(error) => SnapshotWork::Damaged(format!("{}: {error}", object.key)),
        }
    }
}

/// Each has a prefix of its own, so that two of one revision and second are two.
fn prefix(name: &str) -> Result<Prefix, String> {
    Prefix::parse(name).map_err(|error| error.to_string())
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
