//! How a demo reads.

use std::fmt::Write as _;

use druid_core::cli::{Found, Progress};
use druid_core::report::{Outcome, Pass, Report, Roll, Seconds};
use serde_json::Value;

/// Something that happened, with when.
pub(super) fn line(at_ms: u64, what: &str) -> String {
    format!("[{:>6}] {what}", seconds(at_ms))
}

/// `41 ms` or `1.2 s`.
pub(super) fn seconds(ms: u64) -> String {
    if ms < 1000 {
        return format!("{ms} ms");
    }
    format!("{}.{} s", ms / 1000, ms % 1000 / 100)
}

/// How far it is, on one line; nothing of an Etcd that was never upgraded.
pub(super) fn upgrade(etcd: &Value) -> Option<String> {
    let progress = Progress::all([&Found::from(etcd.clone())]).pop()?;
    let phase = progress.phase.as_deref()?;
    let direction = progress.direction.as_deref().unwrap_or("Upgrade");
    let message = progress.message.as_deref().unwrap_or_default();
    let bar = progress.bar();
    Some(format!("{direction:<8} {bar}  {phase:<10} {message}"))
}

/// The figures.
pub(super) fn summary(report: &Report) -> String {
    let mut text = report.verdict() + "\n";
    if report.outcome != Outcome::Passed {
        let _ = write!(text, "\n  because   {}", report.reason);
    }
    let mut row = |name: &str, value: String| {
        let _ = write!(text, "\n  {name:<9} {value}");
    };
    let durations = report.durations.unwrap_or_default();
    row("create", long(durations.create));
    for roll in &report.rolls {
        let writes = report
            .operator_writes
            .as_ref()
            .map(|it| match roll.direction {
                Pass::Rollback => it.rollback.values().sum::<u64>(),
                Pass::Upgrade | Pass::UpgradeAgain => it.upgrade.values().sum(),
            });
        row(&roll.direction.to_string(), of_roll(roll, writes));
    }
    let writes = &report.writes;
    row(
        "writes",
        format!("{} acknowledged, {} lost", writes.acknowledged, writes.lost),
    );
    let watch = &report.watch;
    row(
        "watch",
        format!(
            "{} events, {} missing, {} twice",
            watch.events, watch.missing, watch.duplicated
        ),
    );
    let revision = report.hash_kv.revision.unwrap_or(0);
    row(
        "data",
        match report.hash_kv.equal {
            Some(true) => format!("equal on all members at revision {revision}"),
            Some(false) => format!("not equal on all members at revision {revision}"),
            None => "not compared".to_owned(),
        },
    );
    row(
        "history",
        match report.linearizable {
            Some(true) => "linearizable",
            Some(false) => "not linearizable",
            None => "not decided",
        }
        .to_owned(),
    );
    let taken = report.snapshots_taken.unwrap_or(0);
    row("snapshots", format!("{taken} taken"));
    text
}

fn long(seconds: Seconds) -> String {
    self::seconds(seconds.ms.into())
}

fn of_roll(roll: &Roll, writes: Option<u64>) -> String {
    let Roll {
        from,
        to,
        duration_ms,
        longest_gap_ms,
        leader_changes,
        restarts,
        ..
    } = roll;
    let s = |count: u64| if count == 1 { "" } else { "s" };
    let writes = writes.map_or_else(String::new, |writes| {
        format!(", {writes} API writes of the operator")
    });
    format!(
        "{from} -> {to} in {} from the gate, longest write gap {longest_gap_ms} ms, \
         {leader_changes} leader change{}, {restarts} restart{}{writes}",
        seconds(*duration_ms),
        s(*leader_changes),
        s(*restarts),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_tells_the_bar_the_phase_and_why() {
        let etcd = |status: Value| {
            serde_json::json!({
                "apiVersion": "druid.gardener.cloud/v1alpha1", "kind": "Etcd",
                "metadata": { "name": "main", "namespace": "demo" },
                "spec": { "replicas": 2, "etcd": {}, "labels": {} , "backup": {} },
                "status": status,
            })
        };
        assert_eq!(upgrade(&etcd(Value::Null)), None);
        let status = serde_json::json!({ "upgrade": {
            "phase": "Rolling", "direction": "Upgrade", "message": "main-1 is being replaced",
            "members": [
                { "name": "main-0", "phase": "Replaced" },
                { "name": "main-1", "phase": "Replacing" },
            ],
        } });
        let (done, doing) = ("\u{2588}".repeat(10), "\u{2592}".repeat(10));
        let expected = format!("Upgrade  {done}{doing} 1/2  Rolling    main-1 is being replaced");
        assert_eq!(upgrade(&etcd(status)), Some(expected));
        assert_eq!(line(12_345, "x"), "[12.3 s] x");
        assert_eq!(line(45, "x"), "[ 45 ms] x");
    }
}
