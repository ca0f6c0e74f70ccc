use std::time::{Duration, Instant};

use serde_json::json;

use super::bed::Bed;
use super::scripted::{Does, Scripted};

#[tokio::test(flavor = "multi_thread")]
async fn tasks_of_one_etcd_run_one_after_the_other_in_the_order_they_came() {
    let bed = Bed::new("fifo").await;
    let sidecar = Scripted::new(&[Does::Takes(Duration::from_secs(1))]).await;
    bed.etcd("main", sidecar.port).await;
    let _operator = bed.operator();
    let names = ["a", "b", "c"];
    for name in names {
        bed.snapshot(name, "main", json!({ "type": "full" })).await;
    }
    let second = bed.state("b", "Pending").await;
    let text = second["lastOperation"]["description"].as_str().unwrap();
    assert!(text.starts_with("Waits behind EtcdOpsTask a,"), "{text}");
    let third = bed.state("c", "Pending").await;
    let text = third["lastOperation"]["description"].as_str().unwrap();
    assert!(text.starts_with("Waits behind EtcdOpsTask b,"), "{text}");
    let mut began = Vec::new();
    for name in names {
        let status = bed.state(name, "Succeeded").await;
        began.push(status["startedAt"].as_str().unwrap().to_owned());
        assert_eq!(status.get("lastErrors"), None);
    }
    assert!(began.is_sorted(), "{began:?}");
    assert_eq!((sidecar.posts(), sidecar.at_once()), (3, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_is_deleted_while_it_waits_lets_the_next_one_pass() {
    let bed = Bed::new("leaves").await;
    let sidecar = Scripted::new(&[Does::Takes(Duration::from_secs(2))]).await;
    bed.etcd("main", sidecar.port).await;
    let _operator = bed.operator();
    for name in ["a", "b", "c"] {
        bed.snapshot(name, "main", json!({ "type": "full" })).await;
    }
    bed.state("b", "Pending").await;
    bed.state("c", "Pending").await;
    bed.delete("b").await;
    bed.gone("b").await;
    bed.when("c", |it| {
        let text = it["status"]["lastOperation"]["description"]
            .as_str()
            .unwrap();
        text.starts_with("Waits behind EtcdOpsTask a,")
    })
    .await;
    bed.state("c", "Succeeded").await;
    assert_eq!((sidecar.posts(), sidecar.at_once()), (2, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_snapshots_of_many_etcds_do_not_wait_for_each_other_nor_hold_up_others() {
    let mut bed = Bed::new("many").await;
    bed.workers = 1;
    let slow = Scripted::new(&[Does::Takes(Duration::from_secs(5))]).await;
    let quick = Scripted::new(&[Does::Takes(Duration::ZERO)]).await;
    let etcds: Vec<String> = (0..12).map(|it| format!("slow{it}")).collect();
    for etcd in &etcds {
        bed.etcd(etcd, slow.port).await;
    }
    bed.etcd("quick", quick.port).await;
    let _operator = bed.operator();
    for etcd in &etcds {
        bed.snapshot(etcd, etcd, json!({ "type": "full" })).await;
    }
    for etcd in &etcds {
        bed.state(etcd, "InProgress").await;
    }
    let began = Instant::now();
    bed.snapshot("quick", "quick", json!({ "type": "full" }))
        .await;
    bed.state("quick", "Succeeded").await;
    assert!(
        began.elapsed() < Duration::from_secs(3),
        "{:?}",
        began.elapsed()
    );
    for etcd in &etcds {
        bed.state(etcd, "Succeeded").await;
    }
    assert!(
        began.elapsed() < Duration::from_secs(12),
        "{:?}",
        began.elapsed()
    );
    assert_eq!(slow.posts(), 12);
    assert!(slow.at_once() > 8, "{}", slow.at_once());
}
