//! A bucket that fails in ways that a directory does not.

use std::sync::atomic::AtomicBool;

use super::*;
use crate::store::test_faults::{Act, Proxy};
use crate::store::test_servers::S3Server;

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_that_says_nothing_is_named_not_hammered_and_loses_nothing() {
    let (server, mute) = (S3Server::start(), Arc::new(AtomicBool::new(false)));
    let is_mute = Arc::clone(&mute);
    let proxy = Proxy::start(&server, move |_| {
        if is_mute.load(Ordering::SeqCst) {
            Act::Hang
        } else {
            Act::Pass
        }
    })
    .await;
    let location = proxy.location(&server, Duration::from_millis(200));
    let cluster = Cluster::start(&[Release::V3_5_27]);
    let etcd = Client::new(cluster.nodes[0].client_url.parse().unwrap(), None).unwrap();
    let root = tempfile::tempdir().unwrap();
    let mut options = options(root.path());
    options.prefix = location.prefix.clone();
    options.config.delta_limit = 4000;
    let (handle, task) = start(options, always(&etcd), Arc::clone(&location.store));
    handle.lead(Leadership::Led).await;
    let mut state = handle.state();
    let based = state.wait_for(|it| it.base.is_some());
    tokio::time::timeout(PATIENCE, based)
        .await
        .unwrap()
        .unwrap();

    mute.store(true, Ordering::SeqCst);
    for i in 0..150 {
        put(&etcd, &format!("k{i}"), &"x".repeat(100)).await;
    }
    let Answer::Refused(denial) = handle.delta(PATIENCE).await else {
        panic!("a delta without a store");
    };
    assert!(denial.to_string().contains("no answer"), "{denial}");
    let before = proxy.count(|_| true);
    let failing = state.wait_for(|it| matches!(it.health, Health::Failing { .. }));
    let failing = tokio::time::timeout(PATIENCE, failing)
        .await
        .unwrap()
        .unwrap();
    let says = failing.health.to_string();
    drop(failing);
    assert!(
        says.contains("no answer") && says.contains("Incr-"),
        "{says}"
    );
    tokio::time::sleep(Duration::from_secs(2)).await;
    // Three tries of 200 ms each time, and pauses of up to a second between.
    let tries = proxy.count(|_| true) - before;
    assert!((3..=16).contains(&tries), "{tries}");

    mute.store(false, Ordering::SeqCst);
    let last = put(&etcd, "last", "x").await;
    let healthy = state.wait_for(|it| it.health.is_good());
    tokio::time::timeout(PATIENCE, healthy)
        .await
        .unwrap()
        .unwrap();
    handle.stop(PATIENCE).await;
    tokio::time::timeout(PATIENCE, task).await.unwrap().unwrap();
    let chain = location.listing().await.unwrap().newest().unwrap();
    assert_eq!((chain.to.get(), chain.superfluous.len()), (last, 0));
    assert_eq!(chain.base.key.name.last(), Revision::FIRST);
}
