//! Sentences that stay the same as long as what they are about does: without the numbers that every
//! look finds changed. The numbers are in the log.

use crate::refusal::{MAX_QUOTA_PERCENT, Refusal};
use crate::upgrade::{Trouble, Wait, Why};

/// A wait, and what ends it.
pub(super) fn wait(wait: &Wait) -> String {
    let said = why(&wait.why);
    if wait.overdue {
        format!("{said} (overdue)")
    } else {
        said
    }
}

fn why(why: &Why) -> String {
    match why {
        Why::Unhealthy { member, trouble } => format!("{member} {}", self::trouble(trouble)),
        Why::ComingUp {
            member,
            version,
            trouble,
        } => format!(
            "{member} is coming up on {version}: {}",
            self::trouble(trouble)
        ),
        Why::ClusterVersion { expected, .. } => {
            format!("all members run the target; the cluster has not agreed on {expected} yet")
        }
        Why::Paused => format!("{why}: set spec.upgrade.paused to false to go on"),
        Why::HeldLast { .. } => format!("{why}; set spec.upgrade.holdLast to false to go on"),
        Why::PausedAfter { .. }
        | Why::PreflightUnknown(_)
        | Why::SnapshotTaking(_)
        | Why::SnapshotVerifying(_)
        | Why::SnapshotRejected { .. }
        | Why::GoingDown { .. }
        | Why::NotComparable(_)
        | Why::MembershipUnknown(_)
        | Why::MembershipDiffers { .. }
        | Why::AlarmsUnknown(_)
        | Why::AlarmActive(_)
        | Why::NoLeader
        | Why::NoSuccessor => why.to_string(),
    }
}

/// What is wrong with a member.
pub(super) fn trouble(trouble: &Trouble) -> String {
    match trouble {
        Trouble::Behind(_) => "has not caught up".to_owned(),
        Trouble::Failing { last_words, .. } => format!("keeps ending: {last_words}"),
        Trouble::Absent
        | Trouble::Silent(_)
        | Trouble::Learner
        | Trouble::NotListed
        | Trouble::NotReady(_)
        | Trouble::NoLeader
        | Trouble::OtherVersion(_)
        | Trouble::NoWrites(_)
        | Trouble::TargetChanged => trouble.to_string(),
    }
}

/// Why it may not begin.
pub(super) fn refusal(refusal: &Refusal) -> String {
    match refusal {
        Refusal::RaftLag {
            member, allowed, ..
        } => format!("{member} is more than {allowed} raft entries behind"),
        Refusal::QuotaHeadroom { member, quota, .. } => format!(
            "{member} uses more than {MAX_QUOTA_PERCENT}% of its database quota of {quota} bytes"
        ),
        Refusal::HashMismatch { .. } => "the members hold different data (HashKV)".to_owned(),
        Refusal::VersionStepUnsupported(_)
        | Refusal::VersionSkew { .. }
        | Refusal::MemberUnreachable { .. }
        | Refusal::MemberNotReady { .. }
        | Refusal::MemberCountMismatch { .. }
        | Refusal::LearnerPresent { .. }
        | Refusal::NoStableLeader { .. }
        | Refusal::AlarmActive { .. }
        | Refusal::AuthEnabled
        | Refusal::DowngradeInProgress { .. }
        | Refusal::ConfigKeyUnsupported { .. }
        | Refusal::ClusterVersionUnexpected { .. }
        | Refusal::SidecarCannotVerify => refusal.to_string(),
    }
}
