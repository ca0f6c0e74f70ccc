//! The one member that was disturbed has to be seen well before anything else happens; if it does
//! not come up it is put back, and it alone.

use super::{Act, Halt, MemberPhase, Phase, Replacement, Round, Step, Trouble, Why};
use crate::observed::{Answered, Looked, Process};
use crate::upgrade::Needs;

impl Round<'_> {
    /// No member is being replaced, or the one that is has just been seen well.
    pub(super) fn settled(&mut self) -> Option<Step> {
        let replacement = self.record.current.clone()?;
        let goal = if replacement.failed.is_some() {
            replacement.from
        } else {
            replacement.to
        };
        let Some(process) = self.seen.processes.get(&replacement.member) else {
            // The platform no longer runs it (scaled in): nothing to bring back.
            self.record.current = None;
            return None;
        };
        if process.version().is_some_and(|version| version != goal) {
            return match &replacement.failed {
                None => self.not_begun(&replacement),
                Some(Trouble::TargetChanged)
                    if self.seen.trouble(&replacement.member).is_none() =>
                {
                    // It came up after all: no reason to disturb it out of turn.
                    self.record.current = None;
                    None
                }
                Some(_) => Some(self.put_back(replacement)),
            };
        }
        match self.shortcoming(&replacement) {
            None => self.confirm(replacement),
            Some(trouble) => Some(self.missing(replacement, trouble)),
        }
    }

    /// It still runs what it ran. If it is well it was never disturbed and all is open again.
    fn not_begun(&mut self, replacement: &Replacement) -> Option<Step> {
        let trouble = self.seen.trouble(&replacement.member)?;
        let member = replacement.member.clone();
        // One that ends by itself is not on its way down by our hand.
        let why = if matches!(trouble, Trouble::Failing { .. }) {
            Why::Unhealthy { member, trouble }
        } else {
            Why::GoingDown { member }
        };
        Some(self.wait(why))
    }

    /// Why the member is not well, or not what it should be.
    fn shortcoming(&self, replacement: &Replacement) -> Option<Trouble> {
        let goal = if replacement.failed.is_some() {
            replacement.from
        } else {
            replacement.to
        };
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
        if says != goal {
            return Some(Trouble::OtherVersion(says));
        }
        match &self.seen.looked {
            Looked::Member {
                name,
                write: Answered::Unknown(why),
                ..
            } if *name == replacement.member => Some(Trouble::NoWrites(why.clone())),
            Looked::Member { .. } | Looked::Nothing | Looked::Preflight(_) | Looked::Data(_) => {
                None
            }
        }
    }

    /// It is not well (yet): wait, put it back, or give up.
    fn missing(&mut self, replacement: Replacement, trouble: Trouble) -> Step {
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
        if replacement.failed.is_some() {
            if hopeless || late {
                let Replacement {
                    member,
                    from: version,
                    ..
                } = replacement;
                return self.halt(Halt::PutBackFailed {
                    member,
                    version,
                    trouble,
                });
            }
        } else if hopeless || late {
            return self.fail(replacement, trouble);
        } else if self.record.to == replacement.from {
            return self.fail(replacement, Trouble::TargetChanged);
        }
        let version = if replacement.failed.is_some() {
            replacement.from
        } else {
            replacement.to
        };
        self.wait(Why::ComingUp {
            member: replacement.member,
            version,
            trouble,
        })
    }

    fn fail(&mut self, replacement: Replacement, trouble: Trouble) -> Step {
        let replacement = Replacement {
            failed: Some(trouble),
            since: self.now,
            ..replacement
        };
        self.record.current = Some(replacement.clone());
        self.put_back(replacement)
    }

    /// Brings the member back to what it ran. One that does nothing for the quorum may be touched
    /// at any time, any other only while the rest is well.
    fn put_back(&mut self, replacement: Replacement) -> Step {
        self.record.phase = Phase::PuttingBack;
        let Replacement { member, from, .. } = replacement;
        if self.seen.template != from {
            return Step::Act(Act::SetTemplate(from));
        }
        let incarnation = match self.seen.processes[&member] {
            Process::Absent => {
                let version = from;
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
                    && let Some(to) = self.successor(&member)
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
                write: Answered::Known(()),
                hashes,
            } if *name == member => hashes,
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
            self.record.members.insert(member, MemberPhase::Replaced);
            return None;
        };
        self.record
            .members
            .insert(member.clone(), MemberPhase::PutBack);
        if trouble == Trouble::TargetChanged || self.record.to != to {
            return None;
        }
        Some(self.halt(Halt::PutBack {
            member,
            version: to,
            back: from,
            trouble,
        }))
    }
}
