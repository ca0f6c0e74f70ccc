//! What a task depends on: its Etcd, the tasks before it, and how the sidecar is reached.

use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::Secret;

use super::task::{Kind, Operation, Stage, Task};
use super::trouble::Trouble;
use crate::api::{Condition, Etcd, UpgradeStatus};

/// The volume of the StatefulSet that has the CA of the sidecars' certificates.
pub const CA_VOLUME: &str = "backup-restore-ca";
/// The port of a sidecar whose Etcd says none.
const PORT: u16 = 8080;
/// Phases of an upgrade in which members are restarted.
const ROLLING: [&str; 2] = ["Rolling", "PuttingBack"];
/// The phase of one that goes on by itself as soon as it can.
const WAITING: &str = "Waiting";

/// An Etcd, as far as it could be seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EtcdSeen {
    /// There is none.
    Missing {
        /// The namespace.
        namespace: String,
        /// The name.
        name: String,
    },
    /// The operator may not look; what the API server said.
    Forbidden(String),
    /// The object is not one of ours; why.
    Unreadable(String),
    /// It is there.
    There(Cluster),
}

/// What a task needs to know of an Etcd.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cluster {
    name: String,
    life: Life,
    replicas: i64,
    /// Whether it has backups.
    pub store: bool,
    /// What the condition says if it is not `True`.
    not_ready: Option<(String, String)>,
    port: Result<(), i64>,
    /// Whether members are being restarted for an upgrade.
    pub rolling: bool,
    /// How its sidecars are reached.
    pub sidecar: Sidecar,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Life {
    Runs,
    Hibernates,
    Leaves,
}

/// The sidecars of an Etcd, one in each of its pods.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sidecar {
    /// The namespace.
    pub namespace: String,
    /// The Etcd.
    pub etcd: String,
    /// The port.
    pub port: u16,
    /// If they speak TLS: under which keys of a Secret their CA may be, the first one first.
    pub ca_keys: Option<Vec<String>>,
}

/// Another task of the same Etcd.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Queued {
    /// When it was made.
    pub created: jiff::Timestamp,
    /// Its name.
    pub name: String,
    /// Where it stands.
    pub queue: Queue,
}

/// Where a task stands in the queue of its Etcd.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Queue {
    /// It waits for its turn.
    Waits,
    /// It is its turn.
    Runs,
    /// It had its turn, or needs none.
    Out,
}

impl Cluster {
    /// Parses one.
    pub fn of(object: &Etcd) -> Self {
        let metadata = &object.metadata;
        let name = metadata.name.clone().unwrap_or_default();
        let backup = &object.spec.backup;
        let port = backup.port.map_or(i64::from(PORT), |port| port.0);
        let number = u16::try_from(port).ok().filter(|it| *it > 0);
        let status = object.status.as_ref();
        let upgrade = status.and_then(|it| it.upgrade.as_ref());
        let conditions = status.and_then(|it| it.conditions.as_deref());
        let life = if metadata.deletion_timestamp.is_some() {
            Life::Leaves
        } else if object.spec.replicas.0 == 0 {
            Life::Hibernates
        } else {
            Life::Runs
        };
        Self {
            life,
            replicas: object.spec.replicas.0,
            store: backup.store.is_some(),
            not_ready: not_ready(conditions.unwrap_or_default()),
            port: number.map(drop).ok_or(port),
            rolling: upgrade.is_some_and(rolling),
            sidecar: Sidecar {
                namespace: metadata.namespace.clone().unwrap_or_default(),
                etcd: name.clone(),
                port: number.unwrap_or(PORT),
                ca_keys: backup
                    .tls
                    .as_ref()
                    .map(|tls| ca_keys(tls.ca.data_key.as_deref())),
            },
            name,
        }
    }
}

