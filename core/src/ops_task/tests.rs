use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::Secret;
use serde_json::{Value, json};

use super::*;
use crate::api::{Etcd, EtcdOpsTask};
use crate::restore_plan::Hole;

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn now() -> Timestamp {
    at("2026-11-24T10:20:30.5Z")
}

fn object(config: &Value) -> Value {
    json!({
        "apiVersion": "druid.gardener.cloud/v1alpha1", "kind": "EtcdOpsTask",
        "metadata": {
            "name": "t", "namespace": "n", "uid": "u",
            "creationTimestamp": "2026-11-24T10:20:00Z",
            "finalizers": ["druid.gardener.cloud/etcd-ops-task"],
        },
        "spec": { "config": config, "etcdName": "e" },
    })
}

fn parsed(object: &Value) -> Task {
    Task::of(&serde_json::from_value::<EtcdOpsTask>(object.clone()).unwrap())
}

fn full() -> Value {
    object(&json!({ "onDemandSnapshot": { "type": "full" } }))
}

fn with_status(status: Value) -> Task {
    let mut task = full();
    task["status"] = status;
    parsed(&task)
}

fn etcd(change: impl FnOnce(&mut Value)) -> EtcdSeen {
    let mut object = json!({
        "apiVersion": "druid.gardener.cloud/v1alpha1", "kind": "Etcd",
        "metadata": { "name": "e", "namespace": "n" },
        "spec": {
            "labels": {}, "etcd": {}, "replicas": 3,
            "backup": { "store": { "prefix": "p" }, "port": 9090 },
        },
        "status": { "conditions": [{
            "type": "Ready", "status": "True", "reason": "Quorate", "message": "m",
            "lastTransitionTime": "", "lastUpdateTime": "",
        }] },
    });
    change(&mut object);
    EtcdSeen::There(Cluster::of(
        &serde_json::from_value::<Etcd>(object).unwrap(),
    ))
}

fn decided(task: &Task, etcd: Option<&EtcdSeen>, others: &[Queued], work: &Work) -> Decision {
    let seen = Observed {
        task,
        etcd,
        others,
        work,
        progress: &Progress::default(),
        wound_up: true,
    };
    decide(&seen, &Limits::default(), now())
}

fn failed(number: u32, trouble: Trouble) -> Work {
    Work::Answered {
        attempt: number,
        result: Err(trouble),
    }
}

fn in_progress(started: &str, failures: &[&str]) -> Task {
    let error = |at: &&str| json!({ "code": "ERR_EXECUTE_HTTP_REQUEST", "description": "d", "observedAt": at });
    with_status(json!({
        "state": "InProgress", "startedAt": started, "lastTransitionTime": started,
        "failedAttempts": failures.len(),
        "lastErrors": failures.iter().map(error).collect::<Vec<_>>(),
    }))
}

#[test]
fn every_configuration_is_an_operation_or_says_why_not() {
    let minutes = SignedDuration::from_mins;
    let snapshot = |inner: Value| json!({ "onDemandSnapshot": inner });
    let taking = |take, limit| {
        Ok(Operation {
            kind: Kind::Snapshot(take),
            limit,
        })
    };
    for (config, wanted) in [
        (
            snapshot(json!({ "type": "full" })),
            taking(Take::Full { is_final: false }, minutes(15)),
        ),
        (
            snapshot(json!({ "type": "full", "isFinal": true, "timeoutSecondsFull": 120 })),
            taking(Take::Full { is_final: true }, minutes(2)),
        ),
        (
            snapshot(json!({ "type": "delta", "isFinal": false, "timeoutSecondsDelta": -5 })),
            taking(Take::Delta, minutes(1)),
        ),
        (
            snapshot(json!({ "type": "delta", "isFinal": true })),
            Err(Unsupported::FinalDelta),
        ),
        (
            snapshot(json!({ "type": "half" })),
            Err(Unsupported::SnapshotType("half".to_owned())),
        ),
        (json!({}), Err(Unsupported::Unknown)),
        (json!({ "levitation": {} }), Err(Unsupported::Unknown)),
        (
            json!({ "onDemandMaintenance": { "etcdCompaction": true }, "onDemandSnapshot": { "type": "full" } }),
            Err(Unsupported::Several),
        ),
        (
            json!({ "recoverFromQuorumLoss": {} }),
            Err(Unsupported::Unconfirmed),
        ),
        (
            json!({ "onDemandSnapshotCompaction": { "timeoutSeconds": 60 } }),
            Ok(Operation {
                kind: Kind::SnapshotCompaction,
                limit: minutes(1),
            }),
        ),
        (
            json!({ "onDemandSnapshotCompaction": {}, "onDemandSnapshot": { "type": "full" } }),
            Err(Unsupported::Several),
        ),
        (
            json!({ "onDemandSnapshotCompaction": {}, "recoverFromQuorumLoss": {} }),
            Err(Unsupported::Several),
        ),
    ] {
        assert_eq!(parsed(&object(&config)).wanted, wanted, "{config}");
    }
    let mut nobody = full();
    nobody["spec"]["etcdName"] = json!("");
    assert_eq!(parsed(&nobody).wanted, Err(Unsupported::NoEtcd));
}

