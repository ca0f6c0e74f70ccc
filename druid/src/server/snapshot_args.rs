//! The flags of taking snapshots and of keeping them.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::thread::available_parallelism;
use std::time::Duration;

use clap::ArgAction::Set;
use clap::ValueEnum;
use druid_core::backup::leftovers::Parts;
use druid_core::backup::names::Prefix;
use druid_core::backup::retention::{self, Fulls};
use druid_core::backup::snapshotter::{Backoff, Config};
use druid_core::duration::GoDuration;
use jiff::{SignedDuration, Timestamp};
use thiserror::Error;

use crate::backup::codec::Packing;
use crate::backup::schedule::{CronSchedule, ScheduleError};
use crate::backup::snapshots::Options;
use crate::store::flags::Provider;

/// How backups are taken and kept.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Snapshots")]
pub(crate) struct SnapshotArgs {
    /// When to take full snapshots, as five fields of cron, UTC
    #[arg(short, long, default_value = "0 */1 * * *", value_name = "CRON")]
    pub(crate) schedule: String,
    /// Between two deltas; less than 1s takes none
    #[arg(long, default_value = "20s", value_name = "DURATION")]
    pub(crate) delta_snapshot_period: GoDuration,
    /// A delta of so many bytes, unpacked, is not waited for
    #[arg(
        long,
        default_value_t = 10_485_760,
        allow_negative_numbers = true,
        value_name = "BYTES"
    )]
    pub(crate) delta_snapshot_memory_limit: i64,
    /// How long deltas are kept after a newer full snapshot
    #[arg(long, default_value = "0s", value_name = "DURATION")]
    pub(crate) delta_snapshot_retention_period: GoDuration,
    /// Between two rounds of garbage collection; 1s or less collects nothing
    #[arg(long, default_value = "1m", value_name = "DURATION")]
    pub(crate) garbage_collection_period: GoDuration,
    /// Which full snapshots are kept
    #[arg(long, value_enum, default_value = "Exponential", value_name = "POLICY")]
    pub(crate) garbage_collection_policy: Policy,
    /// How many full snapshots are kept, with `LimitBased`
    #[arg(short, long, default_value_t = 7, value_name = "COUNT")]
    pub(crate) max_backups: u32,
    /// Whether snapshots are compressed
    #[arg(long, num_args = 0..=1, require_equals = true, default_value_t = true,
        default_missing_value = "true", action = Set, value_name = "BOOL")]
    pub(crate) compress_snapshots: bool,
    /// How; lzw is only read, and gzip is written for it
    #[arg(long, default_value = "gzip", value_parser = ["gzip", "lzw", "zlib"], value_name = "CODEC")]
    pub(crate) compression_policy: String,
    /// How long a full snapshot may take
    #[arg(long, default_value = "15m", value_name = "DURATION")]
    pub(crate) etcd_snapshot_timeout: GoDuration,
    /// Where a restore unpacks a full snapshot, in a file without a name
    #[arg(
        long,
        default_value = "default.restoration.tmp",
        value_name = "DIRECTORY"
    )]
    pub(crate) restoration_temp_snapshots_dir: PathBuf,
}

/// `--garbage-collection-policy`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Policy {
    /// All of the last hour, then one an hour, a day, a week
    #[value(name = "Exponential")]
    Exponential,
    /// The newest so many
    #[value(name = "LimitBased")]
    LimitBased,
}

/// Why they cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub(crate) enum SnapshotArgsError {
    /// No schedule.
    #[error(transparent)]
    Schedule(#[from] ScheduleError),
    /// Nothing would be kept.
    #[error("--max-backups is 0: give 1 or more, or --garbage-collection-policy=Exponential")]
    NoBackups,
}

/// Periods below it, or up to it, are "off".
const SECOND: Duration = Duration::from_secs(1);
/// A full snapshot is packed by so many threads at most: the store and etcd need the rest.
const THREADS: usize = 4;
/// What a limit that is none stands for, as for etcd-backup-restore.
const DELTA_LIMIT: u64 = 10 << 20;

impl SnapshotArgs {
    /// What new snapshots are written in. Reading takes every codec.
    pub(crate) fn packing(&self) -> Packing {
        match (self.compress_snapshots, self.compression_policy.as_str()) {
            (false, _) => Packing::Plain,
            (true, "zlib") => Packing::Zlib,
            (true, "lzw") => {
                tracing::warn!("--compression-policy lzw is only read: gzip is written instead");
                Packing::Gzip
            }
            (true, _) => Packing::Gzip,
        }
    }

