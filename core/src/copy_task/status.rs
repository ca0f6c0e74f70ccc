//! What is written into the status of a task, and told of it.

use jiff::Timestamp;

use super::{JobSeen, Trouble};
use crate::api::{Condition, EtcdCopyBackupsTask, EtcdCopyBackupsTaskStatus, Time};
use crate::jobs::Ended;

const SUCCEEDED: &str = "Succeeded";
const FAILED: &str = "Failed";

/// Whether it is over, and all is copied.
pub(super) fn succeeded(task: &EtcdCopyBackupsTask) -> bool {
    let Some(status) = &task.status else {
        return false;
    };
    let mut all = status.conditions.iter().flatten();
    status.observed_generation == task.metadata.generation
        && all.any(|it| it.kind == SUCCEEDED && it.status == "True")
}

/// The status of now. What a Job that is gone has said stays; one that runs has said nothing.
pub(super) fn mirrored(
    task: &EtcdCopyBackupsTask,
    job: &JobSeen,
    trouble: Option<&Trouble>,
    now: Timestamp,
) -> EtcdCopyBackupsTaskStatus {
    let before = task.status.clone().unwrap_or_default();
    let conditions = match job {
        JobSeen::None | JobSeen::Foreign | JobSeen::Leaves => before.conditions,
        JobSeen::Runs { .. } => None,
        JobSeen::Ended { how, .. } => Some(vec![condition(how, before.conditions.as_deref(), now)]),
    };
    EtcdCopyBackupsTaskStatus {
        conditions,
        observed_generation: task.metadata.generation,
        last_error: trouble.map(ToString::to_string),
    }
}

fn kind(ended: &Ended) -> &'static str {
    if ended.complete { SUCCEEDED } else { FAILED }
}

fn condition(ended: &Ended, before: Option<&[Condition]>, now: Timestamp) -> Condition {
    let now = Time::seconds(now);
    let fresh = Condition {
        kind: kind(ended).to_owned(),
        status: "True".to_owned(),
        last_transition_time: now.clone(),
        last_update_time: now,
        reason: ended.reason.clone(),
        message: ended.message.clone(),
    };
    let says = |it: &&Condition| {
        (&it.kind, &it.status, &it.reason, &it.message)
            == (&fresh.kind, &fresh.status, &fresh.reason, &fresh.message)
    };
    let same = before.unwrap_or_default().iter().find(says).cloned();
    same.unwrap_or(fresh)
}

/// What people are told by an Event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// Whether it is a warning.
    pub warning: bool,
    /// What happened, as a word.
    pub reason: &'static str,
    /// What happened, as a sentence.
    pub note: String,
}

impl Notice {
    /// A Job was made.
    pub fn made(job: &str) -> Self {
        Self {
            warning: false,
            reason: "Started",
            note: format!("Job {job} copies the backups"),
        }
    }

    /// What is new.
    pub(super) fn of(
        before: &EtcdCopyBackupsTaskStatus,
        job: &JobSeen,
        trouble: Option<&Trouble>,
    ) -> Option<Self> {
        if let Some(trouble) = trouble {
            let note = trouble.to_string();
            return (before.last_error.as_ref() != Some(&note)).then_some(Self {
                warning: true,
                reason: "NotStarted",
                note,
            });
        }
        let JobSeen::Ended { how: ended, .. } = job else {
            return None;
        };
        let mut all = before.conditions.iter().flatten();
        let known = all.any(|it| it.kind == kind(ended));
        (!known).then(|| Self {
            warning: !ended.complete,
            reason: kind(ended),
            note: format!("{}: {}", ended.reason, ended.message),
        })
    }
}
