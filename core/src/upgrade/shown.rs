//! What people are told of an upgrade: one value for `status.upgrade`, its condition, Events,
//! metrics and the command line.
//!
//! It is a fixed point: asked again about the same facts it says the same, to the letter. What
//! changes with every look (how many entries a member is behind, how large its database is) is told
//! without the number, and a look is no news.

mod steady;
#[cfg(test)]
mod tests;

use jiff::{SignedDuration, Timestamp};

use super::{Decision, MemberPhase, Phase, Record, SnapshotState, Step, Wait, Why};
use crate::api::names::ACKNOWLEDGE_HALT;
use crate::api::{EtcdStatus, Time, UpgradeMember, UpgradeRecord, UpgradeSnapshot, UpgradeStatus};
use crate::observed::{Answer, Observed, SnapshotWork};
use crate::status::conditions::{Finding, Kind, Truth, put};
use crate::version::{Direction, Version};

/// From when on it is told what a member is missing that comes up.
const SLOW: SignedDuration = SignedDuration::from_secs(15);

/// How far an upgrade is, for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ShownPhase {
    /// Checking whether it may begin.
    Preflight,
    /// Taking and verifying the snapshot.
    Snapshot,
    /// Replacing members.
    Rolling,
    /// All members run the target; the cluster has to agree on it.
    Finalizing,
    /// Arrived.
    Succeeded,
    /// Putting a failed member back.
    PuttingBack,
    /// Halted, with the failed member back on the old release.
    RolledBack,
    /// Halted for another reason.
    Blocked,
    /// It must not begin; nothing was touched.
    Refused,
    /// Something that should be is not.
    Waiting,
    /// A person wants to look first.
    Paused,
}

impl ShownPhase {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::Preflight,
        Self::Snapshot,
        Self::Rolling,
        Self::Finalizing,
        Self::Succeeded,
        Self::PuttingBack,
        Self::RolledBack,
        Self::Blocked,
        Self::Refused,
        Self::Waiting,
        Self::Paused,
    ];

    /// As `status.upgrade.phase` and metrics have it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Preflight => "Preflight",
            Self::Snapshot => "Snapshot",
            Self::Rolling => "Rolling",
            Self::Finalizing => "Finalizing",
            Self::Succeeded => "Succeeded",
            Self::PuttingBack => "PuttingBack",
            Self::RolledBack => "RolledBack",
            Self::Blocked => "Blocked",
            Self::Refused => "Refused",
            Self::Waiting => "Waiting",
            Self::Paused => "Paused",
        }
    }

    /// The phase with this name.
    pub fn read(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|phase| phase.word() == word)
    }

    /// Whether it stays so until a person acknowledges it.
    pub fn is_halted(self) -> bool {
        match self {
            Self::RolledBack | Self::Blocked => true,
            Self::Preflight
            | Self::Snapshot
            | Self::Rolling
            | Self::Finalizing
            | Self::Succeeded
            | Self::PuttingBack
            | Self::Refused
            | Self::Waiting
            | Self::Paused => false,
        }
    }
}

impl From<Phase> for ShownPhase {
    fn from(phase: Phase) -> Self {
        match phase {
            Phase::Preflight => Self::Preflight,
            Phase::Snapshot => Self::Snapshot,
            Phase::Rolling => Self::Rolling,
            Phase::AwaitingClusterVersion => Self::Finalizing,
            Phase::Done => Self::Succeeded,
            Phase::PuttingBack => Self::PuttingBack,
            Phase::RolledBack => Self::RolledBack,
            Phase::Blocked => Self::Blocked,
        }
    }
}

/// The task that takes the snapshot of the attempt, as far as it is known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SnapshotTask {
    /// The name of the `EtcdOpsTask`.
    pub name: String,
    /// The name of the snapshot in the store.
    pub object: Option<String>,
}

