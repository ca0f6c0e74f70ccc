//! Every reason against an upgrade that the Kubernetes API shows.

use serde::{Serialize, Serializer};
use thiserror::Error;

use crate::api::{Condition, names};
use crate::render::Problem;

/// A reason against an upgrade.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Against {
    /// The object makes no sense to us.
    #[error("the Etcd cannot be read: {0}")]
    Unreadable(String),
    /// It is being deleted.
    #[error("the Etcd is being deleted")]
    Deleting,
    /// Its spec is not reconciled.
    #[error("the Etcd has the annotation {}", names::SUSPEND_RECONCILE)]
    Suspended,
    /// A person does not want it.
    #[error("spec.upgrade.enabled is false")]
    OptedOut,
    /// A person wants to look first.
    #[error("spec.upgrade.paused is true")]
    Paused,
    /// The spec cannot work.
    #[error("{0}")]
    Spec(Problem),
    /// Nobody looks at it.
    #[error("the Etcd has no status")]
    NoStatus,
    /// A condition is not there.
    #[error("the status has no condition {0}")]
    NoCondition(&'static str),
    /// A condition is not as it has to be.
    #[error("{kind} is {status} ({reason}): {message}")]
    Condition {
        /// Its name.
        kind: String,
        /// `True`, `False` or `Unknown`.
        status: String,
        /// Why, as a word.
        reason: String,
        /// Why.
        message: String,
    },
    /// The operator has refused it.
    #[error("the operator refuses it ({reason}): {message}")]
    Refused {
        /// Why, as a word.
        reason: String,
        /// Why, with remedies.
        message: String,
    },
    /// The operator has stopped.
    #[error("the last attempt is halted ({reason}): {message}")]
    Halted {
        /// Why, as a word.
        reason: String,
        /// Why, with a remedy.
        message: String,
        /// The Etcd.
        name: String,
        /// Its namespace.
        namespace: String,
    },
    /// The operator waits.
    #[error("the operator waits ({reason}): {message}")]
    Waiting {
        /// For what, as a word.
        reason: String,
        /// For what.
        message: String,
    },
    /// There is no StatefulSet.
    #[error("StatefulSet {0} does not exist")]
    NoStatefulSet(String),
    /// Pods are missing.
    #[error("{found} of {wanted} pods are there")]
    PodsMissing {
        /// How many are there.
        found: usize,
        /// How many should be.
        wanted: i64,
    },
    /// A pod is not ready.
    #[error("pod {0} is not ready")]
    PodNotReady(String),
    /// A pod is going.
    #[error("pod {0} is being deleted")]
    PodLeaving(String),
    /// Members run different releases, and no upgrade accounts for it.
    #[error("members run {} and no upgrade is under way", versions.join(" and "))]
    VersionsDiffer {
        /// Which.
        versions: Vec<String>,
    },
    /// It could not be found out.
    #[error("{what} could not be read: {why}")]
    Unknown {
        /// What.
        what: &'static str,
        /// Why.
        why: String,
    },
}

/// For programs.
#[derive(Serialize)]
struct Told<'a> {
    code: &'a str,
    what: String,
    remedy: String,
}

/// Each with its code, what it is, and what can be done about it.
pub(super) fn told<S: Serializer>(all: &[Against], to: S) -> Result<S::Ok, S::Error> {
    to.collect_seq(all.iter().map(|it| Told {
        code: it.code(),
        what: it.to_string(),
        remedy: it.remedy(),
    }))
}

impl Against {
    pub(super) fn condition(condition: &Condition) -> Self {
        Self::Condition {
            kind: condition.kind.clone(),
            status: condition.status.clone(),
            reason: condition.reason.clone(),
            message: condition.message.clone(),
        }
    }

    /// A stable name of it.
    pub fn code(&self) -> &str {
        match self {
            Self::Unreadable(_) => "Unreadable",
            Self::Deleting => "Deleting",
            Self::Suspended => "Suspended",
            Self::OptedOut => "OptedOut",
            Self::Paused => "Paused",
            Self::Spec(problem) => problem.code(),
            Self::NoStatus => "NoStatus",
            Self::NoCondition(_) => "NoCondition",
            Self::Condition { .. } => "Condition",
            Self::Refused { .. } => "Refused",
            Self::Halted { .. } => "Halted",
            Self::Waiting { .. } => "Waiting",
            Self::NoStatefulSet(_) => "NoStatefulSet",
            Self::PodsMissing { .. } => "PodsMissing",
            Self::PodNotReady(_) => "PodNotReady",
            Self::PodLeaving(_) => "PodLeaving",
            Self::VersionsDiffer { .. } => "VersionsDiffer",
            Self::Unknown { .. } => "Unknown",
        }
    }

    /// What can be done about it.
    pub fn remedy(&self) -> String {
        match self {
            Self::Unreadable(_) => "update kubectl-druid, or correct the Etcd".to_owned(),
            Self::Deleting => "leave it alone, or make another Etcd when it is gone".to_owned(),
            Self::Suspended => format!("remove the annotation {}", names::SUSPEND_RECONCILE),
            Self::OptedOut => "set spec.upgrade.enabled to true, or remove it".to_owned(),
            Self::Paused => "kubectl druid upgrade resume".to_owned(),
            Self::Spec(problem) => problem.remedy(),
            Self::NoStatus | Self::NoCondition(_) => {
                "see whether druid operator runs and what it logs of this Etcd".to_owned()
            }
            Self::Condition { .. } => {
                "see to the members that it speaks of: kubectl describe their pods".to_owned()
            }
            Self::Refused { .. } => {
                "do what it says; the operator looks again by itself".to_owned()
            }
            Self::Halted {
                name, namespace, ..
            } => format!(
                "do what it says, then: kubectl druid upgrade acknowledge {name} -n {namespace}"
            ),
            Self::Waiting { .. } => "wait, or see to what it waits for".to_owned(),
            Self::NoStatefulSet(_) => {
                "wait until the operator has made it, or see what it logs of this Etcd".to_owned()
            }
            Self::PodsMissing { .. } => {
                "see why they are not made: kubectl describe the StatefulSet".to_owned()
            }
            Self::PodNotReady(pod) => format!("see why: kubectl describe pod {pod}"),
            Self::PodLeaving(pod) => format!("wait until pod {pod} is there again"),
            Self::VersionsDiffer { .. } => {
                "let the operator finish what it began, or see what it logs of this Etcd".to_owned()
            }
            Self::Unknown { .. } => {
                "ask for the right to read it, or try again when the API server answers".to_owned()
            }
        }
    }
}
