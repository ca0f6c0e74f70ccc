//! Everything that `kubectl druid` shows, word for word. `UPDATE_GOLDEN=1` rewrites the files.
#![allow(
    clippy::panic,
    clippy::unwrap_used,
    clippy::too_many_lines,
    reason = "a list of everything"
)]

use std::fmt::Write as _;

use druid_core::api::{Etcd, EtcdOpsTask};
use druid_core::cli::{
    Against, Belongings, Build, Changes, Colours, CompactTo, Decided, Found, Looked, NoSense,
    NotHalted, Progress, Reconciliation, Resource, Row, SnapshotKind, Standing, TaskChanges,
    TaskRow, TaskShown, Wish, bars, belongings, judge, list, maintenance_task, reconciliations,
    snapshot_task, tasks,
};
use druid_core::duration::GoDuration;
use druid_core::status::Sought;
use jiff::Timestamp;
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};

fn now() -> Timestamp {
    "2026-11-24T10:20:30Z".parse().unwrap()
}

fn golden(name: &str, text: &str) {
    let path = format!("{}/tests/golden/{name}", env!("CARGO_MANIFEST_DIR"));
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, text).unwrap();
    }
    let golden = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(text, golden, "UPDATE_GOLDEN=1 rewrites {path}");
}

fn etcd(name: &str, status: &Value) -> Value {
    json!({
        "apiVersion": "druid.gardener.cloud/v1alpha1", "kind": "Etcd",
        "metadata": {
            "name": name, "namespace": "shoot", "uid": "u", "generation": 1,
            "creationTimestamp": "2026-11-22T06:20:30Z",
        },
        "spec": {
            "labels": { "a": "b" }, "replicas": 3, "etcd": {},
            "backup": { "store": {
                "prefix": "p", "provider": "S3", "container": "c", "secretRef": { "name": "s" },
            } },
        },
        "status": status,
    })
}

fn condition(kind: &str, status: &str, reason: &str, message: &str) -> Value {
    json!({
        "type": kind, "status": status, "reason": reason, "message": message,
        "lastTransitionTime": "2026-11-24T10:00:00Z", "lastUpdateTime": "2026-11-24T10:00:00Z",
    })
}

fn well() -> Value {
    let member = |at: usize, role| {
        json!({
            "name": format!("main-{at}"), "role": role, "status": "Ready",
            "reason": "LeaseSucceeded", "lastTransitionTime": "2026-11-24T10:00:00Z",
        })
    };
    json!({
        "observedGeneration": 1, "ready": true, "readyReplicas": 3,
        "conditions": [
            condition("AllMembersReady", "True", "AllMembersReady", "All members are ready"),
            condition("BackupReady", "True", "BackupSucceeded", "Snapshots are taken"),
            condition("ClusterIDMismatch", "False", "ClusterIDMatch", "They are the same"),
            condition("DataVolumesReady", "True", "NoWarningsFoundForDataVolumes", ""),
            condition("Ready", "True", "Quorate", "The majority of ETCD members is ready"),
        ],
        "members": [member(0, "Leader"), member(1, "Member"), member(2, "Member")],
    })
}

/// The words are the member's: `done`, `now` or `old`, or `back`.
fn upgrade(phase: &str, reason: Option<&str>, message: &str, members: [&str; 3]) -> Value {
    let members: Vec<_> = members
        .iter()
        .enumerate()
        .map(|(at, word)| {
            let (phase, version) = match *word {
                "done" => ("Replaced", "3.5.27"),
                "now" => ("Replacing", "3.4.34"),
                "back" => ("PutBack", "3.4.34"),
                _ => ("Pending", "3.4.34"),
            };
            json!({ "name": format!("main-{at}"), "phase": phase, "version": version })
        })
        .collect();
    json!({
        "from": "3.4.34", "to": "3.5.27", "direction": "Upgrade", "phase": phase,
        "reason": reason, "message": message, "members": members,
        "startedAt": "2026-11-24T10:19:00Z", "lastTransitionTime": "2026-11-24T10:19:48Z",
        "record": {
            "attempt": 3, "from": "3.4.34", "to": "3.5.27", "phase": "Rolling",
            "started": "2026-11-24T10:19:00Z", "touched": true, "members": [],
            "snapshot": { "tries": 0, "failures": 0, "state": "Missing" },
        },
    })
}

