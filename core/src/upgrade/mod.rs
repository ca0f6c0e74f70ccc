//! Every roll over a cluster's members, forward, back, or on the same release for the sake of
//! something else that a person has changed: [`decide`] looks at what was asked for, at the record of
//! how far it is and at what was seen, and says what is to be done next. `Round::RULES` is the whole
//! decision; its state space is searched in `tests/upgrade_exhaustive`.

mod health;
mod order;
mod record;
mod replacement;
mod shown;
mod snapshot;
mod step;
mod stored;
#[cfg(test)]
mod template_tests;
#[cfg(test)]
mod tests;

use jiff::Timestamp;

pub use record::{
    Limits, MemberPhase, Phase, Policy, Record, Replacement, Snapshot, SnapshotState, Want,
};
pub use shown::{Event, Shown, ShownPhase, SnapshotTask, shown};
pub use step::{Act, Halt, Needs, Step, Trouble, Wait, Why};
pub use stored::{StoredError, StoredWhat};

use crate::make::Make;
use crate::observed::{AlarmKind, Answered, Hashes, Looked, Observed};
use crate::preflight;
use crate::refusal::Refusal;
use crate::version::{self, Direction, Version};

/// What to do next, and the record to write before it is done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// How far it is now. Has to be on stable storage before `step` is carried out.
    pub record: Record,
    /// The one thing to do.
    pub step: Step,
}

/// Decides. The same values always give the same decision.
pub fn decide(want: &Want, record: &Record, seen: &Observed, now: Timestamp) -> Decision {
    let mut round = Round {
        want,
        seen,
        now,
        record: record.clone(),
    };
    round.follow_the_target();
    let step = Round::RULES
        .iter()
        .find_map(|rule| rule(&mut round))
        .unwrap_or(Step::Done);
    round.note(&step);
    Decision {
        record: round.record,
        step,
    }
}

/// One decision in the making.
struct Round<'a> {
    want: &'a Want,
    seen: &'a Observed,
    now: Timestamp,
    record: Record,
}

