//! Members, snapshot and record.

use super::SnapshotTask;
use super::line::is_progress;
use crate::api::{Time, UpgradeMember, UpgradeRecord, UpgradeSnapshot, UpgradeStatus};
use crate::observed::{Answer, Observed, SnapshotWork};
use crate::upgrade::{MemberPhase, Record, SnapshotState, Step};
use crate::version::Version;

/// All members, with what each one runs. One that is being replaced counts as on the old release
/// until it is well.
pub(super) fn members(
    record: &Record,
    seen: &Observed,
    before: Option<&UpgradeStatus>,
) -> Vec<UpgradeMember> {
    let known = before.and_then(|before| before.members.as_deref());
    let known = known.unwrap_or_default();
    let members = seen.processes.iter().map(|(name, process)| {
        let current = record.current.as_ref().filter(|it| it.member == *name);
        let says = seen.etcd.members.get(name).and_then(Answer::status);
        let runs = says
            .map(|status| status.version)
            .or_else(|| process.version());
        let version = match current {
            Some(current) => Some(current.from.version.to_string()),
            None => runs.as_ref().map(Version::to_string).or_else(|| {
                let known = known.iter().find(|it| it.name == name.0)?;
                known.version.clone()
            }),
        };
        let phase = match record.members.get(name) {
            Some(MemberPhase::Replacing) if current.is_some() => "Replacing",
            Some(MemberPhase::PutBack) => "PutBack",
            Some(MemberPhase::Replacing | MemberPhase::Replaced) | None => {
                let arrived = current.is_none() && process.make() == Some(&record.to);
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

/// The snapshot, as far as it is.
pub(super) fn snapshot(
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
pub(super) fn stored(record: &Record, step: &Step) -> UpgradeRecord {
    let mut stored = UpgradeRecord::from(record);
    if let Step::Wait(wait) = step
        && is_progress(&wait.why)
    {
        stored.waiting = None;
    }
    stored
}
