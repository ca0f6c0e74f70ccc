//! The world around the decision: an API server, a process that may die, a sidecar that may do its
//! work without anybody hearing of it, and a clock.

use std::sync::LazyLock;

use druid_core::api::{
    Etcd, EtcdOpsTask, EtcdOpsTaskConfig, EtcdOpsTaskSpec, EtcdOpsTaskStatus, Int32,
    OnDemandSnapshot,
};
use druid_core::backup::snapshotter::Backoff;
use druid_core::ops_task::{
    Act, Attempt, Cluster, Decision, Done, EtcdSeen, Kind, Limits, Observed, Progress, Queue,
    Queued, Snapshot, State, Task, Trouble, Work, decide, latest,
};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time as MetaTime;
use serde_json::json;

/// When it begins, Unix seconds.
const START: i64 = 1_795_000_000;
/// How long each task may take, seconds.
pub(crate) const LIMIT: i64 = 20;

pub(crate) fn limits() -> Limits {
    Limits {
        attempts: 3,
        backoff: Backoff {
            first: SignedDuration::from_secs(2),
            limit: SignedDuration::from_secs(4),
        },
    }
}

/// The Etcd, ready or not.
fn cluster(ready: bool) -> &'static EtcdSeen {
    static BOTH: LazyLock<[EtcdSeen; 2]> = LazyLock::new(|| {
        ["False", "True"].map(|ready| {
            let object = json!({
                "apiVersion": "druid.gardener.cloud/v1alpha1", "kind": "Etcd",
                "metadata": { "name": "e", "namespace": "n" },
                "spec": {
                    "labels": {}, "etcd": {}, "replicas": 3,
                    "backup": { "store": { "prefix": "p" } },
                },
                "status": { "conditions": [{
                    "type": "Ready", "status": ready, "reason": "", "message": "",
                    "lastTransitionTime": "", "lastUpdateTime": "",
                }] },
            });
            EtcdSeen::There(Cluster::of(
                &serde_json::from_value::<Etcd>(object).unwrap(),
            ))
        })
    });
    &BOTH[usize::from(ready)]
}

/// Everything.
#[derive(Clone, Debug)]
pub(crate) struct World {
    /// Milliseconds since the start.
    pub(crate) now: i64,
    pub(crate) objects: Vec<Object>,
    pub(crate) works: Vec<Doing>,
    pub(crate) ready: bool,
    /// Full snapshots in the store: when each was made.
    pub(crate) snapshots: Vec<i64>,
    /// How often something may still go wrong.
    pub(crate) faults: u32,
    /// How often time may go by that nobody waits for.
    pub(crate) waits: u32,
    /// Whether the definition is etcd-druid's, and drops the fields that are ours.
    pub(crate) prunes: bool,
    /// Snapshots that nobody knows of, made within the second in which their task began.
    pub(crate) too_early_to_tell: u32,
}

/// A task in the API server.
#[derive(Clone, Debug)]
pub(crate) struct Object {
    pub(crate) there: bool,
    finalizer: bool,
    pub(crate) deleting: bool,
    pub(crate) status: Option<EtcdOpsTaskStatus>,
}

/// What the process does for it.
#[derive(Clone, Debug)]
pub(crate) enum Doing {
    Nothing,
    Tries(Box<Attempt>),
    Has(u32, Result<Done, Trouble>),
    HasFailed(u32, i64),
}

impl Doing {
    /// When it must be over, milliseconds.
    pub(crate) fn deadline(&self) -> Option<i64> {
        match self {
            Self::Tries(attempt) => Some(attempt.by.as_millisecond() - at(0).as_millisecond()),
            Self::Nothing | Self::Has(..) | Self::HasFailed(..) => None,
        }
    }
}

/// How a reconciliation goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum How {
    Well,
    /// The process dies after the write.
    DiesWritten,
    /// The process dies after the act.
    DiesActed,
}

/// What an attempt meets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Meets {
    /// It does it and says so.
    Does,
    /// It does it, and the answer is lost.
    DoesUnheard,
    /// It is not reached.
    Nobody,
    /// It answers 500.
    SaysNo,
}

pub(crate) fn at(milliseconds: i64) -> Timestamp {
    Timestamp::from_millisecond(START * 1000 + milliseconds).unwrap()
}

