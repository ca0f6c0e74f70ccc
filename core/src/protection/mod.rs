//! Who may change what belongs to an Etcd: what the validating webhook "etcd component protection" answers.
//!
//! [`judge`] and [`Case::decide`] are the page: rules in the order of etcd-druid v0.37.1, each of which
//! answers or leaves it to the next one. It differs from etcd-druid where that can be gone around, or
//! asks for nothing:
//!
//! - A change is judged by the object as it was *and* as it is to be, and the stricter answer holds.
//!   etcd-druid looks at the new one alone, so that whoever takes off a label may do the rest next.
//! - The operator, and an etcd that renews its own lease, are let through before the Etcd is looked up: no
//!   Etcd would make that a no, and an API server that is busy does not hold them up.
//! - Exempt accounts wait only while objects are being changed, not while an upgrade is paused, refused, halted
//!   or waits. etcd-druid holds them off with `Requeue`, too, for as long as that lasts.
//! - The Job that compacts snapshots is protected like the rest; etcd-druid is asked about Jobs, and lets
//!   everybody change them. The Job controller writes `jobs/status`, of which nobody is asked; the garbage
//!   collector, which deletes the Job of a task, has to be exempt, as it is by default. A Job that copies backups
//!   belongs to a task, and is not protected.
//! - A claim is judged by its own labels, which Kubernetes copies from the selector of its StatefulSet. So
//!   it is protected also while there is no StatefulSet.
//!
//! What belongs to an Etcd that there is not is anybody's, with a warning, as with etcd-druid. It has to be: when a
//! namespace is deleted, the namespace controller removes what an Etcd has left (claims, and Leases that a
//! sidecar has made again), and nobody else would; and so do people who tidy up.

mod etcd;
pub mod numbers;
mod request;
mod verdict;

use std::collections::BTreeSet;

pub use etcd::{Guarded, Work};
pub use request::{Component, Item, Object, Operation, Request, ReviewError};
pub use verdict::{Allowed, Denial, Verdict, Warning, failure};

use crate::operator::config::{Protection, ServiceAccount};

/// Where the webhook is asked, as etcd-druid's.
pub const PATH: &str = "/webhooks/etcdcomponents";

/// What has to be known before a request can be answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next<'a> {
    /// Nothing.
    Answer(Verdict),
    /// The StatefulSet that is scaled: [`scaled`] goes on with it.
    StatefulSet(Item),
    /// The Etcds that the object belongs to: [`Case::decide`] goes on with them.
    Etcds(Case<'a>),
}

/// An object that is managed, and a request that would change it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Case<'a> {
    request: &'a Request,
    component: Component,
    claims: BTreeSet<Claim>,
    leaves: bool,
}

/// What a managed object says of whom it belongs to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Claim {
    /// Nothing.
    Nobody,
    /// An Etcd of its namespace.
    Etcd(String),
}

/// The answer, or what is missing for it.
pub fn judge<'a>(request: &'a Request, rules: &Protection) -> Next<'a> {
    let component = match (request.operation, request.component) {
        (Operation::Create | Operation::Connect, _) => return Next::from(Allowed::Operation),
        (Operation::Update | Operation::Delete, None) => return Next::from(Allowed::Kind),
        (Operation::Update | Operation::Delete, Some(component)) => component,
    };
    if request.user == rules.operator.to_string() {
        return Next::from(Allowed::Operator);
    }
    if component == Component::Scale {
        return Next::StatefulSet(request.item(component));
    }
    managed(request, component, &request.objects)
}

/// Goes on with the StatefulSet that is scaled, if there is one.
pub fn scaled(request: &Request, stateful_set: Option<Object>) -> Next<'_> {
    match stateful_set {
        Some(object) => managed(request, Component::Scale, &[object]),
        None => Next::from(Allowed::NoStatefulSet),
    }
}

