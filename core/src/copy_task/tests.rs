use k8s_openapi::api::core::v1::EnvVar;
use serde_json::{Value, json};

use super::*;
use crate::api::names::FINALIZER;
use crate::render::{HostPaths, Images, copy_job};

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + second).unwrap()
}

fn store(provider: &str, secret: Option<&str>) -> Value {
    let mut store = json!({ "container": "bucket", "prefix": "p", "provider": provider });
    if let Some(name) = secret {
        store["secretRef"] = json!({ "name": name });
    }
    store
}

fn task(source: &Value, target: &Value, status: &Value) -> EtcdCopyBackupsTask {
    serde_json::from_value(json!({
        "apiVersion": "druid.gardener.cloud/v1alpha1", "kind": "EtcdCopyBackupsTask",
        "metadata": { "name": "copy", "namespace": "n", "uid": "t", "generation": 3,
            "finalizers": ["other", FINALIZER] },
        "spec": { "sourceStore": source, "targetStore": target },
        "status": status,
    }))
    .unwrap()
}

fn local(status: &Value) -> EtcdCopyBackupsTask {
    let store = store("Local", None);
    task(&store, &store, status)
}

/// What is decided: the status, the reason that people are told, and what is done.
fn decided(
    task: &EtcdCopyBackupsTask,
    secrets: &[&str],
    job: &JobSeen,
) -> (Value, Option<&'static str>, String) {
    let wanted = CopySpec::parse(task);
    let secrets = secrets.iter().map(|it| (*it).to_owned()).collect();
    let seen = Observed {
        task,
        wanted: &wanted,
        secrets: &secrets,
        job,
    };
    let decision = decide(&seen, at(0));
    let act = decision.act.map_or_else(String::new, |act| match act {
        Act::MakeJob(spec) => format!("MakeJob {}", spec.job()),
        Act::AddFinalizer | Act::RemoveFinalizer | Act::DeleteJob(_) | Act::LookAgain => {
            format!("{act:?}")
        }
    });
    let status = serde_json::to_value(decision.status).unwrap();
    (status, decision.notice.map(|it| it.reason), act)
}

fn runs() -> JobSeen {
    JobSeen::Runs {
        uid: "j".to_owned(),
    }
}

fn over(complete: bool) -> JobSeen {
    JobSeen::Ended {
        uid: "j".to_owned(),
        how: Ended {
            complete,
            reason: "R".to_owned(),
            message: "m".to_owned(),
            at: None,
        },
    }
}

fn condition(kind: &str, second: i64) -> Value {
    let at = at(second).to_string();
    json!({ "type": kind, "status": "True", "reason": "R", "message": "m",
        "lastTransitionTime": at, "lastUpdateTime": at })
}

fn seen() -> Value {
    json!({ "observedGeneration": 3 })
}

#[test]
fn it_is_marked_then_its_job_is_made_and_what_that_says_is_mirrored() {
    let mut fresh = local(&Value::Null);
    fresh.metadata.finalizers = Some(vec!["other".to_owned()]);
    let marked = (Value::Null, None, "AddFinalizer".to_owned());
    assert_eq!(decided(&fresh, &[], &JobSeen::None), marked);
    let begun = decided(&local(&Value::Null), &[], &JobSeen::None);
    assert_eq!(begun, (seen(), None, "MakeJob copy-worker".to_owned()));
    let nothing = (Value::Null, None, String::new());
    assert_eq!(decided(&local(&seen()), &[], &runs()), nothing);
    for (complete, kind) in [(true, "Succeeded"), (false, "Failed")] {
        let status = json!({ "observedGeneration": 3, "conditions": [condition(kind, 0)] });
        let ended = decided(&local(&seen()), &[], &over(complete));
        assert_eq!(ended, (status, Some(kind), String::new()));
        // Told once, and the times stay.
        let told = json!({ "observedGeneration": 3, "conditions": [condition(kind, -9)] });
        assert_eq!(decided(&local(&told), &[], &over(complete)), nothing);
    }
}

