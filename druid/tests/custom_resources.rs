//! The API server answers our custom resource definitions as it answers those of etcd-druid v0.37.1.
#![allow(
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that cannot ask fails"
)]

mod common_cluster;
mod common_kube;

use std::process::Command;

use assert_cmd::cargo::cargo_bin;
use common_cluster::Cluster;
use common_kube::{client, define, goldens, resources, yaml, yaml_files};
use kube::api::{DeleteParams, DynamicObject, Patch, PatchParams, PostParams};
use kube::{Client, Error};
use serde_json::{Value, json};

#[test]
fn definitions_are_printed_by_any_of_their_names() {
    let crds = |names: &[&str]| {
        let mut druid = Command::new(cargo_bin("druid"));
        druid.arg("crds").args(names).output().unwrap()
    };
    for (names, kinds) in [
        (&["etcds"][..], &["Etcd"][..]),
        (&["eot"], &["EtcdOpsTask"]),
        (
            &["etcdcopybackupstasks.druid.gardener.cloud", "etcd"],
            &["EtcdCopyBackupsTask", "Etcd"],
        ),
    ] {
        let printed = crds(names);
        let text = String::from_utf8(printed.stdout).unwrap();
        let printed: Vec<Value> = serde_saphyr::from_multiple(&text).unwrap();
        let found: Vec<&str> = printed
            .iter()
            .map(|it| it["spec"]["names"]["kind"].as_str().unwrap())
            .collect();
        assert_eq!(found, kinds);
    }
    let refused = crds(&["pods"]);
    assert_eq!(refused.status.code(), Some(64));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("etcdopstasks"));
}

#[tokio::test]
async fn what_etcd_druid_was_given_is_taken_and_kept() {
    let cluster = Cluster::shared();
    let client = client(&cluster).await;
    define(&client).await;
    cluster.kubectl(&["create", "namespace", "golden"]);
    let mut taken = 0;
    for folder in ["specs", "specs-copy", "specs-ops"] {
        for path in yaml_files(&goldens().join(folder)) {
            let given = yaml(&path);
            let answer = create(&client, "golden", &given).await;
            let stored = answer.unwrap_or_else(|answer| panic!("{}: {answer}", path.display()));
            assert_eq!(
                stored["spec"],
                defaulted(&given),
                "{}: what is stored is not what was given",
                path.display()
            );
            taken += 1;
        }
    }
    assert_eq!(taken, 54 + 14 + 11);
}

/// What the definitions fill in.
fn defaulted(given: &Value) -> Value {
    let mut spec = given["spec"].clone();
    if given["kind"] == "EtcdOpsTask" {
        fill(&mut spec, "ttlSecondsAfterFinished", 3600);
        let snapshot = &mut spec["config"]["onDemandSnapshot"];
        fill(snapshot, "timeoutSecondsDelta", 60);
        fill(snapshot, "timeoutSecondsFull", 900);
    }
    spec
}

fn fill(object: &mut Value, key: &str, value: i64) {
    if object[key].is_null() {
        object[key] = json!(value);
    }
}

