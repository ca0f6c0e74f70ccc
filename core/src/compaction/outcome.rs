//! What came of a compaction, and how people are told.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;

use super::why::Why;
use super::{Act, Limits};
use crate::api::{Condition, EtcdStatus, Time};
use crate::jobs::Ended;
use crate::ops_task::{Done, Trouble};
use crate::render::Identity;
use crate::status::conditions::{Kind, Truth, find};

/// The reason of the condition when the sidecar did not take a full snapshot.
const NOT_TAKEN: &str = "ErrorTriggeringFullSnapshot";

/// Why a Job failed. Its word is the reason of the condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Failure {
    /// It took too long.
    DeadlineExceeded,
    /// The scheduler wanted the room for another pod.
    PreemptionByScheduler,
    /// The node was to be left.
    DeletionByTaintManager,
    /// Somebody evicted the pod.
    EvictionByEvictionApi,
    /// The node had no room.
    TerminationByKubelet,
    /// The program ended with an error.
    ProcessFailure,
    /// Nobody can tell.
    Unknown,
}

impl Failure {
    /// The reason of the condition.
    pub fn word(self) -> &'static str {
        match self {
            Self::DeadlineExceeded => "DeadlineExceeded",
            Self::PreemptionByScheduler => "PreemptionByScheduler",
            Self::DeletionByTaintManager => "DeletionByTaintManager",
            Self::EvictionByEvictionApi => "EvictionByEvictionAPI",
            Self::TerminationByKubelet => "TerminationByKubelet",
            Self::ProcessFailure => "ProcessFailure",
            Self::Unknown => "Unknown",
        }
    }

    /// The label of the numbers, which has fewer values.
    pub(super) fn label(self) -> &'static str {
        match self {
            Self::DeadlineExceeded => "deadlineExceeded",
            Self::PreemptionByScheduler => "preempted",
            Self::DeletionByTaintManager
            | Self::EvictionByEvictionApi
            | Self::TerminationByKubelet => "evicted",
            Self::ProcessFailure => "processFailure",
            Self::Unknown => "unknown",
        }
    }

    /// Why a pod failed. Source: the reasons of the pod condition `DisruptionTarget`, Kubernetes v1.34.
    fn of(pod: &Pod) -> Self {
        let status = pod.status.as_ref();
        let conditions = status.and_then(|it| it.conditions.as_deref());
        let mut conditions = conditions.unwrap_or_default().iter();
        let disrupted = conditions.find(|it| it.type_ == "DisruptionTarget" && it.status == "True");
        if let Some(disrupted) = disrupted {
            return match disrupted.reason.as_deref() {
                Some("PreemptionByScheduler") => Self::PreemptionByScheduler,
                Some("DeletionByTaintManager") => Self::DeletionByTaintManager,
                Some("EvictionByEvictionAPI") => Self::EvictionByEvictionApi,
                Some("TerminationByKubelet") => Self::TerminationByKubelet,
                Some(_) | None => Self::Unknown,
            };
        }
        let containers = status.and_then(|it| it.container_statuses.as_deref());
        let failed = containers.unwrap_or_default().iter().any(|it| {
            let state = it.state.as_ref().and_then(|it| it.terminated.as_ref());
            state.is_some_and(|it| it.exit_code != 0)
        });
        if failed {
            Self::ProcessFailure
        } else {
            Self::Unknown
        }
    }
}

/// How a Job has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// What Kubernetes says, as a word.
    pub state: String,
    /// Why it failed, if it did.
    pub failure: Option<Failure>,
    /// How long it took.
    pub took: Option<Duration>,
}

impl Outcome {
    pub(super) fn of<'a>(
        job: &Job,
        ended: &Ended,
        mut pods: impl Iterator<Item = &'a Pod>,
    ) -> Self {
        let failure = if ended.complete {
            None
        } else if ended.reason == "DeadlineExceeded" {
            Some(Failure::DeadlineExceeded)
        } else {
            Some(pods.next().map_or(Failure::Unknown, Failure::of))
        };
        let began = job.status.as_ref().and_then(|it| it.start_time.as_ref());
        let took = began.zip(ended.at);
        let took = took.map(|(began, at)| at.duration_since(began.0));
        Self {
            state: ended.reason.clone(),
            failure,
            took: took.and_then(|it| Duration::try_from(it).ok()),
        }
    }
}

/// What is to be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Conclusion {
    /// What came of a Job.
    Job(Outcome),
    /// There could be none.
    NotMade(Trouble),
    /// What came of asking for a full snapshot.
    FullSnapshot(Result<Done, Trouble>),
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
    /// A Job was made, about so many events.
    pub fn made(of: &Identity, events: u64) -> Self {
        let (namespace, job) = (&of.namespace, of.compaction_job());
        Self {
            warning: false,
            reason: "SnapshotCompactionStarted",
            note: format!(
                "Compaction job {namespace}/{job} was made: {events} events since the last full \
                 snapshot"
            ),
        }
    }
}

