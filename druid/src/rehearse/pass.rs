//! One pass over the members: an upgrade or the way back, by the engine or, to compare with, as a
//! StatefulSet does it.

use std::time::Duration;

use druid_core::make::Make;
use druid_core::member::MemberName;
use druid_core::observed::Process;
use druid_core::report::{Pass, StepResult};
use druid_core::upgrade::{Act, MemberPhase, Phase, Policy, Want};
use druid_core::version::Version;
use jiff::Timestamp;

use super::faults::{self, Fault, Slow};
use super::host::{Heard, HostError, leader};
use super::wire::{Kind, Said};
use super::{Rehearsal, limits};
use crate::clock;

/// How long the naive roll waits for a member.
const NAIVE_PATIENCE: Duration = Duration::from_mins(1);

/// How a pass ended.
pub(super) struct PassEnd {
    /// The last thing that was decided.
    pub(super) kind: Kind,
    /// It, in words.
    pub(super) words: String,
    /// When it began.
    pub(super) began: Timestamp,
    /// When the first member was touched, or else when it began.
    pub(super) from: Timestamp,
    /// When it ended.
    pub(super) to: Timestamp,
}

/// What is heard of a pass while it goes on.
struct Ear<'a> {
    rehearsal: &'a mut Rehearsal,
    pass: Pass,
    last: String,
    touched: Option<Timestamp>,
    kill_leader: Option<tokio::sync::oneshot::Sender<()>>,
}

impl Rehearsal {
    /// Lets the engine do a pass.
    pub(super) async fn pass(&mut self, pass: Pass, to: Version) -> Result<PassEnd, HostError> {
        let upgrade = pass != Pass::Rollback;
        let policy = if upgrade {
            Policy {
                paused: false,
                pause_after: self.args.pause_after,
                hold_last: self.args.hold_last,
            }
        } else {
            Policy::default()
        };
        let want = Want {
            target: Make::plain(to),
            snapshot: true,
            policy,
            acknowledged: 0,
            limits: limits(),
        };
        let slow = self.slow_follower(upgrade).await;
        let began = clock::now();
        let (kill_leader, killer) = self.leader_killer();
        let host = self.host.clone();
        let runs = self.runs;
        let mut ear = Ear {
            rehearsal: self,
            pass,
            last: String::new(),
            touched: None,
            kill_leader,
        };
        let end = host.roll(want, runs, &mut |heard| ear.hear(heard)).await;
        let touched = ear.touched;
        killer.abort();
        drop(slow);
        let said = end?;
        Ok(PassEnd {
            kind: said.kind,
            words: said.step,
            began,
            from: touched.unwrap_or(began),
            to: clock::now(),
        })
    }

    async fn slow_follower(&self, upgrade: bool) -> Option<Slow> {
        if !upgrade || !self.args.has(Fault::SlowFollower) {
            return None;
        }
        let (leads, _) = leader(&self.host.clients).await?;
        let mut names = self.host.clients.iter().map(|(name, _)| name);
        let follower = names.find(|name| *name != leads)?;
        Some(faults::slow(&self.host.lab, follower.clone()))
    }

    /// A task that kills the leader once it is told to.
    fn leader_killer(
        &self,
    ) -> (
        Option<tokio::sync::oneshot::Sender<()>>,
        tokio::task::JoinHandle<()>,
    ) {
        let (tell, told) = tokio::sync::oneshot::channel();
        let host = self.host.clone();
        let task = tokio::spawn(async move {
            if told.await.is_err() {
                return;
            }
            if let Some((leads, _)) = leader(&host.clients).await {
                let _ = host.lab.kill(leads);
            }
        });
        (self.args.has(Fault::KillLeader).then_some(tell), task)
    }

    /// Rolls as a StatefulSet does: the highest ordinal first, SIGTERM, wait for `/readyz`.
    pub(super) async fn naive_pass(
        &mut self,
        pass: Pass,
        to: Version,
    ) -> Result<PassEnd, HostError> {
        let members = self.host.clients.len() as u64;
        self.story.begin(&pass.to_string(), Some(members));
        let from = clock::now();
        self.host.lab.set_template(to).await?;
        let clients = self.host.clients.clone();
        for (done, (name, client)) in (1..).zip(clients.iter().rev()) {
            let Some(Process::Running { incarnation, .. }) =
                self.host.lab.processes().get(name).cloned()
            else {
                continue;
            };
            self.story.say(&format!("restart {name}"));
            self.host.lab.restart(name, incarnation).await?;
            let ready = async {
                loop {
                    let now = self.host.lab.processes().get(name).cloned();
                    let anew = matches!(now, Some(Process::Running { incarnation: i, .. }) if i > incarnation);
                    let ready = client.http().readyz(Duration::from_secs(1)).await;
                    if anew && matches!(ready, Ok(Ok(()))) {
                        break;
                    }
                    tokio::time::sleep(Duration::from_millis(40)).await;
                }
            };
            if tokio::time::timeout(NAIVE_PATIENCE, ready).await.is_err() {
                return Err(HostError::NoEnd {
                    last: format!("{name} is not ready"),
                });
            }
            self.story.progress(done);
        }
        // Our own roll is over when the cluster has agreed on the release, so this one is too.
        let agreed = async {
            for (_, client) in &clients {
                while !client
                    .http()
                    .version(Duration::from_secs(1))
                    .await
                    .is_ok_and(|versions| versions.cluster == Some(to.minor))
                {
                    tokio::time::sleep(Duration::from_millis(40)).await;
                }
            }
        };
        if tokio::time::timeout(NAIVE_PATIENCE, agreed).await.is_err() {
            let last = "the cluster version does not follow".to_owned();
            return Err(HostError::NoEnd { last });
        }
        let to = clock::now();
        Ok(PassEnd {
            kind: Kind::Done,
            words: "done".to_owned(),
            began: from,
            from,
            to,
        })
    }
}

