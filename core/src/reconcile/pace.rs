//! When something is written, and when to look again.

use jiff::{SignedDuration, Timestamp};

use crate::api::EtcdStatus;
use crate::status::conditions::{Kind, find};
use crate::upgrade::Step;

/// For so long what changes is gathered during a roll: a member goes and comes back within it, and
/// people are to hear of a fact within 5 s.
const GATHERED: SignedDuration = SignedDuration::from_millis(4200);

/// What is written, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Writing {
    /// Nothing has changed.
    Nothing,
    /// Now.
    Now,
    /// Not before then: more is about to change.
    At(Timestamp),
}

impl Writing {
    /// Whether a status is to be written that has differed from what people see since `since`.
    /// Outside of a roll, and if it is of importance, at once.
    pub fn of(
        before: Option<&EtcdStatus>,
        after: &EtcdStatus,
        rolling: bool,
        since: Timestamp,
        now: Timestamp,
    ) -> Self {
        if before == Some(after) {
            return Self::Nothing;
        }
        let until = since.checked_add(GATHERED).unwrap_or(Timestamp::MAX);
        if !rolling || now >= until || important(before, after) {
            Self::Now
        } else {
            Self::At(until)
        }
    }
}

/// Whether a quorum is lost or back, or an upgrade has come to another phase.
fn important(before: Option<&EtcdStatus>, after: &EtcdStatus) -> bool {
    let Some(before) = before else { return true };
    let quorum = |of: &EtcdStatus| find(of, Kind::Ready).map(|it| it.status.clone());
    let phase = |of: &EtcdStatus| {
        let phase = of.upgrade.as_ref().and_then(|it| it.phase.clone());
        phase.filter(|it| ENDS.contains(&it.as_str()))
    };
    quorum(before) != quorum(after) || phase(before) != phase(after)
}

/// Phases that somebody waits for.
const ENDS: [&str; 4] = ["Succeeded", "Blocked", "RolledBack", "Refused"];

/// When to look again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// In a moment: a member is on its way.
    Soon,
    /// Every second or so: something is not as it should be, and may be any moment.
    Often,
    /// Every few seconds: somebody has to do something.
    Seldom,
    /// When something happens.
    Idle,
}

impl Pace {
    /// After this step of a roll.
    pub fn of(step: &Step) -> Self {
        match step {
            Step::Done => Self::Idle,
            Step::Wait(wait) if wait.why.is_for_a_person() => Self::Seldom,
            Step::Wait(wait) if wait.overdue => Self::Often,
            Step::Look(_) | Step::Act(_) | Step::Wait(_) => Self::Soon,
            Step::Refuse(_) | Step::Halt(_) => Self::Seldom,
        }
    }

    /// After how long; `None` for never.
    pub fn after(self) -> Option<SignedDuration> {
        match self {
            Self::Soon => Some(SignedDuration::from_millis(200)),
            Self::Often => Some(SignedDuration::from_secs(1)),
            Self::Seldom => Some(SignedDuration::from_secs(5)),
            Self::Idle => None,
        }
    }

    /// The faster one.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        let number = |it| match it {
            Self::Soon => 0,
            Self::Often => 1,
            Self::Seldom => 2,
            Self::Idle => 3,
        };
        if number(other) < number(self) {
            other
        } else {
            self
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::{Condition, Time, UpgradeStatus};

    fn at(milliseconds: i64) -> Timestamp {
        Timestamp::from_millisecond(1_800_000_000_000 + milliseconds).unwrap()
    }

    fn said(quorum: &str, phase: &str, ready: i64) -> EtcdStatus {
        let time = || Time::seconds(at(0));
        EtcdStatus {
            conditions: Some(vec![Condition {
                kind: "Ready".to_owned(),
                status: quorum.to_owned(),
                last_transition_time: time(),
                last_update_time: time(),
                reason: "R".to_owned(),
                message: "M".to_owned(),
            }]),
            ready_replicas: Some(crate::api::Int32(ready)),
            upgrade: Some(UpgradeStatus {
                phase: Some(phase.to_owned()),
                ..UpgradeStatus::default()
            }),
            ..EtcdStatus::default()
        }
    }

    #[test]
    fn what_is_the_same_is_not_written() {
        let same = said("True", "Rolling", 3);
        for rolling in [true, false] {
            let writing = Writing::of(Some(&same), &same, rolling, at(0), at(60_000));
            assert_eq!(writing, Writing::Nothing);
        }
    }

    #[test]
    fn during_a_roll_changes_are_gathered_for_less_than_five_seconds() {
        let (before, after) = (said("True", "Rolling", 3), said("True", "Rolling", 2));
        let of = |rolling, now| Writing::of(Some(&before), &after, rolling, at(0), at(now));
        let Writing::At(until) = of(true, 0) else {
            panic!("it is written at once");
        };
        assert!(until <= at(4500), "{until}");
        assert_eq!(of(true, 4199), Writing::At(until));
        assert_eq!(of(true, 4200), Writing::Now);
        assert_eq!(of(false, 0), Writing::Now);
    }

    #[test]
    fn a_quorum_that_is_lost_or_back_and_an_end_are_told_at_once() {
        let before = said("True", "Rolling", 3);
        let of = |before: &EtcdStatus, after: &EtcdStatus| {
            Writing::of(Some(before), after, true, at(0), at(0))
        };
        for phase in ENDS {
            assert_eq!(
                of(&before, &said("True", phase, 3)),
                Writing::Now,
                "{phase}"
            );
            assert_eq!(
                of(&said("True", phase, 3), &before),
                Writing::Now,
                "{phase}"
            );
        }
        let lost = said("False", "Rolling", 3);
        assert_eq!(of(&before, &lost), Writing::Now);
        assert_eq!(of(&lost, &before), Writing::Now);
        assert!(matches!(
            of(&before, &said("True", "Finalizing", 3)),
            Writing::At(_)
        ));
        assert_eq!(Writing::of(None, &before, true, at(0), at(0)), Writing::Now);
    }

    #[test]
    fn the_faster_of_two_paces_counts() {
        let all = [Pace::Soon, Pace::Often, Pace::Seldom, Pace::Idle];
        for (one, first) in all.into_iter().enumerate() {
            for (other, second) in all.into_iter().enumerate() {
                assert_eq!(first.or(second), all[one.min(other)]);
            }
        }
        let waits = all.map(Pace::after);
        assert!(waits[0] < waits[1] && waits[1] < waits[2] && waits[3].is_none());
        assert!(waits[2].is_some_and(|it| it <= SignedDuration::from_secs(5)));
    }
}
