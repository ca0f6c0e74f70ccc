//! How far the backups reach, by their Leases.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::coordination::v1::Lease;
use serde::Serialize;

use super::Observed;
use super::cluster::Cluster;
use super::finding::{Finding, How};
use crate::api::{Condition, Etcd, EtcdStatus, Time};
use crate::duration::GoDuration;
use crate::observed::Answered;
use crate::render::Identity;
use crate::status::Sought;
use crate::status::conditions::{self, Kind};

/// The sidecar's own `--delta-snapshot-period`.
const DELTA_PERIOD: SignedDuration = SignedDuration::from_secs(20);

/// A revision that the backups reach, and since when.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Covered {
    /// The last revision in it.
    pub revision: i64,
    /// When it was taken, or for a delta when there last was nothing new.
    pub at: Option<Time>,
}

/// The backups of an Etcd.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Backups {
    /// Where they are.
    pub store: String,
    /// The newest full snapshot; `null` if there is none yet.
    pub full: Answered<Option<Covered>>,
    /// The newest delta.
    pub delta: Answered<Option<Covered>>,
    /// The newest revision in either.
    pub covered_revision: Answered<Option<i64>>,
    /// How many revisions are in none.
    pub revisions_behind: Answered<i64>,
    /// What the operator says: `True`, `False` or `Unknown`.
    pub ready: Option<String>,
}

/// The backups; `None` without a store.
pub(super) fn backups(
    observed: &Observed,
    etcd: &Etcd,
    status: &EtcdStatus,
    cluster: &Cluster,
) -> Option<Backups> {
    let store = store(etcd)?;
    let identity = identity(etcd);
    let full = lease(&observed.leases, &identity.full_snapshot_lease());
    let delta = lease(&observed.leases, &identity.delta_snapshot_lease());
    let covered = both(&full, &delta);
    let behind = match (&covered, &cluster.revision) {
        (Answered::Known(Some(covered)), Answered::Known(present)) => {
            Answered::Known((present - covered).max(0))
        }
        (Answered::Known(None), _) => Answered::Unknown("there is no snapshot yet".to_owned()),
        (Answered::Unknown(why), _) | (_, Answered::Unknown(why)) => Answered::Unknown(why.clone()),
    };
    Some(Backups {
        store,
        full,
        delta,
        covered_revision: covered,
        revisions_behind: behind,
        ready: conditions::find(status, Kind::BackupReady).map(|it| it.status.clone()),
    })
}

/// Where backups are; `None` without a store.
pub(crate) fn store(etcd: &Etcd) -> Option<String> {
    let store = etcd.spec.backup.store.as_ref()?;
    let provider = store.provider.as_deref().filter(|it| !it.is_empty())?;
    let container = store.container.as_deref().unwrap_or_default();
    Some(format!("{provider} {container}/{}", store.prefix))
}

pub(crate) fn identity(etcd: &Etcd) -> Identity {
    let metadata = &etcd.metadata;
    Identity {
        name: metadata.name.clone().unwrap_or_default(),
        namespace: metadata.namespace.clone().unwrap_or_default(),
        uid: metadata.uid.clone().unwrap_or_default(),
    }
}

/// What a Lease of snapshots says: its holder is a revision, 0 as long as there is none.
pub(crate) fn lease(leases: &Sought<Vec<Lease>>, name: &str) -> Answered<Option<Covered>> {
    let all = match leases {
        Sought::Found(all) => all.as_slice(),
        Sought::Missing => &[],
        Sought::Unknown(why) => return Answered::Unknown(why.clone()),
    };
    let found = all
        .iter()
        .find(|it| it.metadata.name.as_deref() == Some(name));
    let spec = found.and_then(|it| it.spec.as_ref());
    let Some(holder) = spec.and_then(|it| it.holder_identity.as_deref()) else {
        return Answered::Known(None);
    };
    match holder.parse() {
        Ok(0) => Answered::Known(None),
        Ok(revision) => Answered::Known(Some(Covered {
            revision,
            at: spec
                .and_then(|it| it.renew_time.as_ref())
                .map(|it| Time::seconds(it.0)),
        })),
        Err(_) => Answered::Unknown(format!(
            "Lease {name} says {holder:?}, which is no revision"
        )),
    }
}

pub(crate) fn both(
    full: &Answered<Option<Covered>>,
    delta: &Answered<Option<Covered>>,
) -> Answered<Option<i64>> {
    match (full, delta) {
        (Answered::Known(full), Answered::Known(delta)) => {
            let revisions = full.iter().chain(delta).map(|it| it.revision);
            Answered::Known(revisions.max())
        }
        (Answered::Unknown(why), _) | (_, Answered::Unknown(why)) => Answered::Unknown(why.clone()),
    }
}

impl Backups {
    /// When something was last backed up.
    pub(super) fn newest(&self) -> Option<Timestamp> {
        let at = |of: &Answered<Option<Covered>>| match of {
            Answered::Known(Some(covered)) => covered.at.as_ref()?.at(),
            Answered::Known(None) | Answered::Unknown(_) => None,
        };
        at(&self.full).max(at(&self.delta))
    }

    /// What is wrong with them. The operator may be gone, so the Lease of deltas is looked at, too: by the
    /// rule of `BackupReady`, three periods without one are too many.
    pub(super) fn finding(
        &self,
        etcd: &Etcd,
        condition: Option<&Condition>,
        quorate: bool,
        now: Timestamp,
    ) -> Option<(Finding, How)> {
        let age = self.newest().map(|at| now.duration_since(at));
        let old = |says: String| Finding::BackupOld { age, says, quorate };
        if let Some(condition) = condition.filter(|it| it.status == "False") {
            let how = How::condition(Kind::BackupReady, condition);
            return Some((old(condition.message.clone()), how));
        }
        let Answered::Known(Some(delta)) = &self.delta else {
            return None;
        };
        let period = delta_period(etcd)?;
        let at = delta.at.as_ref()?.at()?;
        let late = now.duration_since(at) > period.saturating_mul(3);
        let lease = identity(etcd).delta_snapshot_lease();
        late.then(|| {
            let says = "no delta snapshot was taken for more than three periods";
            (old(says.to_owned()), How::Lease(lease))
        })
    }
}

/// How often deltas are taken; `None` if never.
fn delta_period(etcd: &Etcd) -> Option<SignedDuration> {
    let Some(text) = &etcd.spec.backup.delta_snapshot_period else {
        return Some(DELTA_PERIOD);
    };
    let period: GoDuration = text.parse().ok()?;
    let period = SignedDuration::try_from(period.0).ok()?;
    (period >= SignedDuration::from_secs(1)).then_some(period)
}
