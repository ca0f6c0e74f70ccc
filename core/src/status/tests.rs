use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};

use super::*;
use crate::api::{Condition, EtcdMember};
use crate::member::{MemberId, MemberName};
use crate::observed::{Answer, Answered, Etcd, Listed, Status};
use crate::version::{Minor, Version};

mod backups;
mod lasting;
mod live;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + second).unwrap()
}

fn secs(seconds: i64) -> SignedDuration {
    SignedDuration::from_secs(seconds)
}

/// Three members, registered at second 0, all well.
fn facts() -> Facts {
    let pod = || Pod {
        revision: Some("r1".to_owned()),
        containers_ready: true,
    };
    let lease = |ordinal: i64| MemberLease {
        holder: Some(format!(
            "a{ordinal}:c1:{}",
            if ordinal == 0 { "Leader" } else { "Member" }
        )),
        renewed: Some(at(0)),
    };
    Facts {
        namespace: "n".to_owned(),
        name: "e".to_owned(),
        generation: 1,
        replicas: 3,
        member_prefix: None,
        runtime_components: true,
        backup: None,
        leases: (0..3)
            .map(|it| (MemberName(format!("e-{it}")), lease(it)))
            .collect(),
        stateful_set: Sought::Found(StatefulSet {
            generation: 1,
            observed_generation: 1,
            wanted: 3,
            existing: 3,
            ready: 3,
            update_revision: "r1".to_owned(),
            good_revisions: BTreeSet::new(),
        }),
        pods: (0..3).map(|it| (format!("e-{it}"), pod())).collect(),
        claims: Sought::Missing,
        live: None,
        thresholds: Thresholds::default(),
        previous: EtcdStatus {
            observed_generation: Some(1),
            ..EtcdStatus::default()
        },
    }
}

fn set(facts: &mut Facts) -> &mut StatefulSet {
    match &mut facts.stateful_set {
        Sought::Found(set) => set,
        Sought::Missing | Sought::Unknown(_) => panic!("there is one"),
    }
}

fn answer(ordinal: u64) -> Status {
    Status {
        id: MemberId(0xa0 + ordinal),
        version: Version::new(3, 4, 34),
        cluster_version: Some(Minor::new(3, 4)),
        leader: MemberId(0xa0),
        term: 2,
        raft_index: 9,
        raft_applied_index: 9,
        revision: 5,
        db_size: 1,
        db_size_in_use: 1,
        quota: None,
        learner: false,
        ready: Ok(()),
        errors: Vec::new(),
    }
}

/// What they answer: how each one is.
fn live(answers: [Answer; 3]) -> Etcd {
    let serves = answers.iter().filter_map(Answer::status).any(serves);
    let listed = |ordinal: u64| Listed {
        id: MemberId(0xa0 + ordinal),
        name: MemberName(format!("e-{ordinal}")),
        learner: false,
    };
    Etcd {
        members: answers
            .into_iter()
            .zip(0..)
            .map(|(answer, it)| (MemberName(format!("e-{it}")), answer))
            .collect(),
        membership: if serves {
            Answered::Known((0..3).map(listed).collect())
        } else {
            Answered::Unknown("nobody".to_owned())
        },
        alarms: Answered::Unknown("nobody".to_owned()),
    }
}

fn condition(status: &EtcdStatus, kind: Kind) -> (&str, &str) {
    let condition = find(status, kind).unwrap();
    (&condition.status, &condition.reason)
}

fn reasons(status: &EtcdStatus) -> Vec<(&str, &str)> {
    let members = status.members.iter().flatten();
    members
        .map(|it| (it.status.as_str(), it.reason.as_str()))
        .collect()
}

#[test]
fn a_lease_runs_out_in_two_steps_and_the_pod_says_what_the_first_means() {
    let mut facts = facts();
    facts.pods.get_mut("e-1").unwrap().containers_ready = false;
    facts.pods.remove("e-2");
    let fresh = ("Ready", "LeaseSucceeded");
    let told = status(&facts, at(59));
    assert_eq!(reasons(&told.status), [fresh; 3]);
    assert_eq!(told.next_change, Some(at(60)));
    let told = status(&facts, at(60));
    let containers = ("NotReady", "ContainersNotReady");
    let expected = [("Unknown", "LeaseExpired"), containers, containers];
    assert_eq!(reasons(&told.status), expected);
    assert_eq!(told.next_change, Some(at(360)));
    let told = status(&facts, at(360));
    let gone = ("NotReady", "UnknownGracePeriodExceeded");
    assert_eq!(reasons(&told.status), [gone; 3]);
    assert_eq!(
        (told.next_change, next_change(&facts, at(360))),
        (None, None)
    );
}