#[test]
fn maintenance_is_compaction_defragmentation_or_both_or_says_why_not() {
    let minutes = SignedDuration::from_mins;
    let maintenance = |inner: Value| json!({ "onDemandMaintenance": inner });
    let maintaining = |compact, defragment, limit| {
        Ok(Operation {
            kind: Kind::Maintenance(Maintenance {
                compact,
                defragment,
            }),
            limit,
        })
    };
    for (config, wanted) in [
        (
            maintenance(json!({ "etcdCompaction": true })),
            maintaining(Some(Reach::Covered), false, minutes(15)),
        ),
        (
            maintenance(json!({ "etcdDefragmentation": true, "timeoutSeconds": 60 })),
            maintaining(None, true, minutes(1)),
        ),
        (
            maintenance(json!({
                "etcdCompaction": true, "etcdDefragmentation": true, "compactionRevision": 7,
            })),
            maintaining(Some(Reach::Revision(7)), true, minutes(15)),
        ),
        (
            maintenance(json!({ "etcdCompaction": true, "compactionAge": "1h30m" })),
            maintaining(Some(Reach::Age(minutes(90))), false, minutes(15)),
        ),
        (maintenance(json!({})), Err(Unsupported::NoMaintenance)),
        (
            maintenance(json!({ "etcdDefragmentation": true, "compactionRevision": 7 })),
            Err(Unsupported::NoCompaction("compactionRevision")),
        ),
        (
            maintenance(json!({ "etcdDefragmentation": true, "compactionAge": "1h" })),
            Err(Unsupported::NoCompaction("compactionAge")),
        ),
        (
            maintenance(json!({
                "etcdCompaction": true, "compactionRevision": 7, "compactionAge": "1h",
            })),
            Err(Unsupported::TwoTargets),
        ),
        (
            maintenance(json!({ "etcdCompaction": true, "compactionRevision": 0 })),
            Err(Unsupported::Target {
                field: "compactionRevision",
                text: "0".to_owned(),
                remedy: "make a task with a revision from 1 on",
            }),
        ),
        (
            maintenance(json!({ "etcdCompaction": true, "compactionAge": "0s" })),
            Err(Unsupported::Target {
                field: "compactionAge",
                text: "0s".to_owned(),
                remedy: "make a task with a duration such as 30m or 1h30m",
            }),
        ),
    ] {
        assert_eq!(parsed(&object(&config)).wanted, wanted, "{config}");
    }
}

#[test]
fn a_task_that_cannot_be_done_here_is_rejected_and_can_be_deleted() {
    let mut odd = object(&json!({ "levitation": {} }));
    let decision = decided(&parsed(&odd), None, &[], &Work::None);
    let status = decision.status.unwrap();
    assert_eq!(status.state.as_deref(), Some("Rejected"));
    let error = &status.last_errors.unwrap()[0];
    assert_eq!(error.code, "ERR_UNSUPPORTED_CONFIG");
    assert!(error.description.contains("update druid"), "{error:?}");
    assert_eq!(decision.told.unwrap().state, Some(State::Rejected));

    odd["metadata"]["deletionTimestamp"] = json!("2026-11-24T10:20:30Z");
    let decision = decided(&parsed(&odd), None, &[], &Work::None);
    assert_eq!(decision.act, Some(Act::RemoveFinalizer));

    let read: EtcdOpsTask = serde_json::from_value(odd.clone()).unwrap();
    let mut metadata = read.metadata;
    let unreadable = Task::unreadable(&metadata, "why");
    let decision = decided(&unreadable, None, &[], &Work::None);
    assert_eq!(decision.act, Some(Act::RemoveFinalizer));
    metadata.deletion_timestamp = None;
    let unreadable = Task::unreadable(&metadata, "why");
    let decision = decided(&unreadable, None, &[], &Work::None);
    assert_eq!(decision, Decision::default());
}

#[test]
fn each_thing_that_is_wrong_with_the_etcd_has_its_code_and_names_it() {
    let missing = EtcdSeen::Missing {
        namespace: "n".to_owned(),
        name: "e".to_owned(),
    };
    let condition = |etcd: &mut Value, status: &str| {
        etcd["status"]["conditions"][0]["status"] = json!(status);
    };
    for (seen, code, named) in [
        (missing, "ERR_GET_ETCD", "no Etcd n/e"),
        (
            EtcdSeen::Forbidden("no".to_owned()),
            "ERR_INSUFFICIENT_PERMISSIONS",
            "service account",
        ),
        (
            EtcdSeen::Unreadable("odd".to_owned()),
            "ERR_GET_ETCD",
            "cannot be read (odd)",
        ),
        (
            etcd(|it| it["metadata"]["deletionTimestamp"] = json!("2026-11-24T10:20:30Z")),
            "ERR_GET_ETCD",
            "being deleted",
        ),
        (
            etcd(|it| it["spec"]["backup"] = json!({})),
            "ERR_BACKUP_NOT_ENABLED",
            "spec.backup.store",
        ),
        (
            etcd(|it| condition(it, "Unknown")),
            "ERR_ETCD_NOT_READY",
            "is Unknown (Quorate: m)",
        ),
        (
            etcd(|it| it["status"] = json!({})),
            "ERR_ETCD_NOT_READY",
            "is not there yet",
        ),
        (
            etcd(|it| it["spec"]["replicas"] = json!(0)),
            "ERR_ETCD_NOT_READY",
            "spec.replicas 0",
        ),
        (
            etcd(|it| it["spec"]["backup"]["port"] = json!(70000)),
            "ERR_CREATE_HTTP_REQUEST",
            "spec.backup.port 70000",
        ),
    ] {
        let task = parsed(&full());
        let asked = decided(&task, None, &[], &Work::None);
        assert_eq!(asked.act, Some(Act::AskEtcd));
        let decision = decided(&task, Some(&seen), &[], &Work::None);
        let status = decision.status.unwrap();
        assert_eq!(status.state.as_deref(), Some("Rejected"), "{code}");
        assert_eq!(status.started_at, None);
        let error = &status.last_errors.unwrap()[0];
        assert_eq!(error.code, code);
        assert!(error.description.contains(named), "{}", error.description);
        assert_eq!(decision.act, Some(Act::Forget));
    }
}

