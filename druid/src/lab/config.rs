//! The configuration file of a member. The same bytes are valid for every release from 3.4 to 3.6,
//! so that a member may be started as any of them at any time: etcd ignores keys of a file that it
//! does not know, and would exit on such flags.

use std::path::Path;
use std::time::Duration;

use druid_core::member::MemberName;
use serde::Serialize;

use super::ports::Addresses;

/// Part of what the numbers of the members and of the cluster come from.
pub(super) const TOKEN: &str = "druid-rehearsal";

/// What may be chosen.
#[derive(Clone, Debug)]
pub(crate) struct Tuning {
    /// Applied entries between two raft snapshots.
    pub(crate) snapshot_count: u64,
    /// The largest size of the database, bytes.
    pub(crate) quota_backend_bytes: u64,
    /// Between two heartbeats of the leader.
    pub(crate) heartbeat: Duration,
    /// How long a follower waits for one before it stands for election.
    pub(crate) election: Duration,
    /// Whether a member compares its data with the others' before it serves.
    pub(crate) initial_corrupt_check: bool,
}

impl Default for Tuning {
    fn default() -> Self {
        Self {
            snapshot_count: 10_000,
            quota_backend_bytes: 2 * 1024 * 1024 * 1024,
            heartbeat: Duration::from_millis(100),
            election: Duration::from_secs(1),
            initial_corrupt_check: true,
        }
    }
}

/// How a member comes to its cluster.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Joins {
    /// It is one of the founders.
    New,
    /// It was added to the member list of a running one.
    Existing,
}

/// A configuration file.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
#[expect(
    clippy::struct_excessive_bools,
    reason = "the file is etcd's, not ours"
)]
pub(crate) struct Config<'a> {
    name: &'a str,
    data_dir: &'a Path,
    listen_client_urls: String,
    advertise_client_urls: String,
    listen_peer_urls: String,
    initial_advertise_peer_urls: String,
    initial_cluster: &'a str,
    initial_cluster_state: Joins,
    initial_cluster_token: &'static str,
    heartbeat_interval: u64,
    election_timeout: u64,
    snapshot_count: u64,
    quota_backend_bytes: u64,
    logger: &'static str,
    log_level: &'static str,
    enable_grpc_gateway: bool,
    log_outputs: [&'static str; 1],
    pre_vote: bool,
    /// 3.4 only; without it a 3.4 refuses to start where a 3.5 has been.
    next_cluster_version_compatible: bool,
    /// The two spellings of one key: a default that changed in 3.5 made databases grow.
    experimental_backend_bbolt_freelist_type: &'static str,
    backend_bbolt_freelist_type: &'static str,
    experimental_initial_corrupt_check: bool,
}

impl<'a> Config<'a> {
    /// `initial_cluster` is `NAME=PEER_URL,...`.
    pub(crate) fn new(
        name: &'a MemberName,
        data_dir: &'a Path,
        addresses: &Addresses,
        initial_cluster: &'a str,
        joins: Joins,
        tuning: &Tuning,
    ) -> Self {
        Self {
            name: &name.0,
            data_dir,
            listen_client_urls: addresses.client_url(),
            advertise_client_urls: addresses.client_url(),
            listen_peer_urls: addresses.peer_url(),
            initial_advertise_peer_urls: addresses.peer_url(),
            initial_cluster,
            initial_cluster_state: joins,
            initial_cluster_token: TOKEN,
            heartbeat_interval: millis(tuning.heartbeat),
            election_timeout: millis(tuning.election),
            snapshot_count: tuning.snapshot_count,
            quota_backend_bytes: tuning.quota_backend_bytes,
            logger: "zap",
            log_level: "info",
            // Off by default when there is a file, on when there are flags.
            enable_grpc_gateway: true,
            log_outputs: ["stderr"],
            pre_vote: true,
            next_cluster_version_compatible: true,
            experimental_backend_bbolt_freelist_type: "array",
            backend_bbolt_freelist_type: "array",
            experimental_initial_corrupt_check: tuning.initial_corrupt_check,
        }
    }

    /// JSON, which is YAML: etcd reads the file as YAML.
    pub(crate) fn to_yaml(&self) -> serde_json::Result<String> {
        serde_json::to_string_pretty(self)
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
