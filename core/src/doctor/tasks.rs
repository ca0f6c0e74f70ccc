//! The tasks of an Etcd.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};

use super::Observed;
use super::finding::{Finding, How};
use crate::api::{EtcdOpsTask, Time};
use crate::cli::TaskRow;
use crate::observed::Answered;
use crate::ops_task::State;

/// How long a task may be there before an operator has looked at it.
const UNSEEN: SignedDuration = SignedDuration::from_mins(1);

/// Those of the Etcd, the oldest first.
pub(super) fn tasks(observed: &Observed, etcd: &str) -> Answered<Vec<TaskRow>> {
    match super::answered(&observed.tasks) {
        Answered::Known(all) => {
            let ours = |it: &&EtcdOpsTask| it.spec.etcd_name.as_deref() == Some(etcd);
            Answered::Known(TaskRow::all(all.iter().filter(ours)))
        }
        Answered::Unknown(why) => Answered::Unknown(why),
    }
}

/// The last failure of each kind, unless one has succeeded since; and one that nobody looks at.
pub(super) fn findings(rows: &[TaskRow], now: Timestamp) -> Vec<(Finding, How)> {
    let mut settled = BTreeSet::new();
    let mut found = Vec::new();
    for row in rows.iter().rev() {
        let state = row.state.as_deref().and_then(State::parse);
        match state {
            Some(State::Failed | State::Rejected) if settled.insert(row.kind) => {
                let finding = Finding::TaskFailed {
                    name: row.name.clone(),
                    kind: row.kind,
                    state: row.state.clone().unwrap_or_default().to_lowercase(),
                    says: row.says.clone(),
                };
                found.push((finding, How::Task(row.name.clone())));
            }
            Some(State::Succeeded) => {
                settled.insert(row.kind);
            }
            None if is_old(row, now) => {
                let says = format!("EtcdOpsTask {} waits for one", row.name);
                let how = How::Task(row.name.clone());
                found.push((Finding::OperatorSilent(says), how));
            }
            Some(State::Failed | State::Rejected | State::Pending | State::InProgress) | None => {}
        }
    }
    found
}

fn is_old(row: &TaskRow, now: Timestamp) -> bool {
    let created = row.created.as_ref().and_then(Time::at);
    created.is_some_and(|it| now.duration_since(it) > UNSEEN)
}
