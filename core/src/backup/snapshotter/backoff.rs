//! One policy for whatever fails.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};

/// How long to wait before another try: `first`, and twice as long each time up to `limit`, less
/// up to half of it by chance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    /// After the first failure.
    pub first: SignedDuration,
    /// At most.
    pub limit: SignedDuration,
}

impl Default for Backoff {
    /// As etcd-backup-restore has it: 2 s to 128 s.
    fn default() -> Self {
        Self {
            first: SignedDuration::from_secs(2),
            limit: SignedDuration::from_secs(128),
        }
    }
}

impl Backoff {
    /// The wait after so many failures in a row. `chance` is from 0 to 999.
    pub fn wait(&self, failures: u32, chance: u16) -> SignedDuration {
        let doublings = failures.saturating_sub(1).min(20);
        let wait = self.first.saturating_mul(1 << doublings).min(self.limit);
        let chance = i32::from(chance.min(999));
        wait.saturating_sub(wait.saturating_mul(chance) / 2000)
    }
}

/// What can fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Op {
    Survey,
    Revision,
    Watch,
    Full,
    Upload,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Trouble {
    pub(super) failures: u32,
    pub(super) again: Timestamp,
    pub(super) why: String,
}

/// What fails at present.
#[derive(Clone, Debug, Default)]
pub(super) struct Troubles(pub(super) BTreeMap<Op, Trouble>);

impl Troubles {
    pub(super) fn note(&mut self, op: Op, why: String, moment: Moment, backoff: &Backoff) {
        let failures = self.0.get(&op).map_or(0, |it| it.failures) + 1;
        let wait = backoff.wait(failures, moment.chance);
        let trouble = Trouble {
            failures,
            again: moment.now.saturating_add(wait).unwrap_or(Timestamp::MAX),
            why,
        };
        self.0.insert(op, trouble);
    }

    pub(super) fn over(&mut self, op: Op) {
        self.0.remove(&op);
    }

    pub(super) fn ready(&self, op: Op, now: Timestamp) -> bool {
        self.0.get(&op).is_none_or(|it| it.again <= now)
    }

    pub(super) fn at_once(&mut self, op: Op, now: Timestamp) {
        if let Some(trouble) = self.0.get_mut(&op) {
            trouble.again = now;
        }
    }
}

/// The time and a throw of the dice.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moment {
    pub(super) now: Timestamp,
    pub(super) chance: u16,
}

/// `time` and some more, without an overflow.
pub(super) fn later(time: Timestamp, by: SignedDuration) -> Timestamp {
    time.saturating_add(by).unwrap_or(Timestamp::MAX)
}
