//! The status of a task, with the words and sentences of etcd-druid.

use jiff::Timestamp;

use super::answer::{Done, Snapshot};
use super::progress::Progress;
use super::seen::{Queue, Queued};
use super::task::{State, Task};
use super::trouble::Trouble;
use crate::api::{EtcdOpsTaskStatus, LastError, TaskOperation, TaskResult, TaskSnapshot, Time};

/// How many errors are kept.
const ERRORS: usize = 3;

/// In what part of its life a task is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    Admit,
    Execution,
    Cleanup,
}

/// How that part goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Course {
    InProgress,
    Completed,
    Failed,
}

/// What is to be in the status.
#[derive(Clone, Debug)]
pub(super) struct Change {
    /// `None` leaves it.
    state: Option<State>,
    phase: Phase,
    course: Course,
    description: String,
    trouble: Option<Trouble>,
    /// `None` leaves it.
    failed: Option<u32>,
    result: Option<TaskResult>,
}

/// A change of state, for people: an Event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// What the task is now; `None` if it was ended by its deletion.
    pub state: Option<State>,
    /// `Admit`, `Execution` or `Cleanup`.
    pub phase: &'static str,
    /// Why, or what came of it.
    pub note: String,
}

impl Change {
    fn new(state: State, phase: Phase, course: Course, description: String) -> Self {
        Self {
            state: Some(state),
            phase,
            course,
            description,
            trouble: None,
            failed: None,
            result: None,
        }
    }

    pub(super) fn queued(before: &Queued) -> Self {
        let how = match before.queue {
            Queue::Runs => "which is in progress",
            Queue::Waits | Queue::Out => "which was made before it",
        };
        let description = format!("Waits behind EtcdOpsTask {}, {how}", before.name);
        Self::new(
            State::Pending,
            Phase::Admit,
            Course::InProgress,
            description,
        )
    }

    pub(super) fn behind_a_roll() -> Self {
        let description = "Waits until the upgrade restarts no more members".to_owned();
        Self::new(
            State::Pending,
            Phase::Admit,
            Course::InProgress,
            description,
        )
    }

    /// An attempt begins. What failed before stays to be read.
    pub(super) fn begun(failed: u32) -> Self {
        let description = match failed {
            0 => "Task Execution phase is in Progress".to_owned(),
            failed => format!("Task Execution phase is in Progress, {failed} attempts failed"),
        };
        Self::new(
            State::InProgress,
            Phase::Execution,
            Course::InProgress,
            description,
        )
    }

    /// A step of an attempt begins.
    pub(super) fn step(progress: &Progress) -> Self {
        Self::new(
            State::InProgress,
            Phase::Execution,
            Course::InProgress,
            progress.step.clone(),
        )
    }

    pub(super) fn again(trouble: &Trouble, attempt: u32) -> Self {
        Self {
            trouble: Some(trouble.clone()),
            failed: Some(attempt),
            ..Self::begun(attempt)
        }
    }

    pub(super) fn succeeded(done: &Done) -> Self {
        let (description, result) = match done {
            Done::Taken(snapshot) => (
                "Snapshot created successfully".to_owned(),
                Some(result(snapshot)),
            ),
            Done::Skipped => (
                "Delta snapshot was skipped by backup-restore server".to_owned(),
                None,
            ),
            Done::Compacted(snapshot) => (
                "Snapshots compacted into one full snapshot".to_owned(),
                Some(result(snapshot)),
            ),
            Done::Maintained(result) => (result.maintained(), Some(result.as_ref().clone())),
            Done::Recovered(result) => (result.recovered(), Some(result.as_ref().clone())),
        };
        Self {
            result: result.filter(|it| *it != TaskResult::default()),
            ..Self::new(
                State::Succeeded,
                Phase::Execution,
                Course::Completed,
                description,
            )
        }
    }

    pub(super) fn failed(trouble: &Trouble, failed: u32) -> Self {
        Self {
            trouble: Some(trouble.clone()),
            failed: (failed > 0).then_some(failed),
            ..Self::new(
                State::Failed,
                Phase::Execution,
                Course::Failed,
                capitalised(trouble.message()),
            )
        }
    }

    pub(super) fn rejected(trouble: &Trouble) -> Self {
        Self {
            trouble: Some(trouble.clone()),
            ..Self::new(
                State::Rejected,
                Phase::Admit,
                Course::Failed,
                capitalised(trouble.message()),
            )
        }
    }

    pub(super) fn cleanup() -> Self {
        let description = "Task is deleted: what is under way for it is given up".to_owned();
        Self {
            state: None,
            ..Self::new(
                State::Failed,
                Phase::Cleanup,
                Course::InProgress,
                description,
            )
        }
    }
}

