use std::time::{Duration, Instant};

use serde_json::json;

use super::bed::{Bed, codes};
use super::scripted::{Does, Scripted};
use super::sidecar::Sidecar;
use crate::etcd::tests::common::free_ports;

#[tokio::test(flavor = "multi_thread")]
async fn a_sidecar_that_is_down_is_tried_a_few_times_and_then_the_task_fails() {
    let bed = Bed::new("down").await;
    bed.etcd("main", free_ports(1)[0]).await;
    let _operator = bed.operator();
    bed.snapshot("t", "main", json!({ "type": "full" })).await;
    let status = bed.state("t", "Failed").await;
    assert_eq!(status["failedAttempts"], 4);
    assert_eq!(codes(&status), ["ERR_EXECUTE_HTTP_REQUEST"; 3]);
    let text = status["lastErrors"][2]["description"].as_str().unwrap();
    assert!(
        text.contains("refused") && text.contains("backup-restore"),
        "{text}"
    );
    let operation = &status["lastOperation"];
    assert_eq!(operation["description"], "Failed to execute HTTP request");
    let events = bed.events("t", "Failed").await;
    assert_eq!(
        events.last().unwrap(),
        &("Warning".to_owned(), "Failed".to_owned())
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sidecar_that_comes_back_in_time_takes_the_snapshot() {
    let mut bed = Bed::new("back").await;
    bed.limits.attempts = 30;
    let mut sidecar = Sidecar::plain(&[]).await;
    bed.etcd("main", sidecar.port).await;
    sidecar.stop();
    let _operator = bed.operator();
    bed.snapshot("t", "main", json!({ "type": "full" })).await;
    bed.when("t", |it| it["status"]["failedAttempts"].as_i64() >= Some(2))
        .await;
    let fulls = sidecar.fulls().len();
    sidecar.run();
    let status = bed.state("t", "Succeeded").await;
    let name = status["result"]["snapshot"]["name"].as_str().unwrap();
    // One at most: the sidecar may have taken one of its own at its start.
    assert!(sidecar.fulls().len() <= fulls + 2, "{:?}", sidecar.fulls());
    assert!(sidecar.fulls().iter().any(|it| it == name));
    assert!(
        codes(&status)
            .iter()
            .all(|it| *it == "ERR_EXECUTE_HTTP_REQUEST" || *it == "ERR_CREATE_SNAPSHOT")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sidecar_that_says_no_is_believed_and_one_that_nobody_leads_is_asked_again() {
    let bed = Bed::new("no").await;
    let no = Scripted::new(&[Does::Says(500, "no space left")]).await;
    let leaderless = Scripted::new(&[
        Does::Says(405, "nobody leads"),
        Does::Says(503, ""),
        Does::Takes(Duration::ZERO),
    ])
    .await;
    let odd = Scripted::new(&[Does::Says(200, "<html>")]).await;
    bed.etcd("no", no.port).await;
    bed.etcd("leaderless", leaderless.port).await;
    bed.etcd("odd", odd.port).await;
    let _operator = bed.operator();
    for name in ["no", "leaderless", "odd"] {
        bed.snapshot(name, name, json!({ "type": "full" })).await;
    }
    let status = bed.state("no", "Failed").await;
    assert_eq!(codes(&status), ["ERR_CREATE_SNAPSHOT"]);
    let text = status["lastErrors"][0]["description"].as_str().unwrap();
    assert!(text.contains("status code: 500 (no space left)"), "{text}");
    assert_eq!(no.asked(), ["POST /snapshot/full"]);

    let status = bed.state("leaderless", "Succeeded").await;
    assert_eq!(codes(&status), ["ERR_CREATE_SNAPSHOT"; 2]);
    assert_eq!(leaderless.posts(), 3);

    let status = bed.state("odd", "Failed").await;
    assert_eq!(codes(&status), ["ERR_CREATE_SNAPSHOT"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_real_sidecar_that_cannot_write_makes_the_task_fail() {
    let bed = Bed::new("unwritable").await;
    let sidecar = Sidecar::plain(&[]).await;
    bed.etcd("main", sidecar.port).await;
    // A file where the directory was.
    let store = sidecar.store();
    std::fs::rename(&store, store.with_extension("away")).unwrap();
    std::fs::write(&store, "").unwrap();
    let _operator = bed.operator();
    bed.snapshot("t", "main", json!({ "type": "full" })).await;
    let status = bed.state("t", "Failed").await;
    assert_eq!(codes(&status), ["ERR_CREATE_SNAPSHOT"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sidecar_that_never_answers_costs_the_task_its_time_and_no_more() {
    let bed = Bed::new("hangs").await;
    let hangs = Scripted::new(&[Does::Hangs]).await;
    bed.etcd("main", hangs.port).await;
    let _operator = bed.operator();
    let delta = json!({ "type": "delta", "timeoutSecondsDelta": 10 });
    let began = Instant::now();
    bed.snapshot("t", "main", delta).await;
    bed.state("t", "InProgress").await;
    let status = bed.state("t", "Failed").await;
    assert_eq!(codes(&status), ["ERR_EXECUTE_HTTP_REQUEST"]);
    let text = status["lastErrors"][0]["description"].as_str().unwrap();
    assert!(text.contains("not done within 10 s"), "{text}");
    let took = began.elapsed();
    assert!(
        took > Duration::from_secs(8) && took < Duration::from_secs(13),
        "{took:?}"
    );
    assert_eq!((hangs.posts(), hangs.under_way()), (1, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_with_the_etcd_rejects_the_task_before_the_sidecar_is_asked() {
    let bed = Bed::new("unfit").await;
    let sidecar = Scripted::new(&[Does::Takes(Duration::ZERO)]).await;
    bed.etcd("unready", sidecar.port).await;
    bed.ready("unready", "False").await;
    bed.etcd_with("bare", sidecar.port, json!({})).await;
    let _operator = bed.operator();
    for (etcd, code) in [
        ("absent", "ERR_GET_ETCD"),
        ("unready", "ERR_ETCD_NOT_READY"),
        ("bare", "ERR_BACKUP_NOT_ENABLED"),
    ] {
        bed.snapshot(etcd, etcd, json!({ "type": "full" })).await;
        let status = bed.state(etcd, "Rejected").await;
        assert_eq!(codes(&status), [code]);
        let events = bed.events(etcd, "Rejected").await;
        assert_eq!(events, [("Warning".to_owned(), "Rejected".to_owned())]);
    }
    assert_eq!(sidecar.asked(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_etcd_that_fails_while_its_sidecar_is_away_fails_the_task_with_both_reasons() {
    let mut bed = Bed::new("outage").await;
    bed.limits.attempts = 100;
    bed.etcd("main", free_ports(1)[0]).await;
    let _operator = bed.operator();
    bed.snapshot("t", "main", json!({ "type": "full" })).await;
    bed.when("t", |it| it["status"]["failedAttempts"].as_i64() >= Some(2))
        .await;
    bed.ready("main", "False").await;
    let status = bed.state("t", "Failed").await;
    let last = [
        "ERR_EXECUTE_HTTP_REQUEST",
        "ERR_EXECUTE_HTTP_REQUEST",
        "ERR_ETCD_NOT_READY",
    ];
    assert_eq!(codes(&status), last);
    assert_eq!(status["lastOperation"]["description"], "Etcd is not ready");
}
