//! What an Etcd asks for, in types that cannot be wrong. Made by [`Spec::parse`]; everything that
//! is rendered is rendered from it.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Affinity, ResourceRequirements, TopologySpreadConstraint};

use super::problem::{Notice, Problems};
use super::store::Store;
use crate::duration::GoDuration;
use crate::quantity::Quantity;

/// What an Etcd asks for.
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a wish of its own, and none excludes another"
)]
#[derive(Clone, Debug, PartialEq)]
pub struct Spec {
    /// Who it is.
    pub identity: Identity,
    /// The number of members; 0 is hibernation.
    pub replicas: u16,
    /// Whether anything but the `ConfigMap` and a StatefulSet without replicas is wanted.
    pub runtime_components: bool,
    /// Whether the spec is to be left alone.
    pub suspended: bool,
    /// Whether pods that are not ready may be evicted whatever the budget says.
    pub unhealthy_eviction: bool,
    /// What the names of all members begin with.
    pub member_prefix: Option<String>,
    /// The ports.
    pub ports: Ports,
    /// What etcd is configured with.
    pub config: Config,
    /// The Service for clients.
    pub client_service: ClientService,
    /// Whether there are backups. Where they are is in [`Pods::store`].
    pub has_store: bool,
    /// The pods. An Etcd whose pods cannot be has its other objects all the same, so that what
    /// runs already goes on.
    pub pods: Result<Pods, Problems>,
    /// How it takes part in upgrades.
    pub upgrade: UpgradeWish,
    /// What is hardly meant.
    pub notices: Vec<Notice>,
}

/// Who owns what is rendered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Its name.
    pub name: String,
    /// Its namespace.
    pub namespace: String,
    /// Its uid.
    pub uid: String,
}

/// The ports of a pod, each another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ports {
    /// For clients.
    pub client: u16,
    /// For peers.
    pub peer: u16,
    /// Of the container that runs etcd.
    pub wrapper: u16,
    /// Of the sidecar.
    pub backup: u16,
}

/// What etcd is configured with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The key of the authority's certificate, if clients speak TLS.
    pub client_ca: Option<String>,
    /// The certificates between members, if they speak TLS.
    pub peer_ca: Option<PeerCa>,
    /// More addresses of members, by their names.
    pub additional_peer_urls: BTreeMap<String, Vec<String>>,
    /// `periodic` or `revision`.
    pub auto_compaction_mode: String,
    /// How much of the history is kept.
    pub auto_compaction_retention: String,
    /// How the database keeps its list of free pages: `array` or `map`.
    pub freelist_type: String,
    /// Whether etcd answers JSON too.
    pub grpc_gateway: bool,
    /// `basic` or `extensive`.
    pub metrics: String,
    /// The largest size of the database, bytes.
    pub quota: i64,
    /// After how many entries raft takes a snapshot.
    pub snapshot_count: i64,
}

/// The certificates between members.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerCa {
    /// The key of the authority's certificate.
    pub key: String,
    /// Whether a member takes another's certificate whatever address it is for.
    pub skip_san_verification: bool,
}

/// The Service for clients.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientService {
    /// Its annotations.
    pub annotations: Option<BTreeMap<String, String>>,
    /// Its labels, beyond those of every object.
    pub labels: BTreeMap<String, String>,
    /// Which members clients are led to first.
    pub traffic_distribution: Option<String>,
}

/// How an Etcd takes part in upgrades.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UpgradeWish {
    /// Whether it is to be on the next release; without it, the feature gate says so.
    pub enabled: Option<bool>,
    /// Touch no further member.
    pub paused: bool,
    /// Leave the last member on the old release.
    pub hold_last: bool,
}

/// The pods.
#[derive(Clone, Debug, PartialEq)]
pub struct Pods {
    /// Their labels.
    pub labels: BTreeMap<String, String>,
    /// Their annotations.
    pub annotations: BTreeMap<String, String>,
    /// The image of etcd, if it is not that of the image vector.
    pub etcd_image: Option<String>,
    /// The image of the sidecar, if it is not that of the image vector.
    pub backup_image: Option<String>,
    /// What the container of etcd needs and may use.
    pub etcd_resources: ResourceRequirements,
    /// What the sidecar needs and may use.
    pub backup_resources: ResourceRequirements,
    /// Certificates between clients and members.
    pub client_tls: Option<Tls>,
    /// Certificates between members.
    pub peer_tls: Option<PeerTls>,
    /// Certificates between the sidecar and whoever calls it.
    pub backup_tls: Option<Tls>,
    /// Where backups are kept.
    pub store: Option<Store>,
    /// What the sidecar is started with.
    pub sidecar: Sidecar,
    /// The volume of each member.
    pub volume: Volume,
    /// Where pods may run.
    pub affinity: Option<Affinity>,
    /// Where pods may run.
    pub topology_spread_constraints: Option<Vec<TopologySpreadConstraint>>,
    /// Their priority.
    pub priority_class: Option<String>,
    /// As whom their containers run.
    pub user: User,
    /// The making of one snapshot out of many.
    pub compaction: Compaction,
}