#[test]
fn the_first_that_came_goes_first_and_each_waits_behind_its_neighbour() {
    use Queue::{Out, Runs, Waits};

    let other = |name: &str, created: &str, queue| Queued {
        created: at(created),
        name: name.to_owned(),
        queue,
    };
    let (before, same, after) = (
        "2026-11-24T10:19:00Z",
        "2026-11-24T10:20:00Z",
        "2026-11-24T10:20:01Z",
    );
    for (others, behind) in [
        (vec![], None),
        (vec![other("a", before, Out)], None),
        (vec![other("a", after, Waits)], None),
        (vec![other("z", same, Waits)], None),
        (vec![other("a", same, Waits)], Some("a")),
        (vec![other("a", after, Runs)], Some("a")),
        (
            vec![other("a", before, Runs), other("b", before, Waits)],
            Some("b"),
        ),
        (
            vec![other("c", before, Waits), other("b", before, Waits)],
            Some("c"),
        ),
    ] {
        let task = parsed(&full());
        let seen = etcd(|_| {});
        let decision = decided(&task, Some(&seen), &others, &Work::None);
        match behind {
            Some(name) => {
                let status = decision.status.unwrap();
                assert_eq!(status.state.as_deref(), Some("Pending"));
                let text = status.last_operation.unwrap().description;
                assert!(
                    text.starts_with(&format!("Waits behind EtcdOpsTask {name},")),
                    "{text}"
                );
                assert_eq!(decision.act, None);
            }
            None => assert!(
                matches!(decision.act, Some(Act::Start(_))),
                "{others:?}: {decision:?}"
            ),
        }
    }
}

#[test]
fn those_concerned_are_the_first_in_the_queue_and_the_next_one() {
    let other = |name: &str, queue| Queued {
        created: at("2026-11-24T10:20:00Z"),
        name: name.to_owned(),
        queue,
    };
    for (others, concerned) in [
        (vec![], vec![]),
        (
            vec![other("a", Queue::Runs), other("b", Queue::Out)],
            vec![],
        ),
        (
            vec![other("b", Queue::Waits), other("a", Queue::Waits)],
            vec!["a"],
        ),
        (
            vec![other("z", Queue::Waits), other("u", Queue::Waits)],
            vec!["u"],
        ),
        (
            vec![
                other("z", Queue::Waits),
                other("u", Queue::Waits),
                other("a", Queue::Waits),
            ],
            vec!["a", "u"],
        ),
    ] {
        let names: Vec<_> = next_in_line(&parsed(&full()), &others)
            .into_iter()
            .map(|it| it.name.as_str())
            .collect();
        assert_eq!(names, concerned, "{others:?}");
    }
}

#[test]
fn who_is_in_the_queue_follows_from_the_object_and_from_what_this_process_does() {
    let deleted = |mut object: Value| {
        object["metadata"]["deletionTimestamp"] = json!("2026-11-24T10:20:30Z");
        parsed(&object)
    };
    let over = with_status(json!({ "state": "Failed" }));
    for (task, held, queue) in [
        (parsed(&full()), false, Queue::Waits),
        (parsed(&full()), true, Queue::Runs),
        (
            with_status(json!({ "state": "Pending" })),
            false,
            Queue::Waits,
        ),
        (deleted(full()), false, Queue::Out),
        (deleted(full()), true, Queue::Runs),
        (parsed(&object(&json!({}))), false, Queue::Out),
        (in_progress("2026-11-24T10:20:00Z", &[]), false, Queue::Runs),
        (over.clone(), false, Queue::Out),
        (over, true, Queue::Runs),
    ] {
        assert_eq!(task.queued(held).queue, queue, "{task:?} {held}");
    }
}

#[test]
fn what_may_pass_is_tried_again_until_attempts_or_time_are_used_up() {
    let unreached = Trouble::Unreached("refused".to_owned());
    let busy = |status| Trouble::NotTaken {
        status,
        text: "t".to_owned(),
    };
    let started = "2026-11-24T10:20:00Z";
    let long_ago = "2026-11-24T10:05:32Z";
    for (trouble, number, started, again) in [
        (unreached.clone(), 1, started, true),
        (busy(405), 1, started, true),
        (busy(503), 4, started, true),
        (busy(500), 1, started, false),
        (unreached.clone(), 5, started, false),
        (unreached, 1, long_ago, false),
        (Trouble::Request("r".to_owned()), 1, started, false),
    ] {
        let failures = vec![started; usize::try_from(number).unwrap() - 1];
        let task = in_progress(started, &failures);
        let decision = decided(&task, None, &[], &failed(number, trouble.clone()));
        let status = decision.status.clone().unwrap();
        let text = format!("{trouble} {number} {started}");
        assert_eq!(status.failed_attempts, Some(number.into()), "{text}");
        let errors = status.last_errors.unwrap();
        assert_eq!(errors.len(), 3.min(failures.len() + 1), "{text}");
        assert_eq!(errors.last().unwrap().code, trouble.code());
        if again {
            assert_eq!(status.state.as_deref(), Some("InProgress"), "{text}");
            assert_eq!(
                (decision.act, decision.told),
                (Some(Act::Note), None),
                "{text}"
            );
            let wait = decision.again.unwrap().duration_since(now());
            let longest = SignedDuration::from_secs(2 << (number - 1));
            assert!(wait <= longest && wait * 2 >= longest, "{text}: {wait}");
        } else {
            assert_eq!(status.state.as_deref(), Some("Failed"), "{text}");
            assert_eq!(decision.act, Some(Act::Forget), "{text}");
        }
    }
}

