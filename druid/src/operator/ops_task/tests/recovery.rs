//! What of a recovery needs no members; the node tests recover some.

use std::collections::BTreeMap;

use druid_core::agent::recovery::{Instruction, Order};
use druid_core::api::{Etcd, EtcdOpsTask};
use druid_core::member::MemberName;
use druid_core::ops_task::Trouble;
use druid_core::render::owner_labels;
use k8s_openapi::api::coordination::v1::Lease;
use kube::api::{Patch, PatchParams, PostParams};
use serde_json::{Value, json};

use super::bed::{Bed, codes};
use crate::operator::etcds::Cluster;

const INSTRUCTION: &str = "druid.gardener.cloud/recovery";
const REPORT: &str = "druid.gardener.cloud/recovery-report";

async fn lease(bed: &Bed, name: &str, task: &str, order: &str) {
    let told = json!({ "task": task, "order": order }).to_string();
    let object = json!({ "metadata": {
        "name": name,
        "labels": owner_labels("main"),
        "annotations": { INSTRUCTION: told, "a.user/own": "x" },
    } });
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

#[tokio::test(flavor = "multi_thread")]
async fn of_two_operators_that_saw_the_same_one_tells_a_member_and_one_is_refused() {
    let bed = Bed::new("one-tells").await;
    bed.etcd("main", 1).await;
    lease(&bed, "main-0", "before", "Join").await;
    let named = || Cluster::named(bed.client.clone(), &bed.namespace, "main");
    let (mut first, mut second) = (named(), named());
    let seen = first.survivors().await.unwrap();
    let stale = second.survivors().await.unwrap();
    let tell = |task: &str, order| {
        let told = Instruction::new(task, order);
        BTreeMap::from([(MemberName("main-0".to_owned()), Some(told))])
    };
    let hold = tell("first", Order::Hold);
    first.tell(&seen, &hold).await.unwrap();
    let alone = second.tell(&stale, &tell("second", Order::Alone)).await;
    let Err(Trouble::Object { what, why }) = alone else {
        panic!("{alone:?}");
    };
    assert_eq!(what, "changing Lease main-0");
    assert!(why.contains("the object has been modified"), "{why}");
    let told = annotations(&bed, "main-0").await[INSTRUCTION].clone();
    let told: Value = serde_json::from_str(told.as_str().unwrap()).unwrap();
    assert_eq!(
        (&told["task"], &told["order"]),
        (&json!("first"), &json!("Hold"))
    );
    // Whoever looks again may.
    let seen = second.survivors().await.unwrap();
    second.tell(&seen, &hold).await.unwrap();
}

/// Three members of a recovery that has failed: one was told to begin alone, and nobody has heard of it.
async fn failed(bed: &Bed) -> String {
    bed.etcd("main", 1).await;
    let three = Patch::Merge(json!({ "spec": { "replicas": 3 } }));
    let params = PatchParams::default();
    let etcds = bed.api::<Etcd>();
    etcds.patch("main", &params, &three).await.unwrap();
    let recovery = json!({ "recoverFromQuorumLoss": {} });
    bed.task("recover", "main", recovery, 3600).await;
    let tasks = bed.api::<EtcdOpsTask>();
    let ours = json!({ "metadata": { "finalizers": ["druid.gardener.cloud/etcd-ops-task"] } });
    let ours = Patch::Merge(ours);
    tasks.patch("recover", &params, &ours).await.unwrap();
    let over = json!({ "status": {
        "state": "Failed", "lastTransitionTime": "2126-11-24T10:00:00Z",
        "startedAt": "2126-11-24T10:00:00Z",
    } });
    let over = Patch::Merge(over);
    tasks.patch_status("recover", &params, &over).await.unwrap();
    let uid = bed.read("recover").await["metadata"]["uid"].clone();
    let uid = uid.as_str().unwrap().to_owned();
    lease(bed, "main-0", &uid, "Hold").await;
    lease(bed, "main-1", &uid, "Alone").await;
    lease(bed, "main-2", &uid, "Hold").await;
    uid
}

async fn says(bed: &Bed, name: &str, report: Value) {
    let annotations = json!({ REPORT: report.to_string() });
    let patch = Patch::Merge(json!({ "metadata": { "annotations": annotations } }));
    let leases = bed.api::<Lease>();
    let params = PatchParams::default();
    leases.patch(name, &params, &patch).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_let_go_before_the_seed_says_that_it_has_not_begun() {
    let bed = Bed::new("wound-up").await;
    let uid = failed(&bed).await;
    let _operator = bed.operator();
    let waits = "waits for main-1 to say whether it has begun the cluster anew";
    bed.when("recover", |it| {
        let said = it["status"]["lastOperation"]["description"].as_str();
        said.is_some_and(|it| it.contains(waits))
    })
    .await;
    bed.delete("recover").await;
    let told = annotations(&bed, "main-1").await[INSTRUCTION].clone();
    let told: Value = serde_json::from_str(told.as_str().unwrap()).unwrap();
    let expected = json!({ "task": uid, "order": "Hold", "revokes": "Alone" });
    assert_eq!(told, expected);
    // What it had said before it was asked is no answer.
    let holds =
        json!({ "task": uid, "order": "Hold", "state": "holds", "data": { "is": "nothing" } });
    says(&bed, "main-1", holds.clone()).await;
    tokio::time::sleep(std::time::Duration::from_secs(3)).await;
    for held in ["main-0", "main-2"] {
        let all = annotations(&bed, held).await;
        assert!(!all[INSTRUCTION].is_null(), "{held}: {all}");
    }
    let mut answer = holds;
    answer["revokes"] = "Alone".into();
    says(&bed, "main-1", answer).await;
    bed.gone("recover").await;
    for free in ["main-0", "main-1", "main-2"] {
        let all = annotations(&bed, free).await;
        assert_eq!(all, json!({ "a.user/own": "x" }), "{free}");
    }
}
