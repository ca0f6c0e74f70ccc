//! The same facts lead to the same status as with etcd-druid, as far as we mean the same.
#![allow(
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that cannot read fails"
)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use druid_core::api::{Condition, Etcd, EtcdMember, EtcdStatus};
use druid_core::backup::snapshotter::Schedule;
use druid_core::duration::GoDuration;
use druid_core::member::MemberName;
use druid_core::status::{
    Backup, BackupPlan, ClaimWarning, Facts, MemberLease, Pod, SnapshotLease, Sought, StatefulSet,
    Thresholds, status,
};
use jiff::{SignedDuration, Timestamp};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

/// Captured before the StatefulSet controller had seen the newest spec.
const BEHIND: [&str; 2] = [
    "gate-off/52-client-service",
    "scenarios/backup-store-removed-later",
];

/// Where the reason of a condition is not the same on purpose.
const OTHERWISE: [(&str, &str, &str); 1] = [
    // One member of two has registered (B15).
    (
        "scenarios/members-odd-holder-identity",
        "Ready",
        "TooFewMembersInStatus",
    ),
];

/// Where a lease was not renewed just now: how long ago, in seconds.
const AGES: [(&str, i64); 3] = [
    ("affinity-topology-1", 120),
    ("affinity-topology-2", 600),
    ("durations-odd-full-snap", 600),
];

fn now() -> Timestamp {
    "2026-11-24T10:20:30Z".parse().unwrap()
}

fn goldens() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/goldens")
}

fn read<T: DeserializeOwned>(path: &Path) -> T {
    let text = std::fs::read_to_string(path).unwrap();
    let options = serde_saphyr::options! { strict_booleans: true };
    let value: Value = serde_saphyr::from_str_with_options(&text, options).unwrap();
    serde_json::from_value(value).unwrap()
}

fn files(folder: &Path, kind: &str) -> Vec<PathBuf> {
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| {
            let name = path.file_name().unwrap().to_string_lossy();
            name.starts_with(&format!("{kind}-"))
        })
        .collect();
    files.sort();
    files
}

/// A full snapshot a day, at midnight.
struct Daily;

impl Schedule for Daily {
    fn next_after(&self, time: Timestamp) -> Option<Timestamp> {
        let day = 24 * 3600;
        Timestamp::from_second((time.as_second().div_euclid(day) + 1) * day).ok()
    }

    fn window(&self) -> SignedDuration {
        SignedDuration::from_hours(24)
    }
}

fn renewed(lease: &Value) -> Option<Timestamp> {
    lease.pointer("/spec/renewTime")?;
    let age = AGES.iter().find(|(of, _)| lease["metadata"]["name"] == *of);
    let age = age.map_or(0, |(_, age)| *age);
    Some(now() - SignedDuration::from_secs(age))
}

fn signed(text: &str) -> SignedDuration {
    let GoDuration(duration) = text.parse().unwrap();
    duration.try_into().unwrap()
}

fn backup(etcd: &Etcd, leases: &BTreeMap<String, Value>) -> Option<Backup> {
    let backup = &etcd.spec.backup;
    backup.store.as_ref()?.provider.as_ref()?;
    let lease = |suffix: &str| {
        let name = format!("{}-{suffix}", etcd.metadata.name.as_ref().unwrap());
        leases.get(&name).map(|lease| SnapshotLease {
            created: now(),
            renewed: renewed(lease),
        })
    };
    let period = backup.delta_snapshot_period.as_deref().map(signed);
    let plan = BackupPlan {
        delta_period: period,
        schedule: backup
            .full_snapshot_schedule
            .is_some()
            .then_some(&Daily as &dyn Schedule),
        timeout: SignedDuration::from_mins(15),
    };
    Some(Backup::new(&plan, lease("full-snap"), lease("delta-snap")))
}

