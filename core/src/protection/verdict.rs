//! What is answered: every yes with its reason, every warning and every no with a remedy.

use std::fmt;

use serde_json::{Value, json};

use super::etcd::Work;
use super::request::{Item, Operation, VERSION};
use crate::api::names;

/// The answer to a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Yes.
    Allowed(Allowed),
    /// Yes, and whoever asks is told something.
    Warned(Warning),
    /// No.
    Denied(Denial),
}

/// Why somebody may change an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Allowed {
    /// Nothing is changed or deleted.
    Operation,
    /// Nothing of this kind is protected.
    Kind,
    /// It is not managed by the operator.
    Unmanaged,
    /// There is no StatefulSet that could be scaled.
    NoStatefulSet,
    /// The Etcd says that everybody may.
    ProtectionDisabled,
    /// The Etcd says that it needs no such object.
    RuntimeComponent,
    /// The operator asks.
    Operator,
    /// A member renews a lease of its own Etcd.
    OwnLease,
    /// An exempt service account asks, and the operator does not work on the Etcd.
    Exempt,
}

/// What somebody is told who may change an object that looks as if they might not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Warning {
    /// It names no Etcd.
    NoEtcdNamed {
        /// The object.
        item: Item,
    },
    /// There is no such Etcd.
    EtcdMissing {
        /// The object.
        item: Item,
        /// The Etcd that it names.
        etcd: String,
    },
}

/// Why somebody may not change an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Denial {
    /// The operator deletes it in its turn.
    EtcdLeaves {
        /// The object.
        item: Item,
        /// The Etcd.
        etcd: String,
    },
    /// Somebody exempt, while the operator works on it.
    Reconciled {
        /// The object.
        item: Item,
        /// The Etcd.
        etcd: String,
        /// Who asks.
        user: String,
        /// How far the operator is.
        work: Work,
    },
    /// It is the operator's.
    NotTheirs {
        /// The object.
        item: Item,
        /// The Etcd.
        etcd: String,
        /// Who asks.
        user: String,
        /// What they want to do.
        operation: Operation,
    },
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoEtcdNamed { item } => write!(
                f,
                "{item} is labelled {}={} but not with the Etcd that it belongs to, so nothing \
                 protects it: label it {}=ETCD",
                names::MANAGED_BY,
                names::MANAGER,
                names::PART_OF
            ),
            Self::EtcdMissing { item, etcd } => write!(
                f,
                "{item} belongs to Etcd {}/{etcd}, which there is not, so nothing protects it: if it \
                 is needed by nobody, delete it",
                item.namespace
            ),
        }
    }
}

impl fmt::Display for Denial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (item, etcd) = match self {
            Self::EtcdLeaves { item, etcd } => {
                write!(
                    f,
                    "{item} goes with Etcd {}/{etcd}, which is being deleted: the operator removes \
                     all that belongs to it, wait for that",
                    item.namespace
                )?;
                (item, etcd)
            }
            Self::Reconciled {
                item,
                etcd,
                user,
                work,
            } => {
                write!(
                    f,
                    "{item} belongs to Etcd {}/{etcd}, which the operator is reconciling ({}): {user} \
                     is exempt only when that is over, try again later",
                    item.namespace,
                    work.word()
                )?;
                (item, etcd)
            }
            Self::NotTheirs {
                item,
                etcd,
                user,
                operation,
            } => {
                let what = match operation {
                    Operation::Create => "create",
                    Operation::Update => "change",
                    Operation::Delete => "delete",
                    Operation::Connect => "connect to",
                };
                write!(
                    f,
                    "{item} belongs to Etcd {}/{etcd} and {user} may not {what} it: change the Etcd \
                     instead, or have a service account named in \
                     webhooks.etcdComponentProtection.exemptServiceAccounts",
                    item.namespace
                )?;
                (item, etcd)
            }
        };
        write!(
            f,
            "; to lift the protection: kubectl annotate etcd {etcd} --namespace {} {}=true",
            item.namespace,
            names::DISABLE_PROTECTION
        )
    }
}

impl Verdict {
    /// Of two answers the larger one holds.
    pub(super) const fn strictness(&self) -> u8 {
        match self {
            Self::Allowed(_) => 0,
            Self::Warned(_) => 1,
            Self::Denied(_) => 2,
        }
    }

    /// In one word, for numbers.
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Allowed(_) => "allowed",
            Self::Warned(_) => "warned",
            Self::Denied(_) => "denied",
        }
    }

    /// The HTTP status in the answer.
    pub const fn code(&self) -> u16 {
        match self {
            Self::Allowed(_) | Self::Warned(_) => 200,
            Self::Denied(_) => 403,
        }
    }

    /// The `AdmissionReview` that answers.
    pub fn review(&self, uid: &str) -> Value {
        match self {
            Self::Allowed(_) => review(&json!({ "uid": uid, "allowed": true })),
            Self::Warned(warning) => {
                let warnings = [warning.to_string()];
                review(&json!({ "uid": uid, "allowed": true, "warnings": warnings }))
            }
            Self::Denied(denial) => no(uid, self.code(), "Forbidden", &denial.to_string()),
        }
    }
}

/// The `AdmissionReview` that says that nothing could be found out. Like etcd-druid's, it is a no, with the
/// status of an error of the server.
pub fn failure(uid: &str, why: &str) -> Value {
    no(uid, 500, "InternalError", why)
}

fn no(uid: &str, code: u16, reason: &str, message: &str) -> Value {
    let status = json!({ "code": code, "reason": reason, "message": message });
    review(&json!({ "uid": uid, "allowed": false, "status": status }))
}

fn review(response: &Value) -> Value {
    json!({ "apiVersion": VERSION, "kind": "AdmissionReview", "response": response })
}
