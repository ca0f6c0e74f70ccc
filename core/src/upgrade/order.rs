//! Who goes next: at most one, followers before the leader, and one that serves nobody before all.

use super::{Act, MemberPhase, Phase, Replacement, Round, Step, Trouble, Why};
use crate::member::MemberName;
use crate::observed::{AlarmKind, Answered, Process};
use crate::version::Direction;

impl Round<'_> {
    /// On a roll that changes no release, a member that serves nobody and has to go anyway goes
    /// before everything else: a spec that was corrected has to reach the member that it is for,
    /// and no preflight can pass while that is down.
    pub(super) fn mended(&mut self) -> Option<Step> {
        let corrupt = self.seen.etcd.has_alarm(AlarmKind::Corrupt);
        if self.record.direction() != Direction::Same || self.want.policy.paused || corrupt {
            return None;
        }
        let may = |(member, trouble): &(&MemberName, Trouble)| self.may_go_unwell(member, trouble);
        let (member, _) = self.seen.unhealthy().find(may)?;
        self.record.phase = Phase::Rolling;
        self.templated().or_else(|| self.replace(member))
    }

    /// Whether a member may go although it is not well: it has to go anyway, and serves nobody. As
    /// far as we can see, that is: so it must be the only one that is not well. One that ends by
    /// itself surely serves nobody, and a single member has no quorum to lose.
    pub(super) fn may_go_unwell(&self, member: &MemberName, trouble: &Trouble) -> bool {
        let ends = match trouble {
            Trouble::Failing { .. } => true,
            Trouble::Silent(_) | Trouble::NotReady(_) => false,
            Trouble::Absent
            | Trouble::Learner
            | Trouble::NotListed
            | Trouble::NoLeader
            | Trouble::Behind(_)
            | Trouble::OtherVersion(_)
            | Trouble::NoWrites(_)
            | Trouble::TargetChanged => return false,
        };
        let single = self.seen.processes.len() == 1;
        let goes = match self.record.direction() {
            Direction::Upgrade => false,
            Direction::Downgrade => self.record.inherited() && self.rest_is_well(),
            Direction::Same => ends || single || self.rest_is_well(),
        };
        goes && self.seen.is_off(member, &self.record.to)
    }

    /// One member is not well at the most, and the others are led.
    fn rest_is_well(&self) -> bool {
        let listed = match &self.seen.etcd.membership {
            Answered::Known(list) => list.len() == self.seen.processes.len(),
            Answered::Unknown(_) => false,
        };
        listed && self.seen.etcd.leader().is_some() && self.seen.unhealthy().count() <= 1
    }

    /// The places where a person wants to look first. They are about releases: until the last
    /// member goes, the cluster version stays.
    pub(super) fn held(&mut self) -> Option<Step> {
        self.record.phase = Phase::Rolling;
        if self.record.direction() == Direction::Same {
            return None;
        }
        let members = self.seen.processes.len();
        let replaced = members - self.on_another_release().count();
        let limit = self.want.policy.pause_after;
        if limit.is_some_and(|limit| replaced >= limit) {
            return Some(self.wait(Why::PausedAfter { replaced, members }));
        }
        let member = self.held_back()?.clone();
        if self.due().next().is_some() {
            return None;
        }
        Some(self.wait(Why::HeldLast { member }))
    }

    /// The members that run another release than the target's.
    pub(super) fn on_another_release(&self) -> impl Iterator<Item = &MemberName> {
        let target = &self.record.to;
        self.seen
            .off(target)
            .filter(|(_, version)| *version != target.version)
            .map(|(name, _)| name)
    }

    /// The last member on the old release, if a person wants it left there. The way back holds nobody:
    /// it is what the member was held for.
    fn held_back(&self) -> Option<&MemberName> {
        if self.record.direction() != Direction::Upgrade {
            return None;
        }
        let mut others = self.on_another_release();
        let last = others.next().filter(|_| self.want.policy.hold_last)?;
        others.next().is_none().then_some(last)
    }

    /// The members that have to go and may.
    fn due(&self) -> impl Iterator<Item = &MemberName> {
        let held = self.held_back();
        self.seen
            .off(&self.record.to)
            .map(|(name, _)| name)
            .filter(move |name| Some(*name) != held)
    }

    /// A member that is created now is made from the target.
    pub(super) fn templated(&mut self) -> Option<Step> {
        let target = &self.record.to;
        (self.seen.template != *target).then_some(Step::Act(Act::SetTemplate(target.version)))
    }

    /// Followers go first, the last one in name order before the others.
    pub(super) fn followers(&mut self) -> Option<Step> {
        let leader = self.seen.etcd.leader();
        let follower = self.due().filter(|name| leader != Some(name));
        let follower = follower.last()?.clone();
        self.replace(&follower)
    }

    /// The leader goes last, after it has handed over to a member on the target. One that is alone
    /// has nobody to hand over to.
    pub(super) fn leader(&mut self) -> Option<Step> {
        let leader = self.due().next()?.clone();
        if self.seen.processes.len() == 1 {
            return self.replace(&leader);
        }
        let there = |name: &MemberName| !self.seen.is_off(name, &self.record.to);
        Some(match self.successor(&leader, there) {
            Some(to) => Step::Act(Act::MoveLeader { from: leader, to }),
            None => self.wait(Why::NoSuccessor),
        })
    }

    /// Who takes over from the leader: the last of the others that are fit in name order, which was
    /// replaced first. All of them are well; a choice by who is ahead would change with every look.
    pub(super) fn successor(
        &self,
        leader: &MemberName,
        fit: impl Fn(&MemberName) -> bool,
    ) -> Option<MemberName> {
        let others = self.seen.etcd.answers().map(|(name, _)| name);
        let fit = others.filter(|name| *name != leader && fit(name));
        fit.last().cloned()
    }

    /// Replaces a member.
    pub(super) fn replace(&mut self, member: &MemberName) -> Option<Step> {
        let (Process::Running { incarnation, make }
        | Process::Failing {
            incarnation, make, ..
        }) = &self.seen.processes[member]
        else {
            return None;
        };
        self.record.touched = true;
        self.record
            .members
            .insert(member.clone(), MemberPhase::Replacing);
        self.record.current = Some(Replacement {
            member: member.clone(),
            from: make.clone(),
            to: self.record.to.clone(),
            since: self.now,
            failed: None,
        });
        Some(Step::Act(Act::Restart {
            member: member.clone(),
            incarnation: *incarnation,
        }))
    }
}
