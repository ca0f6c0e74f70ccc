//! The two lanes of what people ask for: changes of all members, and tasks.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use druid_core::api::names::ACKNOWLEDGE_HALT;
use druid_core::chaos::{Plan, Roll, Task, Turn};
use serde_json::{Value, json};
use xtask::image::RELEASES;

use super::Told;
use super::seen::{Seen, is_over, text};
use super::stage::{ETCD, NAMESPACE, Stage};

/// A task is kept longer than anybody looks at it.
const KEPT: u32 = 24 * 3600;
/// Somebody who made a task makes another one after this time, whatever became of the first.
const PATIENCE: Duration = Duration::from_mins(4);

enum State<T> {
    Resting(Instant),
    Asking(T),
    Asked(T, Instant),
}

fn after<T>(turns: &VecDeque<Turn<T>>) -> Instant {
    let rest = turns.front().map_or(60, |it| it.rest);
    Instant::now() + Duration::from_secs(rest.into())
}

/// The lane of upgrades, ways back, and of scaling.
pub(super) struct Rolls {
    turns: VecDeque<Turn<Roll>>,
    state: State<Roll>,
    /// The upgrade attempt whose halt was acknowledged last.
    acknowledged: String,
    shown: String,
    pub(super) done: Vec<Roll>,
}

impl Rolls {
    pub(super) fn new(plan: &Plan) -> Self {
        let turns: VecDeque<_> = plan.rolls.iter().copied().collect();
        Self {
            state: State::Resting(after(&turns)),
            turns,
            acknowledged: String::new(),
            shown: String::new(),
            done: Vec::new(),
        }
    }

    /// Goes on, if it is time. `more`: asks for something new too.
    pub(super) fn go_on(&mut self, more: bool, stage: &Stage, seen: &Seen, told: &mut Told) {
        self.show(seen, told);
        match &self.state {
            State::Resting(until) if *until <= Instant::now() && more => {
                match self.turns.pop_front() {
                    Some(turn) => self.state = State::Asking(turn.what),
                    None => self.state = State::Resting(after(&self.turns)),
                }
            }
            State::Resting(_) => {}
            State::Asking(roll) => {
                let roll = *roll;
                if patch(stage, &wish(roll)).is_ok() {
                    told.say(&format!("asked for: {roll}"));
                    self.state = State::Asked(roll, Instant::now());
                }
            }
            State::Asked(roll, since) => {
                let (roll, since) = (*roll, *since);
                if is_done(roll, seen) {
                    let took = since.elapsed().as_secs();
                    told.say(&format!("done after {took} s: {roll}"));
                    self.done.push(roll);
                    self.state = State::Resting(after(&self.turns));
                } else {
                    self.acknowledge(stage, seen, told);
                }
            }
        }
    }

    /// Why it is not done, if something was asked for.
    pub(super) fn missing(&self, seen: &Seen) -> Option<String> {
        let (State::Asked(roll, _) | State::Asking(roll)) = &self.state else {
            return None;
        };
        let upgrade = &seen.etcd["status"]["upgrade"];
        let (phase, message) = (text(&upgrade["phase"]), text(&upgrade["message"]));
        Some(format!("{roll} is not done: {phase}: {message}"))
    }

    /// As a person does who is told of a halt and thinks that it can go on.
    fn acknowledge(&mut self, stage: &Stage, seen: &Seen, told: &mut Told) {
        let upgrade = &seen.etcd["status"]["upgrade"];
        let halted = ["Blocked", "RolledBack"].contains(&text(&upgrade["phase"]));
        let attempt = upgrade["record"]["attempt"].to_string();
        if !halted || attempt == self.acknowledged {
            return;
        }
        let annotations = json!({ ACKNOWLEDGE_HALT: attempt });
        if patch(
            stage,
            &json!({ "metadata": { "annotations": annotations } }),
        )
        .is_ok()
        {
            told.say(&format!("acknowledged: the halt of attempt {attempt}"));
            self.acknowledged = attempt;
        }
    }

