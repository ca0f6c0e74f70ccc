//! The flags of taking snapshots and of keeping them.

use clap::ArgAction::Set;
use clap::ValueEnum;
use druid_core::backup::codec::Codec;
use druid_core::duration::GoDuration;

/// How backups are taken and kept.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Snapshots")]
pub(crate) struct SnapshotArgs {
    /// When to take full snapshots, as five fields of cron, local time
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
    /// How; only gzip is written
    #[arg(long, default_value = "gzip", value_parser = ["gzip", "lzw", "zlib"], value_name = "CODEC")]
    pub(crate) compression_policy: String,
    /// How long a full snapshot may take
    #[arg(long, default_value = "15m", value_name = "DURATION")]
    pub(crate) etcd_snapshot_timeout: GoDuration,
    /// A directory for a restore; emptied
    #[arg(
        long,
        default_value = "default.restoration.tmp",
        value_name = "DIRECTORY"
    )]
    pub(crate) restoration_temp_snapshots_dir: std::path::PathBuf,
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

impl SnapshotArgs {
    /// What new snapshots are written in. Reading takes every codec; writing another than gzip would
    /// gain nothing.
    #[expect(dead_code, reason = "whoever takes snapshots asks")]
    pub(crate) fn codec(&self) -> Codec {
        if self.compress_snapshots {
            Codec::Gzip
        } else {
            Codec::Plain
        }
    }
}
