//! Garbage collection on a directory.

use std::num::NonZeroUsize;

use jiff::Timestamp;

use super::*;
use crate::backup::collect::{Counted, Round, collect};

const DAY: i64 = 86_400;

fn now() -> Timestamp {
    "2026-03-01T12:00:00Z".parse().unwrap()
}

/// Eight full snapshots a day apart, each with a delta.
fn store() -> (TempDir, Failing) {
    let root = tempfile::tempdir().unwrap();
    let directory = root.path().join("p/v2");
    std::fs::create_dir_all(&directory).unwrap();
    for day in 1..=8 {
        let time = now().as_second() - (8 - day) * DAY;
        let (last, next) = (day * 10, day * 10 + 1);
        let full = format!("Full-00000000-{last:08}-{time}.gz");
        std::fs::write(directory.join(full), b"x").unwrap();
        let delta = format!("Incr-{next:08}-{:08}-{}.gz", next + 1, time + 60);
        std::fs::write(directory.join(delta), b"x").unwrap();
    }
    let failing = Failing::new(Arc::new(Local::new(root.path().to_owned())));
    (root, failing)
}

async fn round(store: &Failing) -> Round {
    let policy = Policy {
        fulls: Fulls::LimitBased(NonZeroUsize::new(2).unwrap()),
        deltas: SignedDuration::ZERO,
    };
    let prefix = Prefix::parse("p").unwrap();
    collect(store, &prefix, &policy, Parts::Copied, now())
        .await
        .unwrap()
}

async fn left(store: &Failing) -> usize {
    store.list("p/").await.unwrap().len()
}

#[tokio::test]
async fn what_is_no_longer_kept_is_deleted_and_counted() {
    let (_root, store) = store();
    let deleted = round(&store).await;
    let counted = [(Counted::Full, 6), (Counted::Delta, 7)];
    assert_eq!(deleted.deleted, BTreeMap::from(counted));
    assert_eq!((deleted.error, left(&store).await), (None, 3));
    assert_eq!(round(&store).await, Round::default());
}

#[tokio::test]
async fn a_round_ends_after_five_errors_and_the_next_finds_the_rest() {
    let (_root, store) = store();
    store.deletions.store(-1, Ordering::SeqCst);
    let failed = round(&store).await;
    assert_eq!(failed.failed, BTreeMap::from([(Counted::Delta, 5)]));
    assert!(failed.error.is_some() && failed.deleted.is_empty());
    assert_eq!(store.deletions.load(Ordering::SeqCst), -6);
    store.deletions.store(4, Ordering::SeqCst);
    let some = round(&store).await;
    assert_eq!(some.failed, BTreeMap::from([(Counted::Delta, 4)]));
    assert_eq!(some.deleted.values().sum::<u64>(), 9);
    round(&store).await;
    assert_eq!(left(&store).await, 3);
}

#[tokio::test]
async fn what_is_immutable_is_passed_over() {
    let (_root, mut store) = store();
    store.immutable = Some(("Full-", now() + SignedDuration::from_secs(1)));
    let skipped = round(&store).await;
    assert_eq!((skipped.immutable, skipped.error.clone()), (6, None));
    assert_eq!(skipped.deleted, BTreeMap::from([(Counted::Delta, 7)]));
    store.immutable = Some(("Full-", now()));
    assert_eq!(round(&store).await.immutable, 0);
    assert_eq!(left(&store).await, 3);
}
