use druid_core::api::{Etcd, EtcdOpsTask};
use k8s_openapi::api::batch::v1::Job;
use serde_json::{Value, json};

use super::room::{Room, a_while, condition};

#[tokio::test(flavor = "multi_thread")]
async fn many_events_make_a_job_and_what_becomes_of_it_is_told() {
    let room = Room::new("jobs").await;
    let etcd = room.etcd("main", 1, 99).await;
    let _operator = room.operator();
    a_while().await;
    assert_eq!(room.read::<Job>("main-compactor").await, Value::Null);
    room.snapshot("main", "delta", 1100).await;
    let first = room.job("main", &Value::Null).await;
    let owner = &first["metadata"]["ownerReferences"][0];
    assert_eq!(
        (&owner["kind"], &owner["uid"]),
        (&json!("Etcd"), &etcd["metadata"]["uid"])
    );
    assert_eq!(first["spec"]["activeDeadlineSeconds"], 3000);
    let container = &first["spec"]["template"]["spec"]["containers"][0];
    assert_eq!(container["image"], "i/backup-restore:live");
    let wait = json!("--metrics-scrape-wait-duration=7s");
    assert!(container["args"].as_array().unwrap().contains(&wait));
    room.pod("main", &first, 1).await;
    room.end(&first, false, "BackoffLimitExceeded").await;
    let told = room.told("main", "ProcessFailure").await;
    assert_eq!(told["status"], "False");
    let message = "Compaction job jobs/main-compactor completed with state BackoffLimitExceeded, \
                   Compaction will be retried";
    assert_eq!(told["message"], message);
    room.gone(&first).await;
    // It is tried again.
    let second = room.job("main", &first).await;
    room.end(&second, true, "CompletionsReached").await;
    let told = room.told("main", "None").await;
    assert_eq!(told["status"], "True");
    // What others say of the Etcd is still there.
    let all = room.read::<Etcd>("main").await["status"]["conditions"].clone();
    assert_eq!(all[1]["type"], "Ready", "{all}");
    room.snapshot("main", "full", 1100).await;
    room.gone(&second).await;
    a_while().await;
    assert_eq!(room.bed.requests("create", "/jobs"), 2);
    let events = room.bed.events("main", "SnapshotCompactionSucceeded").await;
    let normal = |reason: &str| ("Normal".to_owned(), reason.to_owned());
    let warning = ("Warning".to_owned(), "SnapshotCompactionFailed".to_owned());
    // That the second began is one more of the same.
    assert_eq!(
        events,
        [
            normal("SnapshotCompactionStarted"),
            warning,
            normal("SnapshotCompactionSucceeded"),
        ]
    );
    let text = room.counts.text();
    for line in [
        "etcddruid_compaction_jobs_total{succeeded=\"true\",failureReason=\"none\",etcd_namespace=\"jobs\",etcd=\"main\"} 1",
        "etcddruid_compaction_jobs_total{succeeded=\"false\",failureReason=\"processFailure\",etcd_namespace=\"jobs\",etcd=\"main\"} 1",
        "etcddruid_compaction_jobs_current{etcd_namespace=\"jobs\",etcd=\"main\"} 0",
        "etcddruid_compaction_num_delta_events{etcd_namespace=\"jobs\",etcd=\"main\"} 0",
    ] {
        assert!(text.lines().any(|it| it == line), "{line}\n{text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_that_takes_over_makes_no_second_job_and_tells_how_the_first_ended() {
    let room = Room::new("takeover").await;
    room.etcd("main", 1, 100).await;
    let operator = room.operator();
    let job = room.job("main", &Value::Null).await;
    drop(operator);
    room.snapshot("main", "delta", 1200).await;
    let operator = room.operator();
    a_while().await;
    assert_eq!(room.bed.requests("create", "/jobs"), 1);
    assert!(
        room.counts
            .text()
            .contains("jobs_current{etcd_namespace=\"takeover\",etcd=\"main\"} 1")
    );
    drop(operator);
    room.end(&job, true, "CompletionsReached").await;
    let _operator = room.operator();
    room.told("main", "None").await;
    room.gone(&job).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_begins_while_a_task_or_an_upgrade_is_under_way() {
    let room = Room::new("busy").await;
    room.etcd("rolls", 1, 100).await;
    room.etcd("works", 1, 100).await;
    let phase = |phase: &str| json!({ "upgrade": { "phase": phase } });
    room.patch_status::<Etcd>("rolls", phase("Rolling")).await;
    room.bed
        .snapshot("task", "works", json!({ "type": "full" }))
        .await;
    let state =
        |state: &str| json!({ "state": state, "lastTransitionTime": "2026-11-24T10:00:00Z" });
    room.patch_status::<EtcdOpsTask>("task", state("InProgress"))
        .await;
    let _operator = room.operator();
    a_while().await;
    assert_eq!(room.bed.requests("create", "/jobs"), 0);
    room.patch_status::<Etcd>("rolls", phase("Succeeded")).await;
    room.patch_status::<EtcdOpsTask>("task", state("Succeeded"))
        .await;
    room.job("rolls", &Value::Null).await;
    room.job("works", &Value::Null).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_job_of_somebody_else_is_left_alone() {
    let room = Room::new("foreign-job").await;
    room.etcd("main", 1, 100).await;
    room.job_with("main", json!({})).await;
    let _operator = room.operator();
    a_while().await;
    let job = room.read::<Job>("main-compactor").await;
    assert_eq!(job["metadata"]["deletionTimestamp"], Value::Null);
    assert_eq!(room.bed.requests("create", "/jobs"), 1, "that of the test");
    assert_eq!(condition(&room.read::<Etcd>("main").await), Value::Null);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_job_of_a_task_is_waited_for_and_makes_room_when_it_is_over() {
    let room = Room::new("ofatask").await;
    room.etcd("main", 1, 100).await;
    room.bed
        .snapshot("task", "main", json!({ "type": "full" }))
        .await;
    let done = json!({ "state": "Succeeded", "lastTransitionTime": "2026-11-24T10:00:00Z" });
    room.patch_status::<EtcdOpsTask>("task", done).await;
    let uid = &room.read::<EtcdOpsTask>("task").await["metadata"]["uid"];
    let metadata = json!({
        "labels": {
            "app.kubernetes.io/managed-by": "etcd-druid",
            "app.kubernetes.io/part-of": "main",
            "app.kubernetes.io/component": "etcd-snapshot-compaction-job",
        },
        "ownerReferences": [{
            "apiVersion": "druid.gardener.cloud/v1alpha1", "kind": "EtcdOpsTask",
            "name": "task", "uid": uid,
        }],
    });
    room.job_with("main", metadata).await;
    let job = room.read::<Job>("main-compactor").await;
    let _operator = room.operator();
    a_while().await;
    let kept = room.read::<Job>("main-compactor").await;
    assert_eq!(kept["metadata"]["deletionTimestamp"], Value::Null);
    room.end(&job, true, "CompletionsReached").await;
    room.gone(&job).await;
    let own = room.job("main", &job).await;
    assert_eq!(own["metadata"]["ownerReferences"][0]["kind"], "Etcd");
    assert_eq!(condition(&room.read::<Etcd>("main").await), Value::Null);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_cannot_be_made_is_told_of_and_one_that_is_not_wanted_goes() {
    let room = Room::new("unmade").await;
    let store = json!({ "store": { "prefix": "p", "provider": "Local", "container": "bucket",
        "secretRef": { "name": "gone" } } });
    room.etcd_with("main", 1, store, 100).await;
    let _operator = room.operator();
    let told = room.told("main", "JobNotMade").await;
    let message = told["message"].as_str().unwrap();
    assert!(message.contains("gone"), "{message}");
    assert_eq!(room.bed.requests("create", "/jobs"), 0);
    // The Secret is not needed any more.
    let plain = json!({ "spec": { "backup": { "store": { "secretRef": null } } } });
    room.patch::<Etcd>("main", plain).await;
    let job = room.job("main", &Value::Null).await;
    let none = json!({ "spec": { "backup": { "store": null } } });
    room.patch::<Etcd>("main", none).await;
    room.snapshot("main", "delta", 1101).await;
    room.gone(&job).await;
}
