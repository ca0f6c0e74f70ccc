//! What is decided, by tables and by chance; what is told.

mod numbers;
mod outcome;
mod property;
mod rules;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::*;
use crate::api::Etcd;
use crate::operator::config::{Compaction, Config};
use crate::ops_task::{Done, Snapshot};
use crate::render::Identity;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + second).unwrap()
}

fn config() -> Compaction {
    let file = json!({
        "apiVersion": "config.druid.gardener.cloud/v1alpha1", "kind": "OperatorConfiguration",
        "controllers": { "compaction": {
            "enabled": true, "eventsThreshold": 100, "triggerFullSnapshotThreshold": 300,
        } },
    });
    Config::read(file).unwrap().config.compaction.unwrap()
}

fn etcd() -> Value {
    json!({
        "apiVersion": "druid.gardener.cloud/v1alpha1", "kind": "Etcd",
        "metadata": { "name": "main", "namespace": "n", "uid": "e" },
        "spec": { "labels": {}, "etcd": {}, "replicas": 3, "backup": {
            "store": { "provider": "Local", "container": "c", "prefix": "p" },
        } },
    })
}

fn subject(object: &Value) -> Subject {
    let etcd: Etcd = serde_json::from_value(object.clone()).unwrap();
    Subject::of(&etcd, &config())
}

/// With a condition of this status and reason, so since then, told then.
fn after(status: &str, reason: &str, since: i64, updated: i64) -> Value {
    let mut object = etcd();
    object["status"] = json!({ "conditions": [{
        "type": "LastSnapshotCompactionSucceeded", "status": status, "reason": reason,
        "message": "m", "lastTransitionTime": at(since).to_string(),
        "lastUpdateTime": at(updated).to_string(),
    }] });
    object
}

fn with(object: &Value, pointer: &str, value: Value) -> Value {
    let (above, field) = pointer.rsplit_once('/').unwrap();
    let mut object = object.clone();
    object.pointer_mut(above).unwrap()[field] = value;
    object
}

fn backlog(events: u64) -> Backlog {
    Backlog {
        etcd: "main".to_owned(),
        full: Revision::At(1000),
        delta: Revision::At(1000 + events),
    }
}

struct Case {
    etcd: Value,
    backlog: Backlog,
    job: JobSeen,
    task: Option<&'static str>,
    work: Work,
    now: Timestamp,
}

impl Case {
    fn new(events: u64) -> Self {
        Self {
            etcd: etcd(),
            backlog: backlog(events),
            job: JobSeen::None,
            task: None,
            work: Work::None,
            now: at(0),
        }
    }

    fn of(etcd: Value, events: u64) -> Self {
        Self {
            etcd,
            ..Self::new(events)
        }
    }

    fn decide(&self) -> Decision {
        let seen = Observed {
            etcd: &subject(&self.etcd),
            backlog: &self.backlog,
            job: &self.job,
            task: self.task,
            work: &self.work,
        };
        decide(&seen, &Limits::default(), self.now)
    }

    fn act(&self) -> Act {
        match self.decide() {
            Decision::Act(act) => act,
            Decision::Wait { why, .. } => panic!("{why}"),
        }
    }

    fn why(&self) -> (String, Option<Timestamp>) {
        match self.decide() {
            Decision::Act(act) => panic!("{act:?}"),
            Decision::Wait { why, until } => (why.to_string(), until),
        }
    }
}

fn runs() -> JobSeen {
    JobSeen::Runs {
        uid: "j".to_owned(),
    }
}

fn outcome(failure: Option<Failure>) -> Outcome {
    Outcome {
        state: "S".to_owned(),
        failure,
        took: None,
    }
}

fn over(failure: Option<Failure>) -> JobSeen {
    JobSeen::Ended {
        uid: "j".to_owned(),
        outcome: outcome(failure),
    }
}

fn left() -> JobSeen {
    JobSeen::LeftByTask {
        uid: "j".to_owned(),
    }
}

fn delete() -> Act {
    Act::DeleteJob {
        uid: "j".to_owned(),
    }
}

fn snapshot() -> Done {
    Done::Taken(Snapshot {
        name: "Full-1".to_owned(),
        revision: 1,
        size: None,
        sha256: None,
    })
}

fn identity() -> Identity {
    Identity {
        name: "main".to_owned(),
        namespace: "n".to_owned(),
        uid: "e".to_owned(),
    }
}
