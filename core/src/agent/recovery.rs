//! What the operator and the member agree on while a cluster is recovered from the loss of its quorum.
//!
//! The operator writes an instruction into an annotation of the member's lease; the sidecar reads it
//! before etcd starts, follows it, and reports in another annotation. Both survive whoever wrote them.
//! What was carried out is remembered on the volume too ([`Instruction::is_done`]), so that it is done
//! once for each volume, however often the pod restarts, and again on a volume that is new.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use thiserror::Error;

use crate::data_dir::alone::Standing;

/// The annotation with the instruction.
pub const INSTRUCTION: &str = "druid.gardener.cloud/recovery";
/// The annotation with the report.
pub const REPORT: &str = "druid.gardener.cloud/recovery-report";

/// What a member is to do before its etcd starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Order {
    /// Wait, and report what it holds. Nothing is changed.
    Hold,
    /// Go on with its data as a cluster of its own.
    Alone,
    /// Put its data aside, and restore the newest backup as a cluster of its own.
    Restore,
    /// Put its data aside, and join the cluster as a learner, as soon as that answers.
    Join,
}

impl fmt::Display for Order {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Hold => "hold",
            Self::Alone => "go on alone",
            Self::Restore => "restore the backup",
            Self::Join => "join",
        })
    }
}

/// An order, and for which task.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Instruction {
    /// The uid of the `EtcdOpsTask`.
    pub task: String,
    /// What to do.
    pub order: Order,
    /// The uid of the pod that has to go first, because its etcd was started before the order. It is for
    /// the operator.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod: Option<String>,
    /// The uid of the `PersistentVolumeClaim` that has to go first. It is for the operator.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub volume: Option<String>,
}

/// What a member holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "is")]
pub enum Holding {
    /// No data.
    Nothing,
    /// Data that etcd would not start with, or that is not to be used.
    Broken {
        /// What is wrong.
        why: String,
    },
    /// Data.
    Data {
        /// The cluster that it is of, in hexadecimal.
        cluster: String,
        /// The term of the last entry of its log.
        term: u64,
        /// The index of the last entry of its log.
        index: u64,
        /// The newest revision that it may reach, counting what is in the log alone.
        revision: i64,
    },
}

/// How it goes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "state")]
pub enum Course {
    /// It waits.
    Holds {
        /// What it has.
        data: Holding,
    },
    /// The order was carried out.
    Done,
    /// It cannot be; it is tried again.
    Failed {
        /// Why.
        why: String,
    },
}

/// What a member reports.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// Of which task.
    pub task: String,
    /// Of which order.
    pub order: Order,
    /// How it goes.
    #[serde(flatten)]
    pub course: Course,
}

/// Why an annotation says nothing.
#[derive(Debug, Error)]
#[error("it cannot be read ({0}); remove the annotation, or make a new task")]
pub struct Unreadable(#[from] serde_json::Error);

impl Instruction {
    /// An order of a task.
    pub fn new(task: &str, order: Order) -> Self {
        Self {
            task: task.to_owned(),
            order,
            pod: None,
            volume: None,
        }
    }

    /// Reads what [`Self::to_text`] wrote.
    ///
    /// # Errors
    /// If it is something else.
    pub fn parse(text: &str) -> Result<Self, Unreadable> {
        Ok(serde_json::from_str(text)?)
    }

    /// As an annotation has it, and a file on the volume.
    pub fn to_text(&self) -> String {
        // Strings and a word: this cannot fail.
        serde_json::to_string(self).unwrap_or_default()
    }

    /// The merge patch of a lease: what its member is told, or that it is told nothing any more.
    pub fn patch(told: Option<&Self>) -> Value {
        let annotations = match told {
            Some(told) => json!({INSTRUCTION: told.to_text()}),
            None => json!({INSTRUCTION: null, REPORT: null}),
        };
        json!({"metadata": {"annotations": annotations}})
    }

    /// What a lease says, if anything.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn of(lease: &Value) -> Result<Option<Self>, Unreadable> {
        let text = annotation(lease, INSTRUCTION);
        text.map(Self::parse).transpose()
    }

    /// What the annotations of a lease say, if anything.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn in_annotations(
        annotations: Option<&BTreeMap<String, String>>,
    ) -> Result<Option<Self>, Unreadable> {
        let text = annotations.and_then(|it| it.get(INSTRUCTION));
        text.map(|it| Self::parse(it)).transpose()
    }

    /// Whether it was carried out on the volume that remembers `done`. Who has done anything for a task
    /// has nothing to wait for in it.
    pub fn is_done(&self, done: Option<&Self>) -> bool {
        done.is_some_and(|done| {
            done.task == self.task && (done.order == self.order || self.order == Order::Hold)
        })
    }

    /// The report on it.
    pub fn report(&self, course: Course) -> Report {
        Report {
            task: self.task.clone(),
            order: self.order,
            course,
        }
    }
}

