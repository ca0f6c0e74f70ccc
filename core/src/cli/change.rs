//! What people want of an Etcd with one word: merge patches.

use serde::Serialize;
use serde_json::{Value, json};
use thiserror::Error;

use super::colour::clean;
use super::found::{annotation, is_acknowledged, is_paused};
use super::target::{Key, said};
use crate::api::{Etcd, names};
use crate::upgrade::ShownPhase;

/// What a person wants of an Etcd.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    /// `upgrade pause`
    Pause,
    /// `upgrade resume`
    Resume,
    /// `upgrade acknowledge`
    Acknowledge,
    /// `reconciliation trigger`
    Trigger,
    /// `reconciliation suspend`
    Suspend,
    /// `reconciliation resume`
    Follow,
    /// `component-protection add`
    Protect,
    /// `component-protection remove`
    Unprotect,
}

/// Why there is no halt to acknowledge.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum NotHalted {
    /// Nothing was ever upgraded.
    #[error("no upgrade of it was ever begun, so there is no halt to acknowledge")]
    Never,
    /// It goes on, or waits for something else.
    #[error(
        "its upgrade is in phase {0} and not halted; `kubectl druid upgrade status` says what it waits for"
    )]
    Phase(String),
    /// The number of the attempt is not there.
    #[error(
        "status.upgrade.record is missing, so the number of the attempt is not known; apply the \
         definitions that `druid crds` prints"
    )]
    NoRecord,
}

/// Why a wish makes no sense.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum NoSense {
    /// There is no halt to acknowledge.
    #[error(transparent)]
    NotHalted(#[from] NotHalted),
    /// Nobody would reconcile it.
    #[error(
        "its reconciliation is suspended, so nothing would come of it; let it go on first: kubectl druid \
         reconciliation resume"
    )]
    Suspended,
    /// It goes.
    #[error("it is being deleted, so nothing is reconciled any more")]
    Deleting,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decided {
    /// Write this.
    Write {
        /// The merge patch.
        patch: Value,
        /// What is so then.
        says: String,
    },
    /// Nothing: it is so already; in words.
    Already(String),
}

impl Wish {
    /// What it is, in a question that goes on with `of 3 Etcds`.
    pub fn asks(self) -> &'static str {
        match self {
            Self::Pause => "Pause the upgrade",
            Self::Resume => "Resume the upgrade",
            Self::Acknowledge => "Acknowledge the halt",
            Self::Trigger => "Trigger the reconciliation",
            Self::Suspend => "Suspend the reconciliation",
            Self::Follow => "Resume the reconciliation",
            Self::Protect => "Protect the components",
            Self::Unprotect => "Lift the protection of the components",
        }
    }

    /// What comes of it.
    ///
    /// # Errors
    /// If it makes no sense for this Etcd.
    pub fn decide(self, etcd: &Etcd) -> Result<Decided, NoSense> {
        Ok(match self {
            Self::Pause => pause(etcd, true),
            Self::Resume => pause(etcd, false),
            Self::Acknowledge => acknowledge(etcd)?,
            Self::Trigger => trigger(etcd)?,
            Self::Suspend => mark(etcd, names::SUSPEND_RECONCILE, true, SUSPENDED),
            Self::Follow => mark(etcd, names::SUSPEND_RECONCILE, false, SUSPENDED),
            Self::Protect => mark(etcd, names::DISABLE_PROTECTION, false, UNPROTECTED),
            Self::Unprotect => mark(etcd, names::DISABLE_PROTECTION, true, UNPROTECTED),
        })
    }

    /// Whether the API server has kept it: etcd-druid's definition knows no `spec.upgrade`, and drops it.
    pub fn is_kept(self, answer: &Etcd) -> bool {
        match self {
            Self::Pause => is_paused(answer),
            Self::Resume => !is_paused(answer),
            Self::Acknowledge
            | Self::Trigger
            | Self::Suspend
            | Self::Follow
            | Self::Protect
            | Self::Unprotect => true,
        }
    }
}

/// What is said of an annotation.
#[derive(Clone, Copy)]
struct Words {
    /// It was put on.
    on: &'static str,
    /// It was there.
    was_on: &'static str,
    /// It was taken off.
    off: &'static str,
    /// It was not there.
    was_off: &'static str,
}

const SUSPENDED: Words = Words {
    on: "is suspended: what its spec asks for is not done until its reconciliation is resumed",
    was_on: "is suspended already",
    off: "is reconciled again",
    was_off: "is not suspended",
};
const UNPROTECTED: Words = Words {
    on: "is not protected any more: everybody who has the right may change what belongs to it",
    was_on: "is not protected already",
    off: "is protected: the webhook lets only the operator change what belongs to it",
    was_off: "is protected already",
};

