//! The lab's directory. It goes with the lab; and if this program was killed and could not remove
//! it, the next lab in the same place does.

use std::fs::{self, File};
use std::io;
use std::path::Path;

use tempfile::TempDir;

const PREFIX: &str = "druid-rehearsal-";
/// A file that is locked while its lab lives. A directory without it is kept on purpose, or is not
/// finished.
const LOCK: &str = "lock";

/// A directory of its own, removed when this is dropped.
#[derive(Debug)]
pub(crate) struct WorkDir {
    dir: TempDir,
    _lock: File,
}

impl WorkDir {
    /// Makes one, and removes those that killed labs have left.
    pub(crate) fn new(parent: &Path) -> io::Result<Self> {
        sweep(parent);
        let dir = tempfile::Builder::new().prefix(PREFIX).tempdir_in(parent)?;
        // Locked before it has its name: nobody finds it without its lock.
        let unnamed = dir.path().join("lock.new");
        let lock = File::create_new(&unnamed)?;
        lock.lock()?;
        fs::rename(unnamed, dir.path().join(LOCK))?;
        Ok(Self { dir, _lock: lock })
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }

    /// Leaves it where it is, for ever.
    pub(crate) fn keep(&mut self) {
        // A lock that cannot be removed costs only what was to be kept.
        let _ = fs::remove_file(self.path().join(LOCK));
        self.dir.disable_cleanup(true);
    }
}

/// What cannot be read or removed is another user's, or another sweep's.
fn sweep(parent: &Path) {
    let entries = fs::read_dir(parent).into_iter().flatten().flatten();
    for entry in entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(PREFIX)) {
        let abandoned =
            File::open(entry.path().join(LOCK)).is_ok_and(|lock| lock.try_lock().is_ok());
        if abandoned {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}