impl Report {
    /// What a lease says, if it says anything that can be read.
    pub fn of(lease: &Value) -> Option<Self> {
        serde_json::from_str(annotation(lease, REPORT)?).ok()
    }

    /// The merge patch of a lease.
    pub fn patch(&self) -> Value {
        let text = serde_json::to_string(self).unwrap_or_default();
        json!({"metadata": {"annotations": {REPORT: text}}})
    }
}

impl Holding {
    /// Of a log and the newest revision that it may lead to.
    pub fn data(standing: &Standing, revision: i64) -> Self {
        if !standing.votes {
            let why = format!("member {} is a learner", standing.member);
            return Self::Broken { why };
        }
        Self::Data {
            cluster: standing.cluster.to_string(),
            term: standing.last.term,
            index: standing.last.index,
            revision,
        }
    }
}

fn annotation<'a>(lease: &'a Value, name: &str) -> Option<&'a str> {
    lease
        .get("metadata")?
        .get("annotations")?
        .get(name)?
        .as_str()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instruction_is_read_from_a_lease_as_it_was_written() {
        let told = Instruction {
            pod: Some("p".to_owned()),
            ..Instruction::new("t", Order::Join)
        };
        let text = told.to_text();
        assert_eq!(text, r#"{"task":"t","order":"Join","pod":"p"}"#);
        let lease = json!({"metadata": {"annotations": {INSTRUCTION: text}}});
        assert_eq!(Instruction::of(&lease).unwrap(), Some(told));
        for none in [json!({}), json!({"metadata": {"annotations": {"a": "b"}}})] {
            assert_eq!(Instruction::of(&none).unwrap(), None);
        }
        for bad in [
            "",
            "{}",
            r#"{"task":"t","order":"Erase"}"#,
            r#"{"task":"t","order":"Hold","x":1}"#,
        ] {
            let lease = json!({"metadata": {"annotations": {INSTRUCTION: bad}}});
            assert!(Instruction::of(&lease).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_report_is_read_as_it_was_written() {
        let told = Instruction::new("t", Order::Hold);
        let data = Holding::Data {
            cluster: "1f".to_owned(),
            term: 2,
            index: 9,
            revision: 7,
        };
        let why = "w".to_owned();
        for course in [
            Course::Holds { data },
            Course::Holds {
                data: Holding::Nothing,
            },
            Course::Holds {
                data: Holding::Broken { why: why.clone() },
            },
            Course::Done,
            Course::Failed { why },
        ] {
            let report = told.report(course);
            assert_eq!(Report::of(&report.patch()), Some(report));
        }
        assert_eq!(Report::of(&json!({})), None);
    }

    #[test]
    fn an_order_is_carried_out_once_for_each_volume_and_task() {
        let of = |task: &str, order| Instruction::new(task, order);
        for order in [Order::Hold, Order::Alone, Order::Restore, Order::Join] {
            assert!(!of("t", order).is_done(None));
            assert!(!of("t", order).is_done(Some(&of("before", order))));
            assert!(of("t", order).is_done(Some(&of("t", order))));
        }
        assert!(of("t", Order::Hold).is_done(Some(&of("t", Order::Join))));
        // The survivor was behind the backup.
        assert!(!of("t", Order::Restore).is_done(Some(&of("t", Order::Alone))));
        let for_another_pod = Instruction {
            pod: Some("p".to_owned()),
            ..of("t", Order::Join)
        };
        assert!(for_another_pod.is_done(Some(&of("t", Order::Join))));
    }
}