#[tokio::test]
async fn every_answer_is_the_one_that_etcd_druid_s_definitions_get() {
    let cluster = Cluster::shared();
    let client = client(&cluster).await;
    define(&client).await;
    cluster.kubectl(&["create", "namespace", "answers"]);
    let Value::Array(cases) = yaml(&goldens().join("rejected/api-server-answers.yaml")) else {
        panic!("a list of cases");
    };
    let mut wrong = Vec::new();
    for case in &cases {
        let expected = json!({
            "code": case["code"], "message": case["message"], "causes": case["causes"],
        });
        let found = answer(&client, case).await;
        if found != expected {
            wrong.push(format!("{}:\n  {expected}\n  {found}", case["case"]));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(cases.len(), 57);
}

/// Sends what the case says, and says what came back.
async fn answer(client: &Client, case: &Value) -> Value {
    let name = case["case"].as_str().unwrap();
    let (kind, called) = match name.split('-').next() {
        Some("opstask") => ("EtcdOpsTask", "t"),
        Some("copytask") => ("EtcdCopyBackupsTask", "t"),
        Some("transition") => ("Etcd", "trans"),
        Some(_) | None => ("Etcd", "main"),
    };
    let object = |spec: &Value| {
        json!({
            "apiVersion": "druid.gardener.cloud/v1alpha1",
            "kind": kind,
            "metadata": { "name": called },
            "spec": spec,
        })
    };
    let of_kind = resources(client, "answers", kind);
    let (code, answered) = if kind == "Etcd" && called == "trans" {
        let mut stored = create(client, "answers", &object(&case["spec"]["old"]))
            .await
            .unwrap();
        stored["spec"] = case["spec"]["new"].clone();
        let changed: DynamicObject = serde_json::from_value(stored).unwrap();
        let answer = of_kind
            .replace(called, &PostParams::default(), &changed)
            .await;
        (200, answer.map(drop).map_err(|error| said(&error)))
    } else {
        let answer = create(client, "answers", &object(&case["spec"])).await;
        (201, answer.map(drop))
    };
    match of_kind.delete(called, &DeleteParams::default()).await {
        Ok(_) => {}
        Err(Error::Api(status)) if status.code == 404 => {}
        Err(error) => panic!("{name}: {error}"),
    }
    match answered {
        Ok(()) => json!({ "code": code, "message": null, "causes": [] }),
        Err(said) => said,
    }
}

/// Sends an object; what is stored, or what was answered.
async fn create(client: &Client, namespace: &str, object: &Value) -> Result<Value, Value> {
    let api = resources(client, namespace, object["kind"].as_str().unwrap());
    let object: DynamicObject = serde_json::from_value(object.clone()).unwrap();
    match api.create(&PostParams::default(), &object).await {
        Ok(stored) => Ok(serde_json::to_value(stored).unwrap()),
        Err(error) => Err(said(&error)),
    }
}

fn said(error: &Error) -> Value {
    let Error::Api(status) = error else {
        panic!("no answer: {error}");
    };
    let causes = status.details.as_ref().map(|details| {
        details
            .causes
            .iter()
            .map(|it| json!({ "field": it.field, "message": it.message, "reason": it.reason }))
            .collect::<Vec<_>>()
    });
    json!({ "code": status.code, "message": status.message, "causes": causes.unwrap_or_default() })
}

/// Each with what the answer has to contain.
#[tokio::test]
async fn what_no_example_of_etcd_druid_shows_is_answered_as_its_rules_say() {
    let cluster = Cluster::shared();
    let client = client(&cluster).await;
    define(&client).await;
    cluster.kubectl(&["create", "namespace", "rules"]);
    let delta = json!({ "type": "delta", "isFinal": true });
    let full = json!({ "type": "full", "isFinal": true });
    for (config, refused) in [
        (json!({ "onDemandSnapshot": full }), None),
        (
            json!({ "onDemandSnapshot": delta }),
            Some("isFinal must be false (or omitted) when type is 'delta'"),
        ),
        (
            json!({ "onDemandSnapshot": full, "recoverFromQuorumLoss": {} }),
            Some("must have at most 1 item"),
        ),
        (json!({ "unheardOf": {} }), Some("at least 1 properties")),
        (
            json!({ "onDemandMaintenance": { "etcdCompaction": true } }),
            None,
        ),
        (
            json!({ "onDemandMaintenance": { "etcdCompaction": false } }),
            Some("etcdCompaction or etcdDefragmentation must be true"),
        ),
        (
            json!({ "recoverFromQuorumLoss": { "podReadyTimeout": "soon" } }),
            Some("should match"),
        ),
        (json!({ "onDemandSnapshotCompaction": {} }), None),
    ] {
        let task = object(
            "EtcdOpsTask",
            &json!({ "config": config, "etcdName": "main" }),
        );
        check(&client, &task, refused).await;
    }
    for (backup, refused) in [
        (
            json!({ "deltaSnapshotPeriod": "10m", "garbageCollectionPeriod": "600s" }),
            Some(
                "etcd.spec.backup.garbageCollectionPeriod must be greater than etcd.spec.backup.deltaSnapshotPeriod",
            ),
        ),
        // Whoever reads it has to be prepared.
        (json!({ "port": 2_147_483_648_i64 }), None),
        // Left out, by that.
        (json!({ "port": null }), None),
        (json!({ "deltaSnapshotMemoryLimit": 104_857_600 }), None),
    ] {
        let mut etcd = minimal();
        etcd["spec"]["backup"] = backup;
        check(&client, &etcd, refused).await;
    }
}

fn object(kind: &str, spec: &Value) -> Value {
    json!({
        "apiVersion": "druid.gardener.cloud/v1alpha1",
        "kind": kind,
        "metadata": { "name": "main" },
        "spec": spec,
    })
}

fn minimal() -> Value {
    let spec = json!({ "labels": { "a": "b" }, "replicas": 3, "etcd": {}, "backup": {} });
    object("Etcd", &spec)
}

async fn check(client: &Client, object: &Value, refused: Option<&str>) {
    match (create(client, "rules", object).await, refused) {
        (Ok(stored), None) => {
            let kind = stored["kind"].as_str().unwrap();
            let api = resources(client, "rules", kind);
            api.delete("main", &DeleteParams::default()).await.unwrap();
        }
        (Err(said), Some(refused)) => {
            let message = said["message"].as_str().unwrap();
            assert!(message.contains(refused), "{message}");
        }
        (answer, refused) => panic!("{object}: {answer:?}, expected {refused:?}"),
    }
}

#[tokio::test]
async fn status_scale_and_columns_are_served() {
    let cluster = Cluster::shared();
    let client = client(&cluster).await;
    define(&client).await;
    cluster.kubectl(&["create", "namespace", "served"]);
    let etcds = resources(&client, "served", "Etcd");
    let mut etcd = minimal();
    etcd["spec"]["upgrade"] = json!({ "enabled": false, "paused": true, "holdLast": true });
    let stored = create(&client, "served", &etcd).await.unwrap();
    assert_eq!(stored["spec"], etcd["spec"]);

    let status = json!({ "status": {
        "ready": true, "replicas": 2, "selector": "a=b",
        "conditions": [{
            "type": "Ready", "status": "True", "reason": "Quorate", "message": "",
            "lastTransitionTime": "2026-11-24T10:20:30Z", "lastUpdateTime": "2026-11-24T10:20:30Z",
        }],
        "upgrade": { "phase": "Rolling", "reason": "ComingUp" },
    }});
    let params = PatchParams::default();
    etcds
        .patch_status("main", &params, &Patch::Merge(&status))
        .await
        .unwrap();
    let scale = etcds.get_scale("main").await.unwrap();
    assert_eq!(scale.spec.unwrap().replicas, Some(3));
    let scaled = scale.status.unwrap();
    assert_eq!(
        (scaled.replicas, scaled.selector),
        (2, Some("a=b".to_owned()))
    );
    let fewer = json!({ "spec": { "replicas": -1 } });
    let answer = etcds
        .patch_scale("main", &params, &Patch::Merge(&fewer))
        .await;
    let message = answer.unwrap_err().to_string();
    assert!(
        message.contains("should be a non-negative integer"),
        "{message}"
    );

    let columns = |kind: &str| {
        let wide = cluster.kubectl(&["get", kind, "-n", "served", "-o", "wide"]);
        let lines: Vec<Vec<String>> = wide
            .lines()
            .map(|line| line.split("  ").filter(|it| !it.is_empty()))
            .map(|words| words.map(|it| it.trim().to_owned()).collect())
            .collect();
        lines
    };
    let etcds = columns("etcds");
    let expected = "NAME,READY,QUORATE,ALL MEMBERS READY,BACKUP READY,CLUSTER ID MISMATCH,AGE,\
                    CLUSTER SIZE,CURRENT REPLICAS,READY REPLICAS,UPGRADE,UPGRADE REASON";
    assert_eq!(etcds[0].join(","), expected);
    assert_eq!(etcds[1][..3], ["main", "true", "True"]);
    assert!(etcds[1].ends_with(&["Rolling".to_owned(), "ComingUp".to_owned()]));
    let task = json!({ "config": { "onDemandSnapshot": { "type": "full" } }, "etcdName": "main" });
    create(&client, "served", &object("EtcdOpsTask", &task))
        .await
        .unwrap();
    assert_eq!(columns("eot")[0].join(","), "NAME,STATE,ETCD,AGE,PHASE,TTL");
}
