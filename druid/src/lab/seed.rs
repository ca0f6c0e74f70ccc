//! What a cluster begins with, if not with nothing: the newest chain of a store, restored into the
//! data directory of each founder before its etcd starts.

use std::collections::BTreeMap;
use std::io::{self, Seek as _};
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use druid_core::backup::listing::Listing;
use druid_core::backup::restorable::{Begin, Loss};
use druid_core::data_dir::{Identity, IdentityError, InitialCluster};
use druid_core::member::MemberName;
use thiserror::Error;
use tokio::runtime::Handle;

use super::workdir::WorkDir;
use crate::clock;
use crate::data_dir::{DataDir, DataDirError};
use crate::restore::data_dir::{Options, RestoreDirError, restore};
use crate::restore::database::{Progress, Replayed, RestoreError, Source};
use crate::store::location::Location;

/// A store, and what of it is wanted.
#[derive(Clone, Debug)]
pub(crate) struct Seed {
    /// The store.
    pub(crate) location: Location,
    /// What is in it.
    pub(crate) listing: Arc<Listing>,
    /// With which full snapshot to begin.
    pub(crate) begin: Begin,
    /// Whether less than all may be restored.
    pub(crate) loss: Loss,
}

/// What the founders were made from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Seeded {
    /// The chain, and what came of it.
    pub(crate) replayed: Replayed,
    /// The objects that were passed over, and what is wrong with each; others had what they had.
    pub(crate) damaged: Vec<(String, String)>,
    /// How long the first founder took, milliseconds. The others get a copy of its database.
    pub(crate) restore_ms: u64,
}

/// Why there is no founder.
#[derive(Debug, Error)]
pub(crate) enum SeedError {
    /// The chain cannot be restored.
    #[error(transparent)]
    Restore(#[from] RestoreDirError),
    /// A directory cannot be made.
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    /// The database cannot be copied.
    #[error("{}: cannot copy the database: {source}; free some space", path.display())]
    Copy {
        /// To where.
        path: std::path::PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The lab's own member list makes no sense.
    #[error("the members of the lab: {0}; please report this")]
    Identity(#[from] IdentityError),
    /// The thread that restores ended early.
    #[error("the restore died: {0}; please report this")]
    Died(#[from] tokio::task::JoinError),
}

impl SeedError {
    /// Whether there was no room.
    pub(super) fn is_full_disk(&self) -> bool {
        let full = |source: &io::Error| source.kind() == io::ErrorKind::StorageFull;
        match self {
            Self::Restore(RestoreDirError::Restore(RestoreError::Disk { source, .. }))
            | Self::Copy { source, .. } => full(source),
            Self::Restore(RestoreDirError::DataDir(DataDirError::Full { .. }))
            | Self::DataDir(DataDirError::Full { .. }) => true,
            Self::Restore(_) | Self::DataDir(_) | Self::Identity(_) | Self::Died(_) => false,
        }
    }
}

impl Seed {
    /// Makes the data directory `<dir>/<name>/data` of every founder, whose peer URLs are given. The
    /// lab's directory goes along: whoever gives up meanwhile leaves it to the thread that writes
    /// into it, which removes it when it ends.
    pub(super) async fn plant(
        self,
        dir: WorkDir,
        founders: BTreeMap<MemberName, String>,
        token: &'static str,
    ) -> Result<(WorkDir, Seeded), SeedError> {
        let runtime = Handle::current();
        let planting = tokio::task::spawn_blocking(move || {
            let seeded = self.plant_all(&runtime, dir.path(), &founders, token)?;
            Ok((dir, seeded))
        });
        planting.await?
    }

    fn plant_all(
        &self,
        runtime: &Handle,
        dir: &Path,
        founders: &BTreeMap<MemberName, String>,
        token: &str,
    ) -> Result<Seeded, SeedError> {
        let pairs: Vec<_> = founders
            .iter()
            .map(|(name, url)| format!("{name}={url}"))
            .collect();
        let cluster = InitialCluster::parse(&pairs.join(","), token)?;
        let mut first: Option<(DataDir, Seeded)> = None;
        for (name, url) in founders {
            let identity = cluster.clone().member(name, url)?;
            let data = DataDir::new(&dir.join(&name.0).join("data"))?;
            match &first {
                None => {
                    let seeded = self.restore(runtime, dir, &identity, &data)?;
                    first = Some((data, seeded));
                }
                Some((from, _)) => copy(from, &identity, &data)?,
            }
        }
        match first {
            Some((_, seeded)) => Ok(seeded),
            None => Err(IdentityError::Empty { flag: "members" }.into()),
        }
    }

    fn restore(
        &self,
        runtime: &Handle,
        spool: &Path,
        identity: &Identity,
        data: &DataDir,
    ) -> Result<Seeded, SeedError> {
        let began = Instant::now();
        let source = Source {
            runtime,
            location: &self.location,
            listing: &self.listing,
            begin: self.begin.clone(),
            loss: self.loss,
            spool,
        };
        let mut damaged = Vec::new();
        let mut progress = |now: Progress<'_>| match now {
            Progress::Damaged(key, why) => damaged.push((key.to_string(), why.to_owned())),
            Progress::Base(_) | Progress::Delta(..) | Progress::Bytes(_) => {}
        };
        let options = Options::default();
        let restored = restore(
            &source,
            identity,
            options,
            data,
            clock::now(),
            &mut progress,
        )?;
        Ok(Seeded {
            replayed: restored.replayed,
            damaged,
            restore_ms: u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX),
        })
    }
}

/// The same database for another member: it says who the members are, and not whose it is.
fn copy(from: &DataDir, identity: &Identity, to: &DataDir) -> Result<(), SeedError> {
    let building = to.begin()?;
    let path = from.database();
    let copied = std::fs::File::open(&path).and_then(|mut database| {
        let mut into = building.database();
        io::copy(&mut database, &mut into)?;
        into.rewind()
    });
    copied.map_err(|source| SeedError::Copy { path, source })?;
    building.finish(identity)?.swap_in(clock::now())?;
    Ok(())
}