impl Task {
    /// The status of a recovery that is over once its result is this.
    pub fn recorded(&self, result: TaskResult) -> EtcdOpsTaskStatus {
        EtcdOpsTaskStatus {
            result: Some(result),
            ..self.status.clone()
        }
    }

    /// The status of a recovery that is over, while what it has told members is taken back: what that
    /// waits for, or nothing any more. `None` if the status says so, or has never said anything of it.
    pub fn winding_up(&self, waits: Option<&str>, now: Timestamp) -> Option<EtcdOpsTaskStatus> {
        let last = self.status.last_operation.as_ref();
        let told = last.is_some_and(|it| it.kind == Phase::Cleanup.word());
        let (course, description) = match waits {
            Some(what) => (
                Course::InProgress,
                format!("What members were told is taken back: waits for {what}"),
            ),
            None if told => (
                Course::Completed,
                "What members were told is taken back".to_owned(),
            ),
            None => return None,
        };
        let change = Change {
            state: None,
            ..Change::new(State::Failed, Phase::Cleanup, course, description)
        };
        write(self, &change, &Progress::default(), now).0
    }
}

/// The status after a change, and what to tell of it; nothing if it is so already.
pub(super) fn write(
    task: &Task,
    change: &Change,
    progress: &Progress,
    now: Timestamp,
) -> (Option<EtcdOpsTaskStatus>, Option<Told>) {
    let before = &task.status;
    let mut status = before.clone();
    if progress.result != TaskResult::default() {
        status.result = Some(progress.result.clone());
    }
    let state = change.state.map(|it| it.word().to_owned());
    let moved = state.is_some() && state != status.state;
    if moved {
        status.state = state;
        status.last_transition_time = Some(Time::seconds(now));
    }
    if change.state == Some(State::InProgress) && status.started_at.is_none() {
        status.started_at = Some(Time::seconds(now));
    }
    if let Some(failed) = change.failed {
        status.failed_attempts = Some(failed.into());
    }
    if let Some(trouble) = &change.trouble {
        let mut errors = status.last_errors.take().unwrap_or_default();
        errors.push(error(trouble, change.phase, now));
        errors.drain(..errors.len().saturating_sub(ERRORS));
        status.last_errors = Some(errors);
    }
    if change.result.is_some() {
        status.result.clone_from(&change.result);
    }
    let last = before.last_operation.as_ref();
    let mut operation = TaskOperation {
        kind: change.phase.word().to_owned(),
        state: change.course.word().to_owned(),
        description: change.description.clone(),
        run_id: task.uid.clone(),
        last_update_time: last.map_or(Time::seconds(now), |it| it.last_update_time.clone()),
    };
    if status != *before || last != Some(&operation) {
        operation.last_update_time = Time::seconds(now);
    }
    status.last_operation = Some(operation);
    if status == *before {
        return (None, None);
    }
    let told = (moved || change.phase == Phase::Cleanup).then(|| Told {
        state: change.state,
        phase: change.phase.word(),
        note: note(change),
    });
    (Some(status), told)
}

fn note(change: &Change) -> String {
    let about = match (&change.trouble, &change.result) {
        (Some(trouble), _) => Some(trouble.to_string()),
        (None, Some(result)) => result
            .snapshot
            .as_ref()
            .map(|it| format!("{}, revision {}", it.name, it.revision)),
        (None, None) => None,
    };
    match about {
        Some(about) => format!("{}: {about}", change.description),
        None => change.description.clone(),
    }
}

fn error(trouble: &Trouble, phase: Phase, now: Timestamp) -> LastError {
    let (code, message) = (trouble.code(), trouble.message());
    LastError {
        code: code.to_owned(),
        description: format!(
            "[Operation: {}, Code: {code}] message: {message}, cause: {trouble}",
            phase.word()
        ),
        observed_at: Time::seconds(now),
    }
}

fn result(snapshot: &Snapshot) -> TaskResult {
    TaskResult {
        snapshot: Some(TaskSnapshot {
            name: snapshot.name.clone(),
            revision: snapshot.revision,
            size: snapshot.size,
            sha256: snapshot.sha256.clone(),
            verified_at: None,
        }),
        ..TaskResult::default()
    }
}

pub(super) fn capitalised(text: &str) -> String {
    let mut letters = text.chars();
    let first = letters.next().map(|it| it.to_ascii_uppercase());
    first.into_iter().chain(letters).collect()
}

impl Phase {
    fn word(self) -> &'static str {
        match self {
            Self::Admit => "Admit",
            Self::Execution => "Execution",
            Self::Cleanup => "Cleanup",
        }
    }
}

impl Course {
    fn word(self) -> &'static str {
        match self {
            Self::InProgress => "InProgress",
            Self::Completed => "Completed",
            Self::Failed => "Failed",
        }
    }
}