fn with(name: &str, upgrade: Value) -> Value {
    let mut status = well();
    status["upgrade"] = upgrade;
    etcd(name, &status)
}

const ROLLING: &str = "main-1 is being replaced, 3.4.34 by 3.5.27";
const REFUSED: &str = "main-2 does not answer: connection refused: start it";
const HALTED: &str = "three snapshots failed: see to the store";

fn fleet() -> Vec<Found> {
    let mut paused = with(
        "paused",
        upgrade("Paused", Some("Paused"), "paused", ["done", "old", "old"]),
    );
    paused["spec"]["upgrade"] = json!({ "paused": true });
    let mut acknowledged = with(
        "seen",
        upgrade(
            "RolledBack",
            Some("PutBack"),
            HALTED,
            ["back", "old", "old"],
        ),
    );
    acknowledged["metadata"]["annotations"] =
        json!({ "druid.gardener.cloud/acknowledge-upgrade-halt": "3" });
    let mut back = upgrade(
        "Waiting",
        Some("NoLeader"),
        "no leader",
        ["done", "done", "old"],
    );
    back["direction"] = json!("Rollback");
    (back["from"], back["to"]) = (json!("3.5.27"), json!("3.4.34"));
    let mut roll = upgrade(
        "Rolling",
        None,
        "2 of 3 members run what the spec asks for",
        ["done", "done", "old"],
    );
    roll["direction"] = json!("Roll");
    roll["from"] = json!("3.5.27");
    let mut foreign = with(
        "later",
        upgrade("Teleporting", None, "on its way", ["old", "old", "old"]),
    );
    foreign["metadata"]["namespace"] = json!("other");
    let unreadable = json!({
        "metadata": { "name": "odd", "namespace": "other" }, "spec": { "replicas": "three" },
    });
    let mut asleep = etcd("asleep", &json!({ "ready": true }));
    asleep["spec"]["replicas"] = json!(0);
    asleep["spec"]["backup"] = json!({});
    let mut bad = well();
    bad["ready"] = json!(false);
    bad["members"][2]["status"] = json!("NotReady");
    bad["conditions"][1] = condition(
        "BackupReady",
        "False",
        "BackupFailed",
        "No delta for an hour",
    );
    [
        with(
            "main",
            upgrade("Rolling", None, ROLLING, ["done", "now", "old"]),
        ),
        foreign,
        with(
            "refused",
            upgrade(
                "Refused",
                Some("MemberUnreachable"),
                REFUSED,
                ["old", "old", "old"],
            ),
        ),
        with(
            "halted",
            upgrade(
                "Blocked",
                Some("SnapshotFailed"),
                HALTED,
                ["old", "old", "old"],
            ),
        ),
        acknowledged,
        paused,
        with("rollback", back),
        with(
            "done",
            upgrade(
                "Succeeded",
                None,
                "all members run 3.5.27",
                ["done", "done", "done"],
            ),
        ),
        with("template", roll),
        etcd("bad", &bad),
        etcd("never", &Value::Null),
        asleep,
        unreadable,
        with(
            "rogue",
            upgrade(
                "Waiting",
                Some("\u{1b}[2J"),
                "a\nb\u{7}",
                ["old", "old", "old"],
            ),
        ),
    ]
    .map(Found::from)
    .into()
}