#[test]
fn one_that_has_succeeded_is_over_and_one_that_failed_is_tried_again_once_its_job_is_gone() {
    let done = json!({ "observedGeneration": 3, "conditions": [condition("Succeeded", -9)] });
    let nothing = (Value::Null, None, String::new());
    for job in [JobSeen::None, JobSeen::Foreign, JobSeen::Leaves] {
        assert_eq!(decided(&local(&done), &[], &job), nothing);
    }
    // Another spec.
    let older = json!({ "observedGeneration": 2, "conditions": [condition("Succeeded", -9)] });
    let (_, _, act) = decided(&local(&older), &[], &JobSeen::None);
    assert_eq!(act, "MakeJob copy-worker");
    let failed = json!({ "observedGeneration": 3, "conditions": [condition("Failed", -9)] });
    let again = (Value::Null, None, "MakeJob copy-worker".to_owned());
    assert_eq!(decided(&local(&failed), &[], &JobSeen::None), again);
    let (status, _, _) = decided(&local(&failed), &[], &runs());
    assert_eq!(status, seen());
}

#[test]
fn a_missing_secret_of_any_provider_is_named_until_it_is_there() {
    for provider in ["S3", "ABS", "GCS", "Swift", "OSS", "OCS", "Local"] {
        let (source, target) = (store(provider, Some("from")), store(provider, Some("to")));
        let both = |status: &Value| task(&source, &target, status);
        let (status, told, act) = decided(&both(&Value::Null), &["from"], &JobSeen::None);
        assert_eq!((told, act.as_str()), (Some("NotStarted"), "LookAgain"));
        let error = status["lastError"].as_str().unwrap();
        let named = "Secret `to`, which spec.targetStore.secretRef.name names, is not there";
        assert!(error.contains(named), "{provider}: {error}");
        assert!(!error.contains("`from`"), "{error}");
        let again = (Value::Null, None, "LookAgain".to_owned());
        assert_eq!(decided(&both(&status), &["from"], &JobSeen::None), again);
        let there = decided(&both(&status), &["from", "to"], &JobSeen::None);
        assert_eq!(there, (seen(), None, "MakeJob copy-worker".to_owned()));
    }
}

#[test]
fn what_cannot_be_copied_is_told_and_waits_for_another_spec() {
    let good = store("Local", None);
    let mut bare = good.clone();
    bare.as_object_mut().unwrap().remove("container");
    for (source, part) in [
        (
            store("Sieve", None),
            "`Sieve`, which is no storage provider",
        ),
        (
            store("S3", None),
            "spec.sourceStore.secretRef.name names no Secret",
        ),
        (bare, "spec.sourceStore.container is missing"),
    ] {
        let (status, told, act) = decided(&task(&source, &good, &Value::Null), &[], &JobSeen::None);
        assert_eq!((told, act.as_str()), (Some("NotStarted"), ""));
        let error = status["lastError"].as_str().unwrap();
        assert!(error.contains(part), "{error}");
    }
}

