use k8s_openapi::api::coordination::v1::Lease;

use super::*;

#[test]
fn few_events_are_left_alone_many_are_compacted_and_too_many_are_snapshotted() {
    let (why, until) = Case::new(99).why();
    assert_eq!(
        why,
        "99 events since the last full snapshot, 100 make a compaction"
    );
    assert_eq!(until, None, "an idle Etcd is looked at again by time alone");
    assert_eq!(Case::new(100).act(), Act::MakeJob { events: 100 });
    assert_eq!(Case::new(299).act(), Act::MakeJob { events: 299 });
    assert_eq!(Case::new(300).act(), Act::TakeFullSnapshot);
}

#[test]
fn the_thresholds_of_an_etcd_go_before_those_of_the_operator() {
    let own = json!({ "eventsThreshold": 10, "triggerFullSnapshotThreshold": 20 });
    let own = with(&etcd(), "/spec/backup/snapshotCompaction", own);
    assert!(Case::of(own.clone(), 9).why().0.contains("10 make"));
    assert_eq!(Case::of(own.clone(), 10).act(), Act::MakeJob { events: 10 });
    assert_eq!(Case::of(own, 20).act(), Act::TakeFullSnapshot);
    for none in [0, -5] {
        let odd = json!({ "eventsThreshold": none, "triggerFullSnapshotThreshold": none });
        let odd = with(&etcd(), "/spec/backup/snapshotCompaction", odd);
        assert!(Case::of(odd.clone(), 0).why().0.contains("100 make"));
        assert_eq!(Case::of(odd, 300).act(), Act::TakeFullSnapshot);
    }
}

#[test]
fn a_backlog_that_leases_do_not_tell_is_waited_for() {
    let says = |full: Revision, delta: Revision| {
        let mut case = Case::new(0);
        (case.backlog.full, case.backlog.delta) = (full, delta);
        case.why()
    };
    for (full, delta, why) in [
        (
            Revision::None,
            Revision::At(500),
            "lease main-full-snap tells of no full snapshot yet",
        ),
        (
            Revision::Odd("x".to_owned()),
            Revision::At(500),
            "lease main-full-snap is held by \"x\", which is no revision",
        ),
        (
            Revision::At(1),
            Revision::Odd("-4".to_owned()),
            "lease main-delta-snap is held by \"-4\", which is no revision",
        ),
        (
            Revision::At(500),
            Revision::None,
            "0 events since the last full snapshot, 100 make a compaction",
        ),
        // The full one is newer.
        (
            Revision::At(500),
            Revision::At(100),
            "0 events since the last full snapshot, 100 make a compaction",
        ),
    ] {
        assert_eq!(says(full, delta), (why.to_owned(), None));
    }
    let lease = |spec: Value| -> Lease { serde_json::from_value(json!({ "spec": spec })).unwrap() };
    for (spec, revision) in [
        (json!({}), Revision::None),
        (json!({ "holderIdentity": "42" }), Revision::At(42)),
        (
            json!({ "holderIdentity": "4.2" }),
            Revision::Odd("4.2".to_owned()),
        ),
    ] {
        assert_eq!(Revision::of(&lease(spec)), revision);
    }
}

#[test]
fn one_thing_is_done_at_a_time() {
    let job = |job: JobSeen| Case {
        job,
        ..Case::new(1000)
    };
    assert_eq!(job(runs()).why(), ("the Job runs".to_owned(), None));
    assert_eq!(job(JobSeen::Leaves).why().0, "the Job is being deleted");
    let foreign = "the Job under that name is somebody else's";
    assert_eq!(job(JobSeen::Foreign).why().0, foreign);
    assert_eq!(job(JobSeen::OfTask).why().0, "the Job of a task runs");
    let asked = Case {
        work: Work::Asked,
        ..Case::new(1000)
    };
    let why = "the leading sidecar was asked for a full snapshot";
    assert_eq!(asked.why(), (why.to_owned(), None));
}

#[test]
fn the_job_of_a_task_that_is_over_makes_room_when_there_is_need() {
    let left = |events| Case {
        job: left(),
        ..Case::new(events)
    };
    assert!(left(99).why().0.contains("events since"));
    assert_eq!(left(100).act(), delete());
    assert_eq!(left(1000).act(), Act::TakeFullSnapshot, "that needs no Job");
    let busy = Case {
        task: Some("t"),
        ..left(100)
    };
    assert_eq!(busy.why().0, "task t is under way");
}

#[test]
fn nothing_begins_while_others_work_on_the_etcd() {
    let soon = Some(at(30));
    for phase in ["Rolling", "PuttingBack"] {
        let rolling = with(&etcd(), "/status", json!({ "upgrade": { "phase": phase } }));
        let why = Case::of(rolling, 100).why();
        assert_eq!(why, ("an upgrade restarts members".to_owned(), soon));
    }
    let task = |events| Case {
        task: Some("t"),
        ..Case::new(events)
    };
    for events in [100, 300] {
        assert_eq!(task(events).why(), ("task t is under way".to_owned(), soon));
    }
    assert_eq!(task(99).why().1, None, "nothing is due");
}