fn stateful_set(name: &str, image: &str) -> StatefulSet {
    serde_json::from_value(json!({
        "metadata": { "name": name, "namespace": "shoot" },
        "spec": {
            "selector": {},
            "template": { "spec": { "containers": [{ "name": "etcd", "image": image }] } },
        },
    }))
    .unwrap()
}

fn pods() -> Vec<Pod> {
    let pod = |name: &str, ready: &str| {
        serde_json::from_value(json!({
            "metadata": { "name": name },
            "spec": { "containers": [{ "name": "etcd", "image": "x/etcd-wrapper:v0.6.2" }] },
            "status": { "conditions": [{ "type": "Ready", "status": ready }] },
        }))
        .unwrap()
    };
    let names = ["main-0", "main-1", "main-2"];
    let mut pods: Vec<Pod> = names.iter().map(|it| pod(it, "True")).collect();
    pods.push(pod("main-compactor-x", "False"));
    pods
}

fn looked(etcd: Value) -> Looked {
    Looked {
        etcd: Found::from(etcd),
        stateful_set: Sought::Found(stateful_set("main", "x/etcd-wrapper:v0.6.2")),
        pods: Sought::Found(pods()),
    }
}

#[test]
fn a_list_is_a_line_for_each_etcd() {
    let sets = [
        stateful_set("never", "x/etcd-wrapper:v0.6.2"),
        stateful_set("bad", "registry/etcd:v3.5.21"),
    ];
    let rows = Row::all(&fleet(), &sets);
    golden("kubectl-list.txt", &list(&rows, now(), Colours::Off));
    let json = serde_json::to_string_pretty(&rows[..3]).unwrap() + "\n";
    golden("kubectl-list.json", &json);
    let nothing = list(&[], now(), Colours::On);
    assert_eq!(nothing.lines().count(), 1);
}

#[test]
fn an_upgrade_is_a_bar_and_what_it_waits_for() {
    let all = Progress::all(&fleet());
    let plain = bars(&all, now(), Colours::Off);
    golden("kubectl-upgrade.txt", &plain);
    let main: Vec<_> = all.iter().filter(|it| it.name == "main").collect();
    let json = serde_json::to_string_pretty(&main).unwrap() + "\n";
    golden("kubectl-upgrade.json", &json);
    assert!(!plain.contains(['\u{1b}', '\u{7}']), "{plain:?}");
    let painted = bars(&all, now(), Colours::On);
    assert!(
        painted.contains("\u{1b}[31mBlocked\u{1b}[0m"),
        "{painted:?}"
    );
    assert!(!painted.contains("\u{1b}[2J"), "{painted:?}");
}

#[test]
fn lines_say_what_is_new_and_nothing_twice() {
    let found = |upgrade: Value| [Found::from(with("main", upgrade))];
    let mut changes = Changes::default();
    let mut said = Vec::new();
    for seen in [
        found(upgrade("Rolling", None, ROLLING, ["done", "now", "old"])),
        found(upgrade("Rolling", None, ROLLING, ["done", "now", "old"])),
        found(upgrade(
            "Waiting",
            Some("NoLeader"),
            "no leader",
            ["done", "done", "old"],
        )),
        found(upgrade("Succeeded", None, "all", ["done", "done", "done"])),
    ] {
        said.extend(changes.next(&Progress::all(&seen), now()));
    }
    said.extend(changes.next(&[], now()));
    golden("kubectl-watch.txt", &(said.join("\n") + "\n"));
}