#[test]
fn a_failure_that_was_written_down_is_waited_out_and_then_tried_again_after_a_look() {
    let seen = etcd(|_| {});
    let heard = failed(1, Trouble::Unreached("refused".to_owned()));
    let work = Work::Failed {
        attempt: 1,
        at: at("2026-11-24T10:20:28.5Z"),
    };
    let early = in_progress("2026-11-24T10:20:00Z", &["2026-11-24T10:20:30Z"]);
    let decision = decided(&early, Some(&seen), &[], &heard);
    assert_eq!((decision.status, decision.act), (None, Some(Act::Note)));
    let decision = decided(&early, Some(&seen), &[], &Work::None);
    assert_eq!((decision.status, decision.act.as_ref()), (None, None));
    assert!(decision.again.unwrap() > now());

    let late = in_progress("2026-11-24T10:20:00Z", &["2026-11-24T10:20:20Z"]);
    let decision = decided(&late, Some(&seen), &[], &work);
    let Some(Act::Start(attempt)) = decision.act else {
        panic!("{decision:?}");
    };
    assert_eq!((attempt.number, attempt.take), (2, true));
    assert_eq!(attempt.newer_than, Some(at("2026-11-24T10:20:00Z")));
    assert_eq!(attempt.sidecar.port, 9090);

    // The status has whole seconds, the process knows better.
    let sooner = Work::Failed {
        attempt: 1,
        at: at("2026-11-24T10:20:30.4Z"),
    };
    assert_eq!(decided(&late, Some(&seen), &[], &sooner).act, None);

    // The API server did not keep the number.
    let mut pruned = late.clone();
    pruned.stage = Stage::InProgress {
        started: at("2026-11-24T10:20:00Z"),
        failed: 3,
        last_failure: Some(at("2026-11-24T10:20:00Z")),
    };
    let fourth = Work::Failed {
        attempt: 4,
        at: at("2026-11-24T10:20:00.5Z"),
    };
    let decision = decided(&pruned, Some(&seen), &[], &fourth);
    let Some(Act::Start(attempt)) = decision.act else {
        panic!("{decision:?}");
    };
    assert_eq!(attempt.number, 5);

    // It lost its way meanwhile.
    let unready = etcd(|it| it["spec"]["replicas"] = json!(0));
    let decision = decided(&late, Some(&unready), &[], &work);
    let status = decision.status.unwrap();
    assert_eq!(status.state.as_deref(), Some("Failed"));
    let codes: Vec<_> = status
        .last_errors
        .into_iter()
        .flatten()
        .map(|it| it.code)
        .collect();
    assert_eq!(codes, ["ERR_EXECUTE_HTTP_REQUEST", "ERR_ETCD_NOT_READY"]);
}

#[test]
fn work_that_nobody_remembers_is_looked_for_once_even_when_its_time_is_up() {
    let seen = etcd(|_| {});
    let task = in_progress("2026-11-24T09:20:00Z", &[]);
    let decision = decided(&task, Some(&seen), &[], &Work::None);
    let Some(Act::Start(attempt)) = decision.act else {
        panic!("{decision:?}");
    };
    assert!(!attempt.take);
    assert_eq!(attempt.newer_than, task.started());
    assert_eq!(attempt.by, now() + SignedDuration::from_secs(15));
    let late = failed(1, Trouble::TooLate(attempt.limit));
    let status = decided(&task, None, &[], &late).status.unwrap();
    assert_eq!(status.state.as_deref(), Some("Failed"));

    // A delta is not looked for: the next one has what it had.
    let mut delta = object(&json!({ "onDemandSnapshot": { "type": "delta" } }));
    delta["status"] = json!({ "state": "InProgress", "startedAt": "2026-11-24T09:20:00Z" });
    let decision = decided(&parsed(&delta), Some(&seen), &[], &Work::None);
    let status = decision.status.unwrap();
    assert_eq!(status.state.as_deref(), Some("Failed"));
    assert_eq!(decision.act, Some(Act::Forget));
}

#[test]
fn a_task_waits_while_an_upgrade_restarts_members_and_one_that_has_begun_does_not() {
    let rolling = etcd(|it| it["status"]["upgrade"] = json!({ "phase": "Rolling" }));
    let task = parsed(&full());
    let decision = decided(&task, Some(&rolling), &[], &Work::None);
    assert_eq!(decision.status.unwrap().state.as_deref(), Some("Pending"));
    assert_eq!(decision.act, None);
    let begun = in_progress("2026-11-24T10:20:00Z", &[]);
    let decision = decided(&begun, Some(&rolling), &[], &Work::None);
    assert!(matches!(decision.act, Some(Act::Start(_))));
    let snapshot = etcd(|it| it["status"]["upgrade"] = json!({ "phase": "Snapshot" }));
    let decision = decided(&task, Some(&snapshot), &[], &Work::None);
    assert!(matches!(decision.act, Some(Act::Start(_))));
}

#[test]
fn a_roll_that_waits_in_its_midst_is_one() {
    let task = parsed(&full());
    let waiting = |phase: &str, change: fn(&mut Value)| {
        let seen = etcd(|it| {
            let moment = "2026-11-24T10:00:00Z";
            let mut record = json!({
                "attempt": 1, "from": "3.4.34", "to": "3.5.27", "phase": "Rolling",
                "started": moment, "snapshot": { "tries": 0, "failures": 0, "state": "Missing" },
                "touched": false, "members": [],
            });
            change(&mut record);
            it["status"]["upgrade"] = json!({ "phase": phase, "record": record });
        });
        decided(&task, Some(&seen), &[], &Work::None).act.is_none()
    };
    let touched = |it: &mut Value| it["touched"] = json!(true);
    assert!(waiting("Waiting", touched));
    // It waits for its first member.
    assert!(!waiting("Waiting", |_| ()));
    // It goes on when a person says so, and then a task that has begun comes first.
    assert!(!waiting("Paused", touched));
    assert!(!waiting("Blocked", touched));
}