#[test]
fn a_copy_has_the_credentials_of_ecs_of_one_secret() {
    let names = ["ECS_ENDPOINT", "ECS_ACCESS_KEY_ID", "ECS_SECRET_ACCESS_KEY"];
    let credentials = |source: &Value, target: &Value| {
        let wanted = CopySpec::parse(&task(source, target, &Value::Null)).unwrap();
        let images = ["e", "b", "i"].map(str::to_owned);
        let [etcd, backup_restore, init] = images;
        let images = Images {
            etcd,
            backup_restore,
            init,
        };
        let job = copy_job(&wanted, &images, &HostPaths::default()).unwrap();
        let pod = job.spec.unwrap().template.spec.unwrap();
        let env = pod.containers[0].env.clone().unwrap();
        let of = |it: &EnvVar| Some(it.value_from.clone()?.secret_key_ref?.name);
        let all = env.iter().filter_map(|it| Some((it.name.clone(), of(it)?)));
        all.collect::<Vec<_>>()
    };
    let (ecs, s3) = (store("ECS", Some("e")), store("S3", Some("s")));
    let expected = names.map(|it| (it.to_owned(), "e".to_owned()));
    for (source, target) in [(&ecs, &s3), (&s3, &ecs), (&ecs, &ecs)] {
        assert_eq!(credentials(source, target), expected);
    }
    assert_eq!(credentials(&s3, &s3), []);

    let two = task(&ecs, &store("ECS", Some("f")), &Value::Null);
    let (status, told, act) = decided(&two, &["e", "f"], &JobSeen::None);
    assert_eq!((told, act.as_str()), (Some("NotStarted"), ""));
    let error = status["lastError"].as_str().unwrap();
    assert!(error.contains("name different Secrets"), "{error}");
}

#[test]
fn the_job_of_somebody_else_is_told_of_and_left_alone() {
    let (status, told, act) = decided(&local(&Value::Null), &[], &JobSeen::Foreign);
    assert_eq!((told, act.as_str()), (Some("NotStarted"), "LookAgain"));
    let error = status["lastError"].as_str().unwrap();
    assert!(error.starts_with("Job copy-worker is there"), "{error}");
    let task = local(&Value::Null);
    let no = refused(&task, "no room (403)".to_owned(), at(0));
    assert_eq!(no.act, Some(Act::LookAgain));
    let error = no.status.unwrap().last_error.unwrap();
    assert_eq!(error, "the Job cannot be made: no room (403)");
}

#[test]
fn one_that_is_deleted_goes_when_its_job_is_gone() {
    let mut gone = local(&seen());
    gone.metadata.deletion_timestamp = serde_json::from_value(json!("2026-11-24T10:00:00Z")).ok();
    for (job, act) in [
        (runs(), "DeleteJob(\"j\")"),
        (over(true), "DeleteJob(\"j\")"),
        (JobSeen::Leaves, ""),
        (JobSeen::None, "RemoveFinalizer"),
        (JobSeen::Foreign, "RemoveFinalizer"),
    ] {
        assert_eq!(
            decided(&gone, &[], &job),
            (Value::Null, None, act.to_owned())
        );
    }
    gone.metadata.finalizers = Some(vec!["other".to_owned()]);
    let nothing = (Value::Null, None, String::new());
    assert_eq!(decided(&gone, &[], &JobSeen::None), nothing);
}

#[test]
fn a_job_is_its_own_runs_leaves_or_has_ended() {
    let job = |owner: &str, status: Value| -> Job {
        let owner =
            json!({ "apiVersion": "v", "kind": "EtcdCopyBackupsTask", "name": "t", "uid": owner });
        serde_json::from_value(json!({
            "metadata": { "uid": "j", "ownerReferences": [owner] }, "status": status,
        }))
        .unwrap()
    };
    let ended = |kind: &str| json!({ "conditions": [{ "type": kind, "status": "True", "reason": "R", "message": "m" }] });
    assert_eq!(
        JobSeen::of(&job("x", ended("Complete")), "t"),
        JobSeen::Foreign
    );
    assert_eq!(JobSeen::of(&job("t", json!({})), "t"), runs());
    assert_eq!(JobSeen::of(&job("t", ended("FailureTarget")), "t"), runs());
    assert_eq!(JobSeen::of(&job("t", ended("Complete")), "t"), over(true));
    assert_eq!(JobSeen::of(&job("t", ended("Failed")), "t"), over(false));
    let mut leaves = job("t", json!({}));
    leaves.metadata.deletion_timestamp = serde_json::from_value(json!("2026-11-24T10:00:00Z")).ok();
    assert_eq!(JobSeen::of(&leaves, "t"), JobSeen::Leaves);
}