/// Of an object, as it was and as it is to be.
fn managed<'a>(request: &'a Request, component: Component, objects: &[Object]) -> Next<'a> {
    let copies = |it: &Object| component == Component::Job && it.copies;
    let ours = objects.iter().filter(|it| it.managed && !copies(it));
    let claims: BTreeSet<_> = ours
        .map(|it| it.part_of.clone().map_or(Claim::Nobody, Claim::Etcd))
        .collect();
    if claims.is_empty() {
        return Next::from(Allowed::Unmanaged);
    }
    let case = Case {
        request,
        component,
        claims,
        leaves: objects.iter().any(|it| it.leaves),
    };
    if request.operation == Operation::Update && case.claims.iter().all(|it| case.is_own_lease(it))
    {
        return Next::from(Allowed::OwnLease);
    }
    Next::Etcds(case)
}

impl Case<'_> {
    /// The names of the Etcds that have to be known, in the namespace of the request.
    pub fn etcds(&self) -> Vec<&str> {
        let named = self.claims.iter().filter_map(|claim| match claim {
            Claim::Nobody => None,
            Claim::Etcd(name) => Some(name.as_str()),
        });
        named.collect()
    }

    /// The answer, the strictest of all that apply. `etcds`: those that there are.
    pub fn decide(&self, rules: &Protection, etcds: &[Guarded]) -> Verdict {
        let answers = self.claims.iter().map(|claim| match claim {
            Claim::Nobody => Verdict::Warned(Warning::NoEtcdNamed { item: self.item() }),
            Claim::Etcd(name) => match etcds.iter().find(|it| it.name == *name) {
                None => Verdict::Warned(Warning::EtcdMissing {
                    item: self.item(),
                    etcd: name.clone(),
                }),
                Some(etcd) => self.of(etcd, claim, rules),
            },
        });
        answers
            .max_by_key(Verdict::strictness)
            .unwrap_or(Verdict::Allowed(Allowed::Unmanaged))
    }

    fn of(&self, etcd: &Guarded, claim: &Claim, rules: &Protection) -> Verdict {
        let exempt = rules.exempt.contains(&self.request.user);
        if etcd.protection_disabled {
            return Verdict::Allowed(Allowed::ProtectionDisabled);
        }
        if etcd.runtime_components_disabled && self.component.is_runtime() {
            return Verdict::Allowed(Allowed::RuntimeComponent);
        }
        if etcd.leaves && self.request.operation == Operation::Delete {
            return if exempt {
                Verdict::Allowed(Allowed::Exempt)
            } else {
                Verdict::Denied(Denial::EtcdLeaves {
                    item: self.item(),
                    etcd: etcd.name.clone(),
                })
            };
        }
        if self.is_own_lease(claim) {
            return Verdict::Allowed(Allowed::OwnLease);
        }
        match (exempt, etcd.work) {
            (true, Some(work)) if !self.leaves => Verdict::Denied(Denial::Reconciled {
                item: self.item(),
                etcd: etcd.name.clone(),
                user: self.request.user.clone(),
                work,
            }),
            (true, _) => Verdict::Allowed(Allowed::Exempt),
            (false, _) => Verdict::Denied(Denial::NotTheirs {
                item: self.item(),
                etcd: etcd.name.clone(),
                user: self.request.user.clone(),
                operation: self.request.operation,
            }),
        }
    }

    /// Whether it is a lease of this Etcd, and the service account of its pods asks.
    fn is_own_lease(&self, claim: &Claim) -> bool {
        match claim {
            Claim::Nobody => false,
            Claim::Etcd(name) => {
                let account = ServiceAccount {
                    namespace: self.request.namespace.clone(),
                    name: name.clone(),
                };
                self.component == Component::Lease && self.request.user == account.to_string()
            }
        }
    }

    fn item(&self) -> Item {
        self.request.item(self.component)
    }
}

impl From<Allowed> for Next<'_> {
    fn from(why: Allowed) -> Self {
        Self::Answer(Verdict::Allowed(why))
    }
}

#[cfg(test)]
mod tests;