fn maintenance(status: Value) -> Task {
    let config = json!({ "etcdCompaction": true, "etcdDefragmentation": true });
    let mut task = object(&json!({ "onDemandMaintenance": config }));
    task["status"] = status;
    parsed(&task)
}

#[test]
fn maintenance_needs_neither_backups_nor_the_condition_but_members() {
    for seen in [
        etcd(|it| it["spec"]["backup"] = json!({})),
        etcd(|it| it["status"]["conditions"][0]["status"] = json!("False")),
    ] {
        let decision = decided(&maintenance(json!({})), Some(&seen), &[], &Work::None);
        let Some(Act::Start(attempt)) = decision.act else {
            panic!("{decision:?}");
        };
        assert_eq!(attempt.newer_than, None);
        let EtcdSeen::There(cluster) = seen else {
            panic!("it is there");
        };
        assert_eq!(attempt.store, cluster.store);
    }
    let hibernates = etcd(|it| it["spec"]["replicas"] = json!(0));
    let decision = decided(&maintenance(json!({})), Some(&hibernates), &[], &Work::None);
    assert_eq!(decision.status.unwrap().state.as_deref(), Some("Rejected"));
    let rolling = etcd(|it| it["status"]["upgrade"] = json!({ "phase": "Rolling" }));
    let decision = decided(&maintenance(json!({})), Some(&rolling), &[], &Work::None);
    assert_eq!(decision.act, None);
}

#[test]
fn what_has_come_of_steps_is_told_at_once_and_known_to_the_next_attempt() {
    let started = json!({ "state": "InProgress", "startedAt": "2026-11-24T10:20:00Z" });
    let task = maintenance(started);
    let mut progress = Progress {
        step: "Defragments member e-1".to_owned(),
        ..Progress::default()
    };
    progress.result.compacted(7);
    progress.result.defragmented(&"e-0".into(), 30, 10);
    let looked = |task: &Task, work: &Work, etcd: Option<&EtcdSeen>, progress: &Progress| {
        let seen = Observed {
            task,
            etcd,
            others: &[],
            work,
            progress,
            wound_up: true,
        };
        decide(&seen, &Limits::default(), now())
    };
    let told = looked(&task, &Work::Running, None, &progress);
    let status = told.status.unwrap();
    assert_eq!((told.act, told.told), (None, None));
    let operation = status.last_operation.as_ref().unwrap();
    assert_eq!(operation.description, "Defragments member e-1");
    assert_eq!(status.result.as_ref(), Some(&progress.result));
    assert_eq!(status.result.as_ref().unwrap().reclaimed_bytes, Some(20));

    // Nothing new, nothing written.
    let mut task = task;
    task.status = status;
    assert_eq!(looked(&task, &Work::Running, None, &progress).status, None);
    let silent = looked(&task, &Work::Running, None, &Progress::default());
    assert_eq!(silent.status, None);

    // It fails after one more step, and is tried again from there.
    progress.result.defragmented(&"e-1".into(), 30, 20);
    let unwell = failed(1, Trouble::Unwell("e-2: it has no pod".to_owned()));
    let status = looked(&task, &unwell, None, &progress).status.unwrap();
    assert_eq!(status.result.as_ref(), Some(&progress.result));
    task.status = status;
    let seen = etcd(|_| {});
    let decision = looked(&task, &Work::None, Some(&seen), &Progress::default());
    let Some(Act::Start(attempt)) = decision.act else {
        panic!("{decision:?}");
    };
    assert_eq!(attempt.result, progress.result);
    assert_eq!(decision.status.unwrap().result, Some(progress.result));
}

#[test]
fn what_has_come_of_maintenance_is_said_in_the_end() {
    let task = maintenance(json!({ "state": "InProgress", "startedAt": "2026-11-24T10:20:00Z" }));
    let ended = |result: &TaskResult| {
        let work = Work::Answered {
            attempt: 1,
            result: Ok(Done::Maintained(Box::new(result.clone()))),
        };
        let status = decided(&task, None, &[], &work).status.unwrap();
        assert_eq!(status.state.as_deref(), Some("Succeeded"));
        (status.last_operation.unwrap().description, status.result)
    };
    let mut result = TaskResult::default();
    let nothing = "No member has free pages that are worth it".to_owned();
    assert_eq!(ended(&result), (nothing, None));
    result.defragmented(&"e-0".into(), 30, 10);
    let text = "1 member defragmented, 20 bytes reclaimed".to_owned();
    assert_eq!(ended(&result), (text, Some(result.clone())));
    result.defragmented(&"e-1".into(), 10, 12);
    result.compacted(7);
    result.cleared(1);
    let text = "Compacted up to revision 7, 2 members defragmented, 18 bytes reclaimed, alarm \
                NOSPACE cleared";
    assert_eq!(ended(&result), (text.to_owned(), Some(result.clone())));
}

#[test]
fn whoever_works_on_members_is_known_by_its_task() {
    let begun = || maintenance(json!({ "state": "InProgress" }));
    assert_eq!(at_work("e", &[begun()]), Some("t"));
    assert_eq!(at_work("other", &[begun()]), None);
    let others = [
        maintenance(json!({})),
        maintenance(json!({ "state": "Succeeded" })),
        in_progress("2026-11-24T10:20:00Z", &[]),
    ];
    assert_eq!(at_work("e", &others), None);
}

