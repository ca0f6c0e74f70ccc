use std::time::Instant;

use druid_core::member::MemberId;
use nix::sys::signal::Signal;

use super::*;

use crate::etcd::tests::common::{Cluster, Release};

const D: Duration = Duration::from_secs(2);

fn members(cluster: &Cluster) -> Vec<(MemberName, Client)> {
    let client = |url: &str| Client::new(url.parse().unwrap(), None).unwrap();
    let nodes = cluster.nodes.iter();
    nodes
        .map(|node| (node.name.as_str().into(), client(&node.client_url)))
        .collect()
}

#[tokio::test]
async fn the_same_data_is_never_called_different_across_releases_and_compactions() {
    let mut cluster = Cluster::start(&[Release::V3_4_34; 3]);
    cluster.nodes[2].stop();
    cluster.restart(2, Release::V3_5_27);
    let members = members(&cluster);
    for i in 0..20u8 {
        members[0]
            .1
            .put(&[b'k', i % 3], &[i], None, D)
            .await
            .unwrap();
    }
    let (_, head) = members[0].1.get(b"k", true, D).await.unwrap();
    members[0].1.compact(head, true, D).await.unwrap();

    let seen = etcd(&members, D).await;
    let at_the_compaction = hashes(&members, &seen, D).await;
    assert!(
        !matches!(at_the_compaction, Hashes::Different { .. }),
        "{at_the_compaction:?}"
    );

    for (name, _) in &members {
        let looked = member(name, &members, D).await;
        let Looked::Member {
            name: looked_at,
            write,
            hashes,
        } = looked
        else {
            panic!("{looked:?}");
        };
        assert_eq!((&looked_at, write), (name, Answered::Known(())));
        assert!(
            matches!(hashes, Hashes::Equal { revision, .. } if revision > head),
            "{hashes:?}"
        );
    }

    let (kept, _) = members[0]
        .1
        .get(PROBE_KEY.as_bytes(), true, D)
        .await
        .unwrap();
    assert_eq!(kept.unwrap().version, 3);
}

#[tokio::test]
async fn a_member_that_hangs_costs_its_deadline_and_hides_nothing() {
    let cluster = Cluster::start(&[Release::V3_5_27; 3]);
    let members = members(&cluster);
    let seen = survey(&members, D).await;
    assert_eq!(seen.etcd.answers().count(), 3);
    assert_eq!(seen.etcd.alarms, Answered::Known(Vec::new()));
    assert!(
        seen.listed
            .iter()
            .all(|member| member.id != MemberId::NOBODY)
    );

    let leader = seen.etcd.leader().unwrap().clone();
    let hung = members
        .iter()
        .position(|(name, _)| *name != leader)
        .unwrap();
    cluster.nodes[hung].signal(Signal::SIGSTOP);
    let started = Instant::now();
    let seen = survey(&members, D).await;
    assert!(
        started.elapsed() < D + Duration::from_millis(500),
        "{:?}",
        started.elapsed()
    );
    assert_eq!(seen.etcd.answers().count(), 2);
    assert!(
        matches!(&seen.etcd.members[&members[hung].0], Answer::Silent(why) if why.contains("no answer"))
    );
    assert!(matches!(&seen.etcd.membership, Answered::Known(listed) if listed.len() == 3));

    let started = Instant::now();
    let deep = deep(&members, &seen, D, true).await;
    assert!(started.elapsed() < D * 2, "{:?}", started.elapsed());
    assert!(matches!(deep.hashes, Hashes::Unknown(why) if why.contains(&members[hung].0.0)));
    assert_eq!(deep.write, Some(Answered::Known(())));
    assert_eq!(deep.downgrade.len(), 2);
    assert!(deep.terms.0 > 0 && deep.terms.0 == deep.terms.1);

    let other = (0..3).find(|i| *i != hung).unwrap();
    cluster.nodes[other].signal(Signal::SIGSTOP);
    let started = Instant::now();
    let seen = etcd(&members, D).await;
    assert!(started.elapsed() < D * 3, "{:?}", started.elapsed());
    assert!(matches!(seen.membership, Answered::Unknown(_)));
    assert!(matches!(seen.alarms, Answered::Unknown(_)));
}

#[tokio::test]
async fn observing_is_cheap_enough_for_ten_times_a_second() {
    let cluster = Cluster::start(&[Release::V3_4_34; 3]);
    let members = members(&cluster);
    etcd(&members, D).await;
    let started = Instant::now();
    for _ in 0..20 {
        assert_eq!(etcd(&members, D).await.answers().count(), 3);
    }
    eprintln!("one observation took {:?}", started.elapsed() / 20);
    assert!(started.elapsed() / 20 < Duration::from_millis(100));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_busy_cluster_can_be_compared_and_is_not_called_behind() {
    use druid_core::preflight::{Ask, Verdict, judge};
    // A disk that stalls for half a second would cost the leader his place, and an upgrade is
    // rightly refused then. Here it is the load alone that must not lead to a refusal.
    let patient = ["--heartbeat-interval=100", "--election-timeout=10000"].map(str::to_owned);
    let cluster = Cluster::start_with(&[Release::V3_4_34; 3], "http", &patient);
    cluster.await_cluster_version("3.4");
    let members = members(&cluster);
    let mut writers = JoinSet::new();
    for writer in 0..6u8 {
        let client = members[usize::from(writer) % 3].1.clone();
        writers.spawn(async move {
            loop {
                let _ = client.put(&[b'w', writer], &[0; 512], None, D).await;
            }
        });
    }
    let ask = Ask {
        to: Version::new(3, 5, 27),
        config: None,
        allowed_mixed: None,
    };
    let deadline = 5 * D;
    let mut busy = 0;
    for _ in 0..20 {
        let seen = survey(&members, deadline).await;
        let before = seen.etcd.revision();
        let deep = deep(&members, &seen, deadline, false).await;
        let found = judge(&ask, &seen.etcd, &deep);
        assert_eq!(found.verdict(), Verdict::Allowed, "{found:?}");
        let after = etcd(&members, deadline).await.revision();
        eprintln!("{} writes in a second", after - before);
        busy += usize::from(after > before + 50);
        if busy == 3 {
            return;
        }
    }
    panic!("it was busy only {busy} times");
}
