//! The compaction of snapshots: when an Etcd has many events since its last full snapshot, a Job makes
//! one full snapshot of that and its deltas; when it has too many for a Job, the leading sidecar is
//! asked for a full snapshot instead. [`decide`] says what is to be done next.
//!
//! Reasons and messages of the condition, and names of numbers, are those of etcd-druid v0.37.1.
//!
//! # Where it differs from etcd-druid, and why
//!
//! - A Job that failed, or a full snapshot that was not taken, is tried again later and later, up to
//!   half an hour. (It makes the next Job after 10 s, for ever.)
//! - Nothing begins while an upgrade restarts members or a task of the Etcd is under way, nor before
//!   the leases have had time to tell of what was done last.
//! - A Job of somebody else under that name is left alone; that of a task makes room when it is over.
//! - A Job runs the sidecar that the cluster runs (U19).
//! - A full snapshot is asked of the sidecar beside the leader, at its address (B21).
//! - A Job that cannot be made is told of in the condition, with the reason `JobNotMade`.
//! - A threshold of an Etcd that is not positive is none.

mod job;
mod numbers;
mod outcome;
mod seen;
#[cfg(test)]
mod tests;
mod why;

use jiff::{SignedDuration, Timestamp};

pub use job::job;
pub use numbers::Numbers;
pub use outcome::{Conclusion, Failure, Notice, Outcome, put};
pub use seen::{Backed, Backlog, JobSeen, Revision, Subject};
pub use why::Why;

use crate::backup::snapshotter::Backoff;
use crate::ops_task::{Done, Trouble};
use outcome::Last;

/// How patient it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// How long to wait after a failure: as long as it has been failing, within these.
    pub backoff: Backoff,
    /// How long the leases may take to tell of what has succeeded.
    pub settle: SignedDuration,
    /// When to look again at what others are doing to the Etcd.
    pub busy: SignedDuration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            backoff: Backoff {
                first: SignedDuration::from_secs(10),
                limit: SignedDuration::from_mins(30),
            },
            settle: SignedDuration::from_mins(5),
            busy: SignedDuration::from_secs(30),
        }
    }
}

/// What this process does for an Etcd beside all looks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Work {
    /// Nothing.
    #[default]
    None,
    /// A sidecar was asked for a full snapshot.
    Asked,
    /// This came of it.
    Answered(Result<Done, Trouble>),
}

/// What is known at one moment.
#[derive(Clone, Debug)]
pub struct Observed<'a> {
    /// The Etcd.
    pub etcd: &'a Subject,
    /// What its leases say.
    pub backlog: &'a Backlog,
    /// Its Job.
    pub job: &'a JobSeen,
    /// The task of it that is under way.
    pub task: Option<&'a str>,
    /// What this process does.
    pub work: &'a Work,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq)]
pub enum Act {
    /// Tell what came of a full snapshot.
    Conclude(Conclusion),
    /// Tell what came of the Job with this uid, then delete it. A Job that is not deleted after all is
    /// told of once more: the clocks of others say nothing about what was told already.
    ConcludeJob {
        /// What.
        conclusion: Conclusion,
        /// The uid.
        uid: String,
    },
    /// Delete the Job with this uid: it is not wanted any more.
    DeleteJob {
        /// The uid.
        uid: String,
    },
    /// Make the Job.
    MakeJob {
        /// How many events it is about.
        events: u64,
    },
    /// Ask the leading sidecar for a full snapshot, beside all looks.
    TakeFullSnapshot,
}

/// What comes of a look.
#[derive(Clone, Debug, PartialEq)]
pub enum Decision {
    /// This is to be done.
    Act(Act),
    /// Nothing, until something is heard or until then.
    Wait {
        /// Why.
        why: Why,
        /// When to look again, whatever is heard.
        until: Option<Timestamp>,
    },
}

impl Decision {
    fn wait(why: Why) -> Self {
        Self::Wait { why, until: None }
    }

    fn wait_until(why: Why, until: Timestamp) -> Self {
        Self::Wait {
            why,
            until: Some(until),
        }
    }
}