/// What people are told of an upgrade.
#[derive(Clone, Debug, PartialEq)]
pub struct Shown {
    /// How far it is.
    pub phase: ShownPhase,
    /// Why it is not further, as a word.
    pub reason: Option<String>,
    /// The same as a sentence, and what can be done about it.
    pub message: String,
    /// As it is written.
    pub status: UpgradeStatus,
    /// The first moment at which time alone may change it.
    pub next_change: Option<Timestamp>,
    overdue: bool,
}

/// An Event about an Etcd.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Whether somebody should look: `Warning`, else `Normal`.
    pub warning: bool,
    /// What happened, as a word.
    pub reason: String,
    /// What happened.
    pub message: String,
}

/// What is to be told now. `before`: what was told last. Nothing of a cluster that was never
/// upgraded.
pub fn shown(
    decision: &Decision,
    seen: &Observed,
    task: Option<&SnapshotTask>,
    before: Option<&UpgradeStatus>,
    now: Timestamp,
) -> Option<Shown> {
    let Decision { record, step } = decision;
    if record.attempt == 0 {
        return None;
    }
    let before = before.filter(|before| {
        let attempt = before.record.as_ref().map(|record| record.attempt);
        attempt == Some(record.attempt.into())
    });
    let is_look = matches!(step, Step::Look(_));
    let told = before.filter(|_| is_look).and_then(Line::told);
    let line = told.unwrap_or_else(|| Line::of(record, step, seen, now));
    let same = before.filter(|before| before.phase.as_deref() == Some(line.phase.word()));
    let since = |at: fn(&UpgradeStatus) -> Option<&Time>| {
        let known = same.and_then(at).cloned();
        Some(known.unwrap_or_else(|| Time::seconds(now)))
    };
    let (next_change, overdue) = match step {
        Step::Wait(wait) => (moments(wait, now), wait.overdue),
        Step::Done | Step::Look(_) | Step::Act(_) | Step::Refuse(_) | Step::Halt(_) => {
            (None, false)
        }
    };
    let direction = match record.direction() {
        Direction::Upgrade => "Upgrade",
        Direction::Downgrade => "Rollback",
    };
    let failures = record.snapshot.failures;
    let status = UpgradeStatus {
        from: Some(record.from.to_string()),
        to: Some(record.to.to_string()),
        direction: Some(direction.to_owned()),
        phase: Some(line.phase.word().to_owned()),
        reason: line.reason.clone(),
        message: Some(line.message.clone()),
        snapshot: snapshot(record, seen, task, before),
        attempts: (failures > 0).then_some(failures.into()),
        members: Some(members(record, seen, before)),
        started_at: Some(Time::seconds(record.started)),
        finished_at: since(|before| before.finished_at.as_ref())
            .filter(|_| line.phase == ShownPhase::Succeeded),
        last_transition_time: since(|before| before.last_transition_time.as_ref()),
        record: Some(stored(record, step)),
    };
    Some(Shown {
        phase: line.phase,
        reason: line.reason,
        message: line.message,
        status,
        next_change,
        overdue,
    })
}

impl Shown {
    /// One for tests of what is made from it.
    #[cfg(test)]
    pub(crate) fn example(phase: ShownPhase, message: &str) -> Self {
        Self {
            phase,
            reason: None,
            message: message.to_owned(),
            status: UpgradeStatus::default(),
            next_change: None,
            overdue: false,
        }
    }

    /// Puts it into a status, with its condition.
    pub fn apply(&self, status: &mut EtcdStatus, now: Timestamp) {
        let finding = self.finding();
        put(status, &[finding.kind], vec![finding], now);
        status.upgrade = Some(self.status.clone());
    }

    /// Its condition.
    pub fn finding(&self) -> Finding {
        let truth = match self.phase {
            ShownPhase::Succeeded => Truth::True,
            ShownPhase::Preflight
            | ShownPhase::Snapshot
            | ShownPhase::Rolling
            | ShownPhase::Finalizing
            | ShownPhase::PuttingBack
            | ShownPhase::RolledBack
            | ShownPhase::Blocked
            | ShownPhase::Refused
            | ShownPhase::Waiting
            | ShownPhase::Paused => Truth::False,
        };
        let reason = self.reason.as_deref().unwrap_or(self.phase.word());
        Finding::new(Kind::UpgradeComplete, truth, reason, &*self.message)
    }

