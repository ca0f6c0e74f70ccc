//! Which member gives its free pages back next: followers first, the leader last, one at a time,
//! and only while every member answers.
//!
//! etcd-backup-restore begins a whole new round when one member fails, defragments a member once for
//! each of its addresses, and does it even where there is nothing to gain. A member serves nothing
//! while it is defragmented, so this remembers who is done, and passes over a member of which less
//! than 1 MiB or less than a twentieth of the file would become free.

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
    /// Bytes of its file.
    pub size: u64,
    /// The part of them that holds data.
    pub in_use: u64,
}

/// A round over all members.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Round {
    done: BTreeSet<MemberId>,
}

/// What to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Defragment this one.
    Defragment(MemberId),
    /// All are done.
    Finished,
}

impl Round {
    /// Decides. `members` are all of the cluster, and each has answered.
    pub fn next(&self, members: &[Answered]) -> Next {
        members
            .iter()
            .filter(|member| !self.done.contains(&member.id) && worthwhile(member))
            .min_by_key(|member| (member.leads, member.id))
            .map_or(Next::Finished, |member| Next::Defragment(member.id))
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
            size: (10 << 20) + free,
            in_use: 10 << 20,
        }
    }

    #[test]
    fn followers_come_first_the_leader_last_and_each_once() {
        let free = 5 << 20;
        let members = [
            member(1, true, free),
            member(3, false, free),
            member(2, false, free),
        ];
        let mut round = Round::default();
        let mut order = Vec::new();
        while let Next::Defragment(id) = round.next(&members) {
            order.push(id.0);
            round.done(id);
        }
        assert_eq!(order, [2, 3, 1]);
    }

    #[test]
    fn who_has_become_the_leader_meanwhile_waits_for_the_rest() {
        let free = 5 << 20;
        let mut round = Round::default();
        round.done(MemberId(1));
        let members = [
            member(1, false, free),
            member(2, true, free),
            member(3, false, free),
        ];
        assert_eq!(round.next(&members), Next::Defragment(MemberId(3)));
    }

    #[test]
    fn a_member_with_nothing_to_gain_is_left_alone() {
        let round = Round::default();
        assert_eq!(round.next(&[member(1, true, LITTLE - 1)]), Next::Finished);
        let large = Answered {
            id: MemberId(1),
            leads: false,
            size: 1 << 30,
            in_use: (1 << 30) - (40 << 20),
        };
        assert_eq!(round.next(&[large]), Next::Finished);
        assert_eq!(round.next(&[]), Next::Finished);
    }
}
