use k8s_openapi::api::batch::v1::Job;
use kube::api::{DeleteParams, PostParams};
use serde_json::{Value, json};

use super::scripted::Scripted;
use super::sidecar::Sidecar;
use crate::operator::compaction::tests::room::Room;

const COMPACTS: &str = "onDemandSnapshotCompaction";

fn owner(job: &Value) -> &str {
    job["metadata"]["ownerReferences"][0]["name"]
        .as_str()
        .unwrap()
}

/// Here no controller of Jobs runs: the test is it.
#[tokio::test(flavor = "multi_thread")]
async fn the_job_of_a_task_before_makes_room_and_one_that_runs_is_waited_for() {
    let room = Room::new("room").await;
    let sidecar = Sidecar::plain(&[]).await;
    let etcd = room.etcd("main", sidecar.port, 1).await;
    let _operator = room.bed.operator();
    let compact = async |name: &str| {
        let config = json!({ COMPACTS: {} });
        room.bed.task(name, "main", config, 3600).await;
    };
    compact("first").await;
    let first = room.job("main", &Value::Null).await;
    assert_eq!(owner(&first), "first");
    let args = first["spec"]["template"]["spec"]["containers"][0]["args"].to_string();
    assert!(args.contains("--metrics-scrape-wait-duration=7s"), "{args}");
    room.end(&first, true, "CompletionsReached").await;
    let status = room.bed.state("first", "Succeeded").await;
    let made = status["result"]["snapshot"]["name"].as_str().unwrap();
    assert_eq!(sidecar.fulls().last().unwrap(), made);
    let kept = room.read::<Job>("main-compactor").await;
    assert!(kept["metadata"]["deletionTimestamp"].is_null(), "{kept:#}");

    compact("second").await;
    room.gone(&first).await;
    let second = room.job("main", &first).await;
    assert_eq!(owner(&second), "second");
    room.end(&second, false, "BackoffLimitExceeded").await;
    room.bed.state("second", "Failed").await;

    // The Etcd's own, made before the task.
    let jobs = room.bed.api::<Job>();
    let now = DeleteParams::background();
    jobs.delete("main-compactor", &now).await.unwrap();
    let mut own = second.clone();
    own["metadata"] = json!({ "name": "main-compactor", "ownerReferences": [{
        "apiVersion": "druid.gardener.cloud/v1alpha1", "kind": "Etcd", "name": "main",
        "uid": etcd["metadata"]["uid"],
    }] });
    own["spec"]["selector"] = Value::Null;
    own["spec"]["template"]["metadata"] = json!({});
    own["status"] = json!({});
    let own = serde_json::from_value(own).unwrap();
    let own = jobs.create(&PostParams::default(), &own).await.unwrap();
    compact("third").await;
    let waits = |it: &Value| {
        let says = &it["status"]["lastOperation"]["description"];
        says.as_str().is_some_and(|it| it.contains("waits for Job"))
    };
    room.bed.when("third", waits).await;
    let own = serde_json::to_value(own).unwrap();
    room.end(&own, true, "CompletionsReached").await;
    // Its controller deletes it when its end is told.
    jobs.delete("main-compactor", &now).await.unwrap();
    let third = room.job("main", &own).await;
    assert_eq!(owner(&third), "third");
    room.end(&third, true, "CompletionsReached").await;
    room.bed.state("third", "Succeeded").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_of_somebody_else_is_left_alone_and_named() {
    let room = Room::new("taken-name").await;
    room.etcd("main", 1, 1).await;
    room.job_with("main", json!({})).await;
    let _operator = room.bed.operator();
    let config = json!({ COMPACTS: {}});
    room.bed.task("t", "main", config, 3600).await;
    let named = |it: &Value| {
        let errors = it["status"]["lastErrors"].to_string();
        errors.contains("Job main-compactor is there, and is none of this task")
    };
    let task = room.bed.when("t", named).await;
    assert_eq!(
        task["status"]["lastErrors"][0]["code"],
        "ERR_COMPACTION_JOB"
    );
    let kept = room.read::<Job>("main-compactor").await;
    assert!(kept["metadata"]["deletionTimestamp"].is_null(), "{kept:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_job_has_made_is_known_though_nobody_leads() {
    let room = Room::new("headless").await;
    let sidecar = Scripted::new(&[]).await;
    sidecar.leads(false);
    sidecar.take();
    room.etcd("main", sidecar.port, 1).await;
    let _operator = room.bed.operator();
    let config = json!({ COMPACTS: {} });
    room.bed.task("t", "main", config, 3600).await;
    let job = room.job("main", &Value::Null).await;
    room.end(&job, true, "CompletionsReached").await;
    let status = room.bed.state("t", "Succeeded").await;
    let made = &status["result"]["snapshot"]["name"];
    assert_eq!(*made, sidecar.newest()["snapName"]);
}
