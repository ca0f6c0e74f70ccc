//! What people are told of an upgrade: one value for `status.upgrade`, its condition, Events,
//! metrics and the command line.
//!
//! It is a fixed point: asked again about the same facts it says the same, to the letter. What
//! changes with every look (how many entries a member is behind, how large its database is) is told
//! without the number, and a look is no news.

mod event;
mod line;
mod parts;
mod phase;
mod steady;
#[cfg(test)]
mod tests;

use jiff::Timestamp;

pub use self::event::Event;
use self::line::{Line, moments};
use self::parts::{members, snapshot, stored};
pub use self::phase::ShownPhase;
use super::{Decision, Step};
use crate::api::{EtcdStatus, Time, UpgradeStatus};
use crate::observed::Observed;
use crate::status::conditions::{Finding, Kind, Truth, put};
use crate::version::Direction;

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
        Direction::Same => "Roll",
    };
    let failures = record.snapshot.failures;
    let status = UpgradeStatus {
        from: Some(record.from.version.to_string()),
        to: Some(record.to.version.to_string()),
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
        revisions: None,
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
        let revisions = status.upgrade.take().and_then(|it| it.revisions);
        status.upgrade = Some(UpgradeStatus {
            revisions,
            ..self.status.clone()
        });
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
}
