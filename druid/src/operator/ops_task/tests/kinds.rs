use serde_json::json;

use super::bed::{Bed, codes};
use super::scripted::{Does, Scripted};

#[tokio::test(flavor = "multi_thread")]
async fn a_task_of_an_unknown_kind_is_rejected_and_deleted_and_holds_up_nobody() {
    let bed = Bed::new("unknown").await;
    let sidecar = Scripted::new(&[Does::Takes(std::time::Duration::ZERO)]).await;
    bed.etcd("main", sidecar.port).await;
    // Nobody looks yet.
    bed.task("new", "main", json!({ "levitation": {} }), 3600)
        .await;
    bed.task("gone", "main", json!({ "levitation": {} }), 3600)
        .await;
    bed.task(
        "later",
        "main",
        json!({ "recoverFromQuorumLoss": {} }),
        3600,
    )
    .await;
    bed.snapshot("known", "main", json!({ "type": "full" }))
        .await;
    let _operator = bed.operator();
    for name in ["new", "gone", "later"] {
        let status = bed.state(name, "Rejected").await;
        assert_eq!(codes(&status), ["ERR_UNSUPPORTED_CONFIG"]);
    }
    bed.state("known", "Succeeded").await;
    let task = bed.read("gone").await;
    assert_eq!(
        task["metadata"]["finalizers"],
        json!(["druid.gardener.cloud/etcd-ops-task"])
    );
    bed.delete("gone").await;
    bed.gone("gone").await;
}
