//! As long as no fact changes, no status does.

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use super::*;
use crate::api::Time;

fn an_answer(ordinal: u64) -> impl Strategy<Value = Answer> {
    let leader = prop_oneof![Just(0xa0), Just(0xa1), Just(0)];
    let status = (leader, 1..3_u64, any::<bool>(), any::<bool>());
    let status = status.prop_map(move |(leader, term, ready, learner)| {
        Answer::Status(Status {
            leader: MemberId(leader),
            term,
            learner,
            ready: if ready { Ok(()) } else { Err("no".to_owned()) },
            ..answer(ordinal)
        })
    });
    prop_oneof![Just(Answer::Silent("no".to_owned())), status]
}

fn a_lease() -> impl Strategy<Value = Option<MemberLease>> {
    let holder = prop_oneof![
        Just(None),
        "a[0-9]:c[12]:(Leader|Member|King)".prop_map(Some),
        "a[0-9]:(Leader|Member)".prop_map(Some),
        "[a:]{0,4}".prop_map(Some),
    ];
    let lease = (holder, option::of(-500..500_i64));
    option::of(lease.prop_map(|(holder, renewed)| MemberLease {
        holder,
        renewed: renewed.map(at),
    }))
}

fn a_pod() -> impl Strategy<Value = Option<Pod>> {
    let pod = (option::of("r[12]"), any::<bool>());
    option::of(pod.prop_map(|(revision, containers_ready)| Pod {
        revision,
        containers_ready,
    }))
}

fn a_set() -> impl Strategy<Value = Sought<StatefulSet>> {
    let set = (0..2_i64, 0..4_u16, 0..4_u16, 0..4_u16, "r[12]");
    let set = set.prop_map(
        |(observed_generation, wanted, existing, ready, update_revision)| {
            Sought::Found(StatefulSet {
                generation: 1,
                observed_generation,
                wanted,
                existing,
                ready,
                update_revision,
                good_revisions: BTreeSet::new(),
            })
        },
    );
    prop_oneof![
        4 => set,
        1 => Just(Sought::Missing),
        1 => Just(Sought::Unknown("no".to_owned())),
    ]
}

fn some_backup() -> impl Strategy<Value = Option<Backup>> {
    let lease = || {
        option::of(
            (-500..500_i64, option::of(-500..500_i64)).prop_map(|(created, renewed)| {
                SnapshotLease {
                    created: at(created),
                    renewed: renewed.map(at),
                }
            }),
        )
    };
    let backup = (option::of(0..100_i64), lease(), lease());
    option::of(backup.prop_map(|(period, full, delta)| {
        let plan = BackupPlan {
            delta_period: period.map(secs),
            schedule: None,
            timeout: secs(-86_400),
        };
        Backup::new(&plan, full, delta)
    }))
}

fn some_conditions() -> impl Strategy<Value = Vec<Condition>> {
    let condition = (
        "Ready|BackupReady|AllMembersReady|Foreign",
        "True|False|Unknown",
        "Quorate|QuorumLost|NoLeader|NotChecked|QuorumNotFormed|Other",
        -20..20_i64,
    );
    let condition = condition.prop_map(|(kind, status, reason, second)| Condition {
        kind,
        status,
        reason,
        message: "m".to_owned(),
        last_transition_time: Time::seconds(at(second)),
        last_update_time: Time::seconds(at(second)),
    });
    vec(condition, 0..4)
}

prop_compose! {
    fn any_facts()(
        replicas in 0..4_u16,
        backup in some_backup(),
        leases in vec(a_lease(), 3),
        set in a_set(),
        pods in vec(a_pod(), 3),
        answers in option::of((an_answer(0), an_answer(1), an_answer(2))),
        conditions in some_conditions(),
        told in option::of(1..3_i64),
    ) -> Facts {
        let named = |ordinal: usize| format!("e-{ordinal}");
        let leases = leases.into_iter().enumerate();
        let pods = pods.into_iter().enumerate();
        Facts {
            replicas,
            backup,
            leases: leases.filter_map(|(it, lease)| Some((MemberName(named(it)), lease?))).collect(),
            stateful_set: set,
            pods: pods.filter_map(|(it, pod)| Some((named(it), pod?))).collect(),
            live: answers.map(|(a, b, c)| live([a, b, c])),
            previous: EtcdStatus {
                conditions: Some(conditions),
                observed_generation: told,
                ..EtcdStatus::default()
            },
            ..facts()
        }
    }
}

