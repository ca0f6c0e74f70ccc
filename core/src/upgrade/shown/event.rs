//! Events about an upgrade. There are few: each one is a write.

use super::{Shown, ShownPhase};
use crate::api::UpgradeStatus;

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

impl Shown {
    /// The Event that there is about it, compared with what was told last.
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
