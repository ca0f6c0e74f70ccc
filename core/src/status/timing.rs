//! The time, as far as anything was compared with it.

use jiff::Timestamp;

/// The time, and the first moment at which a comparison with it would come out otherwise.
#[derive(Clone, Copy, Debug)]
pub(super) struct Timing {
    pub(super) now: Timestamp,
    next: Option<Timestamp>,
}

impl Timing {
    pub(super) fn at(now: Timestamp) -> Self {
        Self { now, next: None }
    }

    /// Whether this moment has come.
    pub(super) fn passed(&mut self, moment: Timestamp) -> bool {
        let passed = self.now >= moment;
        if !passed && moment < Timestamp::MAX {
            self.next = Some(self.next.map_or(moment, |next| next.min(moment)));
        }
        passed
    }

    pub(super) fn next(self) -> Option<Timestamp> {
        self.next
    }
}
