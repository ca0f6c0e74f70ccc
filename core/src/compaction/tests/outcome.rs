use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;

use super::*;
use crate::api::EtcdStatus;

/// What the condition says of conclusions that come second by second.
fn told(conclusions: &[Conclusion]) -> Vec<(String, String, String, i64)> {
    let mut status = EtcdStatus::default();
    let told = conclusions.iter().zip(1..).map(|(conclusion, second)| {
        put(&mut status, conclusion, &identity(), at(second));
        let all = status.conditions.clone().unwrap();
        assert_eq!(all.len(), 1);
        let it = all.into_iter().next().unwrap();
        assert_eq!(it.kind, "LastSnapshotCompactionSucceeded");
        assert_eq!(it.last_update_time.at(), Some(at(second)));
        let notice = conclusion.notice(&identity());
        assert_eq!(notice.warning, it.status == "False");
        assert_eq!(notice.note, it.message);
        let since = it.last_transition_time.at().unwrap();
        let since = since.as_second() - at(0).as_second();
        (it.status, it.reason, it.message, since)
    });
    told.collect()
}

#[test]
fn the_condition_says_what_etcd_druid_says() {
    let unreached = Trouble::Unreached("no route".to_owned());
    let of = |state: &str, failure| {
        Conclusion::Job(Outcome {
            state: state.to_owned(),
            ..outcome(failure)
        })
    };
    let told = told(&[
        of("CompletionsReached", None),
        Conclusion::FullSnapshot(Ok(snapshot())),
        of("BackoffLimitExceeded", Some(Failure::ProcessFailure)),
        Conclusion::FullSnapshot(Err(unreached.clone())),
        Conclusion::NotMade(Trouble::JobUnmade("no Secret".to_owned())),
    ]);
    let job = "Compaction job n/main-compactor";
    let expected = [
        (
            "True",
            "None",
            format!("{job} completed with state CompletionsReached"),
            1,
        ),
        (
            "True",
            "FullSnapshotTakenSuccessfully",
            "Full snapshot taken successfully for etcd n/main".to_owned(),
            1,
        ),
        (
            "False",
            "ProcessFailure",
            format!("{job} completed with state BackoffLimitExceeded, Compaction will be retried"),
            3,
        ),
        (
            "False",
            "ErrorTriggeringFullSnapshot",
            format!(
                "Error while triggering full snapshot for etcd n/main: {unreached} ,Compaction \
                 will be retried"
            ),
            3,
        ),
        (
            "False",
            "JobNotMade",
            format!(
                "{job} was not made: the Job cannot be made: no Secret, Compaction will be retried"
            ),
            3,
        ),
    ]
    .map(|(status, reason, message, since)| (status.to_owned(), reason.to_owned(), message, since));
    assert_eq!(told, expected);
}

#[test]
fn other_conditions_stay_in_their_order() {
    let mut status: EtcdStatus = serde_json::from_value(json!({ "conditions": [
        { "type": "Ready", "status": "True", "reason": "r", "message": "m",
          "lastTransitionTime": "then", "lastUpdateTime": "then" },
        { "type": "BackupReady", "status": "True", "reason": "r", "message": "m",
          "lastTransitionTime": "then", "lastUpdateTime": "then" },
    ] }))
    .unwrap();
    put(
        &mut status,
        &Conclusion::Job(outcome(None)),
        &identity(),
        at(0),
    );
    let kinds: Vec<_> = status
        .conditions
        .iter()
        .flatten()
        .map(|it| &*it.kind)
        .collect();
    assert_eq!(
        kinds,
        ["BackupReady", "LastSnapshotCompactionSucceeded", "Ready"]
    );
}

fn job(owner: &str, status: &Value) -> Job {
    let owner = json!({ "apiVersion": "v", "kind": "Etcd", "name": "main", "uid": owner });
    serde_json::from_value(json!({
        "metadata": { "name": "main-compactor", "uid": "j", "ownerReferences": [owner],
            "creationTimestamp": at(0).to_string() },
        "status": status,
    }))
    .unwrap()
}

