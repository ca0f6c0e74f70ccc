//! The numbers of tasks for `/metrics`, under the names that etcd-druid's proposal 05 gives them.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::time::Duration;

use jiff::Timestamp;

use super::task::{State, Task};
use crate::exposition::{Histogram, escaped, head, text};

const TOTAL: &str = "etcddruid_operator_tasks_total";
/// Of so many Etcds tasks are counted apart; anybody can make one that names any.
const APART: usize = 10_000;
const DURATION: &str = "etcddruid_operator_task_duration_seconds";

/// What is counted apart.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Labels {
    /// The member of `spec.config` that is set.
    pub kind: &'static str,
    /// How it ended.
    pub state: State,
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
        let mut labels = Labels {
            kind: task.kind(),
            state,
            etcd: task.etcd.clone().unwrap_or_default(),
            namespace: task.namespace.clone(),
        };
        if self.ended.len() >= APART && !self.ended.contains_key(&labels) {
            (labels.etcd, labels.namespace) = Default::default();
        }
        if let Some(started) = task.started() {
            let took = Duration::try_from(now.duration_since(started)).unwrap_or_default();
            self.took.entry(labels.clone()).or_default().observe(took);
        }
        *self.ended.entry(labels).or_default() += 1;
    }

    /// The text that Prometheus reads.
    pub fn text(&self) -> String {
        text(|it| self.write(it))
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
