//! Which members are well, and which run what.

use super::Trouble;
use crate::make::Make;
use crate::member::{MemberId, MemberName};
use crate::observed::{Answer, Answered, MAX_RAFT_LAG, Observed, Process};
use crate::version::Version;

impl Observed {
    /// The members that are known to be of another make than this one, with the release that each
    /// runs. What a member says of itself counts for more than what it was started as.
    pub fn off(&self, target: &Make) -> impl Iterator<Item = (&MemberName, Version)> {
        self.processes.iter().filter_map(move |(name, process)| {
            let says = self.etcd.members.get(name).and_then(Answer::status);
            let version = says
                .map(|status| status.version)
                .or_else(|| process.version())?;
            let template = process.make().map(|make| &make.template);
            let there = version == target.version
                && template.is_none_or(|template| *template == target.template);
            (!there).then_some((name, version))
        })
    }

    /// Whether this member is known to be of another make than this one.
    pub fn is_off(&self, name: &MemberName, target: &Make) -> bool {
        self.off(target).any(|(off, _)| off == name)
    }

    /// The members that are not well, and why.
    pub fn unhealthy(&self) -> impl Iterator<Item = (&MemberName, Trouble)> {
        self.processes
            .keys()
            .filter_map(|name| Some((name, self.trouble(name)?)))
    }

    /// Why a member is not well. One that is well runs, answers, votes, knows a leader, serves and
    /// has caught up.
    pub fn trouble(&self, name: &MemberName) -> Option<Trouble> {
        match self.processes.get(name) {
            None | Some(Process::Absent) => return Some(Trouble::Absent),
            Some(Process::Failing {
                exits, last_words, ..
            }) => {
                let last_words = last_words.clone();
                return Some(Trouble::Failing {
                    exits: *exits,
                    last_words,
                });
            }
            Some(Process::Running { .. }) => {}
        }
        let status = match self.etcd.members.get(name) {
            None => return Some(Trouble::Silent("it was not asked".to_owned())),
            Some(Answer::Silent(why)) => return Some(Trouble::Silent(why.clone())),
            Some(Answer::Status(status)) => status,
        };
        if let Answered::Known(list) = &self.etcd.membership {
            match list.iter().find(|listed| listed.id == status.id) {
                None => return Some(Trouble::NotListed),
                Some(listed) if listed.learner => return Some(Trouble::Learner),
                Some(_) => {}
            }
        }
        if status.learner {
            return Some(Trouble::Learner);
        }
        if status.leader == MemberId::NOBODY {
            return Some(Trouble::NoLeader);
        }
        if let Err(why) = &status.ready {
            return Some(Trouble::NotReady(why.clone()));
        }
        let behind = self
            .etcd
            .committed()
            .saturating_sub(status.raft_applied_index);
        (behind > MAX_RAFT_LAG).then_some(Trouble::Behind(behind))
    }
}
