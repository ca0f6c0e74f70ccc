//! Recovery of clusters that have lost their quorum for good: two of three volumes are destroyed under
//! load.

mod dead_node;
mod five;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::common_operator::etcd::{self, Address, Tls};
use crate::common_operator::space::{Space, condition, text};
use crate::common_operator::writer::Writer;
use crate::common_operator::{Operator, eventually};
use crate::tasks::{await_success, create, create_with, task};

/// For a recovery in which the operator dies at every step, and another one is elected each time, or in which
/// a member is told twice.
const PATIENCE: Duration = Duration::from_mins(8);
/// What is said of each kind of step.
const STEPS: [&str; 7] = [
    "Restores", "The", "Tells", "Replaces", "Goes", "Waits", "Compares",
];

fn recover(space: &Space, name: &str, config: &Value) {
    let confirmed = json!({ "druid.gardener.cloud/confirm-recovery": "true" });
    create_with(
        space,
        name,
        &confirmed,
        &json!({ "recoverFromQuorumLoss": config }),
    );
}

/// Waits until a task has ended so, for this reason; what it says of it.
fn await_end(space: &Space, name: &str, state: &str, code: &str) -> String {
    let status = eventually(&format!("task {name} is {state}"), || {
        let status = task(space, name)["status"].clone();
        let is = text(&status["state"]);
        assert!(is != "Succeeded", "{status:#}");
        (is == state).then_some(status)
    });
    let error = &status["lastErrors"][0];
    assert_eq!(error["code"], code, "{status:#}");
    text(&error["description"])
}

/// The directory behind a pod's volume, on this machine.
fn volume(space: &Space, pod: &str) -> PathBuf {
    let claim = space
        .operator
        .cluster
        .get(space.name, "pvc", &format!("main-{pod}"));
    let name = text(&claim["spec"]["volumeName"]);
    let volume = space.kubectl(&["get", "pv", &name, "-o", "json"]);
    let volume: Value = serde_json::from_str(&volume).unwrap();
    let path = text(&volume["spec"]["hostPath"]["path"]);
    let layout = space.operator.cluster.layout();
    layout.directory().join(path.trim_start_matches('/'))
}

/// Destroys what these members have, all of it at one moment: no one is left that another could still
/// write to.
pub(crate) fn destroy(space: &Space, pods: &[&str]) {
    for pod in pods {
        space.signal_etcd(pod, Signal::SIGSTOP);
    }
    for pod in pods {
        let volume = volume(space, pod);
        for entry in std::fs::read_dir(&volume).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                std::fs::remove_dir_all(path).unwrap();
            } else {
                std::fs::remove_file(path).unwrap();
            }
        }
    }
    for pod in pods {
        space.signal_etcd(pod, Signal::SIGKILL);
    }
}

pub(crate) fn leader(space: &Space) -> String {
    leader_by(space, None)
}

fn leader_by(space: &Space, tls: Option<&Tls>) -> String {
    eventually("somebody leads", || {
        let mut pods = space.pods("main").into_keys();
        pods.find(|it| {
            let address = Address {
                ip: space.operator.cluster.pod(space.name, it),
                tls: tls.cloned(),
            };
            etcd::leads(&address).is_ok_and(|leads| leads)
        })
    })
}

pub(crate) fn others<'a>(of: &str) -> Vec<&'a str> {
    let all = ["main-0", "main-1", "main-2"];
    all.into_iter().filter(|it| *it != of).collect()
}

pub(crate) fn await_loss(space: &Space) {
    space.until("main", "has no quorum", |it| {
        (condition(it, "Ready") == "False").then_some(())
    });
}

/// Whether no member is told anything.
fn are_free(space: &Space) -> bool {
    let told = |lease: &Value| {
        let annotations = lease["metadata"]["annotations"].to_string();
        annotations.contains("recovery")
    };
    !space.list("leases").iter().any(told)
}

fn await_free(space: &Space) {
    eventually("no member is told anything any more", || {
        are_free(space).then_some(())
    });
}

/// Three voters that hold the same are what the task says; that all are ready is seen here.
fn is_whole(space: &Space) {
    space.await_ready("main");
    await_free(space);
}

