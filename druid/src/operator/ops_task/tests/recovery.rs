//! What of a recovery needs no members; the node tests recover some.

use k8s_openapi::api::coordination::v1::Lease;
use kube::api::PostParams;
use serde_json::{Value, json};

use super::bed::{Bed, codes};

const INSTRUCTION: &str = "druid.gardener.cloud/recovery";

async fn lease(bed: &Bed, name: &str, task: &str, order: &str) {
    let told = json!({ "task": task, "order": order }).to_string();
    let object = json!({
        "metadata": { "name": name, "annotations": { INSTRUCTION: told, "a.user/own": "x" } },
    });
    let object: Lease = serde_json::from_value(object).unwrap();
    let api = bed.api::<Lease>();
    api.create(&PostParams::default(), &object).await.unwrap();
}

async fn annotations(bed: &Bed, name: &str) -> Value {
    let lease = bed.api::<Lease>().get(name).await.unwrap();
    json!(lease.metadata.annotations)
}

#[tokio::test(flavor = "multi_thread")]
async fn members_that_wait_for_a_task_that_goes_wait_no_longer() {
    let bed = Bed::new("released").await;
    let recovery = json!({ "recoverFromQuorumLoss": {} });
    bed.task("recover", "main", recovery, 3600).await;
    let _operator = bed.operator();
    let status = bed.state("recover", "Rejected").await;
    assert_eq!(codes(&status), ["ERR_UNSUPPORTED_CONFIG"]);
    let said = status["lastErrors"][0]["description"].as_str().unwrap();
    assert!(said.contains("confirm-recovery: \"true\""), "{said}");

    let uid = bed.read("recover").await["metadata"]["uid"].clone();
    let uid = uid.as_str().unwrap();
    lease(&bed, "main-0", uid, "Hold").await;
    lease(&bed, "main-1", uid, "Join").await;
    lease(&bed, "other-0", "of-another-task", "Hold").await;
    bed.delete("recover").await;
    bed.gone("recover").await;
    // The one that waits is released; whoever is to join still does, and another's task is not ours.
    assert_eq!(
        annotations(&bed, "main-0").await,
        json!({ "a.user/own": "x" })
    );
    for kept in ["main-1", "other-0"] {
        let all = annotations(&bed, kept).await;
        assert!(!all[INSTRUCTION].is_null(), "{kept}: {all}");
    }
}