fn failed_with(reason: &str) -> Value {
    json!({ "startTime": at(0).to_string(), "conditions": [
        { "type": "FailureTarget", "status": "True", "reason": reason },
        { "type": "Failed", "status": "True", "reason": reason,
          "lastTransitionTime": at(90).to_string() },
    ] })
}

fn pod(owner: &str, status: &Value) -> Pod {
    let owner = json!({ "apiVersion": "v", "kind": "Job", "name": "main-compactor", "uid": owner });
    let object = json!({ "metadata": { "ownerReferences": [owner] }, "status": status });
    serde_json::from_value(object).unwrap()
}

#[test]
fn why_a_job_failed_is_found_in_its_pod() {
    let disrupted = |reason: &str| json!({ "conditions": [{ "type": "DisruptionTarget", "status": "True", "reason": reason }] });
    let exited = |code: i32| {
        json!({ "containerStatuses": [{ "name": "c", "image": "i", "imageID": "i", "ready": false,
            "restartCount": 0, "state": { "terminated": { "exitCode": code } } }] })
    };
    for (pods, failure) in [
        (
            vec![pod("j", &disrupted("PreemptionByScheduler"))],
            Failure::PreemptionByScheduler,
        ),
        (
            vec![pod("j", &disrupted("DeletionByTaintManager"))],
            Failure::DeletionByTaintManager,
        ),
        (
            vec![pod("j", &disrupted("EvictionByEvictionAPI"))],
            Failure::EvictionByEvictionApi,
        ),
        (
            vec![pod("j", &disrupted("TerminationByKubelet"))],
            Failure::TerminationByKubelet,
        ),
        (
            vec![pod("j", &disrupted("DeletionByPodGC"))],
            Failure::Unknown,
        ),
        (vec![pod("j", &exited(1))], Failure::ProcessFailure),
        (vec![pod("j", &exited(0))], Failure::Unknown),
        (vec![pod("other", &exited(1))], Failure::Unknown),
        (vec![], Failure::Unknown),
    ] {
        let seen = JobSeen::of(&job("e", &failed_with("BackoffLimitExceeded")), "e", &pods);
        let outcome = Outcome {
            state: "BackoffLimitExceeded".to_owned(),
            failure: Some(failure),
            took: Some(std::time::Duration::from_secs(90)),
        };
        let uid = "j".to_owned();
        assert_eq!(seen, JobSeen::Ended { uid, outcome });
    }
    let late = JobSeen::of(&job("e", &failed_with("DeadlineExceeded")), "e", &[]);
    assert!(
        matches!(&late, JobSeen::Ended { outcome, .. } if outcome.failure == Some(Failure::DeadlineExceeded)),
        "{late:?}"
    );
}

#[test]
fn a_job_is_its_own_runs_leaves_or_is_done() {
    let complete = json!({ "conditions": [{ "type": "Complete", "status": "True", "reason": "R",
        "lastTransitionTime": at(5).to_string() }] });
    assert_eq!(
        JobSeen::of(&job("e", &json!({ "active": 1 })), "e", &[]),
        runs()
    );
    assert_eq!(JobSeen::of(&job("e", &json!({})), "e", &[]), runs());
    assert_eq!(
        JobSeen::of(&job("t", &complete), "e", &[]),
        JobSeen::Foreign
    );
    let mut of_task = job("t", &complete);
    let owner = &mut of_task.metadata.owner_references.as_mut().unwrap()[0];
    owner.api_version = crate::api::names::API_VERSION.to_owned();
    owner.kind = "EtcdOpsTask".to_owned();
    assert_eq!(JobSeen::of(&of_task, "e", &[]), left());
    of_task.status = None;
    assert_eq!(JobSeen::of(&of_task, "e", &[]), JobSeen::OfTask);
    let done = JobSeen::of(&job("e", &complete), "e", &[]);
    assert!(
        matches!(&done, JobSeen::Ended { outcome, .. } if outcome.failure.is_none()),
        "{done:?}"
    );
    let mut leaves = job("e", &complete);
    leaves.metadata.deletion_timestamp = leaves.metadata.creation_timestamp.clone();
    assert_eq!(JobSeen::of(&leaves, "e", &[]), JobSeen::Leaves);
}
