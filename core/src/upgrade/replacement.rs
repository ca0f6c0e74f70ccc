//! The one member that was disturbed has to be seen well before anything else happens. If it does
//! not come up it is put back to the release that it ran, and it alone; where there is no other
//! release, it stays and a person has to look. If the template changes meanwhile, it gets the new one.

use super::{Act, Halt, MemberPhase, Phase, Replacement, Round, Step, Trouble, Why};
use crate::make::Make;
use crate::observed::{AlarmKind, Answered, Looked, Process};
use crate::upgrade::Needs;
use crate::version::Direction;

impl Round<'_> {
    /// No member is being replaced, or the one that is has just been seen well.
    pub(super) fn settled(&mut self) -> Option<Step> {
        let replacement = self.record.current.clone()?;
        let Some(process) = self.seen.processes.get(&replacement.member) else {
            // The platform no longer runs it (scaled in): nothing to bring back.
            self.record.current = None;
            return None;
        };
        let ought = self.ought(&replacement, process);
        match (process.make(), &replacement.failed) {
            (Some(make), None) if *make == replacement.from && *make != ought => {
                return self.not_begun(&replacement);
            }
            (Some(make), Some(trouble)) if make.version != ought.version => {
                let well = self.seen.trouble(&replacement.member).is_none();
                if *trouble == Trouble::TargetChanged && well {
                    // It came up after all: no reason to disturb it out of turn.
                    self.record.current = None;
                    return None;
                }
                return Some(self.again(replacement, process));
            }
            (None | Some(_), None | Some(_)) => {}
        }
        match self.shortcoming(&replacement, process) {
            None => self.confirm(replacement),
            Some(trouble) => Some(self.missing(replacement, process, trouble)),
        }
    }

    /// What the member in hand should be made from by now. Only a release can be chosen: the rest
    /// is what a person asks for now. One that has come as what is asked for now is right.
    fn ought(&self, replacement: &Replacement, process: &Process) -> Make {
        let target = &self.record.to;
        let Replacement { from, to, .. } = replacement;
        let there = process.make().is_some_and(|it| it == target && it != from);
        let release = match replacement.failed {
            Some(_) => from,
            None if there => target,
            None => to,
        };
        Make {
            version: release.version,
            template: target.template.clone(),
        }
    }

    /// It still is what it was. If it is well it was never disturbed and all is open again. One
    /// that was to go because it is not well is asked again: whoever decided that may have died
    /// before asking.
    fn not_begun(&mut self, replacement: &Replacement) -> Option<Step> {
        let trouble = self.seen.trouble(&replacement.member)?;
        let member = replacement.member.clone();
        // One that ends by itself is not on its way down by our hand.
        let ends = matches!(trouble, Trouble::Failing { .. });
        let late = self.now.duration_since(replacement.since) > self.want.limits.wait;
        let open = !self.want.policy.paused && self.may_go_unwell(&member, &trouble);
        if open && (ends || late) {
            return self.templated().or_else(|| self.replace(&member));
        }
        if let Some(step) = self.quorum_first() {
            return Some(step);
        }
        let why = if ends {
            Why::Unhealthy { member, trouble }
        } else {
            Why::GoingDown { member }
        };
        Some(self.wait(why))
    }

    /// Why the member is not well, or not what it should be.
    fn shortcoming(&self, replacement: &Replacement, process: &Process) -> Option<Trouble> {
        if let Some(trouble) = self.seen.trouble(&replacement.member) {
            return Some(trouble);
        }
        let says = self
            .seen
            .etcd
            .members
            .get(&replacement.member)?
            .status()?
            .version;
        if process.version() != Some(says) {
            return Some(Trouble::OtherVersion(says));
        }
        match &self.seen.looked {
            Looked::Member {
                name,
                write: Answered::Unknown(why),
                ..
            } if *name == replacement.member && !self.full() => {
                Some(Trouble::NoWrites(why.clone()))
            }
            Looked::Member { .. } | Looked::Nothing | Looked::Preflight(_) | Looked::Data(_) => {
                None
            }
        }
    }

    /// No member takes writes: that says nothing of the one in hand.
    fn full(&self) -> bool {
        self.seen.etcd.has_alarm(AlarmKind::NoSpace)
    }

    /// It is not well (yet): wait, replace it once more, put it back, or give up.
    fn missing(&mut self, replacement: Replacement, process: &Process, trouble: Trouble) -> Step {
        let limits = &self.want.limits;
        let late = self.now.duration_since(replacement.since) > limits.member;
        let hopeless = match &trouble {
            Trouble::Failing { exits, .. } => *exits >= limits.exits,
            Trouble::OtherVersion(_) => true,
            Trouble::Absent
            | Trouble::Silent(_)
            | Trouble::Learner
            | Trouble::NotListed
            | Trouble::NotReady(_)
            | Trouble::NoLeader
            | Trouble::Behind(_)
            | Trouble::NoWrites(_)
            | Trouble::TargetChanged => false,
        };
        let lost = hopeless || late;
        let back = replacement.failed.is_some();
        let another = replacement.from.version != replacement.to.version;
        if !back && another && self.record.to.version == replacement.from.version {
            let trouble = if lost {
                trouble
            } else {
                Trouble::TargetChanged
            };
            return self.fail(replacement, process, trouble);
        }
        if !hopeless && let Some(step) = self.quorum_first() {
            return step;
        }
        let ought = self.ought(&replacement, process);
        if process.make().is_some_and(|make| *make != ought) {
            return self.again(replacement, process);
        }
        let member = replacement.member.clone();
        // Nobody is blamed who may be waiting for the others.
        let others = self.seen.unhealthy().any(|(name, _)| *name != member);
        match (lost, back, another) {
            (true, false, false) if hopeless || !others => {
                self.halt(Halt::StaysDown { member, trouble })
            }
            (true, true, _) => self.halt(Halt::PutBackFailed {
                member,
                version: ought.version,
                trouble,
            }),
            (true, false, true) => self.fail(replacement, process, trouble),
            (true, false, false) | (false, _, _) => self.wait(Why::ComingUp {
                member,
                version: ought.version,
                trouble,
            }),
        }
    }

    /// Without quorum nobody can be seen well. Another that ends by itself serves nobody and has to
    /// go anyway: with it the quorum may come back.
    fn quorum_first(&mut self) -> Option<Step> {
        let same = self.record.direction() == Direction::Same;
        if !same || self.want.policy.paused || self.seen.etcd.leader().is_some() {
            return None;
        }
        let (member, _) = self.seen.unhealthy().find(|(member, trouble)| {
            matches!(trouble, Trouble::Failing { .. }) && self.may_go_unwell(member, trouble)
        })?;
        self.templated().or_else(|| self.replace(member))
    }

    fn fail(&mut self, replacement: Replacement, process: &Process, trouble: Trouble) -> Step {
        let replacement = Replacement {
            failed: Some(trouble),
            since: self.now,
            ..replacement
        };
        self.record.current = Some(replacement.clone());
        self.again(replacement, process)
    }

    /// Replaces the member in hand once more: to put it back to the release that it ran, or for a
    /// template that has changed since. One that does nothing for the quorum may be touched at any
    /// time, any other only while the rest is well.
    fn again(&mut self, replacement: Replacement, process: &Process) -> Step {
        let ought = self.ought(&replacement, process);
        let Replacement { member, failed, .. } = replacement;
        self.record.phase = if failed.is_some() {
            Phase::PuttingBack
        } else {
            Phase::Rolling
        };
        let version = ought.version;
        if self.seen.template != ought {
            return Step::Act(Act::SetTemplate(version));
        }
        let incarnation = match *process {
            Process::Absent => {
                return self.wait(Why::ComingUp {
                    member,
                    version,
                    trouble: Trouble::Absent,
                });
            }
            Process::Failing { incarnation, .. } => incarnation,
            Process::Running { incarnation, .. } => {
                let other = self.seen.unhealthy().find(|(name, _)| **name != member);
                if let Some((other, trouble)) = other {
                    return self.wait(Why::Unhealthy {
                        member: other.clone(),
                        trouble,
                    });
                }
                if self.seen.etcd.leader() == Some(&member)
                    && let Some(to) = self.successor(&member, |_| true)
                {
                    return Step::Act(Act::MoveLeader { from: member, to });
                }
                incarnation
            }
        };
        self.record.touched = true;
        if let Some(current) = &mut self.record.current {
            current.since = self.now;
        }
        Step::Act(Act::Restart {
            member,
            incarnation,
        })
    }

    /// It is well by itself: do writes go through it, and does it hold the same data?
    fn confirm(&mut self, replacement: Replacement) -> Option<Step> {
        let member = replacement.member.clone();
        let hashes = match &self.seen.looked {
            Looked::Member {
                name,
                write,
                hashes,
            } if *name == member && (*write == Answered::Known(()) || self.full()) => hashes,
            Looked::Member { .. } | Looked::Nothing | Looked::Preflight(_) | Looked::Data(_) => {
                return Some(Step::Look(Needs::Member(member)));
            }
        };
        self.same_data(hashes).or_else(|| self.accept(replacement))
    }

    /// It is well. If it failed on the release that is still asked for, a person has to look.
    fn accept(&mut self, replacement: Replacement) -> Option<Step> {
        self.record.current = None;
        let Replacement {
            member,
            from,
            to,
            failed,
            ..
        } = replacement;
        let Some(trouble) = failed else {
            // One that came up on what is no longer asked for goes again, in its turn.
            if self.seen.is_off(&member, &self.record.to) {
                self.record.members.remove(&member);
            } else {
                self.record.members.insert(member, MemberPhase::Replaced);
            }
            return None;
        };
        self.record
            .members
            .insert(member.clone(), MemberPhase::PutBack);
        if trouble == Trouble::TargetChanged || self.record.to.version != to.version {
            return None;
        }
        Some(self.halt(Halt::PutBack {
            member,
            version: to.version,
            back: from.version,
            trouble,
        }))
    }
}
