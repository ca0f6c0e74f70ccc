//! Watches the members from outside, for the live table and the report's timeline.

use std::sync::Arc;

use druid_core::member::{MemberId, MemberName};
use druid_core::observed::Process;

use crate::etcd::{Client, MemberStatus};
use crate::lab::cluster::Lab;
use crate::report::terminal::{MemberRow, Role, State, Ui};
use crate::witness::seen::{Answers, Looking, leader};

/// Watches until it is dropped.
pub(super) fn start(lab: Arc<Lab>, clients: Vec<(MemberName, Client)>, ui: Arc<Ui>) -> Looking {
    Looking::start(clients, move |seen, at, answers| {
        let processes = lab.processes();
        let mut rows = Vec::new();
        for (name, answer) in answers {
            let process = processes.get(name).unwrap_or(&Process::Absent);
            seen.note(at, name, process.version(), answer.is_some());
            rows.extend(row(name, process, answer.as_ref(), answers));
        }
        seen.note_leader(at, answers);
        ui.members(&rows);
    })
}

fn row(
    name: &MemberName,
    process: &Process,
    status: Option<&MemberStatus>,
    answers: &Answers,
) -> Option<MemberRow> {
    let role = match status {
        None => Role::Unknown,
        Some(status) if status.learner => Role::Learner,
        Some(_) if leader(answers) == Some(name) => Role::Leader,
        Some(_) => Role::Follower,
    };
    let state = match (status, process) {
        (Some(status), _) if status.leader == MemberId::NOBODY => State::NotReady,
        (Some(_), _) => State::Healthy,
        (None, Process::Running { .. }) => State::Starting,
        (None, Process::Absent | Process::Failing { .. }) => State::Down,
    };
    let lag = |status: &MemberStatus| status.raft_index.saturating_sub(status.raft_applied_index);
    Some(MemberRow {
        name: name.to_string(),
        version: process.version()?,
        role,
        state,
        db_size: status.map(|status| status.db_size),
        lag: status.map(lag),
    })
}