#[test]
fn a_preflight_names_what_stands_against_an_upgrade() {
    let mut text = String::new();
    let mut say = |what: &str, looked: &Looked| {
        let judged = judge(looked);
        write!(text, "# {what}\n{}\n", judged.text(Colours::Off)).unwrap();
        judged
    };
    assert!(say("well", &looked(etcd("main", &well()))).is_clear());

    let mut bad = etcd("main", &well());
    bad["status"]["conditions"][0] = condition(
        "AllMembersReady",
        "False",
        "NotAllMembersReady",
        "one is not",
    );
    bad["status"]["conditions"][1] = condition(
        "BackupReady",
        "False",
        "BackupFailed",
        "No delta for an hour",
    );
    bad["status"]["members"][2]["status"] = json!("NotReady");
    bad["metadata"]["generation"] = json!(2);
    let mut bad = looked(bad);
    if let Sought::Found(pods) = &mut bad.pods {
        pods.remove(0);
        pods[1].status = None;
    }
    assert_eq!(
        say("a pod is missing, one is not ready", &bad)
            .against()
            .len(),
        3
    );

    let refused = upgrade(
        "Refused",
        Some("MemberUnreachable"),
        REFUSED,
        ["old", "old", "old"],
    );
    assert!(!say("refused", &looked(with("main", refused))).is_clear());
    let halted = upgrade(
        "Blocked",
        Some("SnapshotFailed"),
        HALTED,
        ["old", "old", "old"],
    );
    assert!(!say("halted", &looked(with("main", halted))).is_clear());
    let rolling = upgrade("Rolling", None, ROLLING, ["done", "now", "old"]);
    assert!(say("under way", &looked(with("main", rolling))).is_clear());
    let differ = upgrade("Succeeded", None, "all", ["done", "old", "done"]);
    assert!(!say("members differ", &looked(with("main", differ))).is_clear());

    let mut wishes = etcd("main", &well());
    wishes["metadata"]["deletionTimestamp"] = json!("2026-11-24T10:00:00Z");
    wishes["metadata"]["annotations"] =
        json!({ "druid.gardener.cloud/suspend-etcd-spec-reconcile": "" });
    wishes["spec"]["upgrade"] = json!({ "enabled": false, "paused": true });
    wishes["spec"]["backup"] = json!({ "store": { "prefix": "p", "provider": "Floppy" } });
    say("what people want", &looked(wishes));

    let mut nothing = looked(etcd("main", &Value::Null));
    nothing.stateful_set = Sought::Missing;
    nothing.pods = Sought::Unknown("forbidden".to_owned());
    say("nothing is known", &nothing);
    let mut asleep = etcd("main", &well());
    asleep["spec"]["replicas"] = json!(0);
    asleep["spec"]["backup"] = json!({});
    let mut asleep = looked(asleep);
    asleep.pods = Sought::Found(Vec::new());
    assert!(say("asleep", &asleep).is_clear());
    let odd = json!({ "metadata": { "name": "main", "namespace": "shoot" }, "spec": 1 });
    let odd = say("unreadable", &looked(odd));
    assert!(matches!(odd.against(), [Against::Unreadable(_)]));
    golden("kubectl-preflight.txt", &text);
    let json = serde_json::to_string_pretty(&judge(&bad)).unwrap() + "\n";
    golden("kubectl-preflight.json", &json);
}

fn task(status: &Value) -> EtcdOpsTask {
    let mut task = serde_json::to_value(snapshot_task("main", SnapshotKind::Full)).unwrap();
    task["status"] = status.clone();
    serde_json::from_value(task).unwrap()
}

#[test]
fn a_task_is_told_from_its_status() {
    let operation = |what: &str| {
        json!({
            "type": "Execution", "state": "InProgress", "description": what, "runID": "r",
            "lastUpdateTime": "2026-11-24T10:00:00Z",
        })
    };
    let of = |status: Value| TaskShown::of(&task(&status));
    assert_eq!(of(Value::Null), TaskShown::Unseen);
    assert_eq!(
        of(json!({ "state": "Pending", "lastOperation": operation("Waits behind x") })),
        TaskShown::Going("Pending: Waits behind x".to_owned())
    );
    let whole = json!({ "state": "Succeeded", "result": { "snapshot": {
        "name": "Full-00000000-00000101-1000.gz", "revision": 101, "size": 14, "sha256": "ab",
    } } });
    assert_eq!(
        of(whole),
        TaskShown::Succeeded(
            "snapshot   Full-00000000-00000101-1000.gz\nrevision   101\nsize       14 bytes\nsha256     ab\n"
                .to_owned()
        )
    );
    assert_eq!(
        of(json!({ "state": "Succeeded", "lastOperation": operation("Skipped") })),
        TaskShown::Succeeded("Skipped\n".to_owned())
    );
    let error =
        json!({ "code": "C", "description": "no\nstore", "observedAt": "2026-11-24T10:00:00Z" });
    assert_eq!(
        of(json!({
            "state": "Rejected", "lastOperation": operation("Not admitted"), "lastErrors": [error],
        })),
        TaskShown::Ended("Rejected: Not admitted: no store".to_owned())
    );
}