    /// The Event that there is about it, compared with what was told last. There are few: each one
    /// is a write.
    pub fn event(&self, before: Option<&UpgradeStatus>) -> Option<Event> {
        let number = |status: &UpgradeStatus| status.record.as_ref().map(|it| it.attempt);
        let before = before.filter(|before| number(before) == number(&self.status));
        let phase = before.and_then(|before| before.phase.as_deref());
        let entered = phase != Some(self.phase.word());
        let other_reason = before.is_none_or(|before| before.reason != self.reason);
        let message = before.and_then(|before| before.message.as_ref());
        let began = has_begun(&self.status) && !before.is_some_and(has_begun);
        let (happened, warning, what) = match self.phase {
            ShownPhase::Succeeded => (entered, false, "Succeeded"),
            ShownPhase::PuttingBack => (entered, true, "MemberFailed"),
            ShownPhase::RolledBack => (entered, true, "RolledBack"),
            ShownPhase::Blocked => (entered, true, "Halted"),
            ShownPhase::Refused => (entered || other_reason, true, "Refused"),
            ShownPhase::Paused => (entered || other_reason, false, "Paused"),
            ShownPhase::Waiting if self.overdue => {
                (message != Some(&self.message), true, "Overdue")
            }
            ShownPhase::Waiting
            | ShownPhase::Preflight
            | ShownPhase::Snapshot
            | ShownPhase::Rolling
            | ShownPhase::Finalizing => (began, false, "Started"),
        };
        let direction = self.status.direction.as_deref().unwrap_or_default();
        let of = |it: &Option<String>| it.clone().unwrap_or_default();
        let (from, to) = (of(&self.status.from), of(&self.status.to));
        happened.then(|| Event {
            warning,
            reason: format!("{direction}{what}"),
            message: format!("from {from} to {to}: {}", self.message),
        })
    }
}

/// Whether anything was done for the attempt.
fn has_begun(status: &UpgradeStatus) -> bool {
    let record = status.record.as_ref();
    record.is_some_and(|record| record.touched || record.snapshot.tries > 0)
}

/// Phase, reason and message.
struct Line {
    phase: ShownPhase,
    reason: Option<String>,
    message: String,
}

