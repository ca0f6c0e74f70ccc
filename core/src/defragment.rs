//! Which member gives its free pages back next: followers first, the leader last, one at a time,
//! and only while every member answers.
//!
//! A member serves nothing while it is defragmented, and a leader that serves nothing holds up every
//! write. So the leadership is handed over first, to a member that has been through it. etcd-backup-restore
//! defragments the leader as it is, begins a whole new round when one member fails, defragments a member
//! once for each of its addresses, and does it even where there is nothing to gain.

use std::collections::BTreeSet;

use crate::member::MemberId;

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