#[test]
fn a_task_asks_for_one_snapshot_and_leaves_its_name_to_the_api_server() {
    let of = |kind| serde_json::to_value(snapshot_task("main", kind)).unwrap();
    let full = of(SnapshotKind::Full);
    assert_eq!(
        full["metadata"],
        json!({ "generateName": "main-snapshot-full-" })
    );
    assert_eq!(full["spec"]["etcdName"], "main");
    let snapshot = |kind| of(kind)["spec"]["config"]["onDemandSnapshot"].clone();
    assert_eq!(snapshot(SnapshotKind::Full)["isFinal"], Value::Null);
    assert_eq!(snapshot(SnapshotKind::Final)["type"], "full");
    assert_eq!(snapshot(SnapshotKind::Final)["isFinal"], true);
    assert_eq!(snapshot(SnapshotKind::Delta)["type"], "delta");
    let compacted = of(SnapshotKind::Compacted);
    let config = json!({ "onDemandSnapshotCompaction": { "timeoutSeconds": 10800 } });
    assert_eq!(compacted["spec"]["config"], config);
}

#[test]
fn a_task_compacts_as_far_as_was_said_and_defragments_if_that_was_wanted() {
    let of = |compact, defragment| {
        let task = serde_json::to_value(maintenance_task("main", compact, defragment, 60)).unwrap();
        let name = task["metadata"]["generateName"]
            .as_str()
            .unwrap()
            .to_owned();
        (name, task["spec"]["config"].clone())
    };
    let asks = |inner: Value| json!({ "onDemandMaintenance": inner });
    for (compact, defragment, name, config) in [
        (
            None,
            true,
            "main-defrag-",
            json!({ "etcdDefragmentation": true, "timeoutSeconds": 60 }),
        ),
        (
            Some(CompactTo::Covered),
            false,
            "main-compact-",
            json!({ "etcdCompaction": true, "timeoutSeconds": 60 }),
        ),
        (
            Some(CompactTo::Revision(7)),
            true,
            "main-compact-",
            json!({
                "etcdCompaction": true, "compactionRevision": 7, "etcdDefragmentation": true,
                "timeoutSeconds": 60,
            }),
        ),
        (
            Some(CompactTo::Age(GoDuration::seconds(5400))),
            false,
            "main-compact-",
            json!({ "etcdCompaction": true, "compactionAge": "1h30m0s", "timeoutSeconds": 60 }),
        ),
    ] {
        assert_eq!(of(compact, defragment), (name.to_owned(), asks(config)));
    }
}

/// A task with a name, made so many minutes ago.
fn listed(name: &str, minutes: i64, mut task: EtcdOpsTask, status: Value) -> EtcdOpsTask {
    task.metadata.generate_name = None;
    task.metadata.name = Some(name.to_owned());
    task.metadata.namespace = Some("shoot".to_owned());
    let created = now() - jiff::SignedDuration::from_mins(minutes);
    let mut object = serde_json::to_value(task).unwrap();
    object["metadata"]["creationTimestamp"] = json!(created.to_string());
    object["status"] = status;
    serde_json::from_value(object).unwrap()
}