fn leases(case: &str, folder: &Path, name: &str) -> BTreeMap<String, Value> {
    let mut leases: BTreeMap<String, Value> = files(folder, "Lease")
        .iter()
        .map(|path| {
            let lease: Value = read(path);
            let name = lease["metadata"]["name"].as_str().unwrap().to_owned();
            (name, lease)
        })
        .collect();
    if case == "scenarios/compaction-full-snapshot-unreachable" {
        // Only the Etcd was captured.
        let labels = json!({ "app.kubernetes.io/component": "etcd-member-lease" });
        let lease = json!({ "metadata": { "labels": labels } });
        leases.insert(format!("{name}-0"), lease);
    }
    leases
}

fn member_leases(leases: &BTreeMap<String, Value>) -> BTreeMap<MemberName, MemberLease> {
    let of_members = leases.iter().filter(|(_, lease)| {
        lease["metadata"]["labels"]["app.kubernetes.io/component"] == "etcd-member-lease"
    });
    of_members
        .map(|(name, lease)| {
            let holder = lease.pointer("/spec/holderIdentity");
            let holder = holder.and_then(Value::as_str).map(str::to_owned);
            let renewed = renewed(lease);
            (MemberName(name.clone()), MemberLease { holder, renewed })
        })
        .collect()
}

/// There was no class `fast`.
fn claims(etcd: &Etcd, name: &str, replicas: u16) -> BTreeMap<String, Vec<ClaimWarning>> {
    let mounted = etcd.spec.volume_claim_template.as_deref().unwrap_or(name);
    let warning = ClaimWarning {
        source: "persistentvolume-controller".to_owned(),
        message: "storageclass.storage.k8s.io \"fast\" not found".to_owned(),
        first: now(),
    };
    (0..replicas)
        .filter(|_| etcd.spec.storage_class.as_deref() == Some("fast"))
        .map(|ordinal| (format!("{mounted}-{name}-{ordinal}"), vec![warning.clone()]))
        .collect()
}

fn pods(name: &str, count: u16) -> BTreeMap<String, Pod> {
    let pod = Pod {
        revision: Some("r1".to_owned()),
        containers_ready: false,
    };
    (0..count)
        .map(|ordinal| (format!("{name}-{ordinal}"), pod.clone()))
        .collect()
}

/// What etcd-druid knew when it wrote the status.
fn facts(case: &str, folder: &Path, etcd: &Etcd) -> Facts {
    let name = etcd.metadata.name.clone().unwrap();
    let leases = leases(case, folder, &name);
    let replicas = u16::try_from(etcd.spec.replicas.0).unwrap();
    let behind = BEHIND.contains(&case);
    let existing = if behind { 0 } else { replicas };
    let golden = etcd.status.clone().unwrap_or_default();
    let set = StatefulSet {
        generation: 1,
        observed_generation: i64::from(!behind),
        wanted: replicas,
        existing,
        update_revision: "r1".to_owned(),
        ..StatefulSet::default()
    };
    let foreign = golden.conditions.into_iter().flatten();
    let foreign = foreign.filter(|it| it.kind == "LastSnapshotCompactionSucceeded");
    Facts {
        namespace: "golden".to_owned(),
        generation: 1,
        replicas,
        member_prefix: etcd.spec.member_name_prefix.clone(),
        runtime_components: true,
        backup: backup(etcd, &leases),
        leases: member_leases(&leases),
        stateful_set: match golden.etcd {
            Some(_) => Sought::Found(set),
            None => Sought::Missing,
        },
        pods: pods(&name, existing),
        claims: Sought::Found(claims(etcd, &name, replicas)),
        live: None,
        thresholds: Thresholds::default(),
        previous: EtcdStatus {
            conditions: Some(foreign.collect()),
            observed_generation: Some(1),
            ..EtcdStatus::default()
        },
        name,
    }
}

fn members(status: &EtcdStatus) -> Vec<EtcdMember> {
    let mut members = status.members.clone().unwrap_or_default();
    for member in &mut members {
        member.last_transition_time.0 = String::new();
    }
    members
}