#[test]
fn the_survivor_of_two_destroyed_volumes_goes_on_and_the_others_join_it() {
    let Some(operator) = Operator::shared() else {
        return;
    };
    let _works = Operator::works();
    let space = Space::new(operator, "survivor");
    space.ready("main", &space.spec("main"));
    let writer = Writer::start(Address::plain(space.client("main")));

    // Nothing is changed while there is a quorum.
    let pods = space.pods("main");
    recover(&space, "early", &json!({}));
    await_end(&space, "early", "Rejected", "ERR_QUORUM_NOT_LOST");
    assert_eq!(space.pods("main"), pods);
    writer.await_more();

    let survivor = leader(&space);
    destroy(&space, &others(&survivor));
    await_loss(&space);
    // Somebody has to confirm it.
    create(
        &space,
        "unconfirmed",
        &json!({ "recoverFromQuorumLoss": {} }),
    );
    let said = await_end(&space, "unconfirmed", "Rejected", "ERR_UNSUPPORTED_CONFIG");
    assert!(
        said.contains("druid.gardener.cloud/confirm-recovery"),
        "{said}"
    );

    writer.gap();
    let began = Instant::now();
    recover(&space, "recover", &json!({}));
    let status = await_success(&space, "recover");
    println!(
        "recovered within {:?}; no write was acknowledged for {:?}",
        began.elapsed(),
        writer.gap()
    );
    let result = &status["result"];
    assert_eq!(text(&result["recoveredFrom"]), survivor, "{status:#}");
    assert_eq!(result["recoveredWith"], "Member", "{status:#}");
    assert!(
        result["backupRevision"].as_i64().unwrap() >= 1,
        "{status:#}"
    );
    is_whole(&space);
    // Who led had every write that was acknowledged.
    writer.finish();
    let volume = volume(&space, &survivor);
    let aside = std::fs::read_dir(volume).unwrap();
    let aside = aside.filter(|it| {
        let name = it.as_ref().unwrap().file_name();
        name.to_string_lossy().contains(".before-")
    });
    assert_eq!(aside.count(), 0, "the survivor keeps its data where it is");
}

#[test]
fn the_backup_is_restored_over_a_survivor_that_is_behind_it_whoever_dies_at_every_step() {
    let Some(operator) = Operator::shared() else {
        return;
    };
    let _alone = Operator::alone();
    let space = Space::new(operator, "behind");
    space.ready("main", &space.spec("main"));
    let writer = Writer::start(Address::plain(space.client("main")));
    let leads = leader(&space);
    let survivor = others(&leads)[0].to_owned();
    space.signal_etcd(&survivor, Signal::SIGSTOP);
    let before = writer.count();
    eventually("the survivor is far behind", || {
        (writer.count() > before + 200).then_some(())
    });
    create(
        &space,
        "full",
        &json!({ "onDemandSnapshot": { "type": "full" } }),
    );
    let covered = await_success(&space, "full")["result"]["snapshot"]["revision"].as_i64();
    let covered = covered.unwrap();
    writer.await_more();
    destroy(&space, &others(&survivor));
    // If it went on, it would read what the leader had sent it meanwhile.
    space.signal_etcd(&survivor, Signal::SIGKILL);
    await_loss(&space);

    let last = writer.last();
    recover(&space, "recover", &json!({ "removeVolumes": true }));
    let mut died = BTreeSet::new();
    let began = Instant::now();
    let status = loop {
        let status = task(&space, "recover")["status"].clone();
        let state = text(&status["state"]);
        if state == "Succeeded" {
            break status;
        }
        assert!(state != "Failed" && state != "Rejected", "{status:#}");
        assert!(began.elapsed() < PATIENCE, "{status:#}");
        // What kind of step it is.
        let says = text(&status["lastOperation"]["description"]);
        let verb = says.split(' ').next().unwrap_or_default().to_owned();
        if state == "InProgress" && STEPS.contains(&verb.as_str()) && died.insert(verb) {
            space.operator.replace();
        }
        std::thread::sleep(Duration::from_millis(100));
    };
    println!("it died at {died:?}; all of it took {:?}", began.elapsed());
    assert!(died.len() >= 5, "{died:?}");
    let result = &status["result"];
    assert_eq!(result["recoveredWith"], "Backup", "{status:#}");
    assert_ne!(text(&result["recoveredFrom"]), survivor, "{status:#}");
    let revision = result["recoveredRevision"].as_i64().unwrap();
    assert!(revision >= covered, "{status:#}");
    is_whole(&space);
    // What the backup covers is there, and what was written since the cluster serves again.
    writer.finish_but(Some(&(revision, last)));
}