#[test]
fn tasks_are_listed_in_the_order_in_which_they_were_made() {
    let says = |state: &str, text: &str| {
        json!({ "state": state, "lastOperation": {
            "type": "Execution", "state": "InProgress", "description": text, "runID": "r",
            "lastUpdateTime": "2026-11-24T10:00:00Z",
        } })
    };
    let defrag = || maintenance_task("main", None, true, 900);
    let result = json!({ "reclaimedBytes": 7, "members": [
        { "name": "main-0", "bytesBefore": 10, "bytesAfter": 3 },
    ] });
    let mut done = says("Succeeded", "1 member defragmented, 7 bytes reclaimed");
    done["result"] = result;
    let snapshot = snapshot_task("main", SnapshotKind::Full);
    let running = |text| listed("b", 2, defrag(), says("InProgress", text));
    let all = [
        listed("c", 1, snapshot.clone(), Value::Null),
        listed("a", 30, defrag(), done),
        running("Defragments member main-1"),
        listed("d", 3, snapshot, says("Rejected", "No\u{1b}[2J store")),
    ];
    let rows = TaskRow::all(&all);
    let mut text = tasks(&rows, now(), Colours::Off);
    writeln!(text, "\n{}", serde_json::to_string_pretty(&rows).unwrap()).unwrap();
    let mut changes = TaskChanges::default();
    assert_eq!(changes.next(TaskRow::all(&all)).len(), 4);
    assert!(changes.next(TaskRow::all(&all)).is_empty());
    let later = running("Defragments member main-2");
    writeln!(
        text,
        "{}",
        changes.next(TaskRow::all([&all[1], &later])).join("\n")
    )
    .unwrap();
    assert_eq!(
        changes.next(TaskRow::all(&all)).len(),
        3,
        "two are new, one says something else"
    );
    writeln!(text, "{:?}", TaskShown::of(&all[1])).unwrap();
    assert!(!text.contains('\u{1b}'));
    assert_eq!(tasks(&[], now(), Colours::Off), "");
    golden("kubectl-tasks.txt", &text);
}

fn read(object: &Value) -> Box<Etcd> {
    Found::from(object.clone()).etcd.unwrap()
}

fn decided(wish: Wish, object: &Value) -> Result<Decided, NoSense> {
    wish.decide(&read(object))
}

fn patch(wish: Wish, object: &Value) -> Value {
    match decided(wish, object) {
        Ok(Decided::Write { patch, .. }) => patch,
        other => panic!("{wish:?}: {other:?}"),
    }
}

fn is_already(wish: Wish, object: &Value) -> bool {
    matches!(decided(wish, object), Ok(Decided::Already(_)))
}

#[test]
fn only_the_halt_that_is_seen_is_acknowledged() {
    let of = |object: &Value| decided(Wish::Acknowledge, object);
    let phase = |phase: &str| with("main", upgrade(phase, None, HALTED, ["back", "old", "old"]));
    let patch = json!({ "metadata": { "annotations": {
        "druid.gardener.cloud/acknowledge-upgrade-halt": "3",
    } } });
    for halted in ["Blocked", "RolledBack"] {
        let expected = Decided::Write {
            patch: patch.clone(),
            says: format!("has its halt acknowledged: {HALTED}"),
        };
        assert_eq!(of(&phase(halted)), Ok(expected));
    }
    let not = |why| Err(NoSense::NotHalted(why));
    assert_eq!(
        of(&phase("Waiting")),
        not(NotHalted::Phase("Waiting".to_owned()))
    );
    assert_eq!(of(&etcd("main", &well())), not(NotHalted::Never));
    let mut before = phase("Blocked");
    before["metadata"]["annotations"] = patch["metadata"]["annotations"].clone();
    assert!(is_already(Wish::Acknowledge, &before));
    before["status"]["upgrade"]["record"] = Value::Null;
    assert_eq!(of(&before), not(NotHalted::NoRecord));
}

