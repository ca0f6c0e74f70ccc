//! What there is to be scraped: our own numbers with every value that they can have, and those of real etcd
//! processes of both releases.

#![allow(dead_code, reason = "each test file uses its part")]

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use druid_core::agent::metrics::{Gauge, Metrics, Process};
use druid_core::api::{EtcdOpsTask, EtcdStatus};
use druid_core::compaction::{self, Conclusion, Failure, Outcome};
use druid_core::operator::Gates;
use druid_core::operator::numbers::About;
use druid_core::ops_task::{self, Done, State, Task, Trouble};
use druid_core::protection::numbers;
use druid_core::status::conditions::Kind;
use druid_core::status::numbers::{Numbers, OfEtcd};
use druid_core::upgrade::ShownPhase;
use jiff::Timestamp;
use serde_json::json;

use crate::common_preflight::{Cluster, Release, http_get};

/// Metrics, their labels, and the values of those.
#[derive(Clone, Debug, Default)]
pub(crate) struct Exported(BTreeMap<String, BTreeMap<String, BTreeSet<String>>>);

impl Exported {
    /// Of the text that Prometheus reads.
    pub(crate) fn read(text: &str) -> Self {
        let mut all = Self::default();
        for line in text
            .lines()
            .filter(|it| !it.starts_with('#') && !it.is_empty())
        {
            let (series, _) = line.rsplit_once(' ').unwrap();
            let (name, labels) = series.split_once('{').unwrap_or((series, ""));
            let known = all.0.entry(name.to_owned()).or_default();
            for pair in labels.trim_end_matches('}').split("\",") {
                if let Some((label, value)) = pair.split_once("=\"") {
                    let values = known.entry(label.to_owned()).or_default();
                    values.insert(value.trim_end_matches('"').to_owned());
                }
            }
        }
        all
    }

    pub(crate) fn labels(&self, metric: &str) -> Option<&BTreeMap<String, BTreeSet<String>>> {
        self.0.get(metric)
    }

    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// What both have.
    fn common(mut self, other: &Self) -> Self {
        self.0.retain(|name, _| other.0.contains_key(name));
        self
    }
}

/// Those of the operator.
pub(crate) fn operator() -> Exported {
    Exported::read(&operator_text())
}

/// What Prometheus reads of the operator.
pub(crate) fn operator_text() -> String {
    let about = About {
        version: "1.2.3",
        gates: Gates::default(),
        lease: Some("lease"),
        leads: true,
    };
    let now = Timestamp::UNIX_EPOCH;
    let mut tasks = ops_task::Numbers::default();
    let task: EtcdOpsTask = serde_json::from_value(json!({
        "apiVersion": "druid.gardener.cloud/v1alpha1", "kind": "EtcdOpsTask",
        "metadata": { "name": "t", "namespace": "n", "creationTimestamp": "1970-01-01T00:00:00Z" },
        "spec": { "config": { "onDemandSnapshot": { "type": "full" } }, "etcdName": "a" },
        "status": { "state": "InProgress", "startedAt": "1970-01-01T00:00:00Z" },
    }))
    .unwrap();
    for state in [State::Succeeded, State::Failed, State::Rejected] {
        tasks.ended(&Task::of(&task), state, now);
    }
    tasks.cancelled(&Task::of(&task), now);
    let present = [
        State::Pending,
        State::InProgress,
        State::Succeeded,
        State::Failed,
        State::Rejected,
    ];
    let present = present.map(|state| {
        let mut task = task.clone();
        let status = task.status.get_or_insert_default();
        status.state = Some(state.word().to_owned());
        Task::of(&task)
    });
    let mut webhook = numbers::Numbers::default();
    webhook.serves_until(now);
    let texts = [
        about.text(),
        etcds(now),
        tasks.text(&present),
        compactions(),
        webhook.text(),
    ];
    texts.concat()
}

fn compactions() -> String {
    let mut numbers = compaction::Numbers::default();
    numbers.tell("n", "a", true, Some(1));
    for failure in [None, Some(Failure::ProcessFailure)] {
        numbers.concluded(
            "n",
            "a",
            &Conclusion::Job(Outcome {
                state: "s".to_owned(),
                failure,
                took: Some(Duration::ZERO),
            }),
        );
    }
    for result in [Ok(Done::Skipped), Err(Trouble::Rolling)] {
        numbers.concluded("n", "a", &Conclusion::FullSnapshot(result));
    }
    numbers.text()
}

fn etcds(now: Timestamp) -> String {
    let mut numbers = Numbers::default();
    for phase in ShownPhase::ALL {
        for status_is in ["True", "False", "Unknown"] {
            let condition = |kind: Kind| {
                json!({
                    "type": kind.word(), "status": status_is, "reason": "r", "message": "m",
                    "lastTransitionTime": "1970-01-01T00:00:00Z",
                    "lastUpdateTime": "1970-01-01T00:00:00Z",
                })
            };
            let status: EtcdStatus = serde_json::from_value(json!({
                "conditions": Kind::ALL.map(condition),
                "upgrade": { "phase": phase.word() },
            }))
            .unwrap();
            let certificate = ("tls".to_owned(), "tls.crt".to_owned());
            let certificates = [(certificate, now)].into();
            let name = phase.word();
            numbers.tell(status_is, name, OfEtcd::new(&status, 3), Some(certificates));
        }
    }
    numbers.text()
}

/// Those of a sidecar with a store.
pub(crate) fn sidecar() -> Exported {
    Exported::read(&sidecar_text())
}

/// What Prometheus reads of a sidecar with a store.
pub(crate) fn sidecar_text() -> String {
    let mut metrics = Metrics::default();
    metrics.set(Gauge::Healthy, 1.0);
    metrics.set(Gauge::CoveredAge, 1.0);
    for succeeded in [true, false] {
        metrics.defragmented("http://a:2379", succeeded, Duration::ZERO);
    }
    metrics.text(Process::default())
}

/// Those that etcd has whichever release it is.
pub(crate) fn etcd() -> Exported {
    let [old, new] = [Release::V3_4_34, Release::V3_5_27].map(|release| {
        let cluster = Cluster::start(&[release]);
        let answer = http_get(&cluster.nodes[0].client_url, "/metrics").unwrap();
        let (_, body) = answer.split_once("\r\n\r\n").unwrap();
        Exported::read(body)
    });
    old.common(&new)
}