impl Line {
    fn of(record: &Record, step: &Step, seen: &Observed, now: Timestamp) -> Self {
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
    fn told(before: &UpgradeStatus) -> Option<Self> {
        Some(Self {
            phase: ShownPhase::read(before.phase.as_deref()?)?,
            reason: before.reason.clone(),
            message: before.message.clone()?,
        })
    }
}

/// Whether it is what comes after an act, if all goes well.
fn is_progress(why: &Why) -> bool {
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
fn moments(wait: &Wait, now: Timestamp) -> Option<Timestamp> {
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
    let to = record.to;
    let all = seen.processes.len();
    match (record.phase, &record.current) {
        (Phase::PuttingBack, Some(current)) => {
            let (member, from) = (&current.member, current.from);
            let trouble = current.failed.as_ref().map(steady::trouble);
            let trouble = trouble.unwrap_or_default();
            format!("{member} is being put back to {from}: it {trouble}")
        }
        (
            Phase::Preflight | Phase::Snapshot | Phase::Rolling | Phase::AwaitingClusterVersion,
            Some(current),
        ) => {
            let (member, from, to) = (&current.member, current.from, current.to);
            format!("{member} is being replaced, {from} by {to}")
        }
        (Phase::Preflight, None) => "checking whether it may begin".to_owned(),
        (Phase::Snapshot, None) => match record.snapshot.failures {
            0 => "a full snapshot is being taken and verified".to_owned(),
            failed => format!("a full snapshot is being taken and verified; {failed} failed"),
        },
        (Phase::Rolling, None) => {
            let off = seen.off(to).count();
            format!("{} of {all} members run {to}", all.saturating_sub(off))
        }
        (Phase::AwaitingClusterVersion, None) => {
            format!("all members run {to}; the cluster has to agree on it")
        }
        (Phase::Done, _) => format!("all members run {to}"),
        (Phase::PuttingBack | Phase::RolledBack | Phase::Blocked, _) => {
            format!("halted on the way to {to}")
        }
    }
}

/// All members, with what each one runs. One that is being replaced counts as on the old release
/// until it is well.
fn members(record: &Record, seen: &Observed, before: Option<&UpgradeStatus>) -> Vec<UpgradeMember> {
    let known = before.and_then(|before| before.members.as_deref());
    let known = known.unwrap_or_default();
    let members = seen.processes.iter().map(|(name, process)| {
        let current = record.current.as_ref().filter(|it| it.member == *name);
        let says = seen.etcd.members.get(name).and_then(Answer::status);
        let runs = says
            .map(|status| status.version)
            .or_else(|| process.version());
        let version = match current {
            Some(current) => Some(current.from.to_string()),
            None => runs.as_ref().map(Version::to_string).or_else(|| {
                let known = known.iter().find(|it| it.name == name.0)?;
                known.version.clone()
            }),
        };
        let phase = match record.members.get(name) {
            Some(MemberPhase::Replacing) if current.is_some() => "Replacing",
            Some(MemberPhase::PutBack) => "PutBack",
            Some(MemberPhase::Replacing | MemberPhase::Replaced) | None => {
                let arrived = version.as_deref() == Some(&*record.to.to_string());
                if arrived { "Replaced" } else { "Pending" }
            }
        };
        UpgradeMember {
            name: name.0.clone(),
            version,
            phase: Some(phase.to_owned()),
        }
    });
    members.collect()
}

fn snapshot(
    record: &Record,
    seen: &Observed,
    task: Option<&SnapshotTask>,
    before: Option<&UpgradeStatus>,
) -> Option<UpgradeSnapshot> {
    let snapshot = &record.snapshot;
    if snapshot.tries == 0 {
        return None;
    }
    let known = before.and_then(|before| before.snapshot.as_ref());
    let task_name = task.map(|task| task.name.clone());
    let SnapshotState::Verified {
        revision,
        sha256,
        at,
    } = &snapshot.state
    else {
        return Some(UpgradeSnapshot {
            task_name: task_name.or_else(|| known?.task_name.clone()),
            ..UpgradeSnapshot::default()
        });
    };
    // The task may be gone by now.
    let known = known.filter(|known| known.task_name.is_some());
    let size = match &seen.snapshot {
        SnapshotWork::Verified {
            bytes, sha256: of, ..
        } if of == sha256 => i64::try_from(*bytes).ok(),
        SnapshotWork::Verified { .. }
        | SnapshotWork::Absent
        | SnapshotWork::Taking
        | SnapshotWork::Rejected(_)
        | SnapshotWork::Failed(_)
        | SnapshotWork::Taken
        | SnapshotWork::Verifying
        | SnapshotWork::Damaged(_) => None,
    };
    Some(UpgradeSnapshot {
        name: task
            .and_then(|task| task.object.clone())
            .or_else(|| known?.name.clone()),
        task_name: task_name.or_else(|| known?.task_name.clone()),
        revision: Some(*revision),
        size: size.or_else(|| known?.size),
        sha256: Some(sha256.clone()),
        verified_at: Some(Time::seconds(*at)),
    })
}

/// The record, without a wait for what comes after an act: it would be written with every step of
/// a member that comes up, and nothing is decided from it after a crash.
fn stored(record: &Record, step: &Step) -> UpgradeRecord {
    let mut stored = UpgradeRecord::from(record);
    if let Step::Wait(wait) = step
        && is_progress(&wait.why)
    {
        stored.waiting = None;
    }
    stored
}