#[test]
fn what_is_so_already_is_not_written_and_what_was_dropped_is_seen() {
    let mut object = etcd("main", &well());
    assert!(is_already(Wish::Resume, &object));
    let paused = patch(Wish::Pause, &object);
    assert_eq!(paused, json!({ "spec": { "upgrade": { "paused": true } } }));
    assert!(!Wish::Pause.is_kept(&read(&object)));
    object["spec"]["upgrade"] = paused["spec"]["upgrade"].clone();
    assert!(Wish::Pause.is_kept(&read(&object)) && !Wish::Resume.is_kept(&read(&object)));
    assert!(is_already(Wish::Pause, &object));
    let resumed = patch(Wish::Resume, &object);
    assert_eq!(resumed["spec"]["upgrade"]["paused"], false);
}

#[test]
fn annotations_are_put_on_and_taken_off_once() {
    let suspend = "druid.gardener.cloud/suspend-etcd-spec-reconcile";
    let disable = "druid.gardener.cloud/disable-etcd-component-protection";
    let bare = etcd("main", &well());
    for (name, on, off) in [
        (suspend, Wish::Suspend, Wish::Follow),
        (disable, Wish::Unprotect, Wish::Protect),
    ] {
        let mut marked = bare.clone();
        marked["metadata"]["annotations"] = json!({ name: "by somebody" });
        let annotated = |value: Value| json!({ "metadata": { "annotations": { name: value } } });
        assert_eq!(patch(on, &bare), annotated(json!("")));
        assert_eq!(patch(off, &marked), annotated(Value::Null));
        assert!(is_already(off, &bare) && is_already(on, &marked), "{name}");
    }
    let operation = "druid.gardener.cloud/operation";
    let mut asked = bare.clone();
    asked["metadata"]["annotations"] = json!({ operation: "reconcile" });
    assert_eq!(
        patch(Wish::Trigger, &bare)["metadata"]["annotations"],
        json!({ operation: "reconcile" })
    );
    assert!(is_already(Wish::Trigger, &asked));
    asked["metadata"]["annotations"][suspend] = json!("");
    assert_eq!(decided(Wish::Trigger, &asked), Err(NoSense::Suspended));
    asked["metadata"]["deletionTimestamp"] = json!("2026-11-24T10:00:00Z");
    assert_eq!(decided(Wish::Trigger, &asked), Err(NoSense::Deleting));
}

/// An Etcd whose pods are made from its second spec, as far as the status says.
fn followed() -> Value {
    let mut object = etcd("main", &well());
    let updated = condition("AllMembersUpdated", "True", "AllMembersUpdated", "so it is");
    let conditions = object["status"]["conditions"].as_array_mut().unwrap();
    conditions.push(updated);
    object["metadata"]["generation"] = json!(2);
    object["status"]["observedGeneration"] = json!(2);
    object
}

#[test]
fn a_condition_counts_only_if_it_is_about_the_spec_that_was_asked_for() {
    let of = |object: &Value| Standing::of(&read(object));
    assert_eq!(of(&followed()), Standing::Done);
    for name in ["druid.gardener.cloud/operation", "gardener.cloud/operation"] {
        let mut asked = followed();
        asked["metadata"]["annotations"] = json!({ name: "reconcile" });
        assert_eq!(of(&asked), Standing::Asked, "{name}");
    }
    let mut behind = followed();
    behind["status"]["observedGeneration"] = json!(1);
    assert_eq!(of(&behind), Standing::Behind);
    behind["status"] = Value::Null;
    assert_eq!(of(&behind), Standing::Behind);

    let mut old = followed();
    old["status"]["conditions"][5] = condition("AllMembersUpdated", "False", "R", "one is old");
    assert_eq!(of(&old), Standing::Updating("one is old".to_owned()));
    old["metadata"]["annotations"] =
        json!({ "druid.gardener.cloud/disable-etcd-runtime-component-creation": "" });
    assert_eq!(of(&old), Standing::Done, "there are no pods to wait for");
    let mut starts = followed();
    starts["status"]["conditions"][0] = condition("AllMembersReady", "False", "R", "one is not");
    assert_eq!(of(&starts), Standing::Starting("one is not".to_owned()));
    starts["spec"]["replicas"] = json!(0);
    assert_eq!(of(&starts), Standing::Done, "it is hibernated");
}