impl World {
    pub(crate) fn new(tasks: usize, faults: u32, waits: u32) -> Self {
        let object = Object {
            there: true,
            finalizer: false,
            deleting: false,
            status: None,
        };
        Self {
            now: 300,
            objects: vec![object; tasks],
            works: vec![Doing::Nothing; tasks],
            ready: true,
            snapshots: Vec::new(),
            faults,
            waits,
            prunes: false,
            too_early_to_tell: 0,
        }
    }

    pub(crate) fn task(&self, index: usize) -> Task {
        let object = &self.objects[index];
        let snapshot = OnDemandSnapshot {
            kind: "full".to_owned(),
            timeout_seconds_full: Int32(LIMIT),
            ..OnDemandSnapshot::default()
        };
        let spec = EtcdOpsTaskSpec {
            config: EtcdOpsTaskConfig {
                on_demand_snapshot: Some(snapshot),
                ..EtcdOpsTaskConfig::default()
            },
            ttl_seconds_after_finished: Int32(3600),
            etcd_name: Some("e".to_owned()),
        };
        let mut read = EtcdOpsTask::new(&format!("t{index}"), spec);
        let made = MetaTime(at(0));
        read.metadata.uid = Some(format!("u{index}"));
        read.metadata.creation_timestamp = Some(made.clone());
        read.metadata.deletion_timestamp = object.deleting.then_some(made);
        let ours = "druid.gardener.cloud/etcd-ops-task".to_owned();
        read.metadata.finalizers = object.finalizer.then(|| vec![ours]);
        read.status.clone_from(&object.status);
        Task::of(&read)
    }

    pub(crate) fn state(&self, index: usize) -> Option<State> {
        self.task(index).state()
    }

    pub(crate) fn is_over(&self, index: usize) -> bool {
        !self.objects[index].there || self.state(index).is_some_and(State::is_end)
    }

    fn work(&self, index: usize) -> Work {
        match &self.works[index] {
            Doing::Nothing => Work::None,
            Doing::Tries(_) => Work::Running,
            Doing::HasFailed(attempt, when) => Work::Failed {
                attempt: *attempt,
                at: at(*when),
            },
            Doing::Has(attempt, result) => Work::Answered {
                attempt: *attempt,
                result: result.clone(),
            },
        }
    }

    fn others(&self, index: usize) -> Vec<Queued> {
        (0..self.objects.len())
            .filter(|other| *other != index && self.objects[*other].there)
            .map(|other| {
                let held = !matches!(self.works[other], Doing::Nothing);
                self.task(other).queued(held)
            })
            .collect()
    }

    /// What the future depends on if nothing more goes wrong.
    pub(crate) fn without_allowances(&self) -> String {
        let mut world = self.clone();
        (world.faults, world.waits) = (0, 0);
        format!("{world:?}")
    }

    /// What is decided now.
    pub(crate) fn decided(&self, index: usize) -> Decision {
        let (task, others, work) = (self.task(index), self.others(index), self.work(index));
        let mut seen = Observed {
            task: &task,
            etcd: None,
            others: &others,
            work: &work,
            progress: &Progress::default(),
            // Snapshots tell members nothing.
            wound_up: true,
        };
        let first = decide(&seen, &limits(), at(self.now));
        if first.act != Some(Act::AskEtcd) {
            return first;
        }
        assert_eq!(first.status, None);
        seen.etcd = Some(cluster(self.ready));
        decide(&seen, &limits(), at(self.now))
    }