#[test]
fn a_hibernated_etcd_is_compacted_and_not_asked_for_a_snapshot() {
    let none = with(&etcd(), "/spec/replicas", json!(0));
    assert_eq!(
        Case::of(none.clone(), 100).act(),
        Act::MakeJob { events: 100 }
    );
    let (why, until) = Case::of(none, 300).why();
    assert!(why.contains("no members"), "{why}");
    assert_eq!(until, None);
}

#[test]
fn the_job_of_an_etcd_that_goes_or_has_no_backups_is_deleted() {
    let gone = with(
        &etcd(),
        "/metadata/deletionTimestamp",
        json!("2026-11-24T10:00:00Z"),
    );
    let bare = with(&etcd(), "/spec/backup", json!({}));
    let annotation = "druid.gardener.cloud/disable-etcd-runtime-component-creation";
    let alone = with(&etcd(), "/metadata/annotations", json!({ annotation: "" }));
    for etcd in [gone, bare, alone] {
        for (job, deleted) in [
            (runs(), true),
            (over(None), true),
            (JobSeen::None, false),
            (JobSeen::Foreign, false),
            (JobSeen::OfTask, false),
            (left(), false),
            (JobSeen::Leaves, false),
        ] {
            let case = Case {
                job,
                ..Case::of(etcd.clone(), 1000)
            };
            if deleted {
                assert_eq!(case.act(), delete());
            } else {
                assert_eq!(case.why().1, None);
            }
        }
    }
    let unusable = with(&etcd(), "/spec/backup/store/provider", json!("Sieve"));
    let case = Case {
        job: runs(),
        ..Case::of(unusable, 1000)
    };
    assert!(case.why().0.contains("Sieve"), "{:?}", case.why());
}

#[test]
fn what_a_job_has_come_to_is_told_and_then_it_is_deleted() {
    let failure = Some(Failure::ProcessFailure);
    let before = after("False", "ProcessFailure", 0, 0);
    for etcd in [etcd(), before] {
        let case = Case {
            job: over(failure),
            task: Some("t"),
            ..Case::of(etcd, 1000)
        };
        let told = Act::ConcludeJob {
            conclusion: Conclusion::Job(outcome(failure)),
            uid: "j".to_owned(),
        };
        assert_eq!(case.act(), told);
    }
}

#[test]
fn a_failure_is_repeated_later_and_later() {
    let failed = |since, updated, now: i64| Case {
        now: at(now),
        ..Case::of(after("False", "ProcessFailure", since, updated), 100)
    };
    let again = Act::MakeJob { events: 100 };
    for (since, updated, wait) in [
        (0, 0, 10),
        (0, 15, 15),
        (0, 600, 600),
        (0, 100_000, 30 * 60),
    ] {
        let (why, until) = failed(since, updated, updated).why();
        assert!(why.contains("repeated later"), "{why}");
        assert_eq!(until, Some(at(updated + wait)));
        assert_eq!(failed(since, updated, updated + wait).act(), again);
    }
    // Told by a clock that was wrong.
    assert_eq!(failed(0, 100_000, 0).act(), again);
}

#[test]
fn after_a_deadline_a_full_snapshot_is_taken_at_once_and_again_until_there_is_one() {
    let failed = |reason: &str, events, now: i64| Case {
        now: at(now),
        ..Case::of(after("False", reason, 0, 0), events)
    };
    for events in [0, 100, 300] {
        assert_eq!(
            failed("DeadlineExceeded", events, 0).act(),
            Act::TakeFullSnapshot
        );
        let repeated = |now| failed("ErrorTriggeringFullSnapshot", events, now);
        assert_eq!(repeated(0).why().1, Some(at(10)));
        assert_eq!(repeated(10).act(), Act::TakeFullSnapshot);
    }
    // Too many for a Job since that failed.
    assert_eq!(
        failed("ProcessFailure", 300, 0).act(),
        Act::TakeFullSnapshot
    );
    assert!(failed("Unknown", 99, 0).why().0.contains("99 events"));
}

#[test]
fn leases_have_time_to_tell_of_a_success() {
    let done = |reason: &str, now: i64| Case {
        now: at(now),
        ..Case::of(after("True", reason, -9000, 0), 300)
    };
    for reason in ["None", "FullSnapshotTakenSuccessfully"] {
        let (why, until) = done(reason, 0).why();
        assert!(why.contains("not told yet"), "{why}");
        assert_eq!(until, Some(at(300)));
        assert_eq!(done(reason, 300).act(), Act::TakeFullSnapshot);
    }
}

#[test]
fn the_answer_of_a_sidecar_is_told() {
    let case = Case {
        work: Work::Answered(Ok(snapshot())),
        ..Case::new(1000)
    };
    let told = Act::Conclude(Conclusion::FullSnapshot(Ok(snapshot())));
    assert_eq!(case.act(), told);
}
