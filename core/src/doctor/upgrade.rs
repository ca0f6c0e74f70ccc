//! What the upgrade waits for.

use super::finding::{Finding, How};
use crate::cli::Progress;
use crate::upgrade::ShownPhase;

/// What is to be done about it.
pub(super) fn findings(progress: &Progress) -> Vec<(Finding, How)> {
    let mut found = Vec::new();
    let text = |it: &Option<String>| it.clone().unwrap_or_default();
    let (reason, message) = (text(&progress.reason), text(&progress.message));
    match progress.phase.as_deref().and_then(ShownPhase::read) {
        Some(ShownPhase::RolledBack | ShownPhase::Blocked) if progress.acknowledged => {
            found.push(Finding::Acknowledged);
        }
        Some(ShownPhase::RolledBack | ShownPhase::Blocked) => {
            found.push(Finding::UpgradeHalted { reason, message });
        }
        Some(ShownPhase::Refused) => found.push(Finding::UpgradeRefused { reason, message }),
        Some(ShownPhase::Waiting) => found.push(Finding::UpgradeWaiting { reason, message }),
        Some(
            ShownPhase::Preflight
            | ShownPhase::Snapshot
            | ShownPhase::Rolling
            | ShownPhase::Finalizing
            | ShownPhase::Succeeded
            | ShownPhase::PuttingBack
            | ShownPhase::Paused,
        )
        | None => {}
    }
    let how = |finding| (finding, How::Field("status.upgrade"));
    let mut found: Vec<_> = found.into_iter().map(how).collect();
    if progress.paused {
        found.push((Finding::Paused, How::Field("spec.upgrade")));
    }
    found
}

/// Whether members may differ in their release for its sake.
pub(super) fn is_under_way(progress: &Progress) -> bool {
    let phase = progress.phase.as_deref();
    phase.is_some() && phase != Some(ShownPhase::Succeeded.word())
}