    /// Periods and limits.
    pub(crate) fn config(&self) -> Config {
        let delta = self.delta_snapshot_period.0;
        let collection = self.garbage_collection_period.0;
        let limit = u64::try_from(self.delta_snapshot_memory_limit).ok();
        Config {
            delta_period: (delta >= SECOND).then(|| signed(delta)),
            delta_limit: limit.filter(|it| *it > 0).unwrap_or(DELTA_LIMIT),
            collection_period: (collection > SECOND).then(|| signed(collection)),
            backoff: Backoff::default(),
        }
    }

    /// What is kept.
    pub(crate) fn retention(&self) -> Result<retention::Policy, SnapshotArgsError> {
        let fulls = match self.garbage_collection_policy {
            Policy::Exponential => Fulls::Exponential,
            Policy::LimitBased => {
                let limit = usize::try_from(self.max_backups).ok();
                let limit = limit.and_then(NonZeroUsize::new);
                Fulls::LimitBased(limit.ok_or(SnapshotArgsError::NoBackups)?)
            }
        };
        Ok(retention::Policy {
            fulls,
            deltas: signed(self.delta_snapshot_retention_period.0),
        })
    }

    /// Everything that the snapshotter has to know.
    pub(crate) fn options(
        &self,
        provider: Provider,
        prefix: Prefix,
        temporary: PathBuf,
        now: Timestamp,
    ) -> Result<Options, SnapshotArgsError> {
        Ok(Options {
            config: self.config(),
            schedule: self.schedule(now)?,
            prefix,
            packing: self.packing(),
            threads: available_parallelism().map_or(1, |it| it.get().min(THREADS)),
            temporary,
            snapshot_timeout: self.etcd_snapshot_timeout.0,
            retention: self.retention()?,
            parts: match provider {
                // The object of Swift is a list of its segments.
                Provider::Swift => Parts::Content,
                Provider::Local
                | Provider::S3
                | Provider::Abs
                | Provider::Gcs
                | Provider::Oss
                | Provider::Ecs
                | Provider::Ocs => Parts::Copied,
            },
        })
    }

    /// When full snapshots are due.
    pub(crate) fn schedule(&self, now: Timestamp) -> Result<CronSchedule, SnapshotArgsError> {
        Ok(CronSchedule::parse(&self.schedule, now)?)
    }
}

fn signed(length: Duration) -> SignedDuration {
    SignedDuration::try_from(length).unwrap_or(SignedDuration::MAX)
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    #[derive(clap::Parser)]
    struct Cli {
        #[command(flatten)]
        args: SnapshotArgs,
    }

    fn read(words: &[&str]) -> SnapshotArgs {
        let words = std::iter::once(&"druid").chain(words);
        Cli::try_parse_from(words).unwrap().args
    }

    #[test]
    fn defaults_are_those_of_etcd_backup_restore() {
        let args = read(&[]);
        let expected = Config {
            delta_period: Some(SignedDuration::from_secs(20)),
            delta_limit: 10 << 20,
            collection_period: Some(SignedDuration::from_mins(1)),
            backoff: Backoff::default(),
        };
        assert_eq!(args.config(), expected);
        assert_eq!(args.packing(), Packing::Gzip);
        assert_eq!(args.retention().unwrap().fulls, Fulls::Exponential);
        assert!(
            args.schedule("2026-03-01T00:00:00Z".parse().unwrap())
                .is_ok()
        );
    }

    #[test]
    fn short_periods_are_off_and_no_limit_is_the_default_one() {
        let args = read(&[
            "--delta-snapshot-period=900ms",
            "--garbage-collection-period=1s",
            "--delta-snapshot-memory-limit=-1",
        ]);
        let config = args.config();
        assert_eq!(
            (config.delta_period, config.collection_period),
            (None, None)
        );
        assert_eq!(config.delta_limit, 10 << 20);
        let one = read(&["--delta-snapshot-period=1s"]).config();
        assert_eq!(one.delta_period, Some(SignedDuration::from_secs(1)));
    }

    #[test]
    fn policies_are_taken_as_they_are_or_refused_with_a_remedy() {
        let limited = ["--garbage-collection-policy=LimitBased", "--max-backups=2"];
        let limit = NonZeroUsize::new(2).unwrap();
        let policy = read(&limited).retention().unwrap();
        assert_eq!(policy.fulls, Fulls::LimitBased(limit));
        let none = ["--garbage-collection-policy=LimitBased", "-m", "0"];
        let refused = read(&none).retention().unwrap_err();
        assert!(refused.to_string().contains("--max-backups"), "{refused}");
        for (words, packing) in [
            (&["--compression-policy=lzw"][..], Packing::Gzip),
            (&["--compression-policy=zlib"], Packing::Zlib),
            (
                &["--compression-policy=zlib", "--compress-snapshots=false"],
                Packing::Plain,
            ),
        ] {
            assert_eq!(read(words).packing(), packing, "{words:?}");
        }
    }
}
