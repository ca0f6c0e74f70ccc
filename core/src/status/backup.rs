//! Are snapshots taken as planned? Their leases say when the newest ones were.

use super::conditions::{Finding, Kind, Truth};
use super::facts::{Backup, later};
use super::timing::Timing;

/// The condition `BackupReady`.
pub(super) fn backup_ready(backup: &Backup, timing: &mut Timing) -> Finding {
    let found =
        |truth, reason, message: &str| Finding::new(Kind::BackupReady, truth, reason, message);
    let succeeded = |message| found(Truth::True, "BackupSucceeded", message);
    let failed = |message| found(Truth::False, "BackupFailed", message);
    let unknown = |message| found(Truth::Unknown, "Unknown", message);
    let undecided = "Cannot determine etcd backup status";
    let (Some(full), Some(delta)) = (backup.full, backup.delta) else {
        return unknown(undecided);
    };
    let Some(period) = backup.delta_period else {
        return match full.renewed {
            None => unknown(undecided),
            Some(_) if timing.passed(backup.due) => {
                failed("The full snapshot that was due was not taken")
            }
            Some(_) => succeeded("Snapshot backup succeeded"),
        };
    };
    let periods = |since, count| later(since, period.saturating_mul(count));
    match (full.renewed, delta.renewed) {
        (Some(full), None) if timing.passed(periods(full, 5)) => {
            unknown("Periodic delta snapshots not started yet")
        }
        (_, None) => unknown(undecided),
        (_, Some(delta)) if timing.passed(periods(delta, 3)) => {
            failed("No delta snapshot was taken for more than three periods")
        }
        (_, Some(delta)) if timing.passed(periods(delta, 2)) || timing.passed(backup.due) => {
            unknown(undecided)
        }
        (None, Some(_)) => succeeded("Delta snapshot backup succeeded"),
        (Some(_), Some(_)) => succeeded("Snapshot backup succeeded"),
    }
}
