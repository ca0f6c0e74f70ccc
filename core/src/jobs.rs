//! What a Job says of itself. Source: `JobStatus` of `batch/v1`, Kubernetes v1.34.

use jiff::Timestamp;
use k8s_openapi::api::batch::v1::{Job, JobCondition};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;

use crate::api::names;

/// How a Job has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    /// Whether it has done its work.
    pub complete: bool,
    /// Why, as a word.
    pub reason: String,
    /// Why, as a sentence.
    pub message: String,
    /// When it was so told.
    pub at: Option<Timestamp>,
}

/// `None` as long as it has not: then all of its pods have ended, too.
pub fn ended(job: &Job) -> Option<Ended> {
    let found = |kind: &str| condition(job, kind);
    let (complete, condition) = match (found("Complete"), found("Failed")) {
        (Some(it), _) => (true, it),
        (None, Some(it)) => (false, it),
        (None, None) => return None,
    };
    Some(Ended {
        complete,
        reason: condition.reason.clone().unwrap_or_default(),
        message: condition.message.clone().unwrap_or_default(),
        at: condition.last_transition_time.as_ref().map(|it| it.0),
    })
}

/// When it began, as far as it says so.
pub fn began(job: &Job) -> Option<Timestamp> {
    let started = job.status.as_ref().and_then(|it| it.start_time.as_ref());
    let made = job.metadata.creation_timestamp.as_ref();
    started.or(made).map(|it| it.0)
}

/// The condition of a kind, if it is so.
pub fn condition<'a>(job: &'a Job, kind: &str) -> Option<&'a JobCondition> {
    let all = job.status.as_ref().and_then(|it| it.conditions.as_deref());
    let mut all = all.unwrap_or_default().iter();
    all.find(|it| it.type_ == kind && it.status == "True")
}

/// What an Etcd's Job was made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MadeFor {
    /// The Etcd itself, of whatever uid.
    Etcd,
    /// A task.
    Task,
    /// Something that is none of ours.
    Other,
}

/// What it was made for, by the kinds of its owners.
pub fn made_for(job: &Job) -> MadeFor {
    let owners = job.metadata.owner_references.as_deref();
    let ours = |it: &&OwnerReference| it.api_version == names::API_VERSION;
    let mut kinds = owners.unwrap_or_default().iter().filter(ours);
    match kinds.next().map(|it| it.kind.as_str()) {
        Some("Etcd") => MadeFor::Etcd,
        Some("EtcdOpsTask") => MadeFor::Task,
        Some(_) | None => MadeFor::Other,
    }
}

/// Whether it belongs to what has this uid.
pub fn is_of(job: &Job, uid: &str) -> bool {
    let owners = job.metadata.owner_references.as_deref();
    owners.unwrap_or_default().iter().any(|it| it.uid == uid)
}
