//! The command line: etcd-backup-restore's flags. Those of the store and of taking snapshots are with
//! the parts that they are for.

use std::path::PathBuf;

use clap::ArgAction::Set;
use druid_core::agent::argv::Ignored;
use druid_core::duration::GoDuration;

use super::snapshot_args::SnapshotArgs;
use crate::store::flags::StoreArgs;

/// Flags that etcd-backup-restore has and that have no effect here, as what they tune is not there.
pub(super) const IGNORED: [Ignored; 19] = [
    switch("enable-profiling"),
    value("log-level"),
    value("auto-compaction-mode"),
    value("auto-compaction-retention"),
    value("embedded-etcd-quota-bytes"),
    value("max-call-send-message-size"),
    value("max-request-bytes"),
    value("max-txn-ops"),
    value("initial-cluster"),
    value("initial-cluster-token"),
    value("initial-advertise-peer-urls"),
    value("name"),
    switch("skip-hash-check"),
    value("max-fetchers"),
    value("backoff-multiplier"),
    value("backoff-attempt-limit"),
    value("backoff-threshold-time"),
    value("metrics-scrape-wait-duration"),
    switch("defragment"),
];

const fn value(name: &'static str) -> Ignored {
    Ignored {
        name,
        takes_value: true,
    }
}

const fn switch(name: &'static str) -> Ignored {
    Ignored {
        name,
        takes_value: false,
    }
}

/// Look after the data of one etcd member: check it before etcd starts, back it up, defragment, tell who leads.
#[derive(Clone, Debug, clap::Args)]
#[expect(clippy::struct_excessive_bools, reason = "flags of another program")]
pub(crate) struct Args {
    /// The client URL of the member beside us; of several the first counts
    #[arg(
        short,
        long,
        default_value = "http://127.0.0.1:2379",
        value_delimiter = ',',
        value_name = "URL"
    )]
    pub(super) endpoints: Vec<String>,
    /// Client URLs of the cluster; those of the mounted configuration if not given
    #[arg(long, value_delimiter = ',', value_name = "URL")]
    pub(super) service_endpoints: Vec<String>,
    /// The CA of the members' client addresses, PEM
    #[arg(long, value_name = "FILE")]
    pub(super) cacert: Option<PathBuf>,
    /// Our certificate for them, PEM
    #[arg(long, value_name = "FILE")]
    pub(super) cert: Option<PathBuf>,
    /// Its key, PEM
    #[arg(long, value_name = "FILE")]
    pub(super) key: Option<PathBuf>,
    /// Accepted; the scheme of --endpoints decides
    #[arg(long, num_args = 0..=1, require_equals = true, default_value_t = true,
        default_missing_value = "true", action = Set, value_name = "BOOL")]
    pub(super) insecure_transport: bool,
    /// Accepted; certificates are always verified
    #[arg(long, num_args = 0..=1, require_equals = true, default_value_t = false,
        default_missing_value = "true", action = Set, value_name = "BOOL")]
    pub(super) insecure_skip_tls_verify: bool,
    /// How long a heartbeat or a delegated request may take
    #[arg(long, default_value = "30s", value_name = "DURATION")]
    pub(super) etcd_connection_timeout: GoDuration,
    /// How long the defragmentation of one member may take
    #[arg(long, default_value = "8m", value_name = "DURATION")]
    pub(super) etcd_defrag_timeout: GoDuration,
    /// Between two looks at who leads
    #[arg(long, default_value = "5s", value_name = "DURATION")]
    pub(super) reelection_period: GoDuration,
    /// How long such a look may take
    #[arg(long, default_value = "5s", value_name = "DURATION")]
    pub(super) etcd_connection_timeout_leader_election: GoDuration,
    /// The port to serve on
    #[arg(short = 'p', long, default_value_t = 8080, value_name = "PORT")]
    pub(super) server_port: u16,
    /// The certificate to serve with, PEM; read again when it changes
    #[arg(long, value_name = "FILE", requires = "server_key")]
    pub(super) server_cert: Option<PathBuf>,
    /// Its key, PEM
    #[arg(long, value_name = "FILE", requires = "server_cert")]
    pub(super) server_key: Option<PathBuf>,
    /// The member's data directory
    #[arg(short, long, default_value = "default.etcd", value_name = "DIRECTORY")]
    pub(super) data_dir: PathBuf,
    /// When to defragment, as five fields of cron, local time
    #[arg(long, default_value = "0 0 */3 * *", value_name = "CRON")]
    pub(super) defragmentation_schedule: String,
    /// Whether to tell who this member is in its Kubernetes lease
    #[arg(long, num_args = 0..=1, require_equals = true, default_value_t = false,
        default_missing_value = "true", action = Set, value_name = "BOOL")]
    pub(super) enable_member_lease_renewal: bool,
    /// How often
    #[arg(long, default_value = "30s", value_name = "DURATION")]
    pub(super) k8s_heartbeat_duration: GoDuration,
    /// Whether to tell of snapshots in their Kubernetes leases
    #[arg(long, num_args = 0..=1, require_equals = true, default_value_t = false,
        default_missing_value = "true", action = Set, value_name = "BOOL")]
    pub(super) enable_snapshot_lease_renewal: bool,
    /// The lease of full snapshots
    #[arg(long, default_value = "full-snapshot-revisions", value_name = "NAME")]
    pub(super) full_snapshot_lease_name: String,
    /// The lease of deltas
    #[arg(long, default_value = "delta-snapshot-revisions", value_name = "NAME")]
    pub(super) delta_snapshot_lease_name: String,
    /// Whether etcd is run by etcd-wrapper, or `druid start-etcd`, and can be restarted through it
    #[arg(long, num_args = 0..=1, require_equals = true, default_value_t = false,
        default_missing_value = "true", action = Set, value_name = "BOOL")]
    pub(super) use_etcd_wrapper: bool,
    /// Let a member whose data is broken begin anew where the store is empty
    #[arg(long)]
    pub(super) accept_empty_store: bool,
    /// The user of etcd that it is asked as, which needs the role root
    #[arg(long, value_name = "NAME")]
    pub(super) etcd_username: Option<String>,
    /// Its password
    #[arg(long, value_name = "PASSWORD")]
    pub(super) etcd_password: Option<String>,
    #[command(flatten)]
    pub(super) snapshots: SnapshotArgs,
    #[command(flatten)]
    pub(super) store: StoreArgs,
}
