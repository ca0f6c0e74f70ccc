//! What comes with a store: the parts that the flags ask for.

use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;
use tokio::task::JoinSet;

use super::Shared;
use super::args::Args;
use super::backups::{self, OfStore};
use super::counting;
use super::parts::Stored;
use super::snapshot_args::SnapshotArgsError;
use super::snapshots::{self, Deadlines, OfMember};
use super::verifier::Verifier;
use crate::backup::snapshots::{Options, start};
use crate::clock;
use crate::data_dir::DataDir;
use crate::store::Store;
use crate::store::credentials::Env;
use crate::store::digests::Digests;
use crate::store::flags::Provider;
use crate::store::location::{Location, OpenError};
use crate::store::renewing;

/// Why there is none.
#[derive(Debug, Error)]
pub(crate) enum StoredError {
    /// The store's flags.
    #[error(transparent)]
    Store(#[from] OpenError),
    /// The snapshots' flags.
    #[error(transparent)]
    Snapshots(#[from] SnapshotArgsError),
    /// The disk.
    #[error("--snapstore-temp-directory {0}")]
    Temporary(String),
}

/// Opens the store and starts what goes on beside. Nothing without `--storage-provider`. `end` is how
/// long the last delta may take.
pub(super) fn open(
    args: &Args,
    shared: &Shared,
    dir: DataDir,
    end: Duration,
    tasks: &mut JoinSet<()>,
) -> Result<Stored, StoredError> {
    let flags = args.store.flags();
    let Some(provider) = flags.provider else {
        tracing::info!("no store is configured: no snapshots are taken, and nothing is restored");
        return Ok(Stored::default());
    };
    let location = renewing::open(flags, Env::of_process())?;
    let options = options(args, provider, &location)?;
    backups::make(&options.temporary).map_err(StoredError::Temporary)?;
    tracing::info!(store = location.address, prefix = %location.prefix, "a store is configured");
    let clients = Arc::clone(&shared.clients);
    let etcd = Arc::new(move || clients.local());
    let digests = Arc::new(Digests::new(Arc::clone(&location.store)));
    let store: Arc<dyn Store> = digests.clone();
    let (handle, task) = start(options, etcd, store);
    tasks.spawn(snapshots::follow(handle.clone(), shared.leadership.clone()));
    tasks.spawn(counting::count(
        shared.numbers.clone(),
        handle.notices(),
        handle.state(),
    ));
    let deadlines = Deadlines {
        full: full_deadline(args),
        quick: args.etcd_connection_timeout.0,
        end,
    };
    let root = (provider == Provider::Local).then(|| location.address.clone());
    let prefix = location.prefix.clone();
    let spool = args.snapshots.restoration_temp_snapshots_dir.clone();
    let verifier = Verifier::new(location.clone(), spool);
    let snapshots = OfMember::new((handle, task), deadlines, prefix, root, digests, verifier);
    let backups = OfStore {
        location,
        dir,
        spool: args.snapshots.restoration_temp_snapshots_dir.clone(),
    };
    Ok(Stored {
        backups: Some(Arc::new(backups)),
        snapshots: Some(Arc::new(snapshots)),
    })
}

/// How long whoever asks for a full snapshot waits for it.
pub(crate) fn full_deadline(args: &Args) -> Duration {
    let snapshot = args.snapshots.etcd_snapshot_timeout.0;
    snapshot.max(args.etcd_connection_timeout.0)
}

fn options(args: &Args, provider: Provider, location: &Location) -> Result<Options, StoredError> {
    let temporary = args.store.temporary().to_owned();
    let prefix = location.prefix.clone();
    let now = clock::now();
    Ok(args.snapshots.options(provider, prefix, temporary, now)?)
}
