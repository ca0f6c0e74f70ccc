//! `kubectl druid restore-plan`: what would be restored if a cluster had to be restored from its backup now.
//!
//! The sidecar beside the leading member tells of the store, object by object. Where none leads, as when the
//! quorum is lost, any other restores the newest backup on trial, and tells how far that goes. Where none can
//! be asked, the Leases of snapshots tell how far the backups reach, and nothing more.

mod page;

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::Lease;
use serde::Serialize;

use crate::api::{Etcd, Time};
use crate::cli::Found;
use crate::doctor::Act;
use crate::doctor::backups::{both, identity, lease, store};
use crate::doctor::remedy::{only, run};
use crate::observed::{Answered, Etcd as Live};
use crate::ops_task::{Covered, Latest, Link};
use crate::render::{Cloud, Provider, Spec};
use crate::status::Sought;

/// What a restore gets through in a second, packed bytes: 226 MB in 1.20 s on two cores, as measured in
/// `BENCHMARKS.md`.
const PER_SECOND: u64 = 188_000_000;
/// Where that is from.
const BASIS: &str = "an estimate: 188 MB of packed snapshots per second on two cores, as measured \
                     (BENCHMARKS.md); the time that the store takes to send them comes on top";

/// What was looked at.
#[derive(Clone, Debug)]
pub struct Observed {
    /// The Etcd.
    pub etcd: Found,
    /// Its Leases.
    pub leases: Sought<Vec<Lease>>,
    /// What sidecars say of the store.
    pub sidecar: Heard,
    /// What the members answered, those of them that could be asked.
    pub live: Option<Live>,
}

/// What sidecars say of a store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heard {
    /// The one that leads has listed it.
    Listed(Latest),
    /// None leads, and another one has restored the newest backup on trial.
    Tried {
        /// Its pod.
        pod: String,
        /// How far that goes.
        covered: Covered,
        /// Why none that leads was asked.
        why: String,
    },
    /// Nothing; why.
    Silent(String),
}

/// Where a plan is from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Source {
    /// The leading sidecar has listed the store.
    Sidecar,
    /// A sidecar has restored the newest backup on trial.
    Trial,
    /// The Leases of snapshots.
    Leases,
    /// Nobody knows.
    Nothing,
}

/// Whether it can be restored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Verdict {
    /// It can, up to the newest backup.
    Restorable,
    /// There is no backup, or not all of it could be used.
    Action,
    /// The store could not be looked at.
    Unknown,
}

/// A snapshot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Snapshot {
    /// Its name in the store, if that is known.
    pub name: Option<String>,
    /// The last revision in it.
    pub revision: i64,
    /// When it was taken.
    pub taken_at: Option<Time>,
    /// Its size in the store, bytes.
    pub size: Option<u64>,
}

/// The deltas that are put on top of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Deltas {
    /// How many.
    pub count: usize,
    /// Their size in the store, bytes; `null` if not all tell theirs.
    pub size: Option<u64>,
    /// The last of them.
    pub last: Option<Snapshot>,
}

/// Revisions that are in no object: what comes after them cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Hole {
    /// The first of them.
    pub from: i64,
    /// The last.
    pub to: i64,
    /// The object after them.
    pub next: String,
}

/// How long it takes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Estimate {
    /// Seconds.
    pub seconds: u64,
    /// Where that is from.
    pub basis: &'static str,
}

/// What would be restored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Plan {
    /// The namespace of the Etcd.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// When it was looked at.
    pub at: Time,
    /// Whether it can be restored.
    pub verdict: Verdict,
    /// Where it is; `null` without a store.
    pub store: Option<String>,
    /// Who tells.
    pub source: Source,
    /// The pod whose sidecar has restored on trial.
    pub tried_by: Option<String>,
    /// Why it is not the sidecar that leads.
    pub no_sidecar: Option<String>,
    /// The full snapshot that it begins with.
    pub full: Answered<Option<Snapshot>>,
    /// The deltas after it.
    pub deltas: Answered<Deltas>,
    /// What stands in the way of later deltas.
    pub hole: Option<Hole>,
    /// The revision that the cluster would be at.
    pub revision: Answered<Option<i64>>,
    /// When that was backed up.
    pub backed_up_at: Option<Time>,
    /// All that is read, bytes.
    pub size: Answered<u64>,
    /// How long it takes.
    pub estimate: Answered<Estimate>,
    /// The present revision of the cluster.
    pub present_revision: Answered<i64>,
    /// How many revisions would be lost.
    pub revisions_lost: Answered<i64>,
    /// What would do it.
    pub commands: Vec<Act>,
}

