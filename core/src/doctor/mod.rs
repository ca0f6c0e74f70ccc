//! `kubectl druid doctor`: everything about one Etcd, and what to do first.
//!
//! [`diagnose`] makes a [`Report`] of what was [`Observed`]. What is wrong is a [`Finding`], with how it
//! is known and what mends it; what could not be found out is a [`Gap`], and is never taken for good.

pub(crate) mod backups;
mod certificates;
mod cluster;
mod databases;
mod events;
mod finding;
mod judge;
mod members;
mod orders;
pub(crate) mod page;
mod pod;
pub(crate) mod remedy;
mod tasks;
mod upgrade;

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{Event, Pod};
use serde::Serialize;

pub use self::backups::{Backups, Covered};
pub use self::certificates::{Certificate, Expiry};
pub use self::cluster::Cluster;
pub use self::databases::Database;
pub use self::events::Happened;
pub use self::finding::{Finding, How, Severity};
pub use self::members::{Member, Role};
pub use self::orders::By;
pub use self::remedy::Act;
use crate::api::{EtcdOpsTask, Time};
use crate::cli::{Found, Progress, TaskRow};
use crate::member::MemberName;
use crate::observed::{Answered, Etcd as Live};
use crate::status::Sought;

/// What was looked at.
#[derive(Clone, Debug)]
pub struct Observed {
    /// The Etcd.
    pub etcd: Found,
    /// Its pods. `Missing` is as good as none, here and below.
    pub pods: Sought<Vec<Pod>>,
    /// Its Leases: those of members, and those of snapshots.
    pub leases: Sought<Vec<Lease>>,
    /// The certificates that its pods are given.
    pub certificates: Vec<Certificate>,
    /// The tasks of its namespace.
    pub tasks: Sought<Vec<EtcdOpsTask>>,
    /// The warnings of its namespace.
    pub events: Sought<Vec<Event>>,
    /// What the members answered, those of them that could be asked.
    pub live: Option<Live>,
    /// The others, and why not.
    pub unasked: BTreeMap<MemberName, String>,
}

/// What it adds up to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Verdict {
    /// All that was looked at is well.
    Healthy,
    /// There is something to do.
    Action,
    /// Nothing to do was found, and not everything could be looked at.
    Unknown,
}

/// Something that was asked for and could not be found out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Gap {
    /// What.
    pub what: String,
    /// Why not.
    pub why: String,
}

/// A finding, told for people and programs.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Told {
    /// The finding itself.
    #[serde(skip)]
    pub finding: Finding,
    /// A stable name of it.
    pub code: &'static str,
    /// How urgent it is.
    pub severity: Severity,
    /// What is wrong.
    pub what: String,
    /// How it is known.
    pub known_from: String,
    /// What to do, one after the other.
    pub remedy: Vec<Act>,
}

/// Everything about one Etcd.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// When it was looked at.
    pub at: Time,
    /// What it adds up to.
    pub verdict: Verdict,
    /// What to do, the most urgent first.
    pub findings: Vec<Told>,
    /// What could not be found out.
    pub unknown: Vec<Gap>,
    /// Whether the members themselves were asked.
    pub members_asked: bool,
    /// How many members there are to be; 0 while it is hibernated.
    pub replicas: i64,
    /// The members.
    pub members: Vec<Member>,
    /// What they are together.
    pub cluster: Cluster,
    /// The backups; nothing without a store.
    pub backups: Option<Backups>,
    /// The databases, member by member.
    pub databases: Answered<Vec<Database>>,
    /// When certificates expire.
    pub certificates: Vec<Expiry>,
    /// The upgrade that is under way or was the last.
    pub upgrade: Option<Progress>,
    /// The tasks of this Etcd that are kept.
    pub tasks: Answered<Vec<TaskRow>>,
    /// The newest warnings about this Etcd and its pods.
    pub events: Answered<Vec<Happened>>,
}

/// Judges everything that was looked at.
pub fn diagnose(observed: &Observed, now: Timestamp) -> Report {
    judge::report(observed, now)
}

/// What was looked for; what is not there is empty.
fn answered<T: Clone + Default>(sought: &Sought<T>) -> Answered<T> {
    match sought {
        Sought::Found(it) => Answered::Known(it.clone()),
        Sought::Missing => Answered::Known(T::default()),
        Sought::Unknown(why) => Answered::Unknown(why.clone()),
    }
}
