//! A place in the cluster: what is there of a member, and what passes between it and the operator.

use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use crate::agent::recovery::{Course, Holding, Instruction, Order, Report};
use crate::reconcile;

/// A place in the cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Its pod, if there is one.
    pub pod: Option<Held>,
    /// Its claim of a volume, if there is one.
    pub claim: Option<Held>,
    /// Why its volume cannot be had, if that is known: its data is lost.
    pub lost: Option<String>,
    /// What it is told.
    pub told: Option<Instruction>,
    /// What it reports.
    pub says: Option<Report>,
    /// The resource version of the lease that says so.
    pub version: Option<String>,
}

/// An object that may have to go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// What it never shares with another of the same name.
    pub uid: String,
    /// Whether it is being deleted.
    pub leaves: bool,
    /// Whether it is a pod of which a container has ever started: its etcd may run.
    pub ran: bool,
    /// Whether it is a pod that its kubelet calls ready: its etcd has had a quorum behind it just now.
    pub ready: bool,
}

impl Place {
    /// Of the objects that a place is made of. A lease that cannot be read tells nothing.
    pub fn of(
        pod: Option<&Pod>,
        claim: Option<&PersistentVolumeClaim>,
        lease: Option<&Lease>,
    ) -> Self {
        let version = lease.and_then(|it| it.metadata.resource_version.clone());
        let lease = lease.and_then(|it| serde_json::to_value(it).ok());
        let lease = lease.unwrap_or_default();
        let phase = claim.and_then(|it| it.status.as_ref()?.phase.as_deref());
        Self {
            pod: pod.map(|it| Held {
                ran: has_run(it),
                ready: reconcile::ready(it),
                ..Held::of(&it.metadata)
            }),
            claim: claim.map(|it| Held::of(&it.metadata)),
            lost: (phase == Some("Lost")).then(|| "its claim has lost its volume".to_owned()),
            told: Instruction::of(&lease).ok().flatten(),
            says: Report::of(&lease),
            version,
        }
    }

    /// What it is told for this task.
    pub fn told_by(&self, task: &str) -> Option<&Instruction> {
        self.told.as_ref().filter(|it| it.task == task)
    }

    /// With what it was told to make a cluster of its own, also if that is being taken back.
    pub fn founds(&self, task: &str) -> Option<Order> {
        let told = self.told_by(task)?;
        told.revokes.or(Some(told.order)).filter(|it| it.founds())
    }

    /// What it answers to what it is told for this task.
    pub fn answer(&self, task: &str) -> Option<&Course> {
        let (told, says) = (self.told_by(task)?, self.says.as_ref()?);
        let to_that =
            (&says.task, says.order, says.revokes) == (&told.task, told.order, told.revokes);
        to_that.then_some(&says.course)
    }

    /// What it has said that it holds, while it waits for this task.
    pub fn holding(&self, task: &str) -> Option<&Holding> {
        let says = self.says.as_ref().filter(|it| it.task == task)?;
        match &says.course {
            Course::Holds { data } => Some(data),
            Course::Done | Course::Failed { .. } => None,
        }
    }

    pub(super) fn runs(&self) -> bool {
        self.pod.as_ref().is_some_and(|it| it.ran)
    }

    /// Whether the volume or the pod that has to go is still there.
    pub(super) fn is_being_replaced(&self, task: &str) -> bool {
        let told = self.told_by(task).and_then(|it| it.volume.as_ref());
        let claim = uid(self.claim.as_ref());
        self.is_stopping(task) || (told.is_some() && claim.as_ref() == told)
    }

    /// Whether the pod that has to go is still there.
    pub(super) fn is_stopping(&self, task: &str) -> bool {
        let told = self.told_by(task).and_then(|it| it.pod.as_ref());
        told.is_some() && uid(self.pod.as_ref()).as_ref() == told
    }
}

impl Held {
    fn of(metadata: &ObjectMeta) -> Self {
        Self {
            uid: metadata.uid.clone().unwrap_or_default(),
            leaves: metadata.deletion_timestamp.is_some(),
            ran: false,
            ready: false,
        }
    }
}

fn has_run(pod: &Pod) -> bool {
    let containers = pod
        .status
        .as_ref()
        .and_then(|it| it.container_statuses.as_deref());
    containers.unwrap_or_default().iter().any(|it| {
        let states = [it.state.as_ref(), it.last_state.as_ref()];
        let mut states = states.into_iter().flatten();
        states.any(|it| it.running.is_some() || it.terminated.is_some())
    })
}

pub(super) fn uid(held: Option<&Held>) -> Option<String> {
    held.map(|it| it.uid.clone())
}
