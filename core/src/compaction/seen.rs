//! What is known of an Etcd, its snapshot leases and its Job.

use jiff::SignedDuration;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::Pod;

use super::outcome::{Last, Outcome};
use super::why::Why;
use crate::api::Etcd;
use crate::jobs::{self, MadeFor};
use crate::operator::config::Compaction;
use crate::ops_task::{Cluster, Sidecar};
use crate::render::{Identity, Spec};

/// etcd-druid's own, for an Etcd that says none.
const SNAPSHOT: SignedDuration = SignedDuration::from_mins(15);

/// An Etcd, as far as it concerns the compaction of its snapshots.
#[derive(Clone, Debug, PartialEq)]
pub enum Subject {
    /// It is being deleted.
    Leaves,
    /// It has no backups, or no leases that tell of them.
    NoBackups,
    /// Nothing can be made from it; why.
    Unusable(String),
    /// It has backups.
    Backed(Box<Backed>),
}

/// An Etcd with backups.
#[derive(Clone, Debug, PartialEq)]
pub struct Backed {
    /// Who it is.
    pub identity: Identity,
    /// How its sidecars are reached.
    pub sidecar: Sidecar,
    /// How long a full snapshot may take.
    pub snapshot_limit: SignedDuration,
    /// From how many events on a Job is made.
    pub(super) events: u64,
    /// From how many on a full snapshot is taken instead.
    pub(super) full_events: u64,
    pub(super) rolling: bool,
    pub(super) hibernated: bool,
    pub(super) last: Option<Last>,
}

impl Subject {
    /// Parses one. `config`: what holds where it says nothing.
    pub fn of(etcd: &Etcd, config: &Compaction) -> Self {
        if etcd.metadata.deletion_timestamp.is_some() {
            return Self::Leaves;
        }
        let spec = match Spec::parse(etcd) {
            Ok(spec) => spec,
            Err(problems) => return Self::Unusable(problems.to_string()),
        };
        if !spec.has_store || !spec.runtime_components {
            return Self::NoBackups;
        }
        let pods = match &spec.pods {
            Ok(pods) => pods,
            Err(problems) => return Self::Unusable(problems.to_string()),
        };
        let cluster = Cluster::of(etcd);
        let positive = |own: Option<i64>, otherwise: i64| {
            let own = own.filter(|it| *it > 0).unwrap_or(otherwise);
            own.max(1).unsigned_abs()
        };
        let own = &pods.compaction;
        let limit = pods.sidecar.snapshot_timeout;
        Self::Backed(Box::new(Backed {
            events: positive(own.events_threshold, config.events),
            full_events: positive(own.full_snapshot_threshold, config.full_snapshot_events),
            rolling: cluster.rolling,
            hibernated: spec.replicas == 0,
            last: etcd.status.as_ref().and_then(Last::of),
            snapshot_limit: limit.map_or(SNAPSHOT, |it| {
                SignedDuration::try_from(it.0).unwrap_or(SignedDuration::MAX)
            }),
            sidecar: cluster.sidecar,
            identity: spec.identity,
        }))
    }
}

/// What a snapshot lease says: its holder is the revision of the newest snapshot.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Revision {
    /// There is no such lease, or nobody has held it yet.
    #[default]
    None,
    /// Something that is no revision.
    Odd(String),
    /// The revision.
    At(u64),
}

impl Revision {
    /// Parses it.
    pub fn of(lease: &Lease) -> Self {
        let holder = lease
            .spec
            .as_ref()
            .and_then(|it| it.holder_identity.as_ref());
        match holder {
            None => Self::None,
            Some(text) => text
                .parse()
                .map_or_else(|_| Self::Odd(text.clone()), Self::At),
        }
    }
}

/// How far full and delta snapshots have come.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Backlog {
    /// The name of the Etcd.
    pub etcd: String,
    /// The last revision in the newest full snapshot.
    pub full: Revision,
    /// That in the newest delta snapshot.
    pub delta: Revision,
}

impl Backlog {
    /// How many events there are since the last full snapshot.
    ///
    /// # Errors
    /// If the leases do not say so.
    pub fn events(&self) -> Result<u64, Why> {
        let lease = |kind: &str| format!("{}-{kind}-snap", self.etcd);
        let odd = |kind: &str, holder: &str| Why::Odd {
            lease: lease(kind),
            holder: holder.to_owned(),
        };
        match (&self.full, &self.delta) {
            (Revision::Odd(holder), _) => Err(odd("full", holder)),
            (_, Revision::Odd(holder)) => Err(odd("delta", holder)),
            (Revision::None, Revision::None | Revision::At(_)) => {
                Err(Why::NoFullSnapshot(lease("full")))
            }
            (Revision::At(_), Revision::None) => Ok(0),
            (Revision::At(full), Revision::At(delta)) => Ok(delta.saturating_sub(*full)),
        }
    }
}

/// The Job of an Etcd.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum JobSeen {
    /// There is none.
    #[default]
    None,
    /// There is one that does not belong to the Etcd: somebody's, or that of an Etcd before it.
    Foreign,
    /// There is a task's, which has not ended.
    OfTask,
    /// There is a task's, which has: it is in the way of the next one, and else a record for people.
    LeftByTask {
        /// Its uid.
        uid: String,
    },
    /// It is being deleted.
    Leaves,
    /// It has not ended.
    Runs {
        /// Its uid.
        uid: String,
    },
    /// It has ended.
    Ended {
        /// Its uid.
        uid: String,
        /// How.
        outcome: Outcome,
    },
}

impl JobSeen {
    /// What is seen of it. `etcd`: the uid of the Etcd. `pods`: those that are there; why a pod failed is
    /// known of them alone.
    pub fn of(job: &Job, etcd: &str, pods: &[Pod]) -> Self {
        let metadata = &job.metadata;
        let uid = metadata.uid.clone().unwrap_or_default();
        if metadata.deletion_timestamp.is_some() {
            return Self::Leaves;
        }
        if !jobs::is_of(job, etcd) {
            return match (jobs::made_for(job), jobs::ended(job)) {
                (MadeFor::Task, None) => Self::OfTask,
                (MadeFor::Task, Some(_)) => Self::LeftByTask { uid },
                (MadeFor::Etcd | MadeFor::Other, _) => Self::Foreign,
            };
        }
        let Some(ended) = jobs::ended(job) else {
            return Self::Runs { uid };
        };
        let of_it = |pod: &&Pod| {
            let owners = pod.metadata.owner_references.as_deref();
            owners.unwrap_or_default().iter().any(|it| it.uid == uid)
        };
        let outcome = Outcome::of(job, &ended, pods.iter().filter(of_it));
        Self::Ended { uid, outcome }
    }
}
