//! Which member gives its free pages back next: followers first, the leader last, one at a time,
//! and only while every member answers.
//!
//! A member serves nothing while it is defragmented, and a leader that serves nothing holds up every
//! write. So the leadership is handed over first, to a member that has been through it. etcd-backup-restore
//! defragments the leader as it is, begins a whole new round when one member fails, defragments a member
//! once for each of its addresses, and does it even where there is nothing to gain.

use std::collections::BTreeSet;

use thiserror::Error;

use crate::member::MemberId;
use crate::observed::{self, AlarmKind, Answer, Etcd, MAX_RAFT_LAG, Status};

/// Less than this is not worth it, bytes.
const LITTLE: u64 = 1 << 20;

/// A member as it answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answered {
    /// Which.
    pub id: MemberId,
    /// Whether it leads.
    pub leads: bool,
    /// Whether it votes.
    pub votes: bool,
    /// Bytes of its file.
    pub size: u64,
    /// The part of them that holds data.
    pub in_use: u64,
}

/// A round over all members.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Round {
    whom: Whom,
    done: BTreeSet<MemberId>,
}

/// Who is defragmented.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whom {
    /// Those of which at least 1 MiB and a twentieth of the file would become free.
    Worthwhile,
    /// All. After a compaction a member's own sum of its free pages is out of date until it writes
    /// something.
    All,
}

/// What to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Hand the leadership over: the one that has it is next.
    HandOver {
        /// The leader.
        from: MemberId,
        /// Who is to lead.
        to: MemberId,
    },
    /// Defragment this one.
    Defragment(MemberId),
    /// All are done.
    Finished,
}

/// Why no member is defragmented now.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Unwell {
    /// Members differ in their data.
    #[error("alarm CORRUPT is raised")]
    Corrupt,
    /// A member is not well, or nobody knows.
    #[error("{0}")]
    Because(String),
}

impl From<&Status> for Answered {
    fn from(status: &Status) -> Self {
        Self {
            id: status.id,
            leads: status.leader == status.id,
            votes: !status.learner,
            size: status.db_size,
            in_use: status.db_size_in_use,
        }
    }
}

/// Whether a schedule's round may go on with what is next. Each sidecar has its schedule, and only the one of
/// the leader begins; whoever leads after that may begin another round. So a round ends with the leadership,
/// but for the member that has just handed it over, which is the last one. `own`: the sidecar's member.
pub fn goes_on(own: MemberId, next: Next, members: &[Answered]) -> bool {
    let leads = members.iter().any(|it| it.id == own && it.leads);
    leads || matches!(next, Next::Finished) || next == Next::Defragment(own)
}

impl Round {
    /// One in which nobody was defragmented yet.
    pub fn new(whom: Whom) -> Self {
        Self {
            whom,
            done: BTreeSet::new(),
        }
    }

    /// Decides. `members` are all of the cluster, and each has answered.
    pub fn next(&self, members: &[Answered]) -> Next {
        let due = |member: &&Answered| {
            let wanted = self.whom == Whom::All || worthwhile(member);
            wanted && !self.done.contains(&member.id)
        };
        let next = members.iter().filter(due);
        let Some(member) = next.min_by_key(|it| (it.leads, it.id)) else {
            return Next::Finished;
        };
        let heirs = members.iter().filter(|it| it.votes && it.id != member.id);
        match heirs.min_by_key(|it| (!self.done.contains(&it.id), it.id)) {
            Some(heir) if member.leads => Next::HandOver {
                from: member.id,
                to: heir.id,
            },
            Some(_) | None => Next::Defragment(member.id),
        }
    }

    /// This one has been defragmented.
    pub fn done(&mut self, id: MemberId) {
        self.done.insert(id);
    }
}

/// Whether all members are well. One that is short of space is: it is what it is done for.
///
/// # Errors
/// Why not.
pub fn well(seen: &Etcd) -> Result<(), Unwell> {
    if seen.has_alarm(AlarmKind::Corrupt) {
        return Err(Unwell::Corrupt);
    }
    let unwell = |why: String| Err(Unwell::Because(why));
    if seen.members.is_empty() {
        return unwell("nobody was asked".to_owned());
    }
    if let observed::Answered::Unknown(why) = &seen.alarms {
        return unwell(format!("the alarms are not known: {why}"));
    }
    let Some(leader) = seen.leader().and_then(|name| seen.members[name].status()) else {
        return unwell("there is no leader that most members agree on".to_owned());
    };
    for (name, answer) in &seen.members {
        let status = match answer {
            Answer::Silent(why) => return unwell(format!("{name}: {why}")),
            Answer::Status(status) => status,
        };
        if status.learner {
            return unwell(format!("{name} is a learner"));
        }
        if status.leader != leader.id {
            return unwell(format!("{name} does not know the leader"));
        }
        if let Err(why) = &status.ready {
            return unwell(format!("{name}: {why}"));
        }
        let behind = seen.committed().saturating_sub(status.raft_applied_index);
        if behind > MAX_RAFT_LAG {
            return unwell(format!("{name} is {behind} raft entries behind"));
        }
    }
    Ok(())
}

