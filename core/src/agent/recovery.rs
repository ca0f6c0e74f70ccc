//! What the operator and the member agree on while a cluster is recovered from the loss of its quorum.
//!
//! The operator writes an instruction into an annotation of the member's lease; the sidecar reads it
//! before etcd starts, follows it, and reports in another annotation. Both survive whoever wrote them.
//! What was begun and what was carried out is remembered on the volume too ([`Memory`]), so that it is done
//! once for each volume, however often the pod restarts, and again on a volume that is new
//! ([`Instruction::follow`]).

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
    /// The order that this one takes back, unless that was begun.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revokes: Option<Order>,
}

/// What a volume remembers of the last instruction that changed it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Memory {
    /// For which task.
    pub task: String,
    /// What was done.
    pub order: Order,
    /// Whether it was begun, and is not known to be done.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub begun: bool,
}

/// What a member does about an instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Follow {
    /// Nothing: it was done on this volume.
    Done,
    /// It waits.
    Hold,
    /// It carries out what it is told.
    Obey(Order),
    /// It ends what it has begun, although that may have been taken back.
    End(Order),
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
        /// The recovery that made it what it is, if one did.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        made: Option<Memory>,
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
    /// The order that it takes back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revokes: Option<Order>,
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
            revokes: None,
        }
    }

    /// Takes an order of a task back. The pod that may be carrying it out goes first, so that it was begun
    /// or never will be.
    pub fn revoking(task: &str, order: Order, pod: Option<String>) -> Self {
        Self {
            pod,
            revokes: Some(order),
            ..Self::new(task, Order::Hold)
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

    /// The merge patch of a lease: what its member is told, or that it is told nothing any more. What it
    /// has reported goes. `version`: the resource version at which the lease was looked at; the patch is
    /// refused if it has changed since, as somebody may have told it something else.
    pub fn patch(told: Option<&Self>, version: Option<&str>) -> Value {
        json!({"metadata": {
            "resourceVersion": version,
            "annotations": { INSTRUCTION: told.map(Self::to_text), REPORT: null },
        }})
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

    /// What to do about it on a volume that remembers this. Who has done anything for a task has nothing to
    /// wait for in it, and who has begun something ends it: what it has changed by then is not known.
    pub fn follow(&self, memory: Option<&Memory>) -> Follow {
        let ours = memory.filter(|it| it.task == self.task);
        match (ours, self.order) {
            (Some(memory), Order::Hold) if memory.begun => Follow::End(memory.order),
            (Some(_), Order::Hold) => Follow::Done,
            (Some(memory), order) if memory.order == order && memory.begun => Follow::End(order),
            (Some(memory), order) if memory.order == order => Follow::Done,
            (None, Order::Hold) => Follow::Hold,
            (_, order) => Follow::Obey(order),
        }
    }

    /// The report on it.
    pub fn report(&self, course: Course) -> Report {
        Report {
            task: self.task.clone(),
            order: self.order,
            revokes: self.revokes,
            course,
        }
    }

    /// What the volume remembers once this order is begun for it.
    pub fn begin(&self, order: Order) -> Memory {
        Memory {
            task: self.task.clone(),
            order,
            begun: true,
        }
    }
}

impl Memory {
    /// The same, carried out.
    #[must_use]
    pub fn done(self) -> Self {
        Self {
            begun: false,
            ..self
        }
    }

    /// Reads what [`Self::to_text`] wrote.
    ///
    /// # Errors
    /// If it is something else.
    pub fn parse(text: &str) -> Result<Self, Unreadable> {
        Ok(serde_json::from_str(text)?)
    }

    /// As a file on the volume has it.
    pub fn to_text(&self) -> String {
        // Strings and a word: this cannot fail.
        serde_json::to_string(self).unwrap_or_default()
    }
}

impl Order {
    /// Whether it makes a cluster of its own out of a member.
    pub fn founds(self) -> bool {
        match self {
            Self::Alone | Self::Restore => true,
            Self::Hold | Self::Join => false,
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
    /// Of a log, the newest revision that it may lead to, and what its volume remembers.
    pub fn data(standing: &Standing, revision: i64, made: Option<Memory>) -> Self {
        if !standing.votes {
            let why = format!("member {} is a learner", standing.member);
            return Self::Broken { why };
        }
        Self::Data {
            cluster: standing.cluster.to_string(),
            term: standing.last.term,
            index: standing.last.index,
            revision,
            made: made.filter(|it| it.order.founds()),
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
            made: Some(told.begin(Order::Alone).done()),
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
        let done = |order| of("t", order).begin(order).done();
        for order in [Order::Alone, Order::Restore, Order::Join] {
            let told = of("t", order);
            assert_eq!(told.follow(None), Follow::Obey(order));
            let before = of("before", order).begin(order).done();
            assert_eq!(told.follow(Some(&before)), Follow::Obey(order));
            assert_eq!(told.follow(Some(&told.begin(order))), Follow::End(order));
            assert_eq!(told.follow(Some(&done(order))), Follow::Done);
            // Who has done anything for it does not wait.
            assert_eq!(
                of("t", Order::Hold).follow(Some(&done(order))),
                Follow::Done
            );
            let hold = of("t", Order::Hold).follow(Some(&before));
            assert_eq!(hold, Follow::Hold);
        }
        assert_eq!(of("t", Order::Hold).follow(None), Follow::Hold);
        // The survivor was behind the backup.
        let restore = of("t", Order::Restore).follow(Some(&done(Order::Alone)));
        assert_eq!(restore, Follow::Obey(Order::Restore));
        let for_another_pod = Instruction {
            pod: Some("p".to_owned()),
            ..of("t", Order::Join)
        };
        assert_eq!(
            for_another_pod.follow(Some(&done(Order::Join))),
            Follow::Done
        );
    }

    #[test]
    fn what_is_taken_back_is_ended_if_it_was_begun() {
        for order in [Order::Alone, Order::Restore] {
            let revoking = Instruction::revoking("t", order, None);
            let begun = revoking.begin(order);
            assert_eq!(revoking.follow(None), Follow::Hold);
            assert_eq!(revoking.follow(Some(&begun)), Follow::End(order));
            assert_eq!(revoking.follow(Some(&begun.done())), Follow::Done);
            // An answer to what was asked before says nothing of it.
            let holds = |told: &Instruction| {
                told.report(Course::Holds {
                    data: Holding::Nothing,
                })
            };
            assert_ne!(holds(&revoking), holds(&Instruction::new("t", Order::Hold)));
        }
    }

    #[test]
    fn a_volume_remembers_what_it_was_told_before_this_release_too() {
        let memory = Instruction::new("t", Order::Restore).begin(Order::Restore);
        assert_eq!(Memory::parse(&memory.to_text()).unwrap(), memory);
        let done = memory.done();
        let text = r#"{"task":"t","order":"Restore","pod":"p"}"#;
        assert_eq!(Memory::parse(text).unwrap(), done);
        assert_eq!(done.to_text(), r#"{"task":"t","order":"Restore"}"#);
        assert!(Memory::parse("").is_err());
    }
}