/// The members and what is said, without times.
fn said(status: &EtcdStatus) -> EtcdStatus {
    let mut status = status.clone();
    for member in status.members.iter_mut().flatten() {
        member.last_transition_time = Time(String::new());
    }
    for condition in status.conditions.iter_mut().flatten() {
        condition.last_transition_time = Time(String::new());
        condition.last_update_time = Time(String::new());
    }
    status
}

fn statuses(status: &EtcdStatus) -> BTreeMap<String, (String, Time)> {
    let members = status.members.iter().flatten().map(|it: &EtcdMember| {
        let said = (it.status.clone(), it.last_transition_time.clone());
        (format!("member {}", it.name), said)
    });
    let conditions = status.conditions.iter().flatten().map(|it| {
        let said = (it.status.clone(), it.last_transition_time.clone());
        (it.kind.clone(), said)
    });
    members.chain(conditions).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn a_status_holds_until_the_moment_that_it_names(facts in any_facts(), wait in 0..1000_i64) {
        let told = status(&facts, at(0));
        let facts = Facts { previous: told.status.clone(), ..facts };
        let again = status(&facts, at(0));
        prop_assert_eq!(&again.status, &told.status);
        let later = at(wait);
        if again.next_change.is_none_or(|next| later < next) {
            prop_assert_eq!(&status(&facts, later).status, &told.status);
        }
        if let Some(next) = again.next_change {
            prop_assert!(next > at(0));
        }
    }

    #[test]
    fn a_time_of_transition_is_that_of_another_status(facts in any_facts(), wait in 0..1000_i64) {
        let before = status(&facts, at(0)).status;
        let facts = Facts { previous: before.clone(), ..facts };
        let after = status(&facts, at(wait)).status;
        let before = statuses(&before);
        for (what, (status, time)) in statuses(&after) {
            match before.get(&what) {
                Some((same, since)) if *same == status => prop_assert_eq!(&time, since),
                Some(_) | None => prop_assert_eq!(&time, &Time::seconds(at(wait))),
            }
        }
    }

    #[test]
    fn a_renewed_lease_changes_nothing_while_it_is_fresh(
        facts in any_facts(),
        renewals in vec(0..40_i64, 3),
    ) {
        let mut facts = facts;
        for lease in facts.leases.values_mut() {
            lease.renewed = lease.renewed.map(|_| at(0));
        }
        facts.backup = None;
        let told = status(&facts, at(1)).status;
        facts.previous = told.clone();
        // An election is known to last.
        let election = find(&told, Kind::Ready).is_some_and(|it| it.reason == "NoLeader");
        for (lease, renewal) in facts.leases.values_mut().zip(renewals) {
            lease.renewed = lease.renewed.map(|_| at(renewal));
        }
        let again = status(&facts, at(41)).status;
        prop_assert_eq!(election || again == told, true, "{:?}", again);
    }

    #[test]
    fn what_was_said_before_does_not_change_what_leases_say(
        facts in any_facts(),
        conditions in some_conditions(),
    ) {
        let facts = Facts { live: None, ..facts };
        prop_assume!(facts.replicas > 0);
        let other = EtcdStatus { conditions: Some(conditions), ..facts.previous.clone() };
        let other = Facts { previous: other, ..facts.clone() };
        let [mut one, mut two] = [&facts, &other].map(|facts| said(&status(facts, at(0)).status));
        for it in [&mut one, &mut two] {
            let all = it.conditions.iter_mut().flatten();
            for ready in all.filter(|it| it.kind == "Foreign" || it.reason == "QuorumNotFormed") {
                ready.reason = "QuorumLost".to_owned();
                ready.status = "False".to_owned();
                ready.message = "The majority of ETCD members is not ready".to_owned();
            }
            it.conditions.iter_mut().for_each(|all| all.retain(|it| it.kind != "Foreign"));
        }
        prop_assert_eq!(one, two);
    }
}
