//! A bucket of S3 that keeps versions and locks them, on a real server.

use std::num::NonZeroUsize;
use std::time::Duration;

use druid_core::backup::leftovers::Parts;
use druid_core::backup::names::Prefix;
use druid_core::backup::retention::{Fulls, Policy};
use jiff::{SignedDuration, Timestamp, Unit};

use super::test_servers::S3Server;
use super::tests::{body, noise, s3};
use super::{ErrorKind, Store};
use crate::backup::collect::collect;
use crate::clock;

const OLD: &str = "p/v2/Full-00000000-00000010-1700000000.gz";
const NEW: &str = "p/v2/Full-00000000-00000020-1700000100.gz";

async fn put(store: &dyn Store, key: &str, seed: u64) {
    store
        .put(key, body(&noise(1000, seed), true))
        .await
        .unwrap();
}

fn retention(until: Timestamp) -> String {
    format!(
        "<Retention><Mode>GOVERNANCE</Mode><RetainUntilDate>{until:.0}</RetainUntilDate></Retention>"
    )
}

#[tokio::test]
async fn what_is_locked_is_read_as_it_was_first_written() {
    let server = S3Server::start_locked();
    let store = s3(&server, "p").store;
    put(&*store, OLD, 1).await;
    put(&*store, NEW, 2).await;
    let until = clock::now().round(Unit::Second).unwrap() + SignedDuration::from_hours(24);
    // This server locks objects by the rule of their bucket without saying so of each.
    for key in [OLD, NEW] {
        server.ask("PUT", key, "retention=", &[], &retention(until));
        let found = store.head(key).await.unwrap().unwrap();
        assert_eq!(found.immutable_until, Some(until));
    }
    let before = store.list("p/").await.unwrap();
    // Somebody who may write writes over one, and deletes the other and what was written over.
    server.ask("PUT", OLD, "", &[], "forged");
    server.ask("DELETE", OLD, "", &[], "");
    server.ask("DELETE", NEW, "", &[], "");

    let store = s3(&server, "p").store;
    assert_eq!(store.list("p/").await.unwrap(), before);
    for (key, seed) in [(OLD, 1), (NEW, 2)] {
        assert_eq!(store.get(key, 0..2000).await.unwrap(), noise(1000, seed));
        let found = store.head(key).await.unwrap().unwrap();
        assert_eq!(found.bytes, Some(1000));
        let error = store.delete(key).await.unwrap_err();
        assert!(matches!(error.kind, ErrorKind::Immutable(_)), "{error}");
    }
}

#[tokio::test]
async fn what_is_collected_goes_when_its_lock_ends_and_not_before() {
    let server = S3Server::start_locked();
    let store = s3(&server, "p").store;
    put(&*store, OLD, 1).await;
    put(&*store, NEW, 2).await;
    let prefix = Prefix::parse("p").unwrap();
    let policy = Policy {
        fulls: Fulls::LimitBased(NonZeroUsize::MIN),
        deltas: SignedDuration::ZERO,
    };
    let round = async || {
        let now = clock::now();
        collect(&*store, &prefix, &policy, Parts::Copied, now)
            .await
            .unwrap()
    };
    let locked = round().await;
    assert_eq!(
        (locked.immutable, locked.deleted.len()),
        (1, 0),
        "{locked:?}"
    );
    assert_eq!((locked.failed.len(), &locked.error), (0, &None));

    let until = clock::now() + SignedDuration::from_secs(2);
    let bypass = [("x-amz-bypass-governance-retention", "true")];
    server.ask("PUT", OLD, "retention=", &bypass, &retention(until));
    tokio::time::sleep(Duration::from_secs(3)).await;
    let free = round().await;
    assert_eq!(
        (free.immutable, free.deleted.values().sum::<u64>()),
        (0, 1),
        "{free:?}"
    );
    // It is gone, not hidden: another client that reads versions finds none.
    let left = s3(&server, "p").store.list("p/").await.unwrap();
    assert_eq!(
        left.iter().map(|it| it.key.as_str()).collect::<Vec<_>>(),
        [NEW]
    );
}
