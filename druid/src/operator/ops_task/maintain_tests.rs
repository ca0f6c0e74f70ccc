//! Maintenance of genuine members.

use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use druid_core::observed::{AlarmKind, Answered, Hashes};
use druid_core::ops_task::Reach;

use super::*;
use crate::etcd::tests::common::{Cluster as Members, Release};
use crate::etcd::{Keys, RangeOptions};
use crate::observe;

const D: Duration = Duration::from_secs(10);
const BOTH: Maintenance = Maintenance {
    compact: Some(Reach::Covered),
    defragment: true,
};

/// Members that stay where they are.
struct Fixed(Vec<(MemberName, Client)>);

impl Fixed {
    fn of(cluster: &Members) -> Self {
        let client = |url: &str| Client::new(url.parse().unwrap(), None).unwrap();
        let named = cluster.nodes.iter();
        Self(
            named
                .map(|it| (it.name.as_str().into(), client(&it.client_url)))
                .collect(),
        )
    }
}

impl Place for Fixed {
    async fn look(&mut self) -> Result<(Vec<(MemberName, Client)>, Etcd), Trouble> {
        Ok((self.0.clone(), observe::etcd(&self.0, D).await))
    }
}

/// The steps that were told, each once.
async fn maintained(
    place: Fixed,
    wanted: &Maintenance,
    result: TaskResult,
    patience: Duration,
) -> (Result<(), Trouble>, TaskResult, Vec<String>) {
    let told = RefCell::new(Vec::new());
    let mut work = Work {
        place,
        wanted,
        backups: Backups::None,
        result,
        by: Instant::now() + Duration::from_mins(2),
        patience,
        tell: |progress: Progress| told.borrow_mut().push(progress.step),
    };
    let done = work.run().await;
    let result = work.result;
    let mut told = told.into_inner();
    told.dedup();
    (done, result, told)
}