/// Makes the plan.
pub fn plan(observed: &Observed, now: Timestamp) -> Plan {
    let etcd = observed.etcd.etcd.as_deref().ok();
    let mut plan = bare(&observed.etcd, now);
    plan.store = etcd.and_then(store);
    plan.present_revision = present(observed.live.as_ref());
    let Some(etcd) = etcd else {
        let why = observed.etcd.etcd.as_ref().err().cloned();
        plan.no_sidecar = why.map(|it| format!("the Etcd cannot be read: {it}"));
        return plan;
    };
    if plan.store.is_none() {
        plan.verdict = Verdict::Action;
        plan.full = Answered::Known(None);
        plan.no_sidecar = Some("there is no store".to_owned());
        return plan;
    }
    match &observed.sidecar {
        Heard::Listed(latest) => plan.by_sidecar(latest),
        Heard::Tried { pod, covered, why } => {
            plan.by_leases(etcd, &observed.leases, why);
            plan.by_trial(pod, *covered);
        }
        Heard::Silent(why) => plan.by_leases(etcd, &observed.leases, why),
    }
    plan.revisions_lost = lost(&plan.revision, &plan.present_revision);
    plan.commands = commands(etcd);
    plan
}

fn bare(found: &Found, now: Timestamp) -> Plan {
    Plan {
        namespace: found.namespace.clone(),
        name: found.name.clone(),
        at: Time::seconds(now),
        verdict: Verdict::Unknown,
        store: None,
        source: Source::Nothing,
        tried_by: None,
        no_sidecar: None,
        full: nobody(),
        deltas: nobody(),
        hole: None,
        revision: nobody(),
        backed_up_at: None,
        size: nobody(),
        estimate: nobody(),
        present_revision: nobody(),
        revisions_lost: nobody(),
        commands: Vec::new(),
    }
}

fn nobody<T>() -> Answered<T> {
    Answered::Unknown("nobody tells".to_owned())
}

fn present(live: Option<&Live>) -> Answered<i64> {
    match live {
        None => Answered::Unknown("no member could be asked".to_owned()),
        Some(live) if live.answers().next().is_some() => Answered::Known(live.revision()),
        Some(_) => Answered::Unknown("no member answers".to_owned()),
    }
}

fn lost(restored: &Answered<Option<i64>>, present: &Answered<i64>) -> Answered<i64> {
    match (restored, present) {
        (Answered::Known(restored), Answered::Known(present)) => {
            Answered::Known((present - restored.unwrap_or_default()).max(0))
        }
        (Answered::Unknown(why), _) | (_, Answered::Unknown(why)) => Answered::Unknown(why.clone()),
    }
}

impl From<&Link> for Snapshot {
    fn from(link: &Link) -> Self {
        Self {
            name: Some(link.name.clone()),
            revision: link.last,
            taken_at: Some(Time::seconds(link.at)),
            size: link.size,
        }
    }
}