#[test]
fn a_reconciliation_is_over_when_all_is_as_it_is_wanted_or_nothing_more_can_come_of_it() {
    let key = |name: &str| ("shoot".to_owned(), name.to_owned());
    let triggered = || Reconciliation::triggered(&key("main"));
    let asked = triggered();
    assert!(!asked.is_over() && !asked.is_failed());
    let mut waits = triggered();
    waits.looked(&Standing::Starting("one is\nnot".to_owned()), 7);
    assert!(!waits.is_over() && waits.is_failed(), "if the time is over");
    let mut done = triggered();
    done.looked(&Standing::Done, 12);
    assert!(done.is_over() && !done.is_failed());
    let mut gone = triggered();
    gone.unseen("it is gone".to_owned(), false, 3);
    let mut silent = triggered();
    silent.unseen("no answer".to_owned(), true, 3);
    assert!(gone.is_over() && gone.is_failed() && !silent.is_over());
    let failed = Reconciliation::failed(&key("other"), "forbidden".to_owned());
    assert!(failed.is_over() && failed.is_failed());

    let all = [asked, waits, done, gone, failed];
    let mut text = reconciliations(&all, Colours::Off);
    for one in &all {
        writeln!(text, "{}", one.line()).unwrap();
    }
    text += &serde_json::to_string_pretty(&all[1..2]).unwrap();
    golden("kubectl-reconciliation.txt", &(text + "\n"));
}

#[test]
fn what_belongs_to_an_etcd_is_a_table_and_what_could_not_be_listed_is_said() {
    let mut main = Belongings::new(&("shoot".to_owned(), "main".to_owned()));
    let at = |text: &str| Some(text.parse().unwrap());
    main.add(
        Resource::Pods,
        vec![
            ("main-1".to_owned(), at("2026-11-24T10:20:00Z")),
            ("main-0".to_owned(), None),
        ],
    );
    main.add(
        Resource::Leases,
        vec![("main-0".to_owned(), at("2026-11-22T10:20:30Z"))],
    );
    main.lack(Resource::Secrets, "forbidden\u{1b}[2J".to_owned());
    let bare = Belongings::new(&("shoot".to_owned(), "other".to_owned()));
    let all = [main, bare];
    let mut text = belongings(&all, now(), Colours::Off);
    assert!(!text.contains('\u{1b}'));
    text += &serde_json::to_string_pretty(&all[..1]).unwrap();
    golden("kubectl-resources.txt", &(text + "\n"));
}

#[test]
fn a_version_says_what_it_is_for() {
    let build = Build::new("1.2.3", "linux/x86_64".to_owned());
    assert_eq!(build.text(true), "1.2.3\n");
    assert!(build.text(false).contains("3.4.34, 3.5.27"));
    let json = serde_json::to_value(&build).unwrap();
    let known = json!({
        "version": "1.2.3", "platform": "linux/x86_64", "etcd": ["3.4.34", "3.5.27"],
    });
    assert_eq!(json, known);
}

#[test]
fn tasks_are_those_of_the_etcds_that_were_named() {
    let of = |name: &str, etcd: &str| {
        let task = snapshot_task(etcd, SnapshotKind::Full);
        listed(name, 1, task, Value::Null)
    };
    let rows = TaskRow::all(&[of("a", "main"), of("b", "other")]);
    let wanted = ("shoot".to_owned(), "other".to_owned());
    let found = TaskRow::about(rows, &[wanted].into());
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].name, "b");
}
