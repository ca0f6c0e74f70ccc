//! Is there a quorum? If members answer, from what they say; else from their leases.

use jiff::SignedDuration;

use super::conditions::{Finding, Kind, Truth, find};
use super::facts::{Facts, later};
use super::members::{Member, State, heard, serves};
use super::timing::Timing;
use crate::member::MemberId;
use crate::observed::{Answered, Etcd};

/// How long an election may take until it counts as a loss. etcd's own timeout is a second.
const ELECTION: SignedDuration = SignedDuration::from_secs(5);

const NO_LEADER: &str = "NoLeader";
const NOT_FORMED: &str = "QuorumNotFormed";
const LOST: &str = "QuorumLost";
pub(super) const NOT_CHECKED: &str = "NotChecked";

/// Nothing is known of any member.
pub(super) fn no_members(kind: Kind) -> Finding {
    let message = "Cannot determine readiness since status has no members";
    Finding::new(kind, Truth::Unknown, "NoMembersInStatus", message)
}

/// The condition `Ready`.
pub(super) fn ready(facts: &Facts, members: &[Member], timing: &mut Timing) -> Finding {
    if members.is_empty() {
        return no_members(Kind::Ready);
    }
    match heard(facts) {
        Some(live) => by_answers(facts, live, timing),
        None => by_leases(facts, members),
    }
}

fn quorate() -> Finding {
    let message = "The majority of ETCD members is ready";
    Finding::new(Kind::Ready, Truth::True, "Quorate", message)
}

fn lost() -> Finding {
    let message = "The majority of ETCD members is not ready";
    Finding::new(Kind::Ready, Truth::False, LOST, message)
}

fn unknown(reason: &str, message: &str) -> Finding {
    Finding::new(Kind::Ready, Truth::Unknown, reason, message)
}

fn not_formed() -> Finding {
    unknown(NOT_FORMED, "The ETCD members have not formed a quorum yet")
}

/// Whether this was the reason before.
fn said(facts: &Facts, reason: &str) -> bool {
    find(&facts.previous, Kind::Ready).is_some_and(|it| it.reason == reason)
}

fn by_leases(facts: &Facts, members: &[Member]) -> Finding {
    let all = usize::from(facts.replicas);
    let quorum = all / 2 + 1;
    let down = members
        .iter()
        .filter(|it| it.why.state() == State::NotReady)
        .count();
    if members.len() - down >= quorum {
        quorate()
    } else if all - down >= quorum {
        let message = "Too few members are known to tell whether the majority is ready";
        unknown("TooFewMembersInStatus", message)
    } else if said(facts, NOT_CHECKED) || said(facts, NOT_FORMED) {
        // The leases are from before the cluster was hibernated.
        not_formed()
    } else {
        lost()
    }
}

/// A member that serves has read from a quorum. If none does, it may be an election.
fn by_answers(facts: &Facts, live: &Etcd, timing: &mut Timing) -> Finding {
    let read = matches!(live.membership, Answered::Known(_));
    if read || live.answers().any(|(_, status)| serves(status)) {
        return quorate();
    }
    let before = find(&facts.previous, Kind::Ready);
    let was_there = before.is_some_and(|it| it.status == Truth::True.word());
    if !(was_there && !said(facts, NOT_CHECKED) || said(facts, LOST) || said(facts, NO_LEADER)) {
        return not_formed();
    }
    let quorum = usize::from(facts.replicas) / 2 + 1;
    let few = live.answers().count() < quorum;
    let mut leaders = live.answers().map(|(_, status)| status.leader);
    if few && leaders.all(|it| it == MemberId::NOBODY) || said(facts, LOST) {
        return lost();
    }
    let since = before.filter(|_| said(facts, NO_LEADER));
    let since = since.and_then(|it| it.last_transition_time.at());
    if timing.passed(later(since.unwrap_or(timing.now), ELECTION)) {
        return lost();
    }
    unknown(NO_LEADER, "No ETCD member serves at the moment")
}