/// Says what is to be done next. The order of the rules is the argument: what was done is told first,
/// one thing is done at a time, and it begins only when nobody else works on the Etcd.
pub fn decide(seen: &Observed<'_>, limits: &Limits, now: Timestamp) -> Decision {
    let backed = match seen.etcd {
        Subject::Leaves => return unwanted(seen.job, Why::Leaves),
        Subject::NoBackups => return unwanted(seen.job, Why::NoBackups),
        Subject::Unusable(why) => return Decision::wait(Why::Unusable(why.clone())),
        Subject::Backed(backed) => backed,
    };
    answered(seen.work)
        .or_else(|| ended(seen.job))
        .or_else(|| occupied(seen))
        .unwrap_or_else(|| due(seen, backed, limits, now))
}

/// Nobody needs the Job of an Etcd that goes, or that has no backups any more.
fn unwanted(job: &JobSeen, why: Why) -> Decision {
    match job {
        JobSeen::Runs { uid } | JobSeen::Ended { uid, .. } => {
            Decision::Act(Act::DeleteJob { uid: uid.clone() })
        }
        JobSeen::None
        | JobSeen::Foreign
        | JobSeen::OfTask
        | JobSeen::LeftByTask { .. }
        | JobSeen::Leaves => Decision::wait(why),
    }
}

fn answered(work: &Work) -> Option<Decision> {
    match work {
        Work::Answered(result) => Some(Decision::Act(Act::Conclude(Conclusion::FullSnapshot(
            result.clone(),
        )))),
        Work::None | Work::Asked => None,
    }
}

/// What a Job has come to is told before the Job goes.
fn ended(job: &JobSeen) -> Option<Decision> {
    match job {
        JobSeen::Ended { uid, outcome } => Some(Decision::Act(Act::ConcludeJob {
            conclusion: Conclusion::Job(outcome.clone()),
            uid: uid.clone(),
        })),
        JobSeen::None
        | JobSeen::Foreign
        | JobSeen::OfTask
        | JobSeen::LeftByTask { .. }
        | JobSeen::Leaves
        | JobSeen::Runs { .. } => None,
    }
}

/// One thing at a time.
fn occupied(seen: &Observed<'_>) -> Option<Decision> {
    let why = match seen.job {
        JobSeen::Foreign => Why::JobTaken,
        JobSeen::OfTask => Why::JobOfTask,
        JobSeen::Leaves => Why::JobLeaves,
        JobSeen::Runs { .. } => Why::JobRuns,
        JobSeen::None | JobSeen::LeftByTask { .. } | JobSeen::Ended { .. } => match seen.work {
            Work::Asked => Why::SnapshotRuns,
            Work::None | Work::Answered(_) => return None,
        },
    };
    Some(Decision::wait(why))
}

fn due(seen: &Observed<'_>, backed: &Backed, limits: &Limits, now: Timestamp) -> Decision {
    let events = match seen.backlog.events() {
        Ok(events) => events,
        Err(why) => return Decision::wait(why),
    };
    let last = backed.last.as_ref();
    let act = if last.is_some_and(Last::wants_full_snapshot) || events >= backed.full_events {
        if backed.hibernated {
            return Decision::wait(Why::Hibernated);
        }
        Act::TakeFullSnapshot
    } else if events >= backed.events {
        Act::MakeJob { events }
    } else {
        return Decision::wait(Why::FewEvents {
            events,
            threshold: backed.events,
        });
    };
    let busy = || now.saturating_add(limits.busy).unwrap_or(Timestamp::MAX);
    if backed.rolling {
        return Decision::wait_until(Why::Rolling, busy());
    }
    if let Some(task) = seen.task {
        return Decision::wait_until(Why::Task(task.to_owned()), busy());
    }
    match last.and_then(|it| it.rests(&act, limits, now)) {
        Some((why, until)) => Decision::wait_until(why, until),
        None => match (act, seen.job) {
            (Act::MakeJob { .. }, JobSeen::LeftByTask { uid }) => {
                Decision::Act(Act::DeleteJob { uid: uid.clone() })
            }
            (act, _) => Decision::Act(act),
        },
    }
}