impl Round<'_> {
    /// Every rule, the most cautious first. Each says what to do, or nothing, which leaves it to
    /// the next one.
    const RULES: [fn(&mut Self) -> Option<Step>; 14] = [
        Self::halted,
        Self::settled,
        Self::complete,
        Self::mended,
        Self::allowed,
        Self::paused,
        Self::listed,
        Self::healthy,
        Self::led,
        Self::snapshotted,
        Self::held,
        Self::templated,
        Self::followers,
        Self::leader,
    ];

    /// Another target, an acknowledged halt or a member that has left the target by itself begins
    /// another attempt. Another template alone does not end a halt that is about more than that.
    fn follow_the_target(&mut self) {
        let acknowledged =
            self.record.halt.is_some() && self.want.acknowledged == self.record.attempt;
        let target = &self.want.target;
        let another = match &self.record.halt {
            Some(halt) if !halt.ends_with_the_template() => {
                target.version != self.record.to.version
            }
            Some(_) | None => *target != self.record.to,
        };
        let elsewhere = self.elsewhere();
        // One that was away may turn out to run another release than those that only restart.
        let restarts = self.record.halt.is_none() && self.record.direction() == Direction::Same;
        let drifted = elsewhere.as_ref().is_some_and(|found| {
            self.record.phase == Phase::Done || restarts && found.version != target.version
        });
        if another || acknowledged || drifted {
            let last = if *target == self.record.to {
                &self.record.from
            } else {
                &self.record.to
            };
            let from = elsewhere.unwrap_or_else(|| last.clone());
            self.record = self.record.next_attempt(from, target.clone(), self.now);
        }
    }

    /// What a member off the target is made from: one of another release, if there is one, because
    /// that says which way it goes.
    fn elsewhere(&self) -> Option<Make> {
        let target = &self.want.target;
        let another = |(_, version): &(_, Version)| *version != target.version;
        let off = || self.seen.off(target);
        let (name, version) = off().find(another).or_else(|| off().next())?;
        let make = self.seen.processes[name].make().unwrap_or(target);
        let template = make.template.clone();
        Some(Make { version, template })
    }

    /// A halt stays until it is acknowledged.
    fn halted(&mut self) -> Option<Step> {
        self.record.halt.clone().map(Step::Halt)
    }

    /// All members run the target, the cluster has agreed on it, and they hold the same data.
    fn complete(&mut self) -> Option<Step> {
        let target = self.record.to.clone();
        if self.seen.off(&target).next().is_some() {
            return None;
        }
        if self.seen.template != target {
            return Some(Step::Act(Act::SetTemplate(target.version)));
        }
        if self.record.phase != Phase::Done {
            if let Some((member, trouble)) = self.seen.unhealthy().next() {
                return Some(self.wait(Why::Unhealthy {
                    member: member.clone(),
                    trouble,
                }));
            }
            self.record.phase = Phase::AwaitingClusterVersion;
            let expected = target.version.minor;
            let other = |(_, status): &(_, &crate::observed::Status)| {
                status.cluster_version != Some(expected)
            };
            if let Some((member, status)) = self.seen.etcd.answers().find(other) {
                let found = status.cluster_version;
                return Some(self.wait(Why::ClusterVersion {
                    member: member.clone(),
                    found,
                    expected,
                }));
            }
            let Looked::Data(hashes) = &self.seen.looked else {
                return Some(Step::Look(Needs::Data));
            };
            if let Some(step) = self.same_data(hashes) {
                return Some(step);
            }
        }
        self.record.phase = Phase::Done;
        self.record.current = None;
        Some(Step::Done)
    }

    /// The preflight has passed, not long ago if no member was touched yet. Going on backwards
    /// with what an unfinished upgrade has left needs no more than a step that is allowed: the way
    /// back is open at every point.
    fn allowed(&mut self) -> Option<Step> {
        let fresh = |at: Timestamp| {
            self.record.touched || self.now.duration_since(at) <= self.want.limits.preflight_age
        };
        if self.record.cleared.is_some_and(fresh) {
            return None;
        }
        self.record.phase = Phase::Preflight;
        if self.record.inherited() && self.record.direction() == Direction::Downgrade {
            if let Err(step) = version::step(self.record.from.version, self.record.to.version) {
                return Some(Step::Refuse(vec![Refusal::VersionStepUnsupported(step)]));
            }
        } else {
            let Looked::Preflight(deep) = &self.seen.looked else {
                return Some(Step::Look(Needs::Preflight));
            };
            let between = (self.record.from.version, self.record.to.version);
            let ask = preflight::Ask {
                to: self.record.to.version,
                config: None,
                allowed_mixed: self.record.inherited().then_some(between),
            };
            let judged = preflight::judge(&ask, &self.seen.etcd, deep);
            if !judged.refusals.is_empty() {
                return Some(Step::Refuse(judged.refusals));
            }
            if !judged.unknowns.is_empty() {
                return Some(self.wait(Why::PreflightUnknown(judged.unknowns)));
            }
        }
        self.record.cleared = Some(self.now);
        None
    }

    /// No member is touched while it is paused.
    fn paused(&mut self) -> Option<Step> {
        self.want.policy.paused.then(|| self.wait(Why::Paused))
    }

    /// The member list is that of the platform, and no alarm is raised. NOSPACE keeps it from going
    /// up only: the way back is open, and a larger quota comes with a restart.
    fn listed(&mut self) -> Option<Step> {
        let expected = self.seen.processes.len();
        match &self.seen.etcd.membership {
            Answered::Unknown(why) => return Some(self.wait(Why::MembershipUnknown(why.clone()))),
            Answered::Known(list) if list.len() != expected => {
                return Some(self.wait(Why::MembershipDiffers {
                    listed: list.len(),
                    expected,
                }));
            }
            Answered::Known(_) => {}
        }
        let alarms = match &self.seen.etcd.alarms {
            Answered::Unknown(why) => return Some(self.wait(Why::AlarmsUnknown(why.clone()))),
            Answered::Known(alarms) => alarms,
        };
        let up = self.record.direction() == Direction::Upgrade;
        if alarms.iter().any(|alarm| alarm.kind == AlarmKind::Corrupt) {
            return Some(self.halt(Halt::Corrupt));
        }
        let stops = |kind: AlarmKind| up || kind != AlarmKind::NoSpace;
        let alarm = alarms
            .iter()
            .map(|alarm| alarm.kind)
            .find(|kind| stops(*kind))?;
        Some(self.wait(Why::AlarmActive(alarm)))
    }

    /// All members are well. On the way back, the only one that is not goes first if it still has
    /// to go: it cannot cost the quorum anything.
    fn healthy(&mut self) -> Option<Step> {
        let (member, trouble) = self.seen.unhealthy().next()?;
        if self.may_go_unwell(member, &trouble) {
            return self.templated().or_else(|| self.replace(member));
        }
        Some(self.wait(Why::Unhealthy {
            member: member.clone(),
            trouble,
        }))
    }

    /// A majority agrees on who leads.
    fn led(&mut self) -> Option<Step> {
        self.seen
            .etcd
            .leader()
            .is_none()
            .then(|| self.wait(Why::NoLeader))
    }

    /// What to do unless all members hold the same data.
    fn same_data(&mut self, hashes: &Hashes) -> Option<Step> {
        match hashes {
            Hashes::Equal { .. } => None,
            Hashes::Unknown(why) => Some(self.wait(Why::NotComparable(why.clone()))),
            Hashes::Different { revision, hashes } => {
                let hashes: Vec<_> = hashes
                    .iter()
                    .map(|(name, hash)| format!("{name} {hash:08x}"))
                    .collect();
                let hashes = hashes.join(", ");
                Some(self.halt(Halt::HashMismatch {
                    revision: *revision,
                    hashes,
                }))
            }
        }
    }

    fn halt(&mut self, halt: Halt) -> Step {
        self.record.halt = Some(halt.clone());
        Step::Halt(halt)
    }

    fn wait(&mut self, why: Why) -> Step {
        let limits = &self.want.limits;
        let since = match (&self.record.waiting, &self.record.current) {
            (_, Some(current)) if matches!(why, Why::ComingUp { .. }) => current.since,
            (Some((code, since)), _) if code == why.code() => *since,
            _ => self.now,
        };
        let limit = if matches!(why, Why::ComingUp { .. }) {
            limits.member
        } else if matches!(why, Why::SnapshotTaking(_) | Why::SnapshotVerifying(_)) {
            limits.snapshot
        } else {
            limits.wait
        };
        let deadline = (!why.is_for_a_person()).then(|| since + limit);
        let overdue = deadline.is_some_and(|deadline| self.now > deadline);
        Step::Wait(Wait {
            why,
            since,
            deadline,
            overdue,
        })
    }

    /// Whether the wait is for what is looked for again, and so goes on.
    fn waits_for(&self, needs: &Needs) -> bool {
        let unknown = match needs {
            Needs::Preflight => Why::PreflightUnknown(Vec::new()),
            Needs::Data => Why::NotComparable(String::new()),
            Needs::Nothing | Needs::Member(_) => return false,
        };
        let waiting = self.record.waiting.as_ref();
        waiting.is_some_and(|(code, _)| code == unknown.code())
    }

    /// Keeps in the record what people see.
    fn note(&mut self, step: &Step) {
        match step {
            Step::Wait(wait) => {
                self.record.waiting = Some((wait.why.code().to_owned(), wait.since));
            }
            Step::Look(needs) if self.waits_for(needs) => {}
            Step::Done | Step::Look(_) | Step::Act(_) | Step::Refuse(_) | Step::Halt(_) => {
                self.record.waiting = None;
            }
        }
        if let Step::Halt(halt) = step {
            self.record.phase = match halt {
                Halt::PutBack { .. } => Phase::RolledBack,
                Halt::SnapshotFailed { .. }
                | Halt::StaysDown { .. }
                | Halt::PutBackFailed { .. }
                | Halt::HashMismatch { .. }
                | Halt::Corrupt => Phase::Blocked,
            };
        }
    }
}
