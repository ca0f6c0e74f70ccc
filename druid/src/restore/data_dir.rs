//! A restored member: the newest chain as a data directory, checked before it replaces anything.

use std::io;
use std::num::NonZeroU32;
use std::path::PathBuf;

use druid_core::backup::replay::Plan;
use druid_core::bolt::{self, WalkError};
use druid_core::data_dir::Identity;
use druid_core::data_dir::facts::{RowDamage, Rows};
use druid_core::data_dir::members;
use jiff::Timestamp;
use thiserror::Error;

use super::database::{self, Progress, Replayed, RestoreError, Source};
use crate::data_dir::{DataDir, DataDirError};
use crate::read_at::FileAt;

/// How the new member differs from the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Options {
    /// How long a lease lives of which the deltas do not tell it, seconds.
    pub(crate) unknown_ttl: NonZeroU32,
    /// `--bump-revision`, with `--mark-compacted`.
    pub(crate) bump: Option<NonZeroU32>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            unknown_ttl: Plan::UNKNOWN_TTL,
            bump: None,
        }
    }
}

/// A data directory in its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Restored {
    /// What it was made from.
    pub(crate) replayed: Replayed,
    /// Where the former data directory is now.
    pub(crate) aside: Option<PathBuf>,
}

/// Why there is none; the former one is as it was.
#[derive(Debug, Error)]
pub(crate) enum RestoreDirError {
    /// No database.
    #[error(transparent)]
    Restore(#[from] RestoreError),
    /// No directory.
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    /// What was written is not what was meant. A defect of this program or of the machine.
    #[error("the new database does not read back as it was written: {0}; nothing was replaced")]
    ReadBack(String),
}

/// Restores into a data directory. `now` names what is moved aside.
pub(crate) fn restore(
    source: &Source<'_>,
    identity: &Identity,
    options: Options,
    into: &DataDir,
    now: Timestamp,
    progress: &mut dyn FnMut(Progress<'_>),
) -> Result<Restored, RestoreDirError> {
    let building = into.begin()?;
    let cluster = identity.cluster();
    let plan = Plan {
        members: members::rows(cluster).into_iter().collect(),
        consistent_index: cluster.count(),
        unknown_ttl: options.unknown_ttl,
        bump: options.bump,
    };
    let replayed = database::replay(source, &plan, building.database(), progress)?;
    let copy = building.database().try_clone();
    let copy = copy.map_err(|it| RestoreDirError::ReadBack(it.to_string()))?;
    read_back(copy, &replayed)?;
    let built = building.finish(identity)?;
    let aside = built.swap_in(now)?;
    Ok(Restored { replayed, aside })
}

/// Every page and row once more.
fn read_back(file: std::fs::File, replayed: &Replayed) -> Result<(), RestoreDirError> {
    let wrong = |why: String| RestoreDirError::ReadBack(why);
    let file = FileAt::new(file).map_err(|it| wrong(it.to_string()))?;
    let mut rows = Rows::default();
    let walked = bolt::walk(&file, |row| rows.row(row.bucket, row.key, row.value));
    walked.map_err(|error: WalkError<io::Error, RowDamage>| wrong(error.to_string()))?;
    let found = rows.done();
    let expected = replayed.report.revision;
    if found.revision == expected {
        return Ok(());
    }
    Err(wrong(format!(
        "it is at revision {} and not {expected}",
        found.revision
    )))
}