/// Whether the next thing that happens to a member may be a restart. One that waits in the midst of it for
/// a member to be well again goes on at the same moment as a task would that waits for the same.
fn rolling(upgrade: &UpgradeStatus) -> bool {
    let phase = upgrade.phase.as_deref().unwrap_or_default();
    let record = upgrade.record.as_ref();
    let begun = record.is_some_and(|it| it.touched || it.current.is_some());
    ROLLING.contains(&phase) || phase == WAITING && begun
}

fn not_ready(conditions: &[Condition]) -> Option<(String, String)> {
    let Some(ready) = conditions.iter().find(|it| it.kind == "Ready") else {
        return Some(("not there yet".to_owned(), String::new()));
    };
    (ready.status != "True").then(|| {
        let why = format!(" ({}: {})", ready.reason, ready.message);
        (ready.status.clone(), why)
    })
}

/// etcd-druid looks for `bundle.crt`, and renders `ca.crt` everywhere else.
fn ca_keys(data_key: Option<&str>) -> Vec<String> {
    match data_key.filter(|it| !it.is_empty()) {
        Some(key) => vec![key.to_owned()],
        None => vec!["bundle.crt".to_owned(), "ca.crt".to_owned()],
    }
}

impl EtcdSeen {
    /// The Etcd, if the operation can be done to it now.
    pub(super) fn fit_for(&self, operation: &Operation) -> Result<&Cluster, Trouble> {
        let cluster = match self {
            Self::Missing { namespace, name } => {
                return Err(Trouble::EtcdMissing {
                    namespace: namespace.clone(),
                    name: name.clone(),
                });
            }
            Self::Forbidden(why) => {
                return Err(Trouble::Forbidden {
                    what: "Etcds".to_owned(),
                    why: why.clone(),
                });
            }
            Self::Unreadable(why) => return Err(Trouble::EtcdUnreadable(why.clone())),
            Self::There(cluster) => cluster,
        };
        let name = cluster.name.clone();
        // Maintenance asks the members themselves whether they are fit for it, and needs no backups.
        // A compaction of snapshots needs nothing but the store, and a sidecar to tell of it.
        let (store, ready) = match operation.kind {
            Kind::Snapshot(_) => (true, true),
            Kind::SnapshotCompaction => (true, false),
            Kind::Maintenance(_) | Kind::Recovery(_) => (false, false),
        };
        if matches!(operation.kind, Kind::Recovery(_)) && cluster.replicas == 1 {
            return Err(Trouble::OneMember(name));
        }
        match cluster.life {
            Life::Leaves => return Err(Trouble::EtcdLeaving(name)),
            Life::Runs | Life::Hibernates if store && !cluster.store => {
                return Err(Trouble::NoStore(name));
            }
            Life::Hibernates => return Err(Trouble::Hibernated(name)),
            Life::Runs => {}
        }
        if let Some((status, why)) = cluster.not_ready.clone().filter(|_| ready) {
            return Err(Trouble::NotReady { name, status, why });
        }
        if let Err(port) = cluster.port {
            return Err(Trouble::Port { name, port });
        }
        Ok(cluster)
    }
}

impl Task {
    /// How the others of its Etcd see it. `held`: this process has given it the turn, whatever the
    /// object says yet.
    pub fn queued(&self, held: bool) -> Queued {
        let queue = match self.stage {
            Stage::Over { .. } | Stage::Unreadable if !held => Queue::Out,
            Stage::Waiting if !held && (self.deleting || self.wanted.is_err()) => Queue::Out,
            Stage::Waiting if !held => Queue::Waits,
            Stage::Waiting | Stage::InProgress { .. } | Stage::Over { .. } | Stage::Unreadable => {
                Queue::Runs
            }
        };
        Queued {
            created: self.created,
            name: self.name.clone(),
            queue,
        }
    }
}

/// The task that works on the members of an Etcd now, if there is one: meanwhile nobody else does.
pub fn at_work<'a>(etcd: &str, tasks: impl IntoIterator<Item = &'a Task>) -> Option<&'a str> {
    let works = |task: &&Task| {
        let on_members = task.wanted.as_ref().is_ok_and(|it| match it.kind {
            Kind::Maintenance(_) | Kind::Recovery(_) => true,
            Kind::Snapshot(_) | Kind::SnapshotCompaction => false,
        });
        task.etcd.as_deref() == Some(etcd)
            && on_members
            && matches!(task.stage, Stage::InProgress { .. })
    };
    let mut all = tasks.into_iter().filter(works);
    all.next().map(|it| it.name.as_str())
}

