//! What is heard of snapshot leases and of Jobs that compact.

use druid_core::api::names;
use druid_core::compaction::{Backlog, JobSeen, Revision};
use druid_core::render::Identity;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::coordination::v1::Lease;
use kube::Client;
use kube::runtime::WatchStreamExt as _;
use kube::runtime::watcher::{self, watcher};
use tokio::sync::mpsc;

use crate::operator::known::{Facts, Known, Named, api, listen, part_of};

/// All that is heard.
pub(super) struct Heard {
    leases: Known<LeaseHeard>,
    jobs: Known<JobHeard>,
}

impl Heard {
    /// Listens. `tell`: told which Etcd to look at.
    pub(super) fn listen(
        client: &Client,
        namespace: Option<&str>,
        tell: &mpsc::UnboundedSender<Named>,
    ) -> Self {
        let leases = watcher(
            api::<Lease>(client, namespace),
            labelled("etcd-snapshot-lease"),
        );
        let jobs = labelled("etcd-snapshot-compaction-job");
        let jobs = watcher(api::<Job>(client, namespace), jobs);
        Self {
            leases: listen(leases.default_backoff(), tell.clone()),
            jobs: listen(jobs.default_backoff(), tell.clone()),
        }
    }

    /// What the leases of an Etcd said last.
    pub(super) fn backlog(&self, of: &Identity) -> Backlog {
        let revision = |name: String| {
            let lease = self.leases.get(&at(of, name));
            lease.map_or(Revision::None, |it| it.revision)
        };
        Backlog {
            etcd: of.name.clone(),
            full: revision(of.full_snapshot_lease()),
            delta: revision(of.delta_snapshot_lease()),
        }
    }

    /// Its Job, as it was last heard of.
    pub(super) fn job(&self, of: &Identity) -> JobSeen {
        match self.jobs.get(&at(of, of.compaction_job())) {
            None => JobSeen::None,
            Some(job) if *job.owner == *of.uid => job.own,
            Some(job) => job.other,
        }
    }
}

fn at(of: &Identity, name: String) -> Named {
    Named {
        namespace: of.namespace.clone(),
        name,
    }
}

fn labelled(component: &str) -> watcher::Config {
    let ours = format!("{}={}", names::MANAGED_BY, names::MANAGER);
    let labels = format!("{ours},{}={component}", names::COMPONENT);
    watcher::Config::default().labels(&labels)
}

/// Of a snapshot lease: the revision of the newest snapshot.
#[derive(Clone, Debug, PartialEq)]
struct LeaseHeard {
    etcd: Box<str>,
    revision: Revision,
}

impl Facts for LeaseHeard {
    type Object = Lease;

    fn of(lease: Lease) -> Option<(Named, Self)> {
        let heard = Self {
            etcd: part_of(&lease.metadata)?,
            revision: Revision::of(&lease),
        };
        Some((Named::of(&lease.metadata), heard))
    }

    fn etcd(&self, named: &Named) -> Named {
        named.sibling(&self.etcd)
    }

    fn matters(&self, next: &Self) -> bool {
        self != next
    }
}

/// Of a Job: how far it is, as far as that is seen without its pods.
#[derive(Clone, Debug, PartialEq)]
struct JobHeard {
    etcd: Box<str>,
    owner: Box<str>,
    /// What it is to its owner.
    own: JobSeen,
    /// What it is to any other.
    other: JobSeen,
}

impl Facts for JobHeard {
    type Object = Job;

    fn of(job: Job) -> Option<(Named, Self)> {
        let owners = job.metadata.owner_references.as_deref();
        let owner = owners.unwrap_or_default().first();
        let owner = owner.map(|it| it.uid.clone()).unwrap_or_default();
        let heard = Self {
            etcd: part_of(&job.metadata)?,
            own: JobSeen::of(&job, &owner, &[]),
            other: JobSeen::of(&job, "", &[]),
            owner: owner.into(),
        };
        Some((Named::of(&job.metadata), heard))
    }

    fn etcd(&self, named: &Named) -> Named {
        named.sibling(&self.etcd)
    }

    fn matters(&self, next: &Self) -> bool {
        self != next
    }
}