#[test]
fn what_backups_cover_is_read_from_the_newest_chain() {
    let link = |name: &str, (first, last): (i64, i64), at: &str| json!({ "snapName": name, "startRevision": first, "lastRevision": last, "createdOn": at });
    let told = |name: &str, last: i64, at: &str| link(name, (0, last), at);
    let covers = |status, body: &Value| covered(status, body.to_string().as_bytes());
    let chain = json!({
        "fullSnapshot": told("Full-1", 7, "2026-11-24T10:00:00Z"),
        "deltaSnapshots": [link("Incr-1", (8, 9), "2026-11-24T10:05:00Z")],
    });
    let expected = [(7, "2026-11-24T10:00:00Z"), (9, "2026-11-24T10:05:00Z")];
    let expected = expected.map(|(revision, time)| Covered {
        revision,
        at: at(time),
    });
    assert_eq!(covers(200, &chain), Ok(expected.to_vec()));
    let none = json!({ "fullSnapshot": null, "deltaSnapshots": null });
    assert_eq!(covers(200, &none), Ok(Vec::new()));
    let mut holed = chain.clone();
    holed["deltaSnapshots"] = json!([
        link("Incr-1", (8, 9), "2026-11-24T10:05:00Z"),
        link("Incr-2", (12, 15), "2026-11-24T10:10:00Z"),
    ]);
    let hole = Trouble::Hole(Hole {
        from: 10,
        to: 11,
        next: "Incr-2".to_owned(),
    });
    assert!(!hole.may_pass());
    assert_eq!(covers(200, &holed), Err(hole));
    for (status, body) in [
        (500, chain),
        (200, json!("no")),
        (200, json!({ "fullSnapshot": { "lastRevision": 7 } })),
        (
            200,
            json!({ "fullSnapshot": told("Full-1", 7, "yesterday") }),
        ),
    ] {
        let trouble = covers(status, &body).unwrap_err();
        assert_eq!(trouble.code(), "ERR_COMPACTION_REVISION", "{body}");
        assert!(trouble.may_pass(), "{body}");
    }
}

#[test]
fn a_task_that_is_deleted_gives_up_its_work_before_it_goes() {
    let mut object = full();
    object["metadata"]["deletionTimestamp"] = json!("2026-11-24T10:20:30Z");
    object["status"] = json!({ "state": "InProgress", "startedAt": "2026-11-24T10:20:00Z" });
    let decision = decided(&parsed(&object), None, &[], &Work::Running);
    assert_eq!(decision.act, Some(Act::Forget));
    let operation = decision.status.clone().unwrap().last_operation.unwrap();
    assert_eq!(operation.kind, "Cleanup");
    assert_eq!(decision.told.unwrap().state, None);
    object["status"] = serde_json::to_value(decision.status.unwrap()).unwrap();
    let decision = decided(&parsed(&object), None, &[], &Work::None);
    assert_eq!(
        (decision.status, decision.act),
        (None, Some(Act::RemoveFinalizer))
    );
    object["metadata"]["finalizers"] = json!(["somebody-elses"]);
    let decision = decided(&parsed(&object), None, &[], &Work::None);
    assert_eq!(decision, Decision::default());
}

#[test]
fn an_answer_is_what_was_asked_for_or_an_error() {
    let full = |is_final| Take::Full { is_final };
    let of = |take: Take, status, body: &Value| taken(take, status, body.to_string().as_bytes());
    let said = json!({
        "kind": "Full", "snapName": "Full-1", "lastRevision": 7, "isFinal": false,
        "createdOn": "2026-11-24T10:20:30Z", "sizeBytes": 12, "sha256": "ab", "versionID": null,
    });
    let snapshot = Snapshot {
        name: "Full-1".to_owned(),
        revision: 7,
        size: Some(12),
        sha256: Some("ab".to_owned()),
    };
    assert_eq!(of(full(false), 200, &said), Ok(Done::Taken(snapshot)));
    assert_eq!(of(Take::Delta, 200, &Value::Null), Ok(Done::Skipped));
    for (take, status, body, code) in [
        (full(true), 200, said.clone(), "ERR_CREATE_SNAPSHOT"),
        (full(false), 200, Value::Null, "ERR_CREATE_SNAPSHOT"),
        (Take::Delta, 200, said, "ERR_CREATE_SNAPSHOT"),
        (full(false), 200, json!({}), "ERR_CREATE_SNAPSHOT"),
        (full(false), 500, json!("no space"), "ERR_CREATE_SNAPSHOT"),
    ] {
        let trouble = of(take, status, &body).unwrap_err();
        assert_eq!(trouble.code(), code, "{take:?} {body}");
    }
    let page = taken(full(false), 200, b"<html>\xff");
    assert!(page.unwrap_err().to_string().contains("spec.backup.port"));
}

#[test]
fn a_snapshot_made_earlier_is_recognised_if_it_is_newer_and_of_the_kind() {
    let full = |is_final| Take::Full { is_final };
    let finds = |take: Take, since: &str, full: &Value, status| {
        let body = json!({ "fullSnapshot": full, "deltaSnapshots": null }).to_string();
        latest(take, at(since), status, body.as_bytes()).is_some()
    };
    let said = |is_final: bool| {
        json!({
            "kind": "Full", "snapName": "Full-1", "lastRevision": 7, "isFinal": is_final,
            "createdOn": "2026-11-24T10:20:30Z",
        })
    };
    for (take, since, full, status, found) in [
        (full(false), "2026-11-24T10:20:29Z", said(false), 200, true),
        (full(false), "2026-11-24T10:20:30Z", said(false), 200, false),
        (full(false), "2026-11-24T10:20:29Z", said(false), 500, false),
        (full(false), "2026-11-24T10:20:29Z", Value::Null, 200, false),
        (full(true), "2026-11-24T10:20:29Z", said(false), 200, false),
        (full(true), "2026-11-24T10:20:29Z", said(true), 200, true),
        (full(false), "2026-11-24T10:20:29Z", said(true), 200, true),
    ] {
        let is = finds(take, since, &full, status);
        assert_eq!(is, found, "{take:?} {since} {full} {status}");
    }
}