fn worthwhile(member: &Answered) -> bool {
    let free = member.size.saturating_sub(member.in_use);
    free >= LITTLE && free >= member.size / 20
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(id: u64, leads: bool, free: u64) -> Answered {
        Answered {
            id: MemberId(id),
            leads,
            votes: true,
            size: (10 << 20) + free,
            in_use: 10 << 20,
        }
    }

    #[test]
    fn followers_come_first_and_the_leader_last_as_a_follower() {
        let free = 5 << 20;
        let mut members = [
            member(1, true, free),
            member(3, false, free),
            member(2, false, free),
        ];
        let mut round = Round::new(Whom::Worthwhile);
        let mut order = Vec::new();
        loop {
            match round.next(&members) {
                Next::Defragment(id) => {
                    order.push(id.0);
                    round.done(id);
                }
                Next::HandOver { from, to } => {
                    assert_eq!((from.0, to.0, order.len()), (1, 2, 2));
                    for it in &mut members {
                        it.leads = it.id == to;
                    }
                }
                Next::Finished => break,
            }
        }
        assert_eq!(order, [2, 3, 1]);
    }

    #[test]
    fn a_leader_without_another_voter_is_defragmented_as_it_is() {
        let free = 5 << 20;
        let round = Round::new(Whom::Worthwhile);
        let alone = [member(1, true, free)];
        assert_eq!(round.next(&alone), Next::Defragment(MemberId(1)));
        let learner = Answered {
            votes: false,
            ..member(2, false, 0)
        };
        let beside_a_learner = [member(1, true, free), learner];
        assert_eq!(round.next(&beside_a_learner), Next::Defragment(MemberId(1)));
    }

    #[test]
    fn a_round_ends_with_the_leadership_but_for_the_one_that_handed_it_over() {
        let free = 5 << 20;
        let ours = [member(1, true, free), member(2, false, free)];
        let lost = [member(1, false, free), member(2, true, free)];
        let (own, other) = (MemberId(1), MemberId(2));
        let hand_over = Next::HandOver {
            from: other,
            to: own,
        };
        assert!(goes_on(own, Next::Defragment(other), &ours));
        assert!(!goes_on(own, Next::Defragment(other), &lost));
        assert!(!goes_on(own, hand_over, &lost));
        assert!(goes_on(own, Next::Defragment(own), &lost));
        assert!(goes_on(own, Next::Finished, &lost));
        assert!(!goes_on(own, Next::Defragment(other), &[]));
    }

    #[test]
    fn the_leadership_goes_to_one_that_is_done() {
        let free = 5 << 20;
        let mut round = Round::new(Whom::Worthwhile);
        round.done(MemberId(3));
        let members = [
            member(1, true, free),
            member(2, false, 0),
            member(3, false, 0),
        ];
        let (from, to) = (MemberId(1), MemberId(3));
        assert_eq!(round.next(&members), Next::HandOver { from, to });
    }

    #[test]
    fn who_has_become_the_leader_meanwhile_waits_for_the_rest() {
        let free = 5 << 20;
        let mut round = Round::new(Whom::Worthwhile);
        round.done(MemberId(1));
        let members = [
            member(1, false, free),
            member(2, true, free),
            member(3, false, free),
        ];
        assert_eq!(round.next(&members), Next::Defragment(MemberId(3)));
    }

    #[test]
    fn a_member_with_nothing_to_gain_is_left_alone_unless_all_are_wanted() {
        let round = Round::new(Whom::Worthwhile);
        let little = [member(1, true, LITTLE - 1)];
        assert_eq!(round.next(&little), Next::Finished);
        let large = Answered {
            id: MemberId(1),
            leads: false,
            votes: true,
            size: 1 << 30,
            in_use: (1 << 30) - (40 << 20),
        };
        assert_eq!(round.next(&[large]), Next::Finished);
        assert_eq!(round.next(&[]), Next::Finished);
        let all = Round::new(Whom::All);
        assert_eq!(all.next(&little), Next::Defragment(MemberId(1)));
        assert_eq!(all.next(&[]), Next::Finished);
    }
}
