//! Adds to a member's log what makes it a cluster of its own.

use std::fs::OpenOptions;
use std::os::unix::fs::FileExt as _;

use druid_core::data_dir::alone::{Addition, NotAlone};
use druid_core::member::MemberId;
use nix::fcntl::FlockArg;
use thiserror::Error;

use super::inspect::StandingError;
use super::{DataDir, DataDirError, step, sync_dir, wal_dir};

/// Why a member was not made a cluster of its own.
#[derive(Debug, Error)]
pub(crate) enum AloneError {
    /// There is nothing to go on with.
    #[error("there is no data")]
    NoData,
    /// It must not.
    #[error(transparent)]
    Not(#[from] NotAlone),
    /// Its log is not understood.
    #[error(transparent)]
    Standing(#[from] StandingError),
    /// It could not be written.
    #[error(transparent)]
    DataDir(#[from] DataDirError),
}

impl DataDir {
    /// Commits all of its log and removes the others from its cluster; returns those. Nothing may run
    /// on it. To do it twice is to do it once.
    pub(crate) fn make_alone(&self) -> Result<Vec<MemberId>, AloneError> {
        let standing = self.standing()?.ok_or(AloneError::NoData)?;
        let addition = standing.alone()?;
        let _held = self.hold(FlockArg::LockExclusiveNonblock)?;
        self.add(&addition)?;
        Ok(addition.removed)
    }

    fn add(&self, addition: &Addition) -> Result<(), DataDirError> {
        let dir = wal_dir(&self.path);
        let path = dir.join(addition.segment.to_string());
        let failed = || DataDirError::io(&path);
        let file = OpenOptions::new().write(true).open(&path);
        let file = file.map_err(failed())?;
        let end = addition.offset.saturating_add(addition.bytes.len() as u64);
        let length = file.metadata().map_err(failed())?.len().max(end);
        step();
        // What was torn becomes zeros.
        file.set_len(addition.offset).map_err(failed())?;
        step();
        file.set_len(length).map_err(failed())?;
        file.sync_all().map_err(failed())?;
        step();
        file.write_all_at(&addition.bytes, addition.offset)
            .map_err(failed())?;
        step();
        file.sync_all().map_err(failed())?;
        sync_dir(&dir)
    }
}