/// As whom containers run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum User {
    /// 65532.
    Nonroot,
    /// 0.
    Root,
}

/// Certificates, by the Secrets that they are in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tls {
    /// Who signed them.
    pub ca: Ca,
    /// The Secret of the server's own.
    pub server: String,
    /// The Secret of the client's own.
    pub client: String,
}

/// Certificates between members, by the Secrets that they are in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerTls {
    /// Who signed them.
    pub ca: Ca,
    /// The Secret of each member's own.
    pub server: String,
}

/// The certificate of an authority.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ca {
    /// The Secret.
    pub secret: String,
    /// The key in it.
    pub key: String,
}

/// The volume of each member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Volume {
    /// Its name.
    pub template: String,
    /// Its size.
    pub capacity: Quantity,
    /// Its class; without it, the default of the Kubernetes cluster.
    pub class: Option<String>,
}

/// What the sidecar is started with. What is not given is left to it, or is its default as
/// etcd-druid writes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sidecar {
    /// When full snapshots are taken.
    pub full_snapshot_schedule: Option<String>,
    /// How often delta snapshots are taken.
    pub delta_snapshot_period: Option<GoDuration>,
    /// How long delta snapshots are kept.
    pub delta_snapshot_retention_period: Option<GoDuration>,
    /// At which size a delta snapshot is taken before its time, bytes.
    pub delta_snapshot_memory_limit: i64,
    /// Which old snapshots are kept.
    pub garbage_collection: GarbageCollection,
    /// How often old snapshots are looked for.
    pub garbage_collection_period: Option<GoDuration>,
    /// Whether snapshots are packed.
    pub compress: bool,
    /// How: `gzip`, `lzw` or `zlib`.
    pub compression_policy: String,
    /// How long a full snapshot may take.
    pub snapshot_timeout: Option<GoDuration>,
    /// When members are defragmented.
    pub defragmentation_schedule: Option<String>,
    /// How long a defragmentation may take.
    pub defragmentation_timeout: Option<GoDuration>,
    /// How often each member renews its lease.
    pub heartbeat: Option<GoDuration>,
    /// Whether it serves profiles of itself.
    pub profiling: bool,
    /// How long an etcd may take to answer when the sidecars find out who takes snapshots.
    pub leader_election_timeout: Option<GoDuration>,
    /// How often they do.
    pub reelection_period: Option<GoDuration>,
}

/// Which old snapshots are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GarbageCollection {
    /// Fewer, the older they are.
    Exponential,
    /// So many of the newest.
    LimitBased {
        /// How many.
        backups: i64,
    },
}

/// The making of one snapshot out of many.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Compaction {
    /// The CPU that it asks for.
    pub cpu: Quantity,
    /// The memory that it asks for.
    pub memory: Quantity,
    /// After how many revisions, if not as the operator is configured.
    pub events_threshold: Option<i64>,
    /// After how many revisions a full snapshot is taken instead, if not as the operator is
    /// configured.
    pub full_snapshot_threshold: Option<i64>,
}

impl Spec {
    /// The name of a pod.
    pub fn pod(&self, ordinal: u16) -> String {
        format!("{}-{ordinal}", self.identity.name)
    }

    /// The name of the member in a pod.
    pub fn member(&self, ordinal: u16) -> String {
        let pod = self.pod(ordinal);
        match &self.member_prefix {
            Some(prefix) => format!("{prefix}-{pod}"),
            None => pod,
        }
    }

    /// The names of all members that are wanted.
    pub fn members(&self) -> impl Iterator<Item = String> {
        (0..self.replicas).map(|ordinal| self.member(ordinal))
    }

    /// How many members are to run: none while it is hibernated.
    pub fn running(&self) -> u16 {
        if self.runtime_components {
            self.replicas
        } else {
            0
        }
    }

    /// How many members make a majority.
    pub fn quorum(&self) -> u16 {
        self.replicas / 2 + 1
    }
}

impl Identity {
    /// The Service for clients.
    pub fn client_service(&self) -> String {
        format!("{}-client", self.name)
    }

    /// The Service for peers.
    pub fn peer_service(&self) -> String {
        format!("{}-peer", self.name)
    }

    /// The `ConfigMap`.
    pub fn config_map(&self) -> String {
        format!("{}-config", self.name)
    }

    /// The Role and its binding.
    pub fn role(&self) -> String {
        format!("druid.gardener.cloud:etcd:{}", self.name)
    }

    /// The lease that tells of full snapshots.
    pub fn full_snapshot_lease(&self) -> String {
        format!("{}-full-snap", self.name)
    }

    /// The lease that tells of delta snapshots.
    pub fn delta_snapshot_lease(&self) -> String {
        format!("{}-delta-snap", self.name)
    }

    /// The Job that makes one snapshot out of many.
    pub fn compaction_job(&self) -> String {
        format!("{}-compactor", self.name)
    }

    /// By what name the containers of a pod call each other.
    pub(super) fn local_host(&self) -> String {
        format!("{}-local", self.name)
    }
}
