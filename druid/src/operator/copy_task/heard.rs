//! What is heard of tasks and of Jobs that copy.

use druid_core::api::names;
use druid_core::copy_task::JobSeen;
use k8s_openapi::api::batch::v1::Job;
use kube::runtime::WatchStreamExt as _;
use kube::runtime::watcher::{self, watcher};
use kube::{Client, Resource as _};
use tokio::sync::mpsc;

use super::Object;
use crate::operator::known::{Facts, Named, api, listen, part_of};

/// Listens. `tell`: told which task to look at.
pub(super) fn listen_to_all(
    client: &Client,
    namespace: Option<&str>,
    tell: &mpsc::UnboundedSender<Named>,
) {
    let tasks = watcher(api::<Object>(client, namespace), watcher::Config::default());
    drop(listen::<TaskHeard>(tasks.default_backoff(), tell.clone()));
    let labels = format!(
        "{}={},{}=etcd-copy-backups-job",
        names::MANAGED_BY,
        names::MANAGER,
        names::COMPONENT
    );
    let labelled = watcher::Config::default().labels(&labels);
    let jobs = watcher(api::<Job>(client, namespace), labelled);
    drop(listen::<JobHeard>(jobs.default_backoff(), tell.clone()));
}

/// Of a task: what a person writes.
#[derive(Clone, Debug, PartialEq)]
struct TaskHeard {
    uid: Box<str>,
    generation: i64,
    deleting: bool,
    finalizers: Vec<String>,
}

impl Facts for TaskHeard {
    type Object = Object;

    fn of(object: Object) -> Option<(Named, Self)> {
        let metadata = object.meta();
        let heard = Self {
            uid: metadata.uid.clone().unwrap_or_default().into(),
            generation: metadata.generation.unwrap_or_default(),
            deleting: metadata.deletion_timestamp.is_some(),
            finalizers: metadata.finalizers.clone().unwrap_or_default(),
        };
        Some((Named::of(metadata), heard))
    }

    fn etcd(&self, named: &Named) -> Named {
        named.clone()
    }

    fn matters(&self, next: &Self) -> bool {
        self != next
    }
}

/// Of a Job: how far it is.
#[derive(Clone, Debug, PartialEq)]
struct JobHeard {
    task: Box<str>,
    owner: Box<str>,
    seen: JobSeen,
}

impl Facts for JobHeard {
    type Object = Job;

    fn of(job: Job) -> Option<(Named, Self)> {
        let owners = job.metadata.owner_references.as_deref();
        let owner = owners.unwrap_or_default().first();
        let owner = owner.map(|it| it.uid.clone()).unwrap_or_default();
        let heard = Self {
            task: part_of(&job.metadata)?,
            seen: JobSeen::of(&job, &owner),
            owner: owner.into(),
        };
        Some((Named::of(&job.metadata), heard))
    }

    fn etcd(&self, named: &Named) -> Named {
        named.sibling(&self.task)
    }

    fn matters(&self, next: &Self) -> bool {
        self != next
    }
}
