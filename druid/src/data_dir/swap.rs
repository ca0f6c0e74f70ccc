//! One data directory in the place of another: the old one or the new one is there, whole, at every
//! moment, and the old one is still somewhere afterwards.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use jiff::tz::TimeZone;
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, FlockArg, RenameFlags, renameat2};

use super::build::Built;
use super::{DataDir, DataDirError, is_absent, step, sync_dir};

impl Built {
    /// Puts it in the place of the data directory, and returns where that is now; `None` if there
    /// was none, or an empty one.
    ///
    /// It takes the name of what is moved aside first, and is exchanged then. If the process is
    /// killed between the two, that name has the new one, and the data directory is the old one.
    pub(crate) fn swap_in(mut self, now: Timestamp) -> Result<Option<PathBuf>, DataDirError> {
        let part = &mut self.part;
        let dir = part.dir.clone();
        dir.is_there()?;
        let _held = dir.hold(FlockArg::LockExclusiveNonblock)?;
        step();
        // This takes the place of nothing, or of an empty directory.
        match fs::rename(&part.path, &dir.path) {
            Ok(()) => {
                part.keep();
                step();
                sync_dir(&dir.parent)?;
                step();
                return Ok(None);
            }
            Err(error) if is_not_empty(&error) => {}
            Err(error) => return Err(of_rename(&dir, error)),
        }
        let aside = dir.rename_aside(&part.path, now)?;
        part.path.clone_from(&aside);
        step();
        sync_dir(&dir.parent)?;
        step();
        if let Err(errno) = rename(&aside, &dir.path, RenameFlags::RENAME_EXCHANGE) {
            return Err(of_exchange(&dir, errno));
        }
        part.keep();
        step();
        sync_dir(&dir.parent)?;
        step();
        Ok(Some(aside))
    }
}

impl DataDir {
    /// Moves the data directory aside, and returns where it is now; `None` if there is none, or an
    /// empty one, which stays.
    pub(crate) fn move_aside(&self, now: Timestamp) -> Result<Option<PathBuf>, DataDirError> {
        if !self.is_there()? {
            return Ok(None);
        }
        let mut entries = fs::read_dir(&self.path).map_err(DataDirError::io(&self.path))?;
        if entries.next().is_none() {
            return Ok(None);
        }
        let _held = self.hold(FlockArg::LockExclusiveNonblock)?;
        step();
        let aside = self.rename_aside(&self.path, now)?;
        step();
        sync_dir(&self.parent)?;
        step();
        Ok(Some(aside))
    }

    /// What was moved aside, oldest first. druid never deletes any of it.
    #[cfg(test)]
    pub(crate) fn moved_aside(&self) -> Result<Vec<PathBuf>, DataDirError> {
        let siblings = self.siblings()?.into_iter();
        let aside = siblings.filter_map(|(path, ending)| Some((order(&ending)?, path)));
        let mut aside: Vec<(Order, PathBuf)> = aside.collect();
        aside.sort_unstable();
        Ok(aside.into_iter().map(|(_, path)| path).collect())
    }

    /// Gives a directory the first free name of what is moved aside at this time.
    fn rename_aside(&self, from: &Path, now: Timestamp) -> Result<PathBuf, DataDirError> {
        let time = now.to_zoned(TimeZone::UTC).strftime("%Y%m%dT%H%M%SZ");
        for n in 1_u32.. {
            let aside = self.beside(&format!("{BEFORE}{time}-{n}"));
            match rename(from, &aside, RenameFlags::RENAME_NOREPLACE) {
                Ok(()) => return Ok(aside),
                Err(Errno::EEXIST) => {}
                Err(errno) => return Err(of_exchange(self, errno)),
            }
        }
        Err(DataDirError::errno(&self.path, Errno::EEXIST))
    }
}

const BEFORE: &str = ".before-";

/// Time, and the number among those of that time.
#[cfg(test)]
type Order = (String, u32);

/// Of the ending of a name; `None` if it is not ours.
#[cfg(test)]
fn order(ending: &str) -> Option<Order> {
    let (time, number) = ending.strip_prefix(BEFORE)?.split_once('-')?;
    let digit = |(place, byte): (usize, u8)| match place {
        8 => byte == b'T',
        15 => byte == b'Z',
        _ => byte.is_ascii_digit(),
    };
    let well_formed = time.len() == 16 && time.bytes().enumerate().all(digit);
    let number: u32 = number.parse().ok().filter(|n| *n > 0)?;
    well_formed.then(|| (time.to_owned(), number))
}

fn rename(from: &Path, to: &Path, flags: RenameFlags) -> nix::Result<()> {
    renameat2(AT_FDCWD, from, AT_FDCWD, to, flags)
}

fn is_not_empty(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::DirectoryNotEmpty | io::ErrorKind::AlreadyExists
    )
}

fn of_rename(dir: &DataDir, error: io::Error) -> DataDirError {
    let path = dir.path.clone();
    let kind = error.kind();
    if kind == io::ErrorKind::ResourceBusy || kind == io::ErrorKind::CrossesDevices {
        DataDirError::MountPoint { path }
    } else if is_absent(&error) && path.is_file() {
        DataDirError::NotADirectory { path }
    } else {
        DataDirError::io(&path)(error)
    }
}

/// Of a rename with flags, which not every file system has.
fn of_exchange(dir: &DataDir, errno: Errno) -> DataDirError {
    if [Errno::EINVAL, Errno::ENOSYS, Errno::EOPNOTSUPP].contains(&errno) {
        let path = dir.path.clone();
        return DataDirError::NoExchange { path };
    }
    of_rename(dir, errno.into())
}
