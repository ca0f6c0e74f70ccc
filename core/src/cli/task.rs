//! A task, from what is asked for to what came of it.

use std::fmt::Write as _;

use super::colour::{Colours, clean};
use super::table::{Cell, lines};
use crate::api::{
    EtcdOpsTask, EtcdOpsTaskConfig, EtcdOpsTaskSpec, Int32, TaskMember, TaskSnapshot,
};
use crate::ops_task::State;

/// A task for an Etcd; the API server gives it a name that begins so.
pub(super) fn task(etcd: &str, about: &str, config: EtcdOpsTaskConfig) -> EtcdOpsTask {
    let spec = EtcdOpsTaskSpec {
        config,
        ttl_seconds_after_finished: Int32(3600),
        etcd_name: Some(etcd.to_owned()),
    };
    let mut task = EtcdOpsTask::new("", spec);
    task.metadata.name = None;
    task.metadata.generate_name = Some(format!("{etcd}-{about}-"));
    task
}

/// How far a task is, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TaskShown {
    /// No operator has looked at it yet.
    Unseen,
    /// It waits or is being done: what is said of it.
    Going(String),
    /// It is done: what came of it, in lines.
    Succeeded(String),
    /// It came to nothing: why.
    Ended(String),
}

impl TaskShown {
    /// What a task says of itself.
    pub fn of(task: &EtcdOpsTask) -> Self {
        let Some(status) = &task.status else {
            return Self::Unseen;
        };
        let Some(word) = status.state.as_deref() else {
            return Self::Unseen;
        };
        let operation = status.last_operation.as_ref();
        let said = operation.map_or("", |it| it.description.as_str());
        let mut line = format!("{word}: {said}");
        match State::parse(word) {
            None | Some(State::Pending | State::InProgress) => Self::Going(clean(&line)),
            Some(State::Succeeded) => {
                let result = status.result.clone().unwrap_or_default();
                Self::Succeeded(match (&result.snapshot, &result.members) {
                    (Some(snapshot), _) => taken(snapshot),
                    (None, Some(members)) => clean(said) + "\n\n" + &defragmented(members),
                    (None, None) => clean(said) + "\n",
                })
            }
            Some(State::Failed | State::Rejected) => {
                let errors = status.last_errors.as_deref().unwrap_or_default();
                if let Some(last) = errors.last() {
                    let _ = write!(line, ": {}", last.description);
                }
                Self::Ended(clean(&line))
            }
        }
    }
}

fn taken(snapshot: &TaskSnapshot) -> String {
    let size = snapshot.size.map(|it| format!("{it} bytes"));
    let known = |it: Option<&str>| it.map_or_else(|| "not known".to_owned(), clean);
    format!(
        "snapshot   {}\nrevision   {}\nsize       {}\nsha256     {}\n",
        clean(&snapshot.name),
        snapshot.revision,
        known(size.as_deref()),
        known(snapshot.sha256.as_deref()),
    )
}

fn defragmented(members: &[TaskMember]) -> String {
    let row = |member: &TaskMember| {
        let (before, after) = (member.bytes_before, member.bytes_after);
        let numbers = [before, after, before - after].map(|it| Cell::plain(&it.to_string()));
        let [before, after, reclaimed] = numbers;
        [Cell::plain(&member.name), before, after, reclaimed]
    };
    let rows: Vec<_> = members.iter().map(row).collect();
    let header = ["MEMBER", "BYTES BEFORE", "AFTER", "RECLAIMED"];
    lines(header, &rows, Colours::Off).join("\n") + "\n"
}
