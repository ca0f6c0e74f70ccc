use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::Secret;
use serde_json::{Value, json};

use super::*;
use crate::api::{Etcd, EtcdOpsTask};

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
    for (config, wanted) in [
        (
            snapshot(json!({ "type": "full" })),
            Ok(Operation::Full {
                is_final: false,
                limit: minutes(15),
            }),
        ),
        (
            snapshot(json!({ "type": "full", "isFinal": true, "timeoutSecondsFull": 120 })),
            Ok(Operation::Full {
                is_final: true,
                limit: minutes(2),
            }),
        ),
        (
            snapshot(json!({ "type": "delta", "isFinal": false, "timeoutSecondsDelta": -5 })),
            Ok(Operation::Delta { limit: minutes(1) }),
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
            json!({ "onDemandMaintenance": { "etcdCompaction": true } }),
            Err(Unsupported::NotYet("onDemandMaintenance")),
        ),
        (
            json!({ "recoverFromQuorumLoss": {} }),
            Err(Unsupported::NotYet("recoverFromQuorumLoss")),
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
    let limit = SignedDuration::from_secs(60);
    let full = |is_final| Operation::Full { is_final, limit };
    let delta = Operation::Delta { limit };
    let of = |operation: &Operation, status, body: &Value| {
        taken(operation, status, body.to_string().as_bytes())
    };
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
    assert_eq!(of(&full(false), 200, &said), Ok(Done::Taken(snapshot)));
    assert_eq!(of(&delta, 200, &Value::Null), Ok(Done::Skipped));
    for (operation, status, body, code) in [
        (full(true), 200, said.clone(), "ERR_CREATE_SNAPSHOT"),
        (full(false), 200, Value::Null, "ERR_CREATE_SNAPSHOT"),
        (delta, 200, said, "ERR_CREATE_SNAPSHOT"),
        (full(false), 200, json!({}), "ERR_CREATE_SNAPSHOT"),
        (full(false), 500, json!("no space"), "ERR_CREATE_SNAPSHOT"),
    ] {
        let trouble = of(&operation, status, &body).unwrap_err();
        assert_eq!(trouble.code(), code, "{operation:?} {body}");
    }
    let page = taken(&full(false), 200, b"<html>\xff");
    assert!(page.unwrap_err().to_string().contains("spec.backup.port"));
}

#[test]
fn a_snapshot_made_earlier_is_recognised_if_it_is_newer_and_of_the_kind() {
    let limit = SignedDuration::from_secs(60);
    let full = |is_final| Operation::Full { is_final, limit };
    let finds = |operation: &Operation, since: &str, full: &Value, status| {
        let body = json!({ "fullSnapshot": full, "deltaSnapshots": null }).to_string();
        latest(operation, at(since), status, body.as_bytes()).is_some()
    };
    let said = |is_final: bool| {
        json!({
            "kind": "Full", "snapName": "Full-1", "lastRevision": 7, "isFinal": is_final,
            "createdOn": "2026-11-24T10:20:30Z",
        })
    };
    for (operation, since, full, status, found) in [
        (full(false), "2026-11-24T10:20:29Z", said(false), 200, true),
        (full(false), "2026-11-24T10:20:30Z", said(false), 200, false),
        (full(false), "2026-11-24T10:20:29Z", said(false), 500, false),
        (full(false), "2026-11-24T10:20:29Z", Value::Null, 200, false),
        (full(true), "2026-11-24T10:20:29Z", said(false), 200, false),
        (full(true), "2026-11-24T10:20:29Z", said(true), 200, true),
        (full(false), "2026-11-24T10:20:29Z", said(true), 200, true),
    ] {
        let is = finds(&operation, since, &full, status);
        assert_eq!(is, found, "{operation:?} {since} {full} {status}");
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
    let text = numbers.text();
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
    let text = numbers.text();
    let lines = text
        .lines()
        .filter(|it| it.starts_with("etcddruid_operator_tasks_total"));
    assert_eq!(lines.count(), 10_001);
    assert!(text.contains("state=\"Rejected\",etcd=\"\",etcd_namespace=\"\"} 102"));
}
