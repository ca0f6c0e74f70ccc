//! The data directory of a member on disk: looked at, built anew beside the old one, put in its
//! place in one step. Whatever was there is moved aside, and never deleted.
//!
//! ```text
//! <parent>/<name>                                 the data directory
//! <parent>/<name>.part-<16 digits>                being built; removed if whoever built it is gone
//! <parent>/<name>.before-<UTC time>-<n>           moved aside; a person may delete it
//! <parent>/safe_guard                             whose volume it is
//! <parent>/recovered                              what a recovery did to it last
//! ```
//!
//! All of it blocks. Only one process is to work on a directory, while no etcd runs on it.

pub(crate) mod alone;
pub(crate) mod build;
pub(crate) mod inspect;
pub(crate) mod recovered;
mod swap;
pub(crate) mod volume;

#[cfg(test)]
mod etcd_tests;
#[cfg(test)]
mod tests;

use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use thiserror::Error;

/// Where a data directory is, or will be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DataDir {
    path: PathBuf,
    parent: PathBuf,
    name: OsString,
}

/// Why something could not be done with a data directory. It is as it was.
#[derive(Debug, Error)]
pub(crate) enum DataDirError {
    /// The system refuses.
    #[error("{}: {source}", path.display())]
    Io {
        /// What was read or written.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// No space left.
    #[error(
        "{}: the disk is full; free some space, or delete directories beside the data directory \
         whose names end with .before-TIME and that nobody needs",
        path.display()
    )]
    Full {
        /// What was written.
        path: PathBuf,
    },
    /// Nothing can be put beside it.
    #[error(
        "{} is a mount point and cannot be exchanged with another directory; set --data-dir to a \
         directory in it",
        path.display()
    )]
    MountPoint {
        /// The data directory.
        path: PathBuf,
    },
    /// `/`, or empty.
    #[error("--data-dir {} cannot be a data directory; give a directory in a volume", path.display())]
    NoName {
        /// What was given.
        path: PathBuf,
    },
    /// A file, for example.
    #[error("{} is not a directory; move it away, or correct --data-dir", path.display())]
    NotADirectory {
        /// The data directory.
        path: PathBuf,
    },
    /// An etcd runs on it.
    #[error("another process holds {}: stop it", path.display())]
    Locked {
        /// The database.
        path: PathBuf,
    },
    /// The file system lacks what is needed.
    #[error(
        "the file system of {} cannot exchange two directories in one step; move it away by hand \
         and try again",
        path.display()
    )]
    NoExchange {
        /// The data directory.
        path: PathBuf,
    },
}

impl DataDirError {
    fn io(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| {
            let full = [io::ErrorKind::StorageFull, io::ErrorKind::QuotaExceeded];
            if full.contains(&source.kind()) {
                Self::Full { path }
            } else {
                Self::Io { path, source }
            }
        }
    }

    fn errno(path: &Path, errno: Errno) -> Self {
        Self::io(path)(errno.into())
    }
}

impl DataDir {
    /// `--data-dir`. It need not exist; a symbolic link stands for what it leads to.
    pub(crate) fn new(path: &Path) -> Result<Self, DataDirError> {
        let absolute = std::path::absolute(path).map_err(DataDirError::io(path))?;
        let path = match fs::canonicalize(&absolute) {
            Ok(path) => path,
            Err(error) if error.kind() == io::ErrorKind::NotFound => absolute,
            Err(error) => return Err(DataDirError::io(&absolute)(error)),
        };
        match (path.parent(), path.file_name()) {
            (Some(parent), Some(name)) => Ok(Self {
                parent: parent.to_owned(),
                name: name.to_owned(),
                path,
            }),
            (_, _) => Err(DataDirError::NoName { path }),
        }
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Where its database is, if there is one.
    pub(crate) fn database(&self) -> PathBuf {
        database_of(&self.path)
    }

    /// A path beside it, its name with an ending.
    fn beside(&self, ending: &str) -> PathBuf {
        let mut name = self.name.clone();
        name.push(ending);
        self.parent.join(name)
    }

    /// Whether there is anything; a mount point or a file is an error.
    fn is_there(&self) -> Result<bool, DataDirError> {
        let path = || self.path.clone();
        let found = match fs::symlink_metadata(&self.path) {
            Ok(found) => found,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(DataDirError::io(&self.path)(error)),
        };
        if !found.is_dir() {
            return Err(DataDirError::NotADirectory { path: path() });
        }
        let parent = fs::metadata(&self.parent).map_err(DataDirError::io(&self.parent))?;
        if parent.dev() != found.dev() {
            return Err(DataDirError::MountPoint { path: path() });
        }
        Ok(true)
    }

    /// Keeps an etcd from opening the database, if there is one, and fails if one has.
    fn hold(&self, how: FlockArg) -> Result<Option<Flock<File>>, DataDirError> {
        let path = database_of(&self.path);
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if is_absent(&error) => return Ok(None),
            Err(error) => return Err(DataDirError::io(&path)(error)),
        };
        match Flock::lock(file, how) {
            Ok(held) => Ok(Some(held)),
            Err((_, Errno::EWOULDBLOCK)) => Err(DataDirError::Locked { path }),
            Err((_, errno)) => Err(DataDirError::errno(&path, errno)),
        }
    }
}

fn snap_dir(data_dir: &Path) -> PathBuf {
    data_dir.join("member/snap")
}

fn wal_dir(data_dir: &Path) -> PathBuf {
    data_dir.join("member/wal")
}

fn database_of(data_dir: &Path) -> PathBuf {
    snap_dir(data_dir).join("db")
}

/// Nothing there, or something else on the way to it.
fn is_absent(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
    )
}

fn sync_dir(path: &Path) -> Result<(), DataDirError> {
    let synced = File::open(path).and_then(|dir| dir.sync_all());
    synced.map_err(DataDirError::io(path))
}

/// Between two changes on disk. A test kills the process here, at each in turn.
#[cfg(not(test))]
fn step() {}
#[cfg(test)]
use tests::step;
