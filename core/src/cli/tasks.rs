//! `kubectl druid tasks`.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde::Serialize;

use super::age::age_of;
use super::colour::{Colours, Tone};
use super::table::{Cell, lines};
use super::target::Key;
use crate::api::{EtcdOpsTask, LastError, TaskResult, Time};
use crate::ops_task::{State, Task};

/// A task in a list.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TaskRow {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// The Etcd.
    pub etcd: Option<String>,
    /// The member of `spec.config` that is set.
    pub kind: &'static str,
    /// `Pending`, `InProgress`, `Succeeded`, `Failed` or `Rejected`; nothing before an operator has
    /// looked at it.
    pub state: Option<String>,
    /// What is done, or came of it.
    pub says: String,
    /// When it was made.
    pub created: Option<Time>,
    /// What went wrong, if something did.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<LastError>,
    /// What came of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub result: Option<TaskResult>,
}

impl TaskRow {
    /// One for each, by namespace, in the order in which they were made.
    pub fn all<'a>(tasks: impl IntoIterator<Item = &'a EtcdOpsTask>) -> Vec<Self> {
        let mut tasks: Vec<_> = tasks.into_iter().collect();
        tasks.sort_by_cached_key(|it| {
            let created = it.metadata.creation_timestamp.as_ref().map(|it| it.0);
            (
                it.metadata.namespace.clone(),
                created,
                it.metadata.name.clone(),
            )
        });
        tasks.into_iter().map(Self::of).collect()
    }

    /// Those of some Etcds.
    pub fn about(rows: Vec<Self>, etcds: &BTreeSet<Key>) -> Vec<Self> {
        let ours = |row: &Self| {
            let etcd = row.etcd.clone().unwrap_or_default();
            etcds.contains(&(row.namespace.clone(), etcd))
        };
        rows.into_iter().filter(ours).collect()
    }

    /// What a task says of itself.
    pub fn of(object: &EtcdOpsTask) -> Self {
        let task = Task::of(object);
        let status = object.status.as_ref();
        let operation = status.and_then(|it| it.last_operation.as_ref());
        let created = object.metadata.creation_timestamp.as_ref();
        Self {
            kind: task.kind(),
            namespace: task.namespace,
            name: task.name,
            etcd: task.etcd,
            state: status.and_then(|it| it.state.clone()),
            says: operation.map_or_else(String::new, |it| it.description.clone()),
            created: created.map(|it| Time::seconds(it.0)),
            errors: status
                .and_then(|it| it.last_errors.clone())
                .unwrap_or_default(),
            result: status.and_then(|it| it.result.clone()),
        }
    }

    fn cells(&self, now: Timestamp) -> [Cell; 7] {
        let state = self.state.as_deref();
        let tone = match state.and_then(State::parse) {
            Some(State::Succeeded) => Tone::Good,
            Some(State::Failed | State::Rejected) => Tone::Bad,
            Some(State::Pending | State::InProgress) => Tone::Held,
            None => Tone::Plain,
        };
        [
            Cell::plain(&self.namespace),
            Cell::plain(&self.name),
            Cell::known(self.etcd.as_deref()),
            Cell::plain(self.kind),
            Cell::toned(state.unwrap_or("-"), tone),
            Cell::plain(&age_of(self.created.as_ref(), now)),
            Cell::plain(&self.says),
        ]
    }
}

/// A table.
pub fn tasks(rows: &[TaskRow], now: Timestamp, colours: Colours) -> String {
    if rows.is_empty() {
        return String::new();
    }
    let header = ["NAMESPACE", "NAME", "ETCD", "KIND", "STATE", "AGE", "SAYS"];
    let cells: Vec<_> = rows.iter().map(|row| row.cells(now)).collect();
    lines(header, &cells, colours).join("\n") + "\n"
}

/// What has changed since the last look: a line for each task that says something else.
#[derive(Clone, Debug, Default)]
pub struct TaskChanges {
    known: Vec<TaskRow>,
}

impl TaskChanges {
    /// The lines for what is new.
    pub fn next(&mut self, rows: Vec<TaskRow>) -> Vec<String> {
        let said = |row: &TaskRow| (row.state.clone(), row.says.clone());
        let news = rows.iter().filter(|row| {
            let mut known = self.known.iter();
            let before = known.find(|it| (&it.namespace, &it.name) == (&row.namespace, &row.name));
            before.map(said) != Some(said(row))
        });
        let line = |row: &TaskRow| {
            let state = row.state.as_deref().unwrap_or("-");
            super::colour::clean(&format!(
                "{}/{}: {} of {}: {state}: {}",
                row.namespace,
                row.name,
                row.kind,
                row.etcd.as_deref().unwrap_or("-"),
                row.says
            ))
        };
        let lines = news.map(line).collect();
        self.known = rows;
        lines
    }
}