async fn fill(client: &Client, pieces: u32) -> i64 {
    let value = vec![b'x'; 100 << 10];
    let mut last = 0;
    for i in 0..pieces {
        let key = format!("k{}", i % 4);
        last = client.put(key.as_bytes(), &value, None, D).await.unwrap();
    }
    last
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_members_give_back_what_was_compacted_while_writes_go_on() {
    let patient = ["--heartbeat-interval=100", "--election-timeout=5000"].map(str::to_owned);
    let releases = [Release::V3_4_34, Release::V3_5_27, Release::V3_5_27];
    let cluster = Members::start_with(&releases, "http", &patient);
    cluster.await_cluster_version("3.4");
    let members = Fixed::of(&cluster).0;
    fill(&members[0].1, 200).await;
    let before = observe::etcd(&members, D).await;
    let leader = before.leader().unwrap().clone();

    let ends = Arc::new(AtomicBool::new(false));
    let (writes, stop) = (members[1].1.clone(), Arc::clone(&ends));
    let writer = tokio::spawn(async move {
        let mut written = 0_u32;
        while !stop.load(Ordering::Relaxed) {
            // What is on its way while the leader hands over is lost: etcd says so after seconds.
            let put = writes.put(b"w", b"1", None, D).await;
            written += u32::from(put.is_ok());
        }
        written
    });
    let (done, result, told) =
        maintained(Fixed::of(&cluster), &BOTH, TaskResult::default(), D).await;
    ends.store(true, Ordering::Relaxed);
    assert_eq!(done, Ok(()));
    assert!(writer.await.unwrap() > 0);

    let revision = result.compacted_revision.unwrap();
    let done = result.members.clone().unwrap();
    assert_eq!(done.len(), 3, "{done:?}");
    assert_eq!(
        done[2].name, leader.0,
        "the leader was not the last: {told:?}"
    );
    let heir = &done[0].name;
    assert_eq!(
        told,
        [
            format!("Compacts the history up to revision {revision}"),
            format!("Defragments member {heir}"),
            format!("Defragments member {}", done[1].name),
            format!("Hands the leadership over from {leader} to {heir}"),
            format!("Defragments member {leader}"),
        ]
    );
    for member in &done {
        assert!(
            member.bytes_before > 20 << 20 && member.bytes_after < 4 << 20,
            "{member:?}"
        );
    }
    let sums = done.iter().map(|it| it.bytes_before - it.bytes_after);
    assert_eq!(result.reclaimed_bytes, Some(sums.sum()));

    let after = observe::etcd(&members, D).await;
    assert_eq!(after.leader().unwrap().0, *heir);
    let terms = |etcd: &Etcd| etcd.answers().map(|(_, it)| it.term).max().unwrap();
    assert_eq!(terms(&after), terms(&before) + 1, "more than one election");
    assert!(
        matches!(
            observe::hashes(&members, &after, D).await,
            Hashes::Equal { .. }
        ),
        "their data differs"
    );
    let early = RangeOptions {
        revision: revision - 1,
        ..RangeOptions::default()
    };
    let early = members[0].1.range(Keys::One(b"k0"), early, D).await;
    let compacted = early.is_err_and(|it| matches!(it.kind, Kind::Compacted(_)));
    assert!(compacted, "the history is still there");
}

#[tokio::test]
async fn an_attempt_goes_on_where_the_one_before_it_ended() {
    let cluster = Members::start(&[Release::V3_5_27; 3]);
    let members = Fixed::of(&cluster).0;
    let last = fill(&members[0].1, 8).await;
    let seen = observe::etcd(&members, D).await;
    let leader = seen.leader().unwrap().clone();
    let mut result = TaskResult::default();
    result.compacted(last);
    for (name, _) in members.iter().filter(|(name, _)| *name != leader) {
        result.defragmented(name, 2, 1);
    }
    let (done, result, told) = maintained(Fixed::of(&cluster), &BOTH, result, D).await;
    assert_eq!(done, Ok(()));
    assert_eq!(told.len(), 2, "{told:?}");
    assert_eq!(told[1], format!("Defragments member {leader}"));
    assert_eq!(result.members.unwrap().len(), 3);
}

#[tokio::test]
async fn a_cluster_without_space_is_one_that_writes_again() {
    let quota = ["--quota-backend-bytes=16777216".to_owned()];
    let cluster = Members::start_with(&[Release::V3_4_34; 3], "http", &quota);
    let members = Fixed::of(&cluster).0;
    let value = vec![b'x'; 100 << 10];
    while members[0].1.put(b"k", &value, None, D).await.is_ok() {}
    let seen = observe::etcd(&members, D).await;
    assert!(seen.has_alarm(AlarmKind::NoSpace));

    let (done, result, told) =
        maintained(Fixed::of(&cluster), &BOTH, TaskResult::default(), D).await;
    assert_eq!(done, Ok(()), "{told:?}");
    assert!(result.cleared_alarms.is_some(), "{told:?}");
    assert_eq!(told.last().unwrap(), "Clears the alarm NOSPACE");
    let seen = observe::etcd(&members, D).await;
    assert_eq!(seen.alarms, Answered::Known(Vec::new()));
    members[0].1.put(b"k", &value, None, D).await.unwrap();
}

#[tokio::test]
async fn nobody_is_touched_while_a_member_is_away() {
    let mut cluster = Members::start(&[Release::V3_4_34; 3]);
    fill(&Fixed::of(&cluster).0[0].1, 4).await;
    cluster.nodes[2].stop();
    let patience = Duration::from_secs(2);
    let (done, result, told) =
        maintained(Fixed::of(&cluster), &BOTH, TaskResult::default(), patience).await;
    assert!(
        matches!(&done, Err(Trouble::Unwell(why)) if why.starts_with("m2")),
        "{done:?}"
    );
    assert_eq!((result, told), (TaskResult::default(), Vec::new()));

    // It comes back while it is waited for.
    let place = Fixed::of(&cluster);
    let returns = tokio::task::spawn_blocking(move || {
        cluster.restart(2, Release::V3_4_34);
        cluster
    });
    let waiting = maintained(place, &BOTH, TaskResult::default(), 3 * D);
    let ((done, ..), _cluster) = tokio::join!(waiting, returns);
    assert_eq!(done, Ok(()));
}
