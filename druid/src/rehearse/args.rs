//! The command line of `druid rehearse`.

use std::path::PathBuf;

use clap::ValueEnum;
use druid_core::version::Version;

use super::faults::Fault;
use crate::lab::binaries::EtcdAt;
use crate::lab::cluster::Size;

/// Rehearse an upgrade and the way back, on a throwaway cluster of real etcd processes.
///
/// Starts a cluster on this machine, fills it, and keeps writers, readers and watchers at work
/// while the engine that upgrades production takes it to --to, back to --from, and to --to again.
/// Then checks that every acknowledged write is there, that no watch missed or repeated an event,
/// that the recorded history is linearizable and that all members hold the same data. Nothing
/// outside a temporary directory and free loopback ports is touched.
#[derive(Clone, Debug, clap::Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of its own")]
#[command(after_long_help = "\
Exit codes: 0 passed, 1 could not be held, 2 a promise was broken, 3 refused, 4 halted or put back \
as promised, 64 wrong usage, 130 interrupted.

Examples:
  druid rehearse --etcd 3.4.34=/opt/etcd-3.4.34/etcd --etcd 3.5.27=/opt/etcd-3.5.27/etcd
  druid rehearse --etcd-dir /opt/etcd --fault kill-leader --fault kill-engine --report /tmp/report
  druid rehearse --etcd-dir /opt/etcd --members 5 --hold-last --stop-after rollback")]
pub(crate) struct Args {
    /// The release that the cluster starts on.
    #[arg(long, value_name = "VERSION", default_value = "3.4.34")]
    pub(super) from: Version,
    /// The release that it is upgraded to.
    #[arg(long, value_name = "VERSION", default_value = "3.5.27")]
    pub(super) to: Version,
    /// How many members: 1, 3 or 5.
    #[arg(long, value_name = "N", default_value = "3")]
    pub(super) members: Size,
    /// How many keys to fill the cluster with before the load begins.
    #[arg(long, value_name = "N", default_value_t = 5_000)]
    pub(super) keys: u32,
    /// The size of their values, bytes.
    #[arg(long, value_name = "BYTES", default_value_t = 256,
          value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub(super) value_size: u32,
    /// Hold it under this fault. May be given several times.
    #[arg(long, value_name = "NAME", value_enum)]
    pub(super) fault: Vec<Fault>,
    /// Hold the last member on the old release when upgrading: until it goes, the way back is a
    /// swap of binaries.
    #[arg(long)]
    pub(super) hold_last: bool,
    /// Upgrade only so many members.
    #[arg(long, value_name = "N")]
    pub(super) pause_after: Option<usize>,
    /// Do not go on after the first upgrade, or after the way back.
    #[arg(long, value_name = "STEP", value_enum)]
    pub(super) stop_after: Option<StopAfter>,
    /// Makes every random choice repeatable. Taken from the clock if it is not given.
    #[arg(long, value_name = "N")]
    pub(super) seed: Option<u64>,
    /// Write report.json and report.html into this directory; it is made if it is not there.
    #[arg(long, value_name = "DIR")]
    pub(super) report: Option<PathBuf>,
    /// The binary of a release. May be given several times.
    #[arg(long, value_name = "VERSION=PATH")]
    pub(super) etcd: Vec<EtcdAt>,
    /// A directory that holds binaries named etcd-VERSION.
    #[arg(long, value_name = "DIR")]
    pub(super) etcd_dir: Option<PathBuf>,
    /// Where to make the temporary directory. The system's place for such things if not given.
    #[arg(long, value_name = "DIR")]
    pub(super) dir: Option<PathBuf>,
    /// Keep the temporary directory, with the members' data and logs.
    #[arg(long)]
    pub(super) keep: bool,
    /// Say nothing until the verdict.
    #[arg(long, short)]
    pub(super) quiet: bool,
    /// Roll like a StatefulSet does: highest ordinal first, no check but /readyz, no snapshot, no
    /// hand-over of the leadership. What the benchmark compares with.
    #[arg(long, hide = true)]
    pub(super) naive_roll: bool,
}

/// Where to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum StopAfter {
    /// After the first upgrade.
    Upgrade,
    /// After the way back.
    Rollback,
}

impl Args {
    pub(super) fn has(&self, fault: Fault) -> bool {
        self.fault.contains(&fault)
    }

    /// The command line that does the same again.
    pub(super) fn command(&self, seed: u64) -> String {
        let mut words = vec![format!(
            "druid rehearse --from {} --to {} --members {} --keys {} --value-size {} --seed {seed}",
            self.from, self.to, self.members, self.keys, self.value_size
        )];
        words.extend(
            self.fault
                .iter()
                .map(|fault| format!("--fault {}", fault.name())),
        );
        words.extend(self.hold_last.then(|| "--hold-last".to_owned()));
        words.extend(self.pause_after.map(|n| format!("--pause-after {n}")));
        words.extend(self.stop_after.map(|stop| {
            let word = match stop {
                StopAfter::Upgrade => "upgrade",
                StopAfter::Rollback => "rollback",
            };
            format!("--stop-after {word}")
        }));
        words.join(" ")
    }
}
