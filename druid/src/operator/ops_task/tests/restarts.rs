use std::time::Duration;

use druid_core::api::EtcdOpsTask;
use kube::api::{Patch, PatchParams};
use serde_json::json;

use super::bed::Bed;
use super::scripted::{Does, Scripted};
use super::sidecar::Sidecar;

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_that_was_taken_while_nobody_listened_is_found_and_not_repeated() {
    let bed = Bed::new("found").await;
    // The name of a snapshot has whole seconds: it must be of a later one than the task.
    let late = Does::TakesInSilence(Duration::from_millis(1100));
    let sidecar = Scripted::new(&[late, Does::Takes(Duration::ZERO)]).await;
    bed.etcd("main", sidecar.port).await;
    let operator = bed.operator();
    bed.snapshot("t", "main", json!({ "type": "full" })).await;
    while sidecar.newest().is_null() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(bed.read("t").await["status"]["state"], "InProgress");
    drop(operator);
    while sidecar.under_way() > 0 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let _operator = bed.operator();
    let status = bed.state("t", "Succeeded").await;
    let taken = &status["result"]["snapshot"]["name"];
    assert_eq!(taken, &sidecar.newest()["snapName"]);
    // Looking is free: what must not be repeated is the snapshot.
    let asked = sidecar.asked();
    let taken = asked.iter().filter(|it| *it == "POST /snapshot/full");
    assert_eq!(taken.count(), 1, "{asked:?}");
    assert_eq!(asked.last().unwrap(), "GET /snapshot/latest");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_that_dies_at_any_moment_leaves_a_task_that_the_next_one_ends() {
    let bed = Bed::new("dies").await;
    let sidecar = Sidecar::plain(&[]).await;
    bed.etcd("main", sidecar.port).await;
    for after in [0, 5, 10, 20, 30, 45, 60, 80, 110, 150] {
        sidecar.write(50).await;
        let name = format!("t{after}");
        let fulls = sidecar.fulls().len();
        let operator = bed.operator();
        bed.snapshot(&name, "main", json!({ "type": "full" })).await;
        tokio::time::sleep(Duration::from_millis(after)).await;
        drop(operator);
        let operator = bed.operator();
        let status = bed.state(&name, "Succeeded").await;
        let taken = status["result"]["snapshot"]["name"].as_str().unwrap();
        let now = sidecar.fulls();
        assert!(now.iter().any(|it| it == taken), "{taken} {now:?}");
        // Two if the first was taken within the second in which the task began.
        assert!(now.len() > fulls && now.len() <= fulls + 2, "{now:?}");
        drop(operator);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_that_others_write_to_all_the_time_ends_all_the_same() {
    let bed = Bed::new("disturbed").await;
    let sidecar = Scripted::new(&[Does::Takes(Duration::from_millis(700))]).await;
    bed.etcd("main", sidecar.port).await;
    let _operator = bed.operator();
    bed.snapshot("t", "main", json!({ "type": "full" })).await;
    let api = bed.api::<EtcdOpsTask>();
    let disturb = async {
        for number in 0.. {
            let patch = json!({ "metadata": { "annotations": { "n": number.to_string() } } });
            let (params, patch) = (PatchParams::default(), Patch::Merge(&patch));
            api.patch("t", &params, &patch).await.unwrap();
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::select! {
        () = disturb => {}
        _ = bed.state("t", "Succeeded") => {}
    }
    assert_eq!(sidecar.posts(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_that_is_deleted_on_the_way_gives_up_its_request_and_goes() {
    let bed = Bed::new("deleted").await;
    let sidecar = Scripted::new(&[Does::Hangs, Does::Takes(Duration::ZERO)]).await;
    bed.etcd("main", sidecar.port).await;
    let _operator = bed.operator();
    bed.snapshot("t", "main", json!({ "type": "full" })).await;
    bed.state("t", "InProgress").await;
    while sidecar.under_way() == 0 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    bed.delete("t").await;
    bed.gone("t").await;
    while sidecar.under_way() > 0 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    bed.events("t", "Cancelled").await;
    // Its turn is over.
    bed.snapshot("next", "main", json!({ "type": "full" }))
        .await;
    bed.state("next", "Succeeded").await;
}