    /// Decides, writes, acts. Returns when to come back.
    pub(crate) fn reconcile(&mut self, index: usize, how: How) -> Option<Timestamp> {
        let decision = self.decided(index);
        if let Some(mut status) = decision.status {
            if self.prunes {
                status.failed_attempts = None;
                status.result = None;
            }
            self.objects[index].status = Some(status);
            let settled = self.decided(index).status;
            // Time passes in no decision but the next one.
            if !matches!(decision.act, Some(Act::Start(_) | Act::Note | Act::Forget)) {
                assert_eq!(settled, None, "it writes twice: {self:?}");
            }
        }
        if how == How::DiesWritten {
            self.die(false);
            return None;
        }
        let object = &mut self.objects[index];
        match decision.act {
            None => {}
            Some(Act::AskEtcd) => panic!("it was there"),
            Some(Act::WindUp) => panic!("there is nothing to take back"),
            Some(Act::AddFinalizer) => object.finalizer = true,
            Some(Act::RemoveFinalizer) => {
                assert!(object.deleting);
                object.there = false;
            }
            Some(Act::Delete) => self.delete(index),
            Some(Act::Start(attempt)) => {
                let others = self.others(index);
                let busy = others.iter().find(|it| it.queue == Queue::Runs);
                assert_eq!(busy, None, "two at once: {self:?}");
                self.works[index] = Doing::Tries(attempt);
            }
            Some(Act::Note) => {
                let Doing::Has(attempt, Err(_)) = self.works[index] else {
                    panic!("nothing has failed: {self:?}");
                };
                // Whole seconds, as in the status: more would be more states, and nothing new.
                self.works[index] = Doing::HasFailed(attempt, self.now / 1000 * 1000);
            }
            Some(Act::Forget) => self.works[index] = Doing::Nothing,
        }
        if how == How::DiesActed {
            self.die(false);
        }
        decision.again
    }

    /// The API server takes a deletion. Without a finalizer the task is gone.
    pub(crate) fn delete(&mut self, index: usize) {
        let object = &mut self.objects[index];
        object.deleting = true;
        if !object.finalizer {
            object.there = false;
            // The watch tells.
            self.works[index] = Doing::Nothing;
        }
    }

    /// The process dies. `served`: whether the sidecar does what it was asked for all the same.
    pub(crate) fn die(&mut self, served: bool) {
        for index in 0..self.works.len() {
            let work = std::mem::replace(&mut self.works[index], Doing::Nothing);
            match work {
                Doing::Tries(attempt)
                    if served && attempt.take && self.found(&attempt).is_none() =>
                {
                    self.serve();
                    self.unheard(index);
                }
                // Heard, and forgotten.
                Doing::Has(_, Ok(Done::Taken(_))) => self.unheard(index),
                Doing::Nothing | Doing::Tries(_) | Doing::Has(..) | Doing::HasFailed(..) => {}
            }
        }
    }

    fn serve(&mut self) -> Snapshot {
        self.snapshots.push(self.now);
        self.newest().unwrap()
    }

    /// Names have whole seconds.
    fn unheard(&mut self, index: usize) {
        let started = self.task(index).started().unwrap();
        let made = self.snapshots.last().unwrap();
        if at(*made).as_second() <= started.as_second() {
            self.too_early_to_tell += 1;
        }
    }

    fn newest(&self) -> Option<Snapshot> {
        let made = self.snapshots.last()?;
        Some(Snapshot {
            name: format!("Full-{made}"),
            revision: self.snapshots.len().try_into().unwrap(),
            size: None,
            sha256: None,
        })
    }

    /// An attempt comes to its end.
    pub(crate) fn meet(&mut self, index: usize, meets: Meets) {
        let Doing::Tries(attempt) = self.works[index].clone() else {
            panic!("nothing is tried");
        };
        let lost = || Trouble::Unreached("lost".to_owned());
        let result = if meets == Meets::Nobody {
            Err(lost())
        } else if let Some(found) = self.found(&attempt) {
            Ok(Done::Taken(found))
        } else if !attempt.take {
            Err(Trouble::TooLate(attempt.limit))
        } else {
            match meets {
                Meets::Does => Ok(Done::Taken(self.serve())),
                Meets::DoesUnheard => {
                    self.serve();
                    self.unheard(index);
                    Err(lost())
                }
                Meets::SaysNo => Err(Trouble::NotTaken {
                    status: 500,
                    text: String::new(),
                }),
                Meets::Nobody => Err(lost()),
            }
        };
        self.works[index] = Doing::Has(attempt.number, result);
    }

    /// What the sidecar says of its newest snapshot.
    fn found(&self, attempt: &Attempt) -> Option<Snapshot> {
        let since = attempt.newer_than?;
        let (made, newest) = (self.snapshots.last()?, self.newest()?);
        let created = Timestamp::from_second(at(*made).as_second()).unwrap();
        let body = json!({
            "fullSnapshot": {
                "kind": "Full", "snapName": newest.name, "lastRevision": newest.revision,
                "createdOn": created.to_string(), "isFinal": false,
            },
            "deltaSnapshots": null,
        });
        let Kind::Snapshot(take) = attempt.operation.kind else {
            return None;
        };
        latest(take, since, 200, body.to_string().as_bytes())
    }
}