#[test]
fn a_quorum_is_one_of_all_members_that_there_are_to_be() {
    for (registered, down, all_ready, ready) in [
        (3, 0, "AllMembersReady", ("True", "Quorate")),
        (2, 0, "NotAllMembersReady", ("True", "Quorate")),
        (3, 1, "NotAllMembersReady", ("True", "Quorate")),
        (
            1,
            0,
            "NotAllMembersReady",
            ("Unknown", "TooFewMembersInStatus"),
        ),
        (
            2,
            1,
            "NotAllMembersReady",
            ("Unknown", "TooFewMembersInStatus"),
        ),
        (2, 2, "NotAllMembersReady", ("False", "QuorumLost")),
        (3, 2, "NotAllMembersReady", ("False", "QuorumLost")),
        (
            1,
            1,
            "NotAllMembersReady",
            ("Unknown", "TooFewMembersInStatus"),
        ),
        (0, 0, "NoMembersInStatus", ("Unknown", "NoMembersInStatus")),
    ] {
        let mut facts = facts();
        for (lease, ordinal) in facts.leases.values_mut().zip(0..) {
            if ordinal >= registered {
                *lease = MemberLease::default();
            } else if ordinal < down {
                lease.renewed = Some(at(-1000));
            }
        }
        let status = status(&facts, at(0)).status;
        let what = format!("{registered} {down}");
        assert_eq!(condition(&status, Kind::Ready), ready, "{what}");
        assert_eq!(
            condition(&status, Kind::AllMembersReady).1,
            all_ready,
            "{what}"
        );
    }
}

type Change<'a> = &'a dyn Fn(&mut Facts);

#[test]
fn pods_are_updated_if_their_own_revision_says_so() {
    let of = |change: Change<'_>| {
        let mut facts = facts();
        change(&mut facts);
        let status = status(&facts, at(0)).status;
        let counters = [
            status.current_replicas,
            status.replicas,
            status.ready_replicas,
        ];
        let counters = counters.map(|it| it.map_or(0, |it| it.0));
        let updated = condition(&status, Kind::AllMembersUpdated);
        (updated.1.to_owned(), status.ready, counters)
    };
    let updated = "AllMembersUpdated".to_owned();
    let not = "NotAllMembersUpdated".to_owned();
    let cases: [(Change<'_>, _); 7] = [
        (&|_| {}, (updated.clone(), Some(true), [3, 3, 3])),
        (
            &|facts| set(facts).update_revision = "r2".to_owned(),
            (not.clone(), Some(false), [0, 3, 3]),
        ),
        (
            &|facts| {
                set(facts).update_revision = "r2".to_owned();
                set(facts).good_revisions.insert("r1".to_owned());
            },
            (updated.clone(), Some(true), [3, 3, 3]),
        ),
        (
            &|facts| set(facts).observed_generation = 0,
            (not.clone(), Some(false), [3, 3, 3]),
        ),
        (
            &|facts| set(facts).ready = 2,
            (updated, Some(false), [3, 3, 2]),
        ),
        (
            &|facts| drop(facts.pods.remove("e-2")),
            (not, Some(false), [2, 3, 3]),
        ),
        (
            &|facts| facts.stateful_set = Sought::Missing,
            ("StatefulSetNotFound".to_owned(), Some(false), [0, 0, 0]),
        ),
    ];
    for (change, expected) in cases {
        assert_eq!(of(change), expected);
    }
    // A scale-out that the StatefulSet has not been told of.
    let mut facts = facts();
    facts.replicas = 5;
    facts.generation = 2;
    let told = status(&facts, at(0)).status;
    assert_eq!(told.ready, Some(true));
    assert_eq!(condition(&told, Kind::AllMembersUpdated).0, "False");
    facts.stateful_set = Sought::Unknown("no connection".to_owned());
    facts.previous = told;
    let told = status(&facts, at(0)).status;
    assert_eq!((told.ready, told.replicas), (Some(true), Some(3.into())));
    let updated = find(&told, Kind::AllMembersUpdated).unwrap();
    assert_eq!(updated.reason, "UnableToFetchStatefulSet");
    assert_eq!(updated.message, "no connection");
}

