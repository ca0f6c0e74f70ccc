use std::time::Duration;

use serde_json::{Value, json};

use super::room::{Room, a_while};
use crate::operator::ops_task::tests::scripted::{Does, Scripted};

#[tokio::test(flavor = "multi_thread")]
async fn too_many_events_make_a_full_snapshot_however_often_that_fails() {
    let room = Room::new("full").await;
    let sidecar = Scripted::new(&[
        Does::Says(500, "no room"),
        Does::Takes(Duration::from_millis(300)),
    ])
    .await;
    room.etcd("main", sidecar.port, 300).await;
    let _operator = room.operator();
    let told = room.told("main", "ErrorTriggeringFullSnapshot").await;
    assert_eq!(told["status"], "False");
    let message = told["message"].as_str().unwrap();
    assert!(
        message.starts_with("Error while triggering full snapshot for etcd full/main: ")
            && message.contains("no room")
            && message.ends_with(" ,Compaction will be retried"),
        "{message}"
    );
    let told = room.told("main", "FullSnapshotTakenSuccessfully").await;
    assert_eq!(told["status"], "True");
    room.snapshot("main", "full", 1300).await;
    a_while().await;
    assert_eq!(
        sidecar.asked(),
        ["POST /snapshot/full", "POST /snapshot/full"]
    );
    assert_eq!(room.bed.requests("create", "/jobs"), 0);
    let text = room.counts.text();
    let name = "etcddruid_compaction_full_snapshot_triggered_total";
    for succeeded in [true, false] {
        let line =
            format!("{name}{{succeeded=\"{succeeded}\",etcd_namespace=\"full\",etcd=\"main\"}} 1");
        assert!(text.lines().any(|it| it == line), "{line}\n{text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_job_that_took_too_long_a_full_snapshot_is_taken() {
    let room = Room::new("deadline").await;
    let sidecar = Scripted::new(&[Does::Takes(Duration::ZERO)]).await;
    room.etcd("main", sidecar.port, 100).await;
    let _operator = room.operator();
    let job = room.job("main", &Value::Null).await;
    room.end(&job, false, "DeadlineExceeded").await;
    room.told("main", "DeadlineExceeded").await;
    room.gone(&job).await;
    room.told("main", "FullSnapshotTakenSuccessfully").await;
    assert_eq!(sidecar.posts(), 1);
    assert_eq!(room.bed.requests("create", "/jobs"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sidecar_that_hangs_is_given_up_in_time_and_holds_up_nobody() {
    let room = Room::new("hangs-long").await;
    let sidecar = Scripted::new(&[Does::Hangs]).await;
    let backup = json!({ "etcdSnapshotTimeout": "4s",
        "store": { "prefix": "p", "provider": "Local", "container": "bucket" } });
    room.etcd_with("slow", sidecar.port, backup, 300).await;
    // There is one worker.
    let _operator = room.operator();
    while sidecar.posts() == 0 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    room.etcd("quick", 1, 100).await;
    room.job("quick", &Value::Null).await;
    // Heard of meanwhile, and not asked twice.
    room.snapshot("slow", "delta", 1400).await;
    a_while().await;
    assert_eq!(sidecar.posts(), 1);
    let told = room.told("slow", "ErrorTriggeringFullSnapshot").await;
    let message = told["message"].as_str().unwrap();
    assert!(message.contains("within 4 s"), "{message}");
}