fn mark(etcd: &Etcd, name: &str, on: bool, words: Words) -> Decided {
    let value = match (annotation(etcd, name), on) {
        (Some(_), true) => return Decided::Already(words.was_on.to_owned()),
        (None, false) => return Decided::Already(words.was_off.to_owned()),
        (None, true) => json!(""),
        (Some(_), false) => Value::Null,
    };
    let says = if on { words.on } else { words.off };
    Decided::Write {
        patch: annotate(name, &value),
        says: says.to_owned(),
    }
}

fn annotate(name: &str, value: &Value) -> Value {
    json!({ "metadata": { "annotations": { name: value } } })
}

/// Asks for one reconciliation.
fn trigger(etcd: &Etcd) -> Result<Decided, NoSense> {
    if etcd.metadata.deletion_timestamp.is_some() {
        return Err(NoSense::Deleting);
    }
    if annotation(etcd, names::SUSPEND_RECONCILE).is_some() {
        return Err(NoSense::Suspended);
    }
    if annotation(etcd, names::OPERATION) == Some(names::OPERATION_RECONCILE) {
        let already = "is to be reconciled already; the operator has yet to take it up";
        return Ok(Decided::Already(already.to_owned()));
    }
    Ok(Decided::Write {
        patch: annotate(names::OPERATION, &json!(names::OPERATION_RECONCILE)),
        says: "is to be reconciled".to_owned(),
    })
}

/// Acknowledges the halt that is in the status, and no later one.
fn acknowledge(etcd: &Etcd) -> Result<Decided, NotHalted> {
    let upgrade = etcd.status.as_ref().and_then(|it| it.upgrade.as_ref());
    let upgrade = upgrade.ok_or(NotHalted::Never)?;
    let phase = upgrade.phase.as_deref().ok_or(NotHalted::Never)?;
    if !ShownPhase::read(phase).is_some_and(ShownPhase::is_halted) {
        return Err(NotHalted::Phase(phase.to_owned()));
    }
    let record = upgrade.record.as_ref().ok_or(NotHalted::NoRecord)?;
    if is_acknowledged(etcd, record.attempt) {
        let already = "has its halt acknowledged already; the operator has yet to take it up";
        return Ok(Decided::Already(already.to_owned()));
    }
    let attempt = record.attempt.to_string();
    let said = upgrade.message.as_ref().or(upgrade.reason.as_ref());
    let said = said.map_or(phase, String::as_str);
    Ok(Decided::Write {
        patch: annotate(names::ACKNOWLEDGE_HALT, &json!(attempt)),
        says: format!("has its halt acknowledged: {said}"),
    })
}

/// Pauses or resumes.
fn pause(etcd: &Etcd, paused: bool) -> Decided {
    if is_paused(etcd) == paused {
        let how = if paused {
            "is paused already"
        } else {
            "is not paused"
        };
        return Decided::Already(how.to_owned());
    }
    let says = if paused {
        "is paused: a member in hand is finished, no further one is touched"
    } else {
        "is resumed"
    };
    Decided::Write {
        patch: json!({ "spec": { "upgrade": { "paused": paused } } }),
        says: says.to_owned(),
    }
}

/// What came of a wish.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Came {
    /// It was written.
    Changed,
    /// It was so already.
    Unchanged,
    /// It was not done.
    Failed,
}

/// What came of a wish for one Etcd.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Outcome {
    /// The namespace of the Etcd.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// What came of it.
    pub outcome: Came,
    /// In words.
    pub says: String,
}

impl Outcome {
    /// Of a wish that was decided on and done.
    pub fn done(key: &Key, decided: Decided) -> Self {
        let (outcome, says) = match decided {
            Decided::Write { says, .. } => (Came::Changed, says),
            Decided::Already(says) => (Came::Unchanged, says),
        };
        Self::of(key, outcome, format!("Etcd {} {says}", said(key)))
    }

    /// Of one that came to nothing.
    pub fn failed(key: &Key, why: String) -> Self {
        Self::of(key, Came::Failed, why)
    }

    fn of((namespace, name): &Key, outcome: Came, says: String) -> Self {
        Self {
            namespace: namespace.clone(),
            name: name.clone(),
            outcome,
            says,
        }
    }

    /// For people.
    pub fn text(&self) -> String {
        clean(&self.says)
    }
}
