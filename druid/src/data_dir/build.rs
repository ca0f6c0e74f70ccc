//! A data directory that is being built beside the one that it may replace.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::hash::{BuildHasher as _, RandomState};
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use druid_core::data_dir::Identity;
use druid_core::data_dir::snap_file::restore_snap;
use druid_core::data_dir::wal::{SEGMENT_BYTES, restore_wal, segment_name};
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};

use super::{DataDir, DataDirError, database_of, is_absent, snap_dir, step, sync_dir, wal_dir};

/// One whose database is being written. Dropping it removes it.
#[derive(Debug)]
pub(crate) struct Building {
    part: Part,
    database: File,
}

/// One that is whole and on disk. Dropping it removes it.
#[derive(Debug)]
pub(crate) struct Built {
    pub(super) part: Part,
}

/// A directory that is removed when it is dropped, unless it has become something else.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) dir: DataDir,
    pub(super) path: PathBuf,
    /// Held as long as somebody builds here.
    held: Option<Flock<File>>,
}

impl Drop for Part {
    fn drop(&mut self) {
        if self.held.take().is_some() {
            // It is removed before the next build otherwise.
            let _ = fs::remove_dir_all(&self.path);
        }
    }
}

impl Part {
    /// From now on it stays.
    pub(super) fn keep(&mut self) {
        self.held = None;
    }
}

/// How often a directory is made if it disappears at once.
const TRIES: usize = 3;

impl DataDir {
    /// Begins to build. What was left of a build that was killed is removed first.
    pub(crate) fn begin(&self) -> Result<Building, DataDirError> {
        fs::create_dir_all(&self.parent).map_err(DataDirError::io(&self.parent))?;
        self.is_there()?;
        self.remove_leftovers()?;
        let part = self.part()?;
        make_dir(&part.path.join("member"))?;
        make_dir(&snap_dir(&part.path))?;
        make_dir(&wal_dir(&part.path))?;
        let database = make_file(&database_of(&part.path))?;
        step();
        Ok(Building { part, database })
    }

    fn part(&self) -> Result<Part, DataDirError> {
        let mut last = None;
        for _ in 0..TRIES {
            let random = RandomState::new().hash_one(&self.name);
            let path = self.beside(&format!("{PART}{random:016x}"));
            make_dir(&path)?;
            step();
            let dir = File::open(&path).map_err(DataDirError::io(&path))?;
            let inode = dir.metadata().map_err(DataDirError::io(&path))?.ino();
            let held = match Flock::lock(dir, FlockArg::LockExclusiveNonblock) {
                Ok(held) => held,
                Err((_, errno)) => {
                    last = Some(DataDirError::errno(&path, errno));
                    continue;
                }
            };
            // Another one that removes leftovers may have had it in between.
            match fs::metadata(&path) {
                Ok(found) if found.ino() == inode => {
                    return Ok(Part {
                        dir: self.clone(),
                        path,
                        held: Some(held),
                    });
                }
                Ok(_) => {}
                Err(error) => last = Some(DataDirError::io(&path)(error)),
            }
        }
        Err(last.unwrap_or_else(|| DataDirError::errno(&self.path, Errno::EEXIST)))
    }

    /// Removes directories of builds that nobody works on any more, and returns which.
    pub(crate) fn remove_leftovers(&self) -> Result<Vec<PathBuf>, DataDirError> {
        let mut removed = Vec::new();
        for (path, ending) in self.siblings()? {
            if !is_part(&ending) {
                continue;
            }
            let dir = match File::open(&path) {
                Ok(dir) => dir,
                Err(error) if is_absent(&error) => continue,
                Err(error) => return Err(DataDirError::io(&path)(error)),
            };
            match Flock::lock(dir, FlockArg::LockExclusiveNonblock) {
                Ok(_held) => {
                    fs::remove_dir_all(&path).map_err(DataDirError::io(&path))?;
                    removed.push(path);
                }
                Err((_, Errno::EWOULDBLOCK)) => {}
                Err((_, errno)) => return Err(DataDirError::errno(&path, errno)),
            }
        }
        removed.sort_unstable();
        Ok(removed)
    }

    /// The directories beside it whose names begin with its own, and the rest of their names.
    pub(super) fn siblings(&self) -> Result<Vec<(PathBuf, String)>, DataDirError> {
        let failed = || DataDirError::io(&self.parent);
        let entries = match fs::read_dir(&self.parent) {
            Ok(entries) => entries,
            Err(error) if is_absent(&error) => return Ok(Vec::new()),
            Err(error) => return Err(failed()(error)),
        };
        let own = self.name.as_encoded_bytes();
        let mut siblings = Vec::new();
        for entry in entries {
            let entry = entry.map_err(failed())?;
            let name = entry.file_name();
            let ending = name.as_encoded_bytes().strip_prefix(own);
            let ending = ending.and_then(|ending| std::str::from_utf8(ending).ok());
            let Some(ending) = ending.filter(|ending| !ending.is_empty()) else {
                continue;
            };
            if entry.file_type().map_err(failed())?.is_dir() {
                siblings.push((entry.path(), ending.to_owned()));
            }
        }
        Ok(siblings)
    }
}

const PART: &str = ".part-";

fn is_part(ending: &str) -> bool {
    let digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    let digits = ending.strip_prefix(PART);
    digits.is_some_and(|digits| digits.len() == 16 && digits.bytes().all(digit))
}

impl Building {
    /// Where the database is to be written; it is empty at first. It has to have the rows of
    /// [`druid_core::data_dir::members`] for the identity that [`Self::finish`] gets.
    pub(crate) fn database(&self) -> &File {
        &self.database
    }

    /// Writes the log and the member list, and everything to disk.
    pub(crate) fn finish(self, identity: &Identity) -> Result<Built, DataDirError> {
        let path = &self.part.path;
        let (snap_dir, wal_dir) = (snap_dir(path), wal_dir(path));
        step();
        let (name, snap) = restore_snap(identity);
        write_synced(&snap_dir.join(name), &snap, None)?;
        step();
        let wal = wal_dir.join(segment_name(0, 0));
        write_synced(&wal, &restore_wal(identity), Some(SEGMENT_BYTES))?;
        step();
        let database = database_of(path);
        let synced = self.database.sync_all();
        synced.map_err(DataDirError::io(&database))?;
        step();
        for dir in [&snap_dir, &wal_dir, &path.join("member"), path] {
            sync_dir(dir)?;
        }
        step();
        Ok(Built { part: self.part })
    }
}

fn make_dir(path: &Path) -> Result<(), DataDirError> {
    let made = DirBuilder::new().mode(0o700).create(path);
    made.map_err(DataDirError::io(path))
}

fn make_file(path: &Path) -> Result<File, DataDirError> {
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path);
    file.map_err(DataDirError::io(path))
}

/// `length` is with the zeros that follow.
fn write_synced(path: &Path, bytes: &[u8], length: Option<u64>) -> Result<(), DataDirError> {
    let mut file = make_file(path)?;
    let written = file.write_all(bytes).and_then(|()| {
        if let Some(length) = length {
            file.set_len(length)?;
        }
        file.sync_all()
    });
    written.map_err(DataDirError::io(path))
}