impl Plan {
    /// Delta upon delta, as far as no revision is missing.
    fn by_sidecar(&mut self, latest: &Latest) {
        self.source = Source::Sidecar;
        self.full = Answered::Known(latest.full.as_ref().map(Snapshot::from));
        let Some(full) = &latest.full else {
            self.verdict = Verdict::Action;
            self.revision = Answered::Known(None);
            return;
        };
        let (used, hole) = latest.unbroken();
        self.hole = hole;
        let reached = used.iter().map(|it| it.last).fold(full.last, i64::max);
        let size: Option<u64> = used.iter().map(|it| it.size).sum();
        self.size = match (full.size, size) {
            (Some(full), Some(deltas)) => Answered::Known(full + deltas),
            _ => Answered::Unknown("this sidecar tells no sizes".to_owned()),
        };
        self.estimate = match &self.size {
            Answered::Known(size) => Answered::Known(Estimate {
                seconds: size.div_ceil(PER_SECOND).max(1),
                basis: BASIS,
            }),
            Answered::Unknown(why) => Answered::Unknown(why.clone()),
        };
        self.backed_up_at = Some(Time::seconds(used.last().map_or(full.at, |it| it.at)));
        self.deltas = Answered::Known(Deltas {
            count: used.len(),
            size,
            last: used.last().map(Snapshot::from),
        });
        self.revision = Answered::Known(Some(reached));
        self.verdict = if self.hole.is_some() {
            Verdict::Action
        } else {
            Verdict::Restorable
        };
    }

    /// How far the backups reach. What they are made of, nobody knows.
    fn by_leases(&mut self, etcd: &Etcd, leases: &Sought<Vec<Lease>>, why: &str) {
        self.no_sidecar = Some(why.to_owned());
        let identity = identity(etcd);
        let full = lease(leases, &identity.full_snapshot_lease());
        let delta = lease(leases, &identity.delta_snapshot_lease());
        self.revision = both(&full, &delta);
        if let Answered::Known(_) = self.revision {
            self.source = Source::Leases;
        }
        self.full = match full {
            Answered::Known(full) => Answered::Known(full.map(|it| Snapshot {
                name: None,
                revision: it.revision,
                taken_at: it.at,
                size: None,
            })),
            Answered::Unknown(why) => Answered::Unknown(why),
        };
        if let Answered::Known(Some(delta)) = delta {
            self.backed_up_at = delta.at;
        }
        let not_listed = || "the store was not listed".to_owned();
        self.deltas = Answered::Unknown(not_listed());
        self.size = Answered::Unknown(not_listed());
        self.estimate = Answered::Unknown(not_listed());
    }
}

impl Plan {
    /// It was done on trial: that counts more than what the Leases say.
    fn by_trial(&mut self, pod: &str, covered: Covered) {
        self.source = Source::Trial;
        self.tried_by = Some(pod.to_owned());
        self.verdict = Verdict::Restorable;
        self.revision = Answered::Known(Some(covered.revision));
        self.backed_up_at = Some(Time::seconds(covered.at));
    }
}

/// What would do it.
fn commands(etcd: &Etcd) -> Vec<Act> {
    let metadata = &etcd.metadata;
    let name = metadata.name.as_deref().unwrap_or_default();
    let namespace = metadata.namespace.as_deref().unwrap_or_default();
    let mut acts = Vec::new();
    if etcd.spec.replicas.0 > 1 {
        acts.push(run(
            "if the quorum is lost for good: start again from the member that knows most, or from this if it \
             knows more",
            format!("kubectl druid recover {name} -n {namespace} --confirm --wait"),
        ));
    } else {
        acts.push(only(
            "nothing: the only member restores this by itself when it starts without usable data",
        ));
    }
    if let Some(store) = address(etcd) {
        acts.push(run(
            "to see that every byte of it is good",
            format!("druid verify {store}"),
        ));
        acts.push(run(
            "to restore it beside the cluster, and look at it",
            format!("druid restore {store} --data-dir restored.etcd"),
        ));
    }
    acts
}

/// The store as commands take it; not a directory of a node.
fn address(etcd: &Etcd) -> Option<String> {
    let store = Spec::parse(etcd).ok()?.pods.ok()?.store?;
    let scheme = match store.provider {
        Provider::Unset | Provider::Local { .. } => return None,
        Provider::Ecs { .. } => "ecs",
        Provider::Cloud { cloud, .. } => match cloud {
            Cloud::S3 => "s3",
            Cloud::Abs => "abs",
            Cloud::Gcs => "gcs",
            Cloud::Swift => "swift",
            Cloud::Oss => "oss",
            Cloud::Ocs => "ocs",
        },
    };
    let container = store.container?;
    Some(format!("{scheme}://{container}/{}", store.prefix))
}