impl Conclusion {
    fn succeeded(&self) -> bool {
        match self {
            Self::Job(outcome) => outcome.failure.is_none(),
            Self::NotMade(_) => false,
            Self::FullSnapshot(result) => result.is_ok(),
        }
    }

    fn reason(&self) -> &'static str {
        match self {
            Self::Job(outcome) => outcome.failure.map_or("None", Failure::word),
            Self::NotMade(_) => "JobNotMade",
            Self::FullSnapshot(Ok(_)) => "FullSnapshotTakenSuccessfully",
            Self::FullSnapshot(Err(_)) => NOT_TAKEN,
        }
    }

    /// As etcd-druid says it.
    fn message(&self, of: &Identity) -> String {
        let (namespace, name) = (&of.namespace, &of.name);
        let job = of.compaction_job();
        match self {
            Self::Job(Outcome { state, failure, .. }) => {
                let retried = failure.map_or("", |_| ", Compaction will be retried");
                format!("Compaction job {namespace}/{job} completed with state {state}{retried}")
            }
            Self::NotMade(why) => format!(
                "Compaction job {namespace}/{job} was not made: {why}, Compaction will be retried"
            ),
            Self::FullSnapshot(Ok(_)) => {
                format!("Full snapshot taken successfully for etcd {namespace}/{name}")
            }
            Self::FullSnapshot(Err(why)) => format!(
                "Error while triggering full snapshot for etcd {namespace}/{name}: {why} \
                 ,Compaction will be retried"
            ),
        }
    }

    /// What people are told.
    pub fn notice(&self, of: &Identity) -> Notice {
        Notice {
            warning: !self.succeeded(),
            reason: match self {
                Self::Job(outcome) if outcome.failure.is_none() => "SnapshotCompactionSucceeded",
                Self::Job(_) | Self::NotMade(_) => "SnapshotCompactionFailed",
                Self::FullSnapshot(Ok(_)) => "FullSnapshotTaken",
                Self::FullSnapshot(Err(_)) => "FullSnapshotFailed",
            },
            note: self.message(of),
        }
    }
}

/// Puts it into the conditions of an Etcd. Another attempt is told of even if it came to the same.
pub fn put(status: &mut EtcdStatus, conclusion: &Conclusion, of: &Identity, at: Timestamp) {
    let kind = Kind::LastSnapshotCompactionSucceeded;
    let truth = if conclusion.succeeded() {
        Truth::True
    } else {
        Truth::False
    };
    let before = find(status, kind).filter(|it| it.status == truth.word());
    let condition = Condition {
        kind: kind.word().to_owned(),
        status: truth.word().to_owned(),
        last_transition_time: before
            .map_or_else(|| Time::seconds(at), |it| it.last_transition_time.clone()),
        last_update_time: Time::seconds(at),
        reason: conclusion.reason().to_owned(),
        message: conclusion.message(of),
    };
    let mut all = status.conditions.take().unwrap_or_default();
    all.retain(|it| it.kind != condition.kind);
    all.push(condition);
    all.sort_by(|a, b| a.kind.cmp(&b.kind));
    status.conditions = Some(all);
}

/// What came of the last compaction, as the condition tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Last {
    succeeded: bool,
    reason: String,
    /// Since when it succeeds, or fails.
    since: Timestamp,
    /// When it was told.
    updated: Timestamp,
}

impl Last {
    pub(super) fn of(status: &EtcdStatus) -> Option<Self> {
        let told = find(status, Kind::LastSnapshotCompactionSucceeded)?;
        let updated = told.last_update_time.at()?;
        Some(Self {
            succeeded: told.status == Truth::True.word(),
            reason: told.reason.clone(),
            since: told.last_transition_time.at().unwrap_or(updated),
            updated,
        })
    }

    /// A Job takes too long, or this has been tried already.
    pub(super) fn wants_full_snapshot(&self) -> bool {
        !self.succeeded
            && (self.reason == Failure::DeadlineExceeded.word() || self.reason == NOT_TAKEN)
    }

    /// Whether the next attempt has to wait, and until when. A full snapshot is another remedy than the
    /// Job that took too long, and is tried at once.
    pub(super) fn rests(
        &self,
        act: &Act,
        limits: &Limits,
        now: Timestamp,
    ) -> Option<(Why, Timestamp)> {
        let other_remedy = *act == Act::TakeFullSnapshot && self.reason != NOT_TAKEN;
        let (why, wait) = match (self.succeeded, other_remedy) {
            (true, _) => (Why::Settles, limits.settle),
            (false, true) => return None,
            (false, false) => {
                let failing = self.updated.duration_since(self.since);
                let wait = failing.max(limits.backoff.first).min(limits.backoff.limit);
                (Why::Failed, wait)
            }
        };
        let until = self.updated.saturating_add(wait).ok()?;
        let left = until.duration_since(now);
        // A moment in the future is that of a clock that was wrong.
        let rests = left.is_positive() && left <= wait.saturating_add(SignedDuration::from_mins(1));
        rests.then_some((why, until))
    }
}
