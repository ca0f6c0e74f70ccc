//! The command line of `druid rehearse`.

use std::path::PathBuf;

use clap::ValueEnum;
use druid_core::version::Version;

use super::faults::Fault;
use crate::lab::binaries::EtcdAt;
use crate::lab::cluster::Size;
use crate::lab::config::Tuning;

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
  druid rehearse --etcd-dir /opt/etcd --from-store /backups/etcd-main
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
    /// Hold it on a backup: the directory that v2/ is in, or `PROVIDER://CONTAINER/PREFIX`
    ///
    /// The newest full snapshot and the deltas after it are restored into the throwaway cluster, and
    /// the keys in them have to be there, unchanged, after each pass. The store is only read.
    /// Credentials come from the environment as for etcd-backup-restore, for example
    /// `AWS_APPLICATION_CREDENTIALS=DIRECTORY`.
    #[arg(long, value_name = "STORE")]
    pub(super) from_store: Option<String>,
    /// Another address of the store's provider: S3, ABS and GCS.
    #[arg(
        long,
        value_name = "URL",
        default_value = "",
        hide_default_value = true,
        requires = "from_store"
    )]
    pub(super) store_endpoint_override: String,
    /// Begin with this full snapshot, not with the newest.
    #[arg(long, value_name = "NAME", requires = "from_store")]
    pub(super) base: Option<String>,
    /// Take what can be restored, even if the store had more.
    #[arg(long, requires = "from_store")]
    pub(super) accept_loss: bool,
    /// The quota of the members' databases, bytes: give the one of your cluster.
    ///
    /// 2 GiB if left out, as etcd has it, and 8 GiB with --from-store, as etcd-druid has it.
    #[arg(long, value_name = "BYTES", value_parser = clap::value_parser!(u64).range(16 << 20..))]
    pub(super) quota_backend_bytes: Option<u64>,
    /// How many keys to fill the cluster with before the load begins.
    ///
    /// 5000 if left out, and none with --from-store.
    #[arg(long, value_name = "N")]
    pub(super) keys: Option<u32>,
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

    /// How many keys to fill in; `None` for no filling at all.
    pub(super) fn keys(&self) -> Option<u32> {
        match (self.keys, &self.from_store) {
            (Some(keys), _) => Some(keys),
            (None, None) => Some(5_000),
            (None, Some(_)) => None,
        }
    }

    /// The quota of the members' databases, bytes.
    pub(super) fn quota(&self) -> u64 {
        match (self.quota_backend_bytes, &self.from_store) {
            (Some(quota), _) => quota,
            (None, None) => Tuning::default().quota_backend_bytes,
            (None, Some(_)) => 8 << 30,
        }
    }

    /// The command line that does the same again.
    pub(super) fn command(&self, seed: u64) -> String {
        let mut words = vec![format!(
            "druid rehearse --from {} --to {} --members {}",
            self.from, self.to, self.members
        )];
        words.extend(
            self.from_store
                .as_ref()
                .map(|store| format!("--from-store {store}")),
        );
        let endpoint = Some(&self.store_endpoint_override).filter(|it| !it.is_empty());
        words.extend(endpoint.map(|url| format!("--store-endpoint-override {url}")));
        words.extend(self.base.as_ref().map(|name| format!("--base {name}")));
        words.extend(self.accept_loss.then(|| "--accept-loss".to_owned()));
        words.extend(
            self.quota_backend_bytes
                .map(|n| format!("--quota-backend-bytes {n}")),
        );
        words.extend(
            self.keys()
                .map(|n| format!("--keys {n} --value-size {}", self.value_size)),
        );
        words.push(format!("--seed {seed}"));
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