impl Ear<'_> {
    fn hear(&mut self, heard: Heard) {
        self.rehearsal.show_counters();
        match heard {
            Heard::Said(said) => self.hear_decision(said),
            Heard::Killed(label) => {
                self.rehearsal
                    .story
                    .say(&format!("fault: the engine is killed at {label}"));
            }
        }
    }

    fn hear_decision(&mut self, said: &Said) {
        let record = &said.record;
        self.rehearsal.note_snapshot(record);
        let name = match record.phase {
            Phase::Preflight => "preflight".to_owned(),
            Phase::Snapshot => "snapshot".to_owned(),
            Phase::Rolling
            | Phase::AwaitingClusterVersion
            | Phase::PuttingBack
            | Phase::RolledBack => self.pass.to_string(),
            Phase::Done | Phase::Blocked => self
                .rehearsal
                .story
                .current()
                .unwrap_or("preflight")
                .to_owned(),
        };
        let name = match (self.pass, name.as_str()) {
            (Pass::Upgrade, _) | (Pass::Rollback, "rollback") | (_, "upgrade again") => name,
            (pass, _) => format!("{name} ({pass})"),
        };
        let story = &mut self.rehearsal.story;
        if story.current() != Some(&name) {
            let members = self.rehearsal.host.clients.len() as u64;
            let rolls = name == self.pass.to_string();
            story.begin(&name, rolls.then_some(members));
        }
        let replaced = record
            .members
            .values()
            .filter(|phase| **phase == MemberPhase::Replaced)
            .count();
        if record.phase == Phase::Rolling {
            story.progress(replaced as u64);
        }
        if let Kind::Acts(Act::Restart { .. } | Act::MoveLeader { .. }) = said.kind {
            self.touched.get_or_insert_with(clock::now);
        }
        let alone = self.rehearsal.host.clients.len() == 1;
        let midway =
            record.phase == Phase::Rolling && replaced > 0 || alone && record.cleared.is_some();
        if midway && let Some(tell) = self.kill_leader.take() {
            story.say("fault: the leader is killed");
            let _ = tell.send(());
        }
        if said.step != self.last && said.kind != Kind::Looks {
            self.last.clone_from(&said.step);
            story.say(&said.step);
        }
    }
}

/// What a pass means for its step.
pub(super) fn result(kind: &Kind) -> StepResult {
    match kind {
        Kind::Done | Kind::Waits { .. } => StepResult::Passed,
        Kind::Refuses(_) => StepResult::Refused,
        Kind::Halts(druid_core::upgrade::Halt::PutBack { .. }) => StepResult::PutBack,
        Kind::Halts(
            druid_core::upgrade::Halt::SnapshotFailed { .. }
            | druid_core::upgrade::Halt::StaysDown { .. }
            | druid_core::upgrade::Halt::PutBackFailed { .. }
            | druid_core::upgrade::Halt::HashMismatch { .. }
            | druid_core::upgrade::Halt::Corrupt,
        ) => StepResult::Halted,
        Kind::Looks | Kind::Acts(_) => StepResult::Failed,
    }
}

/// Which members a pass has restarted, by demand, in a time.
pub(super) fn demanded(
    events: &[crate::lab::events::Event],
    from: Timestamp,
    to: Timestamp,
) -> Vec<MemberName> {
    use crate::lab::events::{Cause, What};
    events
        .iter()
        .filter(|event| event.at >= from && event.at <= to)
        .filter_map(|event| match &event.what {
            What::Started {
                member,
                cause: Cause::Demanded,
                ..
            } => Some(member.clone()),
            What::Started { .. }
            | What::Stopped { .. }
            | What::Exited { .. }
            | What::TemplateSet { .. } => None,
        })
        .collect()
}
