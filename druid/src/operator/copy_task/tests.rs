//! The controller against a genuine API server. Nobody runs Jobs there; the node tests run one.

use druid_core::api::EtcdCopyBackupsTask;
use druid_core::render::Images;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Secret;
use kube::api::DeleteParams;
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use super::{Settings, run};
use crate::operator::compaction::tests::room::{Room, a_while};

/// Ends with its process when dropped, as far as a task can.
struct Operator(JoinHandle<()>);

impl Drop for Operator {
    fn drop(&mut self) {
        self.0.abort();
    }
}

fn operator(room: &Room) -> Operator {
    let settings = Settings {
        workers: std::num::NonZeroU32::MIN,
        images: Images {
            etcd: "i/etcd".to_owned(),
            backup_restore: "i/backup-restore".to_owned(),
            init: "i/init".to_owned(),
        },
        namespace: Some(room.bed.namespace.clone()),
        instance: Some("test".to_owned()),
    };
    let client = room.bed.client.clone();
    Operator(tokio::spawn(run(client, settings, std::future::pending())))
}

async fn create(room: &Room, name: &str, provider: &str, secret: Option<&str>) -> Value {
    let store = |bucket: &str| {
        let mut store = json!({ "container": bucket, "prefix": "p", "provider": provider });
        if let Some(secret) = secret {
            store["secretRef"] = json!({ "name": secret });
        }
        store
    };
    let made = room
        .create::<EtcdCopyBackupsTask>(json!({
            "apiVersion": "druid.gardener.cloud/v1alpha1", "kind": "EtcdCopyBackupsTask",
            "metadata": { "name": name },
            "spec": { "sourceStore": store("from"), "targetStore": store("into") },
        }))
        .await;
    serde_json::to_value(made).unwrap()
}

async fn when(room: &Room, name: &str, so: impl Fn(&Value) -> bool) -> Value {
    room.when::<EtcdCopyBackupsTask>(name, so).await
}

async fn worker(room: &Room, task: &str) -> Value {
    let name = format!("{task}-worker");
    room.when::<Job>(&name, |it| !it.is_null()).await
}

fn says(task: &Value, kind: &str) -> bool {
    let condition = &task["status"]["conditions"][0];
    condition["type"] == kind && condition["status"] == "True"
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_is_one_job_and_goes_when_that_is_gone() {
    let room = Room::new("copies").await;
    let _operator = operator(&room);
    let task = create(&room, "copy", "Local", None).await;
    let job = worker(&room, "copy").await;
    let owner = &job["metadata"]["ownerReferences"][0];
    assert_eq!(owner["uid"], task["metadata"]["uid"]);
    let container = &job["spec"]["template"]["spec"]["containers"][0];
    assert_eq!(container["image"], "i/backup-restore");
    let task = when(&room, "copy", |it| it["status"]["observedGeneration"] == 1).await;
    let finalizers = json!(["druid.gardener.cloud/etcd-druid"]);
    assert_eq!(task["metadata"]["finalizers"], finalizers);
    room.end(&job, true, "CompletionsReached").await;
    let task = when(&room, "copy", |it| says(it, "Succeeded")).await;
    let condition = &task["status"]["conditions"][0];
    assert_eq!(condition["reason"], "CompletionsReached");
    assert_eq!(task["status"]["lastError"], Value::Null);
    let written = room.bed.requests("patch", "/etcdcopybackupstasks");
    a_while().await;
    assert_eq!(room.bed.requests("create", "/jobs"), 1);
    assert_eq!(room.bed.requests("patch", "/etcdcopybackupstasks"), written);
    let api = room.bed.api::<EtcdCopyBackupsTask>();
    api.delete("copy", &DeleteParams::default()).await.unwrap();
    // The Job goes first.
    let name = "copy-worker";
    room.when::<Job>(name, |it| !it["metadata"]["deletionTimestamp"].is_null())
        .await;
    assert_ne!(room.read::<EtcdCopyBackupsTask>("copy").await, Value::Null);
    room.gone(&job).await;
    when(&room, "copy", Value::is_null).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_fails_is_told_of_and_made_again_once_somebody_deletes_it() {
    let room = Room::new("copies-again").await;
    create(&room, "copy", "Local", None).await;
    let _operator = operator(&room);
    let job = worker(&room, "copy").await;
    room.end(&job, false, "BackoffLimitExceeded").await;
    when(&room, "copy", |it| says(it, "Failed")).await;
    let jobs = room.bed.api::<Job>();
    jobs.delete("copy-worker", &DeleteParams::background())
        .await
        .unwrap();
    room.when::<Job>("copy-worker", |it| {
        !it.is_null() && it["metadata"]["uid"] != job["metadata"]["uid"]
    })
    .await;
    when(&room, "copy", |it| it["status"]["conditions"].is_null()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_the_api_server_refuses_is_told_of() {
    let room = Room::new("copies-refused").await;
    let store = json!({ "container": "same", "prefix": "p", "provider": "Local" });
    room.create::<EtcdCopyBackupsTask>(json!({
        "apiVersion": "druid.gardener.cloud/v1alpha1", "kind": "EtcdCopyBackupsTask",
        "metadata": { "name": "copy" },
        "spec": { "sourceStore": store, "targetStore": store },
    }))
    .await;
    let _operator = operator(&room);
    let task = when(&room, "copy", |it| it["status"]["lastError"].is_string()).await;
    let error = task["status"]["lastError"].as_str().unwrap();
    // One directory cannot be mounted twice.
    assert!(error.contains("must be unique"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_that_is_missing_is_named_and_waited_for() {
    let room = Room::new("copies-secret").await;
    create(&room, "copy", "S3", Some("keys")).await;
    create(&room, "odd", "Sieve", None).await;
    let _operator = operator(&room);
    let error = |it: &Value| it["status"]["lastError"].as_str().map(str::to_owned);
    let task = when(&room, "copy", |it| error(it).is_some()).await;
    assert!(error(&task).unwrap().contains("Secret `keys`"), "{task:#}");
    let odd = when(&room, "odd", |it| error(it).is_some()).await;
    assert!(error(&odd).unwrap().contains("Sieve"), "{odd:#}");
    assert_eq!(room.bed.requests("create", "/jobs"), 0);
    room.create::<Secret>(json!({ "metadata": { "name": "keys" } }))
        .await;
    worker(&room, "copy").await;
    when(&room, "copy", |it| error(it).is_none()).await;
    // Nothing was made for this one, so it goes at once.
    let api = room.bed.api::<EtcdCopyBackupsTask>();
    api.delete("odd", &DeleteParams::default()).await.unwrap();
    when(&room, "odd", Value::is_null).await;
}
