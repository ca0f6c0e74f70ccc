//! `BackupReady`.

use super::*;
use crate::backup::snapshotter::Schedule;

/// Every hour, at 800 seconds past.
struct Hourly;

impl Schedule for Hourly {
    fn next_after(&self, time: Timestamp) -> Option<Timestamp> {
        let past = time.as_second() - at(800).as_second();
        Some(at(800 + (past.div_euclid(3600) + 1) * 3600))
    }

    fn window(&self) -> SignedDuration {
        secs(3600)
    }
}

fn plan(delta_period: Option<i64>) -> BackupPlan<'static> {
    BackupPlan {
        delta_period: delta_period.map(secs),
        schedule: Some(&Hourly),
        timeout: secs(100),
    }
}

fn lease(renewed: Option<i64>) -> SnapshotLease {
    SnapshotLease {
        created: at(0),
        renewed: renewed.map(at),
    }
}

fn backup_ready(backup: Backup, second: i64) -> (String, Option<Timestamp>) {
    let mut facts = facts();
    facts.backup = Some(backup);
    let told = status(&facts, at(second));
    let condition = find(&told.status, Kind::BackupReady).unwrap();
    let next = told
        .next_change
        .filter(|next| *next != at(60) && *next != at(360));
    (format!("{} {}", condition.status, condition.message), next)
}

#[test]
fn both_leases_have_to_be_as_new_as_planned() {
    let undecided = "Unknown Cannot determine etcd backup status";
    let good = "True Snapshot backup succeeded";
    let early = "True Delta snapshot backup succeeded";
    let failed = "False No delta snapshot was taken for more than three periods";
    let none_yet = "Unknown Periodic delta snapshots not started yet";
    for (full, delta, second, expected) in [
        (None, None, 0, undecided),
        (Some(0), None, 49, undecided),
        (Some(0), None, 50, none_yet),
        (None, Some(0), 19, early),
        (None, Some(890), 899, early),
        // The full snapshot of second 800 is not there at 900.
        (None, Some(890), 900, undecided),
        (Some(0), Some(0), 19, good),
        (Some(0), Some(0), 20, undecided),
        (Some(0), Some(0), 29, undecided),
        (Some(0), Some(0), 30, failed),
        (Some(0), Some(899), 899, good),
        (Some(0), Some(899), 900, undecided),
        (Some(801), Some(900), 900, good),
    ] {
        let backup = Backup::new(&plan(Some(10)), Some(lease(full)), Some(lease(delta)));
        let (found, _) = backup_ready(backup, second);
        assert_eq!(found, expected, "{full:?} {delta:?} {second}");
    }
    let missing = Backup::new(&plan(Some(10)), None, Some(lease(Some(0))));
    assert_eq!(backup_ready(missing, 0).0, undecided);
}

#[test]
fn the_moments_are_known_before() {
    let of = |full, delta, second| {
        let backup = Backup::new(&plan(Some(10)), Some(lease(full)), Some(lease(delta)));
        backup_ready(backup, second).1
    };
    assert_eq!(of(Some(0), Some(0), 0), Some(at(20)));
    assert_eq!(of(Some(0), None, 0), Some(at(50)));
    assert_eq!(of(Some(0), Some(895), 895), Some(at(900)));
}

#[test]
fn without_a_period_the_sidecars_own_is_expected() {
    let backup = Backup::new(&plan(None), Some(lease(Some(0))), Some(lease(Some(0))));
    assert!(backup_ready(backup.clone(), 39).0.starts_with("True"));
    assert!(backup_ready(backup.clone(), 40).0.starts_with("Unknown"));
    assert!(backup_ready(backup, 60).0.starts_with("False"));
}

#[test]
fn without_deltas_full_snapshots_are_enough() {
    let backup = |full| Backup::new(&plan(Some(0)), Some(lease(full)), Some(lease(None)));
    assert!(backup_ready(backup(None), 0).0.starts_with("Unknown"));
    assert!(backup_ready(backup(Some(0)), 899).0.starts_with("True"));
    assert!(backup_ready(backup(Some(0)), 900).0.starts_with("False"));
}

#[test]
fn without_a_schedule_there_is_one_a_day() {
    let daily = BackupPlan {
        schedule: None,
        ..plan(Some(10))
    };
    let day = 24 * 3600 + 100;
    let backup = Backup::new(&daily, Some(lease(Some(0))), Some(lease(Some(day))));
    assert!(backup_ready(backup.clone(), day - 1).0.starts_with("True"));
    assert!(backup_ready(backup, day).0.starts_with("Unknown"));
}

#[test]
fn a_store_that_is_taken_away_takes_its_condition_with_it() {
    let mut facts = facts();
    facts.backup = Some(Backup::new(
        &plan(None),
        Some(lease(None)),
        Some(lease(None)),
    ));
    facts.previous = status(&facts, at(0)).status;
    assert!(find(&facts.previous, Kind::BackupReady).is_some());
    facts.backup = None;
    assert_eq!(find(&status(&facts, at(0)).status, Kind::BackupReady), None);
}
