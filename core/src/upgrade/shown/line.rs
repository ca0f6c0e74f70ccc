//! Phase, reason and message.

use jiff::{SignedDuration, Timestamp};

use super::{ShownPhase, steady};
use crate::api::UpgradeStatus;
use crate::api::names::ACKNOWLEDGE_HALT;
use crate::observed::Observed;
use crate::upgrade::{Phase, Record, Step, Wait, Why};
use crate::version::Direction;

/// From when on it is told what a member is missing that comes up.
const SLOW: SignedDuration = SignedDuration::from_secs(15);

/// Phase, reason and message.
pub(super) struct Line {
    pub(super) phase: ShownPhase,
    pub(super) reason: Option<String>,
    pub(super) message: String,
}

impl Line {
    pub(super) fn of(record: &Record, step: &Step, seen: &Observed, now: Timestamp) -> Self {
        let phase = ShownPhase::from(record.phase);
        let line = |phase, reason: &str, message| Self {
            phase,
            reason: Some(reason.to_owned()),
            message,
        };
        match step {
            Step::Done | Step::Look(_) | Step::Act(_) => Self {
                phase,
                reason: None,
                message: progress(record, seen),
            },
            Step::Wait(wait) if is_progress(&wait.why) => {
                let slow = now >= wait.since + SLOW && !takes_long(&wait.why);
                let reason = (slow || wait.overdue).then(|| wait.why.code().to_owned());
                let message = match &reason {
                    Some(_) => steady::wait(wait),
                    None => progress(record, seen),
                };
                Self {
                    phase,
                    reason,
                    message,
                }
            }
            Step::Wait(wait) => {
                let phase = if wait.why.is_for_a_person() {
                    ShownPhase::Paused
                } else {
                    ShownPhase::Waiting
                };
                line(phase, wait.why.code(), steady::wait(wait))
            }
            Step::Refuse(refusals) => {
                let code = refusals.first().map_or("Refused", |it| it.code());
                let said: Vec<_> = refusals
                    .iter()
                    .map(|it| format!("{}: {}", steady::refusal(it), it.remedy()))
                    .collect();
                line(ShownPhase::Refused, code, said.join("; "))
            }
            Step::Halt(halt) => {
                let (remedy, attempt) = (halt.remedy(), record.attempt);
                let message = format!(
                    "{halt}: {remedy} (annotate the Etcd with {ACKNOWLEDGE_HALT}={attempt})"
                );
                line(phase, halt.code(), message)
            }
        }
    }

    /// As it was told.
    pub(super) fn told(before: &UpgradeStatus) -> Option<Self> {
        Some(Self {
            phase: ShownPhase::read(before.phase.as_deref()?)?,
            reason: before.reason.clone(),
            message: before.message.clone()?,
        })
    }
}

/// Whether it is what comes after an act, if all goes well.
pub(super) fn is_progress(why: &Why) -> bool {
    match why {
        Why::SnapshotTaking(_)
        | Why::SnapshotVerifying(_)
        | Why::GoingDown { .. }
        | Why::ComingUp { .. }
        | Why::ClusterVersion { .. } => true,
        Why::Paused
        | Why::PausedAfter { .. }
        | Why::HeldLast { .. }
        | Why::PreflightUnknown(_)
        | Why::SnapshotRejected { .. }
        | Why::Unhealthy { .. }
        | Why::NotComparable(_)
        | Why::MembershipUnknown(_)
        | Why::MembershipDiffers { .. }
        | Why::AlarmsUnknown(_)
        | Why::AlarmActive(_)
        | Why::NoLeader
        | Why::NoSuccessor => false,
    }
}

/// Whether it is no wonder that it takes minutes.
fn takes_long(why: &Why) -> bool {
    matches!(why, Why::SnapshotTaking(_) | Why::SnapshotVerifying(_))
}

/// When a wait is told otherwise.
pub(super) fn moments(wait: &Wait, now: Timestamp) -> Option<Timestamp> {
    let slow = is_progress(&wait.why) && !takes_long(&wait.why);
    let slow = slow.then(|| wait.since + SLOW);
    // A wait is overdue after its deadline, not at it.
    let overdue = wait.deadline.map(|at| at + SignedDuration::from_nanos(1));
    [slow, overdue]
        .into_iter()
        .flatten()
        .filter(|at| *at > now)
        .min()
}

/// What is being done, in words that stay the same from the act to its end.
fn progress(record: &Record, seen: &Observed) -> String {
    let goal = match record.direction() {
        Direction::Same => "what the spec asks for".to_owned(),
        Direction::Upgrade | Direction::Downgrade => record.to.version.to_string(),
    };
    let all = seen.processes.len();
    match (record.phase, &record.current) {
        (Phase::PuttingBack, Some(current)) => {
            let (member, from) = (&current.member, current.from.version);
            let trouble = current.failed.as_ref().map(steady::trouble);
            let trouble = trouble.unwrap_or_default();
            format!("{member} is being put back to {from}: it {trouble}")
        }
        (
            Phase::Preflight | Phase::Snapshot | Phase::Rolling | Phase::AwaitingClusterVersion,
            Some(current),
        ) => {
            let member = &current.member;
            let (from, to) = (current.from.version, current.to.version);
            if from == to {
                format!("{member} is being restarted")
            } else {
                format!("{member} is being replaced, {from} by {to}")
            }
        }
        (Phase::Preflight, None) => "checking whether it may begin".to_owned(),
        (Phase::Snapshot, None) => match record.snapshot.failures {
            0 => "a full snapshot is being taken and verified".to_owned(),
            failed => format!("a full snapshot is being taken and verified; {failed} failed"),
        },
        (Phase::Rolling, None) => {
            let off = seen.off(&record.to).count();
            format!("{} of {all} members run {goal}", all.saturating_sub(off))
        }
        (Phase::AwaitingClusterVersion, None) => {
            format!("all members run {goal}; the cluster has to agree on it")
        }
        (Phase::Done, _) => format!("all members run {goal}"),
        (Phase::PuttingBack | Phase::RolledBack | Phase::Blocked, _) => {
            format!("halted on the way to {goal}")
        }
    }
}
