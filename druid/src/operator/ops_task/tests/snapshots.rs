use std::time::Duration;

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::bed::{Bed, codes};
use super::sidecar::Sidecar;
use crate::store::digests::hex;

/// The file that a result names is there, and is what the result says of it.
fn is_stored(sidecar: &Sidecar, snapshot: &Value) {
    let path = sidecar.store().join(snapshot["name"].as_str().unwrap());
    let bytes = std::fs::read(&path).unwrap();
    assert_eq!(snapshot["size"], json!(bytes.len()));
    assert_eq!(snapshot["sha256"], json!(hex(&Sha256::digest(&bytes))));
}

#[tokio::test(flavor = "multi_thread")]
async fn full_delta_and_final_snapshots_are_taken_and_told_in_status() {
    let bed = Bed::new("taken").await;
    let sidecar = Sidecar::plain(&[]).await;
    bed.etcd("main", sidecar.port).await;
    let _operator = bed.operator();

    let revision = sidecar.write(3).await;
    bed.snapshot("full", "main", json!({ "type": "full" }))
        .await;
    let status = bed.state("full", "Succeeded").await;
    let snapshot = &status["result"]["snapshot"];
    assert_eq!(snapshot["revision"], json!(revision));
    assert_eq!(
        sidecar.fulls().last().map(String::as_str),
        snapshot["name"].as_str()
    );
    is_stored(&sidecar, snapshot);
    let operation = &status["lastOperation"];
    assert_eq!(operation["description"], "Snapshot created successfully");
    assert_eq!(
        (&operation["type"], &operation["state"]),
        (&json!("Execution"), &json!("Completed"))
    );
    assert!(status["startedAt"].is_string() && codes(&status).is_empty());

    let revision = sidecar.write(2).await;
    bed.snapshot("delta", "main", json!({ "type": "delta" }))
        .await;
    let status = bed.state("delta", "Succeeded").await;
    let snapshot = &status["result"]["snapshot"];
    assert_eq!(snapshot["revision"], json!(revision));
    assert_eq!(
        sidecar.deltas().last().map(String::as_str),
        snapshot["name"].as_str()
    );
    is_stored(&sidecar, snapshot);

    let deltas = sidecar.deltas();
    bed.snapshot("nothing-new", "main", json!({ "type": "delta" }))
        .await;
    let status = bed.state("nothing-new", "Succeeded").await;
    assert_eq!(
        status["lastOperation"]["description"],
        "Delta snapshot was skipped by backup-restore server"
    );
    assert_eq!(status.get("result"), None);
    assert_eq!(sidecar.deltas(), deltas);

    bed.snapshot("final", "main", json!({ "type": "full", "isFinal": true }))
        .await;
    let status = bed.state("final", "Succeeded").await;
    let name = status["result"]["snapshot"]["name"].as_str().unwrap();
    assert!(name.contains(".final"), "{name}");
    is_stored(&sidecar, &status["result"]["snapshot"]);

    let pair = |kind: &str, reason: &str| (kind.to_owned(), reason.to_owned());
    let told = [pair("Normal", "InProgress"), pair("Normal", "Succeeded")];
    for task in ["full", "delta", "nothing-new", "final"] {
        assert_eq!(bed.events(task, "Succeeded").await, told);
    }
    // The finalizer, the beginning, the end.
    let patches = bed.requests("patch", "/etcdopstasks/full");
    assert_eq!((patches, bed.requests("create", "/events")), (3, 8));
    let labels =
        "type=\"onDemandSnapshot\",state=\"Succeeded\",etcd=\"main\",etcd_namespace=\"taken\"";
    let text = bed.counts.text();
    for line in [
        format!("etcddruid_operator_tasks_total{{{labels}}} 4"),
        format!("etcddruid_operator_task_duration_seconds_count{{{labels}}} 4"),
    ] {
        assert!(text.lines().any(|it| it == line), "{line}: {text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_is_kept_as_long_as_it_says_and_nothing_is_written_meanwhile() {
    let bed = Bed::new("kept").await;
    let sidecar = Sidecar::plain(&[]).await;
    bed.etcd("main", sidecar.port).await;
    let _operator = bed.operator();
    let full = json!({ "onDemandSnapshot": { "type": "full" } });
    bed.task("short", "main", full.clone(), 4).await;
    bed.task("long", "main", full, 3600).await;
    bed.state("short", "Succeeded").await;
    bed.state("long", "Succeeded").await;
    let before = bed.read("long").await;
    tokio::time::sleep(Duration::from_millis(1500)).await;
    assert!(bed.read("short").await.is_object());
    bed.gone("short").await;
    assert_eq!(bed.read("long").await, before);
}