#[test]
fn the_ca_is_the_one_that_the_live_pods_have() {
    let volumes = |volumes: Value| -> StatefulSet {
        let object = json!({
            "metadata": { "name": "e" },
            "spec": {
                "serviceName": "s", "selector": {},
                "template": { "spec": { "containers": [], "volumes": volumes } },
            },
        });
        serde_json::from_value(object).unwrap()
    };
    let of_secret = json!([
        { "name": "other", "secret": { "secretName": "x" } },
        { "name": "backup-restore-ca", "secret": { "secretName": "br-ca" } },
    ]);
    assert_eq!(ca_secret(&volumes(of_secret)), Ok("br-ca".to_owned()));
    let without = ca_secret(&volumes(json!([]))).unwrap_err();
    assert_eq!(without.code(), "ERR_GET_CA_SECRET");
    assert!(without.may_pass() && without.to_string().contains("StatefulSet e"));
    assert!(ca_secret(&StatefulSet::default()).is_err());

    let secret: Secret = serde_json::from_value(json!({
        "metadata": { "name": "br-ca" }, "data": { "ca.crt": "YQ==", "bundle.crt": "Yg==" },
    }))
    .unwrap();
    let keys = |data_key: Option<&str>| {
        let EtcdSeen::There(cluster) = etcd(|it| {
            let mut ca = json!({ "name": "br-ca" });
            if let Some(key) = data_key {
                ca["dataKey"] = json!(key);
            }
            it["spec"]["backup"]["tls"] =
                json!({ "tlsCASecretRef": ca, "serverTLSSecretRef": { "name": "s" } });
        }) else {
            panic!("it is there");
        };
        cluster.sidecar.ca_keys.unwrap()
    };
    assert_eq!(ca_certificates(&secret, &keys(None)), Ok(b"b".to_vec()));
    assert_eq!(
        ca_certificates(&secret, &keys(Some("ca.crt"))),
        Ok(b"a".to_vec())
    );
    let missing = ca_certificates(&secret, &keys(Some("x"))).unwrap_err();
    assert_eq!(missing.code(), "ERR_CA_DATA_KEY_NOT_FOUND");
    let only = Secret {
        data: secret.data.map(|mut it| {
            it.remove("bundle.crt");
            it
        }),
        ..Secret::default()
    };
    assert_eq!(ca_certificates(&only, &keys(None)), Ok(b"a".to_vec()));
}

#[test]
fn what_has_ended_is_counted_under_the_names_of_the_proposal() {
    let mut numbers = Numbers::default();
    let task = in_progress("2026-11-24T10:20:00Z", &[]);
    numbers.ended(&task, State::Succeeded, now());
    numbers.ended(&parsed(&object(&json!({}))), State::Rejected, now());
    let text = numbers.text(&[]);
    let labels = "type=\"onDemandSnapshot\",state=\"Succeeded\",etcd=\"e\",etcd_namespace=\"n\"";
    for line in [
        "# TYPE etcddruid_operator_tasks_total counter".to_owned(),
        format!("etcddruid_operator_tasks_total{{{labels}}} 1"),
        "etcddruid_operator_tasks_total{type=\"unknown\",state=\"Rejected\",etcd=\"e\",\
         etcd_namespace=\"n\"} 1"
            .to_owned(),
        format!("etcddruid_operator_task_duration_seconds_bucket{{{labels},le=\"30\"}} 0"),
        format!("etcddruid_operator_task_duration_seconds_bucket{{{labels},le=\"60\"}} 1"),
        format!("etcddruid_operator_task_duration_seconds_sum{{{labels}}} 30.5"),
    ] {
        assert!(text.lines().any(|it| it == line), "{line}\n{text}");
    }
    assert!(!text.contains("seconds_count{type=\"unknown\""));

    for number in 0..10_100 {
        let mut task = task.clone();
        task.etcd = Some(format!("e{number}"));
        numbers.ended(&task, State::Rejected, now());
    }
    let text = numbers.text(&[]);
    let lines = text
        .lines()
        .filter(|it| it.starts_with("etcddruid_operator_tasks_total"));
    assert_eq!(lines.count(), 10_001);
    assert!(text.contains("state=\"Rejected\",etcd=\"\",etcd_namespace=\"\"} 102"));
}

/// What a recovery has told members is taken back before the task may go, however it goes.
#[test]
fn a_recovery_is_wound_up_before_it_is_deleted_or_let_go() {
    let of = |status: Value, deleting: bool| {
        let mut object = json!({
            "apiVersion": "druid.gardener.cloud/v1alpha1", "kind": "EtcdOpsTask",
            "metadata": {
                "name": "r", "namespace": "n", "uid": "u",
                "creationTimestamp": "2026-11-24T10:00:00Z",
                "finalizers": ["druid.gardener.cloud/etcd-ops-task"],
            },
            "spec": {
                "etcdName": "e", "ttlSecondsAfterFinished": 60,
                "config": { "recoverFromQuorumLoss": {} },
            },
            "status": status,
        });
        if deleting {
            object["metadata"]["deletionTimestamp"] = "2026-11-24T10:00:00Z".into();
        }
        Task::of(&serde_json::from_value(object).unwrap())
    };
    let over = json!({ "state": "Failed", "lastTransitionTime": "2026-11-24T10:00:00Z" });
    for (task, at_last) in [
        (of(over, false), Act::Delete),
        (of(json!({}), true), Act::RemoveFinalizer),
    ] {
        for (wound_up, expected) in [(false, Act::WindUp), (true, at_last)] {
            let seen = Observed {
                task: &task,
                etcd: None,
                others: &[],
                work: &Work::None,
                progress: &Progress::default(),
                wound_up,
            };
            let decision = decide(&seen, &Limits::default(), now());
            assert_eq!(decision.act, Some(expected), "{task:?}");
        }
    }
}

