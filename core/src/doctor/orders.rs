//! What members are told by recoveries, and whether anybody will ever tell them otherwise.

use super::finding::{Finding, How};
use super::{Gap, Observed};
use crate::agent::recovery::{Instruction, Order};
use crate::api::EtcdOpsTask;
use crate::ops_task::State;
use crate::status::Sought;

/// The task that a member was told by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum By {
    /// It is under way.
    UnderWay(String),
    /// It is over, and has left this.
    Over(String),
    /// It is gone.
    Gone,
}

/// What the Leases of members say, in their order, and what could not be found out.
pub(super) fn orders(observed: &Observed) -> (Vec<(Finding, How)>, Vec<Gap>) {
    let (mut found, mut gaps) = (Vec::new(), Vec::new());
    let Sought::Found(leases) = &observed.leases else {
        return (found, gaps);
    };
    let mut leases: Vec<_> = leases.iter().collect();
    leases.sort_by_key(|it| it.metadata.name.clone());
    for lease in leases {
        let member = lease.metadata.name.clone().unwrap_or_default();
        let finding = match Instruction::in_annotations(lease.metadata.annotations.as_ref()) {
            Ok(None) => continue,
            Ok(Some(told)) => match by(observed, &told) {
                Ok(by) => Finding::RecoveryOrder {
                    member: member.clone(),
                    order: told.order,
                    by,
                },
                Err(why) => {
                    gaps.push(Gap {
                        what: format!(
                            "whether the order of member {member} is of a task that is gone"
                        ),
                        why,
                    });
                    continue;
                }
            },
            Err(why) => Finding::RecoveryOrderUnreadable {
                member: member.clone(),
                why: why.to_string(),
            },
        };
        found.push((finding, How::Lease(member)));
    }
    (found, gaps)
}

fn by(observed: &Observed, told: &Instruction) -> Result<By, String> {
    let tasks = match &observed.tasks {
        Sought::Found(tasks) => tasks.as_slice(),
        Sought::Missing => &[],
        Sought::Unknown(why) => return Err(why.clone()),
    };
    let is_it = |it: &&EtcdOpsTask| it.metadata.uid.as_ref() == Some(&told.task);
    let Some(task) = tasks.iter().find(is_it) else {
        return Ok(By::Gone);
    };
    let name = task.metadata.name.clone().unwrap_or_default();
    let state = task.status.as_ref().and_then(|it| it.state.as_deref());
    Ok(match state.and_then(State::parse) {
        Some(State::Succeeded | State::Failed | State::Rejected) => By::Over(name),
        Some(State::Pending | State::InProgress) | None => By::UnderWay(name),
    })
}

impl By {
    /// In words.
    pub(super) fn words(&self) -> String {
        match self {
            Self::UnderWay(task) => format!("by EtcdOpsTask {task}, which is under way"),
            Self::Over(task) => format!("by EtcdOpsTask {task}, which is over"),
            Self::Gone => "by an EtcdOpsTask that is gone".to_owned(),
        }
    }
}

/// What comes of it if nobody does anything.
pub(super) fn comes(order: Order, by: &By) -> &'static str {
    match (by, order) {
        (By::UnderWay(_), _) => "the recovery goes on by itself",
        (By::Over(_) | By::Gone, Order::Hold) => "its etcd does not start until that is taken away",
        (By::Over(_) | By::Gone, Order::Join) => {
            "it joins the cluster as a learner when its pod comes up with a volume that has not done so"
        }
        (By::Over(_) | By::Gone, Order::Alone | Order::Restore) => {
            "on a new volume it would begin a cluster of its own"
        }
    }
}
