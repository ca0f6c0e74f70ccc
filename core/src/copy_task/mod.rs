//! An `EtcdCopyBackupsTask`, from its finalizer to its end: a Job copies, and its status says how that
//! went. [`decide`] says what is to be written and done next.
//!
//! # Where it differs from etcd-druid v0.37.1, and why
//!
//! - A missing Secret of any provider is told of, and no Job is made until it is there. (It notices that
//!   of a Local store only.)
//! - A copy from or to ECS has its credentials; one between two that need different ones is not begun, and
//!   says so. (It makes a Job without credentials, which fails.)
//! - A task that has succeeded is over: its Job can go, and is not made again.
//! - A Job of somebody else under the name of the task's is told of and left alone.
//! - What the Job says is written when it changes.

mod status;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use jiff::Timestamp;
use k8s_openapi::api::batch::v1::Job;
use thiserror::Error;

pub use status::Notice;

use crate::api::{EtcdCopyBackupsTask, EtcdCopyBackupsTaskStatus, names};
use crate::jobs::{self, Ended};
use crate::render::{CopySpec, Problem, Problems, copy_job_name};
use status::{mirrored, succeeded};

/// Why a task is not begun. What it displays is `lastError`.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Trouble {
    /// Nothing can be made from it, or Secrets are missing.
    #[error("the Job cannot be made: {}", told(.0))]
    Problems(Problems),
    /// Another Job has its name.
    #[error("Job {0} is there, and is none of this task; delete it, or give the task another name")]
    JobTaken(String),
    /// The API server does not take the Job.
    #[error("the Job cannot be made: {0}")]
    Refused(String),
}

fn told(problems: &Problems) -> String {
    let all = problems.0.iter();
    let all: Vec<_> = all.map(|it| format!("{it}: {}", it.remedy())).collect();
    all.join("; ")
}

/// The Job of a task.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum JobSeen {
    /// There is none.
    #[default]
    None,
    /// There is one that does not belong to the task.
    Foreign,
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
        how: Ended,
    },
}

impl JobSeen {
    /// What is seen of it. `task`: the uid of the task.
    pub fn of(job: &Job, task: &str) -> Self {
        let uid = job.metadata.uid.clone().unwrap_or_default();
        if !jobs::is_of(job, task) {
            return Self::Foreign;
        }
        if job.metadata.deletion_timestamp.is_some() {
            return Self::Leaves;
        }
        match jobs::ended(job) {
            None => Self::Runs { uid },
            Some(how) => Self::Ended { uid, how },
        }
    }
}

/// What is known at one moment.
#[derive(Clone, Copy, Debug)]
pub struct Observed<'a> {
    /// The task.
    pub task: &'a EtcdCopyBackupsTask,
    /// What it asks for.
    pub wanted: &'a Result<CopySpec, Problems>,
    /// Which Secrets of those that it names are there.
    pub secrets: &'a BTreeSet<String>,
    /// Its Job.
    pub job: &'a JobSeen,
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act<'a> {
    /// Put our finalizer on the task.
    AddFinalizer,
    /// Take it off.
    RemoveFinalizer,
    /// Delete the Job with this uid.
    DeleteJob(&'a str),
    /// Make the Job.
    MakeJob(&'a CopySpec),
    /// Look again later: what is missing is not heard of.
    LookAgain,
}

/// What to write, and then to do.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Decision<'a> {
    /// The status, if it changes.
    pub status: Option<EtcdCopyBackupsTaskStatus>,
    /// What people are told once it is written.
    pub notice: Option<Notice>,
    /// What to do.
    pub act: Option<Act<'a>>,
}

impl<'a> Decision<'a> {
    fn of(act: Option<Act<'a>>) -> Self {
        Self {
            act,
            ..Self::default()
        }
    }
}

/// Says what is to be written and done next.
pub fn decide<'a>(seen: &Observed<'a>, now: Timestamp) -> Decision<'a> {
    let task = seen.task;
    let finalizers = task.metadata.finalizers.as_deref().unwrap_or_default();
    let marked = finalizers.iter().any(|it| it == names::FINALIZER);
    if task.metadata.deletion_timestamp.is_some() {
        return Decision::of(leaving(seen.job).filter(|_| marked));
    }
    if !marked {
        return Decision::of(Some(Act::AddFinalizer));
    }
    let (act, trouble) = next(seen);
    told_of(task, seen.job, trouble.as_ref(), act, now)
}

/// The finalizer stays until the Job is gone.
fn leaving(job: &JobSeen) -> Option<Act<'_>> {
    match job {
        JobSeen::None | JobSeen::Foreign => Some(Act::RemoveFinalizer),
        JobSeen::Leaves => None,
        JobSeen::Runs { uid } | JobSeen::Ended { uid, .. } => Some(Act::DeleteJob(uid)),
    }
}

fn next<'a>(seen: &Observed<'a>) -> (Option<Act<'a>>, Option<Trouble>) {
    match seen.job {
        JobSeen::Runs { .. } | JobSeen::Ended { .. } | JobSeen::Leaves => return (None, None),
        JobSeen::None | JobSeen::Foreign if succeeded(seen.task) => return (None, None),
        JobSeen::Foreign => {
            let name = copy_job_name(seen.task.metadata.name.as_deref().unwrap_or_default());
            return (Some(Act::LookAgain), Some(Trouble::JobTaken(name)));
        }
        JobSeen::None => {}
    }
    let spec = match seen.wanted {
        // Another spec is heard of.
        Err(problems) => return (None, Some(Trouble::Problems(problems.clone()))),
        Ok(spec) => spec,
    };
    if let Err(two) = spec.ecs_secret() {
        return (None, Some(Trouble::Problems(Problems(vec![two]))));
    }
    let missing = missing(spec, seen.secrets);
    if missing.is_empty() {
        (Some(Act::MakeJob(spec)), None)
    } else {
        let trouble = Trouble::Problems(Problems(missing));
        (Some(Act::LookAgain), Some(trouble))
    }
}

fn missing(spec: &CopySpec, there: &BTreeSet<String>) -> Vec<Problem> {
    let all = spec.secrets().into_iter();
    all.filter(|it| !there.contains(&it.name))
        .map(|it| Problem::SecretMissing {
            field: it.field,
            name: it.name,
        })
        .collect()
}

/// The status after the API server has said no to a Job.
pub fn refused(task: &EtcdCopyBackupsTask, why: String, now: Timestamp) -> Decision<'static> {
    let trouble = Trouble::Refused(why);
    told_of(
        task,
        &JobSeen::None,
        Some(&trouble),
        Some(Act::LookAgain),
        now,
    )
}

fn told_of<'a>(
    task: &EtcdCopyBackupsTask,
    job: &JobSeen,
    trouble: Option<&Trouble>,
    act: Option<Act<'a>>,
    now: Timestamp,
) -> Decision<'a> {
    let status = mirrored(task, job, trouble, now);
    let before = task.status.clone().unwrap_or_default();
    if status == before {
        return Decision::of(act);
    }
    Decision {
        notice: Notice::of(&before, job, trouble),
        status: Some(status),
        act,
    }
}