#[test]
fn what_winding_up_waits_for_is_told_as_long_as_it_does() {
    let mut task = in_progress("2026-11-24T10:20:00Z", &[]);
    assert_eq!(task.winding_up(None, now()), None, "nothing was told of it");
    let status = task.winding_up(Some("m-0 to serve"), now()).unwrap();
    let last = status.last_operation.clone().unwrap();
    assert_eq!(
        (last.kind.as_str(), last.state.as_str()),
        ("Cleanup", "InProgress")
    );
    assert_eq!(
        last.description,
        "What members were told is taken back: waits for m-0 to serve"
    );
    assert_eq!(
        status.state.as_deref(),
        Some("InProgress"),
        "it stays what it is"
    );
    task.status = status;
    assert_eq!(task.winding_up(Some("m-0 to serve"), now()), None);
    let status = task.winding_up(None, now()).unwrap();
    assert_eq!(status.last_operation.unwrap().state, "Completed");
}

#[test]
fn a_recovery_in_progress_is_known_to_whoever_restarts_members() {
    let of = |config: Value, state: &str| {
        let object = json!({
            "apiVersion": "druid.gardener.cloud/v1alpha1", "kind": "EtcdOpsTask",
            "metadata": { "name": "r", "namespace": "n", "uid": "u" },
            "spec": { "etcdName": "e", "config": config },
            "status": { "state": state, "startedAt": "2026-11-24T10:00:00Z" },
        });
        Task::of(&serde_json::from_value(object).unwrap())
    };
    let recovery = || json!({ "recoverFromQuorumLoss": {} });
    let snapshot = json!({ "onDemandSnapshot": { "type": "full" } });
    assert_eq!(recovering("e", &[of(recovery(), "InProgress")]), Some("r"));
    assert_eq!(recovering("x", &[of(recovery(), "InProgress")]), None);
    for other in [
        of(recovery(), "Pending"),
        of(recovery(), "Failed"),
        of(snapshot, "InProgress"),
    ] {
        assert_eq!(recovering("e", &[other]), None);
    }
}

#[test]
fn what_a_sidecar_says_of_a_restore_on_trial_is_told_apart() {
    let why = restorable(404, b"404 page not found\n").unwrap_err();
    assert!(why.to_string().contains("spec.backup.image"), "{why}");
    let of = |status| restorable(status, b"why\n").unwrap_err();
    assert_eq!(of(422), NotRestorable::Damaged("why".to_owned()));
    assert_eq!(of(503), NotRestorable::Busy("why".to_owned()));
    assert_eq!(
        of(500),
        NotRestorable::Unknown("status 500: why".to_owned())
    );
    assert!(matches!(of(200), NotRestorable::Unknown(_)));
}

#[test]
fn what_a_compaction_has_made_is_newer_than_its_beginning_or_all_there_is() {
    let snapshot = |kind: &str, name: &str, second: i64| {
        json!({
            "kind": kind, "snapName": name, "startRevision": 0, "lastRevision": 7, "sizeBytes": 12,
            "createdOn": Timestamp::from_second(second).unwrap().to_string(),
        })
    };
    let told = |second, deltas: &[Value]| {
        let full = snapshot("Full", "Full-1", second);
        json!({ "fullSnapshot": full, "deltaSnapshots": deltas }).to_string()
    };
    let began = Timestamp::from_millisecond(100_900).unwrap();
    let result = |body: &str| newest(began, 200, body.as_bytes());
    let later = snapshot("Incr", "Incr-1", 200);
    for (second, deltas) in [(100, vec![]), (100, vec![later.clone()]), (50, vec![])] {
        let found = result(&told(second, &deltas)).unwrap();
        assert_eq!((found.name.as_str(), found.size), ("Full-1", Some(12)));
    }
    let newest = "Full-1".to_owned();
    let none = Trouble::NotCompacted { newest, began };
    assert!(!none.may_pass());
    assert_eq!(result(&told(99, &[later])), Err(none));
    let empty = json!({ "fullSnapshot": null, "deltaSnapshots": null });
    let unknown = result(&empty.to_string()).unwrap_err();
    assert!(unknown.may_pass(), "{unknown}");
}

#[test]
fn tasks_that_there_are_and_what_was_cancelled_are_told() {
    let mut numbers = Numbers::default();
    let begun = in_progress("2026-11-24T10:20:00Z", &[]);
    numbers.cancelled(&begun, now());
    let mut later = begun.clone();
    if let Stage::InProgress { started, .. } = &mut later.stage {
        *started = at("2026-11-24T10:25:00Z");
    }
    let mut over = begun.clone();
    over.stage = Stage::Over {
        state: State::Failed,
        since: now(),
    };
    let mut waits = begun.clone();
    waits.stage = Stage::Waiting;
    let created = waits.created.as_second();
    let text = numbers.text(&[later, begun, over, waits]);
    let labels = |state: &str| {
        format!("{{type=\"onDemandSnapshot\",state=\"{state}\",etcd=\"e\",etcd_namespace=\"n\"}}")
    };
    let since = "etcddruid_operator_task_waiting_since_timestamp_seconds";
    for line in [
        format!("etcddruid_operator_tasks_total{} 1", labels("Cancelled")),
        format!("etcddruid_operator_tasks{} 2", labels("InProgress")),
        format!("etcddruid_operator_tasks{} 1", labels("Pending")),
        format!("etcddruid_operator_tasks{} 1", labels("Failed")),
        format!(
            "{since}{} {}",
            labels("InProgress"),
            at("2026-11-24T10:20:00Z").as_second()
        ),
        format!("{since}{} {created}", labels("Pending")),
    ] {
        assert!(text.lines().any(|it| it == line), "{line}\n{text}");
    }
    assert!(!text.contains(&format!("{since}{}", labels("Failed"))));
    assert_eq!(text.matches("# TYPE").count(), 4, "{text}");
}
