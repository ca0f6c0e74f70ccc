//! What is written into the status of an Etcd about its members, made from facts.
//!
//! Types, reasons and messages are those of etcd-druid v0.37.1. Every status is a fixed point: as
//! long as no fact changes but the renewal of leases, it stays the same to the letter, so that an
//! idle cluster costs no write.
//!
//! # Where it differs from etcd-druid, and why
//!
//! - Times change with what is said, not with every look (its status is written every 15 s). For
//!   the same reason warnings about volumes come without ages and counts, in the order of claims,
//!   and of several those are shown that began last.
//! - If members answer, that counts: `Ready` within one look, and not when leases run out a minute
//!   later. A member that does not serve is `NotReady` with `NotAnswering`, `NotServing` or
//!   `Learner`; one that serves before it has a lease is `Ready` with `Serving`. A quorum that is
//!   yet to come is `Unknown` with `QuorumNotFormed`, an election `Unknown` with `NoLeader`.
//! - A quorum is one of `spec.replicas`, not of the members that have registered: one of three is
//!   none (B15). If those that are missing would decide, it is `Unknown` with
//!   `TooFewMembersInStatus`.
//! - Without a `deltaSnapshotPeriod` the sidecar's own is expected (B1: it crashes).
//! - A full snapshot has to be there at its slot, and as long after as one may take, so that
//!   `BackupReady` does not flap around the slot (B13). A failure does not depend on what was said
//!   before. With deltas switched off, full snapshots are enough.
//! - While the cluster is hibernated nothing changes, transition times neither (B14).
//! - A pod is updated if its own revision says so: with `OnDelete`, the counters of a StatefulSet
//!   never come to agree. So `currentReplicas` is the number of pods that need no update, and
//!   `replicas` that of all pods (B25).

mod backup;
mod cluster_id;
pub mod conditions;
mod facts;
mod identity;
mod members;
pub mod numbers;
pub mod operation;
mod pods;
mod quorum;
#[cfg(test)]
mod tests;
mod timing;

use jiff::Timestamp;

pub use facts::{
    Backup, BackupPlan, ClaimWarning, Facts, MemberLease, Pod, SnapshotLease, Sought, StatefulSet,
    Thresholds,
};

pub(crate) use self::members::serves;

use self::conditions::{BY_STATUS, Finding, Kind, Truth, find};
use self::members::{Member, State};
use self::timing::Timing;
use crate::api::EtcdStatus;
use crate::api::names::{MANAGED_BY, MANAGER, PART_OF};

/// A status, and how long it holds.
#[derive(Clone, Debug, PartialEq)]
pub struct Told {
    /// The status. What is not about members (operation, errors, generation, upgrade) is as it was.
    pub status: EtcdStatus,
    /// The first moment at which time alone may change it.
    pub next_change: Option<Timestamp>,
}

/// The status of an Etcd.
pub fn status(facts: &Facts, now: Timestamp) -> Told {
    let mut status = facts.previous.clone();
    if !facts.runtime_components {
        return Told {
            status,
            next_change: None,
        };
    }
    let mut timing = Timing::at(now);
    let found = if facts.replicas == 0 {
        status.members = None;
        hibernated(facts)
    } else {
        let members = members::members(facts, &mut timing);
        let before = status.members.take().unwrap_or_default();
        let written = members::written(&members, &before, timing);
        status.members = (!written.is_empty()).then_some(written);
        found(facts, &members, &mut timing)
    };
    conditions::put(&mut status, &BY_STATUS, found, now);
    pods::count(facts, &mut status);
    status.selector = Some(format!("{MANAGED_BY}={MANAGER},{PART_OF}={}", facts.name));
    Told {
        status,
        next_change: timing.next(),
    }
}

/// The first moment at which time alone may change the status: a lease runs out, a snapshot is due.
pub fn next_change(facts: &Facts, now: Timestamp) -> Option<Timestamp> {
    status(facts, now).next_change
}

fn found(facts: &Facts, members: &[Member], timing: &mut Timing) -> Vec<Finding> {
    let mut found = vec![
        quorum::ready(facts, members, timing),
        all_ready(facts, members),
        pods::all_updated(facts),
        pods::volumes_ready(facts),
        cluster_id::mismatch(facts, members),
    ];
    let backup = facts.backup.as_ref();
    found.extend(backup.map(|backup| backup::backup_ready(backup, timing)));
    found
}

/// The condition `AllMembersReady`.
fn all_ready(facts: &Facts, members: &[Member]) -> Finding {
    let kind = Kind::AllMembersReady;
    if members.is_empty() {
        return quorum::no_members(kind);
    }
    let ready = |member: &Member| member.why.state() == State::Ready;
    if members.len() == usize::from(facts.replicas) && members.iter().all(ready) {
        let message = "All members are ready";
        Finding::new(kind, Truth::True, "AllMembersReady", message)
    } else {
        let message = "At least one member is not ready";
        Finding::new(kind, Truth::False, "NotAllMembersReady", message)
    }
}

/// What was said last, as far as it was said.
fn hibernated(facts: &Facts) -> Vec<Finding> {
    let looked_at = |kind: &Kind| *kind != Kind::BackupReady || facts.backup.is_some();
    let kinds = BY_STATUS.into_iter().filter(looked_at);
    kinds
        .map(|kind| {
            let before = find(&facts.previous, kind);
            let status = before.map_or(Truth::Unknown.word(), |before| &before.status);
            Finding {
                kind,
                status: status.to_owned(),
                reason: quorum::NOT_CHECKED.to_owned(),
                message: "etcd cluster has been scaled down".to_owned(),
            }
        })
        .collect()
}