#[test]
fn warnings_about_volumes_do_not_say_something_new_each_time() {
    let mut facts = facts();
    let warn = |first, message: &str| ClaimWarning {
        source: "pvc".to_owned(),
        message: message.to_owned(),
        first: at(first),
    };
    let two = vec![warn(3, "c"), warn(1, "a"), warn(2, "b"), warn(9, "c")];
    let claims = [
        ("data-e-1".to_owned(), two),
        ("data-e-0".to_owned(), vec![warn(0, "x")]),
        ("data-e-2".to_owned(), Vec::new()),
    ];
    facts.claims = Sought::Found(claims.into_iter().collect());
    let status = status(&facts, at(0)).status;
    let volumes = find(&status, Kind::DataVolumesReady).unwrap();
    assert_eq!(
        volumes.message,
        "Warning for PVC n/data-e-0: -> Events:\n* pvc reported: x; \
         Warning for PVC n/data-e-1: -> Events:\n* pvc reported: c\n* pvc reported: b"
    );
    facts.claims = Sought::Unknown("no connection".to_owned());
    let status = super::status(&facts, at(0)).status;
    let expected = ("Unknown", "UnableToFetchWarningEventsForDataVolumes");
    assert_eq!(condition(&status, Kind::DataVolumesReady), expected);
}

#[test]
fn members_of_which_nobody_can_tell_do_not_count_for_the_cluster() {
    let mut facts = facts();
    let other = facts.leases.get_mut(&MemberName::from("e-2")).unwrap();
    other.holder = Some("a2:c2:Member".to_owned());
    let mismatch = |facts: &Facts| {
        let status = status(facts, at(60)).status;
        condition(&status, Kind::ClusterIdMismatch).1.to_owned()
    };
    assert_eq!(mismatch(&facts), "NoClusterIDDetected");
    for lease in facts.leases.values_mut() {
        lease.renewed = Some(at(1));
    }
    assert_eq!(mismatch(&facts), "MultipleClusterIDsDetected");
    facts
        .leases
        .get_mut(&MemberName::from("e-2"))
        .unwrap()
        .renewed = Some(at(0));
    assert_eq!(mismatch(&facts), "NoClusterIDMismatchDetected");
    facts.leases.remove(&MemberName::from("e-2"));
    assert_eq!(mismatch(&facts), "NoClusterIDMismatchDetected");
}

#[test]
fn names_of_members_have_the_prefix_and_names_of_pods_have_not() {
    let mut facts = facts();
    facts.member_prefix = Some("p".to_owned());
    facts.leases = std::mem::take(&mut facts.leases)
        .into_iter()
        .map(|(name, lease)| (MemberName(format!("p-{name}")), lease))
        .collect();
    let status = status(&facts, at(60)).status;
    assert_eq!(reasons(&status), [("Unknown", "LeaseExpired"); 3]);
    assert_eq!(status.members.unwrap()[1].name, "p-e-1");
}

#[test]
fn a_hibernated_cluster_keeps_what_was_said_and_when() {
    let mut facts = facts();
    let awake = status(&facts, at(0)).status;
    facts.previous = awake.clone();
    facts.replicas = 0;
    let asleep = status(&facts, at(500));
    assert_eq!(
        (asleep.status.members.as_ref(), asleep.next_change),
        (None, None)
    );
    assert_eq!(
        condition(&asleep.status, Kind::Ready),
        ("True", "NotChecked")
    );
    assert_eq!(find(&asleep.status, Kind::BackupReady), None);
    let times = |status: &EtcdStatus| -> Vec<_> {
        let all = status.conditions.clone().unwrap_or_default();
        all.into_iter().map(|it| it.last_transition_time).collect()
    };
    assert_eq!(times(&asleep.status), times(&awake));
    facts.previous = asleep.status.clone();
    assert_eq!(status(&facts, at(900)).status, asleep.status);
}

#[test]
fn a_woken_cluster_has_not_lost_its_quorum() {
    let mut facts = facts();
    facts.previous = status(&facts, at(0)).status;
    facts.replicas = 0;
    facts.previous = status(&facts, at(500)).status;
    facts.replicas = 3;
    // The leases are as they were before.
    let woken = status(&facts, at(1000)).status;
    assert_eq!(
        condition(&woken, Kind::Ready),
        ("Unknown", "QuorumNotFormed")
    );
    facts.previous = woken;
    let silent = || Answer::Silent("refused".to_owned());
    let mut lonely = answer(0);
    lonely.leader = MemberId::NOBODY;
    facts.live = Some(live([Answer::Status(lonely), silent(), silent()]));
    let woken = status(&facts, at(1001)).status;
    assert_eq!(
        condition(&woken, Kind::Ready),
        ("Unknown", "QuorumNotFormed")
    );
}

#[test]
fn without_runtime_components_nothing_is_said() {
    let mut facts = facts();
    facts.runtime_components = false;
    let told = status(&facts, at(1000));
    assert_eq!((told.status, told.next_change), (facts.previous, None));
}