/// The task that recovers an Etcd from the loss of its quorum now, if there is one: it holds all members, and
/// nobody else touches any.
pub fn recovering<'a>(etcd: &str, tasks: impl IntoIterator<Item = &'a Task>) -> Option<&'a str> {
    let works = |task: &&Task| {
        let begun = matches!(task.stage, Stage::InProgress { .. });
        task.etcd.as_deref() == Some(etcd) && task.recovers && begun
    };
    let mut all = tasks.into_iter().filter(works);
    all.next().map(|it| it.name.as_str())
}

/// The task of an Etcd whose turn it is, if there is one.
pub fn under_way<'a>(etcd: &str, tasks: impl IntoIterator<Item = &'a Task>) -> Option<&'a str> {
    let runs = |task: &&Task| {
        task.etcd.as_deref() == Some(etcd) && task.queued(false).queue == Queue::Runs
    };
    let mut all = tasks.into_iter().filter(runs);
    all.next().map(|it| it.name.as_str())
}

/// The one that a task waits for: the last that waits before it, else the one whose turn it is.
pub(super) fn predecessor<'a>(task: &Task, others: &'a [Queued]) -> Option<&'a Queued> {
    let place = |it: &Queued| (it.created, it.name.clone());
    let (created, name) = task.place();
    let own = (created, name.to_owned());
    let of = |queue: Queue| others.iter().filter(move |it| it.queue == queue);
    of(Queue::Waits)
        .filter(|it| place(it) < own)
        .max_by_key(|it| place(it))
        .or_else(|| of(Queue::Runs).max_by_key(|it| place(it)))
}

/// Whom it concerns that a task has had its turn: the first that waits, and the first that waits after
/// it.
pub fn next_in_line<'a>(task: &Task, others: &'a [Queued]) -> Vec<&'a Queued> {
    let place = |it: &Queued| (it.created, it.name.clone());
    let (created, name) = task.place();
    let own = (created, name.to_owned());
    let waiting = || others.iter().filter(|it| it.queue == Queue::Waits);
    let first = waiting().min_by_key(|it| place(it));
    let after = waiting()
        .filter(|it| place(it) > own)
        .min_by_key(|it| place(it));
    let same = first == after;
    first.into_iter().chain(after.filter(|_| !same)).collect()
}

/// The Secret with the CA of the sidecars that run: that of the live StatefulSet, as the spec may be
/// ahead of it.
pub fn ca_secret(stateful_set: &StatefulSet) -> Result<String, Trouble> {
    let template = stateful_set.spec.as_ref().map(|it| &it.template);
    let pod = template.and_then(|it| it.spec.as_ref());
    let volumes = pod.and_then(|it| it.volumes.as_deref());
    let volume = volumes
        .unwrap_or_default()
        .iter()
        .find(|it| it.name == CA_VOLUME);
    volume
        .and_then(|it| it.secret.as_ref()?.secret_name.clone())
        .ok_or_else(|| {
            let name = stateful_set.metadata.name.as_deref().unwrap_or_default();
            Trouble::CaUnnamed(format!(
                "StatefulSet {name} has no volume {CA_VOLUME} of a Secret"
            ))
        })
}

/// The certificates in it.
pub fn ca_certificates(secret: &Secret, keys: &[String]) -> Result<Vec<u8>, Trouble> {
    let data = secret.data.as_ref();
    let found = keys.iter().find_map(|key| data?.get(key));
    found.map(|it| it.0.clone()).ok_or_else(|| Trouble::CaKey {
        secret: secret.metadata.name.clone().unwrap_or_default(),
        keys: keys.join(" or "),
    })
}
