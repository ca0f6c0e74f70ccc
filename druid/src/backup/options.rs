//! How to take snapshots, from the flags.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use druid_core::backup::leftovers::Parts;
use druid_core::backup::names::Prefix;
use druid_core::backup::retention::{Fulls, Policy};
use druid_core::backup::snapshotter::{Backoff, Config};
use druid_core::duration::GoDuration;
use jiff::{SignedDuration, Timestamp};
use thiserror::Error;

use super::codec::Packing;
use super::schedule::{CronSchedule, ScheduleError};
use super::snapshots::Options;
use crate::server::snapshot_args::{self, SnapshotArgs};
use crate::store::flags::Provider;

/// A flag that makes no sense.
#[derive(Debug, Error)]
pub(crate) enum OptionError {
    /// Not a schedule.
    #[error(transparent)]
    Schedule(#[from] ScheduleError),
    /// It would delete every backup.
    #[error("--max-backups is 0; give 1 or more")]
    NoBackups,
    /// Longer than can be counted.
    #[error("--{flag} {value} is too long")]
    TooLong {
        /// Which.
        flag: &'static str,
        /// What was given.
        value: GoDuration,
    },
}

/// Threads that pack a full snapshot.
const THREADS: usize = 2;
/// `--delta-snapshot-memory-limit`, if it is below 1.
const DELTA_LIMIT: u64 = 10 << 20;
/// Shorter ones switch it off, as for etcd-backup-restore.
const SHORTEST: Duration = Duration::from_secs(1);

/// The options of a snapshotter.
pub(crate) fn options(
    args: &SnapshotArgs,
    provider: Option<Provider>,
    prefix: Prefix,
    temporary: PathBuf,
    login: Option<(String, String)>,
    now: Timestamp,
) -> Result<Options, OptionError> {
    let signed = |flag, value: GoDuration| {
        SignedDuration::try_from(value.0).map_err(|_| OptionError::TooLong { flag, value })
    };
    let delta = args.delta_snapshot_period;
    let delta_period = (delta.0 >= SHORTEST).then(|| signed("delta-snapshot-period", delta));
    let collection = args.garbage_collection_period;
    let collection_period =
        (collection.0 > SHORTEST).then(|| signed("garbage-collection-period", collection));
    let most = usize::try_from(args.max_backups).ok();
    let limit = most.and_then(NonZeroUsize::new);
    let fulls = match args.garbage_collection_policy {
        snapshot_args::Policy::Exponential => Fulls::Exponential,
        snapshot_args::Policy::LimitBased => {
            Fulls::LimitBased(limit.ok_or(OptionError::NoBackups)?)
        }
    };
    let kept = args.delta_snapshot_retention_period;
    let limit = u64::try_from(args.delta_snapshot_memory_limit).ok();
    Ok(Options {
        config: Config {
            delta_period: delta_period.transpose()?,
            delta_limit: limit.filter(|it| *it > 0).unwrap_or(DELTA_LIMIT),
            collection_period: collection_period.transpose()?,
            backoff: Backoff::default(),
        },
        schedule: CronSchedule::parse(&args.schedule, now)?,
        prefix,
        packing: packing(args),
        threads: THREADS,
        temporary,
        snapshot_timeout: args.etcd_snapshot_timeout.0,
        retention: Policy {
            fulls,
            deltas: signed("delta-snapshot-retention-period", kept)?,
        },
        parts: match provider {
            // The object of Swift is a list of its segments.
            Some(Provider::Swift) => Parts::Content,
            Some(
                Provider::Local
                | Provider::S3
                | Provider::Abs
                | Provider::Gcs
                | Provider::Oss
                | Provider::Ecs
                | Provider::Ocs,
            )
            | None => Parts::Copied,
        },
        login,
    })
}

/// LZW is read and not written: whoever asks for it gets gzip, which every reader takes.
fn packing(args: &SnapshotArgs) -> Packing {
    match (args.compress_snapshots, args.compression_policy.as_str()) {
        (false, _) => Packing::Plain,
        (true, "zlib") => Packing::Zlib,
        (true, "lzw") => {
            tracing::warn!("--compression-policy lzw is only read; gzip is written");
            Packing::Gzip
        }
        (true, _) => Packing::Gzip,
    }
}
