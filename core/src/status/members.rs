//! The members: what each one's lease says of it, and what it answers.

use super::facts::{Facts, MemberLease, later};
use super::identity::{Identity, Role};
use super::timing::Timing;
use crate::api::{EtcdMember, Time};
use crate::member::{MemberId, MemberName};
use crate::observed::{Answer, Answered, Etcd, Status};

/// A member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Member {
    pub(super) name: MemberName,
    pub(super) id: String,
    pub(super) role: Option<Role>,
    pub(super) why: Why,
}

/// How a member is, and from what that is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Why {
    /// Its lease is renewed, and if it was asked, it serves.
    LeaseSucceeded,
    /// It serves, and has not written itself into its lease yet.
    Serving,
    /// Its lease has not been renewed for a while.
    LeaseExpired,
    /// The same, and its containers are not ready.
    ContainersNotReady,
    /// Its lease has not been renewed for long.
    UnknownGracePeriodExceeded,
    /// It does not answer.
    NotAnswering,
    /// It answers and does not serve.
    NotServing,
    /// It does not vote yet.
    Learner,
}

/// `status` of a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Ready,
    NotReady,
    Unknown,
}

impl State {
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Ready => "Ready",
            Self::NotReady => "NotReady",
            Self::Unknown => "Unknown",
        }
    }
}

impl Why {
    pub(super) fn state(self) -> State {
        match self {
            Self::LeaseSucceeded | Self::Serving => State::Ready,
            Self::LeaseExpired => State::Unknown,
            Self::ContainersNotReady
            | Self::UnknownGracePeriodExceeded
            | Self::NotAnswering
            | Self::NotServing
            | Self::Learner => State::NotReady,
        }
    }

    fn word(self) -> &'static str {
        match self {
            Self::LeaseSucceeded => "LeaseSucceeded",
            Self::Serving => "Serving",
            Self::LeaseExpired => "LeaseExpired",
            Self::ContainersNotReady => "ContainersNotReady",
            Self::UnknownGracePeriodExceeded => "UnknownGracePeriodExceeded",
            Self::NotAnswering => "NotAnswering",
            Self::NotServing => "NotServing",
            Self::Learner => "Learner",
        }
    }
}

/// What the members answered, if one of them did. If none did, that says nothing of them: it may
/// be the network between them and the operator.
pub(super) fn heard(facts: &Facts) -> Option<&Etcd> {
    facts.live.as_ref().filter(|live| {
        let mut expected = facts.expected();
        expected.any(|(name, _)| live.members.get(&name).and_then(Answer::status).is_some())
    })
}

/// The members that are known of, by name.
pub(super) fn members(facts: &Facts, timing: &mut Timing) -> Vec<Member> {
    let live = heard(facts);
    let mut members: Vec<_> = facts
        .expected()
        .filter_map(|(name, pod)| {
            let lease = facts.leases.get(&name);
            let registered = lease.and_then(|lease| registered(lease, &pod, facts, timing));
            match live.and_then(|live| Some((live, live.members.get(&name)?.status()?))) {
                Some((live, status)) => {
                    let before = role_before(facts, &name);
                    Some(answering(name, live, status, before, registered))
                }
                None => Some(silent(name, &pod, facts, registered?)),
            }
        })
        .collect();
    members.sort_by(|a, b| a.name.cmp(&b.name));
    members
}

/// What a lease says of a member; nothing if it has not written itself into it.
fn registered<'a>(
    lease: &'a MemberLease,
    pod: &str,
    facts: &Facts,
    timing: &mut Timing,
) -> Option<(Identity<'a>, Why)> {
    let identity = Identity::of(lease).ok()?;
    let unknown = later(lease.renewed?, facts.thresholds.unknown);
    let not_ready = later(unknown, facts.thresholds.not_ready);
    let why = if timing.passed(not_ready) {
        Why::UnknownGracePeriodExceeded
    } else if !timing.passed(unknown) {
        Why::LeaseSucceeded
    } else if facts.containers_ready(pod) {
        Why::LeaseExpired
    } else {
        Why::ContainersNotReady
    };
    Some((identity, why))
}

/// The role that was told last.
fn role_before(facts: &Facts, name: &MemberName) -> Option<Role> {
    let mut before = facts.previous.members.iter().flatten();
    let before = before.find(|it| it.name == name.0)?;
    Role::read(before.role.as_deref()?)
}

fn answering(
    name: MemberName,
    live: &Etcd,
    status: &Status,
    before: Option<Role>,
    registered: Option<(Identity<'_>, Why)>,
) -> Member {
    let role = match live.leader() {
        Some(leader) if *leader == name => Some(Role::Leader),
        Some(_) => Some(Role::Member),
        // An election is no reason to say of two members that they are another thing now.
        None => before.or(registered.and_then(|(identity, _)| identity.role)),
    };
    let listed = match &live.membership {
        Answered::Known(list) => list.iter().any(|it| it.id == status.id),
        Answered::Unknown(_) => true,
    };
    let why = if status.learner {
        Why::Learner
    } else if !listed || !serves(status) {
        Why::NotServing
    } else {
        registered.map_or(Why::Serving, |(_, why)| why)
    };
    Member {
        id: status.id.to_string(),
        role,
        name,
        why,
    }
}

/// Whether a member says that it serves clients.
pub(crate) fn serves(status: &Status) -> bool {
    !status.learner && status.leader != MemberId::NOBODY && status.ready.is_ok()
}

/// One that did not answer, or was not asked. Nothing is known of one that has no lease.
fn silent(
    name: MemberName,
    pod: &str,
    facts: &Facts,
    (identity, lease): (Identity<'_>, Why),
) -> Member {
    let live = facts.live.as_ref();
    let asked = live.is_some_and(|live| live.members.contains_key(&name));
    let down = asked && (heard(facts).is_some() || !facts.containers_ready(pod));
    Member {
        id: identity.id.to_owned(),
        role: identity.role,
        name,
        why: if down { Why::NotAnswering } else { lease },
    }
}

/// As they are written.
pub(super) fn written(
    members: &[Member],
    before: &[EtcdMember],
    timing: Timing,
) -> Vec<EtcdMember> {
    members
        .iter()
        .map(|member| {
            let status = member.why.state().word();
            let same = before
                .iter()
                .find(|before| before.name == member.name.0 && before.status == status);
            EtcdMember {
                name: member.name.0.clone(),
                id: Some(member.id.clone()),
                role: member.role.map(|role| role.word().to_owned()),
                status: status.to_owned(),
                reason: member.why.word().to_owned(),
                last_transition_time: same.map_or_else(
                    || Time::seconds(timing.now),
                    |same| same.last_transition_time.clone(),
                ),
            }
        })
        .collect()
}
