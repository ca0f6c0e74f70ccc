//! What must be so when it is over.

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::demo::Account;

/// Something that must not be.
#[derive(Clone, Debug, PartialEq, Eq, Error, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Finding {
    /// The worst.
    #[error("{0} acknowledged writes are lost")]
    Lost(u64),
    /// An answer that no one store could have given.
    #[error("the history is not linearizable")]
    NotLinearizable,
    /// It was not found out.
    #[error("whether the history is linearizable was not decided")]
    Undecided,
    /// Members differ.
    #[error("the members' data was not found equal")]
    Unequal,
    /// What the load says must not be.
    #[error("{0}")]
    Load(String),
    /// It did not become whole again.
    #[error("{seconds} s after the last fault: {what}")]
    NotWhole {
        /// After so many seconds.
        seconds: u64,
        /// What is missing.
        what: String,
    },
    /// Nobody says why.
    #[error("the task {name} is {state} and says no reason")]
    NoReason {
        /// Which.
        name: String,
        /// Its state.
        state: String,
    },
    /// It never ends.
    #[error("the task {name} is still {state}: {reason}")]
    Stuck {
        /// Which.
        name: String,
        /// Its state.
        state: String,
        /// What it says.
        reason: String,
    },
    /// Backups are not what they should be.
    #[error("the backups: {0}")]
    Backups(String),
}

/// A task in the end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskSeen {
    /// Its name.
    pub name: String,
    /// Its state, as the status says it.
    pub state: String,
    /// What the status says of why.
    pub reason: Option<String>,
}

/// What was seen in the end.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// What the load came to, if it could say so.
    pub account: Account,
    /// What is not whole, and so many seconds after the last fault.
    pub not_whole: Option<(u64, String)>,
    /// All tasks that were seen, as they were last.
    pub tasks: Vec<TaskSeen>,
    /// What is wrong with the backups.
    pub backups: Option<String>,
}

/// Everything that must not be.
pub fn judge(facts: &Facts) -> Vec<Finding> {
    let account = &facts.account;
    let mut findings = Vec::new();
    if account.writes.lost > 0 {
        findings.push(Finding::Lost(account.writes.lost));
    }
    match account.linearizable {
        Some(true) => {}
        Some(false) => findings.push(Finding::NotLinearizable),
        None => findings.push(Finding::Undecided),
    }
    if account.hash_kv.equal != Some(true) {
        findings.push(Finding::Unequal);
    }
    findings.extend(account.broken.iter().cloned().map(Finding::Load));
    if let Some((seconds, what)) = facts.not_whole.clone() {
        findings.push(Finding::NotWhole { seconds, what });
    }
    findings.extend(facts.tasks.iter().filter_map(task));
    findings.extend(facts.backups.clone().map(Finding::Backups));
    findings
}

/// A task has ended, and says why if it did not do what it was for.
fn task(task: &TaskSeen) -> Option<Finding> {
    let (name, state) = (task.name.clone(), task.state.clone());
    match (state.as_str(), task.reason.clone()) {
        ("Succeeded", _) | ("Failed" | "Rejected", Some(_)) => None,
        (_, None) => Some(Finding::NoReason { name, state }),
        (_, Some(reason)) => Some(Finding::Stuck {
            name,
            state,
            reason,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::HashKv;

    fn good() -> Facts {
        Facts {
            account: Account {
                linearizable: Some(true),
                hash_kv: HashKv {
                    revision: Some(9),
                    equal: Some(true),
                },
                ..Account::default()
            },
            ..Facts::default()
        }
    }

    fn seen(state: &str, reason: Option<&str>) -> TaskSeen {
        TaskSeen {
            name: "t".to_owned(),
            state: state.to_owned(),
            reason: reason.map(str::to_owned),
        }
    }

    #[test]
    fn what_is_as_it_should_be_is_no_finding() {
        let mut facts = good();
        facts.tasks = vec![
            seen("Succeeded", None),
            seen("Failed", Some("no quorum")),
            seen("Rejected", Some("not ready")),
        ];
        assert_eq!(judge(&facts), []);
    }

    #[test]
    fn each_thing_that_must_not_be_is_one() {
        type Break = fn(&mut Facts);
        let table: &[(Break, &str)] = &[
            (
                |it| it.account.writes.lost = 2,
                "2 acknowledged writes are lost",
            ),
            (
                |it| it.account.linearizable = Some(false),
                "the history is not linearizable",
            ),
            (
                |it| it.account.linearizable = None,
                "whether the history is linearizable was not decided",
            ),
            (
                |it| it.account.hash_kv.equal = None,
                "the members' data was not found equal",
            ),
            (|it| it.account.broken.push("a gap".to_owned()), "a gap"),
            (
                |it| it.not_whole = Some((240, "main-1 is not ready".to_owned())),
                "240 s after the last fault: main-1 is not ready",
            ),
            (
                |it| it.tasks.push(seen("Failed", None)),
                "the task t is Failed and says no reason",
            ),
            (
                |it| it.tasks.push(seen("Pending", None)),
                "the task t is Pending and says no reason",
            ),
            (
                |it| it.tasks.push(seen("InProgress", Some("asks"))),
                "the task t is still InProgress: asks",
            ),
            (
                |it| it.backups = Some("a hole".to_owned()),
                "the backups: a hole",
            ),
        ];
        for (damage, expected) in table {
            let mut facts = good();
            damage(&mut facts);
            let found: Vec<_> = judge(&facts).iter().map(Finding::to_string).collect();
            assert_eq!(found, [*expected]);
        }
    }
}
