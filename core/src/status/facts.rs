//! What a status is made from.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};

use crate::api::EtcdStatus;
use crate::backup::snapshotter::Schedule;
use crate::member::MemberName;
use crate::observed::Etcd;

/// Everything that is known of an Etcd when its status is made.
#[derive(Clone, Debug, PartialEq)]
pub struct Facts {
    /// The namespace.
    pub namespace: String,
    /// The name of the Etcd.
    pub name: String,
    /// `metadata.generation` of the Etcd.
    pub generation: i64,
    /// `spec.replicas`; 0 is hibernation.
    pub replicas: u16,
    /// `spec.memberNamePrefix`.
    pub member_prefix: Option<String>,
    /// Whether anything but the `ConfigMap` and a StatefulSet without replicas is wanted. If not,
    /// the status stays as it is.
    pub runtime_components: bool,
    /// The backups; `None` without a store that has a provider.
    pub backup: Option<Backup>,
    /// The leases of members, by the member. One that does not exist is not in it.
    pub leases: BTreeMap<MemberName, MemberLease>,
    /// The StatefulSet; one that belongs to somebody else counts as missing.
    pub stateful_set: Sought<StatefulSet>,
    /// The pods of the StatefulSet, by name.
    pub pods: BTreeMap<String, Pod>,
    /// The claims of the StatefulSet that are not bound, by name, with the warnings about them.
    /// `Missing` is as good as none.
    pub claims: Sought<BTreeMap<String, Vec<ClaimWarning>>>,
    /// What the members answered just now, if they were asked. Its names are those of members.
    pub live: Option<Etcd>,
    /// When a lease counts as old.
    pub thresholds: Thresholds,
    /// The status as it is.
    pub previous: EtcdStatus,
}

/// Something that was looked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sought<T> {
    /// Here it is.
    Found(T),
    /// It does not exist.
    Missing,
    /// Nobody can tell, and why.
    Unknown(String),
}

/// A member's lease.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MemberLease {
    /// `spec.holderIdentity`.
    pub holder: Option<String>,
    /// `spec.renewTime`.
    pub renewed: Option<Timestamp>,
}

/// The lease that tells of full, or of delta snapshots.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SnapshotLease {
    /// `metadata.creationTimestamp`.
    pub created: Timestamp,
    /// `spec.renewTime`: when the newest snapshot was taken.
    pub renewed: Option<Timestamp>,
}

/// The backups of an Etcd. Made by [`Backup::new`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Backup {
    pub(super) full: Option<SnapshotLease>,
    pub(super) delta: Option<SnapshotLease>,
    pub(super) delta_period: Option<SignedDuration>,
    /// When the next full snapshot has to be there.
    pub(super) due: Timestamp,
}

/// How the backups of an Etcd are taken.
#[derive(Clone, Copy)]
pub struct BackupPlan<'a> {
    /// `deltaSnapshotPeriod`. Without it, the sidecar's own. Less than a second: no deltas.
    pub delta_period: Option<SignedDuration>,
    /// `fullSnapshotSchedule`; without it, once a day.
    pub schedule: Option<&'a dyn Schedule>,
    /// `etcdSnapshotTimeout`: how long a full snapshot may take.
    pub timeout: SignedDuration,
}

/// The sidecar's own `--delta-snapshot-period`.
const DELTA_PERIOD: SignedDuration = SignedDuration::from_secs(20);

impl Backup {
    /// From the two leases, as far as they exist.
    pub fn new(
        plan: &BackupPlan<'_>,
        full: Option<SnapshotLease>,
        delta: Option<SnapshotLease>,
    ) -> Self {
        let slot = full.map(|lease| {
            let last = lease.renewed.unwrap_or(lease.created);
            match plan.schedule {
                Some(schedule) => schedule.next_after(last).unwrap_or(Timestamp::MAX),
                None => later(last, SignedDuration::from_hours(24)),
            }
        });
        let period = plan.delta_period.unwrap_or(DELTA_PERIOD);
        Self {
            full,
            delta,
            delta_period: (period >= SignedDuration::from_secs(1)).then_some(period),
            due: later(slot.unwrap_or(Timestamp::MAX), plan.timeout),
        }
    }
}

/// The later moment; the last one that there is, if it would be beyond.
pub(super) fn later(at: Timestamp, by: SignedDuration) -> Timestamp {
    at.checked_add(by).unwrap_or(Timestamp::MAX)
}

/// A StatefulSet.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StatefulSet {
    /// `metadata.generation`.
    pub generation: i64,
    /// `status.observedGeneration`.
    pub observed_generation: i64,
    /// `spec.replicas`.
    pub wanted: u16,
    /// `status.replicas`: the pods that exist.
    pub existing: u16,
    /// `status.readyReplicas`.
    pub ready: u16,
    /// `status.updateRevision`: what a pod gets that is created now.
    pub update_revision: String,
    /// Other revisions that need no update: they differ from the newest one only in what nobody
    /// asked for.
    pub good_revisions: BTreeSet<String>,
}

impl StatefulSet {
    /// Whether a pod of this revision needs no update.
    pub fn is_current(&self, revision: &str) -> bool {
        revision == self.update_revision || self.good_revisions.contains(revision)
    }
}

/// A pod of the StatefulSet.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pod {
    /// Its label `controller-revision-hash`.
    pub revision: Option<String>,
    /// Its condition `ContainersReady`.
    pub containers_ready: bool,
}

/// A warning about a volume claim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClaimWarning {
    /// Who reported it.
    pub source: String,
    /// What was reported.
    pub message: String,
    /// When it was reported for the first time.
    pub first: Timestamp,
}

/// When a lease counts as old.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Thresholds {
    /// So long after it was renewed, nobody can tell how the member is.
    pub unknown: SignedDuration,
    /// So long after that, the member is not ready.
    pub not_ready: SignedDuration,
}

impl Default for Thresholds {
    fn default() -> Self {
        Self {
            unknown: SignedDuration::from_mins(1),
            not_ready: SignedDuration::from_mins(5),
        }
    }
}

impl Facts {
    /// The members that there are to be, with the names of their pods.
    pub(super) fn expected(&self) -> impl Iterator<Item = (MemberName, String)> {
        (0..self.replicas).map(|ordinal| {
            let pod = format!("{}-{ordinal}", self.name);
            let member = match &self.member_prefix {
                Some(prefix) => format!("{prefix}-{pod}"),
                None => pod.clone(),
            };
            (MemberName(member), pod)
        })
    }

    /// Whether the containers of a pod are ready.
    pub(super) fn containers_ready(&self, pod: &str) -> bool {
        self.pods.get(pod).is_some_and(|pod| pod.containers_ready)
    }
}
