//! The numbers of tasks for `/metrics`, under the names that etcd-druid's proposal 05 gives them.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::time::Duration;

use jiff::Timestamp;

use super::task::{Stage, State, Task};
use crate::exposition::{Histogram, escaped, head, text};

const TOTAL: &str = "etcddruid_operator_tasks_total";
/// Of so many Etcds tasks are counted apart; anybody can make one that names any.
const APART: usize = 10_000;
const DURATION: &str = "etcddruid_operator_task_duration_seconds";
const PRESENT: &str = "etcddruid_operator_tasks";
const WAITING: &str = "etcddruid_operator_task_waiting_since_timestamp_seconds";
/// How a task ends that is deleted before it is done.
const CANCELLED: &str = "Cancelled";

/// What is counted apart.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Labels {
    /// The member of `spec.config` that is set.
    pub kind: &'static str,
    /// The state that it is in, or `Cancelled`.
    pub state: &'static str,
    /// The Etcd.
    pub etcd: String,
    /// Its namespace.
    pub namespace: String,
}

/// All of them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Numbers {
    ended: BTreeMap<Labels, u64>,
    took: BTreeMap<Labels, Histogram>,
}

impl Numbers {
    /// A task has ended. One that was begun has taken a time.
    pub fn ended(&mut self, task: &Task, state: State, now: Timestamp) {
        self.count(task, state.word(), now);
    }

    /// A task was deleted before it was done.
    pub fn cancelled(&mut self, task: &Task, now: Timestamp) {
        self.count(task, CANCELLED, now);
    }

    fn count(&mut self, task: &Task, state: &'static str, now: Timestamp) {
        let mut labels = Labels::of(task, state);
        if self.ended.len() >= APART && !self.ended.contains_key(&labels) {
            (labels.etcd, labels.namespace) = Default::default();
        }
        if let Some(started) = task.started() {
            let took = Duration::try_from(now.duration_since(started)).unwrap_or_default();
            self.took.entry(labels.clone()).or_default().observe(took);
        }
        *self.ended.entry(labels).or_default() += 1;
    }

    /// The text that Prometheus reads. `tasks`: those that there are.
    pub fn text(&self, tasks: &[Task]) -> String {
        text(|it| {
            self.write(it)?;
            present(tasks, it)
        })
    }

    fn write(&self, text: &mut String) -> fmt::Result {
        let mut last = "";
        for (labels, count) in &self.ended {
            let help = "Tasks that have ended.";
            head(text, &mut last, TOTAL, help, "counter")?;
            writeln!(text, "{TOTAL}{{{labels}}} {count}")?;
        }
        for (labels, histogram) in &self.took {
            let help = "Time from the beginning of a task to its end.";
            head(text, &mut last, DURATION, help, "histogram")?;
            histogram.write(text, DURATION, &labels.to_string())?;
        }
        Ok(())
    }
}

/// How many tasks there are, and since when there is one that is not over: one that waits was made then,
/// one that is being done has begun then.
fn present(tasks: &[Task], text: &mut String) -> fmt::Result {
    let mut present: BTreeMap<Labels, (u64, Option<Timestamp>)> = BTreeMap::new();
    for task in tasks {
        let (state, since) = match task.stage {
            Stage::Waiting => (State::Pending, Some(task.created)),
            Stage::InProgress { started, .. } => (State::InProgress, Some(started)),
            Stage::Over { state, .. } => (state, None),
            Stage::Unreadable => continue,
        };
        let mut labels = Labels::of(task, state.word());
        if present.len() >= APART && !present.contains_key(&labels) {
            (labels.etcd, labels.namespace) = Default::default();
        }
        let (count, oldest) = present.entry(labels).or_default();
        *count += 1;
        *oldest = [*oldest, since].into_iter().flatten().min();
    }
    let mut last = "";
    for (labels, (count, _)) in &present {
        let help = "Tasks that there are, by the state that they are in.";
        head(text, &mut last, PRESENT, help, "gauge")?;
        writeln!(text, "{PRESENT}{{{labels}}} {count}")?;
    }
    for (labels, (_, since)) in &present {
        let Some(since) = since else { continue };
        let help = "Since when there is a task that is not over: made, or begun.";
        head(text, &mut last, WAITING, help, "gauge")?;
        writeln!(text, "{WAITING}{{{labels}}} {}", since.as_second())?;
    }
    Ok(())
}

impl Labels {
    fn of(task: &Task, state: &'static str) -> Self {
        Self {
            kind: task.kind(),
            state,
            etcd: task.etcd.clone().unwrap_or_default(),
            namespace: task.namespace.clone(),
        }
    }
}

impl fmt::Display for Labels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "type=\"{}\",state=\"{}\",etcd=\"{}\",etcd_namespace=\"{}\"",
            self.kind,
            self.state,
            escaped(&self.etcd),
            escaped(&self.namespace)
        )
    }
}