/// Without ages and counts, and in the order of claims.
fn steady(message: &str) -> String {
    let mut claims: Vec<String> = message
        .split("; Warning")
        .map(|claim| {
            let claim = claim.strip_prefix("Warning").unwrap_or(claim);
            let lines = claim
                .lines()
                .map(|line| match line.split_once(" reported ") {
                    Some((who, rest)) => {
                        let (_, what) =
                            rest.split_once("): ").or(rest.split_once("ago: ")).unwrap();
                        format!("{who} reported: {what}")
                    }
                    None => line.to_owned(),
                });
            lines.collect::<Vec<_>>().join("\n")
        })
        .collect();
    claims.sort();
    format!("Warning{}", claims.join("; Warning"))
}

fn said(case: &str, ours: bool, condition: &Condition) -> [String; 4] {
    let Condition {
        kind,
        status,
        reason,
        message,
        ..
    } = condition.clone();
    let otherwise = OTHERWISE
        .iter()
        .find(|(of, what, _)| *of == case && *what == kind);
    match otherwise {
        Some((_, _, expected)) if ours => assert_eq!(reason, *expected, "{case}"),
        Some((_, _, expected)) => assert_ne!(reason, *expected, "{case}: no difference"),
        None => {
            let message = if reason == "FoundWarningsForDataVolumes" && !ours {
                steady(&message)
            } else {
                message
            };
            return [kind, status, reason, message];
        }
    }
    [kind, String::new(), String::new(), String::new()]
}

fn compare(case: &str, golden: &EtcdStatus, ours: &EtcdStatus) {
    let conditions = |status: &EtcdStatus, is_ours| -> Vec<_> {
        let all = status.conditions.iter().flatten();
        all.map(|it| said(case, is_ours, it)).collect()
    };
    assert_eq!(conditions(ours, true), conditions(golden, false), "{case}");
    assert_eq!(members(ours), members(golden), "{case}");
    assert_eq!(ours.etcd, golden.etcd, "{case}");
    assert_eq!(ours.ready, golden.ready, "{case}");
    assert_eq!(ours.selector, golden.selector, "{case}");
    let counters = |it: &EtcdStatus| (it.current_replicas, it.replicas, it.ready_replicas);
    assert_eq!(counters(ours), counters(golden), "{case}");
}

#[test]
fn every_status_that_etcd_druid_wrote_is_ours_for_the_same_facts() {
    let mut compared = 0;
    for series in ["gate-off", "gate-on", "scenarios"] {
        for folder in std::fs::read_dir(goldens().join(series)).unwrap() {
            let folder = folder.unwrap().path();
            let case = folder.file_name().unwrap().to_string_lossy().into_owned();
            let case = format!("{series}/{case}");
            for path in files(&folder, "Etcd") {
                let etcd: Etcd = read(&path);
                let golden = etcd.status.clone().unwrap_or_default();
                let disabled = case.contains("runtime-components-disabled");
                let mut facts = facts(&case, &folder, &etcd);
                if case.starts_with("scenarios/scaled") {
                    facts = awake_before(facts);
                }
                if disabled {
                    facts.runtime_components = false;
                    facts.previous = golden.clone();
                }
                let ours = status(&facts, now()).status;
                compare(&case, &golden, &ours);
                facts.previous = ours.clone();
                let later = now() + SignedDuration::from_secs(15);
                assert_eq!(
                    status(&facts, later).status,
                    ours,
                    "{case} is written again"
                );
                compared += 1;
            }
        }
    }
    assert!(compared > 100, "{compared}");
}

/// What was written before the cluster was hibernated.
fn awake_before(facts: Facts) -> Facts {
    let awake = Facts {
        replicas: 3,
        leases: BTreeMap::new(),
        pods: pods(&facts.name, 3),
        ..facts.clone()
    };
    Facts {
        previous: status(&awake, now()).status,
        ..facts
    }
}
