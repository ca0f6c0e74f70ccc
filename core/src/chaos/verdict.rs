//! What must be so when it is over.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::{Fault, Plan, Roll};
use crate::demo::Account;

/// From so many minutes on, each kind of fault that was planned has had its turn.
const EVERY_KIND: u32 = 10;

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
    /// It cannot be known what became of it.
    #[error("the task {name} is gone, and was {state} when it was last seen")]
    Gone {
        /// Which.
        name: String,
        /// Its state then.
        state: String,
    },
    /// Backups are not what they should be.
    #[error("the backups: {0}")]
    Backups(String),
    /// What comes of them is not what was written.
    #[error("restored from the backups: {0}")]
    Restored(String),
    /// Nothing was put to the test.
    #[error("a fault was planned and never took place: {kind}{}", last(why.as_ref()))]
    NoFault {
        /// What kind of fault.
        kind: String,
        /// Why the last one that was to be was skipped; nothing if none had its turn.
        why: Option<String>,
    },
    /// Nothing was put to the test.
    #[error("neither an upgrade nor a way back was done")]
    NoRoll,
}

fn last(why: Option<&String>) -> String {
    why.map_or_else(String::new, |why| format!(" (the last one: {why})"))
}

/// A fault that had its turn.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct FaultSeen {
    /// What was to be.
    pub fault: Fault,
    /// Why it was not.
    pub skipped: Option<String>,
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
    /// Whether it has been deleted since.
    pub gone: bool,
}

/// All tasks that there ever were.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tasks(BTreeMap<String, TaskSeen>);

impl Tasks {
    /// Those that are there now.
    pub fn look(&mut self, now: Vec<TaskSeen>) {
        for task in self.0.values_mut() {
            task.gone = true;
        }
        self.0
            .extend(now.into_iter().map(|it| (it.name.clone(), it)));
    }

    /// Each as it was seen last.
    pub fn all(&self) -> Vec<TaskSeen> {
        self.0.values().cloned().collect()
    }
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
    /// What is wrong with what was restored from them.
    pub restored: Vec<String>,
    /// Every fault that had its turn.
    pub faults: Vec<FaultSeen>,
    /// Every change of all members that was done.
    pub rolls: Vec<Roll>,
}

/// Everything that must not be.
pub fn judge(plan: &Plan, facts: &Facts) -> Vec<Finding> {
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
    findings.extend(facts.restored.iter().cloned().map(Finding::Restored));
    findings.extend(calm(plan, facts));
    findings
}

/// What of the chaos was none.
fn calm(plan: &Plan, facts: &Facts) -> Vec<Finding> {
    let turns = || facts.faults.iter().map(|it| (it.fault.kind(), it));
    let happened = turns().filter(|(_, it)| it.skipped.is_none());
    let happened: BTreeSet<_> = happened.map(|(kind, _)| kind).collect();
    let planned: BTreeSet<_> = plan.faults.iter().map(|it| it.what.kind()).collect();
    let missing = planned.difference(&happened).map(|kind| {
        let skipped = turns().rfind(|(it, _)| it == kind);
        Finding::NoFault {
            kind: (*kind).to_owned(),
            why: skipped.and_then(|(_, it)| it.skipped.clone()),
        }
    });
    let long = plan.minutes >= EVERY_KIND;
    let rolled = |it: &Roll| matches!(it, Roll::Upgrade | Roll::Rollback);
    let calm = (!facts.rolls.iter().any(rolled)).then_some(Finding::NoRoll);
    missing.filter(|_| long).chain(calm).collect()
}

/// A task has ended, and says why if it did not do what it was for.
fn task(task: &TaskSeen) -> Option<Finding> {
    let (name, state) = (task.name.clone(), task.state.clone());
    match (state.as_str(), task.reason.clone()) {
        ("Succeeded", _) | ("Failed" | "Rejected", Some(_)) => None,
        ("Failed" | "Rejected", None) => Some(Finding::NoReason { name, state }),
        _ if task.gone => Some(Finding::Gone { name, state }),
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

    fn plan() -> Plan {
        Plan::new(1, EVERY_KIND)
    }

    fn good() -> Facts {
        let took_place = |fault| FaultSeen {
            fault,
            skipped: None,
        };
        Facts {
            faults: plan().faults.iter().map(|it| took_place(it.what)).collect(),
            rolls: vec![Roll::Upgrade],
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
            gone: false,
        }
    }

    fn said(plan: &Plan, facts: &Facts) -> Vec<String> {
        judge(plan, facts).iter().map(Finding::to_string).collect()
    }

    #[test]
    fn what_is_as_it_should_be_is_no_finding() {
        let mut facts = good();
        facts.tasks = vec![
            seen("Succeeded", None),
            seen("Failed", Some("no quorum")),
            seen("Rejected", Some("not ready")),
        ];
        assert_eq!(judge(&plan(), &facts), []);
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
            (
                |it| it.restored.push("lost: a".to_owned()),
                "restored from the backups: lost: a",
            ),
            (
                |it| it.rolls = vec![Roll::Scale(5)],
                "neither an upgrade nor a way back was done",
            ),
            (
                |it| it.faults.retain(|it| it.fault != Fault::KillOperator),
                "a fault was planned and never took place: the operator is killed",
            ),
        ];
        for (damage, expected) in table {
            let mut facts = good();
            damage(&mut facts);
            assert_eq!(said(&plan(), &facts), [*expected]);
        }
    }

    #[test]
    fn a_kind_of_fault_that_was_always_skipped_is_told_with_the_last_reason() {
        let mut facts = good();
        for seen in &mut facts.faults {
            if seen.fault == Fault::KillOperator {
                seen.skipped = Some("it has no pod".to_owned());
            }
        }
        let expected = "a fault was planned and never took place: the operator is killed (the last \
            one: it has no pod)";
        assert_eq!(said(&plan(), &facts), [expected]);
        // A short run does not come to everything.
        assert_eq!(said(&Plan::new(1, EVERY_KIND - 1), &facts), [""; 0]);
        // Once is enough.
        facts.faults.push(FaultSeen {
            fault: Fault::KillOperator,
            skipped: None,
        });
        assert_eq!(said(&plan(), &facts), [""; 0]);
    }

    #[test]
    fn a_task_that_was_deleted_is_judged_as_it_was_seen_last() {
        let mut tasks = Tasks::default();
        let of = |name: &str, state, reason| TaskSeen {
            name: name.to_owned(),
            ..seen(state, reason)
        };
        tasks.look(vec![
            of("a", "Pending", None),
            of("b", "InProgress", Some("asks")),
        ]);
        tasks.look(vec![of("a", "Succeeded", None)]);
        tasks.look(Vec::new());
        let mut facts = good();
        facts.tasks = tasks.all();
        let expected = "the task b is gone, and was InProgress when it was last seen";
        assert_eq!(said(&plan(), &facts), [expected]);
    }
}