    fn show(&mut self, seen: &Seen, told: &mut Told) {
        let upgrade = &seen.etcd["status"]["upgrade"];
        let (phase, message) = (text(&upgrade["phase"]), text(&upgrade["message"]));
        let shown = format!("  upgrade {phase}: {message}");
        if !phase.is_empty() && shown != self.shown {
            told.say(&shown);
            self.shown = shown;
        }
    }
}

fn wish(roll: Roll) -> Value {
    match roll {
        Roll::Upgrade => json!({ "spec": { "upgrade": { "enabled": true } } }),
        Roll::Rollback => json!({ "spec": { "upgrade": { "enabled": false } } }),
        Roll::Scale(members) => json!({ "spec": { "replicas": members } }),
    }
}

fn patch(stage: &Stage, patch: &Value) -> Result<String, Box<dyn std::error::Error>> {
    let patch = patch.to_string();
    stage.kubectl(&["patch", "etcd", ETCD, "--type=merge", "--patch", &patch])
}

fn is_done(roll: Roll, seen: &Seen) -> bool {
    let [old, new] = RELEASES;
    let runs = |release: &str| {
        let upgrade = &seen.etcd["status"]["upgrade"];
        upgrade["to"] == release && upgrade["phase"] == "Succeeded"
    };
    match roll {
        Roll::Upgrade => runs(new),
        Roll::Rollback => runs(old),
        Roll::Scale(members) => seen.replicas() == members && seen.missing().is_none(),
    }
}

/// The lane of tasks.
pub(super) struct Tasks {
    turns: VecDeque<Turn<Task>>,
    state: State<(Task, String)>,
    made: u32,
}

impl Tasks {
    pub(super) fn new(plan: &Plan) -> Self {
        let turns: VecDeque<_> = plan.tasks.iter().copied().collect();
        Self {
            state: State::Resting(after(&turns)),
            turns,
            made: 0,
        }
    }

    /// Goes on, if it is time. `more`: makes another one too.
    pub(super) fn go_on(&mut self, more: bool, stage: &Stage, seen: &Seen, told: &mut Told) {
        match &self.state {
            State::Resting(until) if *until <= Instant::now() && more => {
                if let Some(turn) = self.turns.pop_front() {
                    self.made += 1;
                    let name = format!("task-{}", self.made);
                    self.state = State::Asking((turn.what, name));
                }
            }
            State::Resting(_) => {}
            State::Asking((task, name)) => {
                // It may be there already: the answer may have been lost.
                if stage.apply(&[object(*task, name)]).is_ok() {
                    told.say(&format!("made: {name}, a {task}"));
                    self.state = State::Asked((*task, name.clone()), Instant::now());
                }
            }
            State::Asked((task, name), since) => {
                let state = seen.state(name).unwrap_or_default();
                let took = since.elapsed().as_secs();
                if is_over(state) {
                    let seen = seen.tasks().into_iter().find(|it| it.name == *name);
                    let reason = seen.and_then(|it| it.reason).unwrap_or_default();
                    told.say(&format!(
                        "{state} after {took} s: {name}, a {task}: {reason}"
                    ));
                    self.state = State::Resting(after(&self.turns));
                } else if since.elapsed() > PATIENCE {
                    told.say(&format!("`{state}` after {took} s: {name}, a {task}"));
                    self.state = State::Resting(after(&self.turns));
                }
            }
        }
    }
}

/// The object of a task.
pub(super) fn object(task: Task, name: &str) -> Value {
    let config = match task {
        Task::FullSnapshot => json!({ "onDemandSnapshot": { "type": "full" } }),
        Task::DeltaSnapshot => json!({ "onDemandSnapshot": { "type": "delta" } }),
        Task::Defragment => json!({ "onDemandMaintenance": { "etcdDefragmentation": true } }),
        Task::CompactAndDefragment => json!({ "onDemandMaintenance": {
            "etcdCompaction": true, "compactionAge": "30s", "etcdDefragmentation": true,
        } }),
        Task::CompactSnapshots => json!({ "onDemandSnapshotCompaction": {} }),
    };
    json!({
        "apiVersion": "druid.gardener.cloud/v1alpha1", "kind": "EtcdOpsTask",
        "metadata": { "name": name, "namespace": NAMESPACE },
        "spec": { "etcdName": ETCD, "ttlSecondsAfterFinished": KEPT, "config": config },
    })
}
