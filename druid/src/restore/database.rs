//! The newest chain of a store as a database: reads what `restorable` says, until it is replayed.

use std::fs::File;
use std::io;
use std::path::Path;

use druid_core::backup::listing::{Chain, Listing};
use druid_core::backup::names::Key;
use druid_core::backup::replay::{Plan, Report};
use druid_core::backup::restorable::{self, Begin, Known, Loss, Refusal, Step};
use druid_core::snapshot_file::SnapshotFacts;
use thiserror::Error;
use tokio::runtime::Handle;

use super::read::{self, Base, ReadError};
use super::replay::{self, Failure};
use crate::store::StoreError;
use crate::store::location::Location;

/// What to restore from, and how.
#[derive(Clone, Debug)]
pub(crate) struct Source<'a> {
    /// Runs what the store does.
    pub(crate) runtime: &'a Handle,
    /// The store.
    pub(crate) location: &'a Location,
    /// What is in it.
    pub(crate) listing: &'a Listing,
    /// With which full snapshot to begin.
    pub(crate) begin: Begin,
    /// Whether less than all may be restored.
    pub(crate) loss: Loss,
    /// Where one unpacked full snapshot has room, in a file without a name.
    pub(crate) spool: &'a Path,
}

/// What is said meanwhile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Progress<'a> {
    /// A full snapshot is unpacked.
    Base(&'a Key),
    /// A delta is replayed: the number of it, and how many there are.
    Delta(&'a Key, usize, usize),
    /// It is damaged, and others may have what it had.
    Damaged(&'a Key, &'a str),
    /// So many bytes more were unpacked.
    Bytes(u64),
}

/// A database that is written, and not on disk yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Replayed {
    /// What it was made from.
    pub(crate) chain: Chain,
    /// What is lost by it, if that was accepted.
    pub(crate) lost: Option<Box<Refusal>>,
    /// What was done.
    pub(crate) report: Report,
    /// The database of the base, as the member that it was taken from had it.
    pub(crate) base: SnapshotFacts,
    /// Its size, bytes.
    pub(crate) bytes: u64,
}

/// Why there is no database.
#[derive(Debug, Error)]
pub(crate) enum RestoreError {
    /// The store has not what is needed.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The store did not give it.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// It could not be kept here.
    #[error("{}: {source}; free some space, or give another directory", path.display())]
    Disk {
        /// Where.
        path: std::path::PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// What is asked for makes no sense with this store.
    #[error("{0}")]
    Plan(String),
}

/// Replays the newest chain into a file, which is emptied first. Each object is read to its end and
/// checked before its part counts; if one turns out damaged, everything is begun again without it.
pub(crate) fn replay(
    source: &Source<'_>,
    plan: &Plan,
    into: &File,
    progress: &mut dyn FnMut(Progress<'_>),
) -> Result<Replayed, RestoreError> {
    let mut known = Known::default();
    let mut spooled: Option<(Key, Base)> = None;
    loop {
        let step = restorable::next(source.listing, &known, &source.begin, source.loss)?;
        match step {
            Step::ReadBase(object) => {
                // The one before is of no use any more, and neither is its file.
                drop(spooled.take());
                progress(Progress::Base(&object.key));
                let bytes = |more| progress(Progress::Bytes(more));
                let Source {
                    runtime, location, ..
                } = source;
                match read::base(runtime, location, &object, source.spool, bytes) {
                    Ok(base) => {
                        known.holds.insert(object.key.clone(), base.holds);
                        spooled = Some((object.key, base));
                    }
                    Err(error) => damaged(&mut known, object.key, error, source, progress)?,
                }
            }
            Step::Replay { chain, lost } => {
                let Some((_, base)) = spooled.as_ref().filter(|(key, _)| *key == chain.base.key)
                else {
                    // It was read before another one was; what it holds is known, its file is gone.
                    known.holds.remove(&chain.base.key);
                    continue;
                };
                match replay::chain(source, base, &chain, plan, into, progress) {
                    Ok((report, bytes)) => {
                        return Ok(Replayed {
                            chain,
                            lost,
                            report,
                            base: base.facts.clone(),
                            bytes,
                        });
                    }
                    Err(Failure::Object(key, error)) => {
                        damaged(&mut known, *key, error, source, progress)?;
                    }
                    Err(Failure::Output(source)) => {
                        let path = "the new database".into();
                        return Err(RestoreError::Disk { path, source });
                    }
                    Err(Failure::Plan(why)) => return Err(RestoreError::Plan(why)),
                }
            }
        }
    }
}

/// Notes damage; what is no damage ends the restore.
fn damaged(
    known: &mut Known,
    key: Key,
    error: ReadError,
    source: &Source<'_>,
    progress: &mut dyn FnMut(Progress<'_>),
) -> Result<(), RestoreError> {
    match error {
        ReadError::Damaged(why) => {
            progress(Progress::Damaged(&key, &why));
            known.damaged.insert(key, why);
            Ok(())
        }
        ReadError::Store(error) => Err(error.into()),
        ReadError::Spool(error) => Err(RestoreError::Disk {
            path: source.spool.to_owned(),
            source: error,
        }),
    }
}
